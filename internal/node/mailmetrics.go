package node

import (
	"time"

	"github.com/restante-im/restante/internal/ops"
)

// mailRows are the metrics that a mail server adds.
func mailRows() []row {
	rows := []row{
		gauge("restante_archive_envelopes", "Envelopes in the archive.", func(f *figures) uint64 { return f.archive.Envelopes }),
		gauge("restante_archive_bytes", "Encoded bytes of the envelopes in the archive.", func(f *figures) int64 { return f.archive.Bytes }),
		gauge("restante_archive_disk_bytes", "Bytes that the archive takes on disk, indexes included.", func(f *figures) int64 { return f.archive.Disk }),
		gauge("restante_archive_slices", "Slices of time that the archive consists of.", func(f *figures) int { return f.archive.Slices }),
		{
			"restante_archive_oldest_seconds", "Age of the oldest envelope in the archive, counted from its arrival; 0 when empty.", ops.Gauge, nil,
			func(f *figures) float64 {
				if f.archive.Oldest.IsZero() {
					return 0
				}
				return time.Since(f.archive.Oldest).Seconds()
			},
		},
		{
			"restante_archive_refusing", "1 while the archive takes no new mail, otherwise 0.", ops.Gauge, nil,
			func(f *figures) float64 {
				if f.archive.Refusing == "" {
					return 0
				}
				return 1
			},
		},
		counter("restante_archive_stored_total", "Envelopes stored durably.", func(f *figures) uint64 { return f.archive.Puts }),
		counter("restante_archive_duplicates_total", "Envelopes that were to be stored and were there already.", func(f *figures) uint64 { return f.archive.Duplicates }),
		counter("restante_archive_syncs_total", "Times that the archive waited for the disk; stored per sync is how many envelopes share one.", func(f *figures) uint64 { return f.archive.Syncs }),
		counter("restante_archive_pruned_total", "Envelopes removed because of their age or the cap.", func(f *figures) uint64 { return f.archive.Pruned }),
		counter("restante_archive_damaged_total", "Stored envelopes and index blocks that were found damaged.", func(f *figures) uint64 { return f.archive.Damaged }),
		gauge("restante_mail_keeping", "Accepted envelopes that are not yet durable.", func(f *figures) int { return f.mail.Keeping }),
		counter("restante_mail_declined_total", "Envelopes not stored because their source or topic had more than its share of a filling archive.", func(f *figures) uint64 { return f.mail.Declined }),
		counter("restante_mail_retried_total", "Times that an envelope could not be stored and was set aside for another try.", func(f *figures) uint64 { return f.mail.Retried }),
		gauge("restante_mail_running", "Requests that are being answered.", func(f *figures) int { return f.mail.Running }),
		gauge("restante_mail_waiting", "Requests that wait for their turn.", func(f *figures) int { return f.mail.Waiting }),
		counter("restante_mail_requests_total", "Requests to the mail server, in all forms.", func(f *figures) uint64 { return f.mail.Requests }),
		counter("restante_mail_answered_total", "Requests answered to the end.", func(f *figures) uint64 { return f.mail.Answered }),
		counter("restante_mail_sent_envelopes_total", "Envelopes handed out.", func(f *figures) uint64 { return f.mail.Records }),
		counter("restante_mail_sent_bytes_total", "Encoded bytes of the envelopes handed out.", func(f *figures) uint64 { return f.mail.Bytes }),
		gauge("restante_mail_today_bytes", "Bytes handed out today (UTC), which mailserver.bytes_per_day limits.", func(f *figures) int64 { return f.mail.Today }),
		{
			"restante_mail_work_seconds_total", "Time spent on reading the archive and opening requests.", ops.Counter, nil,
			func(f *figures) float64 { return f.mail.Work.Seconds() },
		},
	}
	return append(rows, failureRows()...)
}

// failureRows count the requests that were not answered to the end, by reason.
func failureRows() (rows []row) {
	for _, r := range []struct {
		reason string
		value  func(*figures) uint64
	}{
		{"busy", func(f *figures) uint64 { return f.mail.Busy }},
		{"limited", func(f *figures) uint64 { return f.mail.Limited }},
		{"denied", func(f *figures) uint64 { return f.mail.Denied }},
		{"invalid", func(f *figures) uint64 { return f.mail.Invalid }},
		{"stalled", func(f *figures) uint64 { return f.mail.Stalled }},
		{"gone", func(f *figures) uint64 { return f.mail.Gone }},
		{"failed", func(f *figures) uint64 { return f.mail.Failed }},
	} {
		rows = append(rows, row{
			"restante_mail_failed_total", "Requests that were not answered to the end, by reason.", ops.Counter,
			map[string]string{"reason": r.reason}, func(f *figures) float64 { return float64(r.value(f)) },
		})
	}
	return rows
}

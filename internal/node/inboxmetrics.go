package node

import (
	"context"
	"time"

	"github.com/restante-im/restante/internal/inbox"
	"github.com/restante-im/restante/internal/ops"
)

// inboxPatience bounds how long figures wait for a busy inbox.
const inboxPatience = time.Second

func (n *Node) inboxFigures() inbox.Status {
	ctx, cancel := context.WithTimeout(context.Background(), inboxPatience)
	defer cancel()
	st, err := n.inbox.Status(ctx)
	if err != nil {
		n.opt.Log.Warn("the inbox gave no figures", "err", err)
	}
	return st
}

func inboxRows() []row {
	return []row{
		gauge("restante_inbox_envelopes", "Envelopes kept in the inbox.", func(f *figures) uint64 { return f.inbox.Mail }),
		gauge("restante_inbox_bytes", "Encoded bytes of the envelopes in the inbox, which inbox.cap limits.", func(f *figures) int64 { return f.inbox.MailBytes }),
		gauge("restante_inbox_file_bytes", "Bytes of the inbox's file.", func(f *figures) int64 { return f.inbox.FileBytes }),
		gauge("restante_inbox_watches", "Watches of the inbox.", func(f *figures) int { return f.inbox.Watches }),
		gauge("restante_inbox_gaps", "Gaps that are open: what no mail server has answered for, or nobody handed over.", func(f *figures) int { return f.inbox.Gaps }),
		gauge("restante_inbox_servers_connected", "Mail servers that are connected and can be asked.", func(f *figures) int { return f.inbox.Connected }),
		gauge("restante_inbox_letters_open", "Letters that are still worked on.", func(f *figures) int { return f.inbox.Letters }),
		{
			"restante_inbox_synced_seconds", "Time since the last catch-up that ended well; 0 before the first.", ops.Gauge, nil,
			func(f *figures) float64 {
				if f.inbox.LastSync.IsZero() {
					return 0
				}
				return time.Since(f.inbox.LastSync).Seconds()
			},
		},
	}
}

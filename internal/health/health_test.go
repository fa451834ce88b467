package health_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/health"
)

func TestConditionsAreListedWorstFirstAndKeepTheirStart(t *testing.T) {
	now := time.Unix(100, 0)
	r := health.NewRegistry(func() time.Time { return now })
	r.Set("no-peers", health.Warning, "no peer is connected")
	now = now.Add(time.Minute)
	r.Set("disk-full", health.Critical, "the disk is full")
	r.Set("a-note", health.Info, "a note")
	r.Set("no-peers", health.Critical, "no peer for a minute")
	want := []health.Condition{
		{Code: "disk-full", Severity: health.Critical, Text: "the disk is full", Since: time.Unix(160, 0)},
		{Code: "no-peers", Severity: health.Critical, Text: "no peer for a minute", Since: time.Unix(100, 0)},
		{Code: "a-note", Severity: health.Info, Text: "a note", Since: time.Unix(160, 0)},
	}
	if diff := cmp.Diff(want, r.List()); diff != "" {
		t.Error(diff)
	}
	r.Clear("no-peers")
	r.Clear("never-set")
	if diff := cmp.Diff([]health.Condition{want[0], want[2]}, r.List()); diff != "" {
		t.Error(diff)
	}
	r.Set("no-peers", health.Warning, "again")
	if got := r.List()[1].Since; !got.Equal(now) {
		t.Errorf("after a clear the condition starts anew, got %v", got)
	}
}

func TestSeverityNames(t *testing.T) {
	for sev, want := range map[health.Severity]string{health.Info: "info", health.Warning: "warning", health.Critical: "critical"} {
		if sev.String() != want {
			t.Errorf("got %q, want %q", sev, want)
		}
	}
}

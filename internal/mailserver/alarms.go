package mailserver

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/restante-im/restante/internal/health"
)

// The conditions that a Server reports.
const (
	alarmFull      = "archive-full"       // new envelopes are not taken
	alarmFailing   = "archive-failing"    // new envelopes cannot be stored
	alarmReading   = "archive-unreadable" // requests cannot be answered
	alarmRetain    = "archive-retention"  // old envelopes cannot be removed
	alarmDamaged   = "archive-damaged"    // something stored does not check out
	alarmBandwidth = "bandwidth-used"     // the day's bytes are used up
)

// alarms sets and clears conditions, and logs when they change. Clearing what is not set costs nothing.
type alarms struct {
	registry *health.Registry
	log      *slog.Logger
	count    atomic.Int32
	mu       sync.Mutex
	present  map[string]string // code to text
}

func newAlarms(r *health.Registry, log *slog.Logger) *alarms {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &alarms{registry: r, log: log, present: map[string]string{}}
}

// set reports a condition; cause, for the log, may be nil.
func (a *alarms) set(code string, text string, cause error) {
	severity := health.Critical
	if code == alarmDamaged || code == alarmBandwidth || code == alarmRetain {
		severity = health.Warning
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.present[code] == text {
		return
	}
	a.present[code] = text
	a.count.Store(int32(len(a.present)))
	if a.registry != nil {
		a.registry.Set(code, severity, text)
	}
	a.log.Error(text, "condition", code, "err", cause)
}

func (a *alarms) clear(code string) {
	if a.count.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.present[code]; !ok {
		return
	}
	delete(a.present, code)
	a.count.Store(int32(len(a.present)))
	if a.registry != nil {
		a.registry.Clear(code)
	}
	a.log.Info("the condition has ended", "condition", code)
}

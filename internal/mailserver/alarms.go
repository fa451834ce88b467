package mailserver

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/restante-im/restante/internal/fault"
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
	before, was := a.present[code]
	if was && before == text {
		return
	}
	a.present[code] = text
	a.count.Store(int32(len(a.present)))
	if a.registry != nil {
		a.registry.Set(code, severity, text)
	}
	if !was {
		a.log.Error(text, "condition", code, "err", cause)
	}
}

// damaged reports damage found. It stays: what reads well says nothing about the rest.
func (a *alarms) damaged(what string, cause error) {
	a.set(alarmDamaged, "The archive is damaged: "+what+". What is intact is served; check the disk, then run restante archive check.", cause)
}

// unread reports a failure to answer a request.
func (a *alarms) unread(err error) {
	switch what := clause(fault.Text(err)); fault.KindOf(err) {
	case fault.Corrupt:
		a.damaged(what, err)
	case fault.Unavailable:
		a.set(alarmReading, "The archive cannot be read: "+what+". Requests are answered with this error; check the disk and the log.", err)
	}
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

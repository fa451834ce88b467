package mailserver

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/fault"
)

// policy is what the operator promises.
type policy struct {
	mu      sync.Mutex
	rules   archive.Rules
	closing time.Time
}

func (p *policy) get() (archive.Rules, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rules, p.closing
}

// Announce returns what clients are told of this server. It is cheap.
func (s *Server) Announce() Announcement {
	rules, closing := s.policy.get()
	st := s.archive.Stats()
	return Announcement{
		Epoch: st.Epoch, Next: st.Next, Oldest: st.Oldest, Keep: rules.Min, Age: rules.Age, Closing: closing,
		MembersOnly: s.gate.MembersOnly(), Refusing: st.Refusing,
	}
}

// HeldUntil is the time before which a stored record is not removed; now, when the promise has passed.
func (s *Server) HeldUntil(rec *archive.Record) time.Time {
	rules, _ := s.policy.get()
	until := time.Unix(int64(rec.Arrived), 0).Add(rules.Min)
	if now := s.now(); until.Before(now) {
		return now
	}
	return until
}

// SetClosing announces the end of the service; the zero time takes that back.
func (s *Server) SetClosing(at time.Time) {
	s.policy.mu.Lock()
	defer s.policy.mu.Unlock()
	s.policy.closing = at
}

// SetRules replaces the retention rules, also those of the archive.
func (s *Server) SetRules(r archive.Rules) {
	s.policy.mu.Lock()
	s.policy.rules = r
	s.policy.mu.Unlock()
	s.archivist.setRules(r)
	s.archive.SetRules(r)
}

// Housekeep applies the retention rules and renews health conditions. To be called every minute or so.
func (s *Server) Housekeep(ctx context.Context) error {
	_, err := s.archive.Retain(ctx, s.now())
	if err != nil {
		s.alarms.set(alarmRetain, "Old messages cannot be removed: "+clause(fault.Text(err))+". Check the disk and the log.", err)
	} else {
		s.alarms.clear(alarmRetain)
	}
	st := s.archive.Stats()
	if st.Refusing != "" {
		s.alarms.set(alarmFull, fullText(st.Refusing), nil)
	} else {
		s.alarms.clear(alarmFull)
	}
	if st.Damaged > 0 {
		s.alarms.damaged(fmt.Sprintf("%d parts of it do not check out", st.Damaged), nil)
	}
	s.checkBandwidth()
	return err
}

func (s *Server) checkBandwidth() {
	s.mu.Lock()
	s.step(tick{}) // the day may have changed
	used, most := s.machine.dayIsUsed(), s.machine.limits.BytesPerDay
	s.mu.Unlock()
	if used {
		s.alarms.set(alarmBandwidth, fmt.Sprintf("The %d bytes that may be sent in a day are used up; requests are refused until midnight UTC.", most), nil)
	} else {
		s.alarms.clear(alarmBandwidth)
	}
}

// clause makes a part of a sentence of a text that may be one.
func clause(text string) string { return strings.TrimSuffix(text, ".") }

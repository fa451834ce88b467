package mailserver

import (
	"context"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// Bounds of archiving.
const (
	maxPuts  = 2       // under way: one collects while the other syncs
	maxBatch = 1024    // envelopes of a Put
	maxBytes = 4 << 20 // bytes of a Put; a larger envelope comes alone

	// MaxTTL is the longest time to live of an envelope that is kept. Gossip takes longer ones without a penalty and passes them on
	// for a while; who wants an envelope kept has no need of one.
	MaxTTL = 7 * 24 * time.Hour
)

// archivist puts what it is given into the archive. A Put begins as soon as there is something and fewer than maxPuts are
// under way; what comes meanwhile makes up the next.
type archivist struct {
	archive  archive.Archive
	now      func() time.Time
	alarms   *alarms
	memory   *memory
	resolved func([]Verdict)

	mu      sync.Mutex
	more    sync.Cond // queue or closed
	queue   []kept
	keeping int // in the queue and under way
	fair    fairness
	closed  bool
	putters sync.WaitGroup

	stored, storedBytes, duplicates, declined, retried, puts uint64
}

type kept struct {
	env    *envelope.Envelope
	source string
}

func newArchivist(s *Server, o Options) *archivist {
	a := &archivist{archive: o.Archive, now: o.Now, alarms: s.alarms, memory: s.memory, resolved: o.Resolved}
	if a.resolved == nil {
		a.resolved = func([]Verdict) {}
	}
	a.more.L = &a.mu
	a.fair.setRules(o.Rules)
	for range maxPuts {
		a.putters.Go(a.put)
	}
	return a
}

// Keep takes an envelope that gossip accepted; Options.Resolved is told what became of it. source is where it came from
// (as Asker.Source; "" is exempt from fair shares). It returns at once: the caller bounds how many are without verdict.
// After Close it does nothing.
func (s *Server) Keep(env *envelope.Envelope, source string) {
	a := s.archivist
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.queue = append(a.queue, kept{env, source})
	a.keeping++
	a.more.Signal()
}

// put is one of the goroutines that store.
func (a *archivist) put() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		for len(a.queue) == 0 {
			if a.closed {
				return
			}
			a.more.Wait()
		}
		list := a.take()
		a.mu.Unlock()
		verdicts := a.store(list)
		a.resolved(verdicts)
		clear(list) // the queue may share its array
		a.mu.Lock()
		a.keeping -= len(list)
	}
}

// take cuts the next batch from the queue.
func (a *archivist) take() []kept {
	n, bytes := 0, 0
	for n < len(a.queue) && n < maxBatch {
		if bytes += len(a.queue[n].env.Raw()); bytes > maxBytes && n > 0 {
			break
		}
		n++
	}
	list := a.queue[:n:n]
	if a.queue = a.queue[n:]; len(a.queue) == 0 {
		a.queue = nil
	}
	return list
}

// store stores what is admitted of a batch, and returns the verdicts in its order.
func (a *archivist) store(list []kept) []Verdict {
	verdicts := make([]Verdict, len(list))
	var admitted, declined []int
	var envs []*envelope.Envelope
	now := a.now()
	a.mu.Lock()
	for i, k := range list {
		verdicts[i].Hash = k.env.Hash()
		if text := a.admit(now, &k); text != "" {
			verdicts[i].Fate, verdicts[i].Text = Declined, text
			declined = append(declined, i)
			continue
		}
		admitted, envs = append(admitted, i), append(envs, k.env)
	}
	a.mu.Unlock()
	fates := make([]fate, len(envs))
	a.putAll(envs, fates)
	a.mu.Lock()
	for n, i := range admitted {
		if fates[n].fate != Durable || fates[n].duplicate {
			a.fair.refund(now, list[i].env, list[i].source)
		}
		verdicts[i].Fate, verdicts[i].Text = fates[n].fate, fates[n].text
	}
	a.mu.Unlock()
	a.spareStored(verdicts, declined)
	a.note(now, list, verdicts)
	return verdicts
}

// admit returns why an envelope is declined, "" if it is not. The lock is held.
func (a *archivist) admit(now time.Time, k *kept) (declined string) {
	if time.Duration(k.env.TTL())*time.Second > MaxTTL {
		return "the envelope lives for more than 7 days, and such ones are passed on but not kept; send it with a shorter time to live"
	}
	return a.fair.admit(now, k.env, k.source)
}

// spareStored finds those among the declined that were stored before: they are durable, whoever sends them again.
func (a *archivist) spareStored(verdicts []Verdict, declined []int) {
	if len(declined) == 0 {
		return
	}
	hashes := make([]envelope.Hash, len(declined))
	for n, i := range declined {
		hashes[n] = verdicts[i].Hash
	}
	list, err := a.archive.Find(context.Background(), hashes, false)
	for n, i := range declined {
		switch {
		case err != nil:
			verdicts[i].Fate, verdicts[i].Text = Retry, ""
		case list[n].Arrival != 0:
			verdicts[i].Fate, verdicts[i].Text = Durable, ""
		}
	}
}

// fate is what became of one envelope of a Put.
type fate struct {
	fate      Fate
	text      string
	duplicate bool
}

// putAll puts envelopes, and tells what became of each. When the archive cannot accept one of them ever, the others are
// put without it.
func (a *archivist) putAll(envs []*envelope.Envelope, fates []fate) {
	if len(envs) == 0 {
		return
	}
	receipts, err := a.archive.Put(context.Background(), envs)
	a.report(err)
	if err != nil && fault.Is(err, fault.Invalid) {
		if len(envs) == 1 {
			fates[0] = fate{fate: Declined, text: fault.Text(err)}
			return
		}
		half := len(envs) / 2
		a.putAll(envs[:half], fates[:half])
		a.putAll(envs[half:], fates[half:])
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.puts++
	for i := range fates {
		switch {
		case err != nil:
			fates[i].fate = Retry
		case receipts[i].Duplicate:
			fates[i].duplicate = true
			a.duplicates++
		default:
			a.stored++
			a.storedBytes += uint64(len(envs[i].Raw()))
		}
	}
}

// report sets and clears conditions after a Put.
func (a *archivist) report(err error) {
	switch {
	case err == nil:
		a.alarms.clear(alarmFull)
		a.alarms.clear(alarmFailing)
	case fault.Is(err, fault.Limit):
		a.alarms.set(alarmFull, fullText(fault.Text(err)), err)
	case fault.Is(err, fault.Invalid):
	default:
		a.alarms.set(alarmFailing, "New messages cannot be stored: "+clause(fault.Text(err))+". They are tried again until they expire; check the disk and the log.", err)
	}
}

func fullText(why string) string {
	return "New messages are not archived: " + clause(why) + ". Give the archive more space, or keep messages for a shorter time."
}

// note counts verdicts and remembers them for Explain.
func (a *archivist) note(now time.Time, list []kept, verdicts []Verdict) {
	var declined, retried uint64
	for i, v := range verdicts {
		switch v.Fate {
		case Declined:
			declined++
			a.memory.refused(now, v.Hash, v.Text, list[i].source)
		case Retry:
			retried++
		case Durable:
			a.memory.accepted(now, v.Hash, list[i].source)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.declined += declined
	a.retried += retried
}

func (a *archivist) setRules(r archive.Rules) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fair.setRules(r)
}

func (a *archivist) stats(st *Stats) {
	a.mu.Lock()
	defer a.mu.Unlock()
	st.Kept, st.KeptBytes, st.Duplicates = a.stored, a.storedBytes, a.duplicates
	st.Declined, st.Retried, st.Puts, st.Keeping = a.declined, a.retried, a.puts, a.keeping
}

// close returns when everything in the queue has its verdict.
func (a *archivist) close() {
	a.mu.Lock()
	a.closed = true
	a.more.Broadcast()
	a.mu.Unlock()
	a.putters.Wait()
}

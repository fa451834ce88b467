package mailserver_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/archivetest"
	"github.com/restante-im/restante/internal/archive/mem"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/mailserver"
)

// rig is a server over an archive in memory, within a bubble of time.
type rig struct {
	t       *testing.T
	archive *faulty
	server  *mailserver.Server
	health  *health.Registry
	mu      sync.Mutex
	seen    []mailserver.Verdict
}

// faulty is an archive whose calls can be made to fail, or to wait.
type faulty struct {
	*mem.Archive
	mu       sync.Mutex
	put      error
	bad      envelope.Hash // never accepted
	walk     error
	next     error
	find     error
	gate     chan struct{} // if not nil, Put takes from it
	batches  [][]envelope.Hash
	open     int // walks
	stored   map[envelope.Hash]bool
	starting func() // called by Walk
}

func (f *faulty) set(change func(*faulty)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *faulty) Put(ctx context.Context, list []*envelope.Envelope) ([]archive.Receipt, error) {
	f.mu.Lock()
	err, gate, bad := f.put, f.gate, f.bad
	var batch []envelope.Hash
	for _, e := range list {
		batch = append(batch, e.Hash())
	}
	f.batches = append(f.batches, batch)
	f.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if slices.Contains(batch, bad) {
		err = fault.E("", fault.Invalid, nil, "the envelope is too large")
	}
	if err != nil {
		return nil, err
	}
	receipts, err := f.Archive.Put(ctx, list)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range batch {
		f.stored[h] = err == nil
	}
	return receipts, err
}

type countedWalk struct {
	archive.Walk
	f    *faulty
	once sync.Once
}

func (f *faulty) Walk(ctx context.Context, q archive.Query) (archive.Walk, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.walk != nil {
		return nil, f.walk
	}
	if f.starting != nil {
		f.starting()
	}
	w, err := f.Archive.Walk(ctx, q)
	if err != nil {
		return nil, err
	}
	f.open++
	return &countedWalk{Walk: w, f: f}, nil
}

func (w *countedWalk) Next(ctx context.Context, b archive.Bound) (archive.Page, error) {
	w.f.mu.Lock()
	err := w.f.next
	w.f.mu.Unlock()
	if err != nil {
		return archive.Page{}, err
	}
	return w.Walk.Next(ctx, b)
}

func (w *countedWalk) Close() {
	w.once.Do(func() { w.f.set(func(f *faulty) { f.open-- }) })
	w.Walk.Close()
}

func (f *faulty) Find(ctx context.Context, hashes []envelope.Hash, bodies bool) ([]archive.Record, error) {
	f.mu.Lock()
	err := f.find
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return f.Archive.Find(ctx, hashes, bodies)
}

// inBubble runs a test with a rig whose clock is the bubble's.
func inBubble(t *testing.T, change func(*mailserver.Options), test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, health: health.NewRegistry(time.Now)}
		o := mailserver.Options{Now: time.Now, Health: r.health, Resolved: r.resolved, Workers: 2}
		if change != nil {
			change(&o)
		}
		a, err := mem.Open(mem.Options{Now: time.Now, Rules: o.Rules})
		if err != nil {
			t.Fatal(err)
		}
		r.archive = &faulty{Archive: a, stored: map[envelope.Hash]bool{}}
		o.Archive = r.archive
		r.server = mailserver.New(o)
		test(r)
		r.server.Close()
		r.server.Close()
		if r.archive.open != 0 {
			t.Errorf("%d walks were left open", r.archive.open)
		}
	})
}

func (r *rig) resolved(list []mailserver.Verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range list {
		r.archive.set(func(f *faulty) {
			if v.Fate == mailserver.Durable && !f.stored[v.Hash] {
				r.t.Errorf("%v is called durable and is not stored", v.Hash)
			}
		})
	}
	r.seen = append(r.seen, list...)
}

// verdicts waits until the server has nothing more to do, and takes what was resolved.
func (r *rig) verdicts() []mailserver.Verdict {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

// fill stores n envelopes of size bytes, of two topics in turn, sent a second apart.
func (r *rig) fill(n, size int) []*envelope.Envelope {
	r.t.Helper()
	list := make([]*envelope.Envelope, n)
	for i := range list {
		list[i] = archivetest.Mail(uint64(i), uint32(time.Now().Unix())+uint32(i)-uint32(n), archivetest.Topic(i%2), size)
	}
	if _, err := r.archive.Archive.Put(context.Background(), list); err != nil {
		r.t.Fatal(err)
	}
	return list
}

// reader is an Outbox.
type reader struct {
	mu      sync.Mutex
	slow    bool // does not say what left
	packets [][]archive.Record
	pending []func(error)
	ends    []mailserver.Outcome
	most    int // bytes under way
	now     int
}

func (r *reader) Records(list []archive.Record, done func(error)) {
	r.mu.Lock()
	if len(r.ends) > 0 || len(list) == 0 {
		panic("records after the end, or none")
	}
	r.packets = append(r.packets, list)
	size := 0
	for _, rec := range list {
		size += len(rec.Raw)
	}
	r.now += size
	r.most = max(r.most, r.now)
	left := func(err error) {
		r.mu.Lock()
		r.now -= size
		r.mu.Unlock()
		done(err)
	}
	if slow := r.slow; slow {
		r.pending = append(r.pending, left)
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	left(nil)
}

func (r *reader) End(o mailserver.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends = append(r.ends, o)
}

// take lets the first packet leave, or be lost.
func (r *reader) take(err error) bool {
	r.mu.Lock()
	if len(r.pending) == 0 {
		r.mu.Unlock()
		return false
	}
	done := r.pending[0]
	r.pending = r.pending[1:]
	r.mu.Unlock()
	done(err)
	return true
}

func (r *reader) records() (list []archive.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.packets {
		list = append(list, p...)
	}
	return list
}

func (r *reader) ended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ends) > 0
}

// end waits for the end.
func (r *reader) end(t *testing.T) mailserver.Outcome {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ends) != 1 {
		t.Fatalf("ended %d times: %+v", len(r.ends), r.ends)
	}
	return r.ends[0]
}

func prepared(req mailserver.Request) mailserver.Prepare {
	return func() (mailserver.Request, error) { return req, nil }
}

var friend = mailserver.Asker{Conn: 1, Source: "10.0.0"}

// ask asks and waits for the whole answer.
func (r *rig) ask(req mailserver.Request) (mailserver.Outcome, *reader) {
	r.t.Helper()
	out := &reader{}
	r.server.Ask(friend, prepared(req), out)
	return out.end(r.t), out
}

func wantKind(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("error %v, want one of kind %v", err, kind)
	}
}

var errDisk = fault.E("test", fault.Unavailable, errors.New("I/O error"), "the disk does not answer")

// pass lets the bubble's time pass.
func pass(d time.Duration) { <-time.After(d) }

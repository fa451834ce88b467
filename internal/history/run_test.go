package history_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
)

// transport answers each question by a script, in a goroutine of its own.
type transport struct {
	caps   history.Caps
	answer func(n int, q history.Question, cancelled <-chan struct{}, send func(history.Answer))

	mu        sync.Mutex
	asked     int
	granted   int64
	cancelled int
	gone      bool
}

func (t *transport) Caps() history.Caps { return t.caps }

func (t *transport) Ask(_ history.Form, q history.Question, answer func(history.Answer)) (func(), error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return nil, fault.E("", fault.Closed, nil, "not connected")
	}
	t.asked++
	over := make(chan struct{})
	go t.answer(t.asked, q, over, answer)
	return func() {
		close(over)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.cancelled++
	}, nil
}

func (t *transport) Grant(bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.granted += bytes
}

func oneEach(n int, _ history.Question, cancelled <-chan struct{}, send func(history.Answer)) {
	select {
	case <-time.After(time.Second):
	case <-cancelled:
		return
	}
	send(packet(envelopeAt(uint32(1000+n), topics[0], 10)))
	if n < 5 {
		send(history.Ended{Cursor: []byte{byte(n)}})
		return
	}
	send(history.Ended{})
}

func TestRunDeliversPageByPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &transport{caps: history.Caps{Forms: forms(history.Paged)}, answer: oneEach}
		var got []*envelope.Envelope
		r, err := history.Run(t.Context(), tr, history.Plan{Topics: topics[:1], From: 1000, To: 2000},
			func(_ context.Context, p history.Page) error {
				<-time.After(time.Minute)
				got = append(got, p.Envelopes...)
				return nil
			}, nil)
		if err != nil || r.End != history.EndComplete || len(got) != 5 || r.Envelopes != 5 || r.FirstAnswer != time.Second {
			t.Errorf("%d delivered, %+v, %v", len(got), r, err)
		}
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &transport{caps: history.Caps{Forms: forms(history.Paged)}, answer: oneEach}
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		r, err := history.Run(ctx, tr, history.Plan{From: 1000, To: 2000},
			func(ctx context.Context, p history.Page) error {
				if len(p.Envelopes) > 0 && p.Envelopes[0].Sent() == 1002 {
					<-ctx.Done() // its end is waited for
				}
				return nil
			}, nil)
		if !errors.Is(err, context.DeadlineExceeded) || r.End != history.EndFailed || tr.cancelled != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		if want := (history.Position{Form: history.Paged, From: 1000, To: 2000, Cursor: []byte{1}}); r.Resume.String() != want.String() {
			t.Errorf("resume at %q, want %q", r.Resume, want)
		}
	})
}

func TestRunEndsWithTheConsumersError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := fault.E("keep", fault.Unavailable, nil, "the disk is full")
		tr := &transport{caps: history.Caps{Forms: forms(history.Paged)}, answer: oneEach}
		r, err := history.Run(t.Context(), tr, history.Plan{From: 1000, To: 2000},
			func(context.Context, history.Page) error { return full }, nil)
		if !errors.Is(err, full) || r.Envelopes != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestRunWithoutAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &transport{caps: history.Caps{Forms: forms(history.Paged)}, gone: true}
		if _, err := history.Run(t.Context(), tr, history.Plan{}, nil, nil); !fault.Is(err, fault.Unavailable) {
			t.Errorf("error %v", err)
		}
		tr.caps.Forms = nil
		if _, err := history.Run(t.Context(), tr, history.Plan{}, nil, nil); !fault.Is(err, fault.Unavailable) {
			t.Errorf("error %v", err)
		}
	})
}

func TestRunGrantsCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &transport{caps: history.Caps{Forms: forms(history.ByArrival), Epoch: [8]byte{1}}}
		const count, size = 40, 1 << 20
		tr.answer = func(_ int, q history.Question, _ <-chan struct{}, send func(history.Answer)) {
			for i := range count {
				for sent := int64(i) * size; ; <-time.After(time.Millisecond) {
					tr.mu.Lock()
					room := q.Credit + tr.granted - sent
					tr.mu.Unlock()
					if room > 0 {
						break
					}
				}
				send(history.Got{Envelopes: []*envelope.Envelope{envelopeAt(uint32(i), topics[0], size-100)}, Bytes: size, Through: uint64(i)})
			}
			send(history.Ended{Through: count})
		}
		r, err := history.Run(t.Context(), tr, history.Plan{}, func(context.Context, history.Page) error {
			<-time.After(time.Second)
			return nil
		}, nil)
		if err != nil || r.Envelopes != count || r.LastArrival != count {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// listed answers a list of one envelope, and its body.
func listed(env *envelope.Envelope) func(int, history.Question, <-chan struct{}, func(history.Answer)) {
	return func(_ int, q history.Question, _ <-chan struct{}, send func(history.Answer)) {
		if len(q.Hashes) > 0 {
			send(packet(env))
			send(history.Ended{})
			return
		}
		send(named(5, env))
		send(history.Ended{Through: 6})
	}
}

func TestRunJobCompares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := envelopeAt(1000, topics[0], 10)
		tr := &transport{caps: lister, answer: listed(env)}
		job, err := history.NewCheck(history.Plan{}, tr.Caps())
		if err != nil {
			t.Fatal(err)
		}
		pages := 0
		r, err := history.RunJob(t.Context(), tr, job, func(_ context.Context, p history.Page) error {
			pages++
			return nil
		}, func(_ context.Context, list []history.Entry) ([]bool, error) {
			<-time.After(time.Second)
			return make([]bool, len(list)), nil
		}, nil)
		if err != nil || r.End != history.EndComplete || r.Fetched != 1 || r.Took != time.Second || r.LastArrival != 6 || tr.asked != 2 {
			t.Errorf("%d pages, %+v, %v", pages, r, err)
		}
	})
}

func TestRunJobEndsWithTheLookupsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &transport{caps: lister, answer: listed(envelopeAt(1000, topics[0], 10))}
		broken := fault.E("look up", fault.Unavailable, nil, "the disk is gone")
		for _, late := range []bool{false, true} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			job, err := history.NewCheck(history.Plan{}, tr.Caps())
			if err != nil {
				t.Fatal(err)
			}
			running := false
			r, err := history.RunJob(ctx, tr, job, nil, func(ctx context.Context, _ []history.Entry) ([]bool, error) {
				running = true
				defer func() { running = false }()
				if late {
					<-ctx.Done()
				}
				return nil, broken
			}, nil)
			if cancel(); running || r.End != history.EndFailed || !late && !errors.Is(err, broken) || late && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a lookup still runs: %v; %v", running, err)
			}
		}
	})
}

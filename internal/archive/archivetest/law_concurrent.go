package archivetest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
)

// Writers and readers do not disturb each other, and a reader that follows the arrivals misses nothing.
func testWritersAndReaders(t *testing.T, s suite) { s.crowd(t, archive.Rules{}) }

// The same while the oldest is pruned all the time.
func testWritersReadersAndPruning(t *testing.T, s suite) {
	s.crowd(t, archive.Rules{Age: 30 * time.Minute, Cap: 1 << 20})
}

// crowd is several writers, readers and a pruner at once.
func (s suite) crowd(t *testing.T, rules archive.Rules) {
	const writers, batches = 4, 50
	r := s.rig(t, rules)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writing, reading sync.WaitGroup
	acknowledged := make([]map[uint64]*envelope.Envelope, writers)
	for i := range writers {
		writing.Go(func() { acknowledged[i] = r.write(i, batches) })
	}
	seen := make(map[uint64]envelope.Hash)
	written := make(chan struct{})
	reading.Go(func() { r.follow(written, seen) })
	for _, q := range []archive.Query{{}, {Topics: []envelope.Topic{Topic(1), Topic(3)}}, {Topics: []envelope.Topic{Topic(2)}, Order: archive.ByArrival}} {
		reading.Go(func() { r.readAgainAndAgain(ctx, q) })
	}
	reading.Go(func() { r.pruneAgainAndAgain(ctx) })
	reading.Go(func() { r.maintain(ctx) })
	writing.Wait()
	close(written)
	stop()
	reading.Wait()

	pruned := r.Stats().Pruned > 0
	total := 0
	for _, batch := range acknowledged {
		for arrival, e := range batch {
			total++
			if h, ok := seen[arrival]; ok && h != e.Hash() || !ok && !pruned {
				t.Fatalf("arrival %d was acknowledged for %s, and the follower saw %s", arrival, e.Hash(), h)
			}
		}
	}
	if put := r.Stats().Puts; uint64(len(seen)) > put || uint64(total) > put {
		t.Errorf("the follower saw %d of %d, and %d were acknowledged", len(seen), put, total)
	}
	if pruned != (rules.Age > 0) {
		t.Errorf("%d were pruned", r.Stats().Pruned)
	}
}

// write puts batches and returns what was acknowledged, by arrival.
func (r *rig) write(writer, batches int) map[uint64]*envelope.Envelope {
	done := make(map[uint64]*envelope.Envelope)
	rng := rand.New(rand.NewPCG(uint64(writer), 7))
	serial := uint64(writer+1) << 32
	for range batches {
		var list []*envelope.Envelope
		for range 1 + rng.IntN(40) {
			serial++
			list = append(list, Mail(serial, start-rng.Uint32N(5000), Topic(rng.IntN(6)), rng.IntN(600)))
		}
		receipts, err := r.Put(r.t.Context(), list)
		if err != nil {
			r.t.Errorf("put: %v", err)
			return done
		}
		for i, got := range receipts {
			if _, twice := done[got.Arrival]; twice || got.Duplicate || i > 0 && got.Arrival <= receipts[i-1].Arrival {
				r.t.Errorf("receipt %d is %+v", i, got)
			}
			done[got.Arrival] = list[i]
		}
		r.clock.Advance(time.Minute)
	}
	return done
}

// follow reads by arrival, resuming after the last one read, until all is written and read.
func (r *rig) follow(written <-chan struct{}, seen map[uint64]envelope.Hash) {
	q := archive.Query{Order: archive.ByArrival}
	for last := false; !last; {
		select {
		case <-written:
			last = true
		default:
		}
		found, err := readAll(r.t.Context(), r, q, archive.Bound{Count: 50, Bytes: 20_000})
		if err != nil {
			r.t.Errorf("follow: %v", err)
			return
		}
		for _, rec := range found {
			if err := honest(q, rec); err != nil {
				r.t.Error(err)
			}
			seen[rec.Arrival] = rec.Hash
			q = after(q, rec)
		}
	}
}

func (r *rig) readAgainAndAgain(ctx context.Context, q archive.Query) {
	for ctx.Err() == nil {
		found, err := readAll(r.t.Context(), r, q, archive.Bound{Count: 100, Bytes: 50_000})
		if err != nil {
			r.t.Errorf("walk %s: %v", describe(q), err)
			return
		}
		for i, rec := range found {
			if err := honest(q, rec); err != nil {
				r.t.Error(err)
			}
			if i > 0 && !ascends(q.Order, found[i-1], rec) {
				r.t.Errorf("%s came after %s", brief(rec), brief(found[i-1]))
			}
		}
		if len(found) > 0 {
			r.findOne(found[len(found)/2])
		}
	}
}

func (r *rig) findOne(want archive.Record) {
	got, err := r.Find(r.t.Context(), []envelope.Hash{want.Hash}, true)
	if err != nil {
		r.t.Errorf("find: %v", err)
	} else if got[0].Arrival != 0 && differs(got[0], want) != nil {
		r.t.Errorf("find: %v", differs(got[0], want))
	}
}

func (r *rig) pruneAgainAndAgain(ctx context.Context) {
	for ctx.Err() == nil {
		if _, err := r.Retain(ctx, r.clock.Now()); err != nil && ctx.Err() == nil {
			r.t.Errorf("retain: %v", err)
			return
		}
		if s := r.Stats(); r.o.Rules.Cap > 0 && s.Disk > r.o.Rules.Cap {
			r.t.Errorf("%d bytes on disk", s.Disk)
			return
		}
	}
}

// honest tells whether a record is what its bytes say, was made by Mail, and belongs to the query.
func honest(q archive.Query, r archive.Record) error {
	e, err := envelope.Decode(r.Raw)
	if err != nil {
		return fmt.Errorf("%s: %w", brief(r), err)
	}
	if want := recordOf(e, r.Arrival, r.Arrived); differs(r, want) != nil || !bytes.Equal(r.Raw, e.Raw()) {
		return fmt.Errorf("%s is really %s", brief(r), brief(want))
	}
	if !bytes.Equal(e.Data(), dataOf(e.Nonce(), len(e.Data()))) {
		return fmt.Errorf("%s was never put", brief(r))
	}
	if !admits(q, r) {
		return fmt.Errorf("%s does not belong to %s", brief(r), describe(q))
	}
	return nil
}

// Of one envelope that all put at once, one receipt is new and all name one arrival.
func testSameEnvelopeFromManyWriters(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	for round := range 10 {
		list := r.batch(20, 50)
		var wg sync.WaitGroup
		var mu sync.Mutex
		first := map[int]int{}
		arrival := map[int]uint64{}
		for range 8 {
			wg.Go(func() {
				receipts, err := r.Put(t.Context(), list)
				if err != nil {
					t.Errorf("put: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				for i, got := range receipts {
					if !got.Duplicate {
						first[i]++
					}
					if arrival[i] == 0 {
						arrival[i] = got.Arrival
					}
					if got.Arrival != arrival[i] || got.Arrival <= uint64(round*20) {
						t.Errorf("envelope %d has arrivals %d and %d", i, got.Arrival, arrival[i])
					}
				}
			})
		}
		wg.Wait()
		for i := range list {
			if first[i] != 1 {
				t.Errorf("envelope %d was new %d times", i, first[i])
			}
		}
	}
	if got := r.Stats(); got.Envelopes != 200 || got.Next != 201 || got.Duplicates != 1400 {
		t.Errorf("%+v", got)
	}
}

// Two archives in one directory would destroy each other, so the second is refused.
func testOneAtATime(t *testing.T, s suite) {
	r := s.rig(t, archive.Rules{})
	r.put(r.batch(10, 10)...)
	if second, err := s.open(r.o); err == nil {
		second.Close()
		t.Error("an archive was opened twice at a time")
	} else {
		wantKind(t, "open twice", err, fault.Exists)
	}
	r.put(r.batch(10, 10)...)
	r.reopen()
	r.agreesOnAll()
}

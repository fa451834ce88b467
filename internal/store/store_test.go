package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/store"
	"github.com/restante-im/restante/internal/store/storetest"
)

func TestDeliverAndRead(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "a folder + 100% ?#")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "inbox.db")
	s, err := store.Open(path, options())
	if err != nil {
		t.Fatal(err)
	}
	m := coverage.Missing{Hash: envelope.Hash{9}, Sent: 1, Size: 1 << 31, Topics: []envelope.Topic{{1}, {2, 255}},
		Named: nil, Noticed: start, Tried: 3, Next: start.Add(time.Hour), Gone: true, Cause: coverage.Withheld}
	big := mail(2, 1000, 300_000)
	d := store.Delivery{
		Envelopes: append(mails(1, 0, 3, 500), big, mail(1, 1, 500)), Server: node(4),
		Claims:  []coverage.Replace{claim(1, 4, 1<<63+5), claim(2, 4, 9)},
		Missing: []coverage.Missing{m, {Hash: envelope.Hash{8}}},
		Put:     []store.Record{{"watch", "b", []byte("two")}, {"watch", "a", nil}, {"letter", "x", []byte("three")}},
	}
	kept := deliver(t, s, d)
	want := store.Kept{New: 4, NewBytes: kept.NewBytes, First: 1, Last: 4, Fresh: []bool{true, true, true, true, false}}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Error(diff)
	}
	live := deliver(t, s, store.Delivery{Envelopes: []*envelope.Envelope{mail(1, 2, 500), mail(3, 3, 500)}})
	if live.New != 1 || live.First != 5 || live.Last != 5 {
		t.Errorf("a delivery of a known and a new one: %+v", live)
	}
	look := func() {
		t.Helper()
		list := all(t, s, 2)
		if len(list) != 5 || !bytes.Equal(list[3].Envelope.Raw(), big.Raw()) || list[0].Server != node(4) ||
			list[4].Server != node(0) || !list[0].Came.Equal(start) || list[4].Seq != 5 {
			t.Errorf("mail: %+v", list)
		}
		if got := all(t, s, 1, envelope.Topic{3}, envelope.Topic{1}, envelope.Topic{1}); len(got) != 4 {
			t.Errorf("%d of two topics, want 4", len(got))
		}
		claims, err := s.Claims(ctx)
		if diff := cmp.Diff(append(d.Claims[0].Claims, d.Claims[1].Claims...), claims); err != nil || diff != "" {
			t.Error(err, diff)
		}
		missing, err := s.Missing(ctx)
		if diff := cmp.Diff([]coverage.Missing{d.Missing[1], m}, missing); err != nil || diff != "" {
			t.Error(err, diff)
		}
		records, err := s.Records(ctx, "watch")
		if diff := cmp.Diff([]store.Record{{"watch", "a", []byte{}}, {"watch", "b", []byte("two")}}, records); err != nil || diff != "" {
			t.Error(err, diff)
		}
		if err := s.Check(ctx); err != nil {
			t.Error(err)
		}
	}
	look()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, options())
	look()
	deliver(t, s, store.Delivery{Claims: []coverage.Replace{claim(1, 4, 0)}, Found: []envelope.Hash{m.Hash}, Delete: []store.Record{{Kind: "watch", ID: "b"}}})
	claims, _ := s.Claims(ctx)
	missing, _ := s.Missing(ctx)
	records, _ := s.Records(ctx, "watch")
	if len(claims) != 2 || len(missing) != 1 || len(records) != 1 {
		t.Errorf("%d claims, %d missing, %d records are left", len(claims), len(missing), len(records))
	}
	one, err := s.Mail(ctx, store.MailQuery{Hash: new(big.Hash())})
	if err != nil || len(one) != 1 || one[0].Seq != 4 {
		t.Errorf("by hash: %v, %v", one, err)
	}
	for name, q := range map[string]store.MailQuery{"an unknown hash": {Hash: &envelope.Hash{1}}, "another topic": {Hash: new(big.Hash()), Topics: []envelope.Topic{{1}}},
		"earlier": {Hash: new(big.Hash()), After: 4}, "behind the end": {After: 5}} {
		if list, err := s.Mail(ctx, q); err != nil || len(list) != 0 {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
}

func TestForgottenIsNotNew(t *testing.T) {
	ctx := context.Background()
	c := &clock{start}
	s := newStore(t, store.Options{Key: key, Now: c.now})
	list := append(mails(1, 0, 300, 100), mails(2, 300, 600, 100)...)
	deliver(t, s, store.Delivery{Envelopes: list})
	if err := s.Forget(ctx, []envelope.Topic{{1}}, 290); err != nil {
		t.Fatal(err)
	}
	if got := len(all(t, s, 0, envelope.Topic{1})); got != 10 {
		t.Errorf("%d left of topic 1, want 10", got)
	}
	c.t = c.t.Add(time.Hour)
	p, err := s.Prune(ctx, c.t, map[envelope.Topic]uint64{{2}: 400})
	if err != nil || p.Mail != 110 || p.Hashes != 0 {
		t.Errorf("pruned %+v, %v; want 10 of the first topic and 100 of the second", p, err)
	}
	if kept := deliver(t, s, store.Delivery{Envelopes: list}); kept.New != 0 {
		t.Errorf("%d of what was forgotten are new", kept.New)
	}
	known, err := s.Known(ctx, []envelope.Hash{list[0].Hash(), {1}})
	if err != nil || !known[0] || known[1] {
		t.Errorf("known: %v, %v", known, err)
	}
	c.t = c.t.Add(store.Horizon)
	if p, err = s.Prune(ctx, time.Time{}, nil); err != nil || p.Mail != 0 || p.Hashes != 400 {
		t.Errorf("after the horizon: %+v, %v; want the hashes of the 400 whose bodies are gone", p, err)
	}
	if err := s.Forget(ctx, nil, 600); err != nil {
		t.Fatal(err)
	}
	if kept := deliver(t, s, store.Delivery{Envelopes: list}); kept.New != 400 || kept.First != 601 {
		t.Errorf("beyond the horizon: %+v", kept)
	}
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
}

func TestCapRefusesWhole(t *testing.T) {
	ctx := context.Background()
	o := options()
	o.Cap = 10_000
	s := newStore(t, o)
	deliver(t, s, store.Delivery{Envelopes: mails(1, 0, 8, 1000)})
	_, err := s.Deliver(ctx, store.Delivery{Envelopes: mails(1, 6, 12, 1000), Put: []store.Record{{"watch", "a", nil}}})
	if !fault.Is(err, fault.Limit) || !strings.Contains(fault.Text(err), "inbox.cap") {
		t.Fatalf("above the cap: %v", err)
	}
	records, _ := s.Records(ctx, "watch")
	if st, err := s.Stats(ctx); err != nil || st.Mail != 8 || len(records) != 0 {
		t.Errorf("stored of what was refused: %+v, %v, %v", st, records, err)
	}
	deliver(t, s, store.Delivery{Envelopes: mails(1, 0, 9, 1000)}) // seven known ones take no room
	if err := s.Forget(ctx, nil, 5); err != nil {
		t.Fatal(err)
	}
	deliver(t, s, store.Delivery{Envelopes: mails(1, 20, 24, 1000)})
	_, err = s.Deliver(ctx, store.Delivery{Put: []store.Record{{"watch", strings.Repeat("x", 300), nil}}})
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("a long id: %v", err)
	}
}

func TestPruneGivesSpaceBack(t *testing.T) {
	ctx := context.Background()
	s := newStore(t, options())
	deliver(t, s, store.Delivery{Envelopes: mails(1, 0, 2000, 3000)})
	before, _ := s.Stats(ctx)
	p, err := s.Prune(ctx, start.Add(time.Hour), nil)
	if err != nil || p.Mail != 2000 || p.Bytes != before.Bytes {
		t.Fatalf("%+v, %v", p, err)
	}
	after, err := s.Stats(ctx)
	if err != nil || after.Mail != 0 || after.Bytes != 0 || after.Last != 2000 || after.File > before.File/4 {
		t.Errorf("before %+v, after %+v, %v", before, after, err)
	}
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
}

// TestTogether: many at once, readers between them; each delivery has numbers of its own without holes.
func TestTogether(t *testing.T) {
	ctx := context.Background()
	s := newStore(t, options())
	const writers, each, size = 8, 20, 5
	taken := make([]bool, writers*each*size+1)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				n := (w*each + i) * size
				kept, err := s.Deliver(ctx, store.Delivery{Envelopes: append(mails(1, n, n+size, 100), mail(9, 9_999_999, 10)),
					Put: []store.Record{{"writer", fmt.Sprint(w), []byte{byte(i)}}}})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for seq := kept.First; seq <= kept.Last; seq++ {
					if int(seq) >= len(taken)+1 || int(seq) < len(taken) && taken[seq] {
						t.Errorf("number %d given twice", seq)
					} else if int(seq) < len(taken) {
						taken[seq] = true
					}
				}
				mu.Unlock()
			}
		})
		wg.Go(func() {
			for range each {
				if _, err := s.Mail(ctx, store.MailQuery{Topics: []envelope.Topic{{1}}, Limit: 50}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if st, _ := s.Stats(ctx); st.Mail != writers*each*size+1 || st.Last != st.Mail {
		t.Errorf("%+v", st)
	}
}

func TestStopped(t *testing.T) {
	s := newStore(t, options())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.Deliver(ctx, store.Delivery{Envelopes: mails(1, 0, 1, 10)})
	if !fault.Is(err, fault.Closed) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := s.Mail(ctx, store.MailQuery{}); !fault.Is(err, fault.Closed) {
		t.Errorf("cancelled: %v", err)
	}
	if got := all(t, s, 0); len(got) != 0 {
		t.Errorf("stored after all: %v", got)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = s.Deliver(context.Background(), store.Delivery{})
	if !fault.Is(err, fault.Closed) {
		t.Errorf("closed: %v", err)
	}
	if err := s.Check(context.Background()); !fault.Is(err, fault.Closed) {
		t.Errorf("closed: %v", err)
	}
}

// TestWaiting: while the disk is busy with one delivery, those that wait can be stopped, and the others are then committed
// with one sync.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, o := storetest.NewDisk(), options()
		o.On = d.Mount(t)
		s, err := store.Open(inbox, o)
		if err != nil {
			t.Fatal(err)
		}
		deliver(t, s, store.Delivery{Envelopes: mails(1, 0, 1, 100)})
		release, flushes := make(chan struct{}), 0
		d.OnSync(func() {
			if flushes++; flushes == 1 {
				<-release
			}
		})
		var wg sync.WaitGroup
		wg.Go(func() { deliver(t, s, store.Delivery{Envelopes: mails(1, 1, 2, 100)}) })
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		wg.Go(func() {
			if _, err := s.Deliver(ctx, store.Delivery{Envelopes: mails(1, 2, 3, 100)}); !fault.Is(err, fault.Closed) {
				t.Errorf("stopped while waiting: %v", err)
			}
		})
		for n := range 5 {
			wg.Go(func() { deliver(t, s, store.Delivery{Envelopes: mails(1, 10+n, 11+n, 100)}) })
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(release)
		wg.Wait()
		if flushes != 2 {
			t.Errorf("%d syncs for one delivery and five that waited, want 2", flushes)
		}
		if got := len(all(t, s, 0)); got != 7 {
			t.Errorf("%d envelopes, want 7", got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestBackup(t *testing.T) {
	ctx := context.Background()
	s := newStore(t, options())
	deliver(t, s, store.Delivery{Envelopes: mails(1, 0, 1500, 1000)})
	path := filepath.Join(t.TempDir(), "copy.db")
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 20 {
			if _, err := s.Deliver(ctx, store.Delivery{Envelopes: mails(2, 10_000+i, 10_001+i, 1000)}); err != nil {
				t.Error(err)
			}
		}
	})
	err := s.Backup(ctx, path)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := s.Backup(ctx, path); !fault.Is(err, fault.Exists) {
		t.Errorf("over an old one: %v", err)
	}
	if err := s.Backup(ctx, filepath.Join(path, "x")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("below a file: %v", err)
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Backup(stopped, path+"2"); !fault.Is(err, fault.Closed) {
		t.Errorf("stopped: %v", err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	b := open(t, path, options())
	if err := b.Check(ctx); err != nil {
		t.Error(err)
	}
	if got := len(all(t, b, 0, envelope.Topic{1})); got != 1500 {
		t.Errorf("%d in the backup", got)
	}
}

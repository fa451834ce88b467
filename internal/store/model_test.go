package store_test

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/store"
	"github.com/restante-im/restante/internal/store/storetest"
)

// model is a store as simple as can be.
type model struct {
	mail    map[uint64]*envelope.Envelope
	came    map[uint64]time.Time
	seen    map[envelope.Hash]bool
	next    uint64
	claims  map[[2]byte]coverage.Replace
	missing map[envelope.Hash]coverage.Missing
	records map[string]string
}

const modelCap = 60_000

func (m *model) bytes() (n int64) {
	for _, e := range m.mail {
		n += int64(len(e.Raw()))
	}
	return n
}

// deliver returns which envelopes are new, and false where the cap refuses them.
func (m *model) deliver(d store.Delivery, now time.Time) ([]bool, bool) {
	fresh, size, had := make([]bool, len(d.Envelopes)), m.bytes(), maps.Clone(m.seen)
	grows := false
	for i, e := range d.Envelopes {
		if fresh[i] = !had[e.Hash()]; fresh[i] {
			had[e.Hash()], size, grows = true, size+int64(len(e.Raw())), true
		}
	}
	if grows && size > modelCap {
		return nil, false
	}
	m.seen = had
	for i, e := range d.Envelopes {
		if fresh[i] {
			m.mail[m.next], m.came[m.next] = e, now
			m.next++
		}
	}
	for _, r := range d.Claims {
		m.claims[[2]byte{r.Topic[0], r.Server[0]}] = r
	}
	for _, h := range d.Found {
		delete(m.missing, h)
	}
	for _, one := range d.Missing {
		m.missing[one.Hash] = one
	}
	for _, r := range d.Delete {
		delete(m.records, r.ID)
	}
	for _, r := range d.Put {
		m.records[r.ID] = string(r.Data)
	}
	return fresh, true
}

func (m *model) drop(gone func(seq uint64, topic envelope.Topic) bool) {
	for seq, e := range m.mail {
		if gone(seq, e.Topic()) {
			delete(m.mail, seq)
		}
	}
}

// TestModel does random things to a store and to the model, and finds the same in both.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx, c := context.Background(), &clock{start}
		d := storetest.NewDisk()
		o := store.Options{Key: key, Cap: modelCap, Now: c.now, On: d.Mount(t)}
		s, err := store.Open(inbox, o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		m := &model{map[uint64]*envelope.Envelope{}, map[uint64]time.Time{}, map[envelope.Hash]bool{}, 1,
			map[[2]byte]coverage.Replace{}, map[envelope.Hash]coverage.Missing{}, map[string]string{}}
		t.Repeat(map[string]func(*rapid.T){
			"deliver": func(t *rapid.T) {
				d := drawDelivery(t)
				want, fits := m.deliver(d, c.t)
				kept, err := s.Deliver(ctx, d)
				if !fits {
					if !fault.Is(err, fault.Limit) {
						t.Fatalf("above the cap: %+v", err)
					}
					return
				}
				if diff := gocmp.Diff(want, kept.Fresh); err != nil || diff != "" {
					t.Fatalf("%+v %s", err, diff)
				}
			},
			"forget": func(t *rapid.T) {
				topic, through := envelope.Topic{drawByte(t, "topic", 3)}, rapid.Uint64Range(0, m.next).Draw(t, "through")
				m.drop(func(seq uint64, of envelope.Topic) bool { return of == topic && seq <= through })
				if err := s.Forget(ctx, []envelope.Topic{topic}, through); err != nil {
					t.Fatal(err)
				}
			},
			"prune": func(t *rapid.T) {
				before := c.t.Add(-time.Duration(rapid.IntRange(-1, 5).Draw(t, "hours")) * time.Hour)
				keep := map[envelope.Topic]uint64{{drawByte(t, "topic", 3)}: rapid.Uint64Range(0, m.next).Draw(t, "floor")}
				m.drop(func(seq uint64, of envelope.Topic) bool {
					floor, kept := keep[of]
					return m.came[seq].Before(before) && (!kept || seq <= floor)
				})
				if _, err := s.Prune(ctx, before, keep); err != nil {
					t.Fatal(err)
				}
			},
			"time": func(t *rapid.T) { c.t = c.t.Add(time.Hour) },
			"restart": func(t *rapid.T) {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if s, err = store.Open(inbox, o); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) { m.compare(t, s) },
		})
		if err := s.Check(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

func drawByte(t *rapid.T, label string, below int) byte {
	return byte(rapid.IntRange(0, below-1).Draw(t, label))
}

func drawDelivery(t *rapid.T) (d store.Delivery) {
	d.Server = node(drawByte(t, "server", 3))
	for range rapid.IntRange(0, 12).Draw(t, "envelopes") {
		id := rapid.IntRange(0, 60).Draw(t, "envelope")
		d.Envelopes = append(d.Envelopes, mail(byte(id%3), id, 40*id))
	}
	hash := func() envelope.Hash { return envelope.Hash{drawByte(t, "hash", 6)} }
	for range rapid.IntRange(0, 2).Draw(t, "others") {
		d.Claims = append(d.Claims, claim(drawByte(t, "topic", 3), drawByte(t, "of", 3), uint64(drawByte(t, "through", 9))))
		d.Missing = append(d.Missing, coverage.Missing{Hash: hash(), Tried: int(drawByte(t, "tried", 9))})
		d.Found = append(d.Found, hash())
		d.Put = append(d.Put, store.Record{Kind: "step", ID: string('a' + rune(drawByte(t, "id", 5))), Data: []byte{drawByte(t, "data", 9)}})
		d.Delete = append(d.Delete, store.Record{Kind: "step", ID: string('a' + rune(drawByte(t, "gone", 5)))})
	}
	return d
}

func (m *model) compare(t *rapid.T, s *store.Store) {
	ctx := context.Background()
	topics := []envelope.Topic{{drawByte(t, "topic", 3)}, {2}}
	after, limit := rapid.Uint64Range(0, m.next).Draw(t, "after"), rapid.IntRange(1, 20).Draw(t, "limit")
	var want []uint64
	for _, seq := range slices.Sorted(maps.Keys(m.mail)) {
		if seq > after && slices.Contains(topics, m.mail[seq].Topic()) && len(want) < limit {
			want = append(want, seq)
		}
	}
	page, err := s.Mail(ctx, store.MailQuery{Topics: topics, After: after, Limit: limit})
	var got []uint64
	for _, one := range page {
		got = append(got, one.Seq)
		if of := m.mail[one.Seq]; of == nil || of.Hash() != one.Envelope.Hash() || !one.Came.Equal(m.came[one.Seq]) {
			t.Fatalf("envelope %d is another", one.Seq)
		}
	}
	if diff := gocmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("%v %s", err, diff)
	}
	claims, err := s.Claims(ctx)
	var wantClaims []coverage.Claim
	for _, k := range slices.SortedFunc(maps.Keys(m.claims), func(a, b [2]byte) int { return cmp.Compare(string(a[:]), string(b[:])) }) {
		wantClaims = append(wantClaims, m.claims[k].Claims...)
	}
	if diff := gocmp.Diff(wantClaims, claims); err != nil || diff != "" {
		t.Fatalf("%v %s", err, diff)
	}
	missing, err := s.Missing(ctx)
	if len(missing) != len(m.missing) || err != nil {
		t.Fatalf("%d missing, want %d: %v", len(missing), len(m.missing), err)
	}
	for _, one := range missing {
		if diff := gocmp.Diff(m.missing[one.Hash], one); diff != "" {
			t.Fatal(diff)
		}
	}
	records, err := s.Records(ctx, "step")
	if len(records) != len(m.records) || err != nil {
		t.Fatalf("%d records, want %d: %v", len(records), len(m.records), err)
	}
	for _, r := range records {
		if string(r.Data) != m.records[r.ID] {
			t.Fatalf("record %s: %v", r.ID, r.Data)
		}
	}
	st, err := s.Stats(ctx)
	if err != nil || st.Mail != uint64(len(m.mail)) || st.Bytes != m.bytes() || st.Last != m.next-1 || st.Missing != uint64(len(m.missing)) {
		t.Fatalf("%+v, %v", st, err)
	}
}

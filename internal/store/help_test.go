package store_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/store"
)

var (
	start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	key   = [32]byte{1, 2, 3}
)

// clock stands still until it is moved.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func options() store.Options { return store.Options{Key: key, Now: (&clock{start}).now} }

func newStore(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "inbox.db"), o)
}

func open(t testing.TB, path string, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(path, o)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// mail makes an envelope: n tells it from others.
func mail(topic byte, n, size int) *envelope.Envelope {
	data := make([]byte, max(size, 8))
	binary.BigEndian.PutUint64(data, uint64(n))
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	for i := 8; i < len(data); i++ {
		data[i] = byte(rng.Uint32())
	}
	return envelope.New(uint32(start.Unix())+uint32(n%100), 50, envelope.Topic{topic}, data, uint64(n))
}

func mails(topic byte, from, to, size int) (list []*envelope.Envelope) {
	for n := from; n < to; n++ {
		list = append(list, mail(topic, n, size))
	}
	return list
}

func node(n byte) nodeaddr.ID { return nodeaddr.ID{n} }

func claim(topic byte, server byte, through uint64) coverage.Replace {
	r := coverage.Replace{Topic: envelope.Topic{topic}, Server: node(server)}
	if through > 0 {
		r.Claims = []coverage.Claim{
			{Topic: r.Topic, Server: r.Server, Exact: true, Epoch: [8]byte{7}, First: 1, Through: through, Since: 5, From: 6, To: 7, Asked: start},
			{Topic: r.Topic, Server: r.Server, From: 3, To: 4, Doubt: true, Asked: start.Add(time.Nanosecond)},
		}
	}
	return r
}

func deliver(t testing.TB, s *store.Store, d store.Delivery) store.Kept {
	t.Helper()
	kept, err := s.Deliver(context.Background(), d)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	return kept
}

// all reads the mail of these topics page by page.
func all(t testing.TB, s *store.Store, limit int, topics ...envelope.Topic) (list []store.Mail) {
	t.Helper()
	for after := uint64(0); ; {
		page, err := s.Mail(context.Background(), store.MailQuery{Topics: topics, After: after, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return list
		}
		list = append(list, page...)
		after = page[len(page)-1].Seq
	}
}

package hostile_test

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rlp"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/wire"
)

// Codes of the older forms.
const (
	syncCode    = 123
	requestCode = 126
	directCode  = 127
)

// sealer seals requests as their clients do.
type sealer struct {
	t    *testing.T
	with message.SymKey
	sign *message.PrivateKey
}

func newSealer(t *testing.T, password string) *sealer {
	t.Helper()
	key, err := message.GeneratePrivateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &sealer{t, message.PasswordKey(password), key}
}

// seal returns the packet of a request.
func (s *sealer) seal(payload []byte) []byte {
	s.t.Helper()
	data, err := message.SealSymmetric(s.with, message.Plain{Payload: payload, Sign: s.sign}, rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	return envelope.New(uint32(time.Now().Unix())+50, 50, envelope.Topic{}, data, 0).Raw()
}

// rlpOf encodes a list.
func rlpOf(t *testing.T, items ...any) []byte {
	t.Helper()
	for i, it := range items {
		if n, ok := it.(int); ok {
			items[i] = uint64(n)
		}
	}
	b, err := rlp.EncodeToBytes(items)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wrongLengths are requests in all forms with fields of lengths that they should not have: plain ones, and payloads to seal.
func wrongLengths(t *testing.T) (plain, sealed [][]byte) {
	none, topics := []byte{}, [][]byte{{1, 2, 3, 4}}
	id, bloom := make([]byte, 32), make([]byte, 64)
	for n := range 66 {
		b := make([]byte, n)
		plain = append(plain,
			rlpOf(t, id, 0, 0, 10, none, b), rlpOf(t, id, 0, 0, 10, none, b, topics), rlpOf(t, id, 0, 0, 10, b, bloom),
			rlpOf(t, b, 0, 0, 10, none, bloom), rlpOf(t, id, 0, 0, 10, none, bloom, [][]byte{b}))
		sealed = append(sealed, b,
			rlpOf(t, 0, 0, b, 10, none), rlpOf(t, 0, 0, b, 10, none, true), rlpOf(t, 0, 0, b, topics, 10, none, true),
			rlpOf(t, 0, 0, bloom, 10, b), rlpOf(t, 0, 0, bloom, [][]byte{b}, 10, b, true))
	}
	for _, huge := range []uint64{1 << 32, 1<<64 - 1} {
		plain = append(plain, rlpOf(t, id, huge, huge, huge, none, bloom))
		sealed = append(sealed, rlpOf(t, huge, huge, bloom, huge, none))
	}
	for n := 66; n < 130; n++ {
		sealed = append(sealed, make([]byte, n))
	}
	return plain, append(sealed, rlpOf(t), rlpOf(t, 1), rlpOf(t, 1, 2, 3, 4, 5, 6, 7, 8))
}

// TestMailWrongLengths sends requests with bloom filters of 0 to 65 bytes and everything else of wrong lengths, in all
// forms and both dialects: one answer each.
func TestMailWrongLengths(t *testing.T) {
	w := newMailWorld(t, few, nil)
	plain, payloads := wrongLengths(t)
	s := newSealer(t, mailPassword)
	requests := plain
	for _, p := range payloads {
		requests = append(requests, s.seal(p))
	}
	w.during(24<<20, func() {
		for _, link := range []string{shh6, waku1} {
			a := w.asker("")
			for part := 0; part < len(requests); part += 20 { // as many as may be open
				some := requests[part:min(part+20, len(requests))]
				for _, r := range some {
					a.send(link, requestCode, r)
				}
				w.answered(a, part+len(some))
			}
			a.close()
		}
	})
	if n := w.counter("mail_requests_total"); n < float64(2*len(requests)) {
		t.Errorf("%v requests came", n)
	}
}

// TestMailShortBloom sends the one packet that ended other mail servers, in each form: it is refused in words.
func TestMailShortBloom(t *testing.T) {
	w := newMailWorld(t, few, nil)
	s := newSealer(t, mailPassword)
	a := w.asker("")
	for n := 1; n < 64; n++ {
		bloom := make([]byte, n)
		for _, request := range [][]byte{
			rlpOf(t, make([]byte, 32), 0, 0, 10, []byte{}, bloom),
			s.seal(rlpOf(t, 0, 0, bloom, 10, []byte{})),
			s.seal(make([]byte, 8+n)),
		} {
			a.send(shh6, requestCode, request)
			if text, err := a.wait(); err != nil || !strings.Contains(text, "bloom") && !strings.Contains(text, fmt.Sprint(n, " bytes")) {
				t.Fatalf("a bloom filter of %d bytes is answered by %q, %v", n, text, err)
			}
		}
	}
	if came, _ := a.counts(); came != 0 {
		t.Errorf("%d envelopes came", came)
	}
}

// hugeQuestions are valid, and ask for as much work as one can.
func hugeQuestions(w *mailWorld) []wire.MailRequest {
	full, none := envelope.FullBloom(), envelope.Bloom{}
	many := make([]envelope.Topic, archive.MaxTopic)
	for i := range many {
		binary.BigEndian.PutUint32(many[i][:], uint32(i)*2654435761)
	}
	copy(many, w.topics[:100])
	return []wire.MailRequest{
		{Bloom: &full, To: 1<<32 - 1}, // everything of all times
		{Bloom: &none},                // nothing, found out by looking at everything
		{Topics: many},
		{Topics: append(many[:len(many):len(many)], w.topics...)}, // more than may be asked for
		{Bloom: &full, Limit: 1},                                  // a seek for each
		{Topics: w.topics[:1], From: 1<<32 - 2, To: 1<<32 - 1},
		{Bloom: &full, From: 2, To: 1},
	}
}

// TestMailHugeQuestions asks for everything, for nothing with all of the work, for 10,000 topics, and for one envelope
// again and again, always with as many requests open as there may be, from several connections.
func TestMailHugeQuestions(t *testing.T) {
	w := newMailWorld(t, many, nil)
	questions := hugeQuestions(w)
	askers := []*asker{}
	sent := 0
	// Each asker is a node of this process with buffers of its own.
	w.during(96<<20, func() {
		for len(askers) < 3 {
			askers = append(askers, w.asker(""))
		}
		for range 20 {
			for _, a := range askers {
				a.plain(questions[sent%len(questions)])
			}
			sent++
		}
		for _, a := range askers {
			w.answered(a, sent)
		}
	})
	for _, a := range askers {
		a.mu.Lock()
		t.Logf("%d packets for %d requests: %v", a.came, sent, a.texts)
		if a.texts[""] == 0 {
			t.Error("nothing was answered")
		}
		a.mu.Unlock()
		a.close()
	}
	w.idle()
}

// TestMailSealedByStrangers sends requests that are unsigned, sealed with a wrong password, or seen before from another
// node. All are refused in words, and nothing is given out.
func TestMailSealedByStrangers(t *testing.T) {
	w := newMailWorld(t, few, nil)
	s := newSealer(t, mailPassword)
	unsigned, wrong := *s, newSealer(t, "another password")
	unsigned.sign = nil
	full := envelope.FullBloom()
	everything := wire.EncodeSealed(wire.MailRequest{Bloom: &full, Limit: 10, Batch: true})
	victim, thief := w.asker(""), w.asker("")
	w.during(24<<20, func() {
		for range 10 {
			theirs := s.seal(everything)
			victim.send(shh6, requestCode, theirs)
			if text, err := victim.wait(); err != nil || text != "" {
				t.Fatalf("a good request is answered by %q, %v", text, err)
			}
			victim.send(shh6, requestCode, theirs) // a client may ask again
			if text, err := victim.wait(); err != nil || text != "" {
				t.Fatalf("a repeated request is answered by %q, %v", text, err)
			}
			for _, forged := range []struct {
				request []byte
				want    string
			}{
				{theirs, "came from another node"}, {unsigned.seal(everything), wire.TextUnsigned}, {wrong.seal(everything), wire.TextNotOpened},
			} {
				for _, link := range []string{shh6, waku1} {
					thief.send(link, requestCode, forged.request)
					if text, err := thief.wait(); err != nil || !strings.Contains(text, forged.want) {
						t.Fatalf("answered by %q, %v, want %q", text, err, forged.want)
					}
				}
			}
		}
	})
	if came, _ := thief.counts(); came != 0 {
		t.Errorf("%d envelopes came", came)
	}
}

// TestMailSyncByStrangers asks for the archive as another mail server would: only the operator's friends may.
func TestMailSyncByStrangers(t *testing.T) {
	w := newMailWorld(t, few, nil)
	full := envelope.FullBloom()
	a := w.asker("")
	w.during(16<<20, func() {
		for range 50 {
			for _, m := range []wire.MailRequest{
				{To: 1<<32 - 1, Bloom: &full, Limit: 1000}, {To: 1<<32 - 1, Limit: 1}, {}, {From: 2, To: 1, Limit: 5}, {To: 1, Limit: 1 << 31},
			} {
				a.send(shh6, syncCode, wire.EncodeSync(m).Payload)
				if text, err := a.wait(); err != nil || text == "" {
					t.Fatalf("a stranger's sync request is answered by %q, %v", text, err)
				}
			}
			a.send(shh6, syncCode, []byte("garbage"))
			if text, err := a.wait(); err != nil || text == "" {
				t.Fatalf("garbage is answered by %q, %v", text, err)
			}
		}
	})
	if came, _ := a.counts(); came != 0 {
		t.Errorf("%d envelopes came", came)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.texts["this mail server syncs only with mail servers that its operator trusts"] == 0 {
		t.Errorf("refused with %v", a.texts)
	}
}

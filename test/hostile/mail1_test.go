package hostile_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/mail1"
	"github.com/restante-im/restante/internal/node"
	"github.com/restante-im/restante/internal/vectortest"
)

// everything asks for the whole archive.
func (a *asker) everything(credit int64) mail1.Page {
	return mail1.Page{Question: mail1.Question{ID: a.next(), Credit: credit}}
}

// TestMail1Thousands opens thousands of requests at once: each ends once, and no more than the protocol allows are open.
func TestMail1Thousands(t *testing.T) {
	w := newMailWorld(t, few, nil)
	a := w.asker("")
	sent := 0
	w.during(24<<20, func() {
		for range 500 {
			a.say(mail1.Page{Question: mail1.Question{ID: a.next(), Topics: w.topics[:1], Credit: 1 << 20}})
			a.say(mail1.Held{ID: a.next(), Hashes: make([]envelope.Hash, 10)})
		}
		sent += 1000
		w.answered(a, sent)
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.texts[""] == 0 || len(a.texts) < 2 {
		t.Errorf("the answers were %v", a.texts)
	}
	t.Logf("of %d requests %d were answered", sent, a.texts[""])
}

// TestMail1WithoutCredit opens as many requests as may be open, from many nodes, for answers that they then do not want:
// an answer goes no further than its credit and one packet.
func TestMail1WithoutCredit(t *testing.T) {
	w := newMailWorld(t, many, nil)
	var askers []*asker
	w.during(64<<20, func() {
		if len(askers) < 8 {
			a := w.asker("")
			askers = append(askers, a)
			for i := range mail1.MaxOpen {
				a.say(a.everything(int64(i % 2))) // every second one may overdraw once
			}
		}
		<-time.After(20 * time.Millisecond)
	})
	for _, a := range askers {
		a.mu.Lock()
		if most := mail1.MaxOpen / 2 * mail1.MaxBulk; a.bulk > most {
			t.Errorf("%d bytes came, the credit allows for %d", a.bulk, most)
		}
		if len(a.texts) > 0 {
			t.Errorf("ended with %v", a.texts)
		}
		a.mu.Unlock()
		a.close()
	}
	w.idle()
}

// TestMail1Cancels takes requests back as soon as they are made, and hangs up in the middle of answers.
func TestMail1Cancels(t *testing.T) {
	w := newMailWorld(t, many, nil)
	a := w.asker("")
	// Those that hung up keep their buffers for 2 s.
	w.during(64<<20, func() {
		for range 500 {
			p := a.everything(64 << 20)
			a.say(p)
			a.say(mail1.Credit{ID: p.ID, Bytes: mail1.MaxAmount})
			a.say(mail1.Cancel{ID: p.ID})
			a.say(mail1.Cancel{ID: p.ID + 1000})
			a.say(mail1.Credit{ID: p.ID, Bytes: 1})
		}
		b := w.asker("")
		for range mail1.MaxOpen {
			b.say(b.everything(64 << 20))
		}
		eventually(t, "something comes", func() bool {
			came, _ := b.counts()
			return came > 0
		})
		b.close()
		w.idle()
	})
	w.stays1(a)
}

// stays1 fails the test unless the connection still answers.
func (w *mailWorld) stays1(a *asker) {
	w.t.Helper()
	id := a.next()
	a.say(mail1.Held{ID: id})
	eventually(w.t, "the connection answers", func() bool {
		for {
			select {
			case p := <-a.news:
				if p, ok := p.(mail1.HeldList); ok && p.ID == id {
					return true
				}
			default:
				if r := w.log.reasons(a.peer.id); len(r) > 0 {
					w.t.Fatalf("the connection ended: %q", r)
				}
				return false
			}
		}
	})
}

// TestMail1WrongQuestions asks with a wrong epoch, for no hashes, for unknown ones, and for what no archive has.
func TestMail1WrongQuestions(t *testing.T) {
	w := newMailWorld(t, few, nil)
	a := w.asker("")
	unknown := make([]envelope.Hash, mail1.MaxHashes)
	for i := range unknown {
		unknown[i] = envelope.Hash{byte(i), byte(i >> 8)}
	}
	w.during(24<<20, func() {
		for _, c := range []struct {
			ask  mail1.Packet
			want string
		}{
			{mail1.Page{Question: mail1.Question{ID: a.next(), Epoch: mail1.Epoch{1}, Credit: 1 << 20}}, "began anew"},
			{mail1.Hashes{Question: mail1.Question{ID: a.next(), Epoch: mail1.Epoch{1}, Credit: 1 << 20}}, "began anew"},
			{mail1.Page{Question: mail1.Question{ID: a.next(), After: 1<<64 - 2, Until: 1<<64 - 1}}, ""},
			{mail1.Page{Question: mail1.Question{ID: a.next(), From: 1<<32 - 1, Credit: 1}}, ""},
			{mail1.Fetch{ID: a.next(), Credit: 1 << 20}, ""},
			{mail1.Held{ID: a.next()}, ""},
			{mail1.Fetch{ID: a.next(), Hashes: unknown, Credit: 1}, ""},
			{mail1.Held{ID: a.next(), Hashes: unknown}, ""},
		} {
			a.say(c.ask)
			if text, err := a.wait(); err != nil || !strings.Contains(text, c.want) || (text == "") != (c.want == "") {
				t.Fatalf("%T is answered by %q, %v, want %q", c.ask, text, err, c.want)
			}
		}
	})
	if came, _ := a.counts(); came != 0 {
		t.Errorf("%d envelopes came", came)
	}
}

// thrown sends a packet on a connection that lives, and reports whether it ended it.
func (w *mailWorld) thrown(a **asker, code uint64, payload []byte) (gone bool) {
	w.t.Helper()
	if *a == nil {
		*a = w.asker("")
	}
	b := *a
	b.send(mail1.Label, code, payload)
	id := b.next() + 1<<40 // none that the packet may have opened
	b.say(mail1.Cancel{ID: 1})
	b.say(mail1.Join{ID: id, Token: "last"})
	for timeout := time.After(patience); ; {
		select {
		case p := <-b.news:
			if e, ok := p.(mail1.Error); ok && e.ID == id {
				return false
			}
		case <-b.ended:
			if why := w.gone(b.peer); !strings.Contains(why, "packet") {
				w.t.Errorf("after packet %d %.100x the connection ended with %q", code, payload, why)
			}
			b.close()
			*a = nil
			return true
		case <-timeout:
			w.t.Fatalf("after packet %d %.100x the node neither answers nor hangs up", code, payload)
		}
	}
}

// TestMail1BadPackets sends random bytes, recorded packets with changes, and giant ones with each code.
func TestMail1BadPackets(t *testing.T) {
	type recorded struct {
		Code    uint64
		Payload vectortest.Hex
	}
	text, err := os.ReadFile("../../testdata/vectors/mail1_packets.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []recorded }
	if err := json.Unmarshal(text, &file); err != nil || len(file.Vectors) == 0 {
		t.Fatal(err)
	}
	w := newMailWorld(t, few, nil)
	rng := rand.New(rand.NewPCG(7, 8))
	packets := file.Vectors
	for _, v := range file.Vectors {
		if len(v.Payload) > 0 {
			packets = append(packets, recorded{v.Code, spoil(rng, v.Payload)}, recorded{v.Code, spoil(rng, v.Payload)})
		}
	}
	giant := make([]byte, 1<<24-1<<16)
	for code := range uint64(mail1.Codes) {
		packets = append(packets, recorded{code, noise(rng, 300)}, recorded{code, giant})
	}
	w.during(64<<20, func() {
		var a *asker
		gone := 0
		for _, p := range packets {
			if w.thrown(&a, p.Code, p.Payload) {
				gone++
			}
		}
		if a != nil {
			a.close()
		}
		t.Logf("%d of %d packets ended a connection", gone, len(packets))
	})
	w.idle()
}

// TestMail1TokenGuessing tries invitations: a connection has a few tries, and the member's own join goes on meanwhile.
func TestMail1TokenGuessing(t *testing.T) {
	w := newMailWorld(t, few, func(o *node.Options) { o.Mail.MembersOnly = true })
	guesses, limited := 0, 0
	var guessers []*asker
	w.during(48<<20, func() {
		if len(guessers) < 5 {
			guessers = append(guessers, w.asker(""))
		}
		a := guessers[len(guessers)-1]
		for n := range 40 {
			a.say(mail1.Join{ID: a.next(), Token: fmt.Sprintf("%026d", n)})
			text, err := a.wait()
			switch {
			case err != nil || text == "":
				t.Fatalf("a guess is answered by %q, %v", text, err)
			case strings.Contains(text, "connect again"):
				limited++
			default:
				guesses++
			}
		}
	})
	if limited == 0 || guesses > 8*len(guessers) {
		t.Errorf("%d tokens could be tried on %d connections", guesses, len(guessers))
	}
	for _, a := range guessers {
		a.say(a.everything(1 << 20))
		if text, err := a.wait(); err != nil || !strings.Contains(text, "member") {
			t.Errorf("who guessed is answered by %q, %v", text, err)
		}
		a.close()
	}
}

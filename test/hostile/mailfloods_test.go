package hostile_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/mailserver"
	"github.com/restante-im/restante/internal/node"
	"github.com/restante-im/restante/internal/vectortest"
	"github.com/restante-im/restante/internal/wire"
)

// limited is a mail server with the usual limits on requests.
func limited(o *node.Options) { o.MailSettings.Limits = mailserver.DefaultLimits() }

// TestMailThousandsFromOneConnection sends thousands of requests without waiting for answers: each has one, most of them
// that there are too many.
func TestMailThousandsFromOneConnection(t *testing.T) {
	for name, change := range map[string]func(*node.Options){"without limits": nil, "with the usual limits": limited} {
		t.Run(name, func(t *testing.T) {
			w := newMailWorld(t, few, change)
			a := w.asker("")
			sent := 0
			w.during(24<<20, func() {
				for range 1000 {
					a.plain(wire.MailRequest{Topics: w.topics[:1]})
				}
				sent += 1000
				w.answered(a, sent)
			})
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.texts[""] == 0 {
				t.Error("nothing was answered")
			}
			for text := range a.texts {
				if text != "" && !strings.HasPrefix(text, wire.TextBusy) {
					t.Errorf("refused with %q", text)
				}
			}
			t.Logf("of %d requests %d were answered", sent, a.texts[""])
		})
	}
}

// TestMailManyFromOnePrefix asks from as many nodes of one network as are let in: together they are one source, and their
// limit of requests is one.
func TestMailManyFromOnePrefix(t *testing.T) {
	w := newMailWorld(t, few, limited)
	askers := []*asker{}
	for n := range devp2p.DefaultMaxPerPrefix {
		askers = append(askers, w.asker(fmt.Sprintf("203.0.113.%d:1", n)))
	}
	sent := 0
	w.during(32<<20, func() {
		for _, a := range askers {
			for range 300 {
				a.plain(wire.MailRequest{Topics: w.topics[:1], Limit: 10})
			}
		}
		sent += 300
		for _, a := range askers {
			w.answered(a, sent)
		}
	})
	all := 0
	for _, a := range askers {
		all += a.texts[""]
		a.close()
	}
	// What comes back in the time of the attack is little.
	if limit := mailserver.DefaultLimits().Source.Requests; all == 0 || all > 2*limit {
		t.Errorf("%d requests of one network were answered, the limit is %d a minute", all, limit)
	}
	w.idle()
}

// TestMailManyNodes asks from many nodes with addresses all over the world, each as much as it can.
func TestMailManyNodes(t *testing.T) {
	w := newMailWorld(t, many, limited)
	askers := []*asker{}
	for range 12 {
		askers = append(askers, w.asker(""))
	}
	sent := 0
	w.during(96<<20, func() {
		for _, a := range askers {
			for n := range 25 {
				a.plain(wire.MailRequest{Topics: w.topics[n : n+1]})
			}
		}
		sent += 25
		for _, a := range askers {
			w.answered(a, sent)
		}
	})
	for _, a := range askers {
		a.close()
	}
	w.idle()
}

// TestMailSlowReaders asks for all that may be open from several nodes, none of which reads anything: what waits for them
// is bounded.
func TestMailSlowReaders(t *testing.T) {
	w := newMailWorld(t, many, nil)
	full := envelope.FullBloom()
	var askers []*asker
	for range 8 {
		w.nextIP++
		w.from.Store(fmt.Sprintf("203.0.%d.1:1", w.nextIP))
		askers = append(askers, &asker{peer: w.dial(conduct{hellos: map[string][]byte{waku1: hello(waku1, noEnvelopes())}, mute: true})})
	}
	w.during(48<<20, func() {
		for _, a := range askers {
			for range 20 {
				a.plain(wire.MailRequest{Bloom: &full})
			}
		}
		<-time.After(200 * time.Millisecond)
	})
	if n := w.counter("mail_requests_total"); n < 8*20 {
		t.Errorf("%v requests came", n)
	}
	for _, a := range askers {
		a.close()
	}
	w.idle()
}

// TestMailGoneInTheMiddle asks for everything and hangs up while it comes, again and again: nothing of it stays.
func TestMailGoneInTheMiddle(t *testing.T) {
	w := newMailWorld(t, many, nil)
	full := envelope.FullBloom()
	w.during(24<<20, func() {
		a := w.asker("")
		for range 20 {
			a.plain(wire.MailRequest{Bloom: &full})
		}
		eventually(t, "something comes", func() bool {
			came, _ := a.counts()
			return came > 0
		})
		a.close()
	})
	w.idle()
}

// noise fills requests with random bytes.
func noise(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// spoil changes a packet by a byte, cuts it, or doubles a part of it.
func spoil(rng *rand.Rand, packet []byte) []byte {
	b := bytes.Clone(packet)
	at := rng.IntN(len(b))
	switch rng.IntN(3) {
	case 0:
		b[at] ^= byte(1 + rng.IntN(255))
	case 1:
		b = b[:at]
	case 2:
		b = append(b[:at:at], packet...)
	}
	return b
}

// TestMailGarbage sends random bytes, and recorded requests with changes, sealed ones also with changes under the seal.
// Each is answered once.
func TestMailGarbage(t *testing.T) {
	type recorded struct{ Request, Payload vectortest.Hex }
	w := newMailWorld(t, few, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	s := newSealer(t, mailPassword)
	var requests [][]byte
	for range 200 {
		requests = append(requests, noise(rng, rng.IntN(400)), s.seal(noise(rng, rng.IntN(200))))
	}
	for _, name := range []string{"mailserver_geth_transcript", "mailserver_statusgo_transcript", "mailserver_waku_transcript"} {
		vectortest.File(t, name, func(_ testing.TB, _ int, v recorded) {
			for range 4 {
				requests = append(requests, spoil(rng, v.Request))
				if len(v.Payload) > 0 {
					requests = append(requests, s.seal(spoil(rng, v.Payload)))
				}
			}
		})
	}
	askers := map[string]*asker{shh6: w.asker(""), waku1: w.asker("")}
	sent := 0
	w.during(24<<20, func() {
		for part := range slices.Chunk(requests, 10) {
			for link, a := range askers {
				for _, r := range part {
					a.send(link, requestCode, r)
					a.send(shh6, syncCode, r)
				}
			}
			sent += 2 * len(part)
			for _, a := range askers {
				w.answered(a, sent)
			}
		}
	})
}

// TestMailRefusalsAtFullSpeed sends requests that cost nothing as fast as the lines carry them: what waits to be refused
// is bounded, and all of it has an answer in the end.
func TestMailRefusalsAtFullSpeed(t *testing.T) {
	w := newMailWorld(t, few, nil)
	w.during(48<<20, func() {
		const each = 10_000
		var senders sync.WaitGroup
		askers := []*asker{w.asker(""), w.asker(""), w.asker(""), w.asker("")}
		for _, a := range askers {
			senders.Go(func() {
				for range each {
					a.send(waku1, requestCode, []byte("garbage"))
				}
			})
		}
		senders.Wait()
		for _, a := range askers {
			w.answered(a, each)
			a.close()
		}
	})
}

// TestMailGiantPackets sends requests as large as packets can be: they are answered unread, or end the connection.
func TestMailGiantPackets(t *testing.T) {
	w := newMailWorld(t, few, nil)
	zeros := make([]byte, 1<<24-1<<16)
	items := append([]byte{0xfa, 0xf0, 0, 0}, bytes.Repeat([]byte{0x80}, 0xf00000)...)
	w.during(96<<20, func() {
		a := w.asker("")
		for _, payload := range [][]byte{zeros, items, zeros[:1<<20], items[:300<<10]} {
			for _, code := range []uint64{requestCode, syncCode} {
				if code == syncCode && len(payload) > wire.MaxControl {
					continue
				}
				a.send(shh6, code, payload)
				if text, err := a.wait(); err != nil || !strings.Contains(text, "too long") {
					t.Errorf("answered by %q, %v", text, err)
				}
			}
		}
		a.send(shh6, syncCode, items)
		if why := w.gone(a.peer); !strings.Contains(why, "the limit is") {
			t.Errorf("reason %q", why)
		}
		a.close()
	})
}

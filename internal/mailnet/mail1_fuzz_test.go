package mailnet

import (
	"runtime"
	"testing"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/mail1"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/session/sessiontest"
)

// script turns packets into what FuzzConn reads: code, length in two bytes, payload, and so on.
func script(list ...mail1.Packet) (b []byte) {
	for _, p := range list {
		code, payload := mail1.Encode(p)
		b = append(b, byte(code), byte(len(payload)>>8), byte(len(payload)))
		b = append(b, payload...)
	}
	return b
}

// FuzzConn sends any packets to a node that serves and asks, and expects it to live on or to end the connection for a
// stated reason, with bounded memory and nothing left behind.
func FuzzConn(f *testing.F) {
	page := mail1.Page{Question: mail1.Question{ID: 1, Credit: 1 << 20}}
	list := []*envelope.Envelope{envelope.New(100, 50, topicA, []byte("data"), 0)}
	f.Add(script(server, page, mail1.Cancel{ID: 1}, page))
	f.Add(script(server, mail1.Hashes(page), mail1.Credit{ID: 1, Bytes: mail1.MaxAmount}, mail1.Credit{ID: 1, Bytes: mail1.MaxAmount}))
	f.Add(script(server, mail1.Envelopes{ID: 1, Through: 5, List: list}, mail1.End{ID: 1, Through: 5, More: true}, mail1.HeldList{ID: 4, Until: []uint64{1<<64 - 1}}))
	f.Add(script(server, mail1.Error{ID: 1, Kind: 200, Text: "x", RetryAfter: 1<<64 - 1}, mail1.Error{ID: 2, Kind: fault.Busy}))
	f.Add(script(server, mail1.Fetch{ID: 1, Hashes: []envelope.Hash{{1}, {1}}}, mail1.Held{ID: 2, Hashes: []envelope.Hash{{1}}}, mail1.Join{ID: 3, Token: "x"}, server))
	f.Add(script(server, mail1.HashList{ID: 2, Through: 5, List: []mail1.Listed{{Sent: 1<<32 - 1, Size: 1<<32 - 1}}}, mail1.End{ID: 2, Through: 5},
		mail1.Envelopes{ID: 3, List: list}, mail1.End{ID: 3, Missing: []envelope.Hash{{1}, {2}}}))
	f.Add(script(page))
	f.Add([]byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newPlainServer(t)
		s.fill(20, 100, topicA, topicB)
		cfg := mail1Of(s)
		cfg.Join = func(string, [32]byte) (Membership, error) { return Membership{}, fault.E("", fault.Denied, nil, "no") }
		near, far := sessiontest.Pipe(64)
		c, result := start(t, cfg, near)
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			for {
				if _, _, err := far.ReadPacket(); err != nil {
					return
				}
			}
		}()
		asked := false
		lost := make(chan error, 1)
		for len(b) >= 3 {
			n := min(int(b[1])<<8|int(b[2]), len(b)-3)
			if far.WritePacket(uint64(b[0]), b[3:3+n:3+n]) != nil {
				break
			}
			b = b[3+n:]
			c.mu.Lock()
			if len(c.answers) > mail1.MaxOpen || c.waiting > session.MaxQueued {
				t.Errorf("%d answers open, %d bytes wait", len(c.answers), c.waiting)
			}
			c.mu.Unlock()
			if !asked && c.serves() {
				asked = true
				var err error
				for _, form := range []history.Form{history.ByArrival, history.Listing, history.ByHash} { // requests 1 to 3
					_, err = c.transport().Ask(form, history.Question{Credit: 1000, Hashes: []envelope.Hash{{1}}}, func(history.Answer) {})
				}
				go func() {
					_, err := c.Held(t.Context(), []envelope.Hash{{1}})
					lost <- err
				}()
				if err != nil && !fault.Is(err, fault.Unavailable) {
					t.Error(err)
				}
			}
		}
		far.Close(nil)
		if <-result == nil {
			t.Error("it ended without a reason")
		}
		<-drained
		if asked {
			if err := <-lost; err != nil && fault.Text(err) == "" {
				t.Error(err)
			}
		}
		for s.unanswered() > 0 {
			runtime.Gosched()
		}
	})
}

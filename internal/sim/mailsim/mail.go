package mailsim

import (
	"encoding/binary"
	"time"

	"github.com/restante-im/restante/internal/envelope"
)

// maxTTL is how long the network carries an envelope at most, and so how late it may reach a server that older forms ask.
const maxTTL = 2 * time.Hour

// plotMail lets senders write until the faults end.
func (w *world) plotMail() {
	every := w.between(time.Minute, 8*time.Minute)
	for at := time.Minute; at < w.heal; at += w.between(time.Second, 2*every) {
		w.at(at, w.write)
		if w.chance(0.1) { // people answer each other
			for range w.rand.IntN(15) {
				at += w.between(time.Second, 20*time.Second)
				w.at(at, w.write)
			}
		}
	}
}

// write posts an envelope of somebody, with a clock that may be wrong.
func (w *world) write() {
	w.made++
	size := 16 + w.rand.IntN(200)
	if w.chance(0.02) {
		size = 100_000
	}
	data := make([]byte, size)
	binary.BigEndian.PutUint64(data, w.made)
	ttl := uint32(w.between(time.Minute, maxTTL) / time.Second)
	skew := 0
	if w.chance(0.3) {
		skew = w.rand.IntN(30) - 20
	}
	env := envelope.New(uint32(int(w.second())+skew)+ttl, ttl, w.topics[w.rand.IntN(len(w.topics))], data, w.made)
	w.report.Posts++
	w.spread(env, nil)
}

// spread lets the gossip carry an envelope to servers and to clients who are there, for as long as it lives: at once, late,
// twice or not at all.
func (w *world) spread(env *envelope.Envelope, from *client) {
	h := env.Hash()
	w.byHash[h] = env
	left := max(epoch.Add(w.now).Sub(time.Unix(int64(env.Expiry()), 0)).Abs()-time.Minute, time.Second)
	w.note("post %x topic %x", h[:4], env.Topic())
	for _, s := range w.servers {
		if w.fault(0.15) {
			continue
		}
		w.arrive(s, env, w.lateness(left))
		if w.chance(0.1) {
			w.arrive(s, env, w.lateness(left))
		}
	}
	for _, c := range w.clients {
		if c != from && !w.chance(0.25) {
			life := c.life
			w.after(w.between(10*time.Millisecond, 5*time.Second), func() { c.live(env, life) })
		}
	}
}

// lateness draws how late an envelope arrives that has so long to live.
func (w *world) lateness(left time.Duration) time.Duration {
	switch {
	case w.fault(0.1):
		return w.between(0, left)
	case w.fault(0.2):
		return w.between(0, min(left, 10*time.Minute))
	}
	return w.between(10*time.Millisecond, 3*time.Second)
}

// arrive brings an envelope to a server; one that is down meanwhile gets it from its peers when it is back, mostly.
func (w *world) arrive(s *server, env *envelope.Envelope, late time.Duration) {
	w.after(late, func() {
		switch {
		case s.up:
			s.put(env)
		case w.second()+120 < env.Expiry() && !w.fault(0.3):
			w.arrive(s, env, time.Minute)
		}
	})
}

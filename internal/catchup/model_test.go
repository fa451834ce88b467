package catchup_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/nodeaddr"
	"pgregory.net/rapid"
)

// share picks envelopes by their hash.
func share(rng *rand.Rand, of float64) func(envelope.Hash) bool {
	salt := byte(rng.IntN(256))
	return func(h envelope.Hash) bool { return float64(h[3]^salt) < of*256 }
}

// drawServer gives a server its character.
func drawServer(t *rapid.T, w *world, s *mailServer) {
	s.latency = time.Duration(rapid.IntRange(1, 800).Draw(t, "latency")) * time.Millisecond
	s.dial = time.Duration(rapid.IntRange(1, 1500).Draw(t, "dial")) * time.Millisecond
	s.maxTopics = rapid.SampledFrom([]int{0, 2, 3}).Draw(t, "max topics")
	s.keep = rapid.SampledFrom([]time.Duration{30 * 24 * time.Hour, 2 * time.Hour, time.Hour}).Draw(t, "keep")
	switch rapid.SampledFrom([]string{"exact", "exact", "exact", "older", "omits", "withholds", "junk", "deaf", "away", "half", "denies"}).Draw(t, "server") {
	case "older":
		s.older = true
	case "omits":
		s.omits = share(w.rng, 0.3)
	case "withholds":
		s.withholds = share(w.rng, 0.2)
	case "junk":
		s.junk = true
	case "deaf":
		s.deaf = true
	case "away":
		s.away = true
	case "half":
		s.half = true
	case "denies":
		s.denies = true
	}
}

// trouble lets something happen.
func (w *world) trouble(t *rapid.T) {
	s := w.servers[w.rng.IntN(len(w.servers))]
	switch rapid.SampledFrom([]string{"cut", "reset", "prune", "away", "back", "deaf", "online", "want", "crash", "sync", "stop", "budget", "live"}).Draw(t, "trouble") {
	case "cut":
		s.cut()
	case "reset":
		s.reset()
	case "prune":
		s.prune(w.now.Add(-s.keep))
	case "away":
		s.away = true
		s.cut()
	case "back":
		s.away, s.deaf = false, false
	case "deaf":
		s.deaf = true
	case "online":
		w.step(catchup.Online{})
	case "want":
		w.rewant()
	case "crash":
		w.boot()
	case "sync":
		w.start(catchup.Options{Alone: w.rng.IntN(2) == 0})
	case "stop":
		w.step(catchup.Stop{ID: w.start(catchup.Options{})})
	case "budget":
		w.start(catchup.Options{MaxBytes: int64(1 + w.rng.IntN(5000)), First: []envelope.Topic{topic(2)}})
	case "live":
		env := w.post(1, 0, w.servers...)
		w.mail[env.Hash()] = env
		w.step(catchup.Live{Topics: []envelope.Topic{env.Topic()}})
	}
}

// rewant changes what is waited for.
func (w *world) rewant() {
	i := w.rng.IntN(len(w.wants))
	switch n := len(w.wants) + 1; {
	case w.rng.IntN(2) == 0 && n < 7:
		w.want(time.Duration(w.rng.IntN(5000))*time.Second, n)
		w.wants[len(w.wants)-1].Rank = w.rng.IntN(2)
	default:
		w.wants = slices.Clone(w.wants)
		w.wants[i].Since -= uint32(w.rng.IntN(3000))
		w.step(catchup.Wanted{List: w.wants})
	}
}

// start starts a catch-up and does not wait for it.
func (w *world) start(o catchup.Options) uint64 {
	w.syncs++
	w.step(catchup.Sync{ID: w.syncs, Options: o})
	return w.syncs
}

func TestHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.Uint64().Draw(t, "seed"))
		w.asking = true
		for range rapid.IntRange(1, 4).Draw(t, "servers") {
			drawServer(t, w, w.server())
		}
		w.want(time.Duration(rapid.IntRange(0, 10000).Draw(t, "since"))*time.Second, 1, 2, 3)
		w.want(time.Hour, 4)
		for i := range 40 {
			w.postSomewhere(time.Duration(200-5*i) * time.Minute)
		}
		w.crash = rapid.SampledFrom([]float64{0, 0.05, 0.2}).Draw(t, "crash")
		w.boot()
		for range rapid.IntRange(1, 15).Draw(t, "turns") {
			for range w.rng.IntN(8) {
				w.postSomewhere(time.Duration(w.rng.IntN(100)) * time.Second)
			}
			w.run(time.Duration(w.rng.IntN(30000)) * time.Millisecond)
			w.trouble(t)
		}
		w.quiet()
	})
}

// postSomewhere makes an envelope that most servers get, and one at least.
func (w *world) postSomewhere(ago time.Duration) {
	list := slices.DeleteFunc(slices.Clone(w.servers), func(*mailServer) bool { return w.rng.IntN(4) == 0 })
	if len(list) == 0 {
		list = w.servers[:1]
	}
	w.post(1+w.rng.IntN(8), ago, list...)
}

// quiet ends all trouble and checks what is left.
func (w *world) quiet() {
	w.crash = 0
	w.run(2 * time.Minute)
	for _, s := range w.servers {
		s.away, s.deaf, s.half, s.withholds = false, false, false, nil
	}
	w.cooling = map[nodeaddr.ID]time.Time{}
	w.step(catchup.Candidates{List: w.choices()})
	w.step(catchup.Online{})
	w.run(10 * time.Minute)
	r := w.sync(catchup.Options{})
	for id := uint64(1); id <= w.syncs; id++ {
		if _, ok := w.finished[id]; !ok && w.life == 1 {
			w.t.Fatalf("sync %d never ended", id)
		}
	}
	for _, s := range r.Servers {
		server := w.find(s.Server)
		if s.Err != nil || r.End == catchup.EndFailed || server.junk || server.denies || s.Role == catchup.Second && r.End != catchup.EndAgreed {
			continue
		}
		for _, e := range server.list {
			if _, ok := w.mail[e.env.Hash()]; !ok && e.env.Sent() >= w.since(e.env.Topic()) && !server.omitted(e.env) && !server.hid[e.env.Hash()] && !w.lateAtOlder(server, e) {
				w.t.Fatalf("%v of %v, sent %d, is at %v and not here: %+v", e.env.Hash(), e.env.Topic(), e.env.Sent(), s.Server.Short(), r)
			}
		}
	}
	w.bounded()
	w.run(7 * time.Hour)
	asked := w.questions()
	w.run(24 * time.Hour)
	if n := w.questions() - asked; n > 0 && len(w.missing) == 0 && r.End != catchup.EndFailed {
		last := w.own[len(w.own)-1]
		w.t.Fatalf("%d questions while idle: %v %+v state %+v", n, w.now, last, w.machine.State())
	}
}

// lateAtOlder reports whether an envelope came too late to a server that is asked by sent time.
func (w *world) lateAtOlder(s *mailServer, e stored) bool {
	return s.older && e.at.Sub(time.Unix(int64(e.env.Sent()), 0)) > 2*time.Hour
}

// bounded checks what it cost in all, where nothing spoilt it: about each body once, and the lists.
func (w *world) bounded() {
	bodies := 0
	for _, s := range w.servers {
		if s.older || s.hid != nil || s.half || s.junk || s.denies {
			return
		}
		bodies += s.bodies
	}
	if w.life == 1 && w.cuts == 0 && bodies > len(w.mail)+w.repeated+40 || w.life == 1 && w.cuts == 0 && w.repeated > 60 {
		w.t.Fatalf("%d bodies came, %d of them again; %d are kept", bodies, w.repeated, len(w.mail))
	}
}

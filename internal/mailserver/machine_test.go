package mailserver

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Unix(1_800_000_000, 0)

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// world plays everything around a machine, and holds it against what it promises.
type world struct {
	t    failer
	m    *machine
	now  time.Time
	ids  uint64
	log  []string
	jobs map[uint64]*played
}

// played is what the world knows of a task.
type played struct {
	id       uint64
	who      Asker
	turning  bool
	ended    int
	aborted  bool
	underWay int64
	room     int64
	left     int64 // bytes still to be sent
}

func newWorld(t failer, l Limits, workers int) *world {
	return &world{t: t, m: newMachine(l, workers), now: start, jobs: map[uint64]*played{}}
}

func (w *world) fail(format string, a ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nlast steps:\n%s", fmt.Sprintf(format, a...), strings.Join(w.log[max(0, len(w.log)-30):], "\n"))
}

func (w *world) step(ev event) {
	w.t.Helper()
	w.log = append(w.log, fmt.Sprintf("%v %T%+v", w.now.Sub(start), ev, ev))
	for _, a := range w.m.Step(w.now, ev) {
		if e, ok := a.(end); ok {
			w.log = append(w.log, fmt.Sprintf("    end %d: %v", e.id, e.err))
		} else {
			w.log = append(w.log, fmt.Sprintf("    %T%+v", a, a))
		}
		w.perform(a)
	}
	w.check()
}

func (w *world) perform(a action) {
	switch a := a.(type) {
	case turn:
		j := w.jobs[a.id]
		if j.turning || j.ended > 0 {
			w.fail("turn of %d, which is turning (%v) or ended", a.id, j.turning)
		}
		if j.underWay > 0 && a.room < PacketBytes {
			w.fail("turn of %d with no room: %d", a.id, a.room)
		}
		j.turning, j.room = true, a.room
	case park:
		if j := w.jobs[a.id]; j.turning || j.ended > 0 || j.underWay == 0 {
			w.fail("park of %d, which does not wait", a.id)
		}
	case abort:
		j := w.jobs[a.id]
		if !j.turning {
			w.fail("abort of %d, which has no turn", a.id)
		}
		j.aborted = true
	case end:
		j := w.jobs[a.id]
		if j.turning {
			w.fail("end of %d during its turn", a.id)
		}
		j.ended++
	}
}

func (w *world) check() {
	turning, underWay, open := 0, int64(0), 0
	perConn, perSource := map[uint64]int{}, map[string]int{}
	for _, j := range w.jobs {
		if j.turning {
			turning++
		}
		underWay += j.underWay
		if j.ended > 1 {
			w.fail("%d ended %d times", j.id, j.ended)
		}
		if j.ended == 0 {
			open++
			perConn[j.who.Conn]++
			perSource[sourceKey(j.who)]++
			if w.m.tasks[j.id] == nil {
				w.fail("%d is forgotten", j.id)
			}
		}
	}
	for conn, n := range perConn {
		if n > MaxRunning+MaxWaiting {
			w.fail("%d requests open on connection %d", n, conn)
		}
	}
	for s, n := range perSource {
		if n > MaxSource {
			w.fail("%d requests open of source %q", n, s)
		}
	}
	if turning > w.m.workers || turning != w.m.busy {
		w.fail("%d turns (machine: %d) for %d workers", turning, w.m.busy, w.m.workers)
	}
	if open > MaxOpen || open != w.m.open || w.m.slots > MaxWalks || underWay != w.m.underWay {
		w.fail("open %d (machine %d), slots %d, under way %d (machine %d)", open, w.m.open, w.m.slots, underWay, w.m.underWay)
	}
	for _, c := range w.m.conns {
		if c.running > MaxRunning {
			w.fail("%d requests of connection %d are running", c.running, c.id)
		}
	}
	for _, s := range w.m.list {
		if s.slots > sourceWalks || s.share.active < 0 || (s.share.active > 0) != slices.Contains(w.m.active, s) {
			w.fail("source %q has %d slots, %d active", s.key, s.slots, s.share.active)
		}
	}
	for _, k := range w.m.idle {
		if k.phase != blocked || !k.slot {
			w.fail("%d is no idle task", k.id)
		}
	}
	if w.m.busy < w.m.workers && w.m.next() != nil {
		w.fail("a worker is idle, and %d could have its turn", w.m.next().id)
	}
}

func (w *world) ask(who Asker, bytes int64) *played {
	w.ids++
	j := &played{id: w.ids, who: who, left: bytes}
	w.jobs[j.id] = j
	w.step(asked{j.id, who})
	return j
}

// finishTurn sends what the answer and its room allow.
func (w *world) finishTurn(j *played, work time.Duration) {
	ev := turned{id: j.id, work: work, need: PacketBytes}
	if !j.aborted {
		ev.sent = min(PacketBytes, j.left, j.room)
		j.left -= ev.sent
		ev.ended = j.left == 0
	}
	j.turning = false
	if !w.m.tasks[j.id].conn.gone {
		j.underWay += ev.sent
	}
	if ev.ended {
		j.ended++
	}
	w.step(ev)
}

func (w *world) drain(j *played, lost bool) {
	n := j.underWay
	j.underWay = 0
	w.step(drained{j.id, n, lost})
}

func (w *world) pick(r *rapid.T, admit func(*played) bool) *played {
	var list []*played
	for id := uint64(1); id <= w.ids; id++ {
		if j := w.jobs[id]; admit(j) {
			list = append(list, j)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[rapid.IntRange(0, len(list)-1).Draw(r, "which")]
}

func isTurning(j *played) bool  { return j.turning }
func isUnderWay(j *played) bool { return j.underWay > 0 }

func TestHistories(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		limits := Limits{}
		if rapid.Bool().Draw(r, "limited") {
			a := Allowance{Requests: 30, Bytes: 1 << 20, Work: time.Second}
			limits = Limits{Conn: a, Source: a, Total: Allowance{Bytes: 8 << 20}, BytesPerDay: 4 << 20}
		}
		w := newWorld(r, limits, rapid.IntRange(1, 4).Draw(r, "workers"))
		var lives [13]uint64 // a connection that left comes back under another name
		asker := func() Asker {
			conn := uint64(rapid.IntRange(1, 12).Draw(r, "conn"))
			return Asker{Conn: conn + 100*lives[conn], Source: []string{"", "a", "b", "c"}[conn%4], Trusted: conn == 12}
		}
		r.Repeat(map[string]func(*rapid.T){
			"ask": func(r *rapid.T) {
				for range rapid.IntRange(1, 30).Draw(r, "times") {
					w.ask(asker(), int64(rapid.IntRange(0, 10*PacketBytes).Draw(r, "bytes")))
				}
			},
			"turn": func(r *rapid.T) {
				if j := w.pick(r, isTurning); j != nil {
					w.finishTurn(j, time.Duration(rapid.IntRange(0, 5000).Draw(r, "work"))*time.Microsecond)
				}
			},
			"drain": func(r *rapid.T) {
				if j := w.pick(r, isUnderWay); j != nil {
					w.drain(j, rapid.IntRange(0, 9).Draw(r, "lost") == 0)
				}
			},
			"cancel": func(r *rapid.T) {
				w.step(cancelled{uint64(rapid.IntRange(0, int(w.ids)).Draw(r, "id"))})
			},
			"left": func(r *rapid.T) {
				conn := asker().Conn
				w.leave(conn)
				lives[conn%100]++
			},
			"time": func(r *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(0, 40_000).Draw(r, "ms")) * time.Millisecond)
				w.step(tick{})
			},
			"limits": func(r *rapid.T) { w.step(limited{limits}) },
		})
		w.settle()
	})
}

// leave ends a connection: nothing of it is under way any more, and nothing will be.
func (w *world) leave(conn uint64) {
	for _, j := range w.jobs {
		if j.who.Conn == conn {
			j.underWay = 0
		}
	}
	w.step(left{conn})
}

// settle lets everything go on to its end, and expects the machine to be as empty as before.
func (w *world) settle() {
	for range 100_000 {
		if j := w.some(isTurning); j != nil {
			w.finishTurn(j, time.Millisecond)
		} else if j := w.some(isUnderWay); j != nil {
			w.drain(j, false)
		} else if at := w.m.Deadline(); !at.IsZero() {
			if !at.After(w.now) {
				w.fail("the deadline %v has passed", at.Sub(start))
			}
			w.now = at
			w.step(tick{})
		} else {
			break
		}
	}
	for id := uint64(1); id <= w.ids; id++ {
		if j := w.jobs[id]; j.ended != 1 {
			w.fail("%d ended %d times", id, j.ended)
		}
	}
	if m := w.m; len(m.active)+len(m.idle)+len(m.tasks)+len(m.conns)+len(m.sources)+len(m.list)+m.open+m.running+m.slots+m.busy+int(m.underWay) != 0 {
		w.fail("the machine is not empty: %+v", m)
	}
}

func (w *world) some(admit func(*played) bool) *played {
	for id := uint64(1); id <= w.ids; id++ {
		if j := w.jobs[id]; admit(j) {
			return j
		}
	}
	return nil
}

// TestSameHistorySameActions replays a history.
func TestSameHistorySameActions(t *testing.T) {
	play := func() []string {
		w := newWorld(t, Limits{}, 2)
		rnd := rand.New(rand.NewPCG(1, 2))
		for range 2000 {
			w.now = w.now.Add(time.Duration(rnd.IntN(300)) * time.Millisecond)
			switch j := w.some(isTurning); {
			case rnd.IntN(3) == 0:
				conn := uint64(rnd.IntN(40))
				w.ask(Asker{Conn: conn, Source: fmt.Sprint(conn % 7)}, int64(rnd.IntN(1<<20)))
			case j != nil:
				w.finishTurn(j, time.Duration(rnd.IntN(2000))*time.Microsecond)
			default:
				if j := w.some(isUnderWay); j != nil {
					w.drain(j, false)
				}
			}
		}
		return w.log
	}
	if a, b := play(), play(); !slices.Equal(a, b) {
		t.Error("the same events led to different actions")
	}
}

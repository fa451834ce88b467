package mailserver

import (
	"fmt"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/fault"
)

// run plays a busy server for a while: all readers are fast, each turn takes 1 ms. It returns how long each answer took.
func (w *world) run(d time.Duration, arrive func()) {
	for until := w.now.Add(d); w.now.Before(until); {
		arrive()
		w.now = w.now.Add(time.Millisecond)
		for _, j := range w.jobs {
			if j.turning {
				w.finishTurn(j, time.Millisecond)
				if j.underWay > 0 {
					w.drain(j, false)
				}
			}
			if j.ended > 0 && j.underWay == 0 {
				delete(w.jobs, j.id)
			}
		}
	}
}

// TestModestIsServedWithinASmallMultiple sets sixty connections of one prefix that ask for all they can get against one of
// another prefix that asks for a page now and then.
func TestModestIsServedWithinASmallMultiple(t *testing.T) {
	w := newWorld(t, Limits{}, 1)
	var worst time.Duration
	var page *played
	var since time.Time
	pages := 0
	w.run(time.Second, func() {
		for conn := uint64(1); conn <= 60; conn++ {
			if c := w.m.conns[conn]; c == nil || c.open() < 2 {
				w.ask(Asker{Conn: conn, Source: "greedy"}, 100*PacketBytes)
			}
		}
		if page != nil && page.ended > 0 {
			worst = max(worst, w.now.Sub(since))
			page, pages = nil, pages+1
		}
		if page == nil {
			page, since = w.ask(Asker{Conn: 100, Source: "modest"}, 3*PacketBytes), w.now
		}
	})
	// Alone it takes 3 ms; with the other prefix having every second turn, twice that and a turn in progress.
	if pages < 100 || worst > 10*time.Millisecond {
		t.Errorf("%d pages, the slowest after %v", pages, worst)
	}
}

// TestConnectionsOfASourceShare sets one connection with many answers against one with a single answer.
func TestConnectionsOfASourceShare(t *testing.T) {
	w := newWorld(t, Limits{}, 1)
	for range 4 {
		w.ask(Asker{Conn: 1, Source: "s"}, 1000*PacketBytes)
	}
	one := w.ask(Asker{Conn: 2, Source: "s"}, 20*PacketBytes)
	asked := w.now
	w.run(time.Second, func() {
		if one.ended == 0 {
			return
		}
		if took := w.now.Sub(asked); took > 45*time.Millisecond {
			t.Fatalf("20 turns took %v beside four other answers", took)
		}
		asked = w.now.Add(time.Hour)
	})
	if one.ended == 0 {
		t.Error("the single answer did not end")
	}
}

// TestThereIsAlwaysRoomForOneMore opens as many requests as many sources may, and expects another source to be admitted.
func TestThereIsAlwaysRoomForOneMore(t *testing.T) {
	w := newWorld(t, Limits{}, 4)
	for conn := uint64(0); conn < 600; conn++ {
		for range 20 {
			w.m.Step(w.now, asked{conn*100 + 1_000_000 + uint64(w.m.open), Asker{Conn: conn, Source: fmt.Sprint(conn / 6)}})
		}
	}
	if w.m.open > MaxOpen {
		t.Fatalf("%d requests are open", w.m.open)
	}
	for _, a := range w.m.Step(w.now, asked{1, Asker{Conn: 9999, Source: "new"}}) {
		if e, ok := a.(end); ok && e.id == 1 {
			t.Errorf("refused with %d requests open: %v", w.m.open, e.err)
		}
	}
}

func TestRequestsPerMinute(t *testing.T) {
	w := newWorld(t, Limits{Source: Allowance{Requests: 60}}, 1)
	ask := func(who Asker) error {
		w.ids++
		for _, a := range w.m.Step(w.now, asked{w.ids, who}) {
			switch a := a.(type) {
			case end:
				if want := time.Second; a.retryAfter <= 0 || a.retryAfter > want+time.Millisecond {
					t.Errorf("to be asked again after %v", a.retryAfter)
				}
				return a.err
			case turn:
				w.m.Step(w.now, turned{id: a.id, ended: true})
			}
		}
		return nil
	}
	for i := range 60 {
		if err := ask(Asker{Conn: uint64(i % 2), Source: "s"}); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	if err := ask(Asker{Conn: 3, Source: "s"}); !fault.Is(err, fault.Limit) {
		t.Errorf("request 61: %v", err)
	}
	for _, who := range []Asker{{Conn: 4, Source: "other"}, {Conn: 5}, {Conn: 6, Source: "s", Trusted: true}} {
		if err := ask(who); err != nil {
			t.Errorf("%+v: %v", who, err)
		}
	}
	w.now = w.now.Add(1100 * time.Millisecond)
	if err := ask(Asker{Conn: 3, Source: "s"}); err != nil {
		t.Errorf("a second later: %v", err)
	}
}

// TestWorkIsPaced grants a tenth of a processor.
func TestWorkIsPaced(t *testing.T) {
	w := newWorld(t, Limits{Total: Allowance{Work: 6 * time.Second}}, 1)
	w.ask(Asker{Conn: 1}, 1<<40)
	turns := 0
	for w.now.Before(start.Add(3 * time.Minute)) {
		if j := w.some(isTurning); j != nil {
			w.now = w.now.Add(time.Millisecond)
			w.finishTurn(j, time.Millisecond)
			w.drain(j, false)
			turns++
			continue
		}
		w.now = w.m.Deadline()
		w.step(tick{})
	}
	if turns < 23_000 || turns > 24_100 { // three minutes' worth and one saved
		t.Errorf("%d ms of work in three minutes", turns)
	}
}

// TestSlowReadersGiveTheirWalksUp has more answers begun than walks may be open, all of them unread.
func TestSlowReadersGiveTheirWalksUp(t *testing.T) {
	w := newWorld(t, Limits{}, 4)
	const readers = MaxWalks + 100
	for conn := uint64(0); conn < readers; conn++ {
		w.ask(Asker{Conn: conn, Source: fmt.Sprint(conn / 10)}, 1<<30)
		for j := w.some(isTurning); j != nil; j = w.some(isTurning) {
			w.finishTurn(j, time.Millisecond)
		}
	}
	begun := 0
	for _, j := range w.jobs {
		if j.underWay > 0 {
			begun++
		}
	}
	if begun != readers || w.m.slots != MaxWalks {
		t.Errorf("%d of %d answers have begun, with %d walks", begun, readers, w.m.slots)
	}
	w.now = w.now.Add(parkAfter + time.Second)
	if w.step(tick{}); w.m.slots != 0 {
		t.Errorf("%d walks are open after %v", w.m.slots, w.now.Sub(start))
	}
	if w.m.underWay > TotalWindow+readers*PacketBytes {
		t.Errorf("%d bytes are under way", w.m.underWay)
	}
	for conn := uint64(0); conn < readers; conn++ {
		w.leave(conn)
	}
	w.settle()
}

// TestMemoryUnderWayIsBounded has so many unread answers that each gets no more than one packet.
func TestMemoryUnderWayIsBounded(t *testing.T) {
	w := newWorld(t, Limits{}, 4)
	for conn := uint64(0); w.m.open < 600; conn++ {
		j := w.ask(Asker{Conn: conn, Source: fmt.Sprint(conn)}, 1<<30)
		for j.turning {
			w.finishTurn(j, time.Millisecond)
		}
	}
	if least, most := int64(TotalWindow), int64(TotalWindow+600*PacketBytes); w.m.underWay < least || w.m.underWay > most {
		t.Errorf("%d bytes are under way", w.m.underWay)
	}
}

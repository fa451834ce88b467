package catchup_test

import (
	"testing"
	"time"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/history"
)

// pairOf is a client that waits for three topics, and two servers that have the same mail.
func pairOf(t *testing.T, mails int) *world {
	w := newWorld(t, 1)
	a, b := w.server(), w.server()
	w.want(24*time.Hour, 1, 2, 3)
	w.post(9, 48*time.Hour, a, b) // they are older than what is asked of them
	for i := range mails {
		w.post(1+i%3, time.Hour, a, b)
	}
	return w
}

func TestTwoServersAgree(t *testing.T) {
	w := pairOf(t, 300)
	w.boot()
	w.run(5 * time.Second)
	if len(w.own) != 1 || w.own[0].End != catchup.EndAgreed || w.own[0].New != 300 {
		t.Fatalf("%d rounds: %+v", len(w.own), w.own)
	}
	a, b := w.servers[0], w.servers[1]
	if a.bodies != 300 || b.bodies != 0 {
		t.Errorf("%d and %d bodies", a.bodies, b.bodies)
	}
	if b.sentBytes > 300*48 {
		t.Errorf("the second server sent %d bytes", b.sentBytes)
	}
	// The next time each gets one question, and nothing comes.
	asked := w.questions()
	r := w.sync(catchup.Options{})
	if n := w.questions() - asked; n != 2 || r.End != catchup.EndAgreed || r.Bytes != 0 {
		t.Errorf("%d questions, %+v", n, r)
	}
	if gaps := w.machine.Gaps(w.now); len(gaps) > 0 {
		t.Errorf("gaps: %+v", gaps)
	}
	asked = w.questions()
	w.run(24 * time.Hour)
	if n := w.questions() - asked; n > 0 {
		t.Errorf("%d questions while idle", n)
	}
	_ = history.ByHash
}

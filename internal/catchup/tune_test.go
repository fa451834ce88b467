package catchup_test

import (
	"testing"
	"time"

	"github.com/restante-im/restante/internal/catchup"
)

// TestAlone: where one server is enough, nobody else is told anything; Tune takes that back.
func TestAlone(t *testing.T) {
	w := pairOf(t, 30)
	w.config.Alone = true
	w.boot()
	w.run(5 * time.Second)
	a, b := w.servers[0], w.servers[1]
	if len(w.own) != 1 || w.own[0].End != catchup.EndComplete || w.own[0].New != 30 || len(w.own[0].Servers) != 1 {
		t.Fatalf("%+v", w.own)
	}
	if a.bodies != 30 || b.sentBytes != 0 {
		t.Errorf("%d bodies from the first, %d bytes from the second", a.bodies, b.sentBytes)
	}
	w.step(catchup.Tune{})
	if r := w.sync(catchup.Options{}); r.End != catchup.EndAgreed {
		t.Errorf("afterwards: %+v", r)
	}
}

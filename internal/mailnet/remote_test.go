package mailnet_test

import (
	"io"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/session/sessiontest"
	"github.com/restante-im/restante/internal/wire"
)

func TestRemoteSaysWhatIsHeldAndWhenItIsGone(t *testing.T) {
	list := some(2, 100)
	a, b := newNode(t, nil, nil), newNode(t, filled(t, list), nil)
	lastConn++
	there, here := session.Peer{Conn: lastConn, ID: [32]byte{7}, Mail1: true}, session.Peer{Conn: lastConn, ID: [32]byte{8}, Mail1: true}
	own, peers := sessiontest.Pipe(256)
	go a.net.ServeMail1(there, own)
	go b.net.ServeMail1(here, peers)
	r, err := a.net.Remote(t.Context(), there.ID)
	if err != nil {
		t.Fatal(err)
	}
	times, err := r.Held(t.Context(), []envelope.Hash{list[0].Hash(), {1}, list[1].Hash()})
	if err != nil || len(times) != 3 || times[0].Before(time.Now().Add(-time.Minute)) || !times[1].IsZero() || times[2].IsZero() {
		t.Errorf("held until %v, %v", times, err)
	}
	select {
	case <-r.Gone():
		t.Fatal("gone, and just answered")
	default:
	}
	own.Close(io.EOF)
	<-r.Gone()
	if _, err := r.Held(t.Context(), []envelope.Hash{{1}}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a connection that is gone says what is held: %v", err)
	}
	old, end := join(t, a, b, "restante/x", wire.Dialects()[0])
	if _, err := old.Held(t.Context(), []envelope.Hash{{1}}); !fault.Is(err, fault.Invalid) {
		t.Errorf("without mail/1: %v", err)
	}
	end.Close(io.EOF)
	<-old.Gone()
}

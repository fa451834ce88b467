package mailnet_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/mailserver"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/internal/wire"
)

// TestRefusalsNameTheRequest: also what is refused before it was read is answered under its own id, or nobody could tell.
func TestRefusalsNameTheRequest(t *testing.T) {
	store, _ := recorded(t)
	n := newNode(t, store, nil)
	n.server.SetLimits(mailserver.Limits{Conn: mailserver.Allowance{Requests: 1}})
	waku := wire.Dialects()[1]
	p := meet(t, n, waku, session.Peer{})
	id := envelope.Hash{1, 2, 3}
	plain := waku.EncodePlain(wire.MailRequest{ID: id[:], Topics: []envelope.Topic{{1}}}).Payload
	if a := p.ask(codeRequest, plain); a.Failed != "" {
		t.Fatal(a.Failed)
	}
	if a := p.ask(codeRequest, plain); !strings.HasPrefix(a.Failed, wire.TextBusy) || a.ID != id {
		t.Errorf("a plain request %s was refused with %q under %s", id, a.Failed, a.ID)
	}
	sealed := seal(t, n.key, []byte{1})
	if a := p.ask(codeRequest, sealed.Raw()); !strings.HasPrefix(a.Failed, wire.TextBusy) || a.ID != sealed.Hash() {
		t.Errorf("a sealed request %s was refused with %q under %s", sealed.Hash(), a.Failed, a.ID)
	}
	// A plain request [id, 1, 2, 3, "", a filter of 1 byte], which no real server survives.
	short := append(append([]byte{0xe6, 0xa0}, id[:]...), 1, 2, 3, 0x80, 1)
	p = meet(t, newNode(t, store, nil), waku, session.Peer{})
	if a := p.ask(codeRequest, short); !strings.Contains(a.Failed, "bloom filter of 1 bytes") || a.ID != id {
		t.Errorf("a plain request %s that cannot be read was refused with %q under %s", id, a.Failed, a.ID)
	}
	p = meet(t, newNode(t, nil, nil), waku, session.Peer{})
	if a := p.ask(codeRequest, plain); !strings.Contains(a.Failed, "no mail server") || a.ID != id {
		t.Errorf("a node that is no mail server says %q under %s", a.Failed, hex.EncodeToString(a.ID[:]))
	}
}

// TestLegacyWhoDoesNotReadIsCut floods with requests that cost nothing, and never reads the refusals.
func TestLegacyWhoDoesNotReadIsCut(t *testing.T) {
	store, _ := recorded(t)
	n := newNode(t, store, nil)
	p := meet(t, n, wire.Dialects()[0], session.Peer{})
	for n := 0; p.WritePacket(codeRequest, []byte("garbage")) == nil; n++ {
		if n == 1<<20 {
			t.Fatal("a million refusals wait for a peer that does not read")
		}
	}
	if why := p.Reason(); why == nil || !strings.Contains(why.Error(), "does not read") {
		t.Errorf("it ended with %v", why)
	}
}

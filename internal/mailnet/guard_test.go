package mailnet

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/mail1"
	"github.com/restante-im/restante/internal/mailserver"
)

// TestADefectCostsOneAnswer: whoever finds a request that panics ends nothing but this request.
func TestADefectCostsOneAnswer(t *testing.T) {
	var said strings.Builder
	n := New(Config{Log: slog.New(slog.NewTextHandler(&said, nil))})
	_, err := n.guard(func() (mailserver.Request, error) { panic("index out of range") })()
	if !fault.Is(err, fault.Internal) || !strings.Contains(said.String(), "index out of range") {
		t.Errorf("%v; the log says %q", err, said.String())
	}
}

// TestMail1AnEmptyListAsksForNothing: to look up no hashes is not to ask for the whole archive.
func TestMail1AnEmptyListAsksForNothing(t *testing.T) {
	withEach(t, func(t *testing.T, make maker) {
		s, cfg := make(t)
		s.fill(10, 100, topicA)
		h := shake(t, cfg, asker)
		h.send(mail1.Fetch{ID: 1, Credit: 1 << 20})
		if p, ok := h.read().(mail1.End); !ok || p.ID != 1 || p.More || len(p.Missing) > 0 {
			t.Errorf("a fetch of nothing is answered by %+v", p)
		}
		h.send(mail1.Held{ID: 2})
		if p, ok := h.read().(mail1.HeldList); !ok || p.ID != 2 || len(p.Until) > 0 {
			t.Errorf("a held of nothing is answered by %+v", p)
		}
		h.bye()
	})
}

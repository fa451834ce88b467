package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/restante-im/restante/internal/fault"
)

func TestTextsAndKinds(t *testing.T) {
	secret := errors.New("open /home/alice/key: permission denied")
	tests := []struct {
		name string
		err  error
		kind fault.Kind
		text string
		log  string
	}{
		{"with text", fault.E("load", fault.Denied, secret, "the key file may not be read"), fault.Denied,
			"the key file may not be read", "load: the key file may not be read: open /home/alice/key: permission denied"},
		{"without text", fault.E("load", fault.Busy, nil, ""), fault.Busy, "busy", "load: busy"},
		{"wrapped by fmt", fmt.Errorf("start: %w", fault.E("", fault.Limit, nil, "too many")), fault.Limit, "too many", "start: too many"},
		{"formatted", fault.Errorf("parse", fault.Invalid, "line %d is empty", 3), fault.Invalid, "line 3 is empty", "parse: line 3 is empty"},
		{"foreign", secret, fault.Internal, "internal error", secret.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fault.KindOf(tt.err); got != tt.kind {
				t.Errorf("kind = %v, want %v", got, tt.kind)
			}
			if got := fault.Text(tt.err); got != tt.text {
				t.Errorf("text = %q, want %q", got, tt.text)
			}
			if got := tt.err.Error(); got != tt.log {
				t.Errorf("error = %q, want %q", got, tt.log)
			}
		})
	}
}

func TestCauseIsKept(t *testing.T) {
	if err := fault.E("read", fault.Closed, io.EOF, "the peer left"); !errors.Is(err, io.EOF) {
		t.Error("E lost its cause")
	}
	if err := fault.Errorf("read", fault.Closed, "the peer left: %w", io.EOF); !errors.Is(err, io.EOF) {
		t.Error("Errorf lost its cause")
	}
	if fault.Is(io.EOF, fault.Internal) {
		t.Error("a foreign error is of no kind")
	}
}

func TestEveryKindHasAName(t *testing.T) {
	seen := map[string]bool{}
	for k := fault.Internal; k <= fault.Corrupt; k++ {
		if name := k.String(); name == "" || seen[name] {
			t.Errorf("kind %d: name %q is empty or used twice", k, name)
		} else {
			seen[name] = true
		}
	}
	if got := fault.Kind(200).String(); got != "kind 200" {
		t.Errorf("unknown kind prints %q", got)
	}
}

package rpc

import (
	"errors"
	"fmt"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Errors whose texts programs for Whisper know. They are sent with code -32000.
var (
	errSymAsym      = errors.New("specify either a symmetric or an asymmetric key")
	errNoTopics     = errors.New("missing topic(s)")
	errNoSymKey     = errors.New("non-existent key ID")
	errBadSymKey    = errors.New("invalid symmetric key")
	errBadPublicKey = errors.New("invalid public key")
	errBadSigner    = errors.New("invalid signing public key")
	errBadID        = errors.New("invalid id")
	errLowPoW       = errors.New("message rejected, PoW too low")
	errNoFilter     = errors.New("filter not found")
	errNotAnAddress = errors.New("missing 'enr:' prefix for base64-encoded record")
	//lint:ignore ST1005 the text is the interface
	errNoUnsubscribe = errors.New("Unsubscribe: Invalid ID")
)

func errNoPeer(id nodeaddr.ID) error {
	return fmt.Errorf("could not find peer with ID: %s", id)
}

func errNoWork(seconds uint32) error {
	return fmt.Errorf("failed to reach the PoW target, specified pow time (%d seconds) was insufficient", seconds)
}

// public returns an error that says of err what people may read.
func public(err error) error {
	var refusal *envelope.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal):
		return errors.New(refusal.Error())
	default:
		return errors.New(fault.Text(err))
	}
}

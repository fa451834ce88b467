package devp2p

import (
	"context"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/rlpx"

	"github.com/restante-im/restante/internal/nodeaddr"
)

// reachTimeout bounds a reachability check whose context has no deadline of its own.
const reachTimeout = 10 * time.Second

// Outcome is the result of a reachability check.
type Outcome uint8

// The outcomes.
const (
	Unreachable Outcome = iota // no connection
	SomeoneElse                // a connection, and not the node with this key behind it
	Reachable                  // the node proved its key
)

var outcomeNames = [...]string{"not reachable", "someone else answers", "reachable"}

// String names the outcome.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return "unknown"
}

// Reachability is what a check found. Text is a sentence for people without the address.
type Reachability struct {
	Outcome Outcome
	Text    string
	Took    time.Duration
}

// CheckReachable dials the advertised address from this machine and lets the node behind it prove that it has our key. What
// others see may differ: some routers let a machine reach itself from inside while they keep others out, or the reverse.
func (s *Server) CheckReachable(ctx context.Context) Reachability {
	self := s.Self()
	if self.Node.Address().IsZero() {
		return Reachability{Text: "not reachable: this node does not listen"}
	}
	return CheckReachable(ctx, s.cfg.DialContext, self.Node)
}

// CheckReachable connects to a node and completes the RLPx key handshake with a key made for the occasion. Only who holds
// the node's key can answer it.
func CheckReachable(ctx context.Context, dial DialFunc, n nodeaddr.Node) Reachability {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	began := time.Now()
	outcome, text := prove(ctx, dial, n)
	return Reachability{Outcome: outcome, Text: text, Took: time.Since(began)}
}

func prove(ctx context.Context, dial DialFunc, n nodeaddr.Node) (outcome Outcome, text string) {
	defer func() {
		if r := recover(); r != nil { // the far side's bytes met a defect in the handshake
			outcome, text = SomeoneElse, "someone else answers at the advertised address, and not as a devp2p node"
		}
	}()
	fd, err := dial(ctx, "tcp", n.Address().String())
	if err != nil {
		return Unreachable, "not reachable: " + dialText(err)
	}
	defer fd.Close()
	stop := context.AfterFunc(ctx, func() { fd.Close() })
	defer stop()
	if deadline, ok := ctx.Deadline(); ok {
		if err := fd.SetDeadline(deadline); err != nil {
			return Unreachable, "not reachable: the connection broke at once"
		}
	}
	key, err := crypto.GenerateKey()
	if err != nil {
		return Unreachable, fmt.Sprintf("the check could not be made: %v", err)
	}
	remote, err := rlpx.NewConn(fd, n.Key().ECDSA()).Handshake(key)
	switch {
	case err != nil && (ctx.Err() != nil || isTimeout(err)):
		return SomeoneElse, "someone else answers: the advertised address accepts connections and then says nothing"
	case err != nil:
		return SomeoneElse, "someone else answers at the advertised address: a program without this node's key, or this node turned the check away"
	case nodeaddr.KeyOf(remote) != n.Key():
		return SomeoneElse, "someone else answers at the advertised address: a node with another key"
	}
	return Reachable, "reachable: this node answered at its advertised address, as seen from this machine"
}

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/rpc"
)

// Client is a connection with a running node. Calls may overlap a subscription. Errors are faults: Invalid or NotFound
// for what the node answered, Unavailable where the connection broke, Timeout and Closed where ctx ended.
type Client interface {
	// Call asks and decodes the answer into result.
	Call(ctx context.Context, result any, method string, args ...any) error
	// Subscribe sends what is received to ch, which must be read.
	Subscribe(ctx context.Context, want rpc.Criteria, ch chan<- *rpc.Message) (Subscription, error)
	// Events sends what happens in the inbox to ch, which must be read, until cancel is called or ended yields.
	Events(ctx context.Context, kinds []string, ch chan<- *rpc.InboxEvent) (ended <-chan error, cancel func(), err error)
	Close()
}

// Subscription ends when the connection does: Err then delivers the error, or is closed.
type Subscription interface {
	Unsubscribe()
	Err() <-chan error
}

// Dialer connects with the node behind a socket. Its error is a fault: Unavailable if no node is running there, Denied if
// the socket belongs to another user.
type Dialer func(ctx context.Context, path string) (Client, error)

// dialTime bounds connecting with the node, callTime one question. Both are on this machine.
const (
	dialTime = 5 * time.Second
	callTime = 10 * time.Second
)

// connect dials the node that the flags and the configuration point to. With --ipc no configuration is read.
func (a *App) connect(ctx context.Context) (*node, error) {
	var path string
	if a.global.ipc != "" {
		abs, err := absolute(a.global.ipc)
		if err != nil {
			return nil, err
		}
		path = abs
	} else {
		cfg, _, err := a.loadConfig(nil)
		if err != nil {
			return nil, err
		}
		path = cfg.RPC.IPC
	}
	dialCtx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	c, err := a.Dial(dialCtx, path)
	switch {
	case err == nil:
		return &node{client: c}, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case fault.Is(err, fault.Unavailable):
		return nil, fail(ExitNoNode, "start one with `restante up` or `restante serve`, or point to another with --data-dir or --ipc",
			"no node is running at %s", path)
	case fault.Is(err, fault.Denied):
		return nil, fail(ExitFailure, "a node answers its owner only; run this as the user who runs it",
			"the node's socket %s belongs to another user", path)
	}
	return nil, err
}

// ask connects, asks one question, and decodes the answer into result; it returns the answer as it came, too.
func (a *App) ask(ctx context.Context, result any, method string, args ...any) (json.RawMessage, error) {
	n, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer n.close()
	var raw json.RawMessage
	if err := n.call(ctx, &raw, method, args...); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, result); err != nil {
		return nil, fail(ExitFailure, "the node and this program may be of different versions",
			"the node's answer is not understood: %v", err)
	}
	return raw, nil
}

// node asks a running node.
type node struct{ client Client }

func (n *node) close() { n.client.Close() }

// call asks and waits for at most callTime.
func (n *node) call(ctx context.Context, result any, method string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return n.callLong(ctx, result, method, args...)
}

// callLong asks and waits as long as ctx allows.
func (n *node) callLong(ctx context.Context, result any, method string, args ...any) error {
	return answerError(ctx, n.client.Call(ctx, result, method, args...))
}

// answerError tells what the node answered from a connection that broke.
func answerError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case fault.Is(err, fault.Unavailable):
		return lost()
	case fault.Is(err, fault.Timeout):
		return err
	}
	return fail(ExitFailure, "", "the node refused: %s", fault.Text(err))
}

func lost() error {
	return fail(ExitNoNode, "see its log for the reason", "the connection with the node broke: it has probably stopped")
}

package rpc

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/restante-im/restante/internal/fault"
)

// Client asks a running node. Errors are faults whose texts are for people.
type Client struct{ rpc *gethrpc.Client }

// Dial connects to the node whose command socket is at path. The error is of
// kind Unavailable if no node is running there.
func Dial(ctx context.Context, path string) (*Client, error) {
	const op = "rpc: dial"
	c, err := gethrpc.DialIPC(ctx, path)
	switch {
	case err == nil:
		return &Client{c}, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fault.E(op, fault.Denied, err, "the node at "+path+" belongs to another user: run the command as the user who runs the node")
	case ctx.Err() != nil:
		return nil, fault.E(op, fault.Timeout, err, "the node at "+path+" does not answer")
	default:
		return nil, fault.E(op, fault.Unavailable, err,
			"no node is running with data directory "+filepath.Dir(path)+"; start one with `restante serve`")
	}
}

// Call calls a method and decodes its result into the value that result points
// to, or drops it if result is nil.
func (c *Client) Call(ctx context.Context, result any, method string, args ...any) error {
	return clientError(ctx, method, c.rpc.CallContext(ctx, result, method, args...))
}

// Subscribe sends each message that matches to ch, until Unsubscribe is called
// on the result or its Err channel yields. ch must be read.
func (c *Client) Subscribe(ctx context.Context, want Criteria, ch chan<- *Message) (*gethrpc.ClientSubscription, error) {
	sub, err := c.rpc.Subscribe(ctx, "shh", ch, "messages", want)
	return sub, clientError(ctx, "shh_subscribe", err)
}

// Post calls shh_post and returns the envelope's hash.
func (c *Client) Post(ctx context.Context, m NewMessage) (hash string, err error) {
	err = c.Call(ctx, &hash, "shh_post", m)
	return hash, err
}

// Status calls node_status.
func (c *Client) Status(ctx context.Context) (st Status, err error) {
	err = c.Call(ctx, &st, "node_status")
	return st, err
}

// Peers calls node_peers.
func (c *Client) Peers(ctx context.Context) (list []Peer, err error) {
	err = c.Call(ctx, &list, "node_peers")
	return list, err
}

// Close ends the connection and its subscriptions.
func (c *Client) Close() { c.rpc.Close() }

func clientError(ctx context.Context, op string, err error) error {
	var answer gethrpc.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer):
		kind := fault.Invalid
		if answer.ErrorCode() == -32601 {
			kind = fault.NotFound
		}
		return fault.E(op, kind, nil, answer.Error())
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.E(op, fault.Timeout, err, "the node did not answer in time")
	case ctx.Err() != nil:
		return fault.E(op, fault.Closed, err, "interrupted")
	default:
		return fault.E(op, fault.Unavailable, err, "the connection to the node is lost: it was stopped, or refused the request")
	}
}

package legacy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Topic is a topic in its JSON form, hex of exactly four bytes.
type Topic envelope.Topic

// UnmarshalText reads 0x and 8 hex digits.
func (t *Topic) UnmarshalText(text []byte) error {
	return hexutil.UnmarshalFixedText("Topic", text, t[:])
}

// MarshalText writes 0x and 8 hex digits.
func (t Topic) MarshalText() ([]byte, error) { return hexutil.Bytes(t[:]).MarshalText() }

// MessagesRequest is the argument of shhext_requestMessages.
type MessagesRequest struct {
	MailServerPeer string  `json:"mailServerPeer,omitempty"` // enode URL; empty: the first known one that is connected
	From           uint32  `json:"from,omitempty"`           // Unix seconds, sent; 0: a day before To
	To             uint32  `json:"to,omitempty"`             // 0: now
	Limit          uint32  `json:"limit,omitempty"`          // 0, or more than MaxLimit: MaxLimit
	Cursor         string  `json:"cursor,omitempty"`         // hex without 0x
	Topic          Topic   `json:"topic,omitzero"`           // where there are no Topics
	Topics         []Topic `json:"topics,omitempty"`
	SymKeyID       string  `json:"symKeyID,omitempty"` // of the mail server's password; empty: its key
	Timeout        uint32  `json:"timeout,omitempty"`  // seconds; 0: DefaultTimeout
	Force          bool    `json:"force,omitempty"`    // even if the same topics were asked for just now
}

// RetryConfig is the first argument of shhext_requestMessagesSync. Times are in nanoseconds.
type RetryConfig struct {
	BaseTimeout time.Duration // of the first try; 0: DefaultTimeout
	StepTimeout time.Duration // more of it for each further one
	MaxRetries  int           // after the first try
}

// MessagesResponse is the result of shhext_requestMessagesSync.
type MessagesResponse struct {
	Cursor string  `json:"cursor"` // hex without 0x; "" when this was all
	Error  *string `json:"error"`  // the mail server's words; null when it went well
}

// RequestMessages asks a mail server and returns the request's id at once. A signal tells how it ended.
func (a *API) RequestMessages(_ context.Context, r MessagesRequest) (hexutil.Bytes, error) {
	req, err := a.prepare(&r)
	if err != nil {
		return nil, err
	}
	timeout := DefaultTimeout
	if r.Timeout > 0 {
		timeout = min(time.Duration(r.Timeout)*time.Second, MaxTimeout)
	}
	if err := a.enter(); err != nil {
		return nil, err
	}
	id := newID()
	if !a.opt.Go(func(ctx context.Context) {
		defer a.leave()
		a.try(ctx, id, req, timeout)
	}) {
		a.leave()
		return nil, errStopping
	}
	return id[:], nil
}

// RequestMessagesSync asks a mail server, again if there is no answer, and returns how it ended.
func (a *API) RequestMessagesSync(ctx context.Context, conf RetryConfig, r MessagesRequest) (*MessagesResponse, error) {
	if conf.BaseTimeout < 0 || conf.StepTimeout < 0 || conf.MaxRetries < 0 || conf.MaxRetries > MaxRetries {
		return nil, fmt.Errorf("timeouts must not be negative, and MaxRetries is at most %d", MaxRetries)
	}
	req, err := a.prepare(&r)
	if err != nil {
		return nil, err
	}
	if err := a.enter(); err != nil {
		return nil, err
	}
	defer a.leave()
	ctx, cancel := a.opt.Bind(ctx)
	defer cancel()
	timeout := conf.BaseTimeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	for range conf.MaxRetries + 1 {
		if end := a.try(ctx, newID(), req, min(timeout, MaxTimeout)); end != nil {
			return end, nil
		}
		if ctx.Err() != nil {
			return nil, errStopping
		}
		timeout += min(conf.StepTimeout, MaxTimeout)
	}
	return nil, fmt.Errorf("failed to request messages after %d retries", conf.MaxRetries+1)
}

// UpdateMailservers replaces the mail servers that the node keeps connected for programs.
func (a *API) UpdateMailservers(ctx context.Context, enodes []string) error {
	if a.opt.Requests == nil {
		return errNowhere
	}
	if len(enodes) > MaxServers {
		return fmt.Errorf("%d mail servers are named; allowed: %d", len(enodes), MaxServers)
	}
	var list []nodeaddr.Node
	for _, url := range enodes {
		n, err := nodeaddr.Parse(url)
		if err != nil {
			return errors.New(fault.Text(err))
		}
		list = append(list, n)
	}
	if err := a.opt.Requests.SetServers(ctx, list); err != nil {
		return errors.New(fault.Text(err))
	}
	return nil
}

// try asks once and sends the signal. It returns nil if no answer came.
func (a *API) try(ctx context.Context, id envelope.Hash, r Request, timeout time.Duration) *MessagesResponse {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, err := a.opt.Requests.Ask(ctx, r)
	switch {
	case err == nil:
		a.signals.send(completed(id, answer.Last, answer.Cursor, ""))
		return &MessagesResponse{Cursor: hex.EncodeToString(answer.Cursor)}
	case ctx.Err() != nil:
		a.signals.send(expired(id, fmt.Sprintf("the mail server did not end its answer within %v", timeout)))
	case fault.Is(err, fault.Timeout), fault.Is(err, fault.Unavailable), fault.Is(err, fault.Closed):
		a.signals.send(expired(id, fault.Text(err)))
	default:
		text := fault.Text(err)
		a.signals.send(completed(id, envelope.Hash{}, nil, text))
		return &MessagesResponse{Error: &text}
	}
	return nil
}

// prepare checks the arguments in the documented order.
func (a *API) prepare(r *MessagesRequest) (req Request, err error) {
	if a.opt.Requests == nil {
		return req, errNowhere
	}
	now := a.opt.Requests.Now()
	if req.To = r.To; req.To == 0 {
		req.To = uint32(now.Unix())
	}
	if req.From = r.From; req.From == 0 {
		req.From = req.To - min(req.To, defaultRange)
	}
	if req.From > req.To {
		//lint:ignore ST1005 the text is the interface
		return req, fmt.Errorf("Query range is invalid: from > to (%d > %d)", req.From, req.To)
	}
	if req.Server, err = a.server(r.MailServerPeer); err != nil {
		return req, fmt.Errorf("%w: %s", errPeer, fault.Text(err))
	}
	if r.SymKeyID != "" {
		k, err := a.opt.Keys.Sym(r.SymKeyID)
		if err != nil {
			return req, fmt.Errorf("%w: non-existent key ID", errKey)
		}
		req.Password = &k
	}
	if req.Cursor, err = parseCursor(r.Cursor); err != nil {
		return req, err
	}
	if len(r.Topics) > MaxTopics {
		return req, fmt.Errorf("%d topics are named; allowed: %d", len(r.Topics), MaxTopics)
	}
	for _, t := range r.Topics {
		req.Topics = append(req.Topics, envelope.Topic(t))
	}
	if len(r.Topics) == 0 && r.Topic != (Topic{}) {
		req.Topics = []envelope.Topic{envelope.Topic(r.Topic)}
	}
	if req.Limit = int(r.Limit); req.Limit == 0 || req.Limit > MaxLimit {
		req.Limit = MaxLimit
	}
	if !a.register(req.Topics, now) && !r.Force {
		return req, errTooSoon
	}
	if id := req.Server.ID(); !a.opt.Requests.Connected(id) {
		return req, fmt.Errorf("could not find peer with ID: %s", id)
	}
	return req, nil
}

func (a *API) server(url string) (nodeaddr.Node, error) {
	if url == "" {
		return a.opt.Requests.First()
	}
	return nodeaddr.ParseIdentity(url)
}

func parseCursor(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	cursor, err := hex.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("invalid cursor: %w", err)
	}
	if len(cursor) != CursorSize {
		return nil, fmt.Errorf("invalid cursor size: expected %d but got %d", CursorSize, len(cursor))
	}
	return cursor, nil
}

// register notes a request, and reports whether there was none for the same topics just now.
func (a *API) register(topics []envelope.Topic, now time.Time) bool {
	var key strings.Builder
	for _, t := range topics {
		key.Write(t[:])
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for k, at := range a.recent {
		if age := now.Sub(at); age >= sameTopics || age < 0 {
			delete(a.recent, k)
		}
	}
	if _, known := a.recent[key.String()]; known {
		return false
	}
	if len(a.recent) < MaxOpen {
		a.recent[key.String()] = now
	}
	return true
}

func (a *API) enter() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open >= MaxOpen {
		return errTooMany
	}
	a.open++
	return nil
}

func (a *API) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
}

// newID names a request. One may take several packets, so it is not the hash of one.
func newID() (id envelope.Hash) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

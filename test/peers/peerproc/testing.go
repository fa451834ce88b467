package peerproc

import (
	"context"
	"testing"
	"time"
)

// testPatience is how long a call of T may take: ample, as failing tests are the rare ones.
const testPatience = 20 * time.Second

// T is a Node in a test: its methods fail the test instead of returning errors, after 20 s at the latest. What it does
// not have is in its Node. Its methods must be called from the test's goroutine.
type T struct {
	*Node
	t testing.TB
}

// ForTest builds the named helper and starts a node that ends with the test.
func ForTest(t testing.TB, name string, c Config) *T {
	t.Helper()
	bin, err := Build(t.Context(), name, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	n, err := Start(ctx, bin, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return &T{n, t}
}

// In is p for a subtest.
func (p *T) In(t testing.TB) *T { return &T{p.Node, t} }

// Try runs fn with a context that ends after the test's patience, and fails the test if fn fails. For what T lacks:
//
//	p.Try(func(ctx context.Context) error { return p.Node.Trust(ctx, other.ID) })
func (p *T) Try(fn func(context.Context) error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), testPatience)
	defer cancel()
	if err := fn(ctx); err != nil {
		p.t.Fatal(err)
	}
}

// try1 is Try for what also returns a value.
func try1[V any](p *T, fn func(context.Context) (V, error)) (v V) {
	p.t.Helper()
	p.Try(func(ctx context.Context) (err error) {
		v, err = fn(ctx)
		return err
	})
	return v
}

// Connect connects to an enode and waits until status packets have gone both ways.
func (p *T) Connect(enode string) {
	p.t.Helper()
	p.Try(func(ctx context.Context) error { return p.Node.Connect(ctx, enode) })
}

// WaitPeer waits until status packets have gone both ways with a peer, named by enode URL or node id.
func (p *T) WaitPeer(peer any) {
	p.t.Helper()
	p.Try(func(ctx context.Context) error { return p.Node.WaitPeer(ctx, peer) })
}

// WaitGone waits until no such peer is connected.
func (p *T) WaitGone(peer any) {
	p.t.Helper()
	p.Try(func(ctx context.Context) error { return p.Node.WaitGone(ctx, peer) })
}

// Peers lists the connections.
func (p *T) Peers() []Peer {
	p.t.Helper()
	return try1(p, p.Node.Peers)
}

// Info asks for its state.
func (p *T) Info() Info {
	p.t.Helper()
	return try1(p, p.Node.Info)
}

// Pool returns the hashes that it holds now.
func (p *T) Pool() [][32]byte {
	p.t.Helper()
	return try1(p, p.Node.Pool)
}

// Post seals a message and sends it.
func (p *T) Post(d Draft) Sealed {
	p.t.Helper()
	return try1(p, func(ctx context.Context) (Sealed, error) { return p.Node.Post(ctx, d) })
}

// PostRaw sends an envelope.
func (p *T) PostRaw(raw []byte) Sealed {
	p.t.Helper()
	return try1(p, func(ctx context.Context) (Sealed, error) { return p.Node.PostRaw(ctx, raw) })
}

// Seal makes an envelope without sending it.
func (p *T) Seal(d Draft) Sealed {
	p.t.Helper()
	return try1(p, func(ctx context.Context) (Sealed, error) { return p.Node.Seal(ctx, d) })
}

// SetMinPoW changes its requirement and tells its peers.
func (p *T) SetMinPoW(v float64) {
	p.t.Helper()
	p.Try(func(ctx context.Context) error { return p.Node.SetMinPoW(ctx, v) })
}

// SetBloom changes its bloom filter and tells its peers.
func (p *T) SetBloom(bloom []byte) {
	p.t.Helper()
	p.Try(func(ctx context.Context) error { return p.Node.SetBloom(ctx, bloom) })
}

// FetchHistory asks a connected mail server and waits for the answer; see Node.FetchHistory.
func (p *T) FetchHistory(peer any, h History, quiet time.Duration) Answer {
	p.t.Helper()
	return try1(p, func(ctx context.Context) (Answer, error) { return p.Node.FetchHistory(ctx, peer, h, quiet) })
}

// PasswordKey derives a symmetric key.
func (p *T) PasswordKey(password string) []byte {
	p.t.Helper()
	return try1(p, func(ctx context.Context) ([]byte, error) { return p.Node.PasswordKey(ctx, password) })
}

// Wait returns the first event, past or future, that matches.
func (p *T) Wait(match func(Event) bool) Event {
	p.t.Helper()
	return try1(p, func(ctx context.Context) (Event, error) { return p.Node.Wait(ctx, match) })
}

// WaitPooled waits until the envelope is or was in its pool.
func (p *T) WaitPooled(hash [32]byte) Event {
	p.t.Helper()
	return try1(p, func(ctx context.Context) (Event, error) { return p.Node.WaitPooled(ctx, hash) })
}

// TSubscription is a Subscription in a test.
type TSubscription struct {
	*Subscription
	p *T
}

// Subscribe installs a filter.
func (p *T) Subscribe(f Filter) *TSubscription {
	p.t.Helper()
	s := try1(p, func(ctx context.Context) (*Subscription, error) { return p.Node.Subscribe(ctx, f) })
	return &TSubscription{s, p}
}

// Next returns the next message.
func (s *TSubscription) Next() Message {
	s.p.t.Helper()
	return try1(s.p, s.Subscription.Next)
}

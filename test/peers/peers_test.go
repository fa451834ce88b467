//go:build peers

// Package peers_test lets real peers talk to each other through their helpers: if this fails, the tools are broken, and
// no verdict about our node means anything. Run it with "make peers".
package peers_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/test/peers/peerproc"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestMessagesBetweenPeers sends messages of every kind from each helper to each.
func TestMessagesBetweenPeers(t *testing.T) {
	for _, pair := range [][2]string{
		{peerproc.Geth6, peerproc.Geth6},
		{peerproc.Geth6, peerproc.Status162},
		{peerproc.Status162, peerproc.Geth6},
	} {
		t.Run(pair[0]+" to "+pair[1], func(t *testing.T) { testMessages(t, pair[0], pair[1]) })
	}
}

func testMessages(t *testing.T, from, to string) {
	a := peerproc.ForTest(t, from, peerproc.Config{MinPoW: 0.0001})
	b := peerproc.ForTest(t, to, peerproc.Config{MinPoW: 0.0001})
	a.Connect(b.Enode)
	b.WaitPeer(a.ID)

	sym := bytes.Repeat([]byte{7}, 32)
	// The generator's multiples by 1 and 2 as key pairs.
	private, signer := make([]byte, 32), make([]byte, 32)
	private[31], signer[31] = 1, 2
	public := unhex(t, "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8")
	signerPublic := unhex(t, "04c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee51ae168fea63dc339a3c58419466ceaeef7f632653266d0e1236431a950cfe52a")

	for i, d := range []peerproc.Draft{
		{SymKey: sym},
		{SymKey: sym, Sign: signer},
		{PublicKey: public},
		{PublicKey: public, Sign: signer, Padding: []byte("padding")},
	} {
		t.Run(fmt.Sprintf("kind %d", i), func(t *testing.T) {
			a, b := a.In(t), b.In(t)
			d.Topic, d.Payload, d.TTL, d.PoWTarget = [4]byte{1, 2, 3, byte(i)}, []byte(fmt.Sprintf("message %d", i)), 20, 0.01
			f := peerproc.Filter{Topics: [][4]byte{d.Topic}, SymKey: d.SymKey}
			if d.PublicKey != nil {
				f.PrivateKey = private
			}
			inbox := b.Subscribe(f)
			sent := a.Post(d)
			got := inbox.Next()
			want := peerproc.Message{Payload: d.Payload, Padding: got.Padding, Hash: sent.Hash, Topic: d.Topic, TTL: 20, Sent: got.Sent, PoW: got.PoW, At: got.At}
			if d.Padding != nil {
				want.Padding = d.Padding
			}
			if d.Sign != nil {
				want.Sig = signerPublic
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if got.PoW < 0.01 {
				t.Errorf("PoW %v is below its target", got.PoW)
			}
			b.WaitPooled(sent.Hash)
		})
	}
}

// TestConfirmation expects Status' helper to report that another confirmed its envelope.
func TestConfirmation(t *testing.T) {
	a := peerproc.ForTest(t, peerproc.Status162, peerproc.Config{})
	b := peerproc.ForTest(t, peerproc.Status162, peerproc.Config{})
	a.Connect(b.Enode)
	b.WaitPeer(a.ID)
	sent := a.Post(peerproc.Draft{SymKey: bytes.Repeat([]byte{7}, 32), Payload: []byte("hello"), TTL: 20})
	e := a.Wait(func(e peerproc.Event) bool { return e.Name == "envelope.sent" && e.Hash == sent.Hash })
	ack := a.Wait(func(f peerproc.Event) bool { return f.Name == "batch.acknowleged" && f.Batch == e.Batch })
	if ack.Peer != b.ID || len(ack.Refused) != 0 {
		t.Errorf("acknowledged by %x, refusing %x; want %x, none", ack.Peer, ack.Refused, b.ID)
	}
}

// TestReconnect expects a helper to be back within a second of losing a peer, and to say why a peer was lost.
func TestReconnect(t *testing.T) {
	a := peerproc.ForTest(t, peerproc.Geth6, peerproc.Config{Packets: true})
	b := peerproc.ForTest(t, peerproc.Geth6, peerproc.Config{MinPoW: 1000})
	a.Connect(b.Enode)
	a.Wait(func(e peerproc.Event) bool { return e.Kind == peerproc.PacketIn && e.Code == 0 })
	b.WaitPeer(a.ID)

	// The source ignores what go-ethereum requires, which then disconnects it for the low PoW.
	bin, err := peerproc.Build(t.Context(), peerproc.Geth6, "")
	if err != nil {
		t.Fatal(err)
	}
	source, err := peerproc.StartRaw(bin, "source", "-to", b.Enode, "-rate", "100", "-count", "1", "-linger", "2s")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	b.Wait(func(e peerproc.Event) bool { return e.Kind == peerproc.PeerClosed && e.Reason == "invalid envelope" })

	// Dropped from the other side, the connection comes back by itself.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, pos, err := a.WaitAfter(ctx, 0, peerproc.Of(peerproc.PeerReady))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.DropPeer(ctx, a.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.WaitAfter(ctx, pos, peerproc.Of(peerproc.PeerReady)); err != nil {
		t.Fatal("no reconnection: ", err)
	}
}

// TestRawEnds sends from a raw source through a real relay to a raw sink.
func TestRawEnds(t *testing.T) {
	bin, err := peerproc.Build(t.Context(), peerproc.Geth6, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	raw := func(args ...string) *peerproc.Raw {
		r, err := peerproc.StartRaw(bin, args...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}
	const count = 500
	relay := raw("relay")
	enode, err := relay.Ready(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sink := raw("sink", "-to", enode, "-expect", strconv.Itoa(count))
	if err := sink.Wait(ctx, "connected", 0, nil); err != nil {
		t.Fatal(err)
	}
	source := raw("source", "-to", enode, "-rate", "1000", "-count", strconv.Itoa(count), "-pow", "0.001")
	var sent peerproc.SourceResult
	if err := source.Result(ctx, &sent); err != nil {
		t.Fatal(err)
	}
	var got peerproc.SinkResult
	if err := sink.Result(ctx, &got); err != nil {
		t.Fatal(err)
	}
	used, err := relay.CPU(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if sent.Sent != count || got.Received != count || got.Duplicates != 0 || got.Foreign != 0 || used.Pool != count || used.CPUNanos == 0 {
		t.Errorf("sent %+v, got %+v, relay %+v", sent, got, used)
	}
	t.Logf("one hop through go-ethereum: p50 %.0f ms, p95 %.0f ms", got.P50MS, got.P95MS)
}

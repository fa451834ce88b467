//go:build peers

package peers_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// lowPoW is below what our node asks for by default.
const lowPoW = 0.000001

// The keys of these tests. The generator's multiples by 1 and 2 are the receiver's and the signer's.
const (
	receiverPublic = "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
	signerPublic   = "04c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee51ae168fea63dc339a3c58419466ceaeef7f632653266d0e1236431a950cfe52a"
)

var symKey = bytes.Repeat([]byte{7}, 32)

func scalar(n byte) []byte { return append(make([]byte, 31), n) }

func hexOf(b []byte) string { return "0x" + hex.EncodeToString(b) }

// kind is one way to seal a message.
type kind struct {
	name             string
	sym, signed, pad bool
}

func kinds() (list []kind) {
	for i := range 8 {
		k := kind{sym: i&1 == 0, signed: i&2 != 0, pad: i&4 != 0}
		k.name = fmt.Sprintf("sym=%v signed=%v padding=%v", k.sym, k.signed, k.pad)
		list = append(list, k)
	}
	return list
}

// sizes are the payloads' lengths. The layout changes at 256 and 65536; padding fills to multiples of 256.
var sizes = []int{0, 1, 100, 252, 253, 254, 255, 256, 257, 512, 64 << 10, 900 << 10}

// letter is a message to send, in a form for both sides.
type letter struct {
	kind
	topic            [4]byte
	payload, padding []byte
	ttl              uint32
}

func letters(rng *rand.ChaCha8, mark byte, sizes []int) (list []letter) {
	for i, k := range kinds() {
		for j, size := range sizes {
			if k.pad && size > 512 {
				continue
			}
			l := letter{kind: k, topic: [4]byte{mark, byte(i), byte(j), 1}, payload: make([]byte, size), ttl: uint32(60 + 20*i + j)}
			rng.Read(l.payload)
			if k.pad {
				l.padding = make([]byte, 1+j*13)
				rng.Read(l.padding)
			}
			list = append(list, l)
		}
	}
	return list
}

func (l letter) draft() peerproc.Draft {
	d := peerproc.Draft{Topic: l.topic, Payload: l.payload, Padding: l.padding, TTL: l.ttl, PoWTarget: 0.000002}
	if l.sym {
		d.SymKey = symKey
	} else {
		d.PublicKey, _ = hex.DecodeString(receiverPublic)
	}
	if l.signed {
		d.Sign = scalar(2)
	}
	return d
}

// ring holds the ids of this file's keys at our node.
type ring struct{ sym, receiver, signer string }

func (o *ours) ring() ring {
	o.t.Helper()
	return ring{
		ask[string](o, "shh_addSymKey", hexOf(symKey)),
		ask[string](o, "shh_addPrivateKey", hexOf(scalar(1))),
		ask[string](o, "shh_addPrivateKey", hexOf(scalar(2))),
	}
}

func (l letter) message(r ring) rpc.NewMessage {
	m := rpc.NewMessage{TTL: l.ttl, Topic: l.topic, Payload: l.payload, Padding: l.padding, PowTarget: 0.000002}
	if l.sym {
		m.SymKeyID = r.sym
	} else {
		m.PublicKey, _ = hex.DecodeString(receiverPublic)
	}
	if l.signed {
		m.Sig = r.signer
	}
	return m
}

// read is a message as a receiver reports it.
type read struct {
	Hash    [32]byte
	Topic   [4]byte
	TTL     uint32
	Signer  string
	Payload string
	Padding string
}

// want is what l must look like. Padding that was not given is compared with got's own.
func (l letter) want(hash [32]byte, got read) read {
	r := read{Hash: hash, Topic: l.topic, TTL: l.ttl, Payload: string(l.payload), Padding: got.Padding}
	if l.signed {
		r.Signer = signerPublic
	}
	if l.padding != nil {
		r.Padding = string(l.padding)
	}
	return r
}

func ofPeer(m peerproc.Message) read {
	return read{m.Hash, m.Topic, m.TTL, hex.EncodeToString(m.Sig), string(m.Payload), string(m.Padding)}
}

func ofOurs(m *rpc.Message) read {
	return read{[32]byte(m.Hash), [4]byte(m.Topic), m.TTL, hex.EncodeToString(m.Sig), string(m.Payload), string(m.Padding)}
}

// mailboxes are a helper's filters for both keys.
type mailboxes struct{ sym, asym *peerproc.TSubscription }

func subscribeBoth(p *peerproc.T) mailboxes {
	return mailboxes{p.Subscribe(peerproc.Filter{SymKey: symKey}), p.Subscribe(peerproc.Filter{PrivateKey: scalar(1)})}
}

func (m mailboxes) next(l letter) read {
	if l.sym {
		return ofPeer(m.sym.Next())
	}
	return ofPeer(m.asym.Next())
}

// filters are our node's filters for both keys. A subscription by symmetric key needs topics, a filter does not.
type filters struct {
	o         *ours
	sym, asym string
	waiting   []*rpc.Message
}

func (o *ours) filters(r ring) *filters {
	o.t.Helper()
	return &filters{
		o: o, sym: ask[string](o, "shh_newMessageFilter", rpc.Criteria{SymKeyID: r.sym}),
		asym: ask[string](o, "shh_newMessageFilter", rpc.Criteria{PrivateKeyID: r.receiver}),
	}
}

// next returns the next message of either filter.
func (f *filters) next() read {
	f.o.t.Helper()
	eventually(f.o.t, "our filters have a message", func() bool {
		for _, id := range []string{f.sym, f.asym} {
			f.waiting = append(f.waiting, ask[[]*rpc.Message](f.o, "shh_getFilterMessages", id)...)
		}
		return len(f.waiting) > 0
	})
	m := f.waiting[0]
	f.waiting = f.waiting[1:]
	return ofOurs(m)
}

func TestGeth6Messages(t *testing.T)     { testOursMessages(t, peerproc.Geth6) }
func TestStatus162Messages(t *testing.T) { testOursMessages(t, peerproc.Status162) }

// testOursMessages sends every kind and size of message from our node to a peer and back.
func testOursMessages(t *testing.T, helper string) {
	t.Parallel()
	o := startOurs(t)
	p := peerproc.ForTest(t, helper, peerproc.Config{MinPoW: lowPoW})
	o.connect(p)
	keys := o.ring()
	theirs, mine := subscribeBoth(p), o.filters(keys)
	rng := rand.NewChaCha8([32]byte{1})

	started, n := time.Now(), 0
	for _, l := range letters(rng, 0xa0, sizes) {
		hash := o.post(l.message(keys))
		got := theirs.next(l)
		if diff := cmp.Diff(l.want(hash, got), got); diff != "" {
			t.Fatalf("to the peer, %s, %d bytes: %.2000s", l.name, len(l.payload), diff)
		}
		// Our own filters see our own posts too.
		if own := mine.next(); own.Hash != hash {
			t.Fatalf("our own filter got %x, want %x", own.Hash, hash)
		}
		n++
	}
	// Peers send in cycles of 300 ms: all at once, then.
	waiting := map[[32]byte]letter{}
	for _, l := range letters(rng, 0xb0, sizes) {
		waiting[p.Post(l.draft()).Hash] = l
	}
	for len(waiting) > 0 {
		got := mine.next()
		l, ok := waiting[got.Hash]
		if !ok {
			t.Fatalf("%x came, which nobody sent, or twice", got.Hash)
		}
		if diff := cmp.Diff(l.want(got.Hash, got), got); diff != "" {
			t.Fatalf("to us, %s, %d bytes: %.2000s", l.name, len(l.payload), diff)
		}
		delete(waiting, got.Hash)
		n++
	}
	stayed(t, p)
	t.Logf("%d messages both ways in %s, each equal to the byte", n, time.Since(started).Round(time.Millisecond))
}

func TestGeth6WithoutPadding(t *testing.T)     { testOursWithoutPadding(t, peerproc.Geth6) }
func TestStatus162WithoutPadding(t *testing.T) { testOursWithoutPadding(t, peerproc.Status162) }

// testOursWithoutPadding seals messages without any padding, as no peer does by itself, and lets the peer and our node open them.
func testOursWithoutPadding(t *testing.T, helper string) {
	t.Parallel()
	o := startOurs(t)
	p := peerproc.ForTest(t, helper, peerproc.Config{MinPoW: lowPoW})
	o.connect(p)
	keys := o.ring()
	theirs, mine := subscribeBoth(p), o.filters(keys)
	rng := rand.NewChaCha8([32]byte{2})
	for _, l := range letters(rng, 0xc0, []int{0, 1, 255, 256, 512, 64 << 10}) {
		if l.pad {
			continue
		}
		env := sealBare(t, l)
		p.PostRaw(env.Raw())
		l.padding = []byte{}
		for who, got := range map[string]read{"the peer": theirs.next(l), "our node": mine.next()} {
			if diff := cmp.Diff(l.want(env.Hash(), got), got); diff != "" {
				t.Fatalf("%s, %s, %d bytes: %.2000s", who, l.name, len(l.payload), diff)
			}
		}
	}
	stayed(t, p)
}

// sealBare seals a letter without padding.
func sealBare(t *testing.T, l letter) *envelope.Envelope {
	t.Helper()
	plain := message.Plain{Payload: l.payload, Padding: []byte{}}
	if l.signed {
		k, err := message.ParsePrivateKey(scalar(2))
		if err != nil {
			t.Fatal(err)
		}
		plain.Sign = k
	}
	var data []byte
	var err error
	if l.sym {
		k, _ := message.NewSymKey(symKey)
		data, err = message.SealSymmetric(k, plain, nil)
	} else {
		b, _ := hex.DecodeString(receiverPublic)
		to, _ := message.ParsePublicKey(b)
		data, err = message.SealAsymmetric(to, plain, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	env, err := envelope.Seal(context.Background(), envelope.Draft{Expiry: uint32(time.Now().Unix()) + l.ttl, TTL: l.ttl, Topic: l.topic, Data: data}, 0.000002, 1)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

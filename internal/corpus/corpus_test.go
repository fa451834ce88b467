package corpus_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/corpus"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/message"
)

func config(count int) corpus.Config {
	return corpus.Baseline(count, time.Unix(1_700_000_000, 0), 24*time.Hour)
}

func make1(t testing.TB, c corpus.Config) *corpus.Corpus {
	t.Helper()
	k, err := corpus.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestShape(t *testing.T) {
	for _, size := range []struct{ payload, rlp int }{{512, 814}, {2048, 2350}} {
		c := config(2000)
		c.Payload = size.payload
		k := make1(t, c)
		keys := map[envelope.Topic]message.SymKey{}
		for n, topic := range k.Topics() {
			keys[topic] = k.Key(n)
		}
		if len(keys) != c.Topics {
			t.Fatalf("%d topics, want %d", len(keys), c.Topics)
		}
		i, hashes := 0, map[envelope.Hash]bool{}
		for e := range k.All() {
			at := k.Arrives(i)
			if sent := time.Unix(int64(e.Sent()), 0); sent.After(at) || at.Sub(sent) > c.Jitter+time.Second {
				t.Fatalf("envelope %d was sent at %v and arrives at %v", i, sent, at)
			}
			if n := len(e.Raw()); n < size.rlp || n > size.rlp+2 { // a nonce of up to three bytes
				t.Fatalf("%d bytes of RLP, want %d", n, size.rlp)
			}
			if k.TopicOf(i) != e.Topic() {
				t.Fatalf("envelope %d has the topic %v, not %v", i, e.Topic(), k.TopicOf(i))
			}
			if e.PoW() < c.PoW || e.TTL() != c.TTL {
				t.Fatalf("PoW %g, TTL %d", e.PoW(), e.TTL())
			}
			opened, err := message.OpenSymmetric(keys[e.Topic()], e.Data())
			if err != nil || len(opened.Payload) != c.Payload {
				t.Fatalf("envelope %d does not open with its topic's key: %v", i, err)
			}
			hashes[e.Hash()] = true
			i++
		}
		if i != c.Count || len(hashes) != c.Count || k.Len() != c.Count {
			t.Errorf("%d envelopes, %d of them different, want %d", i, len(hashes), c.Count)
		}
	}
}

func TestJitterDisorders(t *testing.T) {
	c := config(100)
	c.Span, c.PoW = 10*time.Second, 0
	disordered, last := 0, uint32(0)
	for e := range make1(t, c).All() {
		if e.Sent() < last {
			disordered++
		}
		last = e.Sent()
	}
	if disordered < 10 {
		t.Errorf("only %d of %d were sent before the one that came before them", disordered, c.Count)
	}
}

func TestArrivalsSpan(t *testing.T) {
	c := config(11)
	k := make1(t, c)
	if got := k.Arrives(0); !got.Equal(c.From) {
		t.Errorf("the first arrives at %v, want %v", got, c.From)
	}
	if got := k.Arrives(10); !got.Equal(c.From.Add(c.Span)) {
		t.Errorf("the last arrives at %v, want %v", got, c.From.Add(c.Span))
	}
}

// TestSameEverywhere fails when a change makes other corpora of the same seeds: archives that were filled before no longer fit.
func TestSameEverywhere(t *testing.T) {
	var file bytes.Buffer
	n, err := make1(t, config(300)).WriteTo(&file)
	if err != nil || n != int64(file.Len()) {
		t.Fatalf("%d of %d bytes, %v", n, file.Len(), err)
	}
	sum := sha256.Sum256(file.Bytes())
	if got := hex.EncodeToString(sum[:8]); got != "a2d6179721dd39cb" {
		t.Errorf("the corpus has the digest %s", got)
	}
	other := config(300)
	other.Seed = 2
	if make1(t, other).At(7).Hash() == make1(t, config(300)).At(7).Hash() {
		t.Error("two seeds make the same envelope")
	}
}

func TestTopicsShare(t *testing.T) {
	for _, zipf := range []bool{false, true} {
		c := config(20_000)
		c.Topics, c.Payload, c.PoW, c.Zipf = 10, 0, 0, zipf
		k := make1(t, c)
		count := map[envelope.Topic]int{}
		for e := range k.All() {
			count[e.Topic()]++
		}
		first, last := count[k.Topics()[0]], count[k.Topics()[9]]
		ratio := float64(first) / float64(last)
		if want := map[bool]float64{false: 1, true: 10}[zipf]; ratio < want*0.8 || ratio > want*1.25 {
			t.Errorf("Zipf %v: the first topic has %.2f times the envelopes of the tenth, want about %g", zipf, ratio, want)
		}
	}
}

func TestReaderReadsBack(t *testing.T) {
	k := make1(t, config(700))
	var file bytes.Buffer
	if _, err := k.WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	r := corpus.NewReader(&file)
	for i := range k.Len() {
		e, err := r.Next()
		if err != nil || e.Hash() != k.At(i).Hash() {
			t.Fatalf("envelope %d: %v", i, err)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}
}

func TestReaderRefuses(t *testing.T) {
	c := config(2)
	c.PoW = 0
	var file bytes.Buffer
	if _, err := make1(t, c).WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	whole := file.Bytes()
	for name, b := range map[string][]byte{
		"cut":       whole[:len(whole)-1],
		"no list":   []byte("corpus"),
		"huge":      {0xff, 1, 2, 3, 4, 5, 6, 7, 8},
		"other":     {0xc1, 0x80},
		"cut early": {0xf9},
	} {
		r := corpus.NewReader(bytes.NewReader(b))
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReaderPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	r := corpus.NewReader(io.MultiReader(bytes.NewReader([]byte{0xf9, 3, 0x2b, 1, 2, 3}), errorReader{broken}))
	if _, err := r.Next(); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

func TestStopsEarly(t *testing.T) {
	n := 0
	for range make1(t, config(corpus.MaxCount)).All() {
		if n++; n == 300 {
			break
		}
	}
}

func TestRefusesBadConfig(t *testing.T) {
	for name, spoil := range map[string]func(*corpus.Config){
		"count":   func(c *corpus.Config) { c.Count = corpus.MaxCount + 1 },
		"payload": func(c *corpus.Config) { c.Payload = -1 },
		"topics":  func(c *corpus.Config) { c.Topics = 0 },
		"span":    func(c *corpus.Config) { c.Span = -1 },
		"pow":     func(c *corpus.Config) { c.PoW = -0.1 },
		"ttl":     func(c *corpus.Config) { c.TTL = 0 },
	} {
		c := config(1)
		spoil(&c)
		if _, err := corpus.New(c); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkAt(b *testing.B) {
	for name, pow := range map[string]float64{"mined": 0.002, "unmined": 0} {
		b.Run(name, func(b *testing.B) {
			c := config(1 << 20)
			c.PoW = pow
			k := make1(b, c)
			for i := range b.N {
				k.At(i)
			}
		})
	}
}

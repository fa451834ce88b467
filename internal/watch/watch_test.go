package watch_test

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/watch"
)

var (
	noon  = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	topic = envelope.Topic{1, 2, 3, 4}
)

func TestASpecIsChecked(t *testing.T) {
	key := message.PasswordKey("hello")
	private := pair(t)
	many := make([]envelope.Topic, watch.MaxTopics+1)
	for i := range many {
		many[i] = envelope.Topic{byte(i), byte(i >> 8)}
	}
	for _, c := range []struct {
		name string
		spec watch.Spec
		kind fault.Kind
		text string
	}{
		{"no topic", watch.Spec{}, fault.Invalid, "at least one topic"},
		{"too many", watch.Spec{Topics: many}, fault.Limit, "at most 1000 topics, not 1001"},
		{"two keys", watch.Spec{Topics: many[:1], Sym: &key, Private: private}, fault.Invalid, "not both"},
		{"rank", watch.Spec{Topics: many[:1], Rank: 10}, fault.Invalid, "the rank is 10"},
		{"long name", watch.Spec{Topics: many[:1], Name: strings.Repeat("x", 65)}, fault.Invalid, "64 bytes"},
		{"hidden name", watch.Spec{Topics: many[:1], Name: "a\u202eb"}, fault.Invalid, "printable"},
	} {
		if _, err := watch.New(c.spec, rand.Reader, noon); fault.KindOf(err) != c.kind || !strings.Contains(fault.Text(err), c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := watch.New(watch.Spec{Topics: many[:1]}, iotest.ErrReader(errors.New("no")), noon); !fault.Is(err, fault.Internal) {
		t.Errorf("without random numbers: %v", err)
	}
}

func TestAWatchIsReadAsItWasWritten(t *testing.T) {
	key := message.PasswordKey("hello")
	private := pair(t)
	signer := private.Public()
	for name, spec := range map[string]watch.Spec{
		"bare":      {Topics: []envelope.Topic{{9}, topic, {9}}},
		"symmetric": {Name: "club", Topics: []envelope.Topic{topic}, Sym: &key, Since: noon.Add(-time.Hour), Rank: 3},
		"private":   {Topics: []envelope.Topic{topic}, Private: private, Signer: &signer},
	} {
		w, err := watch.New(spec, rand.Reader, noon)
		if err != nil {
			t.Fatal(err)
		}
		back, err := watch.Parse(w.Marshal())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		same := cmp.Comparer(func(a, b message.SymKey) bool { return a.Equal(b) })
		if diff := cmp.Diff(w, back, same, cmp.Comparer(func(a, b *message.PrivateKey) bool { return a == b || a.Equal(b) })); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if w.Since.IsZero() != (w.SinceSecond() == 0) || len(w.ID) != 16 {
			t.Errorf("%s: since %d, id %q", name, w.SinceSecond(), w.ID)
		}
	}
}

func TestAWatchOpensWhatIsForIt(t *testing.T) {
	key, other := message.PasswordKey("hello"), message.PasswordKey("other")
	alice, mallory := pair(t), pair(t)
	signer := alice.Public()
	mine := message.Plain{Payload: []byte("hi"), Sign: alice}
	symmetric := func(k message.SymKey, p message.Plain, to envelope.Topic) *envelope.Envelope {
		data, err := message.SealSymmetric(k, p, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return seal(t, to, data)
	}
	asymmetric, err := message.SealAsymmetric(alice.Public(), mine, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sym := watch.Spec{Topics: []envelope.Topic{topic}, Sym: &key}
	signed := sym
	signed.Signer = &signer
	for _, c := range []struct {
		name  string
		spec  watch.Spec
		env   *envelope.Envelope
		opens bool
	}{
		{"its key", sym, symmetric(key, mine, topic), true},
		{"another key", sym, symmetric(other, mine, topic), false},
		{"another topic", sym, symmetric(key, mine, envelope.Topic{7}), false},
		{"no key", watch.Spec{Topics: []envelope.Topic{topic}}, symmetric(key, mine, topic), false},
		{"its private key", watch.Spec{Topics: []envelope.Topic{topic}, Private: alice}, seal(t, topic, asymmetric), true},
		{"another private key", watch.Spec{Topics: []envelope.Topic{topic}, Private: mallory}, seal(t, topic, asymmetric), false},
		{"the signer", signed, symmetric(key, mine, topic), true},
		{"another signer", signed, symmetric(key, message.Plain{Payload: []byte("hi"), Sign: mallory}, topic), false},
		{"no signer", signed, symmetric(key, message.Plain{Payload: []byte("hi")}, topic), false},
	} {
		w, err := watch.New(c.spec, rand.Reader, noon)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.Open(c.env); (got != nil) != c.opens || got != nil && string(got.Payload) != "hi" {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	key := message.PasswordKey("hello")
	w, _ := watch.New(watch.Spec{Topics: []envelope.Topic{topic}, Sym: &key, Name: "club"}, rand.Reader, noon)
	f.Add(w.Marshal())
	f.Add([]byte(`{"id":"1","topics":"0102030405"}`))
	f.Add([]byte(`{"topics":"01020304","sym":"00","private":"zz"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := watch.Parse(b)
		if err != nil {
			if !fault.Is(err, fault.Corrupt) {
				t.Fatalf("%v", err)
			}
			return
		}
		if _, err := watch.Parse(w.Marshal()); err != nil {
			t.Fatalf("what was read is not read again: %v", err)
		}
	})
}

func pair(t *testing.T) *message.PrivateKey {
	t.Helper()
	k, err := message.GeneratePrivateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func seal(t *testing.T, to envelope.Topic, data []byte) *envelope.Envelope {
	t.Helper()
	e, err := envelope.Seal(t.Context(), envelope.Draft{Expiry: uint32(noon.Unix()) + 50, TTL: 50, Topic: to, Data: data}, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

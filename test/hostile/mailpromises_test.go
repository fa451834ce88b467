package hostile_test

import (
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive/segment"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/mail1"
	"github.com/restante-im/restante/internal/mailserver"
	"github.com/restante-im/restante/internal/node"
	"github.com/restante-im/restante/internal/wire"
)

// TestMembersModeRefusesOthers asks a members' mail server in every way there is: nobody else gets anything, and all are
// told why, while the member reads on.
func TestMembersModeRefusesOthers(t *testing.T) {
	w := newMailWorld(t, few, func(o *node.Options) { o.Mail.MembersOnly = true })
	s := newSealer(t, mailPassword)
	full := envelope.FullBloom()
	m := wire.MailRequest{ID: make([]byte, 32), Bloom: &full, Limit: 100, Batch: true}
	dialect := func(name string) *wire.Dialect { d, _ := wire.Lookup(name); return d }
	a := w.asker("")
	asked := func(what, link string, code uint64, payload []byte) {
		t.Helper()
		a.send(link, code, payload)
		if text, err := a.wait(); err != nil || !strings.Contains(text, "member") {
			t.Fatalf("%s by %s is answered by %q, %v", what, link, text, err)
		}
	}
	hashes := []envelope.Hash{{1}}
	w.during(24<<20, func() {
		for _, link := range []string{shh6, waku1} {
			asked("a plain request", link, requestCode, dialect(link).EncodePlain(m).Payload)
			asked("a sealed request", link, requestCode, s.seal(wire.EncodeSealed(m)))
			asked("a binary request", link, requestCode, s.seal(wire.EncodeBinary(m)))
		}
		asked("a sync request", shh6, syncCode, wire.EncodeSync(wire.MailRequest{To: 1<<32 - 1, Bloom: &full, Limit: 10}).Payload)
		for _, p := range []mail1.Packet{
			a.everything(1 << 20), mail1.Hashes{Question: mail1.Question{ID: a.next(), Credit: 1 << 20}},
			mail1.Fetch{ID: a.next(), Hashes: hashes, Credit: 1}, mail1.Fetch{ID: a.next(), Credit: 1},
			mail1.Held{ID: a.next(), Hashes: hashes}, mail1.Held{ID: a.next()},
		} {
			code, payload := mail1.Encode(p)
			asked("a request", mail1.Label, code, payload)
		}
	})
	if came, _ := a.counts(); came != 0 {
		t.Errorf("%d packets came", came)
	}
}

// TestMailNoUpperLimit asks "without an upper limit" as clients do, in numbers on which other servers overflow.
func TestMailNoUpperLimit(t *testing.T) {
	w := newMailWorld(t, few, nil)
	s := newSealer(t, mailPassword)
	full := envelope.FullBloom()
	a := w.reader() // it counts envelopes
	want := 0
	for _, to := range []uint32{0, math.MaxUint32, math.MaxUint32 - 1} {
		m := wire.MailRequest{To: to, Bloom: &full, Limit: 700, Batch: true}
		for _, request := range [][]byte{
			s.seal(wire.EncodeSealed(m)),
			s.seal(rlpOf(t, 0, uint64(to), full[:], 700, []byte{})),
			rlpOf(t, make([]byte, 32), 0, uint64(to), 700, []byte{}, full[:]),
		} {
			want += 700
			a.send(shh6, requestCode, request)
			text, err := a.wait()
			if came, _ := a.counts(); err != nil || text != "" || came != want {
				t.Fatalf("up to %d: %q, %v, %d envelopes of %d", to, text, err, came, want)
			}
		}
	}
	binary := make([]byte, 8)
	for i := 4; i < 8; i++ {
		binary[i] = 0xff
	}
	want += few
	a.send(shh6, requestCode, s.seal(binary))
	text, err := a.wait()
	if came, _ := a.counts(); err != nil || text != "" || came != want {
		t.Errorf("in binary: %q, %v, %d envelopes of %d", text, err, came, want)
	}
}

// TestMailLateComer: an envelope that was sent long before it came is stored when it is acknowledged, and who has read
// everything up to then finds it behind its position.
func TestMailLateComer(t *testing.T) {
	w := newMailWorld(t, few, nil)
	a := w.reader()
	a.say(a.everything(64 << 20))
	if text, err := a.wait(); err != nil || text != "" {
		t.Fatal(text, err)
	}
	var end mail1.End
	for end.ID == 0 {
		end, _ = (<-a.news).(mail1.End)
	}
	if came, _ := a.counts(); came != few || end.More || end.Through < few {
		t.Fatalf("%d envelopes and %+v", came, end)
	}
	from := w.dial(attacker())
	for n := range 5 {
		draft := envelope.Draft{Expiry: uint32(time.Now().Unix()) + 1800, TTL: 3600, Topic: envelope.Topic{9}, Data: make([]byte, 300)}
		draft.Data[0] = byte(n)
		late, err := envelope.Seal(t.Context(), draft, 0.001, 1)
		if err != nil {
			t.Fatal(err)
		}
		from.send(shh6, 1, list(late))
		eventually(t, "it is acknowledged", func() bool {
			_, ok := from.acks.Load(envelope.Keccak256(list(late)))
			return ok
		})
		before, _ := a.counts()
		a.say(mail1.Page{Question: mail1.Question{ID: a.next(), Epoch: end.Epoch, After: end.Through, Credit: 1 << 20}})
		text, err := a.wait()
		if came, _ := a.counts(); err != nil || text != "" || came != before+1 {
			t.Fatalf("%q, %v, %d envelopes behind %d; counters %v", text, err, came-before, end.Through, w.status().Counters)
		}
		for next := end.ID; end.ID == next; {
			if e, ok := (<-a.news).(mail1.End); ok {
				end = e
			}
		}
	}
}

// TestMailLeavesNothingBehind asks thousands of different questions and has them answered: nothing remains of them.
func TestMailLeavesNothingBehind(t *testing.T) {
	w := newMailWorld(t, few, nil)
	a := w.reader()
	goroutines := runtime.NumGoroutine()
	before := heap()
	var bloom envelope.Bloom
	for n := range 3000 {
		bloom[n%64] ^= byte(1 + n%255)
		filter := bloom
		a.plain(wire.MailRequest{Bloom: &filter, From: uint32(n), Limit: 1})
		if n%10 == 9 {
			w.answered(a, n+1)
		}
	}
	if a.texts[""] != 3000 {
		t.Errorf("the answers were %v", a.texts)
	}
	w.idle()
	if after := heap(); after > before+4<<20 {
		t.Errorf("the heap grew from %d to %d KiB", before>>10, after>>10)
	}
	if n := runtime.NumGoroutine(); n > goroutines+10 {
		t.Errorf("%d goroutines became %d", goroutines, n)
	}
}

// meter counts what is read of files.
type meter struct {
	segment.FS
	read *atomic.Int64
}

type meteredFile struct {
	segment.File
	read *atomic.Int64
}

func (m meter) Open(name string) (segment.File, error) {
	f, err := m.FS.Open(name)
	return meteredFile{f, m.read}, err
}

func (m meter) OpenReadWrite(name string) (segment.File, error) {
	f, err := m.FS.OpenReadWrite(name)
	return meteredFile{f, m.read}, err
}

func (f meteredFile) ReadAt(b []byte, at int64) (int, error) {
	f.read.Add(int64(len(b)))
	return f.File.ReadAt(b, at)
}

// TestMailCountsWithoutReading: neither the start nor the housekeeping of a mail server walks through its archive.
func TestMailCountsWithoutReading(t *testing.T) {
	dir := t.TempDir()
	read := new(atomic.Int64)
	open := func() *segment.Archive {
		store, err := segment.Open(dir, segment.Options{
			FS: meter{segment.OS(), read}, Now: time.Now, Log: slog.New(slog.DiscardHandler), SliceBytes: 1 << 20,
		})
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	store := open()
	for range 20 {
		var list []*envelope.Envelope
		for range 1000 {
			list = append(list, random(t, time.Now(), 60, envelope.Topic{1}, 500))
		}
		if _, err := store.Put(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	read.Store(0)
	store = open()
	defer store.Close()
	if st := store.Stats(); st.Envelopes != 20_000 || read.Load() > st.Disk/5 {
		t.Errorf("to open %d envelopes on %d bytes, %d bytes were read", st.Envelopes, st.Disk, read.Load())
	}
	server := mailserver.New(mailserver.Options{Archive: store, Now: time.Now})
	defer server.Close()
	read.Store(0)
	for range 100 {
		server.Announce()
		server.Stats()
		store.Stats()
		if err := server.Housekeep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := read.Load(); n > 0 {
		t.Errorf("%d bytes were read", n)
	}
}

package hostile_test

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive/segment"
	"github.com/restante-im/restante/internal/corpus"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/mail1"
	"github.com/restante-im/restante/internal/members"
	"github.com/restante-im/restante/internal/node"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/wire"
)

const (
	many         = 20_000 // envelopes in an archive whose speed counts
	few          = 2_000
	ofTopic      = 100 // envelopes of a topic, about
	mailPassword = "status-offline-inbox"
	honest       = "192.0.2.1:1" // where the honest reader comes from

	// Honest requests and messages take so long at most, in the median and in their 99th percentile, while the askers of
	// an attack, which take as much of the machine as the node, keep it busy. Alone they take some 5 ms.
	busyNormal = 250 * time.Millisecond
	busyLate   = 2 * time.Second

	measured = 40 // honest requests at least, while an attack goes on
)

// mailWorld is a world whose node is a mail server with a filled archive. Peers come from the address in from.
type mailWorld struct {
	*world
	from   *atomic.Value
	topics []envelope.Topic
	held   map[envelope.Topic]int // envelopes of each
	token  string                 // in members mode: of the honest reader
	nextIP int
}

// newMailWorld has no limits on requests but those that are always there.
func newMailWorld(t *testing.T, size int, change func(*node.Options)) *mailWorld {
	t.Helper()
	w := &mailWorld{from: new(atomic.Value), held: map[envelope.Topic]int{}}
	only := false
	w.world = newWorld(t, func(o *node.Options) {
		public(o, w.from)
		o.Network.AcceptBurst, o.Network.AcceptRate, o.Network.MaxPeers = 1000, 100, 100
		o.Mail = &node.MailOptions{
			Name: "attacked", Password: mailPassword,
			MembersFile: filepath.Join(o.DataDir, "members.json"), ArchiveDir: filepath.Join(o.DataDir, "archive"),
		}
		if change != nil {
			change(o)
		}
		only = o.Mail.MembersOnly
		w.fill(t, o.Mail.ArchiveDir, size)
	})
	w.normal = busyNormal
	if only {
		w.token = w.invite("reader")
	}
	return w
}

// fill makes the archive, of the last day's messages.
func (w *mailWorld) fill(t *testing.T, dir string, size int) {
	t.Helper()
	k, err := corpus.New(corpus.Config{
		Seed: 1, Count: size, Payload: 512, Topics: size / ofTopic,
		From: time.Now().Add(-24 * time.Hour), Span: 24 * time.Hour, Jitter: 5 * time.Second, TTL: 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	store, err := segment.Open(dir, segment.Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var list []*envelope.Envelope
	for e := range k.All() {
		w.held[e.Topic()]++
		list = append(list, e)
	}
	for part := range slices.Chunk(list, 4000) {
		if _, err := store.Put(t.Context(), part); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	w.topics = k.Topics()
}

func (w *mailWorld) invite(name string) (token string) {
	w.t.Helper()
	var in rpc.Invitation
	w.call(&in, "members_invite", rpc.NewInvitation{Name: name})
	link, err := members.ParseLink(in.Link)
	if err != nil {
		w.t.Fatal(err)
	}
	return link.Token
}

// asker is a peer that asks for history and counts what comes.
type asker struct {
	*peer
	careful bool // reads what comes
	ids     uint64
	ends    chan string       // of answers, as long as there is room; "" for a success
	news    chan mail1.Packet // of mail/1 but envelopes and hashes, as long as there is room
	mu      sync.Mutex
	came    int // envelopes and hashes; packets of the older forms count one unless careful
	bulk    int // bytes of mail/1 packets that take credit
	texts   map[string]int
}

// asker connects an asker. Each comes from an address prefix of its own, unless that is given.
func (w *mailWorld) asker(from string) *asker {
	w.t.Helper()
	if from == "" {
		w.nextIP++
		from = fmt.Sprintf("203.%d.%d.1:1", w.nextIP>>8, w.nextIP&0xff)
	}
	w.from.Store(from)
	a := &asker{careful: from == honest, ends: make(chan string, 1<<16), news: make(chan mail1.Packet, 1<<10), texts: map[string]int{}}
	a.peer = w.dial(conduct{hellos: allHellos(), read: a.read})
	return a
}

func allHellos() map[string][]byte {
	_, own := mail1.Encode(mail1.Hello{Version: mail1.Version})
	return map[string][]byte{shh6: hello(shh6, noEnvelopes()), waku1: hello(waku1, noEnvelopes()), mail1.Label: own}
}

func (a *asker) read(link string, code uint64, payload []byte) {
	if link == mail1.Label {
		p, err := mail1.Decode(code, payload)
		if err != nil {
			a.t.Errorf("the node sent what cannot be read: %v", err)
		}
		a.took1(p, len(payload))
		return
	}
	if code == directCode && !a.careful {
		a.add(1)
		return
	}
	d, _ := wire.Lookup(link)
	p, err := d.Decode(code, payload, 1<<24)
	if err != nil {
		a.t.Errorf("the node sent what cannot be read: %v", err)
	}
	switch p := p.(type) {
	case wire.Direct:
		a.add(len(p.List))
	case wire.Complete:
		c, err := p.Parse()
		if err != nil {
			a.t.Error(err)
		}
		a.end(c.Text)
	case wire.SyncResponse:
		page, err := p.Parse()
		if err != nil {
			a.t.Error(err)
		}
		a.add(len(page.List))
		if page.Final {
			a.end(page.Failed)
		}
	}
}

func (a *asker) took1(p mail1.Packet, size int) {
	switch p := p.(type) {
	case mail1.Envelopes:
		a.add(len(p.List))
	case mail1.HashList:
		a.add(len(p.List))
	default:
		select {
		case a.news <- p:
		default:
		}
		if e, ok := p.(mail1.Error); ok {
			a.end(e.Text)
		} else if _, ok := p.(mail1.Hello); !ok {
			a.end("")
		}
		return
	}
	a.mu.Lock()
	a.bulk += size
	a.mu.Unlock()
}

func (a *asker) add(n int) {
	a.mu.Lock()
	a.came += n
	a.mu.Unlock()
}

func (a *asker) end(text string) {
	a.mu.Lock()
	a.texts[text]++
	a.mu.Unlock()
	select {
	case a.ends <- text:
	default:
	}
}

// counts returns how many envelopes and ends of answers have come.
func (a *asker) counts() (envelopes, ends int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.texts {
		ends += n
	}
	return a.came, ends
}

// next is a new id for a request of mail/1.
func (a *asker) next() uint64 {
	a.ids++
	return a.ids
}

// say sends a packet of mail/1 and reports whether the connection still took it.
func (a *asker) say(p mail1.Packet) bool {
	code, payload := mail1.Encode(p)
	return a.send(mail1.Label, code, payload)
}

// plain sends the older forms' plain request.
func (a *asker) plain(m wire.MailRequest) bool {
	d, _ := wire.Lookup(waku1)
	if m.ID == nil {
		m.ID = make([]byte, 32)
	}
	return a.send(waku1, 126, d.EncodePlain(m).Payload)
}

// wait waits for the end of the only open request.
func (a *asker) wait() (text string, err error) {
	select {
	case text = <-a.ends:
		return text, nil
	case <-a.ended:
		return "", fmt.Errorf("the connection ended")
	case <-time.After(patience):
		return "", fmt.Errorf("no answer within %s", patience)
	}
}

// one asks for one topic, in turns by the older form and by mail/1, and checks and times the answer.
func (a *asker) one(w *mailWorld, n int) (time.Duration, error) {
	topic := w.topics[n%len(w.topics)]
	before, _ := a.counts()
	began := time.Now()
	if n%2 == 0 {
		a.plain(wire.MailRequest{Topics: []envelope.Topic{topic}})
	} else {
		a.say(mail1.Page{Question: mail1.Question{ID: a.next(), Topics: []envelope.Topic{topic}, Credit: 1 << 20}})
	}
	text, err := a.wait()
	took := time.Since(began)
	after, _ := a.counts()
	switch {
	case err != nil:
		return 0, err
	case text != "":
		return 0, fmt.Errorf("an honest request was refused: %s", text)
	case after-before != w.held[topic]:
		return 0, fmt.Errorf("%d envelopes came, want %d", after-before, w.held[topic])
	}
	return took, nil
}

// reader connects the honest one.
func (w *mailWorld) reader() *asker {
	w.t.Helper()
	r := w.asker(honest)
	if w.token != "" {
		r.say(mail1.Join{ID: r.next(), Token: w.token})
		if text, err := r.wait(); err != nil || text != "" {
			w.t.Fatalf("the reader is no member: %s %v", text, err)
		}
	}
	return r
}

// during repeats a round of an attack until enough honest requests were measured meanwhile. Honest messages go on too, as
// in the other attacks; and the heap has grown by at most limit bytes afterwards, by three times as much meanwhile.
func (w *mailWorld) during(limit uint64, round func()) {
	w.t.Helper()
	r := w.reader()
	var quiet []time.Duration
	for n := range measured {
		took, err := r.one(w, n)
		if err != nil {
			w.t.Fatal(err)
		}
		quiet = append(quiet, took)
	}
	w.from.Store("198.51.100.1:1")
	during(w.world, limit, func() {
		before := live()
		var peak uint64
		var took []time.Duration
		var count atomic.Int64
		done, finished := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(finished)
			for n := 0; ; n++ {
				d, err := r.one(w, n)
				if err != nil {
					w.t.Error(err)
					count.Store(measured)
					return
				}
				took, peak = append(took, d), max(peak, live())
				count.Add(1)
				pause := 10 * time.Millisecond
				if n > 150 {
					pause = 250 * time.Millisecond // or the usual limit of requests would count
				}
				select {
				case <-done:
					return
				case <-time.After(pause):
				}
			}
		}()
		rounds := 0
		for ; rounds == 0 || count.Load() < measured && !w.t.Failed(); rounds++ {
			round()
		}
		close(done)
		<-finished
		w.compare(quiet, took, rounds)
		if peak > before+3*limit {
			w.t.Errorf("the heap grew from %d to %d KiB meanwhile", before>>10, peak>>10)
		}
		w.t.Logf("live heap %d KiB before, %d KiB at most", before>>10, peak>>10)
	})
	r.close()
}

// compare judges the honest latency.
func (w *mailWorld) compare(quiet, took []time.Duration, rounds int) {
	w.t.Helper()
	if len(took) == 0 {
		return
	}
	at := func(list []time.Duration, percent int) time.Duration {
		slices.Sort(list)
		return list[(len(list)-1)*percent/100]
	}
	ms := 10 * time.Microsecond
	w.t.Logf("%d honest requests in %d rounds: median %s, p99 %s; undisturbed %s and %s", len(took), rounds,
		at(took, 50).Round(ms), at(took, 99).Round(ms), at(quiet, 50).Round(ms), at(quiet, 99).Round(ms))
	if m := at(took, 50); m > busyNormal {
		w.t.Errorf("honest requests took %s in the median, want %s at most", m, busyNormal)
	}
	if p := at(took, 99); p > busyLate {
		w.t.Errorf("honest requests took %s at worst, want %s at most", p, busyLate)
	}
}

// live is what the last collection found in use, in bytes.
func live() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// answered waits until so many requests of an asker have an end: each one, and not more.
func (w *mailWorld) answered(a *asker, requests int) {
	w.t.Helper()
	for timeout := time.After(patience); ; {
		_, ends := a.counts()
		if ends > requests {
			w.t.Fatalf("%d requests have %d ends", requests, ends)
		}
		if ends == requests {
			return
		}
		select {
		case <-a.ends:
		case <-a.ended:
			w.t.Fatalf("the connection ended: %q", w.gone(a.peer))
		case <-timeout:
			w.t.Fatalf("%d of %d requests are answered after %s", ends, requests, patience)
		}
	}
}

// idle waits until the mail server has no open request.
func (w *mailWorld) idle() {
	w.t.Helper()
	eventually(w.t, "no request is open", func() bool {
		c := w.status().Counters
		return c["restante_mail_running"] == 0 && c["restante_mail_waiting"] == 0
	})
}

// TestMailUndisturbed measures the honest reader alone, to compare with.
func TestMailUndisturbed(t *testing.T) {
	newMailWorld(t, few, nil).during(8<<20, func() { <-time.After(10 * time.Millisecond) })
}

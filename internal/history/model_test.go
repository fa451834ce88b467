package history_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"pgregory.net/rapid"
)

// world runs one fetch against a simulated server and checks what always holds.
type world struct {
	t      rapid.TB
	rng    *rand.Rand
	now    time.Time
	server *server
	plan   history.Plan
	slow   time.Duration // the consumer's, at most
	stop   float64       // that it is interrupted at a page

	check   bool // compare instead
	store   map[envelope.Hash]bool
	noted   map[envelope.Hash]bool // as withheld
	lacked  map[envelope.Hash]bool // when it was last looked up in this run
	looking *history.Lookup
	looked  time.Time
	starts  time.Time // when it may proceed; zero once it may
	perAsk  int       // hashes in one question
	brings  float64   // that somebody else brings an envelope before that

	fetch   job
	open    int           // the open question
	due     time.Time     // of the server's next answer
	keeping *history.Page // with the consumer
	kept    time.Time
	once    map[envelope.Hash]bool // delivered in this fetch
	all     map[envelope.Hash]*envelope.Envelope
	resume  history.Position
	report  *history.Report
	largest int64
	unsent  int // in earlier fetches
}

// job is a Fetch or a Check.
type job interface {
	history.Job
	Held() int64
	Open() int
}

var start = time.Unix(rangeEnd, 0)

func newWorld(t rapid.TB, seed uint64, q quirks, p history.Plan) *world {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := &world{t: t, rng: rng, now: start, plan: p, all: map[envelope.Hash]*envelope.Envelope{}, slow: 100 * time.Millisecond,
		store: map[envelope.Hash]bool{}, noted: map[envelope.Hash]bool{}}
	w.server = &server{quirks: q, rng: rng, epoch: 1}
	return w
}

func (w *world) caps() history.Caps {
	c := history.Caps{Forms: w.server.forms, Lists: w.check, Epoch: [8]byte{w.server.epoch}, MaxHashes: w.perAsk}
	if w.rng.IntN(2) == 0 {
		c.Next = w.server.made + 1
	}
	return c
}

// run fetches once.
func (w *world) run(after history.Position) *history.Report {
	w.t.Helper()
	p := w.plan
	var err error
	if p.After, err = history.ParsePosition(after.String()); err != nil {
		w.t.Fatal(err)
	}
	if w.check {
		w.fetch, err = history.NewCheck(p, w.caps())
		w.starts = w.now.Add(time.Duration(1 + w.rng.IntN(20_000_000_000)))
	} else {
		w.fetch, err = history.New(p, w.caps())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.looking, w.lacked = nil, map[envelope.Hash]bool{}
	w.once, w.open, w.keeping, w.report, w.resume = map[envelope.Hash]bool{}, 0, nil, nil, after
	w.server.dead, w.server.answer = false, nil
	w.step(history.Tick{})
	for steps := 0; w.report == nil; steps++ {
		if steps > 200_000 {
			w.t.Fatal("the fetch does not end")
		}
		w.next()
	}
	return w.report
}

// next lets happen what comes next: an answer, the consumer's, or only time.
func (w *world) next() {
	if w.check && w.others() {
		return
	}
	const none = 1 << 62
	at := time.Unix(none, 0)
	deadline, ok := w.fetch.Deadline()
	if ok {
		at = deadline
	}
	keeps := w.keeping != nil && !w.kept.After(at)
	if keeps {
		at = w.kept
	}
	answers := w.open != 0 && !w.due.After(at)
	if answers {
		ans, ok := w.server.pull()
		if ok {
			w.now = later(w.now, w.due)
			w.due = w.now.Add(w.server.next)
			ask := w.open
			switch ans := ans.(type) {
			case history.Got:
				w.largest = max(w.largest, ans.Bytes)
			case history.Named:
			default:
				w.open = 0
			}
			w.step(history.Answered{Ask: ask, Answer: ans})
			return
		}
	}
	switch {
	case keeps:
		w.now = later(w.now, w.kept)
		w.keep()
	case ok:
		w.now = later(w.now, deadline)
		w.step(history.Tick{})
	default:
		w.t.Fatal("the fetch waits for nothing")
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// keep is the consumer.
func (w *world) keep() {
	page := w.keeping
	w.keeping = nil
	var size int64
	for _, env := range page.Envelopes {
		if size += int64(len(env.Raw())); w.once[env.Hash()] {
			w.t.Fatalf("%v is delivered twice", env.Hash())
		}
		if !slices.Contains(w.plan.Topics, env.Topic()) || env.Sent() < w.plan.From || w.plan.To != 0 && env.Sent() > w.plan.To {
			w.t.Fatalf("%v of topic %v, sent at %d, was not asked for", env.Hash(), env.Topic(), env.Sent())
		}
		w.once[env.Hash()] = true
		w.all[env.Hash()] = env
	}
	if size != page.Bytes || page.Progress.Envelopes != uint64(len(w.once)) {
		w.t.Fatalf("the page counts %d bytes and %d envelopes, there are %d and %d", page.Bytes, page.Progress.Envelopes, size, len(w.once))
	}
	if page.Progress.Share > 1 {
		w.t.Fatalf("share %v", page.Progress.Share)
	}
	w.resume = page.Resume
	if w.rng.Float64() < w.stop {
		w.step(history.Stop{Err: fault.E("", fault.Closed, nil, "stopped")})
	}
	if w.check {
		w.compared(page)
	}
	if w.report == nil {
		w.step(history.Delivered{})
	}
}

func (w *world) step(ev history.Event) {
	for _, action := range w.fetch.Step(w.now, ev) {
		switch a := action.(type) {
		case history.Ask:
			if w.open != 0 {
				w.t.Fatal("two questions are open")
			}
			w.open = a.Ask
			w.server.ask(a.Form, a.Question)
			w.due = w.now.Add(w.server.next)
		case history.Cancel:
			if a.Ask != w.open {
				w.t.Fatalf("question %d is cancelled, %d is open", a.Ask, w.open)
			}
			w.open = 0
		case history.Grant:
			w.server.credit += a.Bytes
			w.due = later(w.now, w.due)
		case history.Deliver:
			if w.keeping != nil {
				w.t.Fatal("two pages are with the consumer")
			}
			w.keeping, w.kept = &a.Page, w.now.Add(time.Duration(w.rng.Int64N(int64(w.slow))))
		case history.Lookup:
			w.look(&a)
		case history.Finish:
			w.finished(&a.Report)
		}
	}
	if n := w.fetch.Open(); n > history.MaxOpen {
		w.t.Fatalf("%d envelopes are kept account of", n)
	}
	if held := w.fetch.Held(); held > history.Window+w.largest {
		w.t.Fatalf("%d bytes wait for the consumer", held)
	}
}

func (w *world) finished(r *history.Report) {
	w.report = r
	if w.keeping != nil || w.open != 0 {
		w.t.Fatal("the fetch ended with something open")
	}
	if r.Envelopes != uint64(len(w.once)) {
		w.t.Fatalf("the report counts %d envelopes, %d were delivered", r.Envelopes, len(w.once))
	}
	if (r.End == history.EndFailed) != (r.Err != nil) {
		w.t.Fatalf("end %v with error %v", r.End, r.Err)
	}
}

// missing are the envelopes that the server has and were never delivered.
func (w *world) missing(through uint64) (list []*envelope.Envelope) {
	q := history.Question{Topics: w.plan.Topics, From: w.plan.From, To: w.plan.To}
	for _, e := range w.server.matching(q, history.ByArrival) {
		if w.all[e.env.Hash()] == nil && e.arrival <= through {
			list = append(list, e.env)
		}
	}
	slices.SortFunc(list, byHash)
	return list
}

func share(t *rapid.T, name string, most float64) float64 {
	if !rapid.Bool().Draw(t, name) {
		return 0
	}
	return most
}

func drawForms(t *rapid.T) []history.Form {
	return rapid.SampledFrom([][]history.Form{{history.ByArrival}, {history.Paged}, {history.Bare},
		{history.ByArrival, history.Paged}, {history.Paged, history.Bare}}).Draw(t, "forms")
}

// TestNothingIsMissed fetches from servers with every fault that leaves the truth reachable, going on from where it was
// interrupted, until an end; then everything that the server has must have been delivered.
func TestNothingIsMissed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := quirks{
			forms: drawForms(t), newestFirst: rapid.Bool().Draw(t, "newest first"), perPacket: rapid.IntRange(1, 20).Draw(t, "per packet"),
			repeat: share(t, "repeat", 0.3), junk: share(t, "junk", 0.3), cut: share(t, "cut", 0.1), busy: share(t, "busy", 0.3),
			newEpoch: share(t, "new epoch", 0.1), ingest: share(t, "ingest", 0.2),
		}
		limit := rapid.IntRange(1, 50).Draw(t, "page limit")
		perPage := max(float64(limit)/float64(q.perPacket), 5)
		q.cut *= 4 / perPage
		switch {
		case q.forms[0] == history.Bare: // silence is the end there, and the next fetch starts from the beginning
			q.cut = min(q.cut, 0.01)
		case len(q.forms) == 1: // else what comes late of one form may be taken for the whole of the next
			q.mute, q.silent = share(t, "mute", 0.1), share(t, "silent", 0.2/perPage)
		}
		q.dropLast = share(t, "drop last", 0.1)
		w := newWorld(t, rapid.Uint64().Draw(t, "seed"), q, history.Plan{
			Topics: topics[:rapid.IntRange(1, 4).Draw(t, "topics")], From: rangeStart, To: rangeEnd,
			PageLimit: limit})
		size, most := 300, 150
		if rapid.Bool().Draw(t, "large") {
			size, most, w.slow = 400_000, 50, 20*time.Second
		}
		// A page that is given up in the middle is asked for from its start: more often than this, some are never done.
		if w.stop = share(t, "stop", 0.4/perPage); q.forms[0] == history.Bare {
			w.stop /= 10
		}
		for range rapid.IntRange(0, most).Draw(t, "envelopes") {
			w.server.make(size)
		}
		var at history.Position
		for n := 0; ; n++ {
			if n == 400 {
				t.Fatal("never done")
			}
			r := w.run(at)
			if at = r.Resume; r.Resume.String() != w.resume.String() && len(w.once) > 0 {
				t.Fatalf("resume at %q, the last page said %q", r.Resume, w.resume)
			}
			if r.End != history.EndFailed {
				w.checkEnd(r)
				return
			}
			w.unsent += r.Unsent
		}
	})
}

// checkEnd compares the claim of a fetch with what the server has.
func (w *world) checkEnd(r *history.Report) {
	w.t.Helper()
	through := uint64(math.MaxUint64)
	switch {
	case r.Form == history.ByArrival:
		if through = r.LastArrival; r.Epoch != [8]byte{w.server.epoch} {
			w.t.Fatalf("epoch %x", r.Epoch)
		}
	case w.server.ingest > 0:
		return // by sent time there are gaps: what came late is not seen
	case w.unsent > 0 || r.Unsent > 0 && r.End == history.EndAssumed:
		return // the server has kept something back, and an earlier or this fetch said so
	case r.Form == history.Bare && r.End != history.EndAssumed:
		w.t.Fatalf("end %v without the server's word", r.End)
	}
	if list := w.missing(through); len(list) > 0 {
		w.t.Fatalf("%d envelopes are missing after the end %q in the form %v, the first sent at %d", len(list), r.End, r.Form, list[0].Sent())
	}
}

// TestEveryFetchEnds fetches from servers that lie.
func TestEveryFetchEnds(t *testing.T) {
	tests := map[string]struct {
		quirks quirks
		end    history.End
		kind   fault.Kind
	}{
		"cursor again":     {quirks{forms: forms(history.Paged), circle: 1}, history.EndFailed, fault.Corrupt},
		"cursors again":    {quirks{forms: forms(history.Paged), circle: 7}, history.EndFailed, fault.Corrupt},
		"empty pages":      {quirks{forms: forms(history.Paged), barren: true}, history.EndFailed, fault.Corrupt},
		"endless paged":    {quirks{forms: forms(history.Paged), endless: true}, history.EndFailed, fault.Corrupt},
		"junk by arrival":  {quirks{forms: forms(history.ByArrival), onlyBad: true}, history.EndFailed, fault.Corrupt},
		"junk paged":       {quirks{forms: forms(history.Paged), onlyBad: true}, history.EndFailed, fault.Corrupt},
		"junk bare":        {quirks{forms: forms(history.Bare), onlyBad: true}, history.EndFailed, fault.Corrupt},
		"mute by arrival":  {quirks{forms: forms(history.ByArrival), mute: 1}, history.EndFailed, fault.Timeout},
		"mute paged":       {quirks{forms: forms(history.Paged), mute: 1}, history.EndFailed, fault.Timeout},
		"mute bare":        {quirks{forms: forms(history.Bare), mute: 1}, history.EndAssumed, 0},
		"mute":             {quirks{forms: forms(history.ByArrival, history.Paged, history.Bare), mute: 1}, history.EndAssumed, 0},
		"mute, bare first": {quirks{forms: forms(history.Bare, history.Paged), mute: 1}, history.EndAssumed, 0},
		"always busy":      {quirks{forms: forms(history.Paged), busy: 1}, history.EndFailed, fault.Busy},
		"stops":            {quirks{forms: forms(history.Paged), silent: 1}, history.EndFailed, fault.Timeout},
		"keeps something":  {quirks{forms: forms(history.Paged), dropLast: 1}, history.EndAssumed, 0},
		"new epochs":       {quirks{forms: forms(history.ByArrival), newEpoch: 1}, history.EndFailed, fault.Corrupt},
		"overrun":          {quirks{forms: forms(history.ByArrival), overrun: true}, history.EndFailed, fault.Corrupt},
		"goes back":        {quirks{forms: forms(history.ByArrival), back: true}, history.EndComplete, 0},
		"denied":           {quirks{forms: forms(history.ByArrival, history.Paged), refuse: fault.E("", fault.Denied, nil, "members only")}, history.EndFailed, fault.Denied},
		"understands none": {quirks{forms: forms(history.ByArrival, history.Paged), refuse: fault.E("", fault.Invalid, nil, "what?")}, history.EndFailed, fault.Invalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.quirks.perPacket = 5; tt.quirks.overrun {
				tt.quirks.perPacket = 1
			}
			w := newWorld(t, 7, tt.quirks, history.Plan{Topics: topics[:3], From: rangeStart, To: rangeEnd, PageLimit: 20})
			w.slow = time.Minute
			for range 120 {
				w.server.make(200_000)
			}
			r := w.run(history.Position{})
			if r.End != tt.end || r.Err != nil && fault.KindOf(r.Err) != tt.kind {
				t.Errorf("end %v, error %v; want %v, %v", r.End, r.Err, tt.end, tt.kind)
			}
			if took := w.now.Sub(start); took > 3*time.Hour {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func forms(f ...history.Form) []history.Form { return f }

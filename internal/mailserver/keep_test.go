package mailserver_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/archivetest"
	"github.com/restante-im/restante/internal/archive/mem"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/mailserver"
)

func mails(n, size int) []*envelope.Envelope {
	list := make([]*envelope.Envelope, n)
	for i := range list {
		list[i] = archivetest.Mail(uint64(i), 1000, archivetest.Topic(i%40), size)
	}
	return list
}

func (r *rig) keep(source string, list ...*envelope.Envelope) {
	for _, e := range list {
		r.server.Keep(e, source)
	}
}

// fates counts verdicts, and checks that there is one for each envelope.
func (r *rig) fates(want int) (n [3]int) {
	r.t.Helper()
	seen := r.verdicts()
	for _, v := range seen {
		n[v.Fate]++
		if v.Fate == mailserver.Declined && v.Text == "" {
			r.t.Errorf("%v is declined without a word", v.Hash)
		}
	}
	if len(seen) != want {
		r.t.Errorf("%d verdicts, want %d", len(seen), want)
	}
	return n
}

func TestKeepIsAnsweredWhenDurable(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		gate := make(chan struct{})
		r.archive.set(func(f *faulty) { f.gate = gate })
		list := mails(3000, 100)
		r.keep("s", list...)
		if n := r.fates(0); n != [3]int{} {
			t.Errorf("verdicts before anything is durable: %v", n)
		}
		if st := r.server.Stats(); st.Keeping != 3000 {
			t.Errorf("%+v", st)
		}
		close(gate)
		if n := r.fates(3000); n[mailserver.Durable] != 3000 {
			t.Errorf("fates %v", n)
		}
		var order []envelope.Hash
		for _, b := range r.archive.batches {
			if len(b) > 1024 {
				t.Errorf("a batch of %d", len(b))
			}
			order = append(order, b...)
		}
		if len(r.archive.batches) > 6 {
			t.Errorf("%d batches", len(r.archive.batches))
		}
		seen := map[envelope.Hash]bool{}
		for _, h := range order {
			seen[h] = true
		}
		if len(order) != 3000 || len(seen) != 3000 {
			t.Errorf("%d were put, %d different", len(order), len(seen))
		}
		r.keep("s", list[0])
		if n := r.fates(1); n[mailserver.Durable] != 1 {
			t.Errorf("a duplicate: %v", n)
		}
		if st := r.server.Stats(); st.Kept != 3000 || st.Duplicates != 1 || st.Keeping != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// TestTwoPutsAreUnderWay expects that the first envelope does not wait for others, and that no third Put begins.
func TestTwoPutsAreUnderWay(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		gate := make(chan struct{})
		r.archive.set(func(f *faulty) { f.gate = gate })
		for i, want := range []int{1, 2, 2, 2} {
			r.keep("s", mails(4, 100)[i])
			synctest.Wait()
			r.archive.set(func(f *faulty) {
				if len(f.batches) != want {
					t.Errorf("%d Puts after %d envelopes", len(f.batches), i+1)
				}
			})
		}
		close(gate)
		r.fates(4)
		r.archive.set(func(f *faulty) {
			if len(f.batches) != 3 || len(f.batches[2]) != 2 {
				t.Errorf("batches %v", f.batches)
			}
		})
	})
}

func TestAFailingDiskMeansRetry(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		full := fault.E("", fault.Limit, nil, "the archive has reached its 10 MB")
		for _, tt := range []struct {
			err  error
			code string
		}{{errDisk, "archive-failing"}, {full, "archive-full"}, {fault.E("", fault.Corrupt, nil, "damaged"), "archive-failing"}} {
			r.archive.set(func(f *faulty) { f.put = tt.err })
			list := mails(10, 100+len(tt.code))
			r.keep("s", list...)
			if n := r.fates(10); n[mailserver.Retry] != 10 {
				t.Errorf("%v: fates %v", tt.err, n)
			}
			cond := r.health.List()
			if len(cond) != 1 || cond[0].Code != tt.code || !strings.Contains(cond[0].Text, fault.Text(tt.err)) {
				t.Errorf("%v: conditions %v", tt.err, cond)
			}
			r.archive.set(func(f *faulty) { f.put = nil })
			r.keep("s", list...)
			if n := r.fates(10); n[mailserver.Durable] != 10 || len(r.health.List()) != 0 {
				t.Errorf("after recovery: fates %v, conditions %v", n, r.health.List())
			}
		}
	})
}

func TestOneImpossibleEnvelopeDoesNotHoldOthersUp(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		list := mails(100, 100)
		r.archive.set(func(f *faulty) { f.bad = list[37].Hash() })
		r.keep("s", list...)
		if n := r.fates(100); n[mailserver.Durable] != 99 || n[mailserver.Declined] != 1 {
			t.Errorf("fates %v", n)
		}
		x, err := r.server.Explain(t.Context(), list[37].Hash())
		if err != nil || x.State != mailserver.Refused || x.Reason == "" {
			t.Errorf("%+v, %v", x, err)
		}
	})
}

// TestSharesHoldOnlyUnderPressure fills an hour of a capped archive.
func TestSharesHoldOnlyUnderPressure(t *testing.T) {
	const budget = 1 << 20
	rules := archive.Rules{Cap: 72 * budget, Min: 72 * time.Hour}
	inBubble(t, func(o *mailserver.Options) { o.Rules = rules }, func(r *rig) {
		pass(time.Hour - time.Duration(time.Now().UnixNano())%time.Hour) // to the start of an hour
		serial := uint64(0)
		flood := func(source string, bytes int) (n [3]int) {
			var list []*envelope.Envelope
			for ; bytes > 0; bytes -= 1024 {
				serial++
				list = append(list, archivetest.Mail(serial, 1000, archivetest.Topic(int(serial)), 990))
			}
			r.keep(source, list...)
			return r.fates(len(list))
		}
		for i := range 10 {
			flood(fmt.Sprint("quiet", i), 10<<10)
		}
		if n := flood("loud", budget*3/8); n[mailserver.Declined] != 0 {
			t.Errorf("without pressure: %v", n)
		}
		if n := flood("loud", budget/4); n[mailserver.Declined] < 200 {
			t.Errorf("beyond its share: %v", n)
		}
		if n := flood("", budget/4); n[mailserver.Declined] != 0 {
			t.Errorf("exempt: %v", n)
		}
		if n := flood("quiet1", 50<<10); n[mailserver.Declined] != 0 {
			t.Errorf("within its share: %v", n)
		}
		pass(time.Hour)
		if n := flood("loud", budget/4); n[mailserver.Declined] != 0 {
			t.Errorf("in the next hour: %v", n)
		}
		r.server.SetRules(archive.Rules{})
		if n := flood("loud", 2*budget); n[mailserver.Declined] != 0 {
			t.Errorf("without a cap: %v", n)
		}
	})
}

func TestATopicHasAShareToo(t *testing.T) {
	const budget = 1 << 20
	inBubble(t, func(o *mailserver.Options) { o.Rules = archive.Rules{Cap: 24 * budget} }, func(r *rig) {
		pass(time.Hour - time.Duration(time.Now().UnixNano())%time.Hour)
		var list []*envelope.Envelope
		for i := range 600 { // of few topics, one half of the budget
			list = append(list, archivetest.Mail(uint64(i), 1000, archivetest.Topic(i%20), 880))
		}
		r.keep("", list...)
		if n := r.fates(600); n[mailserver.Declined] != 0 {
			t.Fatalf("without pressure: %v", n)
		}
		list = list[:0]
		for i := range 400 {
			list = append(list, archivetest.Mail(uint64(1000+i), 1000, archivetest.Topic(1), 880))
		}
		r.keep("", list...)
		if n := r.fates(400); n[mailserver.Declined] < 250 || n[mailserver.Durable] < 90 {
			t.Errorf("one topic: %v", n)
		}
	})
}

func TestCloseFinishesWhatWasKept(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		r.keep("s", mails(5000, 100)...)
		r.server.Close()
		if n := r.fates(5000); n[mailserver.Durable] != 5000 {
			t.Errorf("fates %v", n)
		}
		r.keep("s", mails(1, 200)...)
		r.fates(0)
	})
}

// TestWhatIsNotStoredDoesNotCount lets a disk fail for a while: retries must not use a share up.
func TestWhatIsNotStoredDoesNotCount(t *testing.T) {
	inBubble(t, func(o *mailserver.Options) { o.Rules = archive.Rules{Cap: 24 << 20} }, func(r *rig) {
		list := mails(300, 990)
		r.keep("other", archivetest.Mail(1<<40, 1000, archivetest.Topic(99), 100))
		r.fates(1)
		r.archive.set(func(f *faulty) { f.put = errDisk })
		for range 10 {
			r.keep("s", list...)
			if n := r.fates(300); n[mailserver.Retry] != 300 {
				t.Fatalf("fates %v", n)
			}
		}
		r.archive.set(func(f *faulty) { f.put = nil })
		for range 10 { // duplicates do not count either
			r.keep("s", list...)
			if n := r.fates(300); n[mailserver.Durable] != 300 {
				t.Fatalf("fates %v", n)
			}
		}
	})
}

// TestLongLivedEnvelopesAreNotKept: who makes an envelope live for longer than anybody needs gets no place on the disk for it.
func TestLongLivedEnvelopesAreNotKept(t *testing.T) {
	store, err := mem.Open(mem.Options{})
	if err != nil {
		t.Fatal(err)
	}
	verdicts := make(chan mailserver.Verdict, 2)
	s := mailserver.New(mailserver.Options{Archive: store, Now: time.Now, Resolved: func(list []mailserver.Verdict) {
		for _, v := range list {
			verdicts <- v
		}
	}})
	defer s.Close()
	week := uint32(7 * 24 * 60 * 60)
	for ttl, want := range map[uint32]mailserver.Fate{week: mailserver.Durable, week + 1: mailserver.Declined} {
		s.Keep(envelope.New(uint32(time.Now().Unix())+ttl, ttl, envelope.Topic{1}, make([]byte, 100), 0), "")
		if v := <-verdicts; v.Fate != want || (v.Text != "") != (want == mailserver.Declined) {
			t.Errorf("TTL %d: %+v", ttl, v)
		}
	}
}

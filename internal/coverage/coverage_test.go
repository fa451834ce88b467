package coverage_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/nodeaddr"
	"pgregory.net/rapid"
)

var (
	topic  = envelope.Topic{1}
	one    = nodeaddr.ID{1}
	two    = nodeaddr.ID{2}
	epoch  = [8]byte{7}
	anew   = [8]byte{8}
	before = time.Unix(1000, 0).UTC()
)

func exact(server nodeaddr.ID, epoch [8]byte, first, through uint64, since, from, to uint32) coverage.Claim {
	return coverage.Claim{Topic: topic, Server: server, Exact: true, Epoch: epoch, First: first, Through: through, Since: since, From: from, To: to, Asked: before}
}

// after is a claim that was made a while later.
func after(c coverage.Claim) coverage.Claim {
	c.Asked = c.Asked.Add(time.Minute)
	return c
}

func sent(server nodeaddr.ID, from, to uint32, doubt bool) coverage.Claim {
	return coverage.Claim{Topic: topic, Server: server, From: from, To: to, Doubt: doubt, Asked: before}
}

func TestMerging(t *testing.T) {
	for name, c := range map[string]struct{ add, want []coverage.Claim }{
		"what follows": {
			[]coverage.Claim{exact(one, epoch, 0, 10, 100, 100, 200), exact(one, epoch, 10, 15, 100, 200, 300)},
			[]coverage.Claim{exact(one, epoch, 0, 15, 100, 100, 300)}},
		"caught up with what was sent earlier": {
			[]coverage.Claim{exact(one, epoch, 0, 20, 300, 300, 500), after(exact(one, epoch, 0, 20, 100, 100, 0))},
			[]coverage.Claim{after(exact(one, epoch, 0, 20, 100, 100, 500))}},
		"a hole": {
			[]coverage.Claim{exact(one, epoch, 0, 10, 100, 100, 200), exact(one, epoch, 10, 15, 100, 250, 300)},
			[]coverage.Claim{exact(one, epoch, 0, 10, 100, 100, 200), exact(one, epoch, 10, 15, 100, 250, 300)}},
		"arrivals that nobody considered": {
			[]coverage.Claim{exact(one, epoch, 0, 10, 100, 100, 200), exact(one, epoch, 11, 15, 100, 200, 300)},
			[]coverage.Claim{exact(one, epoch, 0, 10, 100, 100, 200), exact(one, epoch, 11, 15, 100, 200, 300)}},
		"another epoch": {
			[]coverage.Claim{exact(one, epoch, 0, 10, 100, 100, 200), exact(one, anew, 10, 15, 100, 200, 300)},
			[]coverage.Claim{exact(one, epoch, 0, 10, 100, 100, 200), exact(one, anew, 10, 15, 100, 200, 300)}},
		"asked from earlier on": {
			[]coverage.Claim{exact(one, epoch, 0, 10, 100, 100, 200), exact(one, epoch, 0, 15, 50, 50, 300)},
			[]coverage.Claim{exact(one, epoch, 0, 15, 50, 50, 300)}},
		"asked from later on": {
			[]coverage.Claim{exact(one, epoch, 0, 10, 100, 100, 200), exact(one, epoch, 10, 15, 150, 200, 300)},
			[]coverage.Claim{exact(one, epoch, 0, 15, 150, 150, 300)}},
		"only the position": {
			[]coverage.Claim{exact(one, epoch, 0, 10, 100, 100, 200), exact(one, epoch, 10, 15, 100, 200, 0)},
			[]coverage.Claim{exact(one, epoch, 0, 15, 100, 100, 200)}},
		"only the position, beyond a hole": {
			[]coverage.Claim{exact(one, epoch, 0, 10, 100, 100, 200), exact(one, epoch, 10, 15, 100, 220, 0), exact(one, epoch, 15, 20, 100, 220, 300)},
			[]coverage.Claim{exact(one, epoch, 0, 10, 100, 100, 200), exact(one, epoch, 10, 20, 100, 220, 300)}},
		"by sent time": {
			[]coverage.Claim{sent(one, 300, 400, false), sent(one, 100, 200, false), sent(one, 201, 299, false)},
			[]coverage.Claim{sent(one, 100, 400, false)}},
		"by sent time, in doubt": {
			[]coverage.Claim{sent(one, 100, 200, false), sent(one, 150, 300, true)},
			[]coverage.Claim{sent(one, 100, 200, false), sent(one, 150, 300, true)}},
	} {
		for _, twice := range []bool{false, true} {
			b := coverage.NewBook(nil)
			for _, x := range c.add {
				b.Put(b.With([]coverage.Claim{x}))
			}
			if twice {
				b.Put(b.With(c.add[len(c.add)-1:]))
			}
			if diff := cmp.Diff(c.want, b.Claims(topic, one)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
}

// TestClaimsStayTrue adds what a server with holes answered, and asks of each second and arrival whether it was answered.
func TestClaimsStayTrue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := coverage.NewBook(nil)
		since := uint32(rapid.IntRange(1, 50).Draw(t, "since"))
		arrival, visit := uint64(0), since
		answered := map[uint32]bool{}
		for now := uint32(60); now < 1000; now += uint32(rapid.IntRange(1, 200).Draw(t, "away")) {
			next := arrival + uint64(rapid.IntRange(0, 5).Draw(t, "came"))
			kept := uint32(rapid.IntRange(0, int(now)).Draw(t, "kept since"))
			c := exact(one, epoch, arrival, next, since, max(visit, kept, since), now)
			if rapid.IntRange(0, 4).Draw(t, "bounded") == 0 {
				c.To = 0
			} else {
				for s := c.From; s <= c.To; s++ {
					answered[s] = true
				}
				visit = now
			}
			arrival = next
			b.Put(b.With([]coverage.Claim{c}))
			p, ok := b.Position(topic, one, epoch)
			if !ok || p.Arrival != arrival || p.Since != since {
				t.Fatalf("position %+v, not %d since %d", p, arrival, since)
			}
		}
		for _, span := range b.Answered(topic) {
			for s := span.From; s <= span.To; s++ {
				if !answered[s] {
					t.Fatalf("%d was never answered: %+v", s, b.Answered(topic))
				}
			}
		}
		if n := len(b.Claims(topic, one)); n > coverage.MaxClaims {
			t.Fatalf("%d claims", n)
		}
	})
}

func TestBounded(t *testing.T) {
	b := coverage.NewBook(nil)
	for i := range uint32(1000) {
		b.Put(b.With([]coverage.Claim{sent(one, 10*i+1, 10*i+5, false)}))
	}
	if n := len(b.Claims(topic, one)); n != coverage.MaxClaims {
		t.Fatalf("%d claims", n)
	}
	if b.AnsweredUntil(topic) != 9995 {
		t.Error("the latest is lost")
	}
	b.Put(b.Drop(topic))
	if len(b.Topics()) != 0 {
		t.Error("not dropped")
	}
}

func TestGaps(t *testing.T) {
	want := []coverage.Want{{Topic: topic, Since: 100}, {Topic: envelope.Topic{2}, Since: 100}}
	sight := coverage.Sight{Wants: want[:1], Now: 1000, Servers: []nodeaddr.ID{two, one}}
	live := map[envelope.Topic]uint32{topic: 600}
	for name, c := range map[string]struct {
		claims []coverage.Claim
		change func(*coverage.Sight)
		want   string // cause from-to
	}{
		"nobody asked":      {nil, nil, "not asked 100-1000"},
		"live":              {nil, func(s *coverage.Sight) { s.Live = live }, "not asked 100-599"},
		"two topics":        {nil, func(s *coverage.Sight) { s.Wants = want }, "not asked 100-1000"},
		"failed":            {nil, func(s *coverage.Sight) { s.Why = map[envelope.Topic]coverage.Cause{topic: coverage.Failed} }, "failed 100-1000"},
		"whole":             {[]coverage.Claim{exact(one, epoch, 0, 9, 100, 100, 1000)}, nil, ""},
		"until a while ago": {[]coverage.Claim{exact(one, epoch, 0, 9, 100, 100, 700)}, nil, "not asked 701-1000"},
		"by two":            {[]coverage.Claim{exact(one, epoch, 0, 9, 100, 100, 700), sent(two, 600, 1000, true)}, nil, ""},
		"expired":           {[]coverage.Claim{exact(one, epoch, 0, 9, 100, 300, 1000)}, nil, "expired 100-299 closed"},
		"expired later":     {[]coverage.Claim{exact(one, epoch, 0, 9, 100, 100, 200), exact(one, epoch, 9, 12, 100, 300, 1000)}, nil, "expired 201-299 closed"},
		"expired at one":    {[]coverage.Claim{exact(one, epoch, 0, 9, 100, 300, 1000), exact(two, epoch, 0, 9, 100, 100, 400)}, nil, ""},
		"anew":              {[]coverage.Claim{exact(one, epoch, 0, 9, 100, 100, 200), exact(one, anew, 0, 12, 100, 300, 1000)}, nil, "reset 201-299 closed"},
		"everything":        {[]coverage.Claim{exact(one, epoch, 0, 9, 0, 300, 1000)}, func(s *coverage.Sight) { s.Wants = []coverage.Want{{Topic: topic}} }, ""},
	} {
		s := sight
		if c.change != nil {
			c.change(&s)
		}
		var got []string
		for _, g := range coverage.NewBook(c.claims).Gaps(s) {
			line := fmt.Sprintf("%v %d-%d", g.Cause, g.From, g.To)
			if g.Closed {
				line += " closed"
			} else if !slices.Equal(g.Holders, []nodeaddr.ID{one, two}) {
				t.Errorf("%s: held by %v", name, g.Holders)
			}
			if got = append(got, line); g.Text == "" || g.ID == "" || len(g.Topics) != len(s.Wants) {
				t.Errorf("%s: %+v", name, g)
			}
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %q, not %q", name, got, c.want)
		}
	}
}

func TestSummary(t *testing.T) {
	sight := coverage.Sight{Wants: []coverage.Want{{Topic: topic, Since: 100}}, Now: 1000, Live: map[envelope.Topic]uint32{topic: 901},
		Name: func(id nodeaddr.ID) string { return map[nodeaddr.ID]string{one: "one", two: "two"}[id] }}
	both := []coverage.Claim{exact(one, epoch, 0, 9, 100, 100, 900), exact(two, epoch, 0, 9, 100, 100, 800)}
	missing := []coverage.Missing{{Hash: envelope.Hash{1}, Sent: 500, Size: 70, Topics: []envelope.Topic{topic}, Named: []nodeaddr.ID{two}, Noticed: before, Cause: coverage.Withheld}}
	for name, c := range map[string]struct {
		claims                     []coverage.Claim
		missing                    []coverage.Missing
		complete, agreed, answered uint32
		by                         []nodeaddr.ID
		text                       string
	}{
		"nothing":  {nil, nil, 0, 0, 0, nil, "no mail server has answered yet; there is a gap"},
		"two":      {both, nil, 900, 800, 900, []nodeaddr.ID{one}, "complete until 1970-01-01 00:15:00 UTC, says one; until 1970-01-01 00:13:20 UTC two servers agree"},
		"withheld": {both, missing, 499, 499, 900, []nodeaddr.ID{one, two}, "complete until 1970-01-01 00:08:19 UTC, says one, two; until 1970-01-01 00:08:19 UTC two servers agree; there is a gap"},
		"older":    {[]coverage.Claim{sent(two, 100, 900, false)}, nil, 0, 0, 900, nil, "answered until 1970-01-01 00:15:00 UTC by two, which cannot say whether that is all"},
		"a hole": {[]coverage.Claim{exact(one, epoch, 0, 9, 100, 100, 300), exact(one, epoch, 9, 12, 100, 400, 900)}, nil, 900, 0, 900, []nodeaddr.ID{one},
			"complete until 1970-01-01 00:15:00 UTC, says one; there is a gap"},
	} {
		s := sight
		s.Missing = c.missing
		l := coverage.NewBook(c.claims).Summary(s)[0]
		if l.Complete != c.complete || l.Agreed != c.agreed || l.Answered != c.answered || !slices.Equal(l.By, c.by) || l.Text != c.text {
			t.Errorf("%s: %+v", name, l)
		}
	}
	gone := missing[0]
	gone.Gone, gone.Cause = true, coverage.Expired
	s := sight
	s.Missing = []coverage.Missing{gone, {Hash: envelope.Hash{2}, Gone: true, Cause: coverage.Expired, Sent: 600, Topics: gone.Topics, Named: gone.Named}}
	g := coverage.NewBook(both).Gaps(s)
	if len(g) != 1 || g[0].Text != "2 messages expired before anyone handed them over; named by two" || g[0].Bytes != 70 {
		t.Errorf("%+v", g)
	}
}

func TestWhereAServerWasLeft(t *testing.T) {
	other := two
	other[1] = 1
	b := coverage.NewBook([]coverage.Claim{
		exact(one, epoch, 0, 20, 100, 100, 200), exact(one, epoch, 12, 20, 400, 400, 500), // wanted since 100, then since 400, and again since 100
		sent(two, 100, 300, false), sent(two, 250, 500, true), sent(other, 100, 300, true),
	})
	if p, ok := b.Position(topic, one, epoch); !ok || p != (coverage.Position{Arrival: 20, Since: 100, Until: 200}) {
		t.Errorf("left at %+v, %v", p, ok)
	}
	for _, c := range []struct {
		server nodeaddr.ID
		sure   bool
		until  uint32
	}{{two, false, 500}, {two, true, 300}, {other, false, 300}, {other, true, 0}} {
		if until, ok := b.AnsweredFrom(topic, c.server, 100, c.sure); until != c.until || ok != (c.until > 0) {
			t.Errorf("%x, sure %v: until %d, %v", c.server[:2], c.sure, until, ok)
		}
	}
}

package mail1_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/mail1"
)

// byBytes compares envelopes and errors.
var byBytes = cmp.Options{
	cmp.Comparer(func(a, b *envelope.Envelope) bool { return bytes.Equal(a.Raw(), b.Raw()) }),
	cmpopts.EquateEmpty(),
}

func TestEveryPacketReadsAsItWasWritten(t *testing.T) {
	seen := map[uint64]bool{}
	for _, c := range goodCases() {
		p, err := mail1.Decode(c.code, c.payload)
		if err != nil {
			t.Errorf("%s: %v", c.why, err)
			continue
		}
		seen[c.code] = true
		if _, ok := p.(mail1.Ignored); ok {
			continue
		}
		code, payload := mail1.Encode(p)
		again, err := mail1.Decode(code, payload)
		if diff := cmp.Diff(p, again, byBytes); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", c.why, err, diff)
		}
	}
	for code := range names {
		if !seen[code] {
			t.Errorf("no case for packet %d (%s)", code, names[code])
		}
	}
}

func TestABadRequestKeepsItsIDAndABadPacketItsReason(t *testing.T) {
	for _, c := range badCases() {
		p, err := mail1.Decode(c.code, c.payload)
		if bad, ok := p.(mail1.Bad); ok {
			err = bad.Err
			if bad.ID == 0 {
				t.Errorf("%s: lost the id", c.why)
			}
		} else if p != nil {
			t.Errorf("%s: read as %+v", c.why, p)
		}
		checkReason(t, c.why, err)
	}
}

func checkReason(t *testing.T, what string, err error) {
	t.Helper()
	if k := fault.KindOf(err); k != fault.Invalid && k != fault.Limit || fault.Text(err) == k.String() || len(fault.Text(err)) > mail1.MaxText {
		t.Errorf("%s: error without a reason: %v", what, err)
	}
}

func TestSizesAreBounded(t *testing.T) {
	big := func(size int) []*envelope.Envelope {
		return []*envelope.Envelope{envelope.New(1600000050, 50, envelope.Topic{1}, make([]byte, size), 0)}
	}
	tests := []struct {
		name   string
		packet mail1.Packet
		ok     bool
	}{
		{"one large envelope", mail1.Envelopes{List: big(envelope.MaxSizeLimit)}, true},
		{"an envelope above all limits", mail1.Envelopes{List: big(envelope.MaxSizeLimit + 2<<10)}, false},
		{"two envelopes above 64 KiB", mail1.Envelopes{List: append(big(40<<10), big(40<<10)...)}, false},
		{"two envelopes below it", mail1.Envelopes{List: append(big(30<<10), big(30<<10)...)}, true},
		{"too many hashes listed", mail1.HashList{List: make([]mail1.Listed, mail1.MaxListed+1)}, false},
		{"too many hashes", mail1.Fetch{Hashes: make([]envelope.Hash, mail1.MaxHashes+1)}, false},
		{"as many hashes as allowed", mail1.Held{Hashes: make([]envelope.Hash, mail1.MaxHashes)}, true},
		{"too many missing", mail1.End{Missing: make([]envelope.Hash, mail1.MaxHashes+1)}, false},
		{"as many missing as can be asked", mail1.End{Missing: make([]envelope.Hash, mail1.MaxHashes)}, true},
		{"control above its limit", mail1.End{Missing: make([]envelope.Hash, 8000)}, false},
	}
	for _, tt := range tests {
		code, payload := mail1.Encode(tt.packet)
		p, err := mail1.Decode(code, payload)
		if bad, ok := p.(mail1.Bad); ok {
			err = bad.Err
		}
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		} else if err != nil {
			checkReason(t, tt.name, err)
		}
	}
}

func TestSpliceAddsNoMoreThanItsOverhead(t *testing.T) {
	raw := [][]byte{make([]byte, mail1.MaxBulk-mail1.EnvelopesOverhead)}
	if b := mail1.EncodeEnvelopes(1<<64-1, 1<<64-1, raw); len(b) > mail1.MaxBulk {
		t.Errorf("%d bytes", len(b))
	}
	entry := mail1.Listed{Sent: 1<<32 - 1, Size: 1<<32 - 1}
	list := slices.Repeat([]mail1.Listed{entry}, (mail1.MaxBulk-mail1.EnvelopesOverhead)/mail1.ListedSize)
	if _, b := mail1.Encode(mail1.HashList{ID: 1<<64 - 1, Through: 1<<64 - 1, List: list}); len(b) > mail1.MaxBulk {
		t.Errorf("%d entries have %d bytes", len(list), len(b))
	}
}

func TestTextsCannotHarmATerminal(t *testing.T) {
	code, payload := mail1.Encode(mail1.Error{Text: "a\x1b[2J\u202eb\nc\xff" + strings.Repeat("ü", mail1.MaxText)})
	p, err := mail1.Decode(code, payload)
	if err != nil {
		t.Fatal(err)
	}
	text := p.(mail1.Error).Text
	if !strings.HasPrefix(text, "a?[2J?b c?ü") || len(text) > mail1.MaxText || strings.ContainsAny(text, "\x1b\n\ufffd") {
		t.Errorf("%q", text)
	}
}

// TestSpecificationShowsRealPackets holds the examples in the document against the vectors' cases.
func TestSpecificationShowsRealPackets(t *testing.T) {
	text, err := os.ReadFile("../../docs/mail-1.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, c := range cases() {
		known[hex.EncodeToString(c.payload)] = true
	}
	examples := regexp.MustCompile("(?s)```hex\n(.*?)```").FindAllSubmatch(text, -1)
	if len(examples) < 8 {
		t.Errorf("%d examples", len(examples))
	}
	for _, e := range examples {
		digits := strings.Join(strings.Fields(string(e[1])), "")
		if !known[digits] {
			t.Errorf("%s is none of the vectors", digits)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range cases() {
		if len(c.payload) < 1<<10 {
			f.Add(uint8(c.code), c.payload)
		}
	}
	f.Fuzz(func(t *testing.T, code uint8, payload []byte) {
		p, err := mail1.Decode(uint64(code), payload)
		if bad, ok := p.(mail1.Bad); ok {
			err = bad.Err
		}
		if err != nil {
			checkReason(t, "fuzz", err)
			return
		}
		if _, ok := p.(mail1.Ignored); ok {
			return
		}
		again, err := mail1.Decode(mail1.Encode(p))
		if diff := cmp.Diff(p, again, byBytes); err != nil || diff != "" {
			t.Errorf("decoded again with %v (-first +again)\n%s", err, diff)
		}
	})
}

func BenchmarkEncodeEnvelopes(b *testing.B) {
	raw := make([][]byte, 70)
	for i := range raw {
		raw[i] = envelope.New(1600000050, 50, envelope.Topic{1}, make([]byte, 796), 0).Raw()
	}
	b.ReportAllocs()
	for b.Loop() {
		mail1.EncodeEnvelopes(1, 1000, raw)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(raw)), "ns/envelope")
}

package mail1_test

import (
	"bytes"
	"strings"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/mail1"
)

var names = map[uint64]string{
	0: "hello", 1: "error", 2: "cancel", 3: "credit", 4: "page", 5: "hashes", 6: "fetch", 7: "held", 8: "join",
	9: "envelopes", 10: "hash_list", 11: "held_list", 12: "joined", 13: "end",
}

// testCase is a packet to make a vector of.
type testCase struct {
	code    uint64
	payload []byte
	why     string
}

func good(why string, p mail1.Packet) testCase {
	code, payload := mail1.Encode(p)
	return testCase{code, payload, why}
}

// items makes a packet of RLP items: numbers, strings, byte strings and lists of such.
func items(why string, code uint64, list ...any) testCase {
	b, err := rlp.EncodeToBytes(list)
	if err != nil {
		panic(err)
	}
	return testCase{code, b, why}
}

type none = []any

var (
	epoch  = mail1.Epoch{0xe0, 1, 2, 3, 4, 5, 6, 7}
	ten    = envelope.Hash(bytes.Repeat([]byte{0x10}, 32))
	twenty = envelope.Hash(bytes.Repeat([]byte{0x20}, 32))
)

func testEnvelopes() []*envelope.Envelope {
	return []*envelope.Envelope{
		envelope.New(1600000050, 50, envelope.Topic{1, 2, 3, 4}, []byte("first"), 7),
		envelope.New(1600000110, 50, envelope.Topic{5, 6, 7, 8}, []byte("second"), 0xffff),
	}
}

func cases() []testCase {
	return append(goodCases(), badCases()...)
}

func goodCases() []testCase {
	bloom := envelope.Topic{1, 2, 3, 4}.Bloom()
	list := testEnvelopes()
	full := mail1.Question{ID: 2, Bloom: &bloom, From: 1600000000, To: 1600003600, Epoch: epoch, After: 1000, Until: 2000, Budget: 1 << 20, Credit: 256 << 10}
	extended := none{uint64(9), none{"of a later revision"}}
	return []testCase{
		good("a mail server", mail1.Hello{Version: 1, Flags: mail1.Serves, Epoch: epoch, Next: 1001, Oldest: 1600000000, Keep: 259200, Age: 2592000,
			MaxTopics: 1000, MaxHashes: 4096, MaxBudget: 64 << 20, Name: "post at home"}),
		good("a node that asks only", mail1.Hello{Version: 1}),
		good("a mail server for members that closes", mail1.Hello{Version: 1, Flags: mail1.Serves | mail1.MembersOnly | mail1.Member, Epoch: epoch, Next: 1,
			Closing: 1700000000, MaxTopics: 10, MaxHashes: 10, MaxBudget: 1 << 20}),
		items("a later revision", mail1.CodeHello, uint64(2), uint64(0x101), epoch[:], uint64(1), uint64(0), uint64(0), uint64(0), uint64(0), uint64(1), uint64(1), uint64(1), "n", "more"),
		good("try again in a second", mail1.Error{ID: 1, Kind: fault.Busy, Text: "too many requests at once; ask again in a second", RetryAfter: 1000}),
		good("another epoch", mail1.Error{ID: 1 << 63, Kind: fault.NotFound, Text: "this archive began anew"}),
		items("a kind of a later revision, and a text with a line end", mail1.CodeError, uint64(1), uint64(200), "first\nsecond\x1b", uint64(0)),
		good("cancel", mail1.Cancel{ID: 300}),
		good("credit", mail1.Credit{ID: 300, Bytes: 256 << 10}),
		good("two topics since an arrival", mail1.Page{Question: mail1.Question{ID: 1, Topics: []envelope.Topic{{1, 2, 3, 4}, {}}, Epoch: epoch, After: 1000, Credit: 1 << 20}}),
		good("everything", mail1.Page{Question: mail1.Question{ID: 1}}),
		good("by bloom filter, all bounds", mail1.Page{Question: full}),
		good("hashes", mail1.Hashes{Question: full}),
		items("a page of a later revision", mail1.CodePage, uint64(1), none{}, "", uint64(0), uint64(0), epoch[:], uint64(0), uint64(0), uint64(0), uint64(0), extended),
		good("fetch", mail1.Fetch{ID: 3, Hashes: []envelope.Hash{ten, twenty}, Credit: 1 << 16}),
		good("fetch nothing", mail1.Fetch{ID: 3}),
		good("held", mail1.Held{ID: 4, Hashes: []envelope.Hash{ten}}),
		good("join", mail1.Join{ID: 5, Token: "k3jx7p2mzq5dhv6wcn4tyrb8as", Name: "phone"}),
		good("envelopes", mail1.Envelopes{ID: 1, Through: 1007, List: list}),
		good("an arrival without envelopes", mail1.Envelopes{ID: 1, Through: 5000}),
		good("hash list", mail1.HashList{ID: 2, Through: 1007, List: []mail1.Listed{{list[0].Hash(), list[0].Sent(), uint32(len(list[0].Raw()))}, {list[1].Hash(), list[1].Sent(), uint32(len(list[1].Raw()))}}}),
		good("held list: one is kept, one is not stored", mail1.HeldList{ID: 4, Until: []uint64{1600259200, 0}}),
		good("joined, with a quota", mail1.Joined{ID: 5, Member: "Alice", BytesPerDay: 100 << 20, Left: 99 << 20}),
		good("end, more", mail1.End{ID: 1, Epoch: epoch, Through: 1007, More: true}),
		good("end of a fetch", mail1.End{ID: 3, Epoch: epoch, Missing: []envelope.Hash{twenty}}),
		{14, []byte{0xc0}, "an unknown code"},
		{1000, []byte("not even RLP"), "an unknown code"},
	}
}

func badCases() []testCase {
	zero := make([]byte, 8)
	page := func(why string, change func(p none)) testCase {
		p := none{uint64(7), none{}, "", uint64(0), uint64(0), zero, uint64(0), uint64(0), uint64(0), uint64(0)}
		change(p)
		return items(why, mail1.CodePage, p...)
	}
	return []testCase{
		{mail1.CodePage, nil, "no payload"},
		{mail1.CodePage, []byte{0x80}, "no list"},
		{mail1.CodePage, []byte{0xc0}, "no id"},
		{mail1.CodePage, []byte{0xc1, 0x00}, "an id with a leading zero"},
		{mail1.CodePage, []byte{0xc2, 0x01}, "a list that is cut"},
		{mail1.CodeCancel, []byte{0xc1, 0x01, 0x01}, "bytes behind the list"},
		{mail1.CodeCancel, []byte{0xc3, 0x01, 0x82, 0x01}, "a further item that is cut"},
		items("an id of 72 bits", mail1.CodeCancel, bytes.Repeat([]byte{1}, 9)),
		items("a page with its id only", mail1.CodePage, uint64(7)),
		page("a topic of three bytes", func(p none) { p[1] = none{[]byte{1, 2, 3}} }),
		page("1,001 topics", func(p none) {
			var list none
			for range mail1.MaxTopics + 1 {
				list = append(list, []byte{1, 2, 3, 4})
			}
			p[1] = list
		}),
		page("a bloom filter of 63 bytes", func(p none) { p[2] = make([]byte, 63) }),
		page("topics and a bloom filter", func(p none) { p[1], p[2] = none{[]byte{1, 2, 3, 4}}, make([]byte, 64) }),
		page("a time of 33 bits", func(p none) { p[3] = uint64(1) << 32 }),
		page("it ends before it starts", func(p none) { p[3], p[4] = uint64(10), uint64(9) }),
		page("arrivals end before they start", func(p none) { p[6], p[7] = uint64(10), uint64(9) }),
		page("an epoch of seven bytes", func(p none) { p[5] = zero[:7] }),
		page("an immense budget", func(p none) { p[8] = uint64(1) << 63 }),
		page("an immense credit", func(p none) { p[9] = uint64(1)<<62 + 1 }),
		items("hashes, one of them a list", mail1.CodeFetch, uint64(3), none{ten[:], none{}}, uint64(0)),
		items("a hash of 31 bytes", mail1.CodeHeld, uint64(3), none{ten[:31]}),
		items("hashes that are no list", mail1.CodeHeld, uint64(3), ten[:]),
		items("a long token", mail1.CodeJoin, uint64(5), strings.Repeat("a", mail1.MaxName+1), ""),
		items("a hello that is too short", mail1.CodeHello, uint64(1), uint64(0), zero),
		items("a long name", mail1.CodeHello, uint64(1), uint64(0), zero, uint64(0), uint64(0), uint64(0), uint64(0), uint64(0), uint64(0), uint64(0), uint64(0), strings.Repeat("a", 65)),
		items("a long text", mail1.CodeError, uint64(1), uint64(5), strings.Repeat("a", mail1.MaxText+1), uint64(0)),
		items("a kind above 255", mail1.CodeError, uint64(1), uint64(256), "", uint64(0)),
		items("no envelope", mail1.CodeEnvelopes, uint64(1), uint64(2), none{none{uint64(1)}}),
		items("an envelope without a list around it", mail1.CodeEnvelopes, uint64(1), uint64(2), none{uint64(1), uint64(2)}),
		items("a flag of 2", mail1.CodeEnd, uint64(1), zero, uint64(0), uint64(2), none{}),
		items("an entry without a size", mail1.CodeHashList, uint64(1), uint64(2), none{none{ten[:], uint64(1)}}),
		items("a list where a time belongs", mail1.CodeHeldList, uint64(1), none{none{}}),
	}
}

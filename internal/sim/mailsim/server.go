package mailsim

import (
	"crypto/ecdsa"
	"encoding/binary"
	"math/big"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// record is an envelope in a server's archive.
type record struct {
	env     *envelope.Envelope
	arrival uint64
	arrived time.Duration // true time
	gone    time.Duration // when it was pruned; 0 while it is there
}

// traits are what a server does besides answering. Figures are shares from 0 to 1.
type traits struct {
	form      history.Form  // its best: ByArrival, Paged or Bare
	skew      time.Duration // of its clock
	age       time.Duration // it prunes what is older; 0: never
	perPacket int
	latency   time.Duration
	gap       time.Duration // between packets, at most
	think     time.Duration // before an answer, at most, while there are faults
	topics    int           // and hashes, that it takes in one question
	hashes    int
	promise   float64 // share of age that it promises to keep mail for

	// Until the faults end:
	mute, busy, stall, cut, junk, repeat float64

	// Of the envelopes; for good if lasting, else until the faults end.
	omitPage, omitList, withhold float64
	lasting                      bool

	denied bool // it answers others only
}

// server is a mail server.
type server struct {
	traits
	w     *world
	index int
	node  nodeaddr.Node
	id    nodeaddr.ID

	up      bool
	epoch   [8]byte
	next    uint64
	records []*record // those that are there, by arrival
	stored  map[envelope.Hash]*record
	lives   map[[8]byte][]*record // all that ever was in it, by epoch and arrival
	conns   []*conn
}

func (w *world) newServer(index int, t traits) *server {
	s := &server{traits: t, w: w, index: index, lives: make(map[[8]byte][]*record), up: true}
	key := testKey(uint64(index) + 1)
	s.node = nodeaddr.New(&key.PublicKey, nodeaddr.Address{Host: "192.0.2." + string(rune('1'+index)), Port: 30303})
	s.id = s.node.ID()
	s.begin()
	return s
}

// testKey gives the key of a small number.
func testKey(n uint64) *ecdsa.PrivateKey {
	b := make([]byte, 32)
	big.NewInt(0).SetUint64(n).FillBytes(b)
	key, err := crypto.ToECDSA(b)
	if err != nil {
		panic(err) // no number of a server is out of range
	}
	return key
}

// begin starts an empty archive.
func (s *server) begin() {
	binary.BigEndian.PutUint64(s.epoch[:], s.w.rand.Uint64()|1)
	s.next = 1 + s.w.rand.Uint64N(1000)
	s.records, s.stored = nil, make(map[envelope.Hash]*record)
}

// put archives an envelope, if it is running.
func (s *server) put(env *envelope.Envelope) {
	h := env.Hash()
	if !s.up || s.stored[h] != nil {
		return
	}
	r := &record{env: env, arrival: s.next, arrived: s.w.now}
	s.next += 1 + s.w.rand.Uint64N(2)
	s.records = append(s.records, r)
	s.stored[h] = r
	s.lives[s.epoch] = append(s.lives[s.epoch], r)
	s.w.note("server %d stores %x as %d", s.index, h[:4], r.arrival)
}

// prune removes what is too old.
func (s *server) prune() {
	n := 0
	for n < len(s.records) && s.age > 0 && s.w.now-s.records[n].arrived > s.age {
		s.records[n].gone = s.w.now
		delete(s.stored, s.records[n].env.Hash())
		n++
	}
	if n > 0 {
		s.records = slices.Clone(s.records[n:])
		s.w.note("server %d prunes %d", s.index, n)
	}
}

// crash ends the process; the archive is as durable as it should be.
func (s *server) crash(down time.Duration) {
	if !s.up {
		return
	}
	s.w.note("server %d crashes", s.index)
	s.up = false
	for _, c := range slices.Clone(s.conns) {
		late := time.Duration(0)
		if s.w.chance(0.3) {
			late = s.w.between(time.Second, time.Minute) // nobody tells the client
		}
		c.breakOff(late)
	}
	s.w.after(down, func() {
		s.up = true
		s.prune()
		s.w.note("server %d is back", s.index)
	})
}

// loseDisk is a crash after which the archive is empty and has begun anew.
func (s *server) loseDisk() {
	if !s.up {
		return
	}
	s.crash(s.w.between(time.Minute, time.Hour))
	for _, r := range s.records {
		r.gone = s.w.now
	}
	s.begin()
	s.w.note("server %d has lost its disk", s.index)
}

// flaws reports whether what is wrong with the server's answers is so now.
func (s *server) flaws() bool { return s.lasting || s.w.now < s.w.heal }

// omits reports whether an envelope is left out of pages, or of lists.
func (s *server) omits(h envelope.Hash, list bool) bool {
	if list {
		return s.flaws() && share(h, byte(s.index*3+2)) < s.omitList
	}
	return s.flaws() && share(h, byte(s.index*3+1)) < s.omitPage || s.withholds(h)
}

// withholds reports whether an envelope is named but not handed over.
func (s *server) withholds(h envelope.Hash) bool {
	return s.flaws() && share(h, byte(s.index*3)) < s.withhold
}

// clock is the server's.
func (s *server) clock(t time.Duration) time.Time { return epoch.Add(t + s.skew) }

// caps is what a hello says, or the connection tells.
func (s *server) caps() history.Caps {
	switch s.form {
	case history.Paged:
		return history.Caps{Forms: []history.Form{history.Paged, history.Bare}}
	case history.Bare:
		return history.Caps{Forms: []history.Form{history.Paged, history.Bare}}
	}
	c := history.Caps{
		Forms: []history.Form{history.ByArrival}, Epoch: s.epoch, Next: s.next, MaxTopics: s.topics,
		Lists: true, MaxHashes: s.hashes, Keep: s.keep(), Age: s.age, Name: "simulated", MembersOnly: s.denied,
	}
	if len(s.records) > 0 {
		c.Oldest = s.clock(s.records[0].arrived).Truncate(time.Second)
	}
	return c
}

// keep is what it promises.
func (s *server) keep() time.Duration {
	if s.age == 0 {
		return 30 * 24 * time.Hour
	}
	return time.Duration(float64(s.age) * s.promise).Truncate(time.Second)
}

// held answers until when an envelope is kept.
func (s *server) held(h envelope.Hash) time.Time {
	r := s.stored[h]
	if r == nil || s.withholds(h) {
		return time.Time{}
	}
	return s.clock(r.arrived + s.keep()).Truncate(time.Second)
}

// conceals reports whether the server's flaws concern an envelope, now or once: what it left out of an answer then it is not
// asked for again.
func (s *server) conceals(h envelope.Hash) bool {
	return share(h, byte(s.index*3+2)) < s.omitList || share(h, byte(s.index*3+1)) < s.omitPage || share(h, byte(s.index*3)) < s.withhold
}

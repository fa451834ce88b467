package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"golang.org/x/crypto/sha3"
)

// maxPacket keeps bundles far below the 1 MiB at which go-ethereum disconnects.
const maxPacket = 256 << 10

type sourceResult struct {
	Event    string  `json:"event"` // result
	Run      string  `json:"run"`
	Sent     uint64  `json:"sent"`    // distinct envelopes, each to every connection
	Links    int     `json:"links"`   // connections
	Packets  uint64  `json:"packets"` // to each connection
	Bytes    uint64  `json:"bytes"`   // RLP to each connection
	Seconds  float64 `json:"seconds"`
	PerS     float64 `json:"per_s"`
	LagMaxMS float64 `json:"lag_max_ms"` // most that sending fell behind the wished rate
	Acks     uint64  `json:"acks"`       // packets 11
	AckedS   float64 `json:"acked_s"`    // until the last packet was acknowledged, with -await; 0: it was not
	Refused  uint64  `json:"refused"`    // packets 12 with entries
	Error    string  `json:"error,omitempty"`
	usage
}

type source struct {
	rate    float64
	total   uint64
	size    int
	pow     float64
	ttl     uint32
	bundle  int
	tick    time.Duration
	topics  [][4]byte
	run     uint64
	random  *rand.ChaCha8
	acks    atomic.Uint64
	acked   chan struct{} // an ack came
	window  uint64
	refused atomic.Uint64
}

// runSource sends envelopes at a rate to the given nodes and prints what it did. Each is stamped when its packet is built.
func runSource(args []string) error {
	f := flag.NewFlagSet("source", flag.ContinueOnError)
	var to multi
	f.Var(&to, "to", "enode to connect to (repeatable: every one gets every envelope)")
	rate := f.Float64("rate", 10, "envelopes per second; 0: as fast as the connection takes them")
	seconds := f.Float64("seconds", 10, "how long")
	count := f.Uint64("count", 0, "stop after this many envelopes (0: rate times seconds)")
	size := f.Int("size", 512, "payload bytes; Data is as long as a sealed message's with that payload")
	pow := f.Float64("pow", 0, "PoW to reach; mined live, so keep it tiny")
	ttl := f.Uint("ttl", 10, "TTL in seconds")
	tick := f.Duration("tick", 0, "least time between packets, so that slow rates still fill bundles")
	bundle := f.Int("bundle", 64, "most envelopes in a packet")
	topics := f.Int("topics", 16, "number of random topics; all envelopes spread over them")
	topic := f.String("topic", "", "one fixed topic, 0x........, instead")
	confirms := f.Bool("confirms", false, "announce that we confirm packets")
	await := f.Duration("await", 0, "then wait up to so long until every packet is acknowledged, with -confirms")
	window := f.Uint64("window", 0, "packets that may wait for their acknowledgement, with -confirms and one connection (0: any number)")
	hold := f.Bool("hold", false, "begin on the line \"go\" on standard input, not when connected")
	linger := f.Duration("linger", 300*time.Millisecond, "stay connected for this long afterwards")
	if err := f.Parse(args); err != nil {
		return err
	}
	s := &source{rate: *rate, size: *size, pow: *pow, ttl: uint32(*ttl), bundle: *bundle, tick: *tick, total: *count, run: rand.Uint64(), window: *window, acked: make(chan struct{}, 1)}
	if s.total == 0 {
		s.total = uint64(*rate * *seconds)
	}
	if err := s.setUp(*topics, *topic); err != nil {
		return err
	}
	up := make(chan link)
	done := make(chan struct{})
	// The all-zero bloom asks for nothing: what others send must not come back here.
	host, err := newHost("raw-source", "", protocol(status{bloom: make([]byte, 64), confirms: *confirms}, func(l link) error {
		go func() { up <- l }()
		return s.drain(l, done)
	}))
	if err != nil {
		return err
	}
	defer host.Stop()
	if err := keepAll(host, to); err != nil {
		return err
	}
	var links []link
	for range to {
		links = append(links, <-up)
	}
	say(map[string]any{"event": "connected", "run": fmt.Sprintf("%016x", s.run)})
	if *hold {
		waitGo()
	}
	r := s.send(links, *await)
	time.Sleep(*linger)
	r.Acks, r.Refused, r.usage = s.acks.Load(), s.refused.Load(), use()
	say(r)
	close(done)
	return nil
}

// waitGo waits for the line "go" on standard input.
func waitGo() {
	for line := range lines() {
		if line == "go" {
			return
		}
	}
}

func (s *source) setUp(topics int, topic string) error {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], s.run)
	s.random = rand.NewChaCha8(seed)
	if topic != "" {
		b, err := hexutil.Decode(topic)
		if err != nil || len(b) != 4 {
			return fmt.Errorf("topic %q is not 0x and 8 hexadecimal digits", topic)
		}
		s.topics = [][4]byte{[4]byte(b)}
		return nil
	}
	for range max(topics, 1) {
		var t [4]byte
		s.random.Read(t[:])
		s.topics = append(s.topics, t)
	}
	return nil
}

// drain reads what the other side says and counts its confirmations.
func (s *source) drain(l link, done <-chan struct{}) error {
	failed := make(chan error, 1)
	go func() {
		for {
			code, payload, err := l.read()
			if err != nil {
				failed <- err
				return
			}
			switch {
			case code == codeAck:
				s.acks.Add(1)
				select {
				case s.acked <- struct{}{}:
				default:
				}
			case code == codeResponse && len(payload) > 40: // an empty list of refusals makes 37 bytes
				s.refused.Add(1)
			}
		}
	}()
	select {
	case err := <-failed:
		return err
	case <-done:
		return nil
	}
}

func (s *source) send(links []link, await time.Duration) sourceResult {
	r := sourceResult{Event: "result", Run: fmt.Sprintf("%016x", s.run), Links: len(links)}
	start := time.Now()
	var list, packet []byte
	for r.Sent < s.total {
		due := s.due(time.Since(start))
		if due <= r.Sent {
			time.Sleep(max(s.until(r.Sent+1)-time.Since(start), s.tick))
			continue
		}
		if s.rate > 0 {
			lag := time.Since(start) - s.until(r.Sent+1)
			r.LagMaxMS = max(r.LagMaxMS, float64(lag.Nanoseconds())/1e6)
		}
		if s.window > 0 && !s.allAcked(r.Packets-min(r.Packets, s.window-1), await) {
			r.Error = "no acknowledgement came for too long"
			break
		}
		n := min(due-r.Sent, uint64(s.bundle))
		list = list[:0]
		for ; n > 0 && len(list) < maxPacket-2*s.size; n-- {
			list = s.appendNext(list, r.Sent)
			r.Sent++
		}
		packet = append(appendHeader(packet[:0], 0xc0, len(list)), list...)
		for _, l := range links {
			if err := l.write(codeMessages, packet); err != nil {
				r.Error = err.Error()
			}
		}
		r.Packets++
		r.Bytes += uint64(len(packet))
		if r.Error != "" {
			break
		}
	}
	r.Seconds = time.Since(start).Seconds()
	r.PerS = float64(r.Sent) / r.Seconds
	if s.allAcked(r.Packets*uint64(len(links)), await) {
		r.AckedS = time.Since(start).Seconds()
	}
	return r
}

// allAcked waits until so many packets are acknowledged.
func (s *source) allAcked(packets uint64, await time.Duration) bool {
	late := time.After(await)
	for s.acks.Load() < packets {
		select {
		case <-s.acked:
		case <-late:
			return false
		}
	}
	return true
}

// due is how many envelopes should have left after that time.
func (s *source) due(elapsed time.Duration) uint64 {
	if s.rate == 0 {
		return s.total
	}
	return min(s.total, uint64(elapsed.Seconds()*s.rate))
}

// until is when the n-th envelope is due.
func (s *source) until(n uint64) time.Duration {
	return time.Duration(math.Ceil(float64(n) / s.rate * 1e9))
}

func (s *source) appendNext(b []byte, seq uint64) []byte {
	data := make([]byte, dataLen(s.size))
	s.random.Read(data[dataHeader:])
	binary.BigEndian.PutUint64(data[0:], mark)
	binary.BigEndian.PutUint64(data[8:], s.run)
	binary.BigEndian.PutUint64(data[16:], seq)
	now := time.Now()
	binary.BigEndian.PutUint64(data[24:], uint64(now.UnixNano()))
	topic := s.topics[seq%uint64(len(s.topics))]
	expiry := uint32(now.Unix()) + s.ttl
	return appendEnvelope(b, expiry, s.ttl, topic, data, s.work(expiry, topic, data))
}

// work finds a nonce for the wished PoW: 2^zeros / size / ttl.
func (s *source) work(expiry uint32, topic [4]byte, data []byte) uint64 {
	four := appendFour(nil, expiry, s.ttl, topic, data)
	four = append(appendHeader(nil, 0xc0, len(four)), four...)
	need := int(math.Ceil(math.Log2(s.pow * float64(len(four)) * float64(max(s.ttl, 1)))))
	if s.pow <= 0 || need <= 0 {
		return 0
	}
	buf := append(four, make([]byte, 8)...)
	h := sha3.NewLegacyKeccak256()
	var sum [32]byte
	for nonce := uint64(0); ; nonce++ {
		binary.BigEndian.PutUint64(buf[len(four):], nonce)
		h.Reset()
		h.Write(buf)
		h.Sum(sum[:0])
		if leadingZeros(sum) >= need {
			return nonce
		}
	}
}

func leadingZeros(sum [32]byte) (n int) {
	for i := 0; i < 4; i++ {
		z := bits.LeadingZeros64(binary.BigEndian.Uint64(sum[8*i:]))
		n += z
		if z < 64 {
			break
		}
	}
	return n
}

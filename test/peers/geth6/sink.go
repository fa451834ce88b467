package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

type sinkResult struct {
	Event      string  `json:"event"` // result or stats
	Links      int     `json:"links"`
	Received   uint64  `json:"received"`   // distinct envelopes, summed over the links
	Duplicates uint64  `json:"duplicates"` // further copies on the same link
	Stale      uint64  `json:"stale"`      // distinct, stamped before this sink started: not among received
	Foreign    uint64  `json:"foreign"`    // envelopes that no raw source sent
	Packets    uint64  `json:"packets"`
	Bytes      uint64  `json:"bytes"` // RLP
	P50MS      float64 `json:"p50_ms"`
	P95MS      float64 `json:"p95_ms"`
	P99MS      float64 `json:"p99_ms"`
	MaxMS      float64 `json:"max_ms"`
	Seconds    float64 `json:"seconds"` // from the first envelope to the last
	PerS       float64 `json:"per_s"`   // over all links
	Error      string  `json:"error,omitempty"`
	usage
}

// sink counts on all links of this process.
type sink struct {
	confirm bool
	old     bool
	largest int
	expect  uint64
	mu      sync.Mutex
	all     sinkResult
	lat     []float64 // milliseconds
	first   time.Time
	last    time.Time
	wake    chan struct{} // something arrived
}

// runSink receives until it has what it expects, nothing comes any more, or it is told to stop, then prints one line.
func runSink(args []string) error {
	f := flag.NewFlagSet("sink", flag.ContinueOnError)
	var to multi
	f.Var(&to, "to", "enode to connect to (repeatable)")
	listen := f.String("listen", "", "address to listen on, for example 127.0.0.1:0")
	conns := f.Int("conns", 1, "number of identities, each with its own connections to all -to")
	expect := f.Uint64("expect", 0, "stop when so many distinct envelopes have come (summed over links), after -settle")
	settle := f.Duration("settle", 500*time.Millisecond, "then wait this long for duplicates")
	quiet := f.Duration("quiet", 0, "stop when nothing has come for this long after the first (0: never)")
	seconds := f.Float64("seconds", 0, "stop after this long (0: never)")
	confirm := f.Bool("confirm", false, "announce and send packets 12 and 11")
	old := f.Bool("old", false, "count what was stamped before this sink started as received too")
	largest := f.Int("max-packet", 1<<20, "disconnect at packets of more bytes, as real peers do")
	if err := f.Parse(args); err != nil {
		return err
	}
	s := &sink{confirm: *confirm, old: *old, largest: *largest, expect: *expect, wake: make(chan struct{}, 1)}
	for i := 0; i < *conns; i++ {
		address := *listen
		if i > 0 {
			address = ""
		}
		host, err := newHost("raw-sink", address, protocol(status{confirms: *confirm}, s.receive))
		if err != nil {
			return err
		}
		defer host.Stop()
		if i == 0 && *listen != "" {
			say(map[string]any{"event": "ready", "enode": host.Server.Self().URLv4()})
		}
		if err := keepAll(host, to); err != nil {
			return err
		}
	}
	s.wait(*settle, *quiet, time.Duration(*seconds*float64(time.Second)))
	say(s.result("result"))
	return nil
}

// wait returns when one of the reasons to stop has come.
func (s *sink) wait(settle, quiet, limit time.Duration) {
	var over, settled <-chan time.Time
	if limit > 0 {
		over = time.After(limit)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	in := lines()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-settled:
			return
		case <-stop:
			return
		case line, ok := <-in:
			if !ok || line == "stop" {
				return
			}
			if line == "stats" {
				say(s.result("stats"))
			}
		case <-tick.C:
			s.mu.Lock()
			if settled == nil && s.expect > 0 && s.all.Received >= s.expect {
				settled = time.After(settle)
			}
			idle := quiet > 0 && !s.last.IsZero() && time.Since(s.last) > quiet
			s.mu.Unlock()
			if idle {
				return
			}
		}
	}
}

func (s *sink) receive(l link) error {
	s.mu.Lock()
	s.all.Links++
	links := s.all.Links
	s.mu.Unlock()
	id := l.peer.ID()
	say(map[string]any{"event": "connected", "links": links, "peer": id.String()})
	seen := map[uint64]*bitset{}
	for {
		code, payload, err := l.read()
		now := time.Now()
		if len(payload) > s.largest {
			err = fmt.Errorf("oversized packet: %d bytes", len(payload))
		}
		if err == nil && code == codeMessages {
			err = s.packet(payload, now, seen)
		}
		if err != nil {
			s.lost(id.String(), err)
			return err
		}
		if s.confirm && code == codeMessages {
			// In the loop, as a receiver that is busy with confirmations reads no more.
			batch := crypto.Keccak256(payload)
			response, _ := rlp.EncodeToBytes([]any{uint64(1), []any{batch, []any{}}})
			ack, _ := rlp.EncodeToBytes(batch)
			if err := l.write(codeResponse, response); err != nil {
				return err
			}
			if err := l.write(codeAck, ack); err != nil {
				return err
			}
		}
	}
}

func (s *sink) lost(peer string, err error) {
	s.mu.Lock()
	s.all.Links--
	links := s.all.Links
	s.all.Error = err.Error()
	s.mu.Unlock()
	say(map[string]any{"event": "lost", "links": links, "peer": peer, "error": err.Error()})
}

func (s *sink) packet(payload []byte, now time.Time, seen map[uint64]*bitset) error {
	rest, _, err := rlp.SplitList(payload)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first.IsZero() {
		s.first = now
	}
	s.last = now
	s.all.Packets++
	s.all.Bytes += uint64(len(payload))
	for len(rest) > 0 {
		var content []byte
		if content, rest, err = rlp.SplitList(rest); err != nil {
			return err
		}
		data, err := dataOf(content)
		if err != nil {
			return err
		}
		s.envelope(data, now, seen)
	}
	return nil
}

func (s *sink) envelope(data []byte, now time.Time, seen map[uint64]*bitset) {
	if len(data) < dataHeader || binary.BigEndian.Uint64(data) != mark {
		s.all.Foreign++
		return
	}
	run := binary.BigEndian.Uint64(data[8:])
	if seen[run] == nil {
		seen[run] = new(bitset)
	}
	if !seen[run].add(binary.BigEndian.Uint64(data[16:])) {
		s.all.Duplicates++
		return
	}
	stamp := time.Unix(0, int64(binary.BigEndian.Uint64(data[24:])))
	if !s.old && stamp.Before(began) {
		s.all.Stale++
		return
	}
	s.all.Received++
	s.lat = append(s.lat, float64(now.Sub(stamp).Nanoseconds())/1e6)
}

func (s *sink) result(event string) sinkResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.all
	r.Event, r.usage = event, use()
	lat := slices.Sorted(slices.Values(s.lat))
	at := func(q float64) float64 {
		if len(lat) == 0 {
			return 0
		}
		return lat[min(len(lat)-1, int(q*float64(len(lat))))]
	}
	r.P50MS, r.P95MS, r.P99MS, r.MaxMS = at(0.5), at(0.95), at(0.99), at(1)
	if r.Seconds = s.last.Sub(s.first).Seconds(); r.Seconds > 0 {
		r.PerS = float64(r.Received) / r.Seconds
	}
	return r
}

// bitset remembers sequence numbers, which start at 0 and are dense.
type bitset struct{ words []uint64 }

// add says whether the number is new. Numbers beyond a billion count as seen: no run is that long.
func (b *bitset) add(n uint64) bool {
	if n >= 1e9 {
		return false
	}
	for uint64(len(b.words)) <= n/64 {
		b.words = append(b.words, 0)
	}
	was := b.words[n/64]>>(n%64)&1 == 1
	b.words[n/64] |= 1 << (n % 64)
	return !was
}

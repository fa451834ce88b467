package main

import (
	"bytes"
	"crypto/ecdsa"
	"flag"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/whisper/whisperv6"
	"github.com/restante-im/restante/test/peers/driver"
)

// figure is one measured rate. On a busy machine the rate per second of CPU is the one to read.
type figure struct {
	Name    string  `json:"name"`
	PerS    float64 `json:"per_s"`
	PerCPUS float64 `json:"per_cpu_s"`
}

// round is one measurement: what ran, in which time.
type round struct {
	ops       float64
	wall, cpu time.Duration
}

// measure runs fn rounds times and reports the medians.
func measure(name string, rounds int, fn func() (round, error)) error {
	var wall, cpu []float64
	for i := 0; i < rounds; i++ {
		r, err := fn()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		wall = append(wall, r.ops/r.wall.Seconds())
		cpu = append(cpu, r.ops/r.cpu.Seconds())
	}
	slices.Sort(wall)
	slices.Sort(cpu)
	say(figure{Name: name, PerS: wall[rounds/2], PerCPUS: cpu[rounds/2]})
	return nil
}

// timed runs fn, which returns how many operations it did.
func timed(fn func() (float64, error)) (round, error) {
	start, used := time.Now(), driver.CPU()
	ops, err := fn()
	return round{ops, time.Since(start), driver.CPU() - used}, err
}

// repeat runs fn for about that long.
func repeat(d time.Duration, fn func() error) (round, error) {
	return timed(func() (ops float64, err error) {
		for end := time.Now().Add(d); time.Now().Before(end); {
			for i := 0; i < 16; i++ {
				if err := fn(); err != nil {
					return ops, err
				}
			}
			ops += 16
		}
		return ops, nil
	})
}

type measureFlags struct {
	rounds  int
	seconds time.Duration
}

func parseMeasure(name string, args []string) (measureFlags, error) {
	var m measureFlags
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.IntVar(&m.rounds, "rounds", 5, "rounds for each figure; the median counts")
	seconds := f.Float64("seconds", 0.5, "length of a round")
	err := f.Parse(args)
	m.seconds = time.Duration(*seconds * float64(time.Second))
	m.rounds = max(m.rounds, 1)
	return m, err
}

// runCrypto measures sealing and opening (without mining) on one core.
func runCrypto(args []string) error {
	m, err := parseMeasure("crypto", args)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	for _, size := range []int{512, 2048} {
		for _, kind := range []string{"sym", "asym"} {
			for _, signed := range []bool{false, true} {
				if err := measureKind(m, size, kind, signed); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func measureKind(m measureFlags, size int, kind string, signed bool) error {
	key, err := crypto.GenerateKey()
	if err != nil {
		return err
	}
	p := params(size)
	name := "unsigned"
	if signed {
		p.Src, name = key, "signed"
	}
	var reader *ecdsa.PrivateKey
	if kind == "asym" {
		if reader, err = crypto.GenerateKey(); err != nil {
			return err
		}
		p.KeySym, p.Dst = nil, &reader.PublicKey
	}
	name = fmt.Sprintf("%s.%s.%d", kind, name, size)
	if err := measure("seal."+name, m.rounds, func() (round, error) {
		return repeat(m.seconds, func() error { _, err := sealed(p); return err })
	}); err != nil {
		return err
	}
	env, err := sealed(p)
	if err != nil {
		return err
	}
	if err := measure("open."+name, m.rounds, func() (round, error) {
		return repeat(m.seconds, func() error { return open(env, p.KeySym, reader) })
	}); err != nil {
		return err
	}
	damaged := *env
	damaged.Data = bytes.Clone(env.Data)
	damaged.Data[len(damaged.Data)-1] ^= 1
	if err := measure("fail."+name, m.rounds, func() (round, error) {
		return repeat(m.seconds, func() error {
			if open(&damaged, p.KeySym, reader) == nil {
				return fmt.Errorf("a damaged message opens")
			}
			return nil
		})
	}); err != nil {
		return err
	}
	// The way through a filter also hashes the key and fills in the message; hash and PoW of the envelope are cached.
	filter := &whisperv6.Filter{KeySym: p.KeySym, KeyAsym: reader}
	return measure("filter."+name, m.rounds, func() (round, error) {
		return repeat(m.seconds, func() error {
			if env.Open(filter) == nil {
				return fmt.Errorf("a message of our own does not open")
			}
			return nil
		})
	})
}

func params(size int) *whisperv6.MessageParams {
	return &whisperv6.MessageParams{
		TTL: 10, KeySym: bytes.Repeat([]byte{7}, 32), Topic: whisperv6.TopicType{1, 2, 3, 4},
		WorkTime: 600, Payload: bytes.Repeat([]byte{42}, size),
	}
}

func sealed(p *whisperv6.MessageParams) (*whisperv6.Envelope, error) {
	m, err := whisperv6.NewSentMessage(p)
	if err != nil {
		return nil, err
	}
	return m.Wrap(p)
}

func open(env *whisperv6.Envelope, sym []byte, reader *ecdsa.PrivateKey) error {
	var m *whisperv6.ReceivedMessage
	var err error
	if reader != nil {
		m, err = env.OpenAsymmetric(reader)
	} else {
		m, err = env.OpenSymmetric(sym)
	}
	if err == nil && !m.ValidateAndParse() {
		err = fmt.Errorf("a message of our own does not parse")
	}
	return err
}

// mineBits is the work of one mining run: 2^mineBits nonces on average.
const mineBits = 15

// runMine measures nonces per second: envelopes are sealed to a target, and the nonce tells how many were tried.
func runMine(args []string) error {
	m, err := parseMeasure("mine", args)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	for _, size := range []int{512, 2048} {
		err := measure(fmt.Sprintf("nonces.%d", size), m.rounds, func() (round, error) {
			return timed(func() (ops float64, err error) {
				for end := time.Now().Add(m.seconds); time.Now().Before(end); {
					p := params(size)
					p.PoW = float64(uint64(1)<<mineBits) / float64(20+dataLen(size)) / float64(p.TTL)
					env, err := sealed(p)
					if err != nil {
						return ops, err
					}
					ops += float64(env.Nonce + 1)
				}
				return ops, nil
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// acceptBatch is how many envelopes one round of runAccept takes: few enough to end before the 300 ms after which
// whisper's own broadcast loop would walk the pool and be measured too.
const acceptBatch = 4096

// runAccept measures the path from a packet's payload to the pool: decode, check, pool, hand to the filters.
func runAccept(args []string) error {
	f := flag.NewFlagSet("accept", flag.ContinueOnError)
	rounds := f.Int("rounds", 7, "rounds for each figure; the median counts")
	bundle := f.Int("bundle", 64, "envelopes in a packet")
	if err := f.Parse(args); err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	for _, size := range []int{512, 2048} {
		err := measure(fmt.Sprintf("accept.%d", size), max(*rounds, 1), func() (round, error) {
			packets, err := packets(size, *bundle)
			if err != nil {
				return round{}, err
			}
			return accept(packets)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// packets builds distinct envelopes of one round.
func packets(size, bundle int) ([][]byte, error) {
	s := &source{size: size, ttl: 50, run: 1}
	if err := s.setUp(1000, ""); err != nil {
		return nil, err
	}
	var out [][]byte
	for seq := uint64(0); seq < acceptBatch; {
		var list []byte
		for i := 0; i < bundle && seq < acceptBatch; i++ {
			list = s.appendNext(list, seq)
			seq++
		}
		out = append(out, append(appendHeader(nil, 0xc0, len(list)), list...))
	}
	return out, nil
}

// accept lets a fresh node read the packets as from a peer.
func accept(packets [][]byte) (round, error) {
	w, err := newWhisper(0, 0)
	if err != nil {
		return round{}, err
	}
	if err := w.Start(); err != nil {
		return round{}, err
	}
	defer w.Stop()
	runtime.GC()
	replay := &replay{packets: append([][]byte{status{}.encode()}, packets...)}
	r, err := timed(func() (float64, error) {
		if err := w.HandlePeer(p2p.NewPeer(enode.ID{1}, "replay", nil), replay); err != io.EOF {
			return 0, err
		}
		return float64(len(w.Envelopes())), nil
	})
	if err == nil && r.ops != acceptBatch {
		err = fmt.Errorf("%v of %d envelopes were pooled", r.ops, acceptBatch)
	}
	return r, err
}

// replay is a peer that says prepared packets, a status packet first, and ends.
type replay struct {
	packets [][]byte
	next    int
}

func (r *replay) ReadMsg() (p2p.Msg, error) {
	if r.next == len(r.packets) {
		return p2p.Msg{}, io.EOF
	}
	payload := r.packets[r.next]
	code := uint64(codeMessages)
	if r.next == 0 {
		code = codeStatus
	}
	r.next++
	return p2p.Msg{Code: code, Size: uint32(len(payload)), Payload: bytes.NewReader(payload)}, nil
}

func (r *replay) WriteMsg(msg p2p.Msg) error { return msg.Discard() }

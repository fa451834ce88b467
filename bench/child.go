package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"slices"
	"syscall"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// Lengths of one round.
const (
	mineRound   = 500 * time.Millisecond
	cryptoRound = 250 * time.Millisecond
)

// sizes are the payloads measured, in bytes.
var sizes = [...]int{512, 2048}

// runChild measures our rates in a process of its own, on one core, and prints them as the peer's helper prints its own.
func runChild(ctx context.Context, name string, rounds int, with archiveArgs) error {
	switch name {
	case "relay":
		return relayChild()
	case "archive":
		return archiveChild(ctx, with)
	case "history":
		return historyChild(ctx, with)
	case "ask":
		return askChild(ctx, with)
	case "pipe":
		return pipeChild(ctx, with)
	case "scale":
		return scaleChild(ctx, with)
	}
	runtime.GOMAXPROCS(1)
	switch name {
	case "mine":
		return mineRates(rounds)
	case "mine-scalar":
		return scalarChild()
	case "crypto":
		return cryptoRates(rounds)
	case "accept":
		return acceptRates(rounds)
	}
	return fmt.Errorf("no child %q", name)
}

// profiled runs fn with a CPU profile, if there is a file for it.
func profiled(file string, fn func() error) error {
	if file == "" {
		return fn()
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return fn()
}

// scalarChild is mine without AVX2 and AVX-512: both the standard library and x/sys/cpu obey the variable, which must be there from
// the start of the process.
func scalarChild() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "-child", "mine")
	cmd.Env = append(os.Environ(), "GODEBUG=cpu.avx2=off,cpu.avx512f=off")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // cannot happen with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rate prints the medians of rounds of fn, which returns how many operations it did. prepare, if not nil, is not measured.
func rate(name string, rounds int, prepare func() error, fn func() (float64, error)) error {
	var wall, cpu []float64
	for range rounds {
		if prepare != nil {
			if err := prepare(); err != nil {
				return err
			}
		}
		start, used := time.Now(), ownCPU()
		ops, err := fn()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		wall = append(wall, ops/time.Since(start).Seconds())
		cpu = append(cpu, ops/(ownCPU()-used).Seconds())
	}
	return json.NewEncoder(os.Stdout).Encode(peerproc.Rate{Name: name, PerS: median(wall), PerCPUS: median(cpu)})
}

// repeat runs fn for about that long.
func repeat(d time.Duration, fn func() error) func() (float64, error) {
	return func() (ops float64, err error) {
		for end := time.Now().Add(d); time.Now().Before(end); ops += 16 {
			for range 16 {
				if err := fn(); err != nil {
					return ops, err
				}
			}
		}
		return ops, nil
	}
}

// mineBits is the work of one envelope: 2^mineBits nonces on average, as the peer's helper does.
const mineBits = 15

func mineRates(rounds int) error {
	for _, size := range sizes {
		data := make([]byte, dataLen(size))
		const ttl = 10
		goal := float64(uint64(1)<<mineBits) / float64(envelope.Overhead+len(data)) / ttl
		err := rate(fmt.Sprintf("nonces.%d", size), rounds, nil, func() (ops float64, err error) {
			for end := time.Now().Add(mineRound); time.Now().Before(end); {
				rand.Read(data)
				d := envelope.Draft{Expiry: 1_800_000_000, TTL: ttl, Topic: envelope.Topic{1, 2, 3, 4}, Data: data}
				e, err := envelope.Seal(context.Background(), d, goal, 1)
				if err != nil {
					return ops, err
				}
				ops += float64(e.Nonce() + 1)
			}
			return ops, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dataLen is the length of Data of a symmetric unsigned message with so large a payload.
func dataLen(payload int) int {
	plain := 3 + payload // flags, and a size field of two bytes
	return plain + message.PaddingUnit - plain%message.PaddingUnit + message.SymmetricOverhead
}

func cryptoRates(rounds int) error {
	sym, err := message.GenerateSymKey(nil)
	if err != nil {
		return err
	}
	key, err := message.GeneratePrivateKey(nil)
	if err != nil {
		return err
	}
	for _, size := range sizes {
		for _, kind := range []string{"sym", "asym"} {
			for _, signed := range []string{"unsigned", "signed"} {
				p := message.Plain{Payload: make([]byte, size)}
				if signed == "signed" {
					p.Sign = key
				}
				seal := func() ([]byte, error) { return message.SealSymmetric(sym, p, nil) }
				open := func(data []byte) (*message.Opened, error) { return message.OpenSymmetric(sym, data) }
				if kind == "asym" {
					seal = func() ([]byte, error) { return message.SealAsymmetric(key.Public(), p, nil) }
					open = func(data []byte) (*message.Opened, error) { return message.OpenAsymmetric(key, data) }
				}
				if err := cryptoKind(fmt.Sprintf("%s.%s.%d", kind, signed, size), rounds, seal, open); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func cryptoKind(name string, rounds int, seal func() ([]byte, error), open func([]byte) (*message.Opened, error)) error {
	data, err := seal()
	if err != nil {
		return err
	}
	damaged := slices.Clone(data)
	damaged[len(damaged)-1] ^= 1
	if err := rate("seal."+name, rounds, nil, repeat(cryptoRound, func() error { _, err := seal(); return err })); err != nil {
		return err
	}
	if err := rate("open."+name, rounds, nil, repeat(cryptoRound, func() error { _, err := open(data); return err })); err != nil {
		return err
	}
	return rate("fail."+name, rounds, nil, repeat(cryptoRound, func() error {
		if _, err := open(damaged); err == nil {
			return fmt.Errorf("damaged data opened")
		}
		return nil
	}))
}

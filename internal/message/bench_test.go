package message_test

import (
	"fmt"
	"testing"

	"github.com/restante-im/restante/internal/message"
)

// kinds are the eight ways to seal that "make bench B=crypto" compares.
var kinds = []struct {
	name         string
	asym, signed bool
}{
	{"SymUnsigned", false, false}, {"SymSigned", false, true}, {"AsymUnsigned", true, false}, {"AsymSigned", true, true},
}

var benchSizes = []int{512, 2048}

func eachKind(b *testing.B, run func(b *testing.B, seal func() []byte, open func([]byte) error)) {
	sym, err := message.GenerateSymKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	to, from := newKey(b), newKey(b)
	for _, k := range kinds {
		for _, size := range benchSizes {
			p := message.Plain{Payload: make([]byte, size)}
			if k.signed {
				p.Sign = from
			}
			seal := func() []byte {
				data, err := sealFor(k.asym, sym, to, p)
				if err != nil {
					b.Fatal(err)
				}
				return data
			}
			open := func(data []byte) (err error) {
				if k.asym {
					_, err = message.OpenAsymmetric(to, data)
				} else {
					_, err = message.OpenSymmetric(sym, data)
				}
				return err
			}
			b.Run(fmt.Sprintf("%s/%d", k.name, size), func(b *testing.B) { run(b, seal, open) })
		}
	}
}

func sealFor(asym bool, sym message.SymKey, to *message.PrivateKey, p message.Plain) ([]byte, error) {
	if asym {
		return message.SealAsymmetric(to.Public(), p, nil)
	}
	return message.SealSymmetric(sym, p, nil)
}

func perSecond(b *testing.B) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}

func BenchmarkSeal(b *testing.B) {
	eachKind(b, func(b *testing.B, seal func() []byte, _ func([]byte) error) {
		b.ReportAllocs()
		for b.Loop() {
			seal()
		}
		perSecond(b)
	})
}

func BenchmarkOpen(b *testing.B) {
	eachKind(b, func(b *testing.B, seal func() []byte, open func([]byte) error) {
		data := seal()
		b.ReportAllocs()
		for b.Loop() {
			if err := open(data); err != nil {
				b.Fatal(err)
			}
		}
		perSecond(b)
	})
}

// BenchmarkOpenFailing is what a filter pays for a message that is not its own.
func BenchmarkOpenFailing(b *testing.B) {
	eachKind(b, func(b *testing.B, seal func() []byte, open func([]byte) error) {
		data := seal()
		data[len(data)-1] ^= 1
		b.ReportAllocs()
		for b.Loop() {
			if err := open(data); err == nil {
				b.Fatal("damaged data opened")
			}
		}
		perSecond(b)
	})
}

func BenchmarkPasswordKey(b *testing.B) {
	for b.Loop() {
		message.PasswordKey("status-offline-inbox")
	}
}

//go:build unix

package segment_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/archivetest"
	"github.com/restante-im/restante/internal/archive/segment"
	"github.com/restante-im/restante/internal/envelope"
)

// benchData is such that an envelope has 814 bytes, the mean of real traffic.
const benchData = 791

// supply makes envelopes of 1,000 topics, sent over a day, in the order of being sent.
type supply struct {
	serial atomic.Uint64
	total  int
}

func (s *supply) batch(n int) []*envelope.Envelope {
	list := make([]*envelope.Envelope, n)
	for i := range list {
		serial := s.serial.Add(1)
		sent := uint32(1_700_000_000 + serial*86400/uint64(s.total))
		data := make([]byte, benchData)
		rng := rand.NewPCG(serial, 1)
		for j := 0; j+8 <= len(data); j += 8 {
			binary.LittleEndian.PutUint64(data[j:], rng.Uint64())
		}
		list[i] = envelope.New(sent+60, 60, archivetest.Topic(int(rng.Uint64()%1000)), data, serial|1<<63)
	}
	return list
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func openBench(b *testing.B, dir string) *segment.Archive {
	a, err := segment.Open(dir, segment.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// BenchmarkPut stores envelopes durably on a real disk, index and all.
func BenchmarkPut(b *testing.B) {
	for _, callers := range []int{8, 64} {
		for _, size := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("callers=%d/envelopes=%d", callers, size), func(b *testing.B) { benchmarkPut(b, callers, size) })
		}
	}
}

func benchmarkPut(b *testing.B, callers, size int) {
	s := &supply{total: max(b.N, 1)}
	lists := make([][]*envelope.Envelope, 0, b.N/size+1)
	for left := b.N; left > 0; left -= size {
		lists = append(lists, s.batch(min(size, left)))
	}
	a := openBench(b, b.TempDir())
	defer a.Close()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	cpu := cpuTime()
	for range callers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(lists) {
					return
				}
				if _, err := a.Put(context.Background(), lists[i]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	elapsed := b.Elapsed()
	st := a.Stats()
	a.Close() // the last index belongs to the work
	cpu = cpuTime() - cpu
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "envelopes/s")
	b.ReportMetric(float64(cpu.Nanoseconds())/1000/float64(b.N), "CPU-µs/envelope")
	b.ReportMetric(float64(st.Puts)/float64(st.Syncs), "envelopes/sync")
	b.ReportMetric(float64(st.Disk)/float64(st.Bytes), "disk-ratio")
}

// BenchmarkWalkTopic reads a page of one topic from an archive of 200,000 envelopes.
func BenchmarkWalkTopic(b *testing.B) {
	a := filled(b, 200_000)
	b.ResetTimer()
	for i := range b.N {
		n := walkAll(b, a, archive.Query{Topics: []envelope.Topic{archivetest.Topic(i % 1000)}}, 1000)
		if n < 100 {
			b.Fatal(n)
		}
	}
}

// BenchmarkWalkAll reads everything, an envelope an operation.
func BenchmarkWalkAll(b *testing.B) {
	a := filled(b, 200_000)
	for _, o := range []archive.Order{archive.BySent, archive.ByArrival} {
		for _, page := range []int{80, 1000} {
			b.Run(fmt.Sprintf("order=%d/page=%d", o, page), func(b *testing.B) {
				cpu := cpuTime()
				for n := 0; n < b.N; {
					n += walkAll(b, a, archive.Query{Order: o}, page)
				}
				b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/1000/float64(b.N), "CPU-µs/envelope")
			})
		}
	}
}

func filled(b *testing.B, n int) *segment.Archive {
	b.Helper()
	s := &supply{total: n}
	dir := b.TempDir()
	a := openBench(b, dir)
	for range n / 1000 {
		if _, err := a.Put(context.Background(), s.batch(1000)); err != nil {
			b.Fatal(err)
		}
	}
	a.Close()
	a = openBench(b, dir)
	b.Cleanup(func() { a.Close() })
	return a
}

func walkAll(b *testing.B, a archive.Archive, q archive.Query, page int) (n int) {
	w, err := a.Walk(context.Background(), q)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	for {
		p, err := w.Next(context.Background(), archive.Bound{Count: page, Bytes: 64 << 20})
		if err != nil {
			b.Fatal(err)
		}
		if n += len(p.Records); p.Done {
			return n
		}
	}
}

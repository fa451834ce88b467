package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/restante-im/restante/internal/corpus"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// ingest measures what it costs to keep envelopes: ours durably, the peer's in the system's page cache.
func (b *bench) ingest(ctx context.Context) error {
	for _, s := range []struct {
		prefix string
		run    func(context.Context) error
	}{
		{"ingest.inprocess_", func(ctx context.Context) error { return b.ingestInProcess(ctx, "ingest.inprocess", 512, 1_000_000) }},
		{"ingest.inprocess2048_", func(ctx context.Context) error {
			return b.ingestInProcess(ctx, "ingest.inprocess2048", 2048, 250_000)
		}},
		{"ingest.devp2p_", b.ingestDevp2p},
	} {
		if !b.wants(s.prefix) {
			continue
		}
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.prefix, err)
		}
	}
	return nil
}

// peerWriters is how many goroutines call the peer's archive: more do not make it faster.
const peerWriters = 2

// ingestInProcess puts a corpus into the bare archives. Its PoW is left out: nobody looks at it there.
func (b *bench) ingestInProcess(ctx context.Context, name string, payload, count int) error {
	c := corpus.Baseline(count, time.Now(), 24*time.Hour)
	c.Payload, c.PoW = payload, 0
	k, err := corpus.New(c)
	if err != nil {
		return err
	}
	file, err := b.writeCorpus(name, k)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	var perS, cpu [2][]float64
	for range b.runs {
		for side, fill := range []func(ctx context.Context, dir, file string) (peerproc.ArchiveResult, error){fillOurs, b.fillPeer} {
			dir, err := os.MkdirTemp(b.dir, "archive-")
			if err != nil {
				return err
			}
			r, err := fill(ctx, dir, file)
			if err != nil {
				return err
			}
			debugf("%s: %+v", sideNames[side], r)
			perS[side], cpu[side] = append(perS[side], r.PerS), append(cpu[side], r.CPUUS)
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	b.out.add(name+"_per_s", "envelopes/s", target{ratioAtLeast: 1}, perS[0], perS[1])
	atMost := 18.0
	if payload != 512 {
		atMost = 0
	}
	b.out.add(name+"_cpu_us", "us/envelope", target{atMost: atMost}, cpu[0], cpu[1])
	return nil
}

var sideNames = [...]string{"ours", "peer"}

// fillOurs fills an archive of ours in a process of its own.
func fillOurs(ctx context.Context, dir, file string) (r peerproc.ArchiveResult, err error) {
	return r, child(ctx, "archive", archiveArgs{dir: dir, file: file}, &r)
}

// fillPeer fills one of the peer's.
func (b *bench) fillPeer(ctx context.Context, dir, file string) (r peerproc.ArchiveResult, err error) {
	raw, err := peerproc.StartRaw(b.peer, "archive", "-dir", dir, "-corpus", file, "-writers", strconv.Itoa(peerWriters))
	if err != nil {
		return r, err
	}
	defer raw.Close()
	return r, raw.Result(ctx, &r)
}

// mailPassword opens sealed requests to the mail servers measured.
const mailPassword = "status-offline-inbox"

// mailSides are the mail servers compared, ours first, each with the archive in a directory of its own.
func (b *bench) mailSides() [2]start {
	return [...]start{
		func(ctx context.Context, dir string) (relayProcess, error) {
			// One client asks here for what many would ask for.
			return b.serve(ctx, "--mailserver", "--set", "archive.dir="+dir, "--set", "mailserver.requests_per_minute=0")
		},
		func(ctx context.Context, dir string) (relayProcess, error) {
			return b.runPeer(ctx, "-mail-dir", dir, "-mail-password", mailPassword, "-announce", strconv.Itoa(ingestCount))
		},
	}
}

// Load of ingest.devp2p: as many as pools hold, in packets of 52 KB, as fast as the server takes them.
const (
	ingestCount  = 150_000
	ingestTTL    = 20 // seconds
	ingestTopics = 1000
	ingestWindow = 56 // packets not confirmed yet; we promise confirmations for 64 at a time
	ingestLimit  = time.Minute
)

// ingestDevp2p sends envelopes that are stamped live from one client. Ours has them when it has confirmed them, which is
// when they are durable; the peer, which confirms nothing, when its archive has returned from the last.
func (b *bench) ingestDevp2p(ctx context.Context) error {
	var perS, cpu [2][]float64
	for range b.runs {
		for side, begin := range b.mailSides() {
			r, us, err := b.ingestOnce(ctx, begin, side == 0)
			if err != nil {
				return fmt.Errorf("%s: %w", sideNames[side], err)
			}
			perS[side], cpu[side] = append(perS[side], r), append(cpu[side], us)
		}
	}
	b.out.add("ingest.devp2p_per_s", "envelopes/s", target{atLeast: 40_000}, perS[0], perS[1])
	b.out.add("ingest.devp2p_cpu_us", "us/envelope", target{atMost: 27}, cpu[0], cpu[1])
	return nil
}

func (b *bench) ingestOnce(ctx context.Context, begin start, confirms bool) (perS, cpuUS float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*ingestLimit)
	defer cancel()
	dir, err := os.MkdirTemp(b.dir, "archive-")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	server, err := begin(ctx, dir)
	if err != nil {
		return 0, 0, err
	}
	defer server.close()
	args := []string{"source", "-to", server.enode(), "-rate", "0", "-count", strconv.Itoa(ingestCount), "-ttl", strconv.Itoa(ingestTTL),
		"-topics", strconv.Itoa(ingestTopics), "-hold"}
	if confirms {
		args = append(args, "-confirms", "-await", ingestLimit.String(), "-window", strconv.Itoa(ingestWindow))
	}
	source, err := peerproc.StartRaw(b.peer, args...)
	if err != nil {
		return 0, 0, err
	}
	defer source.Close()
	if err := source.Wait(ctx, "connected", 0, nil); err != nil {
		return 0, 0, err
	}
	if err := waitState(ctx, server, 0, 1); err != nil {
		return 0, 0, err
	}
	before, err := cpuTime(server.pid())
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := source.Send("go"); err != nil {
		return 0, 0, err
	}
	var seconds float64
	if confirms {
		seconds, err = confirmed(ctx, source)
	} else {
		err = server.(*peerProcess).raw.Wait(ctx, "archived", 0, nil)
		seconds = time.Since(start).Seconds()
	}
	if err != nil {
		return 0, 0, err
	}
	after, err := cpuTime(server.pid())
	return ingestCount / seconds, float64((after - before).Microseconds()) / ingestCount, err
}

// confirmed waits for a source and returns how long it took until all that it sent was confirmed, in seconds.
func confirmed(ctx context.Context, source *peerproc.Raw) (float64, error) {
	var r peerproc.SourceResult
	if err := source.Result(ctx, &r); err != nil {
		return 0, err
	}
	if r.AckedS == 0 || r.Refused > 0 || r.Error != "" {
		return 0, fmt.Errorf("%d of %d packets were confirmed, %d with refusals %s", r.Acks, r.Packets, r.Refused, r.Error)
	}
	return r.AckedS, nil
}

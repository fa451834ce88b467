package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/restante-im/restante/internal/corpus"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// scaleCount is how many envelopes the archives hold, over a day and 1,000 topics.
const scaleCount = 10_000_000

// What a scale child does.
const (
	stepFill   = "fill"   // a new archive
	stepOpen   = "open"   // measure opening
	stepServe  = "serve"  // measure pages while envelopes come in
	stepIngest = "ingest" // take envelopes until killed
)

// scaleCorpus has no PoW: nobody looks at it there.
func scaleCorpus(count int, end time.Time) (*corpus.Corpus, error) {
	c := corpus.Baseline(count, end, 24*time.Hour)
	c.PoW = 0
	return corpus.New(c)
}

// scale measures a large archive in process, and the peer's beside it, once, since that takes minutes.
func (b *bench) scale(ctx context.Context) error {
	dir := filepath.Join(b.dir, "archive")
	end := time.Now().Truncate(time.Second)
	with := archiveArgs{dir: dir, count: scaleCount, end: end.Unix()}
	run := func(step string, v any) error {
		a := with
		a.step = step
		return child(ctx, "scale", a, v)
	}
	var ours peerproc.ArchiveResult
	if err := run(stepFill, &ours); err != nil {
		return err
	}
	debugf("fill: %+v", ours)
	var clean, killed, rss []float64
	var cold, pages []pageReport
	for range b.runs {
		r, err := b.scaleRound(ctx, with, run)
		if err != nil {
			return err
		}
		clean, killed = append(clean, r.clean), append(killed, r.killed)
		cold, pages, rss = append(cold, r.cold), append(pages, r.warm), append(rss, max(r.cold.RSSMB, r.warm.RSSMB))
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	peer, err := b.scalePeer(ctx, end)
	if err != nil {
		return err
	}
	b.out.add("scale.page_p99_ms", "ms", target{atMost: 20}, each(pages, func(r pageReport) float64 { return r.P99MS }), nil)
	b.out.add("scale.page_p50_ms", "ms", target{}, each(pages, func(r pageReport) float64 { return r.P50MS }), nil)
	b.out.add("scale.page_cold_p99_ms", "ms", target{}, each(cold, func(r pageReport) float64 { return r.P99MS }), nil)
	b.out.add("scale.page_cold_p50_ms", "ms", target{}, each(cold, func(r pageReport) float64 { return r.P50MS }), nil)
	b.out.add("scale.ingest_per_s", "envelopes/s", target{atLeast: 0.98 * liveRate}, each(pages, func(r pageReport) float64 { return r.PerS }), nil)
	b.out.add("scale.start_ms", "ms", target{atMost: 300}, clean, peer.start)
	b.out.add("scale.start_kill9_ms", "ms", target{atMost: 3000}, killed, nil)
	b.out.add("scale.rss_mb", "MB", target{atMost: 300}, rss, peer.rss)
	b.out.add("scale.disk_ratio", "of the RLP", target{atMost: 1.10}, ratio(ours.Disk, ours.Bytes), peer.disk)
	b.out.add("scale.write_amp", "of the RLP", target{}, ratio(ours.Written, ours.Bytes), peer.written)
	b.out.add("scale.fill_per_s", "envelopes/s", target{}, []float64{ours.PerS}, peer.fill)
	return nil
}

// scaleRun is one round over the large archive.
type scaleRun struct {
	clean, killed float64 // milliseconds of a start after a clean stop and after a kill
	cold, warm    pageReport
}

func (b *bench) scaleRound(ctx context.Context, with archiveArgs, run func(step string, v any) error) (r scaleRun, err error) {
	if r.clean, err = b.opens(ctx, with); err != nil {
		return r, err
	}
	if err := run(stepServe, &r.cold); err != nil {
		return r, err
	}
	if err := fillCache(with.dir); err != nil {
		return r, err
	}
	if err := run(stepServe, &r.warm); err != nil {
		return r, err
	}
	debugf("cold: %+v\nwarm: %+v", r.cold, r.warm)
	if err := b.killIngest(ctx, with); err != nil {
		return r, err
	}
	r.killed, err = b.opens(ctx, with)
	return r, err
}

func each[T any](list []T, fn func(T) float64) (values []float64) {
	for _, v := range list {
		values = append(values, fn(v))
	}
	return values
}

func ratio(a, b int64) []float64 { return []float64{float64(a) / float64(b)} }

// opened is how long opening took.
type opened struct {
	MS        float64 `json:"ms"`
	Envelopes uint64  `json:"envelopes"`
}

// opens measures opening an archive of which the system has cached nothing.
func (b *bench) opens(ctx context.Context, with archiveArgs) (float64, error) {
	if err := dropCache(with.dir); err != nil {
		return 0, err
	}
	with.step = stepOpen
	var r opened
	if err := child(ctx, "scale", with, &r); err != nil {
		return 0, err
	}
	if r.Envelopes < uint64(with.count) {
		return 0, fmt.Errorf("%d of %d envelopes are in the archive", r.Envelopes, with.count)
	}
	return r.MS, nil
}

// killAfter is how long envelopes come in before the process is killed.
const killAfter = 3 * time.Second

func (b *bench) killIngest(ctx context.Context, with archiveArgs) error {
	with.step = stepIngest
	raw, err := startChild("scale", with)
	if err != nil {
		return err
	}
	defer raw.Close()
	if err := raw.Wait(ctx, "connected", 0, nil); err != nil {
		return err
	}
	select {
	case <-time.After(killAfter):
	case <-ctx.Done():
		return ctx.Err()
	}
	return syscall.Kill(raw.Pid(), syscall.SIGKILL)
}

// peerScale is what the peer's archive of the same size costs.
type peerScale struct{ start, rss, disk, written, fill []float64 }

func (b *bench) scalePeer(ctx context.Context, end time.Time) (p peerScale, err error) {
	dir, err := os.MkdirTemp(b.dir, "leveldb-")
	if err != nil {
		return p, err
	}
	defer os.RemoveAll(dir)
	k, err := scaleCorpus(scaleCount, end)
	if err != nil {
		return p, err
	}
	pipe := filepath.Join(b.dir, "corpus")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		return p, err
	}
	wrote := make(chan error, 1)
	go func() {
		f, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err == nil {
			_, err = k.WriteTo(f)
			err = errors.Join(err, f.Close())
		}
		wrote <- err
	}()
	r, err := b.fillPeer(ctx, dir, pipe)
	if err != nil {
		return p, err
	}
	if err := <-wrote; err != nil {
		return p, err
	}
	debugf("peer's fill: %+v", r)
	p.disk, p.written, p.fill = ratio(r.Disk, r.Bytes), ratio(r.Written, r.Bytes), []float64{r.PerS}
	return p, b.servePeer(ctx, dir, end, k.Topics()[0], &p)
}

// servePeer asks the peer for a topic of the last hour, so that it has read some of its archive.
func (b *bench) servePeer(ctx context.Context, dir string, end time.Time, topic envelope.Topic, p *peerScale) error {
	if err := dropCache(dir); err != nil {
		return err
	}
	server, err := peerproc.StartRaw(b.peer, "relay", "-mail-dir", dir, "-mail-password", mailPassword)
	if err != nil {
		return err
	}
	defer server.Close()
	var ready peerproc.Ready
	if err := server.Wait(ctx, "ready", 0, &ready); err != nil {
		return err
	}
	client, err := peerproc.StartRaw(b.peer, "ask", "-to", ready.Enode, "-password", mailPassword)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Ask(ctx, peerproc.Question{QuietMS: historyQuiet.Milliseconds(), Asks: []peerproc.Ask{{
		Form: peerproc.Binary, From: uint32(end.Add(-time.Hour).Unix()), To: uint32(end.Unix()), Topics: []string{hex.EncodeToString(topic[:])},
	}}})
	if err != nil {
		return err
	}
	used, err := server.CPU(ctx)
	p.start, p.rss = []float64{ready.MailMS}, []float64{float64(used.RSSBytes) / 1e6}
	return err
}

// rssMB is the resident size of this process.
func rssMB() float64 {
	b, err := os.ReadFile("/proc/self/statm")
	var total, resident int64
	if err != nil {
		return 0
	}
	if _, err := fmt.Sscan(string(b), &total, &resident); err != nil {
		return 0
	}
	return float64(resident) * float64(os.Getpagesize()) / 1e6
}

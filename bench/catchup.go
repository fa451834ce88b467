package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/restante-im/restante/internal/corpus"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/rpc"
)

// What a client missed, among what its mail servers have besides.
const (
	missedCount  = 1000
	missedTopics = 20
	otherCount   = 50_000
	missedSpan   = 20 * time.Hour
	catchupLimit = 30 * time.Second

	secondBytes = 40 // of the list, for each envelope, that the second mail server may send
)

// An idle client: keep-alives are frames of 64 bytes, from both ends every 15 s and answered.
const (
	idleSettle = 5 * time.Second
	idleTime   = time.Minute
	idleFrames = 20 // of one connection in that time
	frameBytes = 64
)

// cutTime is how long the network is away.
const cutTime = 3 * time.Second

// catchupBench is a client that was off line, and two mail servers that were not.
type catchupBench struct {
	*bench
	servers [2]*oursProcess
	lines   [2]*line // between the client and them
	client  string   // the client's data directory as it was left
	bodies  int64    // bytes of what it missed
}

// catchup measures how a client comes back.
func (b *bench) catchup(ctx context.Context) error {
	c := &catchupBench{bench: b}
	defer c.close()
	if err := c.setUp(ctx); err != nil {
		return err
	}
	var took, ratio, second []float64
	for run := range b.runs {
		p, r, err := c.comeBack(ctx)
		if err != nil {
			return fmt.Errorf("run %d: %w", run, err)
		}
		debugf("catch-up: %+v", r)
		took = append(took, float64(r.took.Microseconds())/1000)
		ratio = append(ratio, float64(r.received[0]+r.received[1])/float64(c.bodies))
		second = append(second, float64(min(r.received[0], r.received[1]))/missedCount)
		if run == b.runs-1 {
			err = c.afterwards(ctx, p)
		}
		p.close()
		if err != nil {
			return err
		}
	}
	atMost := 1.1 + float64(secondBytes*missedCount)/float64(c.bodies)
	b.out.add("catchup.missed1000_ms", "ms", target{atMost: 150}, took, nil)
	b.out.add("catchup.bytes_ratio", "received/bodies", target{atMost: float64(int(atMost*1000)) / 1000}, ratio, nil)
	b.out.add("catchup.second_bytes", "bytes/envelope", target{}, second, nil)
	return nil
}

func (c *catchupBench) close() {
	for i := range c.servers {
		if c.lines[i] != nil {
			c.lines[i].cut()
		}
		if c.servers[i] != nil {
			c.servers[i].close()
		}
	}
}

// setUp has a client catch up with both mail servers, ends it, and gives the mail servers what it misses.
func (c *catchupBench) setUp(ctx context.Context) error {
	end := time.Now().Truncate(time.Second)
	other, err := corpus.New(corpus.Baseline(otherCount, end.Add(-missedSpan), missedSpan))
	if err != nil {
		return err
	}
	cfg := corpus.Baseline(missedCount, end.Add(-time.Hour), missedSpan)
	cfg.Seed, cfg.Topics = 2, missedTopics
	missed, err := corpus.New(cfg)
	if err != nil {
		return err
	}
	for e := range missed.All() {
		c.bodies += int64(len(e.Raw()))
	}
	if err := c.startServers(ctx, other); err != nil {
		return err
	}
	if err := c.leave(ctx, missed); err != nil {
		return err
	}
	return c.startServers(ctx, missed)
}

// startServers puts a corpus into both archives and starts the mail servers, again if they ran before, on the same ports.
func (c *catchupBench) startServers(ctx context.Context, k *corpus.Corpus) error {
	file, err := c.writeCorpus("corpus", k)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	for i := range c.servers {
		dir, address := filepath.Join(c.dir, fmt.Sprint("server", i)), "127.0.0.1:0"
		if p := c.servers[i]; p != nil {
			p.close()
			address = c.lines[i].to
		}
		if _, err := fillOurs(ctx, filepath.Join(dir, "archive"), file); err != nil {
			return err
		}
		p, err := c.serveIn(ctx, dir, "--mailserver", "--listen", address)
		if err != nil {
			return err
		}
		p.keep, c.servers[i] = true, p
		if c.lines[i] != nil {
			continue
		}
		n, err := nodeaddr.Parse(p.url)
		if err == nil {
			c.lines[i], err = newLine(n.Address().String())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leave makes the client: it waits for the topics, is told by both mail servers that there is nothing, and ends.
func (c *catchupBench) leave(ctx context.Context, missed *corpus.Corpus) error {
	c.client = filepath.Join(c.dir, "client")
	p, err := c.up(c.client)
	if err != nil {
		return err
	}
	p.keep = true
	defer p.close()
	if err := p.connect(ctx); err != nil {
		return fmt.Errorf("the client did not start: %w\n%s", err, p.stderr.Bytes())
	}
	w := rpc.NewWatch{Name: "bench"}
	for _, t := range missed.Topics() {
		w.Topics = append(w.Topics, rpc.Topic(t))
	}
	if err := p.client.Call(ctx, nil, "inbox_watch", w); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, catchupLimit)
	defer cancel()
	for {
		var r rpc.SyncReport
		if err := p.client.Call(ctx, &r, "inbox_sync"); err != nil {
			return err
		}
		debugf("before it leaves: %+v", r)
		if r.End == agreed {
			return nil
		}
	}
}

// agreed is how a catch-up ends when two mail servers say the same.
const agreed = "agreed"

// up starts the client in a data directory.
func (c *catchupBench) up(dir string) (*oursProcess, error) {
	args := []string{"up", "--listen=", "--set", "ops.listen=", "--set", "inbox.key=file"}
	for i, l := range c.lines {
		n, err := nodeaddr.Parse(c.servers[i].url)
		if err != nil {
			return nil, err
		}
		at, err := nodeaddr.ParseAddress(l.from, 0)
		if err != nil {
			return nil, err
		}
		args = append(args, "--server", nodeaddr.New(n.Key().ECDSA(), at).String())
	}
	return c.launch(dir, args...)
}

// comeback is what one catch-up took.
type comeback struct {
	took     time.Duration // from the start of the process until everything was kept
	received [2]int64      // bytes on the wire
	report   rpc.SyncReport
}

// comeBack starts the client as it was left, and waits until it has everything and both mail servers agree.
func (c *catchupBench) comeBack(ctx context.Context) (p *oursProcess, r comeback, err error) {
	dir := filepath.Join(c.dir, "back")
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(c.client)), private(dir)); err != nil {
		return nil, r, err
	}
	ctx, cancel := context.WithTimeout(ctx, catchupLimit)
	defer cancel()
	start := time.Now()
	if p, err = c.up(dir); err != nil {
		return nil, r, err
	}
	if err = p.connect(ctx); err == nil {
		r, err = p.await(ctx, start)
	}
	if err != nil {
		p.close()
		return nil, r, fmt.Errorf("%w\n%s", err, p.stderr.Bytes())
	}
	return p, r, nil
}

// private gives files back the modes that a copy does not keep.
func private(dir string) error {
	list, err := os.ReadDir(dir)
	for _, e := range list {
		if e.Type().IsRegular() {
			err = errors.Join(err, os.Chmod(filepath.Join(dir, e.Name()), 0o600))
		}
	}
	return errors.Join(err, os.Chmod(dir, 0o700))
}

// await waits until a client that began at a time has everything.
func (p *oursProcess) await(ctx context.Context, start time.Time) (r comeback, err error) {
	events := make(chan *rpc.InboxEvent, 256)
	_, cancel, err := p.client.Events(ctx, []string{"mail", "report"}, events)
	if err != nil {
		return r, err
	}
	defer cancel()
	for {
		var st rpc.InboxStatus
		if err := p.client.Call(ctx, &st, "inbox_status"); err != nil {
			return r, err
		}
		if r.took == 0 && st.Mail >= missedCount {
			r.took = time.Since(start)
		}
		if r.took != 0 && !st.Syncing && st.LastSync.After(start) {
			break
		}
		select {
		case ev := <-events:
			if ev.Report != nil {
				r.report = *ev.Report
			}
		case <-ctx.Done():
			return r, fmt.Errorf("%d envelopes are there, catching up: %v: %w", st.Mail, st.Syncing, ctx.Err())
		}
	}
	list, err := p.client.Peers(ctx)
	if err == nil && len(list) != len(r.received) {
		err = fmt.Errorf("there are %d peers", len(list))
	}
	for i, peer := range list {
		r.received[i] = int64(peer.BytesIn)
	}
	return r, err
}

// afterwards measures a client that has everything: what it sends and receives while nothing happens, and how soon it has
// caught up again when the network was away for a while.
func (c *catchupBench) afterwards(ctx context.Context, p *oursProcess) error {
	if c.wants("catchup.idle_bytes") {
		if err := c.idle(ctx, p); err != nil {
			return err
		}
	}
	if !c.wants("catchup.network_back_ms") {
		return nil
	}
	var back []float64
	for range c.runs {
		took, err := c.interrupt(ctx, p)
		if err != nil {
			return fmt.Errorf("interruption: %w", err)
		}
		back = append(back, float64(took.Microseconds())/1000)
	}
	c.out.add("catchup.network_back_ms", "ms", target{atMost: 1000}, back, nil)
	return nil
}

func (c *catchupBench) idle(ctx context.Context, p *oursProcess) error {
	var bytes [2]float64
	for i, wait := range []time.Duration{idleSettle, idleTime} {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		list, err := p.client.Peers(ctx)
		if err != nil {
			return err
		}
		for _, peer := range list {
			bytes[i] += float64(peer.BytesIn + peer.BytesOut)
		}
	}
	c.out.add("catchup.idle_bytes", "bytes/minute", target{atMost: float64(len(c.lines) * idleFrames * frameBytes)}, []float64{bytes[1] - bytes[0]}, nil)
	return nil
}

// interrupt cuts both lines for a while, and returns how long after they are mended the client has asked whether it missed
// something, and was answered.
func (c *catchupBench) interrupt(ctx context.Context, p *oursProcess) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, catchupLimit)
	defer cancel()
	events := make(chan *rpc.InboxEvent, 256)
	_, end, err := p.client.Events(ctx, []string{"report"}, events)
	if err != nil {
		return 0, err
	}
	defer end()
	for _, l := range c.lines {
		l.cut()
	}
	select {
	case <-time.After(cutTime):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	mended := time.Now()
	for _, l := range c.lines {
		if err := l.mend(); err != nil {
			return 0, err
		}
	}
	for {
		select {
		case ev := <-events:
			if r := ev.Report; r != nil && r.Error == "" && r.Began.After(mended.Add(-cutTime)) {
				debugf("back: %+v", *r)
				return time.Since(mended), nil
			}
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

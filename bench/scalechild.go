package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/corpus"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// Load of scale.
const (
	fillPortion = 1 << 16 // envelopes made before they are stored, which is what counts
	liveRate    = 5000    // envelopes a second that come in while pages are read
	livePut     = 50      // in one packet
	serveFor    = 10 * time.Second
	pageRecords = 1000
	pageBytes   = 4 << 20
)

// pageReport is how long pages took.
type pageReport struct {
	Pages int     `json:"pages"`
	P50MS float64 `json:"p50_ms"`
	P99MS float64 `json:"p99_ms"`
	MaxMS float64 `json:"max_ms"`
	PerS  float64 `json:"per_s"` // envelopes that came in
	RSSMB float64 `json:"rss_mb"`
}

func scaleChild(ctx context.Context, with archiveArgs) error {
	end := time.Unix(with.end, 0)
	start := time.Now()
	a, err := openArchive(with.dir)
	if err != nil {
		return err
	}
	defer a.Close()
	opening := time.Since(start)
	switch with.step {
	case stepFill:
		return fillScale(ctx, a, with, end)
	case stepOpen:
		return printEvent("result", opened{float64(opening.Nanoseconds()) / 1e6, a.Stats().Envelopes})
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	live, err := newLive(a, end)
	if err != nil {
		return err
	}
	if with.step == stepIngest {
		if err := printEvent("connected", struct {
			Links int `json:"links"`
		}{}); err != nil {
			return err
		}
		_, err := live.run(ctx)
		return err
	}
	stored := make(chan float64, 1)
	go func() {
		perS, _ := live.run(ctx) // ends with the context
		stored <- perS
	}()
	r, err := readPages(ctx, a, with, end)
	cancel()
	if err != nil {
		return err
	}
	r.PerS = <-stored
	return printEvent("result", r)
}

// fillScale makes a corpus and stores it; making it is not counted in the time, but in no other way kept apart.
func fillScale(ctx context.Context, a archive.Archive, with archiveArgs, end time.Time) error {
	k, err := scaleCorpus(with.count, end)
	if err != nil {
		return err
	}
	r := peerproc.ArchiveResult{Envelopes: with.count}
	wrote := written()
	list := make([]*envelope.Envelope, 0, fillPortion)
	flush := func() error {
		start, used := time.Now(), ownCPU()
		err := putAll(ctx, a, list)
		r.Seconds += time.Since(start).Seconds()
		r.CPUUS += float64((ownCPU() - used).Microseconds()) / float64(with.count)
		list = list[:0]
		return err
	}
	for e := range k.All() {
		r.Bytes += int64(len(e.Raw()))
		if list = append(list, e); len(list) == fillPortion {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(flush(), a.Close()); err != nil {
		return err
	}
	r.PerS, r.Written = float64(with.count)/r.Seconds, written()-wrote
	if r.Disk, err = diskUse(with.dir); err != nil {
		return err
	}
	return printEvent("result", r)
}

// live is a stream of new envelopes.
type live struct {
	archive archive.Archive
	corpus  *corpus.Corpus
}

func newLive(a archive.Archive, end time.Time) (*live, error) {
	c := corpus.Baseline(corpus.MaxCount, end, 0)
	c.Seed, c.PoW = uint64(time.Now().UnixNano()), 0
	c.Span = time.Duration(c.Count/liveRate) * time.Second
	k, err := corpus.New(c)
	return &live{a, k}, err
}

// run stores packets at the rate until the context ends, and returns at what rate they became durable. Packets come in
// whether or not the last is durable.
func (l *live) run(ctx context.Context) (perS float64, err error) {
	tick := time.NewTicker(time.Second * livePut / liveRate)
	defer tick.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	failed := make(chan error, 1)
	start, n := time.Now(), 0
	for {
		due := min(int(time.Since(start).Seconds()*liveRate), l.corpus.Len())
		for ; n+livePut <= due; n += livePut {
			list := make([]*envelope.Envelope, livePut)
			for i := range list {
				list[i] = l.corpus.At(n + i)
			}
			all.Go(func() {
				if _, err := l.archive.Put(context.WithoutCancel(ctx), list); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			})
		}
		select {
		case <-tick.C:
		case err := <-failed:
			return 0, err
		case <-ctx.Done():
			all.Wait()
			return float64(n) / time.Since(start).Seconds(), ctx.Err()
		}
	}
}

// readPages reads pages of all kinds at any depth, one after the other.
func readPages(ctx context.Context, a archive.Archive, with archiveArgs, end time.Time) (r pageReport, err error) {
	k, err := scaleCorpus(with.count, end)
	if err != nil {
		return r, err
	}
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	var ms []float64
	for start := time.Now(); time.Since(start) < serveFor; {
		q := anyPage(random, k.Topics(), end, a.Stats().Next)
		began := time.Now()
		n, err := onePage(ctx, a, q)
		if err != nil {
			return r, err
		}
		took := float64(time.Since(began).Nanoseconds()) / 1e6
		if ms = append(ms, took); took > 15 {
			debugf("%.1f ms for %d records: order %d, %d topics, bloom %v", took, n, q.Order, len(q.Topics), q.Bloom != nil)
		}
		r.RSSMB = max(r.RSSMB, rssMB())
	}
	slices.Sort(ms)
	r.Pages = len(ms)
	r.P50MS, r.P99MS, r.MaxMS = ms[len(ms)/2], ms[len(ms)*99/100], ms[len(ms)-1]
	return r, nil
}

// anyPage is a question of any kind at any depth.
func anyPage(random *rand.Rand, topics []envelope.Topic, end time.Time, next uint64) (q archive.Query) {
	n := [...]int{0, 1, 20, 1000, -1, -20}[random.IntN(6)] // 0 is everything; below 0 are filters
	for range max(n, 0) {
		q.Topics = append(q.Topics, topics[random.IntN(len(topics))])
	}
	for range max(-n, 0) {
		if q.Bloom == nil {
			q.Bloom = new(envelope.Bloom)
		}
		q.Bloom.Or(topics[random.IntN(len(topics))].Bloom())
	}
	if random.IntN(2) == 0 {
		q.Order = archive.ByArrival
		q.AfterArrival = random.Uint64N(next)
		return q
	}
	q.From = uint32(end.Add(-24 * time.Hour).Unix())
	q.After = archive.Key{Sent: q.From + random.Uint32N(24*3600)}
	return q
}

// onePage reads up to a page's records.
func onePage(ctx context.Context, a archive.Archive, q archive.Query) (n int, err error) {
	w, err := a.Walk(ctx, q)
	if err != nil {
		return 0, err
	}
	defer w.Close()
	for n < pageRecords {
		p, err := w.Next(ctx, archive.Bound{Count: pageRecords - n, Bytes: pageBytes})
		if err != nil {
			return n, err
		}
		if n += len(p.Records); p.Done {
			return n, nil
		}
	}
	if n > pageRecords {
		return n, fmt.Errorf("a page of %d records instead of %d", n, pageRecords)
	}
	return n, nil
}

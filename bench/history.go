package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/restante-im/restante/internal/corpus"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// The archive that history asks.
const (
	historyCount = 1_000_000
	historySpan  = 24 * time.Hour
	askers       = 8

	// The peer, whose answers take long, is asked less often than ours: until it has used so much time, once at least.
	historyPatience = 30 * time.Second
	historyLimit    = 10 * time.Minute // for one answer
	historyQuiet    = 5 * time.Second
)

// mailSide is a mail server with its archive and those who ask it.
type mailSide struct {
	dir    string
	server relayProcess
	client *peerproc.Raw
}

func (s *mailSide) close() {
	if s.client != nil {
		s.client.Close()
	}
	if s.server != nil {
		s.server.close()
	}
}

// historyBench asks two mail servers with the same archive.
type historyBench struct {
	*bench
	topics []envelope.Topic
	counts map[envelope.Topic]int // envelopes
	from   uint32
	to     uint32
	sides  [2]mailSide // ours, the peer's
	turn   int         // the next topic that nobody asked for yet
}

// history measures answers over devp2p. Ours is asked by our own fetch in mail/1, which checks all that comes; the peer in its binary
// form, by a client that only counts.
func (b *bench) history(ctx context.Context) error {
	h := &historyBench{bench: b}
	defer func() {
		for i := range h.sides {
			h.sides[i].close()
		}
	}()
	if err := h.setUp(ctx); err != nil {
		return err
	}
	for _, s := range []struct {
		name string
		t    target
		run  func(ctx context.Context, side int) (float64, error)
	}{
		{"history.topic1_ms", target{atMost: 10}, func(ctx context.Context, side int) (float64, error) { return h.warm(ctx, side, 1) }},
		{"history.topic1_cold_ms", target{atMost: 250}, h.cold},
		{"history.topic20_ms", target{atMost: 150}, func(ctx context.Context, side int) (float64, error) { return h.warm(ctx, side, 20) }},
		{"history.clients8_ms", target{atMost: 80}, h.together},
	} {
		if !b.wants(s.name) {
			continue
		}
		values, err := h.measure(ctx, s.run)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		b.out.add(s.name, "ms", s.t, values[0], values[1])
	}
	if b.wants("history.legacy_") {
		if err := h.legacy(ctx); err != nil {
			return fmt.Errorf("history.legacy: %w", err)
		}
	}
	if b.wants("history.all_") || b.wants("history.pipe_share") {
		return h.all(ctx)
	}
	return nil
}

// setUp fills both archives and starts their servers and clients.
func (h *historyBench) setUp(ctx context.Context) error {
	end := time.Now().Truncate(time.Second)
	c := corpus.Baseline(historyCount, end, historySpan)
	k, err := corpus.New(c)
	if err != nil {
		return err
	}
	h.topics, h.counts = k.Topics(), map[envelope.Topic]int{}
	h.from, h.to = uint32(c.From.Add(-c.Jitter).Unix())-1, uint32(end.Unix())
	file, err := h.writeCorpus("history", k)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	for i := range k.Len() {
		h.counts[k.TopicOf(i)]++
	}
	fills := [...]func(ctx context.Context, dir, file string) (peerproc.ArchiveResult, error){fillOurs, h.fillPeer}
	for side, begin := range h.mailSides() {
		s := &h.sides[side]
		if s.dir, err = os.MkdirTemp(h.dir, "archive-"); err != nil {
			return err
		}
		if _, err := fills[side](ctx, s.dir, file); err != nil {
			return err
		}
		if s.server, err = begin(ctx, s.dir); err != nil {
			return err
		}
		if side == 0 {
			s.client, err = startChild("ask", archiveArgs{to: s.server.enode(), count: askers})
		} else {
			s.client, err = peerproc.StartRaw(h.peer, "ask", "-to", s.server.enode(), "-conns", strconv.Itoa(askers), "-password", mailPassword)
		}
		if err == nil {
			err = s.client.Wait(ctx, "connected", 0, nil)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", sideNames[side], err)
		}
	}
	return nil
}

// measure runs fn for both sides in turn.
func (h *historyBench) measure(ctx context.Context, fn func(ctx context.Context, side int) (float64, error)) (values [2][]float64, err error) {
	var used time.Duration // by the peer
	for range h.runs {
		h.turn++
		for side := range h.sides {
			if side == 1 && used > historyPatience {
				continue
			}
			start := time.Now()
			v, err := fn(ctx, side)
			if err != nil {
				return values, fmt.Errorf("%s: %w", sideNames[side], err)
			}
			if values[side] = append(values[side], v); side == 1 {
				used += time.Since(start)
			}
		}
	}
	return values, nil
}

// request is one for all envelopes of the topics, or for all.
func (h *historyBench) request(side int, topics ...envelope.Topic) peerproc.Ask {
	a := peerproc.Ask{Form: peerproc.Binary, From: h.from, To: h.to}
	bloom := envelope.FullBloom()
	for i, t := range topics {
		if i == 0 {
			bloom = envelope.Bloom{}
		}
		bloom.Or(t.Bloom())
		a.Topics = append(a.Topics, hex.EncodeToString(t[:]))
	}
	if side == 0 && len(topics) > 0 {
		for _, t := range topics {
			a.Expect += h.counts[t]
		}
		return a
	}
	for t, n := range h.counts { // the peer goes by bloom filters
		if bloom.AdmitsTopic(t) {
			a.Expect += n
		}
	}
	return a
}

func (h *historyBench) ask(ctx context.Context, side int, asks ...peerproc.Ask) (peerproc.AnswerReport, error) {
	return h.put(ctx, side, h.sides[side].client, asks...)
}

// put puts a question and expects everything to come.
func (h *historyBench) put(ctx context.Context, side int, client *peerproc.Raw, asks ...peerproc.Ask) (peerproc.AnswerReport, error) {
	ctx, cancel := context.WithTimeout(ctx, historyLimit)
	defer cancel()
	r, err := client.Ask(ctx, peerproc.Question{Asks: asks, QuietMS: historyQuiet.Milliseconds()})
	expect := 0
	for _, a := range asks {
		expect += a.Expect
	}
	if err == nil && r.Envelopes != expect {
		err = fmt.Errorf("%d envelopes came, not %d", r.Envelopes, expect)
	}
	debugf("%s: %d questions: %+v", sideNames[side], len(asks), r)
	return r, err
}

// some returns so many topics, the same for both sides in one turn.
func (h *historyBench) some(n int) (list []envelope.Topic) {
	for i := range n {
		list = append(list, h.topics[(h.turn*n+i)%len(h.topics)])
	}
	return list
}

// warm asks for topics, all of them in one request. Ours is asked twice, the first time for nothing: caches have it then. The peer scans everything
// for every request, which warms as well.
func (h *historyBench) warm(ctx context.Context, side, topics int) (float64, error) {
	a := h.request(side, h.some(topics)...)
	if side == 0 {
		if _, err := h.ask(ctx, side, a); err != nil {
			return 0, err
		}
	}
	r, err := h.ask(ctx, side, a)
	return r.LastMS, err
}

// cold asks for a topic when the system has cached nothing of the archive.
func (h *historyBench) cold(ctx context.Context, side int) (float64, error) {
	if err := dropCache(h.sides[side].dir); err != nil {
		return 0, err
	}
	r, err := h.ask(ctx, side, h.request(side, h.some(1)...))
	return r.LastMS, err
}

// together lets all clients ask at once, each for a topic of its own; ours twice as in warm.
func (h *historyBench) together(ctx context.Context, side int) (float64, error) {
	var asks []peerproc.Ask
	for _, t := range h.some(askers) {
		asks = append(asks, h.request(side, t))
	}
	if side == 0 {
		if _, err := h.ask(ctx, side, asks...); err != nil {
			return 0, err
		}
	}
	r, err := h.ask(ctx, side, asks...)
	return r.LastMS, err
}

// legacy asks ours as Status' clients do: sealed, 1,000 envelopes a page, bundled, by cursor.
func (h *historyBench) legacy(ctx context.Context) error {
	client, err := peerproc.StartRaw(h.peer, "ask", "-to", h.sides[0].server.enode(), "-password", mailPassword)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Wait(ctx, "connected", 0, nil); err != nil {
		return err
	}
	ask := func(topics ...envelope.Topic) (peerproc.AnswerReport, error) {
		a := h.request(0, topics...)
		a.Form, a.Limit, a.Batch, a.Follow = peerproc.RLP7, 1000, true, true
		return h.put(ctx, 0, client, a)
	}
	var one, all []float64
	for range h.runs {
		h.turn++
		topics := h.some(1)
		if _, err := ask(topics...); err != nil {
			return err
		}
		r, err := ask(topics...)
		if err != nil {
			return err
		}
		one = append(one, r.LastMS)
		if r, err = ask(); err != nil {
			return err
		}
		all = append(all, perS(r))
	}
	h.out.add("history.legacy_topic1_ms", "ms", target{}, one, nil)
	h.out.add("history.legacy_all_per_s", "envelopes/s", target{}, all, nil)
	return nil
}

// all asks for the whole archive: ours once with a client that counts, as the peer's does, and once with a fetch that checks. In
// between as much goes through a bare connection in packets of the same size.
func (h *historyBench) all(ctx context.Context) error {
	counter, err := startChild("ask", archiveArgs{to: h.sides[0].server.enode(), count: 1, step: stepCount})
	if err != nil {
		return err
	}
	defer counter.Close()
	if err := counter.Wait(ctx, "connected", 0, nil); err != nil {
		return err
	}
	var share, fetched []float64
	values, err := h.measure(ctx, func(ctx context.Context, side int) (float64, error) {
		client := h.sides[side].client
		if side == 0 {
			r, err := h.put(ctx, side, client, h.request(side))
			if err != nil {
				return 0, err
			}
			fetched, client = append(fetched, perS(r)), counter
		}
		r, err := h.put(ctx, side, client, h.request(side))
		if err != nil || side != 0 {
			return perS(r), err
		}
		bare, err := h.pipe(ctx, r.Packets, r.Bytes/r.Packets)
		if err != nil {
			return 0, err
		}
		share = append(share, float64(r.Bytes)/(r.LastMS/1000)/bare)
		debugf("pipe: %.0f MB/s at %d bytes a packet", bare/1e6, r.Bytes/r.Packets)
		return perS(r), nil
	})
	if err != nil {
		return err
	}
	h.out.add("history.all_per_s", "envelopes/s", target{}, values[0], values[1])
	h.out.add("history.all_checked_per_s", "envelopes/s", target{}, fetched, values[1])
	h.out.add("history.pipe_share", "of bare devp2p", target{atLeast: 0.8}, share, nil)
	return nil
}

func perS(r peerproc.AnswerReport) float64 { return float64(r.Envelopes) / (r.LastMS / 1000) }

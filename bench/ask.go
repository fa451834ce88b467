package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/mail1"
	"github.com/restante-im/restante/internal/mailnet"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/session"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// maxPacket is the largest packet that the ends of a benchmark take.
const maxPacket = 2 << 20

// startEnd runs one protocol in this process. It listens, or dials an enode.
func startEnd(to string, p devp2p.Protocol) (*devp2p.Server, *message.PrivateKey, error) {
	key, err := message.GeneratePrivateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	cfg := devp2p.Config{Key: key.Bytes(), Name: "bench", MaxPacket: maxPacket, Eager: true, Protocols: []devp2p.Protocol{p}}
	if to == "" {
		cfg.ListenAddrs = []string{"127.0.0.1:0"}
	} else {
		n, err := nodeaddr.Parse(to)
		if err != nil {
			return nil, nil, err
		}
		cfg.Static = []nodeaddr.Node{n}
	}
	s, err := devp2p.Start(cfg)
	return s, key, err
}

// askTimeout is how long a mail server may take to greet.
const askTimeout = 10 * time.Second

// asks is a client of a mail server with its own identity and connection.
type asks interface {
	ask(ctx context.Context, w peerproc.Ask, start time.Time) (peerproc.AnswerReport, error)
	close()
}

// asker fetches as "restante fetch" does: it checks all that comes. Then the envelopes are thrown away.
type asker struct {
	transport history.Transport
	stop      func()
}

func newAsker(ctx context.Context, to string) (*asker, error) {
	server, err := nodeaddr.Parse(to)
	if err != nil {
		return nil, err
	}
	net := mailnet.New(mailnet.Config{Now: time.Now})
	end, _, err := startEnd(to, devp2p.Protocol{
		Name: mail1.Name, Version: mail1.Version, Codes: mail1.Codes,
		Run: func(c *devp2p.Conn) error {
			return net.ServeMail1(session.Peer{Conn: uint64(c.ID()), ID: c.Node(), Source: c.Prefix(), Client: c.Client()}, c)
		},
	})
	if err != nil {
		return nil, err
	}
	a := &asker{stop: func() { end.Close(context.WithoutCancel(ctx)) }}
	soon, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	remote, err := net.Remote(soon, server.ID())
	if err == nil {
		a.transport, err = remote.Transport(mailnet.Seal{}, history.ByArrival)
	}
	if err != nil {
		a.stop()
		return nil, err
	}
	return a, nil
}

func (a *asker) close() { a.stop() }

// stepCount lets an ask child count only.
const stepCount = "count"

// askChild is the peer helper's "ask" for our own protocol: a line on standard input is a Question, of which the form is
// left out; its output is the answer.
func askChild(ctx context.Context, with archiveArgs) error {
	var clients []asks
	for range with.count {
		var a asks
		var err error
		if with.step == stepCount {
			a, err = newCounter(ctx, with.to)
		} else {
			a, err = newAsker(ctx, with.to)
		}
		if err != nil {
			return err
		}
		defer a.close()
		clients = append(clients, a)
	}
	if err := printEvent("connected", struct {
		Links int `json:"links"`
	}{len(clients)}); err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var q peerproc.Question
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			return err
		}
		r, err := askAll(ctx, clients, q)
		if err != nil {
			r.Error = err.Error()
		}
		if err := printEvent("answer", r); err != nil {
			return err
		}
	}
	return lines.Err()
}

// askAll puts the question's requests at once.
func askAll(ctx context.Context, clients []asks, q peerproc.Question) (sum peerproc.AnswerReport, err error) {
	if len(q.Asks) > len(clients) {
		return sum, fmt.Errorf("%d questions for %d clients", len(q.Asks), len(clients))
	}
	type result struct {
		peerproc.AnswerReport
		err error
	}
	start, results := time.Now(), make(chan result)
	for i, w := range q.Asks {
		go func() {
			r, err := clients[i].ask(ctx, w, start)
			results <- result{r, err}
		}()
	}
	for i := range q.Asks {
		r := <-results
		err = errors.Join(err, r.err)
		sum.Envelopes += r.Envelopes
		sum.Bytes += r.Bytes
		sum.Packets += r.Packets
		sum.Pages += r.Pages
		if i == 0 || r.FirstMS < sum.FirstMS {
			sum.FirstMS = r.FirstMS
		}
		sum.LastMS = max(sum.LastMS, r.LastMS)
	}
	return sum, err
}

func (a *asker) ask(ctx context.Context, w peerproc.Ask, start time.Time) (r peerproc.AnswerReport, err error) {
	p := history.Plan{From: w.From, To: w.To}
	if p.Topics, err = topicsOf(w); err != nil {
		return r, err
	}
	counted := &countingTransport{Transport: a.transport}
	since := func() float64 { return float64(time.Since(start).Nanoseconds()) / 1e6 }
	report, err := history.Run(ctx, counted, p, func(_ context.Context, page history.Page) error {
		if r.Envelopes += len(page.Envelopes); len(page.Envelopes) > 0 {
			r.LastMS = since()
		}
		if r.Pages++; r.Pages == 1 {
			r.FirstMS = since()
		}
		return nil
	}, time.Now)
	r.Bytes, r.Packets = int(report.Received), int(counted.packets.Load())
	if err == nil && report.End != history.EndComplete {
		err = fmt.Errorf("the fetch ended as %v", report.End)
	}
	return r, err
}

// countingTransport counts packets of envelopes.
type countingTransport struct {
	history.Transport
	packets atomic.Int64
}

// Ask implements history.Transport.
func (t *countingTransport) Ask(form history.Form, q history.Question, answer func(history.Answer)) (func(), error) {
	return t.Transport.Ask(form, q, func(a history.Answer) {
		if _, ok := a.(history.Got); ok {
			t.packets.Add(1)
		}
		answer(a)
	})
}

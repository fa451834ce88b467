package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/mail1"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// counter is a client of a mail server in mail/1 that counts what comes and looks at nothing, as the peer's "ask" does.
type counter struct {
	conn *devp2p.Conn
	last uint64 // id of the last request
	stop func()
}

func newCounter(ctx context.Context, to string) (*counter, error) {
	up, done := make(chan *devp2p.Conn), make(chan struct{})
	end, _, err := startEnd(to, devp2p.Protocol{
		Name: mail1.Name, Version: mail1.Version, Codes: mail1.Codes,
		Run: func(c *devp2p.Conn) error {
			if err := c.WritePacket(mail1.Encode(mail1.Hello{Version: 1})); err != nil {
				return err
			}
			up <- c
			<-done
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	c := &counter{stop: func() {
		close(done)
		end.Close(context.WithoutCancel(ctx))
	}}
	select {
	case c.conn = <-up:
		return c, nil
	case <-time.After(askTimeout):
		return nil, errors.New("the mail server does not speak mail/1")
	}
}

func (c *counter) close() { c.stop() }

// ask asks page after page until the server has no more. It grants more credit than an answer takes.
func (c *counter) ask(_ context.Context, w peerproc.Ask, start time.Time) (r peerproc.AnswerReport, err error) {
	q := mail1.Question{From: w.From, To: w.To, Credit: mail1.MaxAmount}
	if q.Topics, err = topicsOf(w); err != nil {
		return r, err
	}
	for more := true; more; {
		c.last++
		q.ID = c.last
		if err := c.conn.WritePacket(mail1.Encode(mail1.Page{Question: q})); err != nil {
			return r, err
		}
		r.Pages++
		end, err := c.receive(&r, start)
		if err != nil {
			return r, err
		}
		q.Epoch, q.After, more = end.Epoch, end.Through, end.More
	}
	return r, nil
}

// receive counts one answer.
func (c *counter) receive(r *peerproc.AnswerReport, start time.Time) (end mail1.End, err error) {
	for {
		code, payload, err := c.conn.ReadPacket()
		if err != nil {
			return end, err
		}
		if code == mail1.CodeEnvelopes {
			r.LastMS = float64(time.Since(start).Nanoseconds()) / 1e6
			if r.Packets == 0 {
				r.FirstMS = r.LastMS
			}
			n, err := countEnvelopes(payload)
			if err != nil {
				return end, err
			}
			r.Packets++
			r.Envelopes += n
			r.Bytes += len(payload)
			continue
		}
		p, err := mail1.Decode(code, payload)
		if err != nil {
			return end, err
		}
		switch p := p.(type) {
		case mail1.End:
			return p, nil
		case mail1.Error:
			return end, fmt.Errorf("the mail server refused: %s", p.Text)
		}
	}
}

// countEnvelopes counts those of a mail1.Envelopes: the items of its third item.
func countEnvelopes(payload []byte) (n int, err error) {
	content, _, err := splitRLP(payload)
	for range 2 {
		if err == nil {
			_, content, err = splitRLP(content)
		}
	}
	if err == nil {
		content, _, err = splitRLP(content)
	}
	for ; err == nil && len(content) > 0; n++ {
		_, content, err = splitRLP(content)
	}
	return n, err
}

// splitRLP returns the content of the first item and what follows the item.
func splitRLP(b []byte) (content, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, errors.New("RLP ends early")
	}
	head, size := 1, 0
	switch {
	case b[0] < 0x80:
		head, size = 0, 1
	case b[0]&0x3f < 56:
		size = int(b[0] & 0x3f)
	default:
		head += int(b[0]&0x3f) - 55
		for _, d := range b[1:min(head, len(b))] {
			size = size<<8 | int(d)
		}
	}
	if size < 0 || head+size > len(b) {
		return nil, nil, errors.New("RLP ends early")
	}
	return b[head : head+size], b[head+size:], nil
}

// topicsOf reads the topics of a request.
func topicsOf(w peerproc.Ask) (list []envelope.Topic, err error) {
	for _, s := range w.Topics {
		t, err := envelope.ParseTopic("0x" + s)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

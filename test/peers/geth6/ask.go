package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/whisper/whisperv6"
	"github.com/restante-im/restante/test/peers/driver"
)

// Packet codes of mail servers.
const (
	codeComplete = 125
	codeRequest  = 126
	codeMail     = 127
)

// question is one line of "ask".
type question struct {
	Asks    []wish `json:"asks"` // each on a connection of its own
	QuietMS int64  `json:"quiet_ms"`
}

type wish struct {
	driver.History
	Expect int  `json:"expect"` // envelopes after which the answer has come; 0: at its end, or when nothing comes any more
	Follow bool `json:"follow"` // to the end, and ask for the next page while there is one
}

// answerLine sums up the answers to a question. Times count from the sending of the first request.
type answerLine struct {
	Event     string  `json:"event"` // answer
	Envelopes int     `json:"envelopes"`
	Bytes     int     `json:"bytes"` // of packets 127
	Packets   int     `json:"packets"`
	Pages     int     `json:"pages"`
	FirstMS   float64 `json:"first_ms"`
	LastMS    float64 `json:"last_ms"` // the last envelope
	Error     string  `json:"error,omitempty"`
	usage
}

// mailPacket is what a connection tells of a packet.
type mailPacket struct {
	at        time.Time
	envelopes int
	bytes     int
	complete  []byte // packet 125
	err       error
}

// mailClient is a connection with a mail server.
type mailClient struct {
	link
	packets chan mailPacket
	key     []byte // of the requests
}

// runAsk is a mail server's client that only counts. Each line on standard input is a question; it prints an answer.
func runAsk(args []string) error {
	f := flag.NewFlagSet("ask", flag.ContinueOnError)
	var to multi
	f.Var(&to, "to", "enode of the mail server")
	password := f.String("password", "", "that seals requests")
	conns := f.Int("conns", 1, "connections, each with its own identity")
	if err := f.Parse(args); err != nil {
		return err
	}
	key, err := passwordKey(*password)
	if err != nil {
		return err
	}
	up := make(chan *mailClient)
	run := func(l link) error {
		c := &mailClient{link: l, packets: make(chan mailPacket, 1024), key: key}
		up <- c
		return c.receive()
	}
	var clients []*mailClient
	for range *conns {
		host, err := newHost("raw-ask", "", protocol(status{bloom: make([]byte, 64)}, run))
		if err != nil {
			return err
		}
		defer host.Stop()
		if err := keepAll(host, to); err != nil {
			return err
		}
		clients = append(clients, <-up)
	}
	say(map[string]any{"event": "connected", "links": len(clients)})
	for line := range lines() {
		var q question
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			return err
		}
		say(ask(clients, q))
	}
	return nil
}

func passwordKey(password string) ([]byte, error) {
	w, err := newWhisper(0, 0)
	if err != nil {
		return nil, err
	}
	id, err := w.AddSymKeyFromPassword(password)
	if err != nil {
		return nil, err
	}
	return w.GetSymKey(id)
}

// receive tells of all packets until the connection ends.
func (c *mailClient) receive() error {
	for {
		code, payload, err := c.read()
		p := mailPacket{at: time.Now(), bytes: len(payload), err: err}
		switch {
		case err != nil:
		case code == codeMail:
			p.envelopes, p.err = countEnvelopes(payload)
		case code == codeComplete:
			p.complete, _, p.err = rlp.SplitString(payload)
		default:
			continue
		}
		c.packets <- p
		if p.err != nil {
			return p.err
		}
	}
}

// countEnvelopes counts those of packet 127: one, or a list.
func countEnvelopes(payload []byte) (int, error) {
	content, _, err := rlp.SplitList(payload)
	if err != nil || len(content) == 0 {
		return 0, err
	}
	if kind, _, _, err := rlp.Split(content); err != nil || kind != rlp.List {
		return 1, err
	}
	return rlp.CountValues(content)
}

func ask(clients []*mailClient, q question) answerLine {
	sum := answerLine{Event: "answer"}
	if len(q.Asks) > len(clients) {
		sum.Error = fmt.Sprintf("%d questions for %d connections", len(q.Asks), len(clients))
		return sum
	}
	start := time.Now()
	answers := make(chan answerLine)
	for i, w := range q.Asks {
		go func() {
			a, err := clients[i].ask(w, time.Duration(q.QuietMS)*time.Millisecond, start)
			if err != nil {
				a.Error = err.Error()
			}
			answers <- a
		}()
	}
	for i := range q.Asks {
		a := <-answers
		sum.Envelopes += a.Envelopes
		sum.Bytes += a.Bytes
		sum.Packets += a.Packets
		sum.Pages += a.Pages
		if i == 0 || a.FirstMS < sum.FirstMS {
			sum.FirstMS = a.FirstMS
		}
		sum.LastMS = max(sum.LastMS, a.LastMS)
		if a.Error != "" {
			sum.Error = a.Error
		}
	}
	sum.usage = use()
	return sum
}

// ask sends a request and counts what comes.
func (c *mailClient) ask(w wish, quiet time.Duration, start time.Time) (a answerLine, err error) {
	id, err := c.send(w.History)
	if err != nil {
		return a, err
	}
	a.Pages = 1
	silence := time.NewTimer(quiet)
	defer silence.Stop()
	for w.Follow || w.Expect == 0 || a.Envelopes < w.Expect {
		var p mailPacket
		select {
		case p = <-c.packets:
		case <-silence.C:
			return a, nil
		}
		if p.err != nil {
			return a, p.err
		}
		silence.Reset(quiet)
		if p.complete != nil && !bytes.Contains(p.complete, id) {
			continue // of a request before
		}
		if p.complete != nil {
			next, err := cursorOf(p.complete)
			if err != nil || next == nil || !w.Follow {
				return a, err
			}
			w.Cursor = next
			a.Pages++
			if id, err = c.send(w.History); err != nil {
				return a, err
			}
			continue
		}
		ms := float64(p.at.Sub(start).Nanoseconds()) / 1e6
		if a.Packets == 0 {
			a.FirstMS = ms
		}
		a.LastMS = ms
		a.Packets++
		a.Bytes += p.bytes
		a.Envelopes += p.envelopes
	}
	return a, nil
}

// cursorOf reads packet 125: id and last hash of 32 bytes each, then maybe a cursor.
func cursorOf(b []byte) ([]byte, error) {
	switch {
	case len(b) >= 38 && string(b[:6]) == "ERROR=":
		return nil, errors.New(string(b[38:]))
	case len(b) > 64:
		return b[64:], nil
	}
	return nil, nil
}

// send seals a request as go-ethereum's own client does, and returns its id.
func (c *mailClient) send(h driver.History) (id []byte, err error) {
	payload, err := h.Payload(topicBloom)
	if err != nil {
		return nil, err
	}
	sign, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	params := &whisperv6.MessageParams{TTL: 50, Src: sign, KeySym: c.key, Payload: payload}
	m, err := whisperv6.NewSentMessage(params)
	if err != nil {
		return nil, err
	}
	env, err := m.Wrap(params)
	if err != nil {
		return nil, err
	}
	raw, err := rlp.EncodeToBytes(env)
	if err != nil {
		return nil, err
	}
	hash := env.Hash()
	return hash[:], c.write(codeRequest, raw)
}

package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/rpc"
)

// Ids of the fake inbox.
const (
	lobbyWatch = "00112233445566aa"
	homeServer = "aabbccdd00112233445566778899aabbccddeeff00112233445566778899aabb"
	farServer  = "ffeeddcc00112233445566778899aabbccddeeff00112233445566778899aabb"
)

// fakeInbox answers the methods of the inbox, as INBOX says: "" for a full one, empty, partial (something is missing), spent
// (the bytes are), failed, refused (what is sent) or hangs (a catch-up). With EVENTS there is news.
type fakeInbox struct {
	getenv func(string) string
	asked  int // for messages
	news   chan<- *rpc.InboxEvent
}

// call is true for the methods that it answers.
func (f *fakeInbox) call(ctx context.Context, result any, method string, args []any) (bool, error) {
	var answer any
	switch method {
	case "inbox_messages":
		answer = f.messages(args[0].(rpc.MessageQuery))
	case "inbox_sync":
		if f.getenv("INBOX") == "hangs" {
			<-ctx.Done()
			return true, ctx.Err()
		}
		f.progress()
		answer = f.report()
	case "inbox_send":
		answer = fakeLetter("sending", "sending: no peer has confirmed it yet")
	case "inbox_letter":
		answer = f.letter()
	case "inbox_letters":
		answer = []rpc.Letter{}
		if f.getenv("INBOX") != "empty" {
			answer = []rpc.Letter{fakeLetter("held", "held by 2 mail servers until 3 Dec"), fakeLetter("failed", "gave up\x1b[2J")}
		}
	default:
		text, ok := inboxAnswers()[method]
		if !ok {
			return false, nil
		}
		if f.getenv("INBOX") == "empty" && strings.HasPrefix(text, "[") {
			text = "[]"
		}
		return true, json.Unmarshal([]byte(text), result)
	}
	raw, err := json.Marshal(answer)
	if err == nil {
		err = json.Unmarshal(raw, result)
	}
	return true, err
}

// messages has two messages, and a third one when it is asked again.
func (f *fakeInbox) messages(q rpc.MessageQuery) rpc.InboxMessages {
	out := rpc.InboxMessages{Messages: []rpc.InboxMessage{}, Next: q.After}
	f.asked++
	for seq, text := range []string{"hello\x1b[31m", "", "later"} {
		m := rpc.InboxMessage{Seq: uint64(seq + 1), Watch: lobbyWatch, Came: started, Opened: text != "", Topic: rpc.Topic{0x5a, 0x4e, 0xa1, 0x31},
			Sent: uint32(started.Unix()), TTL: 60, PoW: 0.5, Payload: []byte(text)}
		if !m.Opened {
			m.Server, m.Envelope = homeServer, make([]byte, 120)
		}
		late := seq == 2 && f.asked == 1 || f.getenv("INBOX") == "empty"
		if m.Seq <= q.After || late || q.Limit > 0 && len(out.Messages) == q.Limit {
			continue
		}
		out.Messages, out.Next = append(out.Messages, m), m.Seq
	}
	return out
}

// progress tells more than waits unread, so that some of it was read when it returns.
func (f *fakeInbox) progress() {
	if f.getenv("EVENTS") == "" {
		return
	}
	for range cap(f.news) + 1 {
		f.news <- &rpc.InboxEvent{Kind: "progress", Progress: &rpc.SyncProgress{New: 12, Bytes: 3456, Share: 0.5}}
	}
}

func (f *fakeInbox) report() rpc.SyncReport {
	r := rpc.SyncReport{ID: 1, End: "agreed", Text: "Complete: home and ffeeddcc agree that this is all.", New: 118, NewBytes: 98304, Bytes: 105800,
		Began: started, Seconds: 0.1501, FirstEnvelope: 0.02, Gaps: []rpc.InboxGap{}, Servers: []rpc.SyncServer{
			{Server: homeServer, Name: "home", Role: "primary", Form: "by arrival", End: "complete", Envelopes: 120, New: 117, Bytes: 100560},
			{Server: farServer, Name: "ffeeddcc", Role: "second", Form: "by arrival", End: "complete", Envelopes: 1, New: 1, Bytes: 5240, Lacked: 2, Withheld: 1},
		}}
	gap := rpc.InboxGap{ID: "g1", Cause: "withheld", Text: "1 message was named by home\x1b[2J and not handed over: it is asked for again at 15:00"}
	switch f.getenv("INBOX") {
	case "partial":
		r.Gaps, r.Text = []rpc.InboxGap{gap}, "home and ffeeddcc gave all they have, and something is missing still."
	case "lost":
		gap.Closed = true
		r.Gaps = []rpc.InboxGap{gap}
	case "older":
		r.End, r.Text = "answered", "home answered, but older mail servers do not say whether that is all."
	case "spent":
		r.End, r.Text, r.Left = "over budget", "Stopped when the bytes were spent; 5000 more are known to be left.", 5000
	case "failed":
		r.End, r.Text, r.Servers[1].End, r.Servers[1].Error = "failed", "Failed: nobody answers. What came before is kept.", "failed", "timed out"
	case "stopped":
		r.End, r.Text, r.Servers = "stopped", "Stopped before the end; what came is kept.", nil
	}
	return r
}

func fakeLetter(state, text string) rpc.Letter {
	return rpc.Letter{ID: "letter-1", State: state, Text: text, Created: started, Changed: started, Holders: []rpc.LetterHolder{}, Attempts: []rpc.LetterAttempt{}}
}

func (f *fakeInbox) letter() rpc.Letter {
	if f.getenv("INBOX") == "refused" {
		l := fakeLetter("failed", "failed: no node takes it")
		l.Error = "no node takes it"
		return l
	}
	return fakeLetter("held", "held by 2 mail servers until 3 Dec")
}

// Events has one piece of news, if there is any.
func (f *fakeNode) Events(_ context.Context, kinds []string, ch chan<- *rpc.InboxEvent) (<-chan error, func(), error) {
	if f.getenv("NODE") == "refuses" {
		return nil, nil, fault.Errorf("inbox_subscribe", fault.Invalid, "this node keeps no inbox")
	}
	if len(kinds) != 1 {
		return nil, nil, fmt.Errorf("kinds %q", kinds)
	}
	ended := make(chan error, 1)
	f.inbox.news = ch
	if f.getenv("EVENTS") != "" && kinds[0] != "progress" {
		ch <- &rpc.InboxEvent{Kind: kinds[0]}
		ch <- &rpc.InboxEvent{Kind: kinds[0]}
	}
	if f.getenv("ENDS") != "" {
		close(ended)
	}
	return ended, func() {}, nil
}

func inboxAnswers() map[string]string {
	lobby := `{"id":"` + lobbyWatch + `","name":"lobby","topics":["0x5a4ea131"],"since":1795262400,"rank":0,"key":"symmetric","created":"2026-11-22T12:00:00Z"}`
	home := `{"id":"` + homeServer + `","enode":"enode://0a0b@192.0.2.1:30303","name":"home","origin":"hand","used":"primary","connected":true,"preferred":true,
		"sentences":[{"topic":"connection","text":"Connected for 2 hours."},{"topic":"completeness","text":"It had all of 1200 envelopes.\u001b[2J"}]}`
	far := `{"id":"` + farServer + `","enode":"enode://0a0c@192.0.2.2:30303","callsItself":"South","origin":"link","used":"unused","suggested":true,"paused":true,"sentences":[]}`
	return map[string]string{
		"inbox_status": `{"protection":"passphrase","file":"/data/inbox.db","fileBytes":1258291,"mail":1200,"mailBytes":987654,"cap":2147483648,"watches":2,
			"topics":3,"servers":3,"connected":2,"gaps":1,"letters":1,"syncing":false,"lastSync":"2026-11-23T13:00:00Z","text":"Complete until 13:00, but for one gap."}`,
		"inbox_budget": `{"day":"2026-11-23","fetched":105800,"servers":[{"server":"` + farServer + `","name":"ffeeddcc","bytes":5240},
			{"server":"` + homeServer + `","name":"home","bytes":100560}],"relayed":2097152,"relayedLimit":104857600,"perSync":20971520,"text":""}`,
		"inbox_explain":     `{"hash":"0x` + strings.Repeat("ab", 32) + `","state":"kept","text":"Kept as number 7, from home.\u001b[2J","seq":7,"watches":[]}`,
		"inbox_watch":       lobby,
		"inbox_unwatch":     `true`,
		"inbox_acknowledge": `true`,
		"inbox_watches": `[` + lobby + `,{"id":"0011223344556677","name":"","topics":["0x00000001","0x00000002","0x00000003","0x00000004","0x00000005","0x00000006"],
			"since":0,"rank":3,"key":"none","created":"2026-11-22T12:00:00Z"}]`,
		"inbox_coverage": `[{"topic":"0x5a4ea131","complete":1795435200,"by":["` + homeServer + `"],"text":"complete until 13:00, says home\u001b[2J"}]`,
		"inbox_gaps": `[{"id":"g1","cause":"not asked","text":"nobody has answered for the time before 12:00","topics":["0x5a4ea131"]},
			{"id":"g2","cause":"expired","text":"3 messages expired before anyone handed them over","topics":["0x5a4ea131"],"closed":true}]`,
		"inbox_servers":       `[` + home + `,` + far + `]`,
		"inbox_addServer":     far,
		"inbox_changeServer":  home,
		"inbox_removeServer":  `true`,
		"inbox_confirmServer": `true`,
		"inbox_importFleet":   `2`,
		"inbox_giveUp":        `true`,
		"inbox_forget":        `true`,
	}
}

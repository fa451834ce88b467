package rpc_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/catchup"
	"github.com/restante-im/restante/internal/coverage"
	"github.com/restante-im/restante/internal/directory"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/inbox"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/outbox"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/watch"
)

// TestInboxIsAsked: arguments in every form reach the inbox as what they mean.
func TestInboxIsAsked(t *testing.T) {
	own := newFakeInbox()
	w := start(t, withInbox(own)).dial(t)
	yes, name, id := true, "home", home().ID()
	hash := envelope.Hash{0x6f}
	for _, tt := range []struct {
		method string
		args   []any
		want   []any
	}{
		{"inbox_status", nil, []any{"status"}},
		{"inbox_unwatch", []any{watchID}, []any{"unwatch", watchID}},
		{"inbox_messages", []any{map[string]any{"watch": watchID, "after": 2}}, []any{"messages", inbox.Query{Watch: watchID, After: 2, Limit: 16}}},
		{"inbox_acknowledge", []any{watchID, 7}, []any{"acknowledge", watchID, uint64(7)}},
		{"inbox_sync", nil, []any{"sync", catchup.Options{}}},
		{"inbox_sync", []any{map[string]any{"maxBytes": 5, "alone": true, "first": []string{lobby.String()}, "only": []string{lobby.String()}, "server": id.String()}},
			[]any{"sync", catchup.Options{MaxBytes: 5, Alone: true, First: []envelope.Topic{lobby}, Only: []envelope.Topic{lobby}, Server: &id}}},
		{"inbox_coverage", nil, []any{"coverage", ""}},
		{"inbox_coverage", []any{watchID}, []any{"coverage", watchID}},
		{"inbox_addServer", []any{"restante://x"}, []any{"addServer", "restante://x", false}},
		{"inbox_addServer", []any{testEnode, true}, []any{"addServer", testEnode, true}},
		{"inbox_removeServer", []any{id.String()}, []any{"removeServer", id}},
		{"inbox_confirmServer", []any{testEnode}, []any{"confirmServer", id}},
		{"inbox_changeServer", []any{testKey, map[string]any{"paused": true, "name": "home"}}, []any{"changeServer", id, directory.Change{Paused: &yes, Name: &name}}},
		{"inbox_importFleet", []any{"text"}, []any{"importFleet", "text", ""}},
		{"inbox_importFleet", []any{"text", "eth.prod"}, []any{"importFleet", "text", "eth.prod"}},
		{"inbox_letters", nil, []any{"letters", "", rpc.DefaultLetters}},
		{"inbox_letters", []any{map[string]any{"after": "a", "limit": 3}}, []any{"letters", "a", 3}},
		{"inbox_letter", []any{"a"}, []any{"letter", "a"}},
		{"inbox_giveUp", []any{"a"}, []any{"giveUp", "a"}},
		{"inbox_forget", []any{"a"}, []any{"forget", "a"}},
		{"inbox_explain", []any{hash}, []any{"explain", hash}},
	} {
		if _, code, text := w.call(tt.method, tt.args...); code != 0 {
			t.Errorf("%s: %d %s", tt.method, code, text)
		}
		if diff := cmp.Diff(tt.want, own.noted()); diff != "" {
			t.Errorf("%s %v asks otherwise:\n%s", tt.method, tt.args, diff)
		}
	}
}

// TestInboxKeys: keys come from the node's keyring or a password, and none of them is shown.
func TestInboxKeys(t *testing.T) {
	own := newFakeInbox()
	w := start(t, withInbox(own)).dial(t)
	key := message.PasswordKey("horse")
	sym := must[string](w, "shh_addSymKey", "0x"+fmt.Sprintf("%x", key.Bytes()))
	pair := must[string](w, "shh_newKeyPair")
	public := must[string](w, "shh_getPublicKey", pair)
	private := must[string](w, "shh_getPrivateKey", pair)

	for _, req := range []map[string]any{{"symKeyID": sym}, {"password": "horse"}} {
		req["topicTexts"], req["topics"], req["sig"] = []string{"lobby"}, []string{"0x00000001"}, public
		shown, _, _ := w.call("inbox_watch", req)
		s := own.noted()[1].(watch.Spec)
		if s.Sym == nil || !s.Sym.Equal(key) || s.Private != nil || s.Signer.String() != public || !s.Since.IsZero() ||
			!cmp.Equal(s.Topics, []envelope.Topic{{0, 0, 0, 1}, lobby}) {
			t.Errorf("%v: %+v", req, s)
		}
		if strings.Contains(shown, fmt.Sprintf("%x", key.Bytes())) || !strings.Contains(shown, `"key":"symmetric"`) {
			t.Errorf("shown: %s", shown)
		}
	}
	shown, _, _ := w.call("inbox_watch", map[string]any{"privateKeyID": pair, "topics": []string{"0x00000001"}, "since": 0})
	if s := own.noted()[1].(watch.Spec); s.Private == nil || s.Sym != nil || s.Since.IsZero() || s.Since.Unix() != 0 {
		t.Errorf("watch by private key: %+v", s)
	}
	if strings.Contains(shown, private[2:]) || !strings.Contains(shown, public) {
		t.Errorf("shown: %s", shown)
	}

	must[rpc.Letter](w, "inbox_send", map[string]any{"topicText": "lobby", "password": "horse", "text": "hi", "sig": pair, "ttl": 60, "powTarget": 0.5, "id": "x", "until": day})
	l := own.noted()[1].(outbox.Letter)
	if !l.Sym.Equal(key) || l.To != nil || l.Sign.Public().String() != public || string(l.Payload) != "hi" || l.TTL != time.Minute || l.PoW != 0.5 || l.ID != "x" ||
		l.Topic != lobby || !l.Until.Equal(day) {
		t.Errorf("letter: %+v", l)
	}
	must[rpc.Letter](w, "inbox_send", map[string]any{"pubKey": public, "payload": "0x01"})
	if l := own.noted()[1].(outbox.Letter); l.To == nil || l.To.String() != public || l.Sym != nil || l.Sign != nil || len(l.Payload) != 1 {
		t.Errorf("letter: %+v", l)
	}
	if shown, _, _ := w.call("inbox_servers"); strings.Contains(shown, "secret") {
		t.Errorf("a server's secrets are shown: %s", shown)
	}
}

// TestInboxRefuses: what is wrong is said in a sentence, before anybody is asked.
func TestInboxRefuses(t *testing.T) {
	own := newFakeInbox()
	w := start(t, withInbox(own)).dial(t)
	id := strings.Repeat("0a", 32)
	many := make([]string, watch.MaxTopics+1)
	for i := range many {
		many[i] = lobby.String()
	}
	long := make([]string, history.MaxTopics+1)
	for i := range long {
		long[i] = lobby.String()
	}
	type object map[string]any
	for _, tt := range []struct {
		method string
		args   []any
		want   string
	}{
		{"inbox_watch", []any{object{"topics": many}}, "a watch has at most 1000 topics, not 1001: make several"},
		{"inbox_watch", []any{object{"topicTexts": []string{""}}}, "the name of a topic is empty"},
		{"inbox_watch", []any{object{"password": "x", "symKeyID": id}}, "a watch has one key: give symKeyID, privateKeyID or password, not several"},
		{"inbox_watch", []any{object{"symKeyID": id}}, "the node holds no symmetric key with this id: keys are forgotten when it stops"},
		{"inbox_watch", []any{object{"privateKeyID": id}}, "the node holds no key pair with this id: keys are forgotten when it stops"},
		{"inbox_watch", []any{object{"symKeyID": "0x" + id}}, "the id of a symmetric key has 64 hex digits"},
		{"inbox_watch", []any{object{"sig": "0x04"}}, "invalid signing public key"},
		{"inbox_messages", []any{object{"limit": 1001}}, "the limit is 1001; allowed: 1 to 1000"},
		{"inbox_messages", []any{object{"limit": -1}}, "the limit is -1; allowed: 1 to 1000"},
		{"inbox_letters", []any{object{"limit": 1001}}, "the limit is 1001; allowed: 1 to 1000"},
		{"inbox_sync", []any{object{"maxBytes": -1}}, "maxBytes is -1; allowed: a number from 0"},
		{"inbox_sync", []any{object{"only": long}}, "10001 topics are named; allowed: 10000"},
		{"inbox_sync", []any{object{"server": "x"}}, "is not a node address"},
		{"inbox_addServer", []any{strings.Repeat("x", directory.MaxLink+1)}, "the link has 4097 characters; allowed: 4096"},
		{"inbox_importFleet", []any{strings.Repeat("x", directory.MaxFleet+1)}, "the list has 1048577 bytes; allowed: 1048576"},
		{"inbox_removeServer", []any{"x"}, "is not a node address"},
		{"inbox_confirmServer", []any{"y"}, "is not a node address"},
		{"inbox_changeServer", []any{"x", object{}}, "is not a node address"},
		{"inbox_send", []any{object{"topicText": "lobby"}}, "give exactly one of symKeyID, password and pubKey: without a key nobody could read it"},
		{"inbox_send", []any{object{"topicText": "lobby", "password": "x", "symKeyID": id}}, "give exactly one of symKeyID, password and pubKey"},
		{"inbox_send", []any{object{"password": "x"}}, "missing topic(s)"},
		{"inbox_send", []any{object{"topicText": "lobby", "topic": "0x00000001", "password": "x"}}, "give the topic or its name, not both"},
		{"inbox_send", []any{object{"topicText": "lobby", "text": "x", "payload": "0x01", "password": "x"}}, "give the payload or the text, not both"},
		{"inbox_send", []any{object{"pubKey": "0x04"}}, "invalid public key"},
		{"inbox_send", []any{object{"topicText": "lobby", "password": "x", "sig": id}}, "the node holds no key pair with this id"},
	} {
		if _, code, text := w.call(tt.method, tt.args...); code != -32000 || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %d %q, want %q", tt.method, code, text, tt.want)
		}
	}
	if own.noted() != nil {
		t.Errorf("the inbox was asked: %v", own.noted())
	}
}

// inboxExamples are the requests of the document, by method.
func inboxExamples(t *testing.T) map[string][]any {
	list := map[string][]any{}
	for _, m := range rpc.NewDocument().Methods {
		if !strings.HasPrefix(m.Name, "inbox_") || strings.HasSuffix(m.Name, "ubscribe") {
			continue
		}
		var args []any
		for _, p := range m.Examples[0].Params {
			args = append(args, p.Value)
		}
		list[m.Name] = args
	}
	if len(list) < 20 {
		t.Fatalf("only %d methods", len(list))
	}
	return list
}

// TestInboxErrors: without an inbox each method says why; what an inbox reports comes without its causes.
func TestInboxErrors(t *testing.T) {
	own := newFakeInbox()
	own.err = errFull
	with, without := start(t, withInbox(own)).dial(t), start(t).dial(t)
	for method, args := range inboxExamples(t) {
		if _, _, text := without.call(method, args...); !strings.Contains(text, "this node keeps no inbox: start it with `restante up`") {
			t.Errorf("%s without an inbox: %s", method, text)
		}
		if _, _, text := with.call(method, args...); method != "inbox_servers" && text != "the inbox is full: raise inbox.cap" {
			t.Errorf("%s: %s", method, text)
		}
	}
	if _, _, text := without.call("inbox_subscribe", "events"); !strings.Contains(text, "this node keeps no inbox") {
		t.Errorf("events without an inbox: %s", text)
	}
}

// TestInboxMessagesAreBounded: a page of large messages is cut, read in small steps, and goes on where it ended.
func TestInboxMessagesAreBounded(t *testing.T) {
	own := newFakeInbox()
	own.count, own.size = 100, 300<<10
	w := start(t, withInbox(own)).dial(t)
	seen := 0
	for after, more := uint64(0), true; more; {
		page := must[rpc.InboxMessages](w, "inbox_messages", rpc.MessageQuery{After: after, Limit: inbox.MaxLimit})
		bytes := 0
		for _, m := range page.Messages {
			if seen++; m.Seq != uint64(seen) {
				t.Fatalf("message %d comes as number %d", m.Seq, seen)
			}
			bytes += len(m.Payload)
		}
		if bytes > rpc.MaxMessageBytes+16*own.size {
			t.Errorf("%d bytes in a page", bytes)
		}
		after, more = page.Next, page.More
	}
	if seen != own.count {
		t.Errorf("%d of %d messages", seen, own.count)
	}
}

// TestInboxReports: each end is told as what it is and no more.
func TestInboxReports(t *testing.T) {
	one := []catchup.ServerReport{{Server: home().ID(), End: history.EndComplete}}
	older := []catchup.ServerReport{{Server: second, End: history.EndAssumed}}
	gap := fakeGap()
	closed := gap
	closed.Closed = true
	for _, tt := range []struct {
		report catchup.Report
		want   string
	}{
		{fakeReport(), "Complete: home and ffeeddcc agree that this is all."},
		{catchup.Report{End: catchup.EndComplete}, "Nothing is waited for, so nobody was asked."},
		{catchup.Report{End: catchup.EndComplete, Servers: one}, "Complete, says home; no second mail server was compared."},
		{catchup.Report{End: catchup.EndComplete, Servers: one, Gaps: []coverage.Gap{gap}}, "All that home would give came, but something is missing still: the gaps say what."},
		{catchup.Report{End: catchup.EndComplete, Servers: one, Gaps: []coverage.Gap{closed}}, "Complete, says home; no second mail server was compared."},
		{catchup.Report{End: catchup.EndAnswered, Servers: older}, "ffeeddcc answered, but older mail servers do not say whether that is all."},
		{catchup.Report{End: catchup.EndOverBudget, Left: 9}, "Stopped when the bytes were spent; 9 more are known to be left."},
		{catchup.Report{End: catchup.EndOverBudget}, "Stopped when the bytes were spent; more may be left."},
		{catchup.Report{End: catchup.EndStopped}, "Stopped before the end; what came is kept."},
		{catchup.Report{End: catchup.EndFailed}, "Failed: no mail server could be asked. What came before is kept."},
		{catchup.Report{End: catchup.EndFailed, Err: fault.E("x", fault.Timeout, nil, "nobody answers")}, "Failed: nobody answers. What came before is kept."},
	} {
		tt.report.Began = day
		w := start(t, func(o *rpc.Options) { o.Inbox = &syncing{fakeInbox: newFakeInbox(), report: tt.report} }).dial(t)
		if r := must[rpc.SyncReport](w, "inbox_sync"); r.Text != tt.want || r.End != tt.report.End.String() {
			t.Errorf("%s: %q, want %q", r.End, r.Text, tt.want)
		}
	}
}

// syncing is an inbox with another report; it waits for the end of its context if wait is there.
type syncing struct {
	*fakeInbox
	report catchup.Report
	wait   chan struct{}
}

func (s *syncing) Sync(ctx context.Context, _ catchup.Options, _ func(catchup.Progress)) (catchup.Report, error) {
	if s.wait != nil {
		s.wait <- struct{}{}
		<-ctx.Done()
		s.wait <- struct{}{}
	}
	return s.report, s.report.Err
}

// TestSyncEndsWithItsConnection: nobody waits for it any more.
func TestSyncEndsWithItsConnection(t *testing.T) {
	own := &syncing{fakeInbox: newFakeInbox(), wait: make(chan struct{})}
	w := start(t, func(o *rpc.Options) { o.Inbox = own }).dial(t)
	w.send(`{"jsonrpc":"2.0","id":1,"method":"inbox_sync","params":[]}`)
	<-own.wait
	w.nc.Close()
	<-own.wait
}

func TestTooManySyncs(t *testing.T) {
	own := &syncing{fakeInbox: newFakeInbox(), wait: make(chan struct{})}
	st := start(t, func(o *rpc.Options) { o.Inbox = own })
	w := st.dial(t)
	for range rpc.MaxSyncs {
		w.send(`{"jsonrpc":"2.0","id":1,"method":"inbox_sync","params":[]}`)
		<-own.wait
	}
	if _, _, text := st.dial(t).call("inbox_sync"); !strings.HasPrefix(text, "32 catch-ups are asked for already") {
		t.Error(text)
	}
	w.nc.Close()
	for range rpc.MaxSyncs {
		<-own.wait
	}
}

func TestInboxEvents(t *testing.T) {
	own := newFakeInbox()
	st := start(t, withInbox(own))
	w := st.dial(t)
	for _, kinds := range [][]any{{"events"}, {"events", []string{"mail", "report", "progress", "letter", "server"}}} {
		id := must[string](w, "inbox_subscribe", kinds...)
		<-own.heard
		report, letter := fakeReport(), heldLetter()
		for _, tt := range []struct {
			event inbox.Event
			want  string
		}{
			{inbox.Event{Kind: inbox.MailEvent, First: 3, Last: 5, New: 3, Live: true}, `{"kind":"mail","first":3,"last":5,"new":3,"live":true}`},
			{inbox.Event{Kind: inbox.ProgressEvent, Progress: &catchup.Progress{ID: 1, New: 2, Bytes: 3, Share: 0.5, Server: second}},
				`{"kind":"progress","progress":{"id":1,"new":2,"bytes":3,"share":0.5,"server":"` + second.String() + `"}}`},
			{inbox.Event{Kind: inbox.ServerEvent, Server: second}, `{"kind":"server","server":"` + second.String() + `"}`},
			{inbox.Event{Kind: inbox.ReportEvent, Report: &report}, `"text":"Complete: home and ffeeddcc agree that this is all."`},
			{inbox.Event{Kind: inbox.LetterEvent, Letter: &letter}, `"state":"held"`},
		} {
			if len(kinds) > 1 {
				own.tell(inbox.Event{Kind: inbox.WatchEvent, Watch: watchID}) // not asked for
			}
			own.tell(tt.event)
			if got := string(w.notification().Params); !strings.Contains(got, tt.want) || !strings.Contains(got, id) {
				t.Errorf("%s: %s, want %s", tt.event.Kind, got, tt.want)
			}
		}
		if !must[bool](w, "inbox_unsubscribe", id) {
			t.Error("not unsubscribed")
		}
		<-own.heard
	}
	if _, code, text := w.call("inbox_subscribe", "events", []string{"mail", "male"}); code != -32000 || !strings.HasPrefix(text, `there are no events of the kind "male"; allowed: [mail`) {
		t.Errorf("%d %s", code, text)
	}
}

// TestSlowReaderOfEvents: it is told how many events it lost; the rest comes in order.
func TestSlowReaderOfEvents(t *testing.T) {
	own := newFakeInbox()
	w := start(t, withInbox(own)).dial(t)
	must[string](w, "inbox_subscribe", "events")
	<-own.heard
	const all = 20 * rpc.MaxEvents
	list := make([]inbox.Event, all)
	for i := range list {
		list[i] = inbox.Event{Kind: inbox.MailEvent, First: uint64(i + 1)}
	}
	own.tell(list...)
	var lost, last uint64
	for got := 0; last < all; {
		var params struct{ Result rpc.InboxEvent }
		if err := json.Unmarshal(w.notification().Params, &params); err != nil {
			t.Fatal(err)
		}
		e := params.Result
		if e.Kind == "lost" {
			lost += e.Lost
			continue
		}
		if got++; e.First != uint64(got)+lost {
			t.Fatalf("event %d after %d events and %d lost", e.First, got-1, lost)
		}
		last = e.First
	}
}

func TestTooManyReadersOfEvents(t *testing.T) {
	own := newFakeInbox()
	st := start(t, withInbox(own))
	w := st.dial(t)
	for range rpc.MaxEventReaders {
		must[string](w, "inbox_subscribe", "events")
		<-own.heard
	}
	other := st.dial(t)
	if _, _, text := other.call("inbox_subscribe", "events"); !strings.HasPrefix(text, "100 subscriptions of events are open already") {
		t.Error(text)
	}
	w.nc.Close() // what it held is free again
	for range rpc.MaxEventReaders {
		<-own.heard
	}
	must[string](other, "inbox_subscribe", "events")
}

func TestClientReadsEvents(t *testing.T) {
	own := newFakeInbox()
	st := start(t, withInbox(own))
	c, err := rpc.Dial(t.Context(), st.path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ch := make(chan *rpc.InboxEvent, 1)
	ended, cancel, err := c.Events(t.Context(), []string{"server"}, ch)
	if err != nil {
		t.Fatal(err)
	}
	<-own.heard
	own.tell(inbox.Event{Kind: inbox.ServerEvent, Server: nodeaddr.ID{1}})
	if e := <-ch; e.Kind != "server" || e.Server != (nodeaddr.ID{1}).String() {
		t.Errorf("%+v", e)
	}
	cancel()
	<-own.heard
	<-ended
	if _, _, err := c.Events(t.Context(), []string{"male"}, ch); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

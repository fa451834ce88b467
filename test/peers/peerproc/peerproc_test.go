package peerproc_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/test/peers/peerproc"
)

// script writes an executable shell script: a helper that says exactly what a test wants.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "helper")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

const started = `read line; echo '{"id":1,"result":{"enode":"enode://x","id":"` +
	`0100000000000000000000000000000000000000000000000000000000000002","port":1}}'
`

func TestFetchHistory(t *testing.T) {
	// The second packet 125 is the one that belongs to the request.
	id := strings.Repeat("07", 32)
	bin := script(t, started+`
read line
case "$line" in *'"form":"rlp7"'*) ;; *) exit 1;; esac
echo '{"id":2,"result":{"hash":"`+id+`","rlp":"c0"}}'
echo '{"event":"mail","at_ns":5,"size":9,"listed":true,"mail":[{"hash":"01","topic":"01020304","sent":3,"rlp":"c1"},{"hash":"02","topic":"05","sent":4,"rlp":"c2"}]}'
echo '{"event":"complete","at_ns":6,"payload":"`+strings.Repeat("08", 64)+`"}'
echo '{"event":"mail","at_ns":7,"mail":[{"hash":"03","topic":"05","sent":5,"rlp":"c3"}]}'
echo '{"event":"complete","at_ns":8,"payload":"`+id+strings.Repeat("03", 32)+`aabb"}'
read line
echo '{"id":3,"result":{"hash":"`+id+`","rlp":"c0"}}'
echo '{"event":"complete","at_ns":9,"payload":"4552524f523d`+id+`6e6f"}'
read line
echo '{"id":4,"result":{"hash":"`+id+`","rlp":"c0"}}'
read line
`)
	n, err := peerproc.Start(patient(t), bin, peerproc.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	a, err := n.FetchHistory(patient(t), n.ID, peerproc.History{Form: peerproc.RLP7}, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if a.Packets != 2 || a.Listed != 1 || len(a.Mail) != 3 || a.Mail[1].Sent != 4 || a.First.UnixNano() != 5 || a.Last.UnixNano() != 7 {
		t.Errorf("answer %+v", a)
	}
	if c := a.Complete; c == nil || c.Failed || c.Last[31] != 3 || string(c.Cursor) != "\xaa\xbb" {
		t.Errorf("complete %+v", c)
	}
	a, err = n.FetchHistory(patient(t), n.ID, peerproc.History{Form: peerproc.RLP7}, 10*time.Second)
	if err != nil || a.Complete == nil || !a.Complete.Failed || a.Complete.Error != "no" {
		t.Errorf("a refusal: %+v, %v", a.Complete, err)
	}
	a, err = n.FetchHistory(patient(t), n.ID, peerproc.History{Form: peerproc.RLP7}, time.Millisecond)
	if err != nil || a.Complete != nil || a.Packets != 0 {
		t.Errorf("silence: %+v, %v", a, err)
	}
}

func TestNodeKeepsEarlyReports(t *testing.T) {
	// The message comes before the answer that names its filter, and the envelope before anybody waits for it.
	bin := script(t, started+`
echo '{"event":"pooled","at_ns":5,"hash":"07","topic":"01020304"}'
read line
echo '{"event":"message","at_ns":6,"message":{"filter":"f","payload":"6869","hash":"07","topic":"01020304","ttl":9,"pow":1.5,"sent":3}}'
echo '{"id":2,"result":{"filter":"f"}}'
read line
`)
	n, err := peerproc.Start(patient(t), bin, peerproc.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if n.Enode != "enode://x" || n.ID != [32]byte{0: 1, 31: 2} {
		t.Errorf("enode %q, id %x", n.Enode, n.ID)
	}
	sub, err := n.Subscribe(patient(t), peerproc.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := sub.Next(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	want := peerproc.Message{Payload: []byte("hi"), Hash: [32]byte{7}, Topic: [4]byte{1, 2, 3, 4}, TTL: 9, Sent: 3, PoW: 1.5, At: time.Unix(0, 6)}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
	if sub.Seen(m.Hash) != 1 {
		t.Errorf("seen %d times, want once", sub.Seen(m.Hash))
	}
	if _, err := n.WaitPooled(patient(t), [32]byte{7}); err != nil {
		t.Error(err)
	}
}

func TestErrorsReachTheCaller(t *testing.T) {
	for _, tc := range []struct{ name, then, want string }{
		{"refusal", `read line; echo '{"id":2,"error":"no such peer"}'; read line`, "no such peer"},
		{"crash", `read line; echo "panic: index out of range" >&2; exit 2`, "panic: index out of range"},
		{"nonsense", `read line; echo '{"id":2,"result":{},"surprise":1}'; read line`, "surprise"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n, err := peerproc.Start(patient(t), script(t, started+tc.then+"\n"), peerproc.Config{})
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			err = n.DropPeer(patient(t), n.ID)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestWaitEndsWithTheProcess(t *testing.T) {
	n, err := peerproc.Start(patient(t), script(t, started+"exit 3\n"), peerproc.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Wait(patient(t), peerproc.Of(peerproc.Pooled)); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v, want the exit status", err)
	}
}

func TestRaw(t *testing.T) {
	r, err := peerproc.StartRaw(script(t, `
echo '{"event":"ready","enode":"enode://y"}'
while read line; do
  case $line in
    cpu) i=$((i+1)); echo '{"event":"cpu","pool":'$i',"cpu_ns":7}';;
    stop) echo '{"event":"result","pool":9}'; exit 0;;
  esac
done
`))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if enode, err := r.Ready(patient(t)); err != nil || enode != "enode://y" {
		t.Errorf("ready: %q, %v", enode, err)
	}
	for want := 1; want <= 2; want++ {
		if report, err := r.CPU(patient(t)); err != nil || report.Pool != want || report.CPUNanos != 7 {
			t.Errorf("report %d: %+v, %v", want, report, err)
		}
	}
	if err := r.Send("stop"); err != nil {
		t.Fatal(err)
	}
	var last peerproc.RelayReport
	if err := r.Result(patient(t), &last); err != nil || last.Pool != 9 {
		t.Errorf("result %+v, %v", last, err)
	}
}

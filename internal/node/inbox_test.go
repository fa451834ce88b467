package node_test

import (
	"context"
	"crypto/rand"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/inbox"
	"github.com/restante-im/restante/internal/mailserver"
	"github.com/restante-im/restante/internal/node"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/vault"
)

// road is a network between a client and everybody else, which breaks and comes back.
type road struct {
	mu    sync.Mutex
	open  bool
	conns map[net.Conn]bool
}

func newRoad() *road { return &road{open: true, conns: map[net.Conn]bool{}} }

func (r *road) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	r.mu.Lock()
	open := r.open
	r.mu.Unlock()
	if !open {
		return nil, &net.OpError{Op: "dial", Err: net.UnknownNetworkError("no route")}
	}
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[c] = true
	return c, nil
}

func (r *road) set(open bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = open
	if !open {
		for c := range r.conns {
			c.Close()
		}
		clear(r.conns)
	}
}

func withMail(o *node.Options) {
	o.Mail = &node.MailOptions{ArchiveDir: filepath.Join(o.DataDir, "archive"), MembersFile: filepath.Join(o.DataDir, "members.json")}
	o.MailSettings = node.MailSettings{Limits: mailserver.DefaultLimits(), Rules: archive.Rules{Age: 24 * time.Hour, Min: time.Hour}}
}

func withInbox(o *node.Options, servers ...string) {
	o.Network.ListenAddrs, o.Gossip.Full, o.OpsListen = nil, false, ""
	o.Inbox = &node.InboxOptions{File: filepath.Join(o.DataDir, "inbox.db"), Key: vault.File}
	o.InboxSettings = inbox.Settings{Servers: servers, Since: time.Hour}
}

// TestTheNetworkComesBack takes the network away from an inbox and gives it back: within a second it asks again.
func TestTheNetworkComesBack(t *testing.T) {
	server := start(t, withMail)
	enode := server.until(func(st rpc.Status, _ []rpc.Peer) bool { return st.Enode != "" }).Enode
	road := newRoad()
	client := start(t, func(o *node.Options) {
		withInbox(o, enode)
		o.Network.DialContext = road.dial
	})
	call(t, client, "inbox_watch", map[string]any{"topics": []string{"0x01020304"}})
	requests := func() float64 {
		return server.until(func(rpc.Status, []rpc.Peer) bool { return true }).Counters["restante_mail_requests_total"]
	}
	server.until(func(st rpc.Status, _ []rpc.Peer) bool { return st.Counters["restante_mail_requests_total"] > 0 })
	const bound = time.Second
	for _, away := range []time.Duration{50 * time.Millisecond, 3 * time.Second} {
		before := requests()
		road.set(false)
		server.until(func(_ rpc.Status, peers []rpc.Peer) bool { return len(peers) == 0 })
		<-time.After(away)
		back := time.Now()
		road.set(true)
		server.until(func(st rpc.Status, _ []rpc.Peer) bool { return st.Counters["restante_mail_requests_total"] > before })
		took := time.Since(back)
		t.Logf("away for %v: asked again %v after the network came back", away, took.Round(time.Millisecond))
		if took > bound {
			t.Errorf("away for %v: asked again only %v after the network came back", away, took)
		}
	}
}

// call calls a method of a node.
func call(t *testing.T, r *running, method string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := rpc.Dial(ctx, r.opt.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Call(ctx, nil, method, args...); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
}

// TestTheKeyMovesUnderAPassphrase changes the configuration between two starts.
func TestTheKeyMovesUnderAPassphrase(t *testing.T) {
	first := start(t, func(o *node.Options) { withInbox(o) })
	first.stop()
	if err := <-first.ended; err != nil {
		t.Fatal(err)
	}
	first.ended <- nil
	start(t, func(o *node.Options) {
		o.DataDir, o.KeyFile, o.Socket = first.opt.DataDir, first.opt.KeyFile, first.opt.Socket
		withInbox(o)
		o.Inbox.Key, o.Inbox.Ask = vault.Passphrase, func(string, bool) (string, error) { return "correct horse", nil }
	}).until(func(st rpc.Status, _ []rpc.Peer) bool {
		return !slices.ContainsFunc(st.Health, func(c rpc.Condition) bool { return c.Code == node.NotProtected })
	})
}

// TestAWrongPassphraseIsSaid starts an inbox whose key is under a passphrase.
func TestAWrongPassphraseIsSaid(t *testing.T) {
	passphrase := func(text string) func(string, bool) (string, error) {
		return func(string, bool) (string, error) { return text, nil }
	}
	dir := t.TempDir()
	first := start(t, func(o *node.Options) {
		o.DataDir, o.KeyFile = dir, filepath.Join(dir, "node.key")
		withInbox(o)
		o.Inbox.Key, o.Inbox.Ask = vault.Passphrase, passphrase("correct horse "+rand.Text())
	})
	first.stop()
	if err := <-first.ended; err != nil {
		t.Fatal(err)
	}
	first.ended <- nil
	opt := first.opt
	opt.Inbox.Ask = passphrase("wrong")
	if err := node.Run(context.Background(), opt); err == nil {
		t.Error("a wrong passphrase opens the inbox")
	} else {
		t.Log(err)
	}
}

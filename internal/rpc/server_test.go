package rpc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/rpc"
)

func TestSocketIsPrivateAndGoesAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "deep")
	path := filepath.Join(dir, "r.ipc")
	l, err := rpc.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{path: 0o600 | os.ModeSocket, dir: 0o700 | os.ModeDir} {
		if info, err := os.Lstat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	l.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
}

func TestListenRefusals(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	l, err := rpc.Listen(taken)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, text string
		kind       fault.Kind
	}{
		{taken, "another instance is running with data directory " + dir, fault.Exists},
		{file, file + " exists and is no socket", fault.Exists},
		{filepath.Join(dir, strings.Repeat("x", rpc.MaxSocketPath)), "choose a shorter data directory", fault.Invalid},
		{filepath.Join(file, "r.ipc"), "cannot make the folder " + file, fault.Unavailable},
	} {
		if _, err := rpc.Listen(c.path); !fault.Is(err, c.kind) || !strings.Contains(fault.Text(err), c.text) {
			t.Errorf("%s: %v (%v)", c.path, fault.Text(err), fault.KindOf(err))
		}
	}
	if _, err := net.Dial("unix", taken); err != nil {
		t.Errorf("the running instance was disturbed: %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.ipc")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	old.Close() // as after kill -9
	l, err := rpc.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}

// Of instances that start at the same moment exactly one gets the socket.
func TestOneInstanceWins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.ipc")
	const instances = 8
	results := make(chan error, instances)
	for range instances {
		go func() {
			l, err := rpc.Listen(path)
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			results <- err
		}()
	}
	won := 0
	for range instances {
		if err := <-results; err == nil {
			won++
		} else if !fault.Is(err, fault.Exists) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d instances got the socket", won)
	}
}

func TestTooManyConnections(t *testing.T) {
	st := start(t)
	for range rpc.MaxConnections {
		must[string](st.dial(t), "shh_version")
	}
	r := st.dial(t).next()
	if r.Error == nil || !strings.Contains(r.Error.Message, "64 programs are connected") {
		t.Errorf("got %s", show(r))
	}
}

func TestTooLargeRequest(t *testing.T) {
	w := start(t).dial(t)
	// Two large ones in a row are fine: the limit is for one.
	half := `{"jsonrpc":"2.0","id":1,"method":"shh_hasSymKey","params":["` + strings.Repeat("\\\"", rpc.MaxRequest/3) + `"]}`
	for range 2 {
		if r := w.ask(half); r.Error != nil {
			t.Fatal(show(r))
		}
	}
	go w.nc.Write([]byte(`{"x":"` + strings.Repeat("x", rpc.MaxRequest)))
	if r := w.next(); r.Error == nil || !strings.Contains(r.Error.Message, "the request is larger than") {
		t.Errorf("got %s", show(r))
	}
	if _, err := w.nc.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}

func TestBatches(t *testing.T) {
	w := start(t).dial(t)
	w.send(`[{"jsonrpc":"2.0","id":1,"method":"shh_version"},{"jsonrpc":"2.0","id":2,"method":"nope"}]`)
	var list []reply
	if err := w.in.Decode(&list); err != nil || len(list) != 2 || string(list[0].Result) != `"6.0"` || list[1].Error.Code != -32601 {
		t.Errorf("%+v, %v", list, err)
	}
	one := `{"jsonrpc":"2.0","id":1,"method":"shh_version"}`
	w.send("[" + strings.Repeat(one+",", rpc.MaxBatch) + one + "]")
	if err := w.in.Decode(&list); err != nil || len(list) != 1 || list[0].Error == nil || list[0].Error.Message != "batch too large" {
		t.Errorf("%+v, %v", list, err)
	}
}

// A program may close its sending side at once and still wait for the answer.
func TestHalfClosedConnectionIsAnswered(t *testing.T) {
	w := start(t).dial(t)
	key := must[string](w, "shh_newSymKey")
	w.send(`{"jsonrpc":"2.0","id":7,"method":"shh_post","params":[{"symKeyID":"` + key + `","topic":"0x01020304","payload":"0x01","powTarget":1,"powTime":20}]}`)
	if err := w.nc.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if r := w.next(); r.Error != nil || string(r.ID) != "7" {
		t.Errorf("got %s", show(r))
	}
	if _, err := w.nc.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("then %v, want EOF", err)
	}
}

func TestStopAnswersWhatIsUnderWay(t *testing.T) {
	st := start(t)
	w := st.dial(t)
	key := must[string](w, "shh_newSymKey")
	must[string](w, "shh_subscribe", "messages", map[string]any{"symKeyID": key, "topics": []string{"0x01020304"}})
	w.send(`{"jsonrpc":"2.0","id":9,"method":"shh_post","params":[{"symKeyID":"` + key + `","topic":"0x01020304","payload":"0x01","ttl":600,"powTarget":1e12,"powTime":600}]}`)
	must[bool](w, "shh_hasSymKey", key)
	began := time.Now()
	st.cancel()
	if r := w.next(); r.Error == nil || !strings.HasPrefix(r.Error.Message, "the proof of work was given up") {
		t.Errorf("got %s", show(r))
	}
	if err := <-st.served; err != nil || time.Since(began) > 2*time.Second {
		t.Errorf("stopped after %v: %v", time.Since(began), err)
	}
	st.served <- nil // for the clean-up
	if _, err := os.Lstat(st.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestClient(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	st := start(t)
	c, err := rpc.Dial(ctx, st.path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var key string
	if err := c.Call(ctx, &key, "shh_generateSymKeyFromPassword", "x"); err != nil {
		t.Fatal(err)
	}
	ch := make(chan *rpc.Message, 1)
	sub, err := c.Subscribe(ctx, rpc.Criteria{SymKeyID: key, Topics: []rpc.Topic{{1, 2, 3, 4}}}, ch)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := c.Post(ctx, rpc.NewMessage{SymKeyID: key, Topic: rpc.Topic{1, 2, 3, 4}, Payload: []byte("hello"), PowTarget: 0.2, PowTime: 10})
	if err != nil {
		t.Fatal(err)
	}
	if m := <-ch; string(m.Payload) != "hello" || hash != m.Hash.String() {
		t.Errorf("got %+v, posted %s", m, hash)
	}
	sub.Unsubscribe()
	if status, err := c.Status(ctx); err != nil || status.Version != "test" {
		t.Errorf("%+v, %v", status, err)
	}
	if list, err := c.Peers(ctx); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
	if err := c.Call(ctx, nil, "shh_getFilterMessages", "x"); !fault.Is(err, fault.Invalid) || fault.Text(err) != "filter not found" {
		t.Errorf("%v: %s", fault.KindOf(err), fault.Text(err))
	}
	if err := c.Call(ctx, nil, "shh_nope"); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	st.cancel()
	<-st.served
	st.served <- nil
	if err := c.Call(ctx, nil, "shh_version"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("with the node gone: %v", err)
	}
}

func TestDialWithoutNode(t *testing.T) {
	dir := t.TempDir()
	_, err := rpc.Dial(context.Background(), filepath.Join(dir, "r.ipc"))
	want := "no node is running with data directory " + dir + "; start one with `restante serve`"
	if !fault.Is(err, fault.Unavailable) || fault.Text(err) != want {
		t.Errorf("%v: %s", fault.KindOf(err), fault.Text(err))
	}
}

package devp2p

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

func TestRestOnlyWhileBusy(t *testing.T) {
	var r rest
	now := time.Unix(1_800_000_000, 0)
	for i := range 3 { // lone packets, a second apart
		now = now.Add(time.Second)
		r.read(now, true)
		if w := r.wait(now); w != 0 {
			t.Fatalf("waits %s after lone packet %d", w, i)
		}
	}
	for range restAfter {
		now = now.Add(time.Millisecond)
		r.read(now, true)
	}
	now = now.Add(time.Millisecond)
	if w := r.wait(now); w != restTime-time.Millisecond {
		t.Errorf("waits %s on a busy connection", w)
	}
	r.read(now, false)
	if w := r.wait(now); w != 0 {
		t.Errorf("waits %s though there is more to read", w)
	}
	r.read(now, true)
	now = now.Add(time.Second)
	r.read(now, true)
	if w := r.wait(now); w != 0 {
		t.Errorf("waits %s after a pause", w)
	}
}

// TestQuietReadsAll reads what came before, during and after a quiet time, and the end.
func TestQuietReadsAll(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	there, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	here, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	here.SetDeadline(time.Now().Add(10 * time.Second))
	q := newQuiet(here)
	buf := make([]byte, 64)
	for _, text := range []string{"one", "two", "three"} {
		q.begin()
		write := func() {
			if _, err := io.WriteString(there, text); err != nil {
				t.Error(err)
			}
		}
		if text == "two" {
			write() // it may be there before the read
		} else {
			go write() // the read finds nothing at first
		}
		n, err := io.ReadAtLeast(reader(func(p []byte) (int, error) { return q.read(here, p) }), buf, len(text))
		if err != nil || !bytes.Equal(buf[:n], []byte(text)) {
			t.Fatalf("read %q, %v, want %q", buf[:n], err, text)
		}
	}
	q.begin()
	there.Close()
	if n, err := q.read(here, buf); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	q.begin()
	here.Close()
	if _, err := q.read(here, buf); err == nil {
		t.Error("a closed connection reads")
	}
}

type reader func([]byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }

package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// A WebSocket whose other side says nothing is asked now and then, and given up when it does not answer.
const (
	pingEvery    = 30 * time.Second
	silenceLimit = 75 * time.Second
	closeTimeout = time.Second // for the closing frame
	socketBuffer = 4 << 10     // bytes, each way
)

var errSocketClosed = errors.New("the WebSocket was closed")

// serveWebSocket turns the request into a WebSocket and answers on it until it ends.
func (s *Server) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{
		HandshakeTimeout: webHeaderTimeout, ReadBufferSize: socketBuffer, WriteBufferSize: socketBuffer,
		CheckOrigin: func(*http.Request) bool { return true }, // the handler has checked
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the client was told
	}
	s.serveLink(newWebSocket(ws), webConn)
}

// webSocket is a WebSocket as a stream of JSON values: each frame is followed by a line's end, each write is one frame.
type webSocket struct {
	ws    *websocket.Conn
	frame io.Reader // the rest of the present one; nil between two
	stop  context.CancelFunc

	mu       sync.Mutex
	draining bool // the read deadline stays
}

func newWebSocket(ws *websocket.Conn) *webSocket {
	ctx, stop := context.WithCancel(context.Background())
	k := &webSocket{ws: ws, stop: stop}
	ws.SetReadLimit(MaxRequest)
	ws.SetPongHandler(func(string) error { k.alive(); return nil })
	k.alive()
	go k.ping(ctx)
	return k
}

// alive puts off giving the other side up.
func (k *webSocket) alive() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.draining {
		k.ws.SetReadDeadline(time.Now().Add(silenceLimit))
	}
}

func (k *webSocket) ping(ctx context.Context) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout))
		}
	}
}

// Read implements link. A closed WebSocket is an error other than io.EOF: nobody listens any more.
func (k *webSocket) Read(p []byte) (int, error) {
	for k.frame == nil {
		_, frame, err := k.ws.NextReader()
		if errors.Is(err, io.EOF) {
			err = errSocketClosed
		}
		if err != nil {
			return 0, err
		}
		k.alive()
		k.frame = frame
	}
	n, err := k.frame.Read(p)
	if err == io.EOF {
		k.frame = nil
		if n < len(p) {
			p[n] = '\n'
			return n + 1, nil
		}
		k.frame = strings.NewReader("\n")
		return n, nil
	}
	return n, err
}

// Write implements link.
func (k *webSocket) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, errSocketClosed // only asked after the input's end, which ends both ways
	}
	if err := k.ws.WriteMessage(websocket.TextMessage, bytes.TrimSuffix(p, []byte{'\n'})); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetReadDeadline implements link. It is final.
func (k *webSocket) SetReadDeadline(t time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.draining = true
	return k.ws.SetReadDeadline(t)
}

// SetWriteDeadline implements link.
func (k *webSocket) SetWriteDeadline(t time.Time) error { return k.ws.SetWriteDeadline(t) }

// Close implements link.
func (k *webSocket) Close() error {
	k.stop()
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	k.ws.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(closeTimeout))
	return k.ws.Close()
}

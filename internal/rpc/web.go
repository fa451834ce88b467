package rpc

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"github.com/restante-im/restante/internal/fault"
)

// Bounds of the interface over HTTP and WebSocket, besides those of a Server.
const (
	MaxWebConnections = 64 // open at a time, idle ones and those without the token included

	webHeaderTimeout = 10 * time.Second // for a request's head,
	webBodyTimeout   = time.Minute      // and for its body
	webIdleTimeout   = 2 * time.Minute  // between two requests
	webMaxHeader     = 16 << 10         // bytes
)

// WebOptions say who may use the interface over HTTP and WebSocket.
type WebOptions struct {
	Token   string   // the path of the only address that is answered; see LoadOrCreateToken
	Origins []string // of web pages that may, like "https://example.org"; "*" for all. Programs that are no browsers send none
}

// web answers requests over HTTP, and those that turn into a WebSocket.
type web struct {
	server *Server
	opt    WebOptions
	path   []byte
}

// Handler serves HTTP (POST) and WebSocket on the path that the token is. Any other path is not found, so that who does
// not know the token learns nothing. Of the namespaces it has those that programs need: those of the operator, and
// whatever stops the node or reads its disk, are on the local socket only.
func (s *Server) Handler(o WebOptions) http.Handler {
	return &web{server: s, opt: o, path: []byte("/" + o.Token)}
}

// ServeHTTP implements http.Handler.
func (h *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.URL.Path), h.path) != 1 {
		http.NotFound(w, r)
		return
	}
	if cameLocally(r) && !isLocalHost(r.Host) {
		http.Error(w, "the request is for the host "+r.Host+", which is not this machine: use 127.0.0.1 or localhost", http.StatusForbidden)
		return
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		if !slices.ContainsFunc(h.opt.Origins, func(o string) bool { return o == "*" || strings.EqualFold(o, origin) }) {
			http.Error(w, "web pages of "+origin+" may not use this node: add the origin to rpc.origins in its configuration", http.StatusForbidden)
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Vary", "Origin")
	}
	switch {
	case websocket.IsWebSocketUpgrade(r):
		h.server.serveWebSocket(w, r)
	case r.Method == http.MethodOptions:
		w.Header().Set("Access-Control-Allow-Methods", http.MethodPost)
		w.Header().Set("Access-Control-Allow-Headers", "Content-Type")
		w.Header().Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST, OPTIONS")
		http.Error(w, "send JSON-RPC requests by POST, or open a WebSocket", http.StatusMethodNotAllowed)
	default:
		h.post(w, r)
	}
}

// post answers one request or batch.
func (h *web) post(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Now().Add(webBodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxRequest))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		http.Error(w, fmt.Sprintf("the request is larger than %d bytes", MaxRequest), http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		http.Error(w, "the request did not arrive whole", http.StatusBadRequest)
		return
	case h.server.isClosed():
		http.Error(w, errStopping.Error(), http.StatusServiceUnavailable)
		return
	}
	control.SetReadDeadline(time.Time{}) // a call may take long; its client may go away meanwhile
	new(sizer).feed(body)                // for the names of methods
	asked := r.Clone(r.Context())
	asked.Body, asked.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	h.server.web.ServeHTTP(&timedWriter{w, control}, asked)
}

// timedWriter gives each write a time limit, as a call itself has none.
type timedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (w *timedWriter) Write(p []byte) (int, error) {
	w.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	return w.ResponseWriter.Write(p)
}

// cameLocally reports whether the request came over the machine's loopback.
func cameLocally(r *http.Request) bool {
	at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && at.IP.IsLoopback()
}

// isLocalHost reports whether a Host header names this machine's loopback. A name that somebody else's DNS server
// points here would let web pages reach the node.
func isLocalHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// ServeWeb answers HTTP and WebSocket on l, like Serve, until ctx is done or l fails. It closes l. Calls under way when
// ctx is done get a moment to end; then ServeWeb returns nil.
func (s *Server) ServeWeb(ctx context.Context, l net.Listener, o WebOptions) error {
	srv := &http.Server{
		Handler: s.Handler(o), ReadHeaderTimeout: webHeaderTimeout, IdleTimeout: webIdleTimeout, MaxHeaderBytes: webMaxHeader,
		ErrorLog: log.New(io.Discard, "", 0), // what clients do wrong is their business
	}
	failed := make(chan error, 1)
	go func() {
		failed <- srv.Serve(&limitedListener{Listener: l, taken: make(chan struct{}, MaxWebConnections)})
	}()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fault.E("rpc: serve", fault.Unavailable, err, "HTTP connections are not accepted any more")
	}
	soon, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	var ending sync.WaitGroup
	ending.Go(s.stop) // ends calls, for which Shutdown waits
	if srv.Shutdown(soon) != nil {
		srv.Close()
	}
	ending.Wait()
	return err
}

// ListenWeb opens an address, such as 127.0.0.1:8545, for ServeWeb. The error is of kind Invalid if it is none of this machine's, else
// Unavailable.
func ListenWeb(address string) (net.Listener, error) {
	const op = "rpc: listen"
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.E(op, fault.Unavailable, err, "another program listens at "+address+": choose another port in rpc.listen")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fault.E(op, fault.Invalid, err, "rpc.listen is "+address+", which is no address of this machine: use 127.0.0.1 and a port")
	default:
		return nil, fault.E(op, fault.Unavailable, err, "cannot listen for HTTP at "+address+", as rpc.listen says: check the address and port")
	}
}

// limitedListener refuses connections while there are too many.
type limitedListener struct {
	net.Listener
	taken chan struct{}
}

const tooMany = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.taken <- struct{}{}:
			return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.taken })}, nil
		default:
			c.SetWriteDeadline(time.Now().Add(time.Second)) // it fits the socket's buffer
			io.WriteString(c, tooMany)
			c.Close()
		}
	}
}

type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

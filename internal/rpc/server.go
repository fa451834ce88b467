package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/filter"
	"github.com/restante-im/restante/internal/keyring"
	"github.com/restante-im/restante/internal/rpc/legacy"
)

// Options are the parts that a Server connects. Gossip, Admin, Health, Keys and Filters must be set.
type Options struct {
	Gossip   Gossip
	Admin    Admin
	Health   Health
	Keys     *keyring.Ring
	Filters  *filter.Set
	Members  Members         // nil unless the node is a mail server for its members
	Archive  Archive         // nil unless the node is a mail server
	Inbox    Inbox           // nil unless the node keeps an inbox for its user
	Requests legacy.Requests // nil unless the node asks mail servers for programs
	Cores    int             // for one proof of work; all of the machine's unless set
}

// Server answers JSON-RPC requests.
type Server struct {
	rpc      *gethrpc.Server // on the local socket
	web      *gethrpc.Server // over HTTP and WebSocket: what programs need
	ctx      context.Context // ends calls that wait
	cancel   context.CancelFunc
	stopping sync.Once

	mu     sync.Mutex
	conns  map[string]*conn
	serial uint64
	closed bool
	active sync.WaitGroup // connections, and what runs beside them
}

// New makes a server. It serves nothing yet.
func New(o Options) (*Server, error) {
	if o.Cores <= 0 {
		o.Cores = runtime.NumCPU()
	}
	s := &Server{rpc: gethrpc.NewServer(), web: gethrpc.NewServer(), conns: make(map[string]*conn)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.rpc.SetBatchLimits(MaxBatch, MaxBatchAnswer)
	s.web.SetBatchLimits(MaxBatch, MaxBatchAnswer)
	s.web.SetHTTPBodyLimit(MaxRequest)
	for name, api := range services(o, s) {
		err := s.rpc.RegisterName(name, api)
		if err == nil && slices.Contains(webNamespaces, name) {
			err = s.web.RegisterName(name, api)
		}
		if err != nil {
			return nil, fault.E("rpc: new server", fault.Internal, err, "")
		}
	}
	return s, nil
}

// webNamespaces are those that are served over HTTP and WebSocket too.
var webNamespaces = []string{"shh", legacy.Namespace, "net", "inbox", "rpc"}

// services are the namespaces and what answers them. Methods asks without a server.
func services(o Options, s *Server) map[string]any {
	node := &nodeAPI{admin: o.Admin, gossip: o.Gossip, filters: o.Filters, health: o.Health}
	return map[string]any{
		"shh": &shhAPI{
			gossip: o.Gossip, keys: o.Keys, filters: o.Filters, bind: s.bind, work: newWorkshop(o.Cores),
		},
		"members":        &membersAPI{o.Members},
		"archive":        &archiveAPI{o.Archive, s.bind},
		"node":           node,
		"inbox":          newInboxAPI(o.Inbox, o.Keys, s.bind),
		"net":            &netAPI{admin: o.Admin},
		"admin":          &adminAPI{admin: o.Admin, node: node},
		"rpc":            newDocumentAPI(),
		legacy.Namespace: legacy.New(legacy.Options{Requests: o.Requests, Keys: o.Keys, Bind: s.bind, Go: s.background}),
	}
}

// Methods returns the names of all methods that a Server answers, sorted.
// Subscriptions are named like `shh_subscribe "messages"`.
func Methods() []string {
	list := []string{"rpc_modules"} // answered by the library itself, as are the ends of subscriptions
	for namespace, api := range services(Options{}, new(Server)) {
		t := reflect.TypeOf(api)
		for i := range t.NumMethod() {
			name := methodName(namespace, t.Method(i))
			if list = append(list, name); strings.Contains(name, " ") {
				list = append(list, namespace+"_unsubscribe")
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func methodName(namespace string, m reflect.Method) string {
	first := []rune(m.Name)
	first[0] = unicode.ToLower(first[0])
	if m.Type.NumOut() > 0 && m.Type.Out(0) == reflect.TypeFor[*gethrpc.Subscription]() {
		return fmt.Sprintf("%s_subscribe %q", namespace, string(first))
	}
	return namespace + "_" + string(first)
}

// Serve answers on every connection that l accepts, until ctx is done or l
// fails. It closes l. Calls under way when ctx is done get a moment to end, and
// proofs of work are given up; then Serve returns nil. A Server serves no more
// after that.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer s.stop()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	for failures := 0; ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			failures = 0
			go s.ServeConn(nc)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fault.E("rpc: serve", fault.Closed, err, "the command socket was closed")
		default: // out of file descriptors, most likely: wait, then try again
			failures++
			if failures > 100 {
				return fault.E("rpc: serve", fault.Unavailable, err, "the command socket takes no connections any more")
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// ServeConn answers on one connection until it ends, and closes it.
func (s *Server) ServeConn(nc net.Conn) { s.serveLink(nc, localConn) }

// The sorts of connections that stay, as the first part of their ids. They are counted apart, so that neither keeps the
// other out.
const (
	localConn = "ipc"
	webConn   = "ws"
)

func (s *Server) serveLink(nc link, sort string) {
	c, err := s.enter(nc, sort)
	if err != nil {
		c = newConn(s.ctx, nc, "")
		c.refuse(err.Error())
		c.Close()
		return
	}
	defer s.leave(c)
	if sort == webConn {
		s.web.ServeCodec(gethrpc.NewCodec(c), 0)
	} else {
		s.rpc.ServeCodec(gethrpc.NewCodec(c), 0)
	}
}

var errStopping = errors.New("the node is stopping")

func (s *Server) enter(nc link, sort string) (*conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errStopping
	}
	open := 0
	for id := range s.conns {
		if strings.HasPrefix(id, sort) {
			open++
		}
	}
	if open >= MaxConnections {
		return nil, fmt.Errorf("%d programs are connected to the node already, the most that may be", MaxConnections)
	}
	s.serial++
	c := newConn(s.ctx, nc, fmt.Sprint(sort, "-", s.serial))
	s.conns[c.id] = c
	s.active.Add(1)
	return c, nil
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) leave(c *conn) {
	c.Close()
	s.mu.Lock()
	delete(s.conns, c.id)
	s.mu.Unlock()
	s.active.Done()
}

// bind returns a context that ends with the call, its connection and the server.
// The library's own context does not end with the connection.
func (s *Server) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	life := s.ctx
	s.mu.Lock()
	if c := s.conns[gethrpc.PeerInfoFromContext(ctx).RemoteAddr]; c != nil {
		life = c.ctx
	}
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(life, cancel)
	return ctx, func() { stop(); cancel() }
}

// background runs f with a context that ends with the server, which waits for it.
func (s *Server) background(f func(context.Context)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.active.Go(func() { f(s.ctx) })
	return true
}

// stop lets calls end, then closes what is left.
func (s *Server) stop() {
	s.stopping.Do(func() {
		s.mu.Lock()
		s.closed = true
		for _, c := range s.conns {
			c.drain()
		}
		s.mu.Unlock()
		s.cancel()
		done := make(chan struct{})
		go func() { s.active.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(shutdownTimeout):
		}
		s.rpc.Stop()
		s.web.Stop()
	})
}

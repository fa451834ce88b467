// Package legacy holds the shapes in which older programs ask a node for mail: the namespace shhext, with its methods
// requestMessages, requestMessagesSync and updateMailservers, and the signals that report how requests ended as a
// subscription.
//
// Start with New; the API is registered with a JSON-RPC server under the name Namespace. What it needs of the node is
// declared here, as Requests. It keeps no mail: what comes is offered to the node's message filters by Requests.
// All methods are safe for concurrent use.
package legacy

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/message"
	"github.com/restante-im/restante/internal/nodeaddr"
)

// Namespace is the name that API is registered under.
const Namespace = "shhext"

// Bounds.
const (
	CursorSize = 36   // bytes of a cursor
	MaxLimit   = 1000 // envelopes of one request; also what limit 0 means
	MaxTopics  = 1024 // of one request
	MaxServers = 32   // of updateMailservers
	MaxOpen    = 64   // requests under way
	MaxRetries = 20   // of requestMessagesSync
	MaxSignals = 1024 // that wait for one subscriber; later ones are lost to it

	DefaultTimeout = 10 * time.Second
	MaxTimeout     = 10 * time.Minute // of one try
	defaultRange   = 86400            // seconds before to, where a request names no from
	sameTopics     = 3 * time.Second  // between two requests for the same topics
)

// Requests asks mail servers for a program. The node implements it. Methods may be called concurrently; errors are
// faults.
type Requests interface {
	// Connected reports whether the node is connected now.
	Connected(node nodeaddr.ID) bool
	// First returns the first known mail server that is connected. The error is of kind NotFound if none is.
	First() (nodeaddr.Node, error)
	// Ask asks for one page of mail and returns when it is over. What comes is offered to the message filters as
	// direct, also of a page that fails half way. The error has the mail server's words where it refused; it is of
	// kind Timeout, Unavailable or Closed, or ctx's, where no answer came.
	Ask(ctx context.Context, r Request) (Answer, error)
	// SetServers keeps these mail servers connected from now on, and those of the last call that are not among them
	// no longer.
	SetServers(ctx context.Context, list []nodeaddr.Node) error
	// Now returns the network's time.
	Now() time.Time
}

// Request is what is asked for.
type Request struct {
	Server   nodeaddr.Node    // connected; the question is sealed for its key unless there is a Password
	From, To uint32           // Unix seconds, sent, both inclusive
	Topics   []envelope.Topic // exact; empty: everything
	Limit    int              // envelopes, 1 to MaxLimit
	Cursor   []byte           // of an earlier Answer of the same server, CursorSize bytes; nil: from the start
	Password *message.SymKey  // that the question is sealed with
}

// Answer is how a request ended well.
type Answer struct {
	Last   envelope.Hash // the last envelope that came; zero if none did
	Cursor []byte        // where the next page starts, CursorSize bytes; nil: this was all
}

// Keys finds a symmetric key by its id; *keyring.Ring is one.
type Keys interface {
	Sym(id string) (message.SymKey, error)
}

// Options are what an API is made of.
type Options struct {
	Requests Requests // nil: every method says that the node does not ask mail servers
	Keys     Keys

	// Bind returns a context that ends with the call, its connection and the server.
	Bind func(context.Context) (context.Context, context.CancelFunc)
	// Go runs f beside the caller with a context that ends with the server, which waits for f. It returns false when
	// the server ends.
	Go func(f func(context.Context)) bool
}

// API answers the namespace's methods: its exported methods are them.
type API struct {
	opt     Options
	signals hub

	mu     sync.Mutex
	open   int                  // requests under way
	recent map[string]time.Time // topics of requests of the last moments
}

// New makes an API.
func New(o Options) *API { return &API{opt: o, recent: map[string]time.Time{}} }

// Errors whose texts programs know.
var (
	errPeer     = errors.New("invalid mailServerPeer value")
	errKey      = errors.New("invalid symKeyID value")
	errTooSoon  = errors.New("another request with the same topics was sent less than 3s ago. Please wait for a bit longer, or set `force` to true in request parameters")
	errNowhere  = errors.New("this node does not ask mail servers for programs: start it with `restante up`")
	errTooMany  = errors.New("64 requests are under way already, the most that may be: wait until some of them have ended")
	errStopping = errors.New("the node is stopping")
)

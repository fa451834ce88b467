// Package driver turns a historic Whisper implementation into a helper process that tests steer from outside: one JSON
// request per line on standard input, one JSON answer per line on standard output, events in between.
//
// A helper's main function calls [Main] with a constructor of its [Engine], the thin glue to one Whisper package.
// Everything else (the p2p server, dialling without go-ethereum's 35 s pause, packet taps, filters that are polled every
// few milliseconds) is here and the same for all helpers. The commands are described in test/peers/README.md.
//
// This is a module of its own: the helpers need go-ethereum v1.9.20, which must never meet the version that Restante uses.
package driver

import (
	"fmt"
	"os"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/p2p"
)

// Options are what an Engine is made with.
type Options struct {
	MinPoW        float64
	MaxSize       uint32        // bytes; 0 takes the implementation's default
	Confirmations bool          // answer packets of envelopes with packets 12 and 11, where the implementation can
	ClockOffset   time.Duration // added to the engine's clock, where the implementation has a settable one
	MailDir       string        // be a mail server with its archive here, where the implementation can; empty: none
	MailPassword  string        // that opens its requests
	Emit          func(Event)   // never blocks for long; safe for concurrent use
}

// Engine is one Whisper implementation. The first group of methods is what the two whisperv6 packages share, so glue
// that embeds *whisperv6.Whisper has them already.
type Engine interface {
	Protocols() []p2p.Protocol
	SetMinimumPoW(float64) error
	SetMinimumPowTest(float64)
	SetBloomFilter([]byte) error
	SetMaxMessageSize(uint32) error
	SetLightClientMode(bool)
	AllowP2PMessagesFromPeer(id []byte) error
	MinPow() float64
	BloomFilter() []byte
	MaxMessageSize() uint32
	AddSymKeyFromPassword(string) (string, error)
	GetSymKey(string) ([]byte, error)
	Unsubscribe(string) error
	Stop() error

	Run() error                                         // starts the engine's own loops
	Seal(Draft) (raw []byte, hash common.Hash, e error) // seals a message without sending it
	SendRaw(raw []byte) (common.Hash, error)            // decodes an envelope and hands it to the node as its own
	SendDirect(id, raw []byte) error                    // packet 127
	Request(id, raw []byte) error                       // packet 126
	Subscribed(FilterSpec) (id string, e error)
	Retrieve(id string) []Message // and forget
	Pool() []common.Hash
	TopicBloom(topic []byte) []byte
}

// Main serves standard input until it ends or "stop" arrives, then exits the process.
func Main(name string, make func(Options) (Engine, error)) {
	n := &node{name: name, make: make, out: newWriter(os.Stdout), filters: map[string]chan struct{}{}}
	if err := n.serve(os.Stdin); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

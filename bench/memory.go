package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/gossip"
	"github.com/restante-im/restante/internal/node"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/wire"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// memoryPeers is how many idle peers are divided by.
const memoryPeers = 100

// Bounds that docs/performance.md states, in bytes.
const (
	peerBound   = 64 << 10
	usedBound   = 5 * 128 << 10 // RLPx keeps buffers for the largest packet sent, four and a half times
	pooledBound = 814 + 550     // the envelope of 512 bytes of payload as encoded, and what is kept about it
)

// ownNode is a node of ours in this process, where its memory can be counted to the byte.
type ownNode struct {
	client *rpc.Client
	url    string
	dir    string
	stop   context.CancelFunc
	ended  chan struct{}
}

// startOwn runs a node, a mail server if there are options for one.
func (b *bench) startOwn(ctx context.Context, mail *node.MailOptions) (*ownNode, error) {
	dir, err := os.MkdirTemp(b.dir, "own-")
	if err != nil {
		return nil, err
	}
	n := &ownNode{dir: dir, ended: make(chan struct{})}
	ctx, n.stop = context.WithCancel(ctx)
	socket := filepath.Join(dir, "restante.ipc")
	go func() {
		defer close(n.ended)
		node.Run(ctx, node.Options{
			DataDir: dir, KeyFile: filepath.Join(dir, "node.key"), Socket: socket,
			Network:  devp2p.Config{ListenAddrs: []string{"127.0.0.1:0"}, MaxPeers: 2 * memoryPeers},
			Gossip:   gossip.Config{Full: true},
			Dialects: wire.Dialects(), Mail: mail, Out: io.Discard, Log: slog.New(slog.DiscardHandler),
		})
	}()
	n.client, n.url, err = dialNode(ctx, socket, n.ended)
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *ownNode) enode() string { return n.url }
func (n *ownNode) pid() int      { return os.Getpid() }

func (n *ownNode) state(ctx context.Context) (pooled, peers int, err error) {
	st, err := n.client.Status(ctx)
	return int(st.Pool.Envelopes), st.PeersConnected, err
}

func (n *ownNode) close() {
	n.stop()
	<-n.ended
}

// inUse is the memory in live objects and stacks.
func inUse() float64 {
	var m runtime.MemStats
	for range 3 { // what pools keep goes with the second
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// memory is what an idle peer and a pooled envelope cost: nothing else happens meanwhile.
func (b *bench) memory(ctx context.Context) error {
	var peer, used, pooled []float64
	for range b.runs {
		n, err := b.startOwn(ctx, nil)
		if err != nil {
			return err
		}
		p, u, e, err := b.memoryOf(ctx, n)
		n.close()
		if err != nil {
			return err
		}
		peer, used, pooled = append(peer, p), append(used, u), append(pooled, e)
	}
	b.out.add("relay.peer_bytes", "bytes", target{atMost: peerBound}, peer, nil)
	b.out.add("relay.peer_used_bytes", "bytes", target{atMost: usedBound}, used, nil)
	b.out.add("relay.pooled_bytes", "bytes", target{atMost: pooledBound}, pooled, nil)
	return nil
}

func (b *bench) memoryOf(ctx context.Context, n *ownNode) (peer, used, pooled float64, err error) {
	empty := inUse()
	sink, err := peerproc.StartRaw(b.peer, "sink", "-to", n.enode(), "-conns", strconv.Itoa(memoryPeers))
	if err != nil {
		return 0, 0, 0, err
	}
	defer sink.Close()
	if err := waitState(ctx, n, 0, memoryPeers); err != nil {
		return 0, 0, 0, err
	}
	if err := pause(ctx, time.Second); err != nil {
		return 0, 0, 0, err
	}
	connected := inUse()
	if err := pour(ctx, b.peer, n.enode(), idlePool); err != nil {
		return 0, 0, 0, err
	}
	if err := waitState(ctx, n, idlePool, memoryPeers); err != nil {
		return 0, 0, 0, err
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return 0, 0, 0, err
	}
	filled := inUse()
	sink.Close()
	for _, peers, err := n.state(ctx); peers > 0; _, peers, err = n.state(ctx) {
		if err != nil {
			return 0, 0, 0, err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return 0, 0, 0, err
		}
	}
	if err := pause(ctx, time.Second); err != nil {
		return 0, 0, 0, err
	}
	alone := inUse()
	return (connected - empty) / memoryPeers, (filled - alone) / memoryPeers, (alone - empty) / idlePool, nil
}

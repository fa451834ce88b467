package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// Load of a node's JSON-RPC, in one run of go-ethereum's own client: symmetric messages of 512 bytes, with the least proof of
// work that a node of ours asks for by default.
const (
	rpcPosts = 4000
	rpcPolls = 2000
	rpcConns = 8
	rpcPoW   = "0.000002"
)

// rpcNode is a node with JSON-RPC, ours or the peer's.
type rpcNode struct {
	pid     int
	ipc, ws string // where clients dial
	close   func()
}

// rpcFigures are one node's in one run.
type rpcFigures struct{ post1, post8, postCPU, filter, wsPost, wsFilter float64 }

// rpc measures what programs get out of a node: posts, and messages polled from a filter.
func (b *bench) rpc(ctx context.Context) error {
	var all [2][]rpcFigures
	for range b.runs {
		for side, begin := range []func(context.Context) (*rpcNode, error){b.rpcOurs, b.rpcPeer} {
			n, err := begin(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", sideNames[side], err)
			}
			f, err := b.rpcOnce(ctx, n)
			n.close()
			if err != nil {
				return fmt.Errorf("%s: %w", sideNames[side], err)
			}
			debugf("%s: %+v", sideNames[side], f)
			all[side] = append(all[side], f)
		}
	}
	for _, f := range []struct {
		name, unit string
		t          target
		of         func(rpcFigures) float64
	}{
		{"rpc.post_per_s", "posts/s", target{}, func(f rpcFigures) float64 { return f.post1 }},
		{"rpc.post8_per_s", "posts/s", target{}, func(f rpcFigures) float64 { return f.post8 }},
		{"rpc.post_cpu_us", "us/post", target{}, func(f rpcFigures) float64 { return f.postCPU }},
		{"rpc.filter_per_s", "messages/s", target{ratioAtLeast: 1}, func(f rpcFigures) float64 { return f.filter }},
		{"rpc.ws_post8_per_s", "posts/s", target{}, func(f rpcFigures) float64 { return f.wsPost }},
		{"rpc.ws_filter_per_s", "messages/s", target{ratioAtLeast: 1}, func(f rpcFigures) float64 { return f.wsFilter }},
	} {
		var values [2][]float64
		for side, list := range all {
			for _, one := range list {
				values[side] = append(values[side], f.of(one))
			}
		}
		b.out.add(f.name, f.unit, f.t, values[0], values[1])
	}
	return nil
}

// rpcOnce loads a node: through its socket from one connection and from several, then through WebSocket.
func (b *bench) rpcOnce(ctx context.Context, n *rpcNode) (f rpcFigures, err error) {
	var one, many, polled, web peerproc.RPCResult
	if one, err = b.rpcLoad(ctx, n.ipc, 1, rpcPosts/2, 0); err != nil {
		return f, err
	}
	before, err := cpuTime(n.pid)
	if err != nil {
		return f, err
	}
	if many, err = b.rpcLoad(ctx, n.ipc, rpcConns, rpcPosts, 0); err != nil {
		return f, err
	}
	after, err := cpuTime(n.pid)
	if err != nil {
		return f, err
	}
	if polled, err = b.rpcLoad(ctx, n.ipc, rpcConns, 0, rpcPolls); err != nil {
		return f, err
	}
	if web, err = b.rpcLoad(ctx, n.ws, rpcConns, rpcPosts, rpcPolls); err != nil {
		return f, err
	}
	return rpcFigures{
		post1: one.PostsPerS, post8: many.PostsPerS, postCPU: float64((after - before).Microseconds()) / rpcPosts,
		filter: polled.PollPerS, wsPost: web.PostsPerS, wsFilter: web.PollPerS,
	}, nil
}

// rpcLoad runs go-ethereum's client in a process of its own.
func (b *bench) rpcLoad(ctx context.Context, url string, conns, posts, polls int) (r peerproc.RPCResult, err error) {
	raw, err := peerproc.StartRaw(b.peer, "rpcload", "-url", url, "-conns", strconv.Itoa(conns), "-posts", strconv.Itoa(posts),
		"-polls", strconv.Itoa(polls), "-pow", rpcPoW)
	if err != nil {
		return r, err
	}
	defer raw.Close()
	return r, raw.Result(ctx, &r)
}

func (b *bench) rpcOurs(ctx context.Context) (*rpcNode, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p, err := b.serve(ctx, "--set", "rpc.listen="+address)
	if err != nil {
		return nil, err
	}
	token, err := p.token(ctx, address)
	if err != nil {
		p.close()
		return nil, err
	}
	return &rpcNode{pid: p.pid(), ipc: filepath.Join(p.dir, socketName), ws: "ws://" + address + "/" + token, close: p.close}, nil
}

// token waits until a node serves HTTP at an address, and returns what it wants to see there.
func (p *oursProcess) token(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			token, err := os.ReadFile(filepath.Join(p.dir, rpc.TokenName))
			return strings.TrimSpace(string(token)), err
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return "", err
		}
	}
}

func (b *bench) rpcPeer(ctx context.Context) (*rpcNode, error) {
	dir, err := os.MkdirTemp(b.dir, "peer-")
	if err != nil {
		return nil, err
	}
	raw, err := peerproc.StartRaw(b.peer, "rpc", "-ipc", filepath.Join(dir, "peer.ipc"))
	if err != nil {
		return nil, err
	}
	var ready peerproc.RPCReady
	if err := raw.Wait(ctx, "ready", 0, &ready); err != nil {
		raw.Close()
		return nil, err
	}
	return &rpcNode{pid: raw.Pid(), ipc: ready.IPC, ws: ready.WS, close: raw.Close}, nil
}

// freeAddress is an address on loopback that nobody listens on now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

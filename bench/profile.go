package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/restante-im/restante/test/peers/peerproc"
)

// relayChild relays in this process under the loads of relay.cpu_us, for a CPU profile of a node under load:
//
//	go run ./bench -child relay -cpuprofile cpu.out
func relayChild() error {
	ctx := context.Background()
	runtime.GOMAXPROCS(runtime.NumCPU())
	dir, err := os.MkdirTemp("", "restante-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir}
	if b.peer, err = peerproc.Build(ctx, peerproc.Geth6, ""); err != nil {
		return err
	}
	own := func(ctx context.Context, _ string) (relayProcess, error) { return b.startOwn(ctx) }
	for name, l := range cpuLoads() {
		c, err := b.newChain(ctx, own, 1, l)
		if err != nil {
			return err
		}
		used := ownCPU()
		sent, got, err := c.send(ctx, l)
		each := (ownCPU() - used) / time.Duration(max(got.Received, 1))
		c.close()
		if err != nil {
			return err
		}
		fmt.Printf("%s: %v for each of %d envelopes in %d packets, out in %d\n", name, each, sent.Sent, sent.Packets, got.Packets)
	}
	return nil
}

package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/restante-im/restante/internal/corpus"
	"github.com/restante-im/restante/internal/node"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// historyChild answers, in this process, who asks for all of an archive that an "archive" child has filled, twice, or with
// a count for so many topics one after the other:
//
//	go run ./bench -child history -dir ARCHIVE [-count 500] -cpuprofile cpu.out
func historyChild(ctx context.Context, with archiveArgs) error {
	dir, err := os.MkdirTemp("", "restante-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir}
	own, err := b.startOwn(ctx, &node.MailOptions{MembersFile: filepath.Join(dir, "members.json"), ArchiveDir: with.dir})
	if err != nil {
		return err
	}
	defer own.close()
	asks := []peerproc.Ask{{}}
	if with.count > 0 {
		k, err := corpus.New(corpus.Baseline(0, time.Now(), 0))
		if err != nil {
			return err
		}
		asks = asks[:0]
		for _, t := range k.Topics()[:with.count] {
			asks = append(asks, peerproc.Ask{Topics: []string{hex.EncodeToString(t[:])}})
		}
	}
	for _, step := range []string{stepCount, ""} {
		client, err := startChild("ask", archiveArgs{to: own.enode(), count: 1, step: step})
		if err != nil {
			return err
		}
		defer client.Close()
		used, n, ms := ownCPU(), 0, []float64{}
		for _, a := range asks {
			r, err := client.Ask(ctx, peerproc.Question{Asks: []peerproc.Ask{a}})
			if err != nil {
				return err
			}
			n, ms = n+r.Envelopes, append(ms, r.LastMS)
		}
		fmt.Printf("%d envelopes, %v of CPU for each, %.1f ms (median)\n", n, (ownCPU()-used)/time.Duration(max(n, 1)), median(ms))
	}
	return nil
}

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
	own := func(ctx context.Context, _ string) (relayProcess, error) { return b.startOwn(ctx, nil) }
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

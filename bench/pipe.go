package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"time"

	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/test/peers/peerproc"
)

// pipeReport is what came through a bare connection.
type pipeReport struct {
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"` // from the first packet to the last
}

// pipeProtocol is one direction of packets and nothing else.
func pipeProtocol(run func(*devp2p.Conn) error) devp2p.Protocol {
	return devp2p.Protocol{Name: "pipe", Version: 1, Codes: 16, Run: run}
}

// distinct is how many different packets a pipe sends in turn.
const distinct = 64

// pipeChild sends packets of a size, or receives them and counts: what a connection carries when nobody looks at what it
// carries. It sends to whoever connects, or counts what the node at an enode sends.
func pipeChild(ctx context.Context, with archiveArgs) error {
	result := make(chan pipeReport, 1)
	run := func(c *devp2p.Conn) error { return sendPipe(c, with.count, with.size) }
	if with.to != "" {
		run = func(c *devp2p.Conn) error {
			r, err := receivePipe(c, with.count)
			result <- r
			return err
		}
	}
	end, _, err := startEnd(with.to, pipeProtocol(run))
	if err != nil {
		return err
	}
	defer end.Close(context.WithoutCancel(ctx))
	if with.to == "" {
		if err := printEvent("ready", peerproc.Ready{Enode: end.Self().Node.String()}); err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { os.Stdin.Close() })
		_, err := io.Copy(io.Discard, os.Stdin) // until the bench is done
		return err
	}
	select {
	case r := <-result:
		return printEvent("result", r)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func sendPipe(c *devp2p.Conn, count, size int) error {
	packets := make([][]byte, distinct)
	for i := range packets {
		packets[i] = make([]byte, size)
		rand.Read(packets[i]) // envelopes do not compress either
	}
	for i := range count {
		if err := c.WritePacket(0, packets[i%distinct]); err != nil {
			return err
		}
	}
	_, _, err := c.ReadPacket() // until the other side is done
	return err
}

func receivePipe(c *devp2p.Conn, count int) (r pipeReport, err error) {
	var start time.Time
	for i := range count {
		_, payload, err := c.ReadPacket()
		if err != nil {
			return r, err
		}
		if i == 0 {
			start = time.Now()
			continue
		}
		r.Bytes += int64(len(payload))
	}
	r.Seconds = time.Since(start).Seconds()
	return r, nil
}

// pipe measures a bare connection in bytes a second, with so many packets of a size, between two processes.
func (b *bench) pipe(ctx context.Context, count, size int) (float64, error) {
	sender, err := startChild("pipe", archiveArgs{count: count, size: size})
	if err != nil {
		return 0, err
	}
	defer sender.Close()
	enode, err := sender.Ready(ctx)
	if err != nil {
		return 0, err
	}
	var r pipeReport
	if err := child(ctx, "pipe", archiveArgs{to: enode, count: count, size: size}, &r); err != nil {
		return 0, err
	}
	if r.Seconds == 0 {
		return 0, errors.New("nothing came through a bare connection")
	}
	return float64(r.Bytes) / r.Seconds, nil
}

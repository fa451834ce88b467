package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/whisper/shhclient"
	"github.com/ethereum/go-ethereum/whisper/whisperv6"
)

// rpcResult is what a node's JSON-RPC did for go-ethereum's own client.
type rpcResult struct {
	Event     string  `json:"event"`       // result
	PostsPerS float64 `json:"posts_per_s"` // from all connections
	PollPerS  float64 `json:"poll_per_s"`  // messages, in the time that polls took
	Messages  int     `json:"messages"`    // polled
	usage
}

// rpcLoad posts and polls.
type rpcLoad struct {
	clients []*shhclient.Client
	key     string // id of a symmetric key
	topic   whisperv6.TopicType
	size    int
	pow     float64
}

// How messages are polled: so many at a time, as soon as they have all been opened.
const (
	pollBatch  = 100
	pollSettle = 50 * time.Millisecond
	pollLimit  = 10 * time.Second
)

// runRPCLoad drives a node through its JSON-RPC, whoever made it.
func runRPCLoad(args []string) error {
	f := flag.NewFlagSet("rpcload", flag.ContinueOnError)
	url := f.String("url", "", "path of a socket, or a ws:// URL")
	conns := f.Int("conns", 1, "connections that post at once")
	posts := f.Int("posts", 2000, "messages to post, over all connections")
	polls := f.Int("polls", 2000, "messages to post and poll afterwards")
	l := rpcLoad{topic: whisperv6.TopicType{'l', 'o', 'a', 'd'}}
	f.IntVar(&l.size, "size", 512, "bytes of payload")
	f.Float64Var(&l.pow, "pow", 0.000002, "proof of work of each")
	if err := f.Parse(args); err != nil {
		return err
	}
	for range *conns {
		c, err := shhclient.Dial(*url)
		if err != nil {
			return err
		}
		l.clients = append(l.clients, c)
	}
	key := make([]byte, 32)
	rand.Read(key)
	ctx := context.Background()
	var err error
	if l.key, err = l.clients[0].AddSymmetricKey(ctx, key); err != nil {
		return err
	}
	start := time.Now()
	if err := l.post(ctx, *posts); err != nil {
		return err
	}
	r := rpcResult{Event: "result", PostsPerS: float64(*posts) / time.Since(start).Seconds()}
	if r.Messages, r.PollPerS, err = l.poll(ctx, *polls); err != nil {
		return err
	}
	r.usage = use()
	say(r)
	return nil
}

// post posts so many messages, shared among the connections.
func (l *rpcLoad) post(ctx context.Context, count int) error {
	errs := make([]error, len(l.clients))
	var all sync.WaitGroup
	for i, c := range l.clients {
		all.Go(func() {
			for n := i; n < count; n += len(l.clients) {
				payload := make([]byte, l.size)
				rand.Read(payload)
				_, errs[i] = c.Post(ctx, whisperv6.NewMessage{SymKeyID: l.key, TTL: 60, Topic: l.topic, PowTime: 1, PowTarget: l.pow, Payload: payload})
				if errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// poll posts messages, a batch at a time, and polls them from a filter. Polls that find nothing are not counted.
func (l *rpcLoad) poll(ctx context.Context, count int) (got int, perS float64, err error) {
	if count == 0 {
		return 0, 0, nil
	}
	c := l.clients[0]
	filter, err := c.NewMessageFilter(ctx, whisperv6.Criteria{SymKeyID: l.key, Topics: []whisperv6.TopicType{l.topic}})
	if err != nil {
		return 0, 0, err
	}
	var used time.Duration
	for got < count {
		if err := l.post(ctx, pollBatch); err != nil {
			return got, 0, err
		}
		for deadline, want := time.Now().Add(pollLimit), got+pollBatch; got < want; {
			time.Sleep(pollSettle)
			start := time.Now()
			list, err := c.FilterMessages(ctx, filter)
			if err != nil {
				return got, 0, err
			}
			if len(list) > 0 {
				used += time.Since(start)
			}
			if got += len(list); time.Now().After(deadline) {
				return got, 0, fmt.Errorf("%d of %d messages came", got, want)
			}
		}
	}
	return got, float64(got) / used.Seconds(), c.DeleteMessageFilter(ctx, filter)
}

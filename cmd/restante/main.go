// Command restante runs a node, and asks a running one. Its commands are in internal/cli, the parts of a node meet in
// internal/node; here the two are joined. Files: main.go is the entrance, serve.go turns a configuration into a
// node, fetch.go a request into one that only asks.
package main

import (
	"context"
	"os"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/archive/segment"
	"github.com/restante-im/restante/internal/cli"
	"github.com/restante-im/restante/internal/config"
	"github.com/restante-im/restante/internal/history"
	"github.com/restante-im/restante/internal/rpc"
)

// version is set by the linker for releases: -ldflags "-X main.version=1.2.3".
var version string

func main() {
	v := cli.BuildVersion(version)
	app := &cli.App{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Version:  v,
		Platform: config.ThisPlatform(),
		Terminal: cli.SystemTerminal(),
		Dial:     dial,
		Run: func(ctx context.Context, cfg config.Config, s cli.Streams) error {
			return serve(ctx, v.Number, cfg, s)
		},
		OpenArchive: openArchive,
		Fetch: func(ctx context.Context, req cli.FetchRequest, events cli.FetchEvents) (history.Report, error) {
			return fetch(ctx, v.Number, req, events)
		},
	}
	os.Exit(app.Main(os.Args[1:]))
}

func openArchive(dir string) (archive.Archive, error) {
	a, err := segment.Open(dir, segment.Options{Now: time.Now})
	if err != nil {
		return nil, err // not a nil pointer in an interface
	}
	return a, nil
}

func dial(ctx context.Context, path string) (cli.Client, error) {
	c, err := rpc.Dial(ctx, path)
	if err != nil {
		return nil, err
	}
	return client{c}, nil
}

// client is rpc.Client with the subscription that the command line declares.
type client struct{ *rpc.Client }

// Subscribe sends what is received to ch.
func (c client) Subscribe(ctx context.Context, want rpc.Criteria, ch chan<- *rpc.Message) (cli.Subscription, error) {
	s, err := c.Client.Subscribe(ctx, want, ch)
	if err != nil {
		return nil, err // not a nil pointer in an interface
	}
	return s, nil
}

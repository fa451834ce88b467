package rpc_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"testing"
	"time"

	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/filter"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/keyring"
	"github.com/restante-im/restante/internal/nodeaddr"
	"github.com/restante-im/restante/internal/rpc"
	"github.com/restante-im/restante/internal/vectortest"
)

// FuzzConnection sends anything to a server: it must answer or close, and go on.
func FuzzConnection(f *testing.F) {
	type vector struct{ Request json.RawMessage }
	vectortest.Load(f, "rpc_shh", func(_ testing.TB, _ int, v vector) { f.Add([]byte(v.Request)) })
	f.Add([]byte(`[{"jsonrpc":"2.0","id":1,"method":"shh_version"},null,1,{}]`))
	f.Add([]byte(`{"a":"\"}]{"}}}} ]`))
	f.Fuzz(func(t *testing.T, request []byte) {
		set := filter.New(filter.Options{})
		node := &fakeNode{
			filters:  set,
			settings: rpc.Settings{MaxMessageSize: envelope.MaxSizeDefault},
			peers:    make(map[nodeaddr.ID]bool), stopped: make(chan struct{}, 1),
		}
		server, err := rpc.New(rpc.Options{
			Gossip: node, Admin: quiet{node}, Health: health.NewRegistry(time.Now), Keys: keyring.New(nil), Filters: set, Cores: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() { server.ServeConn(theirs); close(done) }()
		go io.Copy(io.Discard, ours)
		ours.SetWriteDeadline(time.Now().Add(10 * time.Second))
		ours.Write(request)
		ours.Close()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("the connection did not end with its client")
		}
	})
}

// quiet may be stopped any number of times.
type quiet struct{ *fakeNode }

func (quiet) Reachable(context.Context) rpc.Reachability { return rpc.Reachability{} }

func (quiet) Stop() {}

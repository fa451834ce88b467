package main

import (
	"flag"
	"net"
	"net/http"
	"os"

	"github.com/ethereum/go-ethereum/rpc"
)

// runRPC is a node without peers that serves go-ethereum's own shh_* over a Unix socket and WebSocket. "cpu" on standard
// input prints what it has used, "stop" ends.
func runRPC(args []string) error {
	f := flag.NewFlagSet("rpc", flag.ContinueOnError)
	socket := f.String("ipc", "", "path of the Unix socket")
	minPoW := f.Float64("min-pow", 0, "minimum PoW")
	if err := f.Parse(args); err != nil {
		return err
	}
	w, err := newWhisper(*minPoW, 0)
	if err != nil {
		return err
	}
	if err := w.Start(); err != nil {
		return err
	}
	server := rpc.NewServer()
	defer server.Stop()
	for _, api := range w.APIs() {
		if err := server.RegisterName(api.Namespace, api.Service); err != nil {
			return err
		}
	}
	local, err := net.Listen("unix", *socket)
	if err != nil {
		return err
	}
	defer os.Remove(*socket)
	defer local.Close()
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer web.Close()
	go server.ServeListener(local)
	go http.Serve(web, server.WebsocketHandler([]string{"*"}))
	say(map[string]any{"event": "ready", "ipc": *socket, "ws": "ws://" + web.Addr().String()})
	report := func(event string) { say(relayReport{Event: event, Pool: len(w.Envelopes()), usage: use()}) }
	for line := range lines() {
		if line == "cpu" {
			report("cpu")
		}
		if line == "stop" {
			break
		}
	}
	report("result")
	return nil
}

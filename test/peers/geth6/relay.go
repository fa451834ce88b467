package main

import (
	"flag"
	"strings"
)

type relayReport struct {
	Event string `json:"event"` // cpu, result
	Pool  int    `json:"pool"`
	Peers int    `json:"peers"`
	usage
}

// runRelay is a plain node, and a mail server if told so. Lines on standard input: "cpu" prints what it has used, "peer ENODE" connects, "stop" ends.
func runRelay(args []string) error {
	f := flag.NewFlagSet("relay", flag.ContinueOnError)
	var to multi
	f.Var(&to, "peer", "enode to stay connected with (repeatable)")
	listen := f.String("listen", "127.0.0.1:0", "address to listen on")
	minPoW := f.Float64("min-pow", 0, "minimum PoW")
	maxSize := f.Uint("max-size", 0, "largest message and packet in bytes (0: go-ethereum's 1 MiB)")
	mail := f.String("mail-dir", "", "be a mail server with its archive in this directory")
	password := f.String("mail-password", "", "that opens requests to the mail server")
	if err := f.Parse(args); err != nil {
		return err
	}
	w, err := newWhisper(*minPoW, uint32(*maxSize))
	if err != nil {
		return err
	}
	if *mail != "" {
		m, err := newMailServer(w, *mail, *password)
		if err != nil {
			return err
		}
		defer m.Close()
		w.RegisterServer(m)
	}
	if err := w.Start(); err != nil {
		return err
	}
	host, err := newHost("geth6-relay", *listen, w.Protocols()[0])
	if err != nil {
		return err
	}
	defer host.Stop()
	say(map[string]any{"event": "ready", "enode": host.Server.Self().URLv4()})
	if err := keepAll(host, to); err != nil {
		return err
	}
	report := func(event string) {
		say(relayReport{Event: event, Pool: len(w.Envelopes()), Peers: host.Server.PeerCount(), usage: use()})
	}
	for line := range lines() {
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "cpu":
			report("cpu")
		case "peer":
			if err := keepAll(host, []string{rest}); err != nil {
				return err
			}
		case "stop":
			report("result")
			return nil
		}
	}
	report("result")
	return nil
}

package main

import (
	"flag"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/whisper/mailserver"
	"github.com/ethereum/go-ethereum/whisper/whisperv6"
)

type relayReport struct {
	Event string `json:"event"` // cpu, result
	Pool  int    `json:"pool"`
	Peers int    `json:"peers"`
	usage
}

// countingServer says when it has archived what was expected.
type countingServer struct {
	*mailserver.WMailServer
	archived atomic.Int64
	announce int64
}

// Archive is called by whisper once for each envelope that it pools.
func (s *countingServer) Archive(env *whisperv6.Envelope) {
	s.WMailServer.Archive(env)
	if n := s.archived.Add(1); n == s.announce {
		say(map[string]any{"event": "archived", "envelopes": n})
	}
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
	announce := f.Int64("announce", 0, "say when so many envelopes have been archived")
	password := f.String("mail-password", "", "that opens requests to the mail server")
	if err := f.Parse(args); err != nil {
		return err
	}
	w, err := newWhisper(*minPoW, uint32(*maxSize))
	if err != nil {
		return err
	}
	var mailMS float64
	if *mail != "" {
		opened := time.Now()
		m, err := newMailServer(w, *mail, *password)
		if err != nil {
			return err
		}
		mailMS = float64(time.Since(opened).Nanoseconds()) / 1e6
		defer m.Close()
		w.RegisterServer(&countingServer{WMailServer: m, announce: *announce})
	}
	if err := w.Start(); err != nil {
		return err
	}
	host, err := newHost("geth6-relay", *listen, w.Protocols()[0])
	if err != nil {
		return err
	}
	defer host.Stop()
	say(map[string]any{"event": "ready", "enode": host.Server.Self().URLv4(), "mail_ms": mailMS})
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

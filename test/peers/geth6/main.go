// Command geth6 is go-ethereum v1.9.20's Whisper v6 as a helper process for tests and benchmarks.
//
//	geth6                a node driven by JSON on standard input (test/peers/README.md)
//	geth6 relay|source|sink|ask        ends and a relay for load runs
//	geth6 rpc|rpcload                  a node's JSON-RPC, and go-ethereum's own client of it
//	geth6 client                       its shhclient, driven by JSON on standard input
//	geth6 archive|crypto|mine|accept   go-ethereum's rates on this machine
package main

import (
	"fmt"
	"os"

	"github.com/restante-im/restante/test/peers/driver"
)

func main() {
	if len(os.Args) < 2 {
		driver.Main("geth6", newEngine)
	}
	run, ok := subcommands[os.Args[1]]
	if !ok {
		fmt.Fprintf(os.Stderr, "geth6: unknown subcommand %q\n", os.Args[1])
		os.Exit(2)
	}
	if err := run(os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "geth6 %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

var subcommands = map[string]func(args []string) error{
	"relay":   runRelay,
	"source":  runSource,
	"sink":    runSink,
	"ask":     runAsk,
	"archive": runArchive,
	"crypto":  runCrypto,
	"mine":    runMine,
	"accept":  runAccept,
	"client":  runClient,
	"rpc":     runRPC,
	"rpcload": runRPCLoad,
}

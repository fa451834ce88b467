// Command status162 is Status' Whisper v6 (github.com/status-im/whisper v1.6.2) as a helper process for tests: a node
// driven by JSON on standard input (test/peers/README.md).
package main

import (
	"github.com/restante-im/restante/test/peers/driver"
)

func main() { driver.Main("status162", newEngine) }

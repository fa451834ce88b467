package peerproc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Raw is a load end or relay: a subcommand of a helper that prints one JSON object per line. Every object has a key
// "event" ("ready", "connected", "result", …) or, for rates, "name".
type Raw struct {
	proc  *process
	lines *log[[]byte]
}

// StartRaw runs bin with args, for example "sink", "-to", enode, "-expect", "1000".
func StartRaw(bin string, args ...string) (*Raw, error) {
	r := &Raw{lines: newLog[[]byte]()}
	p, err := launch(bin, args, func(b []byte) error {
		r.lines.add(append([]byte(nil), b...))
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.proc = p
	go func() {
		<-p.ended
		r.lines.end(p.err)
	}()
	return r, nil
}

// Ready is the first line of a relay and of a listening sink.
type Ready struct {
	Enode  string  `json:"enode"`
	MailMS float64 `json:"mail_ms"` // a relay that is a mail server: how long opening its archive took
}

// Usage is what a raw process has used. It is part of all reports.
type Usage struct {
	CPUNanos  int64 `json:"cpu_ns"`    // user and system time since start
	WallNanos int64 `json:"wall_ns"`   // since start
	RSSBytes  int64 `json:"rss_bytes"` // resident now
}

// RelayReport answers "cpu" ([Raw.CPU]) and is a relay's result.
type RelayReport struct {
	Pool  int `json:"pool"`  // envelopes
	Peers int `json:"peers"` // connections
	Usage
}

// SourceResult is what a source did.
type SourceResult struct {
	Run      string  `json:"run"`
	Sent     uint64  `json:"sent"`    // distinct envelopes, each to every link
	Links    int     `json:"links"`   // connections
	Packets  uint64  `json:"packets"` // to each link
	Bytes    uint64  `json:"bytes"`   // RLP to each link
	Seconds  float64 `json:"seconds"`
	PerS     float64 `json:"per_s"`
	LagMaxMS float64 `json:"lag_max_ms"` // most that sending fell behind the wished rate
	Acks     uint64  `json:"acks"`       // packets 11 that came back
	AckedS   float64 `json:"acked_s"`    // with -await: until the last packet was acknowledged; 0: it was not
	Refused  uint64  `json:"refused"`    // packets 12 with refusals that came back
	Error    string  `json:"error"`
	Usage
}

// SinkResult is what a sink received, summed over its links.
type SinkResult struct {
	Links      int     `json:"links"`
	Received   uint64  `json:"received"`   // distinct envelopes
	Duplicates uint64  `json:"duplicates"` // further copies on the same link
	Stale      uint64  `json:"stale"`      // distinct, stamped before the sink started: not among received
	Foreign    uint64  `json:"foreign"`    // envelopes that no raw source sent
	Packets    uint64  `json:"packets"`
	Bytes      uint64  `json:"bytes"` // RLP
	P50MS      float64 `json:"p50_ms"`
	P95MS      float64 `json:"p95_ms"`
	P99MS      float64 `json:"p99_ms"`
	MaxMS      float64 `json:"max_ms"`
	Seconds    float64 `json:"seconds"` // from the first envelope to the last
	PerS       float64 `json:"per_s"`
	Error      string  `json:"error"` // why the last lost link was lost
	Usage
}

// ArchiveResult is what "archive" did.
type ArchiveResult struct {
	Envelopes int     `json:"envelopes"`
	Bytes     int64   `json:"bytes"`   // RLP
	Seconds   float64 `json:"seconds"` // until the last was taken
	PerS      float64 `json:"per_s"`
	CPUUS     float64 `json:"cpu_us"`          // for each envelope, closing included
	Written   int64   `json:"written_bytes"`   // to the disk, closing included
	Disk      int64   `json:"disk_bytes"`      // then
	Compacted int64   `json:"compacted_bytes"` // after -compact
	Usage
}

// RPCReady is the first line of "rpc".
type RPCReady struct {
	IPC string `json:"ipc"` // path of its socket
	WS  string `json:"ws"`  // URL
}

// RPCResult is what "rpcload" got out of a node's JSON-RPC.
type RPCResult struct {
	PostsPerS float64 `json:"posts_per_s"` // over all connections
	PollPerS  float64 `json:"poll_per_s"`  // messages, in the time that polls took
	Messages  int     `json:"messages"`    // polled
	Usage
}

// Question is a line for "ask".
type Question struct {
	Asks    []Ask `json:"asks"` // each on a connection of its own
	QuietMS int64 `json:"quiet_ms"`
}

// Ask is one request to a mail server. Topics are hexadecimal digits.
type Ask struct {
	Form   Form     `json:"form"` // not Plain
	From   uint32   `json:"from"`
	To     uint32   `json:"to"`
	Topics []string `json:"topics,omitempty"`
	Limit  uint32   `json:"limit,omitempty"`
	Batch  bool     `json:"batch,omitempty"`
	Expect int      `json:"expect"` // envelopes after which the answer has come; 0: at its end, or when nothing comes any more
	Follow bool     `json:"follow"` // to the end, and ask for the next page while there is one
}

// AnswerReport sums up the answers to a Question. Times count from the sending of the first request.
type AnswerReport struct {
	Envelopes int     `json:"envelopes"`
	Bytes     int     `json:"bytes"` // of packets 127
	Packets   int     `json:"packets"`
	Pages     int     `json:"pages"`
	FirstMS   float64 `json:"first_ms"`
	LastMS    float64 `json:"last_ms"` // the last envelope
	Error     string  `json:"error"`
	Usage
}

// Ask lets an "ask" process put a question and waits for the answers.
func (r *Raw) Ask(ctx context.Context, q Question) (v AnswerReport, err error) {
	b, err := json.Marshal(q)
	if err != nil {
		return v, err
	}
	n := r.lines.count(func(b []byte) bool { return eventOf(b) == "answer" })
	if err := r.Send(string(b)); err != nil {
		return v, err
	}
	if err = r.Wait(ctx, "answer", n, &v); err == nil && v.Error != "" {
		err = errors.New("asking a mail server: " + v.Error)
	}
	return v, err
}

// Rate is one line of "crypto", "mine" and "accept".
type Rate struct {
	Name    string  `json:"name"`
	PerS    float64 `json:"per_s"`
	PerCPUS float64 `json:"per_cpu_s"` // per second of CPU: the one to read on a busy machine
}

// Send writes a line to its standard input: "go" (source -hold), "stats" and "stop" (sink), "cpu", "peer ENODE" and
// "stop" (relay).
func (r *Raw) Send(line string) error { return r.proc.write([]byte(line)) }

// Wait decodes the n-th line (from 0) with that event into v, which may be nil.
func (r *Raw) Wait(ctx context.Context, event string, n int, v any) error {
	b, _, err := r.lines.next(ctx, 0, func(b []byte) bool {
		if eventOf(b) != event {
			return false
		}
		n--
		return n < 0
	})
	if err != nil {
		return fmt.Errorf("waiting for %q: %w", event, err)
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(b, v)
}

// Ready waits for the enode of a relay or listening sink.
func (r *Raw) Ready(ctx context.Context) (enode string, err error) {
	var v Ready
	err = r.Wait(ctx, "ready", 0, &v)
	return v.Enode, err
}

// CPU asks a relay what it has used.
func (r *Raw) CPU(ctx context.Context) (v RelayReport, err error) {
	n := r.lines.count(func(b []byte) bool { return eventOf(b) == "cpu" })
	if err := r.Send("cpu"); err != nil {
		return v, err
	}
	err = r.Wait(ctx, "cpu", n, &v)
	return v, err
}

// Result waits for the last line of a source ([SourceResult]), sink ([SinkResult]), relay ([RelayReport]) or archive
// ([ArchiveResult]).
func (r *Raw) Result(ctx context.Context, v any) error { return r.Wait(ctx, "result", 0, v) }

// Rates waits for the end of a "crypto", "mine" or "accept" run and returns its lines by name.
func (r *Raw) Rates(ctx context.Context) (map[string]Rate, error) {
	select {
	case <-r.proc.ended:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	rates := map[string]Rate{}
	r.lines.count(func(b []byte) bool {
		var v Rate
		if json.Unmarshal(b, &v) == nil && v.Name != "" {
			rates[v.Name] = v
		}
		return false
	})
	if len(rates) == 0 {
		return nil, errors.Join(errors.New("no rates"), r.proc.err)
	}
	return rates, nil
}

// Pid is the process id.
func (r *Raw) Pid() int { return r.proc.cmd.Process.Pid }

// Close ends the process.
func (r *Raw) Close() { r.proc.close() }

func eventOf(b []byte) string {
	var v struct {
		Event string `json:"event"`
	}
	if json.Unmarshal(b, &v) != nil {
		return ""
	}
	return v.Event
}

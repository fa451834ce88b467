package node

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/restante-im/restante/internal/archive"
	"github.com/restante-im/restante/internal/devp2p"
	"github.com/restante-im/restante/internal/envelope"
	"github.com/restante-im/restante/internal/filter"
	"github.com/restante-im/restante/internal/inbox"
	"github.com/restante-im/restante/internal/mailserver"
	"github.com/restante-im/restante/internal/ops"
	"github.com/restante-im/restante/internal/relay"
)

// figures is everything that metrics are made of, at one moment.
type figures struct {
	relay.Status
	network devp2p.Stats
	filter  filter.Stats
	mail    mailserver.Stats // of a mail server
	archive archive.Stats
	inbox   inbox.Status
}

func (n *Node) figures() figures { return n.figuresOf(n.relay.Status()) }

func (n *Node) figuresOf(st relay.Status) figures {
	f := figures{Status: st, network: n.network.Stats(), filter: n.filters.Stats()}
	if n.mail != nil {
		f.mail, f.archive = n.mail.server.Stats(), n.mail.archive.Stats()
	}
	if n.inbox != nil {
		f.inbox = n.inboxFigures()
	}
	return f
}

// rows are all metrics of this node.
func (n *Node) rows() []row {
	rows := slices.Concat(gossipRows(), otherRows())
	if n.mail != nil {
		rows = append(rows, mailRows()...)
	}
	if n.inbox != nil {
		rows = append(rows, inboxRows()...)
	}
	return rows
}

// freshness is how long figures serve, so that a scrape of many metrics asks the parts once.
const freshness = 200 * time.Millisecond

// metrics returns the node's rows of /metrics. docs/metrics.md lists them.
func (n *Node) metrics() []ops.Metric {
	var mu sync.Mutex
	var last figures
	var taken time.Time
	fresh := func() figures {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(taken) > freshness {
			last, taken = n.figures(), now
		}
		return last
	}
	var list []ops.Metric
	for _, row := range n.rows() {
		list = append(list, ops.Metric{
			Name: row.name, Help: row.help, Kind: row.kind, Labels: row.labels,
			Value: func() float64 { f := fresh(); return row.value(&f) },
		})
	}
	return list
}

// counters are the figures that `restante status` shows: those of /metrics that are not zero and have no labels.
func (n *Node) counters(st relay.Status) map[string]float64 {
	f := n.figuresOf(st)
	out := map[string]float64{}
	for _, row := range n.rows() {
		if v := row.value(&f); v != 0 && row.labels == nil {
			out[row.name] = v
		}
	}
	return out
}

type row struct {
	name, help string
	kind       ops.Kind
	labels     map[string]string
	value      func(*figures) float64
}

func gauge[T int | int64 | uint64](name, help string, value func(*figures) T) row {
	return row{name, help, ops.Gauge, nil, func(f *figures) float64 { return float64(value(f)) }}
}

func counter(name, help string, value func(*figures) uint64) row {
	return row{name, help, ops.Counter, nil, func(f *figures) float64 { return float64(value(f)) }}
}

func gossipRows() []row {
	rows := []row{
		gauge("restante_pool_envelopes", "Live envelopes in the pool.", func(f *figures) int { return f.Stats.Pooled }),
		gauge("restante_pool_bytes", "Encoded bytes of the envelopes in the pool.", func(f *figures) int64 { return f.Stats.PooledBytes }),
		gauge("restante_links", "Open links: dialects on connections.", func(f *figures) int { return f.Stats.Links }),
		gauge("restante_open_tickets", "Packets of peers that wait for their acknowledgement.", func(f *figures) int { return f.Stats.OpenTickets }),
		counter("restante_envelopes_accepted_total", "New valid envelopes taken from peers.", func(f *figures) uint64 { return f.Stats.Accepted }),
		counter("restante_envelopes_duplicate_total", "Envelopes from peers that were known already.", func(f *figures) uint64 { return f.Stats.Duplicates }),
		counter("restante_envelopes_posted_total", "Own envelopes posted here.", func(f *figures) uint64 { return f.Stats.Posts }),
		counter("restante_envelopes_sent_total", "Envelopes handed to links.", func(f *figures) uint64 { return f.Stats.Sent }),
		counter("restante_envelopes_expired_total", "Envelopes that left the pool because their time was over.", func(f *figures) uint64 { return f.Stats.Expired }),
		counter("restante_envelopes_evicted_total", "Envelopes that made room in a full pool.", func(f *figures) uint64 { return f.Stats.Evicted }),
		counter("restante_envelopes_pool_full_total", "Envelopes not taken because the pool was full of better ones.", func(f *figures) uint64 { return f.Stats.PoolFull }),
		counter("restante_envelopes_unsent_total", "Times that an envelope left the pool before a link that wanted it got it.", func(f *figures) uint64 { return f.Stats.Unsent }),
		counter("restante_envelopes_oversize_total", "Times that an envelope was too large for a link's packets.", func(f *figures) uint64 { return f.Stats.Oversize }),
		counter("restante_envelopes_direct_total", "Envelopes that trusted peers sent to this node alone.", func(f *figures) uint64 { return f.Counters.Direct }),
		counter("restante_packets_received_total", "Packets of envelopes received.", func(f *figures) uint64 { return f.Stats.ReceivedPackets }),
		counter("restante_packets_sent_total", "Packets of envelopes sent.", func(f *figures) uint64 { return f.Stats.SentPackets }),
		counter("restante_packets_ignored_total", "Packets without effect, such as unknown codes.", func(f *figures) uint64 { return f.Counters.Ignored }),
		counter("restante_acknowledged_total", "Packets of peers that were acknowledged.", func(f *figures) uint64 { return f.Stats.Acks }),
		counter("restante_unacknowledged_total", "Packets of peers that were not acknowledged, though the peer may wait for it.", func(f *figures) uint64 { return f.Stats.AcksSkipped }),
		counter("restante_confirmed_total", "Confirmations by peers of envelopes posted here.", func(f *figures) uint64 { return f.Counters.Confirmed }),
		counter("restante_requests_total", "History requests in the older forms, whether answered or not.", func(f *figures) uint64 { return f.Counters.Requests }),
		counter("restante_penalties_total", "Offences by peers of the kind that leads to a disconnect.", func(f *figures) uint64 { return f.Stats.Penalties }),
		counter("restante_disconnects_total", "Connections ended for what the peer did.", func(f *figures) uint64 { return f.Stats.Disconnects }),
		counter("restante_slow_readers_total", "Connections ended because the peer did not read.", func(f *figures) uint64 { return f.Stats.SlowReaders }),
		counter("restante_pauses_total", "Times that a peer over its byte budget was not read for a moment.", func(f *figures) uint64 { return f.Stats.Pauses }),
		counter("restante_clock_jumps_total", "Times that this machine's clock jumped.", func(f *figures) uint64 { return f.Stats.ClockJumps }),
		{
			"restante_clock_offset_seconds", "What is added to this machine's clock to agree with its peers.", ops.Gauge, nil,
			func(f *figures) float64 { return f.Skew.Seconds() },
		},
	}
	for reason := envelope.FromFuture; reason <= envelope.NotWanted; reason++ {
		rows = append(rows, row{
			"restante_envelopes_refused_total", "Envelopes of peers that were refused, by reason.", ops.Counter,
			map[string]string{"reason": reason.String()},
			func(f *figures) float64 { return float64(f.Stats.Refused(reason)) },
		})
	}
	return rows
}

func otherRows() []row {
	return []row{
		gauge("restante_peers", "Connected peers.", func(f *figures) int { return f.network.Peers }),
		gauge("restante_handshakes_open", "Inbound connections whose handshake is not complete.", func(f *figures) int { return f.network.Pending }),
		counter("restante_connections_accepted_total", "Inbound connections that began a handshake.", func(f *figures) uint64 { return f.network.Accepted }),
		counter("restante_connections_turned_away_total", "Inbound connections closed unheard: too fast, or too many handshakes.", func(f *figures) uint64 { return f.network.TurnedAway }),
		counter("restante_connections_refused_total", "Peers refused because of a limit.", func(f *figures) uint64 { return f.network.Refused }),
		counter("restante_handshake_failures_total", "Inbound handshakes that failed.", func(f *figures) uint64 { return f.network.HandshakeFailures }),
		counter("restante_dials_total", "Attempts to reach static peers.", func(f *figures) uint64 { return f.network.Dials }),
		counter("restante_dial_failures_total", "Attempts to reach static peers that failed.", func(f *figures) uint64 { return f.network.DialFails }),
		counter("restante_protocol_panics_total", "Defects of this program that ended a connection. Please report them.", func(f *figures) uint64 { return f.network.Panics }),
		counter("restante_network_received_bytes_total", "Bytes received from peers.", func(f *figures) uint64 { return f.network.BytesIn }),
		counter("restante_network_sent_bytes_total", "Bytes sent to peers.", func(f *figures) uint64 { return f.network.BytesOut }),
		gauge("restante_filters", "Message filters in use.", func(f *figures) int { return f.filter.Filters }),
		gauge("restante_subscriptions", "Message subscriptions in use.", func(f *figures) int { return f.filter.Subscriptions }),
		gauge("restante_messages_waiting", "Opened messages that wait to be fetched.", func(f *figures) int { return f.filter.Waiting }),
		counter("restante_messages_delivered_total", "Opened messages given to a filter.", func(f *figures) uint64 { return f.filter.Delivered }),
		counter("restante_messages_dropped_total", "Opened messages dropped because nobody fetched them in time.", func(f *figures) uint64 { return f.filter.Dropped }),
		counter("restante_filters_expired_total", "Filters forgotten because nobody polled them.", func(f *figures) uint64 { return f.filter.Expired }),
		gauge("restante_goroutines", "Goroutines of this process.", func(*figures) int { return runtime.NumGoroutine() }),
	}
}

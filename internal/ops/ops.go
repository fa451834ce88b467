// Package ops serves what an operator's machines ask: /metrics in Prometheus'
// form and /healthz. Make a Handler of the node's metrics and conditions, open an
// address with Listen, and pass both to Serve.
//
// Metrics are functions that are asked when somebody looks, so nothing is
// counted twice and an idle node does no work for them. The address is a loopback
// one unless the operator allows another explicitly: figures tell who talks with
// whom. Everything is safe for concurrent use if the metrics' functions are.
package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/health"
)

// Bounds of the server.
const (
	maxHeader       = 16 << 10
	maxScrapes      = 4 // at a time
	readTimeout     = 5 * time.Second
	writeTimeout    = 30 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 2 * time.Second
)

// Kind says how a metric moves.
type Kind uint8

const (
	Gauge   Kind = iota // goes up and down
	Counter             // only grows while the process lives; its name ends in _total
)

// Metric is one row of the table of metrics.
type Metric struct {
	Name   string            // begins with restante_
	Help   string            // one sentence: what it counts, in which unit
	Kind   Kind              //
	Labels map[string]string // fixed; rows of one Name differ in them. Usually nil
	Value  func() float64    // asked at each scrape; must be quick
}

// Lister lists the present conditions; *health.Registry is one.
type Lister interface {
	List() []health.Condition
}

// Handler serves /metrics and /healthz. The error names a metric that cannot be:
// a bad or doubled name, no help, no function.
//
// /healthz answers 503 while a condition is critical and 200 otherwise, with
// {"status": "ok" | "warning" | "critical", "conditions": [{code, severity, text, since}]}.
func Handler(metrics []Metric, conditions Lister) (http.Handler, error) {
	reg := prometheus.NewRegistry()
	for _, m := range metrics {
		if err := register(reg, m); err != nil {
			return nil, err
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, Timeout: writeTimeout / 2,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, conditions.List()) })
	return mux, nil
}

func register(reg *prometheus.Registry, m Metric) error {
	const op = "ops: register metric"
	switch {
	case !wellNamed(m.Name):
		return fault.Errorf(op, fault.Invalid, "the metric %q is not named like restante_some_thing", m.Name)
	case (m.Kind == Counter) != strings.HasSuffix(m.Name, "_total"):
		return fault.Errorf(op, fault.Invalid, "the metric %s: the names of counters, and only those, end in _total", m.Name)
	case m.Help == "" || m.Value == nil:
		return fault.Errorf(op, fault.Invalid, "the metric %s has no help or no value", m.Name)
	}
	var c prometheus.Collector
	if m.Kind == Counter {
		c = prometheus.NewCounterFunc(prometheus.CounterOpts{Name: m.Name, Help: m.Help, ConstLabels: m.Labels}, m.Value)
	} else {
		c = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.Name, Help: m.Help, ConstLabels: m.Labels}, m.Value)
	}
	if err := reg.Register(c); err != nil {
		return fault.E(op, fault.Invalid, err, fmt.Sprintf("the metric %s cannot be registered: its name is doubled or not valid", m.Name))
	}
	return nil
}

// wellNamed is stricter than Prometheus, whose newer versions take any text.
func wellNamed(name string) bool {
	rest, ok := strings.CutPrefix(name, "restante_")
	return ok && rest != "" && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

type condition struct {
	Code     string    `json:"code"`
	Severity string    `json:"severity"`
	Text     string    `json:"text"`
	Since    time.Time `json:"since"`
}

func writeHealth(w http.ResponseWriter, list []health.Condition) {
	answer := struct {
		Status     string      `json:"status"`
		Conditions []condition `json:"conditions"`
	}{"ok", []condition{}}
	worst := health.Info
	for _, c := range list {
		worst = max(worst, c.Severity)
		answer.Conditions = append(answer.Conditions, condition{c.Code, c.Severity.String(), c.Text, c.Since})
	}
	status := http.StatusOK
	if worst > health.Info {
		answer.Status = worst.String()
	}
	if worst >= health.Critical {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the asker may be gone: its loss
}

// Listen opens host:port. A host that is not loopback, and also an empty one,
// which means every interface, is a Denied error unless anywhere is set.
func Listen(addr string, anywhere bool) (net.Listener, error) {
	const op = "ops: listen"
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fault.E(op, fault.Invalid, err, fmt.Sprintf("%q is no address for metrics: write host:port, such as 127.0.0.1:9317", addr))
	}
	if !anywhere && !loopback(host) {
		return nil, fault.Errorf(op, fault.Denied,
			"metrics would be open to others at %s, and they show who uses the node and when: take a loopback address such as 127.0.0.1, or allow it explicitly", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fault.E(op, fault.Unavailable, err, "cannot open "+addr+" for metrics: the port is taken or the address is not this machine's")
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && !anywhere && !tcp.IP.IsLoopback() {
		l.Close() // a name that resolves to something else
		return nil, fault.Errorf(op, fault.Denied, "%s is not a loopback address on this machine: write 127.0.0.1 or [::1]", host)
	}
	return l, nil
}

// Serve answers on l until ctx is done, and closes it. Where l is on loopback,
// requests for other host names are refused, so that no web page reads the
// figures through a name of its own.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		h = localOnly(h)
	}
	srv := &http.Server{
		Handler: h, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		grace, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			srv.Close()
		}
	})
	err := srv.Serve(l)
	if !stop() {
		<-ended
	}
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fault.E("ops: serve", fault.Unavailable, err, "the address for metrics takes no connections any more")
}

func localOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if !loopback(strings.Trim(host, "[]")) {
			http.Error(w, "ask for this by a loopback address", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

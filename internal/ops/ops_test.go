package ops_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restante-im/restante/internal/fault"
	"github.com/restante-im/restante/internal/health"
	"github.com/restante-im/restante/internal/ops"
)

func noon() time.Time { return time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC) }

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String()
}

func TestMetrics(t *testing.T) {
	n := 0.0
	h, err := ops.Handler([]ops.Metric{
		{Name: "restante_peers", Help: "Connected peers.", Value: func() float64 { return 3 }},
		{Name: "restante_scrapes_total", Help: "Scrapes.", Kind: ops.Counter, Value: func() float64 { n++; return n }},
		{Name: "restante_refused_total", Help: "Refused.", Kind: ops.Counter, Labels: map[string]string{"reason": "a"}, Value: func() float64 { return 1 }},
		{Name: "restante_refused_total", Help: "Refused.", Kind: ops.Counter, Labels: map[string]string{"reason": "b"}, Value: func() float64 { return 2 }},
	}, health.NewRegistry(noon))
	if err != nil {
		t.Fatal(err)
	}
	get(t, h, "/metrics")
	code, body := get(t, h, "/metrics")
	want := `# HELP restante_peers Connected peers.
# TYPE restante_peers gauge
restante_peers 3
# HELP restante_refused_total Refused.
# TYPE restante_refused_total counter
restante_refused_total{reason="a"} 1
restante_refused_total{reason="b"} 2
# HELP restante_scrapes_total Scrapes.
# TYPE restante_scrapes_total counter
restante_scrapes_total 2
`
	if diff := cmp.Diff(want, body); code != 200 || diff != "" {
		t.Errorf("%d\n%s", code, diff)
	}
}

func TestImpossibleMetrics(t *testing.T) {
	one := func() float64 { return 1 }
	for _, list := range [][]ops.Metric{
		{{Name: "peers", Help: "x", Value: one}},
		{{Name: "restante_x", Help: "x", Kind: ops.Counter, Value: one}},
		{{Name: "restante_x_total", Help: "x", Value: one}},
		{{Name: "restante_x", Value: one}},
		{{Name: "restante_x", Help: "x"}},
		{{Name: "restante_x y", Help: "x", Value: one}},
		{{Name: "restante_", Help: "x", Value: one}},
		{{Name: "restante_x", Help: "x", Value: one}, {Name: "restante_x", Help: "x", Value: one}},
	} {
		if _, err := ops.Handler(list, health.NewRegistry(noon)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", list, err)
		}
	}
}

func TestHealth(t *testing.T) {
	reg := health.NewRegistry(noon)
	h, err := ops.Handler(nil, reg)
	if err != nil {
		t.Fatal(err)
	}
	check := func(code int, body string) {
		t.Helper()
		if c, b := get(t, h, "/healthz"); c != code || b != body+"\n" {
			t.Errorf("got %d %s, want %d %s", c, b, code, body)
		}
	}
	check(200, `{"status":"ok","conditions":[]}`)
	reg.Set("hint", health.Info, "Read this.")
	check(200, `{"status":"ok","conditions":[{"code":"hint","severity":"info","text":"Read this.","since":"2026-01-02T12:00:00Z"}]}`)
	reg.Clear("hint")
	reg.Set("clock-skew", health.Warning, "Slow clock.")
	check(200, `{"status":"warning","conditions":[{"code":"clock-skew","severity":"warning","text":"Slow clock.","since":"2026-01-02T12:00:00Z"}]}`)
	reg.Clear("clock-skew")
	reg.Set("disk-full", health.Critical, "Make room.")
	check(503, `{"status":"critical","conditions":[{"code":"disk-full","severity":"critical","text":"Make room.","since":"2026-01-02T12:00:00Z"}]}`)
	if code, _ := get(t, h, "/"); code != 404 {
		t.Errorf("/: %d", code)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/healthz", nil))
	if w.Code != 405 {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestListenOnLoopbackUnlessAllowed(t *testing.T) {
	for addr, kind := range map[string]fault.Kind{
		"0.0.0.0:0": fault.Denied, ":0": fault.Denied, "[::]:0": fault.Denied,
		"192.0.2.1:0": fault.Denied, "example.org:0": fault.Denied, "127.0.0.1": fault.Invalid,
	} {
		if l, err := ops.Listen(addr, false); !fault.Is(err, kind) {
			t.Errorf("%s: %v, %v", addr, l, err)
		}
	}
	for addr, anywhere := range map[string]bool{"127.0.0.1:0": false, "localhost:0": false, "0.0.0.0:0": true} {
		l, err := ops.Listen(addr, anywhere)
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		if _, err := ops.Listen(l.Addr().String(), true); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s twice: %v", addr, err)
		}
		l.Close()
	}
}

func TestServe(t *testing.T) {
	l, err := ops.Listen("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	h, err := ops.Handler(nil, health.NewRegistry(noon))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- ops.Serve(ctx, l, h) }()
	ask := func(host string) (int, string) {
		req, err := http.NewRequest("GET", "http://"+l.Addr().String()+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			req.Host = host
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	for host, want := range map[string]int{"": 200, "localhost": 200, "[::1]:80": 200, "evil.example": 403, "192.0.2.1:1": 403} {
		if code, body := ask(host); code != want {
			t.Errorf("host %q: %d %s", host, code, strings.TrimSpace(body))
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

package console

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func newConsole(t *testing.T, ready Readiness) *Console {
	t.Helper()
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "erbridge_test_items", Help: "A test."}, func() float64 { return 7 }))
	c, err := New(Options{Listen: "127.0.0.1:0", Gatherer: metrics, Ready: func(context.Context) Readiness { return ready }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(t *testing.T, h http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return rec
}

func TestEndpoints(t *testing.T) {
	missing := Readiness{Missing: map[string]string{"server": "connection refused"}, Warnings: map[string]string{"sink slack": "paused"}}
	for _, tt := range []struct {
		name, method, path string
		ready              Readiness
		status             int
		body               string
	}{
		{"health", "GET", "/healthz", missing, 200, "ok\n"},
		{"ready", "GET", "/readyz", Readiness{Ready: true}, 200, `"ready": true`},
		{"not ready names what", "GET", "/readyz", missing, 503, `"server": "connection refused"`},
		{"metrics", "GET", "/metrics", missing, 200, "erbridge_test_items 7"},
		{"post", "POST", "/readyz", missing, 405, "Method Not Allowed"},
		{"elsewhere", "GET", "/", missing, 404, "not found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := get(t, newConsole(t, tt.ready).Handler(), tt.method, tt.path)
			if rec.Code != tt.status || !strings.Contains(rec.Body.String(), tt.body) {
				t.Errorf("%s %s: %d %s", tt.method, tt.path, rec.Code, rec.Body)
			}
		})
	}
}

func TestRunServesUntilItsContextEnds(t *testing.T) {
	c := newConsole(t, Readiness{Ready: true})
	ctx, cancel := context.WithCancel(t.Context())
	addr, err := c.Listen(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr.String()+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var got Readiness
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil || !got.Ready {
		t.Errorf("readyz: %+v, %v", got, err)
	}
	cancel()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]Options{
		"address": {Listen: "8088", Gatherer: prometheus.NewRegistry(), Ready: func(context.Context) Readiness { return Readiness{} }},
		"nothing": {Listen: "127.0.0.1:0"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

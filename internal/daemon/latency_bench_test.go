package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/testenv"
)

// The rate and length of the measurement.
const (
	latencyRate    = 50 // webhook calls a second
	latencySeconds = 10
)

// BenchmarkWebhookToFirstAction measures the time from the start of a webhook
// call to the arrival of the playbook's first request at its receiver, at 50 calls
// a second through a whole daemon, next to what one fsync of this disk costs.
func BenchmarkWebhookToFirstAction(b *testing.B) {
	dir := b.TempDir()
	arrivals := make(chan string, latencyRate*latencySeconds)
	var mu sync.Mutex
	started, took := map[string]time.Time{}, []time.Duration(nil)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		now := time.Now()
		var body struct{ Alert string }
		if err := json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&body); err != nil {
			b.Errorf("the action sent no JSON: %v", err)
		}
		mu.Lock()
		took = append(took, now.Sub(started[body.Alert]))
		mu.Unlock()
		arrivals <- body.Alert
	}))
	defer receiver.Close()

	write(b, filepath.Join(dir, "playbooks", "act.yaml"), fmt.Sprintf(latencyPlaybook, receiver.URL))
	write(b, filepath.Join(dir, "token"), "benchmark-token")
	write(b, filepath.Join(dir, "erbridge.yaml"), latencyConfig)
	cfg, err := config.Load(filepath.Join(dir, "erbridge.yaml"))
	if err != nil {
		b.Fatal(err)
	}
	d, err := New(cfg, Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}()
	select {
	case <-d.Ready():
	case err := <-ended:
		b.Fatal(err)
	}
	url := "http://" + d.SourceAddress("webhook").String() + "/v1/webhook/bench"

	for round := 0; b.Loop(); round++ {
		mu.Lock()
		clear(started)
		took = took[:0]
		mu.Unlock()
		calls := latencyRate * latencySeconds
		tick := time.NewTicker(time.Second / latencyRate)
		var posting sync.WaitGroup
		for i := range calls {
			<-tick.C
			posting.Go(func() {
				id := fmt.Sprintf("%d-%d", round, i)
				mu.Lock()
				started[id] = time.Now()
				mu.Unlock()
				post(b, url, fmt.Sprintf(`{"id":%q,"severity":"high","host":{"name":"WS-%d"},"event":{"cmdline":"x"}}`, id, i))
			})
		}
		tick.Stop()
		posting.Wait()
		for range calls {
			<-arrivals
		}
		slices.Sort(took)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(milliseconds(took[len(took)/2]), "p50_ms")
	b.ReportMetric(milliseconds(took[len(took)*99/100]), "p99_ms")
	testenv.ReportMachine(b, soar.Alert{
		Server: "bench", ID: "1", Severity: soar.SeverityHigh, Host: soar.Host{Name: "WS-1"}, Event: map[string]string{"cmdline": "x"}})
	syncs := fsyncs(b, dir)
	b.ReportMetric(milliseconds(syncs[len(syncs)/2]), "fsync_p50_ms")
	b.ReportMetric(milliseconds(syncs[len(syncs)*99/100]), "fsync_p99_ms")
}

const latencyConfig = `
server: {name: er, url: "https://127.0.0.1:1", username: nobody, password: {file: token}}
sources:
  webhook:
    listen: 127.0.0.1:0
    senders:
      bench: {verify: trust, bearer: {file: token}, map: "."}
playbooks: {dir: playbooks, mode: enforce}
store: {path: store}
sinks: {}
`

const latencyPlaybook = `
playbook: act
mode: enforce
on: alert
match:
  all:
    - severity is high or worse: .alert.severity | at_least("high")
steps:
  - id: tell
    do: http.request
    with: {method: POST, url: %q, body: {alert: "${{ .alert.id }}"}}
`

func write(b *testing.B, path, text string) {
	b.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
}

func post(b *testing.B, url, body string) {
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		b.Error(err)
		return
	}
	req.Header.Set("Authorization", "Bearer benchmark-token")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		b.Errorf("webhook answered %d", answer.StatusCode)
	}
}

// fsyncs measures what it costs to append 4 KiB and sync.
func fsyncs(b *testing.B, dir string) []time.Duration {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	took := make([]time.Duration, 200)
	for i := range took {
		began := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

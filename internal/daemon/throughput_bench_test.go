package daemon

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/testenv"
	"github.com/erbridge/erbridge/sinks"
)

// What one round of the measurement posts.
const (
	throughputAlerts  = 20_000
	throughputSenders = 64 // calls in flight
)

// BenchmarkWebhookToSink measures how many alerts a second pass through a whole daemon,
// from the webhook to a receiver on loopback that has taken the last of them, next to
// a plain forwarder with the same HTTP listener: it appends what comes to a file, with
// one fsync for whatever has gathered, and then answers. It keeps no alert twice from
// coming in, asks no playbook, delivers to nobody else and cannot be restarted. of_plain
// is the daemon's rate as a part of the forwarder's, measured in the same run. The time
// that processors worked, for those who post and the receiver as well, says more on a
// machine that has other things to do.
func BenchmarkWebhookToSink(b *testing.B) {
	for _, perCall := range []int{1, 100} {
		b.Run(fmt.Sprintf("alerts_per_call=%d", perCall), func(b *testing.B) {
			calls := throughputCalls(perCall)
			plain := plainForwarder(b, calls)
			b.Run("plain", func(b *testing.B) {
				for b.Loop() {
					plain = plain.better(plainForwarder(b, calls))
				}
				plain.report(b)
				testenv.ReportMachine(b, soar.Alert{
					Server: "bench", ID: "1", Severity: soar.SeverityHigh, Host: soar.Host{Name: "WS-1"}, Event: map[string]string{"cmdline": "x"}})
			})
			for _, receiver := range []struct {
				name  string
				start func(b *testing.B) (settings string)
			}{
				{"file", func(*testing.B) string { return "type: file, path: out.ndjson" }},
				{"syslog_tcp", syslogReceiver},
				{"splunk_hec", hecReceiver},
				{"elastic_bulk", bulkReceiver},
				{"kafka", kafkaReceiver},
			} {
				b.Run(receiver.name, func(b *testing.B) {
					var best throughput
					for b.Loop() {
						best = best.better(throughDaemon(b, receiver.start(b), calls))
					}
					best.report(b)
					b.ReportMetric(best.perSecond/plain.perSecond, "of_plain")
				})
			}
		})
	}
}

// throughput is how fast alerts passed, and what that cost.
type throughput struct {
	perSecond float64
	processor time.Duration // for one alert
}

// measure calls f, which passes throughputAlerts.
func measure(b *testing.B, f func()) throughput {
	began, worked := time.Now(), testenv.ProcessorTime(b)
	f()
	return throughput{throughputAlerts / time.Since(began).Seconds(), (testenv.ProcessorTime(b) - worked) / throughputAlerts}
}

func (t throughput) better(other throughput) throughput {
	if t.perSecond > other.perSecond {
		return t
	}
	return other
}

func (t throughput) report(b *testing.B) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(t.perSecond, "alerts/s")
	b.ReportMetric(float64(t.processor.Nanoseconds())/1000, "cpu-us/alert")
}

// throughputCalls are the bodies of the calls.
func throughputCalls(perCall int) [][]byte {
	calls := make([][]byte, 0, throughputAlerts/perCall)
	for first := 0; first < throughputAlerts; first += perCall {
		alerts := make([]string, perCall)
		for i := range alerts {
			alerts[i] = fmt.Sprintf(`{"id":"%d","severity":"high","rule":{"id":7,"name":"Shadow copy deletion"},"host":{"name":"WS-%d","identifier":"EC2A-%[2]d"},`+
				`"event":{"cmdline":"vssadmin.exe delete shadows /all /quiet","path":"C:\\Windows\\System32\\vssadmin.exe","pid":"4711","parent_path":"C:\\Windows\\System32\\cmd.exe",`+
				`"md5":"d41d8cd98f00b204e9800998ecf8427e","action":"PROC_CREATE","owner_uid":"CORP\\alice"}}`, first+i, (first+i)%500)
		}
		calls = append(calls, []byte("["+strings.Join(alerts, ",")+"]"))
	}
	return calls
}

// postAll makes the calls, so many at a time, and returns when all are answered.
func postAll(b *testing.B, url string, calls [][]byte) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: throughputSenders, MaxConnsPerHost: throughputSenders}}
	defer client.CloseIdleConnections()
	next := make(chan []byte, throughputSenders)
	var posting sync.WaitGroup
	for range throughputSenders {
		posting.Go(func() {
			for body := range next {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, bytes.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer benchmark-token")
				answer, err := client.Do(req)
				if err != nil {
					b.Error(err)
					continue
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				_ = answer.Body.Close()
				if answer.StatusCode != http.StatusAccepted {
					b.Errorf("answered %d", answer.StatusCode)
				}
			}
		})
	}
	for _, body := range calls {
		next <- body
	}
	close(next)
	posting.Wait()
}

// plainForwarder is the rate of a forwarder that does nothing but keep what it is sent.
func plainForwarder(b *testing.B, calls [][]byte) throughput {
	f, err := os.Create(filepath.Join(b.TempDir(), "plain"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	type line struct {
		text []byte
		done chan struct{}
	}
	lines := make(chan line, throughputSenders)
	var writing sync.WaitGroup
	writing.Go(func() {
		var group []line
		for first := range lines {
			group = append(group[:0], first)
			for len(lines) > 0 {
				group = append(group, <-lines)
			}
			var text []byte
			for _, l := range group {
				text = append(append(text, l.text...), '\n')
			}
			if _, err := f.Write(text); err != nil {
				b.Error(err)
			}
			if err := f.Sync(); err != nil {
				b.Error(err)
			}
			for _, l := range group {
				close(l.done)
			}
		}
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil || !json.Valid(body) {
			http.Error(w, "not JSON", http.StatusBadRequest)
			return
		}
		l := line{body, make(chan struct{})}
		lines <- l
		<-l.done
		w.WriteHeader(http.StatusAccepted)
	}))
	took := measure(b, func() { postAll(b, server.URL, calls) })
	server.Close()
	close(lines)
	writing.Wait()
	return took
}

// throughDaemon is the rate of a daemon with one sink, until its receiver has the last
// alert.
func throughDaemon(b *testing.B, settings string, calls [][]byte) throughput {
	dir := b.TempDir()
	write(b, filepath.Join(dir, "token"), "benchmark-token")
	write(b, filepath.Join(dir, "erbridge.yaml"), fmt.Sprintf(`
server: {name: er, url: "https://127.0.0.1:1", username: nobody, password: {file: token}}
sources:
  webhook:
    listen: 127.0.0.1:0
    senders:
      bench: {verify: trust, bearer: {file: token}, map: "."}
store: {path: store}
console: {listen: ""}
sinks:
  out: {events: [alert.received], %s}
`, settings))
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
	return measure(b, func() {
		postAll(b, "http://"+d.SourceAddress("webhook").String()+"/v1/webhook/bench", calls)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			status := d.sinks[0].forwarder.Status()
			switch {
			case status.Delivered >= throughputAlerts:
				return
			case status.State == sinks.StatePaused || status.DeadLetters > 0:
				b.Fatalf("the sink is not well: %+v", status)
			}
			select {
			case <-tick.C:
			case <-b.Context().Done():
				b.Fatalf("%d of %d alerts came through", status.Delivered, throughputAlerts)
			}
		}
	})
}

// The receivers take everything, and do no more with it than they must to answer.

func syslogReceiver(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
	return fmt.Sprintf("type: syslog, address: %q", l.Addr())
}

func httpReceiver(b *testing.B, answer func(w io.Writer, body io.Reader)) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			body = z
		}
		w.Header().Set("Content-Type", "application/json")
		answer(w, body)
	}))
	b.Cleanup(server.Close)
	return server.URL
}

func hecReceiver(b *testing.B) string {
	url := httpReceiver(b, func(w io.Writer, body io.Reader) {
		_, _ = io.Copy(io.Discard, body)
		_, _ = io.WriteString(w, `{"text":"Success","code":0}`)
	})
	return fmt.Sprintf("type: splunk, url: %q, token: {file: token}", url)
}

func bulkReceiver(b *testing.B) string {
	url := httpReceiver(b, func(w io.Writer, body io.Reader) {
		lines := bufio.NewScanner(body)
		lines.Buffer(nil, 1<<20)
		var items []string
		for n := 0; lines.Scan(); n++ {
			if n%2 == 0 { // an action; its document follows
				items = append(items, `{"create":{"status":201}}`)
			}
		}
		_, _ = fmt.Fprintf(w, `{"errors":false,"items":[%s]}`, strings.Join(items, ","))
	})
	return fmt.Sprintf("type: elastic, url: %q, api_key: {file: token}", url)
}

func kafkaReceiver(b *testing.B) string {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "alerts"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(cluster.Close)
	return fmt.Sprintf("type: kafka, brokers: [%q], topic: alerts", cluster.ListenAddrs()[0])
}

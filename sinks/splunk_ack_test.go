package sinks_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

func openAcks(t *testing.T, sim http.Handler, change func(*sinks.SplunkSettings)) sinks.Sink {
	t.Helper()
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	settings := splunkSettings(srv.URL)
	settings.Ack = true
	if change != nil {
		change(settings)
	}
	return closeAfter(t, openSIEM(t, "splunk", settings))
}

// TestSplunkWaitsForTheIndexer: Send ends when the events are written, and behind
// a load balancer every question goes to the indexer that has them.
func TestSplunkWaitsForTheIndexer(t *testing.T) {
	sim := &sinksim.Splunk{Token: "s3cret-hec-token", Acks: sinksim.SplunkAcks{On: true, After: 3, Indexers: 3}}
	s := openAcks(t, sim, nil)
	for range 3 { // the second and third number of the same channel
		if err := s.Send(t.Context(), sinktest.Events(2)); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(sim.Events()); got != 6 {
		t.Errorf("%d events are written, want 6", got)
	}
}

// TestSplunkSendsAgainWhatNobodyWrote: the indexer dies with the events in its
// memory. The next attempt brings the same ones, through a new channel.
func TestSplunkSendsAgainWhatNobodyWrote(t *testing.T) {
	sim := &sinksim.Splunk{Token: "s3cret-hec-token", Acks: sinksim.SplunkAcks{On: true}}
	var channels sync.Map
	var crashed atomic.Bool
	s := openAcks(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/services/collector/ack" && !crashed.Swap(true) {
			sim.Crash()
		}
		channels.Store(r.Header.Get("X-Splunk-Request-Channel"), true)
		sim.ServeHTTP(w, r)
	}), func(s *sinks.SplunkSettings) { s.AckTimeout = 50 * time.Millisecond })
	err := s.Send(t.Context(), sinktest.Events(2))
	if sinktest.ClassOf(err) != sinktest.Transient || !strings.Contains(err.Error(), "did not acknowledge") {
		t.Fatalf("error %v, want a transient one that says what is missing", err)
	}
	for err != nil { // once, where the machine is not too busy to answer in time
		if err = s.Send(t.Context(), sinktest.Events(2)); err != nil && sinktest.ClassOf(err) != sinktest.Transient {
			t.Fatal(err)
		}
	}
	var written []string
	for _, ev := range sim.Events() {
		id, _ := ev.Fields["event_id"].(string)
		written = append(written, id)
	}
	// What was acknowledged too late, on such a machine, is written once more.
	if both := []string{"er-1", "er-2"}; len(written) < 2 || !slices.Equal(written[len(written)-2:], both) || len(written)%2 != 0 {
		t.Errorf("written: %q, want both events", written)
	}
	n := 0
	channels.Range(func(any, any) bool { n++; return true })
	if n < 2 {
		t.Errorf("%d channels, want a second one after the silence", n)
	}
}

// TestSplunkAsksAgain: a question that gets no answer is no reason to double the
// events.
func TestSplunkAsksAgain(t *testing.T) {
	sim := &sinksim.Splunk{Token: "s3cret-hec-token", Acks: sinksim.SplunkAcks{On: true}}
	var asked, sent atomic.Int32
	s := openAcks(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/services/collector/ack" {
			sent.Add(1)
			sim.ServeHTTP(w, r)
			return
		}
		switch asked.Add(1) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			panic(http.ErrAbortHandler)
		default:
			sim.ServeHTTP(w, r)
		}
	}), nil)
	if err := s.Send(t.Context(), sinktest.Events(1)); err != nil {
		t.Fatal(err)
	}
	if asked.Load() != 3 || sent.Load() != 1 {
		t.Errorf("asked %d times and sent %d times, want 3 and 1", asked.Load(), sent.Load())
	}
}

// TestSplunkReplyLostBeforeTheAck: without its number nobody can ask, so the
// events go again.
func TestSplunkReplyLostBeforeTheAck(t *testing.T) {
	sim := &sinksim.Splunk{Token: "s3cret-hec-token", Acks: sinksim.SplunkAcks{On: true}}
	sim.Next(sinksim.Answer{After: true})
	s := openAcks(t, sim, nil)
	if err := s.Send(t.Context(), sinktest.Events(1)); sinktest.ClassOf(err) != sinktest.Transient {
		t.Errorf("error %v, want a transient one", err)
	}
}

func TestSplunkAckSetUpWrongly(t *testing.T) {
	for _, tt := range []struct {
		name string
		acks bool
		ack  bool
		want string
	}{
		{"the token has none", false, true, "switch on indexer acknowledgement"},
		{"the token has it and the sink does not ask", true, false, "no ack: true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim := &sinksim.Splunk{Token: "s3cret-hec-token", Acks: sinksim.SplunkAcks{On: tt.acks}}
			s := openAcks(t, sim, func(s *sinks.SplunkSettings) { s.Ack = tt.ack })
			err := s.Send(t.Context(), sinktest.Events(1))
			if !errors.Is(err, sinks.ErrConfig) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrConfig with %q", err, tt.want)
			}
		})
	}
}

// TestSplunkAcksStop: an indexer that never writes does not hold up the stop.
func TestSplunkAcksStop(t *testing.T) {
	sim := &sinksim.Splunk{Token: "s3cret-hec-token", Acks: sinksim.SplunkAcks{On: true, After: 1 << 30}}
	asked := make(chan struct{}, 1)
	s := openAcks(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sim.ServeHTTP(w, r)
		if r.URL.Path == "/services/collector/ack" {
			select {
			case asked <- struct{}{}:
			default:
			}
		}
	}), nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- s.Send(ctx, sinktest.Events(1)) }()
	<-asked
	cancel()
	if err := <-result; sinktest.ClassOf(err) != sinktest.Transient || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want a transient one that is due to the stop", err)
	}
}

// TestSplunkAckRefused: somebody switches acknowledgement off while events wait.
func TestSplunkAckRefused(t *testing.T) {
	sim := &sinksim.Splunk{Token: "s3cret-hec-token", Acks: sinksim.SplunkAcks{On: true}}
	var refused atomic.Bool
	s := openAcks(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/services/collector/ack" && !refused.Swap(true) {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]any{"text": "ACK is disabled s3cret-hec-token", "code": 14})
			return
		}
		sim.ServeHTTP(w, r)
	}), nil)
	err := s.Send(t.Context(), sinktest.Events(1))
	if !errors.Is(err, sinks.ErrConfig) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error %v, want ErrConfig without the token", err)
	}
}

func TestSplunkRawLines(t *testing.T) {
	sim := &sinksim.Splunk{Token: "s3cret-hec-token", Indexes: []string{"endpoint"}}
	srv := httptest.NewServer(sim)
	defer srv.Close()
	settings := splunkSettings(srv.URL)
	settings.Endpoint, settings.Format, settings.Index, settings.Source, settings.Host = "raw", "cef", "endpoint", "er&x=1", "er.example.org"
	s := closeAfter(t, openSIEM(t, "splunk", settings))
	events := append(sinktest.Events(2), sinktest.Hostile())
	if err := s.Send(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	got := sim.Lines()
	if len(got) != len(events) {
		t.Fatalf("%d lines for %d events: %q", len(got), len(events), got)
	}
	want := sinksim.HECLine{Host: "er.example.org", Source: "er&x=1", SourceType: "eclecticiq:er:cef", Index: "endpoint", Text: got[0].Text}
	if got[0] != want || !strings.HasPrefix(got[0].Text, "CEF:0|") {
		t.Errorf("line %+v, want %+v", got[0], want)
	}
}

// TestSplunkAddress: a path of the user's own is kept.
func TestSplunkAddress(t *testing.T) {
	for path, want := range map[string]string{
		"":                              "/services/collector/event",
		"/":                             "/services/collector/event",
		"/services/collector":           "/services/collector/event",
		"/services/collector/raw/":      "/services/collector/event",
		"/hec/services/collector/event": "/hec/services/collector/event",
		"/in":                           "/in",
	} {
		var got string
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r.URL.Path
			_, _ = w.Write([]byte(`{"code":0}`))
		}))
		s := closeAfter(t, openSIEM(t, "splunk", splunkSettings(srv.URL+path)))
		err := s.Send(t.Context(), sinktest.Events(1))
		srv.Close()
		if err != nil || got != want {
			t.Errorf("url with path %q posts to %q (%v), want %q", path, got, err, want)
		}
	}
}

// TestSplunkIndexersCrashAgainAndAgain: indexers that lose what they had in memory
// with every second request lose nothing of the feed. What comes twice has the same id.
func TestSplunkIndexersCrashAgainAndAgain(t *testing.T) {
	const alerts = 40
	s, _ := openStore(t, t.TempDir())
	var c soar.Change
	for n := range alerts {
		c.Alerts = append(c.Alerts, *sinktest.Event(n + 1).Alert)
	}
	if _, err := s.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	sim := &sinksim.Splunk{Token: "s3cret-hec-token", Acks: sinksim.SplunkAcks{On: true, After: 1, Indexers: 2}}
	var mu sync.Mutex // guards the two: a handler may still run when nobody waits for it
	var sent, crashes int
	sink := openAcks(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if r.URL.Path != "/services/collector/ack" {
			sent++
		} else if crashes < 4 && sent >= 2*crashes+1 { // the first, third, ... request is lost
			crashes++
			sim.Crash()
		}
		mu.Unlock()
		sim.ServeHTTP(w, r)
	}), func(s *sinks.SplunkSettings) { s.AckTimeout = 200 * time.Millisecond })
	reached := make(chan struct{})
	f, err := sinks.NewForwarder("splunk", &counted{sink, alerts, reached}, s, sinks.ForwarderOptions{
		MaxBatch: 7, FromStart: true, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond, Events: []soar.EventType{soar.EventAlertReceived},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	select {
	case <-reached:
	case err := <-ended:
		t.Fatalf("the forwarder ended: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	var written []string
	for _, ev := range sim.Events() {
		if id, _ := ev.Fields["event_id"].(string); !slices.Contains(written, id) {
			written = append(written, id)
		}
	}
	var want []string
	for n := range alerts {
		want = append(want, sinktest.Event(n+1).ID)
	}
	if !slices.Equal(written, want) {
		t.Errorf("written, without repeats\n got %v\nwant %v", written, want)
	}
	mu.Lock()
	defer mu.Unlock()
	if crashes != 4 {
		t.Errorf("%d crashes, want 4", crashes)
	}
}

package sinks_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

const lokiToken = "s3cret-loki-token"

func lokiSettings(url string) *sinks.LokiSettings {
	return &sinks.LokiSettings{
		URL: url, Tenant: "soc", Token: soar.SecretValue(lokiToken), Labels: map[string]string{"env": "test"},
		StructuredMetadata: true, MaxLineBytes: 256 << 10, Compress: true, Timeout: time.Minute,
		FormatSettings: sinks.FormatSettings{Format: "json"},
	}
}

// newLoki runs a Loki whose clock stands shortly after the events of sinktest.
func newLoki(t *testing.T) (*sinksim.Loki, *sinks.LokiSettings) {
	t.Helper()
	sim := &sinksim.Loki{
		Tenant: "soc", Authorization: "Bearer " + lokiToken,
		Now: func() time.Time { return sinktest.Event(1).At.Add(time.Minute) },
	}
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	return sim, lokiSettings(srv.URL)
}

func lokiIDs(sim *sinksim.Loki) []string {
	var ids []string
	for _, e := range sim.Entries() {
		ids = append(ids, e.Metadata["event_id"])
	}
	return ids
}

func TestLokiContract(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		MaxBatch: 500, Secrets: []string{lokiToken},
		Open: func(t *testing.T, r sinktest.Receiver) sinks.Sink {
			s := lokiSettings(r.URL)
			s.CAFile = r.CAFile
			return openSIEM(t, "loki", s)
		},
		OK: func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusNoContent) },
		IDs: func(t *testing.T, r *http.Request, body []byte) []string {
			var request struct {
				Streams []struct {
					Values [][]json.RawMessage `json:"values"`
				} `json:"streams"`
			}
			if err := json.Unmarshal(plainBody(t, r, body), &request); err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, stream := range request.Streams {
				for _, entry := range stream.Values {
					var metadata map[string]string
					if err := json.Unmarshal(entry[2], &metadata); err != nil {
						t.Fatal(err)
					}
					ids = append(ids, metadata["event_id"])
				}
			}
			return ids
		},
	})
}

func TestLokiEntries(t *testing.T) {
	sim, settings := newLoki(t)
	s := closeAfter(t, openSIEM(t, "loki", settings))
	late := sinktest.Event(2)
	late.Alert.EventTime = late.At.Add(-30 * 24 * time.Hour) // its host was offline
	low := sinktest.Event(3)
	low.Alert.Severity, low.Alert.Source = soar.SeverityLow, "IOC"
	strange := sinktest.Event(4)
	strange.Alert.Source = "x\"} or {a=\""
	test := soar.Event{ID: "t-1", Type: soar.EventTest, At: sinktest.Event(1).At, Text: "hello"}
	events := []soar.Event{sinktest.Event(1), late, low, strange, test}
	if err := s.Send(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	entries := sim.Entries()
	if len(entries) != len(events) {
		t.Fatalf("%d entries, want %d", len(entries), len(events))
	}
	byID := map[string]sinksim.LokiEntry{}
	for _, e := range entries {
		byID[e.Metadata["event_id"]] = e
	}
	for id, want := range map[string]string{
		"er-1": "map[env:test job:erbridge server:er severity:high source:rule]",
		"er-2": "map[env:test job:erbridge server:er severity:high source:rule]",
		"er-3": "map[env:test job:erbridge server:er severity:low source:ioc]",
		"er-4": "map[env:test job:erbridge server:er severity:high source:other]",
		"t-1":  "map[env:test job:erbridge severity:info source:erbridge]",
	} {
		if got := fmt.Sprint(byID[id].Labels); got != want {
			t.Errorf("labels of %s: %s, want %s", id, got, want)
		}
	}
	second := byID["er-2"]
	if !second.Time.Equal(late.At) {
		t.Errorf("time %s, want %s", second.Time, late.At)
	}
	for name, want := range map[string]string{
		"alert_id": "er-2", "host": "WIN-07", "host_identifier": "EC2A-7", "rule": "Shadow copies deleted", "event_type": "alert.received",
		"event_time": late.Alert.EventTime.Format(time.RFC3339Nano),
	} {
		if got := second.Metadata[name]; got != want {
			t.Errorf("structured metadata %s: %q, want %q", name, got, want)
		}
	}
	var back soar.Event
	if err := json.Unmarshal([]byte(second.Line), &back); err != nil || back.ID != "er-2" {
		t.Errorf("line %s: %v", second.Line, err)
	}
}

// Loki keeps a repeat once, with whatever it came before.
func TestLokiRepeatAfterLostAnswer(t *testing.T) {
	sim, settings := newLoki(t)
	sim.Next(sinksim.Answer{After: true})
	s := closeAfter(t, openSIEM(t, "loki", settings))
	if err := s.Send(t.Context(), sinktest.Events(2)); sinktest.ClassOf(err) != sinktest.Transient {
		t.Fatalf("error %v, want a transient one", err)
	}
	if err := s.Send(t.Context(), sinktest.Events(3)); err != nil {
		t.Fatal(err)
	}
	entries := sim.Entries()
	if got := lokiIDs(sim); !slices.Equal(got, []string{"er-1", "er-2", "er-3"}) || entries[0].Stores != 2 {
		t.Errorf("entries %q, the first came %d times", got, entries[0].Stores)
	}
}

// Of a request with entries that Loki refuses it keeps the others; halving finds
// those at fault, and the others stand there once.
func TestLokiRefusesEntries(t *testing.T) {
	sim, settings := newLoki(t)
	s := closeAfter(t, openSIEM(t, "loki", settings))
	events := sinktest.Events(8)
	events[5].At = events[5].At.Add(-8 * 24 * time.Hour) // replayed after it has lain for long
	var refused []string
	var send func(events []soar.Event)
	send = func(events []soar.Event) { // as the forwarder does
		err := s.Send(t.Context(), events)
		switch {
		case err == nil:
		case sinktest.ClassOf(err) != sinktest.Permanent || !strings.Contains(err.Error(), "too old"):
			t.Fatalf("error %v, want a refusal", err)
		case len(events) == 1:
			refused = append(refused, events[0].ID)
		default:
			send(events[:len(events)/2])
			send(events[len(events)/2:])
		}
	}
	send(events)
	if !slices.Equal(refused, []string{"er-6"}) {
		t.Errorf("refused %q, want er-6", refused)
	}
	if got, want := lokiIDs(sim), []string{"er-1", "er-2", "er-3", "er-4", "er-5", "er-7", "er-8"}; !slices.Equal(got, want) {
		t.Errorf("entries %q, want %q", got, want)
	}
}

// An event that is too long is shortened, one that is then still too long is set
// aside, and neither holds up the others.
func TestLokiLongLines(t *testing.T) {
	sim, settings := newLoki(t)
	sim.MaxLineBytes, settings.MaxLineBytes = 8<<10, 8<<10
	s := closeAfter(t, openSIEM(t, "loki", settings))
	events := sinktest.Events(4)
	events[1].Alert.Event["cmdline"] = strings.Repeat("ü", 8<<10)
	for i := range 50 {
		events[2].Alert.Event[fmt.Sprintf("column_%d", i)] = strings.Repeat("x", 1000)
	}
	err := s.Send(t.Context(), events)
	if sinktest.ClassOf(err) != sinktest.Partial || !strings.Contains(fmt.Sprint(err), "1 items refused, 0 items to try again") {
		t.Fatalf("error %v, want one item refused", err)
	}
	if got, want := lokiIDs(sim), []string{"er-1", "er-2", "er-4"}; !slices.Equal(got, want) {
		t.Errorf("entries %q, want %q", got, want)
	}
	if line := sim.Entries()[1].Line; !strings.Contains(line, "…") || !json.Valid([]byte(line)) {
		t.Errorf("the long line is not marked as cut: %.200s", line)
	}
	if err := s.Send(t.Context(), events[2:3]); sinktest.ClassOf(err) != sinktest.TooLarge {
		t.Errorf("error %v of the event alone, want one of its size", err)
	}
}

// A proxy in front of Loki can take less than Loki does.
func TestLokiBehindASmallProxy(t *testing.T) {
	sim, settings := newLoki(t)
	settings.Compress = false
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 64<<10 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		sim.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	settings.URL = proxy.URL
	events := sinktest.Events(2)
	events[1].Alert.Event["cmdline"] = strings.Repeat("x", 100<<10)
	s := closeAfter(t, openSIEM(t, "loki", settings))
	if err := s.Send(t.Context(), events); sinktest.ClassOf(err) != sinktest.TooLarge {
		t.Errorf("error %v, want one that halves the batch", err)
	}
	if err := s.Send(t.Context(), events[1:]); err != nil {
		t.Errorf("the event alone: %v", err)
	}
	if got := lokiIDs(sim); !slices.Equal(got, []string{"er-2"}) {
		t.Errorf("Loki has %q, want er-2", got)
	}
}

func TestLokiAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*sinksim.Loki, *sinks.LokiSettings)
		want   sinktest.Class
		text   string
	}{
		{"no tenant", func(_ *sinksim.Loki, s *sinks.LokiSettings) { s.Tenant = "" }, sinktest.Config, "no org id"},
		{"wrong token", func(_ *sinksim.Loki, s *sinks.LokiSettings) { s.Token = soar.SecretValue("an0ther") }, sinktest.Config, "invalid token"},
		{"password", func(sim *sinksim.Loki, s *sinks.LokiSettings) {
			sim.Authorization = "Basic dTpwdw=="
			s.Token, s.Username, s.Password = soar.Secret{}, "u", soar.SecretValue("pw")
		}, sinktest.Delivered, ""},
		{"metadata is not allowed", func(sim *sinksim.Loki, _ *sinks.LokiSettings) { sim.NoMetadata = true }, sinktest.Config, "structured_metadata: false may help"},
		{"no metadata", func(sim *sinksim.Loki, s *sinks.LokiSettings) { sim.NoMetadata, s.StructuredMetadata = true, false }, sinktest.Delivered, ""},
		{"over the rate", func(sim *sinksim.Loki, _ *sinks.LokiSettings) {
			sim.Next(sinksim.Answer{Status: 429, Body: "ingestion rate limit exceeded for user soc"})
		}, sinktest.Transient, "rate limit"},
		{"a web page", func(sim *sinksim.Loki, _ *sinks.LokiSettings) {
			sim.Next(sinksim.Answer{Status: 200, Body: "<html>log in</html>"})
		}, sinktest.Config, "log in"},
		{"a TLS port", func(sim *sinksim.Loki, _ *sinks.LokiSettings) {
			sim.Next(sinksim.Answer{Status: 400, Body: "Client sent an HTTP request to an HTTPS server."})
		}, sinktest.Config, "https"},
		{"full address", func(_ *sinksim.Loki, s *sinks.LokiSettings) { s.URL += "/loki/api/v1/push" }, sinktest.Delivered, ""},
		{"other format", func(_ *sinksim.Loki, s *sinks.LokiSettings) { s.Format = "cef" }, sinktest.Delivered, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim, settings := newLoki(t)
			tt.change(sim, settings)
			s := closeAfter(t, openSIEM(t, "loki", settings))
			err := s.Send(t.Context(), append(sinktest.Events(2), sinktest.Hostile()))
			if sinktest.ClassOf(err) != tt.want || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("class %s, want %s with %q: %v", sinktest.ClassOf(err), tt.want, tt.text, err)
			}
			if err != nil && strings.Contains(err.Error(), "an0ther") {
				t.Errorf("the token shows: %v", err)
			}
		})
	}
}

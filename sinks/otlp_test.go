package sinks_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

const otlpKey = "s3cret-otlp-key"

func otlpSettings(url string) *sinks.OTLPSettings {
	return &sinks.OTLPSettings{
		URL: url, Headers: map[string]soar.Secret{"x-api-key": soar.SecretValue(otlpKey)}, Compress: true, Timeout: time.Minute,
	}
}

func newOTLP(t *testing.T) (*sinksim.OTLP, *sinks.OTLPSettings) {
	t.Helper()
	sim := &sinksim.OTLP{Header: map[string]string{"X-Api-Key": otlpKey}}
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	return sim, otlpSettings(srv.URL)
}

func TestOTLPContract(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		MaxBatch: 500, Secrets: []string{otlpKey},
		Answer: func(int) string { return `{"message":"` + otlpKey + `"}` },
		Open: func(t *testing.T, r sinktest.Receiver) sinks.Sink {
			s := otlpSettings(r.URL)
			s.CAFile = r.CAFile
			return openSIEM(t, "otlp", s)
		},
		OK: func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.Header().Set("Content-Type", "application/x-protobuf")
		},
		IDs: func(t *testing.T, r *http.Request, body []byte) []string {
			var request logspb.LogsData
			if err := proto.Unmarshal(plainBody(t, r, body), &request); err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, record := range request.ResourceLogs[0].ScopeLogs[0].LogRecords {
				for _, a := range record.Attributes {
					if a.Key == "log.record.uid" {
						ids = append(ids, a.Value.GetStringValue())
					}
				}
			}
			return ids
		},
	})
}

func TestOTLPRecord(t *testing.T) {
	sim, settings := newOTLP(t)
	settings.Resource = map[string]string{"deployment.environment.name": "production"}
	s := closeAfter(t, openSIEM(t, "otlp", settings))
	alert := sinktest.Event(1)
	alert.At = alert.At.Add(time.Minute) // it came in later than it happened
	test := soar.Event{ID: "t-1", Type: soar.EventTest, At: time.Unix(1795318722, 5), Text: "hello"}
	if err := s.Send(t.Context(), []soar.Event{alert, test, sinktest.Hostile()}); err != nil {
		t.Fatal(err)
	}
	records := sim.Records()
	if len(records) != 3 {
		t.Fatalf("%d records, want 3", len(records))
	}
	first := records[0]
	if got, want := first.TimeUnixNano, uint64(alert.Alert.EventTime.UnixNano()); got != want {
		t.Errorf("time %d, want %d", got, want)
	}
	if got, want := first.ObservedTimeUnixNano, uint64(alert.At.UnixNano()); got != want {
		t.Errorf("observed time %d, want %d", got, want)
	}
	if first.SeverityNumber != 17 || first.SeverityText != "HIGH" || first.EventName != "er.alert" {
		t.Errorf("severity %d %q, event name %q", first.SeverityNumber, first.SeverityText, first.EventName)
	}
	if body := first.Body.GetStringValue(); !strings.Contains(body, "Shadow copies deleted") || !strings.Contains(body, "WIN-07") {
		t.Errorf("body %q", body)
	}
	for name, want := range map[string]any{
		"log.record.uid": "er-1", "host.name": "win-07", "host.id": "EC2A-7", "rule.name": "Shadow copies deleted",
		"process.pid": int64(4711), "process.command_line": "vssadmin delete shadows /all /quiet",
	} {
		if got := first.Attributes[name]; got != want {
			t.Errorf("attribute %s is %#v, want %#v; there are %v", name, got, want, first.Attributes)
		}
	}
	if got := first.Attributes["threat.technique.id"]; fmt.Sprint(got) != "[T1490]" {
		t.Errorf("attribute threat.technique.id is %v", got)
	}
	for name, want := range map[string]any{"service.name": "erbridge", "service.version": "1.2.3", "deployment.environment.name": "production"} {
		if got := first.Resource[name]; got != want {
			t.Errorf("resource attribute %s is %v, want %v", name, got, want)
		}
	}
	if second := records[1]; second.TimeUnixNano != uint64(test.At.UnixNano()) || second.Attributes["log.record.uid"] != "t-1" || second.EventName != "er.connector" {
		t.Errorf("record of an event without alert: %v", second.LogRecord)
	}
	if third := records[2]; third.Attributes["log.record.uid"] != sinktest.Hostile().ID || third.Resource["service.name"] != "erbridge" {
		t.Errorf("record of hostile text: %v", third.LogRecord)
	}
}

// What a receiver throws away is counted, and not sent again, unless all of it or a
// single event is: then it is a refusal.
func TestOTLPPartialSuccess(t *testing.T) {
	rejecting := func(ids ...string) func(sinksim.OTLPRecord) string {
		return func(r sinksim.OTLPRecord) string {
			if id, _ := r.Attributes["log.record.uid"].(string); slices.Contains(ids, id) {
				return "quota " + otlpKey
			}
			return ""
		}
	}
	sim, settings := newOTLP(t)
	s := closeAfter(t, openSIEM(t, "otlp", settings))
	sim.OnRecord = rejecting("er-2", "er-3")
	err := s.Send(t.Context(), sinktest.Events(5))
	lost, ok := errors.AsType[*sinks.LostError](err)
	if !ok || lost.Events != 2 || !strings.Contains(err.Error(), "quota") || strings.Contains(err.Error(), otlpKey) {
		t.Errorf("error %v, want 2 lost events, and why", err)
	}
	for _, n := range []int{1, 2} {
		sim.OnRecord = rejecting("er-1", "er-2")
		if err := s.Send(t.Context(), sinktest.Events(n)); !errors.Is(err, sinks.ErrPermanent) {
			t.Errorf("all of %d rejected: error %v, want ErrPermanent", n, err)
		}
	}
	if n := len(sim.Records()); n != 3 {
		t.Errorf("%d records, want the 3 that were taken, once", n)
	}
}

func TestOTLPAnswers(t *testing.T) {
	ofType := func(kind string, status int, body string) sinksim.Answer {
		return sinksim.Answer{Status: status, Header: http.Header{"Content-Type": {kind}}, Body: body}
	}
	const proto, js = "application/x-protobuf", "application/json"
	for _, tt := range []struct {
		name   string
		answer sinksim.Answer
		want   sinktest.Class
		text   string
	}{
		{"nothing to say", ofType(proto, 200, ""), sinktest.Delivered, ""},
		{"a warning", ofType(proto, 200, "\x0a\x05\x12\x03old"), sinktest.Delivered, ""},
		{"all rejected", ofType(proto, 200, "\x0a\x07\x08\x02\x12\x03bad"), sinktest.Permanent, "bad"},
		{"all rejected, as JSON", ofType(js, 200, `{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"bad"}}`), sinktest.Permanent, "bad"},
		{"all rejected, as JSON with a number", ofType(js, 200, `{"partialSuccess":{"rejectedLogRecords":2}}`), sinktest.Permanent, ""},
		{"nothing to say, as JSON", ofType(js, 200, `{}`), sinktest.Delivered, ""},
		{"a web page", ofType("text/html", 200, "<html>log in</html>"), sinktest.Config, "no receiver of OTLP"},
		{"broken", ofType(proto, 200, "\x0a\xff"), sinktest.Config, "no receiver of OTLP"},
		{"a status of gRPC", ofType(proto, 400, "\x08\x03\x12\x09malformed"), sinktest.Permanent, "status 400: malformed"},
		{"other port", ofType("text/plain", 400, "Client sent an HTTP request to an HTTPS server."), sinktest.Config, "https"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim, settings := newOTLP(t)
			sim.Next(tt.answer)
			s := closeAfter(t, openSIEM(t, "otlp", settings))
			err := s.Send(t.Context(), sinktest.Events(2))
			if sinktest.ClassOf(err) != tt.want || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("class %s, want %s with %q: %v", sinktest.ClassOf(err), tt.want, tt.text, err)
			}
		})
	}
}

// The event is the same on a repeat after a lost answer.
func TestOTLPRepeatAfterLostAnswer(t *testing.T) {
	sim, settings := newOTLP(t)
	sim.Next(sinksim.Answer{After: true})
	s := closeAfter(t, openSIEM(t, "otlp", settings))
	if err := s.Send(t.Context(), sinktest.Events(1)); sinktest.ClassOf(err) != sinktest.Transient {
		t.Fatalf("error %v, want a transient one", err)
	}
	if err := s.Send(t.Context(), sinktest.Events(1)); err != nil {
		t.Fatal(err)
	}
	records := sim.Records()
	if len(records) != 2 || !proto.Equal(records[0].LogRecord, records[1].LogRecord) {
		t.Errorf("records %v, want the same twice", records)
	}
}

func TestOTLPWrongKeyIsRefused(t *testing.T) {
	_, settings := newOTLP(t)
	settings.Headers = map[string]soar.Secret{"x-api-key": soar.SecretValue("an0ther-key")}
	s, err := sinks.Open("o", "otlp", settings, sinks.Env{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	err = closeAfter(t, s).Send(t.Context(), sinktest.Events(1))
	if sinktest.ClassOf(err) != sinktest.Config || strings.Contains(err.Error(), "an0ther-key") {
		t.Errorf("error %v, want one of the configuration, without the key", err)
	}
}

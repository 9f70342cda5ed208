package sinks_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// siemEnv is what the sinks of this file's kind need of their surroundings.
func siemEnv() sinks.Env {
	return sinks.Env{Log: slog.New(slog.DiscardHandler), Version: "1.2.3", Now: time.Now}
}

func openSIEM(t *testing.T, kind string, settings any) sinks.Sink {
	t.Helper()
	s, err := sinks.Open("siem", kind, settings, siemEnv())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeAfter(t *testing.T, s sinks.Sink) sinks.Sink {
	t.Helper()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// plainBody undoes gzip.
func plainBody(t *testing.T, r *http.Request, body []byte) []byte {
	t.Helper()
	if r.Header.Get("Content-Encoding") != "gzip" {
		return body
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func splunkSettings(url string) *sinks.SplunkSettings {
	return &sinks.SplunkSettings{
		URL: url, Token: soar.SecretValue("s3cret-hec-token"), Endpoint: "event", FormatSettings: sinks.FormatSettings{Format: "json"}, Compress: true, Timeout: time.Minute,
		AckTimeout: time.Minute, AckInterval: time.Millisecond,
	}
}

func TestSplunkContract(t *testing.T) {
	ids := func(t *testing.T, r *http.Request, body []byte) []string {
		var ids []string
		for decoder := json.NewDecoder(bytes.NewReader(plainBody(t, r, body))); ; {
			var ev struct {
				ID    string `json:"id"` // a line of the raw endpoint
				Event struct {
					ID string `json:"event_id"`
				} `json:"event"`
			}
			if err := decoder.Decode(&ev); errors.Is(err, io.EOF) {
				return ids
			} else if err != nil {
				t.Fatal(err)
			}
			if r.URL.Path != "/services/collector/ack" {
				ids = append(ids, cmp.Or(ev.ID, ev.Event.ID))
			}
		}
	}
	for name, change := range map[string]func(*sinks.SplunkSettings){
		"event": func(*sinks.SplunkSettings) {},
		"acks":  func(s *sinks.SplunkSettings) { s.Ack = true },
		"raw":   func(s *sinks.SplunkSettings) { s.Endpoint = "raw" },
	} {
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, sinktest.Harness{
				MaxBatch: 500, Secrets: []string{"s3cret-hec-token"},
				Answer: func(status int) string { return fmt.Sprintf(`{"status":%d,"error":"s3cret-hec-token"}`, status) },
				Open: func(t *testing.T, r sinktest.Receiver) sinks.Sink {
					s := splunkSettings(r.URL)
					s.CAFile = r.CAFile
					change(s)
					return openSIEM(t, "splunk", s)
				},
				OK: func(w http.ResponseWriter, r *http.Request, _ []byte) {
					answer := `{"text":"Success","code":0,"ackId":7}`
					if r.URL.Path == "/services/collector/ack" {
						answer = `{"acks":{"7":true}}`
					}
					_, _ = io.WriteString(w, answer)
				},
				IDs: ids,
			})
		})
	}
}

// TestSplunkTakesTheEvents has the fake collector, with its rules, judge what the
// sink sends.
func TestSplunkTakesTheEvents(t *testing.T) {
	sim := &sinksim.Splunk{Token: "s3cret-hec-token", Indexes: []string{"endpoint"}}
	srv := httptest.NewServer(sim)
	defer srv.Close()
	settings := splunkSettings(srv.URL)
	settings.Index, settings.Source = "endpoint", "er"
	s := closeAfter(t, openSIEM(t, "splunk", settings))
	events := append(sinktest.Events(2), sinktest.Hostile(), soar.Event{ID: "t-1", Type: soar.EventTest, At: time.Unix(1795318722, 726000000), Text: "hello"})
	if err := s.Send(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	got := sim.Events()
	if len(got) != len(events) {
		t.Fatalf("%d events arrived, want %d", len(got), len(events))
	}
	if got[0].Host != "WIN-07" || got[0].SourceType != "eclecticiq:er:alert" || got[0].Source != "er" || got[0].Fields["alert_id"] != "1" {
		t.Errorf("envelope %+v", got[0])
	}
	if got[3].Time != "1795318722.726000" || got[3].SourceType != "eclecticiq:er:connector" || got[3].Host != "" {
		t.Errorf("envelope of an event without alert %+v", got[3])
	}
}

func TestSplunkCodes(t *testing.T) {
	answer := func(status, code int, more string) sinksim.Answer {
		return sinksim.Answer{Status: status, Body: fmt.Sprintf(`{"text":"x","code":%d%s}`, code, more)}
	}
	for _, tt := range []struct {
		name   string
		answer sinksim.Answer
		want   sinktest.Class
	}{
		{"incorrect index", answer(400, 7, ""), sinktest.Config},
		{"channel missing", answer(400, 10, ""), sinktest.Config},
		{"acknowledgement is off", answer(400, 14, ""), sinktest.Config},
		{"one event is bad", answer(400, 6, `,"invalid-event-number":1`), sinktest.Partial},
		{"an event outside the batch is bad", answer(400, 6, `,"invalid-event-number":9`), sinktest.Permanent},
		{"no number", answer(400, 12, ""), sinktest.Permanent},
		{"queues full", answer(503, 18, ""), sinktest.Transient},
		{"busy with 400", answer(400, 9, ""), sinktest.Transient},
		{"internal", answer(500, 8, ""), sinktest.Transient},
		{"token disabled", answer(403, 1, ""), sinktest.Config},
		{"token required", answer(401, 2, ""), sinktest.Config},
		{"a web page with 200", sinksim.Answer{Status: 200, Body: "<html>log in</html>"}, sinktest.Config},
		{"the web interface", sinksim.Answer{Status: 303, Header: http.Header{"Location": {"/en-US/"}}}, sinktest.Config},
		{"200 and an error code", answer(200, 9, ""), sinktest.Transient},
		{"broken connection", sinksim.Answer{}, sinktest.Transient},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim := &sinksim.Splunk{Token: "s3cret-hec-token"}
			sim.Next(tt.answer)
			srv := httptest.NewServer(sim)
			defer srv.Close()
			s := closeAfter(t, openSIEM(t, "splunk", splunkSettings(srv.URL)))
			err := s.Send(t.Context(), sinktest.Events(3))
			if got := sinktest.ClassOf(err); got != tt.want {
				t.Fatalf("%s (%v), want %s", got, err, tt.want)
			}
			if partial, ok := errors.AsType[*sinks.PartialError](err); ok {
				if len(partial.Permanent) != 1 || partial.Permanent[1] == nil || len(partial.Transient) != 2 {
					t.Errorf("refused %v, again %v: want 1 refused and the others again", partial.Permanent, partial.Transient)
				}
			}
		})
	}
}

func TestSplunkRefusesAWrongToken(t *testing.T) {
	srv := httptest.NewServer(&sinksim.Splunk{Token: "another"})
	defer srv.Close()
	s := closeAfter(t, openSIEM(t, "splunk", splunkSettings(srv.URL)))
	err := s.Send(t.Context(), sinktest.Events(1))
	if !errors.Is(err, sinks.ErrConfig) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error %v, want ErrConfig without the token", err)
	}
}

// TestPlainRequestToATLSPort is the likeliest mistake in a URL; it must not cost
// the events their place in the queue.
func TestPlainRequestToATLSPort(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	defer srv.Close()
	url := strings.Replace(srv.URL, "https:", "http:", 1)
	for kind, settings := range map[string]any{"splunk": splunkSettings(url), "elastic": elasticSettings(url)} {
		s := closeAfter(t, openSIEM(t, kind, settings))
		if err := s.Send(t.Context(), sinktest.Events(1)); !errors.Is(err, sinks.ErrConfig) {
			t.Errorf("%s: %v, want ErrConfig", kind, err)
		}
	}
}

// TestSplunkReplyLostAfterItsStatus: the events are in, and the collector cannot
// tell a repeat.
func TestSplunkReplyLostAfterItsStatus(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"text":`)
	}))
	defer srv.Close()
	s := closeAfter(t, openSIEM(t, "splunk", splunkSettings(srv.URL)))
	if err := s.Send(t.Context(), sinktest.Events(1)); err != nil {
		t.Errorf("error %v, want none", err)
	}
}

// TestSplunkShortensAnEventThatIsTooLargeAlone: the beginning is worth more than
// a dead letter.
func TestSplunkShortensAnEventThatIsTooLargeAlone(t *testing.T) {
	sim := &sinksim.Splunk{Token: "s3cret-hec-token"}
	srv := httptest.NewServer(sim)
	defer srv.Close()
	s := closeAfter(t, openSIEM(t, "splunk", splunkSettings(srv.URL)))
	large := sinktest.Event(1)
	large.Alert.Event["cmdline"] = strings.Repeat("x", 2<<20)
	if err := s.Send(t.Context(), []soar.Event{large, sinktest.Event(2)}); !errors.Is(err, sinks.ErrTooLarge) {
		t.Errorf("in a batch: %v, want ErrTooLarge", err)
	}
	if err := s.Send(t.Context(), []soar.Event{large}); err != nil {
		t.Fatal(err)
	}
	event, _ := sim.Events()[0].Event.(map[string]any)
	if process, _ := event["process"].(string); !strings.HasPrefix(process, "xxx") || !strings.HasSuffix(process, "…") || len(process) > 4096 {
		t.Errorf("the command line has %d bytes, want its beginning and a mark", len(process))
	}
}

func TestSIEMSettingsAreChecked(t *testing.T) {
	for _, tt := range []struct {
		name     string
		settings sinks.Checker
		want     string
	}{
		{"not a URL", &sinks.SplunkSettings{FormatSettings: sinks.FormatSettings{Format: "json"}, URL: "hec:8088", Timeout: 1}, "url: expected http:// or https:// and a host"},
		{"password in the URL", &sinks.SplunkSettings{FormatSettings: sinks.FormatSettings{Format: "json"}, URL: "https://u:p@hec", Timeout: 1}, "url: no user name or password here, there are settings for them"},
		{"format of an endpoint that has its own", &sinks.SplunkSettings{URL: "https://hec", Timeout: 1, Endpoint: "event", FormatSettings: sinks.FormatSettings{Format: "cef"}}, "format endpoint: events of"},
		{"template that is missing", &sinks.SplunkSettings{URL: "https://hec", Timeout: 1, Endpoint: "raw", FormatSettings: sinks.FormatSettings{Format: "template"}}, "format: format: template needs"},
		{"acks behind a path of a proxy", &sinks.SplunkSettings{FormatSettings: sinks.FormatSettings{Format: "json"}, URL: "https://hec/in", Timeout: 1, Ack: true, AckTimeout: 1, AckInterval: 1}, "ack url: a path"},
		{"acks that take too long", &sinks.SplunkSettings{FormatSettings: sinks.FormatSettings{Format: "json"}, URL: "https://hec", Timeout: 1, Ack: true, AckTimeout: time.Hour, AckInterval: 1}, "ack_timeout: expected"},
		{"acks asked for all the time", &sinks.SplunkSettings{FormatSettings: sinks.FormatSettings{Format: "json"}, URL: "https://hec", Timeout: 1, Ack: true, AckTimeout: 1}, "ack_interval: expected"},
		{"no time-out", &sinks.SplunkSettings{FormatSettings: sinks.FormatSettings{Format: "json"}, URL: "https://hec"}, "timeout: expected a duration above 0"},
		{"two ways to log in", &sinks.ElasticSettings{URL: "https://es", Namespace: "x", Timeout: 1, APIKey: soar.SecretValue("a"), Token: soar.SecretValue("b")}, "api_key username password token: set one of api_key, username with password, token"},
		{"template for an index of the user", &sinks.ElasticSettings{URL: "https://es", Index: "er", Timeout: 1, InstallTemplate: true}, "install_template index: the template"},
		{"user without password", &sinks.ElasticSettings{URL: "https://es", Namespace: "x", Timeout: 1, Username: "u"}, "username password: username and password go together"},
		{"namespace with a dash", &sinks.ElasticSettings{URL: "https://es", Namespace: "a-b", Timeout: 1}, "namespace: expected at most 100"},
		{"no port", &sinks.SyslogSettings{Address: "host", RFC: 5424, Timeout: 1}, "address: expected host:port"},
		{"lines on TLS", &sinks.SyslogSettings{Address: "h:1", Transport: "tls", Framing: "lf", RFC: 5424, Timeout: 1}, "framing transport: RFC 5425 has octet counting only"},
		{"framing on UDP", &sinks.SyslogSettings{Address: "h:1", Transport: "udp", Framing: "lf", RFC: 5424, Timeout: 1}, "framing transport: a datagram is one message"},
		{"unknown RFC", &sinks.SyslogSettings{Address: "h:1", Transport: "tcp", RFC: 5425, Timeout: 1}, "rfc: expected 5424 or 3164"},
		{"messages too short for a header", &sinks.SyslogSettings{Address: "h:1", Transport: "tcp", RFC: 5424, MaxMessageBytes: 100, Timeout: 1}, "max_message_bytes: expected 0, or"},
		{"certificates without TLS", &sinks.SyslogSettings{Address: "h:1", Transport: "tcp", RFC: 5424, Timeout: 1, TLSSettings: sinks.TLSSettings{CAFile: "x"}}, "transport: certificates are of use"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			tt.settings.Check(func(setting, _, format string, args ...any) {
				got = append(got, setting+": "+fmt.Sprintf(format, args...))
			})
			if len(got) != 1 || !strings.HasPrefix(got[0], tt.want) {
				t.Errorf("mistakes %q, want one that begins with %q", got, tt.want)
			}
		})
	}
}

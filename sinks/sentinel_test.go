package sinks_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

const (
	sentinelRule   = "dcr-0123456789abcdef0123456789abcdef"
	sentinelSecret = "s3cret~client"
	sentinelToken  = "t0ken~of-an-hour"
)

// newSentinelSim is an API whose rule is that of the template that we ship.
func newSentinelSim(t *testing.T) *sinksim.Sentinel {
	t.Helper()
	_, stream := sentinelColumns(t)
	return &sinksim.Sentinel{
		Tenant: "tenant-1", ClientID: "app-1", ClientSecret: sentinelSecret, Rule: sentinelRule, Stream: "Custom-EclecticIQER_CL", Columns: stream,
	}
}

// sentinelColumns reads the columns of the table and of the stream out of the template.
func sentinelColumns(t *testing.T) (table, stream map[string]string) {
	t.Helper()
	type columns struct {
		Columns []struct {
			Name string `json:"name"`
			Type string `json:"type"`
		} `json:"columns"`
	}
	var template struct {
		Resources []struct {
			Properties struct {
				Schema  columns            `json:"schema"`
				Streams map[string]columns `json:"streamDeclarations"`
			} `json:"properties"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(sinks.SentinelTemplate, &template); err != nil {
		t.Fatal(err)
	}
	table, stream = map[string]string{}, map[string]string{}
	for _, c := range template.Resources[0].Properties.Schema.Columns {
		table[c.Name] = strings.ToLower(c.Type)
	}
	for _, c := range template.Resources[1].Properties.Streams["Custom-EclecticIQER_CL"].Columns {
		stream[c.Name] = c.Type
	}
	return table, stream
}

func sentinelSettings(api, login string) *sinks.SentinelSettings {
	return &sinks.SentinelSettings{
		URL: api, LoginURL: login, Rule: sentinelRule, Stream: "Custom-EclecticIQER_CL", Tenant: "tenant-1", ClientID: "app-1",
		ClientSecret: soar.SecretValue(sentinelSecret), Scope: "https://monitor.azure.com/.default", FormatSettings: sinks.FormatSettings{Format: "asim"}, Compress: true, Timeout: time.Minute,
	}
}

func openSentinel(t *testing.T, sim http.Handler) sinks.Sink {
	t.Helper()
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	return closeAfter(t, openSIEM(t, "sentinel", sentinelSettings(srv.URL, srv.URL)))
}

func TestSentinelContract(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		MaxBatch: 500, Secrets: []string{sentinelSecret},
		Open: func(t *testing.T, r sinktest.Receiver) sinks.Sink {
			login := httptest.NewServer(newSentinelSim(t))
			t.Cleanup(login.Close)
			s := sentinelSettings(r.URL, login.URL)
			s.CAFile = r.CAFile
			return openSIEM(t, "sentinel", s)
		},
		OK: func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusNoContent) },
		IDs: func(t *testing.T, r *http.Request, body []byte) []string {
			var records []struct {
				ID string `json:"EventUid"`
			}
			if err := json.Unmarshal(plainBody(t, r, body), &records); err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, record := range records {
				ids = append(ids, record.ID)
			}
			return ids
		},
	})
}

// sentinelEvents is one event of each kind that concerns an alert or erbridge.
func sentinelEvents() []soar.Event {
	at := time.Date(2026, 11, 22, 3, 22, 40, 0, time.UTC)
	with := func(n int, kind soar.EventType, change func(*soar.Event)) soar.Event {
		ev := sinktest.Event(n)
		ev.ID, ev.Type = fmt.Sprintf("ev-%d", n), kind
		change(&ev)
		return ev
	}
	return []soar.Event{
		sinktest.Event(1),
		sinktest.Hostile(),
		with(2, soar.EventAlertUpdated, func(ev *soar.Event) {
			ev.Alert.Status, ev.Alert.Verdict = soar.StatusResolved, soar.VerdictFalsePositive
		}),
		with(3, soar.EventStepFinished, func(ev *soar.Event) {
			ev.Outcome = &soar.Outcome{Step: "contain", Action: "host.contain", State: soar.StepVerified, Target: "EC2A-7", Command: "c-1", Summary: "isolated", Took: time.Second}
			ev.Run = &soar.RunSummary{ID: 7, Playbook: "contain", Mode: "auto", State: soar.RunRunning}
		}),
		with(4, soar.EventRunFinished, func(ev *soar.Event) {
			ev.Run = &soar.RunSummary{ID: 7, Playbook: "contain", Mode: "auto", State: soar.RunFailed, Error: "host is gone"}
		}),
		with(5, soar.EventApprovalDecided, func(ev *soar.Event) {
			ev.Approval = &soar.Approval{ID: "a-1", Playbook: "contain", Step: "contain", Action: "host.contain", State: soar.ApprovalApproved, Text: "contain?", Votes: []soar.Vote{{By: "kim"}}}
		}),
		with(6, soar.EventUndoSoon, func(ev *soar.Event) {
			ev.Undo = &soar.Undo{At: at, Of: 7, Step: "contain", Action: "host.contain", Do: "host.release", Target: "EC2A-7"}
		}),
		{ID: "t-1", Type: soar.EventTrouble, At: at, Text: "a sink is paused"},
		{ID: "h-1", Type: soar.EventHeartbeat, At: at},
	}
}

// TestSentinelLosesNoColumn: Azure drops what a rule does not declare, and nulls
// what has another type, without an error. So the template declares everything.
func TestSentinelLosesNoColumn(t *testing.T) {
	table, stream := sentinelColumns(t)
	if !reflect.DeepEqual(table, stream) || len(table) < 50 {
		t.Errorf("the table has %d columns and the stream %d, want the same", len(table), len(stream))
	}
	sim := newSentinelSim(t)
	s := openSentinel(t, sim)
	events := sentinelEvents()
	for _, columns := range []map[string]string{ // what other tables give
		{"action": "FILE_WRITE", "target_path": `C:\x.exe`, "md5": "d41d8cd98f00b204e9800998ecf8427e", "sha256": strings.Repeat("a", 64), "process_name": `C:\p.exe`, "owner_uid": `CORP\kim`},
		{"action": "SOCKET_CONNECT", "remote_address": "203.0.113.9", "remote_port": "443", "local_address": "10.0.0.7", "protocol": "6", "pid": "7", "url": "https://x.example/a"},
		{"action": "REG_SETVALUE", "target_name": `HKLM\Software\X\Run`, "value_type": "REG_SZ", "value_data": "calc"},
		{"domain_name": "x.example", "resolved_ip": "203.0.113.9", "uid": "501"},
	} {
		ev := sinktest.Event(20)
		ev.Alert.Event = columns
		ev.Alert.Rule.Description, ev.Alert.Host.OS, ev.Alert.Host.OSVersion = "why", "Windows 11", "10.0.22631"
		events = append(events, ev)
	}
	if err := s.Send(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	if got := sim.Losses(); len(got) != 0 {
		t.Errorf("lost on the way to the table: %q", got)
	}
	rows := sim.Records()
	if len(rows) != len(events) || rows[0]["EventUid"] != "er-1" || rows[0]["AlertName"] != "Shadow copies deleted" {
		t.Errorf("%d rows for %d events, the first %v", len(rows), len(events), rows[0])
	}
}

// TestSentinelReplacesTheToken: one token serves many calls; a revoked one is
// replaced within the same Send, and no event is doubled by it.
func TestSentinelReplacesTheToken(t *testing.T) {
	sim := newSentinelSim(t)
	s := openSentinel(t, sim)
	for n := range 3 {
		if n == 2 {
			sim.RevokeTokens()
		}
		if err := s.Send(t.Context(), []soar.Event{sinktest.Event(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := sim.Tokens(); got != 2 {
		t.Errorf("%d tokens, want the first and its replacement", got)
	}
	if got := len(sim.Records()); got != 3 {
		t.Errorf("%d rows, want 3", got)
	}
}

func TestSentinelSetUpWrongly(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*sinksim.Sentinel)
		want   string
	}{
		{"secret", func(s *sinksim.Sentinel) { s.ClientSecret = "another" }, "AADSTS7000215"},
		{"application", func(s *sinksim.Sentinel) { s.ClientID = "another" }, "AADSTS700016"},
		{"tenant", func(s *sinksim.Sentinel) { s.Tenant = "another" }, "AADSTS90002"},
		{"role", func(s *sinksim.Sentinel) { s.NoRole = true }, "Monitoring Metrics Publisher"},
		{"stream", func(s *sinksim.Sentinel) { s.Stream = "Custom-Other_CL" }, "are url, rule and stream"},
		{"rule, said with 400", func(s *sinksim.Sentinel) {
			s.Next(sinksim.Answer{Status: 400, Body: `{"error":{"code":"InvalidDcrImmutableId","message":"no"}}`})
		}, "are url, rule and stream"},
		{"a page of a proxy", func(s *sinksim.Sentinel) { s.Next(sinksim.Answer{Status: 200, Body: "<html>log in</html>"}) }, "not the Logs Ingestion API"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim := newSentinelSim(t)
			tt.change(sim)
			err := openSentinel(t, sim).Send(t.Context(), sinktest.Events(2))
			if !errors.Is(err, sinks.ErrConfig) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), sentinelSecret) {
				t.Errorf("error %v, want ErrConfig with %q and without the secret", err, tt.want)
			}
		})
	}
}

// TestSentinelTokenEndpoint: what goes wrong where tokens come from is never about
// an event, and the client secret goes nowhere else.
func TestSentinelTokenEndpoint(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	for _, tt := range []struct {
		name   string
		answer sinksim.Answer
		want   sinktest.Class
	}{
		{"busy", sinksim.Answer{Status: 503}, sinktest.Transient},
		{"too many requests", sinksim.Answer{Status: 429, Header: http.Header{"Retry-After": {"9"}}}, sinktest.Transient},
		{"broken connection", sinksim.Answer{}, sinktest.Transient},
		{"redirect", sinksim.Answer{Status: 307, Header: http.Header{"Location": {elsewhere.URL}}}, sinktest.Config},
		{"too large", sinksim.Answer{Status: 413}, sinktest.Config},
		{"a page of a proxy", sinksim.Answer{Status: 200, Body: "<html>"}, sinktest.Config},
		{"no token in the answer", sinksim.Answer{Status: 200, Body: `{"token_type":"Bearer"}`}, sinktest.Config},
		{"a token that cannot be read", sinksim.Answer{Status: 200, Body: `{"access_token":"` + sentinelToken + `","expires_in":"soon"}`}, sinktest.Config},
		{"refused", sinksim.Answer{Status: 400, Body: `{"error":"invalid_scope","error_description":"` + sentinelSecret + `"}`}, sinktest.Config},
	} {
		t.Run(tt.name, func(t *testing.T) {
			login := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if tt.answer.Status == 0 {
					panic(http.ErrAbortHandler)
				}
				for name, values := range tt.answer.Header {
					w.Header()[name] = values
				}
				w.WriteHeader(tt.answer.Status)
				_, _ = io.WriteString(w, tt.answer.Body)
			}))
			defer login.Close()
			s := closeAfter(t, openSIEM(t, "sentinel", sentinelSettings(elsewhere.URL, login.URL)))
			err := s.Send(t.Context(), sinktest.Events(2))
			if sinktest.ClassOf(err) != tt.want || strings.Contains(err.Error(), sentinelSecret) || strings.Contains(err.Error(), sentinelToken) {
				t.Errorf("%s: %v, want %s without the secret", sinktest.ClassOf(err), err, tt.want)
			}
			if asked, ok := errors.AsType[*sinks.RetryAfter](err); tt.answer.Status == 429 && (!ok || asked.Wait != 9*time.Second) {
				t.Errorf("error %v, want the wait that was asked for", err)
			}
		})
	}
}

// TestSentinelServerName: the name that the receiver's certificate must have is not
// asked of the place where tokens come from.
func TestSentinelServerName(t *testing.T) {
	sim, authority := newSentinelSim(t), newAuthority(t)
	serve := func(name string) string {
		der, key := authority.issue(t, &x509.Certificate{
			DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
		srv := httptest.NewUnstartedServer(sim)
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv.URL
	}
	settings := sentinelSettings(serve("ingest.example"), serve("login.example"))
	settings.CAFile, settings.ServerName = authority.file, "ingest.example"
	if err := closeAfter(t, openSIEM(t, "sentinel", settings)).Send(t.Context(), sinktest.Events(1)); err != nil {
		t.Error(err)
	}
	settings.ServerName = "login.example"
	if err := closeAfter(t, openSIEM(t, "sentinel", settings)).Send(t.Context(), sinktest.Events(1)); sinktest.ClassOf(err) != sinktest.Config {
		t.Errorf("error %v, want that the receiver has another name", err)
	}
}

// TestSentinelCutsLongColumns: Azure would cut them too, without a mark, and
// break the JSON of a dynamic column by it.
func TestSentinelCutsLongColumns(t *testing.T) {
	sim := newSentinelSim(t)
	s := openSentinel(t, sim)
	long := sinktest.Event(1)
	long.Alert.Event["cmdline"] = strings.Repeat("ü\x07", 60_000)
	long.Alert.Event["unknown_1"] = strings.Repeat("<", 50_000)
	long.Alert.Event["unknown_2"] = strings.Repeat("y", 50_000)
	if err := s.Send(t.Context(), []soar.Event{long, sinktest.Event(2)}); err != nil {
		t.Fatal(err)
	}
	if got := sim.Losses(); len(got) != 0 {
		t.Errorf("lost on the way to the table: %q", got)
	}
	row := sim.Records()[0]
	rest, _ := row["AdditionalFields"].(map[string]any)
	for name, value := range map[string]any{"ProcessCommandLine": row["ProcessCommandLine"], "unknown_1": rest["unknown_1"], "unknown_2": rest["unknown_2"]} {
		if text, _ := value.(string); len(text) < 5_000 || !strings.HasSuffix(text, "…") {
			t.Errorf("%s has %d bytes, want a long beginning and a mark", name, len(text))
		}
	}
	if row["AlertName"] != "Shadow copies deleted" || rest["er_alert"] != "er-1" {
		t.Errorf("short columns were cut as well: %v, %v", row["AlertName"], rest["er_alert"])
	}
}

// TestSentinelTelemetry: ASIM has no schema for it, and the others go on.
func TestSentinelTelemetry(t *testing.T) {
	sim := newSentinelSim(t)
	row := soar.Event{ID: "row-1", Type: soar.EventTelemetry, At: time.Now(), Row: &soar.Row{Server: "er", Query: "q", Columns: map[string]string{"a": "b"}}}
	s := openSentinel(t, sim)
	partial, ok := errors.AsType[*sinks.PartialError](s.Send(t.Context(), []soar.Event{sinktest.Event(1), row, sinktest.Event(2)}))
	if !ok || len(partial.Permanent) != 1 || partial.Permanent[1] == nil || len(partial.Transient) != 0 {
		t.Errorf("got %+v, want item 1 refused", partial)
	}
	if got := len(sim.Records()); got != 2 {
		t.Errorf("%d rows, want the two alerts", got)
	}
	if err := s.Send(t.Context(), []soar.Event{row}); sinktest.ClassOf(err) != sinktest.Permanent {
		t.Errorf("alone: %v, want it refused for good", err)
	}
}

func TestSentinelSettingsAreChecked(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*sinks.SentinelSettings)
		want   string
	}{
		{"as they are", func(*sinks.SentinelSettings) {}, ""},
		{"name of the rule", func(s *sinks.SentinelSettings) { s.Rule = "erbridge" }, "rule"},
		{"table instead of stream", func(s *sinks.SentinelSettings) { s.Stream = "EclecticIQER_CL" }, "stream"},
		{"tenant with a path", func(s *sinks.SentinelSettings) { s.Tenant = "a/b" }, "tenant"},
		{"lines", func(s *sinks.SentinelSettings) { s.Format = "cef" }, "format"},
		{"login without scheme", func(s *sinks.SentinelSettings) { s.LoginURL = "login.example" }, "login_url"},
		{"address with a password", func(s *sinks.SentinelSettings) { s.URL = "https://u:p@x" }, "url"},
		{"no time-out", func(s *sinks.SentinelSettings) { s.Timeout = 0 }, "timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := sentinelSettings("https://er.ingest.example", "https://login.example")
			tt.change(s)
			var got []string
			s.Check(func(setting, _, _ string, _ ...any) { got = append(got, setting) })
			if strings.Join(got, " ") != tt.want {
				t.Errorf("mistakes in %q, want %q", got, tt.want)
			}
		})
	}
}

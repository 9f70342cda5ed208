package sinks_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

const (
	secopsAccount  = "er@soc-project.iam.gserviceaccount.com"
	secopsInstance = "projects/soc-project/locations/eu/instances/inst-1"
)

// secopsKey is the key of the service account; making one takes a while.
var secopsKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func serviceAccountKey(t *testing.T) (key *rsa.PrivateKey, text string) {
	t.Helper()
	key, err := secopsKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// secopsCredentials are what a user downloads, with a token endpoint of the test.
func secopsCredentials(t *testing.T, tokenURI string) soar.Secret {
	t.Helper()
	_, private := serviceAccountKey(t)
	file, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": secopsAccount, "private_key": private, "private_key_id": "k1", "token_uri": tokenURI,
	})
	if err != nil {
		t.Fatal(err)
	}
	return soar.SecretValue(string(file))
}

// newSecOps runs a fake with the account of secopsCredentials.
func newSecOps(t *testing.T) (*sinksim.SecOps, string) {
	t.Helper()
	key, _ := serviceAccountKey(t)
	sim := &sinksim.SecOps{Account: secopsAccount, Key: &key.PublicKey, Instance: secopsInstance, LogTypes: []string{"ER_CUSTOM"}}
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	sim.TokenURI = srv.URL + "/token"
	return sim, srv.URL
}

func secopsSettings(t *testing.T, api, tokenURI string) *sinks.SecopsSettings {
	t.Helper()
	return &sinks.SecopsSettings{
		URL: api, Project: "soc-project", Region: "eu", Instance: "inst-1", Credentials: secopsCredentials(t, tokenURI), Endpoint: "events",
		FormatSettings: sinks.FormatSettings{Format: "json"}, Compress: true, Timeout: time.Minute,
	}
}

func openSecops(t *testing.T, sim *sinksim.SecOps, url string, change func(*sinks.SecopsSettings)) sinks.Sink {
	t.Helper()
	s := secopsSettings(t, url, sim.TokenURI)
	if change != nil {
		change(s)
	}
	return closeAfter(t, openSIEM(t, "secops", s))
}

func rawLogs(s *sinks.SecopsSettings) { s.Endpoint, s.LogType = "logs", "ER_CUSTOM" }

func TestSecopsContract(t *testing.T) {
	_, private := serviceAccountKey(t)
	for name, change := range map[string]func(*sinks.SecopsSettings){"events": func(*sinks.SecopsSettings) {}, "logs": rawLogs} {
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, sinktest.Harness{
				MaxBatch: 500, Secrets: []string{private},
				Open: func(t *testing.T, r sinktest.Receiver) sinks.Sink {
					sim, _ := newSecOps(t)
					s := secopsSettings(t, r.URL, sim.TokenURI)
					s.CAFile = r.CAFile
					change(s)
					return openSIEM(t, "secops", s)
				},
				OK: func(w http.ResponseWriter, _ *http.Request, _ []byte) { _, _ = w.Write([]byte("{}\n")) },
				IDs: func(t *testing.T, r *http.Request, body []byte) []string {
					return secopsIDs(t, plainBody(t, r, body))
				},
			})
		})
	}
}

// secopsIDs reads the ids of the events out of a request to either endpoint.
func secopsIDs(t *testing.T, body []byte) []string {
	t.Helper()
	var request struct {
		Source struct {
			Events []struct {
				UDM struct {
					Additional struct {
						ID string `json:"er_event_id"`
					} `json:"additional"`
				} `json:"udm"`
			} `json:"events"`
			Logs []struct {
				Data []byte `json:"data"`
			} `json:"logs"`
		} `json:"inlineSource"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, ev := range request.Source.Events {
		ids = append(ids, ev.UDM.Additional.ID)
	}
	for _, entry := range request.Source.Logs {
		var ev soar.Event
		if err := json.Unmarshal(entry.Data, &ev); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, ev.ID)
	}
	return ids
}

// TestSecopsTakesTheEvents has the fake API judge events of all kinds, and rows
// of telemetry.
func TestSecopsTakesTheEvents(t *testing.T) {
	sim, url := newSecOps(t)
	s := openSecops(t, sim, url, nil)
	events := append(sentinelEvents(), soar.Event{
		ID: "row-1", Type: soar.EventTelemetry, At: time.Now(),
		Row: &soar.Row{Server: "er", Query: "q", Host: soar.Host{Name: "WIN-07"}, At: time.Now(), Columns: map[string]string{"path": `C:\x.exe`, "action": "PROC_CREATE"}},
	})
	if err := s.Send(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	got := sim.Events()
	if len(got) != len(events) {
		t.Fatalf("%d events arrived, want %d", len(got), len(events))
	}
	if id := got[0]["additional"].(map[string]any)["er_event_id"]; id != "er-1" {
		t.Errorf("the first event has the id %v, want er-1", id)
	}
}

func TestSecopsRawLogs(t *testing.T) {
	sim, url := newSecOps(t)
	s := openSecops(t, sim, url, func(s *sinks.SecopsSettings) {
		rawLogs(s)
		s.Format, s.Forwarder = "cef", "fwd-1"
	})
	ahead := sinktest.Event(2) // a host whose clock is wrong
	ahead.Alert.EventTime = time.Now().Add(time.Hour)
	if err := s.Send(t.Context(), []soar.Event{sinktest.Event(1), ahead, sinktest.Hostile()}); err != nil {
		t.Fatal(err)
	}
	got := sim.Logs()
	if len(got) != 3 || got[0].Type != "ER_CUSTOM" || got[0].Forwarder != secopsInstance+"/forwarders/fwd-1" || !bytes.HasPrefix(got[0].Data, []byte("CEF:0|")) {
		t.Fatalf("logs %+v", got)
	}
	if !got[0].Logged.Equal(sinktest.Event(1).Alert.EventTime) && sinktest.Event(1).Alert.EventTime.Before(time.Now()) {
		t.Errorf("logged at %s, want the time on the host", got[0].Logged)
	}
	if !got[1].Logged.IsZero() {
		t.Errorf("an event from the future was logged at %s, want no time", got[1].Logged)
	}
}

// TestSecopsOneBadEvent: the API refuses the whole request for it. The sink says
// that the batch is refused, and the forwarder finds the event by halving.
func TestSecopsOneBadEvent(t *testing.T) {
	sim, url := newSecOps(t)
	sim.Refuse = func(udm map[string]any) string {
		if udm["additional"].(map[string]any)["er_event_id"] == "er-2" {
			return "invalid"
		}
		return ""
	}
	s := openSecops(t, sim, url, nil)
	events := sinktest.Events(3)
	if err := s.Send(t.Context(), events); sinktest.ClassOf(err) != sinktest.Permanent {
		t.Fatalf("error %v, want one that makes the forwarder halve the batch", err)
	}
	for i, want := range []sinktest.Class{sinktest.Delivered, sinktest.Permanent, sinktest.Delivered} {
		if err := s.Send(t.Context(), events[i:i+1]); sinktest.ClassOf(err) != want {
			t.Errorf("event %d alone: %v, want %s", i+1, err, want)
		}
	}
}

func TestSecopsReplacesTheToken(t *testing.T) {
	sim, url := newSecOps(t)
	s := openSecops(t, sim, url, nil)
	for n := range 3 {
		if n == 2 {
			sim.RevokeTokens()
		}
		if err := s.Send(t.Context(), []soar.Event{sinktest.Event(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(sim.Events()); got != 3 {
		t.Errorf("%d events, want 3", got)
	}
}

func TestSecopsSetUpWrongly(t *testing.T) {
	_, private := serviceAccountKey(t)
	for _, tt := range []struct {
		name   string
		sim    func(*sinksim.SecOps)
		change func(*sinks.SecopsSettings)
		want   string
	}{
		{"account", func(s *sinksim.SecOps) { s.Account = "another" }, nil, "invalid_grant"},
		{"token for another endpoint", func(s *sinksim.SecOps) { s.TokenURI = "https://oauth2.example" }, nil, "invalid_grant"},
		{"permission", func(s *sinksim.SecOps) { s.NoPermission = true }, nil, "chronicle.events.import"},
		{"instance", nil, func(s *sinks.SecopsSettings) { s.Instance = "another" }, "are project, region and instance right"},
		{"log type", nil, func(s *sinks.SecopsSettings) { s.Endpoint, s.LogType = "logs", "OTHER" }, "log type OTHER not found"},
		{"not set up", func(s *sinksim.SecOps) {
			s.Next(sinksim.Answer{Status: 400, Body: `{"error":{"code":400,"status":"FAILED_PRECONDITION","message":"not provisioned"}}`})
		}, nil, "not provisioned"},
		{"a page of a proxy", func(s *sinksim.SecOps) { s.Next(sinksim.Answer{Status: 200, Body: "<html>"}) }, nil, "not the API"},
		{"credentials are no JSON", nil, func(s *sinks.SecopsSettings) { s.Credentials = soar.SecretValue("s3cret") }, "not the key of a service account"},
		{"credentials without a key", nil, func(s *sinks.SecopsSettings) {
			s.Credentials = soar.SecretValue(`{"type":"service_account","client_email":"x","private_key":"s3cret"}`)
		}, "private key"},
		{"credentials of a person", nil, func(s *sinks.SecopsSettings) {
			s.Credentials = soar.SecretValue(`{"type":"authorized_user","client_secret":"s3cret"}`)
		}, "not the key of a service account"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim, url := newSecOps(t)
			settings := secopsSettings(t, url, sim.TokenURI)
			if tt.sim != nil {
				tt.sim(sim)
			}
			if tt.change != nil {
				tt.change(settings)
			}
			err := closeAfter(t, openSIEM(t, "secops", settings)).Send(t.Context(), sinktest.Events(2))
			if !errors.Is(err, sinks.ErrConfig) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want ErrConfig with %q", err, tt.want)
			}
			for _, secret := range []string{private, "s3cret", "eyJ"} { // eyJ begins an assertion
				if strings.Contains(err.Error(), secret) {
					t.Errorf("a secret shows in the error: %v", err)
				}
			}
		})
	}
}

func TestSecopsSettingsAreChecked(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*sinks.SecopsSettings)
		want   []string
	}{
		{"as they are", func(*sinks.SecopsSettings) {}, nil},
		{"logs", rawLogs, nil},
		{"logs without a type", func(s *sinks.SecopsSettings) { s.Endpoint = "logs" }, []string{"log_type endpoint"}},
		{"format of events", func(s *sinks.SecopsSettings) { s.Format = "cef" }, []string{"format log_type forwarder endpoint"}},
		{"a path in the project", func(s *sinks.SecopsSettings) { s.Project = "a/../b" }, []string{"project"}},
		{"forwarder with its whole name", func(s *sinks.SecopsSettings) { rawLogs(s); s.Forwarder = "projects/p/forwarders/f" }, []string{"forwarder"}},
		{"address", func(s *sinks.SecopsSettings) { s.URL = "chronicle" }, []string{"url"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := secopsSettings(t, "https://chronicle.example", "https://oauth2.example")
			tt.change(s)
			var got []string
			s.Check(func(setting, _, _ string, _ ...any) { got = append(got, setting) })
			if !slices.Equal(got, tt.want) {
				t.Errorf("mistakes in %q, want %q", got, tt.want)
			}
		})
	}
}

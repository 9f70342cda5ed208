package connector

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"
)

func TestCertificates(t *testing.T) {
	upgrader := websocket.Upgrader{}
	mux := http.NewServeMux()
	mux.HandleFunc("/services/api/v1/login", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, `{"token":"t"}`) })
	mux.HandleFunc("/services/api/v1/hosts/count", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, `{"status":"success","data":{}}`) })
	mux.HandleFunc("/distributed/result", func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if _, _, err := conn.ReadMessage(); err == nil {
			_ = conn.WriteMessage(websocket.TextMessage, []byte(`{"node":{"id":1},"data":[],"query_id":1,"status":0}`))
		}
	})
	server := httptest.NewUnstartedServer(mux)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.StartTLS()
	t.Cleanup(server.Close)

	caFile := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(caFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	pin := pinOf(server)
	wrong := strings.Repeat("ab", 32)
	// The same server by a name that its certificate does not have.
	otherName := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)

	for _, tt := range []struct {
		name, url, ca, pin string
		ok                 bool
	}{
		{"nothing given", server.URL, "", "", false},
		{"CA file", server.URL, caFile, "", true},
		{"CA file, other name", otherName, caFile, "", false},
		{"pin alone", server.URL, "", pin, true},
		{"pin with colons", server.URL, "", colons(pin), true},
		{"pin alone, other name", otherName, "", pin, true},
		{"wrong pin", server.URL, "", wrong, false},
		{"both", server.URL, caFile, pin, true},
		{"both, wrong pin", server.URL, caFile, wrong, false},
		{"both, other name", otherName, caFile, pin, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, tt.url, func(o *Options) { o.BasePath, o.CAFile, o.PinSHA256, o.Retries = "/services/api/v1", tt.ca, tt.pin, 4 })
			_, err := c.Hosts.Count(t.Context())
			_, liveErr := c.Queries.Results(t.Context(), LiveTicket{QueryID: 1, Online: 1}, 0)
			for _, err := range []error{err, liveErr} {
				if tt.ok && err != nil || !tt.ok && !errors.Is(err, ErrCertificate) {
					t.Errorf("got %v", err)
				}
			}
			if tt.ok {
				return
			}
			// The other client too must not be talked to.
			if err := c.Alerts.Reopen(t.Context(), []int64{1}); !errors.Is(err, ErrNotSent) || !errors.Is(err, ErrCertificate) {
				t.Errorf("effect: %v", err)
			}
		})
	}
}

func colons(pin string) string {
	var parts []string
	for ; len(pin) > 0; pin = pin[2:] {
		parts = append(parts, pin[:2])
	}
	return strings.ToUpper(strings.Join(parts, ":"))
}

func TestOldTLSIsRefused(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	c := newClient(t, server.URL, func(o *Options) { o.PinSHA256 = pinOf(server) })
	if _, err := c.Hosts.Count(t.Context()); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("got %v", err)
	}
}

func TestBaseIsProbed(t *testing.T) {
	unauthorized := func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, 401, `{"message":{"message":"Request did not contain valid API key!"}}`)
	}
	page := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(htmlPage))
	}
	for _, tt := range []struct {
		name    string
		handler func(mux *http.ServeMux)
		want    string
		text    string // part of the error
	}{
		{"release 4.0", func(mux *http.ServeMux) {
			mux.HandleFunc("/esp-ui/services/api/v1/hosts/count", unauthorized)
			mux.HandleFunc("/", page)
		}, "/esp-ui/services/api/v1", ""},
		{"release 2.1.2", func(mux *http.ServeMux) {
			mux.HandleFunc("/services/api/v1/hosts/count", unauthorized)
			mux.HandleFunc("/", page)
		}, "/services/api/v1", ""},
		{"another server", func(mux *http.ServeMux) { mux.HandleFunc("/", page) }, "", "got a web page in place of JSON"},
		{"JSON of another kind", func(mux *http.ServeMux) {
			mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, `{"hello":"world"}`) })
		}, "", "no Endpoint Response API found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mux := http.NewServeMux()
			tt.handler(mux)
			var calls atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				mux.ServeHTTP(w, r)
			}))
			t.Cleanup(server.Close)
			c := newClient(t, server.URL, func(o *Options) { o.BasePath = "" })
			for range 2 {
				got, err := c.Base(t.Context())
				if tt.text != "" {
					if err == nil || !strings.Contains(err.Error(), tt.text) {
						t.Errorf("got %q, %v", got, err)
					}
					continue
				}
				if err != nil || got != server.URL+tt.want {
					t.Errorf("got %q, %v", got, err)
				}
			}
			if n := calls.Load(); tt.text == "" && n > 2 {
				t.Errorf("%d calls: asked again", n)
			}
		})
	}
}

func TestBaseCandidates(t *testing.T) {
	for _, tt := range []struct {
		url, path string
		want      []string
	}{
		{"https://er.example/", "", []string{"https://er.example/esp-ui/services/api/v1", "https://er.example:5000/services/api/v1", "https://er.example/services/api/v1"}},
		{"https://[2001:db8::1]", "", []string{"https://[2001:db8::1]/esp-ui/services/api/v1", "https://[2001:db8::1]:5000/services/api/v1",
			"https://[2001:db8::1]/services/api/v1"}},
		{"https://er.example:8443", "", []string{"https://er.example:8443/esp-ui/services/api/v1", "https://er.example:8443/services/api/v1"}},
		{"https://er.example", "x/services/api/v1/", []string{"https://er.example/x/services/api/v1"}},
		{"https://er.example/x/services/api/v1/", "", []string{"https://er.example/x/services/api/v1"}},
	} {
		u, err := serverURL(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		got, err := baseCandidates(u, tt.path, "")
		if err != nil || strings.Join(got, " ") != strings.Join(tt.want, " ") {
			t.Errorf("%s %s: got %v, %v", tt.url, tt.path, got, err)
		}
	}
}

func TestBaseIsFoundWhenTheServerComesBack(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) <= 2 { // one round
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		answerJSON(w, 401, `{"message":{"message":"no key"}}`)
	}))
	t.Cleanup(server.Close)
	c := newClient(t, server.URL, func(o *Options) { o.BasePath, o.Retries = "", 1 })
	if got, err := c.Base(t.Context()); err != nil || got != server.URL+"/esp-ui/services/api/v1" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestLiveURLs(t *testing.T) {
	for base, want := range map[string]string{
		"https://er/esp-ui/services/api/v1": "wss://er/esp-ui/distributed/result wss://er/esp-ui/websocket/distributed/result wss://er/distributed/result",
		"https://er:5000/services/api/v1":   "wss://er:5000/distributed/result wss://er:5000/websocket/distributed/result",
		"http://er:1/services/api/v1":       "ws://er:1/distributed/result ws://er:1/websocket/distributed/result",
	} {
		if got := strings.Join(liveURLs(base, "/distributed/result", "/websocket/distributed/result"), " "); got != want {
			t.Errorf("%s: got %s, want %s", base, got, want)
		}
	}
}

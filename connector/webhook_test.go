package connector

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

var webhookKey = []byte("0123456789abcdef0123456789abcdef")

func webhookSecret() soar.Secret {
	return soar.SecretValue("whsec_" + base64.StdEncoding.EncodeToString(webhookKey))
}

// webhookCall is one request to the listener under test.
type webhookCall struct {
	sender, body string
	id           string
	at           time.Time
	key          []byte
	bearer       string
	wantStatus   int
	wantText     string
}

func (c webhookCall) do(t *testing.T, w *Webhook) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/webhook/"+c.sender, strings.NewReader(c.body))
	if c.key != nil {
		stamp := fmt.Sprint(c.at.Unix())
		mac := hmac.New(sha256.New, c.key)
		mac.Write([]byte(c.id + "." + stamp + "." + c.body))
		req.Header.Set("webhook-id", c.id)
		req.Header.Set("webhook-timestamp", stamp)
		req.Header.Set("webhook-signature", "v1,AAAA v2,xyz v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	if c.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	answer := httptest.NewRecorder()
	w.Handler().ServeHTTP(answer, req)
	if answer.Code != c.wantStatus || !strings.Contains(answer.Body.String(), c.wantText) {
		t.Errorf("answer %d %s; want %d with %q", answer.Code, answer.Body, c.wantStatus, c.wantText)
	}
}

var webhookNow = time.Date(2026, 11, 22, 3, 30, 0, 0, time.UTC)

func newTestWebhook(t *testing.T, in *intake, fetch Fetch, ring func()) *Webhook {
	t.Helper()
	w, err := NewWebhook(WebhookSettings{Listen: "127.0.0.1:0", Senders: map[string]WebhookSender{
		"signed": {Secret: webhookSecret()},
		"feed": {Bearer: soar.SecretValue("token-of-feed"), Verify: "trust", MaxBody: 4096,
			Map: registry.Text{Value: `{id: .ref, severity: .level, host: {name: .host}, event: {cmdline: .cmd}}`}},
		"raw": {Bearer: soar.SecretValue("token-of-raw"), Verify: "trust", Map: registry.Text{Value: `.`}},
	}}, fetch, ring, SourceEnv{Intake: in, Now: func() time.Time { return webhookNow }})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func noFetch(context.Context, []int64) (int, error) { return 0, errors.New("fetch was not expected") }

func TestWebhookTrust(t *testing.T) {
	in := newIntake()
	w := newTestWebhook(t, in, noFetch, func() {})
	body := `{"ref": "A-1", "level": "WARNING", "host": "WS-1", "cmd": "x"}`
	webhookCall{sender: "feed", bearer: "token-of-feed", body: body, wantStatus: 202, wantText: `"alerts":1`}.do(t, w)
	a := in.alert(t, "feed-A-1")
	if a.Severity != soar.SeverityMedium || a.SeverityText != "WARNING" || a.Status != soar.StatusOpen || a.Host.Name != "WS-1" ||
		a.Event["cmdline"] != "x" || !a.CreatedAt.Equal(webhookNow) || !a.EventTime.Equal(webhookNow) || a.Source != "webhook" {
		t.Errorf("taken in as %+v", a)
	}
	webhookCall{sender: "raw", bearer: "token-of-raw", body: `[{"id":"1","server":"forged","backfill":true},{"id":"2"}]`, wantStatus: 202, wantText: `"alerts":2`}.do(t, w)
	if a := in.alert(t, "raw-1"); a.Server != "raw" || a.Backfill {
		t.Errorf("a sender chose its own server name or backfill: %+v", a)
	}
}

func TestWebhookRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		call webhookCall
		kept bool // as a dead letter
	}{
		{"unknown sender", webhookCall{sender: "nobody", wantStatus: 404}, false},
		{"no token", webhookCall{sender: "feed", body: `{}`, wantStatus: 401}, false},
		{"wrong token", webhookCall{sender: "feed", bearer: "token-of-fee", body: `{}`, wantStatus: 401}, false},
		{"no signature", webhookCall{sender: "signed", body: `{}`, wantStatus: 401}, false},
		{"wrong key", webhookCall{sender: "signed", body: `{}`, id: "1", at: webhookNow, key: []byte("another key that is long enough."), wantStatus: 401}, false},
		{"stale", webhookCall{sender: "signed", body: `{}`, id: "1", at: webhookNow.Add(-6 * time.Minute), key: webhookKey, wantStatus: 401}, false},
		{"from the future", webhookCall{sender: "signed", body: `{}`, id: "1", at: webhookNow.Add(6 * time.Minute), key: webhookKey, wantStatus: 401}, false},
		{"too large", webhookCall{sender: "feed", bearer: "token-of-feed", body: strings.Repeat("x", 5000), wantStatus: 413, wantText: "4096"}, true},
		{"too large, from nobody", webhookCall{sender: "feed", body: strings.Repeat("x", 5000), wantStatus: 401}, false},
		{"not JSON", webhookCall{sender: "feed", bearer: "token-of-feed", body: `{"a":`, wantStatus: 422, wantText: "kept as a dead letter"}, true},
		{"map fails", webhookCall{sender: "feed", bearer: "token-of-feed", body: `[1]`, wantStatus: 422, wantText: "map:"}, true},
		{"no id", webhookCall{sender: "feed", bearer: "token-of-feed", body: `{"level":"high"}`, wantStatus: 422, wantText: "id is missing"}, true},
		{"unknown severity", webhookCall{sender: "raw", bearer: "token-of-raw", body: `{"id":"1","severity":"terrible"}`, wantStatus: 422, wantText: "severity"}, true},
		{"unknown field", webhookCall{sender: "raw", bearer: "token-of-raw", body: `{"id":"1","sevrity":"high"}`, wantStatus: 422, wantText: "sevrity"}, true},
		{"id of another type", webhookCall{sender: "raw", bearer: "token-of-raw", body: `{"id":17}`, wantStatus: 422, wantText: "id"}, true},
		{"a time that cannot be kept", webhookCall{sender: "raw", bearer: "token-of-raw", body: `{"id":"1","created_at":"9999-12-31T23:59:59-01:00"}`, wantStatus: 422, wantText: "years"}, true},
		{"one bad alert of two", webhookCall{sender: "raw", bearer: "token-of-raw", body: `[{"id":"1"},{"id":""}]`, wantStatus: 422, wantText: "number 2"}, true},
		{"odd alert id", webhookCall{sender: "signed", id: "9", at: webhookNow, key: webhookKey, body: `{"alert_id": 1.5}`, wantStatus: 422, wantText: "1.5"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := newIntake()
			tt.call.do(t, newTestWebhook(t, in, noFetch, func() {}))
			if kept := len(in.letters) == 1; kept != tt.kept || len(in.alerts) != 0 {
				t.Errorf("dead letters %d, alerts %d; a dead letter was expected: %v", len(in.letters), len(in.alerts), tt.kept)
			}
			if tt.kept && string(in.letters[0].Payload) != tt.call.body[:min(len(tt.call.body), 4096)] {
				t.Errorf("kept %q", in.letters[0].Payload)
			}
		})
	}
}

func TestWebhookFetch(t *testing.T) {
	var fetched []int64
	rings := 0
	fail := error(nil)
	w := newTestWebhook(t, newIntake(), func(_ context.Context, ids []int64) (int, error) {
		fetched = append(fetched, ids...)
		return len(ids), fail
	}, func() { rings++ })
	signed := webhookCall{sender: "signed", id: "m1", at: webhookNow, key: webhookKey, wantStatus: 202}
	first := signed
	first.body = `{"data":{"alert_id":"42"}}`
	first.do(t, w)
	first.do(t, w) // a replay within the window
	list := signed
	list.id, list.body = "m2", `{"alert_ids":[7,7,"8"]}`
	list.do(t, w)
	bare := signed
	bare.id, bare.body = "m3", `{"event":"something happened"}`
	bare.do(t, w)
	if want := []int64{42, 7, 8}; !slices.Equal(fetched, want) || rings != 3 {
		t.Errorf("fetched %v with %d rings, want %v with 3", fetched, rings, want)
	}
	fail = errors.New("connection refused")
	failing := signed
	failing.id, failing.body, failing.wantStatus = "m4", `{"id":9}`, 503
	failing.do(t, w)
	fail = nil
	failing.wantStatus = 202 // the sender's second try has the same id, and was not taken before
	failing.do(t, w)
	if n := len(fetched); n != 5 {
		t.Errorf("%d fetches, want 5", n)
	}
}

func TestWebhookAnswersAfterTheCommit(t *testing.T) {
	in := newIntake()
	w := newTestWebhook(t, in, noFetch, func() {})
	for _, tt := range []struct {
		refuse error
		want   int
	}{{soar.ErrBusy, 429}, {fmt.Errorf("disk full: %w", soar.ErrNotAccepting), 503}, {nil, 202}} {
		in.refuse = tt.refuse
		webhookCall{sender: "raw", bearer: "token-of-raw", body: `{"id":"1"}`, wantStatus: tt.want}.do(t, w)
	}
}

// What was refused with the wrong map is taken when the map has been mended.
func TestWebhookReplay(t *testing.T) {
	in := newIntake()
	body := []byte(`{"key": "k1"}`)
	if err := newTestWebhook(t, in, noFetch, func() {}).Replay(t.Context(), "raw", body); err == nil || len(in.alerts) != 0 {
		t.Fatalf("a body without an id was taken: %v", err)
	}
	mended, err := NewWebhook(WebhookSettings{Listen: "127.0.0.1:0", Senders: map[string]WebhookSender{
		"raw": {Bearer: soar.SecretValue("b"), Verify: "trust", Map: registry.Text{Value: "{id: .key}"}}}}, noFetch, func() {}, SourceEnv{Intake: in})
	if err != nil {
		t.Fatal(err)
	}
	if err := mended.Replay(t.Context(), "raw", body); err != nil {
		t.Fatal(err)
	}
	in.alert(t, "raw-k1")
	if err := mended.Replay(t.Context(), "gone", body); !errors.Is(err, soar.ErrNotFound) {
		t.Errorf("a sender that is gone: %v", err)
	}
}

func TestWebhookSettingsAreChecked(t *testing.T) {
	for _, tt := range []struct {
		name     string
		settings WebhookSettings
		want     string
	}{
		{"no proof", WebhookSettings{Listen: "127.0.0.1:0", Senders: map[string]WebhookSender{"a": {}}}, "exactly one of"},
		{"two proofs", WebhookSettings{Listen: "127.0.0.1:0", Senders: map[string]WebhookSender{"a": {Secret: webhookSecret(), Bearer: soar.SecretValue("b")}}}, "exactly one of"},
		{"bad key", WebhookSettings{Listen: "127.0.0.1:0", Senders: map[string]WebhookSender{"a": {Secret: soar.SecretValue("hunter2")}}}, "whsec_"},
		{"trust without map", WebhookSettings{Listen: "127.0.0.1:0", Senders: map[string]WebhookSender{"a": {Bearer: soar.SecretValue("b"), Verify: "trust"}}}, "needs map"},
		{"bad map", WebhookSettings{Listen: "127.0.0.1:0", Senders: map[string]WebhookSender{"a": {Bearer: soar.SecretValue("b"), Map: registry.Text{Value: ".["}}}}, "map:"},
		{"open to the net", WebhookSettings{Listen: "0.0.0.0:0"}, "allow_plain_http"},
		{"names without an authority", WebhookSettings{Listen: "127.0.0.1:0", Senders: map[string]WebhookSender{"a": {ClientName: "x"}}}, "client_ca_file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewWebhook(tt.settings, noFetch, func() {}, SourceEnv{Intake: newIntake()})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the secret stands in %q", err)
			}
		})
	}
}

// Callers with a certificate of the authority are let in by the name in it, and
// nobody else is.
func TestWebhookClientCertificates(t *testing.T) {
	dir := t.TempDir()
	authority := newTestAuthority(t)
	server, client, stranger := authority.issue(t, "localhost"), authority.issue(t, "siem.example.org"), newTestAuthority(t)
	save := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	w, err := NewWebhook(WebhookSettings{
		Listen: "127.0.0.1:0", CertFile: save("cert.pem", server.certPEM), KeyFile: save("key.pem", server.keyPEM),
		ClientCAFile: save("ca.pem", authority.certPEM),
		Senders:      map[string]WebhookSender{"siem": {ClientName: "siem.example.org", Verify: "trust", Map: registry.Text{Value: "."}}},
	}, noFetch, func() {}, SourceEnv{Intake: newIntake()})
	if err != nil {
		t.Fatal(err)
	}
	addr, err := w.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.certPEM)
	for _, tt := range []struct {
		name  string
		certs []tls.Certificate
		want  int // 0: no connection
	}{
		{"the sender", []tls.Certificate{client.pair(t)}, http.StatusAccepted},
		{"another name of the same authority", []tls.Certificate{server.pair(t)}, http.StatusUnauthorized},
		{"no certificate", nil, http.StatusUnauthorized},
		{"another authority", []tls.Certificate{stranger.issue(t, "siem.example.org").pair(t)}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if len(tt.certs) == 0 {
						return &tls.Certificate{}, nil
					}
					return &tt.certs[0], nil
				}}}
			defer transport.CloseIdleConnections()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+addr.String()+"/v1/webhook/siem", strings.NewReader(`{"id":"1"}`))
			if err != nil {
				t.Fatal(err)
			}
			got := 0
			if answer, err := transport.RoundTrip(req); err == nil {
				got = answer.StatusCode
				_ = answer.Body.Close()
			}
			if got != tt.want {
				t.Errorf("status %d, want %d", got, tt.want)
			}
		})
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
}

func TestWebhookOverTheWire(t *testing.T) {
	in := newIntake()
	w := newTestWebhook(t, in, noFetch, func() {})
	addr, err := w.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr.String()+"/v1/webhook/raw", bytes.NewReader([]byte(`{"id":"w1"}`)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer token-of-raw")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	var decoded struct {
		Status string
		Alerts int
	}
	if err != nil || json.Unmarshal(body, &decoded) != nil || answer.StatusCode != http.StatusAccepted || decoded.Alerts != 1 {
		t.Errorf("answer %d %s, %v", answer.StatusCode, body, err)
	}
	in.alert(t, "raw-w1")
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
}

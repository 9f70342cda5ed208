package sinks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

const (
	// From the examples of Standard Webhooks.
	webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	otherSecret   = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

func openWebhook(t *testing.T, s *sinks.WebhookSettings, env sinks.Env) sinks.Sink {
	t.Helper()
	if s.Timeout == 0 {
		s.Timeout = time.Minute
	}
	sink, err := sinks.Open("hook", "webhook", s, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	return sink
}

func TestWebhookContract(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		MaxBatch: 1,
		Secrets:  []string{webhookSecret, strings.TrimPrefix(webhookSecret, "whsec_"), "pathsecret"},
		Open: func(t *testing.T, r sinktest.Receiver) sinks.Sink {
			return openWebhook(t, &sinks.WebhookSettings{
				URL: r.URL + "/pathsecret?key=pathsecret", Secrets: []soar.Secret{soar.SecretValue(webhookSecret)},
				AllowPrivate: true, TLSSettings: sinks.TLSSettings{CAFile: r.CAFile},
			}, sinks.Env{Version: "1"})
		},
		OK: func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusAccepted) },
		IDs: func(_ *testing.T, r *http.Request, _ []byte) []string {
			return []string{r.Header.Get("webhook-id")}
		},
		Answer: func(status int) string {
			return fmt.Sprintf("%d: Cannot POST /pathsecret?key=pathsecret (/pathsecret, key=pathsecret, pathsecret)", status)
		},
	})
}

// The reference implementation in another language takes what we sign, and nothing
// that was changed on the way.
func TestWebhookReferenceVerifier(t *testing.T) {
	type request struct {
		Secret  string            `json:"secret"`
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
	}
	var got []request
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		q := request{Secret: webhookSecret, Body: string(body), Headers: map[string]string{}}
		for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
			q.Headers[name] = r.Header.Get(name)
		}
		got = append(got, q)
	}))
	defer srv.Close()
	sink := openWebhook(t, &sinks.WebhookSettings{
		URL: srv.URL, AllowPrivate: true, Secrets: []soar.Secret{soar.SecretValue(otherSecret), soar.SecretValue(webhookSecret)},
	}, sinks.Env{})
	odd := sinktest.Event(2)
	odd.ID = "er-2 ü\r\n"
	for _, ev := range []soar.Event{sinktest.Event(1), sinktest.Hostile(), odd} {
		if err := sink.Send(t.Context(), []soar.Event{ev}); err != nil {
			t.Fatal(err)
		}
	}
	oldKey, changed, renamed, late, unsigned := got[0], got[0], got[0], got[0], got[0]
	oldKey.Secret = otherSecret
	changed.Body = strings.Replace(changed.Body, "WIN-07", "WIN-08", 1)
	for q, change := range map[*request][2]string{
		&renamed: {"webhook-id", "er-2"}, &late: {"webhook-timestamp", "1614265330"}, &unsigned: {"webhook-signature", ""},
	} {
		q.Headers = maps.Clone(q.Headers)
		q.Headers[change[0]] = change[1]
	}
	var verdicts []struct{ Type, Error string }
	askJudge(t, "webhook.cjs", append(got, oldKey, changed, renamed, late, unsigned), &verdicts)
	for i, v := range verdicts {
		if taken := i < 4; taken != (v.Type == "alert.received") || taken != (v.Error == "") {
			t.Errorf("request %d: type %q, error %q", i, v.Type, v.Error)
		}
	}
	if len(verdicts) != 8 {
		t.Errorf("%d verdicts, want 8", len(verdicts))
	}
}

// A large event is cut until it fits, and says that it is.
func TestWebhookBoundsItsBody(t *testing.T) {
	receiver, err := sinksim.NewWebhook(nil, webhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(receiver)
	defer srv.Close()
	large := sinktest.Event(1)
	large.Alert.Event["cmdline"] = strings.Repeat("x", 300_000)
	large.Alert.Intel = json.RawMessage(`"` + strings.Repeat("y", 300_000) + `"`)
	for _, limit := range []int{8 << 10, 32 << 10, 256 << 10, 1 << 20} {
		sink := openWebhook(t, &sinks.WebhookSettings{URL: srv.URL, AllowPrivate: true, MaxBytes: limit, Secrets: []soar.Secret{soar.SecretValue(webhookSecret)}}, sinks.Env{})
		if err := sink.Send(t.Context(), []soar.Event{large}); err != nil {
			t.Fatal(err)
		}
		got := receiver.Received()
		m := got[len(got)-1]
		var body struct {
			Shortened bool
			Data      soar.Event
		}
		if err := json.Unmarshal(m.Body, &body); err != nil {
			t.Fatal(err)
		}
		if len(m.Body) > limit || body.Shortened != (limit < 1<<20) || body.Data.Alert.Host.Name != "WIN-07" {
			t.Errorf("limit %d: %d bytes, shortened %v, host %q", limit, len(m.Body), body.Shortened, body.Data.Alert.Host.Name)
		}
	}
	if len(large.Alert.Event["cmdline"]) != 300_000 || large.Alert.Intel == nil {
		t.Error("the event itself was cut")
	}
	// The receiver can have a bound of its own.
	receiver.Next(sinksim.Answer{Status: http.StatusRequestEntityTooLarge})
	sink := openWebhook(t, &sinks.WebhookSettings{URL: srv.URL, AllowPrivate: true, MaxBytes: 1 << 20, Secrets: []soar.Secret{soar.SecretValue(webhookSecret)}}, sinks.Env{})
	if err := sink.Send(t.Context(), []soar.Event{large}); err != nil {
		t.Fatal(err)
	}
	if got := receiver.Received(); !strings.Contains(string(got[len(got)-1].Body), `"shortened":true`) {
		t.Errorf("after 413 the body is %d bytes, not cut", len(got[len(got)-1].Body))
	}
}

// The receiver checks the signature by itself and as the specification's example
// has it; both keys are accepted while a key is being replaced.
func TestWebhookSignature(t *testing.T) {
	for _, accepted := range []string{webhookSecret, otherSecret} {
		receiver, err := sinksim.NewWebhook(nil, accepted)
		if err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewServer(receiver)
		defer srv.Close()
		sink := openWebhook(t, &sinks.WebhookSettings{
			URL: srv.URL, AllowPrivate: true,
			Secrets: []soar.Secret{soar.SecretValue(webhookSecret), soar.SecretValue(otherSecret)},
		}, sinks.Env{Version: "1"})
		if err := sink.Send(t.Context(), sinktest.Events(1)); err != nil {
			t.Fatalf("%v; receiver: %v", err, receiver.Refused())
		}
		got := receiver.Received()
		if len(got) != 1 || got[0].ID != "er-1" || got[0].Type != "alert.received" {
			t.Fatalf("received %+v", got)
		}
		var body struct {
			Timestamp time.Time  `json:"timestamp"`
			Data      soar.Event `json:"data"`
		}
		if err := json.Unmarshal(got[0].Body, &body); err != nil {
			t.Fatal(err)
		}
		if want := sinktest.Event(1); !body.Timestamp.Equal(want.At) || body.Data.Alert.Ref() != want.Alert.Ref() {
			t.Errorf("body %s", got[0].Body)
		}
	}
}

func TestWebhookWrongKeyIsRefused(t *testing.T) {
	receiver, err := sinksim.NewWebhook(nil, otherSecret)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(receiver)
	defer srv.Close()
	sink := openWebhook(t, &sinks.WebhookSettings{URL: srv.URL, AllowPrivate: true, Secrets: []soar.Secret{soar.SecretValue(webhookSecret)}}, sinks.Env{})
	if err := sink.Send(t.Context(), sinktest.Events(1)); !errors.Is(err, sinks.ErrConfig) {
		t.Errorf("error %v, want ErrConfig", err)
	}
	if len(receiver.Received()) != 0 {
		t.Error("the receiver took a wrong signature")
	}
}

// A retry after a lost answer carries the same id and a fresh timestamp.
func TestWebhookRepeatAfterLostAnswer(t *testing.T) {
	began := time.Now()
	var later atomic.Int64 // the receiver reads the clock in a goroutine of its own
	clock := func() time.Time { return began.Add(time.Duration(later.Load())) }
	receiver, err := sinksim.NewWebhook(clock, webhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	receiver.Next(sinksim.Answer{After: true})
	srv := httptest.NewServer(receiver)
	defer srv.Close()
	sink := openWebhook(t, &sinks.WebhookSettings{URL: srv.URL, AllowPrivate: true, Secrets: []soar.Secret{soar.SecretValue(webhookSecret)}},
		sinks.Env{Now: clock})
	if err := sink.Send(t.Context(), sinktest.Events(1)); sinktest.ClassOf(err) != sinktest.Transient {
		t.Fatalf("error %v, want a transient one", err)
	}
	later.Store(int64(48 * time.Hour))
	if err := sink.Send(t.Context(), sinktest.Events(1)); err != nil {
		t.Fatal(err)
	}
	got := receiver.Received()
	if len(got) != 2 || got[0].ID != got[1].ID || !got[1].Repeat {
		t.Fatalf("received %+v", got)
	}
	if got[1].Timestamp.Sub(got[0].Timestamp) != 48*time.Hour {
		t.Errorf("timestamps %s and %s, want that of each attempt", got[0].Timestamp, got[1].Timestamp)
	}
}

// A receiver that answers 410 asks not to be called again (Standard Webhooks, "Status
// codes").
func TestWebhookGone(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }))
	defer srv.Close()
	sink := openWebhook(t, &sinks.WebhookSettings{URL: srv.URL, AllowPrivate: true, Secrets: []soar.Secret{soar.SecretValue(webhookSecret)}}, sinks.Env{})
	if err := sink.Send(t.Context(), sinktest.Events(1)); !errors.Is(err, sinks.ErrGone) {
		t.Errorf("error %v, want ErrGone", err)
	}
}

func TestWebhookIDFromOutsideFitsIntoHeader(t *testing.T) {
	receiver, err := sinksim.NewWebhook(nil, webhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(receiver)
	defer srv.Close()
	sink := openWebhook(t, &sinks.WebhookSettings{URL: srv.URL, AllowPrivate: true, Secrets: []soar.Secret{soar.SecretValue(webhookSecret)}}, sinks.Env{})
	ev := sinktest.Event(1)
	ev.ID = "er-1\r\nX-Evil: 1 ü"
	if err := sink.Send(t.Context(), []soar.Event{ev}); err != nil {
		t.Fatal(err)
	}
	if got := receiver.Received()[0]; got.ID != "er-1%0D%0AX-Evil%3A+1+%C3%BC" || got.Header.Get("X-Evil") != "" {
		t.Errorf("id %q, headers %v", got.ID, got.Header)
	}
}

func TestWebhookRefusesPrivateTargets(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the request arrived") }))
	defer srv.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(srv.URL, "http://"), ":")
	// localhost is a name: what counts is the address that it resolves to.
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.1.2.3", "0.0.0.0"} {
		t.Run(host, func(t *testing.T) {
			sink := openWebhook(t, &sinks.WebhookSettings{URL: "http://" + host + ":" + port, Secrets: []soar.Secret{soar.SecretValue(webhookSecret)}}, sinks.Env{})
			err := sink.Send(t.Context(), sinktest.Events(1))
			if !errors.Is(err, sinks.ErrConfig) || !strings.Contains(err.Error(), "allow_private") {
				t.Errorf("error %v, want ErrConfig that names allow_private", err)
			}
		})
	}
}

func TestWebhookBadKeys(t *testing.T) {
	for name, secret := range map[string]string{
		"no prefix": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "no base64": "whsec_%%%", "too short": "whsec_c2hvcnQ=",
	} {
		t.Run(name, func(t *testing.T) {
			sink := openWebhook(t, &sinks.WebhookSettings{URL: "http://127.0.0.1:9", AllowPrivate: true, Secrets: []soar.Secret{soar.SecretValue(secret)}}, sinks.Env{})
			err := sink.Send(t.Context(), sinktest.Events(1))
			if !errors.Is(err, sinks.ErrConfig) || strings.Contains(err.Error(), strings.TrimPrefix(secret, "whsec_")) {
				t.Errorf("error %v, want ErrConfig without the key", err)
			}
		})
	}
}

// A stop does not wait for a receiver that hangs, wherever it hangs.
func TestWebhookHeedsCancellation(t *testing.T) {
	for name, begin := range map[string]func(http.ResponseWriter){
		"before the answer": func(http.ResponseWriter) {},
		"in the middle of it": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusOK)
			_, _ = w.Write([]byte("{"))
			w.(http.Flusher).Flush()
		},
		"in the middle of a 4xx": func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadRequest); w.(http.Flusher).Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			arrived, over := make(chan struct{}), make(chan struct{})
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				begin(w)
				close(arrived)
				<-over
			}))
			defer srv.Close()
			defer close(over)
			// Only the context ends it: the time-out is longer than any test runs.
			sink := openWebhook(t, &sinks.WebhookSettings{
				URL: srv.URL, AllowPrivate: true, Timeout: 24 * time.Hour, Secrets: []soar.Secret{soar.SecretValue(webhookSecret)},
			}, sinks.Env{Version: "1"})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			result := make(chan error, 1)
			go func() { result <- sink.Send(ctx, sinktest.Events(1)) }()
			<-arrived
			cancel()
			if err := <-result; err == nil {
				t.Error("a request that was cut short counts as delivered")
			}
		})
	}
}

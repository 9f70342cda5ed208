// Package sinktest is the contract that every sink keeps, as tests. Each sink
// calls Run with a Harness, which has what the tests need of it; a test in package
// sinks sees to it that there is such a call for every type of sink.
package sinktest

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

// Class is what the forwarder makes of an error.
type Class string

// The classes.
const (
	Delivered Class = "delivered"
	Transient Class = "transient"
	Permanent Class = "permanent"
	Config    Class = "config"
	TooLarge  Class = "too large"
	Partial   Class = "partial"
)

// ClassOf tells the class of what Send returned, in the forwarder's own order.
func ClassOf(err error) Class {
	if err == nil {
		return Delivered
	}
	if _, ok := errors.AsType[*sinks.PartialError](err); ok {
		return Partial
	}
	switch {
	case errors.Is(err, sinks.ErrConfig):
		return Config
	case errors.Is(err, sinks.ErrTooLarge):
		return TooLarge
	case errors.Is(err, sinks.ErrPermanent):
		return Permanent
	}
	return Transient
}

// Classes is what statuses mean unless a harness says otherwise.
var Classes = map[int]Class{
	301: Config, 302: Config, 307: Config,
	400: Permanent, 422: Permanent,
	401: Config, 402: Config, 403: Config, 404: Config, 406: Config, 410: Config, 415: Config,
	413: TooLarge,
	408: Transient, 425: Transient, 429: Transient,
	500: Transient, 502: Transient, 503: Transient, 504: Transient,
}

// Receiver is where a sink under test shall deliver to.
type Receiver struct {
	// URL is that of an HTTP server; empty for other sinks.
	URL string
	// CAFile is the certificate to trust, as PEM; empty for a plain server.
	CAFile string
}

// Harness describes the sink under test.
type Harness struct {
	// Open makes the sink, without pacing and with short time-outs. It is closed
	// by the test.
	Open func(t *testing.T, r Receiver) sinks.Sink

	// MaxBatch is that of the type; batches in the tests are up to 3.
	MaxBatch int

	// Secrets are the values that the sink is opened with; they must not show in
	// any error.
	Secrets []string

	// The next are for sinks that do not speak HTTP. What a sink cannot have, such as
	// the certificate of a file, is nil and has its reason in Without.

	// Delivered returns the ids that arrived since the last Open.
	Delivered func(t *testing.T) []string
	// Answers are what receivers of this kind answer, good and bad.
	Answers []Answer
	// Stuck makes a sink whose receiver hangs. arrived is closed when Send waits for it.
	Stuck func(t *testing.T) (s sinks.Sink, arrived <-chan struct{})
	// Partial makes a sink whose receiver refuses the item 1 of three for good and
	// the item 2 for now.
	Partial func(t *testing.T) sinks.Sink
	// Poison makes a sink whose receiver takes everything but the event of that id.
	// What it took is told by Delivered.
	Poison func(t *testing.T, id string) sinks.Sink
	// WrongName makes a sink whose receiver has a certificate of a trusted authority
	// for another name.
	WrongName func(t *testing.T) sinks.Sink
	// Without says why a part is left out: answers, cancelled in mid-send, partial
	// batch, poison item, certificate.
	Without map[string]string

	// The rest is for sinks that speak HTTP.

	// OK answers a request as the receiver that has taken all of it; body is the
	// request's.
	OK func(w http.ResponseWriter, r *http.Request, body []byte)
	// IDs reads the ids of the events out of a request.
	IDs func(t *testing.T, r *http.Request, body []byte) []string
	// Classes are statuses that mean something else than in Classes.
	Classes map[int]Class
	// Answer makes the body of an error answer; nil is a line of text.
	Answer func(status int) string
	// PartialAnswer answers a batch of three of which the item 1 is refused for
	// good and the item 2 for now; nil when the receiver takes all or nothing.
	PartialAnswer func(w http.ResponseWriter, r *http.Request, body []byte)
}

// Event makes an alert event that can be told from others by n.
func Event(n int) soar.Event {
	at := time.Date(2026, 11, 22, 3, 22, 30, 0, time.UTC).Add(time.Duration(n) * time.Second)
	return soar.Event{
		ID: fmt.Sprintf("er-%d", n), Type: soar.EventAlertReceived, At: at, Pos: int64(n),
		Alert: &soar.Alert{
			Server: "er", ID: fmt.Sprint(n), Source: "rule", Severity: soar.SeverityHigh, SeverityText: "HIGH", Status: soar.StatusOpen,
			CreatedAt: at, EventTime: at, Host: soar.Host{ID: 7, Identifier: "EC2A-7", Name: "WIN-07", Platform: "windows", IP: "10.0.0.7"},
			Rule:  &soar.Rule{ID: 17, Name: "Shadow copies deleted", Techniques: []string{"T1490"}, Tactics: []string{"impact"}},
			Event: map[string]string{"cmdline": "vssadmin delete shadows /all /quiet", "path": `C:\Windows\System32\vssadmin.exe`, "pid": "4711"},
			URL:   "https://er.example.org/alerts/" + fmt.Sprint(n),
		},
	}
}

// Events makes n events.
func Events(n int) []soar.Event {
	events := make([]soar.Event, n)
	for i := range events {
		events[i] = Event(i + 1)
	}
	return events
}

// Hostile makes an event full of what attackers write into names and commands.
func Hostile() soar.Event {
	ev := Event(66)
	nasty := "\x1b]0;owned\x07\x1b[31m \x00\u202egnp.exe <!channel> <@U1> &amp; |= \\ \"']]> ${jndi:x} `rm` \r\nCEF:0|x \xff\xfe " + strings.Repeat("a", 5000)
	ev.Alert.Rule.Name = nasty
	ev.Alert.Host.Name = nasty
	ev.Alert.Comment = nasty
	for _, column := range []string{"cmdline", "path", "target_path", "domain_name", "url", "remote_address", "pid", "bad\x00 key\n=|"} {
		ev.Alert.Event[column] = nasty
	}
	return ev
}

// Run checks the contract.
func Run(t *testing.T, h Harness) {
	if h.OK == nil {
		runPlain(t, h)
		return
	}
	t.Run("delivers in order", h.delivers)
	t.Run("empty batch sends nothing", h.emptyBatch)
	t.Run("hostile text is delivered", h.hostile)
	t.Run("oversized item ends", h.oversized)
	t.Run("status", h.statuses)
	t.Run("retry after", h.retryAfter)
	t.Run("redirect is not followed", h.redirect)
	if h.PartialAnswer != nil {
		t.Run("partial batch", h.partial)
	}
	t.Run("poison item", h.poison)
	t.Run("unwritable item", h.unwritableItem)
	t.Run("endless answer", h.endless)
	t.Run("cancelled in mid-send", h.cancelled)
	t.Run("lost connection is transient", h.lost)
	t.Run("nobody listens is transient", h.refused)
	t.Run("certificate", h.certificate)
}

func (h *Harness) delivers(t *testing.T) {
	var got []string
	srv := h.server(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		got = append(got, h.IDs(t, r, body)...)
		h.OK(w, r, body)
	})
	s := h.open(t, Receiver{URL: srv.URL})
	n := min(h.MaxBatch, 3)
	must(t, s.Send(t.Context(), Events(n)))
	if want := ids(Events(n)); !slices.Equal(got, want) {
		t.Errorf("arrived: %q, want %q", got, want)
	}
	// Another sink, as after a restart: what it sends again has the same id.
	got = nil
	again := h.open(t, Receiver{URL: srv.URL})
	must(t, again.Send(t.Context(), Events(1)))
	if !slices.Equal(got, []string{"er-1"}) {
		t.Errorf("the repeat arrived as %q, want er-1", got)
	}
}

func (h *Harness) emptyBatch(t *testing.T) {
	srv := h.server(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		t.Errorf("%s %s for an empty batch", r.Method, r.URL.Path)
		h.OK(w, r, body)
	})
	must(t, h.open(t, Receiver{URL: srv.URL}).Send(t.Context(), nil))
}

func (h *Harness) hostile(t *testing.T) {
	var got []string
	srv := h.server(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		got = append(got, h.IDs(t, r, body)...)
		h.OK(w, r, body)
	})
	must(t, h.open(t, Receiver{URL: srv.URL}).Send(t.Context(), []soar.Event{Hostile()}))
	if want := []string{Hostile().ID}; !slices.Equal(got, want) {
		t.Errorf("arrived: %q, want %q", got, want)
	}
}

func (h *Harness) oversized(t *testing.T) {
	srv := h.server(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		if len(body) > 1<<20 {
			h.answer(w, http.StatusRequestEntityTooLarge)
			return
		}
		h.OK(w, r, body)
	})
	err := h.open(t, Receiver{URL: srv.URL}).Send(t.Context(), []soar.Event{oversized()})
	h.check(t, err, Delivered, Permanent, TooLarge)
}

func oversized() soar.Event {
	ev := Event(99)
	ev.Alert.Event["cmdline"] = strings.Repeat("x", 3<<20)
	return ev
}

func (h *Harness) statuses(t *testing.T) {
	for status := range Classes {
		want := h.class(status)
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			srv := h.server(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) { h.answer(w, status) })
			h.check(t, h.open(t, Receiver{URL: srv.URL}).Send(t.Context(), Events(1)), want)
		})
	}
}

// class is what a status means to the sink under test.
func (h *Harness) class(status int) Class {
	if class, ok := h.Classes[status]; ok {
		return class
	}
	return Classes[status]
}

// answer sends an error that quotes the sink's secrets back, as servers do.
func (h *Harness) answer(w http.ResponseWriter, status int) {
	body := "refused: " + strings.Join(h.Secrets, " ")
	if h.Answer != nil {
		body = h.Answer(status)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func (h *Harness) retryAfter(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		for _, tt := range []struct {
			name, value string
			least, most time.Duration
		}{
			{"seconds", "17", 17 * time.Second, 17 * time.Second},
			{"date", time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat), time.Second, 91 * time.Second},
		} {
			t.Run(fmt.Sprintf("%d %s", status, tt.name), func(t *testing.T) {
				srv := h.server(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
					w.Header().Set("Retry-After", tt.value)
					h.answer(w, status)
				})
				err := h.open(t, Receiver{URL: srv.URL}).Send(t.Context(), Events(1))
				h.check(t, err, Transient)
				asked, ok := errors.AsType[*sinks.RetryAfter](err)
				if !ok {
					t.Fatalf("error %v is no RetryAfter", err)
				}
				if asked.Wait < tt.least || asked.Wait > tt.most {
					t.Errorf("wait %s, want %s to %s", asked.Wait, tt.least, tt.most)
				}
			})
		}
	}
	// What is no time is not waited for, and does no harm.
	for _, value := range []string{"-1", "soon", "99999999999999999999", "Sun, 99 Nov 2026 00:00:00 GMT"} {
		t.Run("nonsense "+value, func(t *testing.T) {
			srv := h.server(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
				w.Header().Set("Retry-After", value)
				h.answer(w, http.StatusServiceUnavailable)
			})
			h.check(t, h.open(t, Receiver{URL: srv.URL}).Send(t.Context(), Events(1)), Transient)
		})
	}
}

func (h *Harness) redirect(t *testing.T) {
	elsewhere := h.server(t, func(_ http.ResponseWriter, r *http.Request, _ []byte) {
		t.Errorf("%s arrived where the redirect points to", r.URL.Path)
	})
	srv := h.server(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	h.check(t, h.open(t, Receiver{URL: srv.URL}).Send(t.Context(), Events(1)), Config)
}

func (h *Harness) partial(t *testing.T) {
	srv := h.server(t, h.PartialAnswer)
	h.checkPartial(t, h.open(t, Receiver{URL: srv.URL}).Send(t.Context(), Events(3)))
}

func (h *Harness) checkPartial(t *testing.T, err error) {
	t.Helper()
	h.check(t, err, Partial)
	p, ok := errors.AsType[*sinks.PartialError](err)
	if !ok {
		return
	}
	if len(p.Permanent) != 1 || p.Permanent[1] == nil {
		t.Errorf("refused for good: %v, want item 1 with a reason", p.Permanent)
	}
	if len(p.Transient) != 1 || p.Transient[2] == nil {
		t.Errorf("refused for now: %v, want item 2 with a reason", p.Transient)
	}
}

// endless answers a request with an error that does not end: Send does.
func (h *Harness) endless(t *testing.T) {
	srv := h.server(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.WriteHeader(http.StatusInternalServerError)
		for block := make([]byte, 64<<10); ; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	h.check(t, h.open(t, Receiver{URL: srv.URL}).Send(t.Context(), Events(1)), Transient)
}

func (h *Harness) cancelled(t *testing.T) {
	arrived := make(chan struct{})
	release := make(chan struct{})
	var once sync.Once
	srv := h.server(t, func(_ http.ResponseWriter, r *http.Request, _ []byte) {
		once.Do(func() { close(arrived) })
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := h.open(t, Receiver{URL: srv.URL})
	result := make(chan error, 1)
	go func() { result <- s.Send(ctx, Events(1)) }()
	<-arrived
	cancel()
	h.check(t, <-result, Transient)
}

func (h *Harness) lost(t *testing.T) {
	srv := h.server(t, func(http.ResponseWriter, *http.Request, []byte) { panic(http.ErrAbortHandler) })
	h.check(t, h.open(t, Receiver{URL: srv.URL}).Send(t.Context(), Events(1)), Transient)
}

func (h *Harness) refused(t *testing.T) {
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	url := "http://" + l.Addr().String()
	must(t, l.Close())
	h.check(t, h.open(t, Receiver{URL: url}).Send(t.Context(), Events(1)), Transient)
}

func (h *Harness) certificate(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("request body: %v", err)
		}
		h.OK(w, r, body)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // hand-shakes that fail are what is tested
	srv.StartTLS()
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600))
	_, port, _ := strings.Cut(strings.TrimPrefix(srv.URL, "https://"), ":")

	t.Run("trusted", func(t *testing.T) {
		must(t, h.open(t, Receiver{URL: srv.URL, CAFile: ca}).Send(t.Context(), Events(1)))
	})
	t.Run("wrong name", func(t *testing.T) { // the certificate is for 127.0.0.1 and example.com
		h.check(t, h.open(t, Receiver{URL: "https://localhost:" + port, CAFile: ca}).Send(t.Context(), Events(1)), Config)
	})
	t.Run("unknown authority", func(t *testing.T) {
		h.check(t, h.open(t, Receiver{URL: srv.URL}).Send(t.Context(), Events(1)), Config)
	})
}

func (h *Harness) open(t *testing.T, r Receiver) sinks.Sink {
	t.Helper()
	return closed(t, h.Open(t, r))
}

// server runs a receiver that reads each body before it answers; one request at
// a time, as one forwarder sends.
func (h *Harness) server(t *testing.T, handle func(w http.ResponseWriter, r *http.Request, body []byte)) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("request body: %v", err)
		}
		handle(w, r, body)
	}))
	t.Cleanup(srv.Close)
	return srv
}

// check compares the class and looks for secrets in the text.
func (h *Harness) check(t *testing.T, err error, want ...Class) {
	t.Helper()
	if got := ClassOf(err); !slices.Contains(want, got) {
		t.Errorf("class %q, want %q: %v", got, want, err)
	}
	if err == nil {
		return
	}
	texts := []string{err.Error()}
	if p, ok := errors.AsType[*sinks.PartialError](err); ok {
		for _, reasons := range []map[int]error{p.Permanent, p.Transient} {
			for _, reason := range reasons {
				texts = append(texts, reason.Error())
			}
		}
	}
	for _, text := range texts {
		for _, secret := range h.Secrets {
			if strings.Contains(text, secret) {
				t.Errorf("a secret shows in the error: %s", text)
			}
		}
	}
}

func ids(events []soar.Event) []string {
	out := make([]string, len(events))
	for i, ev := range events {
		out[i] = ev.ID
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Memory is a State that lasts as long as the test. The zero value is empty.
type Memory struct {
	mu     sync.Mutex
	values map[string]string
	// Fail is returned by Set while it is not nil.
	Fail error
}

// Get implements sinks.State.
func (m *Memory) Get(_ context.Context, key string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok := m.values[key]; ok {
		return v, nil
	}
	return "", soar.ErrNotFound
}

// Set implements sinks.State.
func (m *Memory) Set(_ context.Context, key, value string, _ time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Fail != nil {
		return m.Fail
	}
	if m.values == nil {
		m.values = map[string]string{}
	}
	if value == "" {
		delete(m.values, key)
		return nil
	}
	m.values[key] = value
	return nil
}

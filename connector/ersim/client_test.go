package ersim

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 22, 3, 22, 30, 754074000, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rig is a simulator with a clock and a client that calls its handler directly.
type rig struct {
	t     *testing.T
	s     *Server
	clock *clock
	token string
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	r := &rig{t: t, clock: newClock()}
	o.Now = r.clock.Now
	r.s = newServer(t, o)
	r.login("admin")
	return r
}

func newServer(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wait moves the clock in small steps, so that everything happens in its turn.
func (r *rig) wait(d time.Duration) {
	const step = 10 * time.Millisecond
	for ; d > 0; d -= step {
		r.clock.add(step)
		r.s.Tick()
	}
}

func (r *rig) login(name string) {
	r.t.Helper()
	out := r.call("POST", "/login", obj{"username": name, "password": "admin"})
	token, ok := out["token"].(string)
	if !ok {
		r.t.Fatalf("login of %s: %v", name, out)
	}
	r.token = token
}

// send makes a call and returns the whole answer.
func (r *rig) send(method, path string, body any) *httptest.ResponseRecorder {
	r.t.Helper()
	return r.sendTo(r.s.BasePath()+path, method, body)
}

func (r *rig) sendTo(path, method string, body any) *httptest.ResponseRecorder {
	r.t.Helper()
	var payload io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			r.t.Fatal(err)
		}
		payload = bytes.NewReader(encoded)
	}
	req := httptest.NewRequestWithContext(r.t.Context(), method, path, payload)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("x-access-token", r.token)
	w := httptest.NewRecorder()
	r.s.ServeHTTP(w, req)
	return w
}

// call makes a call that is answered with JSON.
func (r *rig) call(method, path string, body any) obj {
	r.t.Helper()
	return r.object(r.send(method, path, body))
}

// object is an answer that is a JSON object.
func (r *rig) object(w *httptest.ResponseRecorder) obj {
	r.t.Helper()
	var out obj
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		r.t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return out
}

// data makes a call that must succeed and returns its data.
func (r *rig) data(method, path string, body any) any {
	r.t.Helper()
	out := r.call(method, path, body)
	if out["status"] != "success" {
		r.t.Fatalf("%s %s %v: %v", method, path, body, out)
	}
	return out["data"]
}

// results are the rows of a list.
func (r *rig) results(path string, body any) []obj {
	r.t.Helper()
	data := r.data("POST", path, body).(obj)
	var rows []obj
	for _, row := range data["results"].([]any) {
		rows = append(rows, row.(obj))
	}
	return rows
}

func ids(rows []obj) string {
	var texts []string
	for _, row := range rows {
		texts = append(texts, fmt.Sprint(row["id"]))
	}
	return strings.Join(texts, " ")
}

// live is a simulator that listens and runs on the real clock.
type live struct {
	*rig
	client *http.Client
}

func newLive(t *testing.T, o Options) *live {
	t.Helper()
	s := newServer(t, o)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CAPEM()) {
		t.Fatal("CAPEM is not a certificate")
	}
	l := &live{
		rig:    &rig{t: t, s: s},
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}},
	}
	t.Cleanup(l.client.CloseIdleConnections)
	l.login("admin")
	return l
}

// fetch makes a call over the network.
func (l *live) fetch(method, path string, body any) (*http.Response, []byte, error) {
	l.t.Helper()
	if body == nil {
		body = obj{}
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		l.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(l.t.Context(), method, l.s.URL()+path, bytes.NewReader(encoded))
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("x-access-token", l.token)
	res, err := l.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	content, err := io.ReadAll(res.Body)
	return res, content, errors.Join(err, res.Body.Close())
}

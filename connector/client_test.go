package connector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
)

const htmlPage = "<!DOCTYPE html>\n<title>EclecticIQ Endpoint Response</title>"

// TestAnswers tells for every kind of answer what a read and a call with an effect
// make of it.
func TestAnswers(t *testing.T) {
	read := func(c *Client) error { _, err := c.Hosts.Count(t.Context()); return err }
	readEnterprise := func(c *Client) error { _, err := c.Alerts.Notes(t.Context(), 1); return err }
	effect := func(c *Client) error { return c.Alerts.Reopen(t.Context(), []int64{1}) }
	effectEnterprise := func(c *Client) error { return c.Responses.RestartAgent(t.Context(), "H") }
	byID := func(c *Client) error { _, err := c.Rules.Get(t.Context(), 9); return err }

	const (
		jsonType = "application/json"
		htmlType = "text/html; charset=utf-8"
	)
	for _, tt := range []struct {
		name        string
		do          func(c *Client) error
		status      int
		contentType string
		header      string // Name: value
		body        string
		is          []error // nil: success
		not         []error
		text        string // part of the error
	}{
		{name: "success", do: effect, status: 200, contentType: jsonType, body: `{"status":"success","message":"done"}`},
		{name: "Success", do: effect, status: 200, contentType: jsonType, body: `{"status":"Success"}`},
		{name: "success without type", do: effect, status: 200, contentType: "", body: `{"status":"success"}`},
		{name: "created", do: effect, status: 201, contentType: jsonType, body: `{"status":"success"}`},
		{name: "failure", do: effect, status: 200, contentType: jsonType, body: `{"status":"failure","message":"no such\nalert"}`,
			is: []error{ErrRefused}, not: []error{ErrUncertain, ErrNotSent, ErrNotFound}, text: "no such alert"},
		{name: "another status", do: effect, status: 200, contentType: jsonType, body: `{"status":"pending","message":"on its way"}`,
			is: []error{ErrNotJSON, ErrUncertain}, not: []error{ErrRefused}, text: `unknown status "pending": on its way`},
		{name: "another status of a read", do: byID, status: 200, contentType: jsonType, body: `{"status":"pending"}`,
			is: []error{ErrRefused}, not: []error{ErrUncertain}},
		{name: "error", do: effect, status: 200, contentType: jsonType, body: `{"status":"Error"}`, is: []error{ErrRefused}, not: []error{ErrUncertain}},
		{name: "failure by id", do: byID, status: 200, contentType: jsonType, body: `{"status":"failure"}`, is: []error{ErrRefused, ErrNotFound}},
		{name: "success, data null", do: byID, status: 200, contentType: jsonType, body: `{"status":"success","data":null}`, is: []error{ErrNotFound}},
		{name: "success, data {}", do: byID, status: 200, contentType: jsonType, body: `{"status":"success","data":{}}`, is: []error{ErrNotFound}},
		{name: "success, no data", do: read, status: 200, contentType: jsonType, body: `{"status":"success"}`, is: []error{ErrNotJSON}},
		{name: "no status", do: effect, status: 200, contentType: jsonType, body: `{"message":"hm"}`, is: []error{ErrNotJSON, ErrUncertain}},
		{name: "page", do: read, status: 200, contentType: htmlType, body: htmlPage, is: []error{ErrNotJSON},
			not: []error{ErrUncertain}, text: "GET /hosts/count: answer is not the JSON that was due: got a web page in place of JSON; the base path is probably wrong"},
		{name: "page after effect", do: effect, status: 200, contentType: htmlType, body: htmlPage, is: []error{ErrNotJSON, ErrUncertain}},
		{name: "empty after effect", do: effect, status: 200, contentType: jsonType, body: ``, is: []error{ErrNotJSON, ErrUncertain}},
		{name: "cut JSON after effect", do: effect, status: 200, contentType: jsonType, body: `{"status":"succ`, is: []error{ErrNotJSON, ErrUncertain}},
		{name: "cut JSON", do: read, status: 200, contentType: jsonType, body: `{"status":"succ`, is: []error{ErrNotJSON}, not: []error{ErrUncertain}},
		{name: "array", do: read, status: 200, contentType: jsonType, body: `[1]`, is: []error{ErrNotJSON}},
		{name: "argument errors of 4.0", do: effect, status: 400, contentType: jsonType,
			body: `{"message":{"alert_ids":"list of ids","comment":"text"}}`, is: []error{ErrRefused}, not: []error{ErrUncertain}, text: "alert_ids: list of ids; comment: text"},
		{name: "argument errors of 2.1.2", do: effect, status: 400, contentType: jsonType,
			body: `{"errors":{"alert_ids":"missing"},"message":"Input payload validation failed"}`, is: []error{ErrRefused},
			text: "Input payload validation failed; alert_ids: missing"},
		{name: "nested twice", do: effect, status: 400, contentType: jsonType, body: `{"message":{"message":{"message":"bad date"}}}`,
			is: []error{ErrRefused}, text: "bad date"},
		{name: "forbidden", do: effect, status: 403, contentType: jsonType, body: `{"message":"Access to this resource is Forbidden!"}`,
			is: []error{ErrForbidden}, not: []error{ErrUncertain}},
		{name: "forbidden page", do: effect, status: 403, contentType: htmlType, body: htmlPage, is: []error{ErrForbidden}},
		{name: "unauthorized for good", do: effect, status: 401, contentType: jsonType,
			body: `{"message":{"message":"Request did not contain valid API key!"}}`, is: []error{ErrUnauthorized}, not: []error{ErrUncertain}, text: "valid API key"},
		{name: "Enterprise path on Community", do: effectEnterprise, status: 404, contentType: htmlType, body: htmlPage,
			is: []error{ErrUnavailable}, not: []error{ErrUncertain, ErrNotFound}, text: "Enterprise only"},
		{name: "Enterprise read on Community", do: readEnterprise, status: 404, contentType: htmlType, body: htmlPage, is: []error{ErrUnavailable}},
		{name: "404 JSON on Enterprise path", do: readEnterprise, status: 404, contentType: jsonType, body: `{"message":"no"}`,
			is: []error{ErrNotFound}, not: []error{ErrUnavailable}},
		{name: "404 page", do: effect, status: 404, contentType: htmlType, body: htmlPage, is: []error{ErrNotFound}, not: []error{ErrUncertain, ErrUnavailable}},
		{name: "405", do: effect, status: 405, contentType: jsonType, body: `{"message":"not allowed"}`, is: []error{ErrRefused}},
		{name: "413 of the proxy", do: effect, status: 413, contentType: htmlType, body: htmlPage, is: []error{ErrRefused}, not: []error{ErrUncertain}},
		{name: "429", do: effect, status: 429, contentType: jsonType, header: "Retry-After: 7", body: `{}`, is: []error{ErrNotSent}, not: []error{ErrUncertain}},
		{name: "503 with Retry-After", do: effect, status: 503, header: "Retry-After: 7", contentType: htmlType, body: htmlPage,
			is: []error{ErrNotSent}, not: []error{ErrUncertain}},
		{name: "503", do: effect, status: 503, contentType: htmlType, body: htmlPage, is: []error{ErrUncertain}, not: []error{ErrNotSent}},
		{name: "500", do: effect, status: 500, contentType: "text/plain", body: "Internal Server Error", is: []error{ErrUncertain},
			not: []error{ErrNotSent}, text: "Internal Server Error"},
		{name: "500 read", do: read, status: 500, contentType: "text/plain", body: "Internal Server Error", is: []error{errServer}, not: []error{ErrUncertain}},
		{name: "502", do: effect, status: 502, contentType: htmlType, body: htmlPage, is: []error{ErrUncertain}},
		{name: "504", do: effect, status: 504, contentType: htmlType, body: htmlPage, is: []error{ErrUncertain}},
		{name: "302", do: effect, status: 302, header: "Location: https://elsewhere.example/", contentType: htmlType, body: "",
			is: []error{ErrNotJSON}, not: []error{ErrUncertain}},
		{name: "303", do: effect, status: 303, header: "Location: /x", contentType: htmlType, body: "", is: []error{ErrUncertain}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
				if name, value, ok := strings.Cut(tt.header, ": "); ok {
					w.Header().Set(name, value)
				}
				w.Header()["Content-Type"] = []string{tt.contentType}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			})
			err := tt.do(newClient(t, server.URL))
			if len(tt.is) == 0 && err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.is {
				if !errors.Is(err, want) {
					t.Errorf("%v is not %q", err, want)
				}
			}
			for _, other := range tt.not {
				if errors.Is(err, other) {
					t.Errorf("%v is %q", err, other)
				}
			}
			if err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%q does not say %q", err, tt.text)
			}
		})
	}
}

func TestAPIErrorTellsDetails(t *testing.T) {
	server := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		answerJSON(w, 429, `{"message":"slow down"}`)
	})
	err := newClient(t, server.URL).Alerts.Reopen(t.Context(), []int64{1})
	got, ok := errors.AsType[*APIError](err)
	if !ok || got.Method != http.MethodPut || got.Path != "/alerts" || got.Status != 429 || got.Message != "slow down" || got.RetryAfter != 7*time.Second {
		t.Errorf("got %+v", got)
	}
}

func TestLoginRefused(t *testing.T) {
	var logins, others atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/login" {
			others.Add(1)
		}
		logins.Add(1)
		answerJSON(w, 200, `{"message":"Username/Password is/are wrong!","status":"failure"}`)
	}))
	t.Cleanup(server.Close)
	c := newClient(t, server.URL)
	for name, do := range map[string]func() error{
		"login":  func() error { return c.Login(t.Context()) },
		"read":   func() error { _, err := c.Hosts.Count(t.Context()); return err },
		"effect": func() error { return c.Alerts.Reopen(t.Context(), []int64{1}) },
	} {
		err := do()
		if !errors.Is(err, ErrBadCredentials) || errors.Is(err, ErrNotSent) || errors.Is(err, ErrUncertain) {
			t.Errorf("%s: %v", name, err)
		}
		if text := err.Error(); !strings.Contains(text, `"soc"`) || !strings.Contains(text, "user name or password is wrong") || strings.Contains(text, "s3cret") {
			t.Errorf("%s: %s", name, text)
		}
	}
	if logins.Load() != 3 || others.Load() != 0 {
		t.Errorf("%d logins, %d other calls", logins.Load(), others.Load())
	}
}

func TestExpiredTokenLogsInOnce(t *testing.T) {
	var logins, calls atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/api/login", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, 200, fmt.Sprintf(`{"token":"t%d"}`, logins.Add(1)))
	})
	var revoked sync.Map
	mux.HandleFunc("/api/alerts", func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if _, gone := revoked.Load(r.Header.Get("X-Access-Token")); gone {
			answerJSON(w, 401, `{"message":{"message":"This API key used to authenticate is expired!"}}`)
			return
		}
		answerJSON(w, 200, `{"status":"success"}`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c := newClient(t, server.URL)
	reopen := func() error { return c.Alerts.Reopen(t.Context(), []int64{1}) }
	if err := reopen(); err != nil {
		t.Fatal(err)
	}
	revoked.Store("t1", true)
	if err := reopen(); err != nil {
		t.Fatal(err)
	}
	if logins.Load() != 2 || calls.Load() != 3 {
		t.Errorf("%d logins, %d calls; want 2, 3", logins.Load(), calls.Load())
	}

	// A server that takes no token at all gets one more try, no loop.
	revoked.Store("t2", true)
	revoked.Store("t3", true)
	if err := reopen(); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("got %v", err)
	}
	if logins.Load() != 3 || calls.Load() != 5 {
		t.Errorf("%d logins, %d calls; want 3, 5", logins.Load(), calls.Load())
	}
}

func TestOneLoginForAll(t *testing.T) {
	var logins atomic.Int32
	entered, gate := make(chan struct{}, 100), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/api/login", func(w http.ResponseWriter, _ *http.Request) {
		logins.Add(1)
		entered <- struct{}{}
		<-gate
		answerJSON(w, 200, `{"token":"t"}`)
	})
	mux.HandleFunc("/api/hosts/count", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, `{"status":"success","data":{}}`) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c := newClient(t, server.URL)

	// The one who logs in is called off; the others go on.
	leader, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- c.Login(leader) }()
	<-entered
	var all sync.WaitGroup
	errs := make(chan error, 20)
	for range 20 {
		all.Go(func() {
			_, err := c.Hosts.Count(t.Context())
			errs <- err
		})
	}
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the one called off got %v", err)
	}
	close(gate)
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if n := logins.Load(); n != 2 {
		t.Errorf("%d logins, want 2", n)
	}
}

func TestTokenIsRenewedBeforeItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logins int
		c, err := New(Options{
			URL: "https://er.example", BasePath: "/api", Username: "u", Password: soar.SecretValue("p"),
			Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, "/login") {
					logins++
				}
				return response(200, `{"token":"t","status":"success","data":{}}`), nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			wait   time.Duration
			logins int
		}{{0, 1}, {6 * 24 * time.Hour, 1}, {13 * time.Hour, 2}, {6 * 24 * time.Hour, 2}} {
			time.Sleep(step.wait) // of the bubble's clock
			if _, err := c.Hosts.Count(t.Context()); err != nil {
				t.Fatal(err)
			}
			if logins != step.logins {
				t.Errorf("after %v more: %d logins, want %d", step.wait, logins, step.logins)
			}
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func response(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// TestReadsAreRepeated runs on a fake clock: the waits are exact.
func TestReadsAreRepeated(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers []any // a status, a status with Retry-After, an error, or a body
		retries int
		wantErr error
		calls   int
		low     time.Duration
		high    time.Duration
	}{
		{"503 and reset pass", []any{503, errors.New("connection reset"), 200}, 4, nil, 3, 375 * time.Millisecond, 750 * time.Millisecond},
		{"Retry-After is kept", []any{[2]any{429, "7"}, 200}, 4, nil, 2, 7 * time.Second, 7 * time.Second},
		{"Retry-After is capped", []any{[2]any{503, "86400"}, 200}, 4, nil, 2, time.Minute, time.Minute},
		{"Retry-After zero", []any{[2]any{503, "0"}, 200}, 4, nil, 2, 0, 0},
		{"Retry-After nonsense", []any{[2]any{503, "soon"}, 200}, 4, nil, 2, 125 * time.Millisecond, 250 * time.Millisecond},
		{"Retry-After date", []any{[2]any{503, "Sat, 01 Jan 2000 00:00:09 GMT"}, 200}, 4, nil, 2, 9 * time.Second, 9 * time.Second},
		{"cut answer is read again", []any{"cut", 200}, 4, nil, 2, 125 * time.Millisecond, 250 * time.Millisecond},
		{"gives up", []any{500, 500, 500}, 2, errServer, 3, 375 * time.Millisecond, 750 * time.Millisecond},
		{"gives up after cut answers", []any{"cut", "cut"}, 1, io.ErrUnexpectedEOF, 2, 125 * time.Millisecond, 250 * time.Millisecond},
		{"cut answer, then 503 for good", []any{"cut", 503}, 1, errServer, 2, 125 * time.Millisecond, 250 * time.Millisecond},
		{"refusals are final", []any{400, 200}, 4, ErrRefused, 1, 0, 0},
		{"never", []any{503, 200}, -1, errServer, 1, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				c, err := New(Options{
					URL: "https://er.example", BasePath: "/api", Username: "u", Password: soar.SecretValue("p"), Retries: tt.retries,
					Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
						if strings.HasSuffix(r.URL.Path, "/login") {
							return response(200, `{"token":"t"}`), nil
						}
						body, _ := io.ReadAll(r.Body)
						if !json.Valid(body) {
							t.Errorf("call %d: body is %q", calls, body)
						}
						answer := tt.answers[min(calls, len(tt.answers)-1)]
						calls++
						switch a := answer.(type) {
						case int:
							return response(a, `{"status":"success","data":{"results":[]}}`), nil
						case [2]any:
							resp := response(a[0].(int), `{}`)
							resp.Header.Set("Retry-After", a[1].(string))
							return resp, nil
						case error:
							return nil, a
						}
						resp := response(200, "")
						resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"sta`), failingReader{}))
						return resp, nil
					}),
				})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				_, err = c.Hosts.Page(t.Context(), HostQuery{})
				took := time.Since(start)
				if !errors.Is(err, tt.wantErr) {
					t.Errorf("got %v, want %v", err, tt.wantErr)
				}
				if calls != tt.calls || took < tt.low || took > tt.high {
					t.Errorf("%d calls in %v; want %d in %v to %v", calls, took, tt.calls, tt.low, tt.high)
				}
			})
		})
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestEffectsAreSentOnce counts what reaches a real server when things go wrong.
func TestEffectsAreSentOnce(t *testing.T) {
	for _, tt := range []struct {
		name   string
		handle func(w http.ResponseWriter, r *http.Request)
		want   error
	}{
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, ErrUncertain},
		{"503 with Retry-After", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, ErrNotSent},
		{"429", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, ErrNotSent},
		{"connection dropped", func(w http.ResponseWriter, _ *http.Request) { drop(t, w, "") }, ErrUncertain},
		{"dropped within headers", func(w http.ResponseWriter, _ *http.Request) { drop(t, w, "HTTP/1.1 200 OK\r\nContent-Le") }, ErrUncertain},
		{"dropped within the body", func(w http.ResponseWriter, _ *http.Request) {
			drop(t, w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"status\":\"suc")
		}, ErrUncertain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var calls atomic.Int32
			server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				tt.handle(w, r)
			})
			c := newClient(t, server.URL, func(o *Options) { o.Retries = 4 })
			_, err := c.Responses.StopProcess(t.Context(), StopProcess{Hosts: []string{"H"}, PID: "1"})
			if !errors.Is(err, tt.want) || errors.Is(err, ErrUncertain) != errors.Is(tt.want, ErrUncertain) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if n := calls.Load(); n != 1 {
				t.Errorf("the server got %d calls", n)
			}
		})
	}
}

// TestEffectWithoutAnAnswerInTime: it may have happened, and is not sent again.
func TestEffectWithoutAnAnswerInTime(t *testing.T) {
	for name, begin := range map[string]string{"nothing": "", "half a body": `{"status":`} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int32
				c := inPipes(t, withLogin(func(w http.ResponseWriter, r *http.Request) {
					calls.Add(1)
					_, _ = io.ReadAll(r.Body)
					if begin != "" {
						_, _ = io.WriteString(w, begin)
						w.(http.Flusher).Flush()
					}
					<-r.Context().Done()
				}), func(o *Options) { o.BasePath, o.Retries, o.Timeout = "/api", 4, time.Minute })
				if _, err := c.Responses.StopProcess(t.Context(), StopProcess{Hosts: []string{"H"}, PID: "1"}); !errors.Is(err, ErrUncertain) {
					t.Errorf("got %v", err)
				}
				if n := calls.Load(); n != 1 {
					t.Errorf("the server got %d calls", n)
				}
			})
		})
	}
}

// drop sends raw bytes and closes the connection.
func drop(t *testing.T, w http.ResponseWriter, text string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.WriteString(conn, text)
	_ = conn.Close()
}

func TestEffectNotSent(t *testing.T) {
	effect := func(ctx context.Context, c *Client) error { return c.Alerts.Reopen(ctx, []int64{1}) }
	check := func(t *testing.T, err error) {
		t.Helper()
		if !errors.Is(err, ErrNotSent) || errors.Is(err, ErrUncertain) {
			t.Errorf("got %v", err)
		}
	}
	gone := func() string { // the address of a server that is no more
		server := httptest.NewServer(http.NotFoundHandler())
		server.Close()
		return server.URL
	}
	login := func(c *Client) { c.session.token = token{text: "t", generation: 1, at: time.Now()} }

	t.Run("refused connection", func(t *testing.T) {
		c := newClient(t, gone())
		login(c)
		err := effect(t.Context(), c)
		check(t, err)
		if strings.Contains(err.Error(), "http://") {
			t.Errorf("the error repeats the address: %v", err)
		}
	})
	t.Run("login unreachable", func(t *testing.T) {
		check(t, effect(t.Context(), newClient(t, gone())))
	})
	t.Run("unknown certificate", func(t *testing.T) {
		server := httptest.NewTLSServer(http.NotFoundHandler())
		t.Cleanup(server.Close)
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		c := newClient(t, server.URL)
		login(c)
		err := effect(t.Context(), c)
		check(t, err)
		if !errors.Is(err, ErrCertificate) {
			t.Errorf("%v is not ErrCertificate", err)
		}
	})
	t.Run("called off before", func(t *testing.T) {
		server := newServer(t, func(http.ResponseWriter, *http.Request) { t.Error("called") })
		c := newClient(t, server.URL)
		login(c)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := effect(ctx, c)
		check(t, err)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v is not context.Canceled", err)
		}
	})
	t.Run("no slot", func(t *testing.T) {
		entered, leave := make(chan struct{}), make(chan struct{})
		server := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
			entered <- struct{}{}
			<-leave
			answerJSON(w, 200, `{"status":"success"}`)
		})
		c := newClient(t, server.URL, func(o *Options) { o.MaxConcurrent = 1 })
		login(c)
		var first sync.WaitGroup
		first.Go(func() {
			if err := effect(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
		<-entered
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		check(t, effect(ctx, c))
		close(leave)
		first.Wait()
	})
}

func TestRedirectKeepsTheToken(t *testing.T) {
	var visits atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	t.Cleanup(other.Close)
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	c := newClient(t, server.URL)
	if _, err := c.Hosts.Count(t.Context()); !errors.Is(err, ErrNotJSON) || !strings.Contains(err.Error(), "redirect") {
		t.Errorf("read: %v", err)
	}
	if _, err := c.Carves.Download(t.Context(), "S", io.Discard); err == nil {
		t.Error("download: followed")
	}
	if visits.Load() != 0 {
		t.Errorf("%d visits elsewhere", visits.Load())
	}
}

func TestRequestAsTheServerWantsIt(t *testing.T) {
	type seen struct {
		line, token, agent, contentType, body string
	}
	var got seen
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = seen{r.Method + " " + r.URL.EscapedPath(), r.Header.Get("x-access-token"), r.Header.Get("User-Agent"), r.Header.Get("Content-Type"), string(body)}
		answerJSON(w, 200, `{"status":"success","openc2_id":5,"command_id":"c","data":{"id":1,"results":[],"session_id":"S","query_id":3,"onlineNodes":1,"created_at":"2026-11-22","Analyst_note_id":4}}`)
	})
	c := newClient(t, server.URL, func(o *Options) { o.Version = "1.2" })
	ctx := t.Context()
	resolved := false
	for _, tt := range []struct {
		name string
		do   func() error
		line string
		body string
	}{
		{"host by odd name", func() error { _, err := c.Hosts.Get(ctx, `a\b ?#%;`); return err }, "GET /api/hosts/a%5Cb%20%3F%23%25%3B", ""},
		{"hosts", func() error { _, err := c.Hosts.Page(ctx, HostQuery{Online: &resolved}); return err }, "POST /api/hosts", `{"limit":100,"start":0,"status":false}`},
		{"tag", func() error { return c.Hosts.AddTag(ctx, "H", "a.b-c@d_1") }, "POST /api/hosts/H/tags", `{"tag":"a.b-c@d_1"}`},
		{"untag", func() error { return c.Hosts.RemoveTag(ctx, "H", "a") }, "DELETE /api/hosts/H/tags", `{"tag":"a"}`},
		{"alerts", func() error {
			_, err := c.Alerts.Page(ctx, AlertQuery{Resolved: &resolved, Severity: "HIGH", Column: "created_at", Limit: 5})
			return err
		}, "POST /api/alerts", `{"column":"created_at","limit":5,"order_by":"asc","resolved":false,"severity":"high","start":0}`},
		{"resolve", func() error { return c.Alerts.Resolve(ctx, []int64{1, 2}, false, "x") }, "PUT /api/alerts",
			`{"alert_ids":[1,2],"comment":"x","resolve":true,"verdict":false}`},
		{"reopen", func() error { return c.Alerts.Reopen(ctx, []int64{1}) }, "PUT /api/alerts", `{"alert_ids":[1],"resolve":false}`},
		{"add note", func() error { _, err := c.Alerts.AddNote(ctx, 1, "n"); return err }, "POST /api/alerts/1/analyst/notes", `{"notes":"n"}`},
		{"update note", func() error { return c.Alerts.UpdateNote(ctx, 1, 2, "n") }, "PUT /api/alerts/1/analyst/notes", `{"note_id":2,"notes":"n"}`},
		{"delete note", func() error { return c.Alerts.DeleteNote(ctx, 1, 2, DeleteForGood) }, "DELETE /api/alerts/1/analyst/notes", `{"note_id":2}`},
		{"delete file", func() error {
			_, err := c.Responses.DeleteFile(ctx, DeleteFile{Hosts: []string{"B", "A", "B"}, Path: `C:\x`})
			return err
		}, "POST /api/response/add", `{"action":"delete","actuator_id":"A,B","file_name":"C:\\x","target":"file"}`},
		{"stop process", func() error {
			_, err := c.Responses.StopProcess(ctx, StopProcess{Hosts: []string{"A"}, PID: "7"})
			return err
		},
			"POST /api/response/add", `{"action":"stop","actuator_id":"A","pid":"7","target":"process"}`},
		{"contain", func() error {
			_, err := c.Responses.Contain(ctx, FirewallRule{Hosts: []string{"A"}, RuleName: "r"})
			return err
		},
			"POST /api/response/add", `{"action":"contain","actuator_id":"A","application":"","direction":"1","dst_addr":"","dst_port":"","layer4_protocol":"256",` +
				`"rule_description":"","rule_group":"","rule_name":"r","src_port":"","target":"ip_connection"}`},
		{"release", func() error { _, err := c.Responses.Release(ctx, []string{"A"}, "r"); return err },
			"POST /api/response/add", `{"action":"delete","actuator_id":"A","rule_name":"r","target":"ip_connection"}`},
		{"script", func() error {
			_, err := c.Responses.RunScript(ctx, Script{Hosts: []string{"A"}, Content: "id", Kind: ScriptShell, Name: "n"})
			return err
		}, "POST /api/response/custom-action", `{"content":"id","file_type":"4","host_identifier":"A","save_script":"false","script_name":"n"}`},
		{"cancel", func() error { return c.Responses.Cancel(ctx, "c") }, "POST /api/response/cancel", `{"command_id":"c"}`},
		{"scan", func() error { _, err := c.Defender.Scan(ctx, "A", ScanCustom, `C:\`); return err },
			"POST /api/defender-management/scan-now", `{"file_path":"C:\\","host_identifier":"A","scan_type":3}`},
		{"quarantine carve", func() error { return c.Defender.CarveQuarantined(ctx, "A", `C:\x`) },
			"POST /api/defender-management/quarantine_file/carve", `{"host_identifier":"A","path":"C:\\x"}`},
		{"carve of query", func() error { _, err := c.Carves.ByQuery(ctx, 19, "A"); return err }, "POST /api/carves/query", `{"host_identifier":"A","query_id":"19"}`},
		{"delete carves", func() error { return c.Carves.Delete(ctx, DeleteForGood, "S", "R") }, "POST /api/carves/delete", `{"session_id":"R,S"}`},
		{"live", func() error {
			_, err := c.Queries.Live(ctx, LiveQuery{SQL: "select 1", Hosts: []string{"B", "A"}, Tags: []string{"t"}, OSNames: []string{"Ubuntu"}})
			return err
		}, "POST /api/distributed/add", `{"nodes":"A,B","os_name":["Ubuntu"],"query":"select 1","tags":"t"}`},
		{"logout", func() error { return c.Logout(ctx) }, "POST /api/logout", `{}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.do(); err != nil {
				t.Fatal(err)
			}
			want := seen{tt.line, "t", "erbridge/1.2", "", tt.body}
			if tt.body != "" {
				want.contentType = "application/json"
			}
			if got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// TestNothingIsSent lists what the client refuses by itself.
func TestNothingIsSent(t *testing.T) {
	c := newClient(t, "http://127.0.0.1:1", func(o *Options) {
		o.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			t.Errorf("sent %s", r.URL.Path)
			return nil, io.EOF
		})
	})
	ctx := t.Context()
	live := func(q LiveQuery) error { _, err := c.Queries.Live(ctx, q); return err }
	events := func(q AggregatedQuery) error { _, err := c.Alerts.AggregatedEvents(ctx, 1, q); return err }
	for _, tt := range []struct {
		name string
		err  error
		want error
	}{
		{"live without target", live(LiveQuery{SQL: "select 1"}), ErrEmptyTarget},
		{"live with empty host", live(LiveQuery{SQL: "select 1", Hosts: []string{""}}), ErrEmptyTarget},
		{"live with empty tag", live(LiveQuery{SQL: "select 1", Hosts: []string{"A"}, Tags: []string{" "}}), ErrEmptyTarget},
		{"live with two in one", live(LiveQuery{SQL: "select 1", Hosts: []string{"A,B"}}), ErrInvalid},
		{"live for all and one", live(LiveQuery{SQL: "select 1", Hosts: []string{"A"}, AllHosts: true}), ErrInvalid},
		{"live without SQL", live(LiveQuery{SQL: " ", AllHosts: true}), ErrInvalid},
		{"apostrophe in query name", events(AggregatedQuery{QueryName: "o'brien"}), ErrInvalid},
		{"apostrophe in value", events(AggregatedQuery{QueryName: "q", Column: "c", Value: "'"}), ErrInvalid},
		{"apostrophe in search", events(AggregatedQuery{Search: "it's"}), ErrInvalid},
		{"resolve nothing", c.Alerts.Resolve(ctx, nil, true, ""), ErrEmptyTarget},
		{"reopen nothing", c.Alerts.Reopen(ctx, nil), ErrEmptyTarget},
		{"tag with comma", c.Hosts.AddTag(ctx, "H", "a,b"), ErrInvalid},
		{"empty tag", c.Hosts.AddTag(ctx, "H", ""), ErrInvalid},
		{"long tag", c.Hosts.RemoveTag(ctx, "H", strings.Repeat("a", 64)), ErrInvalid},
		{"climbing host", c.Hosts.AddTag(ctx, "..", "a"), ErrInvalid},
		{"restart nobody", c.Responses.RestartAgent(ctx, ""), ErrEmptyTarget},
		{"delete no carve", c.Carves.Delete(ctx, DeleteForGood), ErrEmptyTarget},
		{"carves from before the first", func() error { _, err := c.Carves.Page(ctx, CarveQuery{Start: -1}); return err }(), ErrInvalid},
		{"carves in no order", func() error { _, err := c.Carves.Page(ctx, CarveQuery{Column: "status"}); return err }(), ErrInvalid},
		{"delete a carve without consent", c.Carves.Delete(ctx, "", "S"), ErrInvalid},
		{"delete a carve with another word", c.Carves.Delete(ctx, PurgeOldData, "S"), ErrInvalid},
		{"delete a note without consent", c.Alerts.DeleteNote(ctx, 1, 2, ""), ErrInvalid},
		{"pid zero", func() error {
			_, err := c.Responses.StopProcess(ctx, StopProcess{Hosts: []string{"A"}, PID: "0"})
			return err
		}(), ErrInvalid},
		{"pid with text", func() error {
			_, err := c.Responses.StopProcess(ctx, StopProcess{Hosts: []string{"A"}, PID: "1 or 2"})
			return err
		}(), ErrInvalid},
		{"stop what", func() error { _, err := c.Responses.StopProcess(ctx, StopProcess{Hosts: []string{"A"}}); return err }(), ErrInvalid},
		{"stop where", func() error { _, err := c.Responses.StopProcess(ctx, StopProcess{PID: "1"}); return err }(), ErrEmptyTarget},
		{"contain nobody", func() error { _, err := c.Responses.Contain(ctx, FirewallRule{RuleName: "r"}); return err }(), ErrEmptyTarget},
		{"custom scan of nothing", func() error { _, err := c.Defender.Scan(ctx, "A", ScanCustom, ""); return err }(), ErrInvalid},
		{"raw climbing", func() error { _, err := c.Raw(ctx, "GET", "/../x", nil); return err }(), ErrInvalid},
		{"raw elsewhere", func() error { _, err := c.Raw(ctx, "GET", "//evil.example/x", nil); return err }(), ErrInvalid},
		{"raw without slash", func() error { _, err := c.Raw(ctx, "GET", "x", nil); return err }(), ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !errors.Is(tt.err, tt.want) {
				t.Errorf("got %v, want %v", tt.err, tt.want)
			}
		})
	}
}

func TestAllHostsNamesThemAll(t *testing.T) {
	var nodes string
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/hosts" {
			answerJSON(w, 200, `{"status":"success","data":{"results":[{"id":2,"host_identifier":"B"},{"id":1,"host_identifier":"A"}]}}`)
			return
		}
		var in struct{ Nodes string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		nodes = in.Nodes
		answerJSON(w, 200, `{"status":"success","data":{"query_id":1,"onlineNodes":2}}`)
	})
	ticket, err := newClient(t, server.URL).Queries.Live(t.Context(), LiveQuery{SQL: "select 1", AllHosts: true})
	if err != nil || ticket.Online != 2 || nodes != "A,B" {
		t.Errorf("got %+v, %v; nodes %q", ticket, err, nodes)
	}
}

func TestAggregatedEventsOfBothReleases(t *testing.T) {
	for _, tt := range []struct{ name, method, body string }{
		{"4.0 rows", "POST", `{"status":"success","data":{"count":1,"total_count":1,"results":[{"id":3,"columns":{"pid":"7"},"action":"added","timestamp":"2026-11-22 03:22:30"}]}}`},
		{"2.1.2", "GET", `{"status":"success","data":[{"id":3,"name":"q","columns":{"pid":"7"},"action":"added","timestamp":"22-11-2026 03:22:30.000000"}]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != tt.method {
					answerJSON(w, 405, `{"message":"The method is not allowed for the requested URL."}`)
					return
				}
				answerJSON(w, 200, tt.body)
			})
			page, err := newClient(t, server.URL).Alerts.AggregatedEvents(t.Context(), 1, AggregatedQuery{})
			if err != nil || len(page.Results) != 1 {
				t.Fatalf("got %+v, %v", page, err)
			}
			if e := page.Results[0]; e.ID != 3 || e.Columns["pid"] != "7" || !e.Timestamp.Equal(time.Date(2026, 11, 22, 3, 22, 30, 0, time.UTC)) {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func TestListErrorEndsIt(t *testing.T) {
	server := newServer(t, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 403, `{}`) })
	n := 0
	for _, err := range newClient(t, server.URL).Carves.List(t.Context(), CarveQuery{}) {
		if n++; !errors.Is(err, ErrForbidden) {
			t.Errorf("got %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d turns", n)
	}
}

func TestCommandIDsWhereverTheyStand(t *testing.T) {
	for _, tt := range []struct {
		body string
		want Command
	}{
		{`{"status":"success","command_id":"abc"}`, Command{CommandID: "abc"}},
		{`{"openc2_id":"133","command_id":"abc","status":"success"}`, Command{CommandID: "abc", OpenC2ID: 133}},
		{`{"status":"success","data":{"openc2_id":7}}`, Command{OpenC2ID: 7}},
		{`{"status":"success","data":null}`, Command{}},
	} {
		server := newServer(t, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, tt.body) })
		got, err := newClient(t, server.URL).Responses.Release(t.Context(), []string{"H"}, "r")
		if err != nil || got != tt.want {
			t.Errorf("%s: got %+v, %v", tt.body, got, err)
		}
	}
}

func TestHugeAnswer(t *testing.T) {
	server := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		chunk := bytes.Repeat([]byte(" "), 1<<20)
		for range 70 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	if _, err := newClient(t, server.URL).Hosts.Count(t.Context()); !errors.Is(err, errTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestOptions(t *testing.T) {
	good := Options{URL: "https://er.example", Username: "u", Password: soar.SecretValue("p")}
	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   string // part of the error; empty for success
	}{
		{"good", func(*Options) {}, ""},
		{"slash", func(o *Options) { o.URL += "/" }, ""},
		{"path in URL", func(o *Options) { o.URL += "/x/services/api/v1" }, ""},
		{"no URL", func(o *Options) { o.URL = "" }, "server URL is missing"},
		{"password in URL", func(o *Options) { o.URL = "https://u:hunter2@er.example" }, "do not belong into the URL"},
		{"broken URL with password", func(o *Options) { o.URL = "https://u:hunter2@er.example:x y" }, "not a URL"},
		{"scheme", func(o *Options) { o.URL = "ftp://er.example" }, `scheme "ftp" is not https`},
		{"host only", func(o *Options) { o.URL = "er.example" }, "scheme"},
		{"query", func(o *Options) { o.URL += "?a=1" }, "query"},
		{"two paths", func(o *Options) { o.URL += "/a"; o.BasePath = "/b" }, "give one of them"},
		{"no user", func(o *Options) { o.Username = "" }, "user name is missing"},
		{"no password", func(o *Options) { o.Password = soar.Secret{} }, "password is missing"},
		{"pin", func(o *Options) { o.PinSHA256 = "abc" }, "64 hex digits"},
		{"CA file", func(o *Options) { o.CAFile = "testdata/absent.pem" }, "CA file"},
		{"CA file without certificate", func(o *Options) { o.CAFile = "client.go" }, "holds no certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := good
			tt.change(&o)
			_, err := New(o)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2")):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	status := atomic.Int32{}
	status.Store(200)
	server := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, int(status.Load()), `{"status":"success","data":{"id":1}}`)
	})
	registry := prometheus.NewPedanticRegistry()
	c := newClient(t, server.URL, func(o *Options) { o.Registerer = registry })
	newClient(t, server.URL, func(o *Options) { o.Registerer = registry }) // a second one shares them
	if _, err := c.Rules.Get(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	status.Store(403)
	if _, err := c.Rules.Get(t.Context(), 1); err == nil {
		t.Fatal("no error")
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			key := family.GetName()
			for _, label := range metric.GetLabel() {
				key += " " + label.GetValue()
			}
			got[key] += metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"erbridge_er_requests_total auth-login ok":       1,
		"erbridge_er_requests_total rules-get forbidden": 1,
		"erbridge_er_requests_total rules-get ok":        1,
		"erbridge_er_request_seconds auth-login":         1,
		"erbridge_er_request_seconds rules-get":          2,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRawRepeatsNothingButReads(t *testing.T) {
	var calls atomic.Int32
	server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		body, _ := io.ReadAll(r.Body)
		answerJSON(w, 500, fmt.Sprintf(`{"query":%q,"body":%q}`, r.URL.RawQuery, body))
	})
	c := newClient(t, server.URL, func(o *Options) { o.Retries = 3 })
	a, err := c.Raw(t.Context(), "delete", "/hosts/1/tags?tag=a", []byte(`{"x":1}`))
	if err != nil || a.Status != 500 || string(a.Body) != `{"query":"tag=a","body":"{\"x\":1}"}` || a.ContentType != "application/json" {
		t.Errorf("got %d %s %s, %v", a.Status, a.ContentType, a.Body, err)
	}
	if calls.Load() != 1 {
		t.Errorf("%d calls", calls.Load())
	}
}

package actions

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

func request(t *testing.T, deps Deps, with object) (playbooks.Outcome, error) {
	t.Helper()
	return All(deps)["http.request"].Do(t.Context(), playbooks.Call{With: with, Mark: "0abc/ticket"})
}

func TestHTTPRequest(t *testing.T) {
	t.Setenv("TICKETS_TOKEN", "s3cret")
	var body string
	var header http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		body, header = string(data), r.Header
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id": 7}`)
	}))
	defer server.Close()

	out, err := request(t, Deps{}, object{
		"url": server.URL + "/tickets", "auth": object{"env": "TICKETS_TOKEN"}, "headers": object{"X-Team": "soc"},
		"body": object{"title": "a \"b\"\n<c>"},
	})
	if err != nil || out.State != soar.StepExecuted {
		t.Fatalf("outcome %+v, %v", out, err)
	}
	got := out.Output.(HTTPRequestOutput)
	if got.Status != 201 || got.JSON.(map[string]any)["id"] != 7.0 || got.Text != "" {
		t.Errorf("output %+v", got)
	}
	var sent map[string]any
	if err := json.Unmarshal([]byte(body), &sent); err != nil || sent["title"] != "a \"b\"\n<c>" {
		t.Errorf("body %s: %v", body, err)
	}
	for name, want := range map[string]string{
		"Authorization": "Bearer s3cret", "X-Team": "soc", "Idempotency-Key": `"0abc-ticket"`, "Content-Type": "application/json",
	} {
		if header.Get(name) != want {
			t.Errorf("header %s: got %q, want %q", name, header.Get(name), want)
		}
	}
}

func TestHTTPRequestAnswers(t *testing.T) {
	var reached atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/429":
			w.WriteHeader(http.StatusTooManyRequests)
		case "/500":
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, "broken \xff")
		case "/408", "/501", "/504", "/418":
			status, _ := strconv.Atoi(r.URL.Path[1:])
			w.WriteHeader(status)
		case "/409":
			w.WriteHeader(http.StatusConflict)
		case "/redirect":
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		case "/large":
			_, _ = io.WriteString(w, strings.Repeat("x", maxResponseBytes+1))
		case "/lost":
			panic(http.ErrAbortHandler) // the connection ends without an answer
		case "/half":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
		}
	}))
	defer server.Close()

	for _, tt := range []struct {
		path   string
		more   object
		state  soar.StepState
		err    error
		status int
	}{
		{"/ok", nil, soar.StepExecuted, nil, 200},
		{"/429", nil, "", playbooks.ErrTransient, 0},
		{"/500", nil, "", playbooks.ErrUncertain, 0},
		{"/500", object{"method": "PUT"}, "", playbooks.ErrUncertain, 0},
		{"/500", object{"method": "GET"}, soar.StepFailed, nil, 500},
		{"/500", object{"expect": []any{500.0}}, soar.StepExecuted, nil, 500},
		{"/504", nil, "", playbooks.ErrUncertain, 0},
		{"/504", object{"method": "HEAD"}, soar.StepFailed, nil, 504},
		{"/408", nil, "", playbooks.ErrUncertain, 0},
		{"/501", nil, soar.StepFailed, nil, 501},
		{"/418", nil, soar.StepFailed, nil, 418},
		{"/409", object{"expect": []any{200.0, 409.0}}, soar.StepExecuted, nil, 409},
		{"/ok", object{"expect": []any{204.0}}, soar.StepFailed, nil, 200},
		{"/redirect", nil, soar.StepFailed, nil, 302},
		{"/large", nil, soar.StepExecuted, nil, 200},
		{"/half", nil, soar.StepExecuted, nil, 200},
		{"/lost", nil, "", playbooks.ErrUncertain, 0},
		{"/lost", object{"method": "GET"}, "", playbooks.ErrTransient, 0},
	} {
		with := object{"url": server.URL + tt.path}
		for key, value := range tt.more {
			with[key] = value
		}
		out, err := request(t, Deps{}, with)
		if !errors.Is(err, tt.err) || err == nil && out.State != tt.state {
			t.Errorf("%s: %q, %v", tt.path, out.State, err)
			continue
		}
		if output, ok := out.Output.(HTTPRequestOutput); err == nil && (!ok || output.Status != tt.status || len(output.Text) > maxResponseBytes ||
			output.Truncated != (tt.path == "/large")) {
			t.Errorf("%s: output has status %d, %d bytes, truncated %t", tt.path, output.Status, len(output.Text), output.Truncated)
		}
	}
	if reached.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestHTTPRequestNotSent(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	tlsOnly := httptest.NewUnstartedServer(http.NotFoundHandler())
	tlsOnly.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains about the client's refusal
	tlsOnly.StartTLS()
	defer tlsOnly.Close()
	for name, url := range map[string]string{"nobody listens": "http://" + closed, "certificate": tlsOnly.URL} {
		_, err := request(t, Deps{}, object{"url": url + "/?token=s3cret"})
		if !errors.Is(err, playbooks.ErrTransient) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := request(t, Deps{}, object{"url": "https://127.0.0.1/", "auth": object{"env": "ERBRIDGE_NOT_SET"}}); err == nil ||
		err.Error() != "auth: environment variable ERBRIDGE_NOT_SET is not set" {
		t.Errorf("missing secret: %v", err)
	}
}

func TestHTTPRequestRefusesMetadata(t *testing.T) {
	for _, tt := range []struct {
		address string
		refused bool
	}{
		{"169.254.169.254:80", true},
		{"[::ffff:169.254.169.254]:80", true},
		{"[64:ff9b::a9fe:a9fe]:80", true},
		{"[fe80::1%eth0]:80", true},
		{"100.100.100.200:80", true},
		{"[fd00:ec2::254]:80", true},
		{"127.0.0.1:80", false},
		{"100.100.100.201:80", false},
		{"[2001:db8::1]:443", false},
	} {
		err := (&Deps{}).refuseAddress("tcp", tt.address, nil)
		if errors.Is(err, errAddress) != tt.refused {
			t.Errorf("%s: %v", tt.address, err)
		}
	}
	if err := (&Deps{AllowedNets: []netip.Prefix{netip.MustParsePrefix("169.254.169.0/24")}}).refuseAddress("tcp", "169.254.169.254:80", nil); err != nil {
		t.Errorf("allowed address: %v", err)
	}

	// The whole way: nothing is dialled, and it is no use to try again.
	for _, url := range []string{"http://169.254.169.254/latest/meta-data/", "http://[::ffff:a9fe:a9fe]/"} {
		_, err := request(t, Deps{}, object{"url": url, "method": "GET"})
		if !errors.Is(err, errAddress) || errors.Is(err, playbooks.ErrTransient) || errors.Is(err, playbooks.ErrUncertain) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestNotify(t *testing.T) {
	at := time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC)
	action := All(Deps{Now: func() time.Time { return at }})["notify.send"]
	call := playbooks.Call{
		Mark: "0abc/tell", Alert: soar.Alert{Server: "er", ID: "7"},
		With: object{"sink": "soc-slack", "text": strings.Repeat("é", maxMessageRunes+5)},
	}
	first, err := action.Do(t.Context(), call)
	if err != nil || first.State != soar.StepExecuted || len(first.Events) != 1 {
		t.Fatalf("outcome %+v, %v", first, err)
	}
	event := first.Events[0]
	if event.To != "soc-slack" || event.Type != soar.EventNotification || !event.At.Equal(at) || event.Alert.ID != "7" {
		t.Errorf("event %+v", event)
	}
	if runes := []rune(event.Text); len(runes) != maxMessageRunes || runes[maxMessageRunes-1] != '…' {
		t.Errorf("text has %d characters", len(runes))
	}
	second, err := action.Do(t.Context(), call)
	if err != nil || second.Events[0].ID != event.ID {
		t.Errorf("a repeat has id %q, not %q: %v", second.Events[0].ID, event.ID, err)
	}
}

// A run that goes on after a restart has no folder to look for a secret in.
func TestRelativeSecretFile(t *testing.T) {
	action := All(Deps{})["http.request"]
	absolute := object{"url": "https://tickets.example.com/", "auth": object{"file": "/etc/erbridge/token"}}
	if problems := action.Check("p.yaml", source(t, absolute)); len(problems) > 0 {
		t.Errorf("lint of an absolute path: %v", problems)
	}
	with := object{"url": "https://tickets.example.com/", "auth": object{"file": "token"}}
	problems := action.Check("p.yaml", source(t, with))
	if len(problems) != 1 || problems[0].Position.String() != "p.yaml:10:5" || problems[0].Hint != "write the absolute path, or use {credential: name} or {env: NAME}" {
		t.Errorf("lint: %v", problems)
	}
	_, err := action.Do(t.Context(), playbooks.Call{Mark: "r/s", With: with})
	if err == nil || !strings.Contains(err.Error(), `auth: the path "token" is not absolute`) || errors.Is(err, playbooks.ErrTransient) {
		t.Errorf("a stored step with such a file: %v", err)
	}
}

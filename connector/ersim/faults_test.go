package ersim

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestFaultsOfCalls(t *testing.T) {
	l := newLive(t, Options{})
	host := l.s.Hosts()[0].Identifier
	stop := obj{"target": "process", "action": "stop", "process_name": "explorer.exe", "actuator_id": host}
	const add = "/esp-ui/services/api/v1/response/add"
	for _, tt := range []struct {
		kind   FaultKind
		status int
		body   string
		lost   bool // the answer did not arrive
		done   int  // commands that came of it
	}{
		{RateLimit, 429, "Too many requests", false, 0},
		{Unavailable, 503, "Service Unavailable", false, 0},
		{ServerError, 500, "Internal Server Error", false, 0},
		{HTMLAnswer, 200, "<app-root>", false, 0},
		{SlowPage, 200, "command_id", false, 1},
		{DropBefore, 0, "", true, 0},
		{DropAfter, 0, "", true, 1},
		{Truncate, 0, "", true, 1},
		{ExpireToken, 401, tokenExpired, false, 0},
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			l.login("admin")
			before := len(l.s.Commands())
			l.s.Inject(Fault{Kind: tt.kind, Call: "response-*", After: 1, Delay: 1500 * time.Millisecond})
			if res, _, err := l.fetch("POST", add, stop); err != nil || res.StatusCode != http.StatusOK {
				t.Fatalf("the call before the fault: %v", err)
			}
			if res, _, err := l.fetch("GET", "/esp-ui/services/api/v1/hosts/count", nil); err != nil || res.StatusCode != http.StatusOK {
				t.Fatalf("another call: %v", err)
			}
			res, body, err := l.fetch("POST", add, stop)
			switch {
			case tt.lost && err == nil:
				t.Errorf("an answer arrived: %d %s", res.StatusCode, body)
			case tt.kind == Truncate && !errors.Is(err, io.ErrUnexpectedEOF):
				t.Errorf("got %v", err)
			case !tt.lost && (err != nil || res.StatusCode != tt.status || !strings.Contains(string(body), tt.body)):
				t.Errorf("got %v %s %v", res, body, err)
			case tt.kind == RateLimit && res.Header.Get("Retry-After") != "2":
				t.Errorf("Retry-After %q", res.Header.Get("Retry-After"))
			}
			if got := len(l.s.Commands()) - before - 1; got != tt.done {
				t.Errorf("it was done %d times, want %d", got, tt.done)
			}
			l.login("admin")
			if res, _, err := l.fetch("POST", add, stop); err != nil || res.StatusCode != http.StatusOK {
				t.Errorf("the call after the fault: %v", err)
			}
		})
	}
}

func TestFaultUntilCleared(t *testing.T) {
	r := newRig(t, Options{})
	r.s.Inject(Fault{Kind: ServerError, Path: "/hosts", Count: -1})
	for range 3 {
		if w := r.send("GET", "/hosts/count", nil); w.Code != http.StatusInternalServerError {
			t.Errorf("got %d", w.Code)
		}
	}
	if w := r.send("POST", "/alerts", obj{}); w.Code != http.StatusOK {
		t.Errorf("another path: %d", w.Code)
	}
	r.s.ClearFaults()
	if w := r.send("GET", "/hosts/count", nil); w.Code != http.StatusOK {
		t.Errorf("cleared: %d", w.Code)
	}
	r.s.Inject(Fault{Kind: "nosuch"})
	r.s.Inject(Fault{Kind: ServerError, Call: "["})
	r.s.Inject(Fault{Kind: HostOffline, Host: "nosuch"})
	if n := len(r.s.faults); n != 0 {
		t.Errorf("%d impossible faults were taken", n)
	}
	if n := r.s.Calls()["hosts-count"]; n != 4 {
		t.Errorf("%d calls counted", n)
	}
}

// TestShiftedPages: a row comes twice, none is missed.
func TestShiftedPages(t *testing.T) {
	r := newRig(t, Options{})
	if err := r.s.RaiseLoad(AlertSpec{}, 10, 0); err != nil {
		t.Fatal(err)
	}
	r.s.Inject(Fault{Kind: ShiftPages})
	var pages []string
	for start := 0; start < 12; start += 4 {
		pages = append(pages, ids(r.results("/alerts", obj{"start": start, "limit": 4})))
	}
	if got := strings.Join(pages, " | "); got != "10 9 8 7 | 7 6 5 4 | 3 2 1" {
		t.Errorf("pages %s", got)
	}
}

// TestLateAlert: its id is lower than one that was served before it.
func TestLateAlert(t *testing.T) {
	r := newRig(t, Options{})
	list := func() string { return ids(r.results("/alerts", obj{})) }
	r.s.Raise(AlertSpec{Detached: true})
	r.s.Inject(Fault{Kind: LateAlert})
	late := r.s.Raise(AlertSpec{Separate: true})
	if got := list(); late != 2 || got != "1" {
		t.Errorf("late alert %d, list %s", late, got)
	}
	r.s.Raise(AlertSpec{Separate: true})
	if got := list(); got != "3 1" {
		t.Errorf("with a higher id: %s", got)
	}
	if got := list(); got != "3 2 1" {
		t.Errorf("after that was served: %s", got)
	}
	r.s.Inject(Fault{Kind: LateAlert, Delay: time.Second})
	r.s.Raise(AlertSpec{Separate: true})
	if got := list(); got != "3 2 1" {
		t.Errorf("late by time: %s", got)
	}
	r.wait(time.Second)
	if got := list(); got != "4 3 2 1" {
		t.Errorf("a second later: %s", got)
	}
}

func TestFaultsOfHosts(t *testing.T) {
	r := newRig(t, Options{})
	r.s.Inject(Fault{Kind: HostOffline, Host: "1", Delay: time.Second})
	r.s.Inject(Fault{Kind: ResponseDisabled, Host: "WIN-HR-01", Delay: time.Second})
	if hosts := r.s.Hosts(); hosts[0].Online || hosts[1].ResponseEnabled {
		t.Error("nothing happened")
	}
	rows := r.data("GET", "/response/status/all", nil).([]any)
	if a, b := rows[0].(obj), rows[1].(obj); a["onlineStatus"] != "OFFLINE" || b["host_degraded"] != true {
		t.Errorf("%v\n%v", a, b)
	}
	r.wait(time.Second)
	if hosts := r.s.Hosts(); !hosts[0].Online || !hosts[1].ResponseEnabled {
		t.Error("it did not end")
	}
	if r.s.SetOnline("nosuch", true) {
		t.Error("an unknown host was set")
	}
}

func TestCertificate(t *testing.T) {
	l := newLive(t, Options{})
	res, body, err := l.fetch("GET", "/downloads/certificate.crt", nil)
	if err != nil || string(body) != string(l.s.CAPEM()) || res.Proto != "HTTP/1.1" {
		t.Errorf("%v %s", err, body)
	}
	roots := l.client.Transport.(*http.Transport).TLSClientConfig.RootCAs
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: name}}
		conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(l.s.URL(), "https://"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

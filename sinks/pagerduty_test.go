package sinks_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

const pagerDutyKey = "R0UT1NGK3YR0UT1NGK3YR0UT1NGK3Y00"

func openPagerDuty(t *testing.T, url string, change func(*sinks.PagerDutySettings)) sinks.Sink {
	t.Helper()
	s := &sinks.PagerDutySettings{
		RoutingKey: soar.SecretValue(pagerDutyKey), MinSeverity: "high", Approvals: true, Trouble: true, Region: "us",
		URL: url + "/v2/enqueue", Timeout: time.Minute,
	}
	if change != nil {
		change(s)
	}
	sink, err := sinks.Open("pager", "pagerduty", s, sinks.Env{Version: "1", State: &sinktest.Memory{}})
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

func startPagerDuty(t *testing.T) (sim *sinksim.PagerDuty, url string) {
	t.Helper()
	sim = &sinksim.PagerDuty{RoutingKey: pagerDutyKey}
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	return sim, srv.URL
}

func TestPagerDutyContract(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		MaxBatch: 1, Secrets: []string{pagerDutyKey},
		Answer: func(status int) string {
			return fmt.Sprintf(`{"status":"invalid event","message":"%d for %s","errors":["Length of 'summary' is wrong, %s"]}`, status, pagerDutyKey, pagerDutyKey)
		},
		Open: func(t *testing.T, r sinktest.Receiver) sinks.Sink {
			return openPagerDuty(t, r.URL, func(s *sinks.PagerDutySettings) { s.CAFile = r.CAFile })
		},
		OK: func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, `{"status":"success","message":"Event processed","dedup_key":"x"}`)
		},
		IDs: func(t *testing.T, _ *http.Request, body []byte) []string {
			var ev sinksim.PagerDutyEvent
			if err := json.Unmarshal(body, &ev); err != nil {
				t.Error(err)
			}
			return []string{strings.TrimPrefix(ev.DedupKey, "er-")} // the reference of the alert is the id of its event
		},
	})
}

// An alert pages when it is bad enough, once, and its incident ends with it.
func TestPagerDutyLifeOfAnAlert(t *testing.T) {
	sim, url := startPagerDuty(t)
	sink := closeAfter(t, openPagerDuty(t, url, nil))
	low, high := sinktest.Event(1), sinktest.Event(2)
	low.Alert.Severity = soar.SeverityMedium
	change := func(ev soar.Event, what string, to func(*soar.Alert)) soar.Event {
		a := *ev.Alert
		from := a.State()
		to(&a)
		ev.ID, ev.Type, ev.Alert = ev.ID+"-"+what, soar.EventAlertUpdated, &a
		ev.Change = &soar.AlertChange{What: []string{what}, From: from, To: a.State()}
		return ev
	}
	resolved := func(a *soar.Alert) { a.Status = soar.StatusResolved }
	step := outcome("step", soar.StepVerified)
	for _, tt := range []struct {
		name string
		ev   soar.Event
		want map[string]string
	}{
		{"below the severity", low, nil},
		{"resolved without an incident", change(low, soar.ChangeResolved, resolved), nil},
		{"bad enough", high, map[string]string{"er-er-2": "triggered"}},
		{"the same again", high, map[string]string{"er-er-2": "triggered"}},
		{"a step is no news", step, map[string]string{"er-er-2": "triggered"}},
		{"more events", change(high, soar.ChangeEvents, func(a *soar.Alert) { a.EventCount = 9 }), map[string]string{"er-er-2": "triggered"}},
		{"resolved", change(high, soar.ChangeResolved, resolved), map[string]string{"er-er-2": "resolved"}},
		{"opened again", change(high, soar.ChangeReopened, func(*soar.Alert) {}), map[string]string{"er-er-2": "triggered"}},
		{"resolved after it got better", change(high, soar.ChangeResolved, func(a *soar.Alert) { a.Severity, a.Status = "low", "resolved" }), map[string]string{"er-er-2": "resolved"}},
		{"a playbook pages for it all the same", soar.Event{ID: "n1", Type: soar.EventNotification, Alert: low.Alert, Text: "look"}, map[string]string{"er-er-2": "resolved", "er-er-1": "triggered"}},
		{"and that is resolved, too", change(low, soar.ChangeResolved, resolved), map[string]string{"er-er-2": "resolved", "er-er-1": "resolved"}},
		{"got worse", change(low, soar.ChangeSeverity, func(a *soar.Alert) { a.Severity = "critical" }), map[string]string{"er-er-2": "resolved", "er-er-1": "triggered"}},
	} {
		if err := sink.Send(t.Context(), []soar.Event{tt.ev}); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := sim.Incidents(); !maps.Equal(got, tt.want) {
			t.Errorf("%s: incidents %v, want %v", tt.name, got, tt.want)
		}
	}
}

// A question pages by itself, and its incident ends with the answer, whatever that is.
func TestPagerDutyApprovals(t *testing.T) {
	for _, on := range []bool{true, false} {
		sim, url := startPagerDuty(t)
		sink := closeAfter(t, openPagerDuty(t, url, func(s *sinks.PagerDutySettings) { s.Approvals = on }))
		ask := sinktest.Event(1)
		ask.ID, ask.Type, ask.Text = "ask", soar.EventApprovalRequested, "Contain WIN-07?"
		ask.Alert.Severity = soar.SeverityLow
		ask.Approval = &soar.Approval{ID: "a1", State: soar.ApprovalWaiting, Text: "Contain WIN-07?", Action: "host.contain", Expires: ask.At.Add(time.Hour)}
		decided := ask
		decided.ID, decided.Type = "decided", soar.EventApprovalDecided
		decided.Approval = &soar.Approval{ID: "a1", State: soar.ApprovalExpired}
		if err := sink.Send(t.Context(), []soar.Event{ask}); err != nil {
			t.Fatal(err)
		}
		if got := sim.Incidents()["er-approval-a1"]; (got == "triggered") != on {
			t.Errorf("approvals %v: %q", on, got)
		}
		if on && sim.Events()[0].Payload.Summary != "Contain WIN-07?" {
			t.Errorf("summary %q", sim.Events()[0].Payload.Summary)
		}
		if err := sink.Send(t.Context(), []soar.Event{decided}); err != nil {
			t.Fatal(err)
		}
		if got := sim.Incidents()["er-approval-a1"]; (got == "resolved") != on {
			t.Errorf("approvals %v, decided: %q", on, got)
		}
	}
}

func TestPagerDutyOtherEvents(t *testing.T) {
	sim, url := startPagerDuty(t)
	sink := closeAfter(t, openPagerDuty(t, url, nil))
	head := sinktest.Event(5)
	group := head
	group.ID, group.Type = "g", soar.EventAlertGrouped
	group.Group = &soar.Group{Key: "k", Head: "er-5", Count: 41, Hosts: 3, Names: []string{"WIN-07"}, First: head.At, Last: head.At}
	trouble := soar.Event{ID: "sink-paused-x", Type: soar.EventTrouble, At: head.At, Text: `Sink "x" is paused`}
	quiet := []soar.Event{
		{ID: "r", Type: soar.EventRunFinished, Run: &soar.RunSummary{Playbook: "p"}}, {ID: "h", Type: soar.EventHeartbeat}, {ID: "d", Type: soar.EventDigest, Text: "x"},
		{ID: "t", Type: soar.EventTelemetry, Row: &soar.Row{}}, {ID: "u", Type: soar.EventUndoSoon, Undo: &soar.Undo{}},
	}
	if err := sink.Send(t.Context(), append([]soar.Event{head, group, trouble}, quiet...)); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"er-er-5": "triggered", "sink-paused-x": "triggered"}; !maps.Equal(sim.Incidents(), want) {
		t.Errorf("incidents %v, want %v", sim.Incidents(), want)
	}
	got := sim.Events()
	if len(got) != 3 || !strings.Contains(got[1].Payload.Summary, "41 alerts") || got[1].Payload.Details["Hosts"] != "3: WIN-07, …" {
		t.Errorf("group: %+v", got[1].Payload)
	}
	if p := got[0]; p.Payload.Severity != "error" || p.Payload.Source != "WIN-07" || p.ClientURL != "https://er.example.org/alerts/5" || p.Payload.Details["event.pid"] != "4711" {
		t.Errorf("alert: %+v", p)
	}
	if p := got[2].Payload; !strings.Contains(p.Summary, "is paused") {
		t.Errorf("trouble: %+v", p)
	}
	if err := sink.Send(t.Context(), []soar.Event{{ID: "test-1", Type: soar.EventTest, At: head.At, Text: "This is a test."}}); err != nil {
		t.Fatal(err)
	}
	if got := sim.Incidents()["test-1"]; got != "resolved" {
		t.Errorf("a test leaves its incident %q, want it resolved", got)
	}
}

// Whatever an alert holds, the event stays within the limits of PagerDuty.
func TestPagerDutyLimits(t *testing.T) {
	sim, url := startPagerDuty(t)
	sink := closeAfter(t, openPagerDuty(t, url, nil))
	ev := sinktest.Hostile()
	ev.Alert.ID = strings.Repeat("ü", 400)
	ev.Alert.URL = "javascript:alert(1)"
	ev.Alert.Host = soar.Host{}
	for i := range 2000 {
		ev.Alert.Event[fmt.Sprintf("c%d", i)] = strings.Repeat("\u0001ü", 3000)
	}
	for range 2 {
		if err := sink.Send(t.Context(), []soar.Event{ev}); err != nil {
			t.Fatal(err)
		}
	}
	got := sim.Events()
	if len(got) != 2 || got[0].DedupKey != got[1].DedupKey || utf8.RuneCountInString(got[0].DedupKey) > 255 {
		t.Fatalf("%d events", len(got))
	}
	if got[0].ClientURL != "" || len(got[0].Links) != 0 {
		t.Errorf("a link that is none: %q, %v", got[0].ClientURL, got[0].Links)
	}
	if strings.ContainsAny(got[0].Payload.Summary, "\x1b\n\u202e") {
		t.Errorf("hidden characters in %q", got[0].Payload.Summary)
	}
	other := ev
	alert := *ev.Alert
	alert.ID += "x"
	other.Alert = &alert
	if err := sink.Send(t.Context(), []soar.Event{other}); err != nil {
		t.Fatal(err)
	}
	if sim.Events()[2].DedupKey == got[0].DedupKey {
		t.Error("two alerts with long ids share an incident")
	}
}

func TestPagerDutyRefusals(t *testing.T) {
	sim, url := startPagerDuty(t)
	t.Run("wrong key", func(t *testing.T) {
		const wrong = "WR0NGK3YWR0NGK3YWR0NGK3YWR0NGK3Y"
		sink := closeAfter(t, openPagerDuty(t, url, func(s *sinks.PagerDutySettings) { s.RoutingKey = soar.SecretValue(wrong) }))
		err := sink.Send(t.Context(), sinktest.Events(1))
		if !errors.Is(err, sinks.ErrConfig) || !strings.Contains(err.Error(), "routing_key") || strings.Contains(err.Error(), wrong) {
			t.Errorf("error %v, want ErrConfig that names routing_key", err)
		}
	})
	t.Run("not PagerDuty", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>welcome</html>") }))
		defer srv.Close()
		if err := closeAfter(t, openPagerDuty(t, srv.URL, nil)).Send(t.Context(), sinktest.Events(1)); !errors.Is(err, sinks.ErrConfig) {
			t.Errorf("error %v, want ErrConfig", err)
		}
	})
	t.Run("lost answer", func(t *testing.T) {
		sink := closeAfter(t, openPagerDuty(t, url, nil))
		for _, next := range []sinksim.Answer{{}, {After: true}} {
			before := len(sim.Events())
			sim.Next(next)
			if err := sink.Send(t.Context(), sinktest.Events(1)); sinktest.ClassOf(err) != sinktest.Transient {
				t.Errorf("error %v, want a transient one", err)
			}
			if err := sink.Send(t.Context(), sinktest.Events(1)); err != nil {
				t.Error(err)
			}
			want := 1
			if next.After {
				want = 2
			}
			if got := len(sim.Events()) - before; got != want || len(sim.Incidents()) != 1 {
				t.Errorf("%d events, want %d; incidents %v, want one", got, want, sim.Incidents())
			}
		}
	})
}

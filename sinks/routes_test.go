package sinks

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// routed makes routes of lines such as "name: when -> a b +", where + is continue.
func routed(t *testing.T, lines ...string) Routes {
	t.Helper()
	var routes Routes
	for _, line := range lines {
		name, rest, _ := strings.Cut(line, ": ")
		when, to, _ := strings.Cut(rest, "-> ")
		r := Route{Name: name}
		if when = strings.TrimSpace(when); when != "" {
			r.When = registry.Text{Value: when}
		}
		to, r.Continue = strings.CutSuffix(to, " +")
		r.To = strings.Fields(to)
		routes = append(routes, r)
	}
	problems := routes.Check([]string{"soc", "siem", "page", "lab"}, func(route int, setting, hint, format string, args ...any) {
		t.Errorf("route %d, %s: "+format, append([]any{route, setting}, args...)...)
	})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return routes
}

func TestRoutesDecide(t *testing.T) {
	alert := func(rule, host string, severity soar.Severity) *soar.Alert {
		return &soar.Alert{Server: "er", ID: "1", Severity: severity, Rule: &soar.Rule{Name: rule}, Host: soar.Host{Name: host}}
	}
	ransom, lab := alert("ransom note", "PC-1", soar.SeverityHigh), alert("login", "lab-1", soar.SeverityLow)
	both, other := alert("ransom note", "lab-1", soar.SeverityHigh), alert("login", "PC-1", soar.SeverityLow)
	ransomFirst := []string{
		`ransom: .alert.rule.name | test("ransom") -> soc page +`,
		`lab: .alert.host.name | startswith("lab-") -> lab`,
		`rest: -> soc`,
	}
	for _, tt := range []struct {
		name   string
		routes []string
		ev     soar.Event
		want   string // the sinks that get it, of soc, siem, page and lab; siem is in no route
	}{
		{"no routes", nil, soar.Event{Type: soar.EventAlertReceived, Alert: other}, "soc siem page lab"},
		{"the first that matches", ransomFirst, soar.Event{Type: soar.EventAlertReceived, Alert: lab}, "siem lab"},
		{"further ones with continue", ransomFirst, soar.Event{Type: soar.EventAlertReceived, Alert: both}, "soc siem page lab"},
		{"continue to the last", ransomFirst, soar.Event{Type: soar.EventAlertReceived, Alert: ransom}, "soc siem page"},
		{"the last takes the rest", ransomFirst, soar.Event{Type: soar.EventStepFinished, Alert: other}, "soc siem"},
		{"none matches", ransomFirst[:2], soar.Event{Type: soar.EventAlertReceived, Alert: other}, "siem"},
		{"no alert, no route", ransomFirst, soar.Event{Type: soar.EventTrouble, ID: "disk-full"}, "soc siem page lab"},
		{"addressed", ransomFirst, soar.Event{Type: soar.EventNotification, Alert: other, To: "page"}, "page"},
		{"by type of event", []string{`ends: .type == "run.finished" -> page`, `rest: -> soc lab`}, soar.Event{Type: soar.EventRunFinished, Alert: other}, "siem page"},
		{"the sinks' own filters hold too", []string{`all: -> soc page lab`}, soar.Event{Type: soar.EventRunStarted, Alert: other}, ""},
		{"a condition that fails", []string{`first: .alert.rule.name == "login" -> lab`, `bad: .alert.host.name | at_least("high") -> soc`, `rest: -> page`},
			soar.Event{Type: soar.EventAlertReceived, Alert: other}, "siem lab"},
		{"a condition that fails on the way", []string{`first: .alert.rule.name == "x" -> lab`, `bad: .alert.event | at_least("high") -> soc`, `rest: -> page`},
			soar.Event{Type: soar.EventAlertReceived, Alert: other}, "soc! siem page!"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			routes := routed(t, tt.routes...)
			var got []string
			for _, sink := range []string{"soc", "siem", "page", "lab"} {
				r := newRoute(sink, nil, nil, routes)
				wanted, err := r.wants(t.Context(), &tt.ev)
				switch {
				case err != nil:
					got = append(got, sink+"!")
				case wanted:
					got = append(got, sink)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%v gets it, want %q", got, tt.want)
			}
		})
	}
}

// Routes and the sink's own condition both have to agree; several sinks of one type
// get what is theirs.
func TestRoutesInForwarders(t *testing.T) {
	when, err := CompileWhen(`.alert.severity | at_least("high")`)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 0)
		routes := routed(t, `lab: .alert.host.name == "lab" -> lab`, `rest: -> siem`)
		for i, host := range []string{"lab", "pc", "lab", "pc"} {
			severity := soar.SeverityLow
			if i >= 2 {
				severity = soar.SeverityHigh
			}
			feed.add(soar.Event{ID: fmt.Sprintf("e%d", i+1), Type: soar.EventAlertReceived, At: time.Now(), Alert: &soar.Alert{Host: soar.Host{Name: host}, Severity: severity}})
		}
		sink := newScript(nil)
		forward(t, feed, sink, ForwarderOptions{FromStart: true, When: when, Routes: routes})
		synctest.Wait()
		wantIDs(t, "delivered to siem", sink.taken(), []string{"e4"})
	})
}

func TestExplainNamesWhatDecides(t *testing.T) {
	routes := routed(t, `ransom: .alert.rule.name == "ransom" -> soc +`, `bad: .alert.event.x | at_least("high") -> page`, `rest: -> soc lab`)
	when, err := CompileWhen(`.alert.severity == "high"`)
	if err != nil {
		t.Fatal(err)
	}
	configured := []Config{
		{Name: "soc"}, {Name: "siem", when: when}, {Name: "page"}, {Name: "lab", CommonSettings: CommonSettings{Events: []string{"trouble"}}},
	}
	ev := soar.Event{ID: "x", Type: soar.EventAlertReceived, Alert: &soar.Alert{Severity: soar.SeverityHigh, Rule: &soar.Rule{Name: "ransom"}}}
	var got []string
	for _, r := range Explain(t.Context(), configured, routes, &ev) {
		got = append(got, fmt.Sprintf("%s %t by %s", r.Sink, r.Wanted, r.By))
		if (r.Error != "") != (r.Sink == "page") {
			t.Errorf("%s: error %q", r.Sink, r.Error)
		}
	}
	want := "soc true by route ransom, siem true by when, page false by route bad, lab false by events does not have alert.received"
	if strings.Join(got, ", ") != want {
		t.Errorf("\n got %s\nwant %s", strings.Join(got, ", "), want)
	}
}

package sinks_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

const theHiveKey = "th3hive-4pi-key"

func openTheHive(t *testing.T, url string, state sinks.State, change func(*sinks.TheHiveSettings)) sinks.Sink {
	t.Helper()
	s := &sinks.TheHiveSettings{
		URL: url, APIKey: soar.SecretValue(theHiveKey), AlertType: "endpoint", Source: "erbridge", TLP: "amber", PAP: "amber", Comments: true, Timeout: time.Minute,
	}
	if change != nil {
		change(s)
	}
	sink, err := sinks.Open("cases", "thehive", s, sinks.Env{Version: "1", State: state})
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

func startTheHive(t *testing.T) (sim *sinksim.TheHive, url string, sink sinks.Sink) {
	t.Helper()
	sim = &sinksim.TheHive{Key: theHiveKey}
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	return sim, srv.URL, closeAfter(t, openTheHive(t, srv.URL+"/", &sinktest.Memory{}, nil))
}

func TestTheHiveContract(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		MaxBatch: 1, Secrets: []string{theHiveKey},
		Answer: func(int) string { return `{"type":"AuthorizationError","message":"nothing for ` + theHiveKey + `"}` },
		Open: func(t *testing.T, r sinktest.Receiver) sinks.Sink {
			return openTheHive(t, r.URL, &sinktest.Memory{}, func(s *sinks.TheHiveSettings) { s.CAFile = r.CAFile })
		},
		OK: func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"_id":"~4096","_type":"Alert"}`)
		},
		IDs: func(t *testing.T, _ *http.Request, body []byte) []string {
			var a sinksim.TheHiveAlert
			if err := json.Unmarshal(body, &a); err != nil {
				t.Error(err)
			}
			return []string{a.SourceRef} // the reference of the alert is the id of its event
		},
	})
}

func TestTheHiveAlert(t *testing.T) {
	sim, _, sink := startTheHive(t)
	ev := sinktest.Event(1)
	ev.Alert.Rule.Techniques = []string{"T1490, T1059.001", "not a technique; x"}
	for column, value := range map[string]string{
		"sha256": strings.Repeat("AB", 32), "md5": "none", "remote_address": "::ffff:203.0.113.9", "resolved_ip": "203.0.113.9,203.0.113.10;0.0.0.0",
		"domain_name": "Evil.Example.", "url": "https://evil.example/x?a=b", "target_path": `C:\Temp\b.exe [Orig: C:\Temp\a.exe]`, "parent_path": `C:\Windows\System32\vssadmin.exe`,
	} {
		ev.Alert.Event[column] = value
	}
	if err := sink.Send(t.Context(), []soar.Event{ev}); err != nil {
		t.Fatal(err)
	}
	a := sim.Alerts()[0]
	if a.Type != "endpoint" || a.Source != "erbridge" || a.SourceRef != "er-1" || a.Severity != 3 || a.TLP != 2 || a.PAP != 2 ||
		a.Title != "HIGH: Shadow copies deleted on WIN-07" || a.ExternalLink != "https://er.example.org/alerts/1" || a.Date != ev.Alert.CreatedAt.UnixMilli() {
		t.Errorf("alert %+v", a)
	}
	if want := []string{"T1059.001", "T1490", "impact"}; !slices.Equal(a.Tags, want) {
		t.Errorf("tags %q, want %q", a.Tags, want)
	}
	var got []string
	for _, o := range a.Observables {
		got = append(got, o.DataType+" "+o.Data)
	}
	want := []string{
		"hash " + strings.Repeat("ab", 32), "ip 203.0.113.9", "ip 203.0.113.10", "domain Evil.Example", "url https://evil.example/x?a=b", "filename b.exe",
		"filename vssadmin.exe", "hostname WIN-07",
	}
	if !slices.Equal(got, want) {
		t.Errorf("observables\n got %q\nwant %q", got, want)
	}
}

// An alert is created once, however often it is sent and whatever is forgotten, and
// what becomes of it stands under it.
func TestTheHiveComments(t *testing.T) {
	sim, url, sink := startTheHive(t)
	resolved := sinktest.Event(1)
	resolved.ID, resolved.Type = "u", soar.EventAlertUpdated
	alert := *resolved.Alert
	alert.Status, alert.Verdict = soar.StatusResolved, soar.VerdictTruePositive
	resolved.Alert = &alert
	group := sinktest.Event(9)
	group.ID, group.Type, group.Group = "g", soar.EventAlertGrouped, &soar.Group{Head: "er-1", Count: 41, Hosts: 2}
	if err := sink.Send(t.Context(), []soar.Event{sinktest.Event(1), sinktest.Event(1), outcome("s", soar.StepVerified), resolved, group}); err != nil {
		t.Fatal(err)
	}
	forgetful := closeAfter(t, openTheHive(t, url, nil, nil))
	unknown := outcome("x", soar.StepVerified)
	unknown.Alert = sinktest.Event(77).Alert
	if err := forgetful.Send(t.Context(), []soar.Event{sinktest.Event(1), outcome("s2", soar.StepFailed), unknown}); err != nil {
		t.Fatal(err)
	}
	alerts := sim.Alerts()
	if len(alerts) != 1 || len(alerts[0].Comments) != 4 {
		t.Fatalf("%d alerts, want 1; comments %q, want 4", len(alerts), alerts[0].Comments)
	}
	for i, want := range []string{"host.contain", "resolved", "41 alerts", "failed"} {
		if !strings.Contains(alerts[0].Comments[i], want) {
			t.Errorf("comment %d: %s, want %q in it", i, alerts[0].Comments[i], want)
		}
	}
	// The alert is deleted: that is no reason to stop.
	sim.Delete(alerts[0].ID)
	if err := sink.Send(t.Context(), []soar.Event{outcome("s3", soar.StepVerified), outcome("s4", soar.StepVerified)}); err != nil {
		t.Errorf("a deleted alert stops the sink: %v", err)
	}
	silent := closeAfter(t, openTheHive(t, url, &sinktest.Memory{}, func(s *sinks.TheHiveSettings) { s.Comments = false }))
	if err := silent.Send(t.Context(), []soar.Event{sinktest.Event(2), func() soar.Event {
		ev := outcome("s5", soar.StepVerified)
		ev.Alert = sinktest.Event(2).Alert
		return ev
	}()}); err != nil {
		t.Fatal(err)
	}
	if got := sim.Alerts(); len(got) != 1 || len(got[0].Comments) != 0 {
		t.Errorf("without comments: %+v", got)
	}
}

func TestTheHiveOtherEvents(t *testing.T) {
	sim, _, sink := startTheHive(t)
	at := sinktest.Event(1).At
	events := []soar.Event{
		{ID: "t", Type: soar.EventTrouble, At: at, Text: `Sink "x" is paused`}, {ID: "test", Type: soar.EventTest, At: at, Text: "This is a test."},
		{ID: "h", Type: soar.EventHeartbeat, At: at}, {ID: "d", Type: soar.EventDigest, At: at, Text: "x"}, {ID: "r", Type: soar.EventTelemetry, Row: &soar.Row{}},
	}
	if err := sink.Send(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	got := sim.Alerts()
	if len(got) != 2 || got[0].SourceRef != "t" || got[0].Severity != 3 || !strings.Contains(got[0].Description, "is paused") || got[1].SourceRef != "test" {
		t.Errorf("alerts %+v", got)
	}
}

// A name that holds Markdown stays a name: all of it is inside of code.
func TestTheHiveHostileText(t *testing.T) {
	sim, _, sink := startTheHive(t)
	ev := sinktest.Event(1)
	nasty := "``` \n# head\n[x](javascript:alert(1)) ![i](http://evil.example/i) <script>alert(1)</script> `a` ```` \u202e\x1b"
	ev.Alert.ID = strings.Repeat("ü", 300)
	ev.Alert.Rule.Name, ev.Alert.Host.Name, ev.Alert.Event["cmdline"], ev.Alert.Event["path"] = nasty, nasty, nasty, nasty
	ev.Alert.Event["domain_name"], ev.Alert.Event["url"] = nasty, nasty
	step := outcome("s", soar.StepFailed)
	step.Alert = ev.Alert
	step.Outcome.Error, step.Outcome.Summary = nasty, nasty
	if err := sink.Send(t.Context(), []soar.Event{ev, step, sinktest.Hostile()}); err != nil {
		t.Fatal(err)
	}
	for _, a := range sim.Alerts() {
		for _, text := range append(a.Comments, a.Description) {
			if outside := outsideCode(text); strings.ContainsAny(outside, "<>[]#!*_`") {
				t.Errorf("markup outside of code: %q\nin %s", outside, text)
			}
			if strings.ContainsAny(text, "\x1b\u202e") {
				t.Errorf("hidden characters in %q", text)
			}
		}
		for _, o := range a.Observables {
			if o.DataType != "hostname" && o.DataType != "filename" || strings.ContainsAny(o.Data, "\n\u202e\x1b") {
				t.Errorf("observable %+v", o)
			}
		}
	}
}

// outsideCode is what of a text is no code (CommonMark: a span ends at the next run of
// as many back-quotes as it began with).
func outsideCode(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); {
		if text[i] != '`' {
			out.WriteByte(text[i])
			i++
			continue
		}
		quotes := text[i : len(text)-len(strings.TrimLeft(text[i:], "`"))]
		rest := text[i+len(quotes):]
		end := -1
		for j := 0; j < len(rest); {
			if rest[j] != '`' {
				j++
				continue
			}
			n := len(rest[j:]) - len(strings.TrimLeft(rest[j:], "`"))
			if n == len(quotes) {
				end = j
				break
			}
			j += n
		}
		if end < 0 {
			out.WriteString(quotes)
			i += len(quotes)
			continue
		}
		i += len(quotes) + end + len(quotes)
	}
	return out.String()
}

func TestTheHiveAlreadyExists(t *testing.T) {
	sim, url, sink := startTheHive(t)
	// The answer is lost after the alert was made: the next try finds it.
	sim.Next(sinksim.Answer{After: true})
	if err := sink.Send(t.Context(), sinktest.Events(1)); sinktest.ClassOf(err) != sinktest.Transient {
		t.Fatalf("error %v, want a transient one", err)
	}
	if err := sink.Send(t.Context(), sinktest.Events(1)); err != nil {
		t.Fatal(err)
	}
	if got := len(sim.Alerts()); got != 1 {
		t.Errorf("%d alerts, want 1", got)
	}
	// The same words about something else are a refusal.
	sim.Next(sinksim.Answer{Status: http.StatusBadRequest, Body: `{"type":"CreateError","message":"Observable already exists"}`})
	if err := sink.Send(t.Context(), []soar.Event{sinktest.Event(2)}); !errors.Is(err, sinks.ErrPermanent) {
		t.Errorf("error %v, want ErrPermanent", err)
	}
	wrong := closeAfter(t, openTheHive(t, url, nil, func(s *sinks.TheHiveSettings) { s.APIKey = soar.SecretValue("0ther-key") }))
	if err := wrong.Send(t.Context(), sinktest.Events(1)); !errors.Is(err, sinks.ErrConfig) || strings.Contains(err.Error(), "0ther-key") {
		t.Errorf("error %v, want ErrConfig without the key", err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }))
	defer other.Close()
	if err := closeAfter(t, openTheHive(t, other.URL, nil, nil)).Send(t.Context(), sinktest.Events(1)); !errors.Is(err, sinks.ErrConfig) {
		t.Errorf("error %v, want ErrConfig", err)
	}
}

// A comment whose answer was lost stands there once; where comments may not be read, it is
// rather written twice than not at all.
func TestTheHiveCommentWhoseAnswerWasLost(t *testing.T) {
	sim, _, sink := startTheHive(t)
	sendAll(t, sink, sinktest.Event(1))
	comments := func() int { return len(sim.Alerts()[0].Comments) }
	step := func(id string, want int, next ...sinksim.Answer) {
		t.Helper()
		sim.Next(next...)
		ev := outcome(id, soar.StepVerified)
		if err := sink.Send(t.Context(), []soar.Event{ev}); err == nil {
			t.Fatalf("%s: the answer was not lost", id)
		}
		if err := sink.Send(t.Context(), []soar.Event{ev}); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		if got := comments(); got != want {
			t.Errorf("%s: %d comments, want %d: %q", id, got, want, sim.Alerts()[0].Comments)
		}
	}
	step("taken", 1, sinksim.Answer{After: true})
	step("not-taken", 2, sinksim.Answer{Status: 502})
	step("taken, and nobody may look", 4, sinksim.Answer{After: true}, sinksim.Answer{Status: 403, Body: "{}"})
}

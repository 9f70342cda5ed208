package daemon

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

// delivered are the events in the file of a sink.
func (s *site) delivered(sink string) (events []soar.Event) {
	s.t.Helper()
	data, err := os.ReadFile(s.path(sink + ".ndjson"))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var ev soar.Event
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			continue // it is being written
		}
		events = append(events, ev)
	}
	return events
}

// What the configuration says is taken out before a sink sees it, also after a reload,
// and the store keeps it.
func TestRedactedBeforeASinkSeesIt(t *testing.T) {
	s := newSite(t)
	more := quickPoll + "sinks:\n" + s.fileSink("archive") + s.fileSink("chat")
	s.configure(more + "redact: {fields: [alert.host.name]}\n")
	d, stop := s.start()
	first := fmt.Sprintf("er-%d", s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"}))
	s.awaitEvent(d.Store(), runFinished(first))
	words, err := d.desk().Silence(t.Context(), "chat", first, time.Now().Add(time.Hour), "ada", "")
	if err != nil || strings.Contains(words, "WIN-FIN-01") || !strings.Contains(words, "on [redacted], in chat") {
		t.Errorf("the answer in the chat: %q, %v", words, err)
	}
	s.configure(more + "redact: {patterns: ['WIN-[A-Z]+-\\d+']}\n")
	if _, err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	second := fmt.Sprintf("er-%d", id)
	s.awaitEvent(d.Store(), runFinished(second))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, ev := range s.delivered("archive") {
		if ev.Alert == nil {
			continue
		}
		seen[ev.Alert.Ref()] = true
		if ev.Alert.Host.Name != "[redacted]" {
			t.Errorf("%s says host %q", ev.ID, ev.Alert.Host.Name)
		}
	}
	if !seen[first] || !seen[second] {
		t.Errorf("delivered alerts %v", seen)
	}
	if notes := s.sim.Notes(id); len(notes) != 1 || !strings.Contains(notes[0], "seen on WIN-FIN-01") {
		t.Errorf("what playbooks see has changed: %q", notes)
	}
}

// A silence that is begun while the daemon runs holds at once, and its end is told.
func TestSilenceOfARunningDaemon(t *testing.T) {
	s := newSite(t)
	s.configure(quickPoll + "sinks:\n" + s.fileSink("archive") + s.fileSink("other"))
	d, stop := s.start()
	first := fmt.Sprintf("er-%d", s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01", Rule: "Odd shell"}))
	s.awaitEvent(d.Store(), runFinished(first))
	client, err := dialControl(t.Context(), d.StorePath())
	if err != nil {
		t.Fatal(err)
	}
	kept, err := client.AddSilence(t.Context(), SilenceOrder{
		Silence: sinks.Silence{Sink: "archive", Until: time.Now().Add(time.Hour), By: "ann"}, Alert: first})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := client.Silences(t.Context()); err != nil || len(list) != 1 || list[0].ID != kept.ID || !strings.HasPrefix(list[0].By, "ann (uid ") {
		t.Errorf("silences %+v: %v", list, err)
	}
	second := fmt.Sprintf("er-%d", s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01", Rule: "Odd shell"}))
	s.awaitEvent(d.Store(), runFinished(second))
	s.until(func() bool {
		for _, ev := range s.delivered("other") {
			if runFinished(second)(ev) {
				return true
			}
		}
		return false
	})
	if _, err := client.EndSilence(t.Context(), SilenceEnd{ID: kept.ID, By: "bob"}); err != nil {
		t.Fatal(err)
	}
	s.until(func() bool {
		for _, ev := range s.delivered("archive") {
			if ev.Type == soar.EventNotification {
				return strings.HasPrefix(ev.Text, `1 alert was silenced: "Odd shell" on WIN-FIN-01, in archive`)
			}
		}
		return false
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for _, ev := range s.delivered("archive") {
		if ev.Alert != nil && ev.Alert.Ref() == second {
			t.Errorf("%s was delivered while silenced", ev.ID)
		}
	}
}

package daemon

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

func (s *site) pause(reason string) PauseState {
	s.t.Helper()
	c, release := s.control()
	defer release()
	state, err := c.Pause(s.t.Context(), PauseOrder{By: "ann", Reason: reason})
	if err != nil {
		s.t.Fatal(err)
	}
	return state
}

func (s *site) resume() PauseState {
	s.t.Helper()
	c, release := s.control()
	defer release()
	state, err := c.Resume(s.t.Context(), "ben")
	if err != nil {
		s.t.Fatal(err)
	}
	return state
}

// awaitRun waits for the run of an alert until it is in a state.
func (s *site) awaitRun(st *store.Store, alert int64, state soar.RunState) (run soar.Run) {
	s.t.Helper()
	for {
		changed := st.Changed(soar.SignalRuns)
		runs, err := st.Runs(s.t.Context(), store.RunFilter{Alert: fmt.Sprintf("er-%d", alert)})
		if err != nil {
			s.t.Fatal(err)
		}
		if len(runs) == 1 && runs[0].State == state {
			return runs[0]
		}
		if len(runs) == 1 && runs[0].State.Ended() {
			check, words := s.heldBy(st, runs[0])
			s.t.Fatalf("the run of alert %d is %s: %s; guard: %s: %s", alert, runs[0].State, runs[0].Error, check, words)
		}
		select {
		case <-changed:
		case <-s.t.Context().Done():
			s.t.Fatalf("the run of alert %d never was %s: %+v", alert, state, runs)
		}
	}
}

// heldBy is what the last decision of the guard about a run says.
func (s *site) heldBy(st *store.Store, run soar.Run) (check, words string) {
	s.t.Helper()
	entries, err := st.Entries(s.t.Context(), run.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Kind == soar.EntryDecision {
			var d playbooks.Decision
			if err := json.Unmarshal(e.Body, &d); err != nil {
				s.t.Fatal(err)
			}
			last := d.Answers[len(d.Answers)-1]
			check, words = last.Check, last.Words
		}
	}
	return check, words
}

func (s *site) gauge(d *Daemon, name string) float64 {
	s.t.Helper()
	families, err := prometheus.Gatherers{d.o.Metrics}.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	s.t.Fatalf("there is no metric %s", name)
	return 0
}

// What a person pauses stays so across restarts, is told everywhere, and what waited
// goes on when it is resumed.
func TestPauseByPerson(t *testing.T) {
	s := newSite(t)
	s.configure(quickPoll)
	d, stop := s.start()
	if state := s.pause("the mail server is being isolated"); state.Offline || state.Paused == nil || state.Paused.By != SignedHere("ann") {
		t.Fatalf("paused: %+v", state)
	}
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	run := s.awaitRun(d.Store(), id, soar.RunWaiting)
	if check, words := s.heldBy(d.Store(), run); check != "kill switch" || !strings.Contains(words, "paused by ann") || !strings.Contains(words, "the mail server is being isolated") {
		t.Errorf("the run waits for %q: %q", check, words)
	}
	if r := d.Readiness(t.Context()); !r.Ready || !strings.Contains(r.Warnings["kill switch"], "paused by ann") {
		t.Errorf("readiness %+v", r)
	}
	if got := s.gauge(d, "erbridge_paused"); got != 1 {
		t.Errorf("erbridge_paused is %v", got)
	}
	s.awaitEvent(d.Store(), func(ev soar.Event) bool {
		return ev.Type == soar.EventTrouble && strings.Contains(ev.Text, "paused by ann")
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	d, _ = s.start()
	s.until(func() bool { return d.Readiness(t.Context()).Warnings["kill switch"] != "" })
	s.awaitRun(d.Store(), id, soar.RunWaiting)
	if notes := s.sim.Notes(id); len(notes) != 0 {
		t.Fatalf("sent while paused: %q", notes)
	}
	if state := s.resume(); state.Paused != nil {
		t.Errorf("resumed: %+v", state)
	}
	s.awaitRun(d.Store(), id, soar.RunDone)
	if notes := s.sim.Notes(id); len(notes) != 1 {
		t.Errorf("sent after it was resumed: %q", notes)
	}
	if got := s.gauge(d, "erbridge_paused"); got != 0 || d.Readiness(t.Context()).Warnings["kill switch"] != "" {
		t.Errorf("still told: erbridge_paused is %v, %+v", got, d.Readiness(t.Context()))
	}
}

// Without a daemon, the store keeps what was said until there is one.
func TestPauseWithoutDaemon(t *testing.T) {
	s := newSite(t)
	s.configure(quickPoll)
	_, stop := s.start()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if state := s.pause("maintenance"); !state.Offline {
		t.Fatalf("paused: %+v", state)
	}
	r, err := store.OpenReader(t.Context(), s.path("data"))
	if err != nil {
		t.Fatal(err)
	}
	thrown, err := Paused(t.Context(), r)
	if err != nil || thrown == nil || thrown.Reason != "maintenance" {
		t.Errorf("the store says %+v, %v", thrown, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	d, stop := s.start()
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	s.awaitRun(d.Store(), id, soar.RunWaiting)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if notes := s.sim.Notes(id); len(notes) != 0 {
		t.Errorf("sent while paused: %q", notes)
	}
	if state := s.resume(); !state.Offline || state.Paused != nil {
		t.Errorf("resumed: %+v", state)
	}
	d, _ = s.start()
	s.awaitRun(d.Store(), id, soar.RunDone)
	if notes := s.sim.Notes(id); len(notes) != 1 {
		t.Errorf("sent after it was resumed: %q", notes)
	}
}

// A file pauses while it is there, from the start on and later, and what a person
// paused besides stays paused when the file goes.
func TestPauseByFile(t *testing.T) {
	s := newSite(t)
	s.configure(quickPoll + "guard: {pause_file: halt}\n")
	s.write("halt", "")
	d, _ := s.start()
	paused := func() bool { return d.Readiness(t.Context()).Warnings["kill switch"] != "" }
	if !paused() {
		t.Fatal("the file does not hold at the start")
	}
	first := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	run := s.awaitRun(d.Store(), first, soar.RunWaiting)
	if check, words := s.heldBy(d.Store(), run); check != "kill switch" || !strings.Contains(words, s.path("halt")) || !strings.Contains(words, "remove it to go on") {
		t.Errorf("the run waits for %q: %q", check, words)
	}
	if state := s.resume(); state.Paused == nil || !strings.Contains(state.Paused.By, "halt") {
		t.Errorf("a person cannot resume what the file pauses, and is told so: %+v", state)
	}
	if err := os.Remove(s.path("halt")); err != nil {
		t.Fatal(err)
	}
	s.awaitRun(d.Store(), first, soar.RunDone)
	if paused() {
		t.Error("still paused after the file has gone")
	}

	s.pause("look at it")
	s.write("halt", "")
	s.until(func() bool {
		d.guard.Resume() // of what a person paused nothing is left in the guard
		return paused()
	})
	s.pause("look at it")
	if err := os.Remove(s.path("halt")); err != nil {
		t.Fatal(err)
	}
	s.until(func() bool { return len(s.actsOf(d.Store(), "halt")) == 4 })
	second := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	run = s.awaitRun(d.Store(), second, soar.RunWaiting)
	if check, words := s.heldBy(d.Store(), run); check != "kill switch" || !strings.Contains(words, "paused by ann") {
		t.Errorf("the run waits for %q: %q", check, words)
	}
	s.resume()
	s.awaitRun(d.Store(), second, soar.RunDone)
	for _, id := range []int64{first, second} {
		if notes := s.sim.Notes(id); len(notes) != 1 {
			t.Errorf("alert %d has the notes %q", id, notes)
		}
	}
	told := s.actsOf(d.Store(), "halt")
	if len(told) != 4 || told[3] != "the file : kill switch thrown: remove it to go on" || told[2] != "the file : kill switch taken back: it is gone" ||
		told[1] != told[3] || !strings.HasPrefix(told[0], "the file : kill switch taken back: it is gone, and erbridge stays paused by "+SignedHere("ann")+" at ") {
		t.Errorf("the audit record tells of the file %q", told)
	}
}

// actsOf is what the audit record says that somebody did, the newest first.
func (s *site) actsOf(st *store.Store, by string) (told []string) {
	s.t.Helper()
	entries, err := st.AuditEntries(s.t.Context(), store.AuditFilter{Kind: "act"})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		var act soar.Act
		if err := json.Unmarshal(e.Body, &act); err != nil {
			s.t.Fatal(err)
		}
		if strings.Contains(act.By, by) {
			told = append(told, strings.TrimSuffix(act.By, s.path(by))+": "+act.What+": "+act.Reason)
		}
	}
	return told
}

// The rules of the configuration hold for the daemon, and new ones after a reload.
func TestProtectedHostsOfTheConfiguration(t *testing.T) {
	s := newSite(t)
	s.write("playbooks/note.yaml", killEverything)
	s.configure(quickPoll + `guard: {protected: [{name: finance, match: {names: ["win-fin-*"]}}]}` + "\n")
	d, _ := s.start()
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	run := s.awaitRun(d.Store(), id, soar.RunFailed)
	if check, words := s.heldBy(d.Store(), run); check != "protected hosts" || !strings.Contains(words, `the rule "finance"`) || !strings.Contains(words, "WIN-FIN-01") {
		t.Errorf("refused by %q: %q", check, words)
	}
	if commands := s.sim.Commands(); len(commands) != 0 {
		t.Errorf("commands on the server: %+v", commands)
	}
	s.configure(quickPoll)
	if _, err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	id = s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	s.awaitRun(d.Store(), id, soar.RunDone)
	if commands := s.sim.Commands(); len(commands) != 1 {
		t.Errorf("commands on the server: %+v", commands)
	}
	s.configure(quickPoll + `guard: {protected: [{name: x, match: {networks: ["10.0.0"]}}]}` + "\n")
	if _, err := d.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), `"10.0.0" is no network`) {
		t.Errorf("reload with a mistake: %v", err)
	}
}

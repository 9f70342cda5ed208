package library_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

// pass lets one playbook work on alerts while time passes, and returns the runs and
// what was told.
func (s *scene) pass(playbook string, alerts []soar.Alert, d time.Duration) (runs []soar.Run, texts []string) {
	s.Helper()
	set, all := load(s.T, s.deps())
	var err error
	if s.store, err = store.Open(s.Context(), s.TempDir(), store.Options{}); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			s.Error(err)
		}
	})
	s.start("store", s.store.Run)
	if _, err := s.store.Commit(s.Context(), soar.Change{Alerts: alerts}); err != nil {
		s.Fatal(err)
	}
	set = playbooks.NewSet(set.Get(playbook))
	day, err := playbooks.NewSimulation(s.store, all, set, time.Now(), playbooks.EngineOptions{Ceiling: soar.ModeEnforce})
	if err != nil {
		s.Fatal(err)
	}
	if err := day.Advance(s.Context(), d); err != nil {
		s.Fatal(err)
	}
	if runs, err = s.store.Runs(s.Context(), store.RunFilter{Limit: 10}); err != nil {
		s.Fatal(err)
	}
	for _, run := range runs {
		if run.State != soar.RunDone {
			s.Errorf("run of %s is %s: %s", run.Playbook, run.State, run.Error)
		}
	}
	events, err := s.store.Feed(s.Context(), 0, 1000)
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range events {
		if e.Type == soar.EventNotification {
			texts = append(texts, e.Text)
		}
	}
	return runs, texts
}

// The digest of a noisy day is one message.
func TestDailyDigest(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	runs, texts := s.pass("daily-digest", s.play("noise"), 25*time.Hour)
	if len(runs) != 1 || len(texts) != 1 || !strings.HasPrefix(texts[0], "40 alerts in a day on er, from ") || !strings.Contains(texts[0], "\nSeverity: 40 info\n") {
		t.Errorf("%d runs, messages %q", len(runs), texts)
	}
}

// Of two hosts with an alert, the one that is gone ten minutes later is told of.
func TestHostSilent(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	alerts := s.play("silence")
	if len(alerts) != 1 {
		t.Fatalf("%d alerts", len(alerts))
	}
	gone := alerts[0].Host
	for _, h := range s.sim.Hosts() {
		if h.Identifier != gone.Identifier && h.Online {
			s.sim.Raise(ersim.AlertSpec{Host: h.Identifier, Rule: "Event log cleared", Columns: map[string]string{"action": "PROC_CREATE"}})
			break
		}
	}
	runs, texts := s.pass("host-silent", s.alerts(), time.Hour)
	if len(runs) != 2 || len(texts) != 1 || !strings.HasPrefix(texts[0], gone.Name+" has been offline since ") {
		t.Errorf("%d runs, messages %q", len(runs), texts)
	}
	for _, run := range runs {
		steps := s.results(run)
		want := verified
		if steps["now"].Target != gone.Identifier && steps["mark"].Target != gone.Identifier {
			want = skipped
		}
		s.checkSteps(run, map[string]soar.StepState{"now": executed, "mark": want, "note": want})
	}
	for _, h := range s.sim.Hosts() {
		if slices.Contains(h.Tags, "silent") != (h.Identifier == gone.Identifier) {
			t.Errorf("host %s has the tags %q", h.Name, h.Tags)
		}
	}
}

// What was contained a day ago is released, and nothing else: the time of a rule is
// read from the run in its name.
func TestReleaseExpiredContainments(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	var hosts []ersim.HostState
	for _, h := range s.sim.Hosts() {
		if h.Platform == "windows" {
			hosts = append(hosts, h)
		}
	}
	contain := func(h ersim.HostState, name string) {
		t.Helper()
		if _, err := s.client.Responses.Contain(t.Context(), connector.FirewallRule{
			Hosts: []string{h.Identifier}, RuleName: name, RuleGroup: "erbridge", Direction: "1",
		}); err != nil {
			t.Fatal(err)
		}
	}
	rule := func(h ersim.HostState, age time.Duration) string {
		return "erbridge-" + h.Identifier + "-erbridge-" + soar.NewRunID(time.Now().Add(-age)).String() + "-close"
	}
	stay := []string{rule(hosts[0], 23*time.Hour), rule(hosts[2], time.Minute), "erbridge-of-somebody-else", rule(hosts[3], 48*time.Hour)}
	contain(hosts[0], rule(hosts[0], 25*time.Hour))
	contain(hosts[0], stay[0])
	contain(hosts[1], rule(hosts[1], 30*24*time.Hour))
	contain(hosts[2], stay[1])
	contain(hosts[2], stay[2])
	contain(hosts[3], stay[3])
	s.sim.SetTags(hosts[3].Identifier, "workstation", "keep-contained")
	rules := func() (names []string) {
		for _, h := range s.sim.Hosts() {
			for _, r := range h.Firewall {
				names = append(names, r.Name)
			}
		}
		return names
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(rules()) < 6 { // until the agents have done it
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}

	set, all := load(t, s.deps())
	set = playbooks.NewSet(set.Get("release-expired-containments"))
	if runs := s.respondWith(nil, set, all); len(runs) != 0 {
		t.Fatalf("runs without anybody asking: %+v", runs)
	}
	run, err := s.engine.Start(t.Context(), playbooks.Manual{Playbook: "release-expired-containments", By: "test", Enforce: true})
	if err != nil {
		t.Fatal(err)
	}
	runs := s.wait()
	if len(runs) != 1 || runs[0].ID != run.ID || runs[0].State != soar.RunDone {
		t.Fatalf("runs %+v", runs)
	}
	steps := s.results(runs[0])
	for _, id := range []string{"release[0]", "release[1]"} {
		if steps[id].State != soar.StepVerified {
			t.Errorf("%s: %+v", id, steps[id])
		}
	}
	if steps["tell"].State != soar.StepExecuted {
		t.Errorf("tell: %+v", steps["tell"])
	}
	left := rules()
	slices.Sort(left)
	slices.Sort(stay)
	if !slices.Equal(left, stay) {
		t.Errorf("left are %q, want %q", left, stay)
	}
}

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

// The digest of a noisy day is one message.
func TestDailyDigest(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	alerts := s.play("noise")
	set, all := load(t, s.deps())
	var err error
	if s.store, err = store.Open(t.Context(), t.TempDir(), store.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	s.start("store", s.store.Run)
	if _, err := s.store.Commit(t.Context(), soar.Change{Alerts: alerts}); err != nil {
		t.Fatal(err)
	}
	set = playbooks.NewSet(set.Get("daily-digest"))
	day, err := playbooks.NewSimulation(s.store, all, set, time.Now(), playbooks.EngineOptions{Ceiling: soar.ModeEnforce})
	if err != nil {
		t.Fatal(err)
	}
	if err := day.Advance(t.Context(), 25*time.Hour); err != nil {
		t.Fatal(err)
	}
	runs, err := s.store.Runs(t.Context(), store.RunFilter{Limit: 10})
	if err != nil || len(runs) != 1 || runs[0].State != soar.RunDone {
		t.Fatalf("runs %+v, %v", runs, err)
	}
	events, err := s.store.Feed(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, e := range events {
		if e.Type == soar.EventNotification {
			texts = append(texts, e.Text)
		}
	}
	if len(texts) != 1 || !strings.HasPrefix(texts[0], "40 alerts in a day on er, from ") || !strings.Contains(texts[0], "\nSeverity: 40 info\n") {
		t.Errorf("messages %q", texts)
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

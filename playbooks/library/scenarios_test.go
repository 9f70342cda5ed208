package library_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
)

// expected is how often a playbook must run in a scenario, and how its steps end.
// The alerts that look alike and are harmless are in the count: they start no run.
type expected struct {
	runs  int
	steps map[string]soar.StepState // of every run
}

const (
	executed = soar.StepExecuted
	verified = soar.StepVerified
	skipped  = soar.StepSkipped
)

var performances = map[string]map[string]expected{
	"ransomware": {
		"contain-shadow-copy-deletion": {runs: 2, steps: map[string]soar.StepState{"close": verified}},
		"suspicious-powershell":        {runs: 1, steps: map[string]soar.StepState{"tree": executed, "stop": verified, "note": verified}},
		"triage-note":                  {runs: 5},
		"enrich-hash-and-address":      {},
	},
	"lotl": {
		"lotl-download-carve":     {runs: 2},
		"lotl-connects-out":       {runs: 1, steps: map[string]soar.StepState{"tree": executed, "close": skipped, "note": verified}},
		"suspicious-powershell":   {runs: 1, steps: map[string]soar.StepState{"stop": verified}},
		"persistence-run-key":     {runs: 1, steps: map[string]soar.StepState{"collect": verified}},
		"enrich-hash-and-address": {},
	},
	"ioc": {
		"scan-ioc-hit":            {},
		"hunt-ioc-hit":            {runs: 1, steps: map[string]soar.StepState{"connections": executed, "note": verified}},
		"enrich-hash-and-address": {runs: 1, steps: map[string]soar.StepState{"connections": executed, "note": verified}},
	},
	"noise": {
		"close-known-noise": {runs: 40},
	},
	"persistence": {
		"persistence-run-key":        {runs: 1, steps: map[string]soar.StepState{"collect": verified, "note": verified}},
		"persistence-service":        {runs: 1, steps: map[string]soar.StepState{"collect": verified, "note": verified}},
		"persistence-scheduled-task": {runs: 1, steps: map[string]soar.StepState{"collect": verified, "note": verified}},
	},
	"credentials": {
		"lsass-access":   {runs: 1, steps: map[string]soar.StepState{"stop": verified, "mark": verified, "note": verified}},
		"password-spray": {runs: 1, steps: map[string]soar.StepState{"tell": executed, "note": verified}},
		"brute-force":    {runs: 1, steps: map[string]soar.StepState{"close": verified, "sessions": executed, "tell": skipped, "note": verified}},
	},
	"webshell": {
		"web-shell": {runs: 1, steps: map[string]soar.StepState{"stop": verified, "pages": executed, "collect[0]": verified, "mark": verified}},
	},
	"defender": {
		"defender-detection": {runs: 1, steps: map[string]soar.StepState{
			"status": executed, "collect": verified, "tell": skipped, "note": verified,
		}},
		"defender-outdated-signatures": {runs: 1, steps: map[string]soar.StepState{"update": executed, "status": executed, "note": verified}},
	},
	"exfiltration": {
		"usb-exfiltration": {runs: 1, steps: map[string]soar.StepState{"mark": verified, "note": verified}},
	},
	"silence": {
		"escalate-vip-host": {runs: 1, steps: map[string]soar.StepState{"note": verified}},
	},
}

// The simulator plays, and the library answers with the real engine, store and
// client, and every run goes well.
func TestScenarios(t *testing.T) {
	t.Parallel()
	for name, wanted := range performances {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			runs := s.respond(s.play(name))
			for _, run := range runs {
				if run.State != soar.RunDone && s.underWay(run) {
					t.Errorf("run of %s is %s: %s", run.Playbook, run.State, run.Error)
				}
			}
			for playbook, want := range wanted {
				got := s.of(runs, playbook)
				if want.runs > 0 && len(got) != want.runs {
					t.Errorf("%d runs of %s, want %d", len(got), playbook, want.runs)
				}
				for _, run := range got {
					s.checkSteps(run, want.steps)
				}
			}
		})
	}
}

func (s *scene) checkSteps(run soar.Run, want map[string]soar.StepState) {
	s.Helper()
	results := s.results(run)
	for id, state := range want {
		if got := results[id]; got.State != state {
			s.Errorf("%s: step %s is %s, want %s: %s %s", run.Playbook, id, got.State, state, got.Error, got.Summary)
		}
	}
}

// A playbook that no performance brings to work would ship without anybody having
// seen it work.
func TestEveryPlaybookIsPlayed(t *testing.T) {
	set, _ := load(t, actions.Deps{Sinks: sinks})
	played := map[string]bool{
		"kill-credential-dumping":      true, // TestCredentialDumping
		"daily-digest":                 true, // TestDailyDigest
		"host-silent":                  true, // TestHostSilent
		"release-expired-containments": true, // TestReleaseExpiredContainments
	}
	for _, wanted := range performances {
		for playbook := range maps.Keys(wanted) {
			if set.Get(playbook) == nil {
				t.Errorf("there is no playbook %s", playbook)
			}
			played[playbook] = true
		}
	}
	for _, pb := range set.Playbooks() {
		if !played[pb.Name] {
			t.Errorf("no scenario brings %s to work", pb.Name)
		}
	}
}

// Each of the harmless alerts is turned away by the condition that is there for it.
func TestNoiseIsTurnedAway(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ scenario, playbook, rule, text, reason string }{
		{"persistence", "persistence-run-key", "Run key written", "OneDrive", "a known publisher does so"},
		{"persistence", "persistence-service", "Service installed", "Backup Agent", "it lies where every user may write"},
		{"persistence", "persistence-scheduled-task", "Scheduled task created", "Nightly", "its program lies where every user may write"},
		{"credentials", "lsass-access", "Memory of lsass opened", "MsMpEng", "a security product did it"},
		{"credentials", "brute-force", "Logon failed", "bob.miller", "there are too many of them"},
		{"webshell", "web-shell", "Web server starts a program", "csc.exe", "it is a shell or a tool of intruders"},
		{"defender", "defender-detection", "Event of Defender", "SpyNet", "Defender reports malware"},
		{"defender", "defender-outdated-signatures", "State of antivirus", "Up-to-date", "signatures are out of date"},
		{"exfiltration", "usb-exfiltration", "Files on another drive", "", "there are many of them"},
	} {
		t.Run(tt.playbook, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			set, all := load(t, s.deps())
			found := 0
			for _, alert := range s.play(tt.scenario) {
				said := slices.ContainsFunc(slices.Collect(maps.Values(alert.Event)), func(v string) bool { return strings.Contains(v, tt.text) })
				if alert.Rule == nil || alert.Rule.Name != tt.rule || !said || tt.text == "" && alert.EventCount > 5 {
					continue
				}
				found++
				x, err := playbooks.Explain(t.Context(), set.Get(tt.playbook), alert, all)
				if err != nil {
					t.Fatal(err)
				}
				if x.Verdict != playbooks.NoMatch || !slices.ContainsFunc(x.Conditions, func(c playbooks.Condition) bool {
					return c.Name == tt.reason && (c.Verdict == playbooks.Match) == (c.Block == "none")
				}) {
					t.Errorf("%s on %v: %s, want %q to stand against it", tt.playbook, alert.Event, x.Verdict, tt.reason)
				}
			}
			if found != 1 {
				t.Errorf("%d alerts say %q", found, tt.text)
			}
		})
	}
}

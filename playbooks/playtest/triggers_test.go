package playtest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks/playtest"
)

// Runs that no new alert starts are tested as well.
func TestTriggers(t *testing.T) {
	report := run(t, playtest.Options{}, playtest.Place{Dir: "testdata/triggers"})
	if passed, failed := report.Counts(); passed != 10 || failed != 0 || report.Percent() != 100 {
		t.Errorf("%d passed, %d failed, coverage %g\n%s", passed, failed, report.Percent(), text(t, report, "human"))
	}
}

const sweep = `playbook: p
on: %s
mode: enforce
steps: [{id: note, do: alert.note, with: {text: hello}}]
`

// What a test cannot say of a trigger is told with its place.
func TestMistakesOfTriggers(t *testing.T) {
	const clock, person, failure = "[{schedule: {every: 1h}}]", "manual", "run.failed"
	for _, tt := range []struct{ name, on, test, want string }{
		{"not taken", person, "on: schedule", "p_test.yaml:2:7: playbook p does not take schedule: its on has manual"},
		{"not taken before", person, "before: [{on: alert, ago: 1m}]", "p_test.yaml:2:17: playbook p does not take alert: its on has manual"},
		{"missed of a person", person, "missed: 1", "p_test.yaml:2:11: missed is for on: schedule, and the test is on: manual"},
		{"input of the clock", clock, "input: {a: 1}", "p_test.yaml:2:10: input is for on: manual, and the test is on: schedule"},
		{"person of the clock", clock, "by: alice", "p_test.yaml:2:7: by is for on: manual, and the test is on: schedule"},
		{"failure of the clock", clock, "failed: {playbook: x}", "p_test.yaml:2:11: failed is for on: run.failed, and the test is on: schedule"},
		{"no failed run", failure, "by: alice", "p_test.yaml:2:7: by is for on: manual, and the test is on: run.failed"},
		{"which failed run", failure, "now: 2026-05-06T16:00:00Z", `p_test.yaml:1:9: test "a" does not say which run has failed`},
		{"failed run of nothing", failure, "failed: {error: x}", `p_test.yaml:2:11: setting "playbook" is required`},
		{"negative", clock, "missed: -1", "p_test.yaml:2:11: missed must be between 0 and"},
		{"alert of the clock", clock, "alert: {id: '1'}", "p_test.yaml:2:10: a schedule brings no alert"},
		{"patch of no alert", person, "patch: {severity: high}", "p_test.yaml:2:10: there is no alert that the patch could be laid over"},
		{"patch of no earlier alert", person, "before: [{ago: 1m, patch: {severity: high}}]", "p_test.yaml:2:12: there is no alert that it could be about"},
		{"no such time", clock, "before: [{ago: 90m}]", "p_test.yaml:2:12: the schedule has no time at 2025-12-31T22:30:00Z, and none before 2025-12-31T23:00:00Z"},
		{"alert of an earlier time", clock, "before: [{ago: 1h, patch: {severity: high}}]", "p_test.yaml:2:12: a schedule brings no alert"},
		{"no word", person, "on: manuel", `p_test.yaml:2:7: unknown value "manuel"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fsys := fstest.MapFS{
				"p.yaml":      {Data: []byte(strings.Replace(sweep, "%s", tt.on, 1))},
				"p_test.yaml": {Data: []byte("tests: [{name: a, expect: {verdict: match},\n  " + tt.test + "}]")},
			}
			_, err := playtest.Run(t.Context(), []playtest.Place{{FS: fsys}}, playtest.Options{Actions: all})
			problems, ok := errors.AsType[registry.Problems](err)
			if !ok || !strings.Contains("\n"+problems.Error(), "\n"+tt.want) {
				t.Errorf("Run: %v\nwant %s", err, tt.want)
			}
		})
	}
}

// Update knows what came of runs without an alert, too.
func TestUpdateOfTriggers(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{
		"p.yaml": strings.Replace(sweep, "%s", "[{schedule: {every: 1h}}]", 1),
		"p_test.yaml": "given: [{do: alert.note}]\ntests:\n  - name: by the clock\n    expect: {verdict: no match} # for now\n" +
			"  - name: later\n    missed: 3\n    expect: {verdict: error, error: no}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	place := playtest.Place{Dir: dir}
	if n, err := run(t, playtest.Options{}, place).Update(); n != 2 || err != nil {
		t.Fatalf("%d updated, %v", n, err)
	}
	report := run(t, playtest.Options{}, place)
	data, err := os.ReadFile(filepath.Join(dir, "p_test.yaml"))
	if passed, failed := report.Counts(); passed != 2 || failed != 0 || err != nil || !strings.Contains(string(data), "outcome: done") {
		t.Errorf("%d passed, %d failed, %v\n%s\n%s", passed, failed, err, data, text(t, report, "human"))
	}
}

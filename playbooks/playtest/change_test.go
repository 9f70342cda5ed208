package playtest_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks/playtest"
)

// What analysts do on the server is tested as new alerts are.
func TestChanges(t *testing.T) {
	report := run(t, playtest.Options{}, playtest.Place{Dir: "testdata/changes"})
	if passed, failed := report.Counts(); passed != 5 || failed != 0 || report.Percent() != 100 {
		t.Errorf("%d passed, %d failed, coverage %g\n%s", passed, failed, report.Percent(), text(t, report, "human"))
	}
}

func TestMistakesOfChanges(t *testing.T) {
	for _, tt := range []struct{ name, on, test, want string }{
		{"of a new alert", "alert", "changed: {note: x}", "p_test.yaml:2:12: changed is for on: alert.updated, and the test is on: alert"},
		{"nothing", "alert.updated", "changed: {by: jane}", `p_test.yaml:2:12: test "a" does not say what changed`},
		{"as it is", "alert.updated", "changed: {was: {status: open}}", `p_test.yaml:2:12: test "a" does not say what changed`},
		{"another alert", "alert.updated", "changed: {was: {id: '2'}}", "p_test.yaml:2:12: with was, it is another alert"},
		{"no alert", "alert.updated", "changed: {was: {event_count: many}}", "p_test.yaml:2:12: with was, it is no alert"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fsys := fstest.MapFS{
				"p.yaml": {Data: []byte(strings.Replace(sweep, "%s", "[alert, alert.updated]", 1))},
				"p_test.yaml": {Data: []byte("tests: [{name: a, on: " + tt.on + ", expect: {verdict: match},\n  " + tt.test +
					",\n  alert: {server: er, id: '1', source: rule, status: open, severity: high, created_at: 2026-11-22T03:22:30Z}}]")},
			}
			_, err := playtest.Run(t.Context(), []playtest.Place{{FS: fsys}}, playtest.Options{Actions: all})
			problems, ok := errors.AsType[registry.Problems](err)
			if !ok || !strings.Contains("\n"+problems.Error(), "\n"+tt.want) {
				t.Errorf("Run: %v\nwant %s", err, tt.want)
			}
		})
	}
}

// What the page on the mirror shows works as it says.
func TestGuideOfChanges(t *testing.T) {
	page, err := os.ReadFile("../../docs/howto/mirror.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(begins string) []byte {
		_, text, found := strings.Cut(string(page), "```yaml\n"+begins)
		if !found {
			t.Fatalf("the page shows no %s", begins)
		}
		text, _, _ = strings.Cut(text, "```")
		return []byte(begins + text)
	}
	const alert = "alert: {server: er, id: '1', source: rule, status: open, severity: high, created_at: 2026-11-22T03:22:30Z, rule: {id: 1, name: r}, host: {name: h}}\n"
	report := run(t, playtest.Options{}, playtest.Place{FS: fstest.MapFS{
		"tell-reopened.yaml":      {Data: block("playbook:")},
		"tell-reopened_test.yaml": {Data: append([]byte(alert), block("tests:")...)},
	}})
	if passed, failed := report.Counts(); passed != 2 || failed != 0 {
		t.Errorf("%d passed, %d failed\n%s", passed, failed, text(t, report, "human"))
	}
}

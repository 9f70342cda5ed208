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

// A shell makes several names of playbooks/*.yaml: that of the playbook and that of its
// tests mean the same, and so does the folder.
func TestFilesThatAreNamedTwice(t *testing.T) {
	here, err := filepath.Abs("testdata/tests")
	if err != nil {
		t.Fatal(err)
	}
	report := run(t, playtest.Options{}, playtest.Place{Dir: "testdata/tests", Names: []string{"miner.yaml"}},
		playtest.Place{Dir: "testdata/../testdata/tests", Names: []string{"miner_test.yaml", "miner.yaml"}}, playtest.Place{Dir: here})
	if passed, failed := report.Counts(); passed != 26 || failed != 0 || len(report.Files) != 4 {
		t.Errorf("%d passed, %d failed, in %d files", passed, failed, len(report.Files))
	}
}

// Several files may have tests of one playbook: what one of them sees is covered.
func TestCoverageOfSeveralFiles(t *testing.T) {
	const other = "playbook: p.yaml\nalert: {}\ntests: [{name: b, expect: {verdict: no match}}]"
	files := map[string]string{
		"p.yaml":      playbook,
		"p_test.yaml": "alert: {severity: high}\ngiven: [{do: alert.note}]\ntests: [{name: a, expect: {verdict: match}}]",
		"q_test.yaml": other,
	}
	fsys := fstest.MapFS{}
	for name, data := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(data)}
	}
	report := run(t, playtest.Options{}, playtest.Place{FS: fsys})
	if report.Percent() != 100 || len(report.Files) != 2 {
		t.Errorf("coverage %g\n%s", report.Percent(), text(t, report, "human"))
	}
	delete(fsys, "p_test.yaml")
	report = run(t, playtest.Options{}, playtest.Place{FS: fsys})
	if got := text(t, report, "human"); len(report.Files) != 1 || strings.Contains(got, "none") || strings.Count(got, `"it is high" is true`) != 1 {
		t.Errorf("%s", got)
	}
}

// erbridge reads every YAML file of its folder as a playbook, also one that is an
// alert; the test says so, and not what such a playbook lacks.
func TestAlertAmongPlaybooks(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{
		"p.yaml": playbook, "p_test.yaml": "alert: alerts/a.yaml\ntests: [{name: a, given: [{do: alert.note}], expect: {verdict: match}}]", "alerts/a.yaml": "severity: high",
	} {
		if err := os.MkdirAll(filepath.Join(dir, "alerts"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := playtest.Run(t.Context(), []playtest.Place{{Dir: dir}}, playtest.Options{Actions: all})
	problems, _ := errors.AsType[registry.Problems](err)
	if len(problems) != 1 || problems[0].Line != 1 || problems[0].Column != 8 || !strings.Contains(problems[0].Message, "alerts/a.yaml stands among the playbooks") {
		t.Errorf("Run: %v", err)
	}
	report := run(t, playtest.Options{}, playtest.Place{Dir: dir, Names: []string{"p.yaml"}})
	if passed, failed := report.Counts(); passed != 1 || failed != 0 {
		t.Errorf("%d passed, %d failed", passed, failed)
	}
}

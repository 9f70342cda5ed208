package playtest_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/playbooks/playtest"
)

var update = flag.Bool("update", false, "rewrite the files under testdata")

func all(now func() time.Time) map[string]playbooks.Action {
	return actions.All(actions.Deps{Now: now})
}

func run(t *testing.T, o playtest.Options, places ...playtest.Place) *playtest.Report {
	t.Helper()
	o.Actions = all
	report, err := playtest.Run(t.Context(), places, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func text(t *testing.T, r *playtest.Report, format string) string {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b, format, true); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// golden compares with a file under testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what came of it:\n%s", path, got)
	}
}

// Whatever a test can say of a playbook, and all of it true.
func TestTestsThatPass(t *testing.T) {
	report := run(t, playtest.Options{}, playtest.Place{Dir: "testdata/tests"})
	if passed, failed := report.Counts(); passed != 26 || failed != 0 || report.Percent() != 100 {
		t.Errorf("%d passed, %d failed, coverage %g\n%s", passed, failed, report.Percent(), text(t, report, "human"))
	}
}

// What a failed test says: file and line, the fields that differ, and the tree of
// conditions.
func TestTestsThatFail(t *testing.T) {
	report := run(t, playtest.Options{}, playtest.Place{Dir: "testdata/failing"})
	got := text(t, report, "human")
	for _, result := range report.Files[0].Results {
		var tree strings.Builder
		for line := range strings.Lines(result.Explanation.Text()) {
			tree.WriteString("  " + line)
		}
		got = strings.Replace(got, tree.String(), "  (what explain says)\n", 1)
	}
	golden(t, "failing.txt", got)
	if err := report.Write(&strings.Builder{}, "xml", false); err == nil {
		t.Error("there is no format xml")
	}
}

func TestTAP(t *testing.T) {
	passing := text(t, run(t, playtest.Options{Only: regexp.MustCompile("build server")}, playtest.Place{Dir: "testdata/tests"}), "tap")
	if passing != "TAP version 14\n1..1\nok 1 - miner: a build server\n" {
		t.Errorf("passing:\n%s", passing)
	}
	failing := text(t, run(t, playtest.Options{}, playtest.Place{Dir: "testdata/failing"}), "tap")
	if !strings.Contains(failing, "1..5\nnot ok 1 - miner: nothing is given for the tag\n  ---\n  message: |\n    testdata/failing/miner_test.yaml:8:5: step mark") {
		t.Errorf("failing:\n%s", failing)
	}
}

func TestJUnit(t *testing.T) {
	report := run(t, playtest.Options{}, playtest.Place{Dir: "testdata/tests"}, playtest.Place{Dir: "testdata/failing"})
	var got struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Suites   []struct {
			Cases []struct {
				Name    string `xml:"name,attr"`
				Line    int    `xml:"line,attr"`
				Failure *struct {
					Message string `xml:"message,attr"`
					Text    string `xml:",chardata"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(text(t, report, "junit")), &got); err != nil {
		t.Fatal(err)
	}
	if got.Tests != 31 || got.Failures != 5 || len(got.Suites) != 5 || got.Suites[0].Cases[0].Failure != nil {
		t.Fatalf("%+v", got)
	}
	last := got.Suites[4].Cases[4]
	if last.Failure == nil || last.Line != 35 || last.Failure.Message != "reason is another" || !strings.Contains(last.Failure.Text, "- it looks like a miner\n") {
		t.Errorf("%+v", last)
	}
}

func TestJSON(t *testing.T) {
	report := run(t, playtest.Options{}, playtest.Place{Dir: "testdata/failing"})
	var got struct {
		Passed, Failed int
		Coverage       float64 `json:"coverage_percent"`
		Files          []struct {
			Playbook, File string
			Missed         []struct{ Line int }
			Tests          []struct {
				Passed   bool
				Line     int
				Failures []struct {
					Line   int
					Fields []playtest.Difference
				}
				Explain struct{ Verdict string }
			}
		}
	}
	if err := json.Unmarshal([]byte(text(t, report, "json")), &got); err != nil {
		t.Fatal(err)
	}
	if got.Failed != 5 || got.Coverage < 60 || len(got.Files) != 1 || len(got.Files[0].Missed) != 5 || len(got.Files[0].Tests) != 5 {
		t.Fatalf("%+v", got)
	}
	third := got.Files[0].Tests[2]
	if third.Passed || third.Explain.Verdict != "no match" || third.Failures[0].Line != 29 ||
		third.Failures[0].Fields[0] != (playtest.Difference{Field: "verdict", Want: "match", Got: "no match"}) {
		t.Errorf("%+v", third)
	}
}

// copied copies the failing tests into a folder of their own.
func copied(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Update changes expectations and nothing else: not the comments, nor the form of
// the rest. What a person has to see to still fails.
func TestUpdate(t *testing.T) {
	dir := copied(t)
	place := playtest.Place{Dir: filepath.Join(dir, "failing")}
	n, err := run(t, playtest.Options{}, place).Update()
	if err != nil || n != 4 {
		t.Fatalf("%d updated, %v", n, err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "failing", "miner_test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "updated.yaml", string(data))
	report := run(t, playtest.Options{}, place)
	if passed, failed := report.Counts(); passed != 3 || failed != 2 {
		t.Errorf("%d passed, %d failed\n%s", passed, failed, text(t, report, "human"))
	}
	if n, err := report.Update(); n != 0 || err != nil {
		t.Errorf("%d updated again, %v", n, err)
	}
}

// A file keeps its line ends, and a link leads to the file that it led to.
func TestUpdateKeepsLineEndsAndLinks(t *testing.T) {
	dir := copied(t)
	tests := filepath.Join(dir, "failing", "miner_test.yaml")
	data, err := os.ReadFile(tests)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(dir, "elsewhere.txt")
	if err := errors.Join(os.WriteFile(elsewhere, []byte(strings.ReplaceAll(string(data), "\n", "\r\n")), 0o600), os.Remove(tests), os.Symlink(elsewhere, tests)); err != nil {
		t.Fatal(err)
	}
	if n, err := run(t, playtest.Options{}, playtest.Place{Dir: filepath.Join(dir, "failing")}).Update(); err != nil || n != 4 {
		t.Fatalf("%d updated, %v", n, err)
	}
	got, err := os.ReadFile(elsewhere)
	if err != nil || strings.Count(string(got), "\n") != strings.Count(string(got), "\r\n") {
		t.Errorf("%v\n%q", err, got)
	}
	golden(t, "updated.yaml", strings.ReplaceAll(string(got), "\r\n", "\n"))
	if info, err := os.Lstat(tests); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}
}

// Where one file cannot be rewritten, no file changes.
func TestUpdateOfAllOrNone(t *testing.T) {
	dir := t.TempDir()
	const block, flow = "alert: {}\ntests:\n  - name: a\n    expect: {verdict: match}\n", "alert: {}\ntests: [{name: a, expect: {verdict: match}}]\n"
	files := map[string]string{"a.yaml": playbook, "a_test.yaml": block, "b.yaml": strings.Replace(playbook, "playbook: p", "playbook: q", 1), "b_test.yaml": flow}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := run(t, playtest.Options{}, playtest.Place{Dir: dir}).Update(); n != 0 || err == nil || !strings.Contains(err.Error(), "b_test.yaml:2:9: test \"a\": the test stands between braces") {
		t.Errorf("%d updated, %v", n, err)
	}
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

func TestUpdateOfWhatCannotBeRewritten(t *testing.T) {
	report := run(t, playtest.Options{}, playtest.Place{FS: os.DirFS("testdata"), Shown: "shipped", Names: []string{"failing/miner.yaml"}})
	if _, err := report.Update(); !errors.Is(err, playtest.ErrReadOnly) || !strings.Contains(err.Error(), "shipped/failing/miner_test.yaml") {
		t.Errorf("Update: %v", err)
	}
}

func TestOnlySome(t *testing.T) {
	report := run(t, playtest.Options{Only: regexp.MustCompile("^miner/.*build server$")}, playtest.Place{Dir: "testdata/tests", Names: []string{"miner.yaml"}})
	if passed, failed := report.Counts(); passed != 1 || failed != 0 {
		t.Errorf("%d passed, %d failed", passed, failed)
	}
	if missed := report.Files[0].Coverage.Missed(); len(missed) == 0 || missed[0].String() != "testdata/tests/miner.yaml:5:7" {
		t.Errorf("missed %v", missed)
	}
}

const playbook = `playbook: p
match: {all: [{it is high: .alert.severity == "high"}]}
steps: [{id: note, do: alert.note, with: {text: hello}}]
`

// Mistakes in a test file are told with their place, all at once, and nothing runs.
func TestMistakes(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"unknown key", "alert: {}\ntests: [{name: a, expct: {}}]", `p_test.yaml:2:19: unknown setting "expct"`},
		{"no expectation", "alert: {}\ntests: [{name: a}]", `p_test.yaml:2:9: setting "expect" is required`},
		{"no tests", "alert: {}\ntests: []", "p_test.yaml:2:8: there is no test here"},
		{"no alert", "tests:\n- name: a\n  expect: {verdict: match}", `p_test.yaml:2:3: test "a" has no alert`},
		{"two of one name", "alert: {}\ntests:\n- {name: a, expect: {verdict: match}}\n- {name: a, expect: {verdict: match}}", `p_test.yaml:4:10: two tests have the name "a"`},
		{"no name", "alert: {}\ntests: [{name: ' ', expect: {verdict: match}}]", "p_test.yaml:2:16: the test has no name"},
		{"action of an answer", "alert: {}\ngiven: [{do: alert.nte}]\ntests: [{name: a, expect: {verdict: match}}]", `p_test.yaml:2:14: unknown action "alert.nte" [unknown-name]; did you mean "alert.note"?`},
		{"answer of what stays inside", "alert: {}\ntests: [{name: a, given: [{do: notify.send}], expect: {verdict: match}}]", "p_test.yaml:2:32: notify.send is carried out in tests, and takes no answer"},
		{"action", "alert: {}\ntests: [{name: a, expect: {verdict: match, actions: [{do: alert.nte}]}}]", `p_test.yaml:2:59: unknown action "alert.nte"`},
		{"state of a step", "alert: {}\ntests: [{name: a, expect: {verdict: match, steps: {note: exected}}}]", `p_test.yaml:2:58: unknown state "exected" [unknown-name]; did you mean "executed"?`},
		{"verdict", "alert: {}\ntests: [{name: a, expect: {verdict: mtch}}]", `p_test.yaml:2:37: unknown value "mtch"`},
		{"outcome without a run", "alert: {}\ntests: [{name: a, expect: {verdict: no match, outcome: done}}]", "p_test.yaml:2:56: there is no run"},
		{"reason", "alert: {}\ntests: [{name: a, expect: {verdict: no match, reason: it is hihg}}]", `p_test.yaml:2:55: unknown condition "it is hihg"`},
		{"step of an answer", "alert: {}\ntests: [{name: a, given: [{step: nte}], expect: {verdict: match}}]", `p_test.yaml:2:34: unknown step "nte"`},
		{"step that ends", "alert: {}\ntests: [{name: a, expect: {verdict: match, steps: {nte: executed}}}]", `p_test.yaml:2:57: unknown step "nte"`},
		{"answer to nobody", "alert: {}\ngiven: [{state: failed}]\ntests: [{name: a, expect: {verdict: match}}]", "p_test.yaml:2:9: name the step or the action"},
		{"state", "alert: {}\ngiven: [{do: host.get, state: fine}]\ntests: [{name: a, expect: {verdict: match}}]", `p_test.yaml:2:31: unknown value "fine"`},
		{"alert that is not there", "alert: absent.json\ntests: [{name: a, expect: {verdict: match}}]", "p_test.yaml:1:8: alert: open absent.json"},
		{"alert that is none", "alert: {event: {pid: 77}}\ntests: [{name: a, expect: {verdict: match}}]", "p_test.yaml:1:8: not an alert: event.pid is no text"},
		{"field of no alert", "alert: {severty: high}\ntests: [{name: a, expect: {verdict: match}}]", `p_test.yaml:1:8: not an alert: json: unknown field "severty"`},
		{"patch", "alert: {}\ntests: [{name: a, patch: {severty: high}, expect: {verdict: match}}]", "p_test.yaml:2:26: with the patch, it is no alert"},
		{"severity", "alert: {severity: hihg}\ntests: [{name: a, expect: {verdict: match}}]", `p_test.yaml:1:8: not an alert: severity "hihg": did you mean "high"?`},
		{"severity of the server", "alert: {severity: High}\ntests: [{name: a, expect: {verdict: match}}]", `p_test.yaml:1:8: not an alert: severity "High"`},
		{"no id", "alert: {}\ntests: [{name: a, patch: {id: ''}, expect: {verdict: match}}]", "p_test.yaml:2:26: with the patch, it is no alert: id is empty"},
		{"no server", "alert: {server: ''}\ntests: [{name: a, expect: {verdict: match}}]", "p_test.yaml:1:8: not an alert: server is empty"},
		{"earlier alert", "alert: {}\ntests: [{name: a, before: [{}], expect: {verdict: match}}]", "p_test.yaml:2:28: what happened before must say how long ago"},
		{"later alert", "alert: {}\ntests: [{name: a, after: [{patch: {}}], expect: {verdict: match}}]", "p_test.yaml:2:27: what happens later must say how long after"},
		{"patch of an earlier alert", "alert: {}\ntests: [{name: a, before: [{ago: 1m, patch: {x: 1}}], expect: {verdict: match}}]", "p_test.yaml:2:28: with the patch, it is no alert"},
		{"playbook", "playbook: q.yaml\nalert: {}\ntests: [{name: a, expect: {verdict: match}}]", "p_test.yaml:1:11: the playbook of the test: open q.yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fsys := fstest.MapFS{"p.yaml": {Data: []byte(playbook)}, "p_test.yaml": {Data: []byte(tt.in)}}
			_, err := playtest.Run(t.Context(), []playtest.Place{{FS: fsys}}, playtest.Options{Actions: all})
			problems, ok := errors.AsType[registry.Problems](err)
			if !ok || !strings.Contains("\n"+problems.Error(), "\n"+tt.want) {
				t.Errorf("Run: %v\nwant %s", err, tt.want)
			}
		})
	}
}

// A playbook without tests counts for the coverage.
func TestPlaybookWithoutTests(t *testing.T) {
	fsys := fstest.MapFS{"p.yaml": {Data: []byte(playbook)}}
	report := run(t, playtest.Options{}, playtest.Place{FS: fsys})
	if got := text(t, report, "human"); report.Percent() != 0 || !strings.Contains(got, "none p: there is no p_test.yaml\n") ||
		!strings.Contains(got, "p.yaml:3:9: never: step note runs\n") {
		t.Errorf("coverage %g\n%s", report.Percent(), got)
	}
}

// Nothing but the answers of the test is asked: the actions' own Do would say that
// there is no server.
func TestNothingLeavesTheProcess(t *testing.T) {
	fsys := fstest.MapFS{"p.yaml": {Data: []byte(playbook)}, "p_test.yaml": {Data: []byte("alert: {severity: high}\ntests: [{name: a, expect: {verdict: match}}]")}}
	report := run(t, playtest.Options{}, playtest.Place{FS: fsys})
	failures := report.Files[0].Results[0].Failures
	if len(failures) != 1 || failures[0].Message != `step note calls alert.note with {"text":"hello"}, and the test gives no answer` {
		t.Errorf("failures %+v", failures)
	}
}

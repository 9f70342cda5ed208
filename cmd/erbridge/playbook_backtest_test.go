package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/internal/testenv"
	"github.com/erbridge/erbridge/playbooks"
)

// storeAlerts fills the store of goodConfig in dir, and leaves it running until the
// test ends.
func storeAlerts(t *testing.T, dir string, alerts ...soar.Alert) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(dir, "data"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Commit(ctx, soar.Change{Alerts: alerts}); err != nil {
		t.Fatal(err)
	}
	return s
}

func numbered(n int, severity soar.Severity) soar.Alert {
	at := time.Now().UTC().Add(-time.Hour)
	return soar.Alert{
		Server: "er", ID: fmt.Sprint(n), Source: "rule", Severity: severity, Status: soar.StatusOpen, CreatedAt: at, EventTime: at,
		Host: soar.Host{Identifier: fmt.Sprint("host-", n%3), Name: fmt.Sprint("PC-", n%3)}, Event: map[string]string{"cmdline": "x"},
	}
}

// A backtest beside a running daemon compares with a commit, a file and what the
// daemon decided, and says the same thing every time.
func TestBacktestCommand(t *testing.T) {
	testenv.Need(t, "git")
	dir := t.TempDir()
	cfg := write(t, dir, "erbridge.yaml", goodConfig)
	path := write(t, dir, "playbooks/note.yaml", goodPlaybook)
	for _, line := range [][]string{
		{"init", "-q"}, {"add", "."}, {"-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "first"},
	} {
		if _, err := git(t.Context(), dir, line...); err != nil {
			t.Fatal(err)
		}
	}
	before := write(t, dir, "before.yaml", strings.Replace(goodPlaybook, `"high"`, `"low"`, 1))
	other := write(t, dir, "other.yaml", strings.Replace(goodPlaybook, "playbook: note", "playbook: other", 1))
	var alerts []soar.Alert
	for n := range 1300 { // more than two pages
		alerts = append(alerts, numbered(n, []soar.Severity{soar.SeverityLow, soar.SeverityHigh, soar.SeverityCritical}[n%3]))
	}
	s := storeAlerts(t, dir, alerts...)
	decided := soar.Change{Evaluated: []soar.Evaluation{{AlertKey: 1, Verdicts: map[string]string{"note": "match"}}}}
	if _, err := s.Commit(t.Context(), decided); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "playbooks/note.yaml", strings.Replace(goodPlaybook, `.alert.severity == "high"`, `.alert.severity | at_least("high")`, 1))
	write(t, dir, "playbooks/more.yaml", strings.Replace(goodPlaybook, "playbook: note", "playbook: more", 1))

	run := func(line ...string) (*playbooks.BacktestReport, string) {
		t.Helper()
		line = append([]string{"playbook", "backtest", "-c", cfg}, line...)
		text, stderr, code := erbridge(t, "", append(line, "-o", "json")...)
		if again, _, _ := erbridge(t, "", append(line, "-o", "json")...); code != exitOK || again != text {
			t.Fatalf("%v: code %d, %s", line, code, stderr)
		}
		var r playbooks.BacktestReport
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		human, _, _ := erbridge(t, "", line...)
		return &r, human
	}
	r, human := run("--baseline", "git:HEAD", "--listed", "2")
	if len(r.Results) != 2 || r.Alerts != 1300 {
		t.Fatalf("%+v", r)
	}
	more, note := r.Results[0], r.Results[1]
	if more.Change != "added" || more.NewlyMatching.Count != 433 || note.Change != "changed" || note.Matched != 866 || note.NotMatched != 434 || note.Hosts != 2 {
		t.Errorf("more %+v, note %+v", more, note)
	}
	if list := note.NewlyMatching; list.Count != 433 || !slices.Equal(list.Alerts, []string{"er-2", "er-5"}) {
		t.Errorf("newly matching %+v", list)
	}
	if a := note.Actions; len(a) != 1 || a[0].Action != "alert.note" || a[0].Calls != 866 || *a[0].Before != 433 {
		t.Errorf("actions %+v", a)
	}
	for _, want := range []string{"1300 alerts, ", "nothing was looked up", "newly matching, 433 alerts: er-2 er-5 and 431 more", "alert.note: 866 (the baseline: 433)"} {
		if !strings.Contains(human, want) {
			t.Errorf("%q is not in\n%s", want, human)
		}
	}
	if r, _ := run("note", "--baseline", before); len(r.Results) != 1 || r.Results[0].NewlyMatching.Count != 866 || r.Results[0].NoLongerMatching.Count != 434 {
		t.Errorf("against a file: %+v", r.Results)
	}
	if r, _ := run(path, "--baseline", "live"); r.Results[0].NewlyMatching != nil || r.Results[0].NoLongerMatching.Count != 1 || r.Results[0].NoLongerMatching.Alerts[0] != "er-0" {
		t.Errorf("against the daemon: %+v", r.Results[0])
	}
	if r, _ := run("triage-note", "--since", "10m", "--baseline", "git:HEAD"); r.Alerts != 0 || len(r.Results) != 1 || r.Results[0].Change != "same" {
		t.Errorf("nothing: %+v", r)
	}

	folder, human := run(filepath.Join(dir, "playbooks"), "--baseline", "git:HEAD")
	if len(folder.Results) != 2 || folder.Results[0].Change != "added" || folder.Results[1].Change != "changed" || !strings.Contains(human, "SINCE THE BASELINE") {
		t.Errorf("a folder: %+v\n%s", folder.Results, human)
	}
	// A playbook of the library that was changed under its name, in a folder that has
	// the name of the library's.
	t.Chdir(dir)
	write(t, dir, "library/triage-note.yaml", strings.Replace(goodPlaybook, "playbook: note", "playbook: triage-note", 1))
	moved := write(t, dir, "moved.yaml", strings.Replace(goodConfig, "dir: playbooks", "dir: library", 1))
	for _, line := range [][]string{{"triage-note", "-c", moved}, {"library/triage-note.yaml"}} {
		if own, _ := run(append(line, "--baseline", "git:HEAD")...); !strings.HasSuffix(own.Results[0].File, "library/triage-note.yaml") || own.Results[0].Matched != 433 || own.Results[0].Change != "added" {
			t.Errorf("%v: %+v", line, own.Results[0])
		}
	}
	write(t, dir, "none/.hidden.yaml", goodPlaybook)
	if none, human := run(filepath.Join(dir, "none")); len(none.Results) != 0 || !strings.Contains(human, "there are no playbooks\n") {
		t.Errorf("an empty folder: %+v\n%s", none.Results, human)
	}
	hand := write(t, dir, "hand.yaml", "playbook: hand\non: manual\nsteps: [{do: alert.note, with: {text: a}}]")
	if _, human := run(hand); !strings.Contains(human, "it takes no alerts") {
		t.Errorf("started by hand:\n%s", human)
	}

	for _, tt := range []struct {
		line   []string
		code   int
		stderr string
	}{
		{[]string{"--baseline", "git:nothing"}, exitUsage, "git knows no such commit"},
		{[]string{"--baseline", "git:--output=x"}, exitUsage, "expected a commit"},
		{[]string{"--baseline", filepath.Join(dir, "absent")}, exitNotFound, "expected git:REF, live, or a file or folder"},
		{[]string{"note", "--baseline", other}, exitUsage, `there is no playbook "note" in it`},
		{[]string{"--since", "ages"}, exitUsage, "--since"},
		{[]string{"--output", "yaml"}, exitUsage, "human or json"},
		{[]string{"--listed", "0"}, exitUsage, "--listed"},
		{[]string{"absent"}, exitNotFound, `playbook "absent": not found`},
		{[]string{"not"}, exitNotFound, `did you mean "note"?`},
		{[]string{"triage-not"}, exitNotFound, `did you mean "triage-note"?`},
	} {
		if _, stderr, code := erbridge(t, "", append([]string{"playbook", "backtest", "-c", cfg}, tt.line...)...); code != tt.code || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%v: code %d, want %d: %s", tt.line, code, tt.code, stderr)
		}
	}
}

// explain takes an alert of the store or a file, at the time at which it came in, and
// holds its verdict against what is expected.
func TestExplainCommand(t *testing.T) {
	dir := t.TempDir()
	cfg := write(t, dir, "erbridge.yaml", goodConfig)
	path := write(t, dir, "playbooks/note.yaml", strings.Replace(goodPlaybook, "steps:", "    - it is fresh: .alert.created_at | age < 60\nsteps:", 1))
	storeAlerts(t, dir, numbered(7, soar.SeverityLow))
	file := write(t, dir, "alert.json", `{"alert": {"server": "er", "id": "8", "severity": "high", "created_at": "2020-01-01T00:00:00Z"}, "received_at": "2020-01-01T00:00:30Z"}`)
	for _, tt := range []struct {
		name           string
		line           []string
		code           int
		stdout, stderr string
	}{
		{"of the store", []string{"--alert", "er-7"}, exitOK, "- severity is high\n        .alert.severity is \"low\"\n", ""},
		{"what stands against it", []string{"--alert", "er-7"}, exitOK, "against a match: severity is high; it is fresh", ""},
		{"a file, then", []string{"--alert", file, "--expect", "match"}, exitOK, "step step1: alert.note is not sent: observe: all playbooks are held at observe", ""},
		{"not as expected", []string{"--alert", file, "--expect", "no-match"}, exitFailed, "note on er-8: match", "playbook note on er-8 says match, and --expect no-match"},
		{"as expected", []string{"er-7", "--expect", "no-match"}, exitOK, "", ""},
		{"no verdict", []string{"er-7", "--expect", "perhaps"}, exitUsage, "", "match, no-match, error or unknown"},
		{"two alerts", []string{"er-7", "--alert", file}, exitUsage, "", "name one alert"},
		{"no alert", []string{"--alert", "er-9"}, exitNotFound, "", "er-9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := erbridge(t, "", append([]string{"playbook", "explain", path, "-c", cfg}, tt.line...)...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("code %d, want %d\n%s%s", code, tt.code, stdout, stderr)
			}
		})
	}
}

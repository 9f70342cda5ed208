package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

// storeRuns writes runs, and the alert that they are about, into the store.
func storeRuns(t *testing.T, dir string, alert soar.Alert, runs ...soar.Run) {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(dir, "data"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := s.Commit(t.Context(), soar.Change{Alerts: []soar.Alert{alert}}); err != nil {
		t.Fatal(err)
	}
	stored, err := s.AlertByRef(t.Context(), alert.Ref())
	if err != nil {
		t.Fatal(err)
	}
	for i := range runs {
		runs[i].AlertKey, runs[i].Alert = stored.Key, alert.Ref()
	}
	if _, err := s.Commit(t.Context(), soar.Change{Runs: runs}); err != nil {
		t.Fatal(err)
	}
}

// Playbooks to which no alert comes are explained for what else starts their runs.
func TestExplainWithoutAlert(t *testing.T) {
	dir := t.TempDir()
	cfg := write(t, dir, "erbridge.yaml", goodConfig)
	at := time.Date(2026, 5, 6, 10, 0, 0, 0, time.UTC)
	failed := soar.Run{ID: soar.NewRunID(at), Playbook: "kill-miner", Mode: soar.ModeEnforce, State: soar.RunFailed, Epoch: 1, StartedAt: at, EndedAt: at, Error: "step stop: no"}
	done := failed
	done.ID, done.State = soar.NewRunID(at.Add(time.Second)), soar.RunDone
	storeRuns(t, dir, numbered(7, soar.SeverityLow), failed, done)
	file := write(t, dir, "alert.json", `{"server": "er", "id": "8", "severity": "high", "created_at": "2020-01-01T00:00:00Z"}`)
	book := write(t, dir, "playbooks/sweep.yaml", `playbook: sweep
on: [{schedule: {every: 24h}}, manual, run.failed]
match: {none: [{it is asked not to: .input.no == true}, {a miner was not killed: '.run.playbook == "kill-miner"'}]}
steps: [{do: alert.note, with: {text: "${{ .input // .run.error // .schedule.at }}"}}]
`)
	alone := write(t, dir, "playbooks/alone.yaml", "playbook: alone\non: {schedule: {every: 24h}}\nsteps: [{do: alert.note, with: {text: x}}]\n")
	counting := write(t, t.TempDir(), "counting.yaml", "playbook: counting\ncount: {by: .alert.severity, window: 1h}\nmatch: {all: [{there are two: .count >= 2}]}\nsteps: [{do: alert.note, with: {text: x}}]\n")
	midnight := "T00:00:00Z"
	for _, tt := range []struct {
		name           string
		line           []string
		code           int
		stdout, stderr string
	}{
		{"by the clock", []string{book}, exitOK, midnight + ": match\n  and then at ", ""},
		{"the time is known", []string{book}, exitOK, "    text: 2", ""},
		{"as JSON", []string{book, "-o", "json", "--jq", `"\(.on) \(.next | length) \(.alert)"`}, exitOK, `"schedule 3 null"`, ""},
		{"by hand", []string{book, "--on", "manual", "--input", `{"text": "hello"}`}, exitOK, "sweep by hand: match\n", ""},
		{"by hand, and unwanted", []string{book, "--on", "manual", "--input", `{"no": true}`, "--expect", "match"}, exitFailed, "by hand: no match", "playbook sweep by hand says no match, and --expect match"},
		{"by hand, on an alert", []string{book, file}, exitOK, "sweep on er-8: match", ""},
		{"a failed run that is not named", []string{book, "--on", "run.failed", "--expect", "unknown"}, exitOK, "? a miner was not killed: unknown: no failed run is named", ""},
		{"a failed run", []string{book, "--run", failed.ID.String()}, exitOK, "sweep on the failed run " + failed.ID.String() + " of er-7: no match\n", ""},
		{"a run that has not failed", []string{book, "--run", done.ID.String()}, exitUsage, "", "is done, and has not failed"},
		{"a run that is not there", []string{book, "--run", soar.NewRunID(at.Add(time.Hour)).String()}, exitNotFound, "", ""},
		{"no run", []string{book, "--run", "x"}, exitUsage, "", "is no run"},
		{"run and alert", []string{book, file, "--run", failed.ID.String()}, exitUsage, "", "leave --alert out"},
		{"run and clock", []string{book, "--on", "schedule", "--run", failed.ID.String()}, exitUsage, "", "goes with on: run.failed"},
		{"words for the clock", []string{book, "--input", "1"}, exitUsage, "", "goes with --on manual"},
		{"words that are no JSON", []string{book, "--on", "manual", "--input", "{"}, exitUsage, "", "not JSON"},
		{"a trigger that it does not take", []string{book, "--on", "alert"}, exitUsage, "", "does not take alert"},
		{"no trigger", []string{book, "--on", "moon"}, exitUsage, "", "expected alert,"},
		{"an alert for the clock", []string{book, file, "--on", "schedule"}, exitUsage, "", "a schedule brings no alert"},
		{"an alert for nobody", []string{alone, file}, exitUsage, "", "playbook alone takes no alert: its on has schedule"},
		{"nothing to count", []string{counting, file, "--expect", "unknown"}, exitOK, "", ""},
		{"something to count", []string{counting, file, "-c", cfg}, exitOK, "- there are two\n        .count is 1\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			line := append([]string{"playbook", "explain"}, tt.line...)
			if tt.name != "nothing to count" {
				line = append(line, "-c", cfg)
			}
			stdout, stderr, code := erbridge(t, "", line...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("code %d, want %d\n%s%s", code, tt.code, stdout, stderr)
			}
		})
	}
}

// An alert is read in every form in which a user has it, and with what tests leave out.
func TestExplainFormsOfAlerts(t *testing.T) {
	dir := t.TempDir()
	cfg := write(t, dir, "erbridge.yaml", goodConfig)
	storeRuns(t, dir, numbered(7, soar.SeverityHigh))
	book := write(t, dir, "playbooks/p.yaml", "playbook: p\nmatch: {all: [{it is high: '.alert.severity == \"high\"'}]}\nsteps: [{do: alert.note, with: {text: x}}]\n")
	shown, stderr, code := erbridge(t, "", "alerts", "show", "er-7", "--output", "json", "-c", cfg)
	if code != exitOK {
		t.Fatalf("code %d: %s", code, stderr)
	}
	if _, stderr, code := erbridge(t, "", "alerts", "capture", "er-7", "--dir", dir, "-c", cfg); code != exitOK {
		t.Fatalf("code %d: %s", code, stderr)
	}
	const yaml = "severity: high # as in a test\nhost: {name: WIN-1}\n"
	for _, tt := range []struct {
		name, alert, in string
		code            int
		stdout, stderr  string
	}{
		{"of the store", "er-7", "", exitOK, "p on er-7: match", ""},
		{"as alerts show prints it", write(t, dir, "shown.json", shown), "", exitOK, "p on er-7: match", ""},
		{"as alerts capture writes it", filepath.Join(dir, "er-7.json"), "", exitOK, "p on er-7: match", ""},
		{"in YAML", write(t, dir, "a.yaml", yaml), "", exitOK, "p on er-1: match", ""},
		{"of standard input", "-", yaml, exitOK, "p on er-1: match", ""},
		{"with a slip", write(t, dir, "slip.json", `{"severty": "high"}`), "", exitUsage, "", `not an alert: json: unknown field "severty"`},
		{"a list", write(t, dir, "list.json", "[]"), "", exitUsage, "", "not an alert: expected a mapping"},
		{"not there", "er-8", "", exitNotFound, "", "er-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := erbridge(t, tt.in, "playbook", "explain", book, "--alert", tt.alert, "-c", cfg)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("code %d, want %d\n%s%s", code, tt.code, stdout, stderr)
			}
		})
	}
	t.Chdir(t.TempDir())
	if _, stderr, code := erbridge(t, "", "playbook", "explain", book, "--alert", "er-7"); code != exitConfig || !strings.Contains(stderr, `alert "er-7" is no file, and cannot be looked up: `) {
		t.Errorf("without a configuration: code %d, %s", code, stderr)
	}
}

// The configuration holds playbooks back. One that cannot be read is not passed over:
// the guard would say what is not so.
func TestExplainSaysTheModeOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	book := write(t, dir, "playbooks/p.yaml", goodPlaybook)
	file := write(t, dir, "a.yaml", "severity: high\n")
	observing := write(t, dir, "observing.yaml", strings.Replace(goodConfig, "{dir: playbooks}", "{dir: playbooks, mode: observe}", 1))
	broken := write(t, dir, "broken.yaml", strings.Replace(goodConfig, "{dir: playbooks}", "{dir: playbooks, mode: obsrve}", 1))
	t.Chdir(t.TempDir())
	for _, tt := range []struct {
		name           string
		line           []string
		code           int
		stdout, stderr string
	}{
		{"none", nil, exitOK, "guard: mode: enforce", ""},
		{"one that observes", []string{"-c", observing}, exitOK, "guard: mode: observe", ""},
		{"one with a mistake", []string{"-c", broken}, exitConfig, "", "obsrve"},
		{"one that is not there", []string{"-c", filepath.Join(dir, "absent.yaml")}, exitConfig, "", "absent.yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := erbridge(t, "", append([]string{"playbook", "explain", book, file}, tt.line...)...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("code %d, want %d\n%s%s", code, tt.code, stdout, stderr)
			}
		})
	}
}

// A playbook is proposed for what else starts runs, too: it lints and its tests pass.
func TestNewPlaybookOn(t *testing.T) {
	dir := t.TempDir()
	for _, on := range []string{"schedule", "manual", "run.failed"} {
		name := "on-" + strings.ReplaceAll(on, ".", "-")
		if _, stderr, code := erbridge(t, "", "playbook", "new", name, "--on", on, "--dir", dir); code != exitOK {
			t.Fatalf("new: code %d, %s", code, stderr)
		}
		file := filepath.Join(dir, name+".yaml")
		if stdout, stderr, code := erbridge(t, "", "playbook", "lint", file); code != exitOK {
			t.Errorf("lint: code %d\n%s%s", code, stdout, stderr)
		}
		if stdout, stderr, code := erbridge(t, "", "playbook", "test", file, "--min", "100"); code != exitOK {
			t.Errorf("test: code %d\n%s%s", code, stdout, stderr)
		}
	}
	for _, line := range [][]string{{"x", "--on", "alert"}, {"--on", "manual"}, {"x", "--on", "manual", "--alert", "a.json"}, {"X", "--on", "manual"}} {
		if _, stderr, code := erbridge(t, "", append([]string{"playbook", "new", "--dir", dir}, line...)...); code != exitUsage {
			t.Errorf("%v: code %d, %s", line, code, stderr)
		}
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks/guard"
	"github.com/erbridge/erbridge/sinks"
)

// erbridge runs one command line as main does, and returns what it printed and
// its exit code.
func erbridge(t *testing.T, stdin string, line ...string) (stdout, stderr string, code int) {
	t.Helper()
	root := newRoot()
	var out, errs bytes.Buffer
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(line)
	err := root.ExecuteContext(t.Context())
	if err != nil {
		report(&errs, err)
	}
	return out.String(), errs.String(), exitCode(err)
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const goodConfig = `
server: {url: "https://127.0.0.1:1", username: admin, password: {file: pw}, retries: 0, timeout: 1s}
playbooks: {dir: playbooks}
sinks: {screen: {type: stdout}}
console: {listen: ""}
store: {path: data}
`

const goodPlaybook = `
playbook: note
match:
  all:
    - severity is high: .alert.severity == "high"
steps:
  - do: alert.note
    with: {text: "${{ .alert.host.name }}"}
`

func TestCommandLines(t *testing.T) {
	dir := t.TempDir()
	good := write(t, dir, "good.yaml", goodConfig) // its password is not there
	whole := write(t, dir, "whole/good.yaml", goodConfig)
	write(t, dir, "whole/pw", "secret")
	write(t, dir, "whole/playbooks/note.yaml", goodPlaybook)
	bad := write(t, dir, "bad.yaml", "server: {url: nope, usrname: x}\nlog: {level: loud}\n")
	noPassword := write(t, dir, "nopassword.yaml", strings.Replace(goodConfig, "{file: pw}", "{env: ERBRIDGE_TEST_ABSENT}", 1))
	playbook := write(t, dir, "playbooks/note.yaml", goodPlaybook)
	wrong := write(t, dir, "wrong/wrong.yaml", "playbook: wrong\nsteps:\n  - do: host.contian\n  - do: alert.note\n    with: {txt: a}\n")
	alert := write(t, dir, "alert.json", `{"alert": {"server": "er", "id": "7", "severity": "high", "status": "open", "host": {"name": "WIN-1"}, "event": {}}}`)

	for _, tt := range []struct {
		name   string
		line   []string
		code   int
		stdout string // part of it
		stderr string
	}{
		{"version", []string{"version"}, exitOK, "erbridge ", ""},
		{"help", []string{"--help"}, exitOK, "erbridge demo", ""},
		{"group without command", []string{"alerts"}, exitOK, "list alerts, newest first", ""},
		{"unknown command", []string{"alrets"}, exitUsage, "", `did you mean "alerts"?`},
		{"unknown command of a group", []string{"runs", "lst"}, exitUsage, "", `did you mean "list"?`},
		{"unknown flag", []string{"check", "--onlien"}, exitUsage, "", "unknown flag: --onlien"},
		{"too many arguments", []string{"check", "x"}, exitUsage, "", "usage: erbridge check"},
		{"check", []string{"check", "-c", good}, exitOK, "good: 1 playbook, 1 sink, mode observe", ""},
		{"check of mistakes", []string{"check", "-c", bad}, exitConfig, "", "bad.yaml:2:14: unknown value \"loud\""},
		{"mistakes are counted", []string{"check", "-c", bad}, exitConfig, "", "5 mistakes; nothing was started or changed"},
		{"check of nothing", []string{"check", "-c", filepath.Join(dir, "absent.yaml")}, exitConfig, "", "begin with a copy of config.example.yaml"},
		{"run with mistakes", []string{"run", "-c", bad}, exitConfig, "", "unknown setting \"usrname\""},
		{"missing secret", []string{"check", "--online", "-c", good}, exitConfig, "good: 1 playbook", "server.password cannot be read"},
		{"missing secret in the environment", []string{"run", "-c", noPassword}, exitConfig, "", "server.password cannot be read: environment variable ERBRIDGE_TEST_ABSENT is not set"},
		{"check without secrets", []string{"check", "-c", noPassword}, exitOK, "good: 1 playbook", ""},
		{"lint of the configuration", []string{"playbook", "lint", "-c", good}, exitOK, "1 playbook: good", ""},
		{"lint of a file", []string{"playbook", "lint", playbook}, exitOK, "1 playbook: good", ""},
		{"lint of mistakes", []string{"playbook", "lint", filepath.Dir(wrong)}, exitConfig, `did you mean "host.contain"?`, "3 mistakes in 1 playbook"},
		{"lint of mistakes, for machines", []string{"playbook", "lint", "-o", "json", filepath.Dir(wrong)}, exitConfig, `"code": "PB402"`, ""},
		{"lint in a format that is not there", []string{"playbook", "lint", "-o", "xml", playbook}, exitUsage, "", "expected human, json"},
		{"page of a code", []string{"docs", "pb502"}, exitOK, "PB502: containment without a release", ""},
		{"page of a word", []string{"docs", "unknown-key"}, exitOK, "PB201: unknown key", ""},
		{"list of codes", []string{"docs"}, exitOK, "PB101  not valid YAML", ""},
		{"page of no code", []string{"docs", "PB50"}, exitNotFound, "", "did you mean PB501?"},
		{"lint of nothing", []string{"playbook", "lint", filepath.Join(dir, "absent")}, exitNotFound, "", "no such file"},
		{"list of playbooks", []string{"playbook", "list", "-c", good}, exitOK, "note      observe", ""},
		{"explain", []string{"playbook", "explain", playbook, "--alert-file", alert}, exitOK, "severity is high", ""},
		{"explain as JSON", []string{"playbook", "explain", playbook, "--alert-file", alert, "-o", "json", "--jq", ".verdict"}, exitOK, `"match"`, ""},
		{"explain of the library", []string{"playbook", "explain", "triage-note", "--alert-file", alert}, exitOK, "triage-note", ""},
		{"explain without alert", []string{"playbook", "explain", playbook}, exitUsage, "", "name an alert"},
		{"no store", []string{"alerts", "list", "-c", good}, exitNotFound, "", "start it: erbridge run"},
		{"unknown format", []string{"alerts", "list", "-c", good, "-o", "xml"}, exitUsage, "", "expected table, json or jsonl"},
		{"jq that does not compile", []string{"alerts", "list", "-c", good, "--jq", ".["}, exitUsage, "", "--jq"},
		{"unknown severity", []string{"alerts", "list", "-c", good, "--severity", "hihg"}, exitUsage, "", "expected info, low"},
		{"unknown status", []string{"alerts", "list", "-c", good, "--status", "bogus"}, exitUsage, "", "expected open or resolved"},
		{"no alerts at all", []string{"alerts", "list", "-c", good, "--limit", "0"}, exitUsage, "", "expected a number from 1 to"},
		{"less than no runs", []string{"runs", "list", "-c", good, "--limit=-1"}, exitUsage, "", "expected a number from 1 to"},
		{"no dead letters at all", []string{"deadletters", "list", "-c", good, "--limit", "0"}, exitUsage, "", "expected a number from 1 to"},
		{"too many to list", []string{"deadletters", "list", "-c", good, "--limit", "10001"}, exitUsage, "", "expected a number from 1 to"},
		{"no run id", []string{"runs", "show", "x", "-c", good}, exitUsage, "", "expected 13 characters"},
		{"settle without a word", []string{"runs", "settle", "0cn3fpqka0002", "-c", good, "--step", "a", "--reason", "b"}, exitUsage, "", "--happened or --did-not-happen"},
		{"settle both ways", []string{"runs", "settle", "0cn3fpqka0002", "-c", good, "--step", "a", "--reason", "b", "--happened", "--did-not-happen"}, exitUsage, "", "--happened or --did-not-happen"},
		{"cancel without a reason", []string{"runs", "cancel", "0cn3fpqka0002", "-c", good}, exitUsage, "", "--reason is needed"},
		{"no dead letter number", []string{"deadletters", "drop", "x", "-c", good}, exitUsage, "", "is not the number of a dead letter"},
		{"reload without daemon", []string{"reload", "-c", good}, exitFailed, "", "Start it with: erbridge run"},
		{"health without console", []string{"health", "-c", good}, exitFailed, "", "console.listen is empty"},
		{"health of nobody", []string{"health", "--address", "127.0.0.1:1"}, exitFailed, "", "nobody answers"},
		{"api method", []string{"api", "FETCH", "/hosts", "-c", good}, exitUsage, "", "expected GET, POST"},
		{"api body", []string{"api", "POST", "/alerts", "--data", "{", "-c", good}, exitUsage, "", "--data: not JSON"},
		{"api with an effect, nobody answers", []string{"api", "PUT", "/alerts", "--data", "{}", "-c", whole}, exitFailed, "", "not confirmed, nothing was sent"},
		{"simulate an unknown scenario", []string{"simulate", "--scenario", "x"}, exitUsage, "", "ransomware"},
		{"list scenarios", []string{"simulate", "--scenario", "list"}, exitOK, "ransomware", ""},
		{"demo without end", []string{"demo", "--headless"}, exitUsage, "", "--headless needs --for"},
		{"demo summary", []string{"demo", "--summary", "xml"}, exitUsage, "", "expected text or json"},
		{"completion for no shell", []string{"completion", "nosuch"}, exitUsage, "", "there are bash, fish, powershell, zsh"},
		{"unknown command with flags", []string{"sinks", "drop", "-c", good}, exitUsage, "", `unknown command "drop" of erbridge sinks; there are files, list, pause, replay, resume, skip, test`},
		{"a command by another name", []string{"sinks", "stop", "-c", good}, exitUsage, "", `did you mean "pause"?`},
		{"unknown flag of a group", []string{"sinks", "--nosuch"}, exitUsage, "", "unknown flag: --nosuch"},
		{"version as JSON", []string{"version", "--output", "json", "--jq", ".os"}, exitOK, runtime.GOOS, ""},
		{"completion", []string{"completion", "bash"}, exitOK, "bash completion", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := erbridge(t, "", tt.line...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("erbridge %s: exit code %d, want %d\nstdout %s\nstderr %s", strings.Join(tt.line, " "), code, tt.code, stdout, stderr)
			}
		})
	}
}

// A configuration that is not there is a mistake in the set-up, whichever command
// looks for it.
func TestAbsentConfiguration(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "nosuch.yaml")
	for _, line := range [][]string{
		{"run"}, {"check"}, {"check", "--online"}, {"reload"}, {"health"}, {"playbook", "lint"}, {"playbook", "list"}, {"playbook", "explain", "triage-note", "er-1"},
		{"alerts", "list"}, {"alerts", "show", "er-1"}, {"runs", "list"}, {"runs", "show", "0cn3fpqka0002"},
		{"runs", "settle", "0cn3fpqka0002", "--step", "a", "--reason", "b", "--happened"},
		{"runs", "cancel", "0cn3fpqka0002", "--reason", "b"}, {"queue", "list"},
		{"jobs", "start", "host.get", "--all", "--reason", "b"}, {"jobs", "list"}, {"jobs", "show", "0cn3fpqka0002"}, {"jobs", "cancel", "0cn3fpqka0002", "--reason", "b"},
		{"approvals", "list"}, {"approvals", "show", "a"}, {"approvals", "approve", "a", "--reason", "b"}, {"approvals", "deny", "a", "--reason", "b"},
		{"budget", "show"}, {"budget", "rearm", "destructive", "--reason", "b"},
		{"sinks", "list"}, {"sinks", "test", "a"}, {"sinks", "resume", "a"}, {"sinks", "pause", "a"},
		{"sinks", "replay", "a", "--since", "1h"}, {"sinks", "replay", "a", "--since", "1h", "--dry-run"}, {"sinks", "replay", "a", "--cancel"},
		{"route", "test", "--alert", "er-1"}, {"deadletters", "edit", "1", "--set", "."}, {"deadletters", "drop", "--sink", "a"},
		{"deadletters", "list"}, {"deadletters", "show", "1"}, {"deadletters", "replay", "1"}, {"deadletters", "drop", "1"}, {"api", "GET", "/hosts/count"},
		{"api", "hosts-count"}, {"doctor"},
	} {
		_, stderr, code := erbridge(t, "", append(line, "-c", absent)...)
		if code != exitConfig || !strings.Contains(stderr, "nosuch.yaml") || !strings.Contains(stderr, "config.example.yaml") {
			t.Errorf("erbridge %s: exit code %d\n%s", strings.Join(line, " "), code, stderr)
		}
	}
}

// Each text says once what is not there.
func TestNotFoundIsSaidOnce(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "erbridge.yaml", goodConfig)
	write(t, dir, "playbooks/note.yaml", goodPlaybook)
	s, err := store.Open(t.Context(), filepath.Join(dir, "data"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		line []string
		want string
	}{
		{[]string{"alerts", "show", "er-999"}, "er-999"},
		{[]string{"playbook", "explain", filepath.Join(dir, "playbooks/note.yaml"), "er-999"}, "er-999"},
		{[]string{"runs", "show", "0cn3fpqka0002"}, "0cn3fpqka0002"},
		{[]string{"runs", "settle", "0cn3fpqka0002", "--step", "a", "--reason", "b", "--by", "c", "--happened"}, "0cn3fpqka0002"},
		{[]string{"runs", "cancel", "0cn3fpqka0002", "--reason", "b", "--by", "c"}, "0cn3fpqka0002"},
		{[]string{"jobs", "show", "0cn3fpqka0002"}, "job 0cn3fpqka0002"},
		{[]string{"jobs", "cancel", "0cn3fpqka0002", "--reason", "b", "--by", "c"}, "job 0cn3fpqka0002"},
		{[]string{"deadletters", "show", "99"}, "dead letter 99"},
		{[]string{"deadletters", "drop", "99"}, "dead letter 99"},
		{[]string{"deadletters", "replay", "99"}, "dead letter 99"},
	} {
		_, stderr, code := erbridge(t, "", append(tt.line, "-c", file)...)
		if code != exitNotFound || strings.Count(stderr, tt.want) != 1 || strings.Count(stderr, "not found") != 1 {
			t.Errorf("erbridge %s: exit code %d\n%s", strings.Join(tt.line, " "), code, stderr)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("disk on fire"), 1},
		{usagef("no"), 2},
		{fmt.Errorf("alert: %w", soar.ErrNotFound), 3},
		{fmt.Errorf("store: %w", store.ErrNoStore), 3},
		{fmt.Errorf("log in: %w", connector.ErrBadCredentials), 4},
		{fmt.Errorf("call: %w", connector.ErrForbidden), 4},
		{errors.Join(nil, fmt.Errorf("server: %w", connector.ErrBadCredentials)), 4},
		{fmt.Errorf("sink: %w", sinks.ErrConfig), 4},
		{fmt.Errorf("approval: %w", guard.ErrMayNot), 4},
		{fmt.Errorf("approval: %w", guard.ErrDecided), 4},
		{registry.Problems{{Message: "x"}}, 78},
		{fmt.Errorf("%w: secret", daemon.ErrConfig), 78},
		{fmt.Errorf("reload: %w", config.ErrUnreadable), 78},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("exitCode(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}

// What attackers write into alerts must not move the cursor or change the title
// of an analyst's terminal.
func TestTablesShowControlCharacters(t *testing.T) {
	for in, want := range map[string]string{
		"plain äöü 漢字":        "plain äöü 漢字",
		"\x1b[2J\x1b]0;x\x07": `\x1b[2J\x1b]0;x\x07`,
		"a\nb\tc\r":           `a\nb\tc\x0d`,
		"\u202egnp.exe":       `\u202egnp.exe`,
		"\u009b31m":           `\x9b31m`,
		"zero\u200bwidth":     `zero\u200bwidth`,
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLists(t *testing.T) {
	type item struct {
		Name string `json:"name"`
		Size int    `json:"size"`
	}
	columns := []column[item]{
		{"name", func(i item) string { return i.Name }},
		{"size", func(i item) string { return fmt.Sprint(i.Size) }},
	}
	items := []item{{"a<b", 1}, {"\x1b[1m", 22}}
	for _, tt := range []struct {
		name, format, filter string
		items                []item
		want                 string
	}{
		{"table", "table", "", items, "NAME     SIZE\na<b      1\n\\x1b[1m  22\n"},
		{"json", "json", "", items[:1], "[\n  {\n    \"name\": \"a<b\",\n    \"size\": 1\n  }\n]\n"},
		{"empty json", "json", "", nil, "[]\n"},
		{"jsonl", "jsonl", "", items, "{\"name\":\"a<b\",\"size\":1}\n{\"name\":\"\\u001b[1m\",\"size\":22}\n"},
		{"jq on each", "table", ".size", items, "1\n22\n"},
		{"jq on the list", "json", "length", items, "2\n"},
		{"jq that drops", "jsonl", "select(.size > 1) | .size", items, "22\n"},
		{"empty table", "table", "", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			cmd := &cobra.Command{}
			cmd.SetOut(&out)
			cmd.SetErr(&bytes.Buffer{})
			o := &output{format: tt.format, filter: tt.filter}
			if err := o.check(); err != nil {
				t.Fatal(err)
			}
			if err := printList(t.Context(), cmd, o, tt.items, columns); err != nil {
				t.Fatal(err)
			}
			if out.String() != tt.want {
				t.Errorf("got\n%s\nwant\n%s", &out, tt.want)
			}
		})
	}
}

func TestCallsThatMayChangeSomething(t *testing.T) {
	cfg := config.Default()
	for _, tt := range []struct {
		method, path string
		want         bool
	}{
		{"GET", "/hosts/count", false},
		{"HEAD", "/hosts/count", false},
		{"GET", "/nosuch", false},
		{"POST", "/nosuch", true},
		{"POST", "/alerts", false},
		{"POST", "/alerts/?x=1", false},
		{"POST", "/alerts/7/alerted_events", false},
		{"POST", "/response/view", false},
		{"POST", "/response/add", true},
		{"POST", "/hosts/7/tags", true},
		{"POST", "/rules/7", true},
		{"PUT", "/alerts", true},
		{"DELETE", "/hosts/delete", true},
		{"POST", "/carves/delete", true},
		{"POST", "/logout", false}, // ends but the login of the call itself,
	} {
		if got := changes(callAt(&cfg, tt.method, tt.path), tt.method); got != tt.want {
			t.Errorf("changes(%s %s) = %v", tt.method, tt.path, got)
		}
	}
}

// The demo is the product's first promise: alerts come in, are answered, and
// every outcome reaches the receivers.
func TestDemoHeadless(t *testing.T) {
	for length := 6 * time.Second; ; length *= 5 {
		stdout, stderr, code := erbridge(t, "", "demo", "--headless", "--for", length.String(), "--summary", "json")
		var f figures
		decoder := json.NewDecoder(strings.NewReader(stdout))
		err := decoder.Decode(&f)
		happened := f.AlertsReceived > 0 && f.RunsDone > 0 && f.ActionsExecuted > 0 && f.FirstResponseMS != nil
		delivered := f.EventsDelivered > 0 && f.ChatMessages > 0 && f.SyslogMessages > 0
		if (!happened || !delivered) && length < time.Minute {
			continue // a busy machine has only begun
		}
		if code != exitOK {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		if err != nil || decoder.More() {
			t.Fatalf("standard output is not one JSON object: %v\n%s", err, stdout)
		}
		if !happened {
			t.Errorf("nothing happened: %s", stdout)
		}
		if f.ActionsExecuted > f.ActionsSent {
			t.Errorf("%d actions executed of %d sent", f.ActionsExecuted, f.ActionsSent)
		}
		if !delivered || f.DeadLetters != 0 {
			t.Errorf("delivery: %s", stdout)
		}
		return
	}
}

package main

import (
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/daemon"
)

func TestSilenceCommands(t *testing.T) {
	config := latchedBudget(t)
	run := func(name string, code int, want string, line ...string) string {
		t.Helper()
		stdout, stderr, got := erbridge(t, "", append(line, "-c", config)...)
		if got != code || !strings.Contains(stdout+stderr, want) {
			t.Errorf("%s: exit code %d, want %d with %q\n%s%s", name, got, code, want, stdout, stderr)
		}
		return stdout
	}
	run("nothing", exitOK, "", "silences", "list")
	run("no alerts", exitUsage, "one of --alert and --rule is needed", "silences", "add", "--for", "1h")
	run("no time", exitUsage, "--for is needed", "silences", "add", "--rule", "A")
	run("bad time", exitUsage, "expected a time such as", "silences", "add", "--rule", "A", "--for", "soon")
	run("host of an alert", exitUsage, "--host goes with --rule", "silences", "add", "--alert", "er-1", "--host", "x", "--for", "1h")
	run("no such alert", exitNotFound, `alert "er-1": not found`, "silences", "add", "--alert", "er-1", "--for", "1h")
	run("no such sink", exitNotFound, `sink "nope": not found`, "silences", "add", "--rule", "A", "--sink", "nope", "--for", "1h")
	run("too long", exitUsage, "is the longest", "silences", "add", "--rule", "A", "--for", "365d")
	run("add", exitOK, `"Odd shell" on PC-1`, "silences", "add", "--rule", "Odd shell", "--host", "PC-1", "--for", "4h", "--reason", "a drill", "--by", "ann")
	id := strings.Trim(run("list", exitOK, "", "silences", "list", "-o", "json", "--jq", ".[0].id"), "\"\n")
	run("table", exitOK, daemon.SignedHere("ann"), "silences", "list")
	run("audit", exitOK, "begun", "audit", "list", "--kind", "act")
	run("end", exitOK, `ended: "Odd shell" on PC-1`, "silences", "end", id, "--by", "bob")
	run("again", exitNotFound, "not found", "silences", "end", id)
	run("gone", exitOK, "[]", "silences", "list", "-o", "json")
}

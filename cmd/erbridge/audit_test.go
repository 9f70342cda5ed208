package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/erbridge/erbridge/internal/soar"
)

// The way of an auditor: note the head, export, and verify both, later and elsewhere.
func TestAuditCommands(t *testing.T) {
	dir := t.TempDir()
	config := write(t, dir, "erbridge.yaml", goodConfig)
	write(t, dir, "playbooks/note.yaml", goodPlaybook)
	s := storeAlerts(t, dir, numbered(1, soar.SeverityHigh)) // it goes on running
	audit := func(wantCode int, line ...string) (stdout, stderr string) {
		t.Helper()
		stdout, stderr, code := erbridge(t, "", append(append([]string{"audit"}, line...), "-c", config)...)
		if code != wantCode {
			t.Fatalf("audit %s: exit code %d, want %d\n%s%s", strings.Join(line, " "), code, wantCode, stdout, stderr)
		}
		return stdout, stderr
	}
	out, _ := audit(exitOK, "verify")
	if !strings.Contains(out, "2 records, from number 1 to 2") || !strings.Contains(out, "1 alert,") {
		t.Errorf("verify:\n%s", out)
	}
	head := regexp.MustCompile(`(?m)^head +(2:[0-9a-f]{64})$`).FindStringSubmatch(out)
	if head == nil {
		t.Fatalf("no head in:\n%s", out)
	}
	export := filepath.Join(dir, "audit.jsonl")
	if out, _ := audit(exitOK, "export", "--output", export); !strings.Contains(out, head[1]) {
		t.Errorf("export:\n%s", out)
	}
	if _, stderr := audit(exitFailed, "export", "--output", export); !strings.Contains(stderr, "exists") {
		t.Errorf("an export over another one: %s", stderr)
	}
	if out, _ := audit(exitOK, "export", "--until", "2001-01-01"); strings.Count(out, "\n") != 2 {
		t.Errorf("an export of nothing:\n%s", out)
	}
	if out, _ := audit(exitOK, "verify", "--file", export, "--expect", head[1]); !strings.Contains(out, head[1]) || strings.Contains(out, "compared") {
		t.Errorf("verify an export:\n%s", out)
	}

	if _, err := s.Commit(t.Context(), soar.Change{Acts: []soar.Act{{At: time.Now(), By: "ada", What: "kill switch taken back"}}}); err != nil {
		t.Fatal(err)
	}
	if out, _ := audit(exitOK, "verify", "--expect", head[1]); !strings.Contains(out, "3 records") {
		t.Errorf("verify with more records:\n%s", out)
	}
	if out, _ := audit(exitOK, "list"); strings.Count(out, "\n") != 4 || !strings.Contains(out, "ada  kill switch taken back") || strings.Index(out, "act") > strings.Index(out, "began") {
		t.Errorf("list:\n%s", out)
	}
	if out, _ := audit(exitOK, "list", "--alert", "er-1", "-o", "jsonl", "--jq", ".kind"); out != "\"alerts\"\n" {
		t.Errorf("list of an alert:\n%s", out)
	}
	if out, _ := audit(exitOK, "list", "--since", "1h", "--limit", "1", "--output", "json"); !strings.Contains(out, `"kind": "act"`) || strings.Contains(out, "began") {
		t.Errorf("list as JSON:\n%s", out)
	}
	if out, stderr := audit(exitOK, "list", "--run", soar.NewRunID(time.Now()).String()); out != "" || !strings.Contains(stderr, "nothing to list") {
		t.Errorf("list of no run:\n%s%s", out, stderr)
	}
	_, stderr := audit(exitFailed, "verify", "--expect", strings.Repeat("0", 64))
	if !strings.Contains(stderr, "no record has the hash") {
		t.Errorf("a head that never was: %s", stderr)
	}
	for _, line := range [][]string{
		{"verify", "--from", "-1"}, {"verify", "--expect", "4711"}, {"verify", "--from", "1", "--file", export},
		{"verify", "--from", "9", "--expect", head[1]},
		{"list", "--run", "x"}, {"list", "--since", "yesterday"}, {"list", "--limit", "0"}, {"list", "--output", "csv"},
		{"export", "--format", "csv"}, {"export", "--since", "yesterday"},
	} {
		audit(exitUsage, line...)
	}

	// Somebody changes one byte, in the export and in the store.
	data, err := os.ReadFile(export)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(export, []byte(strings.Replace(string(data), "er-1", "er-2", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr := audit(exitFailed, "verify", "--file", export); !strings.Contains(stderr, `line 3: audit record 2 ("alerts", `) {
		t.Errorf("a changed export: %s", stderr)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "data", "erbridge.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "UPDATE audit SET body = replace(body, 'er-1', 'er-2') WHERE seq = 2"); err != nil {
		t.Fatal(err)
	}
	_, stderr = audit(exitFailed, "verify")
	for _, want := range []string{`audit record 2 ("alerts", `, "content changed", "Copy the folder store.path"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("a changed store: %q is not in %s", want, stderr)
		}
	}
	if out, stderr := audit(exitFailed, "export"); !strings.Contains(stderr, "audit record 2") || strings.Contains(out, `"end"`) {
		t.Errorf("an export of a changed store:\n%s%s", out, stderr)
	}
}

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/playbooks/cacao"
)

// A playbook goes out as CACAO and comes back, with a report.
func TestPlaybookCACAO(t *testing.T) {
	dir := t.TempDir()
	exported := filepath.Join(dir, "contain.json")
	if stdout, stderr, code := erbridge(t, "", "playbook", "export", "cacao", "contain-shadow-copy-deletion", "--to", exported); code != exitOK || stdout+stderr != "" {
		t.Fatalf("export: code %d\n%s%s", code, stdout, stderr)
	}
	stdout, stderr, code := erbridge(t, "", "playbook", "import", "cacao", exported, "--dir", dir, "-o", "json")
	if code != exitOK {
		t.Fatalf("import: code %d\n%s%s", code, stdout, stderr)
	}
	var report importReport
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatal(err)
	}
	if report.Playbook != "contain-shadow-copy-deletion" || len(report.Notes) < 7 {
		t.Errorf("the report is %+v", report)
	}
	for _, n := range report.Notes {
		if n.Kind == cacao.NotConverted || n.Step == "" {
			t.Errorf("a note is %+v", n)
		}
	}
	for _, f := range report.Lint {
		t.Errorf("lint: %s", f)
	}
	data, err := os.ReadFile(report.File)
	if err != nil || !strings.Contains(string(data), "\nmode: observe\n") {
		t.Errorf("the file is %s, %v", data, err)
	}
	if stdout, stderr, code := erbridge(t, "", "playbook", "lint", report.File); code != exitOK {
		t.Errorf("lint: code %d\n%s%s", code, stdout, stderr)
	}
}

func TestPlaybookImportRefuses(t *testing.T) {
	dir := t.TempDir()
	notOne := write(t, dir, "bundle.json", `{"type": "bundle"}`)
	exported, _, _ := erbridge(t, "", "playbook", "export", "cacao", "triage-note")
	good := write(t, dir, "good.json", exported)
	write(t, dir, "taken/triage-note.yaml", "mine")
	for _, tt := range []struct {
		name   string
		line   []string
		code   int
		stderr string
	}{
		{"no CACAO", []string{notOne, "--dir", dir}, exitFailed, `type is "bundle"`},
		{"no file", []string{dir + "/absent.json"}, exitNotFound, "absent.json"},
		{"a file is there", []string{good, "--dir", dir + "/taken"}, exitUsage, "exists already; nothing was written"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, stderr, code := erbridge(t, "", append([]string{"playbook", "import", "cacao"}, tt.line...)...)
			if code != tt.code || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("code %d, want %d: %s", code, tt.code, stderr)
			}
		})
	}
	if data, err := os.ReadFile(filepath.Join(dir, "taken", "triage-note.yaml")); err != nil || string(data) != "mine" {
		t.Errorf("the file that was there is %q, %v", data, err)
	}
}

package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestRedactTest(t *testing.T) {
	dir := t.TempDir()
	config := write(t, dir, "erbridge.yaml", goodConfig+"\nredact: {fields: [alert.event.cmdline], builtin: [passwords], patterns: ['col-\\d+']}\n")
	write(t, dir, "playbooks/note.yaml", goodPlaybook)
	write(t, dir, "alert.json", `{"server":"er","id":"7","source":"rule","severity":"high","created_at":"2026-11-22T03:00:00Z","event_time":"2026-11-22T03:00:00Z",
		"host":{"name":"pc"},"comment":"ran net user bob Sommer24","event":{"cmdline":"net user bob Sommer24","col-12":"x","pid":"4"},"intel":{"list":[{"pwd":"a b"},"token=abc"]}}`)
	stdout, stderr, code := erbridge(t, "", "redact", "test", "-c", config, "--file", filepath.Join(dir, "alert.json"), "-o", "jsonl")
	want := `{"path":"alert.comment","now":"ran net user bob Sommer24","then":"ran [redacted]"}
{"path":"alert.event.[redacted]","now":"","then":"x"}
{"path":"alert.event.cmdline","now":"net user bob Sommer24","then":"[redacted]"}
{"path":"alert.event.col-12","now":"x","then":""}
{"path":"alert.intel.list[0].pwd","now":"a b","then":"[redacted]"}
{"path":"alert.intel.list[1]","now":"token=abc","then":"token=[redacted]"}
`
	if code != exitOK || stdout != want {
		t.Errorf("exit code %d\n got %s%s\nwant %s", code, stdout, stderr, want)
	}
	plain := `{"server":"er","id":"8","source":"rule","severity":"low","created_at":"2026-11-22T03:00:00Z","event_time":"2026-11-22T03:00:00Z","host":{"name":"pc"}}`
	if stdout, stderr, code := erbridge(t, plain, "redact", "test", "-c", config, "--file", "-"); code != exitOK || stdout != "" ||
		!strings.Contains(stderr, "nothing is taken out of alert er-8") {
		t.Errorf("exit code %d of an alert without secrets: %s%s", code, stdout, stderr)
	}
	if _, stderr, code := erbridge(t, "{", "redact", "test", "-c", config, "--file", "-"); code != exitUsage || !strings.Contains(stderr, "standard input: not an alert") {
		t.Errorf("exit code %d of what is no alert: %s", code, stderr)
	}
	if _, stderr, code := erbridge(t, "", "redact", "test", "-c", config); code != exitUsage || !strings.Contains(stderr, "--alert") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if _, _, code := erbridge(t, "", "redact", "test", "-c", config, "--alert", "er-9"); code != exitNotFound {
		t.Errorf("exit code %d of an alert that is not there", code)
	}
}

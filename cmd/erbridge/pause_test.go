package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// Without a daemon, pause and resume work on the store, and every command that a person
// looks at then says so.
func TestPauseCommands(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "pw", "secret")
	write(t, dir, "playbooks/note.yaml", goodPlaybook)
	cfg := write(t, dir, "erbridge.yaml", goodConfig)

	if _, stderr, code := erbridge(t, "", "pause", "-c", cfg); code != exitUsage || !strings.Contains(stderr, "--reason is needed") {
		t.Errorf("pause without a reason: %d, %s", code, stderr)
	}
	stdout, stderr, code := erbridge(t, "", "pause", "-c", cfg, "--by", "ann", "--reason", "wrong \x1b[2Jhosts")
	if code != exitOK || !strings.Contains(stdout, "erbridge is not running; it will be paused from its next start on") {
		t.Fatalf("pause: %d, %s%s", code, stdout, stderr)
	}
	if stdout, stderr, code = erbridge(t, "", "runs", "list", "-c", cfg); code != exitOK || !strings.Contains(stderr, "paused by ann") || strings.Contains(stderr, "\x1b") {
		t.Errorf("runs list: %d, %s%q", code, stdout, stderr)
	}
	doctor := func() (line string) {
		stdout, _, _ := erbridge(t, "", "doctor", "-c", cfg, "--timeout", "1s")
		for l := range strings.Lines(stdout) {
			if strings.Contains(l, "kill switch") {
				line = l
			}
		}
		return line
	}
	if line := doctor(); !strings.HasPrefix(line, "warn") || !strings.Contains(line, "paused by ann") {
		t.Errorf("doctor: %q", line)
	}
	stdout, stderr, code = erbridge(t, "", "resume", "-c", cfg, "--by", "ben", "-o", "json")
	var state daemon.PauseState
	if err := json.Unmarshal([]byte(stdout), &state); err != nil || code != exitOK || state.Paused != nil || !state.Offline {
		t.Errorf("resume: %d, %v, %s%s", code, err, stdout, stderr)
	}
	if line := doctor(); !strings.HasPrefix(line, "ok") {
		t.Errorf("doctor after resume: %q", line)
	}

	filed := write(t, dir, "filed.yaml", goodConfig+"guard: {pause_file: halt}\n")
	halt := write(t, dir, "halt", "")
	if stdout, _, code = erbridge(t, "", "resume", "-c", filed, "--by", "ben"); code != exitOK || !strings.Contains(stdout, "still paused by the file "+halt) {
		t.Errorf("resume while the file is there: %d, %s", code, stdout)
	}
}

// guard test needs no daemon; what cannot be asked is said with its own exit code.
func TestGuardTestCommand(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "pw", "secret")
	write(t, dir, "playbooks/note.yaml", goodPlaybook)
	cfg := write(t, dir, "erbridge.yaml", goodConfig) // nobody answers there
	if _, _, code := erbridge(t, "", "pause", "-c", cfg, "--by", "ann", "--reason", "x"); code != exitOK {
		t.Fatal("pause")
	}
	for _, tt := range []struct {
		name   string
		line   []string
		code   int
		stdout string
		stderr string
	}{
		{"no action", nil, exitUsage, "", "--action is needed"},
		{"an unknown action", []string{"--action", "host.contian", "--host", "h"}, exitNotFound, "", `did you mean "host.contain"?`},
		{"an argument that is none", []string{"--action", "host.contain", "--with", "pid"}, exitUsage, "", "expected name=value"},
		{"a reading action", []string{"--action", "host.get", "--host", "h"}, exitFailed, "", "host.get only reads"},
		{"an unknown alert", []string{"--action", "host.contain", "--alert", "er-1"}, exitNotFound, "", "er-1"},
		{"a call", []string{"--action", "host.contain", "--host", "h"}, exitOK, "host.contain would wait for kill switch: paused by ann", ""},
		{"every rail", []string{"--action", "host.contain", "--host", "h"}, exitOK, "protected hosts", ""},
		{"for scripts", []string{"--action", "host.contain", "--host", "h", "-o", "json", "--jq", ".guard[0].check"}, exitOK, `"kill switch"`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := erbridge(t, "", append([]string{"guard", "test", "-c", cfg}, tt.line...)...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("%d\n%s%s", code, stdout, stderr)
			}
		})
	}
}

func TestPausedInWords(t *testing.T) {
	for _, tt := range []struct {
		state           daemon.PauseState
		paused, resumed string
	}{
		{daemon.PauseState{}, "no call with an effect is being sent", "resumed: what waits is decided anew"},
		{daemon.PauseState{CutOff: 2}, "2 calls did not end in time", "resumed"},
		{daemon.PauseState{Offline: true}, "not running", "will send calls when it does"},
		{daemon.PauseState{Paused: &guard.Thrown{By: "the file /x"}}, "paused", "still paused by the file /x"},
	} {
		var paused, resumed strings.Builder
		if err := showPaused(&paused, tt.state); err != nil || !strings.Contains(paused.String(), tt.paused) {
			t.Errorf("%+v: %q, %v", tt.state, paused.String(), err)
		}
		if err := showResumed(&resumed, tt.state); err != nil || !strings.Contains(resumed.String(), tt.resumed) {
			t.Errorf("%+v: %q, %v", tt.state, resumed.String(), err)
		}
	}
}

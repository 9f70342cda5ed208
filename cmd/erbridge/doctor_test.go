package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/doctor"
)

func TestDoctor(t *testing.T) {
	_, file := simulated(t, ersim.Options{})
	stdout, stderr, code := erbridge(t, "", "doctor", "-c", file)
	if code != exitOK || !strings.Contains(stdout, "ok    hosts           12 of 12 hosts online") || strings.Contains(stdout, "fail") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	stdout, stderr, code = erbridge(t, "", "doctor", "-c", file, "--output", "json")
	var results []doctor.Result
	if err := json.Unmarshal([]byte(stdout), &results); err != nil || code != exitOK || len(results) < 12 || results[0].Check != "config" || results[0].Status != doctor.OK {
		t.Errorf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	for _, key := range []string{`"check"`, `"status"`, `"found"`, `"hint"`} {
		if strings.Count(stdout, key) != len(results) {
			t.Errorf("%s is not in every result", key)
		}
	}
}

func TestDoctorOfADeadServer(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "erbridge.yaml", nobodyThere)
	if _, stderr, code := erbridge(t, "", "doctor", "-c", file); code != exitConfig || !strings.Contains(stderr, "server.password cannot be read") {
		t.Errorf("without password: exit code %d: %s", code, stderr)
	}
	write(t, dir, "pw", "secret")
	stdout, stderr, code := erbridge(t, "", "doctor", "-c", file)
	if code != exitFailed || !strings.Contains(stderr, "failed: reach") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{"fail  reach", "-> is the server up", "skip  login           not looked at, because reach failed", "skip  source push     not configured"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	for _, line := range [][]string{{"--output", "xml"}, {"--timeout", "-1s"}, {"x"}} {
		if _, stderr, code := erbridge(t, "", append([]string{"doctor", "-c", file}, line...)...); code != exitUsage {
			t.Errorf("%q: exit code %d: %s", line, code, stderr)
		}
	}
}

func TestDoctorOfPlaybooks(t *testing.T) {
	_, file := simulated(t, ersim.Options{})
	dir := filepath.Dir(file)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	answer := `{"ready": true}`
	running := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }))
	defer running.Close()
	write(t, dir, "erbridge.yaml", string(data)+"playbooks: {dir: books}\nconsole: {listen: \""+running.Listener.Addr().String()+"\"}\n")
	if err := os.Mkdir(filepath.Join(dir, "books"), 0o700); err != nil {
		t.Fatal(err)
	}
	look := func(wantCode int, want string) {
		t.Helper()
		stdout, stderr, code := erbridge(t, "", "doctor", "-c", file)
		if code != wantCode || !strings.Contains(stdout, want) {
			t.Errorf("exit code %d, no %q in\n%s%s", code, want, stdout, stderr)
		}
	}
	look(exitOK, "warn  playbooks       none is configured")
	good := "playbook: one\nsteps: [{do: alert.note, with: {text: seen}}]\n"
	book := write(t, filepath.Join(dir, "books"), "one.yaml", good)
	look(exitOK, "ok    playbooks       1 playbook can be used")
	write(t, filepath.Join(dir, "books"), "one.yaml", "playbook: one\nsteps: [{do: alert.nte}, {do: alert.note}]\n")
	look(exitFailed, "fail  playbooks       "+book+`:2:14: unknown action "alert.nte" [unknown-action]; did you mean "alert.note"? (and 1 more)`)
	// It is mended, and the daemon has not taken it yet.
	write(t, filepath.Join(dir, "books"), "one.yaml", good)
	answer = `{"ready": true, "warnings": {"playbooks": "what is on disk is refused since noon"}}`
	look(exitFailed, "fail  playbooks       what is on disk is refused since noon")
	stdout, _, code := erbridge(t, "", "health", "-c", file)
	if code != exitOK || !strings.Contains(stdout, "warning: playbooks: what is on disk is refused since noon") {
		t.Errorf("health: exit code %d: %s", code, stdout)
	}
	if data, err = os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	broken := write(t, dir, "broken.yaml", string(data)+"sniks: {}\n")
	var stderr string
	stdout, stderr, code = erbridge(t, "", "health", "-c", broken)
	if code != exitOK || !strings.Contains(stdout, "refused since noon") || !strings.Contains(stderr, broken+" has mistakes") {
		t.Errorf("health with a broken configuration: exit code %d: %s%s", code, stdout, stderr)
	}
}

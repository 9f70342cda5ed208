package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/testenv"
	"github.com/erbridge/erbridge/playbooks/lint"
)

// lintedFiles runs playbook lint for machines and returns file and code of each
// finding.
func lintedFiles(t *testing.T, line ...string) []string {
	t.Helper()
	stdout, stderr, _ := erbridge(t, "", append([]string{"playbook", "lint", "--output", "json"}, line...)...)
	var findings []lint.Finding
	if err := json.Unmarshal([]byte(stdout), &findings); err != nil {
		t.Fatalf("%v\nstdout %s\nstderr %s", err, stdout, stderr)
	}
	var all []string
	for _, f := range findings {
		all = append(all, filepath.Base(f.File)+" "+f.Code)
	}
	return all
}

const noteStep = "steps:\n  - {do: alert.note, with: {text: seen}}\n"

func TestLintFixesFiles(t *testing.T) {
	dir := t.TempDir()
	real := write(t, dir, "real/miner.yaml", "playbook: miner # the name\ndescripton: d\n"+noteStep)
	if err := os.Chmod(real, 0o640); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link.yaml")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := erbridge(t, "", "playbook", "lint", "--fix", link)
	if code != exitOK || !strings.Contains(stderr, "fixed "+link) || !strings.Contains(stdout, "1 playbook: good") {
		t.Errorf("exit code %d\nstdout %s\nstderr %s", code, stdout, stderr)
	}
	data, err := os.ReadFile(real)
	if want := "playbook: miner # the name\ndescription: d\n" + noteStep; err != nil || string(data) != want {
		t.Errorf("the file holds\n%s%v", data, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link has become a file: %v, %v", info, err)
	}
	if info, err := os.Stat(real); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("rights %v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(real)); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if _, stderr, _ := erbridge(t, "", "playbook", "lint", "--fix", link); strings.Contains(stderr, "fixed") {
		t.Errorf("fixed again: %s", stderr)
	}
}

// What cannot be fixed is reported, and a file that cannot be written is an error.
func TestLintFixLeavesTheRest(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "a.yaml", "playbook: a\ndescripton: d\nsteps:\n  - {do: alert.nte, with: {text: x}}\n")
	stdout, _, code := erbridge(t, "", "playbook", "lint", "--fix", dir)
	if code != exitConfig || !strings.Contains(stdout, path+`:4:10 PB401 unknown action "alert.nte"`) || strings.Contains(stdout, "PB201") {
		t.Errorf("exit code %d, stdout %s", code, stdout)
	}
}

func TestLintFindsCalledPlaybooksBesideAFile(t *testing.T) {
	dir := t.TempDir()
	caller := write(t, dir, "caller.yaml", "playbook: caller\nsteps:\n  - call: callee\n")
	write(t, dir, "callee.yaml", "playbook: callee\ndescripton: not looked at\n"+noteStep)
	write(t, dir, "callee_test.yaml", "playbook: callee\n")
	if got := lintedFiles(t, caller); got != nil {
		t.Errorf("findings %v", got)
	}
	if err := os.Remove(filepath.Join(dir, "callee.yaml")); err != nil {
		t.Fatal(err)
	}
	if got := lintedFiles(t, caller); !slices.Equal(got, []string{"caller.yaml PB603"}) {
		t.Errorf("findings %v", got)
	}
}

// A file that is named twice is looked at once, and warnings do not fail.
func TestLintOfSeveralPaths(t *testing.T) {
	dir := t.TempDir()
	acts := "match: {all: [{hangs: '.alert.rule.name == $vars.x'}]}\nvars: {x: y}\nsteps:\n  - {do: agent.restart, with: {host: h}}\n"
	a := write(t, dir, "a.yaml", "playbook: a\n"+acts)
	write(t, dir, "sub/b.yml", "playbook: b\n"+acts)
	stdout, stderr, code := erbridge(t, "", "playbook", "lint", a, dir)
	if code != exitOK || !strings.Contains(stdout, "PB602") || !strings.Contains(stdout, "2 playbooks: 1 warning and no mistake") {
		t.Errorf("exit code %d\nstdout %s\nstderr %s", code, stdout, stderr)
	}
}

func TestLintOfTheConfigurationWithLibrary(t *testing.T) {
	dir := t.TempDir()
	cfg := write(t, dir, "c.yaml", strings.Replace(goodConfig, "{dir: playbooks}", "{dir: playbooks, library: [triage-note]}", 1))
	write(t, dir, "playbooks/own.yaml", "playbook: triage-note\n"+noteStep)
	if got := lintedFiles(t, "-c", cfg); !slices.Contains(got, "own.yaml PB601") {
		t.Errorf("findings %v", got)
	}
}

func TestLintChangedSince(t *testing.T) {
	testenv.Need(t, "git")
	dir := t.TempDir()
	git := func(arguments ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"}, arguments...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", arguments, err, out)
		}
	}
	git("init", "-q")
	write(t, dir, "books/old.yaml", "playbook: old\ndescripton: d\n"+noteStep)
	write(t, dir, "books/edited.yaml", "playbook: edited\n"+noteStep)
	write(t, dir, "books/named.yaml", "playbook: named\n"+noteStep)
	git("add", ".")
	git("commit", "-q", "-m", "first")
	write(t, dir, "books/edited.yaml", "playbook: edited\nmoed: observe\n"+noteStep)
	git("add", ".")
	git("commit", "-q", "-m", "second")
	write(t, dir, "books/a new ü.yaml", "playbook: named\nmode: nope\n"+noteStep)

	books := filepath.Join(dir, "books")
	for _, tt := range []struct {
		since string
		want  []string
	}{
		// Of the two playbooks of one name, the new one is reported, although it comes
		// first by its file name.
		{"HEAD", []string{"a new ü.yaml PB601", "a new ü.yaml PB206"}},
		{"HEAD~1", []string{"a new ü.yaml PB601", "a new ü.yaml PB206", "edited.yaml PB201"}},
	} {
		if got := lintedFiles(t, "--changed-since", tt.since, books); !slices.Equal(got, tt.want) {
			t.Errorf("since %s: %v, want %v", tt.since, got, tt.want)
		}
	}
	if _, stderr, code := erbridge(t, "", "playbook", "lint", "--changed-since", "HEAD", "--fix", books); code != exitConfig || strings.Contains(stderr, "fixed") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
	for _, since := range []string{"no-such-branch", "--output=x"} {
		if _, stderr, code := erbridge(t, "", "playbook", "lint", "--changed-since="+since, books); code != exitUsage {
			t.Errorf("since %s: exit code %d, stderr %s", since, code, stderr)
		}
	}
	outside := t.TempDir()
	write(t, outside, "a.yaml", "playbook: a\n"+noteStep)
	if _, stderr, code := erbridge(t, "", "playbook", "lint", "--changed-since", "HEAD", outside); code != exitFailed || !strings.Contains(stderr, "not a git repository") {
		t.Errorf("outside of git: exit code %d, stderr %s", code, stderr)
	}
}

func TestDocsOfEveryCode(t *testing.T) {
	for _, code := range lint.Codes() {
		rule, _ := lint.Lookup(code)
		stdout, stderr, exit := erbridge(t, "", "docs", strings.ToLower(code))
		if exit != exitOK || !strings.HasPrefix(stdout, code+": "+rule.Title) || stderr != "" {
			t.Errorf("docs %s: exit code %d\n%s%s", code, exit, stdout, stderr)
		}
	}
}

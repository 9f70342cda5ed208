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
	for _, since := range []string{"no-such-branch", "--output=x", ""} {
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

// A change is at fault for what it does to files that stayed as they are, and for
// nothing else that is wrong with these.
func TestLintChangedSinceReportsWhatBreaksElsewhere(t *testing.T) {
	testenv.Need(t, "git")
	dir := t.TempDir()
	books := filepath.Join(dir, "books")
	gitIn := func(arguments ...string) {
		t.Helper()
		if out, err := git(t.Context(), dir, append([]string{"-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"}, arguments...)...); err != nil {
			t.Fatalf("git %v: %v\n%s", arguments, err, out)
		}
	}
	gitIn("init", "-q")
	write(t, books, "caller.yaml", "playbook: caller\ndescripton: d\nsteps:\n  - {call: callee, with: {limit: 2}}\n")
	write(t, books, "second.yaml", "playbook: second\nsteps:\n  - {call: callee, with: {limit: 2}}\n")
	write(t, books, "callee.yaml", "playbook: callee\nvars: {limit: 1}\n"+noteStep)
	write(t, books, "contains.yaml", "playbook: contains\nmatch: {all: [{it is it: '.alert.rule.name == \"x\"'}]}\nsteps:\n  - {do: host.contain, with: {host: h}}\n")
	write(t, books, "sub/releases.yaml", "playbook: releases\non: {schedule: {every: 1h}}\nsteps:\n  - {do: host.release, with: {host: h}}\n")
	gitIn("add", ".")
	gitIn("commit", "-q", "-m", "first")
	since := func(paths ...string) []string {
		return lintedFiles(t, append([]string{"--changed-since", "HEAD"}, paths...)...)
	}
	if got := since(books); got != nil {
		t.Errorf("nothing changed: %v", got)
	}
	for _, tt := range []struct {
		name   string
		change func()
		want   []string
	}{
		{"a variable of the callee goes", func() { write(t, books, "callee.yaml", "playbook: callee\n"+noteStep) }, []string{"second.yaml PB309"}},
		{"the callee goes", func() { gitIn("rm", "-qf", "books/callee.yaml") }, []string{"second.yaml PB603"}},
		{"the callee moves", func() {
			gitIn("checkout", "-q", "HEAD", "--", ".")
			gitIn("mv", "books/callee.yaml", "books/sub/moved.yaml")
		}, nil},
		{"the last of a folder goes", func() {
			gitIn("reset", "-q", "--hard")
			gitIn("rm", "-q", "books/sub/releases.yaml")
		}, []string{"contains.yaml PB502"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.change()
			if got := since(books); !slices.Equal(got, tt.want) {
				t.Errorf("findings %v, want %v", got, tt.want)
			}
		})
	}
	gitIn("reset", "-q", "--hard")
	gitIn("rm", "-q", "books/callee.yaml")
	if got := since(filepath.Join(books, "second.yaml")); !slices.Equal(got, []string{"second.yaml PB603"}) {
		t.Errorf("a file by its name: %v", got)
	}
	// As in a hook of a commit in another working tree.
	t.Setenv("GIT_DIR", filepath.Join(dir, ".git"))
	t.Setenv("GIT_INDEX_FILE", filepath.Join(dir, "elsewhere"))
	if got := since(books); !slices.Equal(got, []string{"second.yaml PB603"}) {
		t.Errorf("in a hook: %v", got)
	}
}

func TestLintOfStandardInput(t *testing.T) {
	const text = "playbook: p\nsteps:\n  - {do: alert.nte, with: {text: x}}\n"
	if stdout, _, code := erbridge(t, text, "playbook", "lint", "-"); code != exitConfig || !strings.HasPrefix(stdout, "stdin:3:10 PB401") {
		t.Errorf("exit code %d, stdout %s", code, stdout)
	}
	for _, flag := range []string{"--fix", "--changed-since=HEAD"} {
		if _, stderr, code := erbridge(t, text, "playbook", "lint", "-", flag); code != exitUsage {
			t.Errorf("%s: exit code %d, stderr %s", flag, code, stderr)
		}
	}
}

func TestLintOfOneFileByTwoNames(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.yaml", "playbook: a\n"+noteStep)
	t.Chdir(dir)
	if stdout, stderr, code := erbridge(t, "", "playbook", "lint", "a.yaml", filepath.Join(dir, "a.yaml"), "."); code != exitOK || stdout != "1 playbook: good\n" {
		t.Errorf("exit code %d\nstdout %s\nstderr %s", code, stdout, stderr)
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

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/daemon"
)

const listedBook = "playbook: listed\nlists: {hosts: {file: lists/hosts.txt}}\nmatch: {all: [{it is listed: .alert.host.name | in_list(\"hosts\")}]}\n" + noteStep

// The playbooks of a commit have the lists of that commit, links in it included.
func TestListsOfACommit(t *testing.T) {
	dir := t.TempDir()
	git := func(arguments ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"}, arguments...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", arguments, err, out)
		}
	}
	folder := filepath.Join(dir, "books")
	write(t, dir, "books/listed.yaml", listedBook)
	write(t, dir, "books/lists/real.txt", "old\n")
	write(t, dir, "books/sub/linked.yaml", strings.NewReplacer("listed\n", "linked\n", "lists/hosts.txt", "out.txt").Replace(listedBook))
	for at, to := range map[string]string{"lists/hosts.txt": "../lists/real.txt", "sub/out.txt": "in.txt"} {
		if err := os.Symlink(to, filepath.Join(folder, at)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir, "books/sub/in.txt", "old\n")
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "x")
	known := daemon.LintActions(nil)
	before, err := playbooksAt(t.Context(), folder, "HEAD", known)
	if err != nil || len(before) != 2 {
		t.Fatalf("%v, %v", before, err)
	}
	now, err := playbooksIn(folder, known)
	if err != nil {
		t.Fatal(err)
	}
	if now[1].Hash != before[0].Hash || now[0].Hash != before[1].Hash {
		t.Error("nothing has changed, and the versions differ")
	}
	if got := lintedFiles(t, "--changed-since", "HEAD", folder); len(got) > 0 {
		t.Errorf("lint says %v", got)
	}
	write(t, dir, "books/lists/real.txt", "new\nnewer\n")
	write(t, dir, "books/sub/in.txt", "10.0.0.0/8\n")
	if again, err := playbooksAt(t.Context(), folder, "HEAD", known); err != nil || again[0].Hash != before[0].Hash || again[0].List("hosts")[0] != "old" {
		t.Errorf("the list of the commit has changed: %v", err)
	}
	if now, err = playbooksIn(folder, known); err != nil || now[1].List("hosts")[0] != "new" && now[0].List("hosts")[0] != "new" {
		t.Errorf("the list has not changed: %v", err)
	}
	for at, to := range map[string]string{"sub/in.txt": "../lists/real.txt", "sub/out.txt": "/etc/hostname"} {
		if err := os.Remove(filepath.Join(folder, at)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(folder, at)); err != nil {
			t.Fatal(err)
		}
		git("commit", "-q", "-a", "-m", at)
		if _, err := playbooksAt(t.Context(), folder, "HEAD", known); err == nil || !strings.Contains(err.Error(), "the file lies outside of the playbook's folder") {
			t.Errorf("a commit with a link to %s: %v", to, err)
		}
	}
}

// Lint of a commit's changes looks at playbooks of which only a list has changed.
func TestLintOfChangedLists(t *testing.T) {
	dir := t.TempDir()
	git := func(arguments ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"}, arguments...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", arguments, err, out)
		}
	}
	write(t, dir, "listed.yaml", listedBook)
	write(t, dir, "lists/hosts.txt", "pc-1\n")
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "x")
	write(t, dir, "lists/hosts.txt", "pc-1\x07\n")
	if got := lintedFiles(t, "--changed-since", "HEAD", dir); !slices.Equal(got, []string{"listed.yaml PB213"}) {
		t.Errorf("lint says %v", got)
	}
	if got := lintedFiles(t, filepath.Join(dir, "listed.yaml")); !slices.Equal(got, []string{"listed.yaml PB213"}) {
		t.Errorf("lint of the file says %v", got)
	}
}

package lint_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/library"
	"github.com/erbridge/erbridge/playbooks/lint"
)

var update = flag.Bool("update", false, "rewrite what is expected of the broken playbooks")

const broken = "../testdata/broken"

// corpus reads the broken playbooks: files by themselves, and folders as sets.
func corpus(t *testing.T) map[string][]lint.File {
	t.Helper()
	entries, err := os.ReadDir(broken)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string][]lint.File{}
	for _, entry := range entries {
		name := strings.TrimSuffix(entry.Name(), ".yaml")
		switch {
		case entry.IsDir():
			files, err := lint.Collect(os.DirFS(filepath.Join(broken, entry.Name())), ".", func(name string) string { return name })
			if err != nil {
				t.Fatal(err)
			}
			cases[name] = files
		case name != entry.Name():
			data, err := os.ReadFile(filepath.Join(broken, entry.Name()))
			if err != nil {
				t.Fatal(err)
			}
			cases[name] = []lint.File{{Name: entry.Name(), Data: data}}
		}
	}
	return cases
}

// Beside each broken playbook stands what lint says of it: place, code, message and
// hint of every finding.
func TestBrokenPlaybooks(t *testing.T) {
	cases := corpus(t)
	if len(cases) < 120 {
		t.Errorf("%d broken playbooks", len(cases))
	}
	seen := map[string]bool{}
	for name, files := range cases {
		t.Run(name, func(t *testing.T) {
			var got strings.Builder
			findings := lint.Run(files, nil, known())
			for _, f := range findings {
				seen[f.Code] = true
				fmt.Fprintln(&got, f)
				if f.Hint != "" {
					fmt.Fprintln(&got, "  ", f.Hint)
				}
				file := files[slices.IndexFunc(files, func(l lint.File) bool { return l.Name == f.File })]
				lines := strings.Split(string(file.Data), "\n")
				if f.Line > len(lines) || f.Column > utf8.RuneCountInString(lines[f.Line-1])+1 {
					t.Errorf("a finding outside of the file: %s", f)
				}
			}
			path := filepath.Join(broken, name+".expect")
			if *update {
				if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("lint says\n%swant\n%s", got.String(), want)
			}
			if len(findings) == 0 {
				t.Error("nothing is wrong with it")
			}
		})
	}
	for _, code := range lint.Codes() {
		if !seen[code] && code != "PB109" && code != "PB200" { // no text of a playbook gives these
			t.Errorf("no broken playbook gives %s", code)
		}
	}
}

// What cannot be read is a finding, and the rest is looked at.
func TestUnreadableFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("playbook: a\nsteps: [{do: alert.nte}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	files, err := lint.Collect(os.DirFS(dir), ".", func(name string) string { return name })
	if err != nil {
		t.Fatal(err)
	}
	findings := lint.Run(files, nil, known())
	if got := codes(findings); !slices.Equal(got, []string{"PB401", "PB109"}) || findings[1].File != "b.yaml" || !lint.Failed(findings) {
		t.Errorf("findings %v", findings)
	}
	if fixed := lint.Fix(files, nil, known()); len(fixed) > 0 {
		t.Errorf("corrected %v", fixed)
	}
	if _, err := lint.Collect(os.DirFS(dir), "nowhere", func(name string) string { return name }); err == nil {
		t.Error("a folder that is not there is no error")
	}
}

// What the engine does not read is not judged, and what it refuses is.
func TestFilesThatTheEngineLeavesOut(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.yaml", "b_test.yaml", ".c.yaml", ".hidden/d.yaml", "notes.md", "#e.yaml", ".#f.yaml"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("playbook: a\nsteps: [{do: alert.note, with: {text: x}}]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o600); err != nil { // who reads it waits for ever
		t.Fatal(err)
	}
	files, err := lint.Collect(os.DirFS(dir), ".", func(name string) string { return name })
	if err != nil {
		t.Fatal(err)
	}
	set, problems := playbooks.LoadDir(dir, known())
	if len(problems) != 1 || problems[0].Code != "unreadable" || set != nil {
		t.Errorf("the engine says %v", problems)
	}
	if findings := lint.Run(files, nil, known()); len(files) != 2 || !slices.Equal(codes(findings), []string{"PB109"}) || findings[0].File != "pipe.yaml" {
		t.Errorf("files %v, findings %v", files, findings)
	}
}

// The playbooks that ship have no mistakes.
func TestLibrary(t *testing.T) {
	files, err := lint.Collect(library.FS, ".", func(name string) string { return name })
	if err != nil || len(files) < 5 {
		t.Fatalf("%d playbooks in the library, %v", len(files), err)
	}
	for _, finding := range lint.Run(files, nil, known()) {
		if finding.Level == lint.Error {
			t.Error(finding)
		}
	}
}

// Nothing is said about playbooks that are right, each by itself and all together.
func TestValidPlaybooks(t *testing.T) {
	files, err := lint.Collect(os.DirFS("../testdata/valid"), ".", func(name string) string { return name })
	if err != nil || len(files) < 10 {
		t.Fatalf("%d valid playbooks, %v", len(files), err)
	}
	for _, f := range files {
		for _, finding := range lint.Run([]lint.File{f}, files, known()) {
			t.Errorf("%s", finding)
		}
	}
	for _, finding := range lint.Run(files, nil, known()) {
		if finding.Level == lint.Error {
			t.Errorf("all together: %s", finding)
		}
	}
}

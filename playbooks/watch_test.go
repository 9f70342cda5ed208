//go:build unix

package playbooks

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// reads counts how often contents are read, and refuses some names.
type reads struct {
	fs.FS
	n      int
	denied map[string]bool
}

func (r *reads) Open(name string) (fs.File, error) {
	if r.denied[name] {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	f, err := r.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		r.n++
	}
	return f, nil
}

func (r *reads) Stat(name string) (fs.FileInfo, error) { return fs.Stat(r.FS, name) }

// looking is a Folder on a folder with two playbooks, a list and a hidden file, whose
// clock moves by hand.
func looking(t *testing.T) (dir string, r *reads, look func(later time.Duration) string) {
	t.Helper()
	dir = t.TempDir()
	writeFiles(t, dir, map[string]string{"a.yaml": "one", "sub/b.yml": "two", "lists/vip.txt": "anna\n", ".hidden": "x"})
	r = &reads{FS: os.DirFS(dir), denied: map[string]bool{}}
	now := time.Now()
	folder := newFolder(r, func() time.Time { return now })
	return dir, r, func(later time.Duration) string {
		now = now.Add(later)
		return folder.Look()
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// Once a change is older than the clocks of file systems are coarse, contents are not
// read again, until a minute later.
func TestLookReadsLittle(t *testing.T) {
	_, r, look := looking(t)
	first := look(0)
	for _, tt := range []struct {
		later time.Duration
		reads int
	}{{2 * time.Second, 3}, {2 * time.Second, 3}, {2 * time.Second, 0}, {50 * time.Second, 0}, {10 * time.Second, 3}, {2 * time.Second, 0}} {
		r.n = 0
		if got := look(tt.later); got != first || r.n != tt.reads {
			t.Errorf("%v later: %d reads, want %d; the same: %t", tt.later, r.n, tt.reads, got == first)
		}
	}
}

func TestLookSeesEveryChange(t *testing.T) {
	past := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	write := func(t *testing.T, name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, dir string)
		same   bool
	}{
		{"written in place", func(t *testing.T, dir string) { write(t, dir+"/a.yaml", "three") }, false},
		{"other text of the same length and time", func(t *testing.T, dir string) {
			write(t, dir+"/a.yaml", "eno")
			if err := os.Chtimes(dir+"/a.yaml", past, past); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"renamed over, of the same length and time", func(t *testing.T, dir string) {
			write(t, dir+"/.new", "eno")
			if err := os.Chtimes(dir+"/.new", past, past); err != nil {
				t.Fatal(err)
			}
			rename(t, dir+"/.new", dir+"/a.yaml")
		}, false},
		{"the same text again", func(t *testing.T, dir string) { write(t, dir+"/a.yaml", "one") }, true},
		{"renamed over with the same text", func(t *testing.T, dir string) {
			write(t, dir+"/.new", "one")
			rename(t, dir+"/.new", dir+"/a.yaml")
		}, true},
		{"another name", func(t *testing.T, dir string) { rename(t, dir+"/a.yaml", dir+"/c.yaml") }, false},
		{"removed", func(t *testing.T, dir string) {
			if err := os.Remove(dir + "/sub/b.yml"); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"a list", func(t *testing.T, dir string) { write(t, dir+"/lists/vip.txt", "anna\nbert\n") }, false},
		{"what editors leave", func(t *testing.T, dir string) {
			write(t, dir+"/a.yaml~", "x")
			write(t, dir+"/.a.yaml.swp", "x")
			write(t, dir+"/#a.yaml#", "x")
		}, true},
		{"hidden", func(t *testing.T, dir string) { write(t, dir+"/.hidden", "y") }, true},
		{"an empty folder", func(t *testing.T, dir string) {
			if err := os.Mkdir(dir+"/new", 0o700); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"a link to elsewhere", func(t *testing.T, dir string) {
			write(t, dir+"/.elsewhere", "eno")
			link(t, ".elsewhere", dir+"/a.yaml")
		}, false},
		{"a link that leads nowhere", func(t *testing.T, dir string) { link(t, "nowhere", dir+"/a.yaml") }, false},
		{"a pipe", func(t *testing.T, dir string) {
			if err := syscall.Mkfifo(dir+"/c.yaml", 0o600); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"the whole folder", func(t *testing.T, dir string) {
			writeFiles(t, dir+"_new", map[string]string{"a.yaml": "one", "sub/b.yml": "three", "lists/vip.txt": "anna\n"})
			rename(t, dir, dir+"_old")
			rename(t, dir+"_new", dir)
		}, false},
		{"the folder has gone", func(t *testing.T, dir string) { rename(t, dir, dir+"_old") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, _, look := looking(t)
			if err := os.Chtimes(filepath.Join(dir, "a.yaml"), past, past); err != nil {
				t.Fatal(err)
			}
			before := look(0)
			look(5 * time.Second) // from here on, contents are read only if something tells of a change
			tt.change(t, dir)
			got := look(2 * time.Second)
			if (got == before) != tt.same {
				t.Errorf("seen as the same: %t", got == before)
			}
			if again := look(2 * time.Second); again != got {
				t.Error("the same folder is seen in two ways")
			}
		})
	}
}

// A file that may not be read is seen, and so is that it may again.
func TestLookWithoutPermission(t *testing.T) {
	_, r, look := looking(t)
	before := look(0)
	r.denied["a.yaml"] = true
	denied := look(2 * time.Second)
	if denied == before || look(2*time.Second) != denied {
		t.Error("a file that cannot be read is not seen")
	}
	if set, problems := LoadFS(r, ".", newFakeServer().actions()); set != nil || len(problems) == 0 || problems[0].File != "a.yaml" {
		t.Errorf("loaded %v, %v", set, problems)
	}
	r.denied["a.yaml"] = false
	if look(2*time.Second) != before {
		t.Error("it is not the same folder after it can be read again")
	}
}

// A pipe is no playbook, and reading it would wait for its writer.
func TestLoadOfAPipe(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "a.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	set, problems := LoadDir(dir, newFakeServer().actions())
	if want := filepath.Join(dir, "a.yaml") + ":1:1: playbooks: a.yaml is not a regular file [unreadable]"; set != nil || problems.Error() != want {
		t.Errorf("%v, %v", set, problems)
	}
}

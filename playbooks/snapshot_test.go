package playbooks

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func link(t *testing.T, to, at string) {
	t.Helper()
	// As the kubelet does: a link beside it, renamed over it.
	if err := os.Symlink(to, at+"_tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(at+"_tmp", at); err != nil {
		t.Fatal(err)
	}
}

func generation(name, description string) string {
	return fmt.Sprintf("playbook: %s\ndescription: %s\nsteps: [{do: fake.tell}]\n", name, description)
}

// mounted is a folder as a config map is mounted: ..data leads to the generation
// that counts, and the files lead through it.
func mounted(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, g := range []string{"old", "new"} {
		for _, name := range []string{"a", "b", "c"} {
			writeFiles(t, dir, map[string]string{"..2026_" + g + "/" + name + ".yaml": generation(name, g)})
		}
	}
	link(t, "..2026_old", filepath.Join(dir, "..data"))
	for _, name := range []string{"a.yaml", "b.yaml", "c.yaml"} {
		link(t, "..data/"+name, filepath.Join(dir, name))
	}
	return dir
}

// opening calls before for each file that is about to be read, with the number of it.
type opening struct {
	fs.FS
	n      int
	before func(n int)
}

func (o *opening) Stat(name string) (fs.FileInfo, error) {
	if isPlaybookFile(name) {
		o.n++
		o.before(o.n)
	}
	return fs.Stat(o.FS, name)
}

func generations(set *Set) string {
	var all []string
	for _, p := range set.Playbooks() {
		all = append(all, p.Name+" "+p.Description)
	}
	return strings.Join(all, ", ")
}

// Whenever the link is swapped, the set is of one generation.
func TestLoadDuringSwap(t *testing.T) {
	actions := newFakeServer().actions()
	for swap := 1; swap <= 7; swap++ {
		t.Run(fmt.Sprint("before reading ", swap), func(t *testing.T) {
			dir := mounted(t)
			fsys := &opening{FS: os.DirFS(dir), before: func(n int) {
				if n == swap {
					link(t, "..2026_new", filepath.Join(dir, "..data"))
				}
			}}
			set, problems := LoadFS(fsys, ".", actions)
			if problems != nil {
				t.Fatal(problems)
			}
			want := "a new, b new, c new"
			if swap > 6 { // both passes were over
				want = "a old, b old, c old"
			}
			if got := generations(set); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// An old generation that is removed in the middle is no mistake of the new one.
func TestLoadDuringSwapThatRemoves(t *testing.T) {
	dir := mounted(t)
	fsys := &opening{FS: os.DirFS(dir), before: func(n int) {
		switch n {
		case 2:
			if err := os.RemoveAll(filepath.Join(dir, "..2026_old")); err != nil {
				t.Error(err)
			}
		case 3:
			link(t, "..2026_new", filepath.Join(dir, "..data"))
		}
	}}
	set, problems := LoadFS(fsys, ".", newFakeServer().actions())
	if problems != nil {
		t.Fatal(problems)
	}
	if got, want := generations(set), "a new, b new, c new"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLoadOfWhatNeverRests(t *testing.T) {
	dir := t.TempDir()
	fsys := &opening{FS: os.DirFS(dir), before: func(n int) {
		writeFiles(t, dir, map[string]string{"a.yaml": generation("a", fmt.Sprint(n))})
	}}
	writeFiles(t, dir, map[string]string{"a.yaml": generation("a", "0")})
	if set, problems := LoadFS(fsys, ".", newFakeServer().actions()); set != nil || !strings.Contains(fmt.Sprint(problems), errUnsteady.Error()) {
		t.Errorf("%v, %v", set, problems)
	}
}

func TestLoadIgnoresWhatEditorsLeave(t *testing.T) {
	dir := t.TempDir()
	wrong := "this: is\nno: playbook\n"
	writeFiles(t, dir, map[string]string{
		"a.yaml": generation("a", "good"), "a.yaml~": wrong, ".a.yaml.swp": wrong, ".a.yaml.swx": wrong, "#a.yaml#": wrong, "4913": wrong,
		"a.yaml.bak": wrong, "a.yaml.tmp": wrong, ".a.yaml": wrong, "a_test.yaml": wrong, "a.yaml___jb_tmp___": wrong, "sub/b.yml": generation("b", "good"),
		".git/c.yaml": wrong,
	})
	if err := os.Symlink("me@host.4711", filepath.Join(dir, ".#a.yaml")); err != nil {
		t.Fatal(err)
	}
	set, problems := LoadDir(dir, newFakeServer().actions())
	if problems != nil {
		t.Fatal(problems)
	}
	if got, want := generations(set), "a good, b good"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLoadSaysWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"a.yaml": generation("a", "good")})
	if err := os.Symlink("..data/b.yaml", filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	set, problems := LoadDir(dir, newFakeServer().actions())
	want := filepath.Join(dir, "b.yaml") + ":1:1: playbooks: the link leads nowhere"
	if set != nil || len(problems) != 1 || !strings.HasPrefix(problems.Error(), want) {
		t.Errorf("%v, %v", set, problems)
	}
}

// A mounted configuration with folders has links to folders; any other is not followed.
func TestLoadOfMountedFolders(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"..1/sub/a.yaml": generation("a", "old"), "..1/b.yaml": generation("b", "old"),
		"..2/sub/a.yaml": generation("a", "new"), "..2/b.yaml": generation("b", "new"), "..2/sub/deep/c.yaml": generation("c", "new"),
	})
	link(t, "..1", filepath.Join(dir, "..data"))
	link(t, "..data/sub", filepath.Join(dir, "sub"))
	link(t, "..data/b.yaml", filepath.Join(dir, "b.yaml"))
	link(t, ".", filepath.Join(dir, "circle"))
	link(t, "sub", filepath.Join(dir, "again"))
	folder := newFolder(os.DirFS(dir), time.Now)
	for _, tt := range []struct{ to, want string }{{"..1", "a old, b old"}, {"..2", "a new, b new, c new"}} {
		before := folder.Look()
		link(t, tt.to, filepath.Join(dir, "..data"))
		if seen := folder.Look(); (seen != before) != (tt.to == "..2") {
			t.Errorf("%s is seen as another folder: %t", tt.to, seen != before)
		}
		set, problems := LoadDir(dir, newFakeServer().actions())
		if problems != nil {
			t.Fatal(problems)
		}
		if got := generations(set); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// A folder of a mounted configuration that is swapped away while it is read is no
// mistake of what comes next.
func TestLoadDuringSwapOfAMountedFolder(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"..1/sub/b.yaml": generation("b", "old"), "a.yaml": generation("a", "stays"), "..2/sub/b.yaml": generation("b", "new")})
	link(t, "..1", filepath.Join(dir, "..data"))
	link(t, "..data/sub", filepath.Join(dir, "sub"))
	fsys := &vanishing{root: os.DirFS(dir), once: func() { link(t, "..2", filepath.Join(dir, "..data")) }}
	set, problems := LoadFS(fsys, ".", newFakeServer().actions())
	if problems != nil {
		t.Fatal(problems)
	}
	if got, want := generations(set), "a stays, b new"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// vanishing is a file system in which the folder sub is gone once it is opened.
type vanishing struct {
	root fs.FS
	once func() // what happens then
}

func (v *vanishing) Open(name string) (fs.File, error) {
	if name == "sub" && v.once != nil {
		v.once()
		v.once = nil
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return v.root.Open(name)
}

func (v *vanishing) Stat(name string) (fs.FileInfo, error)  { return fs.Stat(v.root, name) }
func (v *vanishing) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(v.root, name) }
func (v *vanishing) ReadLink(name string) (string, error)   { return fs.ReadLink(v.root, name) }

package daemon

import (
	"os"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/playbooks"
)

func described(description string) string {
	return "playbook: one\ndescription: " + description + "\nsteps: [{do: alert.note, with: {text: seen}}]\n"
}

// Playbooks in a mounted configuration: what is half there leaves the old set in
// place, and says why; what is swapped in as a whole is taken.
func TestReloadOfMountedPlaybooks(t *testing.T) {
	s := newSite(t)
	s.configure(quickPoll)
	if err := os.RemoveAll(s.path("playbooks")); err != nil {
		t.Fatal(err)
	}
	lead := func(to, at string) {
		t.Helper()
		if err := os.Symlink(to, s.path(at+"_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(s.path(at+"_tmp"), s.path(at)); err != nil {
			t.Fatal(err)
		}
	}
	s.write("playbooks/..1/one.yaml", described("first"))
	lead("..1", "playbooks/..data")
	lead("..data/one.yaml", "playbooks/one.yaml")
	d, _ := s.start()
	current := func() *playbooks.Playbook { return d.engine.Set().Get("one") }
	if p := current(); p == nil || p.Description != "first" {
		t.Fatalf("at the start: %+v", p)
	}

	s.write("playbooks/..half/one.yaml", "playbook: one\ndescription: half\nsteps:\n  - do: alert.note\n    with: {text: \"se")
	for _, tt := range []struct{ name, data, want string }{
		{"dangling", "..nowhere", "one.yaml:1:1: playbooks: the link leads nowhere"},
		{"half-written", "..half", "one.yaml:5:"},
	} {
		lead(tt.data, "playbooks/..data")
		if _, err := d.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Reload = %v, want %s", tt.name, err, tt.want)
		}
		if p := current(); p == nil || p.Description != "first" {
			t.Errorf("%s: the old set is gone: %+v", tt.name, p)
		}
	}

	s.write("playbooks/..2/one.yaml", described("second"))
	lead("..2", "playbooks/..data")
	if _, err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := current(); p == nil || p.Description != "second" {
		t.Errorf("after the swap: %+v", p)
	}
}

// An editor writes beside the file and renames over it.
func TestReloadAfterRename(t *testing.T) {
	s := newSite(t)
	s.configure(quickPoll)
	s.write("playbooks/one.yaml", described("first"))
	d, _ := s.start()
	s.write("playbooks/4913", "")
	s.write("playbooks/.one.yaml.swp", "\x00")
	if err := os.Rename(s.path("playbooks/one.yaml"), s.path("playbooks/one.yaml~")); err != nil {
		t.Fatal(err)
	}
	s.write("playbooks/one.yaml.tmp", described("second"))
	if err := os.Rename(s.path("playbooks/one.yaml.tmp"), s.path("playbooks/one.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := d.engine.Set().Get("one"); p == nil || p.Description != "second" {
		t.Errorf("after the rename: %+v", p)
	}
}

package library_test

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/playbooks/library"
)

// sinks are those that the shipped playbooks speak to.
var sinks = []string{"soc-slack"}

func load(t *testing.T, deps actions.Deps) (*playbooks.Set, map[string]playbooks.Action) {
	t.Helper()
	all := actions.All(deps)
	set, problems := playbooks.LoadFS(library.FS, ".", all)
	if err := problems.Err(); err != nil {
		t.Fatalf("the library does not load:\n%v", err)
	}
	return set, all
}

func TestLibraryLoads(t *testing.T) {
	set, _ := load(t, actions.Deps{Sinks: sinks})
	files, err := fs.Glob(library.FS, "*.yaml")
	files = slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, "_test.yaml") })
	if err != nil || len(files) != len(set.Playbooks()) || len(files) < 20 {
		t.Errorf("%d files, %d playbooks: %v", len(files), len(set.Playbooks()), err)
	}
	for _, pb := range set.Playbooks() {
		if pb.File != pb.Name+".yaml" || strings.TrimSpace(pb.Description) == "" || pb.Mode != soar.ModeEnforce || len(pb.Steps()) == 0 {
			t.Errorf("%s: playbook %s in mode %s, %d steps, %q", pb.File, pb.Name, pb.Mode, len(pb.Steps()), pb.Description)
		}
	}
}

// The guide lists every shipped playbook.
func TestLibraryIsListed(t *testing.T) {
	guide, err := os.ReadFile("../../docs/howto/write-a-playbook.md")
	if err != nil {
		t.Fatal(err)
	}
	set, _ := load(t, actions.Deps{Sinks: sinks})
	for _, pb := range set.Playbooks() {
		if row := "| [`" + pb.Name + "`](../../playbooks/library/" + pb.File + ") | "; !strings.Contains(string(guide), row) {
			t.Errorf("the guide does not list %s", pb.Name)
		}
	}
}

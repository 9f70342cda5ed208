package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/library"
)

// linkCalled ties a playbook to those that it calls, as far as they stand in the
// folder of its file or in the library. One that is not found is no mistake here: what
// looks at the playbook says so.
func linkCalled(pb *playbooks.Playbook, folder string, known map[string]playbooks.Action) error {
	if !slices.ContainsFunc(pb.Steps(), func(s playbooks.StepInfo) bool { return s.Call != "" }) {
		return nil
	}
	var others []*playbooks.Playbook
	for _, name := range config.LibraryNames() {
		if data, err := fs.ReadFile(library.FS, name+".yaml"); err == nil {
			if other, _ := playbooks.Parse("library/"+name+".yaml", data, known); other != nil {
				others = append(others, other)
			}
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() || !playbooks.IsPlaybookFile(entry.Name()) {
			continue
		}
		if other, _, err := readPlaybook(filepath.Join(folder, entry.Name()), known); err == nil && other != nil {
			others = append(others, other)
		}
	}
	_ = playbooks.Link(others) // their mistakes are for lint to tell
	problems := playbooks.Link([]*playbooks.Playbook{pb}, others...)
	return slices.DeleteFunc(problems, func(p registry.Problem) bool { return p.Code == "unknown-playbook" }).Err()
}

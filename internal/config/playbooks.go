package config

import (
	"io/fs"
	"strings"

	"github.com/erbridge/erbridge/playbooks/library"
)

// LibraryNames lists the playbooks that ship with erbridge, in alphabetical order.
func LibraryNames() []string {
	var names []string
	files, err := fs.Glob(library.FS, "*.yaml")
	if err != nil {
		return nil // only a malformed pattern is an error
	}
	for _, file := range files {
		if name := strings.TrimSuffix(file, ".yaml"); !strings.HasSuffix(name, "_test") {
			names = append(names, name)
		}
	}
	return names
}

package playbooks

import (
	"io/fs"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
)

// IsPlaybookFile reports whether LoadDir would take a file of that base name:
// .yaml and .yml, except tests.
func IsPlaybookFile(base string) bool { return isPlaybookFile(base) }

// Places tells where a byte of the value of a scalar stands in the text that the
// scalar was read from.
func Places(file string, data []byte) func(n *yaml.Node, offset int) registry.Position {
	s := newSource(data)
	return func(n *yaml.Node, offset int) registry.Position { return s.place(file, n, offset) }
}

// EachFile reads the files below root that LoadFS would take for playbooks, and calls
// each with them. One that cannot be read comes with the reason; so does a folder.
func EachFile(fsys fs.FS, root string, each func(name string, data []byte, err error)) error {
	files, err := readAll(fsys, root)
	if err != nil {
		return err
	}
	for _, f := range files {
		each(f.name, f.data, f.err)
	}
	return nil
}

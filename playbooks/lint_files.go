package playbooks

import (
	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
)

// IsPlaybookFile reports whether LoadDir would take a file of that base name:
// .yaml and .yml, except tests.
func IsPlaybookFile(base string) bool { return isPlaybookFile(base) }

// PlaceIn is where byte offset of the value of scalar n stands in the text that n
// was read from.
func PlaceIn(file string, data []byte, n *yaml.Node, offset int) registry.Position {
	return newSource(data).place(file, n, offset)
}

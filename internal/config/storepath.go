package config

import (
	"errors"
	"fmt"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

// StorePath is store.path of a file that Load refuses for its mistakes: what finds the
// store, and the daemon that works on it, while somebody is still mending the rest. It
// fails where the file is no YAML, or has no path in its place.
func StorePath(path string) (string, error) {
	data, err := readFile(path)
	if err != nil {
		return "", err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return "", fmt.Errorf("%s is not YAML, so store.path cannot be found in it", path)
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return "", errNoStorePath
	}
	root := doc.Content[0]
	n := find(root, "store", "path")
	switch {
	case n == nil && find(root, "store") != nil && find(root, "store").Kind != yaml.MappingNode:
		return "", errNoStorePath
	case n == nil:
		return Default().Store.Path, nil
	case n.Kind != yaml.ScalarNode || n.Value == "":
		return "", errNoStorePath
	case filepath.IsAbs(n.Value):
		return n.Value, nil
	}
	return filepath.Join(filepath.Dir(path), n.Value), nil
}

var errNoStorePath = errors.New("store.path of the configuration is not the path of a folder")

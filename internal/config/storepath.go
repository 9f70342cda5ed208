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
	dir, set, err := textOfBroken(path, "store", "path")
	switch {
	case err != nil:
		return "", err
	case !set:
		return Default().Store.Path, nil
	case dir == "":
		return "", errNoStorePath
	case filepath.IsAbs(dir):
		return dir, nil
	}
	return filepath.Join(filepath.Dir(path), dir), nil
}

var errNoStorePath = errors.New("store.path of the configuration is not the path of a folder")

// ConsoleListen is console.listen of a file that Load refuses for its mistakes, by which
// the daemon is asked how it is; empty where the console is turned off. It fails as
// StorePath does.
func ConsoleListen(path string) (string, error) {
	address, set, err := textOfBroken(path, "console", "listen")
	if err == nil && !set {
		address = Default().Console.Listen
	}
	return address, err
}

// textOfBroken is the text of a setting in a file that has mistakes. Of one that is not a
// text, it is empty.
func textOfBroken(path, section, name string) (value string, set bool, err error) {
	data, err := readFile(path)
	if err != nil {
		return "", false, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return "", false, fmt.Errorf("%s is not YAML, so %s.%s cannot be found in it", path, section, name)
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return "", true, nil
	}
	root := doc.Content[0]
	switch n := find(root, section, name); {
	case n != nil && n.Kind == yaml.ScalarNode:
		return n.Value, true, nil
	case n != nil:
		return "", true, nil
	}
	above := find(root, section)
	return "", above != nil && above.Kind != yaml.MappingNode, nil
}

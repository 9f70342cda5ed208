// Command gendocs writes the generated files of the module: go run ./internal/gendocs/cmd
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/erbridge/erbridge/internal/gendocs"
)

func main() {
	root := flag.String("root", ".", "folder of the module")
	out := flag.String("out", "", "folder to write to; the module itself when empty")
	flag.Parse()
	if *out == "" {
		*out = *root
	}
	if err := write(*root, *out); err != nil {
		fmt.Fprintln(os.Stderr, "gendocs:", err)
		os.Exit(1)
	}
}

func write(root, out string) error {
	files, err := gendocs.Generate(root)
	if err != nil {
		return err
	}
	for name, data := range files {
		path := filepath.Join(out, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

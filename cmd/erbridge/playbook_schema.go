package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/docs/reference"
)

// schemas are the words of playbook schema, and the files that they stand for.
var schemas = map[string]string{
	"playbook": "playbook.schema.json", "test": "playbook-test.schema.json", "config": "config.schema.json",
}

// schemaFolder is where editors look for the schemas, beside the playbooks. Folders
// that begin with a dot are no playbooks.
const schemaFolder = ".erbridge"

func newPlaybookSchema() *cobra.Command {
	var write string
	words := sortedNames(schemas)
	cmd := &cobra.Command{
		Use:   "schema [playbook|test|config]",
		Short: "print the JSON Schema of playbooks, of their tests, or of the configuration",
		Long: `schema prints what editors need to help with a file: the JSON Schema of playbooks, or
of the files named. --write puts all of them into the folder ` + schemaFolder + ` below the one given,
where the first line of a playbook names them:

  # yaml-language-server: $schema=` + schemaFolder + `/playbook.schema.json`,
		Args:      args(cobra.MaximumNArgs(1)),
		ValidArgs: words,
		RunE: func(cmd *cobra.Command, given []string) error {
			if write != "" {
				return writeSchemas(write)
			}
			word := "playbook"
			if len(given) == 1 {
				word = given[0]
			}
			if !slices.Contains(words, word) {
				return usagef("schema %q: there are %s", word, strings.Join(words, ", "))
			}
			data, err := fs.ReadFile(reference.Schemas, schemas[word])
			if err != nil {
				return fmt.Errorf("schema: %w", err)
			}
			_, err = cmd.OutOrStdout().Write(data)
			return err
		},
	}
	cmd.Flags().StringVar(&write, "write", "", "write the schemas into "+schemaFolder+" below this folder")
	_ = cmd.MarkFlagDirname("write")
	return cmd
}

func writeSchemas(dir string) error {
	dir = filepath.Join(dir, schemaFolder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	for _, word := range sortedNames(schemas) {
		data, err := fs.ReadFile(reference.Schemas, schemas[word])
		if err != nil {
			return fmt.Errorf("schema: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, schemas[word]), data, 0o644); err != nil {
			return fmt.Errorf("schema: %w", err)
		}
	}
	return nil
}

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/playbooks/cacao"
	"github.com/erbridge/erbridge/playbooks/lint"
)

// maxCACAOBytes is above the importer's own bound, which has the better words.
const maxCACAOBytes = 2 << 20

func newPlaybookImport() *cobra.Command {
	return group("import", "make a playbook of one in another format", newImportCACAO())
}

func newPlaybookExport() *cobra.Command {
	return group("export", "write a playbook in another format", newExportCACAO())
}

// importReport is what import tells.
type importReport struct {
	Playbook string         `json:"playbook"`
	File     string         `json:"file"`
	Notes    []cacao.Note   `json:"notes"`
	Lint     []lint.Finding `json:"lint"`
}

func newImportCACAO() *cobra.Command {
	var dir string
	var out output
	cmd := &cobra.Command{
		Use:   "cacao FILE",
		Short: "make a playbook of a CACAO 2.0 playbook, and tell what became of each step",
		Long: `cacao reads a CACAO Security Playbook of version 2.0 and writes NAME.yaml. The
playbook always only observes. What has no counterpart here, such as commands for
other systems, becomes a note that tells a person what to do.

The report has a line for each step, with its CACAO id: converted, approximated or
not convertible. Below it stands what lint says about the playbook.`,
		Example: `  erbridge playbook import cacao phishing.json --dir playbooks`,
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := out.check(); err != nil {
				return err
			}
			report, err := importCACAO(cmd.InOrStdin(), given[0], dir)
			if err != nil {
				return err
			}
			return printItem(cmd.Context(), cmd, &out, report, showImport)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "the folder to write to")
	_ = cmd.MarkFlagDirname("dir")
	out.flags(cmd)
	return cmd
}

func importCACAO(stdin io.Reader, path, dir string) (*importReport, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("playbook %w", notFound(err))
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxCACAOBytes))
	if err != nil {
		return nil, fmt.Errorf("playbook %s: %w", path, err)
	}
	imported, err := cacao.Import(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	file := filepath.Join(dir, imported.Name+".yaml")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("playbook: %w", err)
	}
	if err := createFile(file, imported.YAML); err != nil {
		return nil, err
	}
	set, err := readLintSet(stdin, []string{file}, nil)
	if err != nil {
		return nil, err
	}
	report := &importReport{Playbook: imported.Name, File: file, Notes: imported.Notes, Lint: []lint.Finding{}}
	report.Lint = append(report.Lint, lint.Run(set.files, set.known, daemon.LintActions(nil))...)
	return report, nil
}

func showImport(w io.Writer, r *importReport) error {
	fmt.Fprintf(w, "wrote %s\n\n", clean(r.File))
	err := printTable(w, r.Notes, []column[cacao.Note]{
		{"result", func(n cacao.Note) string { return string(n.Kind) }},
		{"step", func(n cacao.Note) string { return n.Step }},
		{"name", func(n cacao.Note) string { return short(n.Name, 30) }},
		{"what", func(n cacao.Note) string { return n.What }},
	})
	if err != nil {
		return err
	}
	if len(r.Lint) == 0 {
		_, err = fmt.Fprintln(w, "\nlint: nothing to say")
		return err
	}
	fmt.Fprintln(w, "\nlint")
	for _, f := range r.Lint {
		fmt.Fprintf(w, "  %s\n", clean(f.String()))
	}
	return nil
}

func newExportCACAO() *cobra.Command {
	var file configFlag
	var to string
	cmd := &cobra.Command{
		Use:   "cacao PLAYBOOK",
		Short: "write a playbook as CACAO 2.0",
		Long: `cacao writes a playbook as a CACAO Security Playbook of version 2.0. The ids are
made of the names, so that the same playbook has the same ids every time. What CACAO
has no words for is in an extension, with which import brings the playbook back.

PLAYBOOK is a file, or the name of a playbook of the configuration or the library.`,
		Example: `  erbridge playbook export cacao contain-shadow-copy-deletion > contain.json`,
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			pb, err := findPlaybook(given[0], &file)
			if err != nil {
				return err
			}
			at := time.Now()
			if info, err := os.Stat(pb.File); err == nil && !strings.HasPrefix(pb.File, "library/") {
				at = info.ModTime()
			}
			data, err := cacao.Export(pb.Source, at)
			if err != nil {
				return err
			}
			if to != "" {
				return createFile(to, data)
			}
			_, err = cmd.OutOrStdout().Write(data)
			return err
		},
	}
	file.flags(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the file to write, which must not be there yet; without it, standard output")
	_ = cmd.MarkFlagFilename("to", "json")
	return cmd
}

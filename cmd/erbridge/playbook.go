package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/library"
)

func newPlaybook() *cobra.Command {
	return group("playbook", "check and test playbooks, and see what one makes of an alert",
		newPlaybookLint(), newPlaybookTest(), newPlaybookExplain(), newPlaybookBacktest(), newPlaybookList(), newPlaybookRun(), newPlaybookNew(), newPlaybookSchema(), newPlaybookGraph(), newPlaybookImport(), newPlaybookExport())
}

// notFound gives a missing file the exit code of something that is not there.
func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", err, soar.ErrNotFound)
	}
	return err
}

// maxPlaybookBytes is above the loader's own bound, which has the better words.
const maxPlaybookBytes = 4 << 20

func readPlaybook(path string, actions map[string]playbooks.Action) (*playbooks.Playbook, registry.Problems, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("playbook %w", notFound(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPlaybookBytes))
	if err != nil {
		return nil, nil, fmt.Errorf("playbook %s: %w", path, err)
	}
	pb, problems := playbooks.ParseIn(os.DirFS(filepath.Dir(path)), path, data, actions)
	return pb, problems, nil
}

func newPlaybookList() *cobra.Command {
	var file configFlag
	var out output
	type row struct {
		Name        string    `json:"playbook"`
		Mode        soar.Mode `json:"mode"`
		On          []string  `json:"on"`
		Attack      []string  `json:"attack,omitempty"`
		File        string    `json:"file"`
		Description string    `json:"description,omitempty"`
	}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the playbooks of the configuration",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			cfg, err := file.load()
			if err != nil {
				return err
			}
			set, err := daemon.LoadPlaybooks(cfg, daemon.LintActions(cfg))
			if err != nil {
				return err
			}
			var rows []row
			for _, p := range set.Playbooks() {
				mode := p.Mode
				if cfg.Playbooks.Mode == soar.ModeObserve {
					mode = soar.ModeObserve
				}
				rows = append(rows, row{p.Name, mode, p.On, p.Attack, p.File, strings.Join(strings.Fields(p.Description), " ")})
			}
			return printList(cmd.Context(), cmd, &out, rows, []column[row]{
				{"playbook", func(r row) string { return r.Name }},
				{"mode", func(r row) string { return string(r.Mode) }},
				{"on", func(r row) string { return strings.Join(r.On, ", ") }},
				{"attack", func(r row) string { return strings.Join(r.Attack, ", ") }},
				{"file", func(r row) string { return r.File }},
				{"description", func(r row) string { return short(r.Description, 70) }},
			})
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	return cmd
}

// errFolder is wrapped by findPlaybook when the name is that of a folder.
var errFolder error = &usageError{"it is a folder: name a file in it"}

// findPlaybook takes a file when there is one, and else looks in the configuration
// and then in the library: who has changed a playbook of the library under its name
// means his own. Names of sinks are not checked: that is lint's.
func findPlaybook(name string, file *configFlag) (*playbooks.Playbook, error) {
	lint := daemon.LintActions(nil)
	info, err := os.Stat(name)
	if err == nil && !info.IsDir() {
		pb, problems, err := readPlaybook(name, lint)
		if err != nil {
			return nil, err
		}
		if pb == nil {
			return nil, problems.Err()
		}
		return pb, linkCalled(pb, filepath.Dir(name), lint)
	}
	cfg, noConfig := file.load()
	names := config.LibraryNames()
	if noConfig == nil {
		set, err := daemon.LoadPlaybooks(cfg, lint)
		if err != nil {
			return nil, err
		}
		if pb := set.Get(name); pb != nil {
			return pb, nil
		}
		for _, pb := range set.Playbooks() {
			names = append(names, pb.Name)
		}
	}
	switch {
	case slices.Contains(config.LibraryNames(), name):
		pb, err := libraryPlaybook(name, lint)
		if err != nil {
			return nil, err
		}
		return pb, playbooks.Link([]*playbooks.Playbook{pb}, shipped(lint)...).Err()
	case err == nil:
		return nil, fmt.Errorf("playbook %s: %w", name, errFolder)
	}
	err = fmt.Errorf("playbook %q: %w", name, soar.ErrNotFound)
	if noConfig != nil {
		err = fmt.Errorf("playbook %q is no file and not in the library; %w", name, noConfig)
	}
	if near := registry.Near(name, names, 1); len(near) > 0 {
		return nil, fmt.Errorf("%w; did you mean %q?", err, near[0])
	}
	return nil, err
}

func libraryPlaybook(name string, known map[string]playbooks.Action) (*playbooks.Playbook, error) {
	data, err := fs.ReadFile(library.FS, name+".yaml")
	if err != nil {
		return nil, err
	}
	pb, problems := playbooks.Parse("library/"+name+".yaml", data, known)
	return pb, problems.Err()
}

func onlineActions(file *configFlag) (map[string]playbooks.Action, error) {
	cfg, err := file.load()
	if err != nil {
		return nil, err
	}
	return daemon.OnlineActions(cfg, daemon.Options{Version: buildVersion()})
}

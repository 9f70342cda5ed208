package daemon

import (
	"fmt"
	"io/fs"
	"slices"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/scripts"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/playbooks/library"
)

// LintActions are the actions as lint sees them: bound to no server, and knowing
// the configured sinks and reviewed scripts.
func LintActions(cfg *config.Config) map[string]playbooks.Action {
	deps := actions.Deps{}
	if cfg != nil {
		// Without any sink, a name of one is a mistake too.
		deps.Sinks = append([]string{}, cfg.Sinks.Names()...)
		deps.Scripts, _ = scripts.Load(cfg.Actions.ScriptsDir) // a step with a broken one says so
	}
	return actions.All(deps)
}

// LoadPlaybooks reads the playbooks that a configuration names, and ties their
// steps to the actions given. An error of type registry.Problems holds every
// mistake in them and in the reviewed scripts.
func LoadPlaybooks(cfg *config.Config, known map[string]playbooks.Action) (*playbooks.Set, error) {
	var loaded []*playbooks.Playbook
	_, problems := scripts.Load(cfg.Actions.ScriptsDir)
	names := cfg.Playbooks.Library
	if slices.Contains(names, "all") {
		names = config.LibraryNames()
	}
	for _, name := range names {
		data, err := fs.ReadFile(library.FS, name+".yaml")
		if err != nil {
			return nil, fmt.Errorf("%w: library playbook %q: %w", ErrConfig, name, err)
		}
		p, more := playbooks.Parse("library/"+name+".yaml", data, known)
		problems = append(problems, more...)
		if p != nil {
			loaded = append(loaded, p)
		}
	}
	problems = append(problems, playbooks.Link(loaded)...)
	if cfg.Playbooks.Dir != "" {
		own, more := playbooks.LoadDir(cfg.Playbooks.Dir, known, loaded...)
		problems = append(problems, more...)
		if own != nil {
			for _, p := range own.Playbooks() {
				if i := slices.IndexFunc(loaded, func(l *playbooks.Playbook) bool { return l.Name == p.Name }); i >= 0 {
					problems.Addf(registry.Position{File: p.File, Line: 1, Column: 1}, "repeated-name",
						"give it a name of its own, or take the other out of playbooks.library", "playbook %q stands in %s already", p.Name, loaded[i].File)
					continue
				}
				loaded = append(loaded, p)
			}
		}
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return playbooks.NewSet(loaded...), nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/library"
)

func newPlaybook() *cobra.Command {
	return group("playbook", "check and test playbooks, and see what one makes of an alert",
		newPlaybookLint(), newPlaybookTest(), newPlaybookExplain(), newPlaybookList(), newPlaybookRun(), newPlaybookNew(), newPlaybookSchema(), newPlaybookGraph())
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
	pb, problems := playbooks.Parse(path, data, actions)
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

func newPlaybookExplain() *cobra.Command {
	var file configFlag
	var out output
	var alertFile string
	var online bool
	cmd := &cobra.Command{
		Use:   "explain PLAYBOOK [ALERT]",
		Short: "show condition by condition what a playbook makes of an alert, and what it would do",
		Long: `explain evaluates one playbook on one alert and sends nothing that has an effect.

PLAYBOOK is a file, or the name of a playbook of the configuration or the library.
ALERT is an alert of the store, such as er-4711; --alert-file takes one from a JSON
file in the form that alerts show --output json prints.

Enrichment is read from the server with --online; without, it counts as failed.`,
		Args: args(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if (len(given) == 2) == (alertFile != "") {
				return usagef("name an alert of the store, or a file with --alert-file")
			}
			pb, err := findPlaybook(given[0], &file)
			if err != nil {
				return err
			}
			var alert soar.Alert
			if alertFile != "" {
				alert, err = readAlert(cmd.InOrStdin(), alertFile)
			} else {
				alert, err = storedAlert(cmd.Context(), &file, given[1])
			}
			if err != nil {
				return err
			}
			var reading map[string]playbooks.Action
			if online {
				if reading, err = onlineActions(&file); err != nil {
					return err
				}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Minute)
			defer cancel()
			x, err := playbooks.Explain(ctx, pb, alert, reading)
			if err != nil {
				return err
			}
			return printItem(cmd.Context(), cmd, &out, x, showExplanation)
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	cmd.Flags().StringVar(&alertFile, "alert-file", "", "a JSON file with the alert; - is standard input")
	cmd.Flags().BoolVar(&online, "online", false, "log in to the server to read what the playbook enriches with")
	return cmd
}

// findPlaybook takes a file when there is one, and else looks in the
// configuration and the library. Names of sinks are not checked: that is lint's.
func findPlaybook(name string, file *configFlag) (*playbooks.Playbook, error) {
	lint := daemon.LintActions(nil)
	if _, err := os.Stat(name); err == nil {
		pb, problems, err := readPlaybook(name, lint)
		if err != nil {
			return nil, err
		}
		if pb == nil {
			return nil, problems.Err()
		}
		return pb, linkCalled(pb, filepath.Dir(name), lint)
	}
	if data, err := fs.ReadFile(library.FS, name+".yaml"); err == nil {
		pb, problems := playbooks.Parse("library/"+name+".yaml", data, lint)
		return pb, problems.Err()
	}
	cfg, err := file.load()
	if err != nil {
		return nil, fmt.Errorf("playbook %q is no file and not in the library; %w", name, err)
	}
	set, err := daemon.LoadPlaybooks(cfg, daemon.LintActions(cfg))
	if err != nil {
		return nil, err
	}
	if pb := set.Get(name); pb != nil {
		return pb, nil
	}
	return nil, fmt.Errorf("playbook %q: %w", name, soar.ErrNotFound)
}

func storedAlert(ctx context.Context, file *configFlag, ref string) (soar.Alert, error) {
	r, err := file.reader(ctx)
	if err != nil {
		return soar.Alert{}, err
	}
	defer r.Close()
	stored, err := r.AlertByRef(ctx, ref)
	return stored.Alert, err // it names the alert
}

// readAlert takes an alert by itself, or as alerts show prints it.
func readAlert(stdin io.Reader, path string) (soar.Alert, error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return soar.Alert{}, fmt.Errorf("alert %w", notFound(err))
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxDataBytes))
	if err != nil {
		return soar.Alert{}, fmt.Errorf("alert %s: %w", path, err)
	}
	var stored struct {
		Alert *soar.Alert `json:"alert"`
	}
	if err := json.Unmarshal(data, &stored); err != nil {
		return soar.Alert{}, usagef("%s: not an alert as JSON: %v", path, err)
	}
	if stored.Alert != nil {
		return *stored.Alert, nil
	}
	var alert soar.Alert
	if err := json.Unmarshal(data, &alert); err != nil {
		return soar.Alert{}, usagef("%s: not an alert as JSON: %v", path, err)
	}
	return alert, nil
}

func onlineActions(file *configFlag) (map[string]playbooks.Action, error) {
	cfg, err := file.load()
	if err != nil {
		return nil, err
	}
	return daemon.OnlineActions(cfg, daemon.Options{Version: buildVersion()})
}

func showExplanation(w io.Writer, x *playbooks.Explanation) error {
	fmt.Fprintf(w, "playbook %s, alert %s: %s\n", clean(x.Playbook), clean(x.Alert), x.Verdict)
	if x.Error != "" {
		fmt.Fprintln(w, "error:", clean(x.Error))
	}
	if x.Closest != "" {
		fmt.Fprintf(w, "the one thing against a match: %s\n", clean(x.Closest))
	}
	if len(x.Conditions) > 0 {
		fmt.Fprintln(w, "\nconditions")
		err := printTable(w, x.Conditions, []column[playbooks.Condition]{
			{"  block", func(c playbooks.Condition) string { return "  " + string(c.Block) }},
			{"verdict", func(c playbooks.Condition) string { return string(c.Verdict) }},
			{"condition", func(c playbooks.Condition) string { return c.Name }},
			{"found", func(c playbooks.Condition) string { return short(found(c), 80) }},
		})
		if err != nil {
			return err
		}
	}
	for _, a := range x.Guard {
		fmt.Fprintf(w, "\n%s: %s\n", clean(a.Check), clean(a.Words))
	}
	if x.Verdict != playbooks.Match || len(x.Steps) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nsteps")
	return printTable(w, x.Steps, []column[playbooks.PlannedStep]{
		{"  step", func(s playbooks.PlannedStep) string { return "  " + s.ID }},
		{"action", func(s playbooks.PlannedStep) string { return s.Action }},
		{"effect", func(s playbooks.PlannedStep) string { return string(s.Effect) }},
		{"what", func(s playbooks.PlannedStep) string { return short(planned(s), 100) }},
	})
}

func found(c playbooks.Condition) string {
	if c.Error != "" {
		return c.Error
	}
	if c.Value == nil {
		return ""
	}
	data, err := json.Marshal(c.Value)
	if err != nil {
		return ""
	}
	return string(data)
}

func planned(s playbooks.PlannedStep) string {
	if s.With == nil {
		return s.Words
	}
	data, err := json.Marshal(s.With)
	if err != nil {
		return s.Words
	}
	return strings.TrimSpace(s.Words + " " + string(data))
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

func newRunsUndo() *cobra.Command {
	var file configFlag
	var out output
	var o playbooks.UndoOrder
	cmd := &cobra.Command{
		Use:   "undo RUN [--step STEP] --reason TEXT",
		Short: "take back what a run did, or one step of it",
		Long: `What a run did is taken back by a run of its own, the last step first: hosts are
released, tags taken away, and so on for every step that can be taken back. Each of
them is tried, whatever becomes of the others; a host that is offline is waited for.
The guard lets it pass on protected hosts, in change freezes and beyond budgets. The
kill switch holds it.

What would be taken back by itself later is taken back now. What was taken back
before, is not again; where that failed, it is tried again. erbridge runs show RUN
tells what would be taken back, and by which call.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if err := out.check(); err != nil {
				return err
			}
			if o.Run, err = soar.ParseRunID(given[0]); err != nil {
				return usagef("%v", err)
			}
			if o.Reason == "" {
				return usagef("--reason is needed: it is kept in the journal of the run")
			}
			if o.By, err = whoSays(o.By); err != nil {
				return err
			}
			var done playbooks.Undoing
			err = file.control(cmd.Context(), func(to daemon.Control) error {
				done, err = to.Undo(cmd.Context(), o)
				return err
			})
			if err != nil {
				return fmt.Errorf("undo: %w", err)
			}
			return printItem(cmd.Context(), cmd, &out, done, printUndoing)
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	cmd.Flags().StringVar(&o.Step, "step", "", "only this step, which has ended; of a for_each all of it, or one item: collect[2]")
	cmd.Flags().StringVar(&o.Reason, "reason", "", "why")
	byFlag(cmd, &o.By)
	return cmd
}

func printUndoing(w io.Writer, done playbooks.Undoing) error {
	if done.Run != nil {
		fmt.Fprintf(w, "run %s takes it back; erbridge runs show %[1]s tells how it goes\n\n", done.Run.ID)
	}
	return printTable(w, done.Steps, []column[playbooks.UndoneStep]{
		{"step", func(s playbooks.UndoneStep) string { return s.Step }},
		{"did", func(s playbooks.UndoneStep) string { return s.Action }},
		{"undo", func(s playbooks.UndoneStep) string { return strings.ReplaceAll(string(s.State), "_", " ") }},
		{"what", func(s playbooks.UndoneStep) string { return s.Words }},
	})
}

func newRunsExtend() *cobra.Command {
	var file configFlag
	var x playbooks.Extension
	var longer, until string
	cmd := &cobra.Command{
		Use:   "extend RUN --for DURATION|--until TIME --reason TEXT",
		Short: "let something last longer that is taken back by itself, such as a containment",
		Long: `RUN is the run that did it, all of whose steps last longer then that are taken back by
themselves, or the one that takes a step back, which erbridge runs list shows as
waiting. --for is how much longer than it would last now; --until is the time
itself, which may be an earlier one. People are told again before that time.

erbridge runs cancel RUN lets it last for good, erbridge runs undo ends it now.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if x.Run, err = soar.ParseRunID(given[0]); err != nil {
				return usagef("%v", err)
			}
			if longer != "" {
				if x.For, err = registry.ParseDuration(longer); err != nil || x.For <= 0 {
					return usagef("--for %q: expected a time such as 4h or 2d", longer)
				}
			}
			if until != "" {
				if x.Until, err = time.Parse(time.RFC3339, until); err != nil {
					return usagef("--until %q: expected a time such as 2026-11-22T18:00:00Z", until)
				}
			}
			switch {
			case (longer != "") == (until != ""):
				return usagef("say either --for or --until")
			case x.Reason == "":
				return usagef("--reason is needed: it is kept in the journal of the run")
			}
			if x.By, err = whoSays(x.By); err != nil {
				return err
			}
			var steps []playbooks.ExtendedStep
			err = file.control(cmd.Context(), func(to daemon.Control) error {
				steps, err = to.Extend(cmd.Context(), x)
				return err
			})
			if err != nil {
				return fmt.Errorf("extend: %w", err)
			}
			return printExtended(cmd.OutOrStdout(), steps)
		},
	}
	file.flags(cmd)
	cmd.Flags().StringVar(&longer, "for", "", "how much longer, such as 4h or 2d")
	cmd.Flags().StringVar(&until, "until", "", "until when, such as 2026-11-22T18:00:00Z")
	cmd.Flags().StringVar(&x.Step, "step", "", "only this step; of a for_each all of it, or one item: contain[2]")
	cmd.Flags().StringVar(&x.Reason, "reason", "", "why")
	byFlag(cmd, &x.By)
	return cmd
}

// printExtended tells when each step is taken back now. An error says that not all of them
// last longer.
func printExtended(w io.Writer, steps []playbooks.ExtendedStep) error {
	var left []string
	for _, s := range steps {
		if s.Words != "" {
			left = append(left, fmt.Sprintf("step %s: %s", s.Step, s.Words))
			continue
		}
		if _, err := fmt.Fprintf(w, "run %s takes back step %s at %s\n", s.Run, clean(s.Step), stamp(s.Due)); err != nil {
			return err
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("extend: not all lasts longer: %s", strings.Join(left, "; "))
	}
	return nil
}

// takenBack is a run that takes back a step of another.
type takenBack struct {
	Step  string        `json:"step"`
	Run   soar.RunID    `json:"run"`
	State soar.RunState `json:"state"`
	Due   time.Time     `json:"due,omitzero"` // while it waits for its time
	By    string        `json:"by,omitempty"`
}

// readTakenBack finds the runs that take back what a run did.
func readTakenBack(ctx context.Context, r *store.Reader, of soar.RunID) (list []takenBack, err error) {
	prefix := playbooks.UndoKeys(of)
	kvs, err := r.KV(ctx, prefix)
	if err != nil {
		return nil, err
	}
	for _, kv := range kvs {
		var mark struct {
			Run soar.RunID `json:"run"`
		}
		if err := json.Unmarshal([]byte(kv.Value), &mark); err != nil {
			return nil, fmt.Errorf("%s: %w", kv.Key, err)
		}
		run, err := r.GetRun(ctx, mark.Run)
		if errors.Is(err, soar.ErrNotFound) {
			continue // retention took it
		}
		if err != nil {
			return nil, err
		}
		entries, err := r.Entries(ctx, mark.Run)
		if err != nil {
			return nil, err
		}
		listed := listedRun{Run: run}
		listed.read(entries)
		one := takenBack{Step: strings.TrimPrefix(kv.Key, prefix), Run: run.ID, State: run.State, Due: listed.Due}
		if listed.TakesBack != nil {
			one.By = listed.TakesBack.By
		}
		list = append(list, one)
	}
	return list, nil
}

// takenBackWords say which runs take back what a run did.
func takenBackWords(list []takenBack) string {
	parts := make([]string, len(list))
	for i, t := range list {
		parts[i] = fmt.Sprintf("%s by run %s (%s)", t.Step, t.Run, t.State)
		if !t.Due.IsZero() {
			parts[i] = fmt.Sprintf("%s by run %s at %s, unless somebody extends it", t.Step, t.Run, stamp(t.Due))
		}
	}
	return phrase("; ", parts...)
}

// takesBackWords say what a run takes back.
func takesBackWords(note *playbooks.UndoNote) string {
	if note == nil {
		return ""
	}
	steps := make([]string, len(note.Steps))
	for i, s := range note.Steps {
		steps[i] = s.Step
	}
	words := fmt.Sprintf("step %s of run %s (%s)", short(strings.Join(steps, ", "), 200), note.Run, note.Playbook)
	if note.By == "" {
		return words + ", by itself"
	}
	return phrase(": ", words+", as "+note.By+" said", note.Reason)
}

// dueWords say when something is taken back by itself.
func dueWords(r *listedRun) string {
	if r.Due.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s; erbridge runs extend %s --for 4h --reason TEXT moves it", stamp(r.Due), r.ID)
}

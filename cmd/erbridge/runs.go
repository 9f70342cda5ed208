package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

func newRuns() *cobra.Command {
	return group("runs", "look at what playbooks did, and settle what nobody else can", newRunsList(), newRunsShow(), newRunsSettle(), newRunsCancel(),
		newRunsUndo(), newRunsExtend())
}

// listedRun is what runs list prints as JSON.
type listedRun struct {
	soar.Run
	// Held are the steps that wait before their calls are sent.
	Held []playbooks.HeldStep `json:"held,omitempty"`
	// TakesBack is what the run takes back of another; Due is when it does so by itself.
	TakesBack *playbooks.UndoNote `json:"takes_back,omitempty"`
	Due       time.Time           `json:"due,omitzero"`
}

// read adds what the journal of a run tells of it.
func (r *listedRun) read(entries []soar.Entry) {
	if r.State == soar.RunWaiting {
		r.Held = playbooks.HeldSteps(entries)
	}
	note, pending := playbooks.PendingUndo(entries)
	if r.TakesBack = note; pending && !r.State.Ended() {
		r.Due = note.Due
	}
}

// words say what a run waits for, or why it ended as it did.
func (r *listedRun) words() string {
	due := ""
	if !r.Due.IsZero() {
		due = fmt.Sprintf("takes back step %s of run %s at %s", r.TakesBack.Steps[0].Step, r.TakesBack.Run, stamp(r.Due))
	}
	return phrase("; ", due, r.Run.Error, waitsFor(r.Held))
}

var runColumns = []column[listedRun]{
	{"run", func(r listedRun) string { return r.ID.String() }},
	{"started", func(r listedRun) string { return stamp(r.StartedAt) }},
	{"took", func(r listedRun) string { return took(r.StartedAt, r.EndedAt) }},
	{"state", func(r listedRun) string { return string(r.State) }},
	{"mode", func(r listedRun) string { return string(r.Mode) }},
	{"playbook", func(r listedRun) string { return r.Playbook }},
	{"alert", func(r listedRun) string { return r.Alert }},
	{"note", func(r listedRun) string { return short(r.words(), 100) }},
}

func took(from, to time.Time) string {
	if to.IsZero() {
		return ""
	}
	return to.Sub(from).Round(time.Millisecond).String()
}

var runStates = []soar.RunState{soar.RunRunning, soar.RunWaiting, soar.RunDone, soar.RunFailed, soar.RunUnknown, soar.RunCancelled}

func newRunsList() *cobra.Command {
	var file configFlag
	var out output
	var filter store.RunFilter
	var state string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list runs, newest first",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			filter.State = soar.RunState(state)
			if state != "" && !slices.Contains(runStates, filter.State) {
				return usagef("--state %q: expected one of %v", state, runStates)
			}
			r, err := file.reader(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			runs, err := r.Runs(cmd.Context(), filter)
			if err != nil {
				return err
			}
			listed := make([]listedRun, len(runs))
			for i, run := range runs {
				listed[i].Run = run
				if run.State != soar.RunWaiting {
					continue
				}
				entries, err := r.Entries(cmd.Context(), run.ID)
				if err != nil {
					return err
				}
				listed[i].read(entries)
			}
			if err := printList(cmd.Context(), cmd, &out, listed, runColumns); err != nil {
				return err
			}
			return notePaused(cmd, r)
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	cmd.Flags().StringVar(&state, "state", "", "only in this state: running, waiting, done, failed, unknown or cancelled")
	cmd.Flags().StringVar(&filter.Playbook, "playbook", "", "only of this playbook")
	cmd.Flags().StringVar(&filter.Alert, "alert", "", "only about this alert")
	limitFlag(cmd, &filter.Limit)
	return cmd
}

// runWithJournal is what runs show prints as JSON.
type runWithJournal struct {
	listedRun
	Journal []soar.Entry `json:"journal"`
	// TakenBack are the runs that take back what this one did.
	TakenBack []takenBack `json:"taken_back,omitempty"`
}

func newRunsShow() *cobra.Command {
	var file configFlag
	var out output
	cmd := &cobra.Command{
		Use:   "show RUN",
		Short: "show one run with its journal: every intent, answer and decision",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := out.check(); err != nil {
				return err
			}
			id, err := soar.ParseRunID(given[0])
			if err != nil {
				return usagef("%v", err)
			}
			r, err := file.reader(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			run, err := r.GetRun(cmd.Context(), id)
			if err != nil {
				return err // it names the run
			}
			entries, err := r.Entries(cmd.Context(), id)
			if err != nil {
				return err
			}
			listed := listedRun{Run: run}
			listed.read(entries)
			taken, err := readTakenBack(cmd.Context(), r, id)
			if err != nil {
				return err
			}
			if err := printItem(cmd.Context(), cmd, &out, runWithJournal{listed, entries, taken}, showRun); err != nil {
				return err
			}
			return notePaused(cmd, r)
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	return cmd
}

func showRun(w io.Writer, r runWithJournal) error {
	err := printFields(w, []field{
		{"run", r.ID.String()},
		{"playbook", r.Playbook + " (" + short(r.Version, 12) + ")"},
		{"alert", r.Alert},
		{"mode", string(r.Mode)},
		{"state", string(r.State)},
		{"started", stamp(r.StartedAt)},
		{"ended", stamp(r.EndedAt)},
		{"wakes", stamp(r.Wake)},
		{"waits for", waitsFor(r.Held)},
		{"takes back", takesBackWords(r.TakesBack)},
		{"due", dueWords(&r.listedRun)},
		{"error", r.Run.Error},
		{"taken back", takenBackWords(r.TakenBack)},
	})
	if err != nil || len(r.Journal) == 0 {
		return err
	}
	fmt.Fprintln(w)
	return printJournal(w, r.Journal)
}

func newRunsSettle() *cobra.Command {
	var file configFlag
	var step, reason, by string
	var happened, didNot bool
	cmd := &cobra.Command{
		Use:   "settle RUN --step STEP --happened|--did-not-happen --reason TEXT",
		Short: "say whether a step of a run in state unknown happened, so that the run can end or go on",
		Long: `A step with an effect ends unknown when the answer to its call was lost and
the server's own records could not tell whether it happened. erbridge repeats
nothing then. Look at the host or the server's console, and say what you found:
your word is kept in the run's journal, under your name.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			id, err := soar.ParseRunID(given[0])
			switch {
			case err != nil:
				return usagef("%v", err)
			case happened == didNot:
				return usagef("say either --happened or --did-not-happen")
			case step == "" || reason == "":
				return usagef("--step and --reason are needed; erbridge runs show %s lists the steps", id)
			}
			if by, err = whoSays(by); err != nil {
				return err
			}
			err = file.control(cmd.Context(), func(c daemon.Control) error {
				return c.Settle(cmd.Context(), daemon.Settlement{Run: id, Step: step, Happened: happened, By: by, Reason: reason})
			})
			if err != nil {
				return fmt.Errorf("settle: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "settled: step %s of run %s\n", clean(step), id)
			return err
		},
	}
	file.flags(cmd)
	cmd.Flags().StringVar(&step, "step", "", "the step in doubt")
	cmd.Flags().BoolVar(&happened, "happened", false, "it did happen")
	cmd.Flags().BoolVar(&didNot, "did-not-happen", false, "it did not happen")
	cmd.Flags().StringVar(&reason, "reason", "", "how you know")
	byFlag(cmd, &by)
	return cmd
}

func newRunsCancel() *cobra.Command {
	var file configFlag
	var c playbooks.Cancellation
	cmd := &cobra.Command{
		Use:   "cancel RUN [--step STEP] --reason TEXT",
		Short: "call off a run, or one step of it that waits",
		Long: `Nothing else of the run begins then, its steps under finally included. A step
that was sent already is not called off: the run ends cancelled once that has
ended, so that no effect goes unrecorded. What was done before stays: erbridge runs
undo takes that back.

With --step, only that step ends cancelled, and the run goes on as after any step
that failed. erbridge queue list shows the steps that wait.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if c.Run, err = soar.ParseRunID(given[0]); err != nil {
				return usagef("%v", err)
			}
			if c.Reason == "" {
				return usagef("--reason is needed: it is kept in the journal of the run")
			}
			if c.By, err = whoSays(c.By); err != nil {
				return err
			}
			var run soar.Run
			err = file.control(cmd.Context(), func(to daemon.Control) error {
				run, err = to.Cancel(cmd.Context(), c)
				return err
			})
			if err != nil {
				return fmt.Errorf("cancel: %w", err)
			}
			words := fmt.Sprintf("cancelled: run %s", run.ID)
			switch {
			case c.Step != "":
				words = fmt.Sprintf("cancelled: step %s of run %s", clean(c.Step), run.ID)
			case !run.State.Ended():
				words += "; what was sent already goes to its end first"
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), words)
			return err
		},
	}
	file.flags(cmd)
	cmd.Flags().StringVar(&c.Step, "step", "", "only this step, which waits")
	cmd.Flags().StringVar(&c.Reason, "reason", "", "why")
	byFlag(cmd, &c.By)
	return cmd
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

// undoneHost is what becomes of a host of a job that is to be taken back.
type undoneHost struct {
	Host string `json:"host"`
	Name string `json:"name,omitempty"`
	playbooks.UndoneStep
}

func newJobsUndo() *cobra.Command {
	var file configFlag
	var out output
	var by, reason string
	cmd := &cobra.Command{
		Use:   "undo JOB --reason TEXT",
		Short: "take back what a job did, host by host",
		Long: `What the job did on each host is taken back, by the call that its line of the journal
names: tags are taken away, hosts released, and so on. Only what was changed is taken
back. Each host is tried, whatever becomes of the others, as many at the same time as the
job had; one that is offline is waited for. The guard lets it pass as it does for
erbridge runs undo, and the kill switch holds it.

A job of an action that nothing undoes, such as script.run, defender.scan or live.query,
cannot be taken back; docs/reference/actions.md says of each what undoes it. The job must
have ended: erbridge jobs cancel calls off what is left of it. What was taken back before,
is not again; where that failed, it is tried again.`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := out.check(); err != nil {
				return err
			}
			id, err := jobID(given[0])
			if err != nil {
				return err
			}
			if reason == "" {
				return usagef("--reason is needed: it is kept in the journals of the runs")
			}
			if by, err = whoSays(by); err != nil {
				return err
			}
			r, err := file.reader(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			job, hosts, err := hostsToUndo(cmd.Context(), r, id)
			if err != nil {
				return fmt.Errorf("jobs undo: %w", err)
			}
			var lines []undoneHost
			left := 0
			err = file.control(cmd.Context(), func(to daemon.Control) (err error) {
				lines, left, err = undoJob(cmd.Context(), to, &job, hosts, playbooks.UndoOrder{By: by, Reason: reason})
				return err
			})
			if err != nil {
				return fmt.Errorf("jobs undo: %w", err)
			}
			if left > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "of %d other hosts, nothing is left to take back\n", left)
			}
			return printList(cmd.Context(), cmd, &out, lines, []column[undoneHost]{
				{"host", func(h undoneHost) string { return cmp.Or(h.Name, h.Host) }},
				{"undo", func(h undoneHost) string { return strings.ReplaceAll(string(h.State), "_", " ") }},
				{"run", func(h undoneHost) string { return runOrNone(h.Run) }},
				{"what", func(h undoneHost) string { return h.Words }},
			})
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	byFlag(cmd, &by)
	return cmd
}

func runOrNone(id soar.RunID) string {
	if id == 0 {
		return ""
	}
	return id.String()
}

// hostsToUndo are the hosts of a job that has ended, by the run and the step that each is.
func hostsToUndo(ctx context.Context, r *store.Reader, id soar.RunID) (job playbooks.Job, hosts map[soar.RunID]map[string]playbooks.JobLine, err error) {
	if job, err = playbooks.ReadJob(func(prefix string) ([]soar.KV, error) { return r.KV(ctx, prefix) }, id); err != nil {
		return job, nil, err
	}
	hosts = map[soar.RunID]map[string]playbooks.JobLine{}
	for _, part := range job.Runs {
		run, err := r.GetRun(ctx, part)
		if errors.Is(err, soar.ErrNotFound) {
			continue // retention took it
		}
		if err != nil {
			return job, nil, err
		}
		if !run.State.Ended() {
			return job, nil, fmt.Errorf("%w: job %s is still going on; erbridge jobs cancel %[2]s --reason TEXT calls off what is left of it, then take it back", playbooks.ErrNotUndone, id)
		}
		entries, err := r.Entries(ctx, part)
		if err != nil {
			return job, nil, err
		}
		lines, err := playbooks.JobLines(run, entries)
		if err != nil {
			return job, nil, err
		}
		hosts[part] = map[string]playbooks.JobLine{}
		for _, line := range lines {
			hosts[part][line.Step] = line
		}
	}
	return job, hosts, nil
}

// undoJob takes back the runs of a job, the last one first. left counts the hosts of those
// of which nothing is to be taken back; an error says so of all.
func undoJob(
	ctx context.Context, to daemon.Control, job *playbooks.Job, hosts map[soar.RunID]map[string]playbooks.JobLine, o playbooks.UndoOrder,
) (lines []undoneHost, left int, err error) {
	var refused error
	for _, run := range slices.Backward(job.Runs) {
		if hosts[run] == nil {
			continue
		}
		o.Run = run
		undoing, err := to.Undo(ctx, o)
		if errors.Is(err, playbooks.ErrNotUndone) {
			refused, left = err, left+len(hosts[run])
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("%d of %d hosts are being taken back, and then: %w; the same command goes on with the others", len(lines), job.Hosts, err)
		}
		for _, step := range undoing.Steps {
			line := hosts[run][step.Step]
			lines = append(lines, undoneHost{line.Host, line.Name, step})
		}
	}
	if len(lines) == 0 {
		return nil, 0, cmp.Or(refused, fmt.Errorf("%w: retention has taken the runs of job %s", playbooks.ErrNotUndone, job.ID))
	}
	return lines, left, nil
}

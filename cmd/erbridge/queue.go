package main

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

func newQueue() *cobra.Command {
	return group("queue", "look at steps that wait before their calls are sent", newQueueList())
}

// queued is a step that waits.
type queued struct {
	Run      soar.RunID    `json:"run"`
	Playbook string        `json:"playbook"`
	Alert    string        `json:"alert,omitempty"`
	Severity soar.Severity `json:"severity,omitempty"`
	playbooks.HeldStep
}

var queueColumns = []column[queued]{
	{"run", func(q queued) string { return q.Run.String() }},
	{"step", func(q queued) string { return q.Step }},
	{"action", func(q queued) string { return q.Action }},
	{"host", func(q queued) string { return q.Host }},
	{"severity", func(q queued) string { return string(q.Severity) }},
	{"since", func(q queued) string { return stamp(q.Since) }},
	{"until", func(q queued) string { return stamp(q.Until) }},
	{"waits for", func(q queued) string { return short(q.Words, 80) }},
}

func newQueueList() *cobra.Command {
	var file configFlag
	var out output
	limit := 0
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list steps that wait for a host, a person or the guard, in the order in which they go on",
		Long: `A step whose host is offline waits here, and not at the server: when the host is
back, everything is checked again before the call is sent. So does a step that the
guard lets wait. What waits longer than its step allows ends expired, and was never
sent. erbridge runs cancel RUN --step STEP calls one off.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			r, err := file.reader(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			list, err := readQueue(cmd.Context(), r)
			if err != nil {
				return err
			}
			return printList(cmd.Context(), cmd, &out, list[:min(limit, len(list))], queueColumns)
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	limitFlag(cmd, &limit)
	return cmd
}

// readQueue finds the steps that wait, the severest alerts first, and of these those
// that wait longest.
func readQueue(ctx context.Context, r *store.Reader) (list []queued, err error) {
	severities := map[int64]soar.Severity{}
	for _, state := range []soar.RunState{soar.RunWaiting, soar.RunRunning} {
		runs, err := r.Runs(ctx, store.RunFilter{State: state, Limit: maxListed})
		if err != nil {
			return nil, err
		}
		for _, run := range runs {
			entries, err := r.Entries(ctx, run.ID)
			if err != nil {
				return nil, err
			}
			held := playbooks.HeldSteps(entries)
			if len(held) == 0 {
				continue
			}
			severity, known := severities[run.AlertKey]
			if !known && run.AlertKey != 0 {
				alert, err := r.AlertByKey(ctx, run.AlertKey)
				if err != nil && !errors.Is(err, soar.ErrNotFound) {
					return nil, err
				}
				severity = alert.Alert.Severity
				severities[run.AlertKey] = severity
			}
			for _, h := range held {
				list = append(list, queued{run.ID, run.Playbook, run.Alert, severity, h})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b queued) int {
		return cmp.Or(b.Severity.Rank()-a.Severity.Rank(), a.Since.Compare(b.Since), cmp.Compare(a.Run, b.Run))
	})
	return list, nil
}

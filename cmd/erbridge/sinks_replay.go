package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

// sinksReplay is what the command line says about a replay.
type sinksReplay struct {
	file              configFlag
	out               output
	since, until      string
	by, reason        string
	types             []string
	dryRun, cancelled bool
}

func newSinksReplay() *cobra.Command {
	var r sinksReplay
	cmd := &cobra.Command{
		Use:   "replay SINK --since TIME",
		Short: "deliver again, with the same ids, what a sink has passed since a time",
		Long: `What the sink would get by its settings and routes of today is delivered once more,
from the time on that --since names, as far as the store still has it. Receivers that
know the ids drop what they have. New events take turns with the old ones; after a
restart the replay goes on where it was. erbridge sinks list shows how far it is.`,
		Example: `  erbridge sinks replay siem --since 2026-11-21T22:00:00Z --until 2026-11-22T06:00:00Z --dry-run
  erbridge sinks replay siem --since 8h --type alert.received
  erbridge sinks replay siem --cancel`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: completeSink,
		RunE:              func(cmd *cobra.Command, given []string) error { return r.run(cmd, given[0]) },
	}
	r.file.flags(cmd)
	r.out.flags(cmd)
	const times = ": a date, a time, or how long ago, such as 2026-11-01, 2026-11-01T08:00:00Z or 8h"
	f := cmd.Flags()
	f.StringVar(&r.since, "since", "", "events of then or later"+times)
	f.StringVar(&r.until, "until", "", "events before then"+times)
	f.StringSliceVar(&r.types, "type", nil, "only events of these types, such as alert.received")
	_ = cmd.RegisterFlagCompletionFunc("type", completeEvents)
	f.BoolVar(&r.dryRun, "dry-run", false, "count what would be delivered, and deliver nothing")
	f.BoolVar(&r.cancelled, "cancel", false, "call off the replay that is under way")
	reasonFlag(cmd, &r.reason, auditReason)
	byFlag(cmd, &r.by)
	return cmd
}

func (r *sinksReplay) run(cmd *cobra.Command, sink string) error {
	if err := r.out.check(); err != nil {
		return err
	}
	order, err := r.order(sink)
	if err != nil {
		return err
	}
	if r.dryRun {
		return r.plan(cmd, order)
	}
	if order.By, err = whoSays(r.by); err != nil {
		return err
	}
	var replay sinks.Replay
	err = r.file.control(cmd.Context(), func(c daemon.Control) (err error) {
		replay, err = c.ReplaySink(cmd.Context(), order)
		return err
	})
	if err != nil {
		return err
	}
	return printItem(cmd.Context(), cmd, &r.out, replay, func(w io.Writer, replay sinks.Replay) error {
		words := fmt.Sprintf("replays what it passed since %s: up to %s", stamp(replay.Since), count(int(replay.Last-replay.After), "event"))
		if r.cancelled {
			words = fmt.Sprintf("its replay is called off; %s went out", count(int(replay.Sent), "event"))
		}
		_, err := fmt.Fprintf(w, "%s: %s\n", clean(sink), words)
		return err
	})
}

// order reads the flags.
func (r *sinksReplay) order(sink string) (o daemon.ReplayOrder, err error) {
	o = daemon.ReplayOrder{Sink: sink, Reason: r.reason, Cancel: r.cancelled}
	if r.cancelled {
		if r.since != "" || r.until != "" || len(r.types) > 0 || r.dryRun {
			return o, usagef("--cancel goes alone: there is one replay of a sink at a time")
		}
		return o, nil
	}
	if r.since == "" {
		return o, usagef("--since is needed: from when on events are delivered again")
	}
	if o.Since, err = moment("since", r.since); err != nil {
		return o, err
	}
	if o.Until, err = moment("until", r.until); err != nil {
		return o, err
	}
	if now := time.Now(); o.Since.After(now) {
		return o, usagef("--since %s has not come yet", r.since)
	}
	if !o.Until.IsZero() && !o.Since.Before(o.Until) {
		return o, usagef("--until %s is not after --since %s", r.until, r.since)
	}
	for _, name := range r.types {
		if !slices.Contains(eventTypes(), name) {
			return o, usagef("--type %q: expected %s", name, strings.Join(eventTypes(), ", "))
		}
		o.Types = append(o.Types, soar.EventType(name))
	}
	return o, nil
}

func (r *sinksReplay) plan(cmd *cobra.Command, o daemon.ReplayOrder) error {
	cfg, err := r.file.load()
	if err != nil {
		return err
	}
	reader, err := r.file.reader(cmd.Context())
	if err != nil {
		return err
	}
	defer reader.Close()
	plan, err := daemon.PlanReplay(cmd.Context(), cfg, reader, o)
	if err != nil {
		return err
	}
	return printItem(cmd.Context(), cmd, &r.out, plan, func(w io.Writer, plan daemon.ReplayPlan) error {
		var types []string
		for _, t := range slices.Sorted(maps.Keys(plan.Types)) {
			types = append(types, fmt.Sprintf("%s %d", t, plan.Types[t]))
		}
		gone := ""
		if plan.Oldest.After(o.Since) {
			gone = "what happened before " + stamp(plan.Oldest) + " is not in the store any more"
		}
		return printFields(w, []field{
			{"sink", plan.Sink}, {"would deliver", count(int(plan.Events), "event")}, {"types", strings.Join(types, ", ")},
			{"first", stamp(plan.First)}, {"last", stamp(plan.Last)}, {"note", gone},
		})
	})
}

// eventTypes are the words for types of events that a sink can list.
func eventTypes() []string { return sinks.EventTypes() }

// replayed is how far a replay is, in a table.
func replayed(s daemon.SinkStatus) string {
	if s.Replay == nil {
		return ""
	}
	return fmt.Sprintf("%d sent, %d to look at", s.Replay.Sent, s.Replay.Last-s.Replay.After)
}

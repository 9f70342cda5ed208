package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/store"
)

// letterFilter are the flags that choose dead letters.
type letterFilter struct{ origin, sink, reason, since string }

func (f *letterFilter) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.sink, "sink", "", "only of this sink")
	_ = cmd.RegisterFlagCompletionFunc("sink", completeSinkFlag)
	flags.StringVar(&f.origin, "origin", "", "only of this origin, such as sink:soc-slack or source:push")
	flags.StringVar(&f.reason, "reason", "", "only with this text in the reason, in capital or small letters")
	flags.StringVar(&f.since, "since", "", "only those set aside then or later: a date, a time, or how long ago, such as 2026-11-01, 2026-11-01T08:00:00Z or 4h")
}

func (f *letterFilter) empty() bool { return *f == letterFilter{} }

func (f *letterFilter) filter() (out store.DeadLetterFilter, err error) {
	if f.sink != "" && f.origin != "" {
		return out, usagef("--sink and --origin exclude each other")
	}
	out = store.DeadLetterFilter{Origin: f.origin, Reason: f.reason}
	if f.sink != "" {
		out.Origin = "sink:" + f.sink
	}
	out.Since, err = moment("since", f.since)
	return out, err
}

const (
	letterPage  = 50  // read at once: each may hold a whole event
	letterBatch = 100 // replayed or dropped at once
)

// ids finds the letters that are chosen, oldest first, and how many there are of each
// origin.
func (f *letterFilter) ids(ctx context.Context, file *configFlag) (ids []int64, origins map[string]int, err error) {
	filter, err := f.filter()
	if err != nil {
		return nil, nil, err
	}
	r, err := file.reader(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	origins = map[string]int{}
	for filter.Limit = letterPage; ; {
		letters, err := r.DeadLetters(ctx, filter)
		if err != nil {
			return nil, nil, err
		}
		for _, l := range letters {
			ids = append(ids, l.ID)
			origins[l.Origin]++
		}
		if len(letters) < letterPage {
			slices.Reverse(ids)
			return ids, origins, nil
		}
		filter.Before = letters[len(letters)-1].ID
	}
}

// lettersDo is one thing to do with dead letters: those that are named, or those that
// filters choose.
type lettersDo struct {
	file     configFlag
	filter   letterFilter
	yes      bool
	verb     string
	done     string
	ask      string // before it is done to many
	by, why  string
	do       func(daemon.Control, context.Context, daemon.LetterOrder) error
	finished int
}

func newDeadLettersDo(verb, summary, done, ask string, do func(daemon.Control, context.Context, daemon.LetterOrder) error) *cobra.Command {
	d := &lettersDo{verb: verb, done: done, ask: ask, do: do}
	cmd := &cobra.Command{
		Use:   verb + " ID... | --sink SINK | --reason TEXT | --since TIME",
		Short: summary + ": all that are named, or none; or all that the filters choose, a hundred at a time",
		Long:  "Who says so, which letters they are, and why, is kept in the audit record.",
		Example: fmt.Sprintf(`  erbridge deadletters %[1]s 17 18 --why "the mapping is right now"
  erbridge deadletters %[1]s --sink siem --reason "mapping conflict" --since 4h`, verb),
		Args: args(cobra.ArbitraryArgs),
		RunE: d.run,
	}
	d.file.flags(cmd)
	d.filter.flags(cmd)
	cmd.Flags().BoolVarP(&d.yes, "yes", "y", false, "do not ask before it is done to all that the filters choose")
	cmd.Flags().StringVar(&d.why, "why", "", auditReason+"; --reason chooses letters")
	byFlag(cmd, &d.by)
	return cmd
}

func (d *lettersDo) run(cmd *cobra.Command, given []string) (err error) {
	if d.by, err = whoSays(d.by); err != nil {
		return err
	}
	switch {
	case len(given) > 0 && !d.filter.empty():
		return usagef("name dead letters, or choose them with --sink, --reason and --since: not both")
	case len(given) == 0 && d.filter.empty():
		return usagef("name dead letters, or choose them with --sink, --reason or --since; erbridge deadletters list shows them")
	}
	if len(given) > 0 {
		ids, err := parseIDs(given)
		if err != nil {
			return err
		}
		if err := d.each(cmd.Context(), ids, len(ids)); err != nil {
			return err
		}
		return d.report(cmd)
	}
	ids, origins, err := d.filter.ids(cmd.Context(), &d.file)
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		_, err := fmt.Fprintln(cmd.ErrOrStderr(), "no dead letter is like that")
		return err
	}
	if !d.yes {
		err := confirm(cmd, fmt.Sprintf("%s %s (%s).", d.ask, count(len(ids), "dead letter"), clean(originsInWords(origins))))
		if errors.Is(err, errNotConfirmed) {
			return fmt.Errorf("not confirmed, no dead letter was %s; --yes answers for you", d.done)
		} else if err != nil {
			return err
		}
	}
	err = d.each(cmd.Context(), ids, letterBatch)
	return errors.Join(err, d.report(cmd))
}

// each works in batches, each of which is done as a whole or not.
func (d *lettersDo) each(ctx context.Context, ids []int64, batch int) error {
	return d.file.control(ctx, func(c daemon.Control) error {
		for len(ids) > 0 {
			n := min(batch, len(ids))
			if err := d.do(c, ctx, daemon.LetterOrder{IDs: ids[:n], By: d.by, Reason: d.why}); err != nil {
				return err
			}
			d.finished += n
			ids = ids[n:]
		}
		return nil
	})
}

func (d *lettersDo) report(cmd *cobra.Command) error {
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", count(d.finished, "dead letter"), d.done)
	return err
}

func originsInWords(origins map[string]int) string {
	var words []string
	for _, origin := range slices.Sorted(maps.Keys(origins)) {
		words = append(words, fmt.Sprintf("%s: %d", origin, origins[origin]))
	}
	return strings.Join(words, ", ")
}

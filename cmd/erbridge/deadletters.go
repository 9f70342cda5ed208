package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

func newDeadLetters() *cobra.Command {
	return group("deadletters", "look at what could not be taken in or delivered, replay it, drop it",
		newDeadLettersList(), newDeadLettersShow(),
		newDeadLettersDo("replay", "deliver dead letters of sinks again, take those of sources in again", "replayed", daemon.Control.Replay),
		newDeadLettersDo("drop", "forget dead letters", "dropped", daemon.Control.Drop))
}

// deadLetter is a dead letter as commands print it: a payload that is text is
// shown as text, and not in base 64.
type deadLetter struct {
	soar.DeadLetter
	Payload any `json:"payload,omitempty"`
}

func readable(l soar.DeadLetter) deadLetter {
	out := deadLetter{DeadLetter: l}
	var value any
	switch {
	case len(l.Payload) == 0:
	case json.Unmarshal(l.Payload, &value) == nil:
		out.Payload = json.RawMessage(l.Payload)
	case utf8.Valid(l.Payload):
		out.Payload = string(l.Payload)
	default:
		out.Payload = l.Payload
	}
	return out
}

func newDeadLettersList() *cobra.Command {
	var file configFlag
	var out output
	var filter store.DeadLetterFilter
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list dead letters, newest first",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			r, err := file.reader(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			letters, err := r.DeadLetters(cmd.Context(), filter)
			if err != nil {
				return err
			}
			items := make([]deadLetter, len(letters))
			for i := range letters {
				items[i] = readable(letters[i])
			}
			return printList(cmd.Context(), cmd, &out, items, []column[deadLetter]{
				{"id", func(l deadLetter) string { return strconv.FormatInt(l.ID, 10) }},
				{"at", func(l deadLetter) string { return stamp(l.At) }},
				{"origin", func(l deadLetter) string { return l.Origin }},
				{"event", func(l deadLetter) string { return l.EventID }},
				{"reason", func(l deadLetter) string { return short(l.Reason, 100) }},
			})
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	cmd.Flags().StringVar(&filter.Origin, "origin", "", "only of this origin, such as sink:soc-slack or source:push")
	limitFlag(cmd, &filter.Limit)
	return cmd
}

func newDeadLettersShow() *cobra.Command {
	var file configFlag
	var out output
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "show one dead letter with its payload",
		Args:  args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			if err := out.check(); err != nil {
				return err
			}
			ids, err := parseIDs(given)
			if err != nil {
				return err
			}
			r, err := file.reader(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			letter, err := r.DeadLetter(cmd.Context(), ids[0])
			if err != nil {
				return err // it names the letter
			}
			return printItem(cmd.Context(), cmd, &out, readable(letter), func(w io.Writer, l deadLetter) error {
				err := printFields(w, []field{
					{"id", strconv.FormatInt(l.ID, 10)}, {"at", stamp(l.At)}, {"origin", l.Origin}, {"event", l.EventID}, {"reason", l.Reason},
				})
				if err != nil || l.Payload == nil {
					return err
				}
				return printJSON(w, l.Payload, "  ")
			})
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	return cmd
}

func newDeadLettersDo(verb, summary, done string, do func(daemon.Control, context.Context, []int64) error) *cobra.Command {
	var file configFlag
	cmd := &cobra.Command{
		Use:   verb + " ID...",
		Short: summary + ": all that are named, or none",
		Args:  args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, given []string) error {
			ids, err := parseIDs(given)
			if err != nil {
				return err
			}
			err = file.control(cmd.Context(), func(c daemon.Control) error { return do(c, cmd.Context(), ids) })
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", count(len(ids), "dead letter"), done)
			return err
		},
	}
	file.flags(cmd)
	return cmd
}

func parseIDs(given []string) ([]int64, error) {
	ids := make([]int64, len(given))
	for i, text := range given {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || id <= 0 {
			return nil, usagef("%q is not the number of a dead letter; erbridge deadletters list shows them", text)
		}
		ids[i] = id
	}
	return ids, nil
}

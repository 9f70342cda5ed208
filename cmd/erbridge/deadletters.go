package main

import (
	"encoding/json"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/internal/soar"
)

func newDeadLetters() *cobra.Command {
	return group("deadletters", "look at what could not be taken in or delivered, correct it, replay it, drop it",
		newDeadLettersList(), newDeadLettersShow(), newDeadLettersEdit(),
		newDeadLettersDo("replay", "deliver dead letters of sinks again, take those of sources in again", "replayed", "This replays", daemon.Control.Replay),
		newDeadLettersDo("drop", "forget dead letters", "dropped", "This forgets", daemon.Control.Drop))
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
	var chosen letterFilter
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list dead letters, newest first",
		Example: `  erbridge deadletters list --sink siem --since 4h
  erbridge deadletters list --reason "mapping conflict" --jq .id`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			filter, err := chosen.filter()
			if err != nil {
				return err
			}
			filter.Limit = limit
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
	chosen.flags(cmd)
	limitFlag(cmd, &limit)
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

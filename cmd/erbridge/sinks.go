package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
)

func newSinks() *cobra.Command {
	return group("sinks", "look at sinks, test them, pause and resume them, deliver to them again",
		newSinksList(), newSinksTest(), newSinksPause(), newSinksResume(), newSinksSkip(), newSinksReplay(), newSinksFiles())
}

func newSinksList() *cobra.Command {
	var file configFlag
	var out output
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the configured sinks with their backlog and state",
		Example: `  erbridge sinks list
  erbridge sinks list --jq 'select(.backlog > 0) | "\(.name) \(.last_error)"'`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return file.control(cmd.Context(), func(c daemon.Control) error {
				all, err := c.SinkStatus(cmd.Context())
				if err != nil {
					return err
				}
				columns := []column[daemon.SinkStatus]{
					{"sink", func(s daemon.SinkStatus) string { return s.Name }},
					{"state", func(s daemon.SinkStatus) string { return s.State }},
					{"backlog", func(s daemon.SinkStatus) string { return strconv.FormatInt(s.Backlog, 10) }},
					{"oldest", func(s daemon.SinkStatus) string { return age(s.Oldest, time.Now()) }},
					{"dead letters", func(s daemon.SinkStatus) string { return strconv.FormatInt(s.DeadLetters, 10) }},
				}
				if slices.ContainsFunc(all, func(s daemon.SinkStatus) bool { return s.Delivered != nil }) {
					columns = slices.Insert(columns, 2, column[daemon.SinkStatus]{"circuit", func(s daemon.SinkStatus) string { return s.Circuit }})
					columns = append(columns, column[daemon.SinkStatus]{"delivered since start", deliveredSinceStart})
				}
				if slices.ContainsFunc(all, func(s daemon.SinkStatus) bool { return s.Replay != nil }) {
					columns = append(columns, column[daemon.SinkStatus]{"replay", replayed})
				}
				columns = append(columns, column[daemon.SinkStatus]{"note", sinkNote})
				return printList(cmd.Context(), cmd, &out, all, columns)
			})
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	return cmd
}

// sinkNote is what a person has to know of a sink.
func sinkNote(s daemon.SinkStatus) string {
	var notes []string
	if s.Held != nil {
		note := "paused by " + s.Held.By
		if s.Held.Reason != "" {
			note += ": " + s.Held.Reason
		}
		notes = append(notes, note)
	}
	if s.LastError != "" {
		notes = append(notes, s.LastError)
	}
	if s.StandsAt != nil {
		note := fmt.Sprintf("stands at event %s after %s", s.StandsAt.Event, count(s.StandsAt.Attempts, "attempt"))
		if s.StandsAt.Batch > 1 {
			note += fmt.Sprintf(", the last with %d events, any of which may be at fault", s.StandsAt.Batch)
		}
		notes = append(notes, note)
	}
	if s.OverBacklog {
		notes = append(notes, "more than max_backlog waits")
	}
	if s.Dropped != nil && *s.Dropped > 0 {
		notes = append(notes, fmt.Sprintf("%d dropped since start", *s.Dropped))
	}
	if s.Lost != nil && *s.Lost > 0 {
		notes = append(notes, fmt.Sprintf("%d lost by the receiver since start", *s.Lost))
	}
	return strings.Join(notes, "; ")
}

func deliveredSinceStart(s daemon.SinkStatus) string {
	if s.Delivered == nil {
		return ""
	}
	return strconv.FormatInt(*s.Delivered, 10)
}

// age is how long ago a time was.
func age(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return max(now.Sub(at), 0).Round(time.Second).String()
}

func newSinksTest() *cobra.Command {
	var file configFlag
	cmd := &cobra.Command{
		Use:   "test SINK...",
		Short: "send one test event to each of the named sinks and say how it went",
		Example: `  erbridge sinks test soc-slack
  erbridge sinks test siem archive`,
		Args:              args(cobra.MinimumNArgs(1)),
		ValidArgsFunction: completeSinks,
		RunE: func(cmd *cobra.Command, names []string) error {
			return file.control(cmd.Context(), func(c daemon.Control) error {
				var problems []error
				for _, name := range names {
					if err := c.TestSink(cmd.Context(), name); err != nil {
						problems = append(problems, err)
						continue
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s: the receiver took the test event\n", clean(name))
				}
				return errors.Join(problems...)
			})
		},
	}
	file.flags(cmd)
	return cmd
}

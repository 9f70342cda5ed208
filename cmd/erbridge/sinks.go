package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/sinks"
)

func newSinks() *cobra.Command {
	return group("sinks", "look at sinks, test them, resume paused ones", newSinksList(), newSinksTest(), newSinksResume())
}

func newSinksList() *cobra.Command {
	var file configFlag
	var out output
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the configured sinks with their backlog and state",
		Args:  args(cobra.NoArgs),
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
					columns = append(columns,
						column[daemon.SinkStatus]{"delivered since start", deliveredSinceStart},
						column[daemon.SinkStatus]{"last error", func(s daemon.SinkStatus) string { return s.LastError }})
				}
				return printList(cmd.Context(), cmd, &out, all, columns)
			})
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	return cmd
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
		Args:  args(cobra.MinimumNArgs(1)),
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

func newSinksResume() *cobra.Command {
	var file configFlag
	cmd := &cobra.Command{
		Use:   "resume SINK...",
		Short: "make paused sinks try again at once, after what made them pause was put right",
		Args:  args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			return file.control(cmd.Context(), func(c daemon.Control) error {
				var problems []error
				for _, name := range names {
					state, err := c.ResumeSink(cmd.Context(), name)
					if err != nil {
						problems = append(problems, err)
						continue
					}
					text := "was " + state + ", tries again now"
					if state == sinks.StateOK {
						text = "is not paused, there is nothing to resume"
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", clean(name), text)
				}
				return errors.Join(problems...)
			})
		},
	}
	file.flags(cmd)
	return cmd
}

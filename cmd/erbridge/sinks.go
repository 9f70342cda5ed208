package main

import (
	"errors"
	"fmt"
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
				return printList(cmd.Context(), cmd, &out, all, []column[sinks.SinkStatus]{
					{"sink", func(s sinks.SinkStatus) string { return s.Name }},
					{"state", func(s sinks.SinkStatus) string { return s.State }},
					{"backlog", func(s sinks.SinkStatus) string { return strconv.FormatInt(s.Backlog, 10) }},
					{"oldest", func(s sinks.SinkStatus) string { return age(s.OldestAge) }},
					{"delivered", func(s sinks.SinkStatus) string { return strconv.FormatInt(s.Delivered, 10) }},
					{"dead letters", func(s sinks.SinkStatus) string { return strconv.FormatInt(s.DeadLetters, 10) }},
					{"last error", func(s sinks.SinkStatus) string { return short(s.LastError, 80) }},
				})
			})
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	return cmd
}

func age(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return d.Round(time.Second).String()
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
					problems = append(problems, c.ResumeSink(cmd.Context(), name))
				}
				return errors.Join(problems...)
			})
		},
	}
	file.flags(cmd)
	return cmd
}

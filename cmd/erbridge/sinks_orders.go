package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/sinks"
)

func newSinksPause() *cobra.Command {
	var file configFlag
	var by, reason string
	cmd := &cobra.Command{
		Use:        "pause SINK...",
		SuggestFor: []string{"stop", "halt", "disable"},
		Short:      "deliver nothing to sinks until they are resumed; their events are kept",
		Long: `A paused sink stays paused over restarts and reloads. Its events wait in the store,
in order, as far as max_backlog lets them; erbridge sinks resume delivers them. Who
paused it, and why, is kept in the audit record and told to the other sinks.`,
		Example:           `  erbridge sinks pause siem --reason "maintenance until six"`,
		Args:              args(cobra.MinimumNArgs(1)),
		ValidArgsFunction: completeSinks,
		RunE: func(cmd *cobra.Command, names []string) error {
			by, err := whoSays(by)
			if err != nil {
				return err
			}
			return file.control(cmd.Context(), func(c daemon.Control) error {
				var problems []error
				for _, name := range names {
					if err := c.HoldSink(cmd.Context(), daemon.SinkOrder{Sink: name, By: by, Reason: reason}); err != nil {
						problems = append(problems, err)
						continue
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s: paused, its events are kept until erbridge sinks resume %s\n", clean(name), clean(name))
				}
				return errors.Join(problems...)
			})
		},
	}
	file.flags(cmd)
	reasonFlag(cmd, &reason, "why, for those who find it paused")
	byFlag(cmd, &by)
	return cmd
}

func newSinksResume() *cobra.Command {
	var file configFlag
	var by, reason string
	cmd := &cobra.Command{
		Use:   "resume SINK...",
		Short: "let paused sinks go on, and make those that wait try at once, after what made them wait was put right",
		Example: `  erbridge sinks resume siem
  erbridge sinks resume siem archive --by ann`,
		Args:              args(cobra.MinimumNArgs(1)),
		ValidArgsFunction: completeSinks,
		RunE: func(cmd *cobra.Command, names []string) error {
			by, err := whoSays(by)
			if err != nil {
				return err
			}
			return file.control(cmd.Context(), func(c daemon.Control) error {
				var problems []error
				for _, name := range names {
					state, err := c.ResumeSink(cmd.Context(), daemon.SinkOrder{Sink: name, By: by, Reason: reason})
					if err != nil {
						problems = append(problems, err)
						continue
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", clean(name), resumedWords(state))
				}
				return errors.Join(problems...)
			})
		},
	}
	file.flags(cmd)
	reasonFlag(cmd, &reason, auditReason)
	byFlag(cmd, &by)
	return cmd
}

func resumedWords(state string) string {
	switch state {
	case sinks.StateOK, sinks.StateRecovering:
		return "is not paused, there is nothing to resume"
	case sinks.StateHeld:
		return "was paused by a person, goes on now"
	}
	return "was " + state + ", tries again now"
}

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
)

func newPause() *cobra.Command {
	var file configFlag
	var out output
	var order daemon.PauseOrder
	cmd := &cobra.Command{
		Use:   "pause --reason TEXT",
		Short: "throw the kill switch: from its return on, no call with an effect is sent",
		Long: `pause stops everything that would change something: no host is contained or released,
no process killed, no alert resolved, no message sent, until "erbridge resume". Alerts
still come in, sinks still get them, and playbooks still read; steps that would act
wait, and are decided anew when it is resumed.

When it returns, no call is being sent any more. Those that were under way had a few
seconds to end; what did not end was cut off, and is looked up when it is resumed, not
repeated. What a host has been told already, it does.

It outlasts restarts. Without a running daemon it is written into the store, and holds
from the next start on. Where nothing but the file system can be reached, a file does
the same: guard.pause_file.`,
		Example: `  erbridge pause --reason "the mail server is being isolated"
  erbridge resume`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := out.check(); err != nil {
				return err
			}
			if order.By, err = whoSays(order.By); err != nil {
				return err
			}
			if order.Reason == "" {
				return usagef("--reason is needed: whoever comes next has to know why nothing is sent")
			}
			var state daemon.PauseState
			err = file.control(cmd.Context(), func(c daemon.Control) (err error) {
				state, err = c.Pause(cmd.Context(), order)
				return err
			})
			if err != nil {
				return fmt.Errorf("pause: %w", err)
			}
			return printItem(cmd.Context(), cmd, &out, state, showPaused)
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	cmd.Flags().StringVar(&order.Reason, "reason", "", "why, for whoever comes next")
	byFlag(cmd, &order.By)
	return cmd
}

func newResume() *cobra.Command {
	var file configFlag
	var out output
	var by string
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "take the kill switch back: what waits is decided anew, and goes on",
		Long: `resume ends what "erbridge pause" began. Steps that waited ask the guard again: what
was right an hour ago need not be right now. While the file guard.pause_file is there,
everything stays paused.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := out.check(); err != nil {
				return err
			}
			if by, err = whoSays(by); err != nil {
				return err
			}
			var state daemon.PauseState
			err = file.control(cmd.Context(), func(c daemon.Control) (err error) {
				state, err = c.Resume(cmd.Context(), by)
				return err
			})
			if err != nil {
				return fmt.Errorf("resume: %w", err)
			}
			return printItem(cmd.Context(), cmd, &out, state, showResumed)
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	byFlag(cmd, &by)
	return cmd
}

func showPaused(w io.Writer, s daemon.PauseState) error {
	text := "paused: no call with an effect is being sent; erbridge resume lets them go on"
	if s.Offline {
		text = "erbridge is not running; it will be paused from its next start on, until erbridge resume"
	}
	if s.CutOff > 0 {
		text += fmt.Sprintf("\n%s did not end in time and were cut off: whether they happened is looked up after erbridge resume", count(s.CutOff, "call"))
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

func showResumed(w io.Writer, s daemon.PauseState) error {
	text := "resumed: what waits is decided anew"
	switch {
	case s.Paused != nil:
		text = "still " + clean(s.Paused.String())
	case s.Offline:
		text = "resumed: erbridge is not running, and will send calls when it does"
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

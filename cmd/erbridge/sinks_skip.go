package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/daemon"
	"github.com/erbridge/erbridge/sinks"
)

func newSinksSkip() *cobra.Command {
	var file configFlag
	var out output
	var order daemon.SkipOrder
	cmd := &cobra.Command{
		Use:   "skip SINK",
		Short: "set aside the one event at which a sink stands, and go on with the next",
		Long: `A receiver that refuses one event may say it in a way that looks like a wrong
password (403) or a wrong address (404). Then the sink is paused, and everything
behind that event waits. skip makes a dead letter of the event, with the reason and
your name, and the sink tries the next one at once. Nothing is lost: erbridge
deadletters replay delivers the event later.

It needs a running daemon. erbridge sinks list shows the event at which a sink
stands; with --event, nothing is skipped if it is another one by now. A sink that
somebody has paused stays paused. Who skipped what, and why, is in the audit record.`,
		Example: `  erbridge sinks skip siem --reason "its index is closed"
  erbridge sinks skip siem --event alert.received/er-4711`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: completeSink,
		RunE: func(cmd *cobra.Command, given []string) (err error) {
			if err := out.check(); err != nil {
				return err
			}
			order.Sink = given[0]
			if order.By, err = whoSays(order.By); err != nil {
				return err
			}
			var skipped daemon.Skipped
			err = file.control(cmd.Context(), func(c daemon.Control) (err error) {
				skipped, err = c.SkipAtSink(cmd.Context(), order)
				return err
			})
			if err != nil {
				return err
			}
			return printItem(cmd.Context(), cmd, &out, skipped, func(w io.Writer, s daemon.Skipped) error {
				_, err := fmt.Fprintf(w, "%[1]s: event %[2]s is a dead letter now, %[3]s\nerbridge deadletters list --sink %[1]s shows it\n",
					clean(order.Sink), clean(s.Event), skippedWords(s.State))
				return err
			})
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	cmd.Flags().StringVar(&order.Event, "event", "", "the id of the event that is meant; default is the one at which the sink stands")
	reasonFlag(cmd, &order.Reason, "why, for whoever looks at the dead letter")
	byFlag(cmd, &order.By)
	return cmd
}

// skippedWords says what the sink does now.
func skippedWords(state string) string {
	switch state {
	case sinks.StateHeld:
		return "and the sink stays paused by a person"
	case sinks.StateGone:
		return "and the sink stays off until erbridge sinks resume"
	}
	return "the next event is tried"
}

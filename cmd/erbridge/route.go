package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/sinks"
)

func newRoute() *cobra.Command {
	return group("route", "find out which sinks get the events of an alert", newRouteTest())
}

// errNowhere says that an alert reaches no sink.
var errNowhere = errors.New("no sink would get it")

func newRouteTest() *cobra.Command {
	var file configFlag
	var out output
	var ref, path string
	var types []string
	cmd := &cobra.Command{
		Use:   "test --alert ALERT|--file FILE",
		Short: "say for each sink whether it would get the events of an alert, and what decides",
		Long: `The configuration is taken as it stands in the file, and nothing is delivered. What
decides is the route that takes the event, or the setting when or events of the sink.
The command fails when no sink would get the alert, and when a condition fails on it:
such an event becomes a dead letter.`,
		Example: `  erbridge route test --alert er-4711
  erbridge route test --file alert.json --event alert.received,run.finished
  erbridge alerts show er-4711 --output json | erbridge route test --file -`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if (ref == "") == (path == "") {
				return usagef("name an alert of the store with --alert, or a file with --file")
			}
			for _, name := range types {
				if !slices.Contains(eventTypes(), name) {
					return usagef("--event %q: expected %s", name, strings.Join(eventTypes(), ", "))
				}
			}
			cfg, err := file.load()
			if err != nil {
				return err
			}
			alert, err := routedAlert(cmd, &file, ref, path)
			if err != nil {
				return err
			}
			if len(cfg.Sinks) == 0 {
				return fmt.Errorf("%w: the configuration has no sinks", errNowhere)
			}
			var all []sinks.Routing
			for _, name := range types {
				ev := soar.Event{ID: name + "/" + alert.Ref(), Type: soar.EventType(name), At: alert.CreatedAt, Alert: &alert}
				all = append(all, sinks.Explain(cmd.Context(), cfg.Sinks, cfg.Routes, &ev)...)
			}
			if err := printList(cmd.Context(), cmd, &out, all, routingColumns); err != nil {
				return err
			}
			return routingError(all, alert.Ref())
		},
	}
	file.flags(cmd)
	out.flags(cmd)
	cmd.Flags().StringVar(&ref, "alert", "", "an alert of the store, such as er-4711")
	cmd.Flags().StringVar(&path, "file", "", "an alert as JSON, or - for standard input")
	cmd.Flags().StringSliceVar(&types, "event", []string{string(soar.EventAlertReceived)}, "the types of the events to ask about")
	_ = cmd.RegisterFlagCompletionFunc("event", completeEvents)
	return cmd
}

var routingColumns = []column[sinks.Routing]{
	{"sink", func(r sinks.Routing) string { return r.Sink }},
	{"event", func(r sinks.Routing) string { return string(r.Event) }},
	{"delivered", func(r sinks.Routing) string {
		switch {
		case r.Error != "":
			return "error"
		case r.Wanted:
			return "yes"
		}
		return "no"
	}},
	{"by", func(r sinks.Routing) string { return r.By }},
	{"error", func(r sinks.Routing) string { return r.Error }},
}

func routedAlert(cmd *cobra.Command, file *configFlag, ref, path string) (soar.Alert, error) {
	if path != "" {
		return readAlert(cmd.InOrStdin(), path)
	}
	stored, err := storedAlertWith(cmd.Context(), file, ref)
	if errors.Is(err, config.ErrUnreadable) || errors.Is(err, store.ErrNoStore) {
		err = fmt.Errorf("alert %q cannot be looked up: %w", ref, err)
	}
	return stored.Alert, err
}

// routingError is what a script has to know: a condition that fails, or an alert that
// nobody would hear of.
func routingError(all []sinks.Routing, alert string) error {
	var problems []error
	wanted := map[soar.EventType]bool{}
	for _, r := range all {
		if r.Error != "" {
			problems = append(problems, fmt.Errorf("sink %s: %s of alert %s would be set aside as a dead letter: %s", r.Sink, r.Event, alert, r.Error))
		}
		wanted[r.Event] = wanted[r.Event] || r.Wanted
	}
	for _, r := range all {
		if !wanted[r.Event] {
			problems = append(problems, fmt.Errorf("%s of alert %s: %w; a last route without when takes what no other takes", r.Event, alert, errNowhere))
			wanted[r.Event] = true // said once
		}
	}
	return errors.Join(problems...)
}

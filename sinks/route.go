package sinks

import (
	"context"
	"slices"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// Condition decides about an event, given as plain JSON values; *jq.Program is one.
type Condition interface {
	True(ctx context.Context, input any, vars ...any) (bool, error)
}

// DefaultEvents are delivered to sinks that do not say which events they want.
// run.started is not among them: run.finished says as much and more.
var DefaultEvents = []soar.EventType{
	soar.EventAlertReceived, soar.EventAlertUpdated, soar.EventStepFinished, soar.EventRunFinished,
	soar.EventNotification, soar.EventApprovalRequested, soar.EventApprovalDecided, soar.EventUndoSoon, soar.EventTrouble, soar.EventTest,
}

// chatEvents are the default of sinks that people read: an alert whose event
// count grows is no news to them.
var chatEvents = slices.DeleteFunc(slices.Clone(DefaultEvents), func(t soar.EventType) bool { return t == soar.EventAlertUpdated })

// route says which events a sink gets.
type route struct {
	sink      string
	ownPauses string
	events    map[soar.EventType]bool
	when      Condition
}

func newRoute(sink string, events []soar.EventType, when Condition) route {
	if events == nil {
		events = DefaultEvents
	}
	r := route{sink: sink, ownPauses: pausedPrefix(sink), events: map[soar.EventType]bool{}, when: when}
	for _, t := range events {
		r.events[t] = true
	}
	return r
}

// wants reports whether the sink shall get the event. An event that is addressed
// goes to the sink that it names, whatever that sink's filters say: a playbook
// or a person asked for it. The condition is asked about events that concern an
// alert and about rows of telemetry; the others (trouble, tests) have nothing that it
// could look at.
func (r *route) wants(ctx context.Context, ev *soar.Event) (bool, error) {
	switch {
	case ev.To != "":
		return ev.To == r.sink, nil
	case !r.events[ev.Type]:
		return false, nil
	case ev.Type == soar.EventTrouble && strings.HasPrefix(ev.ID, r.ownPauses):
		return false, nil // a paused sink would tell of its own pause after the pause
	case r.when == nil, ev.Alert == nil && ev.Row == nil:
		return true, nil
	}
	plain, err := soar.Plain(ev)
	if err != nil {
		return false, err
	}
	return r.when.True(ctx, plain)
}

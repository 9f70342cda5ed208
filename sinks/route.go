package sinks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// Condition decides about an event, given as plain JSON values; *jq.Program is one.
type Condition interface {
	True(ctx context.Context, input any, vars ...any) (bool, error)
}

// DefaultEvents are delivered to sinks that do not say which events they want.
// run.started is not among them: run.finished says as much and more. Neither is
// telemetry, of which there is very much.
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
	routes    Routes // nil when none of them names the sink
}

func newRoute(sink string, events []soar.EventType, when Condition, routes Routes) route {
	if events == nil {
		events = DefaultEvents
	}
	r := route{sink: sink, ownPauses: pausedPrefix(sink), events: map[soar.EventType]bool{}, when: when}
	if routes.names(sink) {
		r.routes = routes
	}
	for _, t := range events {
		r.events[t] = true
	}
	return r
}

// wants reports whether the sink shall get the event.
func (r *route) wants(ctx context.Context, ev *soar.Event) (bool, error) {
	v, err := r.judge(ctx, ev)
	return v.Wanted, err
}

// judge says whether the sink shall get the event, and what decided. An event that is
// addressed goes to the sink that it names, whatever that sink's filters say: a
// playbook or a person asked for it. Routes and the condition are asked about events
// that concern an alert, the condition about rows of telemetry too; the others
// (trouble, tests) have nothing that they could look at.
func (r *route) judge(ctx context.Context, ev *soar.Event) (Routing, error) {
	no := func(by string) (Routing, error) { return Routing{By: by}, nil }
	yes := func(by string) (Routing, error) { return Routing{Wanted: true, By: by}, nil }
	switch {
	case ev.To == r.sink && ev.To != "":
		return yes("addressed to it")
	case ev.To != "":
		return no("addressed to " + ev.To)
	case !r.events[ev.Type]:
		return no("events does not have " + string(ev.Type))
	case ev.Type == soar.EventTrouble && strings.HasPrefix(ev.ID, r.ownPauses):
		return no("its own pause") // which a paused sink would tell of after the pause
	case r.when == nil && r.routes == nil, ev.Alert == nil && ev.Row == nil:
		return yes("no filter")
	}
	plain, err := soar.Plain(ev)
	if err != nil {
		return Routing{}, err
	}
	by := "no filter"
	if r.routes != nil && ev.Alert != nil {
		d, err := r.routes.decide(ctx, r.sink, plain)
		switch {
		case err != nil:
			return Routing{By: fmt.Sprintf("route %s", d.route)}, err
		case !d.to && d.route == "":
			return no("no route takes it")
		case !d.to:
			return no("route " + d.route)
		}
		by = "route " + d.route
	}
	if r.when == nil {
		return yes(by)
	}
	wanted, err := r.when.True(ctx, plain)
	if err != nil || !wanted {
		return Routing{By: "when"}, err
	}
	if r.routes == nil {
		by = "when"
	}
	return yes(by)
}

// Routing is whether a sink gets an event, and why.
type Routing struct {
	Sink string `json:"sink"`
	// Event is the type of the event.
	Event  soar.EventType `json:"event"`
	Wanted bool           `json:"delivered"`
	// By is what decided, in a few words: a route, when, events.
	By string `json:"by"`
	// Error is why nobody can tell: the event would be set aside as a dead letter.
	Error string `json:"error,omitempty"`
}

// Wants returns the decision whether the sink gets an event, as its forwarder makes it.
func (c *Config) Wants(routes Routes) func(context.Context, *soar.Event) (bool, error) {
	o := c.Options(ForwarderOptions{Routes: routes})
	r := newRoute(c.Name, o.Events, o.When, o.Routes)
	return r.wants
}

// Explain says for each sink whether it would get an event, and what decides that. It
// delivers nothing.
func Explain(ctx context.Context, configured []Config, routes Routes, ev *soar.Event) []Routing {
	all := make([]Routing, len(configured))
	for i := range configured {
		o := configured[i].Options(ForwarderOptions{Routes: routes})
		r := newRoute(configured[i].Name, o.Events, o.When, o.Routes)
		v, err := r.judge(ctx, ev)
		if v.Sink, v.Event = configured[i].Name, ev.Type; err != nil {
			v.Wanted, v.Error = false, err.Error()
		}
		all[i] = v
	}
	return all
}

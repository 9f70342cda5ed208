package sinks

import (
	"context"
	"fmt"
	"slices"

	"github.com/erbridge/erbridge/internal/registry"
)

// Route sends the events of alerts to sinks.
type Route struct {
	// Name is shown by route test; it has to differ from those of the other routes.
	Name string `yaml:"name" required:"true"`

	// When is a jq condition on the event, as the setting of that name of a sink:
	// '.alert.rule.name | test("ransom")'. Empty takes every event. An event on which it
	// fails is set aside as a dead letter by each sink that this route or a later one names.
	When registry.Text `yaml:"when"`

	// To are the names of the sinks that get the event, as far as their own events and
	// when let it pass.
	To []string `yaml:"to" required:"true"`

	// Continue lets the routes after this one add sinks of theirs. Without it, the
	// first route that takes an event decides alone.
	Continue bool `yaml:"continue"`

	when Condition
}

// Routes are looked at in order, for each event that concerns an alert and is not
// addressed to one sink. A sink that no route names is not subject to them.
type Routes []Route

// compile reads the conditions.
func (r *Route) compile() (problem *registry.Problem) {
	r.when, problem = compileWhen(r.When)
	return problem
}

// Check reads the conditions, and reports what cannot work; sinks are the names of
// those that are configured, and path leads to the setting of one route.
func (r Routes) Check(sinks []string, report func(route int, setting, hint, format string, args ...any)) registry.Problems {
	var problems registry.Problems
	seen := map[string]bool{}
	all := -1 // the route that leaves nothing for those after it
	for i := range r {
		route := &r[i]
		if problem := route.compile(); problem != nil {
			problems = append(problems, *problem)
		}
		if route.Name != "" && seen[route.Name] {
			report(i, "name", "", "there is another route %q", route.Name)
		}
		seen[route.Name] = true
		named := map[string]bool{}
		for _, name := range route.To {
			switch {
			case !slices.Contains(sinks, name):
				hint := ""
				if near := registry.Nearest(name, sinks); near != "" {
					hint = fmt.Sprintf("did you mean %q?", near)
				}
				report(i, "to", hint, "route %q: no sink %q", route.Name, name)
			case named[name]:
				report(i, "to", "", "route %q names sink %q twice", route.Name, name)
			}
			named[name] = true
		}
		if route.To != nil && len(route.To) == 0 {
			report(i, "to", "a sink of type file keeps what nobody shall be bothered with", "route %q leads nowhere", route.Name)
		}
		if all >= 0 {
			report(i, "name", fmt.Sprintf("give %q a when, or continue: true, or put it last", r[all].Name),
				"route %q is never reached: %q before it takes every event", route.Name, r[all].Name)
		} else if route.When.Value == "" && !route.Continue {
			all = i
		}
	}
	return problems
}

// names reports whether a sink is subject to routes.
func (r Routes) names(sink string) bool {
	return slices.ContainsFunc(r, func(route Route) bool { return slices.Contains(route.To, sink) })
}

// decision is what routes say about one event and one sink.
type decision struct {
	to    bool
	route string // the route that decided; empty when none takes the event
}

// decide looks for the first route that settles whether a sink gets an event, which is
// given as plain JSON values. A route whose condition fails is an error for the sinks
// that it or a later one names: nobody can tell whether they should have the event.
func (r Routes) decide(ctx context.Context, sink string, event any) (decision, error) {
	for i := range r {
		route := &r[i]
		takes := true
		if route.when != nil {
			var err error
			if takes, err = route.when.True(ctx, event); err != nil {
				if !r[i:].names(sink) {
					return decision{route: route.Name}, nil
				}
				return decision{route: route.Name}, fmt.Errorf("route %q: %w", route.Name, err)
			}
		}
		switch {
		case takes && slices.Contains(route.To, sink):
			return decision{true, route.Name}, nil
		case takes && !route.Continue:
			return decision{false, route.Name}, nil
		}
	}
	return decision{}, nil
}

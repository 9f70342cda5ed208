package playbooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// GuardQuestion is a call of which somebody wants to know what would become of it.
type GuardQuestion struct {
	Action string
	Host   string         // on which host; empty: the one of the alert, where the action takes one
	With   map[string]any // the other arguments
	// Playbook is whose step it would be; empty: that of one that enforces.
	Playbook string
	Alert    *soar.Alert // what the run would be about; nil: nothing
}

// GuardAnswer is what would become of a call, and why.
type GuardAnswer struct {
	Action   string         `json:"action"`
	Playbook string         `json:"playbook,omitempty"`
	Alert    string         `json:"alert,omitempty"`
	With     map[string]any `json:"with"`
	Hosts    []GuardedHost  `json:"hosts"`
	// Plan is sent, asks, held or observed; the last also for what is refused.
	Plan  Plan   `json:"plan"`
	Words string `json:"words"`
	// Answers are those of all rails, in their order, also behind the one that decides.
	Answers []Answer `json:"guard"`
	// Problems are what is wrong with the arguments; such a call is never sent.
	Problems []string `json:"problems,omitempty"`
}

// GuardedHost is what the guard knows of a host.
type GuardedHost struct {
	ID    string   `json:"id"`
	Name  string   `json:"name,omitempty"`
	OS    string   `json:"os,omitempty"`
	Tags  []string `json:"tags,omitempty"`
	Known bool     `json:"known"`
	Why   string   `json:"why,omitempty"` // it is not known
}

// TestGuard tells what would become of a call now, and changes nothing.
func (e *Engine) TestGuard(ctx context.Context, q GuardQuestion) (*GuardAnswer, error) {
	if err := e.waitLoaded(ctx); err != nil {
		return nil, err
	}
	return q.ask(ctx, e.reader, e.Set(), e.guard, e.options.Ceiling, e.options.Now())
}

// TestGuard is that of Engine where none runs: Actions, Guard, Ceiling and Now of o are
// looked at, and set has the playbooks.
func TestGuard(ctx context.Context, q GuardQuestion, set *Set, o ExplainOptions) (*GuardAnswer, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	read := &reader{cache: newCache(o.Now), actions: o.Actions, callTimeout: enrichTimeout, now: o.Now, hosts: o.Hosts, counter: &counter{}}
	return q.ask(ctx, read, set, o.Guard, o.Ceiling, o.Now())
}

func (q *GuardQuestion) ask(ctx context.Context, read *reader, set *Set, g *guard.Guard, ceiling soar.Mode, now time.Time) (*GuardAnswer, error) {
	action := read.actions[q.Action]
	if action == nil {
		names := slices.Sorted(maps.Keys(read.actions))
		return nil, notThere("action", q.Action, names)
	}
	s := &step{do: q.Action, action: action, spec: action.Spec()}
	out := &GuardAnswer{Action: q.Action, Playbook: q.Playbook, Hosts: []GuardedHost{}, Answers: []Answer{}}
	switch {
	case s.spec.Effect == Reads:
		return nil, fmt.Errorf("%s only reads: the guard is not asked", q.Action)
	case s.spec.Asks != nil:
		return nil, fmt.Errorf("%s asks people and sends nothing: the guard is not asked", q.Action)
	}
	pb := &Playbook{Mode: soar.ModeEnforce}
	if q.Playbook != "" {
		all := set.Playbooks()
		i := slices.IndexFunc(all, func(p *Playbook) bool { return p.Name == q.Playbook })
		if i < 0 {
			names := make([]string, len(all))
			for i, p := range all {
				names[i] = p.Name
			}
			return nil, notThere("playbook", q.Playbook, names)
		}
		pb = all[i]
	}
	alert := q.Alert
	if alert == nil {
		alert = &soar.Alert{}
	} else {
		out.Alert = alert.Ref()
	}
	with, err := q.arguments(&s.spec)
	if err != nil {
		return nil, err
	}
	with = pinned(action, with)
	out.With, out.Problems = with, mistakesIn(action, with)

	hosts := read.readHosts(ctx, alert, with)
	for _, h := range hosts {
		out.Hosts = append(out.Hosts, GuardedHost{ID: h.ID, Name: h.Name, OS: h.OS, Tags: h.Tags, Known: h.Known, Why: h.Why})
	}
	mode, _ := effectiveMode(pb, ceiling, alert)
	run := soar.Run{ID: soar.NewRunID(now), Playbook: pb.Name, Mode: mode, StartedAt: now.UTC()}
	r := newRequest(ceiling, &run, "guard-test", s, []*Playbook{pb}, alert, with, hosts, now.UTC(), now.UTC())
	r.AlertWas = alertStatus(alert)
	d := g.AskAll(r)
	out.Answers = d.Answers
	out.decide(g, r)
	if ready, looks := action.(Readier); looks && len(out.Problems) == 0 {
		a := readiness(ctx, ready, Call{Run: run.ID, Step: "guard-test", Alert: *alert, With: with, Mark: mark(run.ID, "guard-test", 1)}, now, read.callTimeout)
		out.Answers = append(out.Answers, a)
		if out.Plan == PlanSent {
			out.decide(g, r)
		}
	}
	if len(out.Problems) > 0 && out.Plan == PlanSent {
		out.Plan, out.Words = PlanFails, "is not sent: "+strings.Join(out.Problems, "; ")
	}
	return out, nil
}

// decide says what becomes of the call, by the first answer that does not let it pass.
func (a *GuardAnswer) decide(g *guard.Guard, r *guard.Request) {
	i := slices.IndexFunc(a.Answers, func(one Answer) bool { return !one.OK })
	if i < 0 {
		a.Plan, a.Words = PlanSent, "would be sent"
		return
	}
	switch one := a.Answers[i]; {
	case guard.AsksPeople(a.Answers[:i+1]):
		a.Plan, a.Words = PlanAsks, "would ask for approval: "+g.WhoAgrees(r)
	case !one.Until.IsZero():
		a.Plan, a.Words = PlanHeld, "would wait for "+one.Check+": "+one.Words
	default:
		a.Plan, a.Words = PlanObserved, "would not be sent: "+one.Check+": "+one.Words
	}
}

// readiness asks the action whether its host is ready.
func readiness(ctx context.Context, action Readier, call Call, now time.Time, patience time.Duration) Answer {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := safely(func() (Outcome, error) { return Outcome{}, action.Ready(ctx, call) })
	a := guard.Pass("the host is ready for it")
	switch {
	case err == nil:
	case errors.Is(err, ErrNotNow), errors.Is(err, ErrTransient):
		a = guard.Hold(now.Add(unreadyPause), "%v", err)
	case errors.Is(err, ErrNothingToDo):
		a = Answer{State: soar.StepSuppressed, Words: err.Error()}
	default:
		a = guard.Refuse("%v", err)
	}
	a.Check = readyCheck
	return a
}

// arguments are those of the call, with the host in the place where the action takes it.
func (q *GuardQuestion) arguments(spec *Spec) (map[string]any, error) {
	with := maps.Clone(q.With)
	if with == nil {
		with = map[string]any{}
	}
	takes := map[string]bool{}
	if spec.Input != nil {
		for _, f := range registry.Fields(reflect.ValueOf(spec.Input).Elem()) {
			takes[f.Name] = true
		}
	}
	host := q.Host
	if host == "" && q.Alert != nil && with["host"] == nil && with["hosts"] == nil {
		host = q.Alert.Host.Identifier
	}
	switch {
	case host == "":
	case takes["host"] || spec.Input == nil:
		with["host"] = host
	case takes["hosts"]:
		with["hosts"] = []any{host}
	case q.Host != "":
		return nil, fmt.Errorf("%s acts on no host: leave the host out", q.Action)
	}
	return with, nil
}

// mistakesIn are what is wrong with the arguments of a call.
func mistakesIn(action Action, with map[string]any) (list []string) {
	literal := map[string]json.RawMessage{}
	for name, value := range with {
		data, err := json.Marshal(value)
		if err != nil {
			return []string{name + ": " + err.Error()}
		}
		literal[name] = data
	}
	for _, p := range action.Check("with", StepSource{With: literal}) {
		list = append(list, p.Message)
	}
	return list
}

func notThere(what, name string, known []string) error {
	text := fmt.Sprintf("no %s %q", what, name)
	if near := registry.Nearest(name, known); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return fmt.Errorf("%s: %w", text, soar.ErrNotFound)
}

package playbooks

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// evaluation is the work on one alert and one playbook, up to the verdict.
type evaluation struct {
	reader *reader
	alert  *soar.Alert
	plain  map[string]any // the alert as plain JSON, the same for all playbooks
	pb     *Playbook
	vars   map[string]any

	found      *findings
	conditions []Condition
	verdict    Verdict
	err        string // why the verdict is Failed
}

func newEvaluation(r *reader, alert *soar.Alert, plain map[string]any, pb *Playbook) *evaluation {
	return &evaluation{reader: r, alert: alert, plain: plain, pb: pb, vars: pb.vars, found: newFindings(plain["host"])}
}

func (ev *evaluation) input() *input {
	return &input{
		object: map[string]any{
			"alert": ev.plain, "host": ev.found.host, "enrich": ev.found.values, "enrich_errors": ev.found.errors, "vars": ev.vars,
		},
		vars: ev.vars,
	}
}

// match decides on the alert. What can be told from the alert alone comes first:
// most alerts need no enrichment to see that a playbook is not for them. With all,
// every condition is evaluated and its value kept.
func (ev *evaluation) match(ctx context.Context, all bool) {
	m := ev.pb.match
	ev.conditions = m.evaluate(ctx, ev.input(), nil, (*condition).cheap, all)
	ev.verdict = combine(ev.conditions)
	dear := slices.ContainsFunc(m.conditions, func(c *condition) bool { return !c.cheap() })
	if dear && (all || ev.verdict != NoMatch) {
		if ev.pb.matchNeedsHost {
			ev.reader.readHost(ctx, ev.alert, ev.found)
		}
		_, names := m.needs()
		ev.enrich(ctx, func(e *enrichment) bool { return slices.Contains(names, e.name) })
		ev.conditions = m.evaluate(ctx, ev.input(), ev.conditions, func(c *condition) bool { return !c.cheap() }, all)
		ev.verdict = combine(ev.conditions)
	}
	if ev.verdict == Failed {
		ev.err = firstError(ev.conditions)
	}
}

// prepare reads what only the steps need.
func (ev *evaluation) prepare(ctx context.Context) {
	if ev.pb.stepsNeedHost && !ev.pb.matchNeedsHost {
		ev.reader.readHost(ctx, ev.alert, ev.found)
	}
	ev.enrich(ctx, func(*enrichment) bool { return true })
}

// prepareCall reads all that the steps of a playbook need that another one calls.
func (ev *evaluation) prepareCall(ctx context.Context) {
	if ev.pb.stepsNeedHost {
		ev.reader.readHost(ctx, ev.alert, ev.found)
	}
	ev.enrich(ctx, func(*enrichment) bool { return true })
}

// enrich reads side by side. Each works on the same input, since enrichments see
// no other enrichment.
func (ev *evaluation) enrich(ctx context.Context, wanted func(*enrichment) bool) {
	var todo []*enrichment
	for _, e := range ev.pb.enrich {
		if _, done := ev.found.values[e.name]; !done && wanted(e) {
			todo = append(todo, e)
		}
	}
	if len(todo) == 0 {
		return
	}
	in := ev.input()
	results := make(chan *findings, len(todo)) // one result each: nobody waits to hand it over
	for _, e := range todo {
		go func() { // ended when its result has been received below
			f := newFindings(nil)
			defer func() {
				if v := recover(); v != nil {
					f.values[e.name], f.errors[e.name] = nil, fmt.Sprintf("panic: %v", v)
				}
				results <- f
			}()
			ev.reader.readOne(ctx, e, ev.alert, in, f)
		}()
	}
	// The findings that in refers to stay as they are.
	fresh := newFindings(ev.found.host)
	for _, f := range append([]*findings{ev.found}, receive(results, len(todo))...) {
		for name, v := range f.values {
			fresh.values[name] = v
		}
		for name, v := range f.errors {
			fresh.errors[name] = v
		}
	}
	ev.found = fresh
}

func receive[T any](from <-chan T, n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = <-from
	}
	return out
}

// evaluate looks at one alert with all playbooks and, in one commit, ends its
// pending evaluation, keeps the verdicts and starts the runs. A crash before that
// commit leaves the alert pending; after it, the runs are there. Errors come from
// the journal or from ctx; what is wrong with the alert or a playbook is a verdict.
func (e *Engine) evaluate(ctx context.Context, a *soar.StoredAlert) ([]*runner, error) {
	verdicts := map[string]string{}
	var plain map[string]any
	var matched []*evaluation
	for _, pb := range e.Set().playbooks {
		if !pb.Takes(a.Pending) {
			continue
		}
		if plain == nil {
			v, err := plainAlert(&a.Alert)
			if err != nil {
				return []*runner{}, e.refuse(ctx, a, err)
			}
			plain = v
		}
		ev := newEvaluation(e.reader, &a.Alert, plain, pb)
		if _, err := safely(func() (Outcome, error) {
			if ev.match(ctx, false); ev.verdict == Match {
				ev.prepare(ctx)
			}
			return Outcome{}, nil
		}); err != nil {
			ev.verdict, ev.err = Failed, err.Error()
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx) // readings were cut short: not a verdict
		}
		switch ev.verdict {
		case Match:
			matched = append(matched, ev)
			continue
		case Failed:
			verdicts[pb.Name] = "error: " + ev.err
			e.options.Log.Warn("a playbook could not be evaluated", "playbook", pb.Name, "alert", a.Alert.Ref(), "err", ev.err)
		}
		e.metrics.evaluations.WithLabelValues(string(ev.verdict)).Inc()
	}
	return e.startRuns(ctx, a, plain, matched, verdicts)
}

// refuse ends the evaluation of an alert that cannot be evaluated: every playbook
// that takes it gets the error as its verdict.
func (e *Engine) refuse(ctx context.Context, a *soar.StoredAlert, why error) error {
	e.options.Log.Error("an alert cannot be evaluated", "alert", a.Alert.Ref(), "err", why)
	verdicts := map[string]string{}
	for _, pb := range e.Set().playbooks {
		if pb.Takes(a.Pending) {
			verdicts[pb.Name] = "error: " + why.Error()
			e.metrics.evaluations.WithLabelValues(string(Failed)).Inc()
		}
	}
	_, err := e.journal.Commit(ctx, soar.Change{Evaluated: []soar.Evaluation{{AlertKey: a.Key, Verdicts: verdicts}}})
	return err
}

// startRuns commits the verdicts together with the runs, their cool-downs and, so
// that it needs no commit of its own, the intent of their first call.
func (e *Engine) startRuns(ctx context.Context, a *soar.StoredAlert, plain map[string]any, matched []*evaluation, verdicts map[string]string) (runners []*runner, err error) {
	var settles []func(kept bool)
	defer func() {
		for _, settle := range settles {
			settle(err == nil && runners != nil)
		}
	}()
	change := soar.Change{}
	var started []*runner
	for _, ev := range matched { // sorted by name, as reserve asks
		var r *runner
		var kv []soar.KV
		var verdict string
		var settle func(kept bool)
		_, err := safely(func() (Outcome, error) {
			if r, kv, verdict, settle = e.begin(ctx, a, plain, ev); r != nil {
				r.advance(ctx)
			}
			return Outcome{}, nil
		})
		if err != nil {
			e.options.Log.Error("a run could not be started", "playbook", ev.pb.Name, "alert", a.Alert.Ref(), "err", err)
			e.metrics.evaluations.WithLabelValues(string(Failed)).Inc()
			verdicts[ev.pb.Name] = "error: " + err.Error()
			if settle != nil {
				settle(false)
			}
			continue
		}
		if settle != nil {
			settles = append(settles, settle)
		}
		verdicts[ev.pb.Name] = verdict
		if r == nil {
			continue
		}
		started = append(started, r)
		change.KV = append(change.KV, kv...)
		e.keepVersion(&change, ev.pb)
		for _, name := range sortedNames(r.calls) {
			e.keepVersion(&change, r.calls[name])
		}
		change.Runs = append(change.Runs, r.run)
		change.Entries = append(change.Entries, r.change.Entries...)
		change.Events = append(change.Events, r.change.Events...)
		r.committed() // when it is not, the runner is dropped
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	change.Evaluated = []soar.Evaluation{{AlertKey: a.Key, Verdicts: verdicts}}
	for _, r := range started {
		e.takeRun(r.run.ID)
	}
	if _, err := e.journal.Commit(ctx, change); err != nil {
		for _, r := range started {
			e.dropRun(r.run.ID)
		}
		return nil, err
	}
	e.keptVersions(&change)
	for range started {
		e.metrics.evaluations.WithLabelValues(string(Match)).Inc()
	}
	if started == nil {
		started = []*runner{}
	}
	return started, nil
}

// begin makes the run of a match, unless its cool-down holds.
func (e *Engine) begin(ctx context.Context, a *soar.StoredAlert, plain map[string]any, ev *evaluation) (*runner, []soar.KV, string, func(bool)) {
	pb, now := ev.pb, e.options.Now().UTC()
	calls, err := allCalled(pb)
	if err != nil {
		e.metrics.evaluations.WithLabelValues(string(Failed)).Inc()
		return nil, nil, "error: " + err.Error(), nil
	}
	mode, why := e.guard.effectiveMode(pb, &a.Alert)
	answers := []Answer{{Check: "mode", OK: true, Words: string(mode) + ": " + why}}
	var kv []soar.KV
	var settle func(bool)
	if pb.cooldown != nil {
		value, err := pb.cooldown.key.value(ctx, ev.input())
		var text string
		if err == nil {
			text, err = cooldownValue(value)
		}
		if err != nil {
			e.metrics.evaluations.WithLabelValues(string(Failed)).Inc()
			return nil, nil, "error: cooldown.key: " + err.Error(), nil
		}
		key, until := cooldownKey(mode, pb.Name, text), now.Add(pb.cooldown.dur)
		held, keep, err := e.cooldowns.reserve(ctx, key, now, until)
		switch {
		case err != nil:
			return nil, nil, "error: " + err.Error(), nil
		case keep == nil:
			e.metrics.evaluations.WithLabelValues("suppressed").Inc()
			return nil, nil, "suppressed: " + cooldownWords(text, held), nil
		}
		settle = keep
		kv = []soar.KV{{Key: key, Value: a.Alert.Ref(), Expires: until}}
		answers = append(answers, Answer{Check: "cool-down", OK: true, Words: fmt.Sprintf("none for %q; the next run at %s", text, until.Format(time.RFC3339))})
	}
	run := soar.Run{
		ID: soar.NewRunID(now), AlertKey: a.Key, Alert: a.Alert.Ref(), Playbook: pb.Name, Version: pb.Hash,
		Mode: mode, State: soar.RunRunning, Epoch: 1, StartedAt: now,
	}
	r := e.newRunner(run, pb, &a.Alert, plain, ev.found)
	maps.Copy(r.calls, calls)
	if pb.stepsNeedHost || len(ev.found.values) > 0 || len(ev.found.errors) > 0 || len(calls) > 0 {
		note := BeganNote{Text: "read before the start", Enrich: ev.found.values, EnrichErrors: ev.found.errors, Calls: hashes(calls)}
		if pb.stepsNeedHost {
			note.Host = ev.found.host
		}
		r.entry("", soar.EntryNote, "", note)
	}
	seq := r.entry("", soar.EntryDecision, "", Decision{Answers: answers})
	r.event(soar.EventRunStarted, seq, nil)
	return r, kv, "match", settle
}

func cooldownWords(key string, until time.Time) string {
	return fmt.Sprintf("cool-down of %q until %s", key, until.UTC().Format(time.RFC3339))
}

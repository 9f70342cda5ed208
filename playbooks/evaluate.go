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
	object := map[string]any{
		"alert": orNothing(ev.plain), "host": ev.found.host, "enrich": ev.found.values, "enrich_errors": ev.found.errors, "vars": ev.vars,
		statusName: ev.found.status, "lists": ev.pb.lists.values,
	}
	maps.Copy(object, ev.found.extra)
	return &input{object: object, vars: ev.vars}
}

// orNothing is an alert as expressions see it: null when there is none.
func orNothing(alert map[string]any) any {
	if alert == nil {
		return nil
	}
	return alert
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
		if ev.pb.count != nil {
			ev.readCount(ctx)
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

// prepare reads what only the steps need, and the keys of cool-down and group.
func (ev *evaluation) prepare(ctx context.Context) {
	if _, counted := ev.found.extra[countName]; ev.pb.count != nil && !counted {
		ev.readCount(ctx)
	}
	if ev.pb.group != nil {
		ev.found.extra = alone(ev.found.extra, ev.plain)
	}
	if (ev.pb.stepsNeedHost || ev.pb.keysNeedHost) && !ev.pb.matchNeedsHost {
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
					f.status[e.name] = ev.reader.status(found{how: lookUpFailed})
				}
				results <- f
			}()
			if why, failed := ev.found.errors["host"]; failed && e.onHost {
				// Asked with half of a host record, it would answer for another question.
				f.values[e.name], f.errors[e.name] = nil, fmt.Sprintf("the host record could not be read: %v", why)
				f.status[e.name] = ev.reader.status(found{how: lookUpFailed})
			} else {
				ev.reader.readOne(ctx, e, ev.alert, in, f)
			}
		}()
	}
	// The findings that in refers to stay as they are.
	fresh := newFindings(ev.found.host)
	fresh.extra = ev.found.extra
	for _, f := range append([]*findings{ev.found}, receive(results, len(todo))...) {
		for name, v := range f.values {
			fresh.values[name] = v
		}
		for name, v := range f.errors {
			fresh.errors[name] = v
		}
		maps.Copy(fresh.status, f.status)
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

// occasion is what playbooks are asked about: an alert that awaits evaluation, or
// something else that starts runs.
type occasion struct {
	on    string // one of onWords
	alert *soar.StoredAlert
	extra map[string]any // what expressions see of it beside the alert
	by    string         // the person, where one is behind it
	books []*Playbook    // those that are asked, sorted by name
	// change is committed with the runs and ends the occasion. Its Evaluated, if any,
	// refers to verdicts.
	change   soar.Change
	verdicts map[string]string
	runs     []soar.Run // those that began
}

// words name the occasion in the log.
func (o *occasion) words() string {
	if o.alert.Key == 0 {
		return o.on
	}
	return o.alert.Alert.Ref()
}

// evaluate looks at one alert with all playbooks and, in one commit, ends its
// pending evaluation, keeps the verdicts and starts the runs. A crash before that
// commit leaves the alert pending; after it, the runs are there. Errors come from
// the journal or from ctx; what is wrong with the alert or a playbook is a verdict.
func (e *Engine) evaluate(ctx context.Context, a *soar.StoredAlert) ([]*runner, error) {
	return e.consider(ctx, e.pendingOccasion(a))
}

func (e *Engine) pendingOccasion(a *soar.StoredAlert) *occasion {
	o := &occasion{on: a.Pending, alert: a, books: e.Set().taking(a.Pending), verdicts: map[string]string{}}
	o.change.Evaluated = []soar.Evaluation{{AlertKey: a.Key, Verdicts: o.verdicts}}
	o.extra = seenOfChange(a)
	return o
}

// refusePending is refuse for an alert that awaits evaluation.
func (e *Engine) refusePending(ctx context.Context, a *soar.StoredAlert, why error) error {
	return e.refuse(ctx, e.pendingOccasion(a), why)
}

// judge asks one playbook about an alert.
func (e *Engine) judge(ctx context.Context, alert *soar.Alert, plain map[string]any, pb *Playbook) *evaluation {
	ev := newEvaluation(e.reader, alert, plain, pb)
	ev.decide(ctx)
	return ev
}

// decide finds the verdict and, for a match, reads what the steps need. A panic is a
// verdict too.
func (ev *evaluation) decide(ctx context.Context) {
	if _, err := safely(func() (Outcome, error) {
		if ev.match(ctx, false); ev.verdict == Match {
			ev.prepare(ctx)
		}
		return Outcome{}, nil
	}); err != nil {
		ev.verdict, ev.err = Failed, err.Error()
	}
}

// consider asks the playbooks of an occasion and starts the runs of those that match.
func (e *Engine) consider(ctx context.Context, o *occasion) ([]*runner, error) {
	var plain map[string]any
	var matched []*evaluation
	for _, pb := range o.books {
		if plain == nil && o.alert.Key != 0 {
			v, err := plainAlert(&o.alert.Alert)
			if err != nil {
				return []*runner{}, e.refuse(ctx, o, err)
			}
			plain = v
		}
		ev := newEvaluation(e.reader, &o.alert.Alert, plain, pb)
		ev.found.extra = o.extra
		ev.decide(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx) // readings were cut short: not a verdict
		}
		switch ev.verdict {
		case Match:
			matched = append(matched, ev)
			continue
		case Failed:
			o.verdicts[pb.Name] = "error: " + ev.err
			e.options.Log.Warn("a playbook could not be evaluated", "playbook", pb.Name, "on", o.on, "alert", o.alert.Alert.Ref(), "err", ev.err)
		}
		e.metrics.evaluations.WithLabelValues(string(ev.verdict)).Inc()
	}
	return e.startRuns(ctx, o, plain, matched)
}

// refuse ends an occasion whose alert cannot be evaluated: every playbook that is
// asked gets the error as its verdict.
func (e *Engine) refuse(ctx context.Context, o *occasion, why error) error {
	e.options.Log.Error("an alert cannot be evaluated", "alert", o.alert.Alert.Ref(), "err", why)
	clear(o.verdicts)
	for _, pb := range o.books {
		o.verdicts[pb.Name] = "error: " + why.Error()
		e.metrics.evaluations.WithLabelValues(string(Failed)).Inc()
	}
	_, err := e.journal.Commit(ctx, o.change)
	return err
}

// startRuns commits the verdicts together with the runs, their cool-downs and, so
// that it needs no commit of its own, the intent of their first call. Runs that
// begin later, or that no alert started, are left to the loop of due runs.
func (e *Engine) startRuns(ctx context.Context, o *occasion, plain map[string]any, matched []*evaluation) (runners []*runner, err error) {
	var settles []func(kept bool)
	defer func() {
		for _, settle := range settles {
			settle(err == nil && runners != nil)
		}
	}()
	change := o.change
	var started []*runner
	matches := 0
	for _, ev := range matched { // sorted by name, as reserve asks
		var b beginning
		_, err := safely(func() (Outcome, error) {
			if b = e.answer(ctx, o, plain, ev); b.runner != nil && b.runner.run.State == soar.RunRunning {
				b.runner.advance(ctx)
			}
			return Outcome{}, nil
		})
		settles = append(settles, b.settles...)
		if err != nil {
			e.options.Log.Error("a run could not be started", "playbook", ev.pb.Name, "on", o.words(), "err", err)
			e.metrics.evaluations.WithLabelValues(string(Failed)).Inc()
			o.verdicts[ev.pb.Name] = "error: " + err.Error()
			for _, settle := range b.settles {
				settle(false)
			}
			if b.runner != nil {
				b.runner.settle(false)
			}
			settles = settles[:len(settles)-len(b.settles)]
			continue
		}
		o.verdicts[ev.pb.Name] = b.verdict
		change.KV = append(change.KV, b.kv...)
		r := b.runner
		if r == nil {
			continue
		}
		matches++
		o.runs = append(o.runs, r.run)
		if r.run.State != soar.RunWaiting {
			started = append(started, r)
		}
		e.keepVersion(&change, ev.pb)
		for _, name := range sortedNames(r.calls) {
			e.keepVersion(&change, r.calls[name])
		}
		change.Playbooks = append(change.Playbooks, r.change.Playbooks...)
		change.Runs = append(append(change.Runs, r.run), r.scheduled...)
		change.Entries = append(change.Entries, r.change.Entries...)
		change.Events = append(change.Events, r.change.Events...)
		change.KV = append(change.KV, r.change.KV...)
		settles = append(settles, r.settles...)
		r.settles = nil
		r.committed() // when it is not, the runner is dropped
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
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
	e.noticeFailures(change.KV)
	for range matches {
		e.metrics.evaluations.WithLabelValues(string(Match)).Inc()
	}
	if started == nil {
		started = []*runner{}
	}
	return started, nil
}

// beginning is what became of a match.
type beginning struct {
	runner  *runner // nil: no run
	verdict string
	kv      []soar.KV
	settles []func(kept bool) // to be called when all of it is on disk, or is not
}

// answer makes the run of a match, unless its cool-down holds or it joins a group.
func (e *Engine) answer(ctx context.Context, o *occasion, plain map[string]any, ev *evaluation) (b beginning) {
	a, pb, now := o.alert, ev.pb, e.options.Now().UTC()
	failed := func(text string) beginning {
		e.metrics.evaluations.WithLabelValues(string(Failed)).Inc()
		for _, settle := range b.settles {
			settle(false)
		}
		return beginning{verdict: "error: " + text}
	}
	calls, err := allCalled(pb)
	if err != nil {
		return failed(err.Error())
	}
	mode, why := effectiveMode(pb, e.options.Ceiling, &a.Alert)
	answers := []Answer{{Check: "mode", OK: true, Words: string(mode) + ": " + why}}
	run := soar.Run{
		ID: soar.NewRunID(now), AlertKey: a.Key, Playbook: pb.Name, Version: pb.Hash,
		Mode: mode, State: soar.RunRunning, Epoch: 1, StartedAt: now,
	}
	if a.Key != 0 {
		run.Alert = a.Alert.Ref()
	}
	if o.by != "" {
		answers = append(answers, Answer{Check: "started", OK: true, Words: "by " + o.by})
	}
	var group *GroupWindow
	if pb.group != nil && comesInGroups(o.on) {
		key, err := commonKey(ctx, pb.group.by, ev.input())
		if err != nil {
			return failed("group.by: " + err.Error())
		}
		name := groupPrefix + string(mode) + "/" + pb.Name + "/" + key
		joined, until, settle, err := e.groups.enter(ctx, name, run.ID, now, now.Add(pb.group.window))
		if err != nil {
			return failed(err.Error())
		}
		b.settles = append(b.settles, settle)
		if joined != 0 {
			e.metrics.evaluations.WithLabelValues("grouped").Inc()
			b.kv = []soar.KV{{Key: joinedKey(joined, a.Key), Value: a.Alert.Ref(), Expires: until.Add(keepJoined)}}
			b.verdict = fmt.Sprintf("grouped: run %s, which begins at %s", joined, until.UTC().Format(time.RFC3339))
			return b
		}
		group = &GroupWindow{Key: key, Until: until}
		b.kv = append(b.kv, soar.KV{Key: name, Value: run.ID.String(), Expires: until})
		run.State, run.Wake = soar.RunWaiting, until
	}
	if o.on != pendingAlert && o.on != pendingUpdated {
		run.State, run.Wake = soar.RunWaiting, now
	}
	if pb.cooldown != nil {
		value, err := pb.cooldown.key.value(ctx, ev.input())
		var text string
		if err == nil {
			text, err = cooldownValue(value)
		}
		if err != nil {
			return failed("cooldown.key: " + err.Error())
		}
		key, until := cooldownKey(mode, pb.Name, text), now.Add(pb.cooldown.dur)
		held, keep, err := e.cooldowns.reserve(ctx, key, now, until)
		switch {
		case err != nil:
			return failed(err.Error())
		case keep == nil:
			for _, settle := range b.settles {
				settle(false)
			}
			e.metrics.evaluations.WithLabelValues("suppressed").Inc()
			return beginning{verdict: "suppressed: " + cooldownWords(text, held)}
		}
		b.settles = append(b.settles, keep)
		b.kv = append(b.kv, soar.KV{Key: key, Value: a.Alert.Ref(), Expires: until})
		answers = append(answers, Answer{Check: "cool-down", OK: true, Words: fmt.Sprintf("none for %q; the next run at %s", text, until.Format(time.RFC3339))})
	}
	r := e.newRunner(run, pb, &a.Alert, plain, ev.found)
	r.on, r.group, r.by = o.on, group, o.by
	maps.Copy(r.calls, calls)
	special := o.on != pendingAlert && o.on != pendingUpdated || group != nil
	if special || o.extra != nil || pb.count != nil || pb.stepsNeedHost || len(ev.found.status) > 0 || len(ev.found.errors) > 0 || len(calls) > 0 {
		note := BeganNote{
			Text: "read before the start", Enrich: ev.found.values, EnrichErrors: ev.found.errors, EnrichStatus: ev.found.status, Calls: hashes(calls), Extra: kept(o.extra, ev.found.extra), Group: group,
		}
		if special {
			note.On, note.By = o.on, o.by
		}
		if pb.stepsNeedHost {
			note.Host = ev.found.host
		}
		r.entry("", soar.EntryNote, "", note)
	}
	seq := r.entry("", soar.EntryDecision, "", Decision{Answers: answers})
	r.event(soar.EventRunStarted, seq, nil)
	b.runner, b.verdict = r, "match"
	return b
}

// kept is what a run keeps of what expressions see beside the alert: what started
// it, and the count of like alerts as it was then.
func kept(started, seen map[string]any) map[string]any {
	n, counted := seen[countName]
	if !counted {
		return started
	}
	all := map[string]any{countName: n}
	maps.Copy(all, started)
	return all
}

func cooldownWords(key string, until time.Time) string {
	return fmt.Sprintf("cool-down of %q until %s", key, until.UTC().Format(time.RFC3339))
}

package playtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

// The words of on.
const (
	onAlert    = "alert"
	onUpdated  = "alert.updated"
	onSchedule = "schedule"
	onManual   = "manual"
	onFailed   = "run.failed"
)

// arrival is what happens in a test, and when: an alert comes in, a schedule comes
// due, a person starts a run, another run has failed.
type arrival struct {
	on     string
	at     time.Time
	alert  *soar.Alert // nil: none
	missed int         // times of the schedule
	by     string
	input  any
	failed *soar.Run // the run that failed
	change *change   // what changed of the alert; nil: it is new
}

// isAlert reports whether an alert comes in.
func (a *arrival) isAlert() bool { return a.on == onAlert || a.on == onUpdated }

// takes are the ways in which runs of the playbook start.
func (s *suite) takes() []string {
	words := []string{onAlert, onUpdated, onSchedule, onManual, onFailed}
	return slices.DeleteFunc(words, func(word string) bool { return !s.pb.Takes(word) })
}

// play makes what happens in a test.
func (s *suite) play(index int) (*play, registry.Problems) {
	c := &s.doc.Tests[index]
	p := &play{suite: s, index: index, main: arrival{on: c.On, at: c.Now.UTC(), missed: c.Missed, by: c.By, input: c.Input}}
	if p.main.on == "" {
		p.main.on = s.takes()[0]
	}
	if problems := p.wrongKeys(c); problems != nil {
		return nil, problems
	}
	object, problems := p.mainAlert(c)
	if problems != nil {
		return nil, problems
	}
	if c.Now.IsZero() {
		p.main.at = day
		if p.main.alert != nil {
			p.main.at = p.main.alert.CreatedAt.UTC()
		}
	}
	if p.main.on == onSchedule {
		p.main.at = s.pb.Times(p.main.at, 1)[0].UTC() // it has a next time, or would not load
	}
	if problems := p.mainChange(c, object); problems != nil {
		return nil, problems
	}
	p.main.failed = c.Failed.run(p.main.at, p.main.alert)
	for i := range c.Before {
		b := &c.Before[i]
		one, more := p.another(object, b.On, &b.Alert, b.Patch, -b.Ago, "before", i)
		p.before, problems = append(p.before, one), append(problems, more...)
	}
	for i := range c.After {
		a := &c.After[i]
		one, more := p.another(object, a.On, &a.Alert, a.Patch, a.In, "after", i)
		p.after, problems = append(p.after, one), append(problems, more...)
	}
	for _, list := range [][]arrival{p.before, p.after} {
		slices.SortStableFunc(list, func(a, b arrival) int { return a.at.Compare(b.at) })
	}
	return p, problems
}

// day is when tests begin that have no time of their own.
var day = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// run is the failed run as the journal has it.
func (f *FailedRun) run(at time.Time, alert *soar.Alert) *soar.Run {
	if f == nil {
		return nil
	}
	run := &soar.Run{
		ID: soar.NewRunID(at), Playbook: f.Playbook, Mode: soar.Mode(f.Mode), State: soar.RunFailed, Epoch: 1,
		StartedAt: at.Add(-f.Ran), EndedAt: at, Error: f.Error,
	}
	if alert != nil {
		run.Alert = alert.Ref()
	}
	return run
}

// untaken reports a trigger that the playbook does not take.
func (p *play) untaken(on string, path ...any) (problems registry.Problems) {
	if takes := p.takes(); !slices.Contains(takes, on) {
		problems.Addf(p.doc.at(append([]any{"tests", p.index}, path...)...), "on", "", "playbook %s does not take %s: its on has %s", p.pb.Name, on, strings.Join(takes, ", "))
	}
	return problems
}

// wrongKeys looks for keys that have no meaning for the way in which a test starts,
// and for those that it lacks.
func (p *play) wrongKeys(c *Case) (problems registry.Problems) {
	on := p.main.on
	if problems = p.untaken(on, "on"); problems != nil {
		return problems
	}
	for _, key := range []struct {
		name, on string
		is       bool
	}{
		{"missed", onSchedule, c.Missed != 0},
		{"by", onManual, c.By != ""},
		{"input", onManual, c.Input != nil},
		{"failed", onFailed, c.Failed != nil},
		{"changed", onUpdated, c.Changed != nil},
	} {
		if key.is && on != key.on && (key.name == "missed" || key.name == "changed" || !c.mentions(key.on)) {
			problems.Addf(p.doc.at("tests", p.index, key.name), "on", "write on: "+key.on, "%s is for on: %s, and the test is on: %s", key.name, key.on, on)
		}
	}
	switch {
	case c.Missed < 0 || c.Missed > maxMissed:
		problems.Addf(p.doc.at("tests", p.index, "missed"), "range", "", "missed must be between 0 and %d", maxMissed)
	case on == onFailed && c.Failed == nil:
		problems.Addf(p.doc.at("tests", p.index), "missing", "such as failed: {playbook: kill-miner, error: \"step stop: access denied\"}", "test %q does not say which run has failed", c.Name)
	case on == onSchedule && c.Alert.IsSet():
		problems.Addf(p.doc.at("tests", p.index, "alert"), "on", "leave it out", "a schedule brings no alert")
	}
	return problems
}

// mentions reports whether something of the kind happens before or after.
func (c *Case) mentions(on string) bool {
	return slices.ContainsFunc(c.Before, func(e Earlier) bool { return e.On == on }) || slices.ContainsFunc(c.After, func(l Later) bool { return l.On == on })
}

// maxMissed bounds the times of a schedule that passed unnoticed.
const maxMissed = 10_000

// mainAlert makes the alert of the test, if it has one, and returns its fields.
func (p *play) mainAlert(c *Case) (object map[string]any, problems registry.Problems) {
	own := &c.Alert
	if !own.IsSet() && p.main.on != onSchedule {
		own = &p.doc.Alert
	}
	if !own.IsSet() {
		switch {
		case p.main.isAlert():
			problems.Addf(p.doc.at("tests", p.index), "missing", "name a file, or write the alert out", "test %q has no alert", c.Name)
		case c.Patch != nil:
			problems.Addf(p.doc.at("tests", p.index, "patch"), "missing", "", "there is no alert that the patch could be laid over")
		}
		return nil, problems
	}
	base, problems := p.fixture(own)
	if problems != nil {
		return nil, problems
	}
	object = merged(base, c.Patch)
	alert, err := decodeAlert(object)
	if err != nil {
		problems.Addf(p.doc.at("tests", p.index, "patch"), "alert", "", "with the patch, it is no alert: %v", err)
		return nil, problems
	}
	p.main.alert = &alert
	return object, nil
}

// another makes what happens at another time. An alert is one of its own, or the
// test's under another id.
func (p *play) another(object map[string]any, on string, own *Fixture, patch map[string]any, later time.Duration, list string, i int) (arrival, registry.Problems) {
	a := arrival{on: on, at: p.main.at.Add(later), by: p.main.by, input: p.main.input}
	here := p.doc.at("tests", p.index, list, i)
	var problems registry.Problems
	switch {
	case on == "" && p.main.isAlert():
		a.on = onAlert // whoever is to take it
	case on == "":
		a.on = p.main.on
	default:
		if problems = p.untaken(on, list, i, "on"); problems != nil {
			return a, problems
		}
	}
	switch {
	case a.on == onSchedule:
		if next := p.pb.Times(a.at, 1); own.IsSet() || patch != nil {
			problems.Addf(here, "on", "say on: alert, where the playbook takes alerts", "a schedule brings no alert")
		} else if !next[0].Equal(a.at) {
			problems.Addf(here, "range", "", "the schedule has no time at %s, and none before %s", a.at.Format(time.RFC3339), next[0].UTC().Format(time.RFC3339))
		}
		return a, problems
	case own.IsSet():
		if object, problems = p.fixture(own); problems != nil {
			return a, problems
		}
	case object != nil:
		stamp := a.at.Format(time.RFC3339Nano)
		object = merged(object, map[string]any{"created_at": stamp, "event_time": stamp})
	case a.isAlert() || patch != nil:
		problems.Addf(here, "missing", "name a file, or write the alert out", "there is no alert that it could be about")
		return a, problems
	}
	if object != nil {
		alert, err := decodeAlert(merged(object, patch))
		if err != nil {
			problems.Addf(here, "alert", "", "with the patch, it is no alert: %v", err)
			return a, problems
		}
		if p.main.alert != nil && alert.Ref() == p.main.alert.Ref() {
			alert.ID = fmt.Sprintf("%s-%s-%d", alert.ID, list, i+1)
		}
		a.alert = &alert
	}
	if a.on == onFailed {
		failed := p.test().Failed
		if failed == nil {
			problems.Addf(here, "missing", "", "the test does not say which run has failed")
		}
		a.failed = failed.run(a.at, a.alert)
	}
	return a, problems
}

// trigger is what explain is asked about.
func (a *arrival) trigger() playbooks.Trigger {
	t := playbooks.Trigger{On: a.on, Alert: a.alert, At: a.at, Missed: a.missed, Failed: a.failed, Input: a.input}
	if a.on == onUpdated {
		t.Change = a.changes().told(a)
	}
	return t
}

// stage is where a test is played.
type stage struct {
	sim      *playbooks.Simulation
	journal  *store.Store
	playbook string
}

// reach lets the time pass until something happens, and lets it happen.
func (w *stage) reach(ctx context.Context, a *arrival) error {
	if err := w.sim.Advance(ctx, a.at.Sub(w.sim.Now())); err != nil {
		return err
	}
	_, err := w.arrive(ctx, a)
	return err
}

// arrive lets something happen now. What came of an alert is in the journal, later.
func (w *stage) arrive(ctx context.Context, a *arrival) (started playbooks.Started, err error) {
	switch a.on {
	case onSchedule:
		return w.sim.Tick(ctx, w.playbook, a.missed)
	case onManual:
		m := playbooks.Manual{Playbook: w.playbook, Input: a.input, By: a.by, Enforce: true}
		if m.By == "" {
			m.By = "test"
		}
		if m.Alert, err = w.keep(ctx, a.alert); err != nil {
			return started, err
		}
		return w.sim.Start(ctx, m)
	case onFailed:
		run := *a.failed
		stored, err := w.keep(ctx, a.alert)
		if err != nil {
			return started, err
		}
		if stored != nil {
			run.AlertKey = stored.Key
		}
		return w.sim.Fail(ctx, run)
	case onUpdated:
		return started, w.update(ctx, a)
	}
	_, err = w.journal.Commit(ctx, soar.Change{Alerts: []soar.Alert{*a.alert}})
	return started, err
}

// keep puts an alert into the store as one that was evaluated before.
func (w *stage) keep(ctx context.Context, alert *soar.Alert) (*soar.StoredAlert, error) {
	if alert == nil {
		return nil, nil
	}
	if _, err := w.journal.Commit(ctx, soar.Change{Alerts: []soar.Alert{*alert}}); err != nil {
		return nil, err
	}
	stored, err := w.journal.AlertByRef(ctx, alert.Ref())
	if err != nil {
		return nil, err
	}
	_, err = w.journal.Commit(ctx, soar.Change{Evaluated: []soar.Evaluation{{AlertKey: stored.Key}}})
	return &stored, err
}

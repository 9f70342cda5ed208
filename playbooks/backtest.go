package playbooks

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// BacktestOptions are the settings of a backtest; the zero value works.
type BacktestOptions struct {
	// Actions are all actions there are. Those with an effect are never called.
	Actions map[string]Action
	// Reads lets reading actions be called for enrichment and host records. Without
	// it, what depends on them is unknown.
	Reads bool
	// History has the alerts that .count counts. Without it, .count is an error.
	History History
	// Ceiling holds all playbooks at observe when it is ModeObserve.
	Ceiling soar.Mode
	// Guard is asked about the calls, as of the time of each alert; nil is one with what is
	// built in. It counts nothing: each call is asked about as if it were the only one.
	Guard *guard.Guard
	// Listed bounds the alerts that are named for each change; 20 by default.
	Listed int
}

// Unknown is the verdict of a backtest when the conditions that need a look-up decide,
// and nothing was looked up; and of an explanation that lacks what decides: stored
// alerts to count, or the run that failed. The engine has them, and never says so.
const Unknown Verdict = "unknown"

// Suppressed and Grouped are verdicts of the engine when the conditions hold, and no
// run starts: a cool-down holds it back, or the alert joins a run.
const (
	Suppressed Verdict = "suppressed"
	Grouped    Verdict = "grouped"
)

// Backtest evaluates playbooks on alerts that came in earlier, as the engine would have
// done then: on a clock that stands at the time of each, and with cool-downs. Nothing
// is executed, and nothing is written anywhere. It is for one goroutine.
type Backtest struct {
	options  BacktestOptions
	now      time.Time
	benches  []*bench  // by name
	baseline *Backtest // nil: none, or what the running engine decided
	live     bool
	tally    *tally
}

// withheld is an action that a backtest does not carry out.
type withheld struct {
	Action
	reads bool
}

var errWithheld = errors.New("a backtest does not carry it out")

// Do carries out nothing but what reads, if that is allowed.
func (a withheld) Do(ctx context.Context, call Call) (Outcome, error) {
	if !a.reads || a.Spec().Effect != Reads {
		return Outcome{}, errWithheld
	}
	return a.Action.Do(ctx, call)
}

// Poll waits for what Do began.
func (a withheld) Poll(ctx context.Context, call Call, ref string) (Outcome, error) {
	if !a.reads || a.Spec().Effect != Reads {
		return Outcome{}, errWithheld
	}
	return a.Action.Poll(ctx, call, ref)
}

// Find looks nothing up: there are no lost calls.
func (a withheld) Find(context.Context, Call, time.Time) ([]Found, error) {
	return nil, ErrCannotTell
}

// unwritten is the journal of an engine whose runs nobody works on: it keeps what the
// engine itself reads again, and hands over the last change.
type unwritten struct {
	Journal // none: nothing else is asked of it
	last    soar.Change
	kv      map[string]soar.KV
}

// Commit keeps the change until the next one.
func (j *unwritten) Commit(_ context.Context, change soar.Change) (soar.Committed, error) {
	j.last = change
	for _, kv := range change.KV {
		j.kv[kv.Key] = kv
	}
	return soar.Committed{}, nil
}

// KV returns what was committed.
func (j *unwritten) KV(_ context.Context, prefix string) (list []soar.KV, err error) {
	for _, key := range sortedNames(j.kv) {
		if strings.HasPrefix(key, prefix) {
			list = append(list, j.kv[key])
		}
	}
	return list, nil
}

// bench is the engine of one playbook.
type bench struct {
	pb      *Playbook
	engine  *Engine
	journal *unwritten
}

// NewBacktest makes a backtest of a set of playbooks, which are read anew for its clock.
func NewBacktest(set *Set, o BacktestOptions) (*Backtest, error) {
	if o.Listed <= 0 {
		o.Listed = 20
	}
	b := &Backtest{options: o}
	now := func() time.Time { return b.now }
	actions := make(map[string]Action, len(o.Actions))
	for name, action := range o.Actions {
		actions[name] = withheld{action, o.Reads}
	}
	fresh, problems := readAnew(set, actions, now)
	if problems != nil {
		return nil, problems
	}
	b.tally = newTally(fresh, o.Ceiling, o.Listed)
	reading := &reader{cache: newCache(now), actions: actions, callTimeout: enrichTimeout, now: now, hosts: HostOfAlert, counter: &counter{history: o.History}}
	if !o.Reads {
		reading.actions = nil // .host stays what the alert knows
	}
	for _, pb := range fresh.playbooks {
		if !pb.Takes(pendingAlert) && !pb.Takes(pendingUpdated) {
			continue
		}
		j := &unwritten{kv: map[string]soar.KV{}}
		e, err := NewEngine(j, actions, NewSet(pb), EngineOptions{Now: now, Ceiling: o.Ceiling, Guard: o.Guard})
		if err != nil {
			return nil, err
		}
		e.reader = reading // what one playbook has read, the others need not read again
		b.benches = append(b.benches, &bench{pb, e, j})
	}
	return b, nil
}

// Again is the playbook, and those that it calls, with other actions, and with
// expressions that tell the time by now.
func (p *Playbook) Again(actions map[string]Action, now func() time.Time) (*Playbook, registry.Problems) {
	set, problems := readAnew(NewSet(p), actions, now)
	if problems != nil {
		return nil, problems
	}
	return set.playbooks[0], nil
}

// readAnew reads playbooks, and those that they call, with other actions and another clock.
func readAnew(set *Set, actions map[string]Action, now func() time.Time) (*Set, registry.Problems) {
	var problems registry.Problems
	fresh := map[*Playbook]*Playbook{}
	var all, wanted []*Playbook
	var read func(pb *Playbook) *Playbook
	read = func(pb *Playbook) *Playbook {
		if done, ok := fresh[pb]; ok {
			return done
		}
		p, more := ParseWithClock(pb.File, pb.Source, actions, now)
		problems = append(problems, more...)
		fresh[pb] = p
		if p != nil {
			all = append(all, p)
		}
		for _, name := range sortedNames(pb.called) {
			read(pb.called[name])
		}
		return p
	}
	for _, pb := range set.Playbooks() {
		wanted = append(wanted, read(pb))
	}
	if len(problems) == 0 {
		problems = Link(all)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return NewSet(wanted...), nil
}

// CompareWith compares with an earlier state of the playbooks.
func (b *Backtest) CompareWith(set *Set) (err error) {
	b.baseline, err = NewBacktest(set, b.options)
	return err
}

// CompareWithLive compares with what the running engine decided when the alerts came in.
func (b *Backtest) CompareWithLive() { b.live = true }

// Add evaluates all playbooks on an alert. Alerts are added in the order in which they
// came in, since of several with the same cool-down the first counts.
func (b *Backtest) Add(ctx context.Context, a *soar.StoredAlert) error {
	trials, err := b.Evaluate(ctx, a)
	if err != nil {
		return err
	}
	b.tally.add(a, trials)
	switch {
	case b.baseline != nil:
		earlier, err := b.baseline.Evaluate(ctx, a)
		if err != nil {
			return err
		}
		b.baseline.tally.add(a, earlier)
		b.tally.compare(a, trials, earlier)
	case b.live && a.Pending == "":
		b.tally.compare(a, trials, recorded(a, trials))
	}
	return nil
}

// Trial is what one playbook makes of one alert.
type Trial struct {
	Playbook string
	Verdict  Verdict
	Words    string        // behind the verdict
	Run      soar.RunID    // of the run that would have started; zero: none
	Steps    []PlannedStep // of it

	pb *Playbook
}

// holds reports whether the conditions hold, whether or not a run starts.
func (t *Trial) holds() bool {
	return t.Verdict == Match || t.Verdict == Suppressed || t.Verdict == Grouped
}

// recorded is what the journal has of the same playbooks.
func recorded(a *soar.StoredAlert, trials []*Trial) []*Trial {
	list := make([]*Trial, len(trials))
	for i, t := range trials {
		list[i] = &Trial{Playbook: t.Playbook, pb: t.pb}
		list[i].Verdict, list[i].Words = readVerdict(a.Verdicts[t.pb.Name])
	}
	return list
}

// Evaluate asks all playbooks, as Add does, and counts nothing.
func (b *Backtest) Evaluate(ctx context.Context, a *soar.StoredAlert) ([]*Trial, error) {
	b.now = a.ReceivedAt
	if b.now.IsZero() {
		b.now = a.Alert.CreatedAt
	}
	trials := make([]*Trial, 0, len(b.benches))
	for _, one := range b.benches {
		t := &Trial{Playbook: one.pb.Name, pb: one.pb}
		if _, err := safely(func() (Outcome, error) { return Outcome{}, b.try(ctx, one, a, t) }); err != nil {
			t.Verdict, t.Words = Failed, err.Error()
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		trials = append(trials, t)
	}
	return trials, nil
}

// try lets the engine evaluate an alert as one that has just come in, and plans the run
// that it starts instead of working on it.
func (b *Backtest) try(ctx context.Context, one *bench, a *soar.StoredAlert, t *Trial) error {
	plain, err := plainAlert(&a.Alert)
	if err != nil {
		return err
	}
	ev := newEvaluation(one.engine.reader, &a.Alert, plain, one.pb)
	p := newPlanner(ctx, ev, one.engine.guard, one.engine.options.Ceiling, soar.Run{})
	p.withheld = !b.options.Reads
	if t.Words = b.needsLookUp(ctx, ev, p); t.Words != "" {
		t.Verdict = Unknown
		return nil
	}
	pending := soar.StoredAlert{Key: a.Key, Alert: a.Alert, ReceivedAt: a.ReceivedAt, Pending: pendingAlert}
	if !one.pb.Takes(pendingAlert) {
		pending.Pending = pendingUpdated
		for _, c := range one.pb.match.conditions {
			if why := (unknowns{changeName: noChange}).of(c.expr); why != "" {
				t.Verdict, t.Words = Unknown, why
				return nil
			}
		}
	}
	one.journal.last = soar.Change{}
	runners, err := one.engine.evaluate(ctx, &pending)
	for _, r := range runners {
		one.engine.dropRun(r.run.ID)
	}
	if err != nil {
		return err
	}
	t.Verdict = NoMatch
	for _, evaluated := range one.journal.last.Evaluated {
		t.Verdict, t.Words = readVerdict(evaluated.Verdicts[one.pb.Name])
	}
	if len(one.journal.last.Runs) == 0 {
		return nil
	}
	if b.options.Reads {
		ev.match(ctx, false)
		ev.prepare(ctx) // what the engine has just read
	}
	p.run = one.journal.last.Runs[0]
	t.Run = p.run.ID
	t.Steps = p.walk()
	return nil
}

// readVerdict reads a verdict as the journal has it.
func readVerdict(text string) (Verdict, string) {
	word, words, _ := strings.Cut(text, ": ")
	if word == "" {
		return NoMatch, ""
	}
	return Verdict(word), words
}

// needsLookUp says what has to be looked up before anybody can tell whether a run
// starts; empty when nothing has, or when it may be.
func (b *Backtest) needsLookUp(ctx context.Context, ev *evaluation, p *planner) string {
	if b.options.Reads {
		return ""
	}
	if ev.pb.count != nil {
		ev.readCount(ctx)
	}
	conditions := ev.pb.match.evaluate(ctx, ev.input(), nil, func(c *condition) bool { return !c.looksUp() }, false)
	switch combine(conditions) {
	case NoMatch:
		return ""
	case Failed:
		if b.open(ev.pb, conditions) {
			return "its conditions need a look-up"
		}
		return ""
	}
	for _, key := range ev.pb.keys() {
		if why := p.unknown(key, &frame{chain: []*Playbook{ev.pb}, found: ev.found}); why != "" {
			return "its cool-down or its group " + why
		}
	}
	return ""
}

// open reports whether conditions that were left out could change the verdict: when
// all of them hold, or none.
func (b *Backtest) open(pb *Playbook, conditions []Condition) bool {
	for _, holds := range []bool{true, false} {
		changed := append([]Condition(nil), conditions...)
		for i, c := range pb.match.conditions {
			if c.looksUp() {
				changed[i].Verdict = NoMatch
				if holds == (c.block != None) {
					changed[i].Verdict = Match
				}
			}
		}
		if combine(changed) != Failed {
			return true
		}
	}
	return false
}

// Report tells what came of all alerts that were added.
func (b *Backtest) Report() *BacktestReport {
	r := &BacktestReport{From: b.tally.from, To: b.tally.to, Alerts: b.tally.alerts, Reads: b.options.Reads, Results: []PlaybookBacktest{}}
	var earlier map[string]*counts
	switch {
	case b.baseline != nil:
		r.Baseline, earlier = "playbooks", b.baseline.tally.playbooks
	case b.live:
		r.Baseline = "live"
	}
	for _, name := range sortedNames(b.tally.playbooks) {
		r.Results = append(r.Results, b.tally.playbooks[name].report(r.Baseline, earlier[name]))
	}
	for _, name := range sortedNames(earlier) {
		if gone := earlier[name]; b.tally.playbooks[name] == nil {
			r.Results = append(r.Results, gone.removed(b.tally.gone[name]))
		}
	}
	slices.SortFunc(r.Results, func(a, b PlaybookBacktest) int { return strings.Compare(a.Playbook, b.Playbook) })
	return r
}

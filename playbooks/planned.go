package playbooks

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// Plan is what would become of a step, as far as that can be told before the run.
type Plan string

// The plans.
const (
	PlanSent      Plan = "sent"        // the call goes out
	PlanObserved  Plan = "observed"    // it would go out, and the guard lets it be written down only
	PlanHeld      Plan = "held"        // it waits for the guard
	PlanAsks      Plan = "asks"        // people have to agree to it first
	PlanReads     Plan = "reads"       // a reading action; what it returns is not known
	PlanSkipped   Plan = "skipped"     // its if is false
	PlanFails     Plan = "fails"       // an expression of it cannot be evaluated, or the action refuses its arguments
	PlanUnknown   Plan = "unknown"     // it depends on what only a run can find out
	PlanOnFailure Plan = "on failure"  // a step of on_error, and nobody knows whether it is needed
	PlanLeftOut   Plan = "not reached" // a step before it fails, or does not
	PlanGroup     Plan = "group"       // other steps, which follow, make it up
)

// maxPlannedItems bounds the items of a for_each that an explanation lists.
const maxPlannedItems = 20

// planner walks through the steps of a playbook before there is a run, as a survey
// does through those of one, and tells of each what it would do. The results of steps
// that end without a call are known; those of calls are not, nor is anything that
// depends on them. What follows a call is told for the case that it succeeds.
type planner struct {
	ctx   context.Context
	ev    *evaluation
	guard *guard.Guard
	// ceiling is that of the engine.
	ceiling soar.Mode
	run     soar.Run
	// withheld: nothing was read, so that nobody knows .enrich and the host record.
	withheld bool
	lacks    unknowns // what else nobody knows here
	limit    int      // of the items of a for_each that are listed; 0: all

	steps   []PlannedStep
	results map[string]Result // of steps that end without a call
	open    map[string]bool   // steps whose results are not known
	doubt   int               // above 0, nobody knows whether the walk comes by here
}

func newPlanner(ctx context.Context, ev *evaluation, g *guard.Guard, ceiling soar.Mode, run soar.Run) *planner {
	return &planner{ctx: ctx, ev: ev, guard: g, ceiling: ceiling, run: run, results: map[string]Result{}, open: map[string]bool{}}
}

// walk plans the steps of the playbook and those under finally.
func (w *planner) walk() []PlannedStep {
	root := rootFrame(w.ev.pb, w.ev.found)
	root.vars = w.ev.vars
	w.playbook(w.ev.pb, &root)
	return w.steps
}

func (w *planner) say(s *step, key string, plan Plan, words string, with map[string]any) {
	p := PlannedStep{StepInfo: s.info(), Plan: plan, Words: words, With: with}
	p.ID = key
	w.steps = append(w.steps, p)
}

// playbook is survey.playbook; going means that the end is not known.
func (w *planner) playbook(pb *Playbook, f *frame) (status, string) {
	st, why := w.sequence(pb.steps, f, false)
	last, lastWhy := w.sequence(pb.finally, f, true)
	return worse(st, last), cmp.Or(why, lastWhy)
}

func worse(a, b status) status {
	switch {
	case a == broke || b == broke:
		return broke
	case a == going || b == going:
		return going
	}
	return passed
}

// sequence is survey.sequence.
func (w *planner) sequence(list []*step, f *frame, all bool) (st status, why string) {
	st = passed
	for n, s := range list {
		switch w.step(s, f) {
		case going:
			st = worse(st, going)
			w.aside(s.handlers, f, PlanOnFailure, "only when a step before it fails")
			continue
		case passed:
			w.aside(s.handlers, f, PlanLeftOut, "only when a step before it fails")
			continue
		}
		if s.carryOn {
			continue
		}
		why = cmp.Or(why, fmt.Sprintf("step %s: %s", s.id, w.results[f.key(s)].Error))
		if f.blames && w.run.Error == "" {
			w.run.Error = why
		}
		w.sequence(s.handlers, f, false)
		if st = broke; !all {
			w.aside(list[n+1:], f, PlanLeftOut, "is not reached: step "+s.id+" fails")
			return st, why
		}
	}
	return st, why
}

// aside tells of steps that the walk does not come by.
func (w *planner) aside(list []*step, f *frame, plan Plan, words string) {
	for _, s := range list {
		w.say(s, f.key(s), plan, words, nil)
		for _, branch := range s.branches {
			w.aside(branch, f, plan, words)
		}
		w.aside(s.handlers, f, plan, words)
		if plan == PlanOnFailure {
			w.open[f.key(s)] = true
		}
	}
}

func (w *planner) step(s *step, f *frame) (st status) {
	key := f.key(s)
	var seen any
	if why := w.dependsOn(s, f); why != "" {
		w.doubtful(s, key, f, why)
		st = going
	} else if s.forEach != nil {
		st, seen = w.items(s, key, f)
	} else {
		st, seen = w.one(s, key, f)
	}
	if st == going {
		w.open[key] = true
	} else {
		f.steps[s.id] = seen
	}
	return st
}

// doubtful tells of a step of which nobody knows whether it is done, or with what.
func (w *planner) doubtful(s *step, key string, f *frame, why string) {
	w.say(s, key, PlanUnknown, why, nil)
	w.doubt++
	defer func() { w.doubt-- }()
	for _, branch := range s.branches {
		inside := *f
		inside.steps, inside.blames = maps.Clone(f.steps), false
		w.sequence(branch, &inside, false)
	}
}

// dependsOn says why nobody knows whether a step is done; empty when that is known.
func (w *planner) dependsOn(s *step, f *frame) string {
	if w.doubt > 0 {
		return "depends on whether it is reached"
	}
	return cmp.Or(w.unknown(s.cond, f), w.unknown(s.forEach, f))
}

func (w *planner) unknownIn(t *template, f *frame) (why string) {
	t.exprs(func(e *expr) { why = cmp.Or(why, w.unknown(e, f)) })
	return why
}

// unknown says what an expression depends on that nobody knows before the run.
func (w *planner) unknown(e *expr, f *frame) string {
	if e == nil {
		return ""
	}
	if why := w.lacks.of(e); why != "" {
		return "depends on what nobody knows here: " + why
	}
	for _, fields := range e.reads {
		switch fields[0] {
		case "steps":
			for key := range w.open {
				id, inside := strings.CutPrefix(key, f.prefix)
				if inside && !strings.ContainsAny(id, "/[") && (len(fields) == 1 || fields[1] == id) {
					return "depends on what earlier steps return"
				}
			}
		case "run":
			if _, another := f.found.extra["run"]; another { // the failed run that started this one
				continue
			}
			if len(w.open) > 0 && w.run.Error == "" && (len(fields) == 1 || fields[1] == "error") {
				return "depends on whether earlier steps fail"
			}
		case "enrich", "enrich_errors", statusName:
			if w.withheld && (len(f.playbook().enrich) > 0 || fields[0] != "enrich") {
				return "depends on enrichment, which was not read"
			}
		case "group", "alerts":
			return "depends on what else happens in the meantime"
		case "host":
			if w.withheld {
				return "depends on the host record, which was not read"
			}
		}
	}
	return ""
}

// ends records the result of a step that ends without a call.
func (w *planner) ends(key string, r Result) (status, any) {
	w.results[key] = r
	return statusOf(r.State), r.visible()
}

func (w *planner) fails(s *step, key, why string) (status, any) {
	w.say(s, key, PlanFails, "fails: "+why, nil)
	return w.ends(key, Result{State: soar.StepFailed, Error: why})
}

// wanted asks the if of a step.
func (w *planner) wanted(s *step, key string, f *frame) (yes bool, st status, seen any) {
	if s.cond == nil {
		return true, passed, nil
	}
	yes, err := s.cond.isTrue(w.ctx, f.input(w.ev.plain, &w.run))
	switch {
	case err != nil:
		st, seen = w.fails(s, key, "if: "+err.Error())
	case !yes:
		w.say(s, key, PlanSkipped, "is skipped: if is false", nil)
		st, seen = w.ends(key, Result{State: soar.StepSkipped, Summary: "if is false"})
	}
	return err == nil && yes, st, seen
}

// items is survey.items.
func (w *planner) items(s *step, key string, f *frame) (st status, seen any) {
	if yes, st, _ := w.wanted(s, key, f); !yes {
		return st, []any{}
	}
	value, err := s.forEach.value(w.ctx, f.input(w.ev.plain, &w.run))
	var list []any
	if err == nil {
		list, err = itemsOf(value)
	}
	if err != nil {
		st, _ = w.fails(s, key, "for_each: "+err.Error())
		return st, []any{}
	}
	words := "is done for each of " + count(len(list), "item")
	if w.limit > 0 && len(list) > w.limit {
		words += fmt.Sprintf(", the first %d of which follow", w.limit)
	}
	w.say(s, key, PlanGroup, words, nil)
	results := make([]any, 0, len(list))
	var states []soar.StepState
	open, why := false, ""
	for i, item := range list {
		if why != "" && !s.carryOn {
			break
		}
		listed := len(w.steps)
		unit := itemKey(key, i)
		inside := *f
		inside.item, inside.inItem, inside.blames = item, true, false
		st, seen := w.one(s, unit, &inside)
		if w.limit > 0 && i >= w.limit {
			w.steps = w.steps[:listed]
		}
		switch st {
		case going:
			open = true
			continue
		case broke:
			why = cmp.Or(why, fmt.Sprintf("item %d: %s", i, w.results[unit].Error))
		}
		results, states = append(results, seen), append(states, w.results[unit].State)
	}
	result := itemsResult(states, len(list), why)
	switch {
	case open && why == "":
		return going, nil
	case open: // that it fails is certain, and what its results are is not
		w.open[key] = true
	}
	w.results[key] = result
	return statusOf(result.State), results
}

// one is survey.one.
func (w *planner) one(s *step, key string, f *frame) (st status, seen any) {
	if s.forEach == nil {
		if yes, st, seen := w.wanted(s, key, f); !yes {
			return st, seen
		}
	}
	if why := w.unknownIn(s.with, f); why != "" {
		at := len(w.steps)
		w.doubtful(s, key, f, why)
		w.steps[at].made = true
		return going, nil
	}
	switch {
	case s.branches != nil:
		return w.parallel(s, key, f)
	case s.call.Value != "":
		return w.call(s, key, f)
	}
	with, err := s.with.object(w.ctx, f.input(w.ev.plain, &w.run))
	if err != nil {
		return w.fails(s, key, "with: "+err.Error())
	}
	with = pinned(s.action, with)
	refusal := Refusal(s.action, with)
	if s.spec.Effect == Reads && refusal == nil {
		w.say(s, key, PlanReads, map[bool]string{false: "reads", true: "lets time pass"}[s.spec.Waits], with)
		return going, nil
	}
	refused := func() (status, any) {
		w.say(s, key, PlanFails, "fails: "+refusal.Error(), with)
		return w.ends(key, Result{State: soar.StepFailed, Error: refusal.Error(), With: with})
	}
	if s.spec.Effect == Reads {
		return refused()
	}
	now := w.run.StartedAt
	request := newRequest(w.ceiling, &w.run, key, s, f.chain, w.ev.alert, with, w.ev.reader.readHosts(w.ctx, w.ev.alert, with), now, now)
	if asks := s.spec.Asks; asks != nil {
		if request.Question, err = asks(with); err != nil {
			return w.fails(s, key, "with: "+err.Error())
		}
	}
	d := w.guard.Ask(request)
	defer func() {
		planned := &w.steps[len(w.steps)-1]
		if planned.Guard = d.Answers; planned.Plan == PlanSent || planned.Plan == PlanAsks || planned.Plan == PlanHeld {
			planned.TakenBack = takenBackAfter(s.action, Call{Run: w.run.ID, Step: key, Alert: *cmp.Or(w.ev.alert, &soar.Alert{}), With: with, Mark: mark(w.run.ID, key, 1)})
		}
	}()
	switch {
	case refusal != nil && (d.OK || !d.Until.IsZero()):
		return refused()
	case d.OK:
		w.say(s, key, PlanSent, "is sent: "+d.Answers[modeAnswer(d.Answers)].Words, with)
		return going, nil
	case guard.AsksPeople(d.Answers):
		w.say(s, key, PlanAsks, "asks for approval: "+w.guard.WhoAgrees(request), with)
		return going, nil
	case !d.Until.IsZero():
		w.say(s, key, PlanHeld, "waits: "+d.Words, with)
		return going, nil
	}
	w.say(s, key, PlanObserved, "is not sent: "+d.Words, with)
	result := Result{State: d.State, Summary: d.Words, With: with}
	if !d.State.OK() {
		result.Error = d.Words
	}
	if request.Question != nil {
		result.Granted = new(bool)
	}
	return w.ends(key, result)
}

// alertStatus is the status of an alert; empty for none.
func alertStatus(a *soar.Alert) string {
	if a == nil {
		return ""
	}
	return a.Status
}

// modeAnswer is the place of what the mode says, which is what people want to know of a
// call that goes out.
func modeAnswer(answers []Answer) int {
	return max(slices.IndexFunc(answers, func(a Answer) bool { return a.Check == "mode" }), 0)
}

// parallel is survey.parallel.
func (w *planner) parallel(s *step, key string, f *frame) (status, any) {
	w.say(s, key, PlanGroup, fmt.Sprintf("%d branches side by side", len(s.branches)), nil)
	open, failed, why := false, 0, ""
	after := maps.Clone(f.steps)
	for _, list := range s.branches {
		inside := *f
		inside.steps, inside.blames = maps.Clone(f.steps), false
		st, branchWhy := w.sequence(list, &inside, false)
		switch st {
		case going:
			open = true
		case broke:
			failed++
		}
		why = cmp.Or(why, branchWhy)
		maps.Copy(after, inside.steps)
	}
	f.steps = after
	result := Result{State: soar.StepExecuted, Summary: fmt.Sprintf("%d branches", len(s.branches))}
	switch {
	case failed > 0:
		result = Result{State: soar.StepFailed, Error: why, Summary: fmt.Sprintf("%d of %d branches failed", failed, len(s.branches))}
	case open:
		return going, nil
	}
	return w.ends(key, result)
}

// call is survey.call.
func (w *planner) call(s *step, key string, f *frame) (status, any) {
	callee := f.playbook().called[s.call.Value]
	if callee == nil {
		return w.fails(s, key, fmt.Sprintf("it calls playbook %s, which is not loaded with it", s.call.Value))
	}
	vars, err := callVars(w.ctx, s, callee, f.input(w.ev.plain, &w.run))
	if err != nil {
		return w.fails(s, key, "with: "+err.Error())
	}
	for _, e := range callee.enrich {
		if why := w.lacks.in(e.with); why != "" {
			w.doubtful(s, key, f, "calls playbook "+callee.Name+", which depends on what nobody knows here: "+why)
			return going, nil
		}
	}
	w.say(s, key, PlanGroup, "calls playbook "+callee.Name, nil)
	ev := newEvaluation(w.ev.reader, w.ev.alert, w.ev.plain, callee)
	ev.vars = vars
	if !w.withheld {
		ev.prepareCall(w.ctx)
	}
	note := callNote(callee, vars, ev.found)
	inside := calleeFrame(s, key, f, callee, &note)
	st, why := w.playbook(callee, &inside)
	result := Result{State: soar.StepExecuted, Summary: "playbook " + callee.Name + " done"}
	switch st {
	case going:
		return going, nil
	case broke:
		result = Result{State: soar.StepFailed, Error: why, Summary: "playbook " + callee.Name + " failed"}
	}
	_, seen := w.ends(key, result)
	visible, _ := seen.(map[string]any)
	visible["output"] = inside.steps
	return st, visible
}

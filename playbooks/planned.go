package playbooks

import (
	"context"
	"fmt"

	"github.com/erbridge/erbridge/internal/soar"
)

// maxPlannedItems bounds the items of a for_each that an explanation lists.
const maxPlannedItems = 20

// planner walks through the steps of a playbook before there is a run, and tells of
// each what it would do.
type planner struct {
	ctx   context.Context
	ev    *evaluation
	guard *guard
	run   soar.Run
	steps []PlannedStep
}

func (w *planner) say(s *step, key, words string, with map[string]any) {
	p := PlannedStep{StepInfo: s.info(), Words: words, With: with}
	p.ID = key
	w.steps = append(w.steps, p)
}

func (w *planner) list(list []*step, f *frame) {
	for _, s := range list {
		w.step(s, f)
		w.list(s.handlers, f)
	}
}

func (w *planner) step(s *step, f *frame) {
	key := f.key(s)
	switch {
	case s.handler:
		w.say(s, key, "only when a step before it fails", nil)
		w.branches(s, f)
		return
	case s.cond != nil && s.cond.roots["steps"] || s.forEach != nil && s.forEach.roots["steps"] || s.forEach == nil && s.with.reads("steps"):
		w.say(s, key, "depends on what earlier steps return", nil)
		w.branches(s, f)
		return
	}
	in := f.input(w.ev.plain, &w.run)
	if s.cond != nil {
		switch yes, err := s.cond.isTrue(w.ctx, in); {
		case err != nil:
			w.say(s, key, "fails: if: "+err.Error(), nil)
			return
		case !yes:
			w.say(s, key, "is skipped: if is false", nil)
			return
		}
	}
	if s.forEach == nil {
		w.one(s, key, f)
		return
	}
	value, err := s.forEach.value(w.ctx, in)
	var items []any
	if err == nil {
		items, err = itemsOf(value)
	}
	if err != nil {
		w.say(s, key, "fails: for_each: "+err.Error(), nil)
		return
	}
	words := "is done for each of " + count(len(items), "item")
	if len(items) > maxPlannedItems {
		words += fmt.Sprintf(", the first %d of which follow", maxPlannedItems)
	}
	w.say(s, key, words, nil)
	for i, item := range items[:min(len(items), maxPlannedItems)] {
		inside := *f
		inside.item, inside.inItem = item, true
		if s.with.reads("steps") {
			w.say(s, itemKey(key, i), "depends on what earlier steps return", nil)
			continue
		}
		w.one(s, itemKey(key, i), &inside)
	}
}

// one tells of one instance whose if is true.
func (w *planner) one(s *step, key string, f *frame) {
	in := f.input(w.ev.plain, &w.run)
	switch {
	case s.branches != nil:
		w.say(s, key, fmt.Sprintf("%d branches side by side", len(s.branches)), nil)
		w.branches(s, f)
		return
	case s.call.Value != "":
		w.call(s, key, f, in)
		return
	}
	with, err := s.with.object(w.ctx, in)
	if err != nil {
		w.say(s, key, "fails: with: "+err.Error(), nil)
		return
	}
	if s.spec.Effect == Reads {
		w.say(s, key, "reads", with)
		return
	}
	answers, ok := w.guard.allow(&request{playbook: strictest(f.chain), step: s, alert: w.ev.alert, run: &w.run})
	words := "is sent: " + answers[len(answers)-1].Words
	if !ok {
		words = "is not sent: " + answers[len(answers)-1].Words
	}
	w.say(s, key, words, with)
}

func (w *planner) branches(s *step, f *frame) {
	for _, list := range s.branches {
		w.list(list, f)
	}
}

func (w *planner) call(s *step, key string, f *frame, in *input) {
	callee := f.playbook().called[s.call.Value]
	if callee == nil {
		w.say(s, key, fmt.Sprintf("calls playbook %s, which is not loaded with it", s.call.Value), nil)
		return
	}
	vars, err := callVars(w.ctx, s, callee, in)
	if err != nil {
		w.say(s, key, "fails: with: "+err.Error(), nil)
		return
	}
	w.say(s, key, "calls playbook "+callee.Name, nil)
	ev := newEvaluation(w.ev.reader, w.ev.alert, w.ev.plain, callee)
	ev.vars = vars
	ev.prepareCall(w.ctx)
	note := callNote(callee, vars, ev.found)
	inside := calleeFrame(s, key, f, callee, &note)
	w.list(callee.steps, &inside)
	w.list(callee.finally, &inside)
}

package cacao

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// converter follows the workflow of one playbook.
type converter struct {
	in      *Playbook
	notes   []Note
	finally string // the id of the first step of our finally; empty: none

	enrich mapping
	vars   mapping
	names  map[string]string // of variables: __x__ to x

	ids    map[string]bool // of our steps
	seen   map[string]bool // CACAO steps
	active map[string]bool // those on the way to here
	steps  int
	visits int
	err    error
}

// surroundings are what a part of the workflow stands in.
type surroundings struct {
	until   map[string]bool // ids at which it ends
	cond    string          // jq under which it is done; empty: always
	handler bool            // it is an on_error block
}

func (s surroundings) ending(ids ...string) surroundings {
	s.until = maps.Clone(s.until)
	if s.until == nil {
		s.until = map[string]bool{}
	}
	for _, id := range ids {
		if id != "" {
			s.until[id] = true
		}
	}
	return s
}

func (s surroundings) when(cond string) surroundings {
	if s.cond != "" {
		cond = "(" + s.cond + ") and (" + cond + ")"
	}
	s.cond = cond
	return s
}

// chain converts the steps that follow each other from id on.
func (c *converter) chain(id string, s surroundings) []any {
	var steps []any
	var passed []string
	defer func() {
		for _, id := range passed {
			delete(c.active, id)
		}
	}()
	for id != "" && !s.until[id] && c.err == nil {
		step := c.in.Workflow[id]
		if c.visits++; c.visits > maxVisits {
			c.err = errors.New("its workflow branches too often")
			return nil
		}
		switch {
		case step == nil:
			c.note(id, NotConverted, "the workflow refers to this step, and there is none")
			return steps
		case c.active[id]:
			c.note(id, NotConverted, "the workflow comes back to this step: a playbook does not go in circles")
			return steps
		}
		if c.seen == nil {
			c.seen = map[string]bool{}
		}
		c.seen[id], c.active[id] = true, true
		passed = append(passed, id)
		if step.Delay > 0 {
			c.note(id, NotConverted, "a delay of %d ms: steps follow each other at once", step.Delay)
		}
		if len(step.StepVariables) > 0 {
			c.variables(id, step.StepVariables, false)
		}
		next := step.OnCompletion
		if next == "" {
			next = step.OnSuccess
		}
		switch step.Type {
		case typeEnd:
			return steps
		case typeStart:
		case typeAction:
			steps = append(steps, c.action(id, step, s)...)
		case typePlaybook:
			steps = append(steps, c.call(id, step, s)...)
		case typeParallel:
			steps = append(steps, c.parallel(id, step, next, s)...)
		case typeIf:
			if next == "" {
				next = c.join(step.OnTrue, step.OnFalse)
			}
			steps = append(steps, c.branch(id, step, next, s)...)
		case typeWhile:
			if next == "" {
				next = step.OnFalse
			}
			steps = append(steps, c.loop(id, step, next, s)...)
		case typeSwitch:
			steps = append(steps, c.choice(id, step, next, s)...)
		default:
			c.note(id, NotConverted, "steps of type %q are not known", shorten(step.Type, 40))
		}
		id = next
	}
	return steps
}

// emit takes up a step of ours under the condition of its surroundings.
func (c *converter) emit(step mapping, s surroundings) []any {
	if c.steps++; c.steps > maxSteps && c.err == nil {
		c.err = fmt.Errorf("it becomes more than %d steps", maxSteps)
	}
	if s.cond != "" {
		if own := text(step["if"]); own != "" {
			step["if"] = "(" + s.cond + ") and (" + own + ")"
		} else {
			step["if"] = s.cond
		}
	}
	return []any{step}
}

// id makes a name for a step of ours.
func (c *converter) id(title string) string {
	base := strings.TrimLeft(slug(title, '_', 34), "0123456789_")
	if base == "" || base == "imported" {
		base = "step"
	}
	name := base
	for n := 2; c.ids[name]; n++ {
		name = base + "_" + strconv.Itoa(n)
	}
	c.ids[name] = true
	return name
}

// ours is the step as our extension has it, or nil. Of an if or a loop that only
// stands around such a step, it is what is below around.
func (c *converter) ours(id string, step *Step, below string) mapping {
	raw := step.StepExtensions[extensionID]
	if raw == nil {
		return nil
	}
	extension, err := decodeMapping(raw)
	if err != nil {
		c.note(id, NotConverted, "step_extensions: the extension of erbridge is no object")
		return nil
	}
	keys, _ := extension[below].(mapping)
	if name := text(keys["id"]); name != "" {
		c.ids[name] = true
	}
	return keys
}

// failing adds what is done when a step fails.
func (c *converter) failing(id string, step *Step, ours mapping, s surroundings) {
	if ours["on_error"] != nil {
		return
	}
	switch {
	case step.OnFailure == "" || s.until[step.OnFailure] && step.OnFailure != step.OnSuccess:
		return
	case step.OnFailure == step.OnSuccess:
		if next := c.in.Workflow[step.OnSuccess]; next != nil && next.Type != typeEnd && !s.until[step.OnSuccess] {
			ours["on_error"] = "continue"
		}
		return
	case s.handler:
		c.note(id, Approximated, "on_failure: what is done after a failure cannot fail over again; the run ends")
		return
	}
	inside := s.ending(step.OnSuccess)
	inside.handler, inside.cond = true, ""
	handlers := c.chain(step.OnFailure, inside)
	if len(handlers) == 0 {
		return
	}
	ours["on_error"] = handlers
	if ours["on_error"] != nil && step.OnSuccess != "" && c.leadsTo(step.OnFailure, step.OnSuccess) {
		c.note(id, Approximated, "after on_failure the workflow would go on; here the run ends as failed behind it")
	}
}

// leadsTo reports whether one step comes to another without branching.
func (c *converter) leadsTo(from, to string) bool {
	return slices.Contains(c.straight(from), to)
}

// straight lists the steps that follow each other from id on, without branches.
func (c *converter) straight(id string) (ids []string) {
	for step := c.in.Workflow[id]; step != nil && !slices.Contains(ids, id) && len(ids) < maxWorkflow; step = c.in.Workflow[id] {
		ids = append(ids, id)
		if id = step.OnCompletion; id == "" {
			id = step.OnSuccess
		}
	}
	return ids
}

// join finds where two branches meet again.
func (c *converter) join(a, b string) string {
	other := c.straight(b)
	for _, id := range c.straight(a) {
		if slices.Contains(other, id) && c.in.Workflow[id].Type != typeEnd {
			return id
		}
	}
	return ""
}

func (c *converter) call(id string, step *Step, s surroundings) []any {
	if ours := c.ours(id, step, "step"); called(ours) != "" {
		c.failing(id, step, ours, s)
		c.note(id, Converted, "calls %s", shorten(called(ours), 80))
		return c.emit(ours, s)
	}
	c.note(id, NotConverted, "it calls the playbook %s: import that one too, and write call: with its name", shorten(step.PlaybookID, 80))
	out := c.todo(step, "call the playbook "+step.PlaybookID)
	c.failing(id, step, out, s)
	return c.emit(out, s)
}

func (c *converter) parallel(id string, step *Step, next string, s surroundings) []any {
	out := c.ours(id, step, "step")
	if out == nil {
		out = mapping{"id": c.id(step.Name)}
	}
	inside := s.ending(next)
	inside.cond = ""
	var branches []any
	for _, first := range step.NextSteps {
		switch branch := c.chain(first, inside); len(branch) {
		case 0:
		case 1:
			branches = append(branches, branch[0])
		default:
			branches = append(branches, branch)
		}
	}
	if len(branches) == 0 {
		c.note(id, NotConverted, "it has no branch that does anything")
		return nil
	}
	out["parallel"] = branches
	c.failing(id, step, out, s)
	c.note(id, Converted, "%d branches side by side", len(branches))
	return c.emit(out, s)
}

// branch converts an if: each step of the two branches gets the condition.
func (c *converter) branch(id string, step *Step, next string, s surroundings) []any {
	inside := s.ending(next)
	if c.ours(id, step, "around") != nil { // the step inside has its condition
		return c.around(id, step, next, s)
	}
	holds, fails := c.condition(id, step)
	steps := c.chain(step.OnTrue, inside.when(holds))
	if step.OnFalse != "" {
		steps = append(steps, c.chain(step.OnFalse, inside.when(fails))...)
	}
	return steps
}

// around converts the step inside an if or a loop that we wrote.
func (c *converter) around(id string, step *Step, next string, s surroundings) []any {
	c.note(id, Converted, "as if or for_each of the step inside")
	return c.chain(step.OnTrue, s.ending(next, step.OnFailure))
}

func (c *converter) loop(id string, step *Step, next string, s surroundings) []any {
	if c.ours(id, step, "around") != nil {
		return c.around(id, step, next, s)
	}
	holds, _ := c.condition(id, step)
	c.note(id, Approximated, "a loop: its steps are done once at most; a list is worked off with for_each")
	return c.chain(step.OnTrue, s.ending(next, id).when(holds))
}

func (c *converter) choice(id string, step *Step, next string, s surroundings) []any {
	inside := s.ending(next)
	name, known := c.names[strings.TrimSuffix(strings.TrimSpace(step.Switch), ":value")]
	if !known {
		name = c.unset()
		c.note(id, NotConverted, "switch %q: no variable of this playbook; none of the cases is taken before vars.%s has a value", shorten(step.Switch, 80), name)
		inside = inside.when(".vars." + name + " != null")
	}
	cases := slices.Sorted(maps.Keys(step.Cases))
	var steps []any
	var values []string
	for _, value := range cases {
		if value == "default" {
			continue
		}
		cond := "(.vars." + name + " | tostring) == " + quoted(value)
		values = append(values, cond)
		steps = append(steps, c.chain(step.Cases[value], inside.when(cond))...)
	}
	if first := step.Cases["default"]; first != "" && len(values) > 0 {
		steps = append(steps, c.chain(first, inside.when("("+strings.Join(values, " or ")+") | not"))...)
	} else if first != "" {
		steps = append(steps, c.chain(first, inside)...)
	}
	if known {
		c.note(id, Converted, "%d cases, each an if", len(cases))
	}
	return steps
}

package playbooks

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// Bounds of what a playbook may call.
const (
	maxCallDepth   = 8
	maxCalledSteps = 1000 // of a playbook and all that it calls
)

// Link ties the calls of playbooks to each other and to others that were loaded
// before. It reports calls of playbooks that are not there, variables that they do
// not have, and playbooks that call themselves, whatever the way.
func Link(loaded []*Playbook, others ...*Playbook) registry.Problems {
	known := map[string]*Playbook{}
	for _, list := range [][]*Playbook{others, loaded} {
		for _, pb := range list {
			known[pb.Name] = pb
		}
	}
	var problems registry.Problems
	for _, pb := range loaded {
		pb.called = map[string]*Playbook{}
		for _, s := range pb.calls {
			callee := known[s.call.Value]
			if callee == nil {
				problem := registry.Unknown(s.call.At, "playbook", s.call.Value, sortedNames(known))
				problem.Code = "unknown-playbook"
				problems = append(problems, problem)
				continue
			}
			pb.called[callee.Name] = callee
			for _, name := range sortedNames(s.withPlaces) {
				if _, ok := callee.vars[name]; !ok {
					problems.Addf(s.withPlaces[name], "unknown-variable", nearHint(name, sortedNames(callee.vars)),
						"playbook %s has no variable %q under vars", callee.Name, name)
				}
			}
		}
	}
	for _, pb := range loaded {
		problems = append(problems, checkCalls(pb)...)
	}
	return problems
}

// checkCalls reports calls that lead back to the playbook, and too many of them.
func checkCalls(pb *Playbook) (problems registry.Problems) {
	for _, s := range pb.calls {
		if way := wayBack(pb.called[s.call.Value], pb, nil); way != nil {
			problems.Addf(s.call.At, "recursion", "", "playbook %s calls itself: %s", pb.Name, strings.Join(append([]string{pb.Name}, way...), " → "))
			return problems
		}
	}
	if len(pb.calls) == 0 {
		return nil
	}
	// With a circle elsewhere below, the depth is reached soon.
	if depth, steps := extent(pb, 0); depth > maxCallDepth {
		problems.Addf(pb.calls[0].call.At, "too-many", "", "calls of calls, more than %d deep", maxCallDepth)
	} else if steps > maxCalledSteps {
		problems.Addf(pb.calls[0].call.At, "too-many", "", "more than %d steps with those of the playbooks that are called", maxCalledSteps)
	}
	return problems
}

// wayBack names the playbooks on the way from one to another, both included; nil
// when there is no way.
func wayBack(from, to *Playbook, seen map[*Playbook]bool) []string {
	if from == nil || seen[from] {
		return nil
	}
	if from == to {
		return []string{to.Name}
	}
	if seen == nil {
		seen = map[*Playbook]bool{}
	}
	seen[from] = true
	for _, name := range sortedNames(from.called) {
		if way := wayBack(from.called[name], to, seen); way != nil {
			return append([]string{from.Name}, way...)
		}
	}
	return nil
}

// extent is how deep calls go, and how many steps there are in all, up to the bounds.
func extent(pb *Playbook, level int) (depth, steps int) {
	steps = len(pb.program)
	for _, s := range pb.calls {
		callee := pb.called[s.call.Value]
		if callee == nil || level > maxCallDepth || steps > maxCalledSteps {
			continue
		}
		d, n := extent(callee, level+1)
		depth, steps = max(depth, d+1), steps+n
	}
	return depth, steps
}

// allCalled are the playbooks that a playbook calls, and those that they call. An
// error says which is not there.
func allCalled(pb *Playbook) (map[string]*Playbook, error) {
	var all map[string]*Playbook
	todo := []*Playbook{pb}
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		for _, s := range next.calls {
			callee := next.called[s.call.Value]
			switch {
			case callee == nil:
				return nil, fmt.Errorf("step %s of %s calls playbook %q, which is not loaded", s.id, next.Name, s.call.Value)
			case all[callee.Name] != nil:
				continue
			case all == nil:
				all = map[string]*Playbook{}
			}
			all[callee.Name] = callee
			todo = append(todo, callee)
		}
	}
	return all, nil
}

// hashes are the versions of playbooks, by name.
func hashes(calls map[string]*Playbook) map[string]string {
	if len(calls) == 0 {
		return nil
	}
	versions := make(map[string]string, len(calls))
	for name, pb := range calls {
		versions[name] = pb.Hash
	}
	return versions
}

// call looks at a step that calls another playbook: its steps are done here, its
// conditions and its cool-down are not asked. With stands for its vars.
func (v *survey) call(s *step, key string, f *frame) (st status, seen any) {
	done := v.r.results[key]
	if done != nil && done.seen != nil {
		return statusOf(done.State), done.seen
	}
	if done == nil && v.r.groups[key] == nil {
		if !v.mayBegin() {
			return going, nil
		}
		v.beginCall(s, key, f)
		done = v.r.results[key]
	}
	group := v.r.groups[key]
	switch {
	case group == nil && done != nil: // its if was false, or its arguments failed
		done.seen = done.visible()
		return statusOf(done.State), done.seen
	case group == nil:
		return going, nil
	}
	if done != nil {
		v.over++
		defer func() { v.over-- }()
	}
	callee := v.r.calls[s.call.Value]
	inside := calleeFrame(s, key, f, callee, group)
	st, why := v.playbook(callee, &inside)
	if done == nil {
		if st == going {
			return going, nil
		}
		result := Result{State: soar.StepExecuted, Summary: "playbook " + callee.Name + " done"}
		if st == broke {
			result = Result{State: soar.StepFailed, Error: why, Summary: "playbook " + callee.Name + " failed"}
		}
		done = v.r.endGroup(s, key, result)
	}
	visible := done.visible()
	visible["output"] = inside.steps
	done.seen = visible
	return statusOf(done.State), visible
}

func calleeFrame(s *step, key string, f *frame, callee *Playbook, group *GroupNote) frame {
	return frame{
		prefix: key + "/", chain: append(f.chain[:len(f.chain):len(f.chain)], callee), vars: group.Vars, steps: map[string]any{}, pc: f.place(s),
		found: &findings{
			host: group.Host, values: orEmpty(group.Enrich), errors: orEmpty(group.EnrichErrors), status: orEmpty(group.EnrichStatus), extra: f.found.extra,
		},
	}
}

// beginCall evaluates the arguments. A playbook that has something to read becomes an
// instance of its own until that is read.
func (v *survey) beginCall(s *step, key string, f *frame) {
	if s.forEach == nil && v.r.open[key] == nil && !v.wanted(s, key, f) {
		return
	}
	callee := v.r.calls[s.call.Value]
	if v.r.open[key] == nil && len(v.r.results)+len(v.r.open)+len(callee.program) > maxInstances {
		v.r.endGroup(s, key, Result{State: soar.StepFailed, Error: fmt.Sprintf("the run would come to more than %d steps", maxInstances)})
		return
	}
	if callee.reads() {
		v.ready = append(v.ready, &instance{key: key, step: s, frame: *f, reads: true})
		return
	}
	vars, err := callVars(v.ctx, s, callee, f.input(v.r.plain, &v.r.run))
	if err != nil && v.interrupted() {
		return
	}
	if err != nil {
		v.r.endGroup(s, key, Result{State: soar.StepFailed, Error: "with: " + err.Error()})
		return
	}
	v.r.beginGroup(key, callNote(callee, vars, newFindings(v.r.plain["host"])))
}

// reads reports whether something is read before its steps begin.
func (p *Playbook) reads() bool { return p.stepsNeedHost || len(p.enrich) > 0 }

// callVars are the vars of a playbook that is called: its own, and over them with.
func callVars(ctx context.Context, s *step, callee *Playbook, in *input) (map[string]any, error) {
	with, err := s.with.object(ctx, in)
	if err != nil {
		return nil, err
	}
	plain, err := plainOutput(with)
	if err != nil {
		return nil, err
	}
	vars := maps.Clone(callee.vars)
	maps.Copy(vars, plain.(map[string]any))
	return vars, nil
}

func callNote(callee *Playbook, vars map[string]any, found *findings) GroupNote {
	return GroupNote{
		Text: "playbook " + callee.Name, Begun: "call", Vars: vars, Enrich: found.values, EnrichErrors: found.errors, EnrichStatus: found.status, Host: found.host,
	}
}

// readForCall makes ready to read what a playbook that is called needs. The reading
// itself touches nothing of the runner, and what it returns is for the runner.
func (r *runner) readForCall(ctx context.Context, i *instance, p *progress) func() func() {
	callee := r.calls[i.step.call.Value]
	vars, err := callVars(ctx, i.step, callee, i.frame.input(r.plain, &r.run))
	ev := newEvaluation(r.e.reader, r.alert, r.plain, callee)
	ev.vars, ev.found.extra = vars, i.frame.found.extra
	return func() func() {
		if err == nil {
			_, err = safely(func() (Outcome, error) {
				ev.prepareCall(ctx)
				return Outcome{}, nil
			})
		}
		return func() {
			switch {
			case ctx.Err() != nil: // stopping: the next start reads again
				p.wake = r.now()
				return
			case err != nil:
				r.endGroup(i.step, i.key, Result{State: soar.StepFailed, Error: "with: " + err.Error()})
			default:
				r.beginGroup(i.key, callNote(callee, vars, ev.found))
			}
			delete(r.open, i.key)
		}
	}
}

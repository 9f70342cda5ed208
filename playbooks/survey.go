package playbooks

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// A run has no other state than its journal: which instances of steps have begun,
// and how those that ended did. A survey walks through the playbook with that in
// hand, from its first step on, and finds what is to be done next. A run that goes
// on after a crash is surveyed as one that was never interrupted.
//
// An instance of a step has a key, under which it stands in the journal: the id of
// the step; with for_each, the number of the item behind it: collect[2]; in a
// playbook that is called, the key of the calling step before it: check[2]/look.

// survey is one walk through the program of a run.
type survey struct {
	r   *runner
	ctx context.Context

	ready    []*instance // begun and not ended, or to begin now
	doubtful []*instance // nobody can tell whether they happened
	over     int         // above 0, the walk is inside a group that has ended
	stopping bool        // no group begins
	rest     bool        // one would have begun
}

// instance is a step at one place of the program.
type instance struct {
	key   string
	step  *step
	frame frame
	// reads marks a call of a playbook that has to read something before it begins.
	reads bool
}

// frame is what the steps at one place see.
type frame struct {
	prefix string      // of the keys
	chain  []*Playbook // the one at work, behind those that call it
	vars   map[string]any
	found  *findings
	steps  map[string]any
	item   any
	inItem bool
	pc     int  // of the run while it is here; -1: that of the step
	blames bool // a failure here is the failure of the run
}

func (f *frame) playbook() *Playbook { return f.chain[len(f.chain)-1] }

func (f *frame) key(s *step) string { return f.prefix + s.id }

func (f *frame) place(s *step) int {
	if f.pc >= 0 {
		return f.pc
	}
	return s.index
}

// input is the object that the expressions of steps see.
func (f *frame) input(alert map[string]any, run *soar.Run) *input {
	object := map[string]any{
		"alert": orNothing(alert), "host": f.found.host, "enrich": f.found.values, "enrich_errors": f.found.errors, "vars": f.vars, "steps": f.steps,
		statusName: f.found.status, "lists": f.playbook().lists.values,
		"run": map[string]any{
			"id": run.ID.String(), "playbook": run.Playbook, "mode": string(run.Mode), "started_at": run.StartedAt.Format(time.RFC3339Nano),
			"error": orNull(run.Error),
		},
	}
	maps.Copy(object, f.found.extra)
	if f.inItem {
		object["item"] = f.item
	}
	return &input{object: object, vars: f.vars}
}

// rootFrame is what the steps of the run's own playbook see.
func rootFrame(pb *Playbook, found *findings) frame {
	return frame{chain: []*Playbook{pb}, vars: pb.vars, found: found, steps: map[string]any{}, pc: -1, blames: true}
}

// status is what a survey finds of a step.
type status int

const (
	going  status = iota // not ended
	passed               // the next step follows
	broke                // it failed
)

func statusOf(state soar.StepState) status {
	if state.OK() {
		return passed
	}
	return broke
}

// playbook walks through the steps, and through finally once they have ended.
func (v *survey) playbook(pb *Playbook, f *frame) (status, string) {
	st, why := v.sequence(pb.steps, f, false)
	if st == going || len(pb.finally) == 0 {
		return st, why
	}
	last, lastWhy := v.sequence(pb.finally, f, true)
	if last != passed {
		st = last
	}
	if why == "" {
		why = lastWhy
	}
	return st, why
}

// sequence walks through steps of which one follows the other; why is the first
// failure. With all, a failure keeps no later step from being done.
func (v *survey) sequence(list []*step, f *frame, all bool) (st status, why string) {
	st = passed
	for _, s := range list {
		switch v.step(s, f) {
		case going:
			return going, why
		case passed:
			continue
		}
		if s.carryOn {
			continue
		}
		if why == "" {
			why = fmt.Sprintf("step %s: %s", s.id, v.r.results[f.key(s)].Error)
		}
		if f.blames && v.r.run.Error == "" {
			v.r.run.Error = why
		}
		if len(s.handlers) > 0 {
			if handled, _ := v.sequence(s.handlers, f, false); handled == going {
				return going, why
			}
		}
		if st = broke; !all {
			return st, why
		}
	}
	return st, why
}

// step looks at one step and puts what later steps see of it into the frame.
func (v *survey) step(s *step, f *frame) status {
	var st status
	var seen any
	if s.forEach != nil {
		st, seen = v.items(s, f)
	} else {
		st, seen = v.one(s, f.key(s), f)
	}
	if seen != nil {
		f.steps[s.id] = seen
	}
	return st
}

// one looks at an instance; seen is what expressions see of it once it has ended.
func (v *survey) one(s *step, key string, f *frame) (st status, seen any) {
	switch {
	case s.branches != nil:
		return v.parallel(s, key, f)
	case s.call.Value != "":
		return v.call(s, key, f)
	}
	done := v.r.results[key]
	switch {
	case done != nil && done.doubtful(s):
		v.doubtful = append(v.doubtful, &instance{key: key, step: s, frame: *f})
		return going, nil
	case done != nil:
		return statusOf(done.State), done.visible()
	case v.over == 0:
		v.ready = append(v.ready, &instance{key: key, step: s, frame: *f})
	}
	return going, nil
}

// mayBegin reports whether a group may begin now.
func (v *survey) mayBegin() bool {
	v.rest = v.rest || v.over == 0 && v.stopping
	return v.over == 0 && !v.stopping
}

// wanted asks the if of a group that has not begun. When it is not wanted, the group
// has ended.
func (v *survey) wanted(s *step, key string, f *frame) bool {
	if s.cond == nil {
		return true
	}
	yes, err := s.cond.isTrue(v.ctx, f.input(v.r.plain, &v.r.run))
	switch {
	case err != nil && v.interrupted():
	case err != nil:
		v.r.endGroup(s, key, Result{State: soar.StepFailed, Error: "if: " + err.Error()})
	case !yes:
		v.r.endGroup(s, key, Result{State: soar.StepSkipped, Summary: "if is false"})
	}
	return err == nil && yes
}

// interrupted reports whether what was evaluated may have been cut short because the
// engine stops. That is no failure: the next start evaluates it again.
func (v *survey) interrupted() bool {
	v.rest = v.rest || v.ctx.Err() != nil
	return v.ctx.Err() != nil
}

// ended is a step that has ended.
type ended struct {
	Result
	seen any // by expressions, of a group
}

// doubtful reports whether nobody can tell whether a step happened that must not
// happen twice. The run is held until a person has settled it.
func (d *ended) doubtful(s *step) bool { return d.State == soar.StepUnknown && s.spec.Effect == Once }

// beginGroup records that a group has begun, and with what.
func (r *runner) beginGroup(key string, note GroupNote) {
	r.entry(key, soar.EntryNote, "", note)
	r.groups[key] = &note
}

// endGroup records how a group ended.
func (r *runner) endGroup(s *step, key string, result Result) *ended {
	result.Action = s.word()
	r.entry(key, soar.EntryResult, "", result)
	r.results[key] = &ended{Result: result}
	return r.results[key]
}

// begun reports whether an instance has begun.
func (r *runner) begun(key string) bool {
	return r.open[key] != nil || r.results[key] != nil || r.groups[key] != nil
}

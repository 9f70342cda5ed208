package playbooks

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/itchyny/gojq"

	"github.com/erbridge/erbridge/internal/soar"
)

// Bounds of what one run may come to.
const (
	maxItems     = 1000   // of one for_each
	maxInstances = 10_000 // of all steps of a run
)

// items looks at a step that is done for each item of a list. Items begin in the
// order of the list, and no more than max_parallel of them are under way at the same
// time. Once one has failed no other begins, unless the step carries on.
func (v *survey) items(s *step, f *frame) (st status, seen any) {
	key := f.key(s)
	done := v.r.results[key]
	if done != nil && done.seen != nil {
		return statusOf(done.State), done.seen
	}
	if done == nil && v.r.groups[key] == nil {
		if !v.mayBegin() {
			return going, nil
		}
		v.beginItems(s, key, f)
		if done = v.r.results[key]; done == nil && v.r.groups[key] == nil {
			return going, nil // interrupted
		}
	}
	if done != nil {
		v.over++
		defer func() { v.over-- }()
	}
	var list []any
	if group := v.r.groups[key]; group != nil {
		list = group.Items
	}
	results := make([]any, 0, len(list))
	var states []soar.StepState
	underWay, why := 0, ""
	for i, item := range list {
		unit := itemKey(key, i)
		if !v.r.begun(unit) && (v.over > 0 || why != "" && !s.carryOn || underWay >= s.maxParallel) {
			break
		}
		inside := *f
		inside.item, inside.inItem, inside.blames = item, true, false
		st, seen := v.one(s, unit, &inside)
		if st == going {
			underWay++
			continue
		}
		if st == broke && why == "" {
			why = fmt.Sprintf("item %d: %s", i, v.r.results[unit].Error)
		}
		results, states = append(results, seen), append(states, v.r.results[unit].State)
	}
	if done == nil {
		if underWay > 0 {
			return going, nil
		}
		done = v.r.endGroup(s, key, itemsResult(states, len(list), why))
	}
	done.seen = results
	return statusOf(done.State), results
}

// itemKey is the key of one instance of a for_each.
func itemKey(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

// beginItems reads the list. What it is stays the same for the whole run.
func (v *survey) beginItems(s *step, key string, f *frame) {
	if !v.wanted(s, key, f) {
		return
	}
	value, err := s.forEach.value(v.ctx, f.input(v.r.plain, &v.r.run))
	var list []any
	if err == nil {
		list, err = itemsOf(value)
	}
	if err == nil && len(v.r.results)+len(list) > maxInstances {
		err = fmt.Errorf("the run would come to more than %d steps", maxInstances)
	}
	if err != nil && v.interrupted() {
		return
	}
	if err != nil {
		v.r.endGroup(s, key, Result{State: soar.StepFailed, Error: "for_each: " + err.Error()})
		return
	}
	v.r.beginGroup(key, GroupNote{Text: "for each of " + count(len(list), "item"), Begun: "for_each", Items: list})
}

func itemsOf(value any) ([]any, error) {
	list, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("expected a list, found %s", gojq.Preview(value))
	}
	if len(list) > maxItems {
		return nil, fmt.Errorf("%d items, the limit is %d", len(list), maxItems)
	}
	plain, err := plainOutput(list)
	if err != nil {
		return nil, err
	}
	return plain.([]any), nil
}

// itemsResult is how a for_each ended: as all its items did, when they did the same.
func itemsResult(states []soar.StepState, n int, why string) Result {
	failed := 0
	for _, state := range states {
		if !state.OK() {
			failed++
		}
	}
	result := Result{State: soar.StepExecuted, Summary: count(n, "item"), Error: why}
	switch {
	case failed > 0:
		result.State = soar.StepFailed
		result.Summary = fmt.Sprintf("%d of %s done, %d failed", len(states)-failed, count(n, "item"), failed)
	case len(states) > 0 && !slices.ContainsFunc(states, func(s soar.StepState) bool { return s != states[0] }):
		result.State = states[0]
	}
	return result
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

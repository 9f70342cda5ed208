package playbooks

import (
	"fmt"
	"maps"

	"github.com/erbridge/erbridge/internal/soar"
)

// parallel looks at a group whose branches are done side by side. All begin at once,
// and each goes to its own end whatever becomes of the others. Steps behind the group
// see the results of all.
func (v *survey) parallel(s *step, key string, f *frame) (st status, seen any) {
	done := v.r.results[key]
	if done == nil && v.r.groups[key] == nil {
		if !v.mayBegin() {
			return going, nil
		}
		if v.wanted(s, key, f) {
			v.r.beginGroup(key, GroupNote{Text: fmt.Sprintf("%d branches side by side", len(s.branches)), Begun: "parallel"})
		}
		if done = v.r.results[key]; done == nil && v.r.groups[key] == nil {
			return going, nil // interrupted
		}
	}
	if done != nil {
		v.over++
		defer func() { v.over-- }()
	}
	underWay, failed, why := 0, 0, ""
	after := maps.Clone(f.steps)
	for _, list := range s.branches {
		inside := *f
		inside.steps, inside.blames = maps.Clone(f.steps), false
		st, branchWhy := v.sequence(list, &inside, false)
		switch st {
		case going:
			underWay++
		case broke:
			failed++
		}
		if why == "" {
			why = branchWhy
		}
		maps.Copy(after, inside.steps)
	}
	if done == nil {
		if underWay > 0 {
			return going, nil
		}
		result := Result{State: soar.StepExecuted, Summary: fmt.Sprintf("%d branches", len(s.branches))}
		if failed > 0 {
			result = Result{State: soar.StepFailed, Error: why, Summary: fmt.Sprintf("%d of %d branches failed", failed, len(s.branches))}
		}
		done = v.r.endGroup(s, key, result)
	}
	f.steps = after
	return statusOf(done.State), done.visible()
}

package lint

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/itchyny/gojq"
	"gopkg.in/yaml.v3"
)

// reachability finds steps that no alert ever leads to, and conditions that no
// alert can meet.
func reachability(b *book) {
	demanded := map[string]demand{}
	if !b.never(demanded) {
		return // every step is unreachable; one finding says so
	}
	for _, s := range b.steps {
		if n := get(s.node, "for_each"); n != nil && n.Kind == yaml.ScalarNode {
			if list, ok := constantOf(b.query(n.Value)); ok && list != nil && reflect.DeepEqual(list, []any{}) {
				b.add(n, "PB505", fmt.Sprintf("step %q is never reached: its list is always empty", s.id), "take the step out, or name a list")
				continue
			}
		}
		cond := get(s.node, "if")
		if cond == nil || cond.Kind != yaml.ScalarNode {
			continue
		}
		q := b.query(cond.Value)
		if constant, ok := constantOf(q); ok && !truth(constant) {
			b.add(cond, "PB505", fmt.Sprintf("step %q is never reached: its if is always %s", s.id, trimmed(cond)), "take the step out, or its if")
			continue
		}
		if failed := b.needsFailure(s, q); failed != nil {
			b.add(cond, "PB505", fmt.Sprintf("step %q is never reached: it waits for step %q to fail, and then the run has ended", s.id, failed.id),
				fmt.Sprintf("give step %q on_error: continue, or put this step into its on_error", failed.id))
			continue
		}
		for _, d := range demands(q) {
			if other, clash := clashes(demanded, d); clash {
				b.add(cond, "PB505", fmt.Sprintf("step %q is never reached: it wants .%s to be %s, and the condition %q wants %s",
					s.id, d.path, words(d.texts), other.name, words(other.texts)), "correct one of the two")
				break
			}
		}
	}
}

// demand is what a condition allows of a path.
type demand struct {
	allowed
	name string
}

// never looks at the conditions by themselves; it reports false when no alert can
// match. demanded gets what all of them ask for together.
func (b *book) never(demanded map[string]demand) bool {
	anyOpen, anyThere := false, false
	var lastAny *yaml.Node
	for _, c := range b.conditions() {
		q := b.query(c.node.Value)
		constant, isConstant := constantOf(q)
		switch c.block {
		case "any":
			anyThere, lastAny = true, c.node
			anyOpen = anyOpen || !isConstant || truth(constant)
		case "all":
			if isConstant && !truth(constant) {
				b.add(c.node, "PB506", fmt.Sprintf("no alert ever matches: the condition %q is always false", c.name), "take the condition out")
				return false
			}
			for _, d := range demands(q) {
				if other, clash := clashes(demanded, d); clash {
					b.add(c.node, "PB506", fmt.Sprintf("no alert ever matches: %q wants .%s to be %s, and %q wants %s",
						c.name, d.path, words(d.texts), other.name, words(other.texts)), "put them under any, if either will do")
					return false
				}
				demanded[d.path] = demand{d, c.name}
			}
		case "none":
			if isConstant && truth(constant) {
				b.add(c.node, "PB506", fmt.Sprintf("no alert ever matches: the condition %q under none is always true", c.name), "take the condition out")
				return false
			}
		}
	}
	if anyThere && !anyOpen {
		b.add(lastAny, "PB506", "no alert ever matches: all conditions under any are always false", "take them out")
		return false
	}
	for _, c := range b.conditions() {
		if c.block != "none" {
			continue
		}
		for _, d := range demands(b.query(c.node.Value)) {
			other, there := demanded[d.path]
			if there && len(conjuncts(b.query(c.node.Value))) == 1 && !slices.ContainsFunc(other.texts, func(t string) bool { return !slices.Contains(d.texts, t) }) {
				b.add(c.node, "PB506", fmt.Sprintf("no alert ever matches: %q under none turns away what %q asks for", c.name, other.name), "take one of the two out")
				return false
			}
		}
	}
	return true
}

// clashes reports whether nothing meets a demand and the one before it.
func clashes(demanded map[string]demand, d allowed) (demand, bool) {
	other, there := demanded[d.path]
	return other, there && !slices.ContainsFunc(other.texts, func(t string) bool {
		return slices.ContainsFunc(d.texts, func(u string) bool { return strings.EqualFold(t, u) }) // in_list has no regard to case
	})
}

func words(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = fmt.Sprintf("%q", short(t))
	}
	return strings.Join(quoted, " or ")
}

// failures are the states of a step after which a run ends, unless the step says
// on_error: continue.
var failures = []string{"failed", "refused", "expired", "cancelled", "unknown"}

// needsFailure finds the step that must have failed for the expression to be true,
// although its failure ends the run before that.
func (b *book) needsFailure(s *step, q *gojq.Query) *step {
	if s.block != "steps" {
		return nil
	}
	for _, d := range demands(q) {
		path := strings.Split(d.path, ".")
		if len(path) != 3 || path[0] != "steps" || path[2] != "state" || slices.ContainsFunc(d.texts, func(t string) bool { return !slices.Contains(failures, t) }) {
			continue
		}
		i := slices.IndexFunc(b.steps, func(other *step) bool { return other.id == path[1] })
		if i < 0 || b.steps[i].block != "steps" || get(b.steps[i].node, "for_each") != nil {
			continue
		}
		if onError := get(b.steps[i].node, "on_error"); onError == nil || value(onError) != "continue" {
			return b.steps[i]
		}
	}
	return nil
}

package playtest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// Coverage tells what of a playbook the tests have seen: every condition both
// ways, every step that ran, every on_error that was taken.
type Coverage struct {
	Items []CoverageItem `json:"items"`
}

// CoverageItem is one thing that a test has to see.
type CoverageItem struct {
	registry.Position
	// What it is, in words: `condition "it is open" is false`.
	What string `json:"what"`
	Seen bool   `json:"seen"`

	kind, key string
}

// The kinds of CoverageItem.
const (
	conditionTrue  = "condition true"
	conditionFalse = "condition false"
	stepRan        = "step"
	errorTaken     = "on_error"
)

func newCoverage(pb *playbooks.Playbook, file string, data []byte) *Coverage {
	c := &Coverage{}
	root, problems := registry.Parse(file, data)
	if problems != nil {
		return c // it has been read before
	}
	add := func(n *yaml.Node, kind, key, what string) {
		c.Items = append(c.Items, CoverageItem{Position: registry.At(file, n), What: what, kind: kind, key: key})
	}
	for _, name := range conditionNodes(root) {
		add(name, conditionTrue, name.Value, fmt.Sprintf("condition %q is true", name.Value))
		add(name, conditionFalse, name.Value, fmt.Sprintf("condition %q is false", name.Value))
	}
	places := stepPlaces(root, pb)
	for _, step := range pb.Steps() {
		place := places[step.ID]
		add(place.step, stepRan, step.ID, fmt.Sprintf("step %s runs", step.ID))
		if place.onError != nil {
			add(place.onError, errorTaken, step.ID, fmt.Sprintf("on_error of step %s is taken", step.ID))
		}
	}
	return c
}

// conditionNodes are the names of conditions, in the order of the file.
func conditionNodes(root *yaml.Node) (names []*yaml.Node) {
	match := under(root, "match")
	if match == nil {
		return nil
	}
	for _, list := range registry.Pairs(match) {
		for _, item := range list.Content {
			if item.Kind == yaml.MappingNode && len(item.Content) == 2 {
				names = append(names, item.Content[0])
			}
		}
	}
	return names
}

func conditionNames(data []byte) (names []string) {
	if root, problems := registry.Parse("", data); problems == nil {
		for _, n := range conditionNodes(root) {
			names = append(names, n.Value)
		}
	}
	return names
}

// stepPlace is where a step stands, and its on_error when it has one that does
// something.
type stepPlace struct{ step, onError *yaml.Node }

// stepPlaces finds the steps of a playbook in its text. They stand there in the
// order of Steps: those inside a step come after it.
func stepPlaces(root *yaml.Node, pb *playbooks.Playbook) map[string]stepPlace {
	var found []stepPlace
	var list func(n *yaml.Node)
	var step func(n *yaml.Node)
	list = func(n *yaml.Node) {
		if n != nil && n.Kind == yaml.SequenceNode {
			for _, item := range n.Content {
				step(item)
			}
		}
	}
	step = func(n *yaml.Node) {
		if n.Kind == yaml.SequenceNode { // a branch of a parallel group
			list(n)
			return
		}
		onError := under(n, "on_error")
		if onError != nil && onError.Kind == yaml.ScalarNode && onError.Value == "stop" {
			onError = nil
		}
		found = append(found, stepPlace{n, onError})
		list(under(n, "parallel"))
		list(under(n, "on_error"))
	}
	list(under(root, "steps"))
	list(under(root, "finally"))
	places := map[string]stepPlace{}
	for i, info := range pb.Steps() {
		if i < len(found) {
			places[info.ID] = found[i]
		} else {
			places[info.ID] = stepPlace{step: root}
		}
	}
	return places
}

// add counts what a test has seen.
func (c *Coverage) add(r *Result) {
	for _, one := range r.Explanation.Conditions {
		switch one.Verdict {
		case playbooks.Match:
			c.see(conditionTrue, one.Name)
		case playbooks.NoMatch:
			c.see(conditionFalse, one.Name)
		}
	}
	for name, state := range r.got.steps {
		id := withoutItems(name) // one of another playbook is in no item
		if state != string(soar.StepSkipped) {
			c.see(stepRan, id)
		}
		if !soar.StepState(state).OK() {
			c.see(errorTaken, id)
		}
	}
}

func (c *Coverage) see(kind, key string) {
	for i := range c.Items {
		if item := &c.Items[i]; item.kind == kind && item.key == key {
			item.Seen = true
		}
	}
}

// Missed lists what no test has seen, in the order of the file.
func (c *Coverage) Missed() []CoverageItem {
	missed := slices.DeleteFunc(slices.Clone(c.Items), func(i CoverageItem) bool { return i.Seen })
	slices.SortStableFunc(missed, func(a, b CoverageItem) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
	})
	return missed
}

// Percent is the share that tests have seen, of several playbooks together. All of
// nothing is 100.
func Percent(of ...*Coverage) float64 {
	seen, all := 0, 0
	for _, c := range of {
		all += len(c.Items)
		seen += len(c.Items) - len(c.Missed())
	}
	if all == 0 {
		return 100
	}
	return 100 * float64(seen) / float64(all)
}

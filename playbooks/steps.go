package playbooks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
)

// surroundings are what a step stands in.
type surroundings struct {
	parent *step // whose on_error block it is part of
	last   bool  // under finally
	within []branch
}

// steps reads the steps of a playbook, and those that end every run.
func (l *loader) steps(n, finally *yaml.Node) {
	l.ids = map[string]*step{}
	if n.Kind != 0 {
		l.pb.steps = l.list(n, "a list of steps", surroundings{})
	}
	if finally.Kind != 0 {
		l.pb.finally = l.list(finally, "a list of steps", surroundings{last: true})
	}
	for _, s := range l.pb.program {
		l.pb.stepsNeedHost = l.pb.stepsNeedHost || s.cond != nil && s.cond.roots["host"] || s.forEach != nil && s.forEach.roots["host"] || s.with.reads("host")
	}
	for _, e := range l.pb.enrich {
		l.pb.stepsNeedHost = l.pb.stepsNeedHost || e.onHost
	}
}

func (l *loader) list(n *yaml.Node, what string, around surroundings) (list []*step) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		l.wrong(n, what)
		return nil
	}
	for _, item := range n.Content {
		if len(l.pb.program) >= maxSteps {
			l.problems.Addf(l.at(item), "too-many", "", "more than %d steps", maxSteps)
			break
		}
		list = append(list, l.step(item, around))
	}
	return list
}

// step reads one step and, behind it, those that stand inside it.
func (l *loader) step(n *yaml.Node, around surroundings) *step {
	var doc stepDocument
	l.problems = append(l.problems, registry.Decode(l.file, n, &doc)...)
	called := l.unfold(n, &doc)
	s := &step{
		index: len(l.pb.program), at: l.at(n), do: doc.Do.Value, id: doc.ID.Value, call: doc.Call.Text,
		handler: around.parent != nil, last: around.last, within: around.within, retry: retryRule{attempts: 1},
	}
	l.pb.program = append(l.pb.program, s)
	if doc.ID.At.Line == 0 {
		s.id = fmt.Sprintf("step%d", s.index+1)
		doc.ID.At = l.at(n)
	} else if !stepName.MatchString(s.id) {
		l.problems.Addf(doc.ID.At, "name", "small letters, digits and _, a letter first", "%q is no name for a step", s.id)
	}
	if l.ids[s.id] != nil {
		l.problems.Addf(doc.ID.At, "repeated-name", "", "two steps have the id %q", s.id)
	} else {
		l.ids[s.id] = s
	}
	l.kind(n, &doc, called)
	l.bounds(n, s, &doc)
	scope := l.scope("step")
	scope.step, scope.parent = s, around.parent
	if doc.If.Kind != 0 {
		s.cond = l.expr(&doc.If.Node, scope)
	}
	if doc.ForEach.Kind != 0 {
		s.forEach = l.expr(&doc.ForEach.Node, scope)
		scope.item = true
	}
	l.maxParallel(n, s, &doc)
	s.with = l.arguments(&doc.With.Node, n, scope, s.action)
	if s.call.Value != "" {
		l.pb.calls, s.withPlaces = append(l.pb.calls, s), map[string]registry.Position{}
		for key := range registry.Pairs(&doc.With.Node) {
			s.withPlaces[key.Value] = l.at(key)
		}
	}
	l.branches(&doc.Parallel.Node, s, around)
	l.onError(&doc.OnError.Node, s, around)
	return s
}

// stepKinds are the keys of which a step has one, each with those that do not go
// with it.
var stepKinds = []struct {
	key     string
	foreign []string
}{
	{"do", nil},
	{"call", []string{"timeout", "wait", "verify", "retry"}},
	{"parallel", []string{"timeout", "wait", "verify", "retry", "with", "for_each"}},
}

// kind sees to it that a step is one of the three kinds, and has the keys of that. One
// that calls a playbook by an action is of the kind call.
func (l *loader) kind(n *yaml.Node, doc *stepDocument, called bool) {
	if n.Kind != yaml.MappingNode && n.Tag != "!!null" {
		return
	}
	var kinds []string
	var foreign []string
	for key := range registry.Pairs(n) {
		name := key.Value
		if called && name == "do" {
			name = "call"
		}
		for _, kind := range stepKinds {
			if kind.key == name {
				kinds, foreign = append(kinds, kind.key), kind.foreign
			}
		}
	}
	switch {
	case len(kinds) == 0:
		l.problems.Addf(l.at(n), "missing", "or call, or parallel", "setting %q is required", "do")
		return
	case len(kinds) > 1:
		l.problems.Addf(l.at(n), "step-kind", "make them two steps", "a step has one of do, call and parallel, and this one has %s and %s", kinds[0], kinds[1])
		return
	case doc.Call.At.Line > 0 && strings.Contains(doc.Call.Value, "${{"):
		l.problems.Addf(doc.Call.At, "name", "write its name: which playbooks are called is known when they are loaded", "the playbook cannot be computed")
	case doc.Call.At.Line > 0 && !playbookName.MatchString(doc.Call.Value):
		l.problems.Addf(doc.Call.At, "name", "small letters, digits, - and _", "%q is no name for a playbook", doc.Call.Value)
	}
	for key := range registry.Pairs(n) {
		if slices.Contains(foreign, key.Value) {
			l.problems.Addf(l.at(key), "step-kind", "write it with the steps inside", "%s does not go with %s", key.Value, kinds[0])
		}
	}
}

// bounds reads the action, how long it may take and how often it is tried.
func (l *loader) bounds(n *yaml.Node, s *step, doc *stepDocument) {
	s.timeout = defaultStepTimeout
	if s.action = l.action(doc.Do.Text); s.action != nil {
		if s.spec = s.action.Spec(); s.spec.Timeout > 0 {
			s.timeout = s.spec.Timeout
		}
	}
	if doc.Timeout != nil {
		if s.timeout = *doc.Timeout; s.timeout < time.Second || s.timeout > maxStepTimeout {
			l.problems.Addf(l.at(child(n, "timeout")), "range", "", "a time-out must lie between 1s and 30d")
		}
	}
	if s.wait = doc.Wait; s.wait != nil && (*s.wait < 0 || *s.wait > maxStepTimeout) {
		l.problems.Addf(l.at(child(n, "wait")), "range", "", "a wait must lie between 0s and 30d")
	}
	s.trusting = doc.Verify != nil && !*doc.Verify
	for key, given := range map[string]bool{"wait": doc.Wait != nil, "verify": doc.Verify != nil} {
		if given && s.action != nil && s.spec.Effect == Reads {
			l.problems.Addf(l.at(child(n, key)), "effect", "leave it out", "%s is for calls with an effect, and %s only reads", key, s.do)
		}
	}
	if doc.Retry != nil {
		l.retry(n, s, doc.Retry)
	}
	if doc.Do.Value == "" {
		s.timeout = 0
	}
}

func (l *loader) retry(n *yaml.Node, s *step, doc *retryDocument) {
	place := child(n, "retry")
	if doc.Attempts < 1 || doc.Attempts > maxAttempts {
		l.problems.Addf(l.at(child(place, "attempts")), "range", "", "attempts must lie between 1 and %d", maxAttempts)
	}
	if doc.On == "failed" && s.spec.Effect == Once {
		l.problems.Addf(l.at(child(place, "on")), "effect", "write on: transient", "%s must not happen twice, so it is not repeated after a failure", s.do)
	}
	s.retry = retryRule{int(doc.Attempts), doc.Delay, doc.On == "failed"}
}

func (l *loader) maxParallel(n *yaml.Node, s *step, doc *stepDocument) {
	s.maxParallel = 1
	if doc.MaxParallel == nil {
		return
	}
	s.maxParallel = int(*doc.MaxParallel)
	if value := child(n, "max_parallel"); value.Tag == "!!int" && (s.maxParallel < 1 || s.maxParallel > maxAtOnce) {
		l.problems.Addf(l.at(value), "range", "", "max_parallel must lie between 1 and %d", maxAtOnce)
	}
	if doc.ForEach.Kind == 0 {
		l.problems.Addf(l.at(child(n, "max_parallel")), "step-kind", "it says how many items of for_each are worked on at once", "max_parallel without for_each")
	}
}

// branches reads a parallel group: a list of steps, or of lists of steps.
func (l *loader) branches(n *yaml.Node, s *step, around surroundings) {
	if n.Kind == 0 {
		return
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		l.wrong(n, "a list of steps that are done side by side")
		return
	}
	for i, item := range n.Content {
		if len(l.pb.program) >= maxSteps {
			l.problems.Addf(l.at(item), "too-many", "", "more than %d steps", maxSteps)
			return
		}
		inside := around
		inside.within = append(slices.Clone(around.within), branch{s, i})
		if item.Kind == yaml.SequenceNode {
			s.branches = append(s.branches, l.list(item, "a list of steps", inside))
		} else {
			s.branches = append(s.branches, []*step{l.step(item, inside)})
		}
	}
}

func (l *loader) onError(n *yaml.Node, s *step, around surroundings) {
	switch {
	case n.Kind == 0:
	case n.Kind == yaml.ScalarNode && slices.Contains(failureWords, n.Value):
		s.carryOn = n.Value == carryOn
	case n.Kind == yaml.ScalarNode:
		l.problems = append(l.problems, unknownWord(l.at(n), "on_error", n.Value, append(failureWords[:2:2], "a list of steps")...))
	case n.Kind != yaml.SequenceNode || len(n.Content) == 0:
		l.wrong(n, "stop, continue or a list of steps")
	case around.parent != nil:
		l.problems.Addf(l.at(n), "step-kind", "write stop or continue", "steps inside on_error cannot have on_error steps of their own")
	default:
		around.parent = s
		s.handlers = l.list(n, "a list of steps", around)
	}
}

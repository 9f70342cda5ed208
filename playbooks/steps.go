package playbooks

import (
	"fmt"
	"slices"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
)

// stepDocument is a step as it stands in YAML.
type stepDocument struct {
	ID          registry.Text  `yaml:"id"`
	Do          registry.Text  `yaml:"do"`
	Call        registry.Text  `yaml:"call"`
	Parallel    yaml.Node      `yaml:"parallel"`
	If          yaml.Node      `yaml:"if"`
	ForEach     yaml.Node      `yaml:"for_each"`
	MaxParallel *int           `yaml:"max_parallel"`
	With        yaml.Node      `yaml:"with"`
	Timeout     *time.Duration `yaml:"timeout"`
	Retry       *struct {
		Attempts int           `yaml:"attempts" required:"true"`
		Delay    time.Duration `yaml:"delay"`
		On       string        `yaml:"on" enum:"transient,failed"`
	} `yaml:"retry"`
	OnError yaml.Node `yaml:"on_error"`
}

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
	s := &step{
		index: len(l.pb.program), at: l.at(n), do: doc.Do.Value, id: doc.ID.Value, call: doc.Call,
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
	l.kind(n, &doc)
	l.bounds(n, s, &doc)
	scope := l.scope("step")
	scope.step, scope.parent = s, around.parent
	if doc.If.Kind != 0 {
		s.cond = l.expr(&doc.If, scope)
	}
	if doc.ForEach.Kind != 0 {
		s.forEach = l.expr(&doc.ForEach, scope)
		scope.item = true
	}
	l.maxParallel(n, s, &doc)
	s.with = l.arguments(&doc.With, n, scope, s.action)
	if s.call.Value != "" {
		l.pb.calls, s.withPlaces = append(l.pb.calls, s), map[string]registry.Position{}
		for key := range registry.Pairs(&doc.With) {
			s.withPlaces[key.Value] = l.at(key)
		}
	}
	l.branches(&doc.Parallel, s, around)
	l.onError(&doc.OnError, s, around)
	return s
}

// kind sees to it that a step is one of the three kinds, and has the keys of that.
func (l *loader) kind(n *yaml.Node, doc *stepDocument) {
	if n.Kind != yaml.MappingNode {
		return
	}
	var kinds []string
	for key := range registry.Pairs(n) {
		if slices.Contains([]string{"do", "call", "parallel"}, key.Value) {
			kinds = append(kinds, key.Value)
		}
	}
	switch {
	case len(kinds) == 0:
		l.problems.Addf(l.at(n), "missing", "or call, or parallel", "setting %q is required", "do")
		return
	case len(kinds) > 1:
		l.problems.Addf(l.at(n), "step-kind", "make them two steps", "a step has one of do, call and parallel, and this one has %s and %s", kinds[0], kinds[1])
		return
	case kinds[0] == "call" && doc.Call.At.Line > 0 && !playbookName.MatchString(doc.Call.Value):
		l.problems.Addf(doc.Call.At, "name", "small letters, digits, - and _", "%q is no name for a playbook", doc.Call.Value)
	}
	var foreign []string
	switch kinds[0] {
	case "call":
		foreign = []string{"timeout", "retry"}
	case "parallel":
		foreign = []string{"timeout", "retry", "with", "for_each"}
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
	if s.action = l.action(doc.Do); s.action != nil {
		if s.spec = s.action.Spec(); s.spec.Timeout > 0 {
			s.timeout = s.spec.Timeout
		}
	}
	if doc.Timeout != nil {
		if s.timeout = *doc.Timeout; s.timeout <= 0 || s.timeout > maxStepTimeout {
			l.problems.Addf(l.at(child(n, "timeout")), "range", "", "a time-out must lie between 1s and 30d")
		}
	}
	if doc.Retry != nil {
		l.retry(n, s, doc.Retry.Attempts, doc.Retry.Delay, doc.Retry.On)
	}
	if doc.Do.Value == "" {
		s.timeout = 0
	}
}

func (l *loader) retry(n *yaml.Node, s *step, attempts int, delay time.Duration, on string) {
	doc := child(n, "retry")
	if attempts < 1 || attempts > maxAttempts {
		l.problems.Addf(l.at(child(doc, "attempts")), "range", "", "attempts must lie between 1 and %d", maxAttempts)
	}
	if on == "failed" && s.spec.Effect == Once {
		l.problems.Addf(l.at(child(doc, "on")), "effect", "write on: transient", "%s must not happen twice, so it is not repeated after a failure", s.do)
	}
	s.retry = retryRule{attempts, delay, on == "failed"}
}

func (l *loader) maxParallel(n *yaml.Node, s *step, doc *stepDocument) {
	s.maxParallel = 1
	if doc.MaxParallel == nil {
		return
	}
	s.maxParallel = *doc.MaxParallel
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
	case n.Kind == yaml.ScalarNode && n.Value == "stop":
	case n.Kind == yaml.ScalarNode && n.Value == "continue":
		s.carryOn = true
	case n.Kind == yaml.ScalarNode:
		l.problems = append(l.problems, unknownWord(l.at(n), "on_error", n.Value, "stop", "continue", "a list of steps"))
	case n.Kind != yaml.SequenceNode || len(n.Content) == 0:
		l.wrong(n, "stop, continue or a list of steps")
	case around.parent != nil:
		l.problems.Addf(l.at(n), "step-kind", "write stop or continue", "steps inside on_error cannot have on_error steps of their own")
	default:
		around.parent = s
		s.handlers = l.list(n, "a list of steps", around)
	}
}

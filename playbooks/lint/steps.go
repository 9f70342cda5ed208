package lint

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
)

// step is a step as it stands in the file.
type step struct {
	node   *yaml.Node
	id     string
	do     *yaml.Node // nil when it has none
	with   map[string]*yaml.Node
	parent *step  // the step in whose block it stands, or nil
	block  string // the key of that block: steps, on_error, finally, parallel
	index  int    // among its neighbours
}

// stepBlocks are the keys of a playbook that hold steps.
var stepBlocks = []string{"steps", "finally"}

func (b *book) readSteps() {
	if b.root == nil {
		return
	}
	for _, key := range stepBlocks {
		b.block(get(b.root, key), nil, key)
	}
}

// block reads a list of steps. Inside a step, every list of mappings is such a
// list, whatever its key, and so are the lists in a list of branches.
func (b *book) block(n *yaml.Node, parent *step, key string) {
	if n == nil {
		return
	}
	if n.Kind == yaml.MappingNode && key == "parallel" { // named branches
		for _, branch := range registry.Pairs(n) {
			b.block(branch, parent, key)
		}
		return
	}
	if n.Kind != yaml.SequenceNode {
		return
	}
	for i, item := range n.Content {
		if item.Kind == yaml.SequenceNode {
			b.block(item, parent, key)
			continue
		}
		if item.Kind != yaml.MappingNode {
			continue
		}
		s := &step{node: item, parent: parent, block: key, index: i, do: get(item, "do"), with: arguments(get(item, "with"))}
		b.steps = append(b.steps, s)
		if s.id = fmt.Sprintf("step%d", len(b.steps)); get(item, "id") != nil {
			s.id = get(item, "id").Value
		}
		for name, value := range registry.Pairs(item) {
			if name.Value != "with" {
				b.block(value, s, name.Value)
			}
		}
	}
}

func arguments(with *yaml.Node) map[string]*yaml.Node {
	values := map[string]*yaml.Node{}
	if with != nil && with.Kind == yaml.MappingNode {
		for key, value := range registry.Pairs(with) {
			values[key.Value] = value
		}
	}
	return values
}

// action is the action of a step, or nil.
func (b *book) action(s *step) playbooks.Action {
	if s.do == nil {
		return nil
	}
	return b.actions[s.do.Value]
}

// called is the name of the playbook that a step calls, by its key or by the action; nil
// when it calls none.
func (s *step) called() *yaml.Node {
	if value(s.do) == playbooks.CallAction {
		return s.with["playbook"]
	}
	return get(s.node, "call")
}

func (b *book) hasStep(id string) bool {
	return slices.ContainsFunc(b.steps, func(s *step) bool { return s.id == id })
}

// changesEndpoint reports whether an action does something to a host, not only to
// the server's records of it: such actions need the response feature.
func changesEndpoint(a playbooks.Action) bool {
	if a == nil {
		return false
	}
	spec := a.Spec()
	return spec.Effect != playbooks.Reads && slices.Contains(spec.Needs, "response") && takes(spec, "host")
}

// takes reports whether an action has an argument of that name.
func takes(spec playbooks.Spec, argument string) bool {
	t := reflect.TypeOf(spec.Input)
	if t == nil || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return false
	}
	return slices.ContainsFunc(registry.Fields(reflect.New(t.Elem()).Elem()), func(f registry.Field) bool { return f.Name == argument })
}

// get finds the value of a key of a mapping.
func get(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for k, value := range registry.Pairs(n) {
		if k.Value == key {
			return value
		}
	}
	return nil
}

func value(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// enforces reports whether a playbook may act: enforce is the default.
func (b *book) enforces() bool { return value(get(b.root, "mode")) != "observe" }

func (b *book) name() string { return value(get(b.root, "playbook")) }

// condition is an expression under match, or an if.
type condition struct {
	block string // all, any, none, if
	name  string
	node  *yaml.Node
}

func (b *book) conditions() []condition {
	var all []condition
	match := get(b.root, "match")
	if match == nil || match.Kind != yaml.MappingNode {
		return nil
	}
	for key, list := range registry.Pairs(match) {
		if list.Kind != yaml.SequenceNode {
			continue
		}
		for _, item := range list.Content {
			if item.Kind == yaml.MappingNode && len(item.Content) == 2 && item.Content[1].Kind == yaml.ScalarNode {
				all = append(all, condition{key.Value, item.Content[0].Value, item.Content[1]})
			}
		}
	}
	return all
}

// trimmed is the source of a bare expression.
func trimmed(n *yaml.Node) string { return strings.TrimSpace(n.Value) }

package playbooks

import (
	"gopkg.in/yaml.v3"

	"github.com/erbridge/erbridge/internal/registry"
)

// CallAction is the action by which a step calls a playbook. The loader makes a step
// with the key call of it; nobody carries it out.
const CallAction = "playbook.call"

// callDocument is what stands under with of the action.
type callDocument struct {
	// Playbook is the name of the playbook. It cannot be computed.
	Playbook bookName `yaml:"playbook" required:"true"`

	// Vars are the vars of the playbook that are set.
	Vars arguments `yaml:"vars"`
}

// unfold turns a step that calls a playbook by the action into one with the key call,
// and reports whether it is such a step.
func (l *loader) unfold(n *yaml.Node, doc *stepDocument) bool {
	if doc.Do.Value != CallAction {
		return false
	}
	with := &doc.With.Node
	if with.Kind == 0 {
		with = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line, Column: n.Column}
	}
	var call callDocument
	l.problems = append(l.problems, argumentProblems(registry.Decode(l.file, with, &call))...)
	doc.Do, doc.Call, doc.With = actionName{}, call.Playbook, call.Vars
	return true
}

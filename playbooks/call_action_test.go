package playbooks

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/registry"
)

// A step that calls a playbook by the action is the same step as one with the key call.
func TestCallByTheActionIsACall(t *testing.T) {
	const callee = "playbook: q\nvars: {reason: none, list: []}\nsteps: [{id: look, do: fake.read}]\n"
	for name, forms := range map[string][2]string{
		"with vars": {
			"{id: over, call: q, with: {reason: '${{ .alert.host.name }}', list: [1, {a: '${{ .item }}'}]}, for_each: '[1]', max_parallel: 2, on_error: continue}",
			"{id: over, do: playbook.call, with: {playbook: q, vars: {reason: '${{ .alert.host.name }}', list: [1, {a: '${{ .item }}'}]}}, for_each: '[1]', max_parallel: 2, on_error: continue}",
		},
		"without":  {"{call: q}", "{do: playbook.call, with: {playbook: q}}"},
		"under if": {"{call: q, if: .alert.status == \"open\", with: {}}", "{do: playbook.call, if: .alert.status == \"open\", with: {playbook: q, vars: {}}}"},
	} {
		var books [2]*Playbook
		for i, step := range forms {
			set := loadText(t, newFakeServer().actions(), callee, "playbook: p\nsteps: ["+step+"]\n")
			books[i] = set.Get("p")
			if called := books[i].called; len(called) != 1 || called["q"] == nil {
				t.Errorf("%s: calls %v", name, called)
			}
		}
		if a, b := books[0].Outline(), books[1].Outline(); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: %+v, and by the action %+v", name, a.Steps, b.Steps)
		}
		a, b := books[0].program[0], books[1].program[0]
		if a.word() != b.word() || a.action != nil || b.action != nil || !reflect.DeepEqual(a.with.literal, b.with.literal) || b.timeout != 0 {
			t.Errorf("%s: %+v, and by the action %+v", name, a, b)
		}
	}
}

func TestCallByTheActionRefuses(t *testing.T) {
	for step, words := range map[string]string{
		"{do: playbook.call}": "playbook",
		"{do: playbook.call, with: {playbook: '${{ .alert.host.name }}'}}":      "the playbook cannot be computed",
		"{do: playbook.call, with: {playbook: Q}}":                              "is no name for a playbook",
		"{do: playbook.call, with: {playbook: q, reason: x}}":                   "reason",
		"{do: playbook.call, with: {playbook: q, vars: [1]}}":                   "expected a mapping of arguments",
		"{do: playbook.call, with: [q]}":                                        "expected",
		"{do: playbook.call, timeout: 5m, with: {playbook: q}}":                 "timeout does not go with call",
		"{do: playbook.call, retry: {attempts: 2}, with: {playbook: q}}":        "retry does not go with call",
		"{do: playbook.call, call: q, with: {playbook: q}}":                     "make them two steps",
		"{do: playbook.call, with: {playbook: q}, parallel: [{do: fake.read}]}": "make them two steps",
	} {
		_, problems := Parse("p.yaml", []byte("playbook: p\nsteps: ["+step+"]\n"), newFakeServer().actions())
		if !strings.Contains(shownProblems(problems), words) {
			t.Errorf("%s: %v", step, problems)
		}
	}
}

func shownProblems(problems registry.Problems) (text string) {
	for _, p := range problems {
		text += fmt.Sprintln(p.Message, p.Hint)
	}
	return text
}

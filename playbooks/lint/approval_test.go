package lint_test

import (
	"slices"
	"testing"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/lint"
)

// asks stands for an action that asks people.
type asks struct{ playbooks.Action }

func (asks) Check(string, playbooks.StepSource) registry.Problems { return nil }

// Where there is an action that asks, its want of an expiry is all that is wrong.
func TestApprovalsExpire(t *testing.T) {
	actions := known()
	actions["approval.ask"] = asks{actions["alert.note"]}
	for with, want := range map[string][]string{
		`{text: "Contain it?"}`:                     {"PB507"},
		`{text: "Contain it?", expires: 15m}`:       nil,
		`{text: "x", expires: "${{ .vars.wait }}"}`: nil,
	} {
		in := "playbook: p\nvars: {wait: 15m}\nsteps:\n  - {do: approval.ask, with: " + with + "}\n"
		if got := codes(lint.Run([]lint.File{{Name: "p.yaml", Data: []byte(in)}}, nil, actions)); !slices.Equal(got, want) {
			t.Errorf("%s gives %v, want %v", with, got, want)
		}
	}
}

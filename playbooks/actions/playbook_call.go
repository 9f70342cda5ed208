package actions

import (
	"context"
	"errors"

	"github.com/erbridge/erbridge/playbooks"
)

// PlaybookCall are the arguments of playbook.call.
type PlaybookCall struct {
	// Playbook is the name of the playbook. It cannot be computed: which playbooks are
	// called is known when they are loaded.
	Playbook string `yaml:"playbook" required:"true"`

	// Vars are the vars of the playbook that are set.
	Vars map[string]any `yaml:"vars"`
}

func init() {
	add(kind[PlaybookCall]{
		Spec: playbooks.Spec{
			Name: playbooks.CallAction,
			Summary: "Does the steps of another playbook: the same as a step with the key `call`, and with `vars` as its `with`. " +
				"Like that one it has no `timeout` and no `retry` of its own, and `.steps.<id>.output` holds the results of the steps by their ids.",
			// What its steps do has an effect of its own.
			Effect:  playbooks.Repeatable,
			Example: "do: playbook.call\nwith:\n  playbook: collect-evidence\n  vars: {reason: \"${{ .alert.rule.name }}\"}\n",
			Inside:  true,
		},
		local: true,
		do: func(context.Context, *Deps, playbooks.Call, PlaybookCall) (playbooks.Outcome, error) {
			return playbooks.Outcome{}, errors.New("playbook.call: only the engine calls playbooks")
		},
	})
}

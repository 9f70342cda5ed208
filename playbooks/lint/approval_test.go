package lint_test

import (
	"slices"
	"testing"

	"github.com/erbridge/erbridge/playbooks/lint"
)

// A question has an end, and silence is no agreement to what cannot be undone.
func TestApprovals(t *testing.T) {
	for with, want := range map[string][]string{
		`{text: "Delete it?"}`:                                         {"PB507"},
		`{text: "Delete it?", expires: 15m}`:                           nil,
		`{text: "Delete it?", expires: "${{ .vars.wait }}"}`:           nil,
		`{text: "Delete it?", expires: 8d}`:                            {"PB405"},
		`{text: "Delete it?", expires: 15m, count: 0}`:                 {"PB405"},
		`{text: "Delete it?", expires: 15m, on_expiry: approve}`:       {"PB508"},
		`{text: "Delete it?", expires: 15m, from: [soc], not: nobody}`: {"PB405"},
	} {
		in := "playbook: p\nmatch: {all: [{one rule: .alert.rule.name == \"x\"}]}\nvars: {wait: 15m}\nsteps:\n  - {id: ask, do: approval.ask, with: " + with + "}\n" +
			"  - {if: .steps.ask.granted, do: file.delete, with: {host: h, path: \"C:\\\\x.exe\"}}\n"
		if got := codes(lint.Run([]lint.File{{Name: "p.yaml", Data: []byte(in)}}, nil, known())); !slices.Equal(got, want) {
			t.Errorf("%s gives %v, want %v", with, got, want)
		}
	}
}

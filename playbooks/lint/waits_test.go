package lint_test

import (
	"slices"
	"testing"

	"github.com/erbridge/erbridge/playbooks/lint"
)

// A step that waits is not cut short by its own time-out.
func TestWaits(t *testing.T) {
	for step, want := range map[string][]string{
		`{do: sleep, with: {for: 5m}}`:                                        nil,
		`{do: sleep, with: {for: 5m}, timeout: 1m}`:                           {"PB509"},
		`{do: sleep, with: {for: 1d}, timeout: 24h}`:                          {"PB509"},
		`{do: sleep, with: {for: 5m}, timeout: 6m}`:                           nil,
		`{do: sleep, with: {for: "${{ .vars.long }}"}, timeout: 1m}`:          nil,
		`{do: sleep, with: {for: 31d}}`:                                       {"PB405"},
		`{do: wait.until, with: {time: "08:00"}, timeout: 1m}`:                nil,
		`{do: wait.until, with: {time: "25:00"}}`:                             {"PB405"},
		`{do: wait.until, with: {time: "08:00", zone: Mars}}`:                 {"PB405"},
		`{do: wait.until, with: {time: 2026-05-04T08:00:00Z}}`:                nil,
		`{do: wait.until, with: {time: "2026-05-04T08:00:00Z", zone: "UTC"}}`: {"PB405"},
		`{do: defender.scan, with: {host: h}, timeout: 1m}`:                   nil,
	} {
		in := "playbook: p\nmatch: {all: [{one rule: .alert.rule.name == \"x\"}]}\nvars: {long: 5m}\nsteps:\n  - " + step + "\n"
		if got := codes(lint.Run([]lint.File{{Name: "p.yaml", Data: []byte(in)}}, nil, known())); !slices.Equal(got, want) {
			t.Errorf("%s gives %v, want %v", step, got, want)
		}
	}
	in := "playbook: p\nenrich: {it: {do: sleep, with: {for: 5m}}}\nsteps: [{do: alert.note, with: {text: \"${{ .enrich.it }}\"}}]\n"
	if got := codes(lint.Run([]lint.File{{Name: "p.yaml", Data: []byte(in)}}, nil, known())); len(got) == 0 {
		t.Error("a look-up that waits is taken")
	}
}

// A playbook that is called by the action is one that is called.
func TestCallsByTheAction(t *testing.T) {
	callee := lint.File{Name: "q.yaml", Data: []byte("playbook: q\nmode: enforce\non: manual\nvars: {reason: none}\nsteps: [{do: agent.restart, with: {host: h}}]\n")}
	for step, want := range map[string][]string{
		`{do: playbook.call, with: {playbook: q, vars: {reason: x}}}`:               {"PB501"},
		`{call: q, with: {reason: x}}`:                                              {"PB501"},
		`{do: playbook.call, with: {playbook: r}}`:                                  {"PB603"},
		`{do: playbook.call, with: {playbook: p}}`:                                  {"PB604"},
		`{do: playbook.call, with: {vars: {}}}`:                                     {"PB403"},
		`{do: playbook.call, with: {playbook: q, vrs: {}}}`:                         {"PB501", "PB402"},
		`{if: '.alert.host.name == "a"', do: playbook.call, with: {playbook: q}}`:   nil,
		`{if: '.alert.host.name == "a"', do: playbook.call, with: {playbook: Q Q}}`: {"PB204"},
	} {
		in := lint.File{Name: "p.yaml", Data: []byte("playbook: p\nsteps:\n  - " + step + "\n")}
		got := codes(lint.Run([]lint.File{in}, []lint.File{callee}, known()))
		if !slices.Equal(got, want) {
			t.Errorf("%s gives %v, want %v", step, got, want)
		}
	}
}

package lint_test

import (
	"slices"
	"testing"
)

// What looks like a mistake and is none, and what is one although it looks harmless.
func TestRules(t *testing.T) {
	const note = "steps: [{do: alert.note, with: {text: x}}]\n"
	cond := func(expr string) string { return "playbook: p\nmatch:\n  all:\n    - c: " + expr + "\n" + note }
	text := func(text string) string {
		return "playbook: p\nsteps:\n  - do: alert.note\n    with:\n      text: " + text + "\n"
	}
	for _, tt := range []struct {
		name, in string
		want     []string
	}{
		{"in_list has no regard to case", cond(`.alert.status | in_list(["Open"])`), nil},
		{"== has", cond(`.alert.status == "Open"`), []string{"PB310"}},
		{"the other way round", cond(`("opened" == .alert.status)`), []string{"PB310"}},
		{"within a condition", cond(`if .alert.status == "opened" then true else false end`), []string{"PB310"}},
		{"behind a pipe", cond(`.alert | .host | .platform == 7`), []string{"PB313"}},
		{"made a number", cond(`(.alert.event.pid | tonumber) > 4`), nil},
		{"event count is a number", cond(`.alert.event_count > 4`), nil},
		{"an item of a list", cond(`any(.alert.host.tags[]; . == "a") and any(.alert.host.tags[]; . == "b")`), nil},
		{"intel is free", cond(`.alert.intel.score == 7 or .alert.intel.score == "7"`), nil},
		{"constants in any", "playbook: p\nmatch: {any: [{a: 'false'}, {b: .alert.backfill}]}\n" + note, nil},
		{"all constants in any", "playbook: p\nmatch: {any: [{a: 'false'}, {b: 'null'}]}\n" + note, []string{"PB506"}},
		{"none of one of two", "playbook: p\nmatch: {all: [{a: '.alert.status | in_list([\"open\", \"resolved\"])'}], none: [{b: '.alert.status == \"open\"'}]}\n" + note, nil},
		{"or is no demand", "playbook: p\nmatch: {all: [{a: '.alert.event.a == \"x\" or .alert.event.b == \"y\"'}, {b: '.alert.event.a == \"z\"'}]}\n" + note, nil},

		{"an object for a host", "playbook: p\nsteps: [{do: host.get, with: {host: \"${{ .alert.host }}\"}}]\n", []string{"PB404"}},
		{"a list for a text", text("${{ .alert.host.tags // [] }}"), []string{"PB404"}},
		{"a number for a text", "playbook: p\nsteps: [{do: host.tag, with: {host: h, tag: \"${{ .alert.rule.id }}\"}}]\n", []string{"PB404"}},
		{"a number for a host's number", "playbook: p\nsteps: [{do: host.get, with: {host: \"${{ .alert.host.id }}\"}}]\n", nil},
		{"a text for a number", "playbook: p\nsteps: [{do: alert.note, with: {text: x, alert: \"${{ .alert.id }}\"}}]\n", nil},
		{"an object within a text", text("\"on ${{ .alert.host }}\""), nil},
		{"an object in a body", "playbook: p\nsteps: [{do: http.request, with: {url: \"https://a\", body: \"${{ .alert.host }}\"}}]\n", nil},
		{"what comes out of a pipe", text("${{ .alert.host | tojson }}"), nil},
		{"an object for an enrichment", "playbook: p\nenrich: {h: {do: host.get, with: {host: \"${{ .alert.rule }}\"}}}\nsteps: [{do: alert.note, with: {text: x}}]\n", []string{"PB404"}},

		{"an object held against a text", cond(`.alert.rule == "x"`), []string{"PB310"}},
		{"a list held against a text", cond(`.alert.host.tags != "x"`), []string{"PB310"}},
		{"an object held against nothing", cond(`.alert.rule != null and .alert.host.tags != []`), nil},
		{"an item of a list held against a text", cond(`.alert.host.tags[0] == "x" or .alert.event == {}`), nil},
		{"not before a comparison", cond(`.alert.backfill and (not .alert.status == "open")`), []string{"PB317"}},
		{"not behind a pipe", cond(`(.alert.backfill | not) and (.alert.status | . == "open" | not)`), nil},

		{"default in brackets", cond(`(.alert.event.a // "") == "x"`), nil},
		{"default before a pipe", cond(`.alert.event.a // "" | . == "x"`), nil},
		{"default of a comparison", cond(`.alert.event.a == "x" // false`), nil},
		{"assignment on the way", cond(`.alert | .severity = "x" | .severity == "x"`), nil},
		{"assignment in a text", text("${{ .alert | .severity = \"x\" | .severity }}"), nil},
		{"output of a request is free", "playbook: p\nsteps:\n  - {id: a, do: http.request, with: {url: \"https://a\"}}\n  - {do: alert.note, with: {text: \"${{ .steps.a.output.json.any.thing }}\"}}\n", nil},
		{"output of a call", "playbook: p\nsteps:\n  - {id: a, parallel: [{do: alert.note, with: {text: x}}]}\n  - {do: alert.note, with: {text: \"${{ .steps.a.output.x.y }}\"}}\n", nil},
		{"output of the embedded kind", "playbook: p\nmode: observe\nsteps:\n  - {id: a, do: host.contain, with: {host: h}}\n  - {do: alert.note, with: {text: \"${{ .steps.a.output.command }} ${{ .steps.a.output.rule }}\"}}\n", nil},

		{"words after basic", text("basic troubleshooting-instructions-follow"), nil},
		{"basic credentials", text("Basic c29jOmh1bnRlcjIyMjIyMg=="), []string{"PB504"}},
		{"bearer of an expression", text("\"Bearer ${{ .alert.event.authorization_of_some_request1 }}\""), nil},
		{"a condition called password", cond("true\n    - password: .alert.event.cmdline // \"\" | test(\"x\")"), nil},
		{"a private key", text("|\n        -----BEGIN RSA PRIVATE KEY-----"), []string{"PB504"}},
		{"a pointer to a secret", "playbook: p\nvars: {password: {file: /run/secrets/x}}\n" + note, nil},
		{"a secret that is computed", "playbook: p\nsteps:\n  - {do: http.request, with: {url: \"https://a\", headers: {X-Token: \"${{ .vars.t }}\"}}}\nvars: {t: x}\n", nil},

		{"scope by a step", "playbook: p\nsteps:\n  - {do: agent.restart, if: .host.name == \"a\", with: {host: h}}\n", nil},
		{"scope by a list", "playbook: p\nsteps:\n  - for_each: .alert.event.hosts | split(\",\")\n    do: agent.restart\n    with: {host: \"${{ .item }}\"}\n", nil},
		{"scope in none only", "playbook: p\nmatch: {none: [{a: '.alert.host.name == \"a\"'}]}\nsteps:\n  - {do: agent.restart, with: {host: h}}\n", []string{"PB501"}},
		{"scope in one of any", "playbook: p\nmatch: {any: [{a: '.alert.host.name == \"a\"'}, {b: '.alert.severity == \"low\"'}]}\nsteps:\n  - {do: agent.restart, with: {host: h}}\n", []string{"PB501"}},
		{"scope in each of any", "playbook: p\nmatch: {any: [{a: '.alert.host.name == \"a\"'}, {b: '.alert.event.path == \"b\"'}]}\nsteps:\n  - {do: agent.restart, with: {host: h}}\n", nil},
		{"both kinds of alerts", "playbook: p\non: [alert, alert.updated]\nsteps:\n  - {do: agent.restart, with: {host: h}}\n", []string{"PB501"}},
		{"server's records only", "playbook: p\nsteps:\n  - {do: host.tag, with: {host: h, tag: t}}\n", nil},
		{"in a group in finally", "playbook: p\nsteps: [{do: alert.note, with: {text: x}}]\nfinally:\n  - parallel:\n      - - {do: agent.restart, with: {host: h}}\n      - {do: alert.note, with: {text: x}}\n", []string{"PB501"}},
		{"released in finally", "playbook: p\nmatch: {all: [{a: '.alert.host.name == \"a\"'}]}\nsteps: [{do: host.contain, with: {host: h}}]\nfinally: [{do: host.release, with: {host: h}}]\n", nil},

		{"failure is looked at in finally", "playbook: p\nsteps: [{id: a, do: host.get, with: {host: h}}]\nfinally: [{if: '.steps.a.state == \"failed\"', do: alert.note, with: {text: x}}]\n", nil},
		{"failure among others", "playbook: p\nsteps: [{id: a, do: host.get, with: {host: h}}, {if: '.steps.a.state | in_list([\"failed\", \"executed\"])', do: alert.note, with: {text: x}}]\n", nil},
		{"failure of a group that goes on", "playbook: p\nsteps:\n  - {parallel: [{id: a, do: host.get, with: {host: h}}], on_error: continue}\n  - {if: '.steps.a.state == \"failed\"', do: alert.note, with: {text: x}}\n", nil},

		{"a path as a text for people", text("see .alert.host for more"), nil},
		{"a path on a host", text(".bashrc"), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := codes(lintOne(tt.in)); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v in\n%s", lintOne(tt.in), tt.want, tt.in)
			}
		})
	}
}

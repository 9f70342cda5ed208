package playbooks

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/erbridge/erbridge/internal/registry"
)

func lintActions() map[string]Action {
	actions := newFakeServer().actions()
	actions["fake.checked"] = &fakeAction{spec: Spec{Name: "fake.checked", Effect: Repeatable}, check: func(_ string, s StepSource) (problems registry.Problems) {
		for _, name := range sortedNames(s.Places) {
			switch {
			case name == "pid" && string(s.With["pid"]) != "12" && !s.Dynamic["pid"]:
				problems.Addf(s.Places["pid"], "argument", "", "pid is %s", s.With["pid"])
			case name != "pid":
				problems.Addf(s.Places[name], "argument", "", "unknown argument %s", name)
			}
		}
		return problems
	}}
	return actions
}

func lintText(text string) string {
	_, problems := Parse("p.yaml", []byte(text), lintActions())
	if err := problems.Err(); err != nil {
		return err.Error()
	}
	return ""
}

func TestLint(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"well", "playbook: p\nsteps: [{do: fake.read}]", ""},
		{"empty", "", `p.yaml:1:1: the file is empty [empty]`},
		{"no steps", "playbook: p\nsteps: []", "p.yaml:2:8: expected a list of steps [wrong-type]"},
		{"missing", "description: x", "p.yaml:1:1: setting \"playbook\" is required [missing]\np.yaml:1:1: setting \"steps\" is required [missing]"},
		{"unknown key", "playbook: p\nstep: []\nsteps: [{do: fake.read}]", `p.yaml:2:1: unknown setting "step" [unknown-key]; did you mean "steps"?`},
		{"name", "playbook: My Book\nsteps: [{do: fake.read}]", `p.yaml:1:11: "My Book" is no name for a playbook [name]; small letters, digits, - and _`},
		{"approve", "playbook: p\nmode: approve\nsteps: [{do: fake.read}]", ""},
		{"mode", "playbook: p\nmode: enforced\nsteps: [{do: fake.read}]", `p.yaml:2:7: unknown mode "enforced" [mode]; did you mean "enforce"?`},
		{"on", "playbook: p\non: schedule\nsteps: [{do: fake.read}]", `p.yaml:2:5: the schedule has no times [on]; write schedule: {every: 1h} or schedule: {cron: "0 7 * * mon-fri", zone: Europe/Berlin}`},
		{"on, list", "playbook: p\non: [alert, alrt.updated]\nsteps: [{do: fake.read}]", `p.yaml:2:13: unknown on "alrt.updated" [on]; did you mean "alert.updated"?`},
		{"technique", "playbook: p\nattack: [T1490, X]\nsteps: [{do: fake.read}]", `p.yaml:2:17: "X" is no ATT&CK technique [technique]; T1490 or T1059.001`},
		{"unknown action", "playbook: p\nsteps:\n  - do: fake.reed", `p.yaml:3:9: unknown action "fake.reed" [unknown-action]; did you mean "fake.read"?`},
		{"action's own check", "playbook: p\nsteps:\n  - do: fake.checked\n    with: {pid: 13, nope: 1}", "p.yaml:4:17: pid is 13 [argument-value]\np.yaml:4:27: unknown argument nope [argument-value]"},
		{"dynamic argument", "playbook: p\nsteps:\n  - do: fake.checked\n    with: {pid: \"${{ .alert.event.pid }}\"}", ""},
		{"repeated id", "playbook: p\nsteps:\n  - {id: a, do: fake.read}\n  - {id: a, do: fake.read}", `p.yaml:4:10: two steps have the id "a" [repeated-name]`},
		{"bad id", "playbook: p\nsteps: [{id: a-b, do: fake.read}]", `p.yaml:2:14: "a-b" is no name for a step [name]; small letters, digits and _, a letter first`},
		{"step key", "playbook: p\nsteps: [{do: fake.read, on_eror: stop}]", `p.yaml:2:25: unknown setting "on_eror" [unknown-key]; did you mean "on_error"?`},
		{"on_error word", "playbook: p\nsteps: [{do: fake.read, on_error: ignore}]", `p.yaml:2:35: unknown on_error "ignore" [on_error]; allowed: stop, continue, a list of steps`},
		{"nested on_error", "playbook: p\nsteps: [{do: fake.read, on_error: [{do: fake.read, on_error: [{do: fake.read}]}]}]", "p.yaml:2:62: steps inside on_error cannot have on_error steps of their own [step-kind]; write stop or continue"},
		{"retry", "playbook: p\nsteps: [{do: fake.once, retry: {attempts: 0, on: failed}}]", "p.yaml:2:43: attempts must lie between 1 and 20 [range]\np.yaml:2:50: fake.once must not happen twice, so it is not repeated after a failure [effect]; write on: transient"},
		{"timeout", "playbook: p\nsteps: [{do: fake.read, timeout: 31d}]", "p.yaml:2:34: a time-out must lie between 1s and 30d [range]"},
		{"enrichment changes", "playbook: p\nenrich: {x: {do: fake.repeat}}\nsteps: [{do: fake.read}]", "p.yaml:2:18: enrichment x must only read, and fake.repeat changes something [effect]; make it a step"},
		{"enrichment name", "playbook: p\nenrich: {host: {do: fake.read}}\nsteps: [{do: fake.read}]", "p.yaml:2:10: the name host is taken [name]; read .host: it is fetched by itself"},
		{"condition form", "playbook: p\nmatch: {all: [.alert.id]}\nsteps: [{do: fake.read}]", "p.yaml:2:15: expected a name, a colon and one jq expression [condition]; write - what it says: .alert.field == \"value\""},
		{"match key", "playbook: p\nmatch: {al: [{x: true}]}\nsteps: [{do: fake.read}]", `p.yaml:2:9: unknown setting "al" [unknown-key]; did you mean "all"?`},
		{"repeated condition", "playbook: p\nmatch:\n  all: [{x: true}]\n  none: [{x: true}]\nsteps: [{do: fake.read}]", `p.yaml:4:11: two conditions have the name "x" [repeated-name]`},
		{"no condition", "playbook: p\nmatch: {all: [{x: }]}\nsteps: [{do: fake.read}]", "p.yaml:2:19: expected a jq expression [wrong-type]"},

		{"jq syntax, plain", "playbook: p\nmatch:\n  all:\n    - x: .alert.id | | 1\nsteps: [{do: fake.read}]", `p.yaml:4:22: jq syntax: unexpected token "|" [jq]`},
		{"jq syntax, quoted", "playbook: p\nmatch:\n  all:\n    - x: '.alert.id == ''a'' '\nsteps: [{do: fake.read}]", `p.yaml:4:24: jq syntax: unexpected token "'" [jq]; texts in jq stand in double quotes`},
		{"jq syntax, double quoted", "playbook: p\nmatch:\n  all:\n    - x: \".alert.id == \\\"a\\\" | | 1\"\nsteps: [{do: fake.read}]", `p.yaml:4:32: jq syntax: unexpected token "|" [jq]`},
		{"jq syntax, block", "playbook: p\nmatch:\n  all:\n    - x: |\n        .alert.id\n        | | 1\nsteps: [{do: fake.read}]", `p.yaml:6:11: jq syntax: unexpected token "|" [jq]`},
		{"jq syntax, folded", "playbook: p\nmatch:\n  all:\n    - x: >-\n        .alert.id\n        | test(\"ü\") | | 1\nsteps: [{do: fake.read}]", `p.yaml:6:23: jq syntax: unexpected token "|" [jq]`},
		{"jq ends early", "playbook: p\nmatch: {all: [{x: .alert.id |}]}\nsteps: [{do: fake.read}]", "p.yaml:2:29: jq syntax: the expression ends too early [jq]"},
		{"unknown function", "playbook: p\nmatch: {all: [{x: .alert.id | tset(\"a\")}]}\nsteps: [{do: fake.read}]", "p.yaml:2:31: unknown function tset [jq]; did you mean test?"},
		{"environment", "playbook: p\nmatch: {all: [{x: env.HOME}]}\nsteps: [{do: fake.read}]", "p.yaml:2:19: env is not available here: there is no environment [jq]"},
		{"severity word", "playbook: p\nmatch: {all: [{x: .alert.severity | at_least(\"hgih\")}]}\nsteps: [{do: fake.read}]", `p.yaml:2:47: unknown severity "hgih" [severity]; did you mean "high"?`},

		{"unknown root", "playbook: p\nmatch: {all: [{x: .alrt.id == 1}]}\nsteps: [{do: fake.read}]", "p.yaml:2:19: there is no .alrt here [unknown-root]; did you mean .alert?"},
		{"unknown field", "playbook: p\nmatch: {all: [{x: .alert.hots.name == 1}]}\nsteps: [{do: fake.read}]", `p.yaml:2:25: there is no field .alert.hots [unknown-field]; did you mean "host"?`},
		{"unknown field, deep", "playbook: p\nmatch:\n  all:\n    - x: .alert.host | .tagz[] == 1\nsteps: [{do: fake.read}]", `p.yaml:4:24: there is no field .alert.host.tagz [unknown-field]; did you mean "tags"?`},
		{"event is free", "playbook: p\nmatch: {all: [{x: .alert.event.anything == .alert.intel.any.thing}]}\nsteps: [{do: fake.read}]", ""},
		{"field of a text", "playbook: p\nmatch: {all: [{x: .alert.id.x == 1}]}\nsteps: [{do: fake.read}]", "p.yaml:2:28: there is no field .alert.id.x [unknown-field]"},
		{"steps in match", "playbook: p\nmatch: {all: [{x: .steps.a.state == 1}]}\nsteps: [{id: a, do: fake.read}]", "p.yaml:2:19: there is no .steps here [unknown-root]; known: .alert, .host, .enrich, .enrich_errors, .enrich_status, .vars"},
		{"unknown enrichment", "playbook: p\nenrich: {tree: {do: fake.read}}\nmatch: {all: [{x: .enrich.tre.a == 1}]}\nsteps: [{do: fake.read}]", `p.yaml:3:26: there is no enrichment "tre" [unknown-enrichment]; did you mean "tree"?`},
		{"unknown variable", "playbook: p\nvars: {limit: 3}\nmatch: {all: [{x: .vars.limt == 1}]}\nsteps: [{do: fake.read}]", `p.yaml:3:24: there is no variable "limt" under vars [unknown-variable]; did you mean "limit"?`},
		{"later step", "playbook: p\nsteps:\n  - {id: a, do: fake.read, if: .steps.b.output}\n  - {id: b, do: fake.read}", `p.yaml:3:38: no step "b" has run before step "a" [unknown-step]`},
		{"itself", "playbook: p\nsteps:\n  - {id: a, do: fake.read, if: .steps.a.output}", `p.yaml:3:38: no step "a" has run before step "a" [unknown-step]`},
		{"misspelt step", "playbook: p\nsteps:\n  - {id: contain, do: fake.read}\n  - {id: b, do: fake.read, if: .steps.contian.output}", `p.yaml:4:38: no step "contian" has run before step "b" [unknown-step]; did you mean "contain"?`},
		{"step of a handler", "playbook: p\nsteps:\n  - {id: a, do: fake.read, on_error: [{id: h, do: fake.read, with: {e: \"${{ .steps.a.error }}\"}}]}\n  - {id: b, do: fake.read, if: .steps.h.output}", `p.yaml:4:38: step "h" runs only when another step fails [unknown-step]`},
		{"field of a step", "playbook: p\nsteps:\n  - {id: a, do: fake.read}\n  - {id: b, do: fake.read, if: .steps.a.result}", `p.yaml:4:40: there is no field .steps.a.result [unknown-step-field]; known: error, output, ref, state, summary`},
		{"run", "playbook: p\nsteps:\n  - {id: a, do: fake.read, with: {x: \"run ${{ .run.name }} ${{ .run.id }}\"}}", `p.yaml:3:51: there is no field .run.name [unknown-field]; known: error, id, mode, playbook, started_at`},
		{"text, second expression", "playbook: p\nsteps:\n  - do: fake.read\n    with:\n      text: |-\n        one ${{ .alert.id }}\n        two ${{ .alert.ix }} three", `p.yaml:7:23: there is no field .alert.ix [unknown-field]; did you mean "id"?`},
		{"unclosed expression", "playbook: p\nsteps:\n  - do: fake.read\n    with: {text: \"a ${{ .alert.id\"}", "p.yaml:4:21: ${{ without }} [expression]"},
		{"jq syntax in a text", "playbook: p\nsteps:\n  - do: fake.read\n    with: {text: \"a ${{ .alert.id | }}\"}", "p.yaml:4:35: jq syntax: the expression ends too early [jq]"},
		{"braces inside", "playbook: p\nsteps:\n  - do: fake.read\n    with: {text: \"${{ {a: {b: 1}} }} and ${{ \\\"}}\\\" }}\"}", ""},
		{"cool-down", "playbook: p\ncooldown: {key: .alert.host.identifer, for: 0s}\nsteps: [{do: fake.read}]", `p.yaml:2:28: there is no field .alert.host.identifer [unknown-field]; did you mean "identifier"?`},

		{"all at once", "playbook: P\nmode: aprove\nmatch: {all: [{x: .alrt}]}\nsteps:\n  - do: nope\n  - {id: a, do: fake.read, if: .steps.b}", strings.Join([]string{
			`p.yaml:1:11: "P" is no name for a playbook [name]; small letters, digits, - and _`,
			`p.yaml:2:7: unknown mode "aprove" [mode]; did you mean "approve"?`,
			`p.yaml:3:19: there is no .alrt here [unknown-root]; did you mean .alert?`,
			`p.yaml:5:9: unknown action "nope" [unknown-action]; known: fake.blind, fake.checked, fake.marked, fake.once, fake.read, fake.repeat, fake.tell`,
			`p.yaml:6:38: no step "b" has run before step "a" [unknown-step]; known: step1`,
		}, "\n")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := lintText(tt.in); got != tt.want {
				t.Errorf("lint of\n%s\n got %s\nwant %s", tt.in, got, tt.want)
			}
		})
	}
}

func TestLoadTakesAllOrNothing(t *testing.T) {
	good := "playbook: a\nsteps: [{do: fake.read}]"
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	set, problems := LoadFS(fstest.MapFS{
		"x/a.yaml": file(good), "x/a_test.yaml": file("no playbook"), "x/README.md": file("no"), "x/.hidden.yaml": file("no"),
		"x/..data/b.yaml": file("no"), "x/sub/b.yml": file(strings.Replace(good, ": a", ": b", 1)),
	}, "x", lintActions())
	if problems != nil || len(set.Playbooks()) != 2 || set.Get("b").File != "x/sub/b.yml" {
		t.Errorf("set %+v, problems %v", set, problems)
	}
	set, problems = LoadFS(fstest.MapFS{"a.yaml": file(good), "b.yaml": file("# the same\n" + good), "c.yaml": file("playbook: c")}, ".", lintActions())
	want := "b.yaml:2:11: playbook \"a\" stands in a.yaml already [repeated-name]\nc.yaml:1:1: setting \"steps\" is required [missing]"
	if set != nil || problems.Error() != want {
		t.Errorf("problems\n%v\nwant\n%s", problems, want)
	}
	if set, problems = LoadDir(t.TempDir()+"/none", lintActions()); set != nil || len(problems) != 1 || problems[0].Code != "unreadable" {
		t.Errorf("a folder that is not there: %v", problems)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(threeSteps)
	f.Add(crashBook)
	f.Add(fmt.Sprintf(flowBooks[0], "fake.once"))
	f.Add("playbook: p\nsteps: [{parallel: [[{call: q, with: {a: 1}}], {do: fake.read, for_each: .x, max_parallel: 0, on_error: [{parallel: []}]}]}]\nfinally: [{do: a, call: b}]")
	f.Add("playbook: p\nmatch:\n  all:\n    - x: |\n        .alert.id\n        | | 1\nsteps:\n  - {do: fake.read, with: {a: \"${{ .x }} ${{\", b: 'it''s ${{ 1 }}'}}")
	actions := lintActions()
	f.Fuzz(func(t *testing.T, text string) {
		pb, problems := Parse("p.yaml", []byte(text), actions)
		if (pb == nil) != (len(problems) > 0) {
			t.Fatalf("playbook %v with problems %v", pb, problems)
		}
		lines := 1
		for _, lineBreak := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} { // all that YAML counts
			lines += strings.Count(text, lineBreak)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines+1 || p.Column < 1 {
				t.Fatalf("a problem outside of the file: %v", p)
			}
		}
	})
}

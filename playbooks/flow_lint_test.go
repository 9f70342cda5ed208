package playbooks

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestLintOfGroups(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"no kind", "{id: a}", `p.yaml:3:5: setting "do" is required [missing]; or call, or parallel`},
		{"two kinds", "{do: fake.read, call: q}", "p.yaml:3:5: a step has one of do, call and parallel, and this one has do and call [step-kind]; make them two steps"},
		{"name of a call", "{call: Q}", `p.yaml:3:12: "Q" is no name for a playbook [name]; small letters, digits, - and _`},
		{"time-out of a call", "{call: q, timeout: 5m}", "p.yaml:3:15: timeout does not go with call [step-kind]; write it with the steps inside"},
		{"arguments of a group", "{parallel: [{do: fake.read}], with: {a: 1}}", "p.yaml:3:35: with does not go with parallel [step-kind]; write it with the steps inside"},
		{"items of a group", "{parallel: [{do: fake.read}], for_each: .alert.host.tags}", "p.yaml:3:35: for_each does not go with parallel [step-kind]; write it with the steps inside"},
		{"form of a group", "{parallel: {do: fake.read}}", "p.yaml:3:16: expected a list of steps that are done side by side [wrong-type]"},
		{"form of a branch", "{parallel: [[]]}", "p.yaml:3:17: expected a list of steps [wrong-type]"},
		{"mistake in a branch", "{parallel: [[{do: fake.read}, {do: fake.reed}]]}", `p.yaml:3:40: unknown action "fake.reed" [unknown-action]; did you mean "fake.read"?`},
		{"max_parallel alone", "{do: fake.read, max_parallel: 2}", "p.yaml:3:35: max_parallel without for_each [step-kind]; it says how many items of for_each are worked on at once"},
		{"max_parallel range", "{do: fake.read, for_each: .alert.host.tags, max_parallel: 0}", "p.yaml:3:63: max_parallel must lie between 1 and 100 [range]"},
		{"max_parallel type", "{do: fake.read, for_each: .alert.host.tags, max_parallel: many}", `p.yaml:3:63: expected a whole number, found the text "many" [wrong-type]`},
		{"for_each as a list", "{do: fake.read, for_each: [1, 2]}", "p.yaml:3:31: expected a jq expression [wrong-type]"},
		{"for_each with a mistake", "{do: fake.read, for_each: .alert.hots}", `p.yaml:3:37: there is no field .alert.hots [unknown-field]; did you mean "host"?`},
		{"item", "{do: fake.read, for_each: .alert.host.tags, with: {a: \"${{ .item.x }}\"}}", ""},
		{"item without for_each", "{do: fake.read, with: {a: \"${{ .item }}\"}}", "p.yaml:3:36: there is no .item here [unknown-root]; known: .alert, .host, .enrich, .enrich_errors, .enrich_status, .steps, .vars, .run"},
		{"item in if", "{do: fake.read, for_each: .alert.host.tags, if: .item}", "p.yaml:3:53: there is no .item here [unknown-root]; known: .alert, .host, .enrich, .enrich_errors, .enrich_status, .steps, .vars, .run"},
		{"result of items", "{id: a, do: fake.read, for_each: .alert.host.tags}\n  - {do: fake.read, if: .steps.a.state}", `p.yaml:4:33: .steps.a is a list, with one result for each item [unknown-step-field]; write .steps.a[].state`},
		{"field of an item's result", "{id: a, do: fake.read, for_each: .alert.host.tags}\n  - {do: fake.read, if: '.steps.a | any(.stat)', with: {n: \"${{ .steps.a | length }}\"}}\n  - {do: fake.read, if: '.steps.a[].sate'}", "p.yaml:4:41: there is no field .steps.a[].stat [unknown-step-field]; did you mean \"state\"?\np.yaml:5:36: there is no field .steps.a[].sate [unknown-step-field]; did you mean \"state\"?"},
		{"beside", "{parallel: [{id: a, do: fake.read}, {id: b, do: fake.read, if: .steps.a.output}]}", `p.yaml:3:74: step "a" runs side by side with step "b" [unknown-step]; put one after the other, or this one behind the group`},
		{"one after the other in a branch", "{parallel: [[{id: a, do: fake.read}, {id: b, do: fake.read, if: .steps.a.output}]]}", ""},
		{"the group around", "{id: g, parallel: [{id: b, do: fake.read, if: .steps.g.state}]}", `p.yaml:3:57: step "g" runs side by side with step "b" [unknown-step]; put one after the other, or this one behind the group`},
		{"behind the group", "{id: g, parallel: [{id: a, do: fake.read}]}\n  - {do: fake.read, if: .steps.a.output and .steps.g.output}", ""},
		{"finally sees all", "{id: a, do: fake.read, on_error: [{id: h, do: fake.read}]}\nfinally: [{do: fake.read, if: .steps.a.error and .steps.h.state and .run.error}]", ""},
		{"finally, form", "{do: fake.read}\nfinally: {do: fake.read}", "p.yaml:4:10: expected a list of steps [wrong-type]"},
		{"id in finally", "{id: a, do: fake.read}\nfinally: [{id: a, do: fake.read}]", `p.yaml:4:16: two steps have the id "a" [repeated-name]`},
		{"on_error of a branch in on_error", "{do: fake.read, on_error: [{parallel: [{do: fake.read, on_error: [{do: fake.read}]}]}]}", "p.yaml:3:70: steps inside on_error cannot have on_error steps of their own [step-kind]; write stop or continue"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := "playbook: p\nsteps:\n  - " + tt.in
			if got := lintText(in); got != tt.want {
				t.Errorf("lint of\n%s\n got %s\nwant %s", in, got, tt.want)
			}
		})
	}
}

func TestLink(t *testing.T) {
	book := func(name, steps string) string { return "playbook: " + name + "\nvars: {limit: 3}\nsteps:\n" + steps }
	chain := func(n int, text string) string { return strings.Repeat(text, n) }
	for _, tt := range []struct {
		name  string
		books []string
		want  string
	}{
		{"well", []string{book("a", "  - {call: b, with: {limit: 4}}"), book("b", "  - {call: c}"), book("c", "  - {do: fake.read}")}, ""},
		{"unknown", []string{book("a", "  - {call: bee}"), book("beef", "  - {do: fake.read}")}, `0.yaml:4:12: unknown playbook "bee" [unknown-playbook]; did you mean "beef"?`},
		{"unknown variable", []string{book("a", "  - {call: b, with: {limt: 4}}"), book("b", "  - {do: fake.read}")},
			`0.yaml:4:22: playbook b has no variable "limt" under vars [unknown-variable]; did you mean "limit"?`},
		{"itself", []string{book("a", "  - {call: a}")}, "0.yaml:4:12: playbook a calls itself: a → a [recursion]"},
		{"in a circle", []string{book("a", "  - {call: b}"), book("b", "  - {do: fake.read}\n  - {call: c}"), book("c", "  - {parallel: [{call: a}]}")},
			"0.yaml:4:12: playbook a calls itself: a → b → c → a [recursion]\n1.yaml:5:12: playbook b calls itself: b → c → a → b [recursion]\n2.yaml:4:24: playbook c calls itself: c → a → b → c [recursion]"},
		{"in finally and on_error", []string{"playbook: a\nsteps: [{do: fake.read, on_error: [{call: a}]}]"}, "0.yaml:2:43: playbook a calls itself: a → a [recursion]"},
		{"too many", []string{book("a", chain(11, "  - {call: b}\n")), book("b", chain(99, "  - {do: fake.read}\n"))},
			"0.yaml:4:12: more than 1000 steps with those of the playbooks that are called [too-many]"},
		{"too deep", []string{
			book("a", "  - {call: b}"), book("b", "  - {call: c}"), book("c", "  - {call: d}"), book("d", "  - {call: e}"), book("e", "  - {call: f}"),
			book("f", "  - {call: g}"), book("g", "  - {call: h}"), book("h", "  - {call: i}"), book("i", "  - {call: j}"), book("j", "  - {do: fake.read}"),
		}, "0.yaml:4:12: calls of calls, more than 8 deep [too-many]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := fstest.MapFS{}
			for i, text := range tt.books {
				files[string(rune('0'+i))+".yaml"] = &fstest.MapFile{Data: []byte(text)}
			}
			set, problems := LoadFS(files, ".", lintActions())
			got := ""
			if problems != nil {
				got = problems.Error()
			}
			if got != tt.want || (set == nil) != (tt.want != "") {
				t.Errorf("problems\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// A playbook may call one that was loaded before it, such as one of the library.
func TestLinkToOthers(t *testing.T) {
	other, problems := Parse("other.yaml", []byte("playbook: other\nsteps: [{do: fake.read}]"), lintActions())
	if problems != nil {
		t.Fatal(problems)
	}
	pb, problems := Parse("p.yaml", []byte("playbook: p\nsteps: [{call: other}]"), lintActions())
	if problems != nil {
		t.Fatal(problems)
	}
	if problems := Link([]*Playbook{pb}, other); problems != nil || pb.called["other"] != other {
		t.Errorf("called %v, problems %v", pb.called, problems)
	}
	if problems := Link([]*Playbook{pb}); len(problems) != 1 {
		t.Errorf("without it: %v", problems)
	}
}

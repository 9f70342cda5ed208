package playbooks

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// An explanation walks through the same program as a run.
func TestExplainGroups(t *testing.T) {
	server := newFakeServer()
	actions := server.actions()
	set := loadText(t, actions, `
playbook: p
vars: {paths: [a, b]}
steps:
  - {id: each, for_each: .vars.paths, do: fake.once, with: {path: "${{ .item }}"}, on_error: [{id: sorry, do: fake.repeat}]}
  - {id: none, for_each: "[]", do: fake.once}
  - {id: broken, for_each: .alert.id, do: fake.once, on_error: continue}
  - {id: late, for_each: .steps.each, do: fake.once}
  - id: both
    parallel:
      - {id: left, do: fake.read, with: {x: 1}}
      - [{id: right, if: "false", do: fake.repeat}, {id: further, do: fake.repeat, with: {was: "${{ .steps.right.state }}"}}]
  - {id: sub, for_each: "[7, 8]", call: q, with: {what: "${{ .item }}"}}
  - {id: quiet, call: r}
finally:
  - {id: last, do: fake.tell, with: {error: "${{ .run.error }}"}}
`, `
playbook: q
match: {all: [{never: "false"}]}
enrich: {look: {do: fake.read, with: {x: "${{ .vars.what }}"}}}
vars: {what: nothing}
steps: [{id: hit, do: fake.repeat, with: {a: "${{ .vars.what }}", b: "${{ .enrich.look.with.x }}"}}]
finally: [{id: after, do: fake.repeat}]
`, "playbook: r\nmode: observe\nmatch: {all: [{never: \"false\"}]}\nsteps: [{id: hit, do: fake.repeat}]")
	x, err := Explain(t.Context(), set.Get("p"), testAlert("1"), actions)
	if err != nil {
		t.Fatal(err)
	}
	const sent = "is sent: enforce: playbook and engine enforce"
	want := strings.Join([]string{
		"step each: fake.once is done for each of 2 items",
		"step each[0]: fake.once " + sent, "path: a",
		"step each[1]: fake.once " + sent, "path: b",
		"step sorry: fake.repeat only when a step before it fails",
		"step none: fake.once is done for each of 0 items",
		`step broken: fake.once fails: for_each: expected a list, found "1"`,
		"step late: fake.once depends on what earlier steps return",
		"step both: 2 branches side by side",
		"step left: fake.read reads", "x: 1",
		"step right: fake.repeat is skipped: if is false",
		"step further: fake.repeat " + sent, "was: skipped",
		"step sub: is done for each of 2 items",
		"step sub[0]: calls playbook q",
		"step sub[0]/hit: fake.repeat " + sent, "a: 7", "b: 7",
		"finally sub[0]/after: fake.repeat " + sent,
		"step sub[1]: calls playbook q",
		"step sub[1]/hit: fake.repeat " + sent, "a: 8", "b: 8",
		"finally sub[1]/after: fake.repeat " + sent,
		"step quiet: calls playbook r",
		"step quiet/hit: fake.repeat is not sent: observe: the playbook only observes",
		"finally last: fake.tell depends on whether earlier steps fail",
	}, "\n")
	_, text, _ := strings.Cut(withoutStepGuard(x.Text()), "guard:")
	_, text, _ = strings.Cut(text, "\n")
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSpace(line))
	}
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if n := len(server.commands); n != 0 {
		t.Errorf("%d commands were sent", n)
	}
}

// A step whose expressions cannot be evaluated ends a run, and an explanation says so.
func TestExplainFailures(t *testing.T) {
	server := newFakeServer()
	actions := server.actions()
	set := loadText(t, actions, `
playbook: p
mode: observe
steps:
  - {id: each, for_each: "[1, \"a\", 3]", do: fake.once, with: {n: "${{ .item + 1 }}"}, on_error: continue}
  - {id: seen, do: fake.once, with: {states: "${{ [.steps.each[].state] }}"}}
  - {id: look, do: fake.read}
  - id: both
    parallel:
      - {id: left, do: fake.once, with: {x: "${{ .steps.look.output }}"}, on_error: [{id: open, do: fake.once}]}
      - [{id: right, do: fake.repeat, if: .alert.id + 1, on_error: [{id: sorry, do: fake.repeat, with: {e: "${{ .steps.right.error }}"}}]}, {id: gone, do: fake.once}]
  - {id: after, do: fake.once, on_error: [{id: never, do: fake.once}]}
finally: [{id: last, do: fake.repeat, with: {failed: "${{ .run.error != null }}"}}]
`)
	x, err := Explain(t.Context(), set.Get("p"), testAlert("1"), actions)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range x.Steps {
		got = append(got, fmt.Sprint(s.ID, " ", s.Plan, " ", s.With))
	}
	want := []string{
		"each group map[]", "each[0] observed map[n:2]", "each[1] fails map[]", "each[2] observed map[n:4]",
		"seen observed map[states:[observed failed observed]]", "look reads map[]", "both group map[]", "left unknown map[]", "open on failure map[]",
		"right fails map[]", `sorry observed map[e:if: cannot add: string ("1") and number (1)]`, "gone not reached map[]",
		"after not reached map[]", "never not reached map[]", "last observed map[failed:true]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What an explanation says would be sent is what a run in observe mode would have
// sent, step by step, with the same arguments.
func TestExplainAndObserveAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		set := loadText(t, actions, `
playbook: p
mode: observe
vars: {paths: [a, b, c]}
steps:
  - {id: each, for_each: .vars.paths, max_parallel: 2, do: fake.once, with: {path: "${{ .item }}", host: "${{ .alert.host.name }}"}}
  - parallel:
      - {id: left, do: fake.repeat, with: {x: 1}}
      - [{id: right, if: "false", do: fake.repeat}, {id: further, do: fake.repeat, with: {id: "${{ .alert.id }}"}}]
  - {id: sub, for_each: "[7, 8]", call: q, with: {what: "${{ .item }}"}}
finally: [{id: last, do: fake.repeat, with: {mode: "${{ .run.mode }}"}}]
`, `
playbook: q
match: {all: [{never: "false"}]}
enrich: {look: {do: fake.read, with: {x: "${{ .vars.what }}"}}}
vars: {what: nothing}
steps: [{id: hit, do: fake.repeat, with: {a: "${{ .vars.what }}", b: "${{ .enrich.look.with.x }}"}}]
finally: [{id: after, do: fake.once}]
`)
		_, stop := running(t, j, actions, set, EngineOptions{})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		stop()
		run := j.all()[0]
		entries, _ := j.Entries(t.Context(), run.ID)
		observed := map[string]string{}
		for _, e := range entries {
			if result := j.result(t, run.ID, e.Step); result.State == soar.StepObserved && len(result.With)+len(result.Action) > 0 && e.Kind == soar.EntryDecision {
				observed[e.Step] = fmt.Sprint(result.With)
			}
		}
		x, err := Explain(t.Context(), set.Get("p"), testAlert("1"), actions)
		if err != nil {
			t.Fatal(err)
		}
		planned := map[string]string{}
		for _, s := range x.Steps {
			if strings.HasPrefix(s.Words, "is not sent") {
				planned[s.ID] = fmt.Sprint(s.With)
			}
		}
		delete(observed, "") // the start of the run
		if run.State != soar.RunDone || len(planned) != 10 || !maps.Equal(observed, planned) {
			t.Errorf("run %s\nobserved %v\nplanned  %v", run.State, observed, planned)
		}
	})
}

// An action that refuses its arguments makes no call, and its step fails, as in a run.
func TestPlanOfRefusedArguments(t *testing.T) {
	const text = `playbook: p
mode: %s
steps:
  - id: look
    do: fake.read
    with: {h: "${{ .alert.event.nme }}"}
    on_error: continue
  - id: act
    do: fake.once
    with: {h: "${{ .alert.event.nme }}"}
  - id: last
    do: fake.tell
    with: {t: never}
`
	actions := newFakeServer().actions()
	for _, name := range []string{"fake.read", "fake.once"} {
		actions[name] = picky{actions[name]}
	}
	for mode, want := range map[string][]Plan{
		"enforce": {PlanFails, PlanFails, PlanLeftOut},
		"observe": {PlanFails, PlanObserved, PlanSent},
	} {
		pb, problems := Parse("p.yaml", []byte(strings.Replace(text, "%s", mode, 1)), actions)
		if problems != nil {
			t.Fatal(problems)
		}
		x, err := Explain(t.Context(), pb, soar.Alert{Server: "er", ID: "1"}, actions)
		if err != nil {
			t.Fatal(err)
		}
		var got []Plan
		for _, s := range x.Steps {
			got = append(got, s.Plan)
		}
		if !slices.Equal(got, want) || x.Steps[0].Words != "fails: h is empty" {
			t.Errorf("%s: %v, want %v\n%s", mode, got, want, x.Text())
		}
	}
}

// picky refuses an argument h that is null.
type picky struct{ Action }

func (a picky) Check(file string, step StepSource) (problems registry.Problems) {
	if string(step.With["h"]) == "null" {
		problems.Addf(step.At, "argument", "", "h is empty")
	}
	return append(problems, a.Action.Check(file, step)...)
}

package playbooks

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Keys that stand in each other mean the same as alone.
func TestCombinations(t *testing.T) {
	inner := `
playbook: inner
on: manual
vars: {n: 0, bad: 2}
steps:
  - parallel:
      - {id: a, for_each: "[range(.vars.n)]", max_parallel: 3, do: fake.slow, with: {a: "${{ \"\\($vars.n)a\\(.item)\" }}"}}
      - - {id: b, do: fake.slow, with: {a: "${{ if .vars.n == .vars.bad then \"bad\" else \"\\(.vars.n)b\" end }}"}, on_error: [{id: hb, do: fake.slow, with: {a: "${{ .vars.n }}hb"}}]}
        - {id: c, do: fake.slow, with: {a: "${{ .vars.n }}c"}}
finally:
  - {id: end, do: fake.slow, with: {a: "${{ .vars.n }}end${{ .steps.hb.state }}"}}
`
	for _, tt := range []struct {
		name, text, err, calls string
	}{
		{"items that call groups of items, one of which fails", `
steps:
  - {id: all, for_each: "[1, 2, 3]", max_parallel: 3, call: inner, with: {n: "${{ .item }}"}, on_error: continue}
  - {do: fake.slow, with: {a: "${{ .steps.all | map(\"\\(.state) \\(.output.a | length? // 0) \\(.output.c.state)\") | join(\"; \") }}"}}`,
			"", "1a0 1b 1c 1end 2a0 2a1 2endexecuted 2hb 3a0 3a1 3a2 3b 3c 3end bad executed 1 executed; failed 2 null; executed 3 executed"},
		{"a call in on_error in finally", `
steps: [{do: fake.slow, with: {a: bad1}}]
finally:
  - {id: f, do: fake.slow, with: {a: bad2}, on_error: [{id: again, call: inner, with: {n: 1}}, {do: fake.slow, with: {a: "${{ .steps.again.output.end.state }} ${{ .run.error }}"}}]}
  - {do: fake.slow, with: {a: last}}`,
			"step step1: bad1 is bad", "1a0 1b 1c 1end bad1 bad2 executed step step1: bad1 is bad last"},
		{"conditions on what was skipped", `
steps:
  - {id: no, if: "false", do: fake.slow}
  - {id: none, if: "false", for_each: "[1]", do: fake.slow}
  - {id: group, if: "false", parallel: [{id: in, do: fake.slow}]}
  - {id: called, if: "false", call: inner}
  - {if: '.steps.no.state == "skipped" and .steps.no.output == null and .steps.none == [] and .steps.in == null and .steps.called.output.a == null', do: fake.slow, with: {a: so}}`,
			"", "so"},
		{"no items in branches, of a call, in a call", `
steps:
  - parallel: [{id: x, for_each: "[]", call: inner}, [{id: y, call: inner, with: {n: 0}}]]
  - {do: fake.slow, with: {a: "${{ .steps.x | tojson }} ${{ .steps.y.output.a | tojson }}"}}`,
			"", "0b 0c 0end [] []"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := runFlow(t, EngineOptions{}, "playbook: p"+tt.text, inner)
				if f.run.Error != tt.err || (tt.err == "") != (f.run.State == soar.RunDone) || f.sorted() != tt.calls {
					t.Errorf("run %s (%s)\n got %s\nwant %s", f.run.State, f.run.Error, f.sorted(), tt.calls)
				}
			})
		})
	}
}

// A run comes to no more than so many steps, also by calls.
func TestCallsOfManyItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, actions := newMemJournal(), newFakeServer().actions()
		many := "playbook: q\non: manual\nsteps:\n" + strings.Repeat("  - {if: \"false\", do: fake.repeat}\n", 30)
		_, stop := running(t, j, actions, loadText(t, actions, "playbook: p\nsteps: [{id: all, for_each: '[range(1000)]', max_parallel: 100, call: q}]", many), EngineOptions{})
		j.put(t, testAlert("1"))
		time.Sleep(time.Hour)
		stop()
		if run := j.all()[0]; run.State != soar.RunFailed || !strings.HasSuffix(run.Error, "the run would come to more than 10000 steps") {
			t.Errorf("run %s: %s", run.State, run.Error)
		}
	})
}

// An evaluation that is cut short because the engine stops is no failure: nothing is
// recorded of the step, and the next start evaluates it again.
func TestEvaluationCutShort(t *testing.T) {
	actions := newFakeServer().actions()
	for _, step := range []string{
		`{do: fake.repeat, if: '[range(9)] | length > 3'}`,
		`{do: fake.repeat, with: {a: '${{ [range(9)] }}'}}`,
		`{do: fake.repeat, for_each: '[range(9)]'}`,
		`{do: fake.repeat, for_each: '[1]', if: '[range(9)] | length > 3'}`,
		`{parallel: [{do: fake.repeat}], if: '[range(9)] | length > 3'}`,
		`{call: q, if: '[range(9)] | length > 3'}`,
		`{call: q, with: {a: '${{ [range(9)] }}'}}`,
	} {
		t.Run(step, func(t *testing.T) {
			set := loadText(t, actions, "playbook: p\nsteps: ["+step+"]", "playbook: q\non: manual\nvars: {a: 1}\nsteps: [{do: fake.repeat}]")
			for looks := range 12 { // at the context, until it ends
				e, err := NewEngine(newMemJournal(), actions, set, EngineOptions{})
				if err != nil {
					t.Fatal(err)
				}
				alert := testAlert("1")
				r := e.newRunner(soar.Run{ID: soar.NewRunID(time.Now()), State: soar.RunRunning, Mode: soar.ModeEnforce}, set.Get("p"), &alert, map[string]any{}, newFindings(nil))
				r.calls["q"] = set.Get("q")
				r.advance(&endsLater{Context: t.Context(), left: looks})
				if r.run.State != soar.RunRunning || len(r.results) > 0 {
					t.Errorf("after %d looks: run %s (%s), %d results", looks, r.run.State, r.run.Error, len(r.results))
				}
				r.advance(t.Context())
				if len(r.ready) == 0 || r.open[r.ready[0].key] == nil || !r.open[r.ready[0].key].planned {
					t.Errorf("after %d looks: the next start does not go on: %v", looks, r.ready)
				}
			}
		})
	}
}

// endsLater is a context that ends after it was asked so many times whether it has.
type endsLater struct {
	context.Context
	left int
}

func (c *endsLater) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// Each item has attempts of its own, and the time of a step is that of one item.
func TestItemsTryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		server.add(actions, "fake.item", Once, func(_ context.Context, call Call) (Outcome, error) {
			if !strings.Contains(call.Step, "#") { // of each item, the first call fails before anything has happened
				return Outcome{}, ErrTransient
			}
			return Outcome{State: soar.StepExecuted, Ref: server.take("fake.item", call)}, nil
		})
		_, stop := running(t, j, actions, loadText(t, actions, `
playbook: p
steps:
  - {id: each, for_each: "[range(1000)]", max_parallel: 50, do: fake.item, timeout: 1m, retry: {attempts: 2, delay: 1s}}
  - {do: fake.repeat, with: {n: "${{ .steps.each | map(select(.state == \"executed\")) | length }}"}}
`), EngineOptions{})
		j.put(t, testAlert("1"))
		time.Sleep(time.Hour)
		stop()
		if got := server.done("fake.repeat"); len(got) != 1 || fmt.Sprint(got[0].with["n"]) != "1000" || len(server.done("fake.item")) != 1000 {
			t.Errorf("found %v, %s", got, stateOf(j.all()))
		}
	})
}

// Calls may be as deep as the limit, each with its own variables and results.
func TestDeepCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		texts := []string{"playbook: p\nvars: {n: 0}\nsteps:\n  - {id: x, call: p1, with: {n: 1}}\n  - {do: fake.slow, with: {a: \"${{ .steps.x.output.x.output.x.output.y.state }}\"}}"}
		for i := 1; i < maxCallDepth; i++ {
			texts = append(texts, fmt.Sprintf("playbook: p%d\non: manual\nvars: {n: 0}\nsteps:\n  - {id: x, call: p%d, with: {n: \"${{ .vars.n + 1 }}\"}}\n  - {id: y, do: fake.slow, with: {a: \"${{ .vars.n }}${{ .steps.x.state }}\"}}", i, i+1))
		}
		texts = append(texts, fmt.Sprintf("playbook: p%d\non: manual\nvars: {n: 0}\nsteps: [{id: y, do: fake.slow, with: {a: \"${{ .vars.n }}\"}}]", maxCallDepth))
		f := runFlow(t, EngineOptions{}, texts...)
		if got := strings.Join(f.calls, " "); got != "8 7executed 6executed 5executed 4executed 3executed 2executed 1executed executed" || f.run.State != soar.RunDone {
			t.Errorf("run %s (%s): %s", f.run.State, f.run.Error, got)
		}
	})
}

// What the message says of a bound is what holds.
func TestShortestTimeout(t *testing.T) {
	actions := newFakeServer().actions()
	for text, ok := range map[string]bool{"0s": false, "999ms": false, "1s": true, "30d": true, "31d": false} {
		_, problems := Parse("p.yaml", []byte("playbook: p\nsteps: [{do: fake.repeat, timeout: "+text+"}]"), actions)
		if (len(problems) == 0) != ok {
			t.Errorf("timeout: %s: %v", text, problems)
		}
	}
}

package playbooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// flow runs playbooks on one alert to the end and tells what was done, in order, by
// the argument a of each call.
type flow struct {
	mu      sync.Mutex
	calls   []string
	atOnce  int
	most    int
	took    time.Duration // of every fake.slow
	journal *memJournal
	run     soar.Run
	lasted  time.Duration
}

func (f *flow) do(ctx context.Context, call Call) (Outcome, error) {
	a, _ := asText(call.With["a"])
	f.mu.Lock()
	f.calls = append(f.calls, a)
	f.atOnce++
	f.most = max(f.most, f.atOnce)
	f.mu.Unlock()
	if a == "badly" {
		pause(ctx, time.Second)
	} else {
		pause(ctx, f.took)
	}
	f.mu.Lock()
	f.atOnce--
	f.mu.Unlock()
	if strings.HasPrefix(a, "bad") {
		return Outcome{}, errors.New(a + " is bad")
	}
	return Outcome{State: soar.StepExecuted, Output: map[string]any{"said": a}}, nil
}

func runFlow(t *testing.T, o EngineOptions, texts ...string) *flow {
	t.Helper()
	f := &flow{took: time.Minute, journal: newMemJournal()}
	actions := f.actions()
	o.CallTimeout = time.Hour
	_, stop := running(t, f.journal, actions, loadText(t, actions, texts...), o)
	began := time.Now()
	f.journal.put(t, testAlert("1"))
	time.Sleep(12 * time.Hour)
	stop()
	runs := f.journal.all()
	if len(runs) != 1 {
		t.Fatalf("%d runs, verdict %q", len(runs), f.journal.verdict(0, "p"))
	}
	f.run, f.lasted = runs[0], runs[0].EndedAt.Sub(began)
	return f
}

func (f *flow) actions() map[string]Action {
	server := newFakeServer()
	actions := server.actions()
	server.add(actions, "fake.slow", Repeatable, f.do)
	server.add(actions, "fake.say", Reads, func(ctx context.Context, call Call) (Outcome, error) {
		call.With["a"] = fmt.Sprintf("%v", call.With["a"])
		return f.do(ctx, call)
	})
	server.add(actions, "fake.maybe", Once, func(_ context.Context, call Call) (Outcome, error) {
		a, _ := asText(call.With["a"])
		f.mu.Lock()
		defer f.mu.Unlock()
		f.calls = append(f.calls, a)
		return Outcome{}, ErrUncertain
	})
	return actions
}

// sorted is what was called, in an order of its own.
func (f *flow) sorted() string {
	calls := slices.Clone(f.calls)
	slices.Sort(calls)
	return strings.Join(calls, " ")
}

func TestFlow(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		state      soar.RunState
		err        string
		calls      string // in order
		lasted     time.Duration
		most       int
	}{
		{"items one after the other", `
steps:
  - {id: each, for_each: "[1, 2, 3]", do: fake.slow, with: {a: "${{ .item }}"}}
  - {do: fake.slow, with: {a: "${{ .steps.each | map(.output.said) | join(\"+\") }}"}}`,
			soar.RunDone, "", "1 2 3 1+2+3", 4 * time.Minute, 1},
		{"items two at a time", `
steps: [{for_each: "[1, 2, 3, 4, 5]", max_parallel: 2, do: fake.slow, with: {a: "${{ .item }}"}}]`,
			soar.RunDone, "", "1 2 3 4 5", 3 * time.Minute, 2},
		{"no items", `
steps:
  - {id: each, for_each: "[]", do: fake.slow}
  - {do: fake.slow, with: {a: "${{ .steps.each | length }}"}}`,
			soar.RunDone, "", "0", time.Minute, 1},
		{"items of a step that is not wanted", `
steps:
  - {id: each, if: "false", for_each: .alert.host.name, do: fake.slow}
  - {do: fake.slow, with: {a: "${{ .steps.each | tojson }}"}}`,
			soar.RunDone, "", "[]", time.Minute, 1},
		{"no list", `
steps: [{id: each, for_each: .alert.host.name, do: fake.slow}]`,
			soar.RunFailed, `step each: for_each: expected a list, found "pc-1"`, "", 0, 0},
		{"too many items", `
steps: [{id: each, for_each: "[range(1001)]", do: fake.slow}]`,
			soar.RunFailed, `step each: for_each: 1001 items, the limit is 1000`, "", 0, 0},
		{"an item fails", `
steps:
  - {id: each, for_each: '[1, "bad", 3, 4]', do: fake.slow, with: {a: "${{ .item }}"}}
  - {do: fake.slow, with: {a: never}}`,
			soar.RunFailed, "step each: item 1: bad is bad", "1 bad", 2 * time.Minute, 1},
		{"an item fails beside others", `
steps: [{id: each, for_each: '["badly", 1, 2, 3]', max_parallel: 2, do: fake.slow, with: {a: "${{ .item }}"}}]`,
			soar.RunFailed, "step each: item 0: badly is bad", "1 badly", time.Minute, 2},
		{"items go on after a failure", `
steps:
  - {id: each, for_each: '["bad1", 2, "bad3", 4]', do: fake.slow, with: {a: "${{ .item }}"}, on_error: continue}
  - {do: fake.slow, with: {a: "${{ .steps.each | map(.state) | join(\",\") }}"}}`,
			soar.RunDone, "", "bad1 2 bad3 4 failed,executed,failed,executed", 5 * time.Minute, 1},
		{"what follows failed items", `
steps:
  - id: each
    for_each: '[1, "bad", 3]'
    do: fake.slow
    with: {a: "${{ .item }}"}
    on_error: [{do: fake.slow, with: {a: "${{ .steps.each | length }} ${{ .run.error }}"}}]`,
			soar.RunFailed, "step each: item 1: bad is bad", "1 bad 2 step each: item 1: bad is bad", 3 * time.Minute, 1},
		{"an argument of an item cannot be evaluated", `
steps: [{id: each, for_each: '[1, {}, 3]', do: fake.slow, with: {a: "${{ .item + 1 }}"}}]`,
			soar.RunFailed, "step each: item 1: with: a: cannot add: object ({}) and number (1)", "2", time.Minute, 1},
		{"side by side", `
steps:
  - id: both
    parallel:
      - {id: one, do: fake.slow, with: {a: 1}}
      - - {id: two, do: fake.slow, with: {a: 2}}
        - {id: three, do: fake.slow, with: {a: "3 after ${{ .steps.two.output.said }}"}}
  - {do: fake.slow, with: {a: "${{ .steps.one.output.said + .steps.three.output.said + .steps.both.state }}"}}`,
			soar.RunDone, "", "1 2 3 after 2 13 after 2executed", 3 * time.Minute, 2},
		{"a branch fails", `
steps:
  - id: both
    parallel:
      - {id: one, do: fake.slow, with: {a: bad}}
      - - {id: two, do: fake.slow, with: {a: 2}}
        - {id: three, do: fake.slow, with: {a: 3}}
  - {do: fake.slow, with: {a: never}}`,
			soar.RunFailed, "step both: step one: bad is bad", "2 3 bad", 2 * time.Minute, 2},
		{"a branch fails and the run goes on", `
steps:
  - id: both
    on_error: continue
    parallel: [{id: one, do: fake.slow, with: {a: bad}}, {id: two, do: fake.slow, with: {a: 2}}]
  - {do: fake.slow, with: {a: "then ${{ .steps.both.error }}"}}`,
			soar.RunDone, "", "2 bad then step one: bad is bad", 2 * time.Minute, 2},
		{"groups in groups", `
steps:
  - parallel:
      - {id: each, for_each: "[1, 2]", max_parallel: 2, do: fake.slow, with: {a: "${{ .item }}"}}
      - parallel: [{do: fake.slow, with: {a: 3}}, {do: fake.slow, with: {a: 4}}]
  - {do: fake.slow, with: {a: "${{ .steps.each | length }}"}}`,
			soar.RunDone, "", "1 2 2 3 4", 2 * time.Minute, 4},
		{"a group that is not wanted", `
steps: [{id: both, if: "false", parallel: [{do: fake.slow}, {do: fake.slow}]}, {do: fake.slow, with: {a: "${{ .steps.both.state }}"}}]`,
			soar.RunDone, "", "skipped", time.Minute, 1},
		{"finally after all went well", `
steps: [{id: a, do: fake.slow, with: {a: 1}}]
finally: [{do: fake.slow, with: {a: "last ${{ .steps.a.state }} ${{ .run.error }}"}}]`,
			soar.RunDone, "", "1 last executed ", 2 * time.Minute, 1},
		{"finally after a failure", `
steps: [{id: a, do: fake.slow, with: {a: bad}, on_error: [{id: h, do: fake.slow, with: {a: handled}}]}, {do: fake.slow, with: {a: never}}]
finally: [{do: fake.slow, with: {a: "last ${{ .steps.h.state }} ${{ .run.error }}"}}]`,
			soar.RunFailed, "step a: bad is bad", "bad handled last executed step a: bad is bad", 3 * time.Minute, 1},
		{"finally goes on after its own failure", `
steps: [{id: a, do: fake.slow, with: {a: 1}}]
finally: [{id: b, do: fake.slow, with: {a: bad}}, {do: fake.slow, with: {a: 3}}]`,
			soar.RunFailed, "step b: bad is bad", "1 bad 3", 3 * time.Minute, 1},
		{"finally in observe mode", `
mode: observe
steps: [{for_each: "[1, 2]", do: fake.slow, with: {a: "${{ .item }}"}}, {do: fake.say, with: {a: read}}]
finally: [{parallel: [{do: fake.slow}, {do: fake.say, with: {a: too}}]}]`,
			soar.RunDone, "", "read too", 2 * time.Minute, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := runFlow(t, EngineOptions{}, "playbook: p"+tt.text)
				calls := strings.Join(f.calls, " ")
				if tt.most > 1 { // what is side by side has no order
					calls, tt.calls = f.sorted(), sortedWords(tt.calls, f.calls)
				}
				if f.run.State != tt.state || f.run.Error != tt.err || calls != tt.calls || f.lasted != tt.lasted || f.most != tt.most {
					t.Errorf("run %s after %s, %q\ncalls %s, %d at once\nwant %s after %s, %q\ncalls %s, %d at once",
						f.run.State, f.lasted, f.run.Error, calls, f.most, tt.state, tt.lasted, tt.err, tt.calls, tt.most)
				}
			})
		})
	}
}

// sortedWords is the wanted text in the order of flow.sorted, if it is made of the
// same calls.
func sortedWords(want string, calls []string) string {
	rest := want
	var found []string
	for _, c := range calls {
		if strings.Contains(rest, c) {
			rest, found = strings.Replace(rest, c, "", 1), append(found, c)
		}
	}
	if strings.TrimSpace(rest) != "" {
		return want
	}
	slices.Sort(found)
	return strings.Join(found, " ")
}

const calledBook = `
playbook: q
match: {all: [{never: "false"}]}
cooldown: {key: '""', for: 1h}
enrich: {read: {do: fake.read, with: {x: "${{ .vars.what }}"}}}
vars: {what: nothing, other: stays}
steps:
  - {id: hit, do: fake.slow, with: {a: "${{ .vars.what }} ${{ $vars.other }} ${{ .enrich.read.with.x }}"}}
finally:
  - {do: fake.slow, with: {a: "after ${{ .steps.hit.state }}"}}
`

func TestCall(t *testing.T) {
	for _, tt := range []struct {
		name, text, other string
		state             soar.RunState
		err, calls        string
	}{
		{"its steps, not its conditions", `{id: sub, call: q, with: {what: "${{ .alert.id }}"}}`, calledBook,
			soar.RunDone, "", "1 stays 1|after executed|executed executed"},
		{"its failure is the step's", `{id: sub, call: q, with: {what: bad}}`, calledBook,
			soar.RunFailed, "step sub: step hit: bad stays bad is bad", "bad stays bad|after failed"},
		{"its failure, and the run goes on", `{id: sub, call: q, with: {what: bad}, on_error: continue}`, calledBook,
			soar.RunDone, "", "bad stays bad|after failed|failed failed"},
		{"not wanted", `{id: sub, call: q, if: "false"}`, calledBook, soar.RunDone, "", "skipped "},
		{"arguments that fail", `{id: sub, call: q, with: {what: "${{ 1 + {} }}"}}`, calledBook,
			soar.RunFailed, "step sub: with: what: cannot add: number (1) and object ({})", ""},
		{"it only observes", `{id: sub, call: q}`, strings.Replace(calledBook, "match:", "mode: observe\nmatch:", 1),
			soar.RunDone, "", "executed observed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := runFlow(t, EngineOptions{}, tt.other, "playbook: p\nsteps:\n  - "+tt.text+
					"\n  - {do: fake.say, with: {a: \"${{ .steps.sub.state }} ${{ .steps.sub.output.hit.state }}\"}}")
				if calls := strings.Join(f.calls, "|"); f.run.State != tt.state || f.run.Error != tt.err || calls != tt.calls {
					t.Errorf("run %s, %q, calls %s\nwant %s, %q, calls %s", f.run.State, f.run.Error, calls, tt.state, tt.err, tt.calls)
				}
			})
		})
	}
}

// A playbook is called for each item, two at a time, and every instance has a key of
// its own in the journal.
func TestCallForEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := runFlow(t, EngineOptions{}, calledBook, `
playbook: p
steps:
  - {id: sub, for_each: "[1, 2, 3]", max_parallel: 2, call: q, with: {what: "${{ .item }}"}}
  - {do: fake.slow, with: {a: "${{ .steps.sub | map(.output.hit.output.said) | join(\"+\") }}"}}
`)
		if f.run.State != soar.RunDone || f.most != 2 || f.lasted != 5*time.Minute || !slices.Contains(f.calls, "1 stays 1+2 stays 2+3 stays 3") {
			t.Errorf("run %s (%s) after %s, %d at once, calls %q", f.run.State, f.run.Error, f.lasted, f.most, f.calls)
		}
		for i := range 3 {
			key := fmt.Sprintf("sub[%d]/hit", i)
			if got := f.journal.result(t, f.run.ID, key); got.State != soar.StepExecuted {
				t.Errorf("%s ended %+v", key, got)
			}
		}
	})
}

// A run keeps the version of what it calls, over a reload and over a restart.
func TestCalledVersionIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flow{took: time.Hour, journal: newMemJournal()}
		actions := f.actions()
		const caller = "playbook: p\nsteps: [{do: fake.slow, timeout: 5h, with: {a: first}}, {call: q}]"
		const callee = "playbook: q\nmatch: {all: [{never: \"false\"}]}\nsteps: [{for_each: '[1, 2]', do: fake.slow, timeout: 5h, with: {a: %s}}]"
		before := loadText(t, actions, caller, fmt.Sprintf(callee, "old"))
		after := loadText(t, actions, caller, fmt.Sprintf(callee, "new"))
		e, stop := running(t, f.journal, actions, before, EngineOptions{CallTimeout: 2 * time.Hour, Drain: 3 * time.Hour})
		f.journal.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		e.Reload(after)
		time.Sleep(90 * time.Minute) // the first item is under way
		stop()
		_, stop = running(t, f.journal, actions, after, EngineOptions{CallTimeout: 2 * time.Hour})
		time.Sleep(12 * time.Hour)
		stop()
		if got := strings.Join(f.calls, " "); got != "first old old" || stateOf(f.journal.all()) != "done" {
			t.Errorf("calls %s, runs %s", got, stateOf(f.journal.all()))
		}
	})
}

// A playbook that calls one which is not there does not run; it can come about only
// where playbooks are put together by hand.
func TestCallOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flow{journal: newMemJournal()}
		actions := f.actions()
		pb, problems := Parse("p.yaml", []byte("playbook: p\nsteps: [{id: sub, call: q}]"), actions)
		if problems != nil {
			t.Fatal(problems)
		}
		_, stop := running(t, f.journal, actions, NewSet(pb), EngineOptions{})
		f.journal.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		stop()
		if v := f.journal.verdict(0, "p"); v != `error: step sub of p calls playbook "q", which is not loaded` {
			t.Errorf("verdict %q", v)
		}
	})
}

// However many instances runs have, they share the workers: no more calls are under
// way at once than there are workers, and none waits for ever.
func TestInstancesShareWorkers(t *testing.T) {
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &flow{took: time.Minute, journal: newMemJournal()}
				actions := f.actions()
				set := loadText(t, actions, "playbook: p\nsteps: [{for_each: '[range(5)]', max_parallel: 5, do: fake.slow, with: {a: \"${{ .item }}\"}}]")
				_, stop := running(t, f.journal, actions, set, EngineOptions{Workers: workers, Evaluations: 3, CallTimeout: time.Hour})
				f.journal.put(t, testAlert("1"), testAlert("2"), testAlert("3"))
				time.Sleep(time.Hour)
				stop()
				if len(f.calls) != 15 || f.most != workers || stateOf(f.journal.all()) != "done done done" {
					t.Errorf("%d calls, %d at once, runs %s", len(f.calls), f.most, stateOf(f.journal.all()))
				}
			})
		})
	}
}

// Instances that wait for their hosts hold no worker: another run goes on meanwhile.
func TestWaitingInstancesHoldNoWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		server.executedAfter, server.pollAfter = 10, time.Minute
		actions := server.actions()
		set := loadText(t, actions, `
playbook: p
steps: [{for_each: "[1, 2, 3]", max_parallel: 3, do: fake.marked, timeout: 1h, with: {a: "${{ .item }}"}}]`)
		_, stop := running(t, j, actions, set, EngineOptions{Workers: 1})
		j.put(t, testAlert("1"))
		time.Sleep(time.Second)
		if got := stateOf(j.all()); got != "waiting" || len(server.done("fake.marked")) != 3 {
			t.Errorf("runs %s, %d commands", got, len(server.done("fake.marked")))
		}
		j.put(t, testAlert("2"))
		time.Sleep(time.Second)
		if n := len(server.done("fake.marked")); n != 6 {
			t.Errorf("%d commands while the first run waits", n)
		}
		time.Sleep(time.Hour)
		stop()
		if got := stateOf(j.all()); got != "done done" {
			t.Errorf("runs %s", got)
		}
	})
}

// The delay of one instance does not hold up another, nor is it cut short by it.
func TestRetryOfOneInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		began := time.Now()
		at := map[string][]time.Duration{}
		var mu sync.Mutex
		server.add(actions, "fake.flaky", Repeatable, func(_ context.Context, call Call) (Outcome, error) {
			mu.Lock()
			defer mu.Unlock()
			at[call.Step] = append(at[call.Step], time.Since(began))
			if call.Step == "each[0]" {
				return Outcome{}, ErrTransient
			}
			return Outcome{State: soar.StepAccepted, Ref: server.take("fake.flaky", call), PollAfter: 7 * time.Second}, nil
		})
		set := loadText(t, actions, `
playbook: p
steps: [{id: each, for_each: "[0, 1]", max_parallel: 2, do: fake.flaky, retry: {attempts: 2, delay: 1m}}]`)
		_, stop := running(t, j, actions, set, EngineOptions{})
		j.put(t, testAlert("1"))
		time.Sleep(time.Hour)
		stop()
		if got := fmt.Sprint(at); got != "map[each[0]:[0s] each[0]#2:[1m0s] each[1]:[0s]]" || stateOf(j.all()) != "done" {
			t.Errorf("calls %s, runs %s", got, stateOf(j.all()))
		}
	})
}

// An item that nobody can tell of holds the run: what is under way goes to its end,
// nothing else begins, and finally waits for whoever settles it.
func TestUnknownItemHoldsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flow{took: time.Minute, journal: newMemJournal()}
		actions := f.actions()
		set := loadText(t, actions, `
playbook: p
steps:
  - parallel:
      - {id: each, for_each: "[1, 2, 3]", max_parallel: 2, do: fake.maybe, with: {a: "${{ .item }}"}}
      - - {do: fake.slow, timeout: 5h, with: {a: beside}}
        - {do: fake.slow, with: {a: "after ${{ .steps | length }}"}}
finally: [{do: fake.slow, with: {a: last}}]`)
		f.took = 20 * time.Minute
		e, stop := running(t, f.journal, actions, set, EngineOptions{CallTimeout: 30 * time.Minute, SettleFor: time.Hour})
		f.journal.put(t, testAlert("1"))
		time.Sleep(3 * time.Hour)
		run := f.journal.all()[0]
		if run.State != soar.RunUnknown || len(f.journal.events(soar.EventTrouble)) != 2 || run.Error != "step each[0]: the answer was lost, and the server keeps no list to look it up in" {
			t.Fatalf("run %+v, %d times trouble", run, len(f.journal.events(soar.EventTrouble)))
		}
		if err := e.Settle(t.Context(), run.ID, "each", true, "ann", ""); !errors.Is(err, ErrNotUnknown) {
			t.Errorf("settling the group: %v", err)
		}
		if err := e.Settle(t.Context(), run.ID, "each[0]", true, "ann", "saw it"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if run = f.journal.all()[0]; run.State != soar.RunUnknown || slices.Contains(f.calls, "last") || slices.Contains(f.calls, "3") {
			t.Fatalf("run %+v with one item still in doubt, calls %q", run, f.calls)
		}
		if err := e.Settle(t.Context(), run.ID, "each[1]", false, "ann", "did not"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		stop()
		run = f.journal.all()[0]
		if run.State != soar.RunFailed || f.calls[len(f.calls)-1] != "last" || slices.Contains(f.calls, "3") || len(f.journal.events(soar.EventRunFinished)) != 1 {
			t.Errorf("run %+v, calls %q", run, f.calls)
		}
		if run.Error != "step step1: step each: item 1: settled by ann: it did not happen" {
			t.Errorf("run error %q", run.Error)
		}
	})
}

// While a call like the lost one is under way beside it, nobody knows yet whose the
// command is that a look-up would find.
func TestLookUpWaitsForCallsBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		hit := server.add(actions, "fake.hit", Once, func(ctx context.Context, call Call) (Outcome, error) {
			if call.Step == "early" && server.called("fake.hit") == 1 {
				return Outcome{}, fmt.Errorf("%w: connection reset", ErrUncertain) // it never arrived
			}
			ref := server.take("fake.hit", call)
			pause(ctx, 55*time.Second)
			return Outcome{State: soar.StepAccepted, Ref: ref, PollAfter: time.Second}, nil
		})
		hit.list = true
		server.add(actions, "fake.slow", Reads, func(ctx context.Context, _ Call) (Outcome, error) {
			pause(ctx, 30*time.Second)
			return Outcome{State: soar.StepExecuted}, nil
		})
		set := loadText(t, actions, `
playbook: p
steps:
  - parallel:
      - {id: early, do: fake.hit, timeout: 1h, with: {a: "1"}}
      - [{do: fake.slow}, {id: late, do: fake.hit, timeout: 1h, with: {a: "1"}}]
`)
		_, stop := running(t, j, actions, set, EngineOptions{CallTimeout: time.Minute})
		j.put(t, testAlert("1"))
		time.Sleep(time.Hour)
		stop()
		run := j.all()[0]
		early, late := j.result(t, run.ID, "early"), j.result(t, run.ID, "late")
		if run.State != soar.RunDone || late.Ref != "c1" || early.Ref != "c2" {
			t.Errorf("run %s (%s), early %+v, late %+v", run.State, run.Error, early, late)
		}
	})
}

// A run whose called playbook is no longer kept is given up; one whose versions cannot
// be read for the moment goes on.
func TestCalledVersionIsGone(t *testing.T) {
	for _, gone := range []bool{true, false} {
		t.Run(fmt.Sprint(gone), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &flow{took: time.Minute, journal: newMemJournal()}
				actions := f.actions()
				set := loadText(t, actions, "playbook: p\nsteps: [{do: fake.once, timeout: 3h, with: {a: 1}}, {call: q}]", calledBook)
				_, stop := running(t, f.journal, actions, set, EngineOptions{})
				f.journal.put(t, testAlert("1"))
				time.Sleep(time.Second / 2) // the command waits for its host
				stop()
				j := &failingVersions{memJournal: f.journal, hash: set.Get("q").Hash, err: errors.New("disk is busy"), times: 3}
				if gone {
					j.err, j.times = soar.ErrNotFound, 1000
				}
				_, stop = running(t, j, actions, NewSet(), EngineOptions{CallTimeout: time.Hour})
				time.Sleep(time.Hour)
				stop()
				want := soar.RunDone
				if gone {
					want = soar.RunFailed
				}
				if run := f.journal.all()[0]; run.State != want {
					t.Errorf("run %s (%s), want %s", run.State, run.Error, want)
				}
			})
		})
	}
}

// failingVersions cannot read one playbook version for some times.
type failingVersions struct {
	*memJournal
	hash  string
	err   error
	times int
}

func (j *failingVersions) PlaybookVersion(ctx context.Context, hash string) (soar.PlaybookVersion, error) {
	if hash == j.hash && j.times > 0 {
		j.times--
		return soar.PlaybookVersion{}, j.err
	}
	return j.memJournal.PlaybookVersion(ctx, hash)
}

// However long a call has to wait for a worker, its intent is as young as the call:
// what becomes of it, should the answer be lost, is reckoned from then.
func TestIntentIsAsYoungAsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		var mu sync.Mutex
		calls := 0
		server.add(actions, "fake.hit", Once, func(ctx context.Context, call Call) (Outcome, error) {
			entries, _ := j.Entries(t.Context(), call.Run)
			at, intents := time.Time{}, 0
			for _, e := range entries {
				if e.Step == call.Step && e.Kind == soar.EntryIntent {
					at = e.At
					intents++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if calls++; time.Since(at) > time.Second || intents > 2 {
				t.Errorf("call %d, %s: %d intents, the last %s ago", calls, call.Step, intents, time.Since(at))
			}
			pause(ctx, 4*time.Minute)
			return Outcome{State: soar.StepExecuted}, nil
		})
		set := loadText(t, actions, "playbook: p\nsteps: [{id: each, for_each: '[1, 2, 3]', max_parallel: 3, do: fake.hit, timeout: 5m, with: {a: 1}}]")
		_, stop := running(t, j, actions, set, EngineOptions{Workers: 1, Evaluations: 2, CallTimeout: 5 * time.Minute})
		j.put(t, testAlert("1"), testAlert("2"))
		time.Sleep(2 * time.Hour)
		stop()
		if calls != 6 || stateOf(j.all()) != "done done" {
			t.Errorf("%d calls, runs %s", calls, stateOf(j.all()))
		}
	})
}

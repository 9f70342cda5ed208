package playbooks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// crashBook has every kind of step. %s is the action of the step that must not
// happen twice.
const crashBook = `
playbook: p
cooldown: {key: .alert.id, for: 1h}
enrich: {x: {do: fake.read}}
steps:
  - {id: look, do: fake.read}
  - {id: repeat, do: fake.repeat, timeout: 3h, with: {look: "${{ .steps.look.output }}"}}
  - {id: once, do: %s, timeout: 3h, with: {host: "${{ .alert.host.identifier }}", a: "${{ .alert.id }}"}}
  - {id: again, do: fake.repeat, timeout: 3h}
`

// crashAt decides when a process dies: at the nth commit, before or after it is on
// disk, or at the nth call with an effect, before or after the effect.
type crashAt struct {
	n     int
	where string // commit, committed, call, called
}

// run starts an engine that dies at the given moment, and then another that does
// not. It reports whether the moment came.
func (at crashAt) run(t *testing.T, j *memJournal, server *fakeServer, actions map[string]Action, set *Set) (died bool) {
	t.Helper()
	return at.runWith(t, j, server, actions, set, func() EngineOptions { return EngineOptions{} })
}

// runWith is run with options of its own for each of the engines.
func (at crashAt) runWith(t *testing.T, j *memJournal, server *fakeServer, actions map[string]Action, set *Set, options func() EngineOptions) (died bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	die := func() {
		once.Do(func() {
			died = true
			cancel()
		})
	}
	j.fail = func(n int, _ soar.Change) (before, after error) {
		if n == at.n && at.where == "commit" || n == at.n && at.where == "committed" {
			die()
			j.down = errCrashed
			if at.where == "commit" {
				return errCrashed, nil
			}
			return nil, errCrashed
		}
		return nil, nil
	}
	dieInCall := func(where string) func(int) error {
		return func(n int) error {
			if n == at.n && where == at.where {
				j.crash()
				die()
				return errCrashed
			}
			return nil
		}
	}
	server.before, server.after = dieInCall("call"), dieInCall("called")
	first := options()
	first.Drain = time.Second
	e, err := NewEngine(j, actions, set, first)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Run(ctx)
	}()
	time.Sleep(10 * time.Minute)
	cancel()
	<-done
	j.restart()
	server.before, server.after = nil, nil
	_, stop := running(t, j, actions, set, options())
	time.Sleep(2 * time.Hour)
	stop()
	return died
}

func TestCrashEverywhere(t *testing.T) {
	for _, action := range []string{"fake.once", "fake.marked", "fake.blind"} {
		for _, where := range []string{"commit", "committed", "call", "called"} {
			t.Run(action+" "+where, func(t *testing.T) {
				moments := 0
				for n := 1; ; n++ {
					died := false
					synctest.Test(t, func(t *testing.T) {
						j, server := newMemJournal(), newFakeServer()
						server.now = time.Now
						actions := server.actions()
						set := loadText(t, actions, fmt.Sprintf(crashBook, action))
						j.put(t, testAlert("1"), testAlert("2"))
						died = crashAt{n, where}.run(t, j, server, actions, set)
						checkCrash(t, crashAt{n, where}, action, j, server)
					})
					if !died {
						break
					}
					moments++
				}
				if want := 6; moments < want {
					t.Errorf("only %d moments, expected at least %d", moments, want)
				}
			})
		}
	}
}

// flowBooks have every kind of group, and steps that must not happen twice in all of
// them. %[1]s is their action; the argument a names each of them.
var flowBooks = []string{`
playbook: p
enrich: {x: {do: fake.read}}
steps:
  - {id: look, do: fake.read}
  - id: each
    for_each: "[1, 2, 3]"
    max_parallel: 2
    do: %[1]s
    timeout: 3h
    with: {a: "${{ .alert.id }} each ${{ .item }}"}
  - parallel:
      - {id: left, do: %[1]s, timeout: 3h, with: {a: "${{ .alert.id }} left"}}
      - - {id: right, do: fake.repeat, timeout: 3h}
        - {id: further, do: %[1]s, timeout: 3h, with: {a: "${{ .alert.id }} right ${{ .steps.right.state }}"}}
  - {id: sub, for_each: "[1, 2]", max_parallel: 2, call: q, with: {what: "${{ .alert.id }} sub ${{ .item }}"}}
  - {id: bad, for_each: "[1]", do: fake.read, with: {x: "${{ 1 + {} }}"}, on_error: continue}
finally:
  - {id: last, do: %[1]s, timeout: 3h, with: {a: "${{ .alert.id }} last ${{ .steps.sub | map(.output.hit.state) | join(\" \") }}"}}
`, `
playbook: q
match: {all: [{never: "false"}]}
enrich: {y: {do: fake.read}}
vars: {what: nothing}
steps: [{id: hit, do: %[1]s, timeout: 3h, with: {a: "${{ .vars.what }}"}}]
finally: [{do: fake.repeat, timeout: 3h}]
`}

// flowCalls are what a run of flowBooks does that must not happen twice.
var flowCalls = []string{"each 1", "each 2", "each 3", "left", "right executed", "sub 1", "sub 2", "last executed executed"}

// Programs with for_each, parallel, call and finally keep the promises as well,
// whenever the process dies.
func TestCrashEverywhereInGroups(t *testing.T) {
	for _, action := range []string{"fake.once", "fake.marked", "fake.blind"} {
		for _, where := range []string{"commit", "committed", "call", "called"} {
			t.Run(action+" "+where, func(t *testing.T) {
				t.Parallel()
				moments := 0
				// How many commits there are depends on which answers come together.
				for n, missed := 1, 0; missed < 3; n++ {
					died := false
					synctest.Test(t, func(t *testing.T) {
						j, server := newMemJournal(), newFakeServer()
						server.now = time.Now
						actions := server.actions()
						set := loadText(t, actions, fmt.Sprintf(flowBooks[0], action), fmt.Sprintf(flowBooks[1], action))
						j.put(t, testAlert("1"))
						died = crashAt{n, where}.run(t, j, server, actions, set)
						checkFlowCrash(t, crashAt{n, where}, action, j, server)
					})
					if died {
						moments++
					} else {
						missed++
					}
				}
				want := 8
				if where == "call" || where == "called" {
					want = 11 // the calls with an effect
				}
				if moments < want {
					t.Errorf("only %d moments, expected at least %d", moments, want)
				}
			})
		}
	}
}

func checkFlowCrash(t *testing.T, at crashAt, action string, j *memJournal, server *fakeServer) {
	t.Helper()
	runs := j.all()
	if len(runs) != 1 || j.pending() != 0 {
		t.Fatalf("%+v: %d runs, %d pending alerts", at, len(runs), j.pending())
	}
	run := runs[0]
	happened := map[string]int{}
	for _, c := range server.done(action) {
		happened[strings.TrimPrefix(c.with["a"].(string), "1 ")]++
	}
	for _, name := range sortedNames(happened) {
		if happened[name] > 1 || !slices.Contains(flowCalls, name) {
			t.Errorf("%+v: %s happened %d times", at, name, happened[name])
		}
	}
	entries, _ := j.Entries(t.Context(), run.ID)
	unknown := 0
	results := map[string]int{}
	for _, e := range entries {
		if e.Kind != soar.EntryResult {
			continue
		}
		if results[e.Step]++; results[e.Step] > 1 {
			t.Errorf("%+v: step %s has %d results", at, e.Step, results[e.Step])
		}
		if j.result(t, run.ID, e.Step).State == soar.StepUnknown {
			unknown++
		}
	}
	switch {
	case run.State == soar.RunDone && (len(happened) != len(flowCalls) || unknown > 0):
		t.Errorf("%+v: run done, but only %v happened, %d unknown", at, happened, unknown)
	case run.State == soar.RunUnknown && (action != "fake.blind" || unknown == 0):
		t.Errorf("%+v: run unknown with %d unknown steps", at, unknown)
	case run.State != soar.RunDone && run.State != soar.RunUnknown:
		t.Errorf("%+v: run %s: %s", at, run.State, run.Error)
	}
	if trouble := len(j.events(soar.EventTrouble)); trouble != unknown {
		t.Errorf("%+v: %d times trouble, %d steps unknown", at, trouble, unknown)
	}
	if finished := len(j.events(soar.EventRunFinished)); (finished == 1) != (run.State == soar.RunDone) {
		t.Errorf("%+v: run %s: %d times run.finished", at, run.State, finished)
	}
	checkEventsOnce(t, at, j)
}

func checkEventsOnce(t *testing.T, at crashAt, j *memJournal) {
	t.Helper()
	seen := map[string]bool{}
	for _, e := range j.feed {
		if seen[e.ID] {
			t.Errorf("%+v: event %s twice", at, e.ID)
		}
		seen[e.ID] = true
	}
}

// checkCrash holds every outcome against the promise: no alert and no run is lost,
// what must not happen twice did not, and what is shown as done did happen.
func checkCrash(t *testing.T, at crashAt, action string, j *memJournal, server *fakeServer) {
	t.Helper()
	runs := j.all()
	if len(runs) != 2 || j.pending() != 0 {
		t.Fatalf("%+v: %d runs, %d pending alerts", at, len(runs), j.pending())
	}
	happened := map[string]int{}
	for _, c := range server.done(action) {
		happened[c.with["a"].(string)]++
	}
	for _, r := range runs {
		id := strings.TrimPrefix(r.Alert, "er-")
		once := j.result(t, r.ID, "once")
		switch {
		case happened[id] > 1:
			t.Errorf("%+v: alert %s: happened %d times", at, id, happened[id])
		case r.State == soar.RunDone && (happened[id] != 1 || once.State != soar.StepExecuted):
			t.Errorf("%+v: alert %s: run done, but happened %d times: %+v", at, id, happened[id], once)
		case r.State == soar.RunUnknown && action != "fake.blind":
			t.Errorf("%+v: alert %s: unknown, though the server keeps a list", at, id)
		case r.State != soar.RunDone && r.State != soar.RunUnknown:
			t.Errorf("%+v: alert %s: run %s: %s", at, id, r.State, r.Error)
		}
		finished := 0
		for _, e := range j.events(soar.EventRunFinished) {
			if e.Run.ID == r.ID {
				finished++
			}
		}
		trouble := 0
		for _, e := range j.events(soar.EventTrouble) {
			if e.Run.ID == r.ID {
				trouble++
			}
		}
		if r.State == soar.RunDone && (finished != 1 || trouble != 0) || r.State == soar.RunUnknown && (finished != 0 || trouble != 1) {
			t.Errorf("%+v: run %s: %d times run.finished, %d times trouble", at, r.State, finished, trouble)
		}
	}
	checkEventsOnce(t, at, j)
}

// Two calls without marks whose answers were lost must not take the same command.
func TestLookUpsDoNotShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		lost := 0
		var mu sync.Mutex
		server.before = func(n int) error { // the first never arrives, the answers of the others are lost
			if n == 1 {
				return fmt.Errorf("%w: connection reset", ErrUncertain)
			}
			return nil
		}
		server.after = func(n int) error {
			mu.Lock()
			defer mu.Unlock()
			if lost++; lost <= 2 {
				return fmt.Errorf("%w: connection reset", ErrUncertain)
			}
			return nil
		}
		set := loadText(t, actions, "playbook: p\nsteps: [{id: once, do: fake.once}]")
		_, stop := running(t, j, actions, set, EngineOptions{})
		j.put(t, testAlert("1"), testAlert("2"), testAlert("3"))
		time.Sleep(30 * time.Minute)
		stop()
		refs := map[string]bool{}
		for _, r := range j.all() {
			refs[j.result(t, r.ID, "once").Ref] = true
		}
		if stateOf(j.all()) != "done done done" || len(server.done("fake.once")) != 3 || len(refs) != 3 {
			t.Errorf("runs %s, %d commands, refs %v", stateOf(j.all()), len(server.done("fake.once")), refs)
		}
	})
}

// The look-up waits until the lost call can no longer be under way.
func TestLookUpWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		began, looked := time.Now(), time.Duration(0)
		actions["fake.late"] = &lateFinder{fakeAction: server.add(actions, "fake.late", Once, func(context.Context, Call) (Outcome, error) {
			return Outcome{}, ErrUncertain
		}), looked: func() { looked = time.Since(began) }}
		set := loadText(t, actions, "playbook: p\nsteps: [{id: late, do: fake.late}]")
		_, stop := running(t, j, actions, set, EngineOptions{CallTimeout: 40 * time.Second})
		j.put(t, testAlert("1"))
		time.Sleep(30 * time.Minute)
		stop()
		if looked != 40*time.Second {
			t.Errorf("looked after %s", looked)
		}
		if got := j.result(t, j.all()[0].ID, "late"); got.State != soar.StepUnknown {
			t.Errorf("late ended %+v", got)
		}
	})
}

type lateFinder struct {
	*fakeAction
	looked func()
}

func (l *lateFinder) Find(context.Context, Call, time.Time) ([]Found, error) {
	l.looked()
	return nil, ErrCannotTell
}

func TestSettle(t *testing.T) {
	for _, tt := range []struct {
		happened bool
		state    soar.RunState
		calls    int
	}{{true, soar.RunDone, 1}, {false, soar.RunFailed, 0}} {
		t.Run(fmt.Sprint(tt.happened), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				actions := server.actions()
				server.add(actions, "fake.blind", Once, func(context.Context, Call) (Outcome, error) { return Outcome{}, ErrUncertain })
				set := loadText(t, actions, `
playbook: p
steps:
  - {id: blind, do: fake.blind}
  - {do: fake.repeat, with: {was: "${{ .steps.blind.state }}"}}
`)
				e, stop := running(t, j, actions, set, EngineOptions{})
				j.put(t, testAlert("1"))
				time.Sleep(10 * time.Minute)
				run := j.all()[0]
				if run.State != soar.RunUnknown || run.EndedAt.IsZero() || len(j.events(soar.EventRunFinished)) != 0 {
					t.Fatalf("run %+v", run)
				}
				if err := e.Settle(t.Context(), run.ID, "other", true, "ann", ""); !errors.Is(err, ErrNotUnknown) {
					t.Errorf("settling another step: %v", err)
				}
				if err := e.Settle(t.Context(), run.ID+1, "blind", true, "ann", ""); !errors.Is(err, soar.ErrNotFound) {
					t.Errorf("settling another run: %v", err)
				}
				if err := e.Settle(t.Context(), run.ID, "blind", tt.happened, "ann", "looked at the host"); err != nil {
					t.Fatal(err)
				}
				if err := e.Settle(t.Context(), run.ID, "blind", !tt.happened, "bob", ""); !errors.Is(err, ErrNotUnknown) {
					t.Errorf("settling twice: %v", err)
				}
				time.Sleep(time.Minute)
				stop()
				run = j.all()[0]
				if run.State != tt.state || len(server.done("fake.repeat")) != tt.calls || len(j.events(soar.EventRunFinished)) != 1 {
					t.Errorf("run %+v, %d calls", run, len(server.done("fake.repeat")))
				}
			})
		})
	}
}

// A worker that was paused finds that another went on, and does not send.
func TestFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		paused := make(chan struct{})
		server.add(actions, "fake.pause", Reads, func(context.Context, Call) (Outcome, error) {
			if server.called("fake.pause") == 1 {
				<-paused
			}
			return Outcome{State: soar.StepExecuted}, nil
		})
		set := loadText(t, actions, "playbook: p\nsteps: [{do: fake.pause}, {id: blind, do: fake.blind}]")
		_, stopFirst := running(t, j, actions, set, EngineOptions{})
		j.put(t, testAlert("1"))
		synctest.Wait()
		_, stopSecond := running(t, j, actions, set, EngineOptions{}) // takes the run for interrupted
		synctest.Wait()
		close(paused)
		synctest.Wait()
		stopFirst()
		stopSecond()
		if n := len(server.done("fake.blind")); n != 1 || stateOf(j.all()) != "done" {
			t.Errorf("%d calls, runs %s", n, stateOf(j.all()))
		}
	})
}

// A busy server takes a call long after we gave up waiting for the answer. The
// call that looked as if it had never been received is not sent a second time.
func TestSlowServerIsNotSentACallTwice(t *testing.T) {
	for _, tt := range []struct {
		name    string
		arrives time.Duration // after it was sent; 0: never
		sent    int
	}{
		{"within the time-out", 20 * time.Second, 1},
		{"just after the time-out", 31 * time.Second, 1},
		{"when the proxy gives up", 299 * time.Second, 1},
		{"never", 0, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				actions := server.actions()
				sent := 0
				hit := server.add(actions, "fake.once", Once, func(ctx context.Context, call Call) (Outcome, error) {
					if sent++; sent == 1 {
						if tt.arrives > 0 {
							time.AfterFunc(tt.arrives, func() { server.take("fake.once", call) })
						}
						<-ctx.Done()
						return Outcome{}, ctx.Err()
					}
					return Outcome{State: soar.StepAccepted, Ref: server.take("fake.once", call)}, nil
				})
				hit.list = true
				set := loadText(t, actions, "playbook: p\nsteps: [{id: hit, do: fake.once, timeout: 10m}]")
				_, stop := running(t, j, actions, set, EngineOptions{CallTimeout: 30 * time.Second})
				j.put(t, testAlert("1"))
				time.Sleep(20 * time.Minute)
				stop()
				run := j.all()[0]
				if n := len(server.done("fake.once")); n != 1 || sent != tt.sent || run.State != soar.RunDone {
					t.Errorf("sent %d times, %d taken, run %s (%s); want %d, 1, done", sent, n, run.State, run.Error, tt.sent)
				}
			})
		})
	}
}

// A process that dies again and again, while it goes on with what the last one left,
// keeps the promises as well.
func TestCrashAgainAndAgain(t *testing.T) {
	for _, action := range []string{"fake.once", "fake.marked"} {
		for seed := range uint64(40) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 7))
				j, server := newMemJournal(), newFakeServer()
				server.now = time.Now
				actions := server.actions()
				set := loadText(t, actions, fmt.Sprintf(flowBooks[0], action), fmt.Sprintf(flowBooks[1], action))
				j.put(t, testAlert("1"))
				for range 8 {
					ctx, cancel := context.WithCancel(t.Context())
					last := j.commits + 1 + random.IntN(5)
					j.fail = func(n int, _ soar.Change) (before, after error) {
						if n < last {
							return nil, nil
						}
						cancel()
						j.down = errCrashed
						if random.IntN(2) == 0 {
							return errCrashed, nil
						}
						return nil, errCrashed
					}
					e, err := NewEngine(j, actions, set, EngineOptions{Drain: time.Second})
					if err != nil {
						t.Fatal(err)
					}
					done := make(chan struct{})
					go func() {
						defer close(done)
						_ = e.Run(ctx)
					}()
					time.Sleep(6 * time.Minute)
					cancel()
					<-done
					j.restart()
				}
				_, stop := running(t, j, actions, set, EngineOptions{})
				time.Sleep(2 * time.Hour)
				stop()
				checkFlowCrash(t, crashAt{int(seed), "again and again"}, action, j, server)
			})
		}
	}
}

package playbooks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
)

const threeSteps = `
playbook: three
steps:
  - {id: look, do: fake.read, with: {host: "${{ .alert.host.identifier }}"}}
  - {id: tell, do: fake.repeat, with: {text: "seen ${{ .steps.look.output.read }}"}}
  - {id: hit, do: fake.once, with: {host: "${{ .alert.host.identifier }}"}}
`

func TestRunToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		registry := prometheus.NewRegistry()
		_, stop := running(t, j, actions, loadText(t, actions, threeSteps), EngineOptions{Registerer: registry})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		stop()
		runs := j.all()
		if stateOf(runs) != "done" || j.pending() != 0 {
			t.Fatalf("runs %+v, %d pending", runs, j.pending())
		}
		if got := j.result(t, runs[0].ID, "tell"); got.State != soar.StepExecuted {
			t.Errorf("tell ended %+v", got)
		}
		if got := server.done("fake.repeat"); len(got) != 1 || got[0].with["text"] != "seen fake.read" {
			t.Errorf("fake.repeat was called with %+v", got)
		}
		if got := j.result(t, runs[0].ID, "hit"); got.State != soar.StepExecuted || got.Ref != "c2" || got.Target != "host-1" {
			t.Errorf("hit ended %+v", got)
		}
		if n := len(j.events(soar.EventRunStarted)); n != 1 {
			t.Errorf("%d times run.started", n)
		}
		steps := j.events(soar.EventStepFinished)
		if len(steps) != 2 || steps[1].Outcome.Command != "c2" || steps[1].Outcome.Took != 2*time.Second || steps[1].AlertKey != 1 {
			t.Errorf("step.finished: %+v", steps)
		}
		if done := j.events(soar.EventRunFinished); len(done) != 1 || done[0].Run.State != soar.RunDone {
			t.Errorf("run.finished: %+v", done)
		}
		if v := j.verdict(0, "three"); v != "match" {
			t.Errorf("verdict %q", v)
		}
		families, err := registry.Gather()
		if err != nil || len(families) != 9 { // 6 of them of the guard
			t.Errorf("%d metrics: %v", len(families), err)
		}
	})
}

// An intent is on disk before its call.
func TestIntentBeforeCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		var seen atomic.Int32
		server.add(actions, "fake.repeat", Repeatable, func(_ context.Context, call Call) (Outcome, error) {
			entries, _ := j.Entries(t.Context(), call.Run)
			for _, e := range entries {
				if e.Kind == soar.EntryIntent && e.Step == "tell" && strings.Contains(string(e.Body), call.Mark) {
					seen.Add(1)
				}
			}
			return Outcome{State: soar.StepExecuted}, nil
		})
		_, stop := running(t, j, actions, loadText(t, actions, threeSteps), EngineOptions{})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		stop()
		if seen.Load() != 1 {
			t.Errorf("the call saw %d intents", seen.Load())
		}
	})
}

func TestObserveMode(t *testing.T) {
	for name, tt := range map[string]struct {
		mode     string
		ceiling  soar.Mode
		backfill bool
		words    string
	}{
		"playbook": {"observe", "", false, "observe: the playbook only observes"},
		"ceiling":  {"enforce", soar.ModeObserve, false, "observe: all playbooks are held at observe"},
		"backfill": {"enforce", soar.ModeEnforce, true, "observe: the alert is older than the first contact with the server"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				actions := server.actions()
				set := loadText(t, actions, threeSteps+"  - {id: say, do: fake.tell, with: {text: hello}}\nmode: "+tt.mode+"\n")
				_, stop := running(t, j, actions, set, EngineOptions{Ceiling: tt.ceiling})
				alert := testAlert("1")
				alert.Backfill = tt.backfill
				j.put(t, alert)
				time.Sleep(time.Minute)
				stop()
				run := j.all()[0]
				if run.State != soar.RunDone || run.Mode != soar.ModeObserve {
					t.Errorf("run %+v", run)
				}
				if n := len(server.done("fake.repeat")) + len(server.done("fake.once")); n != 0 {
					t.Errorf("%d calls with an effect", n)
				}
				if server.called("fake.read") != 1 || len(server.done("fake.tell")) != 1 {
					t.Error("reading and always-on actions were not carried out")
				}
				got := j.result(t, run.ID, "hit")
				if got.State != soar.StepObserved || got.With["host"] != "host-1" || got.Summary != tt.words {
					t.Errorf("hit ended %+v", got)
				}
			})
		})
	}
}

func TestTimeoutIsNeverSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		server.executedAfter = -1
		actions := server.actions()
		set := loadText(t, actions, "playbook: p\nsteps: [{id: hit, do: fake.once, timeout: 10m}]")
		began := time.Now()
		_, stop := running(t, j, actions, set, EngineOptions{})
		j.put(t, testAlert("1"))
		time.Sleep(4 * time.Minute)
		stop()
		time.Sleep(3 * time.Minute) // the time of the step goes on while nothing runs
		_, stop = running(t, j, actions, set, EngineOptions{})
		time.Sleep(4 * time.Minute)
		stop()
		run := j.all()[0]
		if got := j.result(t, run.ID, "hit"); got.State != soar.StepExpired || run.State != soar.RunFailed {
			t.Fatalf("run %+v, step %+v", run, got)
		}
		if took := run.EndedAt.Sub(began); took != 10*time.Minute {
			t.Errorf("ended after %s", took)
		}
		if len(server.done("fake.once")) != 1 {
			t.Error("the command was sent again")
		}
	})
}

// A look that downloads may take longer than any other call.
func TestPollTimeout(t *testing.T) {
	for _, tt := range []struct {
		name  string
		bound time.Duration
		state soar.StepState
	}{
		{"as every call", 0, soar.StepExpired},
		{"its own", 10 * time.Minute, soar.StepExecuted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				actions := server.actions()
				fetch := server.add(actions, "fake.fetch", Once, func(context.Context, Call) (Outcome, error) {
					return Outcome{State: soar.StepAccepted, Ref: "c1"}, nil
				})
				fetch.spec.PollTimeout = tt.bound
				fetch.poll = func(ctx context.Context) (Outcome, error) {
					pause(ctx, 5*time.Minute)
					return Outcome{State: soar.StepExecuted}, ctx.Err()
				}
				set := loadText(t, actions, "playbook: p\nsteps: [{id: s, do: fake.fetch, timeout: 20m}]")
				_, stop := running(t, j, actions, set, EngineOptions{CallTimeout: time.Minute})
				j.put(t, testAlert("1"))
				time.Sleep(time.Hour)
				stop()
				if got := j.result(t, j.all()[0].ID, "s"); got.State != tt.state {
					t.Errorf("ended %+v, want %s", got, tt.state)
				}
			})
		})
	}
}

func TestRetry(t *testing.T) {
	for _, tt := range []struct {
		name, action, retry string
		errs                []error
		calls               int
		state               soar.RunState
	}{
		{"transient, then well", "fake.blind", "{attempts: 3, delay: 1m}", []error{ErrTransient, ErrTransient}, 3, soar.RunDone},
		{"transient, no attempt left", "fake.blind", "{attempts: 2, delay: 1m}", []error{ErrTransient, ErrTransient, ErrTransient}, 2, soar.RunFailed},
		{"certain failure", "fake.repeat", "{attempts: 3}", []error{errors.New("no such host")}, 1, soar.RunFailed},
		{"certain failure, repeatable", "fake.repeat", "{attempts: 3, delay: 10s, on: failed}", []error{errors.New("no such host")}, 2, soar.RunDone},
		{"uncertain read", "fake.read", "{attempts: 2}", []error{ErrUncertain}, 2, soar.RunDone},
		{"no retry", "fake.read", "{attempts: 1}", []error{ErrTransient}, 1, soar.RunFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				actions := server.actions()
				effect := actions[tt.action].Spec().Effect
				calls := 0
				var steps []string
				server.add(actions, tt.action, effect, func(_ context.Context, call Call) (Outcome, error) {
					calls++
					steps = append(steps, call.Step)
					if calls <= len(tt.errs) {
						return Outcome{}, fmt.Errorf("call %d: %w", calls, tt.errs[calls-1])
					}
					return Outcome{State: soar.StepExecuted}, nil
				})
				set := loadText(t, actions, "playbook: p\nsteps: [{id: s, do: "+tt.action+", retry: "+tt.retry+"}]")
				_, stop := running(t, j, actions, set, EngineOptions{})
				j.put(t, testAlert("1"))
				time.Sleep(5 * time.Minute)
				stop()
				if calls != tt.calls || j.all()[0].State != tt.state {
					t.Errorf("%d calls, run %s, want %d, %s", calls, j.all()[0].State, tt.calls, tt.state)
				}
				if tt.calls > 1 && steps[1] != "s#2" {
					t.Errorf("steps %v", steps)
				}
			})
		})
	}
}

func TestOnError(t *testing.T) {
	const text = `
playbook: p
steps:
  - {id: a, do: fake.bad, on_error: %s}
  - {id: b, do: fake.repeat, with: {text: "${{ .steps.a.state }}: ${{ .steps.a.error }}"}}
`
	for _, tt := range []struct {
		onError string
		state   soar.RunState
		said    string
	}{
		{"stop", soar.RunFailed, ""},
		{"continue", soar.RunDone, "failed: disk on fire"},
		{`[{id: h, do: fake.repeat, with: {text: "handled ${{ .steps.a.error }}"}}, {do: fake.read}]`, soar.RunFailed, "handled disk on fire"},
	} {
		t.Run(tt.onError, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				actions := server.actions()
				server.add(actions, "fake.bad", Once, func(context.Context, Call) (Outcome, error) { return Outcome{}, errors.New("disk on fire") })
				_, stop := running(t, j, actions, loadText(t, actions, fmt.Sprintf(text, tt.onError)), EngineOptions{})
				j.put(t, testAlert("1"))
				time.Sleep(time.Minute)
				stop()
				run := j.all()[0]
				said := ""
				if c := server.done("fake.repeat"); len(c) == 1 {
					said = c[0].with["text"].(string)
				}
				if run.State != tt.state || said != tt.said {
					t.Errorf("run %s (%s), said %q, want %s, %q", run.State, run.Error, said, tt.state, tt.said)
				}
				if run.State == soar.RunFailed && run.Error != "step a: disk on fire" {
					t.Errorf("run error %q", run.Error)
				}
			})
		})
	}
}

// What an attacker writes into an alert is data, whatever it looks like.
func TestAlertTextIsNotEvaluated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		set := loadText(t, actions, `
playbook: p
steps:
  - id: s
    do: fake.repeat
    with:
      text: "ran ${{ .alert.event.cmdline }}"
      whole: ${{ .alert.event.cmdline }}
      deep: [{a: "${{ .alert.event.cmdline }}"}]
      same: "$${{ .vars }} stays"
      number: ${{ .alert.host.id }}
      none: "a${{ .alert.event.nothing }}b"
`)
		hostile := `${{ env }} ${{ .vars }} $${{ 1 }} "}} {{`
		alert := testAlert("1")
		alert.Event["cmdline"] = hostile
		_, stop := running(t, j, actions, set, EngineOptions{})
		j.put(t, alert)
		time.Sleep(time.Minute)
		stop()
		with := server.done("fake.repeat")[0].with
		if with["text"] != "ran "+hostile || with["whole"] != hostile || with["deep"].([]any)[0].(map[string]any)["a"] != hostile {
			t.Errorf("with %q", with)
		}
		if with["same"] != "${{ .vars }} stays" || with["number"] != 7.0 || with["none"] != "ab" {
			t.Errorf("with %q", with)
		}
	})
}

func TestSkipAndExpressionErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		set := loadText(t, actions, `
playbook: p
steps:
  - {id: skipped, if: .alert.severity == "low", do: fake.repeat}
  - {id: broken, if: .alert.severity | tonumber, do: fake.repeat, on_error: continue}
  - {id: broken_too, do: fake.repeat, with: {x: "${{ .alert.host.name | tonumber }}"}, on_error: continue}
  - {id: last, do: fake.repeat, if: '.steps.skipped.state == "skipped" and .steps.broken.error != null', with: {x: 1}}
`)
		_, stop := running(t, j, actions, set, EngineOptions{})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		stop()
		run := j.all()[0]
		for step, want := range map[string]soar.StepState{
			"skipped": soar.StepSkipped, "broken": soar.StepFailed, "broken_too": soar.StepFailed, "last": soar.StepExecuted,
		} {
			if got := j.result(t, run.ID, step); got.State != want {
				t.Errorf("%s ended %+v, want %s", step, got, want)
			}
		}
		if len(server.done("fake.repeat")) != 1 {
			t.Errorf("calls: %+v", server.done("fake.repeat"))
		}
	})
}

func TestPanicEndsTheStepOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		server.add(actions, "fake.panic", Reads, func(context.Context, Call) (Outcome, error) { panic("boom") })
		server.add(actions, "fake.panics_once", Once, func(context.Context, Call) (Outcome, error) { panic("boom") })
		set := loadText(t, actions,
			"playbook: a\nsteps: [{id: s, do: fake.panic, on_error: continue}, {do: fake.repeat}]",
			"playbook: b\nsteps: [{id: s, do: fake.panics_once}, {do: fake.repeat}]",
			"playbook: c\nenrich: {x: {do: fake.panic}}\nmatch: {all: [{it is there: .enrich.x != null}]}\nsteps: [{do: fake.repeat}]",
			threeSteps)
		_, stop := running(t, j, actions, set, EngineOptions{})
		j.put(t, testAlert("1"))
		time.Sleep(10 * time.Minute)
		stop()
		states := map[string]soar.RunState{}
		for _, r := range j.all() {
			states[r.Playbook] = r.State
		}
		if states["a"] != soar.RunDone || states["b"] != soar.RunUnknown || states["three"] != soar.RunDone {
			t.Errorf("runs ended %v", states)
		}
		if v := j.verdict(0, "c"); !strings.HasPrefix(v, "error: it is there: enrichment x failed: ") {
			t.Errorf("verdict of c: %q", v)
		}
	})
}

func TestEvaluationCommitFailsThenSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		set := loadText(t, actions, "playbook: p\ncooldown: {key: .alert.host.identifier, for: 1h}\nsteps: [{do: fake.repeat}]")
		j.put(t, testAlert("1"))
		j.fail = func(n int, c soar.Change) (error, error) {
			if len(c.Evaluated) > 0 && n < 4 {
				return soar.ErrNotAccepting, nil
			}
			return nil, nil
		}
		_, stop := running(t, j, actions, set, EngineOptions{})
		time.Sleep(time.Minute)
		stop()
		if j.pending() != 0 || stateOf(j.all()) != "done" || len(server.done("fake.repeat")) != 1 {
			t.Errorf("%d pending, runs %s, %d calls", j.pending(), stateOf(j.all()), len(server.done("fake.repeat")))
		}
	})
}

func TestCooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		set := loadText(t, actions, "playbook: p\ncooldown: {key: .alert.host.identifier, for: 1h}\nsteps: [{do: fake.repeat}]")
		_, stop := running(t, j, actions, set, EngineOptions{})
		var alerts []soar.Alert
		for i := range 50 {
			alerts = append(alerts, testAlert(fmt.Sprint(i)))
		}
		old := testAlert("old")
		old.Backfill = true
		j.put(t, append([]soar.Alert{old}, alerts...)...)
		synctest.Wait()
		if got := stateOf(j.all()); got != "done done" { // the backfilled one observed, one acted
			t.Fatalf("runs %s", got)
		}
		if n := len(server.done("fake.repeat")); n != 1 {
			t.Fatalf("%d calls", n)
		}
		stop()
		_, stop = running(t, j, actions, set, EngineOptions{}) // it holds across a restart
		j.put(t, testAlert("later"))
		time.Sleep(59 * time.Minute)
		if v := j.verdict(51, "p"); !strings.HasPrefix(v, `suppressed: cool-down of "host-1" until `) {
			t.Errorf("verdict %q", v)
		}
		time.Sleep(2 * time.Minute)
		j.put(t, testAlert("after"))
		synctest.Wait()
		stop()
		if n := len(server.done("fake.repeat")); n != 2 {
			t.Errorf("%d calls after the cool-down", n)
		}
	})
}

// Many at once, without the bubble of synctest, for the race detector.
func TestCooldownAtTheSameMoment(t *testing.T) {
	j, server := newMemJournal(), newFakeServer()
	actions := server.actions()
	set := loadText(t, actions,
		"playbook: a\ncooldown: {key: .alert.host.identifier, for: 1h}\nsteps: [{do: fake.repeat}]",
		"playbook: b\ncooldown: {key: .alert.host.name, for: 1h}\nsteps: [{do: fake.repeat}]")
	failed := false
	j.fail = func(_ int, c soar.Change) (error, error) { // the first reservation does not reach the disk
		if len(c.KV) > 0 && !failed {
			failed = true
			return errors.New("disk full"), nil
		}
		return nil, nil
	}
	var alerts []soar.Alert
	for i := range 200 {
		alerts = append(alerts, testAlert(fmt.Sprint(i)))
	}
	j.put(t, alerts...)
	_, stop := running(t, j, actions, set, EngineOptions{})
	waitFor(t, j, func() bool { return j.pending() == 0 && len(j.events(soar.EventRunFinished)) == 2 })
	stop()
	if n := len(server.done("fake.repeat")); n != 2 || !failed {
		t.Errorf("%d calls, want one for each playbook", n)
	}
}

func TestReloadKeepsRunningVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		old := "playbook: p\nsteps: [{id: hit, do: fake.once}, {do: fake.repeat, with: {text: old}}]"
		e, stop := running(t, j, actions, loadText(t, actions, old), EngineOptions{})
		j.put(t, testAlert("1"))
		synctest.Wait() // accepted, waiting
		e.Reload(loadText(t, actions, "playbook: p\nsteps: [{do: fake.repeat, with: {text: new}}]"))
		j.put(t, testAlert("2"))
		synctest.Wait()
		stop()
		_, stop = running(t, j, actions, loadText(t, actions, threeSteps), EngineOptions{}) // knows neither
		time.Sleep(time.Minute)
		stop()
		var texts []string
		for _, c := range server.done("fake.repeat") {
			texts = append(texts, c.with["text"].(string))
		}
		if strings.Join(texts, " ") != "new old" || stateOf(j.all()) != "done done" {
			t.Errorf("texts %v, runs %s", texts, stateOf(j.all()))
		}
	})
}

func TestVersionThatNoLongerLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		_, stop := running(t, j, actions, loadText(t, actions, "playbook: p\nsteps: [{id: hit, do: fake.once}]"), EngineOptions{})
		j.put(t, testAlert("1"))
		synctest.Wait()
		stop()
		delete(actions, "fake.once")
		_, stop = running(t, j, actions, nil, EngineOptions{})
		time.Sleep(time.Minute)
		stop()
		run := j.all()[0]
		if run.State != soar.RunFailed || !strings.Contains(run.Error, `unknown action "fake.once"`) || len(j.events(soar.EventTrouble)) != 1 {
			t.Errorf("run %+v, trouble %v", run, j.events(soar.EventTrouble))
		}
	})
}

// One slow enrichment holds up its own alert only.
func TestSlowEnrichment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		server.add(actions, "fake.slow", Reads, func(ctx context.Context, call Call) (Outcome, error) {
			if call.With["id"] == "slow" {
				<-ctx.Done()
				return Outcome{}, ctx.Err()
			}
			return Outcome{State: soar.StepExecuted, Output: map[string]any{"ok": true}}, nil
		})
		set := loadText(t, actions, `
playbook: p
enrich: {x: {do: fake.slow, with: {id: "${{ .alert.id }}"}}}
match: {all: [{it is well: .enrich.x.ok}]}
steps: [{do: fake.repeat, with: {x: "${{ .enrich.x.ok }}"}}]
`)
		_, stop := running(t, j, actions, set, EngineOptions{})
		j.put(t, testAlert("slow"), testAlert("quick"))
		time.Sleep(time.Second)
		if n := len(server.done("fake.repeat")); n != 1 || j.pending() != 1 {
			t.Errorf("%d calls, %d pending", n, j.pending())
		}
		time.Sleep(time.Minute)
		stop()
		if v := j.verdict(0, "p"); !strings.HasPrefix(v, "error: it is well: enrichment x failed: fake.slow took too long") {
			t.Errorf("verdict %q", v)
		}
	})
}

func TestEnrichmentIsReadOnceAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		reads := 0
		server.add(actions, "host.get", Reads, func(_ context.Context, call Call) (Outcome, error) {
			reads++
			return Outcome{State: soar.StepExecuted, Output: soar.Host{Identifier: call.With["host"].(string), Tags: []string{fmt.Sprint("tag", reads)}}}, nil
		})
		set := loadText(t, actions, `
playbook: p
match: {none: [{it is a backup server: '.host.tags | index("backup")'}]}
steps:
  - {id: hit, do: fake.once}
  - {do: fake.repeat, with: {tag: "${{ .host.tags[0] }}", name: "${{ .host.name }}"}}
`)
		server.executedAfter = 400
		_, stop := running(t, j, actions, set, EngineOptions{})
		j.put(t, testAlert("1"), testAlert("2"))
		synctest.Wait()
		if reads != 1 {
			t.Errorf("%d reads for two alerts", reads)
		}
		stop()
		time.Sleep(6 * time.Minute) // the cache is gone, and the time of the cached value is over
		server.executedAfter = 0
		_, stop = running(t, j, actions, set, EngineOptions{})
		time.Sleep(time.Minute)
		stop()
		for _, c := range server.done("fake.repeat") {
			if c.with["tag"] != "tag1" || c.with["name"] != "pc-1" {
				t.Errorf("with %v", c.with)
			}
		}
		if len(server.done("fake.repeat")) != 2 || reads != 1 {
			t.Errorf("%d calls, %d reads", len(server.done("fake.repeat")), reads)
		}
	})
}

// A stopping engine lets calls end, and starts nothing new.
func TestStopLetsCallsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		server.add(actions, "fake.slow", Once, func(ctx context.Context, _ Call) (Outcome, error) {
			select {
			case <-time.After(5 * time.Second):
				return Outcome{State: soar.StepExecuted}, nil
			case <-ctx.Done():
				return Outcome{}, fmt.Errorf("%w: %w", ErrUncertain, ctx.Err())
			}
		})
		set := loadText(t, actions, "playbook: p\nsteps: [{id: slow, do: fake.slow}, {id: next, do: fake.repeat}]")
		_, stop := running(t, j, actions, set, EngineOptions{})
		j.put(t, testAlert("1"))
		synctest.Wait()
		stop()
		run := j.all()[0]
		if got := j.result(t, run.ID, "slow"); got.State != soar.StepExecuted || run.State != soar.RunRunning || run.PC != 1 {
			t.Errorf("run %+v, slow %+v", run, got)
		}
		if server.called("fake.repeat") != 0 {
			t.Error("the next step was started while stopping")
		}
		_, stop = running(t, j, actions, set, EngineOptions{Drain: time.Second})
		j.put(t, testAlert("2"))
		synctest.Wait()
		began := time.Now()
		stop()
		if took := time.Since(began); took != time.Second {
			t.Errorf("stopping took %s", took)
		}
		if server.called("fake.repeat") != 1 || stateOf(j.all()) != "done waiting" {
			t.Errorf("%d calls, runs %s", server.called("fake.repeat"), stateOf(j.all()))
		}
	})
}

func TestUpdatedAlerts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		set := loadText(t, actions,
			"playbook: both\non: [alert, alert.updated]\nsteps: [{do: fake.repeat, with: {p: both}}]",
			"playbook: updated\non: alert.updated\nsteps: [{do: fake.repeat, with: {p: updated}}]")
		j.put(t, testAlert("1"), testAlert("2"))
		j.alerts[1].Pending = pendingUpdated
		_, stop := running(t, j, actions, set, EngineOptions{})
		time.Sleep(time.Second)
		stop()
		if n := len(server.done("fake.repeat")); n != 3 {
			t.Errorf("%d calls, want 3", n)
		}
	})
}

// waitFor waits for commits until something has come about.
func waitFor(t *testing.T, j Journal, ok func() bool) {
	t.Helper()
	for {
		changed, evaluated := j.Changed(soar.SignalRuns), j.Changed(soar.SignalAlerts)
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-evaluated:
		case <-t.Context().Done():
			t.Fatal("it did not happen")
		}
	}
}

package actions

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// daemon is the engine on the real store, on a clock that the test puts forward.
type daemon struct {
	*scene
	ahead  atomic.Int64 // of the time, in nanoseconds
	folder string
	set    *playbooks.Set
	guard  guard.Settings
	stop   func()
}

func (d *daemon) now() time.Time { return time.Now().Add(time.Duration(d.ahead.Load())) }

// newDaemon prepares one with a playbook called act of these steps.
func newDaemon(t *testing.T, steps string) *daemon {
	t.Helper()
	d := &daemon{scene: stage(t, ersim.Options{}), folder: t.TempDir()}
	d.actions = All(d.deps)
	pb, problems := playbooks.Parse("act.yaml", []byte("playbook: act\nsteps:\n"+steps), d.actions)
	if problems != nil {
		t.Fatal(problems)
	}
	d.set = playbooks.NewSet(pb)
	return d
}

// start begins a process; stop ends it.
func (d *daemon) start() {
	d.Helper()
	var err error
	if d.store, err = store.Open(d.Context(), d.folder, store.Options{Now: d.now}); err != nil {
		d.Fatal(err)
	}
	g, err := guard.New(d.guard)
	if err != nil {
		d.Fatal(err)
	}
	if d.engine, err = playbooks.NewEngine(d.store, d.actions, d.set, playbooks.EngineOptions{Now: d.now, Guard: g}); err != nil {
		d.Fatal(err)
	}
	st, ctx := d.store, d.Context()
	storeCtx, stopStore := context.WithCancel(ctx)
	engineCtx, stopEngine := context.WithCancel(ctx)
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := st.Run(storeCtx); err != nil {
			d.Errorf("store: %v", err)
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- d.engine.Run(engineCtx) }()
	var once sync.Once
	d.stop = func() {
		once.Do(func() {
			stopEngine()
			if err := <-ended; err != nil && !errors.Is(err, context.Canceled) { // it had not begun yet
				d.Errorf("engine: %v", err)
			}
			stopStore()
			parts.Wait()
			if err := st.Close(); err != nil {
				d.Errorf("store: %v", err)
			}
		})
	}
	d.Cleanup(d.stop)
}

// restart ends the process, lets time pass, and begins another.
func (d *daemon) restart(later time.Duration) {
	d.Helper()
	d.stop()
	d.ahead.Add(int64(later))
	d.start()
}

// runs are those of a playbook, the oldest first.
func (d *daemon) runs(playbook string) []soar.Run {
	d.Helper()
	runs, err := d.store.Runs(d.Context(), store.RunFilter{Playbook: playbook})
	if err != nil {
		d.Fatal(err)
	}
	slices.Reverse(runs)
	return runs
}

// await waits until a condition holds after some commit.
func (d *daemon) await(what string, holds func() bool) {
	d.Helper()
	for {
		changed := d.store.Changed(soar.SignalRuns)
		if holds() {
			return
		}
		select {
		case <-changed:
		case <-d.Context().Done():
			d.Fatalf("%s: %v", what, context.Cause(d.Context()))
		}
	}
}

// ended waits until so many runs of a playbook have ended, and returns the last.
func (d *daemon) ended(playbook string, n int) soar.Run {
	d.Helper()
	var runs []soar.Run
	d.await(playbook, func() bool {
		runs = d.runs(playbook)
		over := 0
		for _, r := range runs {
			if r.State.Ended() {
				over++
			}
		}
		return over >= n
	})
	return runs[len(runs)-1]
}

func (d *daemon) result(run soar.RunID, step string) (result playbooks.Result) {
	d.Helper()
	entries, err := d.store.Entries(d.Context(), run)
	if err != nil {
		d.Fatal(err)
	}
	for _, e := range entries {
		if e.Kind == soar.EntryResult && e.Step == step {
			if err := json.Unmarshal(e.Body, &result); err != nil {
				d.Fatal(err)
			}
		}
	}
	return result
}

// events are those of a kind.
func (d *daemon) events(kind soar.EventType) (found []soar.Event) {
	d.Helper()
	feed, err := d.store.Feed(d.Context(), 0, 1000)
	if err != nil {
		d.Fatal(err)
	}
	for _, e := range feed {
		if e.Type == kind {
			found = append(found, e)
		}
	}
	return found
}

// firewall are the rules on the host.
func (d *daemon) firewall() []ersim.FirewallRule {
	d.Helper()
	for _, h := range d.sim.Hosts() {
		if h.Identifier == d.host.Identifier {
			return h.Firewall
		}
	}
	d.Fatal("the host is gone")
	return nil
}

const containsFor4h = "  - {id: shut, do: host.contain, with: {host: '${{ .alert.host.identifier }}', for: 4h}}\n"

// A host that is contained for four hours is released by itself, once, after one
// warning, whenever the process ends and begins again.
func TestContainedForATime(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pause []time.Duration // between the processes
		warns int
	}{
		{"a restart in between", []time.Duration{time.Hour, 2*time.Hour + 50*time.Minute, 11 * time.Minute}, 1},
		{"away at the time", []time.Duration{9 * time.Hour}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDaemon(t, containsFor4h)
			d.start()
			d.put()
			run := d.ended("act", 1)
			if rules := d.firewall(); len(rules) != 1 || run.State != soar.RunDone {
				t.Fatalf("run %s: %s; rules %+v", run.State, run.Error, rules)
			}
			for i, later := range tt.pause {
				d.restart(later)
				if i == 1 {
					d.await("the warning", func() bool { return len(d.events(soar.EventUndoSoon)) == 1 })
				}
				if i < len(tt.pause)-1 && len(d.firewall()) != 1 {
					t.Fatalf("released after %s", later)
				}
			}
			back := d.ended("undo-act", 1)
			if got := d.result(back.ID, "shut"); back.State != soar.RunDone || got.State != soar.StepVerified || len(d.firewall()) != 0 {
				t.Errorf("run %s: %s; %+v; rules %+v", back.State, back.Error, got, d.firewall())
			}
			if n := len(d.events(soar.EventUndoSoon)); n != tt.warns {
				t.Errorf("%d warnings", n)
			}
			sent := 0
			for _, c := range d.sim.Commands() {
				sent += c.Received
			}
			if sent != 2 {
				t.Errorf("%d commands were sent", sent)
			}
		})
	}
}

// Two runs contain one host; what one of them did is taken back, and the host stays
// contained as the other wants it. Then somebody releases it by hand.
func TestUndoOfOneOfTwoContainments(t *testing.T) {
	d := newDaemon(t, containsFor4h)
	d.guard.Protected = []guard.Protection{{Name: "jewels", Match: guard.Match{Tags: []string{"jewel"}}}}
	d.start()
	d.put()
	first := d.ended("act", 1)
	second := d.alert
	second.ID += "9"
	d.alert = second
	d.put()
	d.ended("act", 2)
	if rules := d.firewall(); len(rules) != 2 {
		t.Fatalf("rules %+v", rules)
	}
	// Nobody may begin anything on it any more; what was begun can be taken back.
	if err := d.deps.Client.Hosts.AddTag(t.Context(), d.host.Identifier, "jewel"); err != nil {
		t.Fatal(err)
	}
	order := playbooks.UndoOrder{Run: first.ID, By: "ann", Reason: "wrong machine"}
	if _, err := d.engine.Undo(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	back := d.ended("undo-act", 1)
	rules := d.firewall()
	if len(rules) != 1 || strings.Contains(rules[0].Name, first.ID.String()) {
		t.Errorf("rules %+v; runs %+v", rules, back)
	}
	if _, err := d.engine.Undo(t.Context(), order); !errors.Is(err, playbooks.ErrNotUndone) || !strings.Contains(err.Error(), "was taken back already by run") {
		t.Errorf("again: %v", err)
	}

	// Somebody releases the host by hand, with the rule of the second run.
	release := call("by hand", soar.Alert{}, object{"host": d.host.Identifier})
	if out := d.run("host.release", release); out.State != soar.StepVerified {
		t.Fatalf("%+v", out)
	}
	d.restart(5 * time.Hour)
	last := d.ended("undo-act", 2)
	got := d.result(last.ID, "shut")
	if last.State != soar.RunDone || got.State != soar.StepSuppressed || !strings.Contains(got.Summary, "the rule was removed already, by the command that was sent at") {
		t.Errorf("run %s %s: %+v", last.State, last.Error, got)
	}
}

// Tags that a step gave are taken away again, and not those that were there before.
func TestUndoOfTags(t *testing.T) {
	d := newDaemon(t, `  - {id: new, do: host.tag, with: {host: '${{ .alert.host.identifier }}', tag: seen}}
  - {id: old, do: host.tag, with: {host: '${{ .alert.host.identifier }}', tag: vip}}
  - {id: off, do: host.untag, with: {host: '${{ .alert.host.identifier }}', tag: lab}}
  - {id: none, do: host.untag, with: {host: '${{ .alert.host.identifier }}', tag: nothing}}
  - {id: short, do: host.tag, with: {host: '${{ .alert.host.identifier }}', tag: brief, for: 1h}}
`)
	for _, tag := range []string{"vip", "lab"} {
		if err := d.deps.Client.Hosts.AddTag(t.Context(), d.host.Identifier, tag); err != nil {
			t.Fatal(err)
		}
	}
	tags := func() string {
		list, err := d.deps.Client.Hosts.Tags(t.Context(), d.host.Identifier)
		if err != nil {
			t.Fatal(err)
		}
		list = slices.DeleteFunc(list, func(tag string) bool { return slices.Contains(d.host.Tags, tag) && tag != "vip" && tag != "lab" })
		slices.Sort(list)
		return strings.Join(list, " ")
	}
	d.start()
	d.put()
	run := d.ended("act", 1)
	if got := tags(); got != "brief seen vip" {
		t.Fatalf("tags %s; run %s: %s", got, run.State, run.Error)
	}
	d.restart(2 * time.Hour)
	d.ended("undo-act", 1)
	if got := tags(); got != "seen vip" {
		t.Fatalf("after an hour: tags %s", got)
	}
	done, err := d.engine.Undo(t.Context(), playbooks.UndoOrder{Run: run.ID, By: "ann", Reason: "a drill"})
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	for _, s := range done.Steps {
		states = append(states, s.Step+" "+string(s.State))
	}
	if want := "short done, off begun, old impossible, new begun"; strings.Join(states, ", ") != want {
		t.Errorf("steps %s, want %s", strings.Join(states, ", "), want)
	}
	d.ended("undo-act", 2)
	if got := tags(); got != "lab vip" {
		t.Errorf("in the end: tags %s", got)
	}
}

// A host that is offline when its time comes is released when it is back.
func TestReleaseWaitsForTheHost(t *testing.T) {
	d := newDaemon(t, containsFor4h)
	d.start()
	d.put()
	d.ended("act", 1)
	d.sim.SetOnline(d.host.Identifier, false)
	d.restart(5 * time.Hour)
	held := func() []playbooks.HeldStep {
		runs := d.runs("undo-act")
		entries, err := d.store.Entries(t.Context(), runs[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		return playbooks.HeldSteps(entries)
	}
	d.await("the step waits", func() bool { return len(held()) == 1 })
	if h := held()[0]; !strings.Contains(h.Words, "host is offline") || h.Until.Sub(d.now()) < 29*24*time.Hour {
		t.Errorf("held %+v", h)
	}
	d.sim.SetOnline(d.host.Identifier, true)
	d.restart(time.Minute)
	if back := d.ended("undo-act", 1); back.State != soar.RunDone || len(d.firewall()) != 0 {
		t.Errorf("run %s: %s", back.State, back.Error)
	}
}

// What a call is taken back by, whatever came of it.
func TestReversals(t *testing.T) {
	all := All(Deps{})
	for _, tt := range []struct {
		do     string
		with   object
		output any
		want   string
	}{
		{"host.contain", object{"host": "h'1", "for": "4h"}, nil, `{"do":"host.release","with":{"host":"h'1","rule":"erbridge-h-1-0run-m"},"after":14400000000000}`},
		{"host.contain", object{"host": "h"}, object{"rule": "x"}, `{"do":"host.release","with":{"host":"h","rule":"erbridge-h-0run-m"}}`},
		{"host.release", object{"host": "h"}, object{"rule": "x"}, `null`},
		{"host.tag", object{"host": "h", "tag": "a"}, object{"added": []any{"a"}}, `{"do":"host.untag","with":{"host":"h","tag":"a"}}`},
		{"host.tag", object{"host": "h", "tag": "a"}, object{"added": []any{}}, `null`},
		{"host.tag", object{"host": "h", "tag": "a"}, nil, `null`},
		{"host.tag", object{"host": "h", "tag": "a", "remove": true}, object{"removed": []any{"a"}}, `{"do":"host.tag","with":{"host":"h","tag":"a"}}`},
		{"host.untag", object{"host": "h", "tag": "a", "for": "1d"}, object{"removed": []any{"a"}}, `{"do":"host.tag","with":{"host":"h","tag":"a"},"after":86400000000000}`},
		{"host.untag", object{"host": "h"}, object{"removed": []any{"a"}}, `null`},
		{"process.kill", object{"host": "h", "pid": "7"}, nil, `null`},
	} {
		got, err := json.Marshal(all[tt.do].(playbooks.Reverser).Reverse(call("m", soar.Alert{}, tt.with), tt.output))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s %v: %s, %v", tt.do, tt.with, got, err)
		}
	}
}

func TestForIsBounded(t *testing.T) {
	all := All(Deps{})
	for text, ok := range map[string]bool{"4h": true, "90d": true, "1m": true, "59s": false, "91d": false, "0s": false, "-1h": false, "soon": false} {
		for do, with := range map[string]object{"host.contain": {"host": "h"}, "host.tag": {"host": "h", "tag": "a"}, "host.untag": {"host": "h", "tag": "a"}} {
			with["for"] = text
			if err := playbooks.Refusal(all[do], with); (err == nil) != ok {
				t.Errorf("%s for %s: %v", do, text, err)
			}
		}
	}
}

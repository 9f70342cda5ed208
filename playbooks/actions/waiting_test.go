package actions

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
)

func TestEndOfWaits(t *testing.T) {
	now := time.Date(2026, 3, 28, 23, 30, 0, 0, time.UTC) // half past midnight in Berlin, where clocks go forward on the 29th
	for _, tt := range []struct{ time, zone, want string }{
		{"2026-03-29T08:00:00+02:00", "", "2026-03-29T06:00:00Z"},
		{"2026-03-01T08:00:00Z", "", "2026-03-01T08:00:00Z"}, // over: no wait
		{"23:30", "", "2026-03-28T23:30:00Z"},
		{"23:29", "", "2026-03-29T23:29:00Z"},
		{"23:30:01", "UTC", "2026-03-28T23:30:01Z"},
		{"08:00", "Europe/Berlin", "2026-03-29T06:00:00Z"},
		{"00:15", "Europe/Berlin", "2026-03-29T22:15:00Z"},
		{"00:30", "Europe/Berlin", "2026-03-28T23:30:00Z"},
		{"2026-04-28T00:00:00Z", "", "lies more than 30 days ahead"},
		{"08:00", "Mars/Olympus", "no such time zone"},
		{"08:00", "Local", "no such time zone"},
		{"2026-03-29T08:00:00Z", "UTC", "leave zone out"},
		{"8 o'clock", "", "expected a time such as"},
		{"24:00", "", "expected a time such as"},
	} {
		end, err := WaitUntil{Time: tt.time, Zone: tt.zone}.end(now)
		got := end.UTC().Format(time.RFC3339)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s %s: %s, want %s", tt.time, tt.zone, got, tt.want)
		}
	}
}

// waiting is an engine on a clock of its own, with a store that outlives it.
type waiting struct {
	*testing.T
	store *store.Store
	sim   *playbooks.Simulation
}

var waitStart = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)

func newWaiting(t *testing.T) *waiting {
	t.Helper()
	w := &waiting{T: t}
	var err error
	if w.store, err = store.Open(t.Context(), t.TempDir(), store.Options{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := w.store.Run(ctx); err != nil {
			t.Errorf("store: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		parts.Wait()
		if err := w.store.Close(); err != nil {
			t.Errorf("store: %v", err)
		}
	})
	return w
}

// start starts an engine at that time, with a playbook of one step.
func (w *waiting) start(at time.Time, step string) {
	w.Helper()
	all := All(Deps{Now: func() time.Time { return w.sim.Now() }})
	pb, problems := playbooks.Parse("wait.yaml", []byte("playbook: wait\nsteps: ["+step+"]"), all)
	if problems != nil {
		w.Fatal(problems)
	}
	var err error
	if w.sim, err = playbooks.NewSimulation(w.store, all, playbooks.NewSet(pb), at, playbooks.EngineOptions{}); err != nil {
		w.Fatal(err)
	}
}

func (w *waiting) put() {
	w.Helper()
	alert := soar.Alert{Server: "er", ID: "1", Status: soar.StatusOpen, CreatedAt: waitStart, Host: soar.Host{Identifier: "h"}}
	if _, err := w.store.Commit(w.Context(), soar.Change{Alerts: []soar.Alert{alert}}); err != nil {
		w.Fatal(err)
	}
}

// run is the run, and how its step ended, if it has.
func (w *waiting) run() (soar.Run, *playbooks.Result, time.Time) {
	w.Helper()
	runs, err := w.store.Runs(w.Context(), store.RunFilter{})
	if err != nil || len(runs) != 1 {
		w.Fatalf("%d runs: %v", len(runs), err)
	}
	entries, err := w.store.Entries(w.Context(), runs[0].ID)
	if err != nil {
		w.Fatal(err)
	}
	i := slices.IndexFunc(entries, func(e soar.Entry) bool { return e.Kind == soar.EntryResult })
	if i < 0 {
		return runs[0], nil, time.Time{}
	}
	var result playbooks.Result
	if err := json.Unmarshal(entries[i].Body, &result); err != nil {
		w.Fatal(err)
	}
	return runs[0], &result, entries[i].At
}

// A wait keeps no worker, and ends when it was to end, however often erbridge is
// restarted meanwhile, and however late it comes back.
func TestWaitsOutliveRestarts(t *testing.T) {
	for _, tt := range []struct {
		step string
		long time.Duration
	}{
		{"{id: act, do: sleep, with: {for: 5m}}", 5 * time.Minute},
		{"{id: act, do: sleep, with: {for: 30d}}", 30 * 24 * time.Hour},
		{`{id: act, do: wait.until, with: {time: "08:00", zone: Europe/Berlin}}`, 20 * time.Hour},
		{`{id: act, do: wait.until, with: {time: "2026-05-04T12:30:00+02:00"}}`, 30 * time.Minute},
	} {
		t.Run(tt.step, func(t *testing.T) {
			w := newWaiting(t)
			end := waitStart.Add(tt.long)
			w.start(waitStart, tt.step)
			w.put()
			for _, later := range []time.Duration{0, time.Minute, tt.long / 2, tt.long - time.Second} {
				w.start(waitStart.Add(later), tt.step)
				if err := w.sim.Settle(t.Context(), 0); !errors.Is(err, playbooks.ErrNoEnd) {
					t.Fatalf("after %s: %v", later, err)
				}
				if run, result, _ := w.run(); result != nil || run.State != soar.RunWaiting || !run.Wake.Equal(end) {
					t.Fatalf("after %s: the run is %s until %s, want %s; result %+v", later, run.State, run.Wake, end, result)
				}
			}
			if err := w.sim.Settle(t.Context(), time.Minute); err != nil {
				t.Fatal(err)
			}
			run, result, at := w.run()
			if result == nil || result.State != soar.StepExecuted || run.State != soar.RunDone || !at.Equal(end) {
				t.Errorf("the run is %s, the step %+v, at %s, want %s", run.State, result, at, end)
			}
		})
	}

	// Nobody was there when it ended.
	w := newWaiting(t)
	const step = "{id: act, do: sleep, with: {for: 5m}}"
	w.start(waitStart, step)
	w.put()
	if err := w.sim.Settle(t.Context(), 0); !errors.Is(err, playbooks.ErrNoEnd) {
		t.Fatal(err)
	}
	w.start(waitStart.Add(time.Hour), step)
	if err := w.sim.Settle(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	_, result, _ := w.run()
	if out, _ := result.Output.(map[string]any); result.State != soar.StepExecuted || out["until"] != waitStart.Add(5*time.Minute).Format(time.RFC3339) {
		t.Errorf("ended %+v", result)
	}
}

// A time-out that the step sets itself ends the wait, and is no success.
func TestWaitCutShort(t *testing.T) {
	w := newWaiting(t)
	w.start(waitStart, "{id: act, do: sleep, with: {for: 1h}, timeout: 10m}")
	w.put()
	if err := w.sim.Settle(t.Context(), 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	if run, result, at := w.run(); result.State != soar.StepExpired || run.State != soar.RunFailed || at.Sub(waitStart) != 10*time.Minute {
		t.Errorf("the run is %s, the step %+v at %s", run.State, result, at)
	}
}

func TestWaitsRefuse(t *testing.T) {
	all := All(Deps{Now: func() time.Time { return waitStart }})
	for _, tt := range []struct {
		action, words string
		with          object
	}{
		{"sleep", "between 1s and 30d", object{"for": "0s"}},
		{"sleep", "between 1s and 30d", object{"for": "31d"}},
		{"sleep", "for", object{}},
		{"sleep", "for", object{"for": "soon"}},
		{"wait.until", "30 days", object{"time": "2027-05-04T08:00:00Z"}},
		{"wait.until", "is empty", object{"time": ""}},
	} {
		if _, err := all[tt.action].Do(t.Context(), call("c", soar.Alert{}, tt.with)); err == nil || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s %v: %v", tt.action, tt.with, err)
		}
	}
	if _, err := all["sleep"].Poll(t.Context(), call("c", soar.Alert{}, object{"for": "5m"}), "cmd:7"); err == nil {
		t.Error("another action's reference is taken")
	}
}

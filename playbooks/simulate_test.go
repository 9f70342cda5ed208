package playbooks

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// storyOf tells what the journal holds: when, which step, what.
func storyOf(t *testing.T, j *memJournal, start time.Time) (lines []string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	for id, entries := range j.entries {
		run := j.runs[id]
		for _, e := range entries {
			var result Result
			if e.Kind == soar.EntryResult {
				if err := json.Unmarshal(e.Body, &result); err != nil {
					t.Fatal(err)
				}
			}
			after := e.At.Sub(start).Round(time.Second) // the loops of Run add milliseconds
			lines = append(lines, fmt.Sprintf("%s %04d %s %s %s %s %s", run.Alert, e.Seq, after, e.Step, e.Kind, result.State, result.Error))
		}
		lines = append(lines, fmt.Sprintf("%s is %s at %s: %s", run.Alert, run.State, run.EndedAt.Sub(start).Round(time.Second), run.Error))
	}
	slices.Sort(lines)
	return lines
}

// A simulation does what the engine does, at the same times, whatever goes wrong
// outside.
func TestSimulationIsLikeTheEngine(t *testing.T) {
	const text = `
playbook: p
match: {all: [{it is early: "(now | . - 946684800) < 7200"}]}
cooldown: {key: .alert.host.identifier, for: 10m}
steps:
  - {id: ask, do: fake.read}
  - id: tell
    do: fake.repeat
    retry: {attempts: 3, delay: 40s, on: failed}
    on_error: continue
  - id: hit
    do: fake.once
    timeout: 20m
    retry: {attempts: 2, delay: 1m}
    on_error: [{id: say, do: fake.tell}]
  - {id: again, do: fake.marked, timeout: 3m}
`
	for _, tt := range []struct {
		name    string
		prepare func(*fakeServer)
	}{
		{"all is well", func(*fakeServer) {}},
		{"hosts are slow", func(s *fakeServer) { s.executedAfter, s.pollAfter = 7, 33*time.Second }},
		{"hosts never answer", func(s *fakeServer) { s.executedAfter, s.pollAfter = -1, 0 }},
		{"busy at first", func(s *fakeServer) {
			s.before = func(n int) error {
				if n < 3 {
					return fmt.Errorf("%w: busy", ErrTransient)
				}
				return nil
			}
		}},
		{"all is refused", func(s *fakeServer) { s.before = func(int) error { return errors.New("no") } }},
		{"answers are lost", func(s *fakeServer) { s.after = func(int) error { return fmt.Errorf("%w: reset", ErrUncertain) } }},
		{"calls are lost", func(s *fakeServer) {
			s.before = func(n int) error {
				if n%2 == 1 {
					return fmt.Errorf("%w: reset", ErrUncertain)
				}
				return nil
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var want []string
			synctest.Test(t, func(t *testing.T) {
				j, server, start := newMemJournal(), newFakeServer(), time.Now()
				tt.prepare(server)
				actions := server.actions()
				_, stop := running(t, j, actions, loadText(t, actions, text), EngineOptions{})
				j.put(t, testAlert("1"))
				time.Sleep(5 * time.Minute)
				j.put(t, testAlert("2")) // held back
				time.Sleep(time.Hour)
				j.put(t, testAlert("3"))
				time.Sleep(24 * time.Hour)
				stop()
				want = storyOf(t, j, start)
			})

			start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // as synctest has it
			j, server := newMemJournal(), newFakeServer()
			tt.prepare(server)
			actions := server.actions()
			var sim *Simulation
			server.now = func() time.Time { return sim.Now() }
			pb, problems := ParseWithClock("p.yaml", []byte(text), actions, server.now)
			if problems != nil {
				t.Fatal(problems)
			}
			sim, err := NewSimulation(j, actions, NewSet(pb), start, EngineOptions{})
			if err != nil {
				t.Fatal(err)
			}
			j.put(t, testAlert("1"))
			if err := sim.Advance(t.Context(), 5*time.Minute); err != nil {
				t.Fatal(err)
			}
			j.put(t, testAlert("2"))
			if err := sim.Advance(t.Context(), time.Hour); err != nil {
				t.Fatal(err)
			}
			j.put(t, testAlert("3"))
			if err := sim.Settle(t.Context(), 24*time.Hour); err != nil {
				t.Fatal(err)
			}
			if got := storyOf(t, j, start); !slices.Equal(got, want) {
				t.Errorf("the simulation has\n%q\nthe engine has\n%q", got, want)
			}
			if len(want) < 10 {
				t.Errorf("not much has happened: %q", want)
			}
		})
	}
}

// A simulation that still waits after its time says so, and goes on where it was.
func TestSimulationWithoutEnd(t *testing.T) {
	j, server := newMemJournal(), newFakeServer()
	server.pollAfter = time.Hour
	actions := server.actions()
	sim, err := NewSimulation(j, actions, loadText(t, actions, "playbook: p\nsteps: [{id: hit, do: fake.once, timeout: 1d}]"), time.Unix(0, 0), EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server.now = sim.Now
	j.put(t, testAlert("1"))
	if err := sim.Settle(t.Context(), 30*time.Minute); !errors.Is(err, ErrNoEnd) || stateOf(j.all()) != "waiting" {
		t.Errorf("Settle: %v, runs %s", err, stateOf(j.all()))
	}
	if err := sim.Settle(t.Context(), 3*time.Hour); err != nil || stateOf(j.all()) != "done" {
		t.Errorf("Settle: %v, runs %s", err, stateOf(j.all()))
	}
}

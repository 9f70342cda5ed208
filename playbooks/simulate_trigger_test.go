package playbooks

import (
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/schedule"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

const triggered = `playbook: p
on: [{schedule: {every: 6h}}, manual, run.failed]
cooldown: {key: '.input.key // .run.playbook // .schedule.at', for: 1h}
match: {none: [{it is asked not to: .input.no == true}]}
steps: [{id: note, do: fake.tell, with: {text: "${{ .input.text // .run.error // .schedule }}"}}]
`

// A simulation starts runs by the clock, a person and a failed run, as the engine does.
func TestSimulatedTriggers(t *testing.T) {
	inBubble(t, func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action) {
		at := time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)
		sim, err := NewSimulation(s, actions, loadText(t, actions, triggered), at, EngineOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name, verdict string
			do            func() (Started, error)
		}{
			{"tick", "match", func() (Started, error) { return sim.Tick(t.Context(), "p", 0) }},
			{"start", "match", func() (Started, error) {
				return sim.Start(t.Context(), Manual{Playbook: "p", Input: map[string]any{"key": "a", "text": "hello"}, Enforce: true, By: "test"})
			}},
			{"start again", `suppressed: cool-down of "a" until 2026-05-06T13:00:00Z`, func() (Started, error) {
				return sim.Start(t.Context(), Manual{Playbook: "p", Input: map[string]any{"key": "a"}, Enforce: true, By: "test"})
			}},
			{"start without need", "", func() (Started, error) {
				return sim.Start(t.Context(), Manual{Playbook: "p", Input: map[string]any{"no": true}, Enforce: true, By: "test"})
			}},
			{"fail", "match", func() (Started, error) {
				return sim.Fail(t.Context(), soar.Run{ID: soar.NewRunID(at), Playbook: "other", Mode: soar.ModeEnforce, Epoch: 1, StartedAt: at, EndedAt: at, Error: "step x: no"})
			}},
		} {
			got, err := tt.do()
			if err != nil || got.Verdict != tt.verdict || (got.Run.ID != 0) != (tt.verdict == "match") {
				t.Errorf("%s: %+v, %v", tt.name, got, err)
			}
		}
		if err := sim.Settle(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		runs, err := s.Runs(t.Context(), store.RunFilter{Playbook: "p"})
		if err != nil || len(runs) != 3 {
			t.Fatalf("%d runs, %v", len(runs), err)
		}
		for _, run := range runs {
			if run.State != soar.RunDone {
				t.Errorf("run %+v", run)
			}
		}
	})
}

// Missed times are counted as after a time in which erbridge was down.
func TestSimulatedMissedTimes(t *testing.T) {
	for text, want := range map[string][2]string{ // the time, and when it must have been looked at to miss three
		"0 7 * * mon-fri": {"2026-05-06T07:00:00Z", "2026-04-30T07:00:00Z"},
		"*/5 * * * *":     {"2026-05-06T07:05:00Z", "2026-05-06T06:45:00Z"},
		"0 0 29 2 *":      {"2028-02-29T00:00:00Z", "2012-02-29T00:00:00Z"},
	} {
		s, err := schedule.Cron(text, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, want[0])
		if err != nil {
			t.Fatal(err)
		}
		since := s.Before(at, 3)
		if since.Format(time.RFC3339) != want[1] {
			t.Errorf("%s: looked at %s, want %s", text, since, want[1])
		}
		if last, missed := s.Due(since, at); !last.Equal(at) || missed != 3 {
			t.Errorf("%s: due %s, %d missed", text, last, missed)
		}
	}
}

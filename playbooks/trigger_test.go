package playbooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

// inBubble runs f on the clock of synctest with a real store.
func inBubble(t *testing.T, f func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := store.Open(t.Context(), t.TempDir(), store.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		defer func() {
			cancel()
			if err := errors.Join(<-done, s.Close()); err != nil {
				t.Error(err)
			}
		}()
		server := newFakeServer()
		f(t, s, server, server.actions())
	})
}

// runsOf are the runs of a playbook, oldest first.
func runsOf(t *testing.T, s *store.Store, playbook string) []soar.Run {
	t.Helper()
	runs, err := s.Runs(t.Context(), store.RunFilter{Playbook: playbook})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(runs)
	return runs
}

// texts are what an action was asked to do, by its argument a.
func (f *fakeServer) texts(action string) []string {
	var out []string
	for _, c := range f.done(action) {
		out = append(out, fmt.Sprint(c.with["a"]))
	}
	return out
}

func wantTexts(t *testing.T, server *fakeServer, want ...string) {
	t.Helper()
	if got := server.texts("fake.repeat"); !slices.Equal(got, want) {
		t.Fatalf("found\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func put(t *testing.T, s *store.Store, alerts ...soar.Alert) {
	t.Helper()
	if _, err := s.Commit(t.Context(), soar.Change{Alerts: alerts}); err != nil {
		t.Fatal(err)
	}
}

const hourly = `
playbook: hourly
on: {schedule: {every: 1h}}
steps:
  - {do: fake.repeat, with: {a: "${{ .schedule.at }} ${{ .schedule.missed }} ${{ .alert.id }}"}}
`

func TestSchedules(t *testing.T) {
	inBubble(t, func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action) {
		set := loadText(t, actions, hourly)
		_, stop := running(t, s, actions, set, EngineOptions{}) // the clock stands at midnight
		time.Sleep(59 * time.Minute)
		wantTexts(t, server)
		time.Sleep(2 * time.Minute)
		wantTexts(t, server, "2000-01-01T01:00:00Z 0 ")

		stop()
		time.Sleep(5 * time.Hour) // 06:01
		_, stop = running(t, s, actions, set, EngineOptions{})
		time.Sleep(time.Minute)
		wantTexts(t, server, "2000-01-01T01:00:00Z 0 ", "2000-01-01T06:00:00Z 4 ")
		stop()
		_, stop = running(t, s, actions, set, EngineOptions{}) // a restart is no reason for another
		time.Sleep(time.Minute)
		if n := len(server.texts("fake.repeat")); n != 2 {
			t.Fatalf("%d runs after a restart", n)
		}

		// A clock that was wrong holds no schedule back.
		stop()
		ahead := scheduleMark(set.Get("hourly"), time.Now().AddDate(1, 0, 0))
		if _, err := s.Commit(t.Context(), soar.Change{KV: []soar.KV{ahead}}); err != nil {
			t.Fatal(err)
		}
		e, stop := running(t, s, actions, set, EngineOptions{})
		time.Sleep(time.Second)
		if kv, err := s.KV(t.Context(), schedulePrefix); err != nil || len(kv) != 1 || !strings.HasPrefix(kv[0].Value, "2000-01-01T06:03:00Z ") {
			t.Fatalf("marks %v, %v", kv, err)
		}

		// Another schedule begins now: what it would have had to do since is not made up for.
		e.Reload(loadText(t, actions, strings.Replace(hourly, "every: 1h", `cron: "*/7 * * * *"`, 1)))
		time.Sleep(time.Second)
		if n := len(server.texts("fake.repeat")); n != 2 {
			t.Fatalf("%d runs after the schedule was changed", n)
		}
		time.Sleep(4 * time.Minute) // 06:07:02
		wantTexts(t, server, "2000-01-01T01:00:00Z 0 ", "2000-01-01T06:00:00Z 4 ", "2000-01-01T06:07:00Z 0 ")

		// One that went and came back has missed nothing.
		e.Reload(NewSet())
		time.Sleep(3 * time.Hour)
		e.Reload(set)
		time.Sleep(time.Second)
		stop()
		if runs := runsOf(t, s, "hourly"); stateOf(runs) != "done done done" || runs[0].Alert != "" {
			t.Errorf("runs %+v", runs)
		}
	})
}

// commitsUntil is a store that breaks at the commits that die accepts: before it
// happens, or after, when nobody learns of it.
type commitsUntil struct {
	*store.Store
	die   func(soar.Change) bool // called by one goroutine at a time
	after bool

	mu sync.Mutex
}

func (c *commitsUntil) Commit(ctx context.Context, change soar.Change) (soar.Committed, error) {
	c.mu.Lock()
	dies := c.die(change)
	c.mu.Unlock()
	if !dies {
		return c.Store.Commit(ctx, change)
	}
	if c.after {
		if _, err := c.Store.Commit(ctx, change); err != nil {
			return soar.Committed{}, err
		}
	}
	return soar.Committed{}, errCrashed
}

func startsRun(playbook string) func(soar.Change) bool {
	return func(c soar.Change) bool {
		return slices.ContainsFunc(c.Runs, func(r soar.Run) bool { return r.Playbook == playbook })
	}
}

func TestSchedulesCrash(t *testing.T) {
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("after=%v", after), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action) {
				set := loadText(t, actions, hourly)
				_, stop := running(t, &commitsUntil{Store: s, die: startsRun("hourly"), after: after}, actions, set, EngineOptions{Drain: time.Second})
				time.Sleep(time.Hour + 500*time.Millisecond)
				stop()
				_, stop = running(t, s, actions, set, EngineOptions{})
				time.Sleep(10 * time.Minute)
				stop()
				wantTexts(t, server, "2000-01-01T01:00:00Z 0 ")
			})
		})
	}
}

const failing = `
playbook: failing
steps:
  - {do: fake.repeat, with: {a: "${{ .alert.id | error }}"}}
`

const watcher = `
playbook: watcher
on: run.failed
match:
  all:
    - it is the one: .run.playbook == "failing"
steps:
  - {do: fake.repeat, with: {a: "${{ .run.playbook }} ${{ .alert.id }}: ${{ .run.error }}"}}
  - {do: fake.repeat, with: {a: "${{ error }}"}}
`

func TestFailedRuns(t *testing.T) {
	for _, tt := range []struct {
		name  string
		die   func(soar.Change) bool
		after bool
	}{
		{name: "no crash"},
		{name: "before the failure is kept", die: startsRun("failing")},
		{name: "after the failure is kept", die: startsRun("failing"), after: true},
		{name: "before the run that follows", die: startsRun("watcher")},
		{name: "after the run that follows", die: startsRun("watcher"), after: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action) {
				set := loadText(t, actions, failing, watcher,
					"playbook: every\non: run.failed\nsteps: [{do: fake.repeat, with: {a: '${{ .run.playbook }} failed'}}]",
					"playbook: cancelled\non: run.failed\nmatch: {all: [{it was cancelled: .run.state == \"cancelled\"}]}\nsteps: [{do: fake.once}]")
				put(t, s, testAlert("1"))
				if tt.die != nil {
					_, stop := running(t, &commitsUntil{Store: s, die: tt.die, after: tt.after}, actions, set, EngineOptions{Drain: time.Second})
					time.Sleep(500 * time.Millisecond)
					stop()
				}
				_, stop := running(t, s, actions, set, EngineOptions{})
				time.Sleep(time.Minute)
				stop()
				got := server.texts("fake.repeat")
				slices.Sort(got)
				// watcher fails as well, and nobody is told of that.
				if len(got) != 2 || got[0] != "failing 1: step step1: with: a: error: 1" || got[1] != "failing failed" {
					t.Errorf("found %q", got)
				}
				if a, b := runsOf(t, s, "watcher"), runsOf(t, s, "every"); stateOf(a) != "failed" || stateOf(b) != "done" || a[0].Alert != "er-1" {
					t.Errorf("runs %+v and %+v", a, b)
				}
				if kv, err := s.KV(t.Context(), failedPrefix); err != nil || len(kv) > 0 {
					t.Errorf("left over: %v %v", kv, err)
				}
			})
		})
	}
}

// A run that fails because a person settles it while erbridge is stopped is heard of
// afterwards: once, whatever dies in between, and not for ever when those who hear of it
// fail as well.
func TestFailedWhileStopped(t *testing.T) {
	const doubtful = "playbook: doubtful\nsteps: [{id: hit, do: fake.blind}]"
	const hears = `
playbook: hears
on: run.failed
steps: [{do: fake.repeat, with: {a: "${{ .run.playbook }}: ${{ .run.error }}"}}, {do: fake.repeat, with: {a: "${{ error }}"}}]
`
	for _, tt := range []struct {
		name  string
		gone  bool // the playbook of the run no longer loads
		die   func(soar.Change) bool
		after bool
	}{
		{name: "no crash"},
		{name: "the playbook is gone", gone: true},
		{name: "before the run that follows", die: startsRun("hears")},
		{name: "after the run that follows", die: startsRun("hears"), after: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action) {
				server.add(actions, "fake.blind", Once, func(context.Context, Call) (Outcome, error) { return Outcome{}, ErrUncertain })
				put(t, s, testAlert("1"))
				_, stop := running(t, s, actions, loadText(t, actions, doubtful, hears), EngineOptions{})
				time.Sleep(time.Hour)
				stop()
				run := runsOf(t, s, "doubtful")[0]
				if run.State != soar.RunUnknown {
					t.Fatalf("the run is %s", run.State)
				}
				known := maps.Clone(actions)
				if tt.gone {
					delete(known, "fake.blind")
				}
				offline, err := NewEngine(s, known, nil, EngineOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if err := offline.Settle(t.Context(), run.ID, "hit", false, "ann", ""); err != nil {
					t.Fatal(err)
				}
				set := loadText(t, actions, hears)
				if tt.die != nil {
					_, stop := running(t, &commitsUntil{Store: s, die: tt.die, after: tt.after}, actions, set, EngineOptions{Drain: time.Second})
					time.Sleep(500 * time.Millisecond)
					stop()
				}
				for range 3 {
					_, stop := running(t, s, actions, set, EngineOptions{})
					time.Sleep(time.Hour)
					stop()
				}
				if got := server.texts("fake.repeat"); len(got) != 1 || !strings.HasPrefix(got[0], "doubtful: step hit: settled by ann: it did not happen") {
					t.Errorf("heard %q", got)
				}
				if runs := runsOf(t, s, "hears"); stateOf(runs) != "failed" {
					t.Errorf("runs %+v", runs)
				}
				if kv, err := s.KV(t.Context(), failedPrefix); err != nil || len(kv) > 0 {
					t.Errorf("left over: %v %v", kv, err)
				}
			})
		})
	}
}

func TestRunsByHand(t *testing.T) {
	inBubble(t, func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action) {
		set := loadText(t, actions, `
playbook: hand
on: [manual, alert.updated]
match:
  none: [{it is closed: .alert.status == "resolved"}]
cooldown: {key: '.alert.id // "none"', for: 10m}
steps:
  - {do: fake.repeat, with: {a: "${{ .alert.id }} ${{ .input.why }}"}}
`, "playbook: auto\nsteps: [{do: fake.repeat}]", "playbook: seen\nmode: observe\non: manual\nsteps: [{do: fake.repeat}]")
		put(t, s, testAlert("1"), func() soar.Alert { a := testAlert("2"); a.Status = soar.StatusResolved; return a }())
		e, stop := running(t, s, actions, NewSet(set.Get("hand"), set.Get("seen")), EngineOptions{})
		defer stop()
		alert := func(ref string) *soar.StoredAlert {
			a, err := s.AlertByRef(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			return &a
		}
		start := func(m Manual) error {
			run, err := e.Start(t.Context(), m)
			if (err == nil) != (run.ID != 0) {
				t.Fatalf("run %s, %v", run.ID, err)
			}
			time.Sleep(time.Second)
			return err
		}
		input := map[string]any{"why": "because"}
		for _, tt := range []struct {
			name string
			m    Manual
			want error
			text string
		}{
			{"nobody agreed", Manual{Playbook: "hand", Alert: alert("er-1"), Input: input}, ErrNotAgreed, "playbook hand enforces: "},
			{"unknown", Manual{Playbook: "hend"}, soar.ErrNotFound, `did you mean "hand"?`},
			{"not by hand", Manual{Playbook: "auto"}, soar.ErrNotFound, ""},
			{"with an alert", Manual{Playbook: "hand", Alert: alert("er-1"), Input: input, Enforce: true, By: "ann"}, nil, ""},
			{"again", Manual{Playbook: "hand", Alert: alert("er-1"), Enforce: true}, ErrNotStarted, `suppressed: cool-down of "1" until`},
			{"no match", Manual{Playbook: "hand", Alert: alert("er-2"), Enforce: true}, ErrNotStarted, "its conditions do not match"},
			{"without an alert", Manual{Playbook: "hand", Input: input, Enforce: true}, nil, ""},
			{"that only observes", Manual{Playbook: "seen"}, nil, ""},
		} {
			err := start(tt.m)
			if !errors.Is(err, tt.want) || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		wantTexts(t, server, "1 because", " because")
		e.Reload(set)
		if err := start(Manual{Playbook: "auto"}); !errors.Is(err, ErrNotManual) {
			t.Errorf("a playbook without manual: %v", err)
		}
		entries, err := s.Entries(t.Context(), runsOf(t, s, "hand")[0].ID)
		if err != nil || !slices.ContainsFunc(entries, func(e soar.Entry) bool { return strings.Contains(string(e.Body), "by ann") }) {
			t.Errorf("who started it is not in the journal: %v", err)
		}
	})
}

// Groups are of alerts: a run that failed starts a run of its own at once, and is seen.
func TestFailuresJoinNoGroup(t *testing.T) {
	inBubble(t, func(t *testing.T, s *store.Store, server *fakeServer, actions map[string]Action) {
		actions["fake.once"].(*fakeAction).do = func(context.Context, Call) (Outcome, error) { return Outcome{}, errors.New("no such host") }
		_, stop := running(t, s, actions, loadText(t, actions,
			"playbook: fails\nmatch: {all: [{it is the second: .alert.id == \"2\"}]}\nsteps: [{do: fake.once}]",
			"playbook: grouped\non: [alert, run.failed]\ngroup: {by: .alert.host.identifier, window: 10m}\nsteps: [{do: fake.repeat, with: {a: '${{ .run.playbook }} ${{ .alerts | length }}'}}]"), EngineOptions{})
		put(t, s, testAlert("1"), testAlert("2"))
		time.Sleep(time.Minute)
		wantTexts(t, server, "fails 1")
		time.Sleep(time.Hour)
		stop()
		wantTexts(t, server, "fails 1", "grouped 2")
	})
}

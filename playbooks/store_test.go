package playbooks

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/internal/testenv"
)

var _ Journal = (*store.Store)(nil)

func openStore(t testing.TB, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), dir, store.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func eachRun(t *testing.T, s *store.Store, f func(soar.Run)) {
	t.Helper()
	for before := soar.RunID(0); ; {
		runs, err := s.Runs(t.Context(), store.RunFilter{Before: before, Limit: 500})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range runs {
			f(r)
			before = r.ID
		}
		if len(runs) < 500 {
			return
		}
	}
}

// The engine on the real store: stopped and started again and again in the middle
// of its work, it loses nothing and does nothing twice.
func TestRealStore(t *testing.T) {
	s, server := openStore(t, t.TempDir()), newFakeServer()
	server.pollAfter = time.Millisecond
	actions := server.actions()
	set := loadText(t, actions, fmt.Sprintf(crashBook, "fake.marked"))
	const alerts = 300
	var batch []soar.Alert
	for i := range alerts {
		batch = append(batch, testAlert(fmt.Sprint(i)))
	}
	if _, err := s.Commit(t.Context(), soar.Change{Alerts: batch}); err != nil {
		t.Fatal(err)
	}
	finished := func() int {
		n := 0
		eachRun(t, s, func(r soar.Run) {
			if r.State == soar.RunDone {
				n++
			}
		})
		return n
	}
	stopAgainAndAgain(t, s, actions, set, func() bool { return finished() == alerts })
	happened := map[string]int{}
	for _, c := range server.done("fake.marked") {
		happened[c.with["a"].(string)]++
	}
	for i := range alerts {
		if n := happened[fmt.Sprint(i)]; n != 1 {
			t.Errorf("alert %d: happened %d times", i, n)
		}
	}
	eachRun(t, s, func(r soar.Run) {
		entries, err := s.Entries(t.Context(), r.ID)
		if err != nil || len(entries) < 8 {
			t.Errorf("run %s: %d entries, %v", r.ID, len(entries), err)
		}
	})
}

// BenchmarkRuns works through a three-step playbook on the real store. With
// effects, every step has an intent on disk before its call.
func BenchmarkRuns(b *testing.B) {
	for _, bb := range []struct{ name, action string }{{"effects", "bench.effect"}, {"reads", "bench.read"}} {
		b.Run(bb.name, func(b *testing.B) {
			s, server := openStore(b, b.TempDir()), newFakeServer()
			actions := map[string]Action{}
			var calls atomic.Int64
			noop := func(context.Context, Call) (Outcome, error) {
				calls.Add(1)
				return Outcome{State: soar.StepExecuted, Output: map[string]any{"ok": true}}, nil
			}
			actions["bench.effect"] = &fakeAction{server: server, spec: Spec{Name: "bench.effect", Effect: Repeatable}, do: noop}
			actions["bench.read"] = &fakeAction{server: server, spec: Spec{Name: "bench.read", Effect: Reads}, do: noop}
			set := loadText(b, actions, fmt.Sprintf(`
playbook: bench
match:
  all: [{severity is high: '.alert.severity | at_least("high")'}]
  none: [{it is noise: '.alert.event.cmdline // "" | test("backup"; "i")'}]
steps:
  - {id: a, do: %[1]s, with: {host: "${{ .alert.host.identifier }}"}}
  - {id: b, do: %[1]s, with: {text: "was ${{ .steps.a.state }}"}}
  - {id: c, do: %[1]s, if: .steps.b.output.ok}
`, bb.action))
			for from := 0; from < b.N; from += 1000 {
				var batch []soar.Alert
				for i := from; i < min(from+1000, b.N); i++ {
					batch = append(batch, testAlert(fmt.Sprint(i)))
				}
				if _, err := s.Commit(b.Context(), soar.Change{Alerts: batch}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			_, stop := running(b, s, actions, set, EngineOptions{})
			for calls.Load() < 3*int64(b.N) {
				changed := s.Changed(soar.SignalFeed)
				if calls.Load() < 3*int64(b.N) {
					<-changed
				}
			}
			stop() // waits until the last outcome is on disk
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
			testenv.ReportMachine(b, testAlert("1"))
			counts, err := s.Counts(b.Context())
			if err != nil || counts.RunsByState[soar.RunDone] != int64(b.N) && counts.Pending != 0 {
				b.Fatalf("counts %+v, %v", counts, err)
			}
		})
	}
}

// stopAgainAndAgain runs engines one after the other on the same store, each for some
// more commits than the one before, until all is finished.
func stopAgainAndAgain(t *testing.T, s *store.Store, actions map[string]Action, set *Set, finished func() bool) {
	t.Helper()
	for round := 1; !finished(); round++ {
		_, stop := running(t, s, actions, set, EngineOptions{CallTimeout: time.Second, Drain: time.Millisecond})
		for commits := 0; commits < 20*round && !finished(); commits++ {
			changed := s.Changed(soar.SignalRuns)
			if !finished() {
				<-changed
			}
		}
		stop()
	}
}

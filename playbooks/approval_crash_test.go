package playbooks

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// The process dies at each commit of a run that asks two people about two calls, before
// it is on disk and after: each question is asked once, no call goes out without its
// answers, and none twice.
func TestApprovalCrashEverywhere(t *testing.T) {
	const book = `
playbook: p
mode: approve
steps:
  - {id: one, do: fake.marked, timeout: 3h, with: {host: "${{ .alert.host.identifier }}", n: 1}}
  - {id: two, do: fake.marked, timeout: 3h, with: {host: "${{ .alert.host.identifier }}", n: 2}}
`
	for _, where := range []string{"commit", "committed"} {
		t.Run(where, func(t *testing.T) {
			moments := 0
			for n, died := 1, true; died; n++ {
				moments = n
				synctest.Test(t, func(t *testing.T) {
					j, server := newMemJournal(), newFakeServer()
					server.now = time.Now
					actions := server.actions()
					set := loadText(t, actions, book)
					options := func() EngineOptions {
						return EngineOptions{Guard: approvers(t, guard.ApprovalSettings{From: []string{"leads"}, Count: 2, Expires: 10 * time.Hour}), Drain: time.Second}
					}
					j.put(t, testAlert("1"))
					died = dieAt(t, j, actions, set, options(), n, where)
					e, stop := running(t, j, actions, set, options())
					time.Sleep(time.Hour)
					answerAll(t.Context(), e)
					time.Sleep(2 * time.Hour)
					answerAll(t.Context(), e)
					time.Sleep(2 * time.Hour)
					stop()
					requested, decided := map[string]int{}, map[string]int{}
					for _, ev := range j.told() {
						switch ev.Type {
						case soar.EventApprovalRequested:
							requested[ev.ID]++
						case soar.EventApprovalDecided:
							decided[ev.ID]++
						}
					}
					for _, events := range []map[string]int{requested, decided} {
						for id, times := range events {
							if times != 1 {
								t.Errorf("crash at %s %d: event %s comes %d times", where, n, id, times)
							}
						}
					}
					calls := server.done("fake.marked")
					if len(requested) != 2 || len(decided) != 2 || len(calls) != 2 || stateOf(j.all()) != "done" {
						t.Errorf("crash at %s %d: %d questions, %d answers, %d calls, runs %s", where, n, len(requested), len(decided), len(calls), stateOf(j.all()))
					}
					for _, a := range e.Guard().Approvals(time.Now()) {
						if a.State != soar.ApprovalApproved || len(a.Votes) != 2 || a.EndedAt.IsZero() {
							t.Errorf("crash at %s %d: approval %+v", where, n, a)
						}
					}
					for i, c := range calls {
						for _, a := range e.Guard().Approvals(time.Now()) {
							if a.With["n"] == c.with["n"] && c.at.Before(a.DecidedAt) {
								t.Errorf("crash at %s %d: call %d went out at %s, and was agreed to at %s", where, n, i, c.at, a.DecidedAt)
							}
						}
					}
				})
			}
			if moments < 10 {
				t.Errorf("%d commits only", moments)
			}
		})
	}
}

// dieAt runs an engine whose people answer everything, until it dies at the nth commit,
// or has nothing left to do. It reports whether it died.
func dieAt(t *testing.T, j *memJournal, actions map[string]Action, set *Set, o EngineOptions, n int, where string) (died bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	j.fail = func(commit int, _ soar.Change) (before, after error) {
		if commit != n {
			return nil, nil
		}
		once.Do(func() { died = true; cancel() })
		j.down = errCrashed
		if where == "commit" {
			return errCrashed, nil
		}
		return nil, errCrashed
	}
	e, err := NewEngine(j, actions, set, o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := e.Run(ctx); err != nil && !errors.Is(err, errCrashed) {
			t.Error(err)
		}
	}()
	for range 4 {
		time.Sleep(10 * time.Minute)
		if ctx.Err() == nil {
			answerAll(ctx, e)
		}
	}
	cancel()
	<-done
	j.restart()
	return died
}

// answerAll lets two people agree to everything that waits, as far as they have not.
func answerAll(ctx context.Context, e *Engine) {
	list, err := e.Approvals(ctx)
	if err != nil {
		return // the process has died
	}
	for _, a := range list {
		for _, by := range []string{"ann", "ben"} {
			if a.State == soar.ApprovalWaiting {
				_, _ = e.Decide(ctx, a.ID, soar.Vote{By: by, Agree: true}) // refused where it has come before the end of the process
			}
		}
	}
}

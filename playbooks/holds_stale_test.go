package playbooks

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// A run that waits for the guard is not forgotten when a row of it turns out to be old that
// was read before it began to wait.
func TestHeldRunIsKeptBesideAnOldRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		e, stop := running(t, j, actions, loadText(t, actions, oneHit), EngineOptions{Hosts: anyHost})
		if _, err := e.Pause(t.Context(), "ann", "lunch"); err != nil {
			t.Fatal(err)
		}
		j.put(t, testAlert("1"))
		time.Sleep(time.Second)
		run := j.all()[0]
		if run.State != soar.RunWaiting || !run.Wake.After(time.Now()) {
			t.Fatalf("%+v", run)
		}
		old := run
		old.Wake = time.Now()
		var workers sync.WaitGroup
		p := &pool{e: e, ctx: t.Context(), wg: &workers, runs: make(chan struct{}, 1)}
		if !p.start(t.Context(), old, whenDue) {
			t.Fatal("not looked at")
		}
		workers.Wait()
		if err := e.Resume(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := server.called("fake.once"); n != 1 {
			t.Errorf("%d calls were sent", n)
		}
		stop()
	})
}

// A run that waits for the guard is not forgotten when somebody looks at an old row of it
// at the very moment at which the guard changes its mind.
func TestHeldRunIsPokedThoughSomebodyHasIt(t *testing.T) {
	for _, leaves := range []string{"before it is put back", "after it was put back"} {
		t.Run(leaves, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				actions := server.actions()
				e, stop := running(t, j, actions, loadText(t, actions, oneHit), EngineOptions{Hosts: anyHost})
				if _, err := e.Pause(t.Context(), "ann", "lunch"); err != nil {
					t.Fatal(err)
				}
				j.put(t, testAlert("1"))
				time.Sleep(time.Second)
				run := j.all()[0]
				news := func(soar.RunID, uint64) bool { return true }
				if ids := e.holds.take(news, e.busy); len(ids) != 1 || ids[0] != run.ID {
					t.Fatalf("taken: %v", ids)
				}
				if err := e.Resume(t.Context(), "ann"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // whoever looks at what is held, has looked
				if !e.takeRun(run.ID) {
					t.Fatal("somebody has it already")
				}
				if leaves == "before it is put back" {
					e.dropRun(run.ID)
					e.holds.putBack(run.ID, e.busy)
				} else {
					p := &pool{e: e, ctx: t.Context()}
					p.start(t.Context(), run, whenPoked)
					e.dropRun(run.ID)
				}
				time.Sleep(time.Second)
				if n := server.called("fake.once"); n != 1 {
					t.Errorf("%d calls were sent", n)
				}
				stop()
			})
		})
	}
}

// flaky is an action whose host cannot be looked at, for a reason that is worded in another
// way each time, as errors with the numbers of ports are.
type flaky struct {
	*fakeAction
	looks int
}

func (a *flaky) Ready(context.Context, Call) error {
	a.looks++
	return fmt.Errorf("%w: read tcp 127.0.0.1:%d: connection reset", ErrTransient, 40_000+a.looks)
}

// A step that waits for a server that is away for a day leaves no line in the journal for
// each look at it.
func TestWaitingDoesNotFillTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		away := &flaky{fakeAction: &fakeAction{server: server, spec: Spec{Name: "fake.flaky", Effect: Repeatable}}}
		actions[away.spec.Name] = away
		_, stop := running(t, j, actions, loadText(t, actions, "playbook: p\nsteps: [{do: fake.flaky, with: {host: host-1}}]"), EngineOptions{Hosts: anyHost})
		j.put(t, testAlert("1"))
		time.Sleep(23 * time.Hour)
		stop()
		if n := len(entriesOf(t, j, j.all()[0].ID)); away.looks < 1000 || n > 300 {
			t.Errorf("%d looks left %d entries", away.looks, n)
		}
	})
}

package playbooks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

const toCallOff = `playbook: p
steps:
  - {id: hit, do: fake.once, timeout: 10m, with: {host: "${{ .alert.host.identifier }}"}}
  - {id: tell, do: fake.repeat}
finally:
  - {id: last, do: fake.repeat}`

func cancelled(id soar.RunID, step string) Cancellation {
	return Cancellation{Run: id, Step: step, By: "ann", Reason: "wrong machine"}
}

// A run that waits ends at once, and nothing of it is ever sent.
func TestCancelWaitingRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		e, stop := running(t, j, actions, loadText(t, actions, toCallOff), EngineOptions{})
		if _, err := e.Pause(t.Context(), "ben", ""); err != nil {
			t.Fatal(err)
		}
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		id := j.all()[0].ID
		run, err := e.Cancel(t.Context(), cancelled(id, ""))
		if err != nil || run.State != soar.RunCancelled || run.Error != "cancelled by ann: wrong machine" || run.EndedAt.IsZero() {
			t.Errorf("run %+v: %v", run, err)
		}
		if got := j.result(t, id, "hit"); got.State != soar.StepCancelled || got.Error != "cancelled by ann: wrong machine" {
			t.Errorf("hit ended %+v", got)
		}
		if err := e.Resume(t.Context(), "ben"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if _, err := e.Cancel(t.Context(), cancelled(id, "")); !errors.Is(err, ErrNotCancelled) || !strings.Contains(err.Error(), "is cancelled already") {
			t.Errorf("again: %v", err)
		}
		if _, err := e.Cancel(t.Context(), cancelled(12345, "")); !errors.Is(err, soar.ErrNotFound) {
			t.Errorf("a run that does not exist: %v", err)
		}
		stop()
		if server.effects != 0 || stateOf(j.all()) != "cancelled" {
			t.Errorf("%d calls, runs %s", server.effects, stateOf(j.all()))
		}
	})
}

// What was sent goes to its end, before and after a restart; nothing else begins.
func TestCancelKeepsWhatWasSent(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				server.executedAfter = 20
				actions := server.actions()
				set := loadText(t, actions, toCallOff)
				e, stop := running(t, j, actions, set, EngineOptions{})
				j.put(t, testAlert("1"))
				time.Sleep(10 * time.Second)
				id := j.all()[0].ID
				run, err := e.Cancel(t.Context(), cancelled(id, ""))
				if err != nil || run.State.Ended() {
					t.Fatalf("run %+v: %v", run, err)
				}
				if _, err := e.Cancel(t.Context(), cancelled(id, "hit")); !errors.Is(err, ErrNotCancelled) || !strings.Contains(err.Error(), "was sent") {
					t.Errorf("a step that was sent: %v", err)
				}
				if restart {
					stop()
					_, stop = running(t, j, actions, set, EngineOptions{})
				}
				time.Sleep(5 * time.Minute)
				stop()
				if got := j.result(t, id, "hit"); got.State != soar.StepExecuted {
					t.Errorf("hit ended %+v", got)
				}
				if got := j.all()[0]; got.State != soar.RunCancelled || got.Error != "cancelled by ann: wrong machine" || server.called("fake.repeat") != 0 || server.called("fake.once") != 1 {
					t.Errorf("run %+v, %d calls after it", got, server.called("fake.repeat"))
				}
			})
		})
	}
}

// A call whose answer was lost is looked up, and not sent again when it never arrived.
func TestCancelWithALostCall(t *testing.T) {
	for _, arrived := range []bool{true, false} {
		t.Run(fmt.Sprint("arrived ", arrived), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				lost := func(int) error { return fmt.Errorf("connection reset: %w", ErrUncertain) }
				if arrived {
					server.after = lost
				} else {
					server.before = lost
				}
				actions := server.actions()
				e, stop := running(t, j, actions, loadText(t, actions, toCallOff), EngineOptions{})
				j.put(t, testAlert("1"))
				time.Sleep(time.Second)
				id := j.all()[0].ID
				if run, err := e.Cancel(t.Context(), cancelled(id, "")); err != nil || run.State.Ended() {
					t.Fatalf("run %+v: %v", run, err)
				}
				time.Sleep(time.Hour)
				stop()
				want := soar.StepCancelled
				if arrived {
					want = soar.StepExecuted
				}
				if got := j.result(t, id, "hit"); got.State != want || server.called("fake.once") != 1 || stateOf(j.all()) != "cancelled" {
					t.Errorf("hit ended %+v after %d calls, run %s", got, server.called("fake.once"), stateOf(j.all()))
				}
			})
		})
	}
}

// A step that waits is called off by itself, and its run goes on as after a failure.
func TestCancelStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		actions["fake.once"] = &readier{actions["fake.once"].(*fakeAction), func(Call) error { return fmt.Errorf("pc-1 is offline: %w", ErrNotNow) }}
		e, stop := running(t, j, actions, loadText(t, actions, strings.Replace(toCallOff, "timeout: 10m", "on_error: continue", 1)), EngineOptions{})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		id := j.all()[0].ID
		for _, step := range []string{"tell", "nonsense"} {
			if _, err := e.Cancel(t.Context(), cancelled(id, step)); !errors.Is(err, ErrNotCancelled) || !strings.Contains(err.Error(), "has not begun") {
				t.Errorf("%s: %v", step, err)
			}
		}
		if _, err := e.Cancel(t.Context(), cancelled(id, "hit")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		stop()
		if got := j.result(t, id, "hit"); got.State != soar.StepCancelled {
			t.Errorf("hit ended %+v", got)
		}
		if stateOf(j.all()) != "done" || server.called("fake.once") != 0 || server.called("fake.repeat") != 2 {
			t.Errorf("run %s, %d and %d calls", stateOf(j.all()), server.called("fake.once"), server.called("fake.repeat"))
		}
	})
}

// A run that a worker has in hand is taken from it between two calls.
func TestCancelBusyRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		server.add(actions, "fake.slow", Once, func(ctx context.Context, _ Call) (Outcome, error) {
			time.Sleep(time.Second)
			return Outcome{State: soar.StepExecuted}, nil
		})
		e, stop := running(t, j, actions, loadText(t, actions, "playbook: p\nsteps: [{id: all, do: fake.slow, for_each: '[range(1000)]'}]"), EngineOptions{})
		j.put(t, testAlert("1"))
		time.Sleep(10500 * time.Millisecond)
		run, err := e.Cancel(t.Context(), cancelled(j.all()[0].ID, ""))
		if err != nil || run.State != soar.RunCancelled {
			t.Errorf("run %+v: %v", run, err)
		}
		time.Sleep(time.Minute)
		stop()
		if n := server.called("fake.slow"); n != 11 || stateOf(j.all()) != "cancelled" {
			t.Errorf("%d calls, runs %s", n, stateOf(j.all()))
		}
	})
}

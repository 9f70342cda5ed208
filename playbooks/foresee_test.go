package playbooks

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// flagger is fake.flag. What is up already, it has not put up.
type flagger struct {
	*fakeAction
	up *atomic.Bool
}

func (a flagger) Ready(ctx context.Context, call Call) error {
	_, err := a.Foresee(ctx, call)
	return err
}

func (a flagger) Foresee(context.Context, Call) (any, error) {
	if a.up.Load() {
		return nil, fmt.Errorf("%w: it is up", ErrNothingToDo)
	}
	return map[string]bool{"changed": true}, nil
}

// Do puts it up, and says that it could not.
func (a flagger) Do(context.Context, Call) (Outcome, error) {
	a.up.Store(true)
	return Outcome{State: soar.StepFailed, Error: "it is not up yet"}, nil
}

func (a flagger) Reverse(_ Call, output any) *Reversal {
	if left, _ := output.(map[string]any); left["changed"] != true {
		return nil
	}
	return &Reversal{Do: "fake.unflag", With: map[string]any{}, After: 4 * time.Hour}
}

// What an attempt did that looked as if it had failed, can be taken back after the next
// one has found it done.
func TestUndoOfWhatAnAttemptBeforeDid(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				actions := server.actions()
				spec := Spec{Name: "fake.flag", Effect: Repeatable, Inverse: "fake.unflag"}
				actions[spec.Name] = flagger{&fakeAction{server: server, spec: spec}, &atomic.Bool{}}
				actions["fake.unflag"] = &fakeAction{server: server, spec: Spec{Name: "fake.unflag", Effect: Repeatable}}
				set := loadText(t, actions, "playbook: p\nsteps: [{id: put, do: fake.flag, timeout: 3h, retry: {attempts: 2, delay: 1h, on: failed}}]")
				_, stop := running(t, j, actions, set, EngineOptions{})
				j.put(t, testAlert("1"))
				time.Sleep(time.Minute)
				if restart {
					stop()
					_, stop = running(t, j, actions, set, EngineOptions{})
				}
				time.Sleep(2 * time.Hour)
				got := j.result(t, j.byPlaybook("p")[0].ID, "put")
				time.Sleep(4 * time.Hour)
				stop()
				if left, _ := got.Output.(map[string]any); got.State != soar.StepVerified || left["changed"] != true {
					t.Errorf("put ended %+v", got)
				}
				if n := len(server.done("fake.unflag")); n != 1 {
					t.Errorf("taken back by itself %d times", n)
				}
			})
		})
	}
}

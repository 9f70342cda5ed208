package playbooks

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// withdrawer is an action that takes its commands back.
type withdrawer struct {
	*fakeAction
	withdraw func() error
}

func (w *withdrawer) Withdraw(context.Context, Call, string) error { return w.withdraw() }

// A command that no host has carried out in time is withdrawn before its step ends
// expired, and looked at once more: the host may have been quicker.
func TestExpiredCommandIsWithdrawn(t *testing.T) {
	for _, tt := range []struct {
		name     string
		err      error
		executed bool // when it was withdrawn
		paused   bool
		state    soar.StepState
		words    string
		asked    int
	}{
		{"withdrawn", nil, false, false, soar.StepExpired, "accepted, and not executed within 10m0s; it was withdrawn from the server", 1},
		{"not withdrawn", errors.New("no such command"), false, false, soar.StepExpired, "the host may carry it out still, since it could not be withdrawn: no such command", 1},
		{"executed meanwhile", errors.New("completed already"), true, false, soar.StepExecuted, "", 1},
		{"paused", nil, false, true, soar.StepExpired, "the kill switch keeps it from being withdrawn", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				server.executedAfter = -1
				actions := server.actions()
				asked := 0
				actions["fake.once"] = &withdrawer{actions["fake.once"].(*fakeAction), func() error {
					asked++
					if tt.executed {
						server.mu.Lock()
						defer server.mu.Unlock()
						server.executedAfter = 0
					}
					return tt.err
				}}
				e, stop := running(t, j, actions, loadText(t, actions, oneHit), EngineOptions{})
				j.put(t, testAlert("1"))
				time.Sleep(time.Minute)
				if tt.paused {
					if _, err := e.Pause(t.Context(), "ann", ""); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Hour)
				stop()
				got := j.result(t, j.all()[0].ID, "hit")
				if got.State != tt.state || !strings.Contains(got.Error, tt.words) || asked != tt.asked {
					t.Errorf("ended %+v, withdrawn %d times", got, asked)
				}
			})
		})
	}
}

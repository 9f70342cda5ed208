package playbooks

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// An explanation says of each call who is asked first.
func TestExplainApprovals(t *testing.T) {
	server := newFakeServer()
	actions := server.actions()
	asking(server, actions, false)
	for _, tt := range []struct {
		name, book string
		want       []string
	}{
		{"calls", oneAgreed, []string{"hit asks: asks for approval: leads may agree, within 30m"}},
		{"questions", askFirst, []string{"ask asks: asks for approval: leads may agree, within 15m", "hit unknown: depends on what earlier steps return"}},
		{"messages", "playbook: p\nmode: approve\nsteps: [{id: tell, do: fake.tell}]", []string{"tell sent: is sent: approve: the playbook asks for approval"}},
		{"observed questions", "mode: observe\n" + askFirst, []string{"ask observed: is not sent: observe: the playbook only observes", "hit skipped: is skipped: if is false"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			alert := testAlert("1")
			x, err := ExplainTrigger(t.Context(), loadText(t, actions, tt.book).Get("p"), Trigger{Alert: &alert},
				ExplainOptions{Actions: actions, Guard: approvers(t, fromLeads), Hosts: HostOfAlert})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range x.Steps {
				got = append(got, fmt.Sprintf("%s %s: %s", s.ID, s.Plan, s.Words))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q\nwant %q", got, tt.want)
			}
		})
	}
}

// A backtest counts what people would have been asked.
func TestBacktestCountsApprovals(t *testing.T) {
	server := newFakeServer()
	actions := server.actions()
	asking(server, actions, false)
	b, err := NewBacktest(loadText(t, actions, oneAgreed), BacktestOptions{Actions: actions, Ceiling: soar.ModeEnforce})
	results := backtested(t, b, err, came(1, 0, nil), came(2, 1, nil))
	if got := results["p"]; got.Approvals != 2 || len(got.Actions) != 1 || got.Actions[0].Calls != 2 {
		t.Errorf("calls: %+v", got)
	}
	b, err = NewBacktest(loadText(t, actions, askFirst), BacktestOptions{Actions: actions, Ceiling: soar.ModeEnforce})
	if got := backtested(t, b, err, came(1, 0, nil))["p"]; got.Approvals != 1 {
		t.Errorf("questions: %+v", got)
	}
}

// Runs of which the beginning could not be kept have asked nobody.
func TestApprovalsOfRunsThatAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		failed := 0
		j.fail = func(_ int, c soar.Change) (before, after error) {
			if failed < 3 && slices.ContainsFunc(c.Events, func(e soar.Event) bool { return e.Approval != nil }) {
				failed++
				return errors.New("disk full"), nil
			}
			return nil, nil
		}
		e, stop := running(t, j, actions, loadText(t, actions, oneAgreed), EngineOptions{Guard: approvers(t, guard.ApprovalSettings{}), Hosts: HostOfAlert})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		agree(t, e, onlyWaiting(t, e).ID, "ann")
		time.Sleep(time.Minute)
		stop()
		if list := e.Guard().Approvals(time.Now()); failed != 3 || len(list) != 1 || server.called("fake.once") != 1 {
			t.Errorf("%d commits failed, %d calls, approvals %+v", failed, server.called("fake.once"), list)
		}
	})
}

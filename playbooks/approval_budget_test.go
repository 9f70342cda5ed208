package playbooks

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// What people agreed to, and what waits for its host then, is not sent when the budget has
// latched by the time the host is back: they agreed to the call, and not to more hosts
// than there may be.
func TestBudgetTripsAfterTheApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		back := time.Now().Add(time.Hour)
		var looks atomic.Int64
		away(actions, "fake.marked", &back, &looks)
		set := loadText(t, actions, `
playbook: asks
mode: approve
match: {all: [{it is asked about: '.alert.id == "asked"'}]}
steps: [{id: hit, do: fake.marked, timeout: 10m, with: {host: "${{ .alert.host.identifier }}"}}]
`, `
playbook: hits
match: {none: [{it is asked about: '.alert.id == "asked"'}]}
steps: [{id: hit, do: fake.once, timeout: 10m, with: {host: "${{ .alert.host.identifier }}"}}]
`)
		g := guarded(t, guard.Settings{
			Approvers: map[string][]string{"leads": {"ann"}}, Approval: fromLeads,
			Budgets: []guard.Budget{{Name: "hits", Calls: guard.Calls{Actions: []string{"fake.*"}}, Hosts: 1, Window: 24 * time.Hour}},
		})
		e, stop := running(t, j, actions, set, EngineOptions{Guard: g, Hosts: anyHost})
		j.put(t, alertOn("asked", "host-1"))
		time.Sleep(time.Minute)
		if a := agree(t, e, onlyWaiting(t, e).ID, "ann"); a.State != soar.ApprovalApproved { // there is room for it
			t.Errorf("the answer is %+v", a)
		}
		time.Sleep(time.Minute)
		if run := j.all()[0]; run.State != soar.RunWaiting || looks.Load() == 0 {
			t.Fatalf("the run is %s, after %d looks at its host", run.State, looks.Load())
		}
		j.put(t, alertOn("other", "host-2"))
		time.Sleep(time.Minute)
		j.put(t, alertOn("more", "host-3")) // latches
		time.Sleep(2 * time.Hour)
		stop()
		got := lastHit(t, j, "asked")
		if got.State != soar.StepRefused || !strings.Contains(got.Error, `budget "hits" has latched`) || !strings.Contains(got.Error, "erbridge budget rearm hits") {
			t.Errorf("hit ended %+v", got)
		}
		if server.called("fake.marked") != 0 || len(server.done("fake.once")) != 1 {
			t.Errorf("%d calls that were agreed to, %d others", server.called("fake.marked"), len(server.done("fake.once")))
		}
	})
}

// An answer and its entry in the journal of the run are two commits: the entry has the
// next number of the journal, which only the worker of the run gives out, and the run may
// be busy with other steps. The answer is what counts, and is on disk first. A process
// that dies between the two has the run go on by it, asks nobody again, and sends once.
func TestCrashBetweenAnAnswerAndItsJournalEntry(t *testing.T) {
	for _, agreed := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			j, server := newMemJournal(), newFakeServer()
			server.now = time.Now
			actions := server.actions()
			set := loadText(t, actions, oneAgreed)
			options := EngineOptions{Guard: approvers(t, fromLeads), Drain: time.Second}
			ctx, cancel := context.WithCancel(t.Context())
			e, err := NewEngine(j, actions, set, options)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- e.Run(ctx) }()
			j.put(t, testAlert("1"))
			time.Sleep(time.Minute)
			waiting := onlyWaiting(t, e)
			answered := false
			j.fail = func(_ int, c soar.Change) (before, after error) {
				if answered {
					return errCrashed, nil
				}
				for _, kv := range c.KV {
					var a soar.Approval
					if strings.HasPrefix(kv.Key, "approval/") && json.Unmarshal([]byte(kv.Value), &a) == nil && len(a.Votes) == 1 {
						answered = true
					}
				}
				return nil, nil
			}
			if _, err := e.Decide(t.Context(), waiting.ID, soar.Vote{By: "ann", Agree: agreed, Reason: "seen"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if len(server.done("fake.once")) != 0 || !answered {
				t.Fatalf("answered %t, %d calls before it is in the journal", answered, len(server.done("fake.once")))
			}
			j.restart()
			j.fail = nil
			_, stop := running(t, j, actions, set, EngineOptions{Guard: approvers(t, fromLeads)})
			time.Sleep(10 * time.Minute)
			stop()
			entries, err := j.Entries(t.Context(), waiting.Run)
			if err != nil {
				t.Fatal(err)
			}
			told := 0
			for _, entry := range entries {
				var d Decision
				if entry.Kind == soar.EntryDecision && json.Unmarshal(entry.Body, &d) == nil && d.Approval != nil && len(d.Approval.Votes) == 1 && d.Approval.Votes[0].By == "ann" {
					told++
				}
			}
			got := j.result(t, waiting.Run, "hit")
			if n := len(server.done("fake.once")); n != b2i(agreed) || got.State == soar.StepExecuted != agreed || told != 1 || len(approvalEvents(j)) != 2 {
				t.Errorf("agreed %t: %d calls, %d times in the journal, events %q, ended %+v", agreed, n, told, approvalEvents(j), got)
			}
		})
	}
}

package playbooks

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

const askFirst = `playbook: p
steps:
  - id: ask
    do: fake.ask
    with: {text: "Hit ${{ .alert.host.name }}?"}
  - id: hit
    if: .steps.ask.granted
    do: fake.once
    timeout: 10m
    with: {host: "${{ .alert.host.identifier }}", by: "${{ .steps.ask.output.by }}"}
`

// asking adds an action that asks the leads.
func asking(server *fakeServer, actions map[string]Action, silence bool) {
	server.add(actions, "fake.ask", Repeatable, nil).spec.Asks = func(with map[string]any) (*guard.Question, error) {
		text, ok := with["text"].(string)
		if !ok {
			return nil, errors.New("text must be a text")
		}
		return &guard.Question{Text: text, From: []string{"leads"}, NotRequester: true, Count: 1, Expires: 15 * time.Minute, Silence: silence}, nil
	}
}

// A playbook asks, and its steps go by the answer.
func TestQuestions(t *testing.T) {
	answer := func(agree bool) func(t *testing.T, e *Engine, a soar.Approval) {
		return func(t *testing.T, e *Engine, a soar.Approval) {
			if _, err := e.Decide(t.Context(), a.ID, soar.Vote{By: "ann", Agree: agree, Reason: "seen it"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name    string
		silence bool
		answer  func(t *testing.T, e *Engine, a soar.Approval)
		granted bool
		by      any
		state   soar.ApprovalState
		summary string
	}{
		{"granted", false, answer(true), true, "ann", soar.ApprovalApproved, "ann agreed at"},
		{"denied", false, answer(false), false, "ann", soar.ApprovalDenied, "ann denied it at"},
		{"not answered", false, nil, false, nil, soar.ApprovalExpired, "nobody decided in time"},
		{"granted by silence", true, nil, true, nil, soar.ApprovalApproved, "nobody objected in time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				actions := server.actions()
				asking(server, actions, tt.silence)
				set := loadText(t, actions, askFirst)
				_, stop := running(t, j, actions, set, EngineOptions{Guard: approvers(t, guard.ApprovalSettings{})})
				j.put(t, testAlert("1"))
				time.Sleep(time.Minute)
				stop() // the question outlasts a restart
				e, stop := running(t, j, actions, set, EngineOptions{Guard: approvers(t, guard.ApprovalSettings{})})
				time.Sleep(time.Minute)
				a := onlyWaiting(t, e)
				if a.Text != "Hit pc-1?" || a.Action != "" || a.Step != "ask" {
					t.Fatalf("asked %+v", a)
				}
				if tt.answer != nil {
					tt.answer(t, e, a)
				}
				time.Sleep(time.Hour)
				stop()
				run := j.all()[0]
				ask := j.result(t, run.ID, "ask")
				output, _ := ask.Output.(map[string]any)
				if ask.State != soar.StepExecuted || ask.Granted == nil || *ask.Granted != tt.granted || output["granted"] != tt.granted || output["by"] != tt.by ||
					output["state"] != string(tt.state) || output["id"] != a.ID || !strings.Contains(ask.Summary, tt.summary) {
					t.Errorf("ask ended %+v", ask)
				}
				if tt.by != nil && output["reason"] != "seen it" {
					t.Errorf("output %+v", output)
				}
				if n := server.called("fake.once"); n != b2i(tt.granted) || server.called("fake.ask") != 0 || stateOf(j.all()) != "done" {
					t.Errorf("%d calls, runs %s", n, stateOf(j.all()))
				}
				if len(approvalEvents(j)) != 2 {
					t.Errorf("events %q", approvalEvents(j))
				}
			})
		})
	}
}

// In observe mode nobody is asked, and nothing is granted.
func TestQuestionsInObserveMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		asking(server, actions, false)
		e, stop := running(t, j, actions, loadText(t, actions, "mode: observe\n"+askFirst), EngineOptions{})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		stop()
		run := j.all()[0]
		ask, hit := j.result(t, run.ID, "ask"), j.result(t, run.ID, "hit")
		if ask.State != soar.StepObserved || ask.Granted == nil || *ask.Granted || hit.State != soar.StepSkipped || len(e.Guard().Approvals(time.Now())) != 0 {
			t.Errorf("ask ended %+v, hit %+v", ask, hit)
		}
	})
}

// The kill switch lets questions wait, and an alert that was resolved lets them end.
func TestQuestionsAreChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		asking(server, actions, false)
		e, stop := running(t, j, actions, loadText(t, actions, askFirst), EngineOptions{Guard: approvers(t, guard.ApprovalSettings{})})
		if _, err := e.Pause(t.Context(), "ann", ""); err != nil {
			t.Fatal(err)
		}
		j.put(t, testAlert("1"))
		time.Sleep(time.Hour)
		if list := e.Guard().Approvals(time.Now()); len(list) != 0 {
			t.Fatalf("asked while paused: %+v", list)
		}
		if err := e.Resume(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		a := onlyWaiting(t, e)
		j.resolve(1, "", "")
		time.Sleep(time.Hour)
		stop()
		ask := j.result(t, j.all()[0].ID, "ask")
		if ask.State != soar.StepRefused || !strings.Contains(ask.Error, "alert er-1 was resolved while this step waited") || ask.Granted == nil || *ask.Granted {
			t.Errorf("ask ended %+v", ask)
		}
		if _, err := e.Decide(t.Context(), a.ID, soar.Vote{By: "ben", Agree: true}); !errors.Is(err, guard.ErrDecided) {
			t.Errorf("an answer after the end: %v", err)
		}
	})
}

// A run that resolves its own alert goes on.
func TestOwnResolveIsNoReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		server.add(actions, "alert.resolve", Repeatable, nil)
		book := "playbook: p\nmode: approve\nsteps:\n  - {do: alert.resolve}\n  - {id: hit, do: fake.once, timeout: 10m, with: {host: host-1}}\n"
		e, stop := running(t, j, actions, loadText(t, actions, book), EngineOptions{Guard: approvers(t, fromLeads)})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		agree(t, e, onlyWaiting(t, e).ID, "ann")
		time.Sleep(time.Minute)
		second := onlyWaiting(t, e)
		j.resolve(1, "true_positive", "by erbridge") // what the run did comes back from the server
		agree(t, e, second.ID, "ann")
		time.Sleep(time.Minute)
		stop()
		if server.called("fake.once") != 1 || stateOf(j.all()) != "done" {
			t.Errorf("%d calls, runs %s: %+v", server.called("fake.once"), stateOf(j.all()), j.result(t, j.all()[0].ID, "hit"))
		}
	})
}

// Messages to people need nobody's agreement, and are sent about resolved alerts too.
func TestMessagesNeedNoApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		server.add(actions, "fake.message", Repeatable, nil).spec.Inside = true
		e, stop := running(t, j, actions, loadText(t, actions, "playbook: p\nmode: approve\nsteps: [{do: fake.message}]"), EngineOptions{})
		if _, err := e.Pause(t.Context(), "ann", ""); err != nil {
			t.Fatal(err)
		}
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		j.resolve(1, "", "")
		if err := e.Resume(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		stop()
		if server.called("fake.message") != 1 || stateOf(j.all()) != "done" || len(approvalEvents(j)) != 0 {
			t.Errorf("%d calls, runs %s, events %q", server.called("fake.message"), stateOf(j.all()), approvalEvents(j))
		}
	})
}

// What waits for people is counted.
func TestApprovalsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		metrics := prometheus.NewRegistry()
		e, stop := running(t, j, actions, loadText(t, actions, oneAgreed), EngineOptions{Guard: approvers(t, fromLeads), Registerer: metrics})
		waiting := func() float64 {
			t.Helper()
			families, err := metrics.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				if f.GetName() == "erbridge_approvals_waiting" {
					return f.Metric[0].GetGauge().GetValue()
				}
			}
			return -1
		}
		before := waiting()
		j.put(t, testAlert("1"), testAlert("2"))
		time.Sleep(time.Minute)
		both := waiting()
		list, err := e.Approvals(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		agree(t, e, list[0].ID, "ann")
		one := waiting()
		time.Sleep(time.Hour)
		if after := waiting(); before != 0 || both != 2 || one != 1 || after != 0 {
			t.Errorf("waiting %g, %g, %g, %g", before, both, one, after)
		}
		stop()
	})
}

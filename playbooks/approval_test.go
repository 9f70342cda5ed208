package playbooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// oneAgreed is a playbook whose one call needs the agreement of people.
const oneAgreed = "playbook: p\nmode: approve\nsteps: [{id: hit, do: fake.once, timeout: 10m, with: {host: \"${{ .alert.host.identifier }}\"}}]"

// approvers is a guard that asks people.
func approvers(t testing.TB, a guard.ApprovalSettings) *guard.Guard {
	t.Helper()
	g, err := guard.New(guard.Settings{Approvers: map[string][]string{"leads": {"ann", "ben", "cid"}}, Approval: a})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

var fromLeads = guard.ApprovalSettings{From: []string{"leads"}}

// onlyWaiting is the one approval that waits.
func onlyWaiting(t *testing.T, e *Engine) soar.Approval {
	t.Helper()
	list, err := e.Approvals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list = slices.DeleteFunc(list, func(a soar.Approval) bool { return a.State != soar.ApprovalWaiting })
	if len(list) != 1 {
		t.Fatalf("%d approvals wait: %+v", len(list), list)
	}
	return list[0]
}

func agree(t *testing.T, e *Engine, id, by string) soar.Approval {
	t.Helper()
	a, err := e.Decide(t.Context(), id, soar.Vote{By: by, Agree: true, Reason: "it is the real thing", Via: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func approvalEvents(j *memJournal) (types []string) {
	for _, e := range j.told() {
		if e.Approval != nil {
			types = append(types, string(e.Type)+" "+string(e.Approval.State))
		}
	}
	return types
}

// A call waits for people, goes out at once when they agree, and the journal of the run
// says who did, when and why.
func TestApprovalLetsACallGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		e, stop := running(t, j, actions, loadText(t, actions, oneAgreed), EngineOptions{Guard: approvers(t, fromLeads)})
		j.put(t, testAlert("1"))
		time.Sleep(20 * time.Minute)
		a := onlyWaiting(t, e)
		if server.called("fake.once") != 0 || a.Action != "fake.once" || a.With["host"] != "host-1" || a.Alert != "er-1" || !slices.Equal(a.Hosts, []string{"pc-1 (host-1)"}) ||
			a.Expires.Sub(a.AskedAt) != 30*time.Minute || a.Text != "May playbook p do fake.once on pc-1 (host-1)?" {
			t.Fatalf("%d calls, approval %+v", server.called("fake.once"), a)
		}
		answered := time.Now()
		if a := agree(t, e, a.ID, "Ben"); a.State != soar.ApprovalApproved {
			t.Errorf("the answer is %+v", a)
		}
		time.Sleep(time.Minute)
		stop()
		got := server.done("fake.once")
		if len(got) != 1 || got[0].at.Sub(answered) > time.Second || stateOf(j.all()) != "done" {
			t.Fatalf("%+v after the answer at %s; runs %s", got, answered, stateOf(j.all()))
		}
		words := decisions(t, j, j.all()[0].ID, "hit")
		want := "Ben agreed at " + answered.UTC().Format(time.RFC3339) + " (approval " + a.ID + "): it is the real thing"
		if len(words) != 2 || !strings.HasPrefix(words[0], "asks for approval "+a.ID+" until ") || words[1] != want {
			t.Errorf("the journal says %q", words)
		}
		if got := approvalEvents(j); !slices.Equal(got, []string{"approval.requested waiting", "approval.decided approved"}) {
			t.Errorf("events %q", got)
		}
		for _, ev := range j.told() {
			if ev.Approval != nil && (ev.AlertKey == 0 || ev.Run == nil || ev.Run.Playbook != "p" || !strings.Contains(ev.Text, a.ID)) {
				t.Errorf("event %+v", ev)
			}
		}
		if list := e.Guard().Approvals(time.Now()); len(list) != 1 || list[0].EndedAt.IsZero() || list[0].State != soar.ApprovalApproved {
			t.Errorf("afterwards: %+v", list)
		}
	})
}

// Each way in which a call does not go out has its own words.
func TestApprovalRefuses(t *testing.T) {
	deny := func(t *testing.T, e *Engine, a soar.Approval) {
		if _, err := e.Decide(t.Context(), a.ID, soar.Vote{By: "ann", Reason: "it is a drill"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name     string
		settings guard.ApprovalSettings
		do       func(t *testing.T, j *memJournal, e *Engine, a soar.Approval)
		want     string
		state    soar.ApprovalState
		end      soar.StepState
	}{
		{"denied", fromLeads, func(t *testing.T, _ *memJournal, e *Engine, a soar.Approval) { deny(t, e, a) }, "ann denied it at", soar.ApprovalDenied, soar.StepRefused},
		{"denied with the reason", fromLeads, func(t *testing.T, _ *memJournal, e *Engine, a soar.Approval) { deny(t, e, a) }, "): it is a drill", soar.ApprovalDenied, soar.StepRefused},
		{"expired", fromLeads, nil, "nobody decided in time (approval ", soar.ApprovalExpired, soar.StepRefused},
		{"silence is no agreement to what cannot be undone", guard.ApprovalSettings{OnExpiry: "approve"}, nil, "nobody decided in time (approval ", soar.ApprovalExpired, soar.StepRefused},
		{"one of two is not enough", guard.ApprovalSettings{From: []string{"leads"}, Count: 2}, func(t *testing.T, _ *memJournal, e *Engine, a soar.Approval) {
			if a := agree(t, e, a.ID, "ann"); a.State != soar.ApprovalWaiting {
				t.Errorf("one of two: %+v", a)
			}
		}, "nobody decided in time: 1 of 2 agreed until", soar.ApprovalExpired, soar.StepRefused},
		{"one of two denies", guard.ApprovalSettings{From: []string{"leads"}, Count: 2}, func(t *testing.T, _ *memJournal, e *Engine, a soar.Approval) {
			agree(t, e, a.ID, "ben")
			deny(t, e, a)
		}, "ann denied it at", soar.ApprovalDenied, soar.StepRefused},
		{"the alert is resolved meanwhile", fromLeads, func(t *testing.T, j *memJournal, e *Engine, a soar.Approval) {
			j.resolve(1, "false_positive", "a test of ours")
			agree(t, e, a.ID, "ben")
		}, "alert er-1 was resolved as false_positive (a test of ours) while this step waited", soar.ApprovalApproved, soar.StepRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				actions := server.actions()
				e, stop := running(t, j, actions, loadText(t, actions, oneAgreed), EngineOptions{Guard: approvers(t, tt.settings)})
				j.put(t, testAlert("1"))
				time.Sleep(time.Minute)
				a := onlyWaiting(t, e)
				if tt.do != nil {
					tt.do(t, j, e, a)
				}
				time.Sleep(time.Hour)
				stop()
				got := j.result(t, j.all()[0].ID, "hit")
				if server.called("fake.once") != 0 || got.State != tt.end || !strings.Contains(got.Error, tt.want) || stateOf(j.all()) != "failed" {
					t.Errorf("%d calls, hit ended %+v, want %q", server.called("fake.once"), got, tt.want)
				}
				list := e.Guard().Approvals(time.Now())
				if len(list) != 1 || list[0].State != tt.state || list[0].EndedAt.IsZero() {
					t.Errorf("approvals %+v", list)
				}
				if got := approvalEvents(j); len(got) != 2 || got[1] != "approval.decided "+string(tt.state) {
					t.Errorf("events %q", got)
				}
				if _, err := e.Decide(t.Context(), a.ID, soar.Vote{By: "cid", Agree: true}); !errors.Is(err, guard.ErrDecided) {
					t.Errorf("an answer after the end: %v", err)
				}
			})
		})
	}
}

// Silence is an agreement where the settings say so and the call can be undone.
func TestApprovalBySilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		server.add(actions, "fake.tag", Repeatable, nil).spec.Inverse = "fake.untag"
		book := strings.ReplaceAll(oneAgreed, "fake.once", "fake.tag")
		e, stop := running(t, j, actions, loadText(t, actions, book), EngineOptions{Guard: approvers(t, guard.ApprovalSettings{OnExpiry: "approve", Expires: time.Hour})})
		j.put(t, testAlert("1"))
		time.Sleep(59 * time.Minute)
		if n := server.called("fake.tag"); n != 0 {
			t.Fatalf("%d calls before the time is over", n)
		}
		time.Sleep(2 * time.Minute)
		stop()
		list := e.Guard().Approvals(time.Now())
		if server.called("fake.tag") != 1 || len(list) != 1 || list[0].State != soar.ApprovalApproved || !strings.Contains(list[0].Why, "nobody objected") {
			t.Errorf("%d calls, approvals %+v", server.called("fake.tag"), list)
		}
	})
}

// Who may decide, and how often.
func TestApprovalAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		book := "on: manual\n" + oneAgreed
		settings := guard.ApprovalSettings{From: []string{"leads", "eve"}, Count: 2, Not: "requester"}
		e, stop := running(t, j, actions, loadText(t, actions, book), EngineOptions{Guard: approvers(t, settings), Hosts: HostOfAlert})
		j.put(t, testAlert("1"))
		time.Sleep(time.Second)
		alert, err := j.AlertByKey(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Start(t.Context(), Manual{Playbook: "p", Alert: &alert, By: "ann"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		a := onlyWaiting(t, e)
		for _, tt := range []struct {
			id, by string
			want   error
			words  string
		}{
			{"nothing", "ben", soar.ErrNotFound, `approval "nothing": not found`},
			{a.ID, "", guard.ErrMayNot, "an answer needs the name of a person"},
			{a.ID, "dan", guard.ErrMayNot, "dan is not among those who may decide: leads (ann, ben, cid), eve"},
			{a.ID, "Ann", guard.ErrMayNot, "Ann started the run, and somebody else has to decide"},
			{a.ID, "ben", nil, ""},
			{a.ID, "BEN", guard.ErrMayNot, "BEN has agreed already, and 2 people have to"},
			{a.ID, "eve", nil, ""},
			{a.ID, "cid", guard.ErrDecided, "is approved: ben and eve agreed at"},
		} {
			_, err := e.Decide(t.Context(), tt.id, soar.Vote{By: tt.by, Agree: true})
			if !errors.Is(err, tt.want) || err != nil && !strings.Contains(err.Error(), tt.words) {
				t.Errorf("%s decides about %s: %v; want %q", tt.by, tt.id, err, tt.words)
			}
		}
		time.Sleep(time.Minute)
		stop()
		if server.called("fake.once") != 1 {
			t.Errorf("%d calls", server.called("fake.once"))
		}
	})
}

// Of many answers at the same moment one counts, and the others are told which.
func TestApprovalFirstAnswerCounts(t *testing.T) {
	for round := range 20 {
		synctest.Test(t, func(t *testing.T) {
			j, server := newMemJournal(), newFakeServer()
			actions := server.actions()
			e, stop := running(t, j, actions, loadText(t, actions, oneAgreed), EngineOptions{Guard: approvers(t, guard.ApprovalSettings{})})
			j.put(t, testAlert("1"))
			time.Sleep(time.Minute)
			a := onlyWaiting(t, e)
			var wg sync.WaitGroup
			errs := make([]error, 20)
			for i := range errs {
				wg.Go(func() {
					_, errs[i] = e.Decide(context.Background(), a.ID, soar.Vote{By: fmt.Sprintf("p%d", i), Agree: (i+round)%2 == 0})
				})
			}
			wg.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				} else if !errors.Is(err, guard.ErrDecided) {
					t.Error(err)
				}
			}
			time.Sleep(time.Hour)
			stop()
			list := e.Guard().Approvals(time.Now())
			if won != 1 || len(list) != 1 || len(list[0].Votes) != 1 {
				t.Fatalf("%d answers count; approvals %+v", won, list)
			}
			if agreed := list[0].Votes[0].Agree; agreed != (server.called("fake.once") == 1) || agreed != (list[0].State == soar.ApprovalApproved) {
				t.Errorf("%d calls with approval %+v", server.called("fake.once"), list[0])
			}
		})
	}
}

// An approval outlasts a restart: nobody is asked twice, and the answer counts, also when
// the process ended right behind it.
func TestApprovalOutlastsARestart(t *testing.T) {
	for _, during := range []string{"waits", "answered while nobody ran"} {
		t.Run(during, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, server := newMemJournal(), newFakeServer()
				actions := server.actions()
				set := loadText(t, actions, oneAgreed)
				start := func() (*Engine, func()) {
					return running(t, j, actions, set, EngineOptions{Guard: approvers(t, guard.ApprovalSettings{Expires: 5 * time.Hour})})
				}
				e, stop := start()
				j.put(t, testAlert("1"))
				time.Sleep(time.Minute)
				a := onlyWaiting(t, e)
				stop()
				if during != "waits" { // the engine has ended, and what was answered is on disk
					agree(t, e, a.ID, "ann")
				}
				e, stop = start()
				time.Sleep(time.Second)
				if during == "waits" {
					if again := onlyWaiting(t, e); again.ID != a.ID || !again.Expires.Equal(a.Expires) {
						t.Fatalf("asked %s until %s, and %s until %s after the restart", a.ID, a.Expires, again.ID, again.Expires)
					}
					agree(t, e, a.ID, "ann")
				}
				time.Sleep(time.Minute)
				stop()
				if server.called("fake.once") != 1 || stateOf(j.all()) != "done" {
					t.Errorf("%d calls, runs %s", server.called("fake.once"), stateOf(j.all()))
				}
				if got := approvalEvents(j); !slices.Equal(got, []string{"approval.requested waiting", "approval.decided approved"}) {
					t.Errorf("events %q", got)
				}
			})
		})
	}
}

// An agreement counts for the call that was shown. When the arguments have changed, the
// old one is void, and it is asked again.
func TestApprovalOfAChangedCall(t *testing.T) {
	for _, answered := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			j, server := newMemJournal(), newFakeServer()
			actions := server.actions()
			host := guard.Host{ID: "host-1", Name: "pc-1", Known: true}
			hosts := func(*soar.Alert, string) guard.Host { return host }
			e, stop := running(t, j, actions, loadText(t, actions, oneAgreed), EngineOptions{Guard: approvers(t, fromLeads), Hosts: hosts})
			j.put(t, testAlert("1"))
			time.Sleep(time.Minute)
			first := onlyWaiting(t, e)
			host.Name = "mail-1" // the same id is another machine now
			if answered {
				agree(t, e, first.ID, "ann")
			} else if err := errors.Join(pausedAndResumed(t.Context(), e)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			second := onlyWaiting(t, e)
			if second.ID == first.ID || server.called("fake.once") != 0 || !strings.Contains(second.Text, "mail-1") {
				t.Fatalf("%d calls; asked %+v, then %+v", server.called("fake.once"), first, second)
			}
			if _, err := e.Decide(t.Context(), first.ID, soar.Vote{By: "ben", Agree: true}); !errors.Is(err, guard.ErrDecided) || !strings.Contains(err.Error(), "asked again as "+second.ID) {
				t.Errorf("an answer to the old question: %v", err)
			}
			words := decisions(t, j, j.all()[0].ID, "hit")
			if last := words[len(words)-1]; !strings.Contains(last, "the call is no longer that of approval "+first.ID+": asks for approval "+second.ID) {
				t.Errorf("the journal says %q", words)
			}
			agree(t, e, second.ID, "ben")
			time.Sleep(time.Minute)
			stop()
			if server.called("fake.once") != 1 {
				t.Errorf("%d calls", server.called("fake.once"))
			}
		})
	}
}

func pausedAndResumed(ctx context.Context, e *Engine) (_, _ error) {
	_, err := e.Pause(ctx, "ann", "")
	return err, e.Resume(ctx, "ann")
}

// A call that is another one whenever one looks cannot be agreed to, and says so.
func TestApprovalOfACallThatNeverStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		book := strings.ReplaceAll(oneAgreed, "host: ", "at: \"${{ .alert.created_at | age }}\", host: ")
		e, stop := running(t, j, actions, loadText(t, actions, book), EngineOptions{Guard: approvers(t, fromLeads)})
		j.put(t, testAlert("1"))
		for range 10 {
			time.Sleep(time.Minute)
			list, err := e.Approvals(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if last := list[len(list)-1]; last.State == soar.ApprovalWaiting {
				agree(t, e, last.ID, "ann")
			}
		}
		stop()
		got := j.result(t, j.all()[0].ID, "hit")
		if server.called("fake.once") != 0 || got.State != soar.StepRefused || !strings.Contains(got.Error, "let its arguments not depend on the time") {
			t.Errorf("%d calls, hit ended %+v", server.called("fake.once"), got)
		}
	})
}

// After an agreement everything is checked again: the kill switch holds the call, and the
// agreement still counts when it is taken back.
func TestKillSwitchAfterApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		e, stop := running(t, j, actions, loadText(t, actions, oneAgreed), EngineOptions{Guard: approvers(t, fromLeads)})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		a := onlyWaiting(t, e)
		if _, err := e.Pause(t.Context(), "dan", "wait"); err != nil {
			t.Fatal(err)
		}
		agree(t, e, a.ID, "ann")
		time.Sleep(2 * time.Hour)
		if server.called("fake.once") != 0 {
			t.Fatal("sent while paused")
		}
		if err := e.Resume(t.Context(), "dan"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		stop()
		if server.called("fake.once") != 1 || stateOf(j.all()) != "done" {
			t.Errorf("%d calls, runs %s", server.called("fake.once"), stateOf(j.all()))
		}
	})
}

// slowAnswers tells of its commits late: others have read long since what is in them.
type slowAnswers struct{ *memJournal }

func (j slowAnswers) Commit(ctx context.Context, c soar.Change) (soar.Committed, error) {
	committed, err := j.memJournal.Commit(ctx, c)
	time.Sleep(time.Second)
	return committed, err
}

// Who reads of a question in the feed may answer it at once.
func TestApprovalIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		e, stop := running(t, slowAnswers{j}, actions, loadText(t, actions, oneAgreed), EngineOptions{Guard: approvers(t, fromLeads)})
		j.put(t, testAlert("1"))
		var asked []soar.Event
		for len(asked) == 0 {
			time.Sleep(10 * time.Millisecond)
			asked = j.events(soar.EventApprovalRequested)
		}
		agree(t, e, asked[0].Approval.ID, "ann")
		time.Sleep(time.Minute)
		stop()
		if server.called("fake.once") != 1 {
			t.Errorf("%d calls", server.called("fake.once"))
		}
	})
}

// An answer that cannot be kept does not count.
func TestApprovalAnswerThatIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		e, stop := running(t, j, actions, loadText(t, actions, oneAgreed), EngineOptions{Guard: approvers(t, fromLeads)})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		a := onlyWaiting(t, e)
		j.refuse(errors.New("disk full"))
		if _, err := e.Decide(t.Context(), a.ID, soar.Vote{By: "ann", Agree: true}); err == nil || !strings.Contains(err.Error(), "does not count") {
			t.Errorf("the answer: %v", err)
		}
		j.refuse(nil)
		time.Sleep(time.Minute)
		if onlyWaiting(t, e); server.called("fake.once") != 0 {
			t.Error("sent")
		}
		agree(t, e, a.ID, "ann")
		time.Sleep(time.Minute)
		stop()
		if server.called("fake.once") != 1 {
			t.Errorf("%d calls", server.called("fake.once"))
		}
	})
}

// What approvers see of a call has no secrets in it, and nothing that deceives.
func TestApprovalShowsNoSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		book := strings.ReplaceAll(oneAgreed, "host: ", "headers: {Authorization: Bearer abc}, password: hunter2, note: \"a\\u202eb\", host: ")
		e, stop := running(t, j, actions, loadText(t, actions, book), EngineOptions{Guard: approvers(t, fromLeads)})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		a := onlyWaiting(t, e)
		data, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		stop()
		if text := string(data); strings.Contains(text, "abc") || strings.Contains(text, "hunter2") || strings.Contains(text, "\u202e") || a.With["password"] != "[redacted]" {
			t.Errorf("approvers see %s", data)
		}
	})
}

// told is all events so far.
func (j *memJournal) told() []soar.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.feed)
}

// resolve closes an alert on the server.
func (j *memJournal) resolve(key int, verdict, comment string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	a := &j.alerts[key-1].Alert
	a.Status, a.Verdict, a.Comment = soar.StatusResolved, verdict, comment
}

// refuse lets every commit fail; nil: none.
func (j *memJournal) refuse(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fail = func(int, soar.Change) (before, after error) { return err, nil }
}

// A host that has come under protection since people agreed is left alone.
func TestProtectedHostAfterApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		e, stop := running(t, j, actions, loadText(t, actions, oneAgreed), EngineOptions{Guard: approvers(t, fromLeads)})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		a := onlyWaiting(t, e)
		if _, err := e.Pause(t.Context(), "dan", ""); err != nil {
			t.Fatal(err)
		}
		agree(t, e, a.ID, "ann")
		err := e.Guard().Configure(guard.Settings{Protected: []guard.Protection{{Name: "mail servers", Match: guard.Match{Names: []string{"pc-*"}}}}})
		if err == nil {
			err = e.Resume(t.Context(), "dan")
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		stop()
		got := j.result(t, j.all()[0].ID, "hit")
		if server.called("fake.once") != 0 || got.State != soar.StepRefused || !strings.Contains(got.Error, "mail servers") {
			t.Errorf("%d calls, hit ended %+v", server.called("fake.once"), got)
		}
	})
}

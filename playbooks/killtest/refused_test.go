package killtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
)

// The reasons for which a call is refused although nothing is wrong with it: the world is
// not any more what it was when the alert was raised. Each is tried with every action
// that it is about.

// refusal is a world in which actions are refused, and the words that tell why.
type refusal struct {
	about   func(spec *playbooks.Spec, r *row) bool
	profile string
	mode    soar.Mode
	before  func(s *scene)
	between func(s *scene, e *playbooks.Engine, st *store.Store)
	words   func(s *scene) []string
}

// try sees to it that each action is refused for that reason, and that nothing was
// written down as about to be sent, nor sent.
func (f *refusal) try(t *testing.T, least int) {
	t.Helper()
	tried := 0
	for _, action := range slices.Sorted(maps.Keys(rows)) {
		typ, ok := actions.Types.Get(action)
		r := rows[action]
		if !ok || !f.about(&typ.Spec, &r) {
			continue
		}
		tried++
		t.Run(action, func(t *testing.T) {
			a := &subject{row: r, action: action, other: newElsewhere(t), profile: f.profile, mode: f.mode, before: f.before, between: f.between}
			synctest.Test(t, func(t *testing.T) {
				s := play(t, a)
				s.life(moment{})
				e := s.ended()
				if e.result.State != soar.StepRefused || e.intent.Mark != "" || s.effects() != 0 {
					t.Errorf("ended %s (%s), %d times sent, intent %+v", e.result.State, e.result.Error, s.effects(), e.intent)
				}
				for _, words := range f.words(s) {
					if !strings.Contains(e.result.Error, words) {
						t.Errorf("refused because %q, and %q is not in it", e.result.Error, words)
					}
				}
			})
		})
	}
	if tried < least {
		t.Errorf("tried with %d actions, expected at least %d", tried, least)
	}
}

func onHost(_ *playbooks.Spec, r *row) bool      { return r.with["host"] == theHost }
func onServer(spec *playbooks.Spec, _ *row) bool { return !spec.Inside }

func needs(what string) func(spec *playbooks.Spec, r *row) bool {
	return func(spec *playbooks.Spec, _ *row) bool { return slices.Contains(spec.Needs, what) }
}

func always(words ...string) func(*scene) []string { return func(*scene) []string { return words } }

func TestRefusedPIDReused(t *testing.T) {
	f := refusal{
		about: func(_ *playbooks.Spec, r *row) bool { return r.with["pid"] != nil },
		before: func(s *scene) {
			s.sim.StartProcess(s.host.Identifier, ersim.Process{PID: 7777, Path: `C:\Windows\explorer.exe`})
		},
		words: func(s *scene) []string {
			return []string{"pid 7777 on " + s.host.Name, `is C:\Windows\explorer.exe now`, "the pid was given to another process"}
		},
	}
	f.try(t, 1)
}

func TestRefusedHostRenamed(t *testing.T) {
	f := refusal{
		about:  onHost,
		before: func(s *scene) { s.sim.Rename(s.host.Identifier, "MAIL-01") },
		words: func(s *scene) []string {
			return []string{"was renamed: it was called " + s.host.Name, "is called MAIL-01 now", "make sure that it is the same machine"}
		},
	}
	f.try(t, 10)
}

func TestRefusedHostEnrolledAnew(t *testing.T) {
	f := refusal{
		about:  onHost,
		before: func(s *scene) { s.sim.Enrol(s.host.Identifier, "") },
		words: func(s *scene) []string {
			return []string{"was enrolled anew", fmt.Sprintf("it was host %d", s.host.ID), "make sure that it is the same machine"}
		},
	}
	f.try(t, 10)
}

func TestRefusedHostEnrolledUnderAnotherIdentifier(t *testing.T) {
	f := refusal{
		about:  onHost,
		before: func(s *scene) { s.sim.Enrol(s.host.Identifier, "EC2FFFFF-0000") },
		words: func(s *scene) []string {
			return []string{"the server has no host " + s.host.Identifier + " any more: it was deleted, or enrolled anew under another identifier"}
		},
	}
	f.try(t, 10)
}

func TestRefusedAlertResolved(t *testing.T) {
	f := refusal{
		about: func(spec *playbooks.Spec, _ *row) bool { return !spec.Inside && !spec.Always },
		between: func(s *scene, e *playbooks.Engine, st *store.Store) {
			if _, err := e.Pause(s.Context(), "ann", ""); err != nil {
				s.Fatal(err)
			}
			s.arrive(st)
			time.Sleep(time.Minute)
			s.resolved(st)
			if err := e.Resume(s.Context(), "ann"); err != nil {
				s.Fatal(err)
			}
		},
		words: always("was resolved as false_positive (the weekly scan)", "while this step waited"),
	}
	f.try(t, 10)
}

// resolved lets an analyst resolve the alert, and the source hear of it.
func (s *scene) resolved(st *store.Store) {
	s.Helper()
	client, end := s.client(nil)
	defer end()
	if err := client.Alerts.Resolve(s.Context(), []int64{s.alertID}, false, "the weekly scan"); err != nil {
		s.Fatal(err)
	}
	raised, err := client.Alerts.Get(s.Context(), s.alertID)
	if err != nil {
		s.Fatal(err)
	}
	alert := connector.Normalize("er", "", raised, nil, nil)
	alert.Host = s.alert.Host
	if _, err := st.Commit(s.Context(), soar.Change{Alerts: []soar.Alert{alert}}); err != nil {
		s.Fatal(err)
	}
	s.base += s.effects() // of the actions that are counted by the same call
}

func TestRefusedApprovalExpired(t *testing.T) {
	f := refusal{about: onServer, mode: soar.ModeApprove, words: always("nobody decided in time (approval ")}
	f.try(t, 10)
}

func TestRefusedApprovalDenied(t *testing.T) {
	f := refusal{
		about: onServer, mode: soar.ModeApprove,
		between: func(s *scene, e *playbooks.Engine, st *store.Store) {
			s.arrive(st)
			time.Sleep(time.Minute)
			list, err := e.Approvals(s.Context())
			if err != nil || len(list) != 1 {
				s.Fatalf("%d approvals: %v", len(list), err)
			}
			if _, err := e.Decide(s.Context(), list[0].ID, soar.Vote{By: "ann", Reason: "a drill"}); err != nil {
				s.Fatal(err)
			}
		},
		words: always("ann denied it at ", "a drill"),
	}
	f.try(t, 10)
}

func TestRefusedResponseDisabled(t *testing.T) {
	f := refusal{
		about:  needs("response"),
		before: func(s *scene) { s.sim.SetResponseEnabled(s.host.Identifier, false) },
		words:  func(s *scene) []string { return []string{s.host.Name, "response actions are switched off on the host"} },
	}
	f.try(t, 5)
}

func TestRefusedCommunityEdition(t *testing.T) {
	f := refusal{about: needs("enterprise"), profile: "4.0-community", words: always("it is the Community Edition, or its license has none")}
	f.try(t, 10)
}

package daemon

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

const (
	quickMirror = "sources: {poll: {interval: 20ms, sweep_interval: 30ms, sweep_window: 0s, overlap: 0s, mirror: {interval: 20ms%s}}}\n"
	// answers notes and resolves whatever changes, which changes it again.
	answers = `
playbook: answers
on: alert.updated
steps:
  - id: note
    do: alert.note
    with: {text: "${{ .change.origin }} ${{ .change.by }}: ${{ .change.what | join(\" \") }}"}
  - id: close
    do: alert.resolve
    with: {verdict: true_positive, comment: closed by erbridge}
`
	// opens and closes undo what the other one did.
	opens = `
playbook: opens
on: alert.updated
match: {all: [{resolved: '.change.what | index("resolved") != null'}]}
steps: [{id: open, do: alert.reopen}]
`
	closes = `
playbook: closes
on: alert.updated
match: {all: [{reopened: '.change.what | index("reopened") != null'}]}
steps: [{id: close, do: alert.resolve, with: {verdict: true_positive}}]
`
)

// client is a client of the simulated server with an account of its own, where the
// release has accounts.
func (s *site) client(name string) *connector.Client {
	s.t.Helper()
	open := func(user, password string) *connector.Client {
		c, err := connector.New(connector.Options{URL: s.sim.URL(), Username: user, Password: soar.SecretValue(password), CAFile: s.path("ca.pem"), Version: "test"})
		if err != nil {
			s.t.Fatal(err)
		}
		return c
	}
	admin := open("admin", "admin")
	if _, err := admin.Users.Me(s.t.Context()); err != nil {
		return admin // release 2.1.2 has one account
	}
	user := connector.NewUser{Username: name, FirstName: name, Email: name + "@example.com", Password: soar.SecretValue("Correct-Horse-1"), Role: connector.RoleAdmin}
	if err := admin.Users.Create(s.t.Context(), user); err != nil {
		s.t.Fatal(err)
	}
	return open(name, "Correct-Horse-1")
}

// runsOf are the runs of a playbook.
func (s *site) runsOf(st *store.Store, playbook string) []soar.Run {
	s.t.Helper()
	runs, err := st.Runs(s.t.Context(), store.RunFilter{Playbook: playbook})
	if err != nil {
		s.t.Fatal(err)
	}
	return runs
}

// settled waits until the server was looked at often enough since now to have seen all.
func (s *site) settled() {
	s.t.Helper()
	calls := s.sim.Calls()
	s.until(func() bool { return s.sim.Calls()["alerts-list"] > calls["alerts-list"]+60 })
}

// changes are what the feed tells of the changes of alerts.
func (s *site) changes(st *store.Store) (all []string) {
	s.t.Helper()
	events, err := st.Feed(s.t.Context(), 0, 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, ev := range events {
		if c := ev.Change; c != nil {
			all = append(all, strings.TrimRight(fmt.Sprintf("%s %s %s", c.Origin, strings.Join(c.What, "+"), c.By), " "))
		}
	}
	return all
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// A playbook on alert.updated that notes and resolves is started by what an analyst does,
// and never by what it did itself, nor by what other playbooks did.
func TestMirrorDoesNotAnswerItself(t *testing.T) {
	for _, profile := range []string{"4.0", "4.0-community", "2.1.2"} {
		t.Run(profile, func(t *testing.T) {
			s := newSiteOf(t, ersim.Options{Profile: profile})
			analyst := s.client("jane")
			book := answers
			if profile != "4.0" { // which has no notes
				book = "\nplaybook: answers\non: alert.updated\nsteps: [{id: close, do: alert.resolve, with: {verdict: true_positive}}]\n"
			}
			s.write("playbooks/note.yaml", book)
			s.configure(fmt.Sprintf(quickMirror, ""))
			d, _ := s.start()
			id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
			ref := fmt.Sprintf("er-%d", id)
			known := func() bool { _, err := d.Store().AlertByRef(t.Context(), ref); return err == nil }
			s.until(known)
			runs := func(n int) {
				t.Helper()
				s.until(func() bool {
					ended := 0
					for _, run := range s.runsOf(d.Store(), "answers") {
						if run.State == soar.RunDone {
							ended++
						}
					}
					return ended >= n
				})
				s.settled()
				if got := s.runsOf(d.Store(), "answers"); len(got) != n {
					t.Fatalf("%d runs, want %d; told %q", len(got), n, s.changes(d.Store()))
				}
			}
			s.must(analyst.Alerts.Resolve(t.Context(), []int64{id}, false, "I think it is nothing"))
			runs(1)
			s.must(analyst.Alerts.Reopen(t.Context(), []int64{id}))
			runs(2)
			if profile == "4.0" {
				if notes := s.sim.Notes(id); len(notes) != 2 || !strings.HasPrefix(notes[0], "analyst jane: resolved verdict comment\n") ||
					!strings.HasPrefix(notes[1], "analyst jane: reopened verdict comment\n") {
					t.Errorf("notes %q, want one for each of the analyst's changes", notes)
				}
				_, err := analyst.Alerts.AddNote(t.Context(), id, "thank you")
				s.must(err)
				runs(3)
			}
			for _, told := range s.changes(d.Store()) {
				if strings.HasPrefix(told, "analyst") && profile != "2.1.2" && !strings.HasSuffix(told, "jane") {
					t.Errorf("told %q", told)
				}
			}
		})
	}
}

// Two instances with playbooks that undo what the other one did, on one server: what an
// analyst did is answered once.
func TestMirrorOfTwoInstancesEndsAtOnce(t *testing.T) {
	first := newSite(t)
	analyst := first.client("jane")
	first.client("bridge-2")
	second := &site{t: t, sim: first.sim, dir: t.TempDir()}
	second.write("ca.pem", string(first.sim.CAPEM()))
	second.write("pw", "Correct-Horse-1\n")
	first.write("playbooks/note.yaml", opens)
	second.write("playbooks/note.yaml", closes)
	first.configure(fmt.Sprintf(quickMirror, ", accounts: [bridge-2]"))
	second.configure(fmt.Sprintf(quickMirror, ", accounts: [admin]"))
	text, err := os.ReadFile(second.path("erbridge.yaml"))
	first.must(err)
	second.write("erbridge.yaml", strings.Replace(string(text), "username: admin", "username: bridge-2", 1))
	d1, _ := first.start()
	d2, _ := second.start()
	id := first.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	ref := fmt.Sprintf("er-%d", id)
	for _, d := range []*Daemon{d1, d2} {
		first.until(func() bool { _, err := d.Store().AlertByRef(t.Context(), ref); return err == nil })
	}
	first.must(analyst.Alerts.Resolve(t.Context(), []int64{id}, true, "done"))
	first.awaitEvent(d1.Store(), runFinished(ref))
	first.settled()
	first.settled()
	if opens, closes := first.runsOf(d1.Store(), "opens"), second.runsOf(d2.Store(), "closes"); len(opens) != 1 || len(closes) != 0 {
		t.Errorf("%d runs open and %d close; told %q and %q", len(opens), len(closes), first.changes(d1.Store()), first.changes(d2.Store()))
	}
}

// Before release 4.0 nobody can tell what another instance did: here it resolves what this
// one opens, again and again. They do not go on for ever all the same, and people are told.
func TestMirrorStopsInstancesThatAnswerEachOther(t *testing.T) {
	s := newSiteOf(t, ersim.Options{Profile: "2.1.2"})
	other := s.client("")
	s.write("playbooks/note.yaml", opens)
	s.configure(fmt.Sprintf(quickMirror, ""))
	d, _ := s.start()
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	seen := func(status string) bool {
		a, err := d.Store().AlertByRef(t.Context(), fmt.Sprintf("er-%d", id))
		return err == nil && a.Alert.Status == status
	}
	told := func() bool {
		events, err := d.Store().Feed(t.Context(), 0, 1000)
		s.must(err)
		return slices.ContainsFunc(events, func(ev soar.Event) bool {
			return ev.Type == soar.EventTrouble && strings.Contains(ev.Text, "mirror.accounts")
		})
	}
	for range 20 {
		s.until(func() bool { return seen(soar.StatusOpen) || told() })
		if told() {
			break
		}
		s.must(other.Alerts.Resolve(t.Context(), []int64{id}, true, ""))
		s.until(func() bool { return seen(soar.StatusResolved) })
	}
	if !told() {
		t.Fatal("nobody is told that two programs answer each other")
	}
	s.settled()
	s.settled()
	n := len(s.runsOf(d.Store(), "opens"))
	s.settled()
	if after := len(s.runsOf(d.Store(), "opens")); after != n || n == 0 || n > 8 {
		t.Errorf("%d runs and then %d: they still answer each other", n, after)
	}
}

// What an analyst did while erbridge was stopped is told once, and once only.
func TestMirrorAcrossRestarts(t *testing.T) {
	s := newSite(t)
	analyst := s.client("jane")
	s.write("playbooks/note.yaml", answers)
	s.configure(fmt.Sprintf(quickMirror, ""))
	d, stop := s.start()
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	s.until(func() bool { _, err := d.Store().AlertByRef(t.Context(), fmt.Sprintf("er-%d", id)); return err == nil })
	s.must(stop())
	s.must(analyst.Alerts.Resolve(t.Context(), []int64{id}, false, "while it was stopped"))
	for range 3 {
		d, stop = s.start()
		s.until(func() bool { return len(s.runsOf(d.Store(), "answers")) > 0 })
		s.settled()
		runs := s.runsOf(d.Store(), "answers")
		if len(runs) != 1 {
			t.Fatalf("%d runs, want one; told %q", len(runs), s.changes(d.Store()))
		}
		s.must(stop())
	}
}

// An analyst resolves an alert while a step waits: the guard sees it, and nothing about the alert any more.
func TestMirrorStopsWhatWaitsForAnAlertThatWasResolved(t *testing.T) {
	s := newSite(t)
	analyst := s.client("jane")
	s.write("playbooks/note.yaml", killEverything)
	s.configure(fmt.Sprintf(quickMirror, ""))
	d, _ := s.start()
	s.pause("we are looking into something")
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	s.awaitRun(d.Store(), id, soar.RunWaiting)
	s.must(analyst.Alerts.Resolve(t.Context(), []int64{id}, false, "it was a test"))
	s.until(func() bool {
		a, err := d.Store().AlertByRef(t.Context(), fmt.Sprintf("er-%d", id))
		return err == nil && a.Alert.Status == soar.StatusResolved
	})
	s.resume()
	run := s.awaitRun(d.Store(), id, soar.RunFailed)
	if check, words := s.heldBy(d.Store(), run); check != "alert still open" || !strings.Contains(words, "resolved as false_positive (it was a test)") {
		t.Errorf("%s: %s", check, words)
	}
	if commands := s.sim.Commands(); len(commands) != 0 {
		t.Errorf("commands on the server: %+v", commands)
	}
}

package actions

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// as binds the actions to another account of the server.
func (b *bench) as(username string) {
	b.Helper()
	b.deps.Client = b.login(username)
	b.actions = All(b.deps)
}

// takeBack carries out what takes a call back, after it was recorded and read again.
func (b *bench) takeBack(action string, c playbooks.Call, out playbooks.Outcome) (playbooks.Outcome, bool) {
	b.Helper()
	r := b.reversal(action, c, out)
	if r == nil {
		return playbooks.Outcome{}, false
	}
	back := call(c.Mark+"/undo", c.Alert, r.With)
	if a, ok := b.actions[r.Do].(playbooks.Readier); ok {
		if err := a.Ready(b.Context(), back); err != nil {
			b.Fatalf("%s %v: %v", r.Do, r.With, err)
		}
	}
	return b.run(r.Do, back), true
}

// reversal is what takes a call back by its output as the journal keeps it.
func (b *bench) reversal(action string, c playbooks.Call, out playbooks.Outcome) *playbooks.Reversal {
	b.Helper()
	plain, err := soar.Plain(out.Output)
	if err != nil {
		b.Fatal(err)
	}
	return b.actions[action].(playbooks.Reverser).Reverse(c, plain)
}

// alertState is what the server has of an alert.
func (b *bench) alertState(alert soar.Alert) ersim.AlertState {
	b.Helper()
	all := b.sim.Alerts()
	i := slices.IndexFunc(all, func(a ersim.AlertState) bool { return strconv.FormatInt(a.ID, 10) == alert.ID })
	if i < 0 {
		b.Fatalf("the server has no alert %s", alert.ID)
	}
	return all[i]
}

// hostileTexts go through notes and comments as they are.
var hostileTexts = []string{
	"it's \"quoted\"; -- drop\ntable alerts", "'; drop table analyst_notes; --", "${{ .alert.id }} $(reboot) `id`", "<script>alert(1)</script>", "日本 😀",
}

func TestNotesAreChangedAndTakenBack(t *testing.T) {
	b := newBench(t, ersim.Options{})
	alert := b.raise(b.windows(), evil)
	id, _ := strconv.ParseInt(alert.ID, 10, 64)
	for i, hostile := range hostileTexts {
		mark := strconv.Itoa(i)
		add := call("add"+mark, alert, object{"text": hostile})
		if err := b.ready("alert.note", add); err != nil {
			t.Fatal(err)
		}
		added := b.run("alert.note", add)
		want(t, added, soar.StepVerified, "noted on alert")
		note := float64(added.Output.(AlertNoteOutput).Note)
		was := b.sim.Notes(id)

		edit := call("edit"+mark, alert, object{"note": note, "text": "now " + hostile})
		if err := b.ready("alert.note_edit", edit); err != nil {
			t.Fatal(err)
		}
		edited := b.run("alert.note_edit", edit)
		want(t, edited, soar.StepVerified, fmt.Sprintf("rewrote note %v on alert %s", note, alert.ID))
		if now := b.sim.Notes(id); now[0] != "now "+hostile {
			t.Errorf("the note says %q", now[0])
		}
		if err := b.ready("alert.note_edit", edit); !errors.Is(err, playbooks.ErrNothingToDo) {
			t.Errorf("the same text again: %v", err)
		}
		if out := b.run("alert.note_edit", edit); b.reversal("alert.note_edit", edit, out) != nil {
			t.Error("what changed nothing is taken back")
		}
		if out, ok := b.takeBack("alert.note_edit", edit, edited); !ok || out.State != soar.StepVerified || !slices.Equal(b.sim.Notes(id), was) {
			t.Errorf("taken back: %+v; the notes are %q, and were %q", out, b.sim.Notes(id), was)
		}
		if out, ok := b.takeBack("alert.note", add, added); !ok || out.State != soar.StepVerified || out.Output.(AlertNoteRemoveOutput).Text != was[0] {
			t.Errorf("note taken back: %+v", out)
		}
		if left := b.sim.Notes(id); len(left) != 0 {
			t.Errorf("left are %q", left)
		}
	}
}

func TestNotesAreRefusedWithTheirReason(t *testing.T) {
	b := newBench(t, ersim.Options{})
	alert := b.raise(b.windows(), evil)
	b.as("analyst")
	theirs := float64(b.run("alert.note", call("theirs", alert, object{"text": "an analyst's"})).Output.(AlertNoteOutput).Note)
	b.as("admin")
	for _, tt := range []struct {
		action, words string
		with          object
		nothing       bool
	}{
		{"alert.note", "the server has no alert 99999", object{"text": "x", "alert": 99999.0}, false},
		{"alert.note_edit", "has no note 77", object{"text": "x", "note": 77.0}, false},
		{"alert.note_edit", "was written by analyst, and our account is admin", object{"text": "x", "note": theirs}, false},
		{"alert.note_remove", "was written by analyst, and our account is admin", object{"note": theirs}, false},
		{"alert.note_remove", "has no note 77", object{"note": 77.0}, true},
		{"alert.note_remove", "the server has no alert 99999", object{"note": 77.0, "alert": 99999.0}, false},
	} {
		err := b.ready(tt.action, call("c", alert, tt.with))
		if err == nil || !strings.Contains(err.Error(), tt.words) || errors.Is(err, playbooks.ErrNothingToDo) != tt.nothing || errors.Is(err, playbooks.ErrTransient) {
			t.Errorf("%s %v: %v", tt.action, tt.with, err)
		}
	}
	if out := b.run("alert.note_remove", call("gone", alert, object{"note": 77.0})); out.State != soar.StepVerified || out.Output.(AlertNoteRemoveOutput).Text != "" {
		t.Errorf("a note that is gone: %+v", out)
	}
}

// The Community Edition has no notes: the step is refused before anything is written
// down as about to be sent.
func TestRefusedNoteOnCommunity(t *testing.T) {
	s := stage(t, ersim.Options{Profile: "4.0-community"})
	s.begin("{id: act, do: alert.note, with: {text: seen}}")
	s.put()
	s.refused("analyst notes", "Enterprise only", "Community Edition")
	for _, action := range []string{"alert.note_edit", "alert.note_remove"} {
		if err := s.ready(action, call("c", s.alert, object{"note": 1.0, "text": "x"})); action == "alert.note_edit" && !errors.Is(err, connector.ErrUnavailable) {
			t.Errorf("%s: %v", action, err)
		}
	}
}

func TestResolveAndReopenTakeEachOtherBack(t *testing.T) {
	for _, hostile := range hostileTexts {
		b := newBench(t, ersim.Options{})
		alert := b.raise(b.windows(), evil)
		resolve := call("resolve", alert, object{"verdict": "false_positive", "comment": hostile})
		if err := b.ready("alert.resolve", resolve); err != nil {
			t.Fatal(err)
		}
		resolved := b.run("alert.resolve", resolve)
		want(t, resolved, soar.StepVerified, "as false_positive")
		if s := b.alertState(alert); s.Status != "RESOLVED" || s.Comment != hostile+" [erbridge 0run/resolve]" {
			t.Errorf("the alert is %+v", s)
		}
		if err := b.ready("alert.resolve", resolve); !errors.Is(err, playbooks.ErrNothingToDo) {
			t.Errorf("resolved already: %v", err)
		}

		// With another verdict it is not the same; what it was is brought back.
		other := call("other", alert, object{"verdict": "true_positive", "comment": "it was real"})
		if err := b.ready("alert.resolve", other); err != nil {
			t.Error(err)
		}
		if out, ok := b.takeBack("alert.resolve", other, b.run("alert.resolve", other)); !ok || out.State != soar.StepVerified {
			t.Errorf("other verdict taken back: %+v", out)
		}
		if s := b.alertState(alert); s.Verdict != "FALSE POSITIVE" || soar.WithoutOwnLine(s.Comment) != hostile {
			t.Errorf("the alert is %+v", s)
		}

		reopen := call("reopen", alert, object{})
		if err := b.ready("alert.reopen", reopen); err != nil {
			t.Fatal(err)
		}
		reopened := b.run("alert.reopen", reopen)
		want(t, reopened, soar.StepVerified, "reopened alert "+alert.ID)
		if err := b.ready("alert.reopen", reopen); !errors.Is(err, playbooks.ErrNothingToDo) {
			t.Errorf("open already: %v", err)
		}
		if out, ok := b.takeBack("alert.reopen", reopen, reopened); !ok || out.State != soar.StepVerified {
			t.Errorf("reopening taken back: %+v", out)
		}
		if s := b.alertState(alert); s.Status != "RESOLVED" || s.Verdict != "FALSE POSITIVE" || soar.WithoutOwnLine(s.Comment) != hostile {
			t.Errorf("the alert is %+v", s)
		}
		if out, ok := b.takeBack("alert.resolve", resolve, resolved); !ok || out.State != soar.StepVerified || b.alertState(alert).Status != "OPEN" {
			t.Errorf("resolving taken back: %+v, %+v", out, b.alertState(alert))
		}
	}
}

// What a person said of an alert since is not wiped by taking back what a playbook did.
func TestUndoLeavesAlertsOfPeopleAlone(t *testing.T) {
	b := newBench(t, ersim.Options{})
	alert := b.raise(b.windows(), evil)
	resolve := call("resolve", alert, object{"verdict": "false_positive", "comment": "weekly scan"})
	back := b.reversal("alert.resolve", resolve, b.run("alert.resolve", resolve))
	id, err := strconv.ParseInt(alert.ID, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.deps.Client.Alerts.Resolve(t.Context(), []int64{id}, true, "it was real after all"); err != nil {
		t.Fatal(err)
	}
	c := call("undo", alert, back.With)
	const words = `was resolved by somebody else since, as true_positive with the comment "it was real after all": it is left alone`
	if err := b.ready(back.Do, c); err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("ready: %v", err)
	}
	if _, err := b.actions[back.Do].Do(t.Context(), c); err == nil || errors.Is(err, playbooks.ErrUncertain) || !strings.Contains(err.Error(), words) {
		t.Errorf("do: %v", err)
	}
	if s := b.alertState(alert); s.Status != "RESOLVED" || s.Comment != "it was real after all" {
		t.Errorf("the alert is %+v", s)
	}
}

func TestRefusedReopenByAnalyst(t *testing.T) {
	s := stage(t, ersim.Options{})
	s.run("alert.resolve", call("resolve", s.alert, object{"verdict": "true_positive"}))
	s.as("analyst")
	s.begin("{id: act, do: alert.reopen}")
	s.put()
	s.refused("reopening an alert needs the role admin on the server, and the account analyst has the role analyst")
	if err := s.ready("alert.resolve", call("none", s.alert, object{"verdict": "true_positive", "alert": 99999.0})); err == nil || !strings.Contains(err.Error(), "has no alert 99999") {
		t.Errorf("unknown alert: %v", err)
	}
}

// Release 2.1.2 keeps no verdict: a resolved alert cannot be resolved again as it was.
func TestReopenOnRelease2(t *testing.T) {
	b := newBench(t, ersim.Options{Profile: "2.1.2"})
	alert := b.raise(b.windows(), evil)
	resolved := call("resolve", alert, object{"verdict": "true_positive", "comment": "real"})
	want(t, b.run("alert.resolve", resolved), soar.StepVerified, "resolved")
	reopen := call("reopen", alert, object{})
	if err := b.ready("alert.reopen", reopen); err != nil {
		t.Fatal(err)
	}
	out := b.run("alert.reopen", reopen)
	want(t, out, soar.StepVerified, "reopened")
	if b.reversal("alert.reopen", reopen, out) != nil {
		t.Error("a verdict that nobody knows is given back")
	}
}

// changes are calls that the server's own records verify, with the calls of the server
// that carry them out and that read them back.
func changes(alert soar.Alert, note float64) []struct {
	action, write, read string
	with                object
} {
	return []struct {
		action, write, read string
		with                object
	}{
		{"alert.note_edit", "alerts-notes-update", "alerts-notes-list", object{"note": note, "text": "new"}},
		{"alert.note_remove", "alerts-notes-delete", "alerts-notes-list", object{"note": note}},
		{"alert.resolve", "alerts-update", "alerts-get", object{"verdict": "true_positive"}},
		{"alert.reopen", "alerts-update", "alerts-get", object{}},
	}
}

// A change is verified by the records, whatever came of the answer: what cannot be read
// now is looked at again, and what is not there is not called done.
func TestChangesAreReadBack(t *testing.T) {
	type fault struct {
		kind  ersim.FaultKind
		call  string // write, read
		after int
		state soar.StepState
		err   error
	}
	for name, f := range map[string]fault{
		"answer lost after it was done":  {ersim.DropAfter, "write", 0, soar.StepVerified, nil},
		"answer lost before it was done": {ersim.DropBefore, "write", 0, "", playbooks.ErrUncertain},
		"busy":                           {ersim.RateLimit, "write", 0, "", playbooks.ErrTransient},
		"unreadable afterwards":          {ersim.ServerError, "read", 1, soar.StepAccepted, nil},
		"unreadable before":              {ersim.ServerError, "read", 0, "", playbooks.ErrTransient},
	} {
		for i, c := range changes(soar.Alert{}, 0) {
			t.Run(c.action+" "+name, func(t *testing.T) {
				b := newBench(t, ersim.Options{})
				alert := b.raise(b.windows(), evil)
				note := b.run("alert.note", call("note", alert, object{"text": "old"})).Output.(AlertNoteOutput).Note
				if c.action == "alert.reopen" {
					b.run("alert.resolve", call("resolve", alert, object{"verdict": "false_positive"}))
				}
				with := changes(alert, float64(note))[i].with
				one := call("c", alert, with)
				target := c.write
				if f.call == "read" {
					target = c.read
				}
				b.sim.Inject(ersim.Fault{Kind: f.kind, Call: target, After: f.after})
				out, err := b.actions[c.action].Do(t.Context(), one)
				if f.err != nil {
					if !errors.Is(err, f.err) || errors.Is(err, playbooks.ErrTransient) == errors.Is(err, playbooks.ErrUncertain) {
						t.Errorf("error %v", err)
					}
					return
				}
				if err != nil || out.State != f.state {
					t.Fatalf("%+v: %v", out, err)
				}
				if f.state == soar.StepAccepted {
					if out.Unverified == "" || out.Ref == "" {
						t.Errorf("outcome %+v", out)
					}
					again, err := b.actions[c.action].Poll(t.Context(), one, out.Ref)
					if err != nil || again.State != soar.StepVerified || fmt.Sprint(again.Output) != fmt.Sprint(out.Output) {
						t.Errorf("looked again: %+v: %v", again, err)
					}
					if _, err := b.actions[c.action].Poll(t.Context(), one, "note:7"); err == nil {
						t.Error("another action's reference is taken")
					}
				}
			})
		}
	}
}

package storetest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

// testChanges is about what the store tells of alerts that change, and whom.
func testChanges(t *testing.T, open Opener) {
	resolved := func(id string) soar.Alert {
		a := alert("er", id)
		a.Status, a.Verdict, a.Comment = soar.StatusResolved, soar.VerdictFalsePositive, "weekly scan"
		return a
	}
	// updates are the events that tell of changes.
	updates := func(t *testing.T, b Backend) (events []soar.Event) {
		t.Helper()
		for _, ev := range must(b.Feed(t.Context(), 0, 100))(t) {
			if ev.Type == soar.EventAlertUpdated {
				events = append(events, ev)
			}
		}
		return events
	}
	// seen is an open store with alerts that were evaluated.
	seen := func(t *testing.T, ids ...string) Backend {
		t.Helper()
		var clock clock
		b := open(t, store.Options{Now: clock.now})
		for i, id := range ids {
			commit(t, b, soar.Change{Alerts: []soar.Alert{alert("er", id)}})
			commit(t, b, soar.Change{Evaluated: []soar.Evaluation{{AlertKey: int64(i + 1)}}})
		}
		return b
	}

	t.Run("an analyst's change is told and evaluated", func(t *testing.T) {
		b := seen(t, "1")
		at := epoch.Add(time.Minute)
		commit(t, b, soar.Change{Alerts: []soar.Alert{resolved("1")}, Hands: map[int]soar.Hand{0: {Origin: soar.OriginAnalyst, By: "jane", At: at}}})
		was, became := alert("er", "1"), resolved("1")
		want := &soar.AlertChange{
			What: []string{"resolved", "verdict", "comment"}, Origin: soar.OriginAnalyst, By: "jane", At: at, From: was.State(), To: became.State(),
		}
		events := updates(t, b)
		if len(events) != 1 || !reflect.DeepEqual(events[0].Change, want) || events[0].Alert == nil || events[0].Alert.Status != soar.StatusResolved {
			t.Fatalf("told %+v, want one event with %+v and the alert", events, want)
		}
		pending := must(b.Pending(t.Context(), 0, 10))(t)
		if len(pending) != 1 || pending[0].Pending != "alert.updated" || !reflect.DeepEqual(pending[0].Change, want) {
			t.Errorf("pending %+v, want the alert with its change", pending)
		}
	})

	t.Run("erbridge's own change is told and not evaluated", func(t *testing.T) {
		b := seen(t, "1")
		commit(t, b, soar.Change{Alerts: []soar.Alert{resolved("1")}, Hands: map[int]soar.Hand{0: {Origin: soar.OriginErbridge, Run: "RUN"}}})
		events := updates(t, b)
		if len(events) != 1 || events[0].Change == nil || events[0].Change.Origin != soar.OriginErbridge || events[0].Change.Run != "RUN" {
			t.Errorf("told %+v, want one event of erbridge's own", events)
		}
		if pending := must(b.Pending(t.Context(), 0, 10))(t); len(pending) != 0 {
			t.Errorf("pending %+v: it would answer itself", pending)
		}
		if n := must(b.Counts(t.Context()))(t).Pending; n != 0 {
			t.Errorf("counted %d pending", n)
		}
	})

	t.Run("with erbridge's own change, more events are the server's and evaluated", func(t *testing.T) {
		b := seen(t, "1")
		grown := resolved("1")
		grown.EventCount = 7
		commit(t, b, soar.Change{Alerts: []soar.Alert{grown}, Hands: map[int]soar.Hand{0: {Origin: soar.OriginErbridge}}})
		var got []string
		for _, ev := range updates(t, b) {
			got = append(got, fmt.Sprintf("%s %s", ev.Change.Origin, ev.Change.What))
		}
		if want := []string{"erbridge [resolved verdict comment]", "server [events]"}; !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
		pending := must(b.Pending(t.Context(), 0, 10))(t)
		if len(pending) != 1 || pending[0].Change == nil || !slices.Equal(pending[0].Change.What, []string{"events"}) {
			t.Errorf("pending %+v, want the events alone", pending)
		}
	})

	t.Run("what changes during an evaluation is evaluated after it, all at once", func(t *testing.T) {
		b := seen(t)
		commit(t, b, soar.Change{Alerts: []soar.Alert{alert("er", "1")}})
		commit(t, b, soar.Change{Alerts: []soar.Alert{resolved("1")}, Hands: map[int]soar.Hand{0: {Origin: soar.OriginAnalyst, By: "jane"}}})
		commit(t, b, soar.Change{Alerts: []soar.Alert{alert("er", "1")}, Hands: map[int]soar.Hand{0: {Origin: soar.OriginAnalyst, By: "joe"}}})
		if p := must(b.Pending(t.Context(), 0, 10))(t); len(p) != 1 || p[0].Pending != "alert" || p[0].Change != nil {
			t.Fatalf("pending %+v, want the new alert first", p)
		}
		commit(t, b, soar.Change{Evaluated: []soar.Evaluation{{AlertKey: 1}}})
		p := must(b.Pending(t.Context(), 0, 10))(t)
		if len(p) != 1 || p[0].Change == nil || p[0].Change.By != "joe" || p[0].Change.From != p[0].Change.To ||
			!slices.Equal(p[0].Change.What, []string{"resolved", "verdict", "comment", "reopened"}) {
			t.Fatalf("pending %+v, want both changes as one", p)
		}
		commit(t, b, soar.Change{Evaluated: []soar.Evaluation{{AlertKey: 1}}})
		if p := must(b.Pending(t.Context(), 0, 10))(t); len(p) != 0 {
			t.Errorf("still pending: %+v", p)
		}
	})

	t.Run("events of changes that come back have ids of their own", func(t *testing.T) {
		b := seen(t, "1")
		for range 3 { // a server that notes no time of the change
			commit(t, b, soar.Change{Alerts: []soar.Alert{resolved("1")}})
			commit(t, b, soar.Change{Alerts: []soar.Alert{alert("er", "1")}})
		}
		ids := names(updates(t, b), func(ev soar.Event) string { return ev.ID })
		slices.Sort(ids)
		if len(slices.Compact(slices.Clone(ids))) != 6 {
			t.Errorf("ids %q: six are to be different", ids)
		}
	})

	t.Run("notes", func(t *testing.T) {
		b := seen(t, "1", "2")
		note := func(key int64, origin soar.Origin, text string) soar.Noted {
			return soar.Noted{ID: "alert.updated/er-" + text, AlertKey: key, Change: soar.AlertChange{
				What: []string{soar.ChangeNoteAdded}, Origin: origin, Notes: []soar.AlertNote{{ID: 5, What: soar.ChangeNoteAdded, Text: text}}}}
		}
		commit(t, b, soar.Change{Noted: []soar.Noted{
			note(1, soar.OriginAnalyst, "a"), note(1, soar.OriginAnalyst, "b"), note(2, soar.OriginErbridge, "ours"), note(99, soar.OriginAnalyst, "gone"),
		}})
		ids := names(updates(t, b), func(ev soar.Event) string { return ev.ID })
		if want := []string{"alert.updated/er-a", "alert.updated/er-b", "alert.updated/er-ours"}; !slices.Equal(ids, want) {
			t.Errorf("told %q, want %q", ids, want)
		}
		p := must(b.Pending(t.Context(), 0, 10))(t)
		if len(p) != 1 || p[0].Key != 1 || p[0].Change == nil || len(p[0].Change.Notes) != 1 {
			t.Fatalf("pending %+v, want the analyst's alone", p)
		}
		commit(t, b, soar.Change{Evaluated: []soar.Evaluation{{AlertKey: 1}}})
		if p := must(b.Pending(t.Context(), 0, 10))(t); len(p) != 1 || p[0].Change.Notes[0].Text != "b" {
			t.Errorf("pending %+v, want the second note", p)
		}
		if _, err := b.Commit(t.Context(), soar.Change{Noted: []soar.Noted{{AlertKey: 1}}}); err == nil || !strings.Contains(err.Error(), "no id") {
			t.Errorf("a change without an id: %v", err)
		}
	})

	t.Run("alerts that are resolved, or worked on", func(t *testing.T) {
		b := seen(t, "1", "2", "3", "4")
		commit(t, b, soar.Change{Alerts: []soar.Alert{resolved("2"), resolved("4")}})
		ids := func(found []soar.StoredAlert) []string {
			return names(found, func(a soar.StoredAlert) string { return a.Alert.ID })
		}
		got := ids(must(b.KnownResolved(t.Context(), "er", epoch, 10))(t))
		slices.Sort(got)
		if !slices.Equal(got, []string{"2", "4"}) {
			t.Errorf("resolved: %q", got)
		}
		if got := must(b.KnownResolved(t.Context(), "er", epoch.Add(time.Second), 10))(t); len(got) != 0 {
			t.Errorf("resolved and created later: %v", ids(got))
		}
		day := 24 * time.Hour
		run := func(began time.Time, key int64, state soar.RunState) soar.Run {
			return soar.Run{ID: soar.NewRunID(began), AlertKey: key, Alert: "er-x", Playbook: "p", Mode: soar.ModeEnforce, State: state, Epoch: 1, StartedAt: began}
		}
		commit(t, b, soar.Change{Runs: []soar.Run{
			run(epoch.Add(-5*day), 1, soar.RunWaiting), run(epoch.Add(-5*day), 2, soar.RunDone),
			run(epoch.Add(-day), 3, soar.RunDone), run(epoch, 3, soar.RunFailed), run(epoch, 0, soar.RunDone),
		}})
		if got := ids(must(b.WorkedOn(t.Context(), "er", epoch.Add(-2*day), 10))(t)); !slices.Equal(got, []string{"3", "1"}) {
			t.Errorf("worked on: %q, want the one of late and the one with a run that waits", got)
		}
		if got := must(b.WorkedOn(t.Context(), "other", epoch.Add(-2*day), 10))(t); len(got) != 0 {
			t.Errorf("worked on, of another server: %v", ids(got))
		}
	})
}

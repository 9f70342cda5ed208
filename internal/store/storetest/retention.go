package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

func testRetention(t *testing.T, open Opener) {
	const day = 24 * time.Hour
	keep := store.Retention{Alerts: 30 * day, Runs: 10 * day, DeadLetters: 5 * day}

	t.Run("what is held back stays", func(t *testing.T) {
		var clock clock
		b := open(t, store.Options{Now: clock.now, Retention: keep})
		var alerts []soar.Alert
		for _, id := range []string{"plain", "pending", "running", "waiting", "unknown", "done", "redelivered"} {
			alerts = append(alerts, alert("er", id))
		}
		commit(t, b, soar.Change{Alerts: alerts})
		change := soar.Change{
			Sinks:     []soar.SinkCursor{{Sink: "fast", Pos: 7}, {Sink: "slow", Pos: 7}},
			Redeliver: []soar.Redelivery{{Sink: "fast", Event: soar.Event{ID: "r", Type: soar.EventAlertReceived, AlertKey: 7}}},
		}
		for key := int64(1); key <= 7; key++ {
			if key != 2 {
				change.Evaluated = append(change.Evaluated, soar.Evaluation{AlertKey: key, Verdicts: map[string]string{"a": "match"}})
			}
		}
		for i, state := range []soar.RunState{soar.RunRunning, soar.RunWaiting, soar.RunUnknown, soar.RunDone} {
			run := soar.Run{ID: soar.NewRunID(epoch), AlertKey: int64(3 + i), State: state, StartedAt: epoch, Wake: epoch.Add(1000 * day)}
			if state.Ended() {
				run.EndedAt = epoch
			}
			change.Runs = append(change.Runs, run)
			change.Entries = append(change.Entries, soar.Entry{Run: run.ID, Seq: 1, At: epoch})
		}
		commit(t, b, change)

		clock.moveTo(20 * day)
		if err := b.Retain(t.Context()); err != nil {
			t.Fatal(err)
		}
		left := func() (alerts, runs []string) {
			alerts = names(must(b.Alerts(t.Context(), store.AlertFilter{}))(t), func(a soar.StoredAlert) string { return a.Alert.ID })
			runs = names(must(b.Runs(t.Context(), store.RunFilter{}))(t), func(r soar.Run) string { return string(r.State) })
			slices.Sort(alerts)
			slices.Sort(runs)
			return alerts, runs
		}
		if alerts, runs := left(); len(alerts) != 7 || !slices.Equal(runs, []string{"running", "unknown", "waiting"}) {
			t.Errorf("after 20 days: alerts %q, runs %q", alerts, runs)
		}
		if got := must(b.Entries(t.Context(), change.Runs[3].ID))(t); len(got) != 0 {
			t.Errorf("journal of a removed run: %+v", got)
		}
		if got := must(b.Entries(t.Context(), change.Runs[0].ID))(t); len(got) != 1 {
			t.Errorf("journal of a run at work: %+v", got)
		}

		clock.moveTo(40 * day)
		if err := b.Retain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if alerts, _ := left(); !slices.Equal(alerts, []string{"pending", "redelivered", "running", "unknown", "waiting"}) {
			t.Errorf("after 40 days: alerts %q", alerts)
		}
		if _, err := b.AlertByRef(t.Context(), "er-plain"); !errors.Is(err, soar.ErrNotFound) {
			t.Errorf("removed alert: %v", err)
		}
		counts := must(b.Counts(t.Context()))(t)
		if counts.Alerts != 5 || counts.Pending != 1 || counts.Feed != 0 || counts.FeedHead != 7 || counts.RunsByState[soar.RunDone] != 0 {
			t.Errorf("counts %+v", counts)
		}
		// What was removed is new when it comes again, under a key never used before.
		again := commit(t, b, soar.Change{Alerts: []soar.Alert{alert("er", "plain")}})
		if got := must(b.AlertByRef(t.Context(), "er-plain"))(t); len(again.New) != 1 || got.Key != 8 || len(got.Verdicts) != 0 {
			t.Errorf("taken in again: %+v, key %d, verdicts %v", again, got.Key, got.Verdicts)
		}
	})

	t.Run("no event is removed before every sink has passed it", func(t *testing.T) {
		var clock clock
		b := open(t, store.Options{Now: clock.now, Retention: keep})
		var alerts []soar.Alert
		var evaluated []soar.Evaluation
		for i := range 10 {
			alerts = append(alerts, alert("er", fmt.Sprint(i)))
			evaluated = append(evaluated, soar.Evaluation{AlertKey: int64(i + 1)})
		}
		commit(t, b, soar.Change{Alerts: alerts})
		commit(t, b, soar.Change{Evaluated: evaluated, Sinks: []soar.SinkCursor{{Sink: "fast", Pos: 10}, {Sink: "slow", Pos: 4}}})
		clock.moveTo(1000 * day)
		if err := b.Retain(t.Context()); err != nil {
			t.Fatal(err)
		}
		events := must(b.Feed(t.Context(), 0, 100))(t)
		if len(events) != 6 || events[0].Pos != 5 || events[0].Alert == nil {
			t.Fatalf("left %d events from %+v", len(events), events)
		}
		if n := must(b.Counts(t.Context()))(t).Alerts; n != 6 {
			t.Errorf("%d alerts left", n)
		}
		commit(t, b, soar.Change{Sinks: []soar.SinkCursor{{Sink: "slow", Pos: -1}}})
		if err := b.Retain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := must(b.Counts(t.Context()))(t).Feed; n != 0 {
			t.Errorf("%d events left after the slow sink was forgotten", n)
		}
	})

	t.Run("many", func(t *testing.T) {
		var clock clock
		b := open(t, store.Options{Now: clock.now, Retention: keep})
		const n = 1700 // more than three batches
		change := soar.Change{}
		for i := range n {
			run := soar.Run{ID: soar.NewRunID(epoch), AlertKey: int64(i + 1), State: soar.RunDone, StartedAt: epoch, EndedAt: epoch}
			change.Alerts = append(change.Alerts, alert("er", fmt.Sprint(i)))
			change.Runs = append(change.Runs, run)
			change.Evaluated = append(change.Evaluated, soar.Evaluation{AlertKey: int64(i + 1)})
			change.DeadLetters = append(change.DeadLetters, soar.DeadLetter{Origin: "source:push", At: epoch})
			change.KV = append(change.KV, soar.KV{Key: fmt.Sprint("k", i), Value: "1", Expires: epoch.Add(day)})
		}
		commit(t, b, change)
		commit(t, b, soar.Change{DeadLetters: []soar.DeadLetter{{Origin: "source:push", At: epoch.Add(36 * day)}}})
		clock.moveTo(40 * day)
		commit(t, b, soar.Change{Alerts: []soar.Alert{alert("er", "young")}})
		if err := b.Retain(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := must(b.Counts(t.Context()))(t)
		if got.Alerts != 1 || got.Feed != 2 || got.RunsByState[soar.RunDone] != 0 || got.DeadLetters != 1 {
			t.Errorf("left: %+v", got)
		}
		// What went without anybody having looked after it is told of, once.
		if err := b.Retain(t.Context()); err != nil {
			t.Fatal(err)
		}
		feed := must(b.Feed(t.Context(), 0, 10))(t)
		if len(feed) != 2 || feed[1].Type != soar.EventTrouble || !strings.HasPrefix(feed[1].Text, "1700 dead letters were set aside before ") {
			t.Errorf("feed: %+v", feed)
		}
		if _, err := b.AlertByRef(t.Context(), "er-young"); err != nil {
			t.Errorf("young alert: %v", err)
		}
	})

	t.Run("for ever", func(t *testing.T) {
		var clock clock
		b := open(t, store.Options{Now: clock.now})
		commit(t, b, soar.Change{
			Alerts:      []soar.Alert{alert("er", "1")},
			Evaluated:   []soar.Evaluation{{AlertKey: 1}},
			Runs:        []soar.Run{{ID: 1, State: soar.RunDone, EndedAt: epoch}},
			DeadLetters: []soar.DeadLetter{{Origin: "source:push", At: epoch}},
		})
		clock.moveTo(10_000 * day)
		if err := b.Retain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := must(b.Counts(t.Context()))(t); got.Alerts != 1 || got.Feed != 1 || got.RunsByState[soar.RunDone] != 1 || got.DeadLetters != 1 {
			t.Errorf("left: %+v", got)
		}
	})
}

package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

// everything is a change that touches every kind of record.
func everything(run soar.RunID, seq int, mark string) soar.Change {
	return soar.Change{
		Alerts:      []soar.Alert{alert("er", mark)},
		Cursors:     []soar.Cursor{{Source: mark, Value: []byte("1")}},
		Playbooks:   []soar.PlaybookVersion{{Hash: mark, Name: mark, Source: []byte(mark)}},
		Evaluated:   []soar.Evaluation{{AlertKey: 1, Verdicts: map[string]string{mark: "match"}}},
		Runs:        []soar.Run{{ID: run, State: soar.RunRunning, Playbook: mark}},
		Entries:     []soar.Entry{{Run: run, Seq: seq, At: epoch, Kind: soar.EntryNote, Ref: mark}},
		Events:      []soar.Event{{ID: mark, Type: soar.EventTest, At: epoch}},
		KV:          []soar.KV{{Key: mark, Value: mark}},
		Sinks:       []soar.SinkCursor{{Sink: mark, Pos: 1}},
		DeadLetters: []soar.DeadLetter{{Origin: mark, At: epoch}},
		Redeliver:   []soar.Redelivery{{Sink: mark, Event: soar.Event{ID: mark, Type: soar.EventTest}}},
	}
}

// traces names the kinds of record in which a change of everything is found.
func traces(t *testing.T, b Backend, mark string) string {
	t.Helper()
	ctx := t.Context()
	var found []string
	note := func(kind string, there bool, err error) {
		t.Helper()
		if err != nil && !errors.Is(err, soar.ErrNotFound) {
			t.Fatal(err)
		}
		if there && err == nil {
			found = append(found, kind)
		}
	}
	_, err := b.AlertByRef(ctx, "er-"+mark)
	note("alert", true, err)
	cursor, err := b.Cursor(ctx, mark)
	note("cursor", cursor != nil, err)
	_, err = b.PlaybookVersion(ctx, mark)
	note("playbook", true, err)
	evaluated, err := b.AlertByKey(ctx, 1)
	note("evaluated", evaluated.Verdicts[mark] != "", err)
	runs, err := b.Runs(ctx, store.RunFilter{Playbook: mark})
	note("run", len(runs) > 0, err)
	claimed, err := b.RefClaimed(ctx, mark)
	note("entry", claimed, err)
	events, err := b.Feed(ctx, 0, 10_000)
	note("event", strings.Contains(" "+strings.Join(names(events, func(ev soar.Event) string { return ev.ID }), " ")+" ", " "+mark+" "), err)
	values, err := b.KV(ctx, mark)
	note("value", len(values) > 0, err)
	_, known, err := b.SinkCursor(ctx, mark)
	note("sink", known, err)
	dead, err := b.DeadLetters(ctx, store.DeadLetterFilter{Origin: mark})
	note("dead letter", len(dead) > 0, err)
	again, err := b.Redeliveries(ctx, mark, 10)
	note("redelivery", len(again) > 0, err)
	return strings.Join(found, ", ")
}

const allTraces = "alert, cursor, playbook, evaluated, run, entry, event, value, sink, dead letter, redelivery"

func testCommit(t *testing.T, open Opener) {
	t.Run("a change is kept as a whole or not at all", func(t *testing.T) {
		b := open(t, store.Options{})
		commit(t, b, soar.Change{Alerts: []soar.Alert{alert("er", "first")}})
		commit(t, b, everything(1, 1, "taken"))
		if got := traces(t, b, "taken"); got != allTraces {
			t.Errorf("kept: %s", got)
		}
		before := must(b.Counts(t.Context()))(t)
		done, err := b.Commit(t.Context(), everything(1, 1, "refused"))
		if !errors.Is(err, soar.ErrConflict) || !strings.Contains(err.Error(), "entry 1") {
			t.Errorf("repeated entry: %v", err)
		}
		if len(done.New) != 0 {
			t.Errorf("a refused change tells of new alerts: %+v", done)
		}
		if got := traces(t, b, "refused"); got != "" {
			t.Errorf("left behind: %s", got)
		}
		if after := must(b.Counts(t.Context()))(t); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("counts %v, want %v", after, before)
		}
		twice := soar.Change{Entries: []soar.Entry{{Run: 9, Seq: 1}, {Run: 9, Seq: 1}}}
		if _, err := b.Commit(t.Context(), twice); !errors.Is(err, soar.ErrConflict) {
			t.Errorf("an entry twice in one change: %v", err)
		}
		if got := must(b.Entries(t.Context(), 9))(t); len(got) != 0 {
			t.Errorf("half of a refused change: %+v", got)
		}
	})

	t.Run("a conflict leaves the others alone", func(t *testing.T) {
		b := open(t, store.Options{})
		commit(t, b, soar.Change{Alerts: []soar.Alert{alert("er", "first")}, Entries: []soar.Entry{{Run: 1000, Seq: 1}}})
		const n = 200
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				change := everything(soar.RunID(i+1), 1, fmt.Sprintf("m%03d", i))
				if i%7 == 3 {
					change.Entries = append(change.Entries, soar.Entry{Run: 1000, Seq: 1})
				}
				_, errs[i] = b.Commit(t.Context(), change)
			})
		}
		wg.Wait()
		kept := 0
		for i, err := range errs {
			mark, want := fmt.Sprintf("m%03d", i), allTraces
			if i%7 == 3 {
				want = ""
				if !errors.Is(err, soar.ErrConflict) {
					t.Errorf("%s: %v, want a conflict", mark, err)
				}
			} else if kept++; err != nil {
				t.Errorf("%s: %v", mark, err)
			}
			if got := traces(t, b, mark); got != want {
				t.Errorf("%s: found %q, want %q", mark, got, want)
			}
		}
		counts := must(b.Counts(t.Context()))(t)
		events := must(b.Feed(t.Context(), 0, 10_000))(t)
		if counts.Alerts != int64(kept+1) || counts.DeadLetters != int64(kept) || counts.Feed != int64(len(events)) || len(events) != 2*kept+1 {
			t.Errorf("%d kept, %d events, counts %+v", kept, len(events), counts)
		}
		for i, ev := range events {
			if ev.Pos != int64(i+1) {
				t.Fatalf("event %d has position %d: a refused change left a gap", i, ev.Pos)
			}
		}
	})

	t.Run("two workers, one entry", func(t *testing.T) {
		b := open(t, store.Options{})
		const workers, steps = 8, 50
		won := make([]int, workers)
		for step := range steps {
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					_, err := b.Commit(t.Context(), soar.Change{Entries: []soar.Entry{{Run: 1, Seq: step, Kind: soar.EntryIntent}}})
					switch {
					case err == nil:
						won[w]++
					case !errors.Is(err, soar.ErrConflict):
						t.Errorf("step %d: %v", step, err)
					}
				})
			}
			wg.Wait()
		}
		total := 0
		for _, n := range won {
			total += n
		}
		if total != steps {
			t.Errorf("%d steps were won %d times", steps, total)
		}
	})

	t.Run("an empty change", func(t *testing.T) {
		b := open(t, store.Options{})
		if done := commit(t, b, soar.Change{}); done.New != nil || done.Updated != nil || done.Known != 0 {
			t.Errorf("%+v", done)
		}
	})

	t.Run("a caller that gives up knows whether its change was kept", func(t *testing.T) {
		b := open(t, store.Options{})
		gone := errors.New("caller has gone")
		for i := range 200 {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancelled := make(chan struct{})
			go func() {
				defer close(cancelled)
				cancel(gone)
			}()
			mark := fmt.Sprintf("m%03d", i)
			_, err := b.Commit(ctx, soar.Change{KV: []soar.KV{{Key: mark, Value: "1"}}})
			<-cancelled
			if err != nil && !errors.Is(err, gone) {
				t.Fatalf("%s: %v", mark, err)
			}
			// Whatever was queued is committed when this one is.
			commit(t, b, soar.Change{KV: []soar.KV{{Key: "after", Value: "1"}}})
			var kept bool
			for _, kv := range must(b.KV(t.Context(), mark))(t) {
				kept = kept || kv.Key == mark
			}
			if kept != (err == nil) {
				t.Fatalf("%s: kept %t, told %v", mark, kept, err)
			}
		}
	})

	t.Run("signals", func(t *testing.T) {
		b := open(t, store.Options{})
		changed := alert("er", "1")
		changed.Status = soar.StatusResolved
		for _, tt := range []struct {
			name   string
			change soar.Change
			want   []soar.Signal
		}{
			{"alert", soar.Change{Alerts: []soar.Alert{alert("er", "1")}}, []soar.Signal{soar.SignalAlerts, soar.SignalFeed}},
			{"known alert", soar.Change{Alerts: []soar.Alert{alert("er", "1")}}, nil},
			{"run", soar.Change{Runs: []soar.Run{{ID: 1, State: soar.RunRunning}}}, []soar.Signal{soar.SignalRuns}},
			{"event", soar.Change{Events: []soar.Event{{ID: "1", Type: soar.EventTest}}}, []soar.Signal{soar.SignalFeed}},
			{"evaluation", soar.Change{Evaluated: []soar.Evaluation{{AlertKey: 1}}}, nil},
			{"changed alert", soar.Change{Alerts: []soar.Alert{changed}}, []soar.Signal{soar.SignalAlertsAgain, soar.SignalFeed}},
			{"noted change", soar.Change{Noted: []soar.Noted{{AlertKey: 1, ID: "noted", Change: soar.AlertChange{Origin: soar.OriginAnalyst}}}},
				[]soar.Signal{soar.SignalAlertsAgain, soar.SignalFeed}},
			{"sink cursor", soar.Change{Sinks: []soar.SinkCursor{{Sink: "a", Pos: 1}}}, nil},
			{"redelivery", soar.Change{Redeliver: []soar.Redelivery{{Sink: "a", Event: soar.Event{ID: "1", Type: soar.EventTest}}}}, []soar.Signal{soar.SignalRedeliver}},
		} {
			var watched [soar.NumSignals]<-chan struct{}
			for i := range watched {
				watched[i] = b.Changed(soar.Signal(i))
			}
			commit(t, b, tt.change)
			var got []soar.Signal
			for i, ch := range watched {
				select {
				case <-ch:
					got = append(got, soar.Signal(i))
				default:
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("%s: signals %v, want %v", tt.name, got, tt.want)
			}
		}
	})
}

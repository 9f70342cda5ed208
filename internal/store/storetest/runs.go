package storetest

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

func testRuns(t *testing.T, open Opener) {
	ids := func(runs []soar.Run) string {
		return strings.Join(names(runs, func(r soar.Run) string { return r.ID.String()[12:] }), " ")
	}

	t.Run("a run comes back as it was", func(t *testing.T) {
		b := open(t, store.Options{})
		run := soar.Run{ID: soar.NewRunID(epoch), AlertKey: 3, Alert: "er-1", Playbook: "contain", Version: "5f70", Mode: soar.ModeEnforce,
			State: soar.RunWaiting, PC: 2, Wake: epoch.Add(time.Minute), Epoch: 1, StartedAt: epoch}
		commit(t, b, soar.Change{Runs: []soar.Run{run}})
		if got := must(b.GetRun(t.Context(), run.ID))(t); got != run {
			t.Errorf("\n got %+v\nwant %+v", got, run)
		}
		run.State, run.PC, run.Wake, run.Epoch, run.EndedAt, run.Error = soar.RunFailed, 3, time.Time{}, 2, epoch.Add(time.Hour), "no such host"
		commit(t, b, soar.Change{Runs: []soar.Run{run}})
		if got := must(b.GetRun(t.Context(), run.ID))(t); got != run {
			t.Errorf("replaced\n got %+v\nwant %+v", got, run)
		}
		if _, err := b.GetRun(t.Context(), run.ID+1); !errors.Is(err, soar.ErrNotFound) {
			t.Errorf("GetRun of no run: %v", err)
		}
	})

	t.Run("who is due", func(t *testing.T) {
		b := open(t, store.Options{})
		if got := must(b.NextWake(t.Context()))(t); !got.IsZero() {
			t.Errorf("NextWake of nothing: %s", got)
		}
		at := func(minutes int) time.Time { return epoch.Add(time.Duration(minutes) * time.Minute) }
		commit(t, b, soar.Change{Runs: []soar.Run{
			{ID: 1, State: soar.RunRunning}, {ID: 2, State: soar.RunWaiting, Wake: at(5)}, {ID: 3, State: soar.RunWaiting, Wake: at(1)},
			{ID: 4, State: soar.RunDone}, {ID: 5, State: soar.RunUnknown}, {ID: 6, State: soar.RunRunning}, {ID: 7, State: soar.RunWaiting, Wake: at(3)},
			{ID: 8, State: soar.RunCancelled, Wake: at(0)},
		}})
		if got := ids(must(b.Running(t.Context()))(t)); got != "1 6" {
			t.Errorf("running: %q", got)
		}
		if got := must(b.NextWake(t.Context()))(t); !got.Equal(at(1)) {
			t.Errorf("next wake: %s, want %s", got, at(1))
		}
		for _, tt := range []struct {
			now   time.Time
			limit int
			want  string
		}{{at(0), 10, ""}, {at(1), 10, "3"}, {at(4), 10, "3 7"}, {at(9), 10, "3 7 2"}, {at(9), 2, "3 7"}} {
			if got := ids(must(b.Due(t.Context(), tt.now, tt.limit))(t)); got != tt.want {
				t.Errorf("due at %s: %q, want %q", tt.now, got, tt.want)
			}
		}
		// A run that goes on is due no more, one that waits again is.
		commit(t, b, soar.Change{Runs: []soar.Run{{ID: 3, State: soar.RunRunning}, {ID: 5, State: soar.RunWaiting, Wake: at(2)}}})
		if got := ids(must(b.Due(t.Context(), at(4), 10))(t)); got != "5 7" {
			t.Errorf("due after a change: %q", got)
		}
		counts := must(b.Counts(t.Context()))(t).RunsByState
		want := map[soar.RunState]int64{soar.RunRunning: 3, soar.RunWaiting: 3, soar.RunDone: 1, soar.RunUnknown: 0, soar.RunCancelled: 1, soar.RunFailed: 0}
		if !reflect.DeepEqual(counts, want) {
			t.Errorf("counts %v, want %v", counts, want)
		}
	})

	t.Run("lists", func(t *testing.T) {
		b := open(t, store.Options{})
		commit(t, b, soar.Change{Alerts: []soar.Alert{alert("er", "1"), alert("er", "2")}})
		commit(t, b, soar.Change{Runs: []soar.Run{
			{ID: 1, AlertKey: 1, Alert: "er-1", Playbook: "a", State: soar.RunDone}, {ID: 2, AlertKey: 1, Alert: "er-1", Playbook: "b", State: soar.RunFailed},
			{ID: 3, AlertKey: 2, Alert: "er-2", Playbook: "a", State: soar.RunDone}, {ID: 4, AlertKey: 2, Alert: "er-2", Playbook: "b", State: soar.RunRunning},
		}})
		for _, tt := range []struct {
			name   string
			filter store.RunFilter
			want   string
		}{
			{"all", store.RunFilter{}, "4 3 2 1"},
			{"page", store.RunFilter{Before: 4, Limit: 2}, "3 2"},
			{"done", store.RunFilter{State: soar.RunDone}, "3 1"},
			{"failed", store.RunFilter{State: soar.RunFailed}, "2"},
			{"playbook", store.RunFilter{Playbook: "b"}, "4 2"},
			{"alert", store.RunFilter{Alert: "er-1"}, "2 1"},
			{"alert and playbook", store.RunFilter{Alert: "er-2", Playbook: "a"}, "3"},
			{"no such alert", store.RunFilter{Alert: "er-3"}, ""},
		} {
			if got := ids(must(b.Runs(t.Context(), tt.filter))(t)); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
	})

	t.Run("journal", func(t *testing.T) {
		b := open(t, store.Options{})
		entries := []soar.Entry{
			{Run: 1, Seq: 1, At: epoch, Step: "contain", Kind: soar.EntryIntent, Body: json.RawMessage(`{"with": {"host": "4C4C"}}`)},
			{Run: 1, Seq: 2, At: epoch.Add(time.Second), Step: "contain", Kind: soar.EntrySent, Ref: "2c92"},
			{Run: 1, Seq: 10, At: epoch.Add(time.Minute), Kind: soar.EntryNote},
		}
		commit(t, b, soar.Change{Entries: []soar.Entry{entries[2], {Run: 2, Seq: 1, Kind: soar.EntryNote}}})
		commit(t, b, soar.Change{Entries: entries[:2]})
		if got := must(b.Entries(t.Context(), 1))(t); !reflect.DeepEqual(got, entries) {
			t.Errorf("\n got %+v\nwant %+v", got, entries)
		}
		for ref, want := range map[string]bool{"2c92": true, "2c9": false, "": false} {
			if got := must(b.RefClaimed(t.Context(), ref))(t); got != want {
				t.Errorf("RefClaimed(%q) = %t", ref, got)
			}
		}
		if _, err := b.Commit(t.Context(), soar.Change{Entries: []soar.Entry{{Run: 3, Seq: 1, Body: json.RawMessage(`{`)}}}); err == nil {
			t.Error("a body that is not JSON was taken")
		}
	})
}

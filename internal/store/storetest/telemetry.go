package storetest

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

func testTelemetry(t *testing.T, open Opener) {
	row := func(n int, at time.Time) soar.Event {
		return soar.Event{ID: fmt.Sprintf("telemetry/er/%d", n), Type: soar.EventTelemetry, At: at, Row: &soar.Row{
			Server: "er", Query: "win_dns_events", Action: "added", Host: soar.Host{Identifier: "EC2A", Name: "WIN-1"}, At: epoch,
			Columns: map[string]string{"domain_name": "möglich.example", "n": fmt.Sprint(n), "empty": ""},
		}}
	}
	rows := func(from, to int, at time.Time) (events []soar.Event) {
		for n := from; n < to; n++ {
			events = append(events, row(n, at))
		}
		return events
	}
	stored := func(t *testing.T, b Backend) int64 {
		t.Helper()
		n := must(b.TelemetryRows(t.Context()))(t)
		if counts := must(b.Counts(t.Context()))(t); counts.Telemetry != n || counts.Feed < n {
			t.Errorf("%d rows, and counts %+v", n, counts)
		}
		return n
	}

	t.Run("a row is read as it was written, and is no alert", func(t *testing.T) {
		b := open(t, store.Options{})
		commit(t, b, soar.Change{Events: rows(0, 1, epoch)})
		events := must(b.Feed(t.Context(), 0, 10))(t)
		want := row(0, epoch)
		want.Pos = 1
		if len(events) != 1 || !reflect.DeepEqual(events[0], want) {
			t.Errorf("read %+v, want %+v", events, want)
		}
		if pending := must(b.Pending(t.Context(), 0, 10))(t); len(pending) != 0 || stored(t, b) != 1 {
			t.Errorf("pending %+v, %d rows", pending, stored(t, b))
		}
	})

	t.Run("rows go long before alerts do", func(t *testing.T) {
		var clock clock
		b := open(t, store.Options{Now: clock.now, Retention: store.Retention{Alerts: 1000 * time.Hour, Telemetry: time.Hour}})
		const n = 1300 // more than two batches
		commit(t, b, soar.Change{Events: rows(0, n, epoch)})
		commit(t, b, soar.Change{Alerts: []soar.Alert{alert("er", "1")}})
		commit(t, b, soar.Change{Events: rows(n, n+10, epoch.Add(50*time.Minute))})
		commit(t, b, soar.Change{Sinks: []soar.SinkCursor{{Sink: "fast", Pos: n + 11}, {Sink: "slow", Pos: 100}}})
		retain := func(at time.Duration) {
			t.Helper()
			clock.moveTo(at)
			if err := b.Retain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		retain(30 * time.Minute)
		if got := stored(t, b); got != n+10 {
			t.Errorf("%d rows left before any is old", got)
		}
		retain(70 * time.Minute)
		if got := stored(t, b); got != n+10-100 {
			t.Errorf("%d rows left where a sink has passed 100", got)
		}
		commit(t, b, soar.Change{Sinks: []soar.SinkCursor{{Sink: "slow", Pos: n + 11}}})
		retain(80 * time.Minute)
		events := must(b.Feed(t.Context(), 0, 100))(t)
		if got := stored(t, b); got != 10 || len(events) != 11 || events[0].Alert == nil {
			t.Errorf("%d rows left, %d events", got, len(events))
		}
		retain(3 * time.Hour)
		if events := must(b.Feed(t.Context(), 0, 100))(t); stored(t, b) != 0 || len(events) != 1 || events[0].Alert == nil {
			t.Errorf("%d rows left, %d events", stored(t, b), len(events))
		}
	})

	t.Run("rows and events from the future hold up no others", func(t *testing.T) {
		var clock clock
		b := open(t, store.Options{Now: clock.now, Retention: store.Retention{Telemetry: time.Hour}})
		retain := func(at time.Duration) int64 {
			t.Helper()
			clock.moveTo(at)
			if err := b.Retain(t.Context()); err != nil {
				t.Fatal(err)
			}
			return stored(t, b)
		}
		const n = 1300                                // more than two batches
		ahead := epoch.Add(10 * 365 * 24 * time.Hour) // a clock that was wrong for a while
		var troubles []soar.Event
		for i := range n {
			troubles = append(troubles, soar.Event{ID: fmt.Sprint("t", i), Type: soar.EventTrouble, At: ahead, Text: "x"})
		}
		commit(t, b, soar.Change{Events: append(troubles, rows(0, n, ahead)...)})
		commit(t, b, soar.Change{Events: rows(n, 2*n, epoch)})
		if got := retain(30 * time.Minute); got != 2*n {
			t.Errorf("%d rows left before any is old", got)
		}
		commit(t, b, soar.Change{Events: rows(2*n, 2*n+10, epoch.Add(80*time.Minute))})
		if got := retain(91 * time.Minute); got != 10 {
			t.Errorf("%d rows left, want 10", got)
		}
		if got := retain(3 * time.Hour); got != 0 {
			t.Errorf("%d rows left", got)
		}
		if events := must(b.Feed(t.Context(), 0, 2*n))(t); len(events) != n {
			t.Errorf("%d events left, want the %d that are no telemetry", len(events), n)
		}
	})
}

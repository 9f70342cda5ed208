package store

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// What is too large is refused when it comes, and nothing of its change is kept.
func TestTooLargeIsRefused(t *testing.T) {
	s, stop := start(t, t.TempDir(), Options{})
	defer stop()
	large := sampleAlert(1)
	large.Event = map[string]string{"cmdline": strings.Repeat("<", maxRecord/6+1)} // six bytes each in JSON
	small := sampleAlert(2)
	trouble := soar.Event{ID: "t/1", Type: soar.EventTrouble, At: time.Now(), Text: strings.Repeat("x", maxRecord)}
	for name, change := range map[string]soar.Change{
		"alert":      {Alerts: []soar.Alert{small, large}},
		"event":      {Alerts: []soar.Alert{small}, Events: []soar.Event{trouble}},
		"redelivery": {Alerts: []soar.Alert{small}, Redeliver: []soar.Redelivery{{Sink: "s", Event: trouble}}},
	} {
		if _, err := s.Commit(t.Context(), change); !errors.Is(err, soar.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if counts, err := s.Counts(t.Context()); err != nil || counts.Alerts != 0 || counts.Feed != 0 {
		t.Errorf("kept %+v, %v", counts, err)
	}
	if _, err := s.Commit(t.Context(), soar.Change{Alerts: []soar.Alert{small}}); err != nil {
		t.Error(err)
	}
}

// An alert that changes may not grow past the limit by what its stored copy knows.
func TestMergedAlertStaysWithinTheLimit(t *testing.T) {
	s, stop := start(t, t.TempDir(), Options{})
	defer stop()
	first := sampleAlert(1)
	first.Event = map[string]string{"cmdline": strings.Repeat("x", maxRecord/2)}
	second := sampleAlert(1)
	second.Event, second.EventCount, second.Comment = nil, first.EventCount+1, strings.Repeat("y", maxRecord/2)
	for _, a := range []soar.Alert{first, second} {
		if _, err := s.Commit(t.Context(), soar.Change{Alerts: []soar.Alert{a}}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.AlertByKey(t.Context(), 1)
	if err != nil || got.Alert.EventCount != second.EventCount || len(got.Alert.Comment) != maxRecord/2 || got.Alert.Event != nil {
		t.Errorf("kept %d events, %d bytes of comment, %d fields; %v",
			got.Alert.EventCount, len(got.Alert.Comment), len(got.Alert.Event), err)
	}
}

// One record that cannot be read stops neither the engine nor a sink.
func TestUnreadableRecordHidesNoOther(t *testing.T) {
	s, stop := start(t, t.TempDir(), Options{Log: slog.New(slog.DiscardHandler)})
	defer stop()
	ctx := t.Context()
	if _, err := s.Commit(ctx, soar.Change{
		Alerts: []soar.Alert{sampleAlert(1), sampleAlert(2), sampleAlert(3)},
	}); err != nil {
		t.Fatal(err)
	}
	finished := soar.Event{
		ID: "r-1", Type: soar.EventStepFinished, At: time.Now(), AlertKey: 2,
		Outcome: &soar.Outcome{Step: "hit", Action: "host.contain", State: soar.StepExecuted, Summary: strings.Repeat("did it ", 100)},
	}
	lost := finished
	lost.ID, lost.AlertKey = "r-2", 3
	if _, err := s.Commit(ctx, soar.Change{
		Events: []soar.Event{finished, lost}, Redeliver: []soar.Redelivery{{Sink: "s", Event: finished}},
	}); err != nil {
		t.Fatal(err)
	}
	other, err := openConn(ctx, s.writerDSN)
	if err != nil {
		t.Fatal(err)
	}
	err = other.exec("UPDATE alert_body SET body = x'0902' WHERE key = 2; UPDATE feed SET body = x'01ff' WHERE pos = 5")
	if err := errors.Join(err, other.close()); err != nil {
		t.Fatal(err)
	}

	pending, err := s.Pending(ctx, 0, 2)
	if err != nil || len(pending) != 2 || pending[0].Key != 1 || pending[1].Key != 3 {
		t.Errorf("pending: %d alerts, %v", len(pending), err)
	}
	if counts, err := s.Counts(ctx); err != nil || counts.Pending != 2 {
		t.Errorf("counts %+v, %v", counts, err)
	}
	if _, err := s.AlertByKey(ctx, 2); !errors.Is(err, soar.ErrNotFound) || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("AlertByKey: %v", err)
	}
	if found, err := s.Alerts(ctx, AlertFilter{}); err != nil || len(found) != 2 {
		t.Errorf("Alerts: %d, %v", len(found), err)
	}
	if found, err := s.KnownOpen(ctx, "er-main", time.Time{}, 10); err != nil || len(found) != 2 {
		t.Errorf("KnownOpen: %d, %v", len(found), err)
	}

	feed, err := s.Feed(ctx, 0, 10)
	if err != nil || len(feed) != 5 {
		t.Fatalf("feed: %d events, %v", len(feed), err)
	}
	for i, want := range []soar.EventType{soar.EventAlertReceived, soar.EventTrouble, soar.EventAlertReceived, soar.EventStepFinished, soar.EventTrouble} {
		ev := feed[i]
		broken := i == 1 || i >= 3
		if ev.Type != want || ev.Pos != int64(i+1) || ev.ID == "" || ev.At.IsZero() || (ev.Alert == nil) != broken ||
			strings.Contains(ev.Text, "cannot be read") != broken {
			t.Errorf("event %d: %+v", i+1, ev)
		}
	}
	if feed[3].ID != "r-1" || feed[3].Outcome == nil || feed[3].Outcome.Step != "hit" {
		t.Errorf("of an event whose alert cannot be read is left %+v", feed[3])
	}
	again, err := s.Redeliveries(ctx, "s", 10)
	if err != nil || len(again) != 1 || again[0].Event.ID != "r-1" || again[0].Event.Alert != nil || again[0].Event.Text == "" {
		t.Errorf("redeliveries %+v, %v", again, err)
	}

	// The alert as it comes next takes the place of what cannot be read.
	changed := sampleAlert(2)
	changed.EventCount += 5
	if _, err := s.Commit(ctx, soar.Change{Alerts: []soar.Alert{changed}}); err != nil {
		t.Fatal(err)
	}
	if a, err := s.AlertByKey(ctx, 2); err != nil || a.Alert.EventCount != changed.EventCount || a.Alert.Rule == nil {
		t.Errorf("after the change: %+v, %v", a, err)
	}
}

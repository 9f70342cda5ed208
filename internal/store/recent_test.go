package store

import (
	"reflect"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
)

// The engine and the sinks get an alert that was decoded once, and one that has changed
// since as it is.
func TestAlertsAreDecodedOnce(t *testing.T) {
	s := runningIn(t, t.TempDir())
	alert := soar.Alert{Server: "er", ID: "1", Status: soar.StatusOpen, EventCount: 1, Event: map[string]string{"pid": "1"}}
	commit := func() {
		t.Helper()
		if _, err := s.Commit(t.Context(), soar.Change{Alerts: []soar.Alert{alert}}); err != nil {
			t.Fatal(err)
		}
	}
	pending := func() soar.Alert {
		t.Helper()
		found, err := s.Pending(t.Context(), 0, 10)
		if err != nil || len(found) != 1 {
			t.Fatalf("%d alerts pending, %v", len(found), err)
		}
		return found[0].Alert
	}
	fed := func() soar.Alert {
		t.Helper()
		events, err := s.Feed(t.Context(), 0, 1)
		if err != nil || len(events) != 1 || events[0].Alert == nil {
			t.Fatalf("fed %+v, %v", events, err)
		}
		return *events[0].Alert
	}
	same := func(a, b soar.Alert) bool {
		return reflect.ValueOf(a.Event).Pointer() == reflect.ValueOf(b.Event).Pointer()
	}
	commit()
	first := pending()
	for reader, again := range map[string]soar.Alert{"the engine": pending(), "a sink": fed(), "another sink": fed()} {
		if !same(first, again) {
			t.Errorf("decoded again for %s", reader)
		}
	}
	alert.EventCount, alert.Event = 2, map[string]string{"pid": "2"}
	commit()
	changed := fed()
	if changed.EventCount != 2 || same(first, changed) || first.EventCount != 1 || !same(changed, pending()) {
		t.Errorf("after a change: %+v, at first %+v", changed, first)
	}
}

// What is remembered is bounded, by number and by size, and what was decoded last stays.
func TestRecentIsBounded(t *testing.T) {
	plain := func(data []byte) []byte { return append([]byte{packedPlain}, data...) }
	for _, tt := range []struct {
		name   string
		size   int
		alerts int64
		most   int
		pack   func([]byte) []byte
	}{
		{"small", 1, 3 * maxRecent, 2 * maxRecent, pack},
		{"large", maxRecentBytes / 3, 7, 4, plain},
		{"large, packed to little", maxRecentBytes / 3, 7, 4, pack},
		{"too large", maxRecentBytes, 2, 0, plain},
		{"too large, packed to little", maxRecentBytes, 2, 0, pack},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r recent
			packed := tt.pack([]byte(`{"comment":"` + strings.Repeat("x", tt.size) + `"}`))
			for key := range tt.alerts {
				a, err := r.decode(key, packed)
				if err != nil || len(a.Comment) != tt.size {
					t.Fatalf("alert %d: a comment of %d characters, %v", key, len(a.Comment), err)
				}
				if _, kept := r.now[key]; kept != (tt.most > 0) {
					t.Fatalf("alert %d kept: %t", key, kept)
				}
				if n := len(r.now) + len(r.before); n > tt.most {
					t.Fatalf("%d alerts are kept after %d", n, key)
				}
			}
		})
	}
}

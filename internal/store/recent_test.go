package store

import (
	"reflect"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
)

// An alert that is still pending is not decoded again, and one that has changed is.
func TestPendingIsDecodedOnce(t *testing.T) {
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
	same := func(a, b soar.Alert) bool {
		return reflect.ValueOf(a.Event).Pointer() == reflect.ValueOf(b.Event).Pointer()
	}
	commit()
	first := pending()
	for look := range 2 {
		if !same(first, pending()) {
			t.Errorf("look %d decoded it again", look+2)
		}
	}
	alert.EventCount, alert.Event = 2, map[string]string{"pid": "2"}
	commit()
	if changed := pending(); changed.EventCount != 2 || same(first, changed) || first.EventCount != 1 {
		t.Errorf("after a change: %+v", changed)
	}
	if len(s.recent.now) != 1 || len(s.recent.before) != 1 {
		t.Errorf("%d and %d remembered", len(s.recent.now), len(s.recent.before))
	}
}

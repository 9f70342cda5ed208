package connector

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// A commit that fails again and again is no alert that changes again and again.
func TestMirrorCountsOnlyWhatWasStored(t *testing.T) {
	m, ids := mirrorOf(t, "4.0", 1, nil)
	m.must(m.analyst.Alerts.Resolve(t.Context(), ids, true, ""))
	m.look()
	m.must(m.analyst.Alerts.Reopen(t.Context(), ids))
	full := errors.New("disk full")
	refuse := func(err error) {
		m.in.mu.Lock()
		defer m.in.mu.Unlock()
		m.in.refuse = err
	}
	refuse(full)
	for range maxFlips + 2 {
		if err := m.p.Mirror(t.Context()); !errors.Is(err, full) {
			t.Fatalf("got %v", err)
		}
	}
	refuse(nil)
	m.look()
	m.expect(ids[0], "analyst jane", "analyst jane")
	for _, e := range m.in.events {
		t.Errorf("told: %s", e.Text)
	}
}

// Two that answer each other are told of once, and start nothing from then on.
func TestMirrorOfAnAlertThatKeepsChanging(t *testing.T) {
	m, ids := mirrorOf(t, "4.0", 1, nil)
	for n := range maxFlips + 3 {
		if n%2 == 0 {
			m.must(m.analyst.Alerts.Resolve(t.Context(), ids, true, ""))
		} else {
			m.must(m.analyst.Alerts.Reopen(t.Context(), ids))
		}
		m.look()
	}
	told := m.told(ids[0])
	for n, hand := range told {
		want := "analyst jane"
		if n >= maxFlips {
			want = "unclear jane"
		}
		if hand != want {
			t.Errorf("change %d is of %s, want %s", n, hand, want)
		}
	}
	if len(told) != maxFlips+3 || len(m.in.events) != 1 || m.in.events[0].Type != soar.EventTrouble {
		t.Errorf("%d changes, events %+v", len(told), m.in.events)
	}
}

// erbridge was about to reopen an alert, and the call never arrived. Who reopens it then
// is not erbridge, where the server tells who it was.
func TestMirrorAsksBeforeItThinksOfItself(t *testing.T) {
	for _, tt := range []struct {
		by   string
		want string
	}{{"jane", "analyst jane"}, {"ourselves", "erbridge soc"}} {
		m, ids := mirrorOf(t, "4.0", 1, nil)
		m.must(m.analyst.Alerts.Resolve(t.Context(), ids, true, ""))
		m.look()
		own := m.intend(ids[0], soar.StatusOpen, "")
		client := m.analyst
		if tt.by == "ourselves" {
			client, tt.want = m.client, tt.want+" "+own.Run
		}
		m.must(client.Alerts.Reopen(t.Context(), ids))
		m.p.lookAtAll()
		m.sweep()
		m.expect(ids[0], "analyst jane", tt.want)
	}
}

// Somebody closed tens of thousands of alerts at once: a look goes through some of them.
func TestMirrorWatchesTheNewest(t *testing.T) {
	m, _ := mirrorOf(t, "4.0", 0, nil)
	var change soar.Change
	const closed = maxNotesWatched + 500
	for n := range closed {
		a := soar.Alert{Server: "er", ID: fmt.Sprint(1000 + n), Status: soar.StatusResolved}
		m.now = m.now.Add(time.Second)
		kv, ok := m.p.watchNotes(&soar.StoredAlert{Alert: a}, soar.Hand{Origin: soar.OriginAnalyst})
		if !ok {
			t.Fatal("the notes of what an analyst changed are not read")
		}
		change.Alerts, change.KV = append(change.Alerts, a), append(change.KV, kv)
	}
	if _, err := m.in.Commit(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	all, err := m.p.notesWatched(t.Context())
	if err != nil || len(all) != maxNotesWatched {
		t.Fatalf("%d alerts are watched, want %d: %v", len(all), maxNotesWatched, err)
	}
	for _, w := range all {
		if w.id < 1000+closed-maxNotesWatched {
			t.Fatalf("alert %d is watched, which is not among the newest", w.id)
		}
	}
}

package storetest

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

func testFeed(t *testing.T, open Opener) {
	t.Run("events in order, alerts joined in", func(t *testing.T) {
		b := open(t, store.Options{Now: func() time.Time { return epoch }})
		if head := must(b.FeedHead(t.Context()))(t); head != 0 {
			t.Errorf("head of an empty feed: %d", head)
		}
		commit(t, b, soar.Change{Alerts: []soar.Alert{alert("er", "1")}})
		other := alert("webhook", "x")
		finished := soar.Event{ID: "run/finished", Type: soar.EventRunFinished, At: epoch, AlertKey: 1,
			Run: &soar.RunSummary{ID: 5, Playbook: "contain", Mode: soar.ModeObserve, State: soar.RunDone}}
		commit(t, b, soar.Change{
			Alerts: []soar.Alert{alert("er", "2")},
			Events: []soar.Event{
				finished,
				{ID: "trouble/1", Type: soar.EventTrouble, At: epoch, Text: "sink is paused"},
				{ID: "note/1", Type: soar.EventNotification, At: epoch, Alert: &other, To: "soc-slack", Text: "look"},
			},
		})
		events := must(b.Feed(t.Context(), 0, 10))(t)
		one, two := alert("er", "1"), alert("er", "2")
		finished.Alert = &one
		want := []soar.Event{
			{ID: "alert.received/er-1", Type: soar.EventAlertReceived, At: epoch, AlertKey: 1, Alert: &one},
			{ID: "alert.received/er-2", Type: soar.EventAlertReceived, At: epoch, AlertKey: 2, Alert: &two},
			finished,
			{ID: "trouble/1", Type: soar.EventTrouble, At: epoch, Text: "sink is paused"},
			{ID: "note/1", Type: soar.EventNotification, At: epoch, Alert: &other, To: "soc-slack", Text: "look"},
		}
		for i := range want {
			want[i].Pos = int64(i + 1)
		}
		if !reflect.DeepEqual(events, want) {
			t.Errorf("\n got %+v\nwant %+v", events, want)
		}
		if got := must(b.Feed(t.Context(), 1, 2))(t); !reflect.DeepEqual(got, want[1:3]) {
			t.Errorf("Feed(1, 2): %+v", got)
		}
		if got := must(b.Feed(t.Context(), 5, 2))(t); len(got) != 0 {
			t.Errorf("Feed(5, 2): %+v", got)
		}
		if head := must(b.FeedHead(t.Context()))(t); head != 5 {
			t.Errorf("head %d", head)
		}
	})

	t.Run("each change of an alert has an id of its own", func(t *testing.T) {
		b := open(t, store.Options{})
		a := alert("er", "1")
		commit(t, b, soar.Change{Alerts: []soar.Alert{a}})
		for i, status := range []string{soar.StatusResolved, soar.StatusOpen, soar.StatusResolved} {
			a.Status, a.UpdatedAt = status, epoch.Add(time.Duration(i)*time.Hour)
			commit(t, b, soar.Change{Alerts: []soar.Alert{a}})
		}
		events := must(b.Feed(t.Context(), 1, 10))(t)
		ids := names(events, func(ev soar.Event) string { return ev.ID })
		if len(ids) != 3 || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 3 {
			t.Errorf("ids %q", ids)
		}
		again := names(must(b.Feed(t.Context(), 1, 10))(t), func(ev soar.Event) string { return ev.ID })
		if !slices.Equal(ids, again) {
			t.Errorf("read again: %q, want %q", again, ids)
		}
	})

	t.Run("an event without id or type is refused", func(t *testing.T) {
		b := open(t, store.Options{})
		for _, ev := range []soar.Event{{Type: soar.EventTest}, {ID: "x"}} {
			if _, err := b.Commit(t.Context(), soar.Change{Events: []soar.Event{ev}}); err == nil {
				t.Errorf("%+v was taken", ev)
			}
		}
	})

	t.Run("sink cursors", func(t *testing.T) {
		b := open(t, store.Options{})
		if _, known, err := b.SinkCursor(t.Context(), "a"); known || err != nil {
			t.Errorf("cursor of a new sink: %t, %v", known, err)
		}
		commit(t, b, soar.Change{Sinks: []soar.SinkCursor{{Sink: "b", Pos: 7}, {Sink: "a", Pos: 0}, {Sink: "b", Pos: 9}}})
		if pos, known, err := b.SinkCursor(t.Context(), "a"); pos != 0 || !known || err != nil {
			t.Errorf("cursor at the beginning: %d, %t, %v", pos, known, err)
		}
		want := []soar.SinkCursor{{Sink: "a", Pos: 0}, {Sink: "b", Pos: 9}}
		if got := must(b.SinkCursors(t.Context()))(t); !slices.Equal(got, want) {
			t.Errorf("cursors %+v, want %+v", got, want)
		}
		commit(t, b, soar.Change{Sinks: []soar.SinkCursor{{Sink: "b", Pos: -1}}})
		if got := must(b.SinkCursors(t.Context()))(t); !slices.Equal(got, want[:1]) {
			t.Errorf("after forgetting b: %+v", got)
		}
	})

	t.Run("redelivery", func(t *testing.T) {
		b := open(t, store.Options{})
		commit(t, b, soar.Change{Alerts: []soar.Alert{alert("er", "1")}})
		own := alert("er", "gone")
		queued := b.Changed(soar.SignalRedeliver)
		commit(t, b, soar.Change{Redeliver: []soar.Redelivery{
			{Sink: "a", Event: soar.Event{ID: "1", Type: soar.EventTest, Text: "one"}},
			{Sink: "b", Event: soar.Event{ID: "2", Type: soar.EventAlertReceived, AlertKey: 1}},
			{Sink: "a", Event: soar.Event{ID: "3", Type: soar.EventAlertReceived, Alert: &own}},
		}})
		select {
		case <-queued:
		default:
			t.Error("no signal")
		}
		list := func(sink string) []string {
			return names(must(b.Redeliveries(t.Context(), sink, 10))(t), func(r soar.Redelivery) string {
				ref := ""
				if r.Event.Alert != nil {
					ref = " " + r.Event.Alert.Ref()
				}
				return r.Sink + r.Event.ID + ref
			})
		}
		if got := append(list("a"), list("b")...); !slices.Equal(got, []string{"a1", "a3 er-gone", "b2 er-1"}) {
			t.Errorf("queued %q", got)
		}
		first := must(b.Redeliveries(t.Context(), "a", 1))(t)
		commit(t, b, soar.Change{Redelivered: []int64{first[0].ID, 999}})
		if got := list("a"); !slices.Equal(got, []string{"a3 er-gone"}) {
			t.Errorf("after one was delivered: %q", got)
		}
		if n := must(b.Counts(t.Context()))(t).Redeliveries; n != 2 {
			t.Errorf("counted %d", n)
		}
	})

	t.Run("dead letters", func(t *testing.T) {
		b := open(t, store.Options{})
		commit(t, b, soar.Change{DeadLetters: []soar.DeadLetter{
			{Origin: "source:push", At: epoch, Reason: "not JSON: \xff", Payload: []byte{0, 0xff, '{'}},
			{Origin: "sink:siem", At: epoch, Reason: "refused", EventID: "alert.received/er-1", Payload: bytes.Repeat([]byte("x"), 1<<20+1)},
			{Origin: "sink:siem", At: epoch, Reason: "refused", EventID: "alert.received/er-2"},
		}})
		all := must(b.DeadLetters(t.Context(), store.DeadLetterFilter{}))(t)
		if len(all) != 3 || all[0].EventID != "alert.received/er-2" || len(all[1].Payload) != 1<<20 || !bytes.Equal(all[2].Payload, []byte{0, 0xff, '{'}) {
			t.Fatalf("dead letters: %d, payload of the large one %d bytes", len(all), len(all[1].Payload))
		}
		if strings.ContainsRune(all[2].Reason, '\xff') || !strings.HasPrefix(all[2].Reason, "not JSON") {
			t.Errorf("reason %q", all[2].Reason)
		}
		if got := must(b.DeadLetters(t.Context(), store.DeadLetterFilter{Origin: "sink:siem", Before: all[0].ID, Limit: 5}))(t); len(got) != 1 || got[0].ID != all[1].ID {
			t.Errorf("filtered: %d", len(got))
		}
		if got := must(b.DeadLetter(t.Context(), all[2].ID))(t); !reflect.DeepEqual(got, all[2]) {
			t.Errorf("one: %+v", got)
		}
		commit(t, b, soar.Change{DropDeadLetters: []int64{all[0].ID, all[0].ID, 999}})
		if _, err := b.DeadLetter(t.Context(), all[0].ID); !errors.Is(err, soar.ErrNotFound) {
			t.Errorf("dropped: %v", err)
		}
		commit(t, b, soar.Change{DeadLetters: []soar.DeadLetter{{Origin: "source:poll", At: epoch, Reason: "odd"}}})
		newest := must(b.DeadLetters(t.Context(), store.DeadLetterFilter{Limit: 1}))(t)[0]
		if newest.ID <= all[0].ID {
			t.Errorf("id %d was given out again", newest.ID)
		}
		if n := must(b.Counts(t.Context()))(t).DeadLetters; n != 3 {
			t.Errorf("counted %d", n)
		}
	})

	t.Run("dead letters are chosen, counted and edited", func(t *testing.T) {
		b := open(t, store.Options{})
		at := func(minutes int) time.Time { return epoch.Add(time.Duration(minutes) * time.Minute) }
		commit(t, b, soar.Change{DeadLetters: []soar.DeadLetter{
			{Origin: "sink:siem", At: at(3), Reason: "status 400: Mapping conflict", EventID: "e1", Payload: []byte(`{"id":"e1"}`)},
			{Origin: "sink:soc", At: at(1), Reason: "too large", EventID: "e2"},
			{Origin: "sink:siem", At: at(5), Reason: "too large", EventID: "e3"},
		}})
		for _, tt := range []struct {
			filter store.DeadLetterFilter
			want   string
		}{
			{store.DeadLetterFilter{Reason: "MAPPING con"}, "e1"},
			{store.DeadLetterFilter{Reason: "%"}, ""},
			{store.DeadLetterFilter{Since: at(3)}, "e3 e1"},
			{store.DeadLetterFilter{Since: at(3), Reason: "large", Origin: "sink:siem"}, "e3"},
			{store.DeadLetterFilter{Origin: "sink:soc", Since: at(2)}, ""},
		} {
			var got []string
			for _, d := range must(b.DeadLetters(t.Context(), tt.filter))(t) {
				got = append(got, d.EventID)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%+v: %q, want %s", tt.filter, got, tt.want)
			}
		}
		want := []store.DeadLetterCount{{Origin: "sink:siem", Count: 2, Oldest: at(3)}, {Origin: "sink:soc", Count: 1, Oldest: at(1)}}
		if got := must(b.DeadLetterCounts(t.Context()))(t); !reflect.DeepEqual(got, want) {
			t.Errorf("counts\n got %v\nwant %v", got, want)
		}
		before := must(b.DeadLetters(t.Context(), store.DeadLetterFilter{Reason: "mapping"}))(t)[0]
		commit(t, b, soar.Change{EditDeadLetters: []soar.DeadLetterEdit{{ID: before.ID, Payload: []byte(`{"id":"e1","text":"x"}`)}, {ID: 999, Payload: []byte("{}")}}})
		want1 := before
		want1.Payload = []byte(`{"id":"e1","text":"x"}`)
		if got := must(b.DeadLetter(t.Context(), before.ID))(t); !reflect.DeepEqual(got, want1) {
			t.Errorf("edited\n got %+v\nwant %+v", got, want1)
		}
		if n := must(b.Counts(t.Context()))(t).DeadLetters; n != 3 {
			t.Errorf("counted %d after an edit", n)
		}
	})

	t.Run("the feed since a time", func(t *testing.T) {
		b := open(t, store.Options{})
		if got := must(b.FeedSince(t.Context(), epoch))(t); got != 1 {
			t.Errorf("of an empty feed: %d", got)
		}
		for i, minute := range []int{10, 20, 5, 30} { // a clock that went back for a moment
			commit(t, b, soar.Change{Events: []soar.Event{{ID: strconv.Itoa(i), Type: soar.EventTest, At: epoch.Add(time.Duration(minute) * time.Minute)}}})
		}
		for minute, want := range map[int]int64{0: 1, 10: 1, 11: 2, 21: 4, 31: 5} {
			if got := must(b.FeedSince(t.Context(), epoch.Add(time.Duration(minute)*time.Minute)))(t); got != want {
				t.Errorf("since minute %d: %d, want %d", minute, got, want)
			}
		}
	})
}

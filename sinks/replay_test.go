package sinks

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// passed is a feed of n events, one a minute, that the sink has passed.
func passed(t *testing.T, n int) (*memoryFeed, time.Time) {
	feed := newFeed(t, 0)
	began := time.Now()
	for i := range n {
		ev := testEvent(i + 1)
		ev.At = began.Add(time.Duration(i) * time.Minute)
		feed.add(ev)
	}
	feed.cursors["siem"] = int64(n)
	return feed, began
}

func TestReplayDeliversAStretchAgainBesideWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed, began := passed(t, 1000)
		sink := newScript(func(n int, _ []string) error {
			if n <= 10 {
				feed.grow(1) // something new comes with every batch
			}
			return nil
		})
		f, _ := forward(t, feed, sink, ForwarderOptions{MaxBatch: 100})
		synctest.Wait()
		order := Replay{At: time.Now(), By: "ada", Since: began.Add(100 * time.Minute), Until: began.Add(900 * time.Minute), After: 100, Last: 1000}
		if err := f.Replay(t.Context(), &order, "ada"); err != nil {
			t.Fatal(err)
		}
		if err := f.Replay(t.Context(), &order, "ada"); !errors.Is(err, ErrReplaying) {
			t.Errorf("a second one: %v", err)
		}
		synctest.Wait()
		var old, young []string
		sawYoung, mixed := false, false
		for _, id := range sink.taken() {
			var n int
			if _, err := fmt.Sscanf(id, "e%d", &n); err != nil {
				t.Fatal(err)
			}
			if n <= 1000 {
				old = append(old, id)
				mixed = mixed || sawYoung
			} else {
				young = append(young, id)
				sawYoung = true
			}
		}
		wantIDs(t, "replayed", old, eventIDs(101, 900))
		if !mixed || !slices.Equal(young, eventIDs(1001, 1010)) {
			t.Errorf("new events %v, in between: %t", young, mixed)
		}
		if s := f.Status(); s.Replay != nil || len(feed.kv) != 0 {
			t.Errorf("it is not over: %+v, %v", s.Replay, feed.kv)
		}
	})
}

func TestReplayHeedsTypesAndRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 0)
		add := func(id string, kind soar.EventType, to string) {
			feed.add(soar.Event{ID: id, Type: kind, At: time.Now(), To: to})
		}
		add("note", soar.EventNotification, "")
		add("not its own", soar.EventNotification, "chat")
		add("its own", soar.EventRunStarted, "siem")
		add("not for it", soar.EventRunStarted, "")
		add("trouble", soar.EventTrouble, "")
		feed.cursors["siem"] = 5
		sink := newScript(nil)
		f, _ := forward(t, feed, sink, ForwarderOptions{MaxBatch: 2})
		synctest.Wait()
		replay := func(types ...soar.EventType) {
			t.Helper()
			if err := f.Replay(t.Context(), &Replay{At: time.Now(), By: "ada", Since: time.Now().Add(-time.Hour), Types: types, Last: 5}, "ada"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		replay()
		replay(soar.EventTrouble, soar.EventAlertReceived)
		wantIDs(t, "delivered", sink.taken(), []string{"note", "its own", "trouble", "trouble"})
	})
}

// A replay goes on after a restart where it was, and repeats a batch at most.
func TestReplayGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed, began := passed(t, 500)
		first := newScript(func(n int, _ []string) error {
			if n > 2 {
				return errDown
			}
			return nil
		})
		f, stop := forward(t, feed, first, ForwarderOptions{MaxBatch: 50})
		synctest.Wait()
		if err := f.Replay(t.Context(), &Replay{At: time.Now(), By: "ada", Since: began, Last: 500}, "ada"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if r := f.Status().Replay; r == nil || r.Sent != 100 || r.After != 100 {
			t.Errorf("status %+v", r)
		}
		stop()
		second := newScript(nil)
		f, _ = forward(t, feed, second, ForwarderOptions{MaxBatch: 50})
		synctest.Wait()
		wantIDs(t, "before the restart", first.taken(), eventIDs(1, 100))
		wantIDs(t, "after the restart", second.taken(), eventIDs(101, 500))
		if f.Status().Replay != nil {
			t.Error("it is not over")
		}
	})
}

func TestReplayIsCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed, began := passed(t, 500)
		sink := &blocking{make(chan []soar.Event), make(chan error)}
		f, stop := forward(t, feed, sink, ForwarderOptions{MaxBatch: 50})
		synctest.Wait()
		if err := f.Replay(t.Context(), nil, "ada"); !errors.Is(err, soar.ErrNotFound) {
			t.Errorf("there is none: %v", err)
		}
		if err := f.Replay(t.Context(), &Replay{At: time.Now(), By: "ada", Since: began, Last: 500}, "ada"); err != nil {
			t.Fatal(err)
		}
		if got := len(<-sink.begun); got != 50 {
			t.Errorf("a batch of %d", got)
		}
		// In the middle of a Send, whose events arrive still.
		if err := f.Replay(t.Context(), nil, "bob"); err != nil {
			t.Fatal(err)
		}
		sink.release <- nil
		synctest.Wait()
		if f.Status().Replay != nil || len(feed.kv) != 0 || f.Status().Delivered != 50 {
			t.Errorf("status %+v, left %v", f.Status(), feed.kv)
		}
		feed.grow(1)
		if got := <-sink.begun; got[0].ID != "e501" {
			t.Errorf("goes on with %s", got[0].ID)
		}
		sink.release <- nil
		stop()
	})
}

// A replay that the receiver refuses in part leaves dead letters, and ends.
func TestReplayLeavesDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed, began := passed(t, 10)
		sink := newScript(func(_ int, ids []string) error {
			if slices.Contains(ids, "e4") {
				return ErrPermanent
			}
			return nil
		})
		f, _ := forward(t, feed, sink, ForwarderOptions{MaxBatch: 10})
		synctest.Wait()
		if err := f.Replay(t.Context(), &Replay{At: time.Now(), By: "ada", Since: began, Last: 10}, "ada"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		wantIDs(t, "delivered", sink.taken(), append(eventIDs(1, 3), eventIDs(5, 10)...))
		if dead := feed.deadLetters(); len(dead) != 1 || dead[0].EventID != "e4" || f.Status().Replay != nil {
			t.Errorf("dead letters %+v", dead)
		}
	})
}

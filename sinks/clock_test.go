package sinks

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// A clock that is put back by an hour holds nothing up for an hour: neither the alert of
// which nobody knows yet whether it begins a storm, and what is behind it, nor the word on
// alerts that are counted.
func TestClockThatIsPutBack(t *testing.T) {
	var back atomic.Int64
	now := func() time.Time { return time.Now().Add(-time.Duration(back.Load())) }
	t.Run("storm", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			back.Store(0)
			feed, sink := newKeptFeed(t), &keeper{}
			forward(t, feed, sink, ForwarderOptions{FromStart: true, Now: now, Group: GroupOptions{Storm: 20, StormUpdate: 10 * time.Second}})
			feed.alerts("A", 3, 1)
			back.Store(int64(time.Hour))
			feed.alerts("B", 1, 1)
			time.Sleep(time.Minute)
			synctest.Wait()
			if n := len(sink.got(soar.EventAlertReceived)); n != 4 {
				t.Errorf("%d of 4 alerts in the minute after it", n)
			}
		})
	})
	t.Run("group", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			back.Store(0)
			feed, sink := newKeptFeed(t), &keeper{}
			o := byRule(t, 10*time.Minute, 10*time.Second)
			forward(t, feed, sink, ForwarderOptions{FromStart: true, Now: now, Group: o})
			feed.alerts("A", 3, 1)
			synctest.Wait()
			back.Store(int64(time.Hour))
			feed.alerts("A", 2, 1)
			time.Sleep(time.Minute)
			synctest.Wait()
			told := map[string]int{}
			for _, ev := range sink.got(soar.EventAlertGrouped) {
				told[ev.Group.Head] = ev.Group.Count
			}
			sum := 0
			for _, n := range told {
				sum += n
			}
			if sum != 5 || len(sink.got(soar.EventAlertReceived)) != len(told) {
				t.Errorf("told in the minute after it of 5 alerts: %v", told)
			}
		})
	})
}

// A feed in which something happens every moment keeps no group from ending.
func TestGroupEndsInABusyFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed, sink := newKeptFeed(t), &keeper{}
		var calls atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(calls.Add(1))) } // no two moments are the same, as outside of tests
		f, stop := forward(t, feed, sink, ForwarderOptions{FromStart: true, Now: now, Group: byRule(t, time.Minute, 10*time.Second)})
		feed.alerts("A", 3, 1)
		feed.alerts("B", 1, 1)
		for range 3 * 60 * 20 {
			feed.add(soar.Event{ID: "row", Type: soar.EventTelemetry, At: time.Now(), Row: &soar.Row{}})
			time.Sleep(50 * time.Millisecond)
		}
		synctest.Wait()
		got := sink.got(soar.EventAlertGrouped)
		if len(got) == 0 || !got[len(got)-1].Group.Closed {
			t.Errorf("told %+v", got)
		}
		stop()
		if n := len(f.grouper.ahead.all); n != 1 { // A is kept for what its runs still do
			t.Errorf("%d groups are remembered", n)
		}
	})
}

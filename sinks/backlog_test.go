package sinks

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
)

// growing adds an event every second until the time is over.
func (f *memoryFeed) growing(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		f.grow(1)
		time.Sleep(time.Second)
	}
}

func TestBacklogDropsTheOldestAndSaysSo(t *testing.T) {
	for _, tt := range []struct {
		name  string
		bound BacklogSettings
	}{
		{"by number", BacklogSettings{Events: 100, Policy: policyDropOldest}},
		{"by age", BacklogSettings{Age: 100 * time.Second, Policy: policyDropOldest}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				feed := newFeed(t, 0)
				registry := prometheus.NewPedanticRegistry()
				var down atomic.Bool
				down.Store(true)
				sink := newScript(func(int, []string) error {
					if down.Load() {
						return errDown
					}
					return nil
				})
				f, stop := forward(t, feed, sink, ForwarderOptions{
					MaxBatch: 10, FromStart: true, Backlog: tt.bound, MaxBackoff: 10 * time.Second, Registerer: registry,
					Events: []soar.EventType{soar.EventNotification},
				})
				feed.growing(30 * time.Minute)
				synctest.Wait()
				if s := f.Status(); s.Dropped < 1600 || s.Backlog > 130 || s.LastError == "" {
					t.Errorf("status while down %+v", s)
				}
				down.Store(false)
				time.Sleep(15 * time.Minute)
				synctest.Wait()
				dropped := f.Status().Dropped
				// The receiver was told of every event that it did not get, once it answered,
				// and the others while it did not.
				var told, gaps int64
				for _, id := range sink.taken() {
					if g, ok := parseGap("siem", id); ok {
						gaps++
						told += g.Events
					}
				}
				if n := int64(len(sink.taken())); n-gaps+dropped != 1800 || dropped < 1600 || told != dropped || gaps > 2 {
					t.Errorf("%d delivered, %d dropped of 1800; told of %d in %d events", n-gaps, dropped, told, gaps)
				}
				if got := gather(t, registry)["erbridge_sink_events_total dropped siem"]; got != float64(dropped) {
					t.Errorf("metric says %v, status %d", got, dropped)
				}
				others := 0
				for _, text := range feed.troubles() {
					if strings.HasPrefix(text, `Sink "siem" is over max_backlog and passes over its oldest events: `) {
						others++
					}
				}
				if others < 2 || others > 3 {
					t.Errorf("%d events for the other sinks in 28 minutes, want one in ten: %q", others, feed.troubles())
				}
				if len(feed.kv) != 0 {
					t.Errorf("left: %v", feed.kv)
				}
				stop()
				if got := feed.cursor("siem"); got != int64(len(feed.events)) {
					t.Errorf("cursor %d of %d", got, len(feed.events))
				}
			})
		})
	}
}

// What was dropped and not told of is told after a restart.
func TestBacklogGapSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 0)
		o := ForwarderOptions{MaxBatch: 10, FromStart: true, Backlog: BacklogSettings{Events: 10, Policy: policyDropOldest}, MaxBackoff: time.Second}
		down := newScript(func(int, []string) error { return errDown })
		f, stop := forward(t, feed, down, o)
		feed.growing(5 * time.Minute) // the first gap is told at once, the others within ten minutes
		synctest.Wait()
		before := f.Status().Dropped
		stop()
		if len(feed.troubles()) != 1 || len(feed.kv) != 1 {
			t.Fatalf("%d troubles, %d notes; want one of each", len(feed.troubles()), len(feed.kv))
		}
		sink := newScript(nil)
		f, stop = forward(t, feed, sink, o)
		time.Sleep(time.Minute)
		synctest.Wait()
		var told int64
		for _, id := range sink.taken() {
			if g, ok := parseGap("siem", id); ok {
				told += g.Events
			}
		}
		if total := before + f.Status().Dropped; told != total || total == 0 || len(feed.kv) != 0 {
			t.Errorf("told of %d, dropped %d; left %v", told, total, feed.kv)
		}
		stop()
	})
}

// The word of a gap that is dropped itself goes into the next one.
func TestBacklogGapInAGap(t *testing.T) {
	first := gap{Events: 7, First: 3, Last: 20, From: time.Unix(100, 0).UTC(), To: time.Unix(200, 0).UTC()}
	var g gap
	g.add("siem", &soar.Event{ID: "x", Pos: 40, At: time.Unix(300, 0).UTC()})
	g.add("siem", &soar.Event{ID: first.id("siem"), Pos: 30, At: time.Unix(250, 0).UTC()})
	if want := (gap{Events: 8, First: 3, Last: 40, From: first.From, To: time.Unix(300, 0).UTC()}); g != want {
		t.Errorf("got %+v, want %+v", g, want)
	}
	if _, ok := parseGap("siem", "sink-gap-siem-2-1-2-3-4-5"); ok {
		t.Error("the gap of sink siem-2 counts for siem")
	}
}

func TestBacklogIsKeptAndToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 0)
		var down atomic.Bool
		down.Store(true)
		sink := newScript(func(int, []string) error {
			if down.Load() {
				return errDown
			}
			return nil
		})
		registry := prometheus.NewPedanticRegistry()
		f, _ := forward(t, feed, sink, ForwarderOptions{
			MaxBatch: 10, FromStart: true, Backlog: BacklogSettings{Events: 50, Policy: "keep"}, Registerer: registry, Events: []soar.EventType{soar.EventNotification},
		})
		feed.growing(10 * time.Minute)
		synctest.Wait()
		if s := f.Status(); !s.OverBacklog || s.Dropped != 0 || gather(t, registry)["erbridge_sink_backlog_over siem"] != 1 {
			t.Errorf("status %+v", s)
		}
		if trouble := feed.troubles(); len(trouble) != 1 || !strings.Contains(trouble[0], "more than max_backlog. Everything is kept") {
			t.Errorf("trouble %q, want one", trouble)
		}
		down.Store(false)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(sink.taken()); n != 600 {
			t.Errorf("%d delivered, want 600", n)
		}
	})
}

// A sink that a person holds keeps to the bound as well: the disk must not fill up.
func TestBacklogOfAHeldSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 1)
		sink := newScript(nil)
		f, _ := forward(t, feed, sink, ForwarderOptions{MaxBatch: 10, FromStart: true, Backlog: BacklogSettings{Events: 100, Policy: policyDropOldest}})
		synctest.Wait()
		if err := f.Hold(t.Context(), Hold{At: time.Now(), By: "ada"}); err != nil {
			t.Fatal(err)
		}
		feed.growing(30 * time.Minute)
		time.Sleep(2 * boundEvery)
		synctest.Wait()
		if s := f.Status(); s.Backlog > 101 || s.Dropped < 1600 || len(sink.attempts()) != 1 {
			t.Errorf("status %+v, %d tries", s, len(sink.attempts()))
		}
	})
}

// The default bound tells of a backlog that is a day old.
func TestBacklogDefault(t *testing.T) {
	var c Config
	if o := c.Options(ForwarderOptions{}); o.Backlog.Age != 24*time.Hour || o.Backlog.drops() {
		t.Errorf("%+v", o.Backlog)
	}
	c.MaxBacklog = BacklogSettings{Events: 5}
	if o := c.Options(ForwarderOptions{}); o.Backlog != (BacklogSettings{Events: 5}) {
		t.Errorf("%+v", o.Backlog)
	}
}

// A receiver is told of its gap also when it is a replay that it first answers to.
func TestBacklogGapIsToldDuringAReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed, began := passed(t, 100)
		left := gap{Events: 7, First: 1, Last: 7, From: began, To: began}
		value, err := json.Marshal(left)
		if err != nil {
			t.Fatal(err)
		}
		feed.kv[gapKey("siem")] = soar.KV{Key: gapKey("siem"), Value: string(value)}
		order := Replay{At: time.Now(), By: "ada", Since: began, After: 50, Last: 100}
		change, err := ReplayChange("siem", &order, "ada", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := feed.Commit(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		// What the receiver takes at first is a part of the batch.
		sink := newScript(func(n int, ids []string) error {
			if n == 1 {
				return &PartialError{Transient: map[int]error{1: errDown}}
			}
			return nil
		})
		_, stop := forward(t, feed, sink, ForwarderOptions{MaxBatch: 10})
		time.Sleep(time.Minute)
		synctest.Wait()
		stop()
		told := 0
		for _, id := range sink.taken() {
			if g, ok := parseGap("siem", id); ok && g.Events == left.Events {
				told++
			}
		}
		if told != 1 || len(feed.kv) != 0 {
			t.Errorf("told %d times; left %v", told, feed.kv)
		}
	})
}

package sinks

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// states samples a sink's state at every Send and in between.
type states struct {
	f *Forwarder

	mu   sync.Mutex
	seen []string
}

func (s *states) note() {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.f.Status()
	word := status.State + "/" + status.Circuit
	if n := len(s.seen); n == 0 || s.seen[n-1] != word {
		s.seen = append(s.seen, word)
	}
}

// A receiver that stays down is told of once, to the other sinks.
func TestOutageIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 3)
		var up atomic.Bool
		sink := newScript(func(int, []string) error {
			if !up.Load() {
				return errDown
			}
			return nil
		})
		f, err := NewForwarder("siem", sink, feed, ForwarderOptions{FromStart: true})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = f.Run(t.Context()) }()
		began := time.Now()
		time.Sleep(tellDownAfter - time.Minute)
		if told := feed.troubles(); len(told) != 0 {
			t.Errorf("told too soon: %q", told)
		}
		time.Sleep(time.Hour)
		told := feed.troubles()
		if len(told) != 1 || !strings.HasPrefix(told[0], `Sink "siem" has delivered nothing since `+began.UTC().Format(time.RFC3339)+": ") {
			t.Errorf("after an hour: %q", told)
		}
		up.Store(true)
		time.Sleep(10 * time.Minute)
		up.Store(false)
		feed.grow(1)
		time.Sleep(time.Hour)
		if told := feed.troubles(); len(told) != 2 {
			t.Errorf("after the second outage: %q", told)
		}
	})
}

// While a receiver is down, one event is tried at a time; when it answers again it
// gets batches that grow step by step, and the whole size only once it has caught up.
func TestCircuitOpensAndStartsSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 100)
		var s states
		sink := newScript(func(n int, _ []string) error {
			s.note()
			if n <= 6 {
				return errDown
			}
			return nil
		})
		f, err := NewForwarder("siem", sink, feed, ForwarderOptions{MaxBatch: 64, FromStart: true})
		if err != nil {
			t.Fatal(err)
		}
		s.f = f
		f.jitter = func(d time.Duration) time.Duration { return d }
		done := make(chan error, 1)
		go func() { done <- f.Run(t.Context()) }()
		for range 120 {
			synctest.Wait()
			s.note()
			time.Sleep(time.Second)
		}
		var sizes []int
		for _, a := range sink.attempts() {
			sizes = append(sizes, len(a.ids))
		}
		// 64 and its halves while it may be the size that is too much; then one event at a
		// time; then batches that double at most.
		if want := []int{64, 32, 16, 1, 1, 1, 1}; !slices.Equal(sizes[:7], want) {
			t.Errorf("batches %v, want %v at first", sizes, want)
		}
		for i := 7; i < len(sizes); i++ {
			if largest := slices.Max(sizes[6:i]); sizes[i] > 2*largest {
				t.Errorf("batch of %d right after at most %d: %v", sizes[i], largest, sizes)
			}
		}
		want := "[ok/closed retrying/open retrying/half-open retrying/open retrying/half-open retrying/open retrying/half-open retrying/open"
		if got := fmt.Sprint(s.seen); !strings.HasPrefix(got, want) || !strings.Contains(got, "recovering/half-open") || !strings.HasSuffix(got, "ok/closed]") {
			t.Errorf("states %s", got)
		}
		wantIDs(t, "delivered", sink.taken(), eventIDs(1, 100))
	})
}

func TestGoneSinkIsLeftAloneUntilResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 3)
		var gone atomic.Bool
		gone.Store(true)
		sink := newScript(func(int, []string) error {
			if gone.Load() {
				return fmt.Errorf("POST siem.example: status 410: %w", ErrGone)
			}
			return nil
		})
		f, _ := forward(t, feed, sink, ForwarderOptions{MaxBatch: 3, FromStart: true})
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := len(sink.attempts()); n != 1 {
			t.Errorf("%d tries in a day, want the first only", n)
		}
		if s := f.Status(); s.State != StateGone || s.Circuit != CircuitOpen || !strings.Contains(s.LastError, "410") || s.OldestAge != 24*time.Hour {
			t.Errorf("status %+v", s)
		}
		f.Resume() // too early
		synctest.Wait()
		if n := len(sink.attempts()); n != 2 {
			t.Errorf("%d tries after the first resume, want 2", n)
		}
		if trouble := feed.troubles(); len(trouble) != 1 || !strings.Contains(trouble[0], "gone for good") || !strings.Contains(trouble[0], "erbridge sinks resume siem") {
			t.Errorf("trouble %q", trouble)
		}
		gone.Store(false)
		f.Resume()
		synctest.Wait()
		wantIDs(t, "delivered", sink.taken(), eventIDs(1, 3))
		if s := f.Status(); s.State != StateOK || s.Circuit != CircuitClosed {
			t.Errorf("status %+v", s)
		}
		if len(feed.deadLetters()) != 0 {
			t.Errorf("dead letters %+v", feed.deadLetters())
		}
	})
}

// An item that is answered with 410 out of a batch ends the deliveries as well.
func TestGoneIsGraverThanTheRest(t *testing.T) {
	worst := graver(graver(&RetryAfter{Wait: time.Hour, Err: errDown}, ErrGone), fmt.Errorf("x: %w", ErrConfig))
	if !errors.Is(worst, ErrGone) {
		t.Errorf("%v", worst)
	}
}

func TestHeldSinkDeliversNothingAlsoAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 2)
		sink := newScript(nil)
		f, stop := forward(t, feed, sink, ForwarderOptions{MaxBatch: 2, FromStart: true})
		synctest.Wait()
		if err := f.Hold(t.Context(), Hold{At: time.Now(), By: "ada", Reason: "SIEM moves"}); err != nil {
			t.Fatal(err)
		}
		feed.grow(2)
		time.Sleep(time.Hour)
		synctest.Wait()
		f.Resume() // does not take a hold back
		synctest.Wait()
		s := f.Status()
		if s.State != StateHeld || s.Circuit != CircuitOpen || s.Held == nil || s.Held.By != "ada" || len(sink.attempts()) != 1 {
			t.Errorf("status %+v, %d tries", s, len(sink.attempts()))
		}
		stop()

		f, _ = forward(t, feed, sink, ForwarderOptions{MaxBatch: 2})
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(sink.attempts()) != 1 || f.Status().State != StateHeld {
			t.Errorf("after a restart: %+v, %d tries", f.Status(), len(sink.attempts()))
		}
		if trouble := feed.troubles(); len(trouble) != 1 || !strings.Contains(trouble[0], `Sink "siem" was paused by ada: SIEM moves.`) {
			t.Errorf("trouble %q", trouble)
		}
		if err := f.Release(t.Context(), "bob", ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		wantIDs(t, "delivered", sink.taken(), []string{"e1", "e2", "e4", "e5"}) // e3 is the word of its own pause
		if len(feed.kv) != 0 || len(feed.acts) != 2 || feed.acts[1].By != "bob" {
			t.Errorf("left: %v; acts %+v", feed.kv, feed.acts)
		}
	})
}

func TestBatchesByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 0)
		sink := newScript(nil)
		forward(t, feed, sink, ForwarderOptions{MaxBatch: 4, MaxBatchAge: 3 * time.Second, FromStart: true, Events: []soar.EventType{soar.EventNotification}})
		synctest.Wait()
		skipped := func() {
			feed.add(soar.Event{ID: "skipped", Type: soar.EventTrouble, At: time.Now()})
			synctest.Wait()
		}
		grow := func(n int, then time.Duration) {
			feed.grow(n)
			synctest.Wait()
			time.Sleep(then)
			synctest.Wait()
		}
		skipped()               // waits for nothing
		grow(1, time.Second)    // at 0s: e2 waits
		grow(2, 4*time.Second)  // at 1s: e3, e4; they go with e2 when that is 3s old
		grow(4, 0)              // at 5s: a full batch goes at once
		grow(3, 2*time.Second)  // at 5s
		skipped()               // is no reason to wait longer
		grow(6, 10*time.Second) // at 7s: fills the batch, and another; the last one waits
		var got []string
		for _, a := range sink.attempts() {
			got = append(got, fmt.Sprintf("%s/%d", a.at, len(a.ids)))
		}
		if want := "[3s/3 5s/4 7s/4 7s/4 10s/1]"; fmt.Sprint(got) != want {
			t.Errorf("batches\n got %v\nwant %s", got, want)
		}
		if got := feed.cursor("siem"); got != 18 {
			t.Errorf("cursor %d, want 18", got)
		}
	})
}

// Before a stop, nothing waits for a batch to fill.
func TestBatchesInAHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 3)
		sink := newScript(nil)
		f, _ := forward(t, feed, sink, ForwarderOptions{MaxBatch: 10, MaxBatchAge: time.Hour, FromStart: true})
		synctest.Wait()
		if n := len(sink.attempts()); n != 0 {
			t.Errorf("%d batches at once, want none for an hour", n)
		}
		f.Hurry()
		synctest.Wait()
		feed.grow(1)
		synctest.Wait()
		wantIDs(t, "delivered", sink.taken(), eventIDs(1, 4))
		if got := feed.cursor("siem"); got != 4 {
			t.Errorf("cursor %d, want 4", got)
		}
	})
}

func TestNoRowsOfTelemetryByDefault(t *testing.T) {
	for _, events := range [][]soar.EventType{DefaultEvents, chatEvents} {
		for _, never := range []soar.EventType{soar.EventTelemetry, soar.EventRunStarted} {
			if slices.Contains(events, never) {
				t.Errorf("%s is delivered by default", never)
			}
		}
	}
}

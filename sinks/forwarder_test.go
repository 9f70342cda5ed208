package sinks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
)

var errDown = errors.New("connection refused")

// forward runs a forwarder until the end of the test, without jitter.
func forward(t *testing.T, feed Feed, sink Sink, o ForwarderOptions) (*Forwarder, func()) {
	t.Helper()
	f, err := NewForwarder("siem", sink, feed, o)
	if err != nil {
		t.Fatal(err)
	}
	f.jitter = func(d time.Duration) time.Duration { return d }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return f, stop
}

func eventIDs(from, to int) []string {
	var out []string
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprintf("e%d", i))
	}
	return out
}

func wantIDs(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s\n got %v\nwant %v", what, got, want)
	}
}

func TestForwarderDeliversInOrderAndMovesTheCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 25)
		sink := newScript(nil)
		f, stop := forward(t, feed, sink, ForwarderOptions{MaxBatch: 10, FromStart: true})
		synctest.Wait()
		feed.grow(3)
		synctest.Wait()
		wantIDs(t, "delivered", sink.taken(), eventIDs(1, 28))
		for _, a := range sink.attempts() {
			if len(a.ids) > 10 {
				t.Errorf("batch of %d, the limit is 10", len(a.ids))
			}
		}
		if got := feed.cursor("siem"); got != 28 {
			t.Errorf("cursor %d, want 28", got)
		}
		time.Sleep(2 * time.Second) // fake time: the watcher looks once a second
		synctest.Wait()
		if s := f.Status(); s.State != StateOK || s.Delivered != 28 || s.Backlog != 0 || s.OldestAge != 0 {
			t.Errorf("status %+v", s)
		}
		stop()
	})
}

func TestForwarderBatchesByBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 0)
		for i := range 4 {
			ev := testEvent(i + 1)
			ev.Text = strings.Repeat("x", []int{400, 400, 5000, 10}[i])
			feed.add(ev)
		}
		sink := newScript(nil)
		forward(t, feed, sink, ForwarderOptions{MaxBatch: 100, MaxBatchBytes: 2000, FromStart: true})
		synctest.Wait()
		var got [][]string
		for _, a := range sink.attempts() {
			got = append(got, a.ids)
		}
		// e3 is larger than the limit by itself and goes alone.
		if want := "[[e1 e2] [e3] [e4]]"; fmt.Sprint(got) != want {
			t.Errorf("batches %v, want %s", got, want)
		}
	})
}

func TestForwarderStartsAtTheHeadOfItsFirstStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 5)
		_, stop := forward(t, feed, newScript(func(int, []string) error { return errDown }), ForwarderOptions{})
		synctest.Wait()
		if got := feed.cursor("siem"); got != 5 {
			t.Fatalf("cursor %d right after the first start, want 5", got)
		}
		feed.grow(1)
		synctest.Wait()
		stop()
		feed.grow(1)
		// Nothing was delivered by then; the place is the one of the first start.
		sink := newScript(nil)
		forward(t, feed, sink, ForwarderOptions{})
		synctest.Wait()
		wantIDs(t, "delivered after the restart", sink.taken(), eventIDs(6, 7))
	})
}

func TestForwarderPreparedMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 5)
		sink := newScript(nil)
		f, err := NewForwarder("siem", sink, feed, ForwarderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		feed.grow(1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		synctest.Wait()
		wantIDs(t, "delivered", sink.taken(), []string{"e6"})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestForwarderBackoffTimeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 8)
		sink := newScript(func(n int, _ []string) error {
			if n <= 6 {
				return errDown
			}
			return nil
		})
		f, _ := forward(t, feed, sink, ForwarderOptions{MaxBatch: 8, FromStart: true, MinBackoff: time.Second, MaxBackoff: 10 * time.Second})
		synctest.Wait()
		if s := f.Status(); s.State != StateRetrying || s.LastError != errDown.Error() || s.NextTry.IsZero() {
			t.Errorf("status while failing %+v", s)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		var got []string
		for _, a := range sink.attempts() {
			got = append(got, fmt.Sprintf("%s/%d", a.at, len(a.ids)))
		}
		// Waits double up to the bound; batches shrink with the failures and grow
		// again with what goes through.
		want := "[0s/8 1s/4 3s/2 7s/1 15s/1 25s/1 35s/1 35s/1 35s/2 35s/4]"
		if fmt.Sprint(got) != want {
			t.Errorf("attempts\n got %v\nwant %s", got, want)
		}
		wantIDs(t, "delivered", sink.taken(), eventIDs(1, 8))
		if s := f.Status(); s.State != StateOK || s.LastError != "" || !s.NextTry.IsZero() {
			t.Errorf("status afterwards %+v", s)
		}
	})
}

func TestForwarderBackoffStartsAnewAfterSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 2)
		sink := newScript(func(n int, _ []string) error {
			if n == 3 { // the two before and those after fail
				return nil
			}
			if n < 6 {
				return errDown
			}
			return nil
		})
		forward(t, feed, sink, ForwarderOptions{FromStart: true})
		time.Sleep(time.Minute)
		synctest.Wait()
		var got []time.Duration
		for _, a := range sink.attempts() {
			got = append(got, a.at)
		}
		want := []time.Duration{0, time.Second, 3 * time.Second, 3 * time.Second, 4 * time.Second, 6 * time.Second}
		if !slices.Equal(got, want) {
			t.Errorf("attempts at %v, want %v", got, want)
		}
	})
}

func TestForwarderJitterStaysWithinBounds(t *testing.T) {
	f, err := NewForwarder("siem", newScript(nil), newFeed(t, 0), ForwarderOptions{MinBackoff: time.Second, MaxBackoff: 8 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[time.Duration]bool{}
	for range 1000 {
		d := f.backoff(100)
		if d < 4*time.Second || d > 8*time.Second {
			t.Fatalf("wait %s, want 4s to 8s", d)
		}
		seen[d] = true
	}
	if len(seen) < 900 {
		t.Errorf("only %d different waits in 1000", len(seen))
	}
}

func TestForwarderHonoursRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		name            string
		asked, observed time.Duration
	}{
		{"as asked", 17 * time.Second, 17 * time.Second},
		{"capped", 3 * time.Hour, 2 * time.Minute},
		{"not below the shortest wait", 0, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				feed := newFeed(t, 1)
				sink := newScript(func(n int, _ []string) error {
					if n == 1 {
						return fmt.Errorf("hec: %w", &RetryAfter{Wait: tt.asked, Err: errors.New("busy")})
					}
					return nil
				})
				forward(t, feed, sink, ForwarderOptions{FromStart: true, MaxRetryAfter: 2 * time.Minute})
				time.Sleep(4 * time.Hour)
				synctest.Wait()
				if a := sink.attempts(); len(a) != 2 || a[1].at != tt.observed {
					t.Errorf("attempts %v, want the second at %s", a, tt.observed)
				}
			})
		})
	}
}

func TestForwarderFindsThePoison(t *testing.T) {
	for _, class := range []error{ErrPermanent, ErrTooLarge} {
		t.Run(class.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				feed := newFeed(t, 100)
				sink := newScript(func(_ int, ids []string) error {
					if slices.Contains(ids, "e42") || slices.Contains(ids, "e77") {
						return fmt.Errorf("bulk: %w", class)
					}
					return nil
				})
				f, _ := forward(t, feed, sink, ForwarderOptions{MaxBatch: 64, FromStart: true})
				synctest.Wait()
				want := slices.DeleteFunc(eventIDs(1, 100), func(id string) bool { return id == "e42" || id == "e77" })
				wantIDs(t, "delivered", sink.taken(), want)
				var dead []string
				for _, d := range feed.deadLetters() {
					dead = append(dead, d.EventID)
					var ev soar.Event
					if err := json.Unmarshal(d.Payload, &ev); err != nil || ev.ID != d.EventID {
						t.Errorf("payload %s: %v", d.Payload, err)
					}
					if d.Origin != "sink:siem" || !strings.Contains(d.Reason, class.Error()) {
						t.Errorf("dead letter %+v", d)
					}
				}
				wantIDs(t, "dead letters", dead, []string{"e42", "e77"})
				if got := feed.cursor("siem"); got != 100 {
					t.Errorf("cursor %d, want 100", got)
				}
				// Halving: two poisons among 100 must not cost a Send for each event.
				if n := len(sink.attempts()); n > 32 {
					t.Errorf("%d attempts", n)
				}
				if s := f.Status(); s.State != StateOK || s.DeadLetters != 2 {
					t.Errorf("status %+v", s)
				}
			})
		})
	}
}

func TestForwarderPartial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 7)
		var cursorAfterFirst int64
		sink := newScript(func(n int, _ []string) error {
			switch n {
			case 1:
				return &PartialError{
					Permanent: map[int]error{1: errors.New("mapping"), 99: errors.New("not an item")},
					Transient: map[int]error{2: errors.New("shard"), 4: fmt.Errorf("odd: %w", ErrPermanent)},
				}
			case 2:
				cursorAfterFirst = feed.cursor("siem")
				return &PartialError{Transient: map[int]error{0: errors.New("shard")}}
			}
			return nil
		})
		forward(t, feed, sink, ForwarderOptions{MaxBatch: 5, FromStart: true})
		time.Sleep(time.Minute)
		synctest.Wait()
		var got [][]string
		for _, a := range sink.attempts() {
			got = append(got, a.ids)
		}
		// Only what was refused for the moment goes out again (one by one: the batch
		// shrinks after a failure), and the next batch waits for it.
		if want := "[[e1 e2 e3 e4 e5] [e3] [e3] [e5] [e6 e7]]"; fmt.Sprint(got) != want {
			t.Errorf("batches\n got %v\nwant %s", got, want)
		}
		if cursorAfterFirst != 2 {
			t.Errorf("cursor %d after the first attempt, want 2: e3 is not delivered", cursorAfterFirst)
		}
		if dead := feed.deadLetters(); len(dead) != 1 || dead[0].EventID != "e2" || dead[0].Reason != "mapping" {
			t.Errorf("dead letters %+v, want e2", dead)
		}
	})
}

func TestForwarderPausesAndProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 50)
		sink := newScript(func(n int, _ []string) error {
			if n <= 5 {
				return fmt.Errorf("hec: status 403: %w", ErrConfig)
			}
			return nil
		})
		f, _ := forward(t, feed, sink, ForwarderOptions{MaxBatch: 50, FromStart: true, MinProbe: 30 * time.Second, MaxProbe: 5 * time.Minute})
		synctest.Wait()
		if s := f.Status(); s.State != StatePaused || !strings.Contains(s.LastError, "403") {
			t.Fatalf("status %+v, want paused", s)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		var got []string
		for _, a := range sink.attempts() {
			got = append(got, fmt.Sprintf("%s/%d", a.at, len(a.ids)))
		}
		want := "[0s/50 30s/1 1m30s/1 3m30s/1 7m30s/1 12m30s/1"
		if !strings.HasPrefix(fmt.Sprint(got), want) {
			t.Errorf("attempts\n got %v\nwant %s ...", got, want)
		}
		wantIDs(t, "delivered", sink.taken(), eventIDs(1, 50))
		if dead := feed.deadLetters(); len(dead) != 0 {
			t.Errorf("dead letters %v", dead)
		}
		// One event tells the others; the sink itself does not get it.
		var trouble []soar.Event
		for _, ev := range feed.events {
			if ev.Type == soar.EventTrouble {
				trouble = append(trouble, ev)
			}
		}
		if len(trouble) != 1 || trouble[0].To != "" || !strings.Contains(trouble[0].Text, `"siem" is paused`) {
			t.Errorf("trouble events %+v, want one", trouble)
		}
		if s := f.Status(); s.State != StateOK {
			t.Errorf("status %+v, want ok again", s)
		}
		if got := feed.cursor("siem"); got != 51 {
			t.Errorf("cursor %d, want 51, past its own trouble event", got)
		}
	})
}

func TestForwarderResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 1)
		refuse := true
		sink := newScript(func(int, []string) error {
			if refuse {
				return ErrConfig
			}
			return nil
		})
		f, _ := forward(t, feed, sink, ForwarderOptions{FromStart: true})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		refuse = false
		f.Resume()
		synctest.Wait()
		if a := sink.attempts(); len(a) != 2 || a[1].at != 5*time.Second {
			t.Errorf("attempts %v, want the second at 5s", a)
		}
		if s := f.Status(); s.State != StateOK {
			t.Errorf("status %+v", s)
		}
	})
}

func TestForwarderTellsAFlappingPauseOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 10)
		sink := newScript(func(n int, _ []string) error {
			if n%2 == 1 {
				return ErrConfig
			}
			return nil
		})
		forward(t, feed, sink, ForwarderOptions{FromStart: true})
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		n := 0
		for _, ev := range feed.events {
			if ev.Type == soar.EventTrouble {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d trouble events in nine minutes, want 1", n)
		}
	})
}

// blocking is a sink whose Send ends when it is told to, or with its context.
type blocking struct {
	begun   chan []soar.Event
	release chan error
}

func (b *blocking) Send(ctx context.Context, events []soar.Event) error {
	b.begun <- events
	select {
	case <-ctx.Done():
		// The worst that a cut-off Send can claim.
		return fmt.Errorf("%w: %w", ErrPermanent, ctx.Err())
	case err := <-b.release:
		return err
	}
}
func (b *blocking) Close() error { return nil }

func TestForwarderCancelledInMidSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 1)
		sink := &blocking{make(chan []soar.Event), make(chan error)}
		_, stop := forward(t, feed, sink, ForwarderOptions{FromStart: true, Drain: 3 * time.Second})
		<-sink.begun
		began := time.Now()
		stop()
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("stopped after %s, want the drain time of 3s", took)
		}
		if len(feed.deadLetters()) != 0 || feed.cursor("siem") != 0 {
			t.Errorf("dead letters %v, cursor %d: want neither", feed.deadLetters(), feed.cursor("siem"))
		}
	})
}

func TestForwarderFinishesTheSendInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 2)
		sink := &blocking{make(chan []soar.Event), make(chan error)}
		_, stop := forward(t, feed, sink, ForwarderOptions{FromStart: true, Drain: 3 * time.Second})
		<-sink.begun
		go func() {
			time.Sleep(2 * time.Second)
			sink.release <- nil
		}()
		stop()
		if got := feed.cursor("siem"); got != 1 {
			t.Errorf("cursor %d, want 1: the first was delivered while stopping, the second not begun", got)
		}
	})
}

// hanging is a sink that heeds nothing but its context.
type hanging struct{ tries chan time.Time }

func (h hanging) Send(ctx context.Context, _ []soar.Event) error {
	h.tries <- time.Now()
	<-ctx.Done()
	return ctx.Err()
}
func (h hanging) Close() error { return nil }

func TestForwarderEndsASendThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 1)
		sink := hanging{make(chan time.Time)}
		_, stop := forward(t, feed, sink, ForwarderOptions{FromStart: true, SendTimeout: 40 * time.Second, Drain: time.Second})
		first := <-sink.tries
		second := <-sink.tries
		if d := second.Sub(first); d != 41*time.Second {
			t.Errorf("tried again after %s, want the time-out of 40s and a wait of 1s", d)
		}
		stop()
		if len(feed.deadLetters()) != 0 || feed.cursor("siem") != 0 {
			t.Errorf("dead letters %v, cursor %d: want neither", feed.deadLetters(), feed.cursor("siem"))
		}
	})
}

// A dead letter too large for the store loses the feed's answer, not its JSON.
func TestForwarderHugeDeadLetterStaysReplayable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 0)
		intel := json.RawMessage(`"` + strings.Repeat("x", 2<<20) + `"`)
		feed.add(soar.Event{ID: "huge", Type: soar.EventAlertReceived, At: time.Now(), Alert: &soar.Alert{Server: "er", ID: "1", Intel: intel}})
		forward(t, feed, newScript(func(int, []string) error { return ErrTooLarge }), ForwarderOptions{FromStart: true})
		synctest.Wait()
		dead := feed.deadLetters()
		if len(dead) != 1 || len(dead[0].Payload) > 1<<20 {
			t.Fatalf("%d dead letters", len(dead))
		}
		var ev soar.Event
		if err := json.Unmarshal(dead[0].Payload, &ev); err != nil || ev.Alert.Ref() != "er-1" {
			t.Errorf("payload %.200s: %v", dead[0].Payload, err)
		}
		if string(feed.events[0].Alert.Intel) != string(intel) {
			t.Error("the event itself was changed")
		}
	})
}

// A crash between delivery and cursor: the next start delivers again, with the
// same ids.
func TestForwarderCrashBetweenSendAndCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 3)
		first := newScript(nil)
		crash, die := context.WithCancel(t.Context())
		dying := &dyingFeed{memoryFeed: feed, die: die}
		f, err := NewForwarder("siem", first, dying, ForwarderOptions{MaxBatch: 2, FromStart: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Run(crash); err != nil {
			t.Fatal(err)
		}
		wantIDs(t, "delivered before the crash", first.taken(), eventIDs(1, 2))

		second := newScript(nil)
		forward(t, feed, second, ForwarderOptions{MaxBatch: 2})
		synctest.Wait()
		wantIDs(t, "delivered after the crash", second.taken(), eventIDs(1, 3))
	})
}

// dyingFeed ends the process, so to speak, instead of moving the cursor.
type dyingFeed struct {
	*memoryFeed
	die context.CancelFunc
}

func (d *dyingFeed) Commit(ctx context.Context, c soar.Change) (soar.Committed, error) {
	if len(c.Sinks) > 0 && c.Sinks[0].Pos > 0 {
		d.die()
		return soar.Committed{}, errors.New("killed")
	}
	return d.memoryFeed.Commit(ctx, c)
}

func TestForwarderDoesNotSendAgainWhileTheStoreIsBusy(t *testing.T) {
	for _, kept := range []bool{false, true} {
		t.Run(fmt.Sprintf("commit kept %t", kept), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				feed := newFeed(t, 2)
				feed.cursors["siem"] = 0
				failures := []error{soar.ErrBusy, soar.ErrNotAccepting, soar.ErrBusy}
				if kept {
					feed.after = failures
				} else {
					feed.before = failures
				}
				sink := newScript(nil)
				forward(t, feed, sink, ForwarderOptions{MaxBatch: 2})
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := len(sink.attempts()); n != 1 {
					t.Errorf("%d attempts, want 1", n)
				}
				if got := feed.cursor("siem"); got != 2 {
					t.Errorf("cursor %d, want 2", got)
				}
			})
		})
	}
}

func TestForwarderRedeliversInBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 0)
		sink := newScript(func(_ int, ids []string) error {
			if slices.Contains(ids, "bad") {
				return ErrPermanent
			}
			return nil
		})
		forward(t, feed, sink, ForwarderOptions{MaxBatch: 2, FromStart: true, Events: []soar.EventType{soar.EventNotification}})
		synctest.Wait()
		replay := func(id string) soar.Redelivery {
			return soar.Redelivery{Sink: "siem", Event: soar.Event{ID: id, Type: soar.EventAlertUpdated}}
		}
		if _, err := feed.Commit(t.Context(), soar.Change{Redeliver: []soar.Redelivery{replay("r1"), replay("bad"), replay("r2")}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		feed.grow(1)
		synctest.Wait()
		wantIDs(t, "delivered", sink.taken(), []string{"r1", "r2", "e1"})
		if len(feed.again) != 0 {
			t.Errorf("still queued: %v", feed.again)
		}
		if dead := feed.deadLetters(); len(dead) != 1 || dead[0].EventID != "bad" {
			t.Errorf("dead letters %+v", dead)
		}
	})
}

func TestForwarderSurvivesAPanickingSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 3)
		sink := newScript(func(_ int, ids []string) error {
			if slices.Contains(ids, "e2") {
				panic("nil map")
			}
			return nil
		})
		var log strings.Builder
		forward(t, feed, sink, ForwarderOptions{MaxBatch: 3, FromStart: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		wantIDs(t, "delivered", sink.taken(), []string{"e1", "e3"})
		if dead := feed.deadLetters(); len(dead) != 1 || dead[0].EventID != "e2" || !strings.Contains(dead[0].Reason, "nil map") {
			t.Errorf("dead letters %+v, want e2", dead)
		}
		if !strings.Contains(log.String(), "forwarder_test.go") {
			t.Error("the log has no stack")
		}
	})
}

func TestForwarderRoutes(t *testing.T) {
	when, err := CompileWhen(`.alert.severity | at_least("high")`)
	if err != nil {
		t.Fatal(err)
	}
	alert := func(id string, severity soar.Severity, to string) soar.Event {
		return soar.Event{ID: id, Type: soar.EventAlertReceived, To: to, At: time.Now(), Alert: &soar.Alert{Server: "er", ID: id, Severity: severity}}
	}
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 0)
		for _, ev := range []soar.Event{
			alert("high", soar.SeverityHigh, ""),
			alert("low", soar.SeverityLow, ""),
			alert("low but addressed", soar.SeverityLow, "siem"),
			alert("for another", soar.SeverityCritical, "chat"),
			{ID: "trouble", Type: soar.EventTrouble, Text: "disk"},
			{ID: pausedPrefix("siem") + "1", Type: soar.EventTrouble, Text: "own pause"},
			{ID: pausedPrefix("chat") + "1", Type: soar.EventTrouble, Text: "other's pause"},
			{ID: pausedPrefix("siem-eu") + "1", Type: soar.EventTrouble, Text: "pause of one whose name begins like ours"},
			{ID: "started", Type: soar.EventRunStarted},
		} {
			feed.add(ev)
		}
		sink := newScript(nil)
		forward(t, feed, sink, ForwarderOptions{FromStart: true, When: when})
		synctest.Wait()
		wantIDs(t, "delivered", sink.taken(), []string{"high", "low but addressed", "trouble", pausedPrefix("chat") + "1", pausedPrefix("siem-eu") + "1"})
		time.Sleep(2 * time.Second) // what is only skipped is saved a second later
		synctest.Wait()
		if got := feed.cursor("siem"); got != 9 {
			t.Errorf("cursor %d, want 9", got)
		}
	})
}

func TestForwarderSetsRouteErrorsAside(t *testing.T) {
	when, err := CompileWhen(`.alert.event.pid | at_least("high")`)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 0)
		feed.add(soar.Event{ID: "x", Type: soar.EventAlertReceived, At: time.Now(), Alert: &soar.Alert{}})
		feed.grow(1)
		sink := newScript(nil)
		forward(t, feed, sink, ForwarderOptions{FromStart: true, When: when})
		synctest.Wait()
		wantIDs(t, "delivered", sink.taken(), []string{"e2"})
		if dead := feed.deadLetters(); len(dead) != 1 || dead[0].EventID != "x" || !strings.HasPrefix(dead[0].Reason, "route error: ") {
			t.Errorf("dead letters %+v", dead)
		}
	})
}

func TestForwarderDeadSinkSlowsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 0)
		feed.cursors["siem"], feed.cursors["chat"] = 0, 0
		sink := &blocking{make(chan []soar.Event, 1), make(chan error)}
		dead, err := NewForwarder("chat", sink, feed, ForwarderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- dead.Run(ctx) }()
		good := newScript(nil)
		forward(t, feed, good, ForwarderOptions{MaxBatch: 100})
		feed.grow(500)
		synctest.Wait()
		wantIDs(t, "delivered", good.taken(), eventIDs(1, 500))
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestForwarderMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 4)
		registry := prometheus.NewPedanticRegistry()
		sink := newScript(func(n int, _ []string) error {
			switch n {
			case 1:
				return errDown
			case 2:
				return &PartialError{Permanent: map[int]error{0: errors.New("no")}}
			case 4:
				return ErrConfig
			}
			return nil
		})
		_, stop := forward(t, feed, sink, ForwarderOptions{MaxBatch: 2, FromStart: true, Registerer: registry})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		want := map[string]float64{
			"erbridge_sink_backlog_events siem":           3,
			"erbridge_sink_backlog_over siem":             0,
			"erbridge_sink_circuit_open siem":             1,
			"erbridge_sink_held siem":                     0,
			"erbridge_sink_events_total dropped siem":     0,
			"erbridge_sink_events_total grouped siem":     0,
			"erbridge_sink_events_total lost siem":        0,
			"erbridge_sink_events_total dead_letter siem": 1,
			"erbridge_sink_events_total delivered siem":   1,
			"erbridge_sink_events_total retried siem":     4,
			"erbridge_sink_events_total route_error siem": 0,
			"erbridge_sink_events_total skipped siem":     0,
			"erbridge_sink_oldest_seconds siem":           2,
			"erbridge_sink_paused siem":                   1,
			"erbridge_sink_send_seconds siem":             4, // observations
		}
		if got := gather(t, registry); !maps.Equal(got, want) {
			t.Errorf("metrics\n got %v\nwant %v", got, want)
		}
		stop()
		if got := gather(t, registry); len(got) != 9 {
			t.Errorf("metrics of a stopped forwarder: %v, want only the counters", got)
		}
		// A second forwarder of that name, as after a reload, goes on counting.
		if _, err := NewForwarder("siem", sink, feed, ForwarderOptions{Registerer: registry}); err != nil {
			t.Error(err)
		}
	})
}

// gather reads metrics as name and label values; a histogram as its count.
func gather(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			switch {
			case m.GetCounter() != nil:
				out[name] = m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				out[name] = m.GetGauge().GetValue()
			default:
				out[name] = float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return out
}

func TestForwarderRefusesNonsense(t *testing.T) {
	feed := newFeed(t, 0)
	for name, construct := range map[string]func() (*Forwarder, error){
		"no name": func() (*Forwarder, error) { return NewForwarder("", newScript(nil), feed, ForwarderOptions{}) },
		"no sink": func() (*Forwarder, error) { return NewForwarder("x", nil, feed, ForwarderOptions{}) },
		"no feed": func() (*Forwarder, error) { return NewForwarder("x", newScript(nil), nil, ForwarderOptions{}) },
		"bounds": func() (*Forwarder, error) {
			return NewForwarder("x", newScript(nil), feed, ForwarderOptions{MinBackoff: time.Hour, MaxBackoff: time.Second})
		},
	} {
		if _, err := construct(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// With an event every few moments that is not for this sink, the cursor follows
// within about a second: whoever waits for it, and retention, do.
func TestForwarderSavesWhatItSkipsInASteadyStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 0)
		sink := newScript(func(int, []string) error { return nil })
		f, _ := forward(t, feed, sink, ForwarderOptions{Events: []soar.EventType{soar.EventTrouble}})
		synctest.Wait()
		for range 40 {
			feed.grow(1)
			time.Sleep(200 * time.Millisecond)
		}
		synctest.Wait()
		if behind := 40 - feed.cursor("siem"); behind > 6 {
			t.Errorf("the cursor is %d events (%d ms) behind", behind, behind*200)
		}
		time.Sleep(flushSkipped)
		synctest.Wait()
		if got, known := feed.cursor("siem"), f.Status().Cursor; got != 40 || known != 40 {
			t.Errorf("in quiet: cursor %d on disk, %d in the status, want 40", got, known)
		}
	})
}

func TestForwarderWarnsOfASendThatTheStopCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		feed := newFeed(t, 1)
		sink := hanging{make(chan time.Time)}
		_, stop := forward(t, feed, sink, ForwarderOptions{FromStart: true, Drain: time.Second, Log: slog.New(slog.NewTextHandler(&log, nil))})
		<-sink.tries
		stop()
		if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "cut short by the stop") || !strings.Contains(log.String(), "first=e1") {
			t.Errorf("log: %s", log.String())
		}
	})
}

// One that is too large without the feed's answer loses the ends of its texts.
func TestForwarderHugeColumnsStayReplayable(t *testing.T) {
	many := map[string]string{}
	for i := range 40_000 {
		many[fmt.Sprintf("column-%036d", i)] = "v"
	}
	for _, tt := range []struct {
		name    string
		event   soar.Event
		columns bool // are kept
	}{
		{"one column", soar.Event{Alert: &soar.Alert{Event: map[string]string{"script": strings.Repeat("€", 1<<20), "pid": "7"}}}, true},
		{"columns that grow as JSON", soar.Event{Alert: &soar.Alert{Event: map[string]string{"a": strings.Repeat("\x01", 1<<20), "b": strings.Repeat("<", 1<<20), "pid": "7"}}}, true},
		{"very many columns", soar.Event{Alert: &soar.Alert{Event: many}}, false},
		{"text and comment", soar.Event{Text: strings.Repeat("€", 1<<20), Alert: &soar.Alert{Comment: strings.Repeat("€", 1<<20), Event: map[string]string{"pid": "7"}}}, true},
		{"text without alert", soar.Event{Text: "pid 7 " + strings.Repeat("€", 1<<20)}, false},
		{"row", soar.Event{Row: &soar.Row{Query: "q", Columns: map[string]string{"script": strings.Repeat("€", 1<<20), "pid": "7"}}}, true},
		{"very many columns of a row", soar.Event{Row: &soar.Row{Query: "q", Columns: many}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, err := json.Marshal(tt.event)
			if err != nil {
				t.Fatal(err)
			}
			payload, err := fitPayload(tt.event)
			if err != nil || len(payload) > maxPayloadBytes {
				t.Fatalf("%d bytes, %v", len(payload), err)
			}
			var ev soar.Event
			if err := json.Unmarshal(payload, &ev); err != nil {
				t.Fatalf("payload %.200s: %v", payload, err)
			}
			if bytes.ContainsRune(payload, utf8.RuneError) {
				t.Error("a rune was cut")
			}
			var columns map[string]string
			switch {
			case ev.Alert != nil:
				columns = ev.Alert.Event
			case ev.Row != nil:
				columns = ev.Row.Columns
			}
			if tt.columns && columns["pid"] != "7" {
				t.Errorf("columns %v", columns)
			}
			if tt.event.Text != "" && !strings.HasPrefix(tt.event.Text, strings.TrimSuffix(ev.Text, "…")) {
				t.Errorf("text %.100s", ev.Text)
			}
			if after, err := json.Marshal(tt.event); err != nil || !bytes.Equal(after, before) {
				t.Errorf("the event itself was changed: %v", err)
			}
		})
	}
}

// Rows of telemetry count like alerts: a batch of large ones is bounded too.
func TestForwarderCountsTheBytesOfRows(t *testing.T) {
	large := map[string]string{"script": strings.Repeat("x", 1<<16)}
	alert, row := soar.Event{Alert: &soar.Alert{Event: large}}, soar.Event{Row: &soar.Row{Columns: large}}
	if a, r := sizeOf(&alert), sizeOf(&row); r < 1<<16 || a != r {
		t.Errorf("an alert has %d bytes, a row with the same columns %d", a, r)
	}
}

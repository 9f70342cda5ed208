package sinks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// refusing is a sink whose receiver answers 403 to some events, as if the token were wrong.
func refusing(ids ...string) *script {
	return newScript(func(_ int, sent []string) error {
		if slices.ContainsFunc(sent, func(id string) bool { return slices.Contains(ids, id) }) {
			return fmt.Errorf("%w: 403: not for you", ErrConfig)
		}
		return nil
	})
}

// A 403 about one event stops a whole sink; a person can pass over that event, and
// nothing is lost.
func TestSkipPassesTheEventThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 5)
		sink := refusing("e2")
		f, _ := forward(t, feed, sink, ForwarderOptions{MaxBatch: 5, FromStart: true, Events: []soar.EventType{soar.EventNotification}})
		synctest.Wait()
		stands := f.Status().StandsAt
		if stands == nil || stands.Event != "e1" || stands.Batch != 5 { // nobody knows yet which of the five it is
			t.Fatalf("stands at %+v", stands)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		status := f.Status()
		if stands = status.StandsAt; status.State != StatePaused || stands == nil || stands.Event != "e2" || stands.Type != soar.EventNotification || stands.Attempts < 2 || stands.Batch != 1 {
			t.Fatalf("status %+v, stands at %+v", status, stands)
		}
		if _, err := f.Skip(t.Context(), Skip{Event: "e1", By: "ada"}); !errors.Is(err, ErrNotSkipped) || !strings.Contains(err.Error(), `stands at event "e2", not at "e1"`) {
			t.Errorf("another event: %v", err)
		}
		skipped, err := f.Skip(t.Context(), Skip{Event: "e2", By: "ada", Reason: "its index is closed"})
		if err != nil || skipped.Event != "e2" {
			t.Fatalf("skipped %+v, %v", skipped, err)
		}
		synctest.Wait()
		wantIDs(t, "delivered", sink.taken(), []string{"e1", "e3", "e4", "e5"})
		dead := feed.deadLetters()
		if len(dead) != 1 || dead[0].EventID != "e2" || dead[0].Origin != "sink:siem" ||
			!strings.HasPrefix(dead[0].Reason, "skipped by ada (its index is closed); before that: ") || !strings.Contains(dead[0].Reason, "403: not for you") {
			t.Errorf("dead letters %+v", dead)
		}
		if len(feed.acts) != 1 || feed.acts[0].By != "ada" || feed.acts[0].Reason != "its index is closed" ||
			feed.acts[0].What != "event e2 skipped at sink siem: it is a dead letter now" {
			t.Errorf("acts %+v", feed.acts)
		}
		if status := f.Status(); status.StandsAt != nil || status.State != StateOK || status.DeadLetters != 1 {
			t.Errorf("afterwards: %+v", status)
		}
		if _, err := f.Skip(t.Context(), Skip{By: "bob"}); !errors.Is(err, ErrNotSkipped) || !strings.Contains(err.Error(), "stands at no event") {
			t.Errorf("a sink that is well: %v", err)
		}
	})
}

// Two people who skip the same event do not skip two.
func TestSkipTwiceAtOnceSkipsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 3)
		sink := refusing("e1", "e2", "e3")
		f, _ := forward(t, feed, sink, ForwarderOptions{FromStart: true, Events: []soar.EventType{soar.EventNotification}})
		synctest.Wait()
		if err := f.Hold(t.Context(), Hold{At: time.Now(), By: "ada"}); err != nil { // so that the next one is not tried
			t.Fatal(err)
		}
		results := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := f.Skip(t.Context(), Skip{By: "ada"})
				results <- err
			}()
		}
		if a, b := <-results, <-results; (a == nil) == (b == nil) || !errors.Is(errors.Join(a, b), ErrNotSkipped) {
			t.Errorf("one of the two has to be refused: %v; %v", a, b)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(feed.deadLetters()) != 1 || len(sink.attempts()) != 1 || f.Status().State != StateHeld {
			t.Errorf("%d dead letters, %d tries, %+v", len(feed.deadLetters()), len(sink.attempts()), f.Status())
		}
		if _, err := f.Skip(t.Context(), Skip{By: "ada"}); !errors.Is(err, ErrNotSkipped) {
			t.Errorf("e2 was not tried yet: %v", err)
		}
	})
}

// An order that nobody waits for any more is not carried out later; one to a forwarder
// that ends is answered.
func TestSkipWaitsForTheAttemptThatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 2)
		release := make(chan error)
		sink := newScript(func(n int, _ []string) error {
			if n == 1 {
				return errDown
			}
			return <-release
		})
		f, stop := forward(t, feed, sink, ForwarderOptions{FromStart: true, Events: []soar.EventType{soar.EventNotification}, Drain: time.Second})
		time.Sleep(2 * time.Second)
		synctest.Wait() // the second attempt hangs
		hurry, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.Skip(hurry, Skip{By: "ada"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody waits any more: %v", err)
		}
		release <- errDown
		time.Sleep(5 * time.Second)
		synctest.Wait() // the third hangs
		if dead := feed.deadLetters(); len(dead) != 0 {
			t.Errorf("an order that was withdrawn was carried out: %+v", dead)
		}
		result := make(chan error, 1)
		go func() {
			_, err := f.Skip(t.Context(), Skip{By: "ada"})
			result <- err
		}()
		synctest.Wait()
		release <- nil // it went through in the end
		if err := <-result; !errors.Is(err, ErrNotSkipped) {
			t.Errorf("what was delivered was skipped: %v", err)
		}
		synctest.Wait()
		release <- errDown
		time.Sleep(5 * time.Second)
		synctest.Wait()
		go func() {
			_, err := f.Skip(t.Context(), Skip{By: "ada"})
			result <- err
		}()
		synctest.Wait()
		go func() { release <- errDown }()
		if err := <-result; err != nil {
			t.Errorf("it failed once more, and so it is skipped: %v", err)
		}
		stop()
		if _, err := f.Skip(context.WithoutCancel(t.Context()), Skip{By: "ada"}); !errors.Is(err, ErrNotSkipped) {
			t.Errorf("a forwarder that has ended: %v", err)
		}
		wantIDs(t, "delivered", sink.taken(), []string{"e1"})
		if dead := feed.deadLetters(); len(dead) != 1 || dead[0].EventID != "e2" || feed.cursor("siem") != 2 {
			t.Errorf("dead letters %+v, cursor %d", dead, feed.cursor("siem"))
		}
	})
}

// What is skipped in a redelivery goes back to the dead letters.
func TestSkipOfARedelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 1)
		sink := refusing("again")
		f, _ := forward(t, feed, sink, ForwarderOptions{FromStart: true, Events: []soar.EventType{soar.EventNotification}})
		synctest.Wait()
		if _, err := feed.Commit(t.Context(), soar.Change{Redeliver: []soar.Redelivery{{Sink: "siem", Event: soar.Event{ID: "again", Type: soar.EventNotification}}}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := f.Skip(t.Context(), Skip{By: "ada"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if dead := feed.deadLetters(); len(dead) != 1 || dead[0].EventID != "again" || len(feed.again) != 0 {
			t.Errorf("dead letters %+v, still queued %+v", dead, feed.again)
		}
	})
}

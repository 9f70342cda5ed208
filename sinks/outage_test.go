package sinks

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// alertStream is a feed that gets alerts at a steady rate. An event is made when it is read,
// so that only what forwarders hold takes memory. It keeps the rules of the store.
type alertStream struct {
	t *testing.T

	mu      sync.Mutex
	head    int64
	cursors map[string]int64
	grown   chan struct{}
	others  chan struct{} // nothing is queued for redelivery
}

// streamRate is how many alerts come in a second.
const streamRate = 1000

func newAlertStream(t *testing.T) *alertStream {
	return &alertStream{t: t, cursors: map[string]int64{}, grown: make(chan struct{}), others: make(chan struct{})}
}

// run adds alerts for a time.
func (s *alertStream) run(d time.Duration) {
	const tick = 50 * time.Millisecond
	for range int(d / tick) {
		time.Sleep(tick)
		s.mu.Lock()
		s.head += streamRate / int64(time.Second/tick)
		close(s.grown)
		s.grown = make(chan struct{})
		s.mu.Unlock()
	}
}

func streamed(pos int64) soar.Event {
	return soar.Event{ID: fmt.Sprintf("alert.received/er-%d", pos), Pos: pos, Type: soar.EventAlertReceived, At: time.Now(),
		Alert: &soar.Alert{Server: "er", ID: fmt.Sprint(pos)}}
}

func (s *alertStream) Feed(ctx context.Context, after int64, limit int) ([]soar.Event, error) {
	s.mu.Lock()
	head := s.head
	s.mu.Unlock()
	if limit <= 0 || limit > maxPage {
		s.t.Errorf("%d events are asked for at once", limit)
	}
	var page []soar.Event
	for pos := after + 1; pos <= min(head, after+int64(limit)); pos++ {
		page = append(page, streamed(pos))
	}
	return page, ctx.Err()
}

func (s *alertStream) FeedHead(ctx context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.head, ctx.Err()
}

func (s *alertStream) SinkCursor(ctx context.Context, sink string) (int64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pos, known := s.cursors[sink]
	return pos, known, ctx.Err()
}

func (s *alertStream) Redeliveries(ctx context.Context, _ string, _ int) ([]soar.Redelivery, error) {
	return nil, ctx.Err()
}

func (s *alertStream) Changed(signal soar.Signal) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if signal == soar.SignalFeed {
		return s.grown
	}
	return s.others
}

func (s *alertStream) Commit(ctx context.Context, c soar.Change) (soar.Committed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cursor := range c.Sinks {
		if cursor.Pos < s.cursors[cursor.Sink] || cursor.Pos > s.head {
			s.t.Errorf("cursor of %s moves from %d to %d, the head is %d", cursor.Sink, s.cursors[cursor.Sink], cursor.Pos, s.head)
		}
		s.cursors[cursor.Sink] = cursor.Pos
	}
	if len(c.DeadLetters) > 0 || len(c.Events) > 0 {
		s.t.Errorf("an outage is no reason for dead letters %+v or events %+v", c.DeadLetters, c.Events)
	}
	return soar.Committed{}, ctx.Err()
}

// receiver takes a stream, and checks that it comes whole and in order.
type receiver struct {
	t         *testing.T
	name      string
	feed      *alertStream
	forwarder *Forwarder
	down      func() bool

	last    int64 // position of the last alert that arrived
	holds   int64 // at most, in the forwarder
	behind  int64 // at most, behind the head
	tries   int   // while down
	largest int   // batch while down, from the fourth try on
}

func (r *receiver) Send(_ context.Context, events []soar.Event) error {
	time.Sleep(5 * time.Millisecond)
	// The forwarder's own goroutine is here. What it holds lies between what it has
	// read and what is settled.
	r.holds = max(r.holds, r.forwarder.read-r.forwarder.passed)
	r.feed.mu.Lock()
	r.behind = max(r.behind, r.feed.head-events[0].Pos)
	r.feed.mu.Unlock()
	if r.down() {
		if r.tries++; r.tries > circuitOpensAt {
			r.largest = max(r.largest, len(events))
		}
		return errDown
	}
	for i := range events {
		if events[i].Pos != r.last+1 || events[i].ID != streamed(events[i].Pos).ID {
			r.t.Fatalf("%s: event %d (%s) follows %d", r.name, events[i].Pos, events[i].ID, r.last)
		}
		r.last++
	}
	return nil
}

func (r *receiver) Close() error { return nil }

// A sink is down for ten minutes while a thousand alerts come in a second. Nothing is
// lost, the order is kept, the other sink does not notice, and the forwarder holds no
// more than on a good day.
func TestOutageOfTenMinutesAtAThousandAlertsASecond(t *testing.T) {
	outage := 10 * time.Minute
	if testing.Short() {
		outage = time.Minute
	}
	synctest.Test(t, func(t *testing.T) {
		feed := newAlertStream(t)
		began := time.Now()
		receivers := map[string]*receiver{}
		var forwarders sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		for _, name := range []string{"good", "flaky"} {
			r := &receiver{t: t, name: name, feed: feed, down: func() bool { return false }}
			if name == "flaky" {
				r.down = func() bool {
					since := time.Since(began)
					return since >= 30*time.Second && since < 30*time.Second+outage
				}
			}
			f, err := NewForwarder(name, r, feed, ForwarderOptions{MaxBatch: 500, FromStart: true})
			if err != nil {
				t.Fatal(err)
			}
			r.forwarder, receivers[name] = f, r
			forwarders.Go(func() {
				if err := f.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		feed.run(30*time.Second + outage)
		if s := receivers["flaky"].forwarder.Status(); s.State != StateRetrying || s.Backlog < int64(outage/time.Second-3)*streamRate {
			t.Errorf("at the end of the outage: %+v", s)
		}
		if s := receivers["good"].forwarder.Status(); s.State != StateOK {
			t.Errorf("the other sink at the end of the outage: %+v", s)
		}
		feed.run(2 * time.Minute) // of which the receiver needs one to find out, and a part to catch up
		time.Sleep(time.Second)
		synctest.Wait()
		for name, r := range receivers {
			if r.last != feed.head || feed.cursors[name] != feed.head {
				t.Errorf("%s: %d of %d alerts arrived, cursor %d", name, r.last, feed.head, feed.cursors[name])
			}
			if s := r.forwarder.Status(); s.State != StateOK || s.Delivered != feed.head {
				t.Errorf("%s: status %+v", name, s)
			}
			if r.holds > 2*maxPage {
				t.Errorf("%s: the forwarder held %d events, want %d at most", name, r.holds, 2*maxPage)
			}
		}
		if good := receivers["good"]; good.behind > streamRate {
			t.Errorf("the other sink was %d events behind", good.behind)
		}
		flaky := receivers["flaky"]
		if flaky.largest != 1 || flaky.tries > 10+int(outage/(30*time.Second)) {
			t.Errorf("%d tries while down, with up to %d events; want few, with one", flaky.tries, flaky.largest)
		}
		stop()
		forwarders.Wait()
		t.Logf("%d alerts, %s down, at most %d events in memory, %d tries while down", feed.head, outage, flaky.holds, flaky.tries)
	})
}

package sinktest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

// poisoned is how many events go through a forwarder, and which of them nobody takes.
const (
	poisonedEvents = 5
	poisonedID     = "er-2"
)

// poison lets a forwarder deliver to a receiver that refuses every request with a
// certain event in it: the others arrive, in order, and it is set aside.
func (h *Harness) poison(t *testing.T) {
	status := http.StatusBadRequest
	if h.class(status) != Permanent {
		status = http.StatusUnprocessableEntity
	}
	var taken []string
	srv := h.server(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		got := h.IDs(t, r, body)
		if slices.Contains(got, poisonedID) {
			h.answer(w, status)
			return
		}
		taken = append(taken, got...)
		h.OK(w, r, body)
	})
	dead := h.forward(t, h.open(t, Receiver{URL: srv.URL}), Events(poisonedEvents))
	h.checkPoisoned(t, taken, dead)
}

// checkPoisoned expects all events but the poisoned one, which is a dead letter.
func (h *Harness) checkPoisoned(t *testing.T, taken []string, dead []soar.DeadLetter) {
	t.Helper()
	want := slices.DeleteFunc(ids(Events(poisonedEvents)), func(id string) bool { return id == poisonedID })
	// Where the receiver judges the items of one request, those that it took come
	// again only if the sink says so; a repeat right behind is no harm.
	if got := slices.Compact(slices.Clone(taken)); !slices.Equal(got, want) {
		t.Errorf("arrived: %q, want %q", taken, want)
	}
	if len(dead) != 1 || dead[0].EventID != poisonedID {
		t.Fatalf("dead letters: %+v, want one, of %s", dead, poisonedID)
	}
	for _, secret := range h.Secrets {
		if strings.Contains(dead[0].Reason, secret) {
			t.Errorf("a secret shows in the reason of a dead letter: %s", dead[0].Reason)
		}
	}
}

// unwritable has times that neither RFC 3339 nor JSON has a form for. Clocks of
// endpoints say such things.
func unwritable() soar.Event {
	ev := Event(2)
	at := time.Date(20260, 1, 2, 3, 4, 5, 0, time.UTC)
	ev.Alert.CreatedAt, ev.Alert.EventTime, ev.Alert.Host.LastSeen = at, at, at
	return ev
}

// unwritableItem expects that an event which a format may be unable to write does
// not hold up the others.
func (h *Harness) unwritableItem(t *testing.T) {
	var taken []string
	srv := h.server(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		taken = append(taken, h.IDs(t, r, body)...)
		h.OK(w, r, body)
	})
	events := Events(poisonedEvents)
	events[1] = unwritable()
	dead := h.forward(t, h.open(t, Receiver{URL: srv.URL}), events)
	checkUnwritable(t, taken, dead)
}

func checkUnwritable(t *testing.T, taken []string, dead []soar.DeadLetter) {
	t.Helper()
	for _, d := range dead {
		if d.EventID != poisonedID {
			t.Errorf("event %s was set aside: %s", d.EventID, d.Reason)
		}
		taken = append(taken, d.EventID)
	}
	slices.Sort(taken)
	if got, want := slices.Compact(taken), ids(Events(poisonedEvents)); !slices.Equal(got, want) {
		t.Errorf("delivered or set aside: %q, want %q", got, want)
	}
}

// forward delivers events with a forwarder, as the daemon does, and returns what it
// set aside.
func (h *Harness) forward(t *testing.T, s sinks.Sink, events []soar.Event) []soar.DeadLetter {
	t.Helper()
	feed := &feed{events: events, settled: make(chan struct{})}
	forwarder, err := sinks.NewForwarder("tested", s, feed, sinks.ForwarderOptions{
		MaxBatch: h.MaxBatch, FromStart: true, Events: []soar.EventType{soar.EventAlertReceived},
		MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond, MinProbe: time.Millisecond, MaxProbe: 10 * time.Millisecond,
	})
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- forwarder.Run(ctx) }()
	select {
	case <-feed.settled:
	case err := <-ended:
		t.Fatalf("the forwarder ended: %v", err)
	}
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatalf("the forwarder ended: %v", err)
	}
	return feed.dead
}

// feed holds a few events for one forwarder.
type feed struct {
	events  []soar.Event
	settled chan struct{} // closed when the cursor is behind the last event

	mu     sync.Mutex
	cursor int64
	known  bool
	dead   []soar.DeadLetter
}

func (f *feed) Commit(_ context.Context, c soar.Change) (soar.Committed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = append(f.dead, c.DeadLetters...)
	for _, moved := range c.Sinks {
		before := f.cursor
		f.cursor, f.known = moved.Pos, true
		if last := int64(len(f.events)); before < last && f.cursor >= last {
			close(f.settled)
		}
	}
	return soar.Committed{}, nil
}

func (f *feed) Feed(ctx context.Context, after int64, limit int) ([]soar.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := int64(len(f.events))
	page := slices.Clone(f.events[min(after, n):min(after+int64(limit), n)])
	for i := range page {
		page[i].Pos = after + int64(i) + 1
	}
	return page, ctx.Err()
}

func (f *feed) FeedHead(ctx context.Context) (int64, error) { return int64(len(f.events)), ctx.Err() }

func (f *feed) SinkCursor(ctx context.Context, _ string) (int64, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cursor, f.known, ctx.Err()
}

func (f *feed) Redeliveries(ctx context.Context, _ string, _ int) ([]soar.Redelivery, error) {
	return nil, ctx.Err()
}

// Changed never says anything: nothing is added.
func (f *feed) Changed(soar.Signal) <-chan struct{} { return nil }

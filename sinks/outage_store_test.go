package sinks_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// heldFeed is a store that counts what a forwarder has read and not settled.
type heldFeed struct {
	*store.Store
	sink string

	mu         sync.Mutex
	read, done int64
	most       int64
}

func (c *heldFeed) Feed(ctx context.Context, after int64, limit int) ([]soar.Event, error) {
	events, err := c.Store.Feed(ctx, after, limit)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(events); n > 0 {
		c.read = max(c.read, events[n-1].Pos)
		c.most = max(c.most, c.read-c.done)
	}
	return events, err
}

func (c *heldFeed) Commit(ctx context.Context, change soar.Change) (soar.Committed, error) {
	made, err := c.Store.Commit(ctx, change)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cursor := range change.Sinks {
		if cursor.Sink == c.sink {
			c.done = cursor.Pos
		}
	}
	return made, err
}

// gate is a receiver that is down until its gate is opened, and checks the order.
type gate struct {
	t    *testing.T
	name string
	open <-chan struct{}
	want int           // events until it has all
	all  chan struct{} // closed then
	took int
}

func (g *gate) Send(_ context.Context, events []soar.Event) error {
	select {
	case <-g.open:
	default:
		return errors.New("connection refused")
	}
	for i := range events {
		if want := fmt.Sprint(g.took + 1); events[i].Alert.ID != want {
			g.t.Errorf("%s: alert %s arrived in place %s", g.name, events[i].Alert.ID, want)
		}
		if g.took++; g.took == g.want {
			close(g.all)
		}
	}
	return nil
}

func (g *gate) Close() error { return nil }

// The outage over the real store: one receiver has every alert before the other takes
// the first, which then gets all of them in order.
func TestOutageOverTheRealStore(t *testing.T) {
	const alerts, commit, batch = 4_000, 100, 100
	st, _ := openStore(t, t.TempDir())
	always, recovered := make(chan struct{}), make(chan struct{})
	close(always)
	good := &gate{t: t, name: "good", open: always, want: alerts, all: make(chan struct{})}
	flaky := &gate{t: t, name: "flaky", open: recovered, want: alerts, all: make(chan struct{})}
	feed := &heldFeed{Store: st, sink: "flaky"}
	ctx, stop := context.WithCancel(t.Context())
	var forwarders sync.WaitGroup
	start := func(name string, sink sinks.Sink, feed sinks.Feed) *sinks.Forwarder {
		f, err := sinks.NewForwarder(name, sink, feed, sinks.ForwarderOptions{MaxBatch: batch, FromStart: true, MinBackoff: time.Millisecond, MaxBackoff: 8 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		forwarders.Go(func() {
			if err := f.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		return f
	}
	start("good", good, st)
	f := start("flaky", flaky, feed)
	for n := 0; n < alerts; n += commit {
		var c soar.Change
		for i := range commit {
			c.Alerts = append(c.Alerts, *sinktest.Event(n + i + 1).Alert)
		}
		if _, err := st.Commit(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	<-good.all
	if s := f.Status(); s.Delivered != 0 || s.State != sinks.StateRetrying {
		t.Errorf("during the outage: %+v", s)
	}
	close(recovered)
	<-flaky.all
	stop()
	forwarders.Wait()
	if feed.most > 2*batch {
		t.Errorf("the forwarder held %d events, want two batches at most", feed.most)
	}
	if n, err := st.DeadLetterCounts(t.Context()); err != nil || len(n) != 0 {
		t.Errorf("dead letters: %v, %v", n, err)
	}
}

package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
)

// Feed is what a forwarder needs of the store.
type Feed interface {
	// Commit returns after the change is on disk.
	Commit(ctx context.Context, c soar.Change) (soar.Committed, error)
	// Feed returns events after a position, in order, with their alerts.
	Feed(ctx context.Context, after int64, limit int) ([]soar.Event, error)
	// FeedHead is the position of the newest event.
	FeedHead(ctx context.Context) (int64, error)
	// SinkCursor is how far a sink has delivered; known is false before its first start.
	SinkCursor(ctx context.Context, sink string) (pos int64, known bool, err error)
	// Redeliveries are events that the sink shall deliver once more.
	Redeliveries(ctx context.Context, sink string, limit int) ([]soar.Redelivery, error)
	// Changed is closed at the next commit that touches the named part.
	Changed(sig soar.Signal) <-chan struct{}
}

// ForwarderOptions tune a forwarder. The zero value works.
type ForwarderOptions struct {
	// MaxBatch bounds the events of one Send; 0 means 1.
	MaxBatch int
	// MaxBatchBytes bounds their size, roughly as JSON; 0 means 1 MiB. An event
	// that is larger by itself is sent alone.
	MaxBatchBytes int
	// Events are the types to deliver; nil means DefaultEvents.
	Events []soar.EventType
	// When decides about events that concern an alert; nil delivers all.
	When Condition
	// FromStart lets a sink without a cursor begin at the oldest event in the
	// feed, and not with what happens from now on.
	FromStart bool

	// MinBackoff and MaxBackoff bound the wait after a failure, which doubles
	// from one to the other; 0 means 1s and 1m.
	MinBackoff, MaxBackoff time.Duration
	// MaxRetryAfter bounds the pause that a receiver may ask for; 0 means 10m.
	MaxRetryAfter time.Duration
	// MinProbe and MaxProbe bound the wait between two tries of a paused sink; 0
	// means 30s and 5m.
	MinProbe, MaxProbe time.Duration
	// SendTimeout bounds one Send; 0 means 5m. It is there for sinks that hang:
	// each has time-outs of its own.
	SendTimeout time.Duration
	// Drain is how long a Send in progress may go on when the forwarder is
	// stopped; 0 means 5s.
	Drain time.Duration

	// Log gets what happens; nil discards it.
	Log *slog.Logger
	// Registerer gets the metrics; nil for none.
	Registerer prometheus.Registerer
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

const (
	maxPage        = 512              // events read from the feed at once
	flushSkipped   = time.Second      // how long a cursor move that delivers nothing may wait for the disk
	flushSkippedAt = 4096             // or how many events
	commitGrace    = 5 * time.Second  // for recording what was delivered while stopping
	troubleEvery   = 10 * time.Minute // at most, per sink
)

// The values of SinkStatus.State.
const (
	StateOK       = "ok"
	StateRetrying = "retrying"
	StatePaused   = "paused"
)

// SinkStatus is how a sink is doing.
type SinkStatus struct {
	Name  string `json:"name"`
	State string `json:"state"` // ok, retrying or paused
	// LastError is why the sink is not ok.
	LastError string `json:"last_error,omitempty"`
	// NextTry is when a sink that is not ok tries again.
	NextTry time.Time `json:"next_try,omitzero"`
	// LastSuccess is when events were last delivered; zero if never since the start.
	LastSuccess time.Time `json:"last_success,omitzero"`
	// Cursor is the position in the feed up to which all is delivered.
	Cursor int64 `json:"cursor"`
	// Backlog counts the events behind the cursor, those to be skipped included.
	Backlog int64 `json:"backlog"`
	// OldestAge is how long the oldest event in the sink's hands has waited.
	OldestAge time.Duration `json:"oldest_age_ns,omitempty"`
	// Delivered and DeadLetters count events since the start.
	Delivered   int64 `json:"delivered"`
	DeadLetters int64 `json:"dead_letters"`
}

// Forwarder delivers the feed to one sink. It keeps a cursor over the feed, which
// moves after the receiver has the events: an event is delivered at least once,
// always with the same ID, and again when a crash comes between delivery and
// cursor. Events go out in the order of the feed, except that those which a
// receiver refused for the moment out of the middle of a batch (PartialError)
// follow the rest of their batch; the next batch waits for them.
//
// Nothing is dropped. What a receiver will never take becomes a dead letter, in
// the same transaction that moves the cursor past it.
type Forwarder struct {
	name    string
	sink    Sink
	feed    Feed
	o       ForwarderOptions
	route   route
	metrics *metrics
	log     *slog.Logger
	jitter  func(time.Duration) time.Duration
	resume  chan struct{} // one token: the next wait ends at once

	// Owned by Prepare, then by Run.
	prepared bool

	// Owned by Run.
	page        []soar.Event    // read from the feed, not looked at yet
	read        int64           // position of the last event read
	passed      int64           // position up to which all is settled
	saved       int64           // passed, as it is on disk
	unsavedFrom time.Time       // since when passed is ahead of saved
	redeliver   <-chan struct{} // nil: look for redeliveries; else look when it is closed
	limit       int             // events in the next Send; shrinks with failures
	failures    int             // in a row
	probes      int             // failed tries since the sink was paused
	lastTrouble time.Time

	mu     sync.Mutex // guards what Status reads
	status SinkStatus
	head   int64
	oldest time.Time
}

// NewForwarder makes a forwarder; Run starts it. The name is that of the sink in
// the configuration, and of its cursor: a renamed sink starts anew.
func NewForwarder(name string, sink Sink, feed Feed, o ForwarderOptions) (*Forwarder, error) {
	if name == "" || sink == nil || feed == nil {
		return nil, errors.New("forwarder: a name, a sink and a feed are needed")
	}
	orInt := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	orDuration := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	orInt(&o.MaxBatch, 1)
	orInt(&o.MaxBatchBytes, 1<<20)
	orDuration(&o.MinBackoff, time.Second)
	orDuration(&o.MaxBackoff, max(time.Minute, o.MinBackoff))
	orDuration(&o.MaxRetryAfter, 10*time.Minute)
	orDuration(&o.MinProbe, 30*time.Second)
	orDuration(&o.MaxProbe, max(5*time.Minute, o.MinProbe))
	orDuration(&o.SendTimeout, 5*time.Minute)
	orDuration(&o.Drain, 5*time.Second)
	if o.MaxBackoff < o.MinBackoff || o.MaxProbe < o.MinProbe {
		return nil, fmt.Errorf("sink %s: the longest wait is shorter than the shortest", name)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m, err := newMetrics(o.Registerer, name)
	if err != nil {
		return nil, fmt.Errorf("sink %s: metrics: %w", name, err)
	}
	return &Forwarder{
		name: name, sink: sink, feed: feed, o: o, metrics: m,
		route:  newRoute(name, o.Events, o.When),
		log:    o.Log.With("sink", name),
		jitter: func(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) },
		resume: make(chan struct{}, 1),
		limit:  o.MaxBatch,
		status: SinkStatus{Name: name, State: StateOK},
	}, nil
}

// Run delivers until ctx ends, and returns nil then. A Send in progress may
// finish, for as long as Drain allows, and its outcome is recorded. Run does not
// close the sink.
func (f *Forwarder) Run(ctx context.Context) error {
	if f.o.Registerer != nil {
		g := newGauges(f)
		if err := f.o.Registerer.Register(g); err != nil {
			return fmt.Errorf("sink %s: metrics: %w", f.name, err)
		}
		defer f.o.Registerer.Unregister(g)
	}
	if err := f.Prepare(ctx); err != nil {
		return f.ended(ctx, err)
	}
	var watcher sync.WaitGroup
	watcher.Go(func() { f.watch(ctx) })
	defer watcher.Wait()

	for ctx.Err() == nil {
		// Taken before reading, so that a commit in between is not missed.
		grown := f.feed.Changed(soar.SignalFeed)
		worked, err := f.step(ctx)
		if err != nil {
			return f.ended(ctx, err)
		}
		if !worked {
			if err := f.idle(ctx, grown); err != nil {
				return f.ended(ctx, err)
			}
		}
	}
	return f.ended(ctx, nil)
}

// ended saves what was skipped since the last commit; losing that would only
// mean looking at those events again.
func (f *Forwarder) ended(ctx context.Context, err error) error {
	if f.passed > f.saved {
		if recorded := f.record(ctx, soar.Change{Sinks: []soar.SinkCursor{{Sink: f.name, Pos: f.passed}}}); recorded == nil {
			f.saved = f.passed
		}
	}
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// Prepare finds the cursor. A sink that has none gets one at once: its place must
// not depend on whether something was delivered before the next restart. Run
// does it as well; call Prepare before Run and before the first alert is taken
// in when a new sink must not miss that one. It fails only when ctx ends.
func (f *Forwarder) Prepare(ctx context.Context) error {
	if f.prepared {
		return nil
	}
	err := f.insist(ctx, "find the cursor", func() error {
		pos, known, err := f.feed.SinkCursor(ctx, f.name)
		if err != nil {
			return err
		}
		if !known {
			if !f.o.FromStart {
				if pos, err = f.feed.FeedHead(ctx); err != nil {
					return err
				}
			}
			if _, err := f.feed.Commit(ctx, soar.Change{Sinks: []soar.SinkCursor{{Sink: f.name, Pos: pos}}}); err != nil {
				return err
			}
		}
		f.read, f.passed, f.saved = pos, pos, pos
		f.update(func(s *SinkStatus) { s.Cursor = pos })
		return nil
	})
	f.prepared = err == nil
	return err
}

// step delivers one batch of redeliveries, or else of the feed. It reports
// whether there was anything to do, and fails only when ctx ends.
func (f *Forwarder) step(ctx context.Context) (bool, error) {
	again, err := f.redeliveries(ctx)
	if err != nil {
		return false, err
	}
	if again != nil {
		// The feed gets its turn as well: a long replay does not hold up today's alerts.
		if err := f.deliver(ctx, again); err != nil {
			return false, err
		}
	}
	if len(f.page) == 0 {
		err := f.insist(ctx, "read the feed", func() (err error) {
			f.page, err = f.feed.Feed(ctx, f.read, min(max(f.o.MaxBatch, 32), maxPage))
			return err
		})
		if err != nil {
			return false, err
		}
		if len(f.page) == 0 {
			return again != nil, nil
		}
		f.read = f.page[len(f.page)-1].Pos
	}
	return true, f.deliver(ctx, f.nextBatch(ctx))
}

// nextBatch takes the next events off the page, skipped ones included.
func (f *Forwarder) nextBatch(ctx context.Context) *batch {
	b := &batch{}
	todo, bytes := 0, 0
	for i := range f.page {
		ev := &f.page[i]
		it := &item{event: *ev}
		wanted, err := f.route.wants(ctx, ev)
		switch {
		case err != nil:
			f.log.Error("when cannot be evaluated, event set aside", "event", ev.ID, "err", err)
			f.metrics.count(outcomeRouteError, 1)
			it.state, it.reason = setAside, fmt.Errorf("route error: %w", err)
		case !wanted:
			f.metrics.count(outcomeSkipped, 1)
			it.state = settled
		default:
			size := sizeOf(ev)
			if todo > 0 && (todo == f.o.MaxBatch || bytes+size > f.o.MaxBatchBytes) {
				f.page = f.page[i:]
				return b
			}
			todo++
			bytes += size
		}
		b.add(it)
	}
	f.page = nil
	return b
}

// redeliveries are looked for at the start, after every batch of them, and when
// the store says that there are new ones.
func (f *Forwarder) redeliveries(ctx context.Context) (*batch, error) {
	if f.redeliver != nil {
		select {
		case <-f.redeliver:
		default:
			return nil, nil
		}
	}
	f.redeliver = f.feed.Changed(soar.SignalRedeliver)
	var queued []soar.Redelivery
	err := f.insist(ctx, "read the redeliveries", func() (err error) {
		queued, err = f.feed.Redeliveries(ctx, f.name, f.o.MaxBatch)
		return err
	})
	if err != nil || len(queued) == 0 {
		return nil, err
	}
	f.redeliver = nil
	b := &batch{again: true}
	for _, r := range queued {
		b.add(&item{event: r.Event, redelivery: r.ID})
	}
	return b, nil
}

// idle waits for something to do.
func (f *Forwarder) idle(ctx context.Context, grown <-chan struct{}) error {
	var flush <-chan time.Time
	if f.passed > f.saved {
		// Counted from the first event that was skipped, and not from now: a feed in
		// which something happens every moment must not put it off for ever.
		flush = time.After(flushSkipped - time.Since(f.unsavedFrom))
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-grown:
	case <-f.redeliver:
	case <-flush:
		return f.save(ctx, soar.Change{})
	}
	return nil
}

// save moves the cursor to what is settled, together with the rest of a Change.
func (f *Forwarder) save(ctx context.Context, c soar.Change) error {
	if f.passed > f.saved {
		c.Sinks = []soar.SinkCursor{{Sink: f.name, Pos: f.passed}}
	}
	err := f.insist(ctx, "move the cursor", func() error { return f.record(ctx, c) })
	if err == nil {
		f.saved = f.passed
		f.update(func(s *SinkStatus) { s.Cursor = f.saved })
	}
	return err
}

// record commits also while stopping: the events are with the receiver, and
// without the record it would get them again.
func (f *Forwarder) record(ctx context.Context, c soar.Change) error {
	ctx, cancel := outlive(ctx, commitGrace)
	defer cancel()
	_, err := f.feed.Commit(ctx, c)
	return err
}

// insist repeats work on the store until it succeeds or ctx ends. The store's
// troubles (busy, disk full) pass or are seen to elsewhere; a forwarder has
// nothing better to do than wait.
func (f *Forwarder) insist(ctx context.Context, what string, do func() error) error {
	for failures := 1; ; failures++ {
		err := do()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		if failures == 1 {
			f.log.Error("store does not answer, will try again", "doing", what, "err", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(f.backoff(failures)):
		}
	}
}

// watch keeps the position of the feed's head for Status, also while Run waits
// for the receiver. Once a second is enough for a gauge.
func (f *Forwarder) watch(ctx context.Context) {
	for {
		grown := f.feed.Changed(soar.SignalFeed)
		if head, err := f.feed.FeedHead(ctx); err == nil {
			f.mu.Lock()
			f.head = head
			f.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-grown:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// Resume ends the current wait: a paused or retrying sink tries at once. Safe
// for concurrent use.
func (f *Forwarder) Resume() {
	select {
	case f.resume <- struct{}{}:
	default: // a token is there already
	}
}

// Status tells how the sink is doing. Safe for concurrent use.
func (f *Forwarder) Status() SinkStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	s.Backlog = max(f.head-s.Cursor, 0)
	if !f.oldest.IsZero() {
		s.OldestAge = max(f.o.Now().Sub(f.oldest), 0)
	}
	return s
}

func (f *Forwarder) update(change func(*SinkStatus)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.status)
}

func (f *Forwarder) setOldest(at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.oldest = at
}

// backoff is the wait after so many failures in a row.
func (f *Forwarder) backoff(failures int) time.Duration {
	return f.jitter(doubled(f.o.MinBackoff, f.o.MaxBackoff, failures))
}

// doubled is shortest, doubled for every try after the first, up to longest.
func doubled(shortest, longest time.Duration, tries int) time.Duration {
	d := shortest
	for range tries - 1 {
		if d >= longest/2 {
			return longest
		}
		d *= 2
	}
	return min(d, longest)
}

// outlive makes a context that ends a while after its parent.
func outlive(parent context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() {
		// Cancelling twice is harmless, so nobody has to stop this timer.
		time.AfterFunc(grace, func() { cancel(context.Cause(parent)) })
	})
	return ctx, func() {
		stop()
		cancel(context.Canceled)
	}
}

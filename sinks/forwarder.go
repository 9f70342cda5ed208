package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
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
	// MaxBatchAge is how long an event may wait for others to be sent with it; 0
	// sends what there is at once.
	MaxBatchAge time.Duration
	// Backlog bounds what waits for the sink; the zero value is no bound.
	Backlog BacklogSettings
	// Events are the types to deliver; nil means DefaultEvents.
	Events []soar.EventType
	// When decides about events that concern an alert; nil delivers all.
	When Condition
	// Routes decide about them as well, where they name the sink; nil means that
	// there are none.
	Routes Routes
	// Group says which alerts are put together, and which are silenced.
	Group GroupOptions
	// Redact takes out of an event what must not leave; nil takes out nothing. It
	// changes a copy.
	Redact func(soar.Event) soar.Event
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
	maxAgain       = 64               // redeliveries read at once: what was refused for its size is among them
	flushSkipped   = time.Second      // how long a cursor move that delivers nothing may wait for the disk
	flushSkippedAt = 4096             // or how many events
	commitGrace    = 5 * time.Second  // for recording what was delivered while stopping
	troubleEvery   = 10 * time.Minute // at most, per sink and kind
)

// SinkStatus is how a sink is doing.
type SinkStatus struct {
	Name string `json:"name"`
	// State is one of the State constants.
	State string `json:"state"`
	// Circuit is how much is tried: closed is everything, half-open one event or
	// smaller batches, open nothing for the moment.
	Circuit string `json:"circuit"`
	// LastError is why the sink is not ok.
	LastError string `json:"last_error,omitempty"`
	// NextTry is when a sink that is not ok tries again.
	NextTry time.Time `json:"next_try,omitzero"`
	// StandsAt is the event at which the sink stands; nil when its last attempt
	// delivered something.
	StandsAt *Standstill `json:"stands_at,omitempty"`
	// Held is who paused the sink, and why; nil when nobody did.
	Held *Hold `json:"held,omitempty"`
	// LastSuccess is when events were last delivered; zero if never since the start.
	LastSuccess time.Time `json:"last_success,omitzero"`
	// Cursor is the position in the feed up to which all is delivered.
	Cursor int64 `json:"cursor"`
	// Backlog counts the events behind the cursor, those to be skipped included.
	Backlog int64 `json:"backlog"`
	// OverBacklog is set while the backlog exceeds its bound.
	OverBacklog bool `json:"over_backlog,omitempty"`
	// OldestAge is how long the oldest event in the sink's hands has waited.
	OldestAge time.Duration `json:"oldest_age_ns,omitempty"`
	// Replay is what is being delivered again; nil when nothing is.
	Replay *Replay `json:"replay,omitempty"`
	// Delivered, DeadLetters, Dropped and Lost count events since the start; those that
	// the receiver lost are among the delivered.
	Delivered   int64 `json:"delivered"`
	DeadLetters int64 `json:"dead_letters"`
	Dropped     int64 `json:"dropped"`
	Lost        int64 `json:"lost"`
}

// Forwarder delivers the feed to one sink. It keeps a cursor over the feed, which
// moves after the receiver has the events: an event is delivered at least once,
// always with the same ID, and again when a crash comes between delivery and
// cursor. Events go out in the order of the feed, except that those which a
// receiver refused for the moment out of the middle of a batch (PartialError)
// follow the rest of their batch; the next batch waits for them.
//
// What a receiver will never take becomes a dead letter, in the same transaction
// that moves the cursor past it. Nothing is dropped, unless Options.Backlog says so;
// then the count is kept, and told as trouble, to the receiver as well.
type Forwarder struct {
	name    string
	sink    Sink
	feed    Feed
	kv      KV // of the feed; nil for one that keeps no values: then holds, gaps and replays end with the process
	o       ForwarderOptions
	route   route
	metrics *metrics
	log     *slog.Logger
	grouper *grouper
	jitter  func(time.Duration) time.Duration
	resume  chan struct{} // one token: the next wait ends at once
	hurry   atomic.Bool   // no event waits for others any more

	// Owned by Prepare, then by Run.
	prepared bool

	// Owned by Run.
	page        []soar.Event    // read from the feed, not looked at yet
	read        int64           // position of the last event read
	passed      int64           // position up to which all is settled
	saved       int64           // passed, as it is on disk
	unsavedFrom time.Time       // since when passed is ahead of saved
	redeliver   <-chan struct{} // nil: look for redeliveries; else look when it is closed
	collecting  *batch          // waits for more events to go with it; nil when nothing does
	undecided   bool            // the first event of page may be part of a storm: more has to be known
	limit       int             // events in the next Send; shrinks with failures
	failures    int             // in a row
	probes      int             // failed tries since the sink was paused
	lastTrouble time.Time
	downSince   time.Time // when the failures in a row began
	downTold    bool      // and whether the other sinks were told
	gap         gap       // what was dropped and the receiver was not told of yet
	gapTold     time.Time // when it was last told
	dropTold    time.Time // when the other sinks were last told of drops
	lostTold    time.Time // when the other sinks were last told of what the receiver lost
	overTold    time.Time // when the backlog was last said to be too long

	mu     sync.Mutex // guards what Status reads, and what people order
	status SinkStatus
	head   int64
	oldest time.Time
	trying bool    // a Send is under way
	held   *Hold   // a person paused the sink
	gone   bool    // the receiver said for good that it is not there
	replay *Replay // what is to be delivered again
	skip   *skipOrder
	ran    bool // Run has ended
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
	kv, _ := feed.(KV)
	return &Forwarder{
		name: name, sink: sink, feed: feed, kv: kv, o: o, metrics: m,
		route:   newRoute(name, o.Events, o.When, o.Routes),
		log:     o.Log.With("sink", name),
		grouper: newGrouper(name, o.Group, o.Redact, o.Log.With("sink", name)),
		jitter:  func(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) },
		resume:  make(chan struct{}, 1),
		limit:   o.MaxBatch,
		status:  SinkStatus{Name: name, State: StateOK},
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
	defer f.endSkips()
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
		c := soar.Change{Sinks: []soar.SinkCursor{{Sink: f.name, Pos: f.passed}}}
		f.grouper.keep(&c, f.o.Now())
		if recorded := f.record(ctx, c); recorded == nil {
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
		return f.remember(ctx)
	})
	f.prepared = err == nil
	return err
}

// remember reads what outlives a restart besides the cursor.
func (f *Forwarder) remember(ctx context.Context) error {
	if f.kv == nil {
		return nil
	}
	errGroups := f.grouper.load(ctx, f.kv)
	held, errHeld := ReadHold(ctx, f.kv, f.name)
	replay, errReplay := ReadReplay(ctx, f.kv, f.name)
	_, errGap := readValue(ctx, f.kv, gapKey(f.name), &f.gap)
	for _, err := range []error{errGroups, errHeld, errReplay, errGap} {
		if errors.Is(err, errBadValue) { // waiting does not mend it
			f.log.Error("what was noted of the sink is forgotten", "err", err)
		} else if err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held, f.replay = held, replay
	return nil
}

// step delivers one batch of redeliveries and one of the feed. It reports
// whether there was anything to do, and fails only when ctx ends.
func (f *Forwarder) step(ctx context.Context) (bool, error) {
	again, err := f.redeliveries(ctx)
	if again == nil && err == nil {
		again, err = f.nextReplay(ctx)
	}
	if err != nil {
		return false, err
	}
	if again != nil {
		// The feed gets its turn as well: a long replay does not hold up today's alerts.
		if err := f.deliver(ctx, again); err != nil {
			return false, err
		}
	}
	undecided := f.undecided
	if len(f.page) == 0 || undecided {
		var more []soar.Event
		err := f.insist(ctx, "read the feed", func() (err error) {
			more, err = f.feed.Feed(ctx, f.read, f.pageSize())
			return err
		})
		if err != nil {
			return false, err
		}
		if n := len(more); n > 0 {
			f.page, f.read, undecided = append(f.page, more...), more[n-1].Pos, false
		}
	}
	if err := f.tick(ctx); err != nil {
		return false, err
	}
	worked := again != nil || len(f.page) > 0 && !undecided
	b := f.nextBatch(ctx)
	if b == nil {
		return worked, nil
	}
	return true, f.deliver(ctx, b)
}

func (f *Forwarder) pageSize() int { return min(max(f.o.MaxBatch, 32), maxPage) }

// nextBatch takes the next events off the page, skipped ones included. It is nil
// when there are none, or when they may wait for more.
func (f *Forwarder) nextBatch(ctx context.Context) *batch {
	b := f.collecting
	f.collecting = nil
	if b == nil {
		b = &batch{}
	}
	overdue := f.overdue()
	f.undecided = false
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
			// Its place is all that is needed; a batch may pass very many of them.
			it.state, it.event = settled, soar.Event{Pos: ev.Pos}
		case overdue(ev):
			it.state = dropped
		default:
			size := sizeOf(ev)
			if b.todo > 0 && (b.todo == f.o.MaxBatch || b.bytes+size > f.o.MaxBatchBytes) {
				f.page = f.page[i:]
				return b
			}
			what, effects := f.look(ctx, &it.event, f.page[i+1:])
			if it.effects = effects; what == onHold {
				f.page, f.undecided = f.page[i:], true
				return b.orNil()
			}
			if what == counted {
				f.metrics.count(outcomeGrouped, 1)
				it.state, it.event = settled, soar.Event{Pos: ev.Pos}
				break
			}
			if b.todo == 0 {
				b.since = time.Now()
			}
			b.todo++
			b.bytes += size
		}
		b.add(it)
	}
	f.page = nil
	switch {
	case len(b.items) == 0:
		return nil
	case b.mayWait(f.o) && !f.hurry.Load():
		f.collecting = b
		return nil
	}
	return b
}

// Hurry sends what there is at once from now on, whatever MaxBatchAge says: whoever
// calls it is about to end the forwarder. Safe for concurrent use.
func (f *Forwarder) Hurry() {
	f.hurry.Store(true)
	f.wake()
}

// mayWait reports whether more events may join a batch before it is sent.
func (b *batch) mayWait(o ForwarderOptions) bool {
	return b.todo > 0 && b.todo < o.MaxBatch && len(b.items) < flushSkippedAt && time.Since(b.since) < o.MaxBatchAge
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
		queued, err = f.feed.Redeliveries(ctx, f.name, min(f.o.MaxBatch, maxAgain))
		return err
	})
	if err != nil || len(queued) == 0 {
		return nil, err
	}
	f.redeliver = nil
	b := &batch{again: true}
	for _, r := range queued {
		if b.bytes += sizeOf(&r.Event); len(b.items) > 0 && b.bytes > f.o.MaxBatchBytes {
			break // the rest is still queued
		}
		b.add(&item{event: r.Event, redelivery: r.ID})
	}
	return b, nil
}

// idle waits for something to do.
func (f *Forwarder) idle(ctx context.Context, grown <-chan struct{}) error {
	var flush, due, tell, groups <-chan time.Time
	if wait := f.nextLook(); wait > 0 {
		groups = time.After(wait)
	}
	if f.collecting != nil {
		due = time.After(f.o.MaxBatchAge - time.Since(f.collecting.since))
	} else {
		f.caughtUp()
	}
	if f.gap.Events > 0 {
		tell = time.After(f.gapDue())
	}
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
	case <-f.resume: // or there is something to replay
	case <-due:
	case <-groups:
	case <-flush:
		return f.save(ctx, soar.Change{})
	case <-tell:
		var c soar.Change
		f.closeGap(&c)
		return f.save(ctx, c)
	}
	return nil
}

// save moves the cursor to what is settled, together with the rest of a Change.
func (f *Forwarder) save(ctx context.Context, c soar.Change) error {
	if f.passed > f.saved {
		c.Sinks = []soar.SinkCursor{{Sink: f.name, Pos: f.passed}}
	}
	f.grouper.keep(&c, f.o.Now())
	err := f.insist(ctx, "move the cursor", func() error { return f.record(ctx, c) })
	if err == nil {
		f.grouper.saved()
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

// Status tells how the sink is doing. Safe for concurrent use.
func (f *Forwarder) Status() SinkStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	s.Backlog = max(f.head-s.Cursor, 0)
	if !f.oldest.IsZero() {
		s.OldestAge = max(f.o.Now().Sub(f.oldest), 0)
	}
	if f.held != nil {
		held := *f.held
		s.State, s.Held, s.NextTry = StateHeld, &held, time.Time{}
	}
	if f.replay != nil {
		replay := *f.replay
		s.Replay = &replay
	}
	s.Circuit = circuitOf(s.State, f.trying)
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

package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

// SinkOrder is what a person wants of a sink: to pause it, or to let it go on.
type SinkOrder struct {
	Sink   string `json:"sink"`
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
}

// ReplayOrder asks for a stretch of the feed to be delivered to a sink once more.
type ReplayOrder struct {
	Sink   string `json:"sink"`
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
	// Since and Until bound the times of the events; Until may be zero.
	Since time.Time        `json:"since,omitzero"`
	Until time.Time        `json:"until,omitzero"`
	Types []soar.EventType `json:"types,omitempty"` // none: all that the sink gets
	// Cancel calls off the replay that is under way; the rest is not looked at then.
	Cancel bool `json:"cancel,omitempty"`
}

// HoldSink pauses a sink until ResumeSink, also over a restart. One that a person has
// paused before keeps that person's reason, unless there is a new one.
func (d *Daemon) HoldSink(ctx context.Context, o SinkOrder) error {
	defer d.settledSinks()()
	f, err := d.forwarder(o.Sink)
	if err != nil {
		return err
	}
	if o.Reason == "" && f.Status().Held != nil {
		return nil
	}
	return f.Hold(ctx, o.hold(d.o.Now()))
}

// ResumeSink lets a sink go on that a person paused, and makes one that waits try at
// once. It returns the state that the sink was in.
func (d *Daemon) ResumeSink(ctx context.Context, o SinkOrder) (state string, err error) {
	defer d.settledSinks()()
	f, err := d.forwarder(o.Sink)
	if err != nil {
		return "", err
	}
	status := f.Status()
	switch {
	case status.Held != nil:
		return status.State, f.Release(ctx, o.By, o.Reason)
	case status.State == sinks.StateOK || status.State == sinks.StateRecovering:
		return status.State, nil
	}
	if _, err := d.Store().Commit(ctx, sinks.TryAgainChange(o.Sink, status.State, o.By, o.Reason, d.o.Now().UTC())); err != nil {
		return "", err
	}
	f.Resume()
	return status.State, nil
}

// ReplaySink begins a replay, or calls off the one that is under way.
func (d *Daemon) ReplaySink(ctx context.Context, o ReplayOrder) (sinks.Replay, error) {
	defer d.settledSinks()()
	f, err := d.forwarder(o.Sink)
	if err != nil {
		return sinks.Replay{}, err
	}
	if o.Cancel {
		replay := f.Status().Replay
		if err := f.Replay(ctx, nil, o.By); err != nil || replay == nil {
			return sinks.Replay{}, err
		}
		return *replay, nil
	}
	r, err := o.replay(ctx, d.Store(), d.o.Now())
	if err != nil {
		return r, err
	}
	return r, f.Replay(ctx, &r, o.By)
}

// settledSinks waits for a reload that is under way and keeps off the next one, until the
// function is called that it returns. An order to a forwarder that is being replaced would
// stand in the store, and the next one may have read there before.
func (d *Daemon) settledSinks() (done func()) {
	d.reloading.Lock()
	return d.reloading.Unlock
}

// forwarder is that of a configured sink.
func (d *Daemon) forwarder(name string) (*sinks.Forwarder, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.sinks {
		if s.name == name {
			return s.forwarder, nil
		}
	}
	return nil, unknownSink(name, d.cfg.Sinks)
}

func (f *offline) HoldSink(ctx context.Context, o SinkOrder) error {
	if o.Reason == "" && slices.Contains(f.cfg.Sinks.Names(), o.Sink) {
		st, err := f.open(ctx)
		if err != nil {
			return err
		}
		if held, err := sinks.ReadHold(ctx, st, o.Sink); err != nil || held != nil {
			return err
		}
	}
	change, err := sinks.HoldChange(o.Sink, o.hold(f.o.Now()))
	if err != nil {
		return err
	}
	return f.order(ctx, o.Sink, change)
}

// ResumeSink without a daemon takes back what a person ordered; everything else about
// a sink is known to a running daemon only.
func (f *offline) ResumeSink(ctx context.Context, o SinkOrder) (string, error) {
	if !slices.Contains(f.cfg.Sinks.Names(), o.Sink) {
		return "", unknownSink(o.Sink, f.cfg.Sinks)
	}
	st, err := f.open(ctx)
	if err != nil {
		return "", err
	}
	held, err := sinks.ReadHold(ctx, st, o.Sink)
	if err != nil {
		return "", err
	}
	if held == nil {
		return "", ErrNotRunning
	}
	return sinks.StateHeld, f.order(ctx, o.Sink, sinks.ReleaseChange(o.Sink, o.By, o.Reason, f.o.Now().UTC()))
}

// ReplaySink without a daemon notes the order; the sink carries it out at its next start.
func (f *offline) ReplaySink(ctx context.Context, o ReplayOrder) (sinks.Replay, error) {
	if !slices.Contains(f.cfg.Sinks.Names(), o.Sink) {
		return sinks.Replay{}, unknownSink(o.Sink, f.cfg.Sinks)
	}
	st, err := f.open(ctx)
	if err != nil {
		return sinks.Replay{}, err
	}
	running, err := sinks.ReadReplay(ctx, st, o.Sink)
	var r sinks.Replay
	var next *sinks.Replay
	switch {
	case err != nil:
		return r, err
	case o.Cancel && running == nil:
		return r, fmt.Errorf("a replay to sink %s: %w", o.Sink, soar.ErrNotFound)
	case o.Cancel:
		r = *running
	case running != nil:
		return r, fmt.Errorf("sink %s: %w", o.Sink, sinks.ErrReplaying)
	default:
		if r, err = o.replay(ctx, st, f.o.Now()); err != nil {
			return r, err
		}
		next = &r
	}
	change, err := sinks.ReplayChange(o.Sink, next, o.By, f.o.Now().UTC())
	if err != nil {
		return r, err
	}
	return r, f.order(ctx, o.Sink, change)
}

func (f *offline) order(ctx context.Context, sink string, change soar.Change) error {
	if !slices.Contains(f.cfg.Sinks.Names(), sink) {
		return unknownSink(sink, f.cfg.Sinks)
	}
	st, err := f.open(ctx)
	if err != nil {
		return err
	}
	_, err = st.Commit(ctx, change)
	return err
}

func (o SinkOrder) hold(now time.Time) sinks.Hold {
	return sinks.Hold{At: now.UTC(), By: o.By, Reason: o.Reason}
}

// feedPlaces is what a replay needs of the store.
type feedPlaces interface {
	FeedSince(ctx context.Context, since time.Time) (int64, error)
	SinkCursor(ctx context.Context, sink string) (pos int64, known bool, err error)
}

// errNothingPassed says that there is nothing to deliver again.
var errNothingPassed = errors.New("the sink has not passed any event since then: there is nothing to deliver again")

// replay finds the stretch of the feed: what the sink has passed already. What is
// behind its place comes anyway.
func (o ReplayOrder) replay(ctx context.Context, st feedPlaces, now time.Time) (sinks.Replay, error) {
	first, err := st.FeedSince(ctx, o.Since)
	if err != nil {
		return sinks.Replay{}, err
	}
	last, known, err := st.SinkCursor(ctx, o.Sink)
	if err != nil {
		return sinks.Replay{}, err
	}
	if !known || last < first {
		return sinks.Replay{}, fmt.Errorf("sink %s: %w", o.Sink, errNothingPassed)
	}
	return sinks.Replay{At: now.UTC(), By: o.By, Reason: o.Reason, Since: o.Since.UTC(), Until: o.Until.UTC(), Types: o.Types, After: first - 1, Last: last}, nil
}

// ReplayPlan is what a replay would deliver.
type ReplayPlan struct {
	Sink   string                   `json:"sink"`
	Events int64                    `json:"events"`
	Types  map[soar.EventType]int64 `json:"types,omitempty"`
	First  time.Time                `json:"first,omitzero"` // of the events that would be delivered
	Last   time.Time                `json:"last,omitzero"`
	// Oldest is the oldest event that the feed has; what was before it is gone.
	Oldest time.Time `json:"oldest_kept,omitzero"`
}

// replayReader is what PlanReplay needs of the store.
type replayReader interface {
	feedPlaces
	Feed(ctx context.Context, after int64, limit int) ([]soar.Event, error)
}

// PlanReplay counts what a replay would deliver, and delivers nothing. It works beside
// a running daemon.
func PlanReplay(ctx context.Context, cfg *config.Config, st replayReader, o ReplayOrder) (ReplayPlan, error) {
	plan := ReplayPlan{Sink: o.Sink, Types: map[soar.EventType]int64{}}
	i := slices.Index(cfg.Sinks.Names(), o.Sink)
	if i < 0 {
		return plan, unknownSink(o.Sink, cfg.Sinks)
	}
	oldest, err := st.Feed(ctx, 0, 1)
	if err != nil {
		return plan, err
	}
	if len(oldest) > 0 {
		plan.Oldest = oldest[0].At
	}
	r, err := o.replay(ctx, st, time.Now())
	if errors.Is(err, errNothingPassed) {
		return plan, nil
	} else if err != nil {
		return plan, err
	}
	wants := cfg.Sinks[i].Wants(cfg.Routes)
	const page = 512
	for r.After < r.Last {
		events, err := st.Feed(ctx, r.After, page)
		if err != nil || len(events) == 0 {
			return plan, err
		}
		for i := range events {
			ev := &events[i]
			if r.After = ev.Pos; ev.Pos > r.Last {
				break
			}
			if !r.Means(ev) {
				continue
			}
			if wanted, err := wants(ctx, ev); err != nil || !wanted {
				continue
			}
			if plan.Events++; plan.Events == 1 {
				plan.First = ev.At
			}
			plan.Types[ev.Type]++
			plan.Last = ev.At
		}
	}
	return plan, nil
}

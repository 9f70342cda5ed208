package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

// A sink that is taken out of the configuration may be back tomorrow, and then
// wants what it missed. So its place in the feed is kept for a while; retention
// keeps what lies behind it. After that it is forgotten, or one sink that is gone
// would hold the whole feed back for ever.
const (
	keepRemovedSinks  = 7 * 24 * time.Hour
	lookForRemoved    = time.Hour
	removedSinkPrefix = "sink-removed/"
)

// forgetRemovedSinks looks every hour until ctx ends.
func (d *Daemon) forgetRemovedSinks(ctx context.Context) error {
	tick := time.NewTicker(lookForRemoved)
	defer tick.Stop()
	for {
		if err := forgetRemoved(ctx, d.store, d.configured().Names(), d.o.Now()); err != nil && ctx.Err() == nil {
			d.log.Warn("removed sinks were not looked at", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sinkPlaces is what forgetRemoved needs of the store.
type sinkPlaces interface {
	Commit(ctx context.Context, c soar.Change) (soar.Committed, error)
	SinkCursors(ctx context.Context) ([]soar.SinkCursor, error)
	FeedHead(ctx context.Context) (int64, error)
	KV(ctx context.Context, prefix string) ([]soar.KV, error)
}

// forgetRemoved notes since when a sink with a place is not configured, and forgets
// the place when that was long enough ago.
func forgetRemoved(ctx context.Context, st sinkPlaces, configured []string, now time.Time) error {
	places, err := st.SinkCursors(ctx)
	if err != nil {
		return fmt.Errorf("list the places of sinks: %w", err)
	}
	noted, err := st.KV(ctx, removedSinkPrefix)
	if err != nil {
		return fmt.Errorf("list removed sinks: %w", err)
	}
	since := map[string]time.Time{}
	var problems []error
	for _, kv := range noted {
		at, err := time.Parse(time.RFC3339, kv.Value)
		problems = append(problems, err)
		since[strings.TrimPrefix(kv.Key, removedSinkPrefix)] = at
	}
	known := map[string]bool{}
	for _, name := range configured {
		known[name] = true
	}
	head, err := st.FeedHead(ctx)
	if err != nil {
		return fmt.Errorf("find the end of the feed: %w", err)
	}
	var change soar.Change
	forget := func(name string) { change.KV = append(change.KV, soar.KV{Key: removedSinkPrefix + name}) }
	for _, place := range places {
		at, wasNoted := since[place.Sink]
		switch {
		case known[place.Sink]:
			if wasNoted {
				forget(place.Sink)
			}
		case !wasNoted:
			change.KV = append(change.KV, soar.KV{Key: removedSinkPrefix + place.Sink, Value: now.UTC().Format(time.RFC3339)})
		case now.Sub(at) >= keepRemovedSinks:
			forget(place.Sink)
			change.Sinks = append(change.Sinks, soar.SinkCursor{Sink: place.Sink, Pos: -1})
			change.KV = append(change.KV, sinks.Forget(place.Sink)...)
			change.Events = append(change.Events, soar.Event{
				ID: fmt.Sprintf("sink-forgotten-%s-%d", place.Sink, place.Pos), Type: soar.EventTrouble, At: now.UTC(),
				Text: fmt.Sprintf("Sink %q is not in the configuration since %s, and its place in the feed is forgotten: the %d events behind it "+
					"are not kept for it any more.", place.Sink, at.UTC().Format(time.RFC3339), max(head-place.Pos, 0)),
			})
		}
	}
	if len(change.KV) > 0 {
		_, err := st.Commit(ctx, change)
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

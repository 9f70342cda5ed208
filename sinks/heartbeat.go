package sinks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// heartbeatMark is what is kept of the last heartbeat.
type heartbeatMark struct {
	At   time.Time `json:"at"`
	Pos  int64     `json:"pos"`  // in the feed, up to which alerts were counted
	Head int64     `json:"head"` // of the feed, with the heartbeat in it
}

func heartbeatKey(sink string) string { return statePrefix(sink) + "heartbeat" }

// heartbeat makes the event that is due, if the one before has been delivered: a sink
// that was down for a day is not told twenty-four times that it was. It returns when to
// look again.
func (r *Reports) heartbeat(ctx context.Context, now time.Time) (next time.Time, err error) {
	if r.o.Heartbeat <= 0 {
		return next, nil
	}
	key := heartbeatKey(r.sink)
	var mark heartbeatMark
	known, err := readValue(ctx, r.store, key, &mark)
	if err != nil && !errors.Is(err, errBadValue) {
		return next, err
	}
	if known && !mark.At.After(now) && now.Before(mark.At.Add(r.o.Heartbeat)) {
		return mark.At.Add(r.o.Heartbeat), nil
	}
	head, err := r.store.FeedHead(ctx)
	if err != nil {
		return next, err
	}
	if !known {
		mark.Pos = head
	}
	cursor, _, err := r.store.SinkCursor(ctx, r.sink)
	if err != nil {
		return next, err
	}
	next = now.Add(r.o.Heartbeat)
	if known && cursor < mark.Head && !mark.At.After(now) {
		return next, nil
	}
	counts, err := r.tally(ctx, mark.Pos, nil)
	if err != nil {
		return next, err
	}
	text := fmt.Sprintf("erbridge %s is alive: %s since the last heartbeat, %d events wait for this sink.", r.o.Version, counts.alertsText(), max(head-cursor, 0))
	if !known {
		text = fmt.Sprintf("erbridge %s is alive. This is the first heartbeat; the next one comes in %s.", r.o.Version, registry.FormatDuration(r.o.Heartbeat))
	}
	ev := soar.Event{ID: fmt.Sprintf("heartbeat/%s/%d", r.sink, now.UnixMilli()), Type: soar.EventHeartbeat, At: now.UTC(), To: r.sink, Text: text}
	// The heartbeat comes behind what the feed has by now, and before anything that is
	// counted the next time.
	return next, r.keep(ctx, key, heartbeatMark{At: now, Pos: counts.pos, Head: head + 1}, ev)
}

package sinks

import (
	"context"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// LostError says that the receiver has taken a batch and thrown some of it away, and
// that it neither says which events those are nor wants to get them again. Send
// returns it only where nothing better can be said: a batch of one is ErrPermanent.
type LostError struct {
	Events int // how many were thrown away
	Err    error
}

func (e *LostError) Error() string { return fmt.Sprintf("%d events are lost: %v", e.Events, e.Err) }
func (e *LostError) Unwrap() error { return e.Err }

// lost settles a batch of which the receiver lost a part. Sending it again would
// double what it kept; so it is counted, and people are told: in the log, and by the
// other sinks. It fails only when ctx ends.
func (f *Forwarder) lost(ctx context.Context, group []*item, err *LostError) error {
	first, last := &group[0].event, &group[len(group)-1].event
	f.log.Error("receiver threw a part of a batch away, it is not sent again", "events", len(group), "lost", err.Events,
		"first", first.ID, "last", last.ID, "err", err)
	n := min(err.Events, len(group))
	f.metrics.count(outcomeLost, n)
	f.delivered(group)
	var so int64
	f.update(func(s *SinkStatus) {
		s.Lost += int64(n)
		so = s.Lost
	})
	now := f.o.Now().UTC()
	if !f.lostTold.IsZero() && now.Sub(f.lostTold) < troubleEvery {
		return nil
	}
	f.lostTold = now
	trouble := soar.Event{
		ID: fmt.Sprintf("%slost-%d", pausedPrefix(f.name), now.UnixMilli()), Type: soar.EventTrouble, At: now,
		Text: fmt.Sprintf("The receiver of sink %q threw events away that it had been given, and did not say which: %d since the start, the last %d "+
			"among %d from %s to %s. It says: %s. They are not sent again by themselves, since that would double the others.",
			f.name, so, n, len(group), first.At.UTC().Format(time.RFC3339), last.At.UTC().Format(time.RFC3339), oneLine(fmt.Sprint(err.Err), maxReasonBytes)),
	}
	return f.insist(ctx, "tell that events are lost", func() error {
		return f.record(ctx, soar.Change{Events: []soar.Event{trouble}})
	})
}

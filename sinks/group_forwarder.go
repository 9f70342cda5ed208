package sinks

import (
	"context"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// What the forwarder asks of its grouper, and when.

// look decides about an event that the sink wants; rest is what follows it on the page.
func (f *Forwarder) look(ctx context.Context, ev *soar.Event, rest []soar.Event) (verdict, []effect) {
	wanted := func(next *soar.Event) bool {
		ok, err := f.route.wants(ctx, next)
		return ok && err == nil
	}
	return f.grouper.look(ctx, ev, rest, wanted, f.o.Now())
}

// tick puts the updates that are due into the feed, addressed to this sink: so they are
// delivered as everything else is, once they are on disk together with what they tell.
// While a batch is collected, what is kept is behind what was looked at; then it waits.
func (f *Forwarder) tick(ctx context.Context) error {
	if f.collecting != nil {
		return nil
	}
	now := f.o.Now()
	reached := now
	if len(f.page) > 0 && f.page[0].At.Before(now) { // in a busy feed there is always something left to look at
		reached = f.page[0].At
	}
	events := f.grouper.tick(now, reached)
	if len(events) == 0 {
		return nil
	}
	return f.save(ctx, soar.Change{Events: events})
}

// nextLook is how long until groups or the event that is on hold are to be looked at
// again; zero when only the feed can change that.
func (f *Forwarder) nextLook() time.Duration {
	now := f.o.Now()
	at := f.grouper.next(now)
	if f.undecided {
		if held := f.page[0].At.Add(stormHold); at.IsZero() || held.Before(at) {
			at = held
		}
	}
	if at.IsZero() {
		return 0
	}
	return max(at.Sub(now), time.Millisecond)
}

// redacted is the event as it may leave.
func (f *Forwarder) redacted(ev soar.Event) soar.Event {
	if f.o.Redact == nil {
		return ev
	}
	return f.o.Redact(ev)
}

// orNil is the batch, if there is anything in it.
func (b *batch) orNil() *batch {
	if len(b.items) == 0 {
		return nil
	}
	return b
}

package sinks

import (
	"context"
	"errors"
	"fmt"

	"github.com/erbridge/erbridge/internal/soar"
)

// Standstill is the event at which a sink stands: the first of those that its last
// attempt could not deliver.
type Standstill struct {
	Event string         `json:"event"`
	Type  soar.EventType `json:"type"`
	Alert string         `json:"alert,omitempty"` // Alert.Ref
	// Attempts is how often it was tried in a row.
	Attempts int `json:"attempts"`
	// Batch is how many events the last attempt could not deliver. Where that is more than
	// this one, another of them may be at fault; the next attempt is smaller.
	Batch int `json:"batch"`
}

// Skip is a person's word to pass over the event at which a sink stands. It becomes a
// dead letter, which can be looked at, edited and replayed.
type Skip struct {
	// Event is the id of the event that is meant; empty is whichever it is.
	Event  string
	By     string
	Reason string
}

// ErrNotSkipped wraps the refusals of a Skip.
var ErrNotSkipped = errors.New("nothing was skipped")

// skipOrder is a Skip on its way to Run.
type skipOrder struct {
	Skip
	done chan error // one answer
}

// Skip passes over the event at which the sink stands, and makes the sink try the next
// one at once, unless a person holds it or its receiver is gone. It waits for an attempt
// that is under way, and returns the event after its dead letter is on disk. An error
// wraps ErrNotSkipped when the sink stands at no event, or at another one. Safe for
// concurrent use.
func (f *Forwarder) Skip(ctx context.Context, s Skip) (Standstill, error) {
	order := &skipOrder{Skip: s, done: make(chan error, 1)}
	f.mu.Lock()
	stands := f.status.StandsAt
	var err error
	switch {
	case stands == nil:
		err = fmt.Errorf("%w: sink %s stands at no event: there is none that its last attempt could not deliver", ErrNotSkipped, f.name)
	case s.Event != "" && s.Event != stands.Event:
		err = fmt.Errorf("%w: sink %s stands at event %q, not at %q", ErrNotSkipped, f.name, stands.Event, s.Event)
	case f.skip != nil:
		err = fmt.Errorf("%w: somebody else is doing it at sink %s; look at it again", ErrNotSkipped, f.name)
	case f.ran:
		err = fmt.Errorf("%w: sink %s is not running; try again", ErrNotSkipped, f.name)
	default:
		order.Event = stands.Event // that one, whatever comes in between
		f.skip = order
	}
	f.mu.Unlock()
	if err != nil {
		return Standstill{}, err
	}
	f.wake()
	select {
	case err = <-order.done:
	case <-ctx.Done():
		if f.takeSkip(order) {
			return Standstill{}, context.Cause(ctx)
		}
		err = <-order.done // it is being recorded
	}
	if err != nil {
		return Standstill{}, err
	}
	return *stands, nil
}

// takeSkip takes an order away, so that it is answered once. It reports false when
// somebody else has it.
func (f *Forwarder) takeSkip(order *skipOrder) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if order == nil || f.skip != order {
		return false
	}
	f.skip = nil
	return true
}

func (f *Forwarder) skipOrdered() *skipOrder {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.skip
}

// skipHead carries an order out: the first event that waits becomes a dead letter, in
// one commit with the word of who said so.
func (f *Forwarder) skipHead(ctx context.Context, b *batch) error {
	order := f.skipOrdered()
	if !f.takeSkip(order) {
		return nil
	}
	if len(b.groups) == 0 || b.groups[0][0].event.ID != order.Event {
		order.refuse("sink %s does not stand at event %q any more", f.name, order.Event)
		return nil
	}
	it := b.groups[0][0]
	if b.groups[0] = b.groups[0][1:]; len(b.groups[0]) == 0 {
		b.groups = b.groups[1:]
	}
	it.state, it.reason = setAside, order.words(f.Status().LastError)
	it.act = &soar.Act{
		At: f.o.Now().UTC(), By: order.By, Reason: order.Reason,
		What: fmt.Sprintf("event %s skipped at sink %s: it is a dead letter now", it.event.ID, f.name),
	}
	f.log.Warn("event skipped, it is a dead letter now", "event", it.event.ID, "by", order.By, "reason", order.Reason)
	f.update(func(s *SinkStatus) { s.StandsAt = nil })
	err := f.settle(ctx, b, true)
	order.done <- err
	return err
}

// words are the reason of the dead letter.
func (s *Skip) words(lastError string) error {
	text := "skipped by " + s.By
	if s.Reason != "" {
		text += " (" + s.Reason + ")"
	}
	if lastError != "" {
		text += "; before that: " + lastError
	}
	return errors.New(text)
}

// standsNowhere notes that nothing of a batch is left to be delivered.
func (f *Forwarder) standsNowhere() {
	f.mu.Lock()
	order := f.skip
	f.skip, f.status.StandsAt = nil, nil
	f.mu.Unlock()
	order.refuse("sink %s does not stand at that event any more", f.name)
}

// endSkips refuses the order that Run has not carried out when it ends.
func (f *Forwarder) endSkips() {
	f.mu.Lock()
	order := f.skip
	f.skip, f.ran = nil, true
	f.mu.Unlock()
	order.refuse("sink %s is being stopped or replaced; try again", f.name)
}

// refuse answers an order; nil is none.
func (o *skipOrder) refuse(why string, args ...any) {
	if o != nil {
		o.done <- fmt.Errorf("%w: %s", ErrNotSkipped, fmt.Sprintf(why, args...))
	}
}

// standsAt notes the first event of those that an attempt could not deliver.
func (f *Forwarder) standsAt(group []*item) {
	ev := &group[0].event
	f.update(func(s *SinkStatus) {
		attempts := 1
		if s.StandsAt != nil && s.StandsAt.Event == ev.ID {
			attempts += s.StandsAt.Attempts
		}
		stands := &Standstill{Event: ev.ID, Type: ev.Type, Attempts: attempts, Batch: len(group)}
		if ev.Alert != nil {
			stands.Alert = ev.Alert.Ref()
		}
		s.StandsAt = stands
	})
}

// wake ends the current wait.
func (f *Forwarder) wake() {
	select {
	case f.resume <- struct{}{}:
	default: // a token is there already
	}
}

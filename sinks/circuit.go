package sinks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// The values of SinkStatus.State.
const (
	// StateOK: batches go out in full size.
	StateOK = "ok"
	// StateRecovering: the receiver answers again after an outage, and gets batches
	// that grow step by step.
	StateRecovering = "recovering"
	// StateRetrying: the receiver fails; after a few failures in a row, one event is
	// tried at a time.
	StateRetrying = "retrying"
	// StatePaused: the receiver refuses the configuration. One event is tried now and
	// then.
	StatePaused = "paused"
	// StateGone: the receiver said for good that it is not there. Nothing is tried
	// until a person resumes the sink, or its configuration changes.
	StateGone = "gone"
	// StateHeld: a person paused the sink.
	StateHeld = "held"
)

// The values of SinkStatus.Circuit.
const (
	CircuitClosed   = "closed"
	CircuitHalfOpen = "half-open"
	CircuitOpen     = "open"
)

// circuitOpensAt is how many failures in a row mean that the receiver is down and
// has no trouble with what it is sent: from there on, a single event is tried.
const circuitOpensAt = 3

// circuitOf is the state in the words of a circuit breaker.
func circuitOf(state string, trying bool) string {
	switch state {
	case StateOK:
		return CircuitClosed
	case StateRecovering:
		return CircuitHalfOpen
	case StateRetrying, StatePaused:
		if trying {
			return CircuitHalfOpen
		}
	}
	return CircuitOpen
}

// tellDownAfter is for how long a receiver may fail before the other sinks are told.
const tellDownAfter = 10 * time.Minute

// failed is a failure that passes. It returns how long to wait, and fails only when
// ctx ends.
func (f *Forwarder) failed(ctx context.Context, group []*item, err error) (time.Duration, error) {
	f.failures++
	now := f.o.Now()
	if f.failures == 1 {
		f.downSince, f.downTold = now, false
	}
	f.limit = max(1, len(group)/2) // what is too much for a struggling receiver may be too much in one go
	if f.failures >= circuitOpensAt {
		f.limit = 1
	}
	wait := f.backoff(f.failures)
	if asked, ok := errors.AsType[*RetryAfter](err); ok {
		wait = min(max(asked.Wait, f.o.MinBackoff), f.o.MaxRetryAfter)
	}
	if f.probes > 0 { // still paused: the receiver has not taken anything since
		f.probes++
		wait = max(wait, doubled(f.o.MinProbe, f.o.MaxProbe, f.probes))
	}
	level := f.log.Debug
	if f.failures == 1 {
		level = f.log.Warn
	}
	level("delivery failed, will try again", "events", len(group), "first", group[0].event.ID, "wait", wait, "err", err)
	f.update(func(s *SinkStatus) {
		if s.State != StatePaused {
			s.State = StateRetrying
		}
		s.LastError = oneLine(err.Error(), maxReasonBytes)
	})
	if f.downTold || f.probes > 0 || now.Sub(f.downSince) < tellDownAfter {
		return wait, nil
	}
	f.downTold = true
	return wait, f.tellPause(ctx, fmt.Sprintf("Sink %q has delivered nothing since %s: %s. Its events are kept, and it tries again by itself.",
		f.name, f.downSince.UTC().Format(time.RFC3339), oneLine(err.Error(), maxReasonBytes)))
}

// recovered notes that the receiver answers.
func (f *Forwarder) recovered() {
	if f.failures > 0 || f.probes > 0 {
		f.log.Info("receiver answers again", "failures", f.failures+f.probes)
	}
	f.failures, f.probes = 0, 0
	state := StateOK
	if f.limit < f.o.MaxBatch {
		state = StateRecovering
	}
	f.update(func(s *SinkStatus) { s.State, s.LastError, s.NextTry, s.StandsAt = state, "", time.Time{}, nil })
}

// caughtUp ends the slow start: what had piled up is delivered.
func (f *Forwarder) caughtUp() {
	if f.failures > 0 || f.probes > 0 || f.limit >= f.o.MaxBatch {
		return
	}
	f.limit = f.o.MaxBatch
	f.recovered()
}

// stopped pauses the sink: a person has to mend something. Nothing is dropped;
// one event is tried now and then, and the first that goes through ends it.
func (f *Forwarder) stopped(ctx context.Context, cause error) (time.Duration, error) {
	f.probes++
	f.limit = 1
	wait := doubled(f.o.MinProbe, f.o.MaxProbe, f.probes)
	text := oneLine(cause.Error(), maxReasonBytes)
	f.update(func(s *SinkStatus) { s.State, s.LastError = StatePaused, text })
	if f.probes > 1 {
		f.log.Debug("sink is still paused", "wait", wait, "err", cause)
		return wait, nil
	}
	f.log.Error("sink is paused, its events are kept", "wait", wait, "err", cause)
	return wait, f.tellPause(ctx, fmt.Sprintf(
		"Sink %q is paused: %s. Its events are kept; it goes on by itself when the receiver accepts them. "+
			"Where it is about one event only, erbridge sinks skip %s passes over that one.", f.name, text, f.name))
}

// wentAway ends the deliveries to a receiver that is gone for good: it asked not to
// be tried again.
func (f *Forwarder) wentAway(ctx context.Context, cause error) error {
	f.limit = 1
	text := oneLine(cause.Error(), maxReasonBytes)
	f.mu.Lock()
	told := f.status.State == StateGone
	f.gone = true
	f.status.State, f.status.LastError, f.status.NextTry = StateGone, text, time.Time{}
	f.mu.Unlock()
	f.log.Error("receiver is gone for good, nothing is tried until the sink is resumed; its events are kept", "err", cause)
	if told {
		return nil
	}
	return f.tellPause(ctx, fmt.Sprintf(
		"Sink %q is off: %s. The receiver says that it is gone for good. Events are kept and nothing is tried: "+
			"give the sink another address, or let it try again with erbridge sinks resume %s.", f.name, text, f.name))
}

// tellPause tells the other sinks. A receiver that comes and goes is told about
// once in a while.
func (f *Forwarder) tellPause(ctx context.Context, text string) error {
	now := f.o.Now().UTC()
	if !f.lastTrouble.IsZero() && now.Sub(f.lastTrouble) < troubleEvery {
		return nil
	}
	f.lastTrouble = now
	trouble := soar.Event{ID: fmt.Sprintf("%s%d", pausedPrefix(f.name), now.UnixMilli()), Type: soar.EventTrouble, At: now, Text: text}
	return f.insist(ctx, "tell that the sink is paused", func() error {
		return f.record(ctx, soar.Change{Events: []soar.Event{trouble}})
	})
}

// pausedPrefix begins the ids of the events that tell of a sink's pause. They go
// to all sinks but that one: what is about siem-eu is told to siem, since the name of
// no sink has a slash in it.
func pausedPrefix(sink string) string { return "sink-paused-" + sink + "/" }

// mayTry waits while nothing may be sent: a person holds the sink, or its receiver
// is gone. Before it returns, what is over the bound of the backlog is dropped, and
// what a person skips is set aside.
func (f *Forwarder) mayTry(ctx context.Context, b *batch) error {
	for {
		if err := f.bound(ctx, b); err != nil {
			return err
		}
		if err := f.skipHead(ctx, b); err != nil {
			return err
		}
		f.mu.Lock()
		shut := f.held != nil || f.gone
		f.mu.Unlock()
		if !shut || len(b.groups) == 0 {
			return nil
		}
		f.setOldest(b.oldest())
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.resume:
		case <-time.After(boundEvery):
		}
	}
}

// pause waits until the time is over or Resume is called.
func (f *Forwarder) pause(ctx context.Context, wait time.Duration) error {
	if wait <= 0 || f.skipOrdered() != nil {
		return nil
	}
	f.update(func(s *SinkStatus) { s.NextTry = f.o.Now().UTC().Add(wait) })
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-f.resume:
		f.log.Info("told to try again now")
	case <-time.After(wait):
	}
	return nil
}

// Resume ends the current wait: a sink that is paused, retrying or gone tries at
// once. One that a person holds stays held. Safe for concurrent use.
func (f *Forwarder) Resume() {
	f.mu.Lock()
	f.gone = false
	f.mu.Unlock()
	f.wake()
}

func (f *Forwarder) setTrying(trying bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trying = trying
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

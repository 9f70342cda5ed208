package sinks

import "fmt"

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
// double what it kept; so people are told in the log, and the metric counts.
func (f *Forwarder) lost(group []*item, err *LostError) {
	f.log.Error("receiver threw a part of a batch away, it is not sent again", "events", len(group), "lost", err.Events,
		"first", group[0].event.ID, "last", group[len(group)-1].event.ID, "err", err)
	f.metrics.count(outcomeLost, min(err.Events, len(group)))
	f.delivered(group)
}

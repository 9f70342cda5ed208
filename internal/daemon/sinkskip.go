package daemon

import (
	"context"
	"slices"

	"github.com/erbridge/erbridge/sinks"
)

// SkipOrder is a person's word to pass over the event at which a sink stands.
type SkipOrder struct {
	Sink string `json:"sink"`
	// Event is the id of the event that is meant; empty is whichever it is.
	Event  string `json:"event,omitempty"`
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
}

// Skipped is what was passed over.
type Skipped struct {
	sinks.Standstill
	// State is that of the sink when it was asked.
	State string `json:"state"`
}

// SkipAtSink passes over the event at which a sink stands. An error wraps
// sinks.ErrNotSkipped when it stands at none, or at another one.
func (d *Daemon) SkipAtSink(ctx context.Context, o SkipOrder) (Skipped, error) {
	// A reload is not kept off: an attempt that hangs would hold it up. The order is
	// refused when its forwarder is replaced.
	f, err := d.forwarder(o.Sink)
	if err != nil {
		return Skipped{}, err
	}
	state := f.Status().State
	skipped, err := f.Skip(ctx, sinks.Skip{Event: o.Event, By: o.By, Reason: o.Reason})
	return Skipped{skipped, state}, err
}

// SkipAtSink needs a daemon: nobody else knows at which event a sink stands.
func (f *offline) SkipAtSink(_ context.Context, o SkipOrder) (Skipped, error) {
	if !slices.Contains(f.cfg.Sinks.Names(), o.Sink) {
		return Skipped{}, unknownSink(o.Sink, f.cfg.Sinks)
	}
	return Skipped{}, ErrNotRunning
}

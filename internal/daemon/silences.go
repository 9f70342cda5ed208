package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

// SilenceOrder is a person's wish to keep alerts out of a sink for a while.
type SilenceOrder struct {
	Silence sinks.Silence `json:"silence"`
	// Alert is an Alert.Ref: alerts like that one, of its rule and on its host. It
	// replaces Silence.Rule and Silence.Host.
	Alert string `json:"alert,omitempty"`
	// Anywhere means alerts like Alert on every host.
	Anywhere bool `json:"anywhere,omitempty"`
}

// SilenceEnd is a person's wish to end a silence before its time.
type SilenceEnd struct {
	ID     string `json:"id"`
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
}

// silencer is what silences need of the store.
type silencer interface {
	sinks.KV
	AlertByRef(ctx context.Context, ref string) (soar.StoredAlert, error)
}

// order carries out the order; st is the store behind the silences.
func (o SilenceOrder) order(ctx context.Context, silences *sinks.Silences, st silencer, known config.Sinks) (sinks.Silence, error) {
	s := o.Silence
	if s.Sink != "" && !slices.Contains(known.Names(), s.Sink) {
		return sinks.Silence{}, unknownSink(s.Sink, known)
	}
	if o.Alert != "" {
		alert, err := st.AlertByRef(ctx, o.Alert)
		if err != nil {
			return sinks.Silence{}, err // it names the alert
		}
		like := sinks.SilenceLike(s.Sink, &alert.Alert, !o.Anywhere)
		s.Rule, s.Host = like.Rule, like.Host
	}
	return silences.Add(ctx, s)
}

// Silences lists what is kept out of sinks.
func (d *Daemon) Silences(context.Context) ([]sinks.Silence, error) {
	silences, err := d.heldSilences()
	if err != nil {
		return nil, err
	}
	return silences.List(), nil
}

// AddSilence keeps alerts out of a sink for a while.
func (d *Daemon) AddSilence(ctx context.Context, o SilenceOrder) (sinks.Silence, error) {
	silences, err := d.heldSilences()
	if err != nil {
		return sinks.Silence{}, err
	}
	return o.order(ctx, silences, d.Store(), d.configured())
}

// EndSilence ends a silence before its time, and returns it.
func (d *Daemon) EndSilence(ctx context.Context, e SilenceEnd) (sinks.Silence, error) {
	silences, err := d.heldSilences()
	if err != nil {
		return sinks.Silence{}, err
	}
	return silences.End(ctx, e.ID, e.By, e.Reason)
}

func (d *Daemon) heldSilences() (*sinks.Silences, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.silences == nil {
		return nil, errors.New("erbridge is starting; try again")
	}
	return d.silences, nil
}

// silences are those in the store.
func (f *offline) silences(ctx context.Context) (*sinks.Silences, error) {
	st, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	silences := sinks.NewSilences(st, f.o.Now)
	if err := silences.Load(ctx); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return silences, nil
}

func (f *offline) Silences(ctx context.Context) ([]sinks.Silence, error) {
	silences, err := f.silences(ctx)
	if err != nil {
		return nil, err
	}
	return silences.List(), nil
}

func (f *offline) AddSilence(ctx context.Context, o SilenceOrder) (sinks.Silence, error) {
	silences, err := f.silences(ctx)
	if err != nil {
		return sinks.Silence{}, err
	}
	return o.order(ctx, silences, f.store, f.cfg.Sinks)
}

func (f *offline) EndSilence(ctx context.Context, e SilenceEnd) (sinks.Silence, error) {
	silences, err := f.silences(ctx)
	if err != nil {
		return sinks.Silence{}, err
	}
	return silences.End(ctx, e.ID, e.By, e.Reason)
}

func (c *controlClient) Silences(ctx context.Context) ([]sinks.Silence, error) {
	answer, err := c.call(ctx, "silences", controlCall{})
	return answer.Silences, err
}

func (c *controlClient) AddSilence(ctx context.Context, o SilenceOrder) (sinks.Silence, error) {
	answer, err := c.call(ctx, "silence-add", controlCall{Silence: o})
	return oneSilence(answer, err)
}

func (c *controlClient) EndSilence(ctx context.Context, e SilenceEnd) (sinks.Silence, error) {
	answer, err := c.call(ctx, "silence-end", controlCall{SilenceEnd: e})
	return oneSilence(answer, err)
}

func oneSilence(answer controlAnswer, err error) (sinks.Silence, error) {
	if err == nil && len(answer.Silences) != 1 {
		err = errors.New("control socket: the answer has no silence in it")
	}
	if err != nil {
		return sinks.Silence{}, err
	}
	return answer.Silences[0], nil
}

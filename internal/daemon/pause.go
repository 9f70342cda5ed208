package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// PauseOrder is a person's word that nothing with an effect is to be sent any more.
type PauseOrder struct {
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
}

// PauseState tells whether everything is paused.
type PauseState struct {
	// Paused says who paused it, when and why; nil: nobody.
	Paused *guard.Thrown `json:"paused"`
	// CutOff is how many calls had to be cut off.
	CutOff int `json:"cut_off,omitempty"`
	// Offline is set when no daemon runs: it holds from the next start on.
	Offline bool `json:"offline,omitempty"`
}

// Pause throws the kill switch. When it returns, no call with an effect is being sent.
func (d *Daemon) Pause(ctx context.Context, o PauseOrder) (PauseState, error) {
	engine, err := d.startedEngine(ctx)
	if err != nil {
		return PauseState{}, err
	}
	// An order that was given is carried out, also when the caller hangs up.
	cut, err := engine.Pause(context.WithoutCancel(ctx), o.By, o.Reason)
	return PauseState{Paused: engine.Guard().Paused(), CutOff: cut}, err
}

// Resume takes the kill switch back; the answer tells what still keeps it thrown.
func (d *Daemon) Resume(ctx context.Context, by string) (PauseState, error) {
	engine, err := d.startedEngine(ctx)
	if err != nil {
		return PauseState{}, err
	}
	err = engine.Resume(context.WithoutCancel(ctx), by)
	return PauseState{Paused: engine.Guard().Paused()}, err
}

// startedEngine waits for the engine of a daemon that is starting.
func (d *Daemon) startedEngine(ctx context.Context) (*playbooks.Engine, error) {
	d.mu.Lock()
	g := d.group
	d.mu.Unlock()
	if g == nil {
		return nil, errors.New("erbridge is starting; try again")
	}
	select {
	case <-d.ready:
	case <-g.Done():
		return nil, errors.New("erbridge is stopping: no call is sent, and the switch can be thrown in the store when it has ended")
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.engine, nil
}

// paused is 1 while everything is paused.
func (d *Daemon) paused() float64 {
	if d.guard.Paused() != nil {
		return 1
	}
	return 0
}

// Paused reads from a store whether a person has paused everything; nil: nobody has.
func Paused(ctx context.Context, r *store.Reader) (*guard.Thrown, error) {
	g, err := guard.New(guard.Settings{})
	if err == nil {
		err = g.Load(func(prefix string) ([]soar.KV, error) { return r.KV(ctx, prefix) })
	}
	if err != nil {
		return nil, err
	}
	return g.Paused(), nil
}

// Pause writes into the store that everything is paused from the next start on.
func (f *offline) Pause(ctx context.Context, o PauseOrder) (PauseState, error) {
	t := guard.Thrown{By: o.By, Reason: o.Reason, At: f.o.Now().UTC()}
	g, err := guard.New(guard.Settings{})
	if err != nil {
		return PauseState{}, err
	}
	err = f.commit(ctx, guard.PauseChange(t, g.Pause(t)))
	return PauseState{Paused: &t, Offline: true}, err
}

// Resume removes that from the store.
func (f *offline) Resume(ctx context.Context, by string) (PauseState, error) {
	now := f.o.Now()
	err := f.commit(ctx, guard.ResumeChange(by, now.UTC()))
	return PauseState{Paused: PausedByFile(f.cfg, now), Offline: true}, err
}

func (f *offline) commit(ctx context.Context, c soar.Change) error {
	st, err := f.open(ctx)
	if err != nil {
		return err
	}
	if _, err := st.Commit(ctx, c); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

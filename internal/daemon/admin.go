package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
	"github.com/erbridge/erbridge/sinks"
)

// Settle ends the doubt about a step of a run.
func (d *Daemon) Settle(ctx context.Context, s Settlement) error {
	d.mu.Lock()
	engine := d.engine
	d.mu.Unlock()
	if engine == nil {
		return errors.New("the engine has not started yet")
	}
	return engine.Settle(ctx, s.Run, s.Step, s.Happened, s.By, s.Reason)
}

// Cancel calls off a run, or a step of it that waits.
func (d *Daemon) Cancel(ctx context.Context, c playbooks.Cancellation) (soar.Run, error) {
	d.mu.Lock()
	engine := d.engine
	d.mu.Unlock()
	if engine == nil {
		return soar.Run{}, errors.New("the engine has not started yet")
	}
	return engine.Cancel(ctx, c)
}

// Undo takes back what a run did, or a step of it.
func (d *Daemon) Undo(ctx context.Context, o playbooks.UndoOrder) (playbooks.Undoing, error) {
	d.mu.Lock()
	engine := d.engine
	d.mu.Unlock()
	if engine == nil {
		return playbooks.Undoing{}, errors.New("the engine has not started yet")
	}
	return engine.Undo(ctx, o)
}

// Extend moves the time at which something is taken back by itself.
func (d *Daemon) Extend(ctx context.Context, x playbooks.Extension) ([]playbooks.ExtendedStep, error) {
	d.mu.Lock()
	engine := d.engine
	d.mu.Unlock()
	if engine == nil {
		return nil, errors.New("the engine has not started yet")
	}
	return engine.Extend(ctx, x)
}

// StartRun runs a playbook by hand.
func (d *Daemon) StartRun(ctx context.Context, s RunStart) (soar.Run, error) {
	d.mu.Lock()
	engine, st := d.engine, d.store
	d.mu.Unlock()
	if engine == nil {
		return soar.Run{}, errors.New("the engine has not started yet")
	}
	m := playbooks.Manual{Playbook: s.Playbook, Input: s.Input, By: s.By, Enforce: s.Enforce}
	if s.Alert != "" {
		alert, err := st.AlertByRef(ctx, s.Alert)
		if err != nil {
			return soar.Run{}, err // it names the alert
		}
		m.Alert = &alert
	}
	return engine.Start(ctx, m)
}

// Approvals lists what playbooks ask people, decided ones included.
func (d *Daemon) Approvals(ctx context.Context) ([]soar.Approval, error) {
	engine, err := d.started()
	if err != nil {
		return nil, err
	}
	return engine.Approvals(ctx)
}

// Decide takes a person's answer to an approval.
func (d *Daemon) Decide(ctx context.Context, approval string, v soar.Vote) (soar.Approval, error) {
	engine, err := d.started()
	if err != nil {
		return soar.Approval{}, err
	}
	return engine.Decide(ctx, approval, v)
}

// started is the engine, once there is one.
func (d *Daemon) started() (*playbooks.Engine, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.engine == nil {
		return nil, errors.New("the engine has not started yet")
	}
	return d.engine, nil
}

// TestSink sends one test event through a fresh connection of a sink, past its
// queue and its conditions.
func (d *Daemon) TestSink(ctx context.Context, name string) error {
	return testSink(ctx, d.configured(), name, d.o, sinks.NewState(d.Store(), name, d.o.Now))
}

func (d *Daemon) configured() config.Sinks {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cfg.Sinks
}

func unknownSink(name string, known config.Sinks) error {
	hint := ""
	if near := registry.Nearest(name, known.Names()); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	} else if len(known) > 0 {
		hint = "; there are " + strings.Join(known.Names(), ", ")
	}
	return fmt.Errorf("sink %q: %w%s", name, soar.ErrNotFound, hint)
}

// testPatience bounds one test of a sink.
const testPatience = 30 * time.Second

func testSink(ctx context.Context, configured config.Sinks, name string, o Options, state sinks.State) error {
	for i := range configured {
		c := &configured[i]
		if c.Name != name {
			continue
		}
		sink, err := c.Open(sinks.Env{Log: o.Log, Version: o.Version, State: state, Now: o.Now})
		if err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
		ctx, cancel := context.WithTimeout(ctx, testPatience)
		defer cancel()
		now := o.Now().UTC()
		err = sink.Send(ctx, []soar.Event{{
			ID: fmt.Sprintf("test/%s/%d", name, now.UnixNano()), Type: soar.EventTest, At: now, To: name,
			Text: "This is a test by erbridge. It needs no answer.",
		}})
		if err != nil {
			return errors.Join(fmt.Errorf("sink %s: %w", name, err), sink.Close())
		}
		return sink.Close()
	}
	return unknownSink(name, configured)
}

// OpenControl finds the daemon that uses the configured store. Where none runs,
// it opens the store itself, and the calls that need a daemon return
// ErrNotRunning. close gives back what was opened.
func OpenControl(ctx context.Context, cfg *config.Config, o Options) (c Control, release func() error, err error) {
	client, err := dialControl(ctx, cfg.Store.Path)
	if err == nil {
		return client, func() error { return nil }, nil
	}
	if !errors.Is(err, ErrNotRunning) {
		return nil, nil, err
	}
	if o.Log == nil {
		o.Log = discardLog()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	off := &offline{cfg: cfg, o: o}
	return off, off.close, nil
}

// OpenRunning finds the daemon that uses the store in a folder. An error wraps
// ErrNotRunning when there is none.
func OpenRunning(ctx context.Context, dir string) (Control, error) {
	client, err := dialControl(ctx, dir)
	if err != nil {
		return nil, err
	}
	return client, nil
}

// offline is Control without a daemon. The store is opened by the first call that
// needs it.
type offline struct {
	cfg     *config.Config
	o       Options
	store   *store.Store
	running *part
}

func (f *offline) open(ctx context.Context) (*store.Store, error) {
	if f.store != nil {
		return f.store, nil
	}
	o := f.o
	o.Metrics = nil
	options := storeOptions(f.cfg, o)
	options.Registerer = nil
	st, err := store.Open(ctx, f.cfg.Store.Path, options)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	f.store, f.running = st, newGroup(ctx).start("store", st.Run)
	return st, nil
}

func (f *offline) close() error {
	if f.store == nil {
		return nil
	}
	return errors.Join(stop(storeFlush, f.running), f.store.Close())
}

func (f *offline) Settle(ctx context.Context, s Settlement) error {
	engine, err := f.engine(ctx)
	if err != nil {
		return err
	}
	return engine.Settle(ctx, s.Run, s.Step, s.Happened, s.By, s.Reason)
}

// Cancel calls off a run. Steps that were sent are waited for once a daemon runs.
func (f *offline) Cancel(ctx context.Context, c playbooks.Cancellation) (soar.Run, error) {
	engine, err := f.engine(ctx)
	if err != nil {
		return soar.Run{}, err
	}
	return engine.Cancel(ctx, c)
}

// Undo makes the run that takes something back. It begins once a daemon runs.
func (f *offline) Undo(ctx context.Context, o playbooks.UndoOrder) (playbooks.Undoing, error) {
	engine, err := f.engine(ctx)
	if err != nil {
		return playbooks.Undoing{}, err
	}
	return engine.Undo(ctx, o)
}

// Extend moves the time at which something is taken back by itself.
func (f *offline) Extend(ctx context.Context, x playbooks.Extension) ([]playbooks.ExtendedStep, error) {
	engine, err := f.engine(ctx)
	if err != nil {
		return nil, err
	}
	return engine.Extend(ctx, x)
}

// engine is one that does nothing by itself.
func (f *offline) engine(ctx context.Context) (*playbooks.Engine, error) {
	st, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	bound, err := boundActions(f.cfg, nil, nil, f.o, nil)
	if err != nil {
		return nil, err
	}
	return playbooks.NewEngine(st, bound, nil, playbooks.EngineOptions{Log: f.o.Log, Now: f.o.Now, Ceiling: f.cfg.Playbooks.Mode})
}

func (f *offline) TestSink(ctx context.Context, name string) error {
	st, err := f.open(ctx)
	if err != nil {
		return err
	}
	return testSink(ctx, f.cfg.Sinks, name, f.o, sinks.NewState(st, name, f.o.Now))
}

func (f *offline) StartRun(context.Context, RunStart) (soar.Run, error) {
	return soar.Run{}, ErrNotRunning
}

func (f *offline) Approvals(ctx context.Context) ([]soar.Approval, error) {
	st, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	return guard.ReadApprovals(func(prefix string) ([]soar.KV, error) { return st.KV(ctx, prefix) }, f.o.Now().UTC())
}

// Decide needs a daemon: everything is checked again before the call is sent.
func (f *offline) Decide(context.Context, string, soar.Vote) (soar.Approval, error) {
	return soar.Approval{}, ErrNotRunning
}

func (f *offline) Reload(context.Context) (Reloaded, error) { return Reloaded{}, ErrNotRunning }

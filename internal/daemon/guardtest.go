package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// GuardQuestion is a call of which a person wants to know what would become of it.
type GuardQuestion struct {
	Action   string         `json:"action"`
	Host     string         `json:"host,omitempty"`
	With     map[string]any `json:"with,omitempty"`
	Playbook string         `json:"playbook,omitempty"`
	Alert    string         `json:"alert,omitempty"` // Alert.Ref; empty: none
}

// alerts is where the alert of a question is.
type alerts interface {
	AlertByRef(ctx context.Context, ref string) (soar.StoredAlert, error)
}

func (q *GuardQuestion) read(ctx context.Context, from alerts) (playbooks.GuardQuestion, error) {
	out := playbooks.GuardQuestion{Action: q.Action, Host: q.Host, With: q.With, Playbook: q.Playbook}
	if q.Alert != "" {
		stored, err := from.AlertByRef(ctx, q.Alert)
		if err != nil {
			return out, err // it names the alert
		}
		out.Alert = &stored.Alert
	}
	return out, nil
}

// TestGuard tells what would become of a call now.
func (d *Daemon) TestGuard(ctx context.Context, q GuardQuestion) (*playbooks.GuardAnswer, error) {
	engine, err := d.startedEngine(ctx)
	if err != nil {
		return nil, err
	}
	question, err := q.read(ctx, d.Store())
	if err == nil {
		err = nameHost(ctx, d.client, &question)
	}
	if err != nil {
		return nil, err
	}
	return engine.TestGuard(ctx, question)
}

// TestGuard asks a guard that knows what the store says, and looks at hosts on the
// server itself. It writes nothing, and needs no store.
func (f *offline) TestGuard(ctx context.Context, q GuardQuestion) (answer *playbooks.GuardAnswer, err error) {
	from, done, err := f.look(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	question, err := q.read(ctx, from)
	if err != nil {
		return nil, err
	}
	client, err := NewClient(f.cfg, f.o)
	if err != nil {
		return nil, err
	}
	carves, err := OpenCarves(f.cfg, f.o)
	if err != nil {
		return nil, err
	}
	known, err := boundActions(f.cfg, client, carves, f.o, nil)
	if err != nil {
		return nil, err
	}
	if err := nameHost(ctx, client, &question); err != nil {
		return nil, err
	}
	set, err := LoadPlaybooks(f.cfg, known)
	if err != nil {
		return nil, err
	}
	g, err := StoredGuard(ctx, f.cfg, from, f.o.Now())
	if err != nil {
		return nil, err
	}
	g.SetOwn(ownMachines(ctx, f.cfg, systemResolver))
	return playbooks.TestGuard(ctx, question, set, playbooks.ExplainOptions{Actions: known, Guard: g, Ceiling: f.cfg.Playbooks.Mode, Now: f.o.Now})
}

// looker is a store that is only looked at.
type looker interface {
	values
	alerts
}

// look opens the store for reading, or stands for one in which nothing is.
func (f *offline) look(ctx context.Context) (from looker, done func() error, err error) {
	r, err := store.OpenReader(ctx, f.cfg.Store.Path)
	switch {
	case errors.Is(err, store.ErrNoStore):
		return nothing{}, func() error { return nil }, nil
	case err != nil:
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	return r, r.Close, nil
}

// nothing is a store that was never written to.
type nothing struct{}

func (nothing) KV(context.Context, string) ([]soar.KV, error) { return nil, nil }

func (nothing) AlertByRef(_ context.Context, ref string) (soar.StoredAlert, error) {
	return soar.StoredAlert{}, fmt.Errorf("alert %s: %w", ref, soar.ErrNotFound)
}

// values is a store as far as the guard keeps something there.
type values interface {
	KV(ctx context.Context, prefix string) ([]soar.KV, error)
}

// StoredGuard is the guard of a configuration with what the store says that it knows.
// It looks no names up: the server and this machine are known by name and by the
// addresses that stand in the configuration. Without a store it knows nothing else.
func StoredGuard(ctx context.Context, cfg *config.Config, from values, now time.Time) (*guard.Guard, error) {
	g, err := guard.New(cfg.Guard)
	if err == nil && from != nil {
		err = g.Load(func(prefix string) ([]soar.KV, error) { return from.KV(ctx, prefix) })
	}
	if err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	g.PauseFile(PausedByFile(cfg, now))
	g.SetOwn(ownMachines(ctx, cfg, func(context.Context, string) ([]netip.Addr, error) { return nil, nil }))
	return g, nil
}

// RehearsalGuard is the guard of a configuration for what is only played through: its
// hosts, modes and freezes, and nothing of what is paused or used up today.
func RehearsalGuard(ctx context.Context, cfg *config.Config) (*guard.Guard, error) {
	g, err := StoredGuard(ctx, cfg, nil, time.Time{})
	if err == nil {
		g.PauseFile(nil)
	}
	return g, err
}

func (c *controlClient) TestGuard(ctx context.Context, q GuardQuestion) (*playbooks.GuardAnswer, error) {
	answer, err := c.call(ctx, "guard-test", controlCall{Question: q})
	return answer.Guard, err
}

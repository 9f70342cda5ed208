package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/soar"
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
	if err != nil {
		return nil, err
	}
	return engine.TestGuard(ctx, question)
}

// TestGuard asks a guard that knows what the store says, and looks at hosts on the
// server itself.
func (f *offline) TestGuard(ctx context.Context, q GuardQuestion) (*playbooks.GuardAnswer, error) {
	st, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	question, err := q.read(ctx, st)
	if err != nil {
		return nil, err
	}
	known, err := OnlineActions(f.cfg, f.o)
	if err != nil {
		return nil, err
	}
	set, err := LoadPlaybooks(f.cfg, known)
	if err != nil {
		return nil, err
	}
	g, err := StoredGuard(ctx, f.cfg, st, f.o.Now())
	if err != nil {
		return nil, err
	}
	g.SetOwn(ownMachines(ctx, f.cfg, systemResolver))
	return playbooks.TestGuard(ctx, question, set, playbooks.ExplainOptions{Actions: known, Guard: g, Ceiling: f.cfg.Playbooks.Mode, Now: f.o.Now})
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

func (c *controlClient) TestGuard(ctx context.Context, q GuardQuestion) (*playbooks.GuardAnswer, error) {
	answer, err := c.call(ctx, "guard-test", controlCall{Question: q})
	return answer.Guard, err
}

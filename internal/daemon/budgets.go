package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// Rearming is a person's word that a latched budget may be used again.
type Rearming struct {
	Budget string `json:"budget"`
	By     string `json:"by"`
	Reason string `json:"reason"`
}

func (r *Rearming) check() error {
	if r.By == "" || r.Reason == "" {
		return errors.New("who re-arms a budget says so by name, and why")
	}
	return nil
}

// Budgets tells how far each budget of the guard is used.
func (d *Daemon) Budgets(ctx context.Context) ([]guard.BudgetStatus, error) {
	engine, err := d.engineNow()
	if err != nil {
		return nil, err
	}
	return engine.Budgets(ctx)
}

// RearmBudget lets calls go out again that a latched budget refuses.
func (d *Daemon) RearmBudget(ctx context.Context, r Rearming) error {
	if err := r.check(); err != nil {
		return err
	}
	engine, err := d.engineNow()
	if err != nil {
		return err
	}
	return engine.RearmBudget(ctx, r.Budget, r.By, r.Reason)
}

func (d *Daemon) engineNow() (*playbooks.Engine, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.engine == nil {
		return nil, errors.New("the engine has not started yet")
	}
	return d.engine, nil
}

func (f *offline) Budgets(ctx context.Context) ([]guard.BudgetStatus, error) {
	from, done, err := f.look(ctx)
	if err != nil {
		return nil, err
	}
	g, err := StoredGuard(ctx, f.cfg, from, f.o.Now())
	if err := errors.Join(err, done()); err != nil {
		return nil, err
	}
	return g.Budgets(f.o.Now()), nil
}

func (f *offline) RearmBudget(ctx context.Context, r Rearming) error {
	if err := r.check(); err != nil {
		return err
	}
	g, err := f.guard(ctx)
	if err != nil {
		return err
	}
	return playbooks.RearmBudget(ctx, f.store, g, r.Budget, guard.Rearmed{By: r.By, Reason: r.Reason, At: f.o.Now().UTC()})
}

// guard is what the store says that the guard of a daemon would know.
func (f *offline) guard(ctx context.Context) (*guard.Guard, error) {
	st, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	return StoredGuard(ctx, f.cfg, st, f.o.Now())
}

func (c *controlClient) Budgets(ctx context.Context) ([]guard.BudgetStatus, error) {
	answer, err := c.call(ctx, "budgets", controlCall{})
	return answer.Budgets, err
}

func (c *controlClient) RearmBudget(ctx context.Context, r Rearming) error {
	_, err := c.call(ctx, "budget-rearm", controlCall{Rearming: r})
	return err
}

const (
	// countHosts is how often the hosts of the server are counted.
	countHosts = 5 * time.Minute
	// countAgain is how soon that is tried again when it failed.
	countAgain = time.Minute
)

// watchFleet tells the guard how many hosts there are. While the server does not say, the
// number that it said last holds.
func (d *Daemon) watchFleet(ctx context.Context) error {
	failing := false
	for {
		next := countHosts
		n, err := d.countFleet(ctx)
		if err == nil {
			err = d.engine.SetFleet(ctx, n)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			if next = countAgain; !failing {
				d.log.Warn("cannot count the hosts, budgets go on with the number known last", "err", err)
			}
			failing = true
		default:
			failing = false
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(next):
		}
	}
}

// countFleet is how many hosts there are that can be acted on, now or later.
func (d *Daemon) countFleet(ctx context.Context) (n int, err error) {
	platforms, err := d.client.Hosts.Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count hosts: %w", err)
	}
	for _, p := range platforms {
		n += p.Online + p.Offline
	}
	return n, nil
}

package playbooks

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// Budgets tells how far each budget of the guard is used.
func (e *Engine) Budgets(ctx context.Context) ([]guard.BudgetStatus, error) {
	if err := e.waitLoaded(ctx); err != nil {
		return nil, err
	}
	return e.guard.Budgets(e.options.Now()), nil
}

// RearmBudget lets calls go out again that a latched budget refuses; it counts anew from
// then on. Steps that were refused stay refused. An error wraps soar.ErrNotFound when there
// is no such budget, and guard.ErrNotLatched when there is nothing to re-arm.
func (e *Engine) RearmBudget(ctx context.Context, name, by, reason string) error {
	if err := e.waitLoaded(ctx); err != nil {
		return err
	}
	if err := RearmBudget(ctx, e.journal, e.guard, name, guard.Rearmed{By: by, Reason: reason, At: e.options.Now().UTC()}); err != nil {
		return err
	}
	e.options.Log.Warn("a budget is re-armed", "budget", name, "by", by, "reason", reason)
	return nil
}

// RearmBudget is the method of Engine for a guard that no engine works with.
func RearmBudget(ctx context.Context, j Committer, g *guard.Guard, name string, who guard.Rearmed) error {
	kvs, done, err := g.Rearm(name, who)
	if err != nil {
		return err
	}
	act := soar.Act{At: who.At, By: who.By, What: fmt.Sprintf("budget %q re-armed", name), Reason: who.Reason}
	if _, err := j.Commit(ctx, soar.Change{KV: kvs, Acts: []soar.Act{act}}); err != nil {
		return fmt.Errorf("budget %q stays latched: %w", name, err)
	}
	done()
	return nil
}

// Committer writes changes down.
type Committer interface {
	Commit(ctx context.Context, c soar.Change) (soar.Committed, error)
}

// SetFleet tells the guard how many hosts the server has, which budgets of a share are
// about. The number is kept until another one is told.
func (e *Engine) SetFleet(ctx context.Context, hosts int) error {
	if err := e.waitLoaded(ctx); err != nil {
		return err
	}
	kvs := e.guard.SetFleet(hosts)
	if len(kvs) == 0 {
		return nil
	}
	if _, err := e.journal.Commit(ctx, soar.Change{KV: kvs}); err != nil {
		return fmt.Errorf("the number of hosts holds until the next start only: %w", err)
	}
	return nil
}

// budgetMetrics tells how far budgets are used when it is asked.
type budgetMetrics struct{ e *Engine }

var (
	budgetUsed = prometheus.NewDesc("erbridge_budget_used_hosts",
		"Different hosts that count for a budget of the guard now; where it counts by playbook or action, those of the fullest.", []string{"budget"}, nil)
	budgetLimit = prometheus.NewDesc("erbridge_budget_limit_hosts",
		"Different hosts that there may be within the window of a budget.", []string{"budget"}, nil)
	budgetLatched = prometheus.NewDesc("erbridge_budget_latched",
		"1 while a budget has latched and refuses what it is about: see erbridge budget show.", []string{"budget"}, nil)
	budgetTrips = prometheus.NewDesc("erbridge_budget_trips_total",
		"How often a budget has latched.", []string{"budget"}, nil)
)

// Describe implements prometheus.Collector.
func (m budgetMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{budgetUsed, budgetLimit, budgetLatched, budgetTrips} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m budgetMetrics) Collect(ch chan<- prometheus.Metric) {
	all := m.e.guard.Budgets(m.e.options.Now())
	used, latched := map[string]int{}, map[string]int{}
	for _, b := range all {
		used[b.Name] = max(used[b.Name], b.Used)
		if b.Latched != nil {
			latched[b.Name] = 1
		}
	}
	told := map[string]bool{}
	for _, b := range all {
		if told[b.Name] {
			continue
		}
		told[b.Name] = true
		gauge := func(d *prometheus.Desc, v int) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), b.Name)
		}
		gauge(budgetUsed, used[b.Name])
		gauge(budgetLimit, b.Limit)
		gauge(budgetLatched, latched[b.Name])
		ch <- prometheus.MustNewConstMetric(budgetTrips, prometheus.CounterValue, float64(b.Trips), b.Name)
	}
}

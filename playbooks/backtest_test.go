package playbooks

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// came is an alert as the store has it, minutes after three o'clock.
func came(n, minutes int, change func(*soar.Alert)) *soar.StoredAlert {
	a := soar.StoredAlert{Key: int64(n), Alert: testAlert(fmt.Sprint(n))}
	a.ReceivedAt = time.Date(2026, 11, 22, 3, minutes, 0, 0, time.UTC)
	a.Alert.CreatedAt = a.ReceivedAt.Add(-time.Minute)
	if change != nil {
		change(&a.Alert)
	}
	return &a
}

func backtested(t *testing.T, b *Backtest, err error, alerts ...*soar.StoredAlert) map[string]PlaybookBacktest {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range alerts {
		if err := b.Add(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	results := map[string]PlaybookBacktest{}
	for _, r := range b.Report().Results {
		results[r.Playbook] = r
	}
	return results
}

// Nothing is called: what needs a look-up is unknown, unless the rest decides.
func TestBacktestLooksNothingUp(t *testing.T) {
	server := newFakeServer()
	actions := server.actions()
	server.add(actions, hostGet, Reads, nil)
	set := loadText(t, actions, `
playbook: condition
enrich: {x: {do: fake.read}}
match:
  all: [{it is high: '.alert.severity == "high"'}, {it was read: .enrich.x.read != null}]
steps: [{do: fake.once}]
`, `
playbook: either
enrich: {x: {do: fake.read}}
match: {any: [{it is high: '.alert.severity == "high"'}, {it was read: .enrich.x.read != null}]}
steps: [{do: fake.once, with: {a: "${{ .enrich.x }}"}}, {id: b, do: fake.once, with: {h: "${{ .host.name }}"}}, {do: fake.once, if: .steps.b.output.x}]
`, `
playbook: fails
match: {all: [{broken: .alert.id + 1}]}
steps: [{do: fake.once}]
`, `
playbook: cooled
enrich: {x: {do: fake.read}}
cooldown: {key: .enrich.x.read, for: 1h}
steps: [{do: fake.once}]
`, `
playbook: looks
mode: observe
steps:
  - {id: a, do: fake.read}
  - {id: b, do: fake.once, with: {h: "${{ .alert.host.name }}"}, on_error: [{do: fake.tell}]}
  - {id: c, do: fake.once, if: .steps.b.state == "observed"}
  - {id: d, do: fake.once, if: .steps.a.output != null}
  - {id: e, do: fake.tell}
`)
	alerts := []*soar.StoredAlert{came(1, 0, nil), came(2, 5, func(a *soar.Alert) { a.Severity = soar.SeverityLow })}
	b, err := NewBacktest(set, BacktestOptions{Actions: actions})
	got := backtested(t, b, err, alerts...)
	if r := got["condition"]; r.Unknown != 1 || r.NotMatched != 1 || r.Matched != 0 {
		t.Errorf("condition: %+v", r)
	}
	if r := got["either"]; r.Matched != 1 || r.Unknown != 1 || len(r.Actions) != 1 || r.Actions[0].Calls != 2 || r.Actions[0].Unknown != 1 {
		t.Errorf("either: %+v", r)
	}
	if r := got["fails"]; r.Errors != 2 || r.FirstError != `er-1: broken: cannot add: string ("1") and number (1)` {
		t.Errorf("fails: %+v", r)
	}
	if r := got["cooled"]; r.Unknown != 2 || r.Matched != 0 {
		t.Errorf("cooled: %+v", r)
	}
	want := []ActionCount{
		{Action: "fake.once", Effect: Once, Calls: 4, Unknown: 2}, {Action: "fake.read", Effect: Reads, Calls: 2}, {Action: "fake.tell", Effect: Repeatable, Calls: 2},
	}
	if r := got["looks"]; !slices.Equal(r.Actions, want) || r.Hosts != 1 || r.Matched != 2 || *r.BusiestHour != (BusyHour{alerts[0].ReceivedAt, 2}) {
		t.Errorf("looks: %+v", r)
	}
	if len(server.calls) != 0 {
		t.Errorf("called %v", server.calls)
	}

	b, err = NewBacktest(set, BacktestOptions{Actions: actions, Reads: true})
	got = backtested(t, b, err, alerts...)
	if r := got["condition"]; r.Unknown != 0 || r.NotMatched != 1 || r.Matched != 1 {
		t.Errorf("condition, read: %+v", r)
	}
	if r := got["either"]; r.Matched != 2 || r.Actions[0].Calls != 4 || r.Actions[0].Unknown != 2 {
		t.Errorf("either, read: %+v", r)
	}
	if r := got["cooled"]; r.Matched != 2 || r.Suppressed != 1 {
		t.Errorf("cooled, read: %+v", r)
	}
	for name := range server.calls {
		if name != "fake.read" && name != hostGet {
			t.Errorf("called %s", name)
		}
	}
}

// cameIn is the history of alerts that came in.
type cameIn []*soar.StoredAlert

func (c cameIn) AlertByRef(_ context.Context, ref string) (soar.StoredAlert, error) {
	for _, a := range c {
		if a.Alert.Ref() == ref {
			return *a, nil
		}
	}
	return soar.StoredAlert{}, soar.ErrNotFound
}

func (c cameIn) AlertsCreated(_ context.Context, since time.Time, after int64, _ int) (page []soar.StoredAlert, err error) {
	for _, a := range c {
		if a.Key > after && !a.Alert.CreatedAt.Before(since) {
			page = append(page, *a)
		}
	}
	return page, nil
}

// Like alerts are counted before anybody says that a look-up decides.
func TestBacktestCountsBeforeItLooksUp(t *testing.T) {
	actions := newFakeServer().actions()
	server := newFakeServer()
	server.add(actions, hostGet, Reads, nil)
	set := loadText(t, actions, `
playbook: counted
enrich: {x: {do: fake.read}}
count: {by: .alert.host.identifier, window: 1h}
match: {all: [{it is the second: .count >= 2}, {it was read: .enrich.x.read != null}]}
steps: [{do: fake.once}]
`, `
playbook: keyed
cooldown: {key: '[.alert.id, getpath(["ho" + "st", "name"])] | join(" ")', for: 1h}
steps: [{do: fake.once}]
`, `
playbook: grouped
group: {by: .host.name, window: 1h}
steps: [{do: fake.once}]
`)
	alerts := []*soar.StoredAlert{came(1, 0, nil), came(2, 5, nil)}
	b, err := NewBacktest(set, BacktestOptions{Actions: actions, History: cameIn(alerts)})
	got := backtested(t, b, err, alerts...)
	if r := got["counted"]; r.NotMatched != 1 || r.Unknown != 1 {
		t.Errorf("counted: %+v", r)
	}
	for _, name := range []string{"keyed", "grouped"} {
		if r := got[name]; r.Unknown != 2 || r.Matched != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// Each alert is evaluated at the time at which it came in, and cool-downs hold as they
// would have held.
func TestBacktestGoesBackInTime(t *testing.T) {
	actions := newFakeServer().actions()
	set := loadText(t, actions, `
playbook: p
match: {all: [{it is fresh: .alert.created_at | age == 60}]}
cooldown: {key: .alert.host.name, for: 10m}
steps: [{do: fake.once}]
`, "playbook: updated\non: alert.updated\nsteps: [{do: fake.once}]")
	b, err := NewBacktest(set, BacktestOptions{Actions: actions, Ceiling: soar.ModeObserve})
	got := backtested(t, b, err, came(1, 0, nil), came(2, 9, nil), came(3, 10, func(a *soar.Alert) { a.CreatedAt = a.CreatedAt.Add(-1) }), came(4, 11, nil), came(5, 59, nil))
	if r := got["p"]; r.Matched != 4 || r.Suppressed != 1 || r.NotMatched != 1 || r.Mode != soar.ModeObserve || r.Actions[0].Calls != 3 {
		t.Errorf("%+v", r)
	}
	if r := got["updated"]; r.Matched != 5 {
		t.Errorf("updated: %+v", r)
	}
}

// A baseline has its own cool-downs, and playbooks that are gone are told of.
func TestBacktestAgainstPlaybooks(t *testing.T) {
	actions := newFakeServer().actions()
	before := loadText(t, actions, `
playbook: p
match: {all: [{it is high: '.alert.severity == "high"'}]}
steps: [{do: fake.repeat}]
`, "playbook: gone\nsteps: [{do: fake.repeat}]", "playbook: same\nsteps: [{do: fake.repeat}]")
	now := loadText(t, actions, `
playbook: p
match: {all: [{it is low: '.alert.severity == "low" and (.alert.host.id + (if .alert.id == "3" then "" else 1 end) > 0)'}]}
steps: [{do: fake.once}]
`, "playbook: same\nsteps: [{do: fake.repeat}]")
	low := func(a *soar.Alert) { a.Severity = soar.SeverityLow }
	b, err := NewBacktest(now, BacktestOptions{Actions: actions, Listed: 1})
	if err == nil {
		err = b.CompareWith(before)
	}
	got := backtested(t, b, err, came(1, 0, nil), came(2, 1, low), came(3, 2, low), came(4, 3, nil), came(5, 4, low))
	r := got["p"]
	if r.Change != "changed" || r.NewlyMatching.Count != 2 || !slices.Equal(r.NewlyMatching.Alerts, []string{"er-2"}) || r.NoLongerMatching.Count != 2 || r.NewlyFailing.Count != 1 {
		t.Errorf("p: %+v, %+v", r, r.NewlyMatching)
	}
	if len(r.Actions) != 2 || r.Actions[0].Calls != 2 || *r.Actions[0].Before != 0 || r.Actions[1].Calls != 0 || *r.Actions[1].Before != 2 {
		t.Errorf("actions %+v", r.Actions)
	}
	if r := got["gone"]; r.Change != "removed" || r.NoLongerMatching.Count != 5 || *r.Actions[0].Before != 5 {
		t.Errorf("gone: %+v", r)
	}
	if r := got["same"]; r.Change != "same" || r.NewlyMatching != nil || *r.Actions[0].Before != 5 {
		t.Errorf("same: %+v", r)
	}
}

// A backtest that is interrupted says so.
func TestBacktestInterrupted(t *testing.T) {
	actions := newFakeServer().actions()
	b, err := NewBacktest(loadText(t, actions, "playbook: p\nsteps: [{do: fake.once}]"), BacktestOptions{Actions: actions})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Add(ctx, came(1, 0, nil)); err == nil {
		t.Error("no error")
	}
}

// The guard of the configuration says what becomes of calls, as of the time of each alert.
func TestBacktestAsksTheGuard(t *testing.T) {
	server := newFakeServer()
	actions := server.actions()
	set := loadText(t, actions, "playbook: p\nsteps: [{id: hit, do: fake.once, with: {host: \"${{ .alert.host.identifier }}\"}}]")
	on := func(name string) func(a *soar.Alert) { return func(a *soar.Alert) { a.Host.Name = name } }
	alerts := []*soar.StoredAlert{came(1, 1, on("pc-1")), came(2, 2, on("srv-1")), came(3, 30, on("pc-2")), came(4, 31, on("srv-2"))}
	g := guarded(t, guard.Settings{
		Protected: []guard.Protection{{Name: "servers", Match: guard.Match{Names: []string{"srv-*"}}}},
		Freezes:   []guard.Freeze{{Name: "half past", Dates: []string{"11-22"}, From: "03:20", To: "04:00", Timezone: "UTC"}},
	})
	b, err := NewBacktest(set, BacktestOptions{Actions: actions, Guard: g})
	got := backtested(t, b, err, alerts...)["p"]
	if !slices.Equal(got.Actions, []ActionCount{{Action: "fake.once", Effect: Once, Calls: 1, Refused: 2, Held: 1}}) ||
		!slices.Equal(got.Guard, []GuardCount{{Check: "change freeze", Held: 1}, {Check: "protected hosts", Refused: 2}}) {
		t.Errorf("with the guard: %+v", got)
	}
	b, err = NewBacktest(set, BacktestOptions{Actions: actions})
	if got = backtested(t, b, err, alerts...)["p"]; !slices.Equal(got.Actions, []ActionCount{{Action: "fake.once", Effect: Once, Calls: 4}}) || got.Guard != nil {
		t.Errorf("with what is built in: %+v", got)
	}
}

package daemon

import (
	"errors"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

const oneHost = `
guard:
  budgets:
    - {name: notes, actions: [host.tag], hosts: 1, window: 1h}
`

// A daemon learns from the server how large the fleet is, and keeps it. Budgets are shown
// and re-armed with a daemon and without one.
func TestBudgetsWithAndWithoutDaemon(t *testing.T) {
	s := newSite(t)
	s.configure(oneHost)
	d, stop := s.start()
	c, release := s.control()
	var shown []guard.BudgetStatus
	s.until(func() (known bool) {
		var err error
		if shown, err = c.Budgets(t.Context()); err != nil {
			t.Fatal(err)
		}
		return shown[0].Fleet > 0
	})
	counts, err := d.countFleet(t.Context())
	if err != nil || shown[0].Fleet != counts {
		t.Errorf("the fleet has %d hosts, and the server %d, %v", shown[0].Fleet, counts, err)
	}
	if len(shown) != 2 || shown[0].Name != guard.BuiltInBudget || shown[1].Name != "notes" || shown[1].Limit != 1 {
		t.Errorf("shown are %+v", shown)
	}
	if err := c.RearmBudget(t.Context(), Rearming{Budget: "notes", By: "ann", Reason: "why"}); !errors.Is(err, guard.ErrNotLatched) {
		t.Errorf("re-armed what is not latched: %v", err)
	}
	if err := c.RearmBudget(t.Context(), Rearming{Budget: "note", By: "ann", Reason: "why"}); !errors.Is(err, soar.ErrNotFound) {
		t.Errorf("re-armed what there is not: %v", err)
	}
	if err := c.RearmBudget(t.Context(), Rearming{Budget: "notes", Reason: "why"}); err == nil || !strings.Contains(err.Error(), "by name") {
		t.Errorf("re-armed by nobody: %v", err)
	}
	latch := soar.KV{Key: "guard/budget/latch/notes/", Value: `{"budget": "notes", "at": "2026-11-22T03:00:00Z", "words": "too much"}`}
	if _, err := d.Store().Commit(t.Context(), soar.Change{KV: []soar.KV{latch}}); err != nil {
		t.Fatal(err)
	}
	release()
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	c, release = s.control()
	if shown, err = c.Budgets(t.Context()); err != nil || shown[0].Fleet != counts || shown[1].Latched == nil || shown[1].Latched.Words != "too much" {
		t.Errorf("without a daemon: %+v, %v", shown, err)
	}
	if err := c.RearmBudget(t.Context(), Rearming{Budget: "notes", By: "ann", Reason: "it was right"}); err != nil {
		t.Error(err)
	}
	release()

	s.start()
	c, release = s.control()
	defer release()
	if shown, err = c.Budgets(t.Context()); err != nil || shown[1].Latched != nil || shown[1].Rearmed == nil || shown[1].Rearmed.By != "ann" || shown[1].Rearmed.Reason != "it was right" {
		t.Errorf("after it was re-armed without a daemon: %+v, %v", shown, err)
	}
}

// A reload brings other budgets in force; what has latched stays so.
func TestReloadOfTheGuard(t *testing.T) {
	s := newSite(t)
	s.configure(oneHost)
	d, _ := s.start()
	s.configure(strings.ReplaceAll(oneHost, "hosts: 1", "hosts: 7"))
	if _, err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if shown, err := d.Budgets(t.Context()); err != nil || shown[1].Limit != 7 {
		t.Errorf("after the reload: %+v, %v", shown, err)
	}
	s.configure(strings.ReplaceAll(oneHost, "hosts: 1", "hosts: -1"))
	if _, err := d.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "erbridge.yaml:10:49: hosts is -1, and must be from 1 to 1000000") {
		t.Errorf("a mistake in the guard: %v", err)
	}
}

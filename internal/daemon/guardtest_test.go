package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// What a call would come to is the same with a daemon and without one, and asking
// sends nothing.
func TestGuardTestOnlineAndOffline(t *testing.T) {
	s := newSite(t)
	s.configure(quickPoll + `guard: {protected: [{name: finance, match: {names: ["win-fin-*"]}}]}` + "\n")
	d, stop := s.start()
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	s.awaitRun(d.Store(), id, soar.RunDone)
	stored, err := d.Store().AlertByRef(t.Context(), fmt.Sprintf("er-%d", id))
	if err != nil {
		t.Fatal(err)
	}
	host := stored.Alert.Host.Identifier
	ask := func(q GuardQuestion) *playbooks.GuardAnswer {
		t.Helper()
		c, release := s.control()
		defer release()
		a, err := c.TestGuard(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	check := func() {
		t.Helper()
		a := ask(GuardQuestion{Action: "process.kill", Host: host, With: map[string]any{"pid": 42}})
		if a.Plan != playbooks.PlanObserved || !strings.Contains(a.Words, `the rule "finance"`) || len(a.Hosts) != 1 || !a.Hosts[0].Known || a.Hosts[0].Name != "WIN-FIN-01" {
			t.Errorf("a protected host: %+v", a)
		}
		for _, name := range []string{"WIN-FIN-01", "win-fin-01"} {
			a = ask(GuardQuestion{Action: "process.kill", Host: name, With: map[string]any{"pid": 42}})
			if a.With["host"] != host || !strings.Contains(a.Words, `the rule "finance"`) {
				t.Errorf("a host by its name: %+v", a)
			}
		}
		a = ask(GuardQuestion{Action: "process.kill", Host: "no-such-host", With: map[string]any{"pid": 42}})
		if a.Plan != playbooks.PlanObserved || !strings.Contains(a.Words, "nothing is known of host no-such-host") {
			t.Errorf("an unknown host: %+v", a)
		}
		a = ask(GuardQuestion{Action: "process.kill", Host: host})
		if len(a.Problems) == 0 {
			t.Errorf("missing arguments are not told: %+v", a)
		}
	}
	check()
	s.pause("lunch")
	if a := ask(GuardQuestion{Action: "host.tag", Host: host, With: map[string]any{"tag": "x"}}); a.Plan != playbooks.PlanHeld || !strings.Contains(a.Words, "paused by ann") {
		t.Errorf("while paused: %+v", a)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if a := ask(GuardQuestion{Action: "host.tag", Host: host, With: map[string]any{"tag": "x"}}); a.Plan != playbooks.PlanHeld {
		t.Errorf("the store says that it is paused: %+v", a)
	}
	s.resume()
	check()
	if commands := s.sim.Commands(); len(commands) != 0 {
		t.Errorf("commands on the server: %+v", commands)
	}
}

// Asking without a daemon writes nothing: there need not even be a store.
func TestGuardTestOfflineWritesNothing(t *testing.T) {
	s := newSite(t)
	s.configure("guard: {budgets: [{name: few, hosts: 3}]}\n")
	ask := func(q GuardQuestion) (*playbooks.GuardAnswer, error) {
		c, release := s.control()
		defer release()
		return c.TestGuard(t.Context(), q)
	}
	a, err := ask(GuardQuestion{Action: "host.tag", Host: "WIN-FIN-01", With: map[string]any{"tag": "x"}})
	if err != nil || a.Plan != playbooks.PlanSent {
		t.Errorf("without a store: %+v, %v", a, err)
	}
	if _, err := ask(GuardQuestion{Action: "alert.note", Alert: "er-1"}); !errors.Is(err, soar.ErrNotFound) {
		t.Errorf("an alert without a store: %v", err)
	}
	c, release := s.control()
	budgets, err := c.Budgets(t.Context())
	if release(); err != nil || len(budgets) != 2 { // one is built in
		t.Errorf("budgets %+v: %v", budgets, err)
	}
	if _, err := os.Stat(s.path("data/erbridge.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a store was made: %v", err)
	}
}

// A name that several hosts have is refused, with the identifiers to choose from.
func TestGuardTestAmbiguousName(t *testing.T) {
	s := newSite(t)
	s.configure("")
	hosts := s.sim.Hosts()
	s.sim.Rename(hosts[1].Identifier, hosts[0].Name)
	c, release := s.control()
	defer release()
	_, err := c.TestGuard(t.Context(), GuardQuestion{Action: "host.tag", Host: hosts[0].Name, With: map[string]any{"tag": "x"}})
	if !errors.Is(err, ErrAmbiguous) || !strings.Contains(err.Error(), hosts[0].Identifier) || !strings.Contains(err.Error(), hosts[1].Identifier) {
		t.Errorf("%v", err)
	}
	a, err := c.TestGuard(t.Context(), GuardQuestion{Action: "host.tag", Host: hosts[1].Identifier, With: map[string]any{"tag": "x"}})
	if err != nil || a.With["host"] != hosts[1].Identifier {
		t.Errorf("by identifier: %+v, %v", a, err)
	}
}

func resolverOf(addrs []netip.Addr, err error) resolver {
	return func(context.Context, string) ([]netip.Addr, error) { return addrs, err }
}

// The server's machine is known by all addresses of its name.
func TestOwnMachines(t *testing.T) {
	addrs := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::ffff:10.0.0.2")}
	resolve := resolverOf(addrs, nil)
	cfg := &config.Config{Server: config.Server{URL: "https://er.example.org:8443/esp"}}
	own := ownMachines(t.Context(), cfg, resolve)
	if !slices.Equal(own.Server.Names, []string{"er.example.org"}) || own.Server.Unresolved != "" ||
		!slices.Equal(own.Server.Addresses, []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}) {
		t.Errorf("server %+v", own.Server)
	}
	if len(own.Here.Addresses) == 0 {
		t.Errorf("here %+v", own.Here)
	}
	own = ownMachines(t.Context(), cfg, resolverOf(nil, errNotYet))
	if !strings.Contains(own.Server.Unresolved, "er.example.org") || !slices.Equal(own.Server.Names, []string{"er.example.org"}) {
		t.Errorf("unresolved: %+v", own.Server)
	}
	cfg.Server.URL = "https://[2001:db8::1]/"
	own = ownMachines(t.Context(), cfg, resolverOf(nil, errNotYet))
	if own.Server.Unresolved != "" || !slices.Equal(own.Server.Addresses, []netip.Addr{netip.MustParseAddr("2001:db8::1")}) {
		t.Errorf("an address: %+v", own.Server)
	}
}

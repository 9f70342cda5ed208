package killtest

import (
	"reflect"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
)

// states read from the server what an action changes, and what another one takes back.
var states = map[string]func(s *scene, c *connector.Client) (any, error){
	"alert.note":      notes,
	"alert.note_edit": notes,
	"alert.reopen":    verdict,
	"alert.resolve":   verdict,
	"config.assign": func(s *scene, c *connector.Client) (any, error) {
		config, err := c.Hosts.FullConfig(s.Context(), s.host.Identifier)
		return config.ConfigID, err
	},
	"defender.exclusions_add":    exclusions,
	"defender.exclusions_remove": exclusions,
	"host.contain":               func(s *scene, _ *connector.Client) (any, error) { return s.hostNow().Contained, nil },
	"host.deactivate":            func(s *scene, _ *connector.Client) (any, error) { return s.hostNow().State, nil },
	"host.enable":                func(s *scene, _ *connector.Client) (any, error) { return s.hostNow().State, nil },
	"host.tag":                   func(s *scene, _ *connector.Client) (any, error) { return s.hostNow().Tags, nil },
	"host.untag":                 func(s *scene, _ *connector.Client) (any, error) { return s.hostNow().Tags, nil },
	"ioc.add":                    indicators,
	"ioc.remove":                 indicators,
	"rule.disable":               rule,
	"rule.enable":                rule,
	"yara.add":                   yara,
	"yara.remove":                yara,
}

func notes(s *scene, _ *connector.Client) (any, error) { return s.sim.Notes(s.alertID), nil }

func verdict(s *scene, c *connector.Client) (any, error) {
	alert, err := c.Alerts.Get(s.Context(), s.alertID)
	now := connector.Normalize("er", "", alert, nil, nil)
	return [2]string{now.Status, now.Verdict}, err
}

func exclusions(s *scene, _ *connector.Client) (any, error) {
	out := s.do("defender.settings", object{"host": s.host.Identifier}).Output.(actions.DefenderSettingsOutput)
	paths, _ := out.Settings.(map[string]any)["ExclusionPath"].([]any)
	return append([]any{}, paths...), nil
}

func indicators(s *scene, c *connector.Client) (any, error) { return c.IOCs.Get(s.Context()) }

func rule(s *scene, c *connector.Client) (any, error) {
	names, err := c.Rules.Names(s.Context())
	return names[slices.IndexFunc(names, func(r connector.RuleName) bool { return r.ID == 1 })].Status, err
}

func yara(s *scene, c *connector.Client) (any, error) {
	files, err := c.YARA.List(s.Context())
	return files.ByPlatform, err
}

// Every action that another one takes back has a state by which that can be seen.
func TestEveryInverseHasAState(t *testing.T) {
	for _, name := range actions.Types.Names() {
		typ, _ := actions.Types.Get(name)
		_, takesBack := actions.All(actions.Deps{})[name].(playbooks.Reverser)
		if name == "host.release" { // only a new call contains a host again, for which the guard is asked
			takesBack = false
		}
		if _, has := states[name]; has != (takesBack && typ.Spec.Inverse != "") {
			t.Errorf("%s is undone by %q, and has a state in undone_test.go: %t", name, typ.Spec.Inverse, has)
		}
	}
}

// What a step did can be taken back wherever the process died that did it: what that
// needs is on disk before the call.
func TestUndoneAfterAKill(t *testing.T) {
	each(t, func(t *testing.T, a *subject) {
		if states[a.action] == nil {
			return
		}
		for _, at := range append(a.moments(), moment{}) {
			a.undone(t, at)
		}
	})
}

// undone lets a process die at a moment and another one go on, and takes back what they
// did: then all is as it was.
func (a *subject) undone(t *testing.T, at moment) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := play(t, a)
		before := s.state()
		if s.life(at).dead() {
			s.life(moment{})
		}
		did := s.ended()
		if after := s.state(); !did.result.State.OK() || reflect.DeepEqual(after, before) {
			t.Errorf("killed at %v: ended %s (%s), was %v, is %v", at, did.result.State, did.result.Error, before, after)
			return
		}
		a.between = func(s *scene, e *playbooks.Engine, _ *store.Store) {
			order := playbooks.UndoOrder{Run: did.run.ID, By: "ann", Reason: "it was our own scanner"}
			if _, err := e.Undo(s.Context(), order); err != nil {
				s.Errorf("killed at %v: undo: %v", at, err)
			}
		}
		defer func() { a.between = nil }()
		s.life(moment{})
		if now := s.state(); !reflect.DeepEqual(now, before) {
			t.Errorf("killed at %v: was %v, and is %v although it was taken back", at, before, now)
		}
	})
}

// state is what the action changes, as it is now.
func (s *scene) state() any {
	s.Helper()
	client, end := s.client(nil)
	defer end()
	now, err := states[s.action](s, client)
	if err != nil {
		s.Fatal(err)
	}
	return now
}

func (s *scene) hostNow() ersim.HostState {
	hosts := s.sim.Hosts()
	return hosts[slices.IndexFunc(hosts, func(h ersim.HostState) bool { return h.Identifier == s.host.Identifier })]
}

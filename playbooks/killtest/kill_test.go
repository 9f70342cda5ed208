package killtest

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
)

// Every action with an effect has a row, and every row an action.
func TestEveryActionHasARow(t *testing.T) {
	for _, name := range actions.Types.Names() {
		typ, _ := actions.Types.Get(name)
		if _, has := rows[name]; !has && typ.Spec.Effect != playbooks.Reads && name != playbooks.CallAction { // that one is none of its own
			t.Errorf("%s has an effect, and no row in rows_test.go: nobody knows what becomes of it when the process dies", name)
		}
	}
	for name := range rows {
		if typ, ok := actions.Types.Get(name); !ok || typ.Spec.Effect == playbooks.Reads {
			t.Errorf("%s has a row, and is no action with an effect", name)
		}
	}
}

// subject is an action, and what a process does with it that nobody kills.
type subject struct {
	row
	action   string
	other    *elsewhere
	once     bool // it must not happen twice
	commits  int
	requests int // of the call
	effectAt int // the request that has the effect
	// late is how long that request of the first process takes to get to the server; nobody
	// waits for it that long.
	late time.Duration
	// profile of the server, and mode of the playbook; empty: 4.0 and enforce.
	profile string
	mode    soar.Mode
	// before is what happens once the scene is set, and between what happens instead of
	// the alert's arrival.
	before  func(s *scene)
	between func(s *scene, e *playbooks.Engine, st *store.Store)
}

// each runs a test for every action, which was carried out once before.
func each(t *testing.T, test func(t *testing.T, a *subject)) {
	for i, action := range slices.Sorted(maps.Keys(rows)) {
		typ, ok := actions.Types.Get(action)
		if !ok || i%actionStride > 0 {
			continue // TestEveryActionHasARow tells of rows without an action
		}
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			a := &subject{row: rows[action], action: action, other: newElsewhere(t)}
			a.once = a.row.never2 || typ.Spec.Effect == playbooks.Once
			synctest.Test(t, func(t *testing.T) {
				s := play(t, a)
				p := s.life(moment{})
				a.commits, a.requests, a.effectAt = p.commits, p.requests, p.effectAt
				e := s.ended()
				if !e.result.State.OK() || s.effects() != 1 {
					t.Errorf("undisturbed, it ended %s (%s) with %d effects", e.result.State, e.result.Error, s.effects())
				}
				if a.other.count() > 0 {
					a.requests, a.effectAt = 1, 1
				}
				if typ.Spec.Effect == playbooks.Once && s.cannotTell(&e) != a.blind {
					t.Errorf("whether the server keeps no record of such calls: want %t, as the row says", a.blind)
				}
			})
			if !t.Failed() {
				test(t, a)
			}
		})
	}
}

// A process that is killed between any two of its records, or on either side of the
// call, leaves nothing that is done twice, forgotten, or called done without being so:
// the next process settles it by looking it up, or says that nobody knows.
func TestKilledAtEveryMoment(t *testing.T) {
	each(t, func(t *testing.T, a *subject) {
		deaths := 0
		for _, at := range a.moments() {
			if lives := a.lives(t, at); lives == 2 {
				deaths++
			}
		}
		// How many commits there are depends on which answers come together.
		if want := len(a.moments()) - 4; deaths < want {
			t.Errorf("killed at %d moments, expected at least %d", deaths, want)
		}
	})
}

// The process that goes on is killed as well, at each of its commits, after the first
// one died on either side of the call.
func TestKilledAgain(t *testing.T) {
	each(t, func(t *testing.T, a *subject) {
		if !a.once || a.effectAt == 0 {
			return // it does no harm, or nothing leaves the process
		}
		for _, at := range []moment{{"call", a.effectAt}, {"called", a.effectAt}} {
			for n := 1; a.lives(t, at, moment{"committed", n}) == 3; n += momentStride {
				if n > 100 {
					t.Fatalf("killed at %v, and after %d commits it still has some to make", at, n)
				}
			}
		}
	})
}

// moments are all at which a process can die.
func (a *subject) moments() (all []moment) {
	for _, where := range []string{"commit", "committed"} {
		for n := 1; n <= a.commits; n += momentStride {
			all = append(all, moment{where, n})
		}
	}
	for _, where := range []string{"call", "called"} {
		for n := range a.requests {
			all = append(all, moment{where, n + 1})
		}
	}
	return all
}

// lives lets one process after the other die, and the last one go on to the end. It
// returns how many there were: one whose moment did not come is the last.
func (a *subject) lives(t *testing.T, at ...moment) (lives int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := play(t, a)
		for _, m := range append(at, moment{}) {
			lives++
			if !s.life(m).dead() {
				break
			}
		}
		s.stragglers.Wait() // also where nobody could look it up, and it ended unknown
		e := s.ended()
		a.check(t, at, &e, s.effects())
	})
	return lives
}

func (a *subject) check(t *testing.T, at []moment, e *ended, effects int) {
	t.Helper()
	result := &e.result
	switch {
	case a.once && effects > 1:
		t.Errorf("killed at %v, late by %s: it happened %d times", at, a.late, effects)
	case result.State.OK() && (effects == 0 || e.run.State != soar.RunDone):
		t.Errorf("killed at %v, late by %s: ended %s with %d effects, the run %s", at, a.late, result.State, effects, e.run.State)
	case result.State == soar.StepUnknown && (!a.blind || !a.once):
		t.Errorf("killed at %v, late by %s: nobody knows, though it can be looked up or repeated: %s", at, a.late, result.Error)
	case result.State == soar.StepUnknown && (e.run.State != soar.RunUnknown || e.events[soar.EventTrouble] != 1 || result.Error == ""):
		t.Errorf("killed at %v, late by %s: ended unknown, the run %s, %d times trouble: %q", at, a.late, e.run.State, e.events[soar.EventTrouble], result.Error)
	case result.State != soar.StepUnknown && !result.State.OK():
		t.Errorf("killed at %v, late by %s: ended %s: %s", at, a.late, result.State, result.Error)
	case result.State.OK() && e.events[soar.EventRunFinished] != 1:
		t.Errorf("killed at %v, late by %s: %d times run.finished", at, a.late, e.events[soar.EventRunFinished])
	}
}

// The server takes a call long after we gave up waiting for the answer, and the process
// may have died meanwhile, too. What must not happen twice does not: the look-up waits
// until the call can no longer be under way.
func TestLookUpWaitsLongerThanTheClient(t *testing.T) {
	each(t, func(t *testing.T, a *subject) {
		if a.outside {
			return
		}
		for _, late := range []time.Duration{clientTimeout + time.Second, callTimeout + time.Second, settleFor - 10*time.Second} {
			a.late = late
			a.lives(t)
		}
		for n := 1; a.once && a.lives(t, moment{"committed", n}) == 2; n += momentStride {
			if n > 100 {
				t.Fatalf("after %d commits it still has some to make", n)
			}
		}
	})
}

// cannotTell reports whether the server keeps no record of such calls.
func (s *scene) cannotTell(e *ended) bool {
	s.Helper()
	client, end := s.client(nil)
	defer end()
	a := actions.All(actions.Deps{Client: client, Server: "er", CarveDir: s.TempDir()})[s.action]
	call := playbooks.Call{Run: e.run.ID, Step: step, Mark: e.intent.Mark, Alert: s.alert, With: e.intent.With}
	found, err := a.Find(s.Context(), call, e.run.StartedAt.Add(-time.Minute))
	switch {
	case errors.Is(err, playbooks.ErrCannotTell):
		return true
	case err != nil || len(found) != 1:
		s.Errorf("carried out, and the look-up found %+v: %v", found, err)
	}
	return false
}

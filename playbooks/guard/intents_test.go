package guard

import (
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// isolate is a call on the host a, in one direction or the other.
func isolate(run int, sense string, at time.Time) *Request {
	r := call(run, "host."+sense, at, "a")
	r.Kind, r.Sense, r.Call = "containment", sense, sense+" a"
	return r
}

// waits asks for a call that has to wait.
func waits(t *testing.T, g *Guard, r *Request, words string) {
	t.Helper()
	d := g.Ask(r)
	if d.OK || d.Until.IsZero() || !strings.Contains(d.Words, words) {
		t.Errorf("run %d: %+v, want %q", r.Run, d, words)
	}
	g.Wait(r, d.Answers)
}

// ended tells how a call ended, and which runs may go on.
func ended(t *testing.T, g *Guard, r *Request, state soar.StepState, runs int) (called []soar.RunID) {
	t.Helper()
	version, _ := g.Changed()
	_, _, settle := g.End(r.Run, r.Step, state, r.At)
	settle(true)
	news, _ := g.News()
	for run := soar.RunID(1); int(run) <= runs; run++ {
		if news(run, version) {
			called = append(called, run)
		}
	}
	return called
}

// Of calls that do the same, one is sent: the others share its outcome. When it comes to
// nothing, the next one is sent, and the others wait for that one. What does the opposite
// goes out after all of them that asked before.
func TestCallsOfAKindTakeTurns(t *testing.T) {
	g, d := newGuard(t, Settings{}), disk{}
	first := isolate(1, "contain", now)
	if got := d.send(t, g, first); !got.OK {
		t.Fatal(got.Words)
	}
	second, third := isolate(2, "contain", now.Add(1)), isolate(3, "contain", now.Add(2))
	opposite, last := isolate(4, "release", now.Add(3)), isolate(5, "release", now.Add(4))
	waits(t, g, second, "does the same on pc-a")
	waits(t, g, third, "does the same on pc-a")
	waits(t, g, opposite, "has to end first")
	waits(t, g, last, "asked before")

	// It fails: those that waited for its outcome may go on, and the first that did not.
	if called := ended(t, g, first, soar.StepFailed, 5); len(called) != 3 || called[2] != 4 {
		t.Errorf("called are %v", called)
	}
	if got := d.send(t, g, second); !got.OK {
		t.Errorf("the next one that does the same: %+v", got)
	}
	waits(t, g, third, "does the same on pc-a")
	waits(t, g, opposite, "has to end first")

	// This one succeeds, and nothing is sent a second time.
	if called := ended(t, g, second, soar.StepExecuted, 5); len(called) != 2 {
		t.Errorf("called are %v", called)
	}
	if got := g.Ask(third); got.State != soar.StepSuppressed || !strings.Contains(got.Words, "did the same meanwhile") {
		t.Errorf("the third: %+v", got)
	}
	ended(t, g, third, soar.StepSuppressed, 5)
	waits(t, g, last, "asked before")
	if got := d.send(t, g, opposite); !got.OK {
		t.Errorf("the opposite: %+v", got)
	}

	// Who gives up in front of others lets them go on.
	if called := ended(t, g, opposite, soar.StepExecuted, 5); len(called) != 1 || called[0] != 5 {
		t.Errorf("called are %v", called)
	}
	if got := g.Ask(last); !got.OK {
		t.Errorf("the last one: %+v", got)
	}
}

// One that goes away while others stand behind it does not keep them waiting.
func TestTurnsPassOnWhenAStepIsCalledOff(t *testing.T) {
	g, d := newGuard(t, Settings{}), disk{}
	first, second, third := isolate(1, "contain", now), isolate(2, "release", now.Add(1)), isolate(3, "contain", now.Add(2))
	d.send(t, g, first)
	waits(t, g, second, "has to end first")
	waits(t, g, third, "asked before")
	if called := ended(t, g, first, soar.StepExecuted, 3); len(called) != 1 || called[0] != 2 {
		t.Errorf("called are %v", called)
	}
	if called := ended(t, g, second, soar.StepCancelled, 3); len(called) != 1 || called[0] != 3 {
		t.Errorf("called are %v", called)
	}
	if got := g.Ask(third); !got.OK {
		t.Errorf("the third: %+v", got)
	}
}

// One whose place became free between asking and waiting is called at once.
func TestTurnThatCameWhileAsking(t *testing.T) {
	g, d := newGuard(t, Settings{Limits: []Limit{{Calls: Calls{Actions: []string{"defender.scan"}}, Concurrent: 1}}}), disk{}
	for _, make := range []func(run int) *Request{
		func(run int) *Request {
			return isolate(run, []string{"contain", "release"}[run%2], now.Add(time.Duration(run)))
		},
		func(run int) *Request { return call(run, "defender.scan", now.Add(time.Duration(run)), "b") },
	} {
		one, two := make(1), make(2)
		d.send(t, g, one)
		asked := g.Ask(two)
		d.end(g, one, now)
		g.Wait(two, asked.Answers)
		if news, _ := g.News(); asked.OK || !news(two.Run, asked.Version) {
			t.Errorf("%s: it waits for ever: %+v", two.Action, asked)
		}
		d.end(g, two, now)
	}
}

// Steps that wait for people leave the queue of a place and ask again when they are
// called. Those of several runs for one host called each other without end: who had
// asked first got behind the others when it came back, and was called to its place.
func TestStepsThatWaitForPeopleDoNotCallEachOtherForEver(t *testing.T) {
	g, d := newGuard(t, Settings{}), disk{}
	open := isolate(9, "release", now)
	d.send(t, g, open)
	runs := map[soar.RunID][]*Request{}
	for run := 1; run <= 3; run++ {
		for _, step := range []string{"hit[0]", "hit[1]"} {
			r := isolate(run, "contain", now.Add(time.Duration(run)))
			r.Step, r.Modes = step, []Voice{{soar.ModeApprove, "so it says"}}
			runs[soar.RunID(run)] = append(runs[soar.RunID(run)], r)
		}
	}
	checks := map[string]string{} // that each step waits for
	ask := func(run soar.RunID) (version uint64) {
		for i, r := range runs[run] {
			got := g.Ask(r)
			if got.OK || got.Until.IsZero() {
				t.Fatalf("run %d, %s: %+v", run, r.Step, got)
			}
			if got.Asked != nil {
				r = got.Asked
			}
			_, _, settle := g.Wait(r, got.Answers)
			settle(true)
			if i == 0 || got.Version < version {
				version = got.Version
			}
			checks[r.Run.String()+r.Step] = got.Answers[len(got.Answers)-1].Check
		}
		return version
	}
	asked := map[soar.RunID]uint64{}
	for run := range runs {
		asked[run] = ask(run)
	}
	_, _, settle := g.End(open.Run, open.Step, soar.StepExecuted, now)
	settle(true)

	for rounds := 0; ; rounds++ {
		if rounds > 50 {
			t.Fatalf("they still call each other: %v", checks)
		}
		news, _ := g.News()
		var called []soar.RunID
		for run := range runs {
			if news(run, asked[run]) {
				called = append(called, run)
			}
		}
		if len(called) == 0 {
			break
		}
		for _, run := range called {
			asked[run] = ask(run)
		}
	}
	for step, check := range checks {
		if check != "approval" {
			t.Errorf("%s waits for %s", step, check)
		}
	}
}

package playbooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

const oneHit = "playbook: p\nsteps: [{id: hit, do: fake.once, timeout: 10m, with: {host: \"${{ .alert.host.identifier }}\"}}]"

// While the kill switch is thrown, steps wait; their time does not run; and when it is
// taken back, they go on at once.
func TestKillSwitchHoldsSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		e, stop := running(t, j, actions, loadText(t, actions, oneHit), EngineOptions{})
		if cut, err := e.Pause(t.Context(), "ann", "the mail server is being isolated"); err != nil || cut != 0 {
			t.Fatalf("pause: %d, %v", cut, err)
		}
		j.put(t, testAlert("1"))
		time.Sleep(3 * time.Hour)
		run := j.all()[0]
		if n := server.called("fake.once"); n != 0 || run.State != soar.RunWaiting {
			t.Fatalf("%d calls, run %+v", n, run)
		}
		if words := decisions(t, j, run.ID, "hit"); len(words) != 1 || !strings.Contains(words[0], "paused by ann") || !strings.Contains(words[0], "the mail server is being isolated") {
			t.Errorf("the journal says %q", words)
		}
		resumed := time.Now()
		if err := e.Resume(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		stop()
		got := server.done("fake.once")
		if len(got) != 1 || got[0].at.Sub(resumed) > time.Second || stateOf(j.all()) != "done" {
			t.Errorf("%+v after the switch was taken back at %s; runs %s", got, resumed, stateOf(j.all()))
		}
	})
}

// The kill switch and what waits for it outlast a restart.
func TestKillSwitchOutlastsARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		set := loadText(t, actions, oneHit)
		e, stop := running(t, j, actions, set, EngineOptions{})
		if _, err := e.Pause(t.Context(), "ann", ""); err != nil {
			t.Fatal(err)
		}
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		stop()
		e, stop = running(t, j, actions, set, EngineOptions{})
		time.Sleep(time.Hour)
		if n := server.called("fake.once"); n != 0 || e.Guard().Paused() == nil {
			t.Fatalf("%d calls after the restart", n)
		}
		if err := e.Resume(t.Context(), "ben"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		stop()
		if len(server.done("fake.once")) != 1 || stateOf(j.all()) != "done" {
			t.Errorf("%d calls, runs %s", len(server.done("fake.once")), stateOf(j.all()))
		}
		if words := decisions(t, j, j.all()[0].ID, "hit"); len(words) != 2 {
			t.Errorf("what it waited for is told once, and what let it pass: %q", words)
		}
	})
}

// What waits for too long ends expired, with the reason for which it waited.
func TestHoldsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		e, stop := running(t, j, actions, loadText(t, actions, oneHit), EngineOptions{MaxHold: 2 * time.Hour})
		if _, err := e.Pause(t.Context(), "ann", ""); err != nil {
			t.Fatal(err)
		}
		j.put(t, testAlert("1"))
		time.Sleep(3 * time.Hour)
		stop()
		got := j.result(t, j.all()[0].ID, "hit")
		if got.State != soar.StepExpired || !strings.Contains(got.Error, "never sent; waited for 2h: paused by ann") || stateOf(j.all()) != "failed" {
			t.Errorf("hit ended %+v, run %s", got, stateOf(j.all()))
		}
	})
}

// Calls that are being sent when the switch is thrown end first, or are cut off; none
// begins afterwards.
func TestKillSwitchAmidCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		var paused time.Time
		late := 0
		server.add(actions, "fake.slow", Repeatable, func(ctx context.Context, call Call) (Outcome, error) {
			if !paused.IsZero() {
				late++
			}
			n := len(call.Alert.ID) // some end soon, some hang
			select {
			case <-time.After(time.Duration(n) * 3 * time.Second):
				return Outcome{State: soar.StepExecuted}, nil
			case <-ctx.Done():
				return Outcome{}, fmt.Errorf("%w: %w", ErrUncertain, ctx.Err())
			}
		})
		e, stop := running(t, j, actions, loadText(t, actions, "playbook: p\nsteps: [{id: a, do: fake.slow}, {id: b, do: fake.slow}]"), EngineOptions{})
		for i := range 200 {
			j.put(t, testAlert(fmt.Sprint(i)))
		}
		time.Sleep(time.Second)
		cut, err := e.Pause(t.Context(), "ann", "")
		if err != nil || cut == 0 || cut >= 200 {
			t.Fatalf("%d of 200 calls were cut off, %v", cut, err)
		}
		paused = time.Now()
		called := server.called("fake.slow")
		time.Sleep(5 * time.Minute)
		if n := server.called("fake.slow"); n != called || late != 0 {
			t.Errorf("%d calls after the kill switch was thrown, %d late", n-called, late)
		}
		paused = time.Time{}
		if err := e.Resume(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		stop()
		for _, run := range j.all() {
			if run.State != soar.RunDone {
				t.Errorf("run %s of %s is %s: %s", run.ID, run.Alert, run.State, run.Error)
			}
		}
	})
}

// readier is an action that says whether its host is ready.
type readier struct {
	*fakeAction
	ready func(call Call) error
}

func (r *readier) Ready(_ context.Context, call Call) error { return r.ready(call) }

// A host that is away is waited for; one that can never do it is refused; neither is
// sent anything.
func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		back := time.Now().Add(40 * time.Minute)
		actions["fake.once"] = &readier{actions["fake.once"].(*fakeAction), func(call Call) error {
			switch {
			case call.Alert.ID == "never":
				return errors.New("pc-1 runs linux, and only Windows hosts can be contained")
			case call.Alert.ID == "unclear" && time.Now().Before(back):
				return fmt.Errorf("response status: %w", ErrTransient)
			case time.Now().Before(back):
				return fmt.Errorf("pc-1 is offline: %w", ErrNotNow)
			}
			return nil
		}}
		_, stop := running(t, j, actions, loadText(t, actions, oneHit), EngineOptions{})
		for _, id := range []string{"away", "never", "unclear"} {
			j.put(t, testAlert(id))
		}
		time.Sleep(30 * time.Minute)
		if n := server.called("fake.once"); n != 0 {
			t.Fatalf("%d calls", n)
		}
		time.Sleep(time.Hour)
		stop()
		for _, run := range j.all() {
			got := j.result(t, run.ID, "hit")
			if run.Alert == "er-never" {
				if got.State != soar.StepRefused || !strings.Contains(got.Error, "only Windows hosts") {
					t.Errorf("%s ended %+v", run.Alert, got)
				}
			} else if got.State != soar.StepExecuted {
				t.Errorf("%s ended %+v", run.Alert, got)
			}
		}
		for _, c := range server.done("fake.once") {
			if c.at.Before(back) {
				t.Errorf("sent at %s, before the host was back", c.at)
			}
		}
	})
}

// Of two calls of one kind at one host, the second waits for the first; the same call
// is not made twice, and the opposite comes after.
func TestOneOpenCallOfAKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		server.executedAfter = 5
		actions := server.actions()
		kind := func(name, sense string) {
			a := &fakeAction{server: server, spec: Spec{Name: name, Effect: Once, Kind: "containment", Sense: sense}, async: true, list: true}
			actions[name] = a
		}
		kind("fake.contain", "contain")
		kind("fake.release", "release")
		step := func(name, do string) string {
			return "playbook: " + name + "\nmatch: {all: [{it is its own: '.alert.id == \"" + name + "\"'}]}\nsteps: [{id: hit, do: " + do + ", timeout: 10m, with: {host: \"${{ .alert.host.identifier }}\"}}]\n"
		}
		_, stop := running(t, j, actions, loadText(t, actions, step("a", "fake.contain"), step("b", "fake.contain"), step("c", "fake.release")), EngineOptions{})
		for _, id := range []string{"a", "b", "c"} {
			j.put(t, testAlert(id))
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		stop()
		contained, released := server.done("fake.contain"), server.done("fake.release")
		if len(contained) != 1 || len(released) != 1 || !released[0].at.After(contained[0].at) {
			t.Errorf("contained %+v, released %+v", contained, released)
		}
		states := map[soar.StepState]int{}
		for _, run := range j.all() {
			states[j.result(t, run.ID, "hit").State]++
		}
		if states[soar.StepExecuted] != 2 || states[soar.StepSuppressed] != 1 || stateOf(j.all()) != "done done done" {
			t.Errorf("steps ended %v, runs %s", states, stateOf(j.all()))
		}
		if kvs, err := j.KV(t.Context(), "guard/intent/"); err != nil || len(kvs) != 0 {
			t.Errorf("left behind: %v, %v", kvs, err)
		}
	})
}

// decisions are the words of the guard's last answers about a step, in their order.
func decisions(t *testing.T, j *memJournal, run soar.RunID, step string) (words []string) {
	t.Helper()
	entries, err := j.Entries(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Kind == soar.EntryDecision && e.Step == step {
			var d Decision
			if err := json.Unmarshal(e.Body, &d); err != nil {
				t.Fatal(err)
			}
			words = append(words, d.Answers[len(d.Answers)-1].Words)
		}
	}
	return words
}

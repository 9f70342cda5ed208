package playbooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// withoutStepGuard is the text of an explanation without the rails at each step.
func withoutStepGuard(text string) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "    guard: ") }), "")
}

func guardWith(t *testing.T, s guard.Settings) *guard.Guard {
	t.Helper()
	g, err := guard.New(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// protecting keeps calls away from what is tagged jewel.
func protecting(t *testing.T) *guard.Guard {
	return guardWith(t, guard.Settings{Protected: []guard.Protection{{Name: "jewels", Match: guard.Match{Tags: []string{"jewel"}}}}})
}

// record is what host.get returns of a host.
func record(id string, tags ...any) map[string]any {
	return map[string]any{"identifier": id, "name": "pc-" + id, "platform": "windows", "ip": "10.0.0.1", "tags": tags}
}

// Whatever form the argument has by which a playbook names hosts, and wherever the
// playbook has it from: no call that names a protected or unknown one is sent.
func TestNoCallToProtectedHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		server.add(actions, hostGet, Reads, func(_ context.Context, call Call) (Outcome, error) {
			switch id := fmt.Sprint(call.With["host"]); id {
			case "jewel", "7":
				return Outcome{State: soar.StepExecuted, Output: record("jewel", "jewel")}, nil
			case "plain", "other":
				return Outcome{State: soar.StepExecuted, Output: record(id)}, nil
			case "swapped":
				return Outcome{State: soar.StepExecuted, Output: record("plain")}, nil
			case "broken":
				return Outcome{}, errors.New("403 Forbidden")
			default:
				return Outcome{}, fmt.Errorf("host %s: %w", id, soar.ErrNotFound)
			}
		})
		texts := []string{}
		for i, with := range []string{
			"host: jewel", "hosts: [jewel]", "hosts: [plain, jewel]", "hosts: jewel", "host: 7", "hosts: [[other], [[jewel]]]", "{host: plain, hosts: [jewel]}",
			`host: "${{ \"jew\" + \"el\" }}"`, "host: ghost", "hosts: [plain, ghost]", "host: swapped", "host: broken", "host: {id: jewel}", "host: true",
		} {
			if !strings.HasPrefix(with, "{") {
				with = "{" + with + "}"
			}
			texts = append(texts, fmt.Sprintf("playbook: p%d\nsteps: [{id: hit, do: fake.once, with: %s}]", i, with))
		}
		texts = append(texts, "playbook: good\nsteps: [{id: hit, do: fake.once, with: {hosts: [plain, other]}}]")
		_, stop := running(t, j, actions, loadText(t, actions, texts...), EngineOptions{Guard: protecting(t)})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		stop()
		for _, run := range j.all() {
			got := j.result(t, run.ID, "hit")
			if run.Playbook == "good" {
				if got.State != soar.StepExecuted {
					t.Errorf("good: %+v", got)
				}
				continue
			}
			if got.State != soar.StepRefused || got.Error == "" {
				t.Errorf("%s: %+v", run.Playbook, got)
			}
		}
		if n := server.called("fake.once"); n != 1 {
			t.Errorf("%d calls were sent", n)
		}
	})
}

// A host that is protected while a step waits is not acted on when the step goes on,
// and neither is one that is protected on the server a minute before.
func TestFactsAreFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		var mu sync.Mutex
		tags, down := []any{}, false // guarded by mu
		server.add(actions, hostGet, Reads, func(context.Context, Call) (Outcome, error) {
			mu.Lock()
			defer mu.Unlock()
			if down {
				return Outcome{}, fmt.Errorf("the server is out of reach: %w", ErrTransient)
			}
			return Outcome{State: soar.StepExecuted, Output: record("host-1", tags...)}, nil
		})
		e, stop := running(t, j, actions, loadText(t, actions, oneHit), EngineOptions{Guard: protecting(t)})
		j.put(t, testAlert("1"))
		time.Sleep(time.Second)
		if n := server.called("fake.once"); n != 1 {
			t.Fatalf("%d calls", n)
		}
		if _, err := e.Pause(t.Context(), "ann", "x"); err != nil {
			t.Fatal(err)
		}
		j.put(t, testAlert("2"))
		time.Sleep(2 * time.Minute)
		set := func(isDown bool, now []any) {
			mu.Lock()
			defer mu.Unlock()
			tags, down = now, isDown
		}
		set(false, []any{"jewel"})
		if err := e.Resume(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		j.put(t, testAlert("3"))
		time.Sleep(2 * time.Minute)
		// What was read before says nothing once the server is out of reach: the step waits.
		set(true, nil)
		j.put(t, testAlert("4"))
		time.Sleep(5 * time.Minute)
		if n := server.called("fake.once"); n != 1 {
			t.Fatalf("%d calls while the host is protected or cannot be read", n)
		}
		set(false, nil)
		time.Sleep(2 * time.Minute)
		stop()
		want := map[string]soar.StepState{"er-1": soar.StepExecuted, "er-2": soar.StepRefused, "er-3": soar.StepRefused, "er-4": soar.StepExecuted}
		for _, run := range j.all() {
			if got := j.result(t, run.ID, "hit"); got.State != want[run.Alert] {
				t.Errorf("%s: %+v", run.Alert, got)
			}
		}
	})
}

// Runs that waited before a restart go on at once when the kill switch was taken back
// meanwhile, or is taken back later.
func TestHeldRunsAfterARestart(t *testing.T) {
	for _, before := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			j, server := newMemJournal(), newFakeServer()
			actions := server.actions()
			set := loadText(t, actions, oneHit)
			e, stop := running(t, j, actions, set, EngineOptions{})
			if _, err := e.Pause(t.Context(), "ann", ""); err != nil {
				t.Fatal(err)
			}
			j.put(t, testAlert("1"))
			time.Sleep(time.Second)
			stop()
			if before {
				if _, err := j.Commit(t.Context(), guard.ResumeChange("ben", time.Now())); err != nil {
					t.Fatal(err)
				}
			}
			e, stop = running(t, j, actions, set, EngineOptions{})
			time.Sleep(time.Second)
			if !before {
				if n := server.called("fake.once"); n != 0 {
					t.Fatalf("%d calls while paused", n)
				}
				if err := e.Resume(t.Context(), "ben"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
			time.Sleep(time.Second)
			if n := server.called("fake.once"); n != 1 {
				t.Errorf("resumed before the start: %v; %d calls within seconds", before, n)
			}
			stop()
		})
	}
}

// A file that pauses and a person who does are told apart.
func TestPauseFileAndPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		e, stop := running(t, j, actions, loadText(t, actions, oneHit), EngineOptions{})
		file := &guard.Thrown{By: "the file /run/halt", At: time.Now()}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(e.PauseFile(t.Context(), file))
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		must(e.Resume(t.Context(), "ann"))
		time.Sleep(time.Minute)
		if n := server.called("fake.once"); n != 0 || e.Guard().Paused() == nil || e.Guard().Paused().By != file.By {
			t.Fatalf("%d calls while the file is there; %v", n, e.Guard().Paused())
		}
		_, err := e.Pause(t.Context(), "ann", "")
		must(err)
		must(e.PauseFile(t.Context(), nil))
		time.Sleep(time.Minute)
		if n := server.called("fake.once"); n != 0 || e.Guard().Paused() == nil || e.Guard().Paused().By != "ann" {
			t.Fatalf("%d calls while a person has paused; %v", n, e.Guard().Paused())
		}
		must(e.PauseFile(t.Context(), file))
		must(e.Resume(t.Context(), "ann"))
		must(e.PauseFile(t.Context(), nil))
		time.Sleep(time.Minute)
		stop()
		if n := server.called("fake.once"); n != 1 || e.Guard().Paused() != nil {
			t.Errorf("%d calls after both are gone; %v", n, e.Guard().Paused())
		}
	})
}

// Explain tells what the rails say of each call, with the words of the one that decides.
func TestExplainTellsTheGuard(t *testing.T) {
	server := newFakeServer()
	actions := server.actions()
	set := loadText(t, actions, "playbook: p\nsteps: [{id: one, do: fake.once, with: {host: host-1}}, {id: two, do: fake.once, with: {host: ghost}}]")
	x, err := ExplainWith(t.Context(), set.Get("p"), testAlert("1"), ExplainOptions{Guard: protecting(t)})
	if err != nil {
		t.Fatal(err)
	}
	one, two := x.Steps[0], x.Steps[1]
	if len(one.Guard) < 4 || one.Guard[0].Check != "kill switch" || one.Plan != PlanSent {
		t.Errorf("one: %+v", one)
	}
	if last := two.Guard[len(two.Guard)-1]; last.Check != "protected hosts" || last.OK || !strings.Contains(two.Words, "nothing is known of host ghost") {
		t.Errorf("two: %+v", two)
	}
	if text := x.Text(); !strings.Contains(text, "guard: all let it pass: kill switch, mode") || !strings.Contains(text, "not protected hosts") {
		t.Errorf("text:\n%s", text)
	}
}

// guard test tells every rail's answer, changes nothing, and finds mistakes in what it
// is asked.
func TestGuardTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		tags := []any{"jewel"}
		server.add(actions, hostGet, Reads, func(_ context.Context, call Call) (Outcome, error) {
			return Outcome{State: soar.StepExecuted, Output: record(fmt.Sprint(call.With["host"]), tags...)}, nil
		})
		e, stop := running(t, j, actions, loadText(t, actions, oneHit+"\n", "playbook: shy\nmode: observe\nsteps: [{id: hit, do: fake.once}]"), EngineOptions{Guard: protecting(t)})
		ask := func(q GuardQuestion) *GuardAnswer {
			t.Helper()
			a, err := e.TestGuard(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		check := func(a *GuardAnswer, plan Plan, words string) {
			t.Helper()
			if a.Plan != plan || !strings.Contains(a.Words, words) || len(a.Answers) < 4 || len(a.Hosts) != 1 {
				t.Errorf("%+v", a)
			}
		}
		check(ask(GuardQuestion{Action: "fake.once", Host: "h"}), PlanObserved, `would not be sent: protected hosts: pc-h (h) is protected from fake.once by the rule "jewels"`)
		check(ask(GuardQuestion{Action: "fake.once", Host: "h", Playbook: "shy"}), PlanObserved, "mode: observe: the playbook only observes")
		tags = nil
		check(ask(GuardQuestion{Action: "fake.once", Host: "other", Playbook: "p"}), PlanSent, "would be sent")
		alert := testAlert("1")
		if a := ask(GuardQuestion{Action: "fake.once", Alert: &alert}); a.Hosts[0].ID != "host-1" || a.Alert != "er-1" {
			t.Errorf("on the host of the alert: %+v", a)
		}
		if _, err := e.Pause(t.Context(), "ann", "lunch"); err != nil {
			t.Fatal(err)
		}
		check(ask(GuardQuestion{Action: "fake.once", Host: "other"}), PlanHeld, "would wait for kill switch: paused by ann")
		for _, tt := range []struct {
			q    GuardQuestion
			want string
		}{
			{GuardQuestion{Action: "fake.onec"}, `did you mean "fake.once"?`},
			{GuardQuestion{Action: "fake.read"}, "only reads"},
			{GuardQuestion{Action: "fake.once", Playbook: "shyy"}, `did you mean "shy"?`},
		} {
			if _, err := e.TestGuard(t.Context(), tt.q); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v: %v", tt.q, err)
			}
		}
		stop()
		if n := server.called("fake.once"); n != 0 || len(j.all()) != 0 {
			t.Errorf("%d calls, %d runs", n, len(j.all()))
		}
	})
}

package playbooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// doorCloser is fake.close: what it closes, fake.open opens again.
type doorCloser struct{ *fakeAction }

func (a doorCloser) Reverse(call Call, _ any) *Reversal {
	text, _ := call.With["for"].(string)
	after, _ := registry.ParseDuration(text)
	if text == "" {
		after = 0
	}
	return &Reversal{Do: "fake.open", With: map[string]any{"host": call.With["host"], "rule": call.Mark}, After: after}
}

// doorOpener is fake.open. What is open already is not opened again.
type doorOpener struct{ *fakeAction }

func (a doorOpener) Ready(_ context.Context, call Call) error {
	for _, c := range a.server.done("fake.open") {
		if c.with["rule"] == call.With["rule"] {
			return fmt.Errorf("%w: it was opened already", ErrNothingToDo)
		}
	}
	return nil
}

// reversible is a fake server whose hosts can be closed and opened.
func reversible() (*fakeServer, map[string]Action) {
	server := newFakeServer()
	actions := server.actions()
	shut := Spec{Name: "fake.close", Effect: Once, Kind: "door", Sense: "close", Inverse: "fake.open"}
	actions[shut.Name] = doorCloser{&fakeAction{server: server, spec: shut, async: true, list: true, marked: true}}
	open := Spec{Name: "fake.open", Effect: Repeatable, Kind: "door", Sense: "open", Inverse: "fake.close"}
	actions[open.Name] = doorOpener{&fakeAction{server: server, spec: open, async: true}}
	return server, actions
}

const closesFor4h = `playbook: p
steps:
  - {id: shut, do: fake.close, timeout: 1h, with: {host: "${{ .alert.host.identifier }}", for: 4h}}
  - {id: look, do: fake.repeat}`

// byPlaybook finds the runs of a playbook, the oldest first.
func (j *memJournal) byPlaybook(name string) []soar.Run {
	runs := slices.DeleteFunc(j.all(), func(r soar.Run) bool { return r.Playbook != name })
	slices.SortFunc(runs, func(a, b soar.Run) int { return int(a.ID - b.ID) })
	return runs
}

func undoOf(id soar.RunID, step string) UndoOrder {
	return UndoOrder{Run: id, Step: step, By: "ann", Reason: "wrong machine"}
}

// What is wanted for a time is taken back by itself, after one warning, and whether or
// not the process was there all the time.
func TestTakenBackByItself(t *testing.T) {
	for _, tt := range []struct {
		name  string
		stops []time.Duration // when the process ends, and begins again, by turns
		warns int
	}{
		{"one process", nil, 1},
		{"a restart before", []time.Duration{time.Hour, 2 * time.Hour}, 1},
		{"away when people are told", []time.Duration{time.Hour, 3*time.Hour + 50*time.Minute}, 1},
		{"restarted between the warning and the time", []time.Duration{3*time.Hour + 50*time.Minute, 3*time.Hour + 55*time.Minute}, 1},
		{"away at the time", []time.Duration{3*time.Hour + 50*time.Minute, 9 * time.Hour}, 1},
		{"away all the time", []time.Duration{time.Hour, 9 * time.Hour}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := newMemJournal()
				server, actions := reversible()
				set := loadText(t, actions, closesFor4h)
				_, stop := running(t, j, actions, set, EngineOptions{Hosts: anyHost})
				begin := time.Now()
				j.put(t, testAlert("1"))
				for i, at := range tt.stops {
					time.Sleep(time.Until(begin.Add(at)))
					if i%2 == 0 {
						stop()
					} else {
						_, stop = running(t, j, actions, set, EngineOptions{Hosts: anyHost})
					}
				}
				if len(tt.stops) == 0 {
					time.Sleep(3*time.Hour + 59*time.Minute)
					if n := len(server.done("fake.open")); n != 0 {
						t.Errorf("opened %d times before its time", n)
					}
				}
				time.Sleep(time.Until(begin.Add(10 * time.Hour)))
				stop()

				run := j.byPlaybook("p")[0]
				if undo := j.result(t, run.ID, "shut").Undo; undo == nil || undo.Do != "fake.open" || undo.After != 4*time.Hour {
					t.Errorf("undo %+v", undo)
				}
				back := j.byPlaybook("undo-p")
				if len(back) != 1 || back[0].State != soar.RunDone || back[0].Alert != run.Alert {
					t.Fatalf("taken back by %+v", back)
				}
				opened := server.done("fake.open")
				if len(opened) != 1 || opened[0].with["rule"] != server.done("fake.close")[0].mark || opened[0].with["host"] != "host-1" {
					t.Fatalf("opened %+v", opened)
				}
				if took := opened[0].at.Sub(begin); took < 4*time.Hour {
					t.Errorf("opened after %s", took)
				}
				warnings := j.events(soar.EventUndoSoon)
				if len(warnings) != tt.warns {
					t.Fatalf("%d warnings", len(warnings))
				}
				for _, w := range warnings {
					want := ", fake.open takes back step shut of run " + run.ID.String() + " (p): fake.close (did it). "
					if !strings.Contains(w.Text, want) || !strings.Contains(w.Text, "runs extend "+back[0].ID.String()+" ") ||
						w.Undo == nil || w.Undo.Of != run.ID || w.Undo.Step != "shut" || w.Undo.Do != "fake.open" || w.AlertKey != run.AlertKey {
						t.Errorf("warning %+v", w)
					}
				}
				if n := len(j.events(soar.EventTrouble)); n != 0 {
					t.Errorf("%d times trouble", n)
				}
				checkEventsOnce(t, crashAt{}, j)
			})
		})
	}
}

// People can move the time, and are told anew; at once and for good are possible too.
func TestExtend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemJournal()
		server, actions := reversible()
		set := loadText(t, actions, closesFor4h)
		e, stop := running(t, j, actions, set, EngineOptions{Hosts: anyHost})
		j.put(t, testAlert("1"))
		time.Sleep(3*time.Hour + 50*time.Minute) // they were told once
		run, back := j.byPlaybook("p")[0], j.byPlaybook("undo-p")[0]
		note, pending := PendingUndo(entriesOf(t, j, back.ID))
		if !pending || note.Due.IsZero() {
			t.Fatalf("%+v, pending %t", note, pending)
		}
		x := Extension{Run: run.ID, For: 2 * time.Hour, By: "ann", Reason: "not yet"}
		got, err := e.Extend(t.Context(), x)
		if want := (ExtendedStep{Step: "shut", Run: back.ID, Due: note.Due.Add(2 * time.Hour)}); err != nil || len(got) != 1 || got[0] != want {
			t.Fatalf("extended %+v: %v", got, err)
		}
		// A word from before that does not shorten it.
		got, err = e.Extend(t.Context(), Extension{Run: back.ID, Until: note.Due.Add(time.Hour), Later: true, By: "ben", Reason: "not yet"})
		if want := note.Due.Add(2 * time.Hour); err != nil || len(got) != 1 || !got[0].Due.Equal(want) {
			t.Fatalf("extended %+v: %v, want %s still", got, err, want)
		}
		stop()
		e, stop = running(t, j, actions, set, EngineOptions{Hosts: anyHost})
		time.Sleep(time.Hour)
		if n := len(server.done("fake.open")); n != 0 {
			t.Fatalf("opened %d times", n)
		}
		for _, tt := range []struct {
			x    Extension
			want string
		}{
			{Extension{Run: back.ID, Until: time.Now().Add(-time.Second)}, "is not in the future"},
			{Extension{Run: back.ID, For: 100 * 24 * time.Hour}, "at most 90d ahead"},
			{Extension{Run: run.ID, Step: "look", For: time.Hour}, "nothing that run " + run.ID.String() + " did waits"},
		} {
			if _, err := e.Extend(t.Context(), tt.x); !errors.Is(err, ErrNotExtended) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v: %v", tt.x, err)
			}
		}
		if _, err := e.Extend(t.Context(), Extension{Run: 99, For: time.Hour}); !errors.Is(err, soar.ErrNotFound) {
			t.Errorf("no such run: %v", err)
		}
		time.Sleep(2 * time.Hour)
		if n := len(server.done("fake.open")); n != 1 {
			t.Errorf("opened %d times", n)
		}
		if n := len(j.events(soar.EventUndoSoon)); n != 2 {
			t.Errorf("people were told %d times", n)
		}
		if _, err := e.Extend(t.Context(), Extension{Run: back.ID, For: time.Hour}); !errors.Is(err, ErrNotExtended) || !strings.Contains(err.Error(), "has begun") {
			t.Errorf("afterwards: %v", err)
		}
		stop()
	})
}

// All that a run did lasts longer, unless a person names a step of it; what has begun to be
// taken back, people are told.
func TestExtendAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemJournal()
		_, actions := reversible()
		set := loadText(t, actions, `playbook: p
steps:
  - {id: shut, for_each: '["host-1", "host-2"]', do: fake.close, with: {host: '${{ .item }}', for: 4h}}
  - {id: early, do: fake.close, with: {host: host-3, for: 2h}}
`)
		e, stop := running(t, j, actions, set, EngineOptions{Hosts: anyHost})
		begin := time.Now()
		j.put(t, testAlert("1"))
		time.Sleep(time.Hour)
		run := j.byPlaybook("p")[0]
		extend := func(step string, by time.Duration, want ...string) {
			t.Helper()
			list, err := e.Extend(t.Context(), Extension{Run: run.ID, Step: step, For: by, By: "ann", Reason: "not yet"})
			var got []string
			for _, one := range list {
				words := one.Words
				if words == "" {
					words = one.Due.Sub(begin).Round(time.Minute).String()
				}
				got = append(got, one.Step+": "+words)
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("extended %q: %v", got, err)
			}
		}
		extend("", 2*time.Hour, "early: 4h0m0s", "shut[0]: 6h0m0s", "shut[1]: 6h0m0s")
		extend("shut", time.Hour, "shut[0]: 7h0m0s", "shut[1]: 7h0m0s")
		extend("shut[1]", time.Hour, "shut[1]: 8h0m0s")
		if _, err := e.Pause(t.Context(), "ann", "lunch"); err != nil { // what has begun, waits
			t.Fatal(err)
		}
		time.Sleep(3*time.Hour + time.Minute)
		opening := j.byPlaybook("undo-p")[0]
		for _, back := range j.byPlaybook("undo-p") {
			if note, _ := PendingUndo(entriesOf(t, j, back.ID)); note.Steps[0].Step == "early" {
				opening = back
			}
		}
		extend("", time.Hour, "early: run "+opening.ID.String()+" has begun to take it back", "shut[0]: 8h0m0s", "shut[1]: 9h0m0s")
		stop()
	})
}

// That something will not be taken back after all, people are told in these words, also
// when the run that should do it cannot be gone on with.
func TestGivenUpBeforeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemJournal()
		_, actions := reversible()
		set := loadText(t, actions, closesFor4h)
		_, stop := running(t, j, actions, set, EngineOptions{Hosts: anyHost})
		j.put(t, testAlert("1"))
		time.Sleep(time.Hour)
		stop()
		run, back := j.byPlaybook("p")[0], j.byPlaybook("undo-p")[0]
		broken := &failingVersions{memJournal: j, hash: back.Version, err: soar.ErrNotFound, times: 1000}
		_, stop = running(t, broken, actions, set, EngineOptions{Hosts: anyHost})
		time.Sleep(10 * time.Hour)
		stop()
		if got := j.byPlaybook("undo-p")[0]; got.State != soar.RunFailed {
			t.Errorf("%+v", got)
		}
		trouble := j.events(soar.EventTrouble)
		want := "As far as anybody knows, this still holds: what step shut did: fake.close (did it)"
		if len(trouble) != 1 || !strings.Contains(trouble[0].Text, want) || !strings.Contains(trouble[0].Text, "erbridge runs undo "+run.ID.String()+" --step shut") {
			t.Errorf("people were told %+v", trouble)
		}
	})
}

// A run that waits for its time can be called off like any other.
func TestKeptForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemJournal()
		server, actions := reversible()
		e, stop := running(t, j, actions, loadText(t, actions, closesFor4h), EngineOptions{Hosts: anyHost})
		j.put(t, testAlert("1"))
		time.Sleep(time.Hour)
		run, back := j.byPlaybook("p")[0], j.byPlaybook("undo-p")[0]
		if got, err := e.Cancel(t.Context(), cancelled(back.ID, "")); err != nil || got.State != soar.RunCancelled {
			t.Fatalf("%+v: %v", got, err)
		}
		time.Sleep(10 * time.Hour)
		if n := len(server.done("fake.open")) + len(j.events(soar.EventUndoSoon)) + len(j.events(soar.EventTrouble)); n != 0 {
			t.Errorf("%d times opened or told", n)
		}
		if got, err := e.Undo(t.Context(), undoOf(run.ID, "")); err != nil || got.Run == nil || got.Steps[1].State != UndoBegun {
			t.Errorf("taken back in the end: %+v: %v", got, err)
		}
		time.Sleep(time.Minute)
		stop()
		if n := len(server.done("fake.open")); n != 1 {
			t.Errorf("opened %d times", n)
		}
	})
}

func entriesOf(t *testing.T, j *memJournal, id soar.RunID) []soar.Entry {
	t.Helper()
	entries, err := j.Entries(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// A person takes back a run: backwards, all of it, and once.
func TestUndo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemJournal()
		server, actions := reversible()
		set := loadText(t, actions, `playbook: p
steps:
  - {id: first, do: fake.close, with: {host: a, "it's": '; drop "x"', for: 4h}}
  - {id: each, for_each: '["b", "c", "d"]', do: fake.close, with: {host: "${{ .item }}"}}
  - {id: sub, call: q}
  - {id: no, if: "false", do: fake.close, with: {host: z}}
  - {id: seen, do: fake.read}
  - {id: told, do: fake.repeat}`, `playbook: q
match: {all: [{never: "false"}]}
steps: [{id: last, do: fake.close, with: {host: e}}]`)
		e, stop := running(t, j, actions, set, EngineOptions{Hosts: anyHost})
		j.put(t, testAlert("1"))
		time.Sleep(time.Hour)
		run := j.byPlaybook("p")[0]
		got, err := e.Undo(t.Context(), undoOf(run.ID, "each[1]"))
		if err != nil || len(got.Steps) != 1 || got.Steps[0].State != UndoBegun {
			t.Fatalf("one item: %+v: %v", got, err)
		}
		time.Sleep(time.Minute)
		single := got.Run.ID
		got, err = e.Undo(t.Context(), undoOf(run.ID, ""))
		if err != nil {
			t.Fatal(err)
		}
		var states []string
		for _, s := range got.Steps {
			states = append(states, s.Step+" "+string(s.State))
		}
		if want := "told impossible, sub/last begun, each[2] begun, each[1] done, each[0] begun, first forward"; strings.Join(states, ", ") != want {
			t.Errorf("steps %s\nwant  %s", strings.Join(states, ", "), want)
		}
		for _, want := range []string{"fake.repeat cannot be taken back: no action undoes it", "it was taken back already by run " + single.String() + ": did it"} {
			if !slices.ContainsFunc(got.Steps, func(s UndoneStep) bool { return s.Words == want }) {
				t.Errorf("nothing says %q: %+v", want, got.Steps)
			}
		}
		time.Sleep(time.Hour)
		var hosts []string
		for _, c := range server.done("fake.open") {
			hosts = append(hosts, c.with["host"].(string))
		}
		if order := slices.DeleteFunc(slices.Clone(hosts), func(h string) bool { return h == "a" }); len(hosts) != 5 || strings.Join(order, "")[:2] != "ce" {
			t.Errorf("opened %v", hosts)
		}
		if states := stateOf(j.byPlaybook("undo-p")); states != "done done done" {
			t.Errorf("runs %s", states)
		}

		_, err = e.Undo(t.Context(), undoOf(run.ID, ""))
		if !errors.Is(err, ErrNotUndone) || !strings.Contains(err.Error(), "step first: it was taken back already by run") {
			t.Errorf("again: %v", err)
		}
		for step, want := range map[string]string{
			"no":    "it was skipped, and nothing was carried out",
			"seen":  "fake.read only reads",
			"ghost": "step ghost of run " + run.ID.String() + " has not ended, or there is none",
		} {
			if _, err := e.Undo(t.Context(), undoOf(run.ID, step)); !errors.Is(err, ErrNotUndone) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", step, err)
			}
		}
		if _, err := e.Undo(t.Context(), undoOf(single, "")); !errors.Is(err, ErrNotUndone) || !strings.Contains(err.Error(), "run the playbook p again") {
			t.Errorf("what was taken back: %v", err)
		}
		if _, err := e.Undo(t.Context(), undoOf(99, "")); !errors.Is(err, soar.ErrNotFound) {
			t.Errorf("no such run: %v", err)
		}
		stop()
		texts := map[string]bool{}
		for _, r := range j.byPlaybook("undo-p") {
			v, err := j.PlaybookVersion(t.Context(), r.Version)
			if err != nil || strings.Contains(string(v.Source), "drop") || strings.Contains(string(v.Source), "erbridge-") {
				t.Errorf("an argument stands in the text, or it is not kept: %v\n%s", err, v.Source)
			}
			texts[r.Version] = true
		}
		if len(texts) != 3 {
			t.Errorf("%d texts", len(texts))
		}
	})
}

// A run that is going on has to be called off first, unless a step is named.
func TestUndoOfARunThatIsGoingOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemJournal()
		server, actions := reversible()
		server.executedAfter = 1
		set := loadText(t, actions, `playbook: p
steps:
  - {id: shut, do: fake.close, with: {host: a}}
  - {id: wait, do: fake.repeat, retry: {attempts: 3, delay: 1h, on: failed}, timeout: 5h}`)
		server.add(actions, "fake.repeat", Repeatable, func(context.Context, Call) (Outcome, error) {
			return Outcome{}, errors.New("no")
		})
		set = loadText(t, actions, string(set.Playbooks()[0].Source))
		e, stop := running(t, j, actions, set, EngineOptions{Hosts: anyHost})
		j.put(t, testAlert("1"))
		time.Sleep(time.Minute)
		run := j.byPlaybook("p")[0]
		if _, err := e.Undo(t.Context(), undoOf(run.ID, "")); !errors.Is(err, ErrNotUndone) || !strings.Contains(err.Error(), "cancel it first") {
			t.Errorf("the run: %v", err)
		}
		if _, err := e.Undo(t.Context(), undoOf(run.ID, "wait")); !errors.Is(err, ErrNotUndone) || !strings.Contains(err.Error(), "has not ended") {
			t.Errorf("a step that has not ended: %v", err)
		}
		got, err := e.Undo(t.Context(), undoOf(run.ID, "shut"))
		if err != nil || got.Run == nil {
			t.Fatalf("a step that has: %+v, %v", got, err)
		}
		time.Sleep(time.Minute)
		stop()
		if n := len(server.done("fake.open")); n != 1 {
			t.Errorf("opened %d times", n)
		}
	})
}

// What could not be taken back is told, and can be tried again.
func TestNotTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemJournal()
		server, actions := reversible()
		broken := true
		open := server.add(actions, "fake.open", Repeatable, nil)
		open.do = func(_ context.Context, call Call) (Outcome, error) {
			if broken && call.With["host"] == "host-1" {
				return Outcome{}, errors.New("the host turns it down")
			}
			return Outcome{State: soar.StepExecuted, Summary: "opened"}, nil
		}
		set := loadText(t, actions, `playbook: p
steps:
  - {id: other, do: fake.close, with: {host: b}}
  - {id: shut, do: fake.close, with: {host: "${{ .alert.host.identifier }}", for: 4h}}`)
		e, stop := running(t, j, actions, set, EngineOptions{Hosts: anyHost})
		j.put(t, testAlert("1"))
		time.Sleep(5 * time.Hour)
		run := j.byPlaybook("p")[0]
		trouble := j.events(soar.EventTrouble)
		if len(trouble) != 1 || !strings.Contains(trouble[0].Text, "this still holds: what step shut did: fake.close (did it)") ||
			!strings.Contains(trouble[0].Text, "the host turns it down") || !strings.Contains(trouble[0].Text, "erbridge runs undo "+run.ID.String()+" --step shut") {
			t.Errorf("trouble %+v", trouble)
		}
		// All of it is tried, and the run fails by what failed.
		if _, err := e.Undo(t.Context(), undoOf(run.ID, "")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := j.byPlaybook("undo-p"); len(got) != 2 || got[1].State != soar.RunFailed || got[1].Error != "step shut: the host turns it down" {
			t.Errorf("runs %+v", got)
		}
		broken = false
		got, err := e.Undo(t.Context(), undoOf(run.ID, ""))
		if err != nil || len(got.Steps) != 2 || got.Steps[0].State != UndoBegun || got.Steps[1].State != UndoDone {
			t.Fatalf("%+v: %v", got, err)
		}
		time.Sleep(time.Minute)
		stop()
		if got := j.byPlaybook("undo-p"); got[2].State != soar.RunDone {
			t.Errorf("run %+v", got[2])
		}
	})
}

// A call that may have been carried out can be taken back as well, and one that
// certainly was not, cannot.
func TestUndoOfWhatMayHaveHappened(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(call Call) (Outcome, error)
		poll func() (Outcome, error)
		undo bool
	}{
		{"unknown", func(Call) (Outcome, error) { return Outcome{}, fmt.Errorf("%w: reset", ErrUncertain) }, nil, true},
		{"never carried out, and it may be yet", nil, func() (Outcome, error) { return Outcome{State: soar.StepAccepted}, nil }, true},
		{"carried out and not seen", nil, func() (Outcome, error) {
			return Outcome{State: soar.StepAccepted, Unverified: "the host went away"}, nil
		}, true},
		{"carried out and not as it should", nil, func() (Outcome, error) {
			return Outcome{State: soar.StepFailed, Error: "no rule", Executed: true}, nil
		}, true},
		{"failed", nil, func() (Outcome, error) { return Outcome{State: soar.StepFailed, Error: "no"}, nil }, false},
		{"cancelled", nil, func() (Outcome, error) { return Outcome{State: soar.StepCancelled}, nil }, false},
		{"refused", func(Call) (Outcome, error) { return Outcome{}, errors.New("400") }, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := newMemJournal()
				server, actions := reversible()
				shut := actions["fake.close"].(doorCloser).fakeAction
				shut.list = tt.name != "unknown"
				if tt.do != nil {
					shut.do = func(_ context.Context, call Call) (Outcome, error) { return tt.do(call) }
				}
				if tt.poll != nil {
					shut.poll = func(context.Context) (Outcome, error) { return tt.poll() }
				}
				_, stop := running(t, j, actions, loadText(t, actions, closesFor4h), EngineOptions{Hosts: anyHost})
				j.put(t, testAlert("1"))
				time.Sleep(10 * time.Hour)
				stop()
				got := j.result(t, j.byPlaybook("p")[0].ID, "shut")
				if opened := len(server.done("fake.open")); (got.Undo != nil) != tt.undo || (opened == 1) != tt.undo {
					t.Errorf("opened %d times, %+v", opened, got)
				}
			})
		})
	}
}

// doorKeeper closes what is not closed yet.
type doorKeeper struct{ doorCloser }

func (a doorKeeper) Ready(context.Context, Call) error {
	if len(a.server.done("fake.close")) > 0 {
		return fmt.Errorf("%w: it is closed", ErrNothingToDo)
	}
	return nil
}

// A call whose answer was lost did what is there now: it is not called one that found
// nothing to do, and is taken back like any other.
func TestUndoOfWhatWasFoundDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newMemJournal()
		server, actions := reversible()
		shut := Spec{Name: "fake.close", Effect: Repeatable, Inverse: "fake.open"}
		actions[shut.Name] = doorKeeper{doorCloser{&fakeAction{server: server, spec: shut}}}
		server.after = func(int) error { return ErrUncertain }
		set := loadText(t, actions, closesFor4h)
		_, stop := running(t, j, actions, set, EngineOptions{Hosts: anyHost})
		j.put(t, testAlert("1"))
		time.Sleep(time.Second)
		stop()
		time.Sleep(time.Hour / 2)
		_, stop = running(t, j, actions, set, EngineOptions{Hosts: anyHost})
		time.Sleep(time.Minute)
		stop()
		result := j.result(t, j.byPlaybook("p")[0].ID, "shut")
		if result.State != soar.StepVerified || result.Undo == nil || len(j.byPlaybook("undo-p")) != 1 {
			t.Errorf("result %+v, taken back by %v", result, j.byPlaybook("undo-p"))
		}
		if n := len(server.done("fake.close")); n != 1 {
			t.Errorf("sent %d times", n)
		}
	})
}

// What is taken back passes where nothing new may be begun, and is held where nothing
// at all may be sent.
func TestGuardLetsUndoPass(t *testing.T) {
	for _, tt := range []struct {
		name  string
		g     guard.Settings
		o     EngineOptions
		pause bool
		want  string // of the last answer; empty: it goes out
	}{
		{"protected host", guard.Settings{Protected: []guard.Protection{{Name: "all", Match: guard.Match{Names: []string{"*"}}}}}, EngineOptions{}, false, ""},
		{"host that is only observed", guard.Settings{Hosts: []guard.Group{{Name: "all", Mode: soar.ModeObserve, Match: guard.Match{Names: []string{"*"}}}}}, EngineOptions{}, false, ""},
		{"host for which people are asked", guard.Settings{Hosts: []guard.Group{{Name: "all", Mode: soar.ModeApprove, Match: guard.Match{Names: []string{"*"}}}}}, EngineOptions{}, false, ""},
		{"approve", guard.Settings{}, EngineOptions{Ceiling: soar.ModeApprove}, false, ""},
		{"observe", guard.Settings{}, EngineOptions{Ceiling: soar.ModeObserve}, false, "observe: all playbooks are held at observe, so that what run"},
		{"kill switch", guard.Settings{}, EngineOptions{}, true, "paused by ben"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := newMemJournal()
				server, actions := reversible()
				set := loadText(t, actions, closesFor4h)
				_, stop := running(t, j, actions, set, EngineOptions{Hosts: anyHost})
				j.put(t, testAlert("1"))
				time.Sleep(time.Hour)
				stop()
				tt.o.Guard, tt.o.Hosts = guardWith(t, tt.g), anyHost
				e, stop := running(t, j, actions, set, tt.o)
				if tt.pause {
					if _, err := e.Pause(t.Context(), "ben", ""); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(4 * time.Hour)
				held := HeldSteps(entriesOf(t, j, j.byPlaybook("undo-p")[0].ID))
				opened := len(server.done("fake.open"))
				switch {
				case tt.want == "" && opened != 1:
					t.Errorf("opened %d times, held %+v", opened, held)
				case tt.want != "" && (opened != 0 || len(held) != 1 || !strings.Contains(held[0].Words, tt.want)):
					t.Errorf("opened %d times, held %+v", opened, held)
				}
				if tt.pause {
					if err := e.Resume(t.Context(), "ben"); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
					if n := len(server.done("fake.open")); n != 1 {
						t.Errorf("opened %d times when the switch was taken back", n)
					}
				}
				stop()
			})
		})
	}
}

// Wherever the process dies, from the closing on to the end of the opening: what was
// closed is opened in the end, by one run, and people are told once at most.
func TestCrashEverywhereInUndo(t *testing.T) {
	const book = `playbook: p
steps: [{id: shut, do: fake.close, timeout: 3h, with: {host: "${{ .alert.host.identifier }}", for: 4m}}]`
	for _, where := range []string{"commit", "committed", "call", "called"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			moments := 0
			for n := 1; ; n++ {
				died := false
				synctest.Test(t, func(t *testing.T) {
					j := newMemJournal()
					server, actions := reversible()
					j.put(t, testAlert("1"))
					at := crashAt{n, where}
					died = at.run(t, j, server, actions, loadText(t, actions, book))
					shut, opened := server.done("fake.close"), server.done("fake.open")
					back := j.byPlaybook("undo-p")
					if len(shut) != 1 || len(opened) == 0 || len(back) != 1 || back[0].State != soar.RunDone {
						t.Fatalf("%+v: closed %d times, opened %d times by %+v", at, len(shut), len(opened), back)
					}
					for _, c := range opened { // what may be repeated, may be sent twice
						if c.with["rule"] != shut[0].mark {
							t.Errorf("%+v: opened %+v", at, c)
						}
					}
					if n := len(j.events(soar.EventUndoSoon)); n > 1 { // none where the process was away
						t.Errorf("%+v: people were told %d times", at, n)
					}
					checkEventsOnce(t, at, j)
				})
				if !died {
					break
				}
				moments++
			}
			want := 8
			if where == "call" || where == "called" {
				want = 2
			}
			if moments < want {
				t.Errorf("only %d moments, expected at least %d", moments, want)
			}
		})
	}
}

// What a run did that cannot be gone on with is taken back all the same: in its time, or
// by a person.
func TestUndoOfARunThatWasGivenUp(t *testing.T) {
	for _, sent := range []bool{false, true} {
		t.Run(fmt.Sprint("sent ", sent), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				with := map[string]any{"host": "host-1", "for": "4h"}
				body, err := json.Marshal(Intent{Action: "fake.close", Effect: Once, Attempt: 1, With: with, Mark: "erbridge-x-shut"})
				if err != nil {
					t.Fatal(err)
				}
				entries := []soar.Entry{{Step: "shut", Kind: soar.EntryIntent, Body: body}}
				if sent {
					entries = append(entries, soar.Entry{Step: "shut", Kind: soar.EntrySent, Ref: "c1", Body: json.RawMessage(`{}`)})
				}
				j, id := brokenJournal(t, entries)
				server, actions := reversible()
				e, stop := running(t, j, actions, nil, EngineOptions{Hosts: anyHost})
				time.Sleep(time.Hour)
				back := slices.DeleteFunc(j.all(), func(r soar.Run) bool { return r.State != soar.RunWaiting })
				if len(back) != 1 {
					t.Fatalf("runs %+v", j.all())
				}
				got, err := e.Undo(t.Context(), undoOf(id, "shut"))
				if err != nil || len(got.Steps) != 1 || got.Steps[0].State != UndoForward || got.Steps[0].Run != back[0].ID {
					t.Errorf("%+v: %v", got, err)
				}
				time.Sleep(time.Minute)
				stop()
				if opened := server.done("fake.open"); len(opened) != 1 || opened[0].with["rule"] != "erbridge-x-shut" {
					t.Errorf("opened %+v", opened)
				}
			})
		})
	}
}

// An explanation says what will be taken back by itself.
func TestExplainTellsOfUndo(t *testing.T) {
	_, actions := reversible()
	set := loadText(t, actions, closesFor4h)
	x, err := ExplainWith(t.Context(), set.Get("p"), testAlert("1"), ExplainOptions{Actions: actions, Hosts: anyHost})
	if err != nil {
		t.Fatal(err)
	}
	want := "taken back by itself after 4h, by fake.open; people are told before"
	if len(x.Steps) != 2 || x.Steps[0].TakenBack != want || x.Steps[1].TakenBack != "" {
		t.Errorf("steps %+v", x.Steps)
	}
	if text := x.Text(); !strings.Contains(text, "    then: "+want+"\n") {
		t.Errorf("the text:\n%s", text)
	}
}

package playbooks

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// A run whose playbook no longer loads ends by what its journal alone tells.
func TestGiveUp(t *testing.T) {
	intent := func(effect Effect) soar.Entry {
		body, _ := json.Marshal(Intent{Action: "host.contain", Effect: effect, Attempt: 1})
		return soar.Entry{Step: "hit", Kind: soar.EntryIntent, Body: body}
	}
	note := func(note StepNote) soar.Entry {
		body, _ := json.Marshal(note)
		return soar.Entry{Step: "hit", Kind: soar.EntryNote, Body: body}
	}
	sent := soar.Entry{Step: "hit", Kind: soar.EntrySent, Ref: "c1", Body: json.RawMessage(`{}`)}
	result := soar.Entry{Step: "hit", Kind: soar.EntryResult, Body: json.RawMessage(`{"state": "executed"}`)}
	for name, tt := range map[string]struct {
		entries []soar.Entry
		state   soar.RunState
	}{
		"nothing was sent":             {nil, soar.RunFailed},
		"about to be sent":             {[]soar.Entry{intent(Once)}, soar.RunUnknown},
		"the answer was lost":          {[]soar.Entry{intent(Once), note(StepNote{Text: "the answer was lost"})}, soar.RunUnknown},
		"an intent nobody can read":    {[]soar.Entry{{Step: "hit", Kind: soar.EntryIntent, Body: json.RawMessage(`[]`)}}, soar.RunUnknown},
		"twice is as good as once":     {[]soar.Entry{intent(Repeatable)}, soar.RunFailed},
		"the attempt failed for sure":  {[]soar.Entry{intent(Once), note(StepNote{Retry: 2})}, soar.RunFailed},
		"accepted":                     {[]soar.Entry{intent(Once), sent}, soar.RunFailed},
		"the step is over":             {[]soar.Entry{intent(Once), sent, result}, soar.RunFailed},
		"sent again after a look-up":   {[]soar.Entry{intent(Once), intent(Once)}, soar.RunUnknown},
		"another attempt was about to": {[]soar.Entry{intent(Once), note(StepNote{Retry: 2}), intent(Once)}, soar.RunUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, id := brokenJournal(t, tt.entries)
				_, stop := running(t, j, newFakeServer().actions(), nil, EngineOptions{})
				time.Sleep(time.Minute)
				stop()
				run, err := j.GetRun(t.Context(), id)
				if err != nil || run.State != tt.state || run.EndedAt.IsZero() || run.Error == "" {
					t.Errorf("run %+v, %v, want %s", run, err, tt.state)
				}
				trouble := j.events(soar.EventTrouble)
				if len(trouble) != 1 || strings.Contains(trouble[0].Text, "settle") != (tt.state == soar.RunUnknown) {
					t.Errorf("trouble: %+v", trouble)
				}
				if got := len(j.events(soar.EventRunFinished)); (got == 1) != (tt.state == soar.RunFailed) {
					t.Errorf("%d times run.finished", got)
				}
			})
		})
	}
}

// brokenJournal has a run in the middle of a playbook that does not load any more.
func brokenJournal(t *testing.T, entries []soar.Entry) (*memJournal, soar.RunID) {
	t.Helper()
	j := newMemJournal()
	j.put(t, testAlert("1"))
	change := soar.Change{
		Evaluated: []soar.Evaluation{{AlertKey: 1}},
		Playbooks: []soar.PlaybookVersion{{Hash: "0123", Name: "gone", Source: []byte("playbook: gone\nsteps: [{id: hit, do: fake.removed}]")}},
	}
	run := soar.Run{
		ID: soar.NewRunID(time.Now()), AlertKey: 1, Alert: "er-1", Playbook: "gone", Version: "0123", Mode: soar.ModeEnforce,
		State: soar.RunRunning, Epoch: 1, StartedAt: time.Now(),
	}
	change.Runs = []soar.Run{run}
	for i, entry := range entries {
		entry.Run, entry.Seq, entry.At = run.ID, i+1, time.Now()
		change.Entries = append(change.Entries, entry)
	}
	if _, err := j.Commit(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	return j, run.ID
}

func TestSettleWithoutThePlaybook(t *testing.T) {
	for _, happened := range []bool{true, false} {
		t.Run(fmt.Sprint(happened), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j, id := brokenJournal(t, []soar.Entry{{
					Step: "hit", Kind: soar.EntryIntent, Body: json.RawMessage(`{"action": "host.contain", "effect": "` + string(Once) + `"}`),
				}})
				e, stop := running(t, j, newFakeServer().actions(), nil, EngineOptions{})
				time.Sleep(time.Minute)
				if err := e.Settle(t.Context(), id, "other", happened, "ann", ""); !errors.Is(err, ErrNotUnknown) {
					t.Errorf("settling another step: %v", err)
				}
				if err := e.Settle(t.Context(), id, "hit", happened, "ann", "looked at the host"); err != nil {
					t.Fatal(err)
				}
				if err := e.Settle(t.Context(), id, "hit", !happened, "bob", ""); !errors.Is(err, ErrNotUnknown) {
					t.Errorf("settling twice: %v", err)
				}
				stop()
				run, err := j.GetRun(t.Context(), id)
				if err != nil || run.State != soar.RunFailed || !strings.Contains(run.Error, "settled by ann") {
					t.Errorf("run %+v, %v", run, err)
				}
				want := soar.StepFailed
				if happened {
					want = soar.StepExecuted
				}
				if got := j.result(t, id, "hit"); got.State != want || got.Action != "host.contain" {
					t.Errorf("the step ended %+v", got)
				}
				entries, _ := j.Entries(t.Context(), id)
				var decision Decision
				if err := json.Unmarshal(entries[len(entries)-2].Body, &decision); err != nil || decision.Reason != "looked at the host" {
					t.Errorf("decision %+v, %v", decision, err)
				}
				if got := j.events(soar.EventRunFinished); len(got) != 1 {
					t.Errorf("%d times run.finished", len(got))
				}
			})
		})
	}
}

package playbooks

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// How far a call is stands in the journal, each time it has changed, and not again after a
// restart.
func TestProgressIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, server := newMemJournal(), newFakeServer()
		actions := server.actions()
		fetch := server.add(actions, "fake.fetch", Once, func(context.Context, Call) (Outcome, error) {
			return Outcome{State: soar.StepAccepted, Ref: "c1"}, nil
		})
		begun := time.Now()
		fetch.poll = func(context.Context) (Outcome, error) {
			out := Outcome{State: soar.StepAccepted, PollAfter: time.Second}
			switch took := time.Since(begun); {
			case took < 10*time.Second:
			case took < 20*time.Second:
				out.Progress = "1 of 2 blocks"
			case took < 40*time.Second:
				out.Progress = "2 of 2 blocks"
			default:
				out.State = soar.StepExecuted
			}
			return out, nil
		}
		set := loadText(t, actions, "playbook: p\nsteps: [{id: s, do: fake.fetch, timeout: 20m}]")
		_, stop := running(t, j, actions, set, EngineOptions{})
		j.put(t, testAlert("1"))
		time.Sleep(25 * time.Second)
		stop()
		_, stop = running(t, j, actions, set, EngineOptions{})
		time.Sleep(time.Minute)
		stop()
		run := j.all()[0].ID
		entries, err := j.Entries(t.Context(), run)
		if err != nil {
			t.Fatal(err)
		}
		var notes []string
		for _, e := range entries {
			var note StepNote
			if e.Kind != soar.EntryNote || e.Step != "s" {
				continue
			}
			if err := json.Unmarshal(e.Body, &note); err != nil {
				t.Fatal(err)
			}
			notes = append(notes, note.Text)
		}
		if want := []string{"1 of 2 blocks", "2 of 2 blocks"}; !slices.Equal(notes, want) {
			t.Errorf("notes %q, want %q", notes, want)
		}
		if got := j.result(t, run, "s"); got.State != soar.StepExecuted {
			t.Errorf("ended %+v", got)
		}
	})
}

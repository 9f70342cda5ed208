package playbooks

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// brokenRun is a runner for a run whose playbook, alert or journal cannot be read
// any more: it can write the end of the run, and nothing else.
func (e *Engine) brokenRun(run soar.Run, entries []soar.Entry) *runner {
	r := &runner{
		e: e, run: run, pb: &Playbook{Name: run.Playbook}, alert: &soar.Alert{},
		log: e.options.Log.With("run", run.ID.String(), "playbook", run.Playbook), results: map[string]*ended{},
	}
	for i := range entries {
		r.seq = max(r.seq, entries[i].Seq)
		var done ended
		if entries[i].Kind == soar.EntryResult && json.Unmarshal(entries[i].Body, &done.Result) == nil {
			r.results[entries[i].Step] = &done
		}
		var began BeganNote
		if entries[i].Kind == soar.EntryNote && entries[i].Step == "" && json.Unmarshal(entries[i].Body, &began) == nil && began.On != "" {
			r.on = began.On
			if began.Undo != nil {
				r.undo = newUndo(began.Undo, entries[i].At)
			}
		}
	}
	return r
}

// giveUp ends a run that cannot be gone on with. When the last word of a step is that
// a call is about to be sent which must not happen twice, nobody can tell whether it
// happened: the run ends unknown, for a person to settle.
func (e *Engine) giveUp(ctx context.Context, run soar.Run, why error) error {
	entries, err := e.journal.Entries(ctx, run.ID)
	if err != nil {
		return err
	}
	r := e.brokenRun(run, entries)
	for _, step := range stepsIn(entries) { // nobody else will: what they hold would be held for ever
		r.keep(e.guard.End(run.ID, step, soar.StepUnknown, r.now()))
	}
	if err := r.scheduleUnended(ctx, entries); err != nil {
		return err
	}
	seq := r.entry("", soar.EntryDecision, "", Decision{Reason: why.Error()})
	open := openCalls(entries)
	if len(open) == 0 {
		r.run.Error = why.Error()
		r.end(soar.RunFailed)
		if r.undo == nil { // else people were told what was not taken back
			r.event(soar.EventTrouble, seq, func(ev *soar.Event) {
				ev.Text = fmt.Sprintf("run %s of %s was given up: %v. A command that it had sent may still be carried out.", run.ID, run.Playbook, why)
			})
		}
		return r.commit(ctx)
	}
	lost := "its answer was lost, and " + why.Error()
	r.run.Error = fmt.Sprintf("step %s: %s", open[0].step, lost)
	r.end(soar.RunUnknown)
	for _, call := range open {
		seq = r.entry(call.step, soar.EntryResult, "", Result{Action: call.Action, State: soar.StepUnknown, Error: lost, With: call.With})
		r.event(soar.EventStepFinished, seq, func(ev *soar.Event) {
			ev.Outcome = &soar.Outcome{Step: call.step, Action: call.Action, State: soar.StepUnknown, Error: lost}
			if !call.Started.IsZero() {
				ev.Outcome.Took = r.now().Sub(call.Started)
			}
		})
		r.event(soar.EventTrouble, seq, func(ev *soar.Event) {
			ev.Text = fmt.Sprintf("run %s of %s was given up, and nobody can tell whether step %s (%s) happened: %s. Find out, then settle it.",
				run.ID, run.Playbook, call.step, call.Action, lost)
		})
	}
	return r.commit(ctx)
}

// stepsIn are the keys of the steps that a journal names.
func stepsIn(entries []soar.Entry) (keys []string) {
	seen := map[string]bool{"": true}
	for i := range entries {
		if key := entries[i].Step; !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	return keys
}

// openCall is an intent whose call may or may not have been received.
type openCall struct {
	step string
	Intent
}

// openCalls are those that must not happen twice, as far as the journal alone tells.
// An intent that cannot be read counts as one of such a call.
func openCalls(entries []soar.Entry) (open []openCall) {
	for i := range entries {
		entry := &entries[i]
		closes := false
		switch entry.Kind {
		case soar.EntryIntent, soar.EntrySent, soar.EntryResult:
			closes = true
		case soar.EntryNote:
			var note StepNote
			closes = json.Unmarshal(entry.Body, &note) == nil && note.Retry > 0 // that attempt is known to have failed
		}
		if closes {
			open = slices.DeleteFunc(open, func(c openCall) bool { return c.step == entry.Step })
		}
		if entry.Kind == soar.EntryIntent {
			var intent Intent
			if err := json.Unmarshal(entry.Body, &intent); err != nil {
				open = append(open, openCall{step: entry.Step})
			} else if intent.Effect == Once {
				open = append(open, openCall{entry.Step, intent})
			}
		}
	}
	return open
}

// settleBroken is Settle for a run that cannot be gone on with: what the person
// found out is kept, and the run fails once no step of it is in doubt any more,
// because nobody carries out its other steps.
func (e *Engine) settleBroken(ctx context.Context, run soar.Run, step string, happened bool, by, reason string, why error) error {
	entries, err := e.journal.Entries(ctx, run.ID)
	if err != nil {
		return err
	}
	open := map[string]Result{}
	for i := range entries {
		var result Result
		if entries[i].Kind != soar.EntryResult || json.Unmarshal(entries[i].Body, &result) != nil {
			continue
		}
		delete(open, entries[i].Step)
		if result.State == soar.StepUnknown {
			open[entries[i].Step] = result
		}
	}
	last, ok := open[step]
	if !ok {
		return fmt.Errorf("%w: step %s of run %s is not in doubt, only %s", ErrNotUnknown, step, run.ID, strings.Join(sortedNames(open), ", "))
	}
	delete(open, step)
	r := e.brokenRun(run, entries)
	r.run.Epoch++
	r.entry(step, soar.EntryDecision, "", Decision{By: by, Reason: reason, Happened: &happened})
	result := settled(happened, by)
	result.Action, result.Target, result.Ref = last.Action, last.Target, last.Ref
	words := result.Error
	if happened {
		words, result.Undo = result.Summary, last.Undo
	}
	r.results[step] = &ended{Result: result}
	seq := r.entry(step, soar.EntryResult, "", result)
	r.run.Error = fmt.Sprintf("step %s: %s; the rest of the run is left out: %v", step, words, why)
	r.event(soar.EventStepFinished, seq, func(ev *soar.Event) {
		ev.Outcome = &soar.Outcome{
			Step: step, Action: result.Action, State: result.State, Target: result.Target, Command: result.Ref,
			Summary: result.Summary, Error: result.Error,
		}
	})
	if len(open) == 0 {
		r.end(soar.RunFailed)
	} else {
		r.run.Error = fmt.Sprintf("step %s: %s", sortedNames(open)[0], open[sortedNames(open)[0]].Error)
	}
	r.change.Runs = []soar.Run{r.run}
	if _, err = e.journal.Commit(ctx, r.change); err == nil {
		e.noticeFailures(r.change.KV)
	}
	return err
}

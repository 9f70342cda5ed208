package playbooks

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/erbridge/erbridge/internal/soar"
)

// brokenRun is a runner for a run whose playbook, alert or journal cannot be read
// any more: it can write the end of the run, and nothing else.
func (e *Engine) brokenRun(run soar.Run, entries []soar.Entry) *runner {
	r := &runner{
		e: e, run: run, pb: &Playbook{Name: run.Playbook}, alert: &soar.Alert{},
		log: e.options.Log.With("run", run.ID.String(), "playbook", run.Playbook),
	}
	for i := range entries {
		r.seq = max(r.seq, entries[i].Seq)
	}
	return r
}

// giveUp ends a run that cannot be gone on with. When its last word is that a call
// is about to be sent which must not happen twice, nobody can tell whether it
// happened: the run ends unknown, for a person to settle.
func (e *Engine) giveUp(ctx context.Context, run soar.Run, why error) error {
	entries, err := e.journal.Entries(ctx, run.ID)
	if err != nil {
		return err
	}
	r := e.brokenRun(run, entries)
	seq := r.entry("", soar.EntryDecision, "", Decision{Reason: why.Error()})
	step, intent := openCall(entries)
	if step == "" {
		r.run.Error = why.Error()
		r.end(soar.RunFailed)
		r.event(soar.EventTrouble, seq, func(ev *soar.Event) {
			ev.Text = fmt.Sprintf("run %s of %s was given up: %v. A command that it had sent may still be carried out.", run.ID, run.Playbook, why)
		})
		return r.commit(ctx)
	}
	result := Result{Action: intent.Action, State: soar.StepUnknown, Error: "its answer was lost, and " + why.Error(), With: intent.With}
	seq = r.entry(step, soar.EntryResult, "", result)
	r.run.Error = fmt.Sprintf("step %s: %s", step, result.Error)
	r.end(soar.RunUnknown)
	r.event(soar.EventStepFinished, seq, func(ev *soar.Event) {
		ev.Outcome = &soar.Outcome{Step: step, Action: intent.Action, State: result.State, Error: result.Error}
		if !intent.Started.IsZero() {
			ev.Outcome.Took = r.now().Sub(intent.Started)
		}
	})
	r.event(soar.EventTrouble, seq, func(ev *soar.Event) {
		ev.Text = fmt.Sprintf("run %s of %s was given up, and nobody can tell whether step %s (%s) happened: %s. Find out, then settle it.",
			run.ID, run.Playbook, step, intent.Action, result.Error)
	})
	return r.commit(ctx)
}

// openCall is the step whose call may or may not have been received and must not
// happen twice, as far as the journal alone tells; "" when there is none. An intent
// that cannot be read counts as one of such a call.
func openCall(entries []soar.Entry) (step string, intent Intent) {
	for i := range entries {
		entry := &entries[i]
		switch entry.Kind {
		case soar.EntryIntent:
			step, intent = entry.Step, Intent{}
			if err := json.Unmarshal(entry.Body, &intent); err != nil {
				intent = Intent{}
			} else if intent.Effect != Once {
				step = ""
			}
		case soar.EntrySent, soar.EntryResult:
			if entry.Step == step {
				step = ""
			}
		case soar.EntryNote:
			var note StepNote
			if entry.Step == step && json.Unmarshal(entry.Body, &note) == nil && note.Retry > 0 {
				step = "" // that attempt is known to have failed
			}
		}
	}
	return step, intent
}

// settleBroken is Settle for a run that cannot be gone on with: what the person
// found out is kept, and the run fails, because nobody carries out its other steps.
func (e *Engine) settleBroken(ctx context.Context, run soar.Run, step string, happened bool, by, reason string, why error) error {
	entries, err := e.journal.Entries(ctx, run.ID)
	if err != nil {
		return err
	}
	open, last := "", Result{}
	for i := range entries {
		var result Result
		if entries[i].Kind == soar.EntryResult && json.Unmarshal(entries[i].Body, &result) == nil && result.State == soar.StepUnknown {
			open, last = entries[i].Step, result
		}
	}
	if open != step {
		return fmt.Errorf("%w: the open step of run %s is %q, not %s", ErrNotUnknown, run.ID, open, step)
	}
	r := e.brokenRun(run, entries)
	r.run.Epoch++
	r.entry(step, soar.EntryDecision, "", Decision{By: by, Reason: reason, Happened: &happened})
	result := settled(happened, by)
	result.Action, result.Target, result.Ref = last.Action, last.Target, last.Ref
	seq := r.entry(step, soar.EntryResult, "", result)
	words := result.Error
	if happened {
		words = result.Summary
	}
	r.run.Error = fmt.Sprintf("step %s: %s; the rest of the run is left out: %v", step, words, why)
	r.event(soar.EventStepFinished, seq, func(ev *soar.Event) {
		ev.Outcome = &soar.Outcome{
			Step: step, Action: result.Action, State: result.State, Target: result.Target, Command: result.Ref,
			Summary: result.Summary, Error: result.Error,
		}
	})
	r.end(soar.RunFailed)
	r.change.Runs = []soar.Run{r.run}
	_, err = e.journal.Commit(ctx, r.change)
	return err
}

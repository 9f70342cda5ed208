package playbooks

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// What a step did is taken back by a run of its own, of a playbook that is made for it.
// So it is held, sent, verified, gone on with after a crash and shown like all that
// erbridge does. With the result of a step the journal has the call that takes it back;
// where the step says for how long its effect is wanted, the run that takes it back is
// committed together with that result, and waits for its time as a row like any other.

// UndoNote says what a run takes back. It is part of the run's first note.
type UndoNote struct {
	Run      soar.RunID `json:"run"` // whose effects it takes back
	Playbook string     `json:"playbook"`
	Steps    []UndoOf   `json:"steps"`
	// By is the person who asked for it; empty: the step itself said for how long.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Due is when it begins; zero: at once.
	Due time.Time `json:"due,omitzero"`
}

// UndoOf is a step whose effect a run takes back.
type UndoOf struct {
	Step    string   `json:"step"` // its key in its own run
	Key     string   `json:"key"`  // the key of the step that takes it back
	Action  string   `json:"action"`
	Target  string   `json:"target,omitempty"`
	Summary string   `json:"summary,omitempty"`
	Undo    Reversal `json:"undo"`
}

// TurnNote is about the time at which a run begins that takes something back.
type TurnNote struct {
	// Warned is set when people were told that the time is near.
	Warned bool `json:"warned,omitempty"`
	// Begun is set when the time has come.
	Begun bool `json:"begun,omitempty"`
}

// undo is what a run knows of what it takes back.
type undo struct {
	UndoNote
	set    time.Time // when Due was said last
	warned bool      // of that time
	begun  bool
}

func newUndo(note *UndoNote, at time.Time) *undo {
	return &undo{UndoNote: *note, set: at, begun: note.Due.IsZero()}
}

// fold takes in what the journal says of its turn.
func (u *undo) fold(turn *TurnNote) {
	if u != nil {
		u.warned, u.begun = u.warned || turn.Warned, u.begun || turn.Begun
	}
}

// move puts another time in the place of Due.
func (u *undo) move(due, at time.Time) {
	if u != nil {
		u.Due, u.set, u.warned = due, at, false
	}
}

// warnBefore is how long before their time people are told; of a time that is near, a
// quarter of what is left.
const warnBefore = 15 * time.Minute

func (u *undo) warnAt() time.Time {
	return u.Due.Add(-min(warnBefore, u.Due.Sub(u.set)/4))
}

// takeTurn reports whether the time of a run has come that takes something back. Before,
// it tells people once that it is near, and waits.
func (r *runner) takeTurn() bool {
	u, now := r.undo, r.now()
	switch {
	case u.begun || r.cancelled != "":
		return true
	case !now.Before(u.Due):
		u.begun = true
		seq := r.entry("", soar.EntryNote, "", BeganNote{Text: "its time has come", Turn: &TurnNote{Begun: true}})
		r.event(soar.EventRunStarted, seq, nil)
		return true
	case !u.warned && !now.Before(u.warnAt()):
		u.warned = true
		seq := r.entry("", soar.EntryNote, "", BeganNote{Text: "people are told that its time is near", Turn: &TurnNote{Warned: true}})
		r.event(soar.EventUndoSoon, seq, func(e *soar.Event) {
			one := &u.Steps[0] // a run that waits for its time takes back one step
			e.Undo = &soar.Undo{At: u.Due, Of: u.Run, Step: one.Step, Action: one.Action, Do: one.Undo.Do, Target: one.Target}
			e.Text = u.warning(r.run.ID, now)
		})
	}
	r.run.State, r.run.Wake = soar.RunWaiting, u.Due
	if !u.warned {
		r.run.Wake = u.warnAt()
	}
	return false
}

// warning is what people are told before the time of a run.
func (u *undo) warning(id soar.RunID, now time.Time) string {
	one := &u.Steps[0]
	return fmt.Sprintf("In %s, at %s, %s takes back step %s of run %s (%s): %s. "+
		"erbridge runs extend %s --for 4h lets it last longer, erbridge runs cancel %[8]s for good, and erbridge runs undo %[5]s ends it now.",
		registry.FormatDuration(u.Due.Sub(now).Round(time.Second)), u.Due.UTC().Format(time.RFC3339), one.Undo.Do, one.Step, u.Run, u.Playbook, one.what(), id)
}

// what says what the step did.
func (o *UndoOf) what() string {
	switch {
	case o.Summary != "":
		return o.Action + " (" + soar.Visible(o.Summary) + ")"
	case o.Target != "":
		return o.Action + " on " + soar.Visible(o.Target)
	}
	return o.Action
}

// notTakenBack says which steps of a run that takes something back did not do it; empty:
// all did. Each of them is tried, whatever becomes of the others.
func (r *runner) notTakenBack() string {
	var failed []string
	for _, one := range r.undo.Steps {
		switch done := r.results[one.Key]; {
		case done == nil:
			failed = append(failed, fmt.Sprintf("step %s: was not tried", one.Key))
		case !done.State.OK():
			failed = append(failed, fmt.Sprintf("step %s: %s", one.Key, done.Error))
		}
	}
	return strings.Join(failed, "; ")
}

// tellNotTakenBack tells people that something is as it was, although it should not be
// any more.
func (r *runner) tellNotTakenBack() {
	var still, again []string
	for _, one := range r.undo.Steps {
		if done := r.results[one.Key]; done != nil && done.State.OK() {
			continue
		}
		still = append(still, fmt.Sprintf("what step %s did: %s", one.Step, one.what()))
		again = append(again, fmt.Sprintf("erbridge runs undo %s --step %s --reason TEXT", r.undo.Run, one.Step))
	}
	if len(still) == 0 {
		return
	}
	const most = 5
	if len(again) > most {
		again = []string{fmt.Sprintf("erbridge runs undo %s --reason TEXT", r.undo.Run)}
	}
	more := ""
	if n := len(still); n > most {
		still, more = still[:most], fmt.Sprintf(", and %d more", n-most)
	}
	r.event(soar.EventTrouble, r.seq, func(e *soar.Event) {
		e.Text = fmt.Sprintf("run %s of %s was to be taken back by run %s, and was not: %s. As far as anybody knows, this still holds: %s%s. "+
			"See to what stands in the way, and try again: %s. Or take it back by hand.",
			r.undo.Run, r.undo.Playbook, r.run.ID, r.run.Error, strings.Join(still, "; "), more, strings.Join(again, "; "))
	})
}

// recordUndo adds to the result of a step the call that takes it back, and makes the run
// that does so by itself when the step says for how long its effect is wanted.
func (r *runner) recordUndo(i *instance, p *progress, result *Result) {
	if result.Undo != nil || p.intentAt.IsZero() && !p.firm || i.step.spec.Effect == Reads || !mayHaveHappened(p, result.State) {
		return
	}
	sent := Intent{Again: p.firm, Foreseen: p.foreseen}
	result.Undo = reversalOf(i.step.action, r.call(i, p), sent.left(result.Output))
	if r.undo != nil { // what takes something back, is not taken back by itself
		return
	}
	r.schedule(i.key, r.run.AlertKey, result)
}

// mayHaveHappened reports whether a step that ended in a state may have had its effect.
func mayHaveHappened(p *progress, state soar.StepState) bool {
	switch state {
	case soar.StepExecuted, soar.StepVerified, soar.StepUnknown:
		return true
	case soar.StepExpired:
		return p.ref != "" && !p.recalled // it may be carried out yet
	case soar.StepFailed:
		return p.done != nil || p.lost // carried out, and not seen; or nobody knows
	}
	return false
}

// reversalOf is the call that takes a call back; nil when there is none. output is what
// the call left, nil when nobody knows.
func reversalOf(action Action, call Call, output any) (back *Reversal) {
	reverser, can := action.(Reverser)
	if !can {
		return nil
	}
	_, err := safely(func() (Outcome, error) {
		back = reverser.Reverse(call, output)
		return Outcome{}, nil
	})
	if err != nil || back == nil {
		return nil
	}
	with, err := plainOutput(back.With)
	plain, ok := with.(map[string]any)
	if err != nil || !ok {
		return nil
	}
	return &Reversal{Do: back.Do, With: plain, After: back.After}
}

// takenBackAfter says of a call that has not been sent when its effect would be taken back
// by itself; empty: it would not.
func takenBackAfter(action Action, call Call) string {
	back := reversalOf(action, call, nil)
	if back == nil || back.After <= 0 {
		return ""
	}
	return fmt.Sprintf("taken back by itself after %s, by %s; people are told before", registry.FormatDuration(back.After), back.Do)
}

// schedule makes the run that takes a step back when its time has come, for the commit
// that has the result of the step: there is no moment at which only one of them is kept.
func (r *runner) schedule(key string, alert int64, result *Result) {
	if result.Undo == nil || result.Undo.After <= 0 {
		return
	}
	now := r.now()
	made, err := r.e.makeUndo(&undoPlan{
		of: r.run, alert: alert, steps: []undoStep{{key, *result}}, due: now.Add(result.Undo.After), now: now, job: r.job,
	})
	if err != nil { // the actions of this release do not fit together
		r.log.Error("what a step did is not taken back by itself", "step", key, "err", err)
		r.event(soar.EventTrouble, r.seq, func(e *soar.Event) {
			e.ID += "-" + key
			e.Text = fmt.Sprintf("step %s of run %s of %s should be taken back by itself after %s, and will not be: %v. Take it back by hand.",
				key, r.run.ID, r.pb.Name, registry.FormatDuration(result.Undo.After), err)
		})
		return
	}
	r.scheduled = append(r.scheduled, made.run)
	r.change.Playbooks = append(r.change.Playbooks, made.pb.version())
	r.change.Entries = append(r.change.Entries, made.entries...)
	r.change.KV = append(r.change.KV, made.kv...)
}

// scheduleUnended does that for the steps of a run that is given up whose calls may have
// gone out: nobody will see how they end.
func (r *runner) scheduleUnended(ctx context.Context, entries []soar.Entry) error {
	alert, err := r.e.alertOf(ctx, &r.run)
	if err != nil {
		return err
	}
	for _, s := range stepsToUndo(entries, "", true) {
		if s.unended {
			s.result.Undo = reversalOf(r.e.actions[s.intent.Action], s.call(&r.run, &alert.Alert), s.intent.left(nil))
			r.schedule(s.key, alert.Key, &s.result)
		}
	}
	return nil
}

// PendingUndo is what a run takes back, and when, by its journal. It is nil for a run
// that takes nothing back. Pending is false once it has begun.
func PendingUndo(entries []soar.Entry) (note *UndoNote, pending bool) {
	var u *undo
	for i := range entries {
		entry := &entries[i]
		if entry.Step != "" {
			continue
		}
		switch entry.Kind {
		case soar.EntryNote:
			var began BeganNote
			if json.Unmarshal(entry.Body, &began) != nil {
				continue
			}
			if began.Undo != nil {
				u = newUndo(began.Undo, entry.At)
			}
			if began.Turn != nil {
				u.fold(began.Turn)
			}
		case soar.EntryDecision:
			var d Decision
			if json.Unmarshal(entry.Body, &d) == nil && !d.Due.IsZero() {
				u.move(d.Due, entry.At)
			}
		}
	}
	if u == nil {
		return nil, false
	}
	return &u.UndoNote, !u.begun
}

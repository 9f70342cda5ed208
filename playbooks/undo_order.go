package playbooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// UndoOrder is a person's word that what a run did, or one step of it, shall be taken
// back.
type UndoOrder struct {
	Run soar.RunID `json:"run"`
	// Step is the key of a step that has ended, of a for_each all of it or one item of it;
	// empty: the whole run.
	Step   string `json:"step,omitempty"`
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// UndoState is what becomes of a step by an order.
type UndoState string

// The states of a step that is to be taken back.
const (
	UndoBegun      UndoState = "begun"      // by a run that was made now
	UndoForward    UndoState = "forward"    // by a run that waited for its time, and begins now
	UndoUnderWay   UndoState = "under_way"  // by a run that has begun before
	UndoDone       UndoState = "done"       // it was taken back before
	UndoImpossible UndoState = "impossible" // there is nothing to take back, or no way to
)

// UndoneStep is what becomes of one step.
type UndoneStep struct {
	Step   string     `json:"step"`
	Action string     `json:"action"`
	State  UndoState  `json:"state"`
	Run    soar.RunID `json:"run,omitzero"` // that takes it back
	Words  string     `json:"words"`
}

// Undoing is what becomes of an order.
type Undoing struct {
	// Run is the one that was made; nil when others do all there is to do.
	Run   *soar.Run    `json:"run,omitempty"`
	Steps []UndoneStep `json:"steps"`
}

// ErrNotUndone means that nothing is taken back by an order that was not before.
var ErrNotUndone = errors.New("nothing is taken back")

// Undo takes back what a run did, by a run of its own, the last step first. What would be
// taken back later by itself is so now. Steps that were taken back, or are just being, are
// left alone; those of which that failed are tried again. The run must have ended, or the
// step when one is named. An error wrapping ErrNotUndone says why there is nothing to do,
// and soar.ErrNotFound that there is no such run.
func (e *Engine) Undo(ctx context.Context, o UndoOrder) (Undoing, error) {
	if err := e.loadOnce(ctx); err != nil { // where no engine is at work
		return Undoing{}, err
	}
	e.undoing.Lock() // two orders at once would make two runs
	defer e.undoing.Unlock()
	run, err := e.journal.GetRun(ctx, o.Run)
	if err != nil {
		return Undoing{}, err
	}
	entries, err := e.journal.Entries(ctx, o.Run)
	if err != nil {
		return Undoing{}, err
	}
	if err := mayUndo(&run, entries, o.Step); err != nil {
		return Undoing{}, err
	}
	steps := stepsToUndo(entries, o.Step, run.State.Ended())
	if len(steps) == 0 && o.Step != "" {
		return Undoing{}, fmt.Errorf("%w: step %s of run %s has not ended, or there is none; erbridge runs show %[3]s lists them", ErrNotUndone, o.Step, o.Run)
	}
	alert, err := e.alertOf(ctx, &run)
	if err != nil {
		return Undoing{}, err
	}
	marks, err := e.undoMarks(ctx, o.Run)
	if err != nil {
		return Undoing{}, err
	}
	var out Undoing
	plan := &undoPlan{of: run, alert: alert.Key, by: o.By, reason: o.Reason, now: e.options.Now().UTC(), job: jobOf(entries)}
	for _, s := range steps {
		one := UndoneStep{Step: s.key, Action: s.result.Action}
		if s.result.Undo == nil && s.happened {
			// Of a release that recorded none, or of a run that was given up.
			s.result.Undo = reversalOf(e.actions[s.result.Action], s.call(&run, &alert.Alert), s.intent.left(s.result.Output))
		}
		if s.result.Undo == nil {
			one.State, one.Words = UndoImpossible, e.whyNot(&s)
		} else if err := e.undoOne(ctx, &o, &s, marks[s.key], &one); err != nil {
			return out, err
		}
		if one.State == UndoBegun {
			plan.steps = append(plan.steps, s.undoStep)
		}
		out.Steps = append(out.Steps, one)
	}
	slices.Reverse(out.Steps) // as they are taken back
	if len(plan.steps) > 0 {
		if err := e.beginUndo(ctx, plan, &out); err != nil {
			return out, err
		}
	}
	return out, out.err(&o)
}

// jobOf is the job that a run is a part of; nil when it is of none.
func jobOf(entries []soar.Entry) *guard.Job {
	for i := range entries {
		var began BeganNote
		if entries[i].Kind == soar.EntryNote && entries[i].Step == "" && json.Unmarshal(entries[i].Body, &began) == nil && began.Job != nil {
			return began.Job
		}
	}
	return nil
}

// err says why an order changes nothing; nil when it does.
func (u *Undoing) err(o *UndoOrder) error {
	var words []string
	for _, s := range u.Steps {
		if s.State == UndoBegun || s.State == UndoForward {
			return nil
		}
		words = append(words, fmt.Sprintf("step %s: %s", s.Step, s.Words))
	}
	const most = 10
	switch n := len(words); {
	case n == 0:
		words = []string{fmt.Sprintf("run %s has sent no call with an effect", o.Run)}
	case n > most:
		words = append(words[:most], fmt.Sprintf("and %d more", n-most))
	}
	return fmt.Errorf("%w: %s", ErrNotUndone, strings.Join(words, "; "))
}

// mayUndo says what stands against taking a run back; nil: nothing.
func mayUndo(run *soar.Run, entries []soar.Entry, step string) error {
	note, pending := PendingUndo(entries)
	switch {
	case note != nil && pending:
		return fmt.Errorf("%w: run %s takes back itself what run %s did, at %s; erbridge runs cancel %[2]s keeps it from that, and erbridge runs extend %[2]s moves it",
			ErrNotUndone, run.ID, note.Run, note.Due.UTC().Format(time.RFC3339))
	case note != nil:
		// That would be a call like any other, and has to pass the guard like any other.
		return fmt.Errorf("%w: run %s takes back itself what run %s did; to have that done again, run the playbook %s again", ErrNotUndone, run.ID, note.Run, note.Playbook)
	case !run.State.Ended() && step == "":
		return fmt.Errorf("%w: run %s is still %s; cancel it first (erbridge runs cancel %[2]s), or name a step that has ended with --step", ErrNotUndone, run.ID, run.State)
	}
	return nil
}

// sentStep is a step that has ended, with the call that it made.
type sentStep struct {
	undoStep
	intent   Intent
	happened bool // as far as its state tells
	unended  bool // the run was given up before its end
	seq      int
}

// call is the call as it was sent.
func (s *sentStep) call(run *soar.Run, alert *soar.Alert) Call {
	return Call{Run: run.ID, Step: s.key, Alert: *alert, With: s.intent.With, Mark: s.intent.Mark}
}

// stepsToUndo are the steps of a run that have ended and wanted to change something, in
// the order in which they ended; with a name, those of that step. Of a run that is over,
// nobody will see any more how those ended whose calls were about to be sent.
func stepsToUndo(entries []soar.Entry, name string, over bool) []sentStep {
	intents := map[string]Intent{}
	groups := map[string]bool{}
	ended := map[string]*sentStep{}
	for i := range entries {
		entry := &entries[i]
		switch entry.Kind {
		case soar.EntryIntent:
			var intent Intent
			if json.Unmarshal(entry.Body, &intent) == nil {
				intents[entry.Step] = intent
				if over {
					s := &sentStep{unended: true, seq: entry.Seq}
					s.key, s.result = entry.Step, Result{Action: intent.Action, State: soar.StepUnknown}
					ended[entry.Step] = s
				}
			}
		case soar.EntryDecision:
			s, intent := ended[entry.Step], intents[entry.Step]
			if s == nil || !s.unended || intent.Again || intent.Attempt > 1 {
				continue
			}
			var d Decision
			if json.Unmarshal(entry.Body, &d) == nil && !d.Since.IsZero() { // it waits again: its first call did not go out
				delete(ended, entry.Step)
			}
		case soar.EntryNote:
			var group GroupNote
			if entry.Step != "" && json.Unmarshal(entry.Body, &group) == nil && group.Begun != "" {
				groups[entry.Step] = true
			}
		case soar.EntryResult:
			s := &sentStep{seq: entry.Seq}
			s.key = entry.Step
			if json.Unmarshal(entry.Body, &s.result) == nil {
				ended[entry.Step] = s
			}
		}
	}
	var list []sentStep
	for _, key := range sortedNames(ended) {
		s := ended[key]
		intent, sent := intents[key]
		s.intent = intent
		s.happened = sent && (s.result.State == soar.StepExecuted || s.result.State == soar.StepVerified || s.result.State == soar.StepUnknown)
		named := key == name || groups[name] && within(key, name)
		if groups[key] || name != "" && !named || name == "" && !sent {
			continue
		}
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b sentStep) int { return a.seq - b.seq })
	return list
}

// whyNot says why there is nothing to take back of a step.
func (e *Engine) whyNot(s *sentStep) string {
	switch s.result.State {
	case soar.StepObserved:
		return "there is nothing to take back: it was only observed, and nothing was sent"
	case soar.StepSuppressed, soar.StepRefused, soar.StepSkipped, soar.StepCancelled:
		return fmt.Sprintf("there is nothing to take back: it was %s, and nothing was carried out", s.result.State)
	}
	action := e.actions[s.result.Action]
	switch {
	case action != nil && action.Spec().Effect == Reads:
		return fmt.Sprintf("there is nothing to take back: %s only reads", s.result.Action)
	case !s.happened:
		return fmt.Sprintf("there is nothing to take back: it is %s, and did not take effect", s.result.State)
	case action == nil:
		return fmt.Sprintf("this release has no action %s", s.result.Action)
	case action.Spec().Inverse == "":
		return fmt.Sprintf("%s cannot be taken back: no action undoes it", s.result.Action)
	case s.intent.left(s.result.Output) == nil:
		return fmt.Sprintf("nobody knows what exactly %s changed, so nothing is taken back by erbridge; look at the host", s.result.Action)
	}
	return fmt.Sprintf("there is nothing to take back: %s changed nothing that was not so before, or only a new call of %s can do that", s.result.Action, action.Spec().Inverse)
}

// undoMarks are the runs that take back steps of a run, by the keys of these.
func (e *Engine) undoMarks(ctx context.Context, run soar.RunID) (map[string]undoMark, error) {
	prefix := undoKey(run, "")
	kvs, err := e.journal.KV(ctx, prefix)
	if err != nil {
		return nil, err
	}
	marks := map[string]undoMark{}
	for _, kv := range kvs {
		var mark undoMark
		if err := json.Unmarshal([]byte(kv.Value), &mark); err != nil {
			return nil, fmt.Errorf("%s: %w", kv.Key, err)
		}
		marks[strings.TrimPrefix(kv.Key, prefix)] = mark
	}
	return marks, nil
}

// undoOne finds out what becomes of a step that can be taken back. mark is the run that
// was made for it last, if there is one.
func (e *Engine) undoOne(ctx context.Context, o *UndoOrder, s *sentStep, mark undoMark, one *UndoneStep) error {
	one.State, one.Words = UndoBegun, s.result.Undo.Do
	if mark.Run == 0 {
		return nil
	}
	run, err := e.journal.GetRun(ctx, mark.Run)
	if errors.Is(err, soar.ErrNotFound) {
		return nil // retention took it
	}
	if err != nil {
		return err
	}
	entries, err := e.journal.Entries(ctx, mark.Run)
	if err != nil {
		return err
	}
	var done *Result
	for _, before := range stepsToUndo(entries, mark.Key, false) {
		if before.key == mark.Key {
			done = &before.result
		}
	}
	note, pending := PendingUndo(entries)
	switch {
	case done != nil && done.State.OK() && done.State != soar.StepSkipped && done.State != soar.StepObserved:
		one.State, one.Run = UndoDone, run.ID
		one.Words = fmt.Sprintf("it was taken back already by run %s: %s", run.ID, soar.Visible(firstOf(done.Summary, string(done.State))))
	case done != nil || run.State.Ended() && run.State != soar.RunUnknown: // that came to nothing
	case run.State == soar.RunUnknown:
		one.State, one.Run = UndoImpossible, run.ID
		one.Words = fmt.Sprintf("nobody can tell whether run %s took it back; settle that first: erbridge runs settle %[1]s", run.ID)
	case pending && note.Due.After(e.options.Now()):
		_, err := e.amend(ctx, mark.Run, o.By, o.Reason, func(*undo) (time.Time, error) { return e.options.Now().UTC(), nil })
		if err != nil && !errors.Is(err, errBegun) {
			return err
		}
		one.State, one.Run = UndoForward, run.ID
		one.Words = fmt.Sprintf("run %s, which was to take it back at %s, begins now", run.ID, note.Due.UTC().Format(time.RFC3339))
	default:
		one.State, one.Run = UndoUnderWay, run.ID
		one.Words = fmt.Sprintf("run %s takes it back just now, and is %s; erbridge runs show %[1]s tells more", run.ID, run.State)
	}
	return nil
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// beginUndo makes the run of a plan, which begins at once.
func (e *Engine) beginUndo(ctx context.Context, plan *undoPlan, out *Undoing) error {
	made, err := e.makeUndo(plan)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotUndone, err)
	}
	_, err = e.journal.Commit(ctx, soar.Change{
		Playbooks: []soar.PlaybookVersion{made.pb.version()}, Runs: []soar.Run{made.run}, Entries: made.entries, Events: made.events, KV: made.kv,
	})
	if err != nil {
		return err
	}
	out.Run = &made.run
	for i := range out.Steps {
		if out.Steps[i].State == UndoBegun {
			out.Steps[i].Run = made.run.ID
		}
	}
	return nil
}

// Extension is a person's word that what a run did shall be taken back at another time.
type Extension struct {
	// Run is the one that takes it back, or the one that did it.
	Run soar.RunID `json:"run"`
	// Step is a step of the latter, of a for_each all of it or one item of it; empty: all
	// that wait to be taken back.
	Step string `json:"step,omitempty"`
	// For is how much later; Until the time itself. One of them is set.
	For   time.Duration `json:"for_ns,omitempty"`
	Until time.Time     `json:"until,omitzero"`
	// Later leaves a time as it is that is later than Until already.
	Later  bool   `json:"later,omitempty"`
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// ExtendedStep is what becomes of one step by an Extension.
type ExtendedStep struct {
	Step string     `json:"step"`
	Run  soar.RunID `json:"run"` // that takes it back
	// Due is when; zero: its time could not be moved, and Words say why.
	Due   time.Time `json:"due,omitzero"`
	Words string    `json:"words,omitempty"`
}

// ErrNotExtended means that there is nothing to extend.
var ErrNotExtended = errors.New("nothing is extended")

// maxExtension bounds how far ahead something is taken back by itself.
const maxExtension = 90 * 24 * time.Hour

// Extend moves the time at which what a run did is taken back by itself: of each step of it
// that waits for that, as far as it can. People are told anew before that time. An error
// wrapping ErrNotExtended says what stands against moving any of them.
func (e *Engine) Extend(ctx context.Context, x Extension) ([]ExtendedStep, error) {
	if err := e.loadOnce(ctx); err != nil {
		return nil, err
	}
	list, err := e.takenBackBy(ctx, &x)
	if err != nil {
		return nil, err
	}
	moved, words := 0, []string{}
	for i := range list {
		one := &list[i]
		if one.Words == "" {
			if err := e.extendOne(ctx, &x, one); err != nil {
				return list, err
			}
		}
		if one.Words == "" {
			moved++
		}
		words = append(words, fmt.Sprintf("step %s: %s", one.Step, one.Words))
	}
	if moved == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotExtended, strings.Join(words, "; "))
	}
	return list, nil
}

// extendOne moves the time of one run.
func (e *Engine) extendOne(ctx context.Context, x *Extension, one *ExtendedStep) error {
	_, err := e.amend(ctx, one.Run, x.By, x.Reason, func(u *undo) (time.Time, error) {
		due, now := x.Until.UTC(), e.options.Now().UTC()
		if x.Until.IsZero() {
			due = u.Due.Add(x.For)
		}
		if x.Later && u.Due.After(due) {
			due = u.Due
		}
		switch {
		case !due.After(now):
			one.Words = fmt.Sprintf("%s is not in the future; to take it back now: erbridge runs undo %s --step %s", due.Format(time.RFC3339), u.Run, one.Step)
			return due, ErrNotExtended
		case due.Sub(now) > maxExtension:
			one.Words = fmt.Sprintf("at most %s ahead; to keep it for good: erbridge runs cancel %s", registry.FormatDuration(maxExtension), one.Run)
			return due, ErrNotExtended
		}
		one.Due = due
		return due, nil
	})
	switch {
	case errors.Is(err, errBegun):
		one.Words = begunWords(one.Run)
	case errors.Is(err, ErrNotExtended):
	default:
		return err
	}
	return nil
}

func begunWords(id soar.RunID) string { return fmt.Sprintf("run %s has begun to take it back", id) }

// takenBackBy finds the runs whose time may be moved: the one that is named, or those that
// take back the steps of a run that is. Of those that have begun, the words say so.
func (e *Engine) takenBackBy(ctx context.Context, x *Extension) ([]ExtendedStep, error) {
	if _, err := e.journal.GetRun(ctx, x.Run); err != nil {
		return nil, err
	}
	entries, err := e.journal.Entries(ctx, x.Run)
	if err != nil {
		return nil, err
	}
	if note, pending := PendingUndo(entries); note != nil {
		one := ExtendedStep{Step: note.Steps[0].Step, Run: x.Run}
		if !pending {
			one.Words = begunWords(x.Run)
		}
		return []ExtendedStep{one}, nil
	}
	marks, err := e.undoMarks(ctx, x.Run)
	if err != nil {
		return nil, err
	}
	var list []ExtendedStep
	for _, step := range sortedNames(marks) {
		if x.Step != "" && step != x.Step && !within(step, x.Step) {
			continue
		}
		one := ExtendedStep{Step: step, Run: marks[step].Run}
		run, err := e.journal.GetRun(ctx, one.Run)
		if err != nil && !errors.Is(err, soar.ErrNotFound) {
			return nil, err
		}
		if err != nil || run.State.Ended() {
			continue
		}
		entries, err := e.journal.Entries(ctx, one.Run)
		if err != nil {
			return nil, err
		}
		if _, pending := PendingUndo(entries); !pending {
			one.Words = begunWords(one.Run)
		}
		list = append(list, one)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: nothing that run %s did waits to be taken back by itself", ErrNotExtended, x.Run)
	}
	return list, nil
}

// within reports whether a step is an item of a for_each, or a step of a playbook that is
// called.
func within(step, outer string) bool {
	return strings.HasPrefix(step, outer+"[") || strings.HasPrefix(step, outer+"/")
}

// errBegun means that a run does not wait for its time any more.
var errBegun = errors.New("it has begun")

// amend moves the time of a run that waits for it.
func (e *Engine) amend(ctx context.Context, id soar.RunID, by, reason string, move func(u *undo) (time.Time, error)) (soar.Run, error) {
	release, err := e.seize(ctx, id)
	if err != nil {
		return soar.Run{}, err
	}
	defer release()
	run, err := e.journal.GetRun(ctx, id)
	if err != nil {
		return soar.Run{}, err
	}
	if run.State != soar.RunWaiting {
		return run, errBegun
	}
	r, err := e.resume(ctx, run)
	if err != nil {
		return run, err
	}
	if r.undo == nil || r.undo.begun {
		return run, errBegun
	}
	due, err := move(r.undo)
	if err != nil {
		return run, err
	}
	now := r.now()
	r.entry("", soar.EntryDecision, "", Decision{By: by, Reason: reason, Due: due})
	r.undo.move(due, now)
	if r.run.Wake = r.undo.warnAt(); !due.After(now) {
		r.run.Wake = now
	}
	return r.run, r.commit(ctx)
}

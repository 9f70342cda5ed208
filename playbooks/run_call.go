package playbooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// mark names a call on the server: it is unique to the run, the step and the attempt.
func mark(run soar.RunID, step string, attempt int) string {
	text := "erbridge-" + run.String() + "-" + markNames.Replace(step)
	if attempt > 1 {
		text += "-" + strconv.Itoa(attempt)
	}
	return text
}

// markNames keeps marks to what may stand in names: collect[2] is collect.2.
var markNames = strings.NewReplacer("[", ".", "]", "", "/", ".")

// intend writes down that the call is about to be sent. It has to be committed
// before the call. A crash from there on is settled by lookUp.
func (r *runner) intend(i *instance, p *progress, again bool) {
	p.intentAt, p.lost, p.planned, p.wake, p.held = r.now(), false, true, time.Time{}, ""
	p.again, p.firm = p.again || again, p.firm || again
	r.entry(i.key, soar.EntryIntent, "", Intent{
		Action: i.step.do, Effect: i.step.spec.Effect, With: p.with, Mark: p.mark, Attempt: p.attempt, Started: p.started, Again: p.again, Foreseen: p.foreseen,
	})
	r.sign(i, p)
}

func (r *runner) call(i *instance, p *progress) Call {
	name := i.key
	if p.attempt > 1 {
		name += "#" + strconv.Itoa(p.attempt)
	}
	return Call{Run: r.run.ID, Step: name, Alert: *r.alert, With: p.with, Mark: p.mark}
}

// callContext bounds one call by CallTimeout, and by what is left of the step.
func (r *runner) callContext(ctx context.Context, s *step, p *progress) (context.Context, context.CancelFunc) {
	left := s.timeout - r.now().Sub(p.started)
	return context.WithTimeout(ctx, max(min(left, r.e.options.CallTimeout), time.Millisecond))
}

// send makes the planned call ready; its intent is on disk.
func (r *runner) send(ctx context.Context, i *instance, p *progress) func() func() {
	s, call := i.step, r.call(i, p)
	p.planned, p.tried = false, true
	callCtx, cancel := r.callContext(ctx, s, p)
	return func() func() {
		if s.spec.Effect != Reads {
			leave, ok := r.e.sending.enter(cancel)
			if !ok {
				cancel()
				return func() { r.halted(i, p) }
			}
			defer leave()
		}
		outcome, err := safely(func() (Outcome, error) { return s.action.Do(callCtx, call) })
		timedOut := callCtx.Err() != nil
		cancel()
		if s.spec.Effect == Reads && err != nil && ctx.Err() != nil {
			return func() { p.tried, p.wake = false, r.now() } // stopping has cut it short: the next start reads again
		}
		return func() { r.sent(i, p, outcome, err, timedOut) }
	}
}

func (r *runner) sent(i *instance, p *progress, outcome Outcome, err error, timedOut bool) {
	switch {
	case err == nil && outcome.State == soar.StepAccepted && outcome.Ref != "":
		r.accepted(i, p, outcome, false)
		r.unverified(i, p, outcome)
	case err == nil && outcome.State == soar.StepAccepted:
		r.finish(i, p, Result{State: soar.StepUnknown, Error: "accepted without a command id", Target: outcome.Target}, nil)
	case err == nil:
		r.finishOutcome(i, p, outcome, "")
	default:
		r.sendFailed(i, p, outcome, err, timedOut)
	}
}

// accepted notes the command id, which has to be on disk before anything else
// happens, and waits for the host.
func (r *runner) accepted(i *instance, p *progress, outcome Outcome, found bool) {
	p.ref, p.target, p.summary, p.lost = outcome.Ref, outcome.Target, outcome.Summary, false
	sent := Sent{Target: outcome.Target, Summary: outcome.Summary, Started: p.started, Found: found}
	if i.step.spec.Effect == Reads {
		sent.With = p.with
	}
	r.entry(i.key, soar.EntrySent, outcome.Ref, sent)
	r.urgent = true
	p.wake = r.pollAt(i.step, p, outcome.PollAfter)
}

func (r *runner) sendFailed(i *instance, p *progress, outcome Outcome, err error, timedOut bool) {
	s := i.step
	p.target = outcome.Target
	effect := s.spec.Effect != Reads
	_, panicked := errors.AsType[*panicError](err)
	if panicked {
		r.log.Error("action panicked", "action", s.do, "err", err)
	}
	transient := errors.Is(err, ErrTransient)
	switch {
	case effect && errors.Is(err, ErrNotNow):
		r.unsent(i, p, err)
	case effect && !transient && (timedOut || errors.Is(err, ErrUncertain) || panicked && s.spec.Effect == Once):
		// It may have happened: wait until it can no longer be under way, then look.
		p.lost = true
		r.log.Warn("answer lost, looking the call up later", "action", s.do, "err", err)
		r.entry(i.key, soar.EntryNote, "", StepNote{Text: "the answer was lost", Error: err.Error(), Started: p.started})
		p.wake = p.intentAt.Add(r.e.options.CallTimeout)
	case (transient || !effect && (timedOut || errors.Is(err, ErrUncertain)) || s.retry.failed && !panicked) && r.again(i, p, err.Error(), false):
	default:
		r.finish(i, p, Result{State: soar.StepFailed, Error: err.Error(), Target: outcome.Target}, nil)
	}
}

// again plans another attempt, when the step has one left. carried says of the one before
// it that it may have been carried out.
func (r *runner) again(i *instance, p *progress, why string, carried bool) bool {
	s, now := i.step, r.now()
	if p.attempt >= s.retry.attempts || now.Add(s.retry.delay).Sub(p.started) >= s.timeout {
		return false
	}
	*p = p.next(p.attempt+1, carried)
	if s.retry.delay > 0 {
		p.wake = now.Add(s.retry.delay)
	}
	r.entry(i.key, soar.EntryNote, "", StepNote{Text: "trying again", Error: why, Retry: p.attempt, Started: p.started, Until: p.wake, Carried: carried})
	return true
}

// next is where another attempt begins.
func (p *progress) next(attempt int, carried bool) progress {
	n := progress{started: p.started, attempt: attempt}
	if p.firm || carried {
		n.foreseen, n.firm = p.foreseen, true
	}
	return n
}

// poll makes ready to ask what became of an accepted command.
func (r *runner) poll(ctx context.Context, i *instance, p *progress) func() func() {
	s, call, ref := i.step, r.call(i, p), p.ref
	callCtx, cancel := context.WithTimeout(ctx, cmp.Or(s.spec.PollTimeout, r.e.options.CallTimeout))
	return func() func() {
		outcome, err := safely(func() (Outcome, error) { return s.action.Poll(callCtx, call, ref) })
		cancel()
		return func() { r.polled(ctx, i, p, outcome, err) }
	}
}

func (r *runner) polled(ctx context.Context, i *instance, p *progress, outcome Outcome, err error) {
	s := i.step
	over := r.now().Sub(p.started) >= s.timeout
	switch {
	case ctx.Err() != nil && (err != nil || outcome.State == soar.StepAccepted):
		p.wake = r.now() // stopping: the next start asks again
	case err == nil && outcome.State == soar.StepCancelled && p.withdrawn != "": // by ourselves
		r.expire(i, p, nil)
	case err == nil && outcome.State != soar.StepAccepted:
		r.finishOutcome(i, p, outcome, p.ref)
	case err == nil && r.unverified(i, p, outcome):
	case over && p.done != nil:
		r.endUnverified(i, p, err)
	case over:
		p.summary = cmp.Or(outcome.Summary, p.summary)
		r.expire(i, p, err)
	default:
		if err != nil {
			r.log.Warn("cannot see what became of a command", "step", i.key, "err", err)
		}
		r.progressed(i, p, outcome.Progress)
		p.wake = r.pollAt(s, p, outcome.PollAfter)
	}
}

// progressed notes how far a call is, where that has changed.
func (r *runner) progressed(i *instance, p *progress, far string) {
	if far == "" || far == p.far {
		return
	}
	p.far = far
	r.entry(i.key, soar.EntryNote, "", StepNote{Text: far, Started: p.started})
}

// pollAt is when to ask next: as the action says, else ever more rarely, and at the
// end of the step's time at the latest.
func (r *runner) pollAt(s *step, p *progress, after time.Duration) time.Time {
	now := r.now()
	if after <= 0 {
		after = min(max(now.Sub(p.started)/4, time.Second), 30*time.Second)
	}
	at, end := now.Add(after), p.started.Add(s.timeout)
	if at.After(end) {
		return end
	}
	return at
}

func (r *runner) finishOutcome(i *instance, p *progress, o Outcome, ref string) {
	s := i.step
	result := Result{State: o.State, Error: o.Error, Summary: o.Summary, Target: o.Target, Ref: o.Ref}
	if result.Ref == "" {
		result.Ref = ref
	}
	if o.Executed {
		p.done = &o
	}
	switch o.State {
	case soar.StepExecuted, soar.StepVerified:
	case soar.StepFailed, soar.StepExpired, soar.StepCancelled, soar.StepRefused:
		if result.Error == "" {
			result.Error = string(o.State)
		}
		if s.retry.failed && s.spec.Effect != Once && o.State != soar.StepCancelled && r.again(i, p, result.Error, true) {
			return
		}
	default:
		result.State, result.Error = soar.StepUnknown, fmt.Sprintf("the action ended in the state %q", o.State)
	}
	output, err := plainOutput(o.Output)
	if err != nil {
		result.Summary = fmt.Sprintf("%s (output left out: %v)", result.Summary, err)
	}
	result.Output = output
	if p.firm && result.State.OK() { // this call found it done, as far as one before it had done it
		result.Output = overlaid(output, p.foreseen)
	}
	r.finish(i, p, result, o.Events)
}

// overlaid is an output with what was foreseen of it.
func overlaid(output, foreseen any) any {
	seen, known := foreseen.(map[string]any)
	if !known {
		return output
	}
	left, _ := output.(map[string]any)
	all := make(map[string]any, len(left)+len(seen))
	maps.Copy(all, left)
	maps.Copy(all, seen)
	return all
}

// finish ends an instance of a step. What follows from it, the next survey finds.
func (r *runner) finish(i *instance, p *progress, result Result, events []soar.Event) {
	s, now := i.step, r.now()
	result.Action = s.do
	if result.Target == "" {
		result.Target = p.target
	}
	if result.Ref == "" {
		result.Ref = p.ref
	}
	if result.Summary == "" {
		result.Summary = p.summary
	}
	r.keep(r.e.guard.End(r.run.ID, i.key, result.State, now))
	r.recordUndo(i, p, &result)
	seq := r.entry(i.key, soar.EntryResult, "", result)
	r.results[i.key] = &ended{Result: result}
	delete(r.open, i.key)
	took := now.Sub(p.started)
	r.e.metrics.stepSeconds.WithLabelValues(s.do, string(result.State)).Observe(took.Seconds())
	for _, event := range events {
		if event.AlertKey == 0 && event.Alert != nil && event.Alert.Ref() == r.alert.Ref() {
			event.Alert, event.AlertKey = nil, r.run.AlertKey // the store joins it
		}
		if event.Run == nil {
			event.Run = r.summary()
		}
		r.change.Events = append(r.change.Events, event)
	}
	if s.spec.Effect != Reads && result.State != soar.StepSkipped {
		r.event(soar.EventStepFinished, seq, func(e *soar.Event) {
			e.Outcome = &soar.Outcome{
				Step: i.key, Action: s.do, State: result.State, Target: result.Target, Command: result.Ref,
				Summary: result.Summary, Error: result.Error, Took: took,
			}
			if result.Undo != nil {
				e.Outcome.Undo = result.Undo.Do
			}
			if r.undo != nil {
				e.Outcome.Of = r.undo.Run
			}
		})
		r.dirty = r.dirty || !p.intentAt.IsZero()
	}
	if result.State == soar.StepUnknown && s.spec.Effect == Once {
		r.event(soar.EventTrouble, seq, func(e *soar.Event) {
			e.Run.State, e.Run.Error = soar.RunUnknown, fmt.Sprintf("step %s: %s", i.key, result.Error)
			e.Text = fmt.Sprintf("run %s of %s: nobody can tell whether step %s (%s) happened: %s. Find out, then settle it.",
				r.run.ID, r.pb.Name, i.key, s.do, result.Error)
		})
	}
}

package playbooks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// runner is one worker's hold on one run. It collects what has to be written in
// change and commits it when it must be on disk: before a call with an effect,
// after a command id has come, before waiting, and at the end.
type runner struct {
	e     *Engine
	run   soar.Run
	pb    *Playbook
	alert *soar.Alert
	log   *slog.Logger

	in    *input
	seq   int // of the last entry
	cur   progress
	dirty bool // change holds the result of a call with an effect

	change soar.Change
}

// progress is where the current step stands.
type progress struct {
	started  time.Time
	attempt  int // from 1
	planned  bool
	with     map[string]any
	mark     string
	intentAt time.Time // when the call was about to be sent; zero: not yet
	lost     bool      // the call may or may not have been received
	ref      string    // the server's command id
	target   string
	summary  string
}

// errLostRun means that somebody else went on with the run.
var errLostRun = errors.New("another worker went on with the run")

func (r *runner) step() *step { return r.pb.program[r.run.PC] }

func (r *runner) now() time.Time { return r.e.options.Now().UTC() }

// work goes on with the run until it ends or waits. What it leaves behind in the
// journal is always enough to go on after a crash.
func (r *runner) work(ctx context.Context) error {
	for !r.run.State.Ended() && r.run.State != soar.RunWaiting {
		if r.e.stopping() && !r.cur.planned {
			break // between two steps; the next start goes on here
		}
		switch {
		case r.cur.ref != "":
			r.poll(ctx)
		case r.cur.lost:
			if err := r.lookUp(ctx); err != nil {
				return err
			}
		case r.cur.planned || r.plan(ctx):
			if err := r.send(ctx); err != nil {
				return err
			}
		}
	}
	return r.commit(ctx)
}

// plan evaluates steps until one is to be carried out, and writes down its intent.
// It reports false when the run ended or waits.
func (r *runner) plan(ctx context.Context) bool {
	for !r.run.State.Ended() && r.run.State != soar.RunWaiting {
		if r.e.stopping() {
			return false
		}
		s := r.step()
		if r.cur.attempt == 0 {
			r.cur.attempt = 1
		}
		if r.cur.started.IsZero() {
			r.cur.started = r.now()
		}
		if r.planStep(ctx, s) {
			r.cur.planned = true
			return true
		}
	}
	return false
}

func (r *runner) planStep(ctx context.Context, s *step) bool {
	if r.now().Sub(r.cur.started) >= s.timeout {
		r.finish(s, Result{State: soar.StepFailed, Error: "the time of the step is over"}, nil)
		return false
	}
	if s.cond != nil && r.cur.attempt == 1 {
		yes, err := s.cond.isTrue(ctx, r.in)
		if err != nil {
			r.finish(s, Result{State: soar.StepFailed, Error: "if: " + err.Error()}, nil)
			return false
		}
		if !yes {
			r.finish(s, Result{State: soar.StepSkipped, Summary: "if is false"}, nil)
			return false
		}
	}
	with, err := s.with.object(ctx, r.in)
	if err != nil {
		r.finish(s, Result{State: soar.StepFailed, Error: "with: " + err.Error()}, nil)
		return false
	}
	r.cur.with = with
	r.cur.mark = mark(r.run.ID, s.id, r.cur.attempt)
	if s.spec.Effect == Reads {
		return true
	}
	answers, ok := r.e.guard.allow(&request{playbook: r.pb, step: s, alert: r.alert, run: &r.run})
	r.entry(s.id, soar.EntryDecision, "", Decision{Answers: answers})
	if !ok {
		last := answers[len(answers)-1]
		result := Result{State: last.State, Summary: last.Words, With: with}
		if !last.State.OK() {
			result.Error = last.Words
		}
		r.finish(s, result, nil)
		return false
	}
	r.intend(s, false)
	return true
}

// mark names a call on the server: it is unique to the run, the step and the attempt.
func mark(run soar.RunID, step string, attempt int) string {
	text := "erbridge-" + run.String() + "-" + step
	if attempt > 1 {
		text += "-" + strconv.Itoa(attempt)
	}
	return text
}

// intend writes down that the call is about to be sent. It has to be committed
// before the call. A crash from there on is settled by lookUp.
func (r *runner) intend(s *step, again bool) {
	r.cur.intentAt, r.cur.lost, r.cur.planned = r.now(), false, true
	r.entry(s.id, soar.EntryIntent, "", Intent{
		Action: s.do, Effect: s.spec.Effect, With: r.cur.with, Mark: r.cur.mark, Attempt: r.cur.attempt, Started: r.cur.started, Again: again,
	})
}

func (r *runner) call(s *step) Call {
	name := s.id
	if r.cur.attempt > 1 {
		name += "#" + strconv.Itoa(r.cur.attempt)
	}
	return Call{Run: r.run.ID, Step: name, Alert: *r.alert, With: r.cur.with, Mark: r.cur.mark}
}

// callContext bounds one call by CallTimeout, and by what is left of the step.
func (r *runner) callContext(ctx context.Context, s *step) (context.Context, context.CancelFunc) {
	left := s.timeout - r.now().Sub(r.cur.started)
	return context.WithTimeout(ctx, max(min(left, r.e.options.CallTimeout), time.Millisecond))
}

// send carries out the planned call.
func (r *runner) send(ctx context.Context) error {
	s := r.step()
	if s.spec.Effect != Reads || r.dirty {
		if err := r.commit(ctx); err != nil {
			return err
		}
	}
	r.cur.planned = false
	callCtx, cancel := r.callContext(ctx, s)
	outcome, err := safely(func() (Outcome, error) { return s.action.Do(callCtx, r.call(s)) })
	timedOut := callCtx.Err() != nil
	cancel()
	switch {
	case err == nil && outcome.State == soar.StepAccepted && outcome.Ref != "":
		r.accepted(s, outcome, false)
		return r.commit(ctx) // the command id is on disk before anything else happens
	case err == nil && outcome.State == soar.StepAccepted:
		r.finish(s, Result{State: soar.StepUnknown, Error: "accepted without a command id", Target: outcome.Target}, nil)
	case err == nil:
		r.finishOutcome(s, outcome, "")
	default:
		r.sendFailed(s, outcome, err, timedOut)
	}
	return nil
}

// accepted notes the command id and waits for the host.
func (r *runner) accepted(s *step, outcome Outcome, found bool) {
	r.cur.ref, r.cur.target, r.cur.summary, r.cur.lost = outcome.Ref, outcome.Target, outcome.Summary, false
	sent := Sent{Target: outcome.Target, Summary: outcome.Summary, Started: r.cur.started, Found: found}
	if s.spec.Effect == Reads {
		sent.With = r.cur.with
	}
	r.entry(s.id, soar.EntrySent, outcome.Ref, sent)
	r.wait(r.pollAt(s, outcome.PollAfter))
}

func (r *runner) sendFailed(s *step, outcome Outcome, err error, timedOut bool) {
	r.cur.target = outcome.Target
	effect := s.spec.Effect != Reads
	_, panicked := errors.AsType[*panicError](err)
	if panicked {
		r.log.Error("action panicked", "action", s.do, "err", err)
	}
	transient := errors.Is(err, ErrTransient)
	switch {
	case effect && !transient && (timedOut || errors.Is(err, ErrUncertain) || panicked && s.spec.Effect == Once):
		// It may have happened: wait until it can no longer be under way, then look.
		r.cur.lost = true
		r.log.Warn("answer lost, looking the call up later", "action", s.do, "err", err)
		r.entry(s.id, soar.EntryNote, "", StepNote{Text: "the answer was lost", Error: err.Error(), Started: r.cur.started})
		r.wait(r.cur.intentAt.Add(r.e.options.CallTimeout))
	case (transient || !effect && (timedOut || errors.Is(err, ErrUncertain)) || s.retry.failed && !panicked) && r.again(s, err.Error()):
	default:
		r.finish(s, Result{State: soar.StepFailed, Error: err.Error(), Target: outcome.Target}, nil)
	}
}

// again plans another attempt, when the step has one left.
func (r *runner) again(s *step, why string) bool {
	now := r.now()
	if r.cur.attempt >= s.retry.attempts || now.Add(s.retry.delay).Sub(r.cur.started) >= s.timeout {
		return false
	}
	r.cur = progress{started: r.cur.started, attempt: r.cur.attempt + 1}
	r.entry(s.id, soar.EntryNote, "", StepNote{Text: "trying again", Error: why, Retry: r.cur.attempt, Started: r.cur.started})
	if s.retry.delay > 0 {
		r.wait(now.Add(s.retry.delay))
	}
	return true
}

// poll asks what became of an accepted command.
func (r *runner) poll(ctx context.Context) {
	s := r.step()
	callCtx, cancel := context.WithTimeout(ctx, cmp.Or(s.spec.PollTimeout, r.e.options.CallTimeout))
	outcome, err := safely(func() (Outcome, error) { return s.action.Poll(callCtx, r.call(s), r.cur.ref) })
	cancel()
	over := r.now().Sub(r.cur.started) >= s.timeout
	switch {
	case ctx.Err() != nil && (err != nil || outcome.State == soar.StepAccepted):
		r.wait(r.now()) // stopping: the next start asks again
	case err == nil && outcome.State != soar.StepAccepted:
		r.finishOutcome(s, outcome, r.cur.ref)
	case over && err != nil:
		r.finish(s, Result{State: soar.StepExpired, Error: "not executed in time; the last look failed: " + err.Error()}, nil)
	case over:
		r.finish(s, Result{State: soar.StepExpired, Error: fmt.Sprintf("accepted, and not executed within %s", s.timeout)}, nil)
	default:
		if err != nil {
			r.log.Warn("cannot see what became of a command", "step", s.id, "err", err)
		}
		r.wait(r.pollAt(s, outcome.PollAfter))
	}
}

// pollAt is when to ask next: as the action says, else ever more rarely, and at the
// end of the step's time at the latest.
func (r *runner) pollAt(s *step, after time.Duration) time.Time {
	now := r.now()
	if after <= 0 {
		after = min(max(now.Sub(r.cur.started)/4, time.Second), 30*time.Second)
	}
	at, end := now.Add(after), r.cur.started.Add(s.timeout)
	if at.After(end) {
		return end
	}
	return at
}

func (r *runner) finishOutcome(s *step, o Outcome, ref string) {
	result := Result{State: o.State, Error: o.Error, Summary: o.Summary, Target: o.Target, Ref: o.Ref}
	if result.Ref == "" {
		result.Ref = ref
	}
	switch o.State {
	case soar.StepExecuted, soar.StepVerified:
	case soar.StepFailed, soar.StepExpired, soar.StepCancelled, soar.StepRefused:
		if result.Error == "" {
			result.Error = string(o.State)
		}
		if s.retry.failed && s.spec.Effect != Once && o.State != soar.StepCancelled && r.again(s, result.Error) {
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
	r.finish(s, result, o.Events)
}

// finish ends the current step and decides where the run goes on.
func (r *runner) finish(s *step, result Result, events []soar.Event) {
	now := r.now()
	result.Action = s.do
	if result.Target == "" {
		result.Target = r.cur.target
	}
	if result.Ref == "" {
		result.Ref = r.cur.ref
	}
	if result.Summary == "" {
		result.Summary = r.cur.summary
	}
	seq := r.entry(s.id, soar.EntryResult, "", result)
	r.remember(s.id, &result)
	took := now.Sub(r.cur.started)
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
				Step: s.id, Action: s.do, State: result.State, Target: result.Target, Command: result.Ref,
				Summary: result.Summary, Error: result.Error, Took: took,
			}
		})
		r.dirty = r.dirty || !r.cur.intentAt.IsZero()
	}
	r.cur = progress{}
	if result.State == soar.StepUnknown && s.spec.Effect == Once {
		r.run.Error = fmt.Sprintf("step %s: %s", s.id, result.Error)
		r.end(soar.RunUnknown)
		r.event(soar.EventTrouble, seq, func(e *soar.Event) {
			e.Text = fmt.Sprintf("run %s of %s: nobody can tell whether step %s (%s) happened: %s. Find out, then settle it.",
				r.run.ID, r.pb.Name, s.id, s.do, result.Error)
		})
		return
	}
	next := s.next
	if !result.State.OK() {
		next = s.failed
		if next != s.next && r.run.Error == "" {
			r.run.Error = fmt.Sprintf("step %s: %s", s.id, result.Error)
		}
	}
	switch {
	case next == endFailed:
		r.end(soar.RunFailed)
	case next >= len(r.pb.program):
		r.end(soar.RunDone)
	default:
		r.run.PC = next
	}
}

// end ends the run. An unknown one keeps its place, for whoever settles it.
func (r *runner) end(state soar.RunState) {
	r.run.State, r.run.Wake, r.run.EndedAt = state, time.Time{}, r.now()
	r.e.metrics.runs.WithLabelValues(r.pb.Name, string(state)).Inc()
	if state != soar.RunUnknown {
		r.event(soar.EventRunFinished, r.seq, nil)
	}
}

func (r *runner) wait(until time.Time) {
	r.run.State, r.run.Wake = soar.RunWaiting, until
}

// remember lets later steps see a result. The input is never changed in place:
// values that expressions returned may be part of it.
func (r *runner) remember(id string, result *Result) {
	steps, _ := r.in.object["steps"].(map[string]any)
	more := make(map[string]any, len(steps)+1)
	maps.Copy(more, steps)
	more[id] = result.visible()
	object := maps.Clone(r.in.object)
	object["steps"] = more
	r.in = &input{object: object, vars: r.in.vars}
}

// entry appends to the journal and returns the entry's number.
func (r *runner) entry(step string, kind soar.EntryKind, ref string, body any) int {
	data, err := json.Marshal(body)
	if err != nil { // bodies hold plain values only
		data, _ = json.Marshal(StepNote{Text: "the record could not be written", Error: err.Error()})
	}
	r.seq++
	r.change.Entries = append(r.change.Entries, soar.Entry{Run: r.run.ID, Seq: r.seq, At: r.now(), Step: step, Kind: kind, Ref: ref, Body: data})
	return r.seq
}

func (r *runner) summary() *soar.RunSummary {
	return &soar.RunSummary{ID: r.run.ID, Playbook: r.run.Playbook, Mode: r.run.Mode, State: r.run.State, Error: r.run.Error}
}

// event adds an event whose id follows from the run and an entry, so that it is
// the same whenever it is made.
func (r *runner) event(kind soar.EventType, seq int, fill func(*soar.Event)) {
	e := soar.Event{
		ID: r.run.ID.String() + "-" + strconv.Itoa(seq) + "-" + string(kind), Type: kind, At: r.now(), AlertKey: r.run.AlertKey, Run: r.summary(),
	}
	if fill != nil {
		fill(&e)
	}
	r.change.Events = append(r.change.Events, e)
}

// commit writes what has been collected, together with the run.
func (r *runner) commit(ctx context.Context) error {
	if len(r.change.Entries) == 0 && len(r.change.Events) == 0 && r.run.State == soar.RunRunning {
		return nil
	}
	r.change.Runs = []soar.Run{r.run}
	err := r.e.commit(ctx, r.change)
	switch {
	case err == nil:
		r.change, r.dirty = soar.Change{}, false
		return nil
	case errors.Is(err, soar.ErrConflict):
		return errLostRun
	}
	return err
}

// panicError is a panic of an action or an expression.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

package playbooks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// runner is one worker's hold on one run. It collects what has to be written in
// change and commits it when it must be on disk: before a call with an effect,
// after a command id has come, before waiting, and at the end. All of it belongs to
// one goroutine; only the calls of actions have their own.
type runner struct {
	e     *Engine
	run   soar.Run
	pb    *Playbook
	calls map[string]*Playbook // the versions of what it calls, by name
	alert *soar.Alert
	plain map[string]any // the alert, for expressions
	found *findings
	log   *slog.Logger

	on      string       // what started it; empty where nothing depends on it
	by      string       // the person who did; empty: nobody
	job     *guard.Job   // over many hosts; nil: it is no part of one
	fresh   *soar.Alert  // the alert as it was read last; nil: as the run began or went on
	group   *GroupWindow // nil: the run of one alert
	members []int64      // keys of the alerts of the group; nil before it is closed

	// What the journal says.
	seq     int // of the last entry
	results map[string]*ended
	groups  map[string]*GroupNote
	open    map[string]*progress // instances that have begun and not ended

	undo      *undo      // what it takes back; nil: it is a run of its own
	scheduled []soar.Run // that take back what it did, for the next commit

	settles []func(kept bool) // of what the guard remembers, for the next commit

	ready  []*instance // of the last survey
	dirty  bool        // change holds the result of a call with an effect
	urgent bool        // change holds a command id, or what a look-up found
	change soar.Change

	rest      bool     // something is left to the next start, because the engine stops
	saved     soar.Run // as it was committed last
	cancelled string   // by whom and why it was called off; empty: it was not

	answers chan func()   // of calls
	calling int           // calls under way
	spare   chan struct{} // places of workers, for all calls but the first
}

// progress is where an instance of a step stands.
type progress struct {
	asked
	started  time.Time
	attempt  int       // from 1
	wake     time.Time // nothing is done before
	busy     bool      // a call is under way
	planned  bool      // the call is the next thing to do
	tried    bool      // a call may have been sent already
	again    bool      // one before it was, and its answer was lost
	with     map[string]any
	mark     string
	foreseen any       // what the call leaves, by how it was before it; nil: not known
	firm     bool      // foreseen stays: a call before this one may have been carried out
	intentAt time.Time // when the call was about to be sent; zero: not yet
	lost     bool      // the call may or may not have been received
	ref      string    // the server's command id
	target   string
	summary  string
	far      string   // how far the journal says that it is
	done     *Outcome // what was executed, and cannot be verified yet

	overdue   bool   // its command is to be withdrawn
	withdrawn string // what came of that; empty: it was not tried
	recalled  bool   // it was withdrawn
}

// errLostRun means that somebody else went on with the run.
var errLostRun = errors.New("another worker went on with the run")

func (e *Engine) newRunner(run soar.Run, pb *Playbook, alert *soar.Alert, plain map[string]any, found *findings) *runner {
	return &runner{
		e: e, run: run, pb: pb, alert: alert, plain: plain, found: found,
		log:   e.options.Log.With("run", run.ID.String(), "playbook", run.Playbook),
		calls: map[string]*Playbook{}, results: map[string]*ended{}, groups: map[string]*GroupNote{}, open: map[string]*progress{},
	}
}

func (r *runner) now() time.Time { return r.e.options.Now().UTC() }

// work goes on with the run until it ends, or until all of it waits. What it leaves
// behind in the journal is always enough to go on after a crash.
func (r *runner) work(ctx context.Context) error {
	r.answers = make(chan func())
	defer func() {
		for ; r.calling > 0; r.calling-- { // of a run that is lost, or cannot be recorded
			<-r.answers
		}
	}()
	if r.undo != nil && !r.takeTurn() {
		return r.commit(ctx)
	}
	for !r.run.State.Ended() {
		if r.advance(ctx); r.run.State.Ended() {
			break
		}
		due, wake := r.due(ctx)
		if r.calling == 0 && len(due) == 0 {
			switch {
			case !wake.IsZero():
				r.run.State, r.run.Wake = soar.RunWaiting, wake
			case r.e.isWanted(r.run.ID): // who waits for it, goes on with it
				r.run.State, r.run.Wake = soar.RunWaiting, r.now()
			}
			break
		}
		if i := r.lost(due); i != nil {
			if err := r.lookUp(ctx, i, r.open[i.key]); err != nil {
				return err
			}
			continue
		}
		if err := r.begin(ctx, due); err != nil {
			return err
		}
		if r.calling > 0 {
			// What others wait for, at a limit or on a host, does not wait for these calls.
			if r.dirty || len(r.change.KV) > 0 {
				if err := r.commit(ctx); err != nil {
					return err
				}
			}
			r.receive(ctx, wake)
		}
		if r.urgent {
			if err := r.commit(ctx); err != nil {
				return err
			}
		}
	}
	return r.commit(ctx)
}

// stopping reports whether nothing new is to be begun.
func (r *runner) stopping(ctx context.Context) bool {
	return r.e.stopping() || ctx.Err() != nil || r.e.isWanted(r.run.ID)
}

// advance surveys the run and plans the calls that come next, until only calls are
// left to do, or the run has ended. While the engine stops, nothing is planned.
func (r *runner) advance(ctx context.Context) {
	for again := true; again; {
		again = false
		r.survey(ctx)
		if r.run.State.Ended() || r.stopping(ctx) {
			return
		}
		for _, i := range r.ready {
			p := r.open[i.key]
			if p == nil {
				p = &progress{started: r.now(), attempt: 1}
				r.open[i.key] = p
			}
			if i.reads || p.looks || p.busy || p.planned || p.lost || p.ref != "" || r.now().Before(p.wake) {
				continue
			}
			if !r.plan(ctx, i, p) { // it has ended at once, and others may follow it
				again = true
				break
			}
		}
	}
}

// survey finds what is to be done, and ends the run when there is nothing.
func (r *runner) survey(ctx context.Context) {
	v := &survey{r: r, ctx: ctx, stopping: r.stopping(ctx) || r.cancelled != ""}
	root := rootFrame(r.pb, r.found)
	st, why := v.playbook(r.pb, &root)
	r.ready, r.rest = v.ready, v.rest
	if r.cancelled != "" && (st != passed || r.leftOut()) {
		if r.callOff(); len(r.ready)+len(v.doubtful) == 0 {
			r.run.Error = r.cancelled
			r.end(soar.RunCancelled)
			return
		}
		st = going
	}
	switch {
	case st == broke:
		r.run.Error = cmp.Or(r.run.Error, why)
		r.end(soar.RunFailed)
		return
	case st == passed:
		if r.undo != nil {
			r.run.Error = r.notTakenBack()
		}
		if r.run.Error != "" && r.undo != nil {
			r.end(soar.RunFailed)
			return
		}
		r.end(soar.RunDone)
		return
	case len(v.doubtful) > 0:
		// What is under way goes to its end, and nothing else begins.
		r.ready = slices.DeleteFunc(r.ready, func(i *instance) bool { return r.open[i.key] == nil })
		if len(r.ready) == 0 {
			first := v.doubtful[0]
			r.run.PC = first.frame.place(first.step)
			r.run.Error = fmt.Sprintf("step %s: %s", first.key, r.results[first.key].Error)
			r.end(soar.RunUnknown)
			return
		}
	}
	if len(r.ready) > 0 {
		r.run.PC = r.ready[0].frame.place(r.ready[0].step)
	}
}

// due lists what can be done now, and when the next can. While the engine stops,
// only calls are made whose intent may be on disk.
func (r *runner) due(ctx context.Context) (due []*instance, wake time.Time) {
	now, stopping, rest := r.now(), r.stopping(ctx), r.rest
	for _, i := range r.ready {
		p := r.open[i.key]
		switch {
		case p != nil && p.busy:
		case p != nil && now.Before(p.wake):
			if wake.IsZero() || p.wake.Before(wake) {
				wake = p.wake
			}
		case p == nil || stopping && (!p.planned || p.intentAt.IsZero()):
			rest = true
		default:
			due = append(due, i)
		}
	}
	if rest {
		wake = time.Time{} // the next start goes on at once
	}
	return due, wake
}

// staleIntent is how old an intent may be when its call is sent. What a look-up makes
// of a missing call depends on when it can have been sent.
const staleIntent = time.Second

// begin makes the calls that are due, as far as there are workers for them. Their
// intents are on disk before.
func (r *runner) begin(ctx context.Context, due []*instance) error {
	type start struct {
		i     *instance
		p     *progress
		place func() // gives the place back
	}
	due = slices.DeleteFunc(due, func(i *instance) bool { return r.open[i.key].planned && r.late(i, r.open[i.key]) })
	var starts []start
	record := r.dirty || r.urgent
	for _, i := range due {
		p := r.open[i.key]
		if p.lost {
			continue
		}
		place := r.place(len(starts))
		if place == nil {
			break // when a call ends, another look is taken
		}
		if p.planned && i.step.spec.Effect != Reads {
			if !r.confirm(i, p) {
				place()
				continue
			}
			record = true
		} else if p.planned && !p.taken && r.bounded() {
			if !r.takeToRead(i, p) {
				place()
				continue
			}
			record = true
		}
		starts = append(starts, start{i, p, place})
	}
	if record && len(starts) > 0 {
		if err := r.commit(ctx); err != nil {
			for _, s := range starts {
				s.place()
			}
			return err
		}
	}
	for _, s := range starts {
		var call func() func()
		switch {
		case s.i.reads:
			call = r.readForCall(ctx, s.i, s.p)
		case s.p.looks:
			call = r.look(ctx, s.i, s.p)
		case s.p.overdue:
			call = r.withdraw(ctx, s.i, s.p)
		case s.p.ref != "":
			call = r.poll(ctx, s.i, s.p)
		default:
			call = r.send(ctx, s.i, s.p)
		}
		s.p.busy = true
		r.calling++
		go func() { // its end is the answer, for which work waits
			answer := call()
			s.place()
			r.answers <- func() { s.p.busy = false; answer() }
		}()
	}
	return nil
}

// late begins the time of a step anew when it has waited for a worker and nothing was
// sent yet. A later attempt has no more than what is left: late reports that it is over.
func (r *runner) late(i *instance, p *progress) bool {
	now := r.now()
	if p.attempt == 1 && !p.tried {
		p.started = now
	}
	if now.Sub(p.started) < i.step.timeout {
		return false
	}
	r.finish(i, p, Result{State: soar.StepFailed, Error: "the time of the step is over"}, nil)
	return true
}

// lost finds an instance whose lost call is to be looked up. While a call of the same
// action is under way it is none: the command that a look-up finds may be of that one.
func (r *runner) lost(due []*instance) *instance {
	for _, i := range due {
		same := func(o *instance) bool {
			p := r.open[o.key]
			return o.key != i.key && o.step.do == i.step.do && p != nil && p.busy && p.ref == ""
		}
		if r.open[i.key].lost && !slices.ContainsFunc(r.ready, same) {
			return i
		}
	}
	return nil
}

// place takes a place to make a call in, when so many were taken already, and returns
// how to give it back; nil means that there is none now. The first call of a run has
// that of the run's own worker, so that runs never wait for each other.
func (r *runner) place(taken int) func() {
	if r.calling+taken == 0 {
		return func() {}
	}
	select {
	case r.spare <- struct{}{}:
		return func() { <-r.spare }
	default:
		return nil
	}
}

// receive takes the answers of calls that have ended. It waits for the first one, and
// no longer than until something else can be done, or the guard lets a step go on.
func (r *runner) receive(ctx context.Context, wake time.Time) {
	var timeUp <-chan time.Time
	if !wake.IsZero() {
		timer := time.NewTimer(max(wake.Sub(r.now()), time.Millisecond))
		defer timer.Stop()
		timeUp = timer.C
	}
	for waiting := true; waiting; {
		var changed <-chan struct{}
		if !r.stopping(ctx) {
			var found bool
			if found, changed = r.callBack(); found {
				return
			}
		}
		select {
		case answer := <-r.answers:
			r.calling--
			answer()
			waiting = false
		case <-changed:
		case <-timeUp:
			return
		}
	}
	for {
		select {
		case answer := <-r.answers:
			r.calling--
			answer()
		default:
			return
		}
	}
}

// plan evaluates a step and asks the guard. It reports false when the step ended
// without a call.
func (r *runner) plan(ctx context.Context, i *instance, p *progress) bool {
	s := i.step
	if r.notYet(i, p) {
		return true
	}
	if p.attempt == 1 && !p.tried && !p.since.IsZero() {
		p.started = r.now() // its time does not run while it waits for the guard
	}
	if r.now().Sub(p.started) >= s.timeout {
		words := "the time of the step is over"
		if p.tried {
			p.lost, words = true, "the answer was lost, and "+words
		}
		r.finish(i, p, Result{State: soar.StepFailed, Error: words}, nil)
		return false
	}
	in := i.frame.input(r.plain, &r.run)
	if s.cond != nil && s.forEach == nil && p.attempt == 1 {
		yes, err := s.cond.isTrue(ctx, in)
		if err != nil && ctx.Err() != nil {
			return false // the engine stops, and has cut it short: the next start asks again
		}
		if err != nil {
			r.finish(i, p, Result{State: soar.StepFailed, Error: "if: " + err.Error()}, nil)
			return false
		}
		if !yes {
			r.finish(i, p, Result{State: soar.StepSkipped, Summary: "if is false"}, nil)
			return false
		}
	}
	with, err := s.with.object(ctx, in)
	if err != nil && ctx.Err() != nil {
		return false
	}
	if err != nil {
		r.finish(i, p, Result{State: soar.StepFailed, Error: "with: " + err.Error()}, nil)
		return false
	}
	p.with = pinned(s.action, with)
	p.mark = mark(r.run.ID, i.key, p.attempt)
	if s.spec.Effect == Reads {
		return r.askToRead(i, p)
	}
	return r.ask(ctx, i, p)
}

// end ends the run. An unknown one keeps its place, for whoever settles it.
func (r *runner) end(state soar.RunState) {
	r.run.State, r.run.Wake, r.run.EndedAt = state, time.Time{}, r.now()
	if state == soar.RunFailed {
		r.noteFailure()
	}
	r.e.metrics.runs.WithLabelValues(r.pb.Name, string(state)).Inc()
	if state != soar.RunUnknown {
		r.event(soar.EventRunFinished, r.seq, nil)
	}
	if state == soar.RunFailed && r.undo != nil {
		r.tellNotTakenBack()
	}
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
	if len(r.change.Entries) == 0 && len(r.change.Events) == 0 && len(r.change.KV) == 0 && (r.run.State == soar.RunRunning || r.run == r.saved) {
		r.urgent = false
		return nil
	}
	r.change.Runs = append([]soar.Run{r.run}, r.scheduled...)
	err := r.e.commit(ctx, r.change)
	switch {
	case err == nil:
		r.e.noticeFailures(r.change.KV)
		r.committed()
		return nil
	case errors.Is(err, soar.ErrConflict):
		err = errLostRun
	}
	r.settle(false)
	return err
}

// settle tells the guard whether what it remembers is on disk.
func (r *runner) settle(kept bool) {
	for _, settle := range r.settles {
		settle(kept)
	}
	r.settles = nil
}

// committed notes that all that was collected is on disk.
func (r *runner) committed() {
	r.settle(true)
	r.change, r.scheduled, r.dirty, r.urgent, r.saved = soar.Change{}, nil, false, false, r.run
}

// panicError is a panic of an action or an expression.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

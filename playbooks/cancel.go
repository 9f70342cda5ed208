package playbooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// A person may call off a run, or one step of it that waits. What was sent already is
// not called off: it goes to its end and is recorded, since an effect that nobody
// keeps account of is worse than one that nobody wants. Nothing else of the run begins
// then, its steps under finally included.

// Cancellation is a person's word that a run, or a step of it, is not wanted any more.
type Cancellation struct {
	Run soar.RunID `json:"run"`
	// Step is the key of a step that waits; empty: the whole run.
	Step   string `json:"step,omitempty"`
	By     string `json:"by"`
	Reason string `json:"reason"`
}

func (c *Cancellation) words() string {
	words := "cancelled by " + c.By
	if c.Reason != "" {
		words += ": " + c.Reason
	}
	return words
}

// ErrNotCancelled means that there is nothing to cancel any more, or not yet.
var ErrNotCancelled = errors.New("cannot be cancelled")

// Cancel ends a run, or a step that waits to be sent. Steps of the run that were sent
// are waited for, so that the run that it returns may be under way still; then it ends
// cancelled with them. An error wrapping ErrNotCancelled says what stands against it,
// and soar.ErrNotFound that there is no such run.
func (e *Engine) Cancel(ctx context.Context, c Cancellation) (soar.Run, error) {
	if err := e.loadOnce(ctx); err != nil { // where no engine is at work
		return soar.Run{}, err
	}
	release, err := e.seize(ctx, c.Run)
	if err != nil {
		return soar.Run{}, err
	}
	defer release()
	run, err := e.journal.GetRun(ctx, c.Run)
	switch {
	case err != nil:
		return soar.Run{}, err
	case run.State == soar.RunUnknown:
		return run, fmt.Errorf("%w: %s; settle that first", ErrNotCancelled, run.Error)
	case run.State.Ended():
		return run, fmt.Errorf("%w: run %s is %s already", ErrNotCancelled, run.ID, run.State)
	}
	if run.State == soar.RunRunning { // by nobody: the engine is not at work
		run.Epoch++
	}
	run.State, run.Wake = soar.RunRunning, time.Time{}
	r, err := e.resume(ctx, run)
	switch {
	case err != nil:
	case c.Step != "" && r.group != nil && r.members == nil:
		return run, fmt.Errorf("%w: the alerts of run %s are still being gathered, and no step has begun", ErrNotCancelled, run.ID)
	default:
		err = r.gather(ctx)
	}
	if err != nil {
		return soar.Run{}, err
	}
	if c.Step == "" {
		r.cancelled = c.words()
		r.entry("", soar.EntryDecision, "", Decision{By: c.By, Reason: c.Reason, Cancel: true})
		r.survey(ctx)
	} else if err := r.cancelStep(ctx, &c); err != nil {
		return soar.Run{}, err
	}
	if !r.run.State.Ended() {
		r.run.State, r.run.Wake = soar.RunWaiting, r.now()
	}
	return r.run, r.commit(ctx)
}

// cancelStep ends one step that waits; the run goes on as after any step that failed.
func (r *runner) cancelStep(ctx context.Context, c *Cancellation) error {
	v := &survey{r: r, ctx: ctx, stopping: true}
	root := rootFrame(r.pb, r.found)
	v.playbook(r.pb, &root)
	at := slices.IndexFunc(v.ready, func(i *instance) bool { return i.key == c.Step })
	switch {
	case r.results[c.Step] != nil:
		return fmt.Errorf("%w: step %s of run %s is %s already", ErrNotCancelled, c.Step, c.Run, r.results[c.Step].State)
	case at < 0 || r.open[c.Step] == nil:
		return fmt.Errorf("%w: step %s of run %s has not begun", ErrNotCancelled, c.Step, c.Run)
	case r.open[c.Step].sent():
		return fmt.Errorf("%w: step %s of run %s was sent; it ends by itself", ErrNotCancelled, c.Step, c.Run)
	}
	r.entry(c.Step, soar.EntryDecision, "", Decision{By: c.By, Reason: c.Reason, Cancel: true})
	r.finish(v.ready[at], r.open[c.Step], Result{State: soar.StepCancelled, Error: c.words()}, nil)
	return nil
}

// sent reports whether a step may have had an effect that has to be waited for.
func (p *progress) sent() bool { return p.busy || p.lost || p.ref != "" }

// callOff ends what a run that is cancelled has not sent, and leaves the rest to its end.
func (r *runner) callOff() {
	var underWay []*instance
	for _, i := range r.ready {
		switch p := r.open[i.key]; {
		case p == nil:
		case p.sent():
			underWay = append(underWay, i)
		default:
			r.finish(i, p, Result{State: soar.StepCancelled, Error: r.cancelled}, nil)
		}
	}
	r.ready, r.rest = underWay, false
}

// leftOut reports whether a step was called off, after which the run may have gone on: then
// it was not done, whatever else came to its end.
func (r *runner) leftOut() bool {
	for _, end := range r.results {
		if end.State == soar.StepCancelled && end.Error == r.cancelled {
			return true
		}
	}
	return false
}

// seize takes a run out of the hands of its worker, who leaves it as soon as no call of
// it is under way. release gives it back.
func (e *Engine) seize(ctx context.Context, id soar.RunID) (release func(), err error) {
	for {
		e.mu.Lock()
		if !e.runs[id] {
			e.runs[id] = true
			e.mu.Unlock()
			return func() { e.dropRun(id) }, nil
		}
		left := e.wanted[id]
		if left == nil {
			left = make(chan struct{})
			e.wanted[id] = left
		}
		e.mu.Unlock()
		select {
		case <-left:
		case <-ctx.Done():
			e.mu.Lock()
			if e.wanted[id] == left {
				delete(e.wanted, id)
			}
			e.mu.Unlock()
			return nil, fmt.Errorf("run %s is being worked on: %w", id, context.Cause(ctx))
		}
	}
}

// isWanted reports whether somebody wants to take a run out of the hands of its worker.
func (e *Engine) isWanted(id soar.RunID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.wanted[id] != nil
}

package playbooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// ApprovalAnswer is what a question leaves as .steps.<id>.output.
type ApprovalAnswer struct {
	// Granted tells whether as many people agreed as have to.
	Granted bool `json:"granted"`
	// By are the people who decided, with a comma between; null when nobody did.
	By string `json:"by"`
	// Reason is what they said.
	Reason string `json:"reason"`
	// At is when they decided, or when their time was over.
	At time.Time `json:"at"`
	// State is approved, denied or expired.
	State string `json:"state"`
	// ID is that of the approval.
	ID string `json:"id"`
}

// answered ends a step that asked people.
func (r *runner) answered(i *instance, p *progress, d *guard.Decision) {
	record := r.decision(i, *d)
	r.entry(i.key, soar.EntryDecision, "", record)
	a := record.Approval
	if a == nil { // a rail that says OK to a question has an answer to it
		r.finish(i, p, Result{State: soar.StepFailed, Error: "nobody was asked"}, nil)
		return
	}
	granted := a.State == soar.ApprovalApproved
	var names, reasons []string
	for _, v := range a.Votes {
		if v.Agree == granted {
			names = append(names, v.By)
			if v.Reason != "" {
				reasons = append(reasons, v.Reason)
			}
		}
	}
	r.finish(i, p, Result{
		State: soar.StepExecuted, Granted: &granted, Summary: guard.Verdict(a), With: p.with,
		Output: map[string]any{
			"granted": granted, "by": orNull(strings.Join(names, ", ")), "reason": orNull(strings.Join(reasons, "; ")),
			"at": a.DecidedAt.UTC().Format(time.RFC3339), "state": string(a.State), "id": a.ID,
		},
	}, nil)
}

// decision is what the journal keeps of an answer of the guard that is carried out: with
// what people said, where it took them.
func (r *runner) decision(i *instance, d guard.Decision) Decision {
	record := Decision{Answers: d.Answers}
	if a, ok := r.e.guard.ApprovalOf(r.run.ID, i.key, r.now()); ok && a.State != soar.ApprovalWaiting && a.State != soar.ApprovalVoid {
		a.With = nil // the intent has it, and so has the result of a call that is not sent
		record.Approval = &a
	}
	return record
}

// alertNow is the alert as it was read last.
func (r *runner) alertNow() *soar.Alert { return cmp.Or(r.fresh, r.alert) }

// readAlert looks what has become of the alert, of which steps that wait see nothing.
func (r *runner) readAlert(ctx context.Context) {
	if r.run.AlertKey == 0 {
		return
	}
	stored, err := r.e.journal.AlertByKey(ctx, r.run.AlertKey)
	if err != nil {
		if ctx.Err() == nil {
			r.log.Warn("cannot read what has become of the alert", "err", err)
		}
		return
	}
	r.fresh = &stored.Alert
}

// resolvedIt reports whether the run has resolved its alert itself.
func (r *runner) resolvedIt() bool {
	for _, done := range r.results {
		if done.Action == alertResolve && (done.State.OK() || done.State == soar.StepUnknown) && done.State != soar.StepSkipped && done.State != soar.StepObserved {
			return true
		}
	}
	for _, o := range r.ready {
		if p := r.open[o.key]; p != nil && o.step.do == alertResolve && p.tried {
			return true
		}
	}
	return false
}

const alertResolve = "alert.resolve"

// Approvals lists what people were asked, the oldest first. It waits until Run knows.
func (e *Engine) Approvals(ctx context.Context) ([]soar.Approval, error) {
	if err := e.waitLoaded(ctx); err != nil {
		return nil, err
	}
	return e.guard.Approvals(e.options.Now().UTC()), nil
}

// Decide takes a person's answer to an approval, and lets the run go on that waits for
// it: with an answer that is on disk, everything is asked again. The first answer
// counts. For errors see guard.Decide.
//
// The answer is on disk and in the audit record when Decide returns. In the journal of the
// run it stands with the guard's next answers, in a commit of the run's worker: only that
// gives out the numbers of the journal. A crash between the two is settled by answeredRuns.
func (e *Engine) Decide(ctx context.Context, id string, v soar.Vote) (soar.Approval, error) {
	if err := e.waitLoaded(ctx); err != nil {
		return soar.Approval{}, err
	}
	if v.By = strings.TrimSpace(v.By); v.By == "" {
		return soar.Approval{}, fmt.Errorf("%w: an answer needs the name of a person", guard.ErrMayNot)
	}
	v.At = e.options.Now().UTC()
	d, err := e.guard.Decide(id, v)
	for errors.Is(err, soar.ErrBusy) {
		pause(ctx, signalPause)
		if ctx.Err() != nil {
			return soar.Approval{}, context.Cause(ctx)
		}
		v.At = e.options.Now().UTC()
		d, err = e.guard.Decide(id, v)
	}
	if err != nil {
		return soar.Approval{}, err
	}
	run, err := e.journal.GetRun(ctx, d.Approval.Run)
	for i := range d.Events {
		event := &d.Events[i]
		event.AlertKey = run.AlertKey
		event.Run = &soar.RunSummary{ID: run.ID, Playbook: run.Playbook, Mode: run.Mode, State: run.State, Error: run.Error}
	}
	if err == nil {
		_, err = e.journal.Commit(ctx, soar.Change{KV: d.KV, Events: d.Events})
	}
	if err == nil { // after a restart nobody knows yet that the run waits
		e.holds.add(run.ID, held{since: d.Approval.AskedAt})
	}
	d.Settle(err == nil)
	if err != nil {
		return soar.Approval{}, fmt.Errorf("approval %s: the answer does not count, it cannot be kept: %w", id, err)
	}
	e.options.Log.Info("an approval was answered", "approval", id, "by", v.By, "agrees", v.Agree, "state", string(d.Approval.State), "run", run.ID.String())
	return d.Approval, nil
}

// approvalsWaiting is the metric of what waits for people.
func approvalsWaiting(e *Engine) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "erbridge_approvals_waiting", Help: "Questions that wait for the answer of people: see erbridge approvals list.",
	}, func() float64 { return float64(e.guard.ApprovalsWaiting(e.options.Now())) })
}

// answeredRuns goes on with the runs whose steps were answered, and not told of it
// before the process ended.
func (e *Engine) answeredRuns() {
	now := e.options.Now()
	for _, a := range e.guard.Approvals(now) {
		if a.EndedAt.IsZero() && a.State != soar.ApprovalWaiting && a.State != soar.ApprovalVoid {
			e.holds.add(a.Run, held{since: a.AskedAt})
		}
	}
}

package playbooks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// resume makes a runner from what the journal says of a run.
func (e *Engine) resume(ctx context.Context, run soar.Run) (*runner, error) {
	stored, err := e.journal.AlertByKey(ctx, run.AlertKey)
	if err != nil {
		return nil, fmt.Errorf("alert %s: %w", run.Alert, err)
	}
	pb, err := e.version(ctx, run.Version)
	if err != nil {
		return nil, err
	}
	entries, err := e.journal.Entries(ctx, run.ID)
	if err != nil {
		return nil, err
	}
	if run.PC < 0 || run.PC >= len(pb.program) {
		return nil, fmt.Errorf("%w: step %d of %d", errBrokenRun, run.PC, len(pb.program))
	}
	object, err := plainAlert(&stored.Alert)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBrokenRun, err)
	}
	found := newFindings(object["host"])
	r := &runner{e: e, run: run, pb: pb, alert: &stored.Alert, log: e.options.Log.With("run", run.ID.String(), "playbook", run.Playbook)}
	steps := map[string]any{}
	if err := r.fold(entries, found, steps); err != nil {
		return nil, fmt.Errorf("%w: %w", errBrokenRun, err)
	}
	r.in = runInput(object, found, pb, &r.run, steps)
	return r, nil
}

// errBrokenRun means that a run cannot be gone on with, now or later.
var errBrokenRun = errors.New("the run cannot be gone on with")

// runInput is the object that the expressions of steps see.
func runInput(alert map[string]any, found *findings, pb *Playbook, run *soar.Run, steps map[string]any) *input {
	return &input{
		object: map[string]any{
			"alert": alert, "host": found.host, "enrich": found.values, "enrich_errors": found.errors, "vars": pb.vars, "steps": steps,
			"run": map[string]any{
				"id": run.ID.String(), "playbook": run.Playbook, "mode": string(run.Mode), "started_at": run.StartedAt.Format(time.RFC3339Nano),
			},
		},
		vars: pb.vars,
	}
}

// fold replays the journal: finished steps, and how far the current one has come.
func (r *runner) fold(entries []soar.Entry, found *findings, steps map[string]any) error {
	current := r.step().id
	for i := range entries {
		entry := &entries[i]
		r.seq = max(r.seq, entry.Seq)
		var err error
		switch {
		case entry.Kind == soar.EntryResult:
			var result Result
			if err = json.Unmarshal(entry.Body, &result); err == nil {
				steps[entry.Step] = result.visible()
			}
			if entry.Step == current {
				r.cur = progress{}
			}
		case entry.Kind == soar.EntryNote && entry.Step == "":
			var began BeganNote
			if err = json.Unmarshal(entry.Body, &began); err == nil {
				if began.Host != nil {
					found.host = began.Host
				}
				found.values, found.errors = orEmpty(began.Enrich), orEmpty(began.EnrichErrors)
			}
		case entry.Step != current:
		case entry.Kind == soar.EntryIntent:
			var intent Intent
			if err = json.Unmarshal(entry.Body, &intent); err == nil {
				r.cur = progress{started: intent.Started, attempt: intent.Attempt, with: intent.With, mark: intent.Mark, intentAt: entry.At, lost: true}
			}
		case entry.Kind == soar.EntrySent:
			var sent Sent
			if err = json.Unmarshal(entry.Body, &sent); err == nil {
				r.cur.ref, r.cur.lost, r.cur.target, r.cur.summary, r.cur.started = entry.Ref, false, sent.Target, sent.Summary, sent.Started
				if sent.With != nil {
					r.cur.with = sent.With
				}
				r.cur.attempt = max(r.cur.attempt, 1)
				if r.cur.mark == "" {
					r.cur.mark = mark(r.run.ID, current, r.cur.attempt)
				}
			}
		case entry.Kind == soar.EntryNote:
			var note StepNote
			if err = json.Unmarshal(entry.Body, &note); err == nil && note.Retry > 0 {
				r.cur = progress{started: note.Started, attempt: note.Retry}
			}
		}
		if err != nil {
			return fmt.Errorf("journal entry %d: %w", entry.Seq, err)
		}
	}
	return nil
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// lookUp settles a call whose answer was lost by the server's own list. What is
// found there counts at once. What is missing may still be under way, since a busy
// server takes a call long after we gave up waiting: of an action that must not
// happen twice, absence counts only after SettleFor. Look-ups of one action go one
// after the other, so that no two take the same command for theirs.
func (r *runner) lookUp(ctx context.Context) error {
	s := r.step()
	if due := r.cur.intentAt.Add(r.e.options.CallTimeout); r.now().Before(due) {
		r.wait(due)
		return nil
	}
	unlock, err := r.e.lookUps.lock(ctx, s.do)
	if err != nil {
		r.wait(r.now())
		return nil
	}
	defer unlock()
	settled := r.cur.intentAt.Add(r.e.options.SettleFor)
	underWay := s.spec.Effect == Once && r.now().Before(settled)
	over := r.now().Sub(r.cur.started) >= s.timeout && !underWay
	sentAt := r.sentAt()
	callCtx, cancel := context.WithTimeout(ctx, r.e.options.CallTimeout)
	list, err := safelyFind(func() ([]Found, error) { return s.action.Find(callCtx, r.call(s), sentAt.Add(-clockSkew)) })
	cancel()
	var ref string
	if err == nil {
		ref, err = r.pick(ctx, list, sentAt)
	}
	switch {
	case ctx.Err() != nil:
		r.wait(r.now()) // stopping: the next start looks again
	case errors.Is(err, ErrCannotTell) && s.spec.Effect == Once:
		r.finish(s, Result{State: soar.StepUnknown, Error: "the answer was lost, and the server keeps no list to look it up in"}, nil)
	case errors.Is(err, ErrCannotTell) && over, err == nil && ref == "" && over:
		r.finish(s, Result{State: soar.StepFailed, Error: "the answer was lost, and the time of the step is over"}, nil)
	case errors.Is(err, ErrCannotTell):
		r.intend(s, true) // twice is as good as once
	case err != nil && over && s.spec.Effect == Once:
		r.finish(s, Result{State: soar.StepUnknown, Error: "the answer was lost, and looking it up failed: " + err.Error()}, nil)
	case err != nil && over:
		r.finish(s, Result{State: soar.StepFailed, Error: "the answer was lost, and looking it up failed: " + err.Error()}, nil)
	case err != nil:
		r.log.Warn("cannot look up a call whose answer was lost", "step", s.id, "err", err)
		r.wait(r.lookAgainAt())
	case ref == "" && underWay:
		if at := r.lookAgainAt(); at.Before(settled) {
			settled = at
		}
		r.wait(settled)
	case ref == "":
		r.log.Info("the call was never received, sending it again", "step", s.id)
		r.intend(s, true)
	default:
		r.log.Info("found the call whose answer was lost", "step", s.id, "command", ref)
		r.accepted(s, Outcome{Ref: ref, Target: r.cur.target, PollAfter: time.Nanosecond}, true)
		return r.commit(ctx) // within the lock: the next look-up sees it as taken
	}
	return nil
}

// lookAgainAt is when to look up a lost call next: ever more rarely.
func (r *runner) lookAgainAt() time.Time {
	now := r.now()
	return now.Add(min(max(now.Sub(r.cur.intentAt)/4, time.Second), 30*time.Second))
}

// clockSkew is how far the server's clock may be behind where ClockOffset says it
// is. A command of ours that a look-up misses is sent twice; calls that others made
// in that time are told apart by their mark and by being taken already.
const clockSkew = 15 * time.Minute

// sentAt is when the call was sent, by the server's clock as far as we know it.
func (r *runner) sentAt() time.Time {
	if offset := r.e.options.ClockOffset; offset != nil {
		return r.cur.intentAt.Add(offset())
	}
	return r.cur.intentAt
}

// pick chooses the command that is ours: the one that carries the mark, else the
// one without any mark that belongs to no other step and came nearest to sentAt. ""
// means there is none.
func (r *runner) pick(ctx context.Context, list []Found, sentAt time.Time) (string, error) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Found) int {
		return cmp.Or(-cmp.Compare(b2i(a.Mark == r.cur.mark), b2i(b.Mark == r.cur.mark)), cmp.Compare(a.At.Sub(sentAt).Abs(), b.At.Sub(sentAt).Abs()))
	})
	for _, f := range list {
		if f.Ref == "" || f.Mark != "" && f.Mark != r.cur.mark {
			continue
		}
		taken, err := r.e.journal.RefClaimed(ctx, f.Ref)
		if err != nil {
			return "", err
		}
		if !taken {
			return f.Ref, nil
		}
	}
	return "", nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Settle records what a person found out about a step that ended unknown, and
// lets the run go on or fail by it. An error wrapping ErrNotUnknown means that the
// run does not wait for that; soar.ErrNotFound that there is no such run.
func (e *Engine) Settle(ctx context.Context, id soar.RunID, step string, happened bool, by, reason string) error {
	run, err := e.journal.GetRun(ctx, id)
	if err != nil {
		return err
	}
	if run.State != soar.RunUnknown {
		return fmt.Errorf("%w: run %s is %s", ErrNotUnknown, id, run.State)
	}
	r, err := e.resume(ctx, run)
	if errors.Is(err, errBrokenRun) || errors.Is(err, soar.ErrNotFound) {
		return e.settleBroken(ctx, run, step, happened, by, reason, err)
	}
	if err != nil {
		return err
	}
	s := r.step()
	if s.id != step {
		return fmt.Errorf("%w: the open step of run %s is %s, not %s", ErrNotUnknown, id, s.id, step)
	}
	r.run.State, r.run.EndedAt, r.run.Error = soar.RunRunning, time.Time{}, ""
	r.run.Epoch++
	r.cur.started = r.now()
	r.entry(step, soar.EntryDecision, "", Decision{By: by, Reason: reason, Happened: &happened})
	result := settled(happened, by)
	if old, ok := r.in.object["steps"].(map[string]any)[step].(map[string]any); ok {
		result.Ref, _ = old["ref"].(string)
	}
	r.finish(s, result, nil)
	if !r.run.State.Ended() {
		r.wait(r.now())
	}
	r.change.Runs = []soar.Run{r.run}
	_, err = e.journal.Commit(ctx, r.change)
	return err
}

// settled is the result of a step that a person settled.
func settled(happened bool, by string) Result {
	if happened {
		return Result{State: soar.StepExecuted, Summary: fmt.Sprintf("settled by %s: it happened", by)}
	}
	return Result{State: soar.StepFailed, Error: fmt.Sprintf("settled by %s: it did not happen", by)}
}

// ErrNotUnknown means that there is nothing to settle.
var ErrNotUnknown = errors.New("nothing to settle")

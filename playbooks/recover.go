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
	var stored soar.StoredAlert
	if run.AlertKey != 0 {
		var err error
		if stored, err = e.journal.AlertByKey(ctx, run.AlertKey); err != nil {
			return nil, fmt.Errorf("alert %s: %w", run.Alert, err)
		}
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
	var object map[string]any
	if run.AlertKey != 0 {
		if object, err = plainAlert(&stored.Alert); err != nil {
			return nil, fmt.Errorf("%w: %w", errBrokenRun, err)
		}
	}
	r := e.newRunner(run, pb, &stored.Alert, object, newFindings(object["host"]))
	calls, err := r.fold(entries)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBrokenRun, err)
	}
	if pb.group != nil && r.group == nil {
		r.found.extra = alone(r.found.extra, object)
	}
	for name, hash := range calls {
		if r.calls[name], err = e.version(ctx, hash); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// errBrokenRun means that a run cannot be gone on with, now or later.
var errBrokenRun = errors.New("the run cannot be gone on with")

// fold reads the journal: what has begun, how far it has come, and how it ended. It
// returns the versions of the playbooks that the run may call.
func (r *runner) fold(entries []soar.Entry) (calls map[string]string, err error) {
	for i := range entries {
		entry := &entries[i]
		r.seq = max(r.seq, entry.Seq)
		switch {
		case entry.Kind == soar.EntryNote && entry.Step == "":
			var began BeganNote
			switch err = json.Unmarshal(entry.Body, &began); {
			case err != nil:
			case began.Members != nil:
				r.members = began.Members
			case began.Turn != nil:
				r.undo.fold(began.Turn)
			default:
				if began.Host != nil {
					r.found.host = began.Host
				}
				r.found.values, r.found.errors, calls = orEmpty(began.Enrich), orEmpty(began.EnrichErrors), began.Calls
				r.found.status = orEmpty(began.EnrichStatus)
				r.found.extra, r.on, r.group, r.by, r.job = began.Extra, began.On, began.Group, began.By, began.Job
				if began.Undo != nil {
					r.undo = newUndo(began.Undo, entry.At)
				}
			}
		case entry.Kind == soar.EntryNote:
			err = r.foldNote(entry)
		case entry.Kind == soar.EntryDecision && entry.Step == "":
			var d Decision
			switch err = json.Unmarshal(entry.Body, &d); {
			case err != nil:
			case d.Cancel:
				r.cancelled = (&Cancellation{By: d.By, Reason: d.Reason}).words()
			case !d.Due.IsZero():
				r.undo.move(d.Due, entry.At)
			}
		case entry.Kind == soar.EntryDecision:
			err = r.foldDecision(entry)
		case entry.Kind == soar.EntryIntent:
			var intent Intent
			if err = json.Unmarshal(entry.Body, &intent); err == nil {
				before := r.open[entry.Step]
				r.open[entry.Step] = &progress{
					asked:   asked{taken: true},
					started: intent.Started, attempt: intent.Attempt, with: intent.With, mark: intent.Mark, intentAt: entry.At, lost: true, tried: true, again: intent.Again,
					foreseen: intent.Foreseen, firm: intent.Again || before != nil && before.firm,
				}
			}
		case entry.Kind == soar.EntrySent:
			err = r.foldSent(entry)
		case entry.Kind == soar.EntryResult:
			var result Result
			if err = json.Unmarshal(entry.Body, &result); err == nil {
				r.results[entry.Step] = &ended{Result: result}
				delete(r.open, entry.Step)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("journal entry %d: %w", entry.Seq, err)
		}
	}
	return calls, nil
}

// foldDecision notes since when a step has waited for the guard, and for what.
func (r *runner) foldDecision(entry *soar.Entry) error {
	var d Decision
	if err := json.Unmarshal(entry.Body, &d); err != nil || d.Since.IsZero() {
		return err
	}
	p := r.open[entry.Step]
	if p == nil {
		p = &progress{started: d.Since, attempt: 1}
		r.open[entry.Step] = p
	}
	last := d.Answers[len(d.Answers)-1]
	p.since, p.alertWas = d.Since, d.AlertWas
	p.held, p.heldAt, p.check, p.away = last.Words, entry.At, last.Check, last.Check == readyCheck
	// An intent before it was not carried out: a call that went out, does not wait.
	// One whose answer was lost may have, and was to be sent again.
	p.lost, p.tried, p.intentAt = false, p.again, time.Time{}
	return nil
}

func (r *runner) foldNote(entry *soar.Entry) error {
	var group GroupNote
	if err := json.Unmarshal(entry.Body, &group); err != nil {
		return err
	}
	if group.Begun != "" {
		r.groups[entry.Step] = &group
		return nil
	}
	var note StepNote
	if err := json.Unmarshal(entry.Body, &note); err != nil {
		return err
	}
	if p := r.open[entry.Step]; p != nil && note.Text == executedNote {
		p.done = &Outcome{Summary: p.summary, Unverified: note.Error}
	} else if p != nil {
		p.far = note.Text
	}
	if note.Retry > 0 {
		next := progress{}
		if p := r.open[entry.Step]; p != nil {
			next = p.next(0, note.Carried)
		}
		next.started, next.attempt, next.wake = note.Started, note.Retry, note.Until
		r.open[entry.Step] = &next
	}
	return nil
}

func (r *runner) foldSent(entry *soar.Entry) error {
	var sent Sent
	if err := json.Unmarshal(entry.Body, &sent); err != nil {
		return err
	}
	p := r.open[entry.Step]
	if p == nil { // a reading action, which has no intent
		p = &progress{}
		r.open[entry.Step] = p
	}
	p.ref, p.lost, p.target, p.summary, p.started = entry.Ref, false, sent.Target, sent.Summary, sent.Started
	if sent.With != nil {
		p.with = sent.With
	}
	p.attempt = max(p.attempt, 1)
	if p.mark == "" {
		p.mark = mark(r.run.ID, entry.Step, p.attempt)
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
func (r *runner) lookUp(ctx context.Context, i *instance, p *progress) error {
	s := i.step
	if due := p.intentAt.Add(r.e.options.CallTimeout); r.now().Before(due) {
		p.wake = due
		return nil
	}
	unlock, err := r.e.lookUps.lock(ctx, s.do)
	if err != nil {
		p.wake = r.now()
		return nil
	}
	defer unlock()
	settled := p.intentAt.Add(r.e.options.SettleFor)
	underWay := s.spec.Effect == Once && r.now().Before(settled)
	over := r.now().Sub(p.started) >= s.timeout && !underWay
	sentAt := r.sentAt(p)
	callCtx, cancel := context.WithTimeout(ctx, r.e.options.CallTimeout)
	list, err := safelyFind(func() ([]Found, error) { return s.action.Find(callCtx, r.call(i, p), sentAt.Add(-clockSkew)) })
	cancel()
	var ref string
	if err == nil {
		ref, err = r.pick(ctx, list, p.mark, sentAt)
	}
	switch {
	case ctx.Err() != nil:
		p.wake = r.now() // stopping: the next start looks again
	case errors.Is(err, ErrCannotTell) && s.spec.Effect == Once:
		r.finish(i, p, Result{State: soar.StepUnknown, Error: "the answer was lost, and the server keeps no list to look it up in"}, nil)
	case errors.Is(err, ErrCannotTell) && over, err == nil && ref == "" && over:
		r.finish(i, p, Result{State: soar.StepFailed, Error: "the answer was lost, and the time of the step is over"}, nil)
	case errors.Is(err, ErrCannotTell):
		r.intend(i, p, true) // twice is as good as once
	case err != nil && over && s.spec.Effect == Once:
		r.finish(i, p, Result{State: soar.StepUnknown, Error: "the answer was lost, and looking it up failed: " + err.Error()}, nil)
	case err != nil && over:
		r.finish(i, p, Result{State: soar.StepFailed, Error: "the answer was lost, and looking it up failed: " + err.Error()}, nil)
	case err != nil:
		r.log.Warn("cannot look up a call whose answer was lost", "step", i.key, "err", err)
		p.wake = r.lookAgainAt(p)
	case ref == "" && underWay:
		if at := r.lookAgainAt(p); at.Before(settled) {
			settled = at
		}
		p.wake = settled
	case ref == "":
		r.log.Info("the call was never received, sending it again", "step", i.key)
		r.intend(i, p, true)
	default:
		r.log.Info("found the call whose answer was lost", "step", i.key, "command", ref)
		r.accepted(i, p, Outcome{Ref: ref, Target: p.target, PollAfter: time.Nanosecond}, true)
		return r.commit(ctx) // within the lock: the next look-up sees it as taken
	}
	return nil
}

// lookAgainAt is when to look up a lost call next: ever more rarely.
func (r *runner) lookAgainAt(p *progress) time.Time {
	now := r.now()
	return now.Add(min(max(now.Sub(p.intentAt)/4, time.Second), 30*time.Second))
}

// clockSkew is how far the server's clock may be behind where ClockOffset says it
// is. A command of ours that a look-up misses is sent twice; calls that others made
// in that time are told apart by their mark and by being taken already.
const clockSkew = 15 * time.Minute

// sentAt is when the call was sent, by the server's clock as far as we know it.
func (r *runner) sentAt(p *progress) time.Time {
	if offset := r.e.options.ClockOffset; offset != nil {
		return p.intentAt.Add(offset())
	}
	return p.intentAt
}

// pick chooses the command that is ours: the one that carries the mark, else the
// one without any mark that belongs to no other step and came nearest to sentAt. ""
// means there is none.
func (r *runner) pick(ctx context.Context, list []Found, mark string, sentAt time.Time) (string, error) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Found) int {
		return cmp.Or(-cmp.Compare(b2i(a.Mark == mark), b2i(b.Mark == mark)), cmp.Compare(a.At.Sub(sentAt).Abs(), b.At.Sub(sentAt).Abs()))
	})
	for _, f := range list {
		if f.Ref == "" || f.Mark != "" && f.Mark != mark {
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
	i := r.inDoubt(ctx, step)
	if i == nil {
		return fmt.Errorf("%w: step %s of run %s is not in doubt: %s", ErrNotUnknown, step, id, run.Error)
	}
	r.run.State, r.run.EndedAt, r.run.Error = soar.RunRunning, time.Time{}, ""
	r.run.Epoch++
	r.entry(step, soar.EntryDecision, "", Decision{By: by, Reason: reason, Happened: &happened})
	result := settled(happened, by)
	result.Ref = r.results[step].Ref
	if happened {
		result.Undo = r.results[step].Undo
	}
	r.finish(i, &progress{started: r.now()}, result, nil)
	if r.survey(ctx); !r.run.State.Ended() {
		r.run.State, r.run.Wake = soar.RunWaiting, r.now()
	}
	r.change.Runs = append([]soar.Run{r.run}, r.scheduled...)
	if _, err = e.journal.Commit(ctx, r.change); err == nil {
		e.noticeFailures(r.change.KV)
	}
	return err
}

// inDoubt finds the step by its key that nobody can tell of whether it happened.
func (r *runner) inDoubt(ctx context.Context, key string) *instance {
	v := &survey{r: r, ctx: ctx, stopping: true}
	root := rootFrame(r.pb, r.found)
	v.playbook(r.pb, &root)
	if i := slices.IndexFunc(v.doubtful, func(i *instance) bool { return i.key == key }); i >= 0 {
		return v.doubtful[i]
	}
	return nil
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

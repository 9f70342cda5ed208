package playbooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/schedule"
	"github.com/erbridge/erbridge/internal/soar"
)

// Runs that no alert starts: a schedule, the failure of another run, a person. Each
// is an occasion of its own, judged as an alert is: conditions, enrichment, mode
// and cool-down are asked in the same way. What says that it happened is in the
// journal, and goes in the commit that starts the runs.

const (
	failedPrefix   = "run-failed/" // + run: a failed run that playbooks are still to be asked about
	keepFailed     = 7 * 24 * time.Hour
	schedulePrefix = "schedule/" // + playbook: its schedule, and the time up to which it was looked at

	// clockTrust is how far a clock that is put right may go back without a schedule
	// beginning anew; clockLook is how soon it is noticed that it was put forward.
	clockTrust = time.Hour
	clockLook  = time.Minute
)

// noteFailure leaves word of a failed run for the playbooks with on: run.failed. A
// run that such a failure started leaves none, so that failures do not go round. An
// engine that has no playbooks, because it only settles a run while erbridge is
// stopped, leaves word for the one that has.
func (r *runner) noteFailure() {
	if r.on == onRunFailed || !r.e.hearsFailures() {
		return
	}
	r.change.KV = append(r.change.KV, failedMark(&r.run, r.now()))
}

func failedMark(run *soar.Run, now time.Time) soar.KV {
	return soar.KV{Key: failedPrefix + run.ID.String(), Value: run.Playbook, Expires: now.Add(keepFailed)}
}

// hearsFailures reports whether a playbook has on: run.failed, or may have.
func (e *Engine) hearsFailures() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.unread || len(e.Set().taking(onRunFailed)) > 0
}

// noticeFailures wakes the loop of triggers when a commit had word of a failed run.
func (e *Engine) noticeFailures(kvs []soar.KV) {
	if slices.ContainsFunc(kvs, func(kv soar.KV) bool { return kv.Value != "" && strings.HasPrefix(kv.Key, failedPrefix) }) {
		e.wakeTriggers()
	}
}

func (e *Engine) wakeTriggers() {
	select {
	case e.notice <- struct{}{}:
	default:
	}
}

// triggers starts runs on failed runs and by the clock until ctx ends.
func (p *pool) triggers(ctx context.Context) {
	for ctx.Err() == nil {
		now := p.e.options.Now().UTC()
		err := p.e.fireFailures(ctx)
		next, scheduleErr := p.e.fireSchedules(ctx, now)
		if err = errors.Join(err, scheduleErr); err != nil {
			if ctx.Err() == nil {
				p.e.options.Log.Error("cannot start what is due by the clock or by a failed run", "err", err)
			}
			pause(ctx, retryPause)
			continue
		}
		var timeUp <-chan time.Time
		var timer *time.Timer
		if !next.IsZero() {
			timer = time.NewTimer(min(max(next.Sub(now), time.Millisecond), clockLook))
			timeUp = timer.C
		}
		select {
		case <-timeUp:
		case <-p.e.notice:
		case <-ctx.Done():
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// fireFailures asks the playbooks with on: run.failed about the runs that failed.
func (e *Engine) fireFailures(ctx context.Context) error {
	kvs, err := e.journal.KV(ctx, failedPrefix)
	if err != nil {
		return err
	}
	for _, kv := range kvs {
		o := &occasion{on: onRunFailed, alert: &soar.StoredAlert{}, verdicts: map[string]string{}, change: soar.Change{KV: []soar.KV{{Key: kv.Key}}}}
		id, err := soar.ParseRunID(strings.TrimPrefix(kv.Key, failedPrefix))
		var run soar.Run
		if err == nil {
			run, err = e.journal.GetRun(ctx, id)
		}
		switch {
		case errors.Is(err, soar.ErrNotFound): // retention took it
		case err != nil:
			return err
		case run.State == soar.RunFailed: // and not settled otherwise since
			o.books = e.Set().taking(onRunFailed)
			o.extra = seenOfFailure(&run)
			if o.alert, err = e.alertOf(ctx, &run); err != nil {
				return err
			}
		}
		if _, err := e.consider(ctx, o); err != nil {
			return err
		}
		e.told(o)
	}
	return nil
}

// told hands on what came of an occasion.
func (e *Engine) told(o *occasion) {
	if e.asked != nil {
		e.asked(o)
	}
}

// alertOf is the alert of a run; an empty one when there is none, or none any more.
func (e *Engine) alertOf(ctx context.Context, run *soar.Run) (*soar.StoredAlert, error) {
	if run.AlertKey == 0 {
		return &soar.StoredAlert{}, nil
	}
	a, err := e.journal.AlertByKey(ctx, run.AlertKey)
	if err != nil && !errors.Is(err, soar.ErrNotFound) {
		return nil, err
	}
	if err != nil {
		a = soar.StoredAlert{}
	}
	return &a, nil
}

// plainRun is a failed run as .run shows it.
func plainRun(run *soar.Run) map[string]any {
	return map[string]any{
		"id": run.ID.String(), "playbook": run.Playbook, "mode": string(run.Mode), "state": string(run.State), "alert": orNull(run.Alert),
		"started_at": timeText(run.StartedAt), "ended_at": timeText(run.EndedAt), "error": orNull(run.Error),
	}
}

// fireSchedules starts what is due by the clock, and returns when the next is. Times
// that passed while nobody looked count as one: the last of them starts a run, which
// sees how many were missed. A schedule that is new, or that has changed, begins now.
func (e *Engine) fireSchedules(ctx context.Context, now time.Time) (next time.Time, err error) {
	kvs, err := e.journal.KV(ctx, schedulePrefix)
	if err != nil {
		return next, err
	}
	looked := map[string]string{}
	for _, kv := range kvs {
		looked[strings.TrimPrefix(kv.Key, schedulePrefix)] = kv.Value
	}
	var change soar.Change
	for _, pb := range e.Set().taking(onSchedule) {
		since, known := lookedAt(looked[pb.Name], pb.schedule)
		known = known && since.Before(now.Add(clockTrust)) // else the clock was wrong then
		delete(looked, pb.Name)
		if !known {
			since = now
			change.KV = append(change.KV, scheduleMark(pb, now))
		}
		if at, missed := pb.schedule.Due(since, now); !at.IsZero() {
			if err := e.fireSchedule(ctx, pb, at, missed); err != nil {
				return next, err
			}
			since = at
		}
		if t := pb.schedule.Next(since); next.IsZero() || !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	for name := range looked { // of playbooks that are gone, or have no schedule any more
		change.KV = append(change.KV, soar.KV{Key: schedulePrefix + name})
	}
	if len(change.KV) > 0 {
		_, err = e.journal.Commit(ctx, change)
	}
	return next, err
}

// fireSchedule asks a playbook whose time has come. Whatever it says, that time is
// done with.
func (e *Engine) fireSchedule(ctx context.Context, pb *Playbook, at time.Time, missed int) error {
	o := &occasion{
		on: onSchedule, alert: &soar.StoredAlert{}, books: []*Playbook{pb}, verdicts: map[string]string{},
		extra: seenOfSchedule(at, missed), change: soar.Change{KV: []soar.KV{scheduleMark(pb, at)}},
	}
	if _, err := e.consider(ctx, o); err != nil {
		return err
	}
	e.told(o)
	return nil
}

// What expressions see of what started a run, beside the alert.
func seenOfFailure(run *soar.Run) map[string]any { return map[string]any{"run": plainRun(run)} }

func seenOfSchedule(at time.Time, missed int) map[string]any {
	return map[string]any{"schedule": map[string]any{"at": timeText(at), "missed": float64(missed)}}
}

// seenOfChange is why an alert awaits evaluation that has changed; nil for a new one.
func seenOfChange(a *soar.StoredAlert) map[string]any {
	if a.Pending != pendingUpdated || a.Change == nil {
		return nil
	}
	change, err := soar.Plain(a.Change)
	if err != nil { // texts, numbers and times
		return nil
	}
	return map[string]any{changeName: change}
}

func seenOfPerson(input any) map[string]any { return map[string]any{"input": input} }

func scheduleMark(pb *Playbook, at time.Time) soar.KV {
	return soar.KV{Key: schedulePrefix + pb.Name, Value: at.UTC().Format(time.RFC3339) + " " + pb.schedule.String()}
}

// lookedAt reads a mark; false when there is none, or one of another schedule.
func lookedAt(mark string, s *schedule.Times) (time.Time, bool) {
	at, text, _ := strings.Cut(mark, " ")
	t, err := time.Parse(time.RFC3339, at)
	return t, err == nil && text == s.String()
}

// Manual is a person's wish to run a playbook.
type Manual struct {
	Playbook string
	Alert    *soar.StoredAlert // nil: none
	Input    any               // what steps see as .input; plain JSON
	By       string
	// Enforce agrees to a run that may change something.
	Enforce bool
}

// Errors of Start. ErrNotStarted means that the playbook said no; its text says why.
var (
	ErrNotManual  = errors.New("not to be started by hand")
	ErrNotAgreed  = errors.New("the run may change something")
	ErrNotStarted = errors.New("not started")
)

// Start runs a playbook by hand. Its conditions and its cool-down are asked as for
// an alert. It waits until Run has begun. Errors wrap soar.ErrNotFound when there is no such playbook,
// ErrNotManual when on does not list manual, ErrNotAgreed when the run would enforce
// and m does not agree to that, and ErrNotStarted when the playbook does not match.
func (e *Engine) Start(ctx context.Context, m Manual) (soar.Run, error) {
	pb := e.Set().Get(m.Playbook)
	switch {
	case pb == nil:
		return soar.Run{}, fmt.Errorf("playbook %q: %w%s", m.Playbook, soar.ErrNotFound, nearName(m.Playbook, e.Set()))
	case !pb.Takes(onManual):
		return soar.Run{}, fmt.Errorf("playbook %s is %w: its on does not list manual", pb.Name, ErrNotManual)
	}
	if err := e.waitLoaded(ctx); err != nil { // cool-downs are known then
		return soar.Run{}, err
	}
	o := &occasion{on: onManual, alert: m.Alert, books: []*Playbook{pb}, verdicts: map[string]string{}, extra: seenOfPerson(m.Input), by: m.By}
	if o.alert == nil {
		o.alert = &soar.StoredAlert{}
	}
	if mode, _ := effectiveMode(pb, e.options.Ceiling, &o.alert.Alert); mode == soar.ModeEnforce && !m.Enforce {
		return soar.Run{}, fmt.Errorf("playbook %s enforces: %w", pb.Name, ErrNotAgreed)
	}
	if _, err := e.consider(ctx, o); err != nil {
		return soar.Run{}, err
	}
	e.told(o)
	if len(o.runs) == 0 {
		verdict := o.verdicts[pb.Name]
		if verdict == "" {
			verdict = "its conditions do not match"
		}
		return soar.Run{}, fmt.Errorf("playbook %s was %w: %s", pb.Name, ErrNotStarted, verdict)
	}
	return o.runs[0], nil
}

func nearName(name string, set *Set) string {
	var names []string
	for _, pb := range set.playbooks {
		names = append(names, pb.Name)
	}
	if hint := nearHint(name, names); hint != "" {
		return "; " + hint
	}
	return ""
}

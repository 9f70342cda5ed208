package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/sinks"
)

// desk carries out what people decide in a chat. Everything goes the way that a command
// takes: the engine checks, keeps and guards it.
type desk struct{ d *Daemon }

func (d *Daemon) desk() sinks.Desk { return desk{d} }

// Person goes by the configuration of this moment: a reload takes links in, and away.
func (k desk) Person(chat, account string) (name string, ok bool) {
	k.d.mu.Lock()
	defer k.d.mu.Unlock()
	return k.d.cfg.People.Named(chat, account)
}

func (k desk) Approval(ctx context.Context, id string) (soar.Approval, error) {
	engine, err := k.d.startedEngine(ctx)
	if err != nil {
		return soar.Approval{}, err
	}
	all, err := engine.Approvals(ctx)
	if err != nil {
		return soar.Approval{}, k.told(nil, err)
	}
	for _, a := range all {
		if a.ID == id {
			return k.question(ctx, a), nil
		}
	}
	return soar.Approval{}, fmt.Errorf("approval %q: %w", id, soar.ErrNotFound)
}

func (k desk) Decide(ctx context.Context, id string, v soar.Vote) (soar.Approval, error) {
	engine, err := k.d.startedEngine(ctx)
	if err != nil {
		return soar.Approval{}, err
	}
	a, err := engine.Decide(ctx, id, v)
	return k.question(ctx, a), k.told(nil, err)
}

// question is shown for a question, whose text and call tell fields of the alert. Where
// that cannot be read, what is left is how it stands: the vote is on disk, and counts.
func (k desk) question(ctx context.Context, a soar.Approval) soar.Approval {
	about, err := k.alert(ctx, a.Alert)
	if err != nil {
		return soar.Approval{ID: a.ID, State: a.State, Count: a.Count, Votes: a.Votes}
	}
	return *k.d.redactor.Load().Event(soar.Event{Alert: about, Approval: &a}).Approval
}

func (k desk) Undo(ctx context.Context, run soar.RunID, step, by, reason string) (string, error) {
	engine, err := k.d.startedEngine(ctx)
	if err != nil {
		return "", err
	}
	about, err := k.alertOf(ctx, run)
	if err != nil {
		return "", err
	}
	undoing, err := engine.Undo(ctx, playbooks.UndoOrder{Run: run, Step: step, By: by, Reason: reason})
	if errors.Is(err, playbooks.ErrNotUndone) && underWay(&undoing) {
		err = nil // a click that came twice, or somebody was faster
	}
	if err != nil {
		return "", k.told(about, err)
	}
	words := make([]string, len(undoing.Steps))
	for i, s := range undoing.Steps {
		words[i] = fmt.Sprintf("step %s: %s", s.Step, s.Words)
	}
	return k.shown(about, strings.Join(words, "\n")), nil
}

// underWay reports whether all that an order asks for is being done, or was.
func underWay(u *playbooks.Undoing) bool {
	for _, s := range u.Steps {
		if s.State != playbooks.UndoUnderWay && s.State != playbooks.UndoDone {
			return false
		}
	}
	return len(u.Steps) > 0
}

func (k desk) Extend(ctx context.Context, run soar.RunID, step string, until time.Time, by, reason string) (string, error) {
	engine, err := k.d.startedEngine(ctx)
	if err != nil {
		return "", err
	}
	about, err := k.alertOf(ctx, run)
	if err != nil {
		return "", err
	}
	steps, err := engine.Extend(ctx, playbooks.Extension{Run: run, Step: step, Until: until, Later: true, By: by, Reason: reason})
	if err != nil {
		return "", k.told(about, err)
	}
	var words []string
	for _, s := range steps {
		if s.Due.IsZero() {
			words = append(words, fmt.Sprintf("step %s: %s", s.Step, s.Words))
		} else {
			words = append(words, fmt.Sprintf("step %s is taken back at %s", s.Step, s.Due.UTC().Format("2006-01-02 15:04 UTC")))
		}
	}
	return k.shown(about, strings.Join(words, "\n")), nil
}

// shown is a text for the chat: what the one redaction takes out of events, and of the
// alert's fields wherever they stand in a text, is taken out of it. alert may be nil.
func (k desk) shown(alert *soar.Alert, text string) string {
	return k.d.redactor.Load().Event(soar.Event{Alert: alert, Text: text}).Text
}

// toldError is an error as the chat is told of it.
type toldError struct {
	text string
	err  error
}

func (e *toldError) Error() string { return e.text }
func (e *toldError) Unwrap() error { return e.err }

// told is shown for errors: only the words are others.
func (k desk) told(alert *soar.Alert, err error) error {
	if err == nil {
		return nil
	}
	return &toldError{k.shown(alert, err.Error()), err}
}

// alertOf is the alert that a run is about; nil when there is none. It is read before
// anything is done: words that cannot be redacted are not to be shown.
func (k desk) alertOf(ctx context.Context, id soar.RunID) (*soar.Alert, error) {
	run, err := k.d.Store().GetRun(ctx, id)
	if err != nil {
		return nil, k.told(nil, err)
	}
	return k.alert(ctx, run.Alert)
}

// alert is the alert of a reference; nil for the empty one, and when there is none any more.
func (k desk) alert(ctx context.Context, ref string) (*soar.Alert, error) {
	if ref == "" {
		return nil, nil
	}
	stored, err := k.d.Store().AlertByRef(ctx, ref)
	if errors.Is(err, soar.ErrNotFound) {
		return nil, nil // retention has taken it
	} else if err != nil {
		return nil, k.told(nil, err)
	}
	return &stored.Alert, nil
}

const resolveAction = "alert.resolve"

// Resolve begins one run at a time for an alert: a click that came twice, or one of
// somebody else, finds the first.
func (k desk) Resolve(ctx context.Context, alert, verdict, by, reason string) (string, error) {
	engine, err := k.d.startedEngine(ctx)
	if err != nil {
		return "", err
	}
	stored, err := k.d.Store().AlertByRef(ctx, alert)
	if err != nil {
		return "", err
	}
	words, err := k.resolve(ctx, engine, &stored, verdict, by, reason)
	return k.shown(&stored.Alert, words), k.told(&stored.Alert, err)
}

func (k desk) resolve(ctx context.Context, engine *playbooks.Engine, stored *soar.StoredAlert, verdict, by, reason string) (string, error) {
	alert := stored.Alert.Ref()
	if stored.Alert.Status == soar.StatusResolved {
		return strings.TrimSpace(fmt.Sprintf("alert %s is resolved already: %s", alert, strings.ReplaceAll(stored.Alert.Verdict, "_", " "))), nil
	}
	k.d.resolving.Lock() // two clicks at once would begin two runs
	defer k.d.resolving.Unlock()
	runs, err := k.d.Store().Runs(ctx, store.RunFilter{Playbook: playbooks.SingleName(resolveAction), Alert: alert, Limit: 1})
	if err != nil {
		return "", err
	}
	if len(runs) > 0 && !runs[0].State.Ended() {
		return fmt.Sprintf("alert %s is being resolved already, by run %s", alert, runs[0].ID), nil
	}
	run, err := engine.StartSingle(ctx, playbooks.Single{
		Action: resolveAction, With: map[string]any{"verdict": verdict, "comment": "resolved by " + by}, Alert: stored, By: by, Reason: reason,
	})
	if err != nil {
		return "", err
	}
	words := fmt.Sprintf("alert %s is being resolved as %s, by run %s", alert, strings.ReplaceAll(verdict, "_", " "), run.ID)
	switch {
	case k.d.guard.Paused() != nil:
		words += ". It waits: everything is paused"
	case run.Mode == soar.ModeObserve:
		words = fmt.Sprintf("run %s only observes, so alert %s stays as it is", run.ID, alert)
	case run.Mode == soar.ModeApprove:
		words += ". It waits until somebody approves it"
	}
	return words, nil
}

func (k desk) Silence(ctx context.Context, sink, alert string, until time.Time, by, reason string) (string, error) {
	if _, err := k.d.startedEngine(ctx); err != nil {
		return "", err
	}
	stored, err := k.d.Store().AlertByRef(ctx, alert)
	if err != nil {
		return "", err
	}
	kept, err := k.d.AddSilence(ctx, SilenceOrder{Silence: sinks.Silence{Sink: sink, Until: until, By: by, Reason: reason}, Alert: alert})
	if err != nil {
		return "", k.told(&stored.Alert, err)
	}
	shown := sinks.SilenceLike(sink, k.d.redactor.Load().Alert(&stored.Alert), true) // the chat gets no more than events tell it
	return fmt.Sprintf("alerts like %s are silent until %s", shown, kept.Until.Format("2006-01-02 15:04 UTC")), nil
}

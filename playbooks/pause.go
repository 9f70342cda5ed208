package playbooks

import (
	"context"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// haltPatience is how long the kill switch waits for calls that are being sent before
// it cuts them off.
const haltPatience = 5 * time.Second

// Pause throws the kill switch: once it has returned, no call with an effect is being
// sent, and none will be before Resume. Steps that want to send one wait. It returns
// how many calls were cut off; nobody knows yet whether they happened, and they are
// looked up like every call whose answer was lost. With an error, the switch is
// thrown as well, and will not be after a restart.
func (e *Engine) Pause(ctx context.Context, by, reason string) (cut int, err error) {
	if err := e.waitLoaded(ctx); err != nil {
		return 0, err
	}
	e.switching.Lock()
	defer e.switching.Unlock()
	thrown := guard.Thrown{By: by, Reason: reason, At: e.options.Now().UTC()}
	kv := e.guard.Pause(thrown)
	cut = e.sending.halt(haltPatience)
	e.options.Log.Warn("the kill switch is thrown: no call with an effect is sent", "by", by, "reason", reason, "cut_off", cut)
	if _, err := e.journal.Commit(ctx, guard.PauseChange(thrown, kv)); err != nil {
		return cut, fmt.Errorf("the kill switch is thrown, but cannot be kept across a restart: %w", err)
	}
	return cut, nil
}

// PauseFile is Pause for a file that throws the kill switch while it exists: t says
// which, and nil that it is gone. It holds whether that can be written down or not: an
// error says that nobody is told. The switch stays thrown when a person threw it too.
func (e *Engine) PauseFile(ctx context.Context, t *guard.Thrown) error {
	if err := e.waitLoaded(ctx); err != nil {
		return err
	}
	e.switching.Lock()
	defer e.switching.Unlock()
	before := e.guard.PauseFile(t)
	var change soar.Change
	if t != nil {
		e.sending.halt(haltPatience)
		change = guard.PauseFileChange(t)
	} else {
		still := e.guard.Paused()
		if still == nil {
			e.sending.resume()
		}
		if before == nil {
			return nil
		}
		change = guard.PauseFileGone(before, still, e.options.Now().UTC())
	}
	_, err := e.journal.Commit(ctx, change)
	return err
}

// Resume takes the kill switch back. Everything that waits is asked again. Where a file
// keeps it thrown, it stays so until that is gone: Guard().Paused() tells.
func (e *Engine) Resume(ctx context.Context, by string) error {
	if err := e.waitLoaded(ctx); err != nil {
		return err
	}
	e.switching.Lock()
	defer e.switching.Unlock()
	if _, err := e.journal.Commit(ctx, guard.ResumeChange(by, e.options.Now().UTC())); err != nil {
		return fmt.Errorf("the kill switch stays thrown: %w", err)
	}
	e.guard.Resume()
	if still := e.guard.Paused(); still != nil {
		e.options.Log.Warn("a person took the kill switch back, and it stays thrown", "by", by, "still", still.String())
		return nil
	}
	e.sending.resume()
	e.options.Log.Warn("the kill switch is taken back", "by", by)
	return nil
}

// waitLoaded waits until Run knows what the journal says.
func (e *Engine) waitLoaded(ctx context.Context) error {
	select {
	case <-e.loaded:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Guard is what decides about calls with an effect.
func (e *Engine) Guard() *guard.Guard { return e.guard }

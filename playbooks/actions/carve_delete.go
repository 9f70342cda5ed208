package actions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/evidence"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// CarveDelete are the arguments of carve.delete.
type CarveDelete struct {
	// Session is the server's id of the carve, as carve.list shows it.
	Session string `yaml:"session" required:"true"`

	// Unfetched lets a carve be deleted of which there is no whole archive in the folder
	// for carves: then nobody has it any more.
	Unfetched bool `yaml:"unfetched"`
}

// CarveDeleteOutput is what carve.delete leaves under .steps.<id>.output.
type CarveDeleteOutput struct {
	// Session is the carve that was deleted.
	Session string `json:"session"`
	// Here is set when its archive is in the folder for carves.
	Here bool `json:"here"`
}

func init() {
	add(kind[CarveDelete]{
		Spec: playbooks.Spec{
			Name:    "carve.delete",
			Summary: "Deletes a carve from the server for good, once its archive is in the folder for carves.",
			Effect:  playbooks.Repeatable,
			Needs:   []string{"admin"},
			Output:  CarveDeleteOutput{},
			Example: "do: carve.delete\nwith:\n  session: A7NSDDG5NN\n",
			Timeout: 2 * time.Minute,
		},
		check: func(_ *Deps, in *CarveDelete, a *arguments) { checkSession(in.Session, a) },
		ready: func(ctx context.Context, d *Deps, _ playbooks.Call, in CarveDelete) error {
			if _, err := d.carve(ctx, in.Session); errors.Is(err, soar.ErrNotFound) {
				return fmt.Errorf("carve %s is not on the server: %w", in.Session, playbooks.ErrNothingToDo)
			} else if err != nil {
				return err
			}
			if !in.Unfetched {
				if err := d.fetchedWhole(ctx, in.Session); err != nil {
					return err
				}
			}
			return d.mayAdminister(ctx, "deleting a carve from the server")
		},
		do: deleteCarve,
	})
}

// fetchedWhole says why a carve may not be deleted from the server yet.
func (d *Deps) fetchedWhole(ctx context.Context, session string) error {
	const rest = "; fetch it with carve.fetch first, or say unfetched: true to lose it"
	if d.Evidence == nil {
		return fmt.Errorf("carve %s: there is no folder for carves, so nobody else has it%s", session, rest)
	}
	report, err := d.Evidence.Verify(ctx, session)
	switch {
	case errors.Is(err, soar.ErrNotFound), err == nil && report.State != evidence.StateKept:
		return fmt.Errorf("carve %s: its archive is not in the folder for carves%s", session, rest)
	case err != nil:
		return fmt.Errorf("carve %s: %w", session, err)
	case len(report.Problems) > 0:
		return fmt.Errorf("carve %s: its archive in the folder for carves is not as it was downloaded: %s%s", session, strings.Join(report.Problems, "; "), rest)
	}
	if doubts := report.Doubts(); len(doubts) > 0 { // the server may have more of it
		return fmt.Errorf("carve %s: its archive in the folder for carves is not whole: %s; look at it with erbridge carves show %s, and say unfetched: true"+
			" to delete the one on the server all the same", session, strings.Join(doubts, "; "), session)
	}
	return nil
}

func deleteCarve(ctx context.Context, d *Deps, call playbooks.Call, in CarveDelete) (playbooks.Outcome, error) {
	task := task{"delete", "deleted", "carve " + in.Session + " from the server"}
	err := d.Client.Carves.Delete(ctx, connector.DeleteForGood, in.Session)
	switch {
	case errors.Is(err, connector.ErrNotFound), errors.Is(err, connector.ErrRefused):
		// Somebody was faster, or this is the second try; otherwise it is a refusal.
		if _, look := d.carve(ctx, in.Session); !errors.Is(look, soar.ErrNotFound) {
			return playbooks.Outcome{}, task.failure(effectError(err))
		}
	case err != nil:
		return playbooks.Outcome{}, task.failure(effectError(err))
	}
	out := playbooks.Outcome{State: soar.StepVerified, Summary: task.finished(), Output: CarveDeleteOutput{in.Session, d.here(in.Session)}}
	switch _, err := d.carve(ctx, in.Session); {
	case err == nil:
		out.State, out.Summary, out.Error = soar.StepFailed, task.failed(), "the server said that it did, and still lists it"
		return out, nil
	case !errors.Is(err, soar.ErrNotFound):
		out.State = soar.StepExecuted
		out.Summary += "; not verified: " + err.Error()
	}
	if d.Evidence != nil {
		if err := d.Evidence.Removed(in.Session, actor(call)); err != nil {
			out.Summary += "; " + err.Error()
		}
	}
	return out, nil
}

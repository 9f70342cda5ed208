package actions

import (
	"context"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// AlertReopen are the arguments of alert.reopen.
type AlertReopen struct {
	// Own keeps to an alert that erbridge has resolved: one that a person has resolved
	// since, or commented, is left alone, because reopening would wipe what he said of it.
	// Undoing sets it. Releases before 4.0 keep no comments, and do not tell.
	Own bool `yaml:"own"`

	// Alert is the server's id of the alert; without it, the alert at hand.
	Alert Number `yaml:"alert"`
}

// AlertReopenOutput is what alert.reopen leaves under .steps.<id>.output.
type AlertReopenOutput struct {
	// Alert is the server's id of the alert.
	Alert int64 `json:"alert"`
	// Was is what the alert was before: open or resolved.
	Was string `json:"was"`
	// VerdictWas is its verdict before, which is gone now.
	VerdictWas string `json:"verdict_was,omitempty"`
	// CommentWas is its comment before, which is gone now.
	CommentWas string `json:"comment_was,omitempty"`
}

const (
	alertReopen  = "alert.reopen"
	alertResolve = "alert.resolve"
)

func init() {
	reopen := change[AlertReopen, AlertReopenOutput]{
		make: reopenAlert,
		look: func(ctx context.Context, d *Deps, call playbooks.Call, in AlertReopen, _ AlertReopenOutput) (string, error) {
			id, now, err := d.meantAlert(ctx, call, in.Alert)
			if err != nil || now.Status == soar.StatusOpen {
				return "", err
			}
			return fmt.Sprintf("alert %d is %s", id, now.Status), nil
		},
		words: func(_ playbooks.Call, _ AlertReopen, changed AlertReopenOutput) string {
			return fmt.Sprintf("reopened alert %d", changed.Alert)
		},
	}
	add(kind[AlertReopen]{
		Spec: playbooks.Spec{
			Name:    alertReopen,
			Summary: "Opens a resolved alert again. Its verdict and its comment are wiped by the server, and stay in the run.",
			Effect:  playbooks.Repeatable,
			Needs:   []string{"admin"},
			Inverse: alertResolve,
			Output:  AlertReopenOutput{},
			Example: "do: alert.reopen\n",
			Timeout: 2 * time.Minute,
		},
		foresee: func(ctx context.Context, d *Deps, call playbooks.Call, in AlertReopen) (any, error) {
			id, now, err := d.meantAlert(ctx, call, in.Alert)
			switch {
			case err != nil:
				return nil, err
			case now.Status == soar.StatusOpen:
				return nil, fmt.Errorf("%w: alert %d is open", playbooks.ErrNothingToDo, id)
			case in.spares(&now):
				return nil, in.left(&now)
			}
			return statusBefore(id, &now), d.mayAdminister(ctx, "reopening an alert")
		},
		do:   reopen.do,
		poll: reopen.poll,
		reverse: func(_ playbooks.Call, _ AlertReopen, output map[string]any) *playbooks.Reversal {
			return resolveAgain(output)
		},
	})
}

// statusBefore is what an alert is before it is reopened or resolved.
func statusBefore(id int64, was *soar.Alert) AlertReopenOutput {
	return AlertReopenOutput{Alert: id, Was: was.Status, VerdictWas: was.Verdict, CommentWas: soar.WithoutOwnLine(was.Comment)}
}

func reopenAlert(ctx context.Context, d *Deps, call playbooks.Call, in AlertReopen) (AlertReopenOutput, error) {
	id, was, err := d.meantAlert(ctx, call, in.Alert)
	changed := statusBefore(id, &was)
	switch {
	case err != nil || was.Status == soar.StatusOpen:
		return changed, err
	case in.spares(&was):
		return changed, in.left(&was)
	}
	if err := d.Client.Alerts.Reopen(ctx, []int64{id}); err != nil {
		return changed, fmt.Errorf("reopen alert %d: %w", id, effectError(err))
	}
	return changed, nil
}

// spares reports whether a person has said the last word about an alert.
func (in AlertReopen) spares(a *soar.Alert) bool {
	return in.Own && a.Verdict != "" && soar.WithoutOwnLine(a.Comment) == a.Comment
}

func (in AlertReopen) left(a *soar.Alert) error {
	return fmt.Errorf("alert %s was resolved by somebody else since, as %s with the comment %q: it is left alone; reopen it in the server's console if that is meant",
		a.ID, a.Verdict, soar.Visible(clipRunes(a.Comment, 200)))
}

// resolveAgain gives an alert back the verdict that it had. Releases before 4.0 keep
// none, and without one nobody can say what it was resolved as.
func resolveAgain(output map[string]any) *playbooks.Reversal {
	if outputText(output, "was") != soar.StatusResolved || outputText(output, "verdict_was") == "" {
		return nil
	}
	with := map[string]any{"alert": output["alert"], "verdict": output["verdict_was"]}
	if comment := outputText(output, "comment_was"); comment != "" {
		with["comment"] = comment
	}
	return &playbooks.Reversal{Do: alertResolve, With: with}
}

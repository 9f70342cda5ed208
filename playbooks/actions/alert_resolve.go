package actions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// AlertResolve are the arguments of alert.resolve.
type AlertResolve struct {
	// Verdict says whether the alert was right.
	Verdict string `yaml:"verdict" required:"true" enum:"true_positive,false_positive"`

	// Comment says why; it is shown with the alert. A mark that names the run is added
	// to it.
	Comment string `yaml:"comment"`

	// Alert is the server's id of the alert; without it, the alert at hand.
	Alert Number `yaml:"alert"`
}

// AlertResolveOutput is what alert.resolve leaves under .steps.<id>.output.
type AlertResolveOutput struct {
	// Alert is the server's id of the alert.
	Alert int64 `json:"alert"`
	// Was is what the alert was before: open or resolved.
	Was string `json:"was"`
	// VerdictWas is its verdict before, if it had one.
	VerdictWas string `json:"verdict_was,omitempty"`
	// CommentWas is its comment before, if it had one.
	CommentWas string `json:"comment_was,omitempty"`
}

func init() {
	resolve := change[AlertResolve, AlertResolveOutput]{
		make: resolveAlert,
		// The server reports success for ids that it does not know, too.
		look: func(ctx context.Context, d *Deps, call playbooks.Call, in AlertResolve, _ AlertResolveOutput) (string, error) {
			id, now, err := d.meantAlert(ctx, call, in.Alert)
			switch {
			case errors.Is(err, connector.ErrNotFound):
				return fmt.Sprintf("has no alert %d", id), nil
			case err != nil:
				return "", err
			case now.Status != soar.StatusResolved || now.Verdict != "" && now.Verdict != in.Verdict:
				return strings.TrimSpace(fmt.Sprintf("alert %d is %s %s", id, now.Status, now.Verdict)), nil
			}
			return "", nil
		},
		words: func(_ playbooks.Call, in AlertResolve, changed AlertResolveOutput) string {
			return fmt.Sprintf("resolved alert %d as %s", changed.Alert, in.Verdict)
		},
	}
	add(kind[AlertResolve]{
		Spec: playbooks.Spec{
			Name:    alertResolve,
			Summary: "Resolves an alert with a verdict and a comment.",
			Effect:  playbooks.Repeatable,
			Inverse: alertReopen,
			Output:  AlertResolveOutput{},
			Example: "do: alert.resolve\nwith:\n  verdict: false_positive\n  comment: weekly vulnerability scan\n",
			Timeout: 2 * time.Minute,
		},
		prose: []string{"comment"},
		foresee: func(ctx context.Context, d *Deps, call playbooks.Call, in AlertResolve) (any, error) {
			id, now, err := d.meantAlert(ctx, call, in.Alert)
			if err == nil && in.saidOf(&now) {
				return nil, fmt.Errorf("%w: alert %d is resolved %s", playbooks.ErrNothingToDo, id, strings.TrimSpace("already "+now.Verdict))
			}
			return AlertResolveOutput(statusBefore(id, &now)), err
		},
		do:   resolve.do,
		poll: resolve.poll,
		reverse: func(_ playbooks.Call, _ AlertResolve, output map[string]any) *playbooks.Reversal {
			if outputText(output, "was") == soar.StatusOpen {
				return &playbooks.Reversal{Do: alertReopen, With: map[string]any{"alert": output["alert"], "own": true}}
			}
			return resolveAgain(output)
		},
	})
}

func resolveAlert(ctx context.Context, d *Deps, call playbooks.Call, in AlertResolve) (AlertResolveOutput, error) {
	id, was, err := d.meantAlert(ctx, call, in.Alert)
	changed := AlertResolveOutput(statusBefore(id, &was))
	if err != nil || in.saidOf(&was) {
		return changed, err
	}
	if err := d.Client.Alerts.Resolve(ctx, []int64{id}, in.Verdict == soar.VerdictTruePositive, soar.WithOwnLine(soar.Visible(in.Comment), call.Mark)); err != nil {
		return changed, fmt.Errorf("resolve alert %d: %w", id, effectError(err))
	}
	return changed, nil
}

// saidOf reports whether all of it is said of an alert. Releases before 4.0 keep neither
// verdict nor comment.
func (in AlertResolve) saidOf(a *soar.Alert) bool {
	return a.Status == soar.StatusResolved && (a.Verdict == "" || a.Verdict == in.Verdict && (in.Comment == "" || soar.WithoutOwnLine(a.Comment) == soar.WithoutOwnLine(soar.Visible(in.Comment))))
}

package actions

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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

	// Comment says why; it is shown with the alert.
	Comment string `yaml:"comment"`

	// Alert is the server's id of the alert; without it, the alert at hand.
	Alert Number `yaml:"alert"`
}

// AlertResolveOutput is what alert.resolve leaves under .steps.<id>.output.
type AlertResolveOutput struct {
	// Alert is the server's id of the alert.
	Alert int64 `json:"alert"`
}

func init() {
	add(kind[AlertResolve]{
		Spec: playbooks.Spec{
			Name:    "alert.resolve",
			Summary: "Resolves an alert with a verdict and a comment.",
			Effect:  playbooks.Repeatable,
			Output:  AlertResolveOutput{},
			Example: "do: alert.resolve\nwith:\n  verdict: false_positive\n  comment: weekly vulnerability scan\n",
			Timeout: 2 * time.Minute,
		},
		prose: []string{"comment"},
		do:    resolveAlert,
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in AlertResolve, _ string) (playbooks.Outcome, error) {
			id, err := d.alertID(call, in.Alert)
			if err != nil {
				return playbooks.Outcome{}, err
			}
			return d.resolved(ctx, id, in.Verdict), nil
		},
	})
}

func resolveAlert(ctx context.Context, d *Deps, call playbooks.Call, in AlertResolve) (playbooks.Outcome, error) {
	id, err := d.alertID(call, in.Alert)
	if err != nil {
		return playbooks.Outcome{}, err
	}
	if err := d.Client.Alerts.Resolve(ctx, []int64{id}, in.Verdict == soar.VerdictTruePositive, soar.Visible(in.Comment)); err != nil {
		return playbooks.Outcome{}, fmt.Errorf("resolve alert %d: %w", id, effectError(err))
	}
	return d.resolved(ctx, id, in.Verdict), nil
}

// resolved reads an alert back: the server reports success for ids that it does not
// know, too.
func (d *Deps) resolved(ctx context.Context, id int64, verdict string) playbooks.Outcome {
	out := playbooks.Outcome{Summary: fmt.Sprintf("resolved alert %d as %s", id, verdict), Output: AlertResolveOutput{Alert: id}}
	alert, err := d.Client.Alerts.Get(ctx, id)
	if errors.Is(err, connector.ErrNotFound) {
		out.State, out.Error = soar.StepFailed, fmt.Sprintf("the server reports success, and has no alert %d", id)
		return out
	}
	if err != nil {
		out.State, out.Ref, out.Unverified = soar.StepAccepted, "alert:"+strconv.FormatInt(id, 10), inWords(err).Error()
		return out
	}
	now := connector.Normalize(d.Server, "", alert, nil, nil)
	// Releases before 4.0 keep no verdict.
	if now.Status != soar.StatusResolved || now.Verdict != "" && now.Verdict != verdict {
		out.State, out.Error = soar.StepFailed, strings.TrimSpace(fmt.Sprintf("the server reports success, and alert %d is %s %s", id, now.Status, now.Verdict))
		return out
	}
	out.State = soar.StepVerified
	return out
}

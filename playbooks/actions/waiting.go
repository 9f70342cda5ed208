package actions

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// maxWait is how long a step may let time pass.
const maxWait = 30 * 24 * time.Hour

// waitTimeout is the time-out of steps that let time pass: what they wait for ends them,
// also when that is the longest there is.
const waitTimeout = maxWait + 24*time.Hour

// WaitOutput is what sleep and wait.until leave under .steps.<id>.output.
type WaitOutput struct {
	// Until is when the run went on, or should have: erbridge may have been down.
	Until time.Time `json:"until"`
}

// untilRef begins the reference of a wait. Its end stands behind it, so that it is the
// same after a restart.
const untilRef = "until:"

// wait is a wait that ends then: no worker is kept while it lasts.
func (d *Deps) wait(end time.Time) playbooks.Outcome {
	end = end.UTC()
	out := playbooks.Outcome{Ref: untilRef + end.Format(time.RFC3339Nano), Summary: "waits until " + end.Format(time.RFC3339), Output: WaitOutput{Until: end}}
	left := end.Sub(d.Now())
	if left > 0 {
		out.State, out.PollAfter = soar.StepAccepted, left
		return out
	}
	out.State, out.Summary = soar.StepExecuted, "waited until "+end.Format(time.RFC3339)
	return out
}

// waitOn looks whether a wait is over.
func waitOn[In any](_ context.Context, d *Deps, _ playbooks.Call, _ In, ref string) (playbooks.Outcome, error) {
	text, found := strings.CutPrefix(ref, untilRef)
	end, err := time.Parse(time.RFC3339Nano, text)
	if !found || err != nil {
		return playbooks.Outcome{}, fmt.Errorf("reference %q: not one of a wait", ref)
	}
	return d.wait(end), nil
}

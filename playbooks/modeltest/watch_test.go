package modeltest

import (
	"context"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// callKey is under what a request knows which step it is of.
type callKey struct{}

// sentCall is a step that sends a call.
type sentCall struct {
	run    soar.RunID
	step   string // without the attempt
	action string
	effect playbooks.Effect
	alert  soar.Alert
	with   map[string]any
}

// watched is an action whose calls are known again at the server, and whose word that
// something is verified is looked after there.
type watched struct {
	playbooks.Action
	playbooks.Reverser
	w    *world
	spec playbooks.Spec
}

// readied is one that looks at its host before, too.
type readied struct {
	*watched
	playbooks.Readier
	playbooks.Withdrawer
}

// foreseeing is one that takes back only what it has changed.
type foreseeing struct {
	readied
	playbooks.Foreseer
}

func watch(w *world, action playbooks.Action) playbooks.Action {
	reverser, _ := action.(playbooks.Reverser)
	one := &watched{Action: action, Reverser: reverser, w: w, spec: action.Spec()}
	if ready, ok := action.(playbooks.Readier); ok {
		withdrawer, _ := action.(playbooks.Withdrawer)
		looks := readied{one, ready, withdrawer}
		if foresees, ok := action.(playbooks.Foreseer); ok {
			return foreseeing{looks, foresees}
		}
		return looks
	}
	return one
}

// Do implements playbooks.Action.
func (a *watched) Do(ctx context.Context, call playbooks.Call) (playbooks.Outcome, error) {
	step, _, _ := strings.Cut(call.Step, "#")
	sent := &sentCall{run: call.Run, step: step, action: a.spec.Name, effect: a.spec.Effect, alert: call.Alert, with: call.With}
	out, err := a.Action.Do(context.WithValue(ctx, callKey{}, sent), call)
	a.w.judge(sent, out, err)
	return out, err
}

// Poll implements playbooks.Action.
func (a *watched) Poll(ctx context.Context, call playbooks.Call, ref string) (playbooks.Outcome, error) {
	out, err := a.Action.Poll(ctx, call, ref)
	a.w.judge(&sentCall{run: call.Run, step: call.Step, action: a.spec.Name, alert: call.Alert, with: call.With}, out, err)
	return out, err
}

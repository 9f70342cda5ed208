package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// change is a call that changes what the server keeps, such as a note or a rule: the
// server's own records tell whether it did. What it changed is its output, of which its
// reversal is made.
type change[In, Out any] struct {
	// make sends the call, unless all is as it should be already.
	make func(ctx context.Context, d *Deps, call playbooks.Call, in In) (Out, error)
	// look reads the records; wrong says what of them is not as it should be.
	look func(ctx context.Context, d *Deps, call playbooks.Call, in In, changed Out) (wrong string, err error)
	// words say what was done.
	words func(call playbooks.Call, in In, changed Out) string
}

// do makes the change and reads it back. A change whose answer was lost and that is
// there for all to see happened; one that is not there may still be under way.
func (c change[In, Out]) do(ctx context.Context, d *Deps, call playbooks.Call, in In) (playbooks.Outcome, error) {
	changed, err := c.make(ctx, d, call, in)
	if errors.Is(err, playbooks.ErrUncertain) {
		if wrong, lookErr := c.look(ctx, d, call, in, changed); wrong == "" && lookErr == nil {
			err = nil
		}
	}
	if err != nil {
		return playbooks.Outcome{}, err
	}
	return c.outcome(ctx, d, call, in, changed), nil
}

// poll looks again at a change that could not be looked at before.
func (c change[In, Out]) poll(ctx context.Context, d *Deps, call playbooks.Call, in In, ref string) (playbooks.Outcome, error) {
	var changed Out
	text, found := strings.CutPrefix(ref, changeRef)
	if !found {
		return playbooks.Outcome{}, fmt.Errorf("reference %q: not one of a change", ref)
	}
	if err := json.Unmarshal([]byte(text), &changed); err != nil {
		return playbooks.Outcome{}, fmt.Errorf("reference %q: %w", ref, err)
	}
	return c.outcome(ctx, d, call, in, changed), nil
}

// changeRef begins the reference of a change that is to be looked at again. What was
// changed stands behind it: only the first look knew.
const changeRef = "change:"

func (c change[In, Out]) outcome(ctx context.Context, d *Deps, call playbooks.Call, in In, changed Out) playbooks.Outcome {
	out := playbooks.Outcome{Summary: c.words(call, in, changed), Output: changed}
	wrong, err := c.look(ctx, d, call, in, changed)
	switch {
	case err != nil:
		text, _ := json.Marshal(changed) // plain fields only
		out.State, out.Ref, out.Unverified = soar.StepAccepted, changeRef+string(text), inWords(err).Error()
	case wrong != "":
		out.State, out.Error = soar.StepFailed, "the server reports success, and "+wrong
	default:
		out.State = soar.StepVerified
	}
	return out
}

// mayAdminister looks whether the account of erbridge may do what needs the role admin.
// Releases before 3.5 have no roles.
func (d *Deps) mayAdminister(ctx context.Context, what string) error {
	me, err := d.Client.Users.Me(ctx)
	switch {
	case errors.Is(err, connector.ErrUnavailable):
		return nil
	case err != nil:
		return fmt.Errorf("the role of our account: %w", readError(err))
	case len(me.Roles) == 0 || me.IsAdmin():
		return nil
	}
	return fmt.Errorf("%s needs the role admin on the server, and the account %s has the role %s: give it the role admin, or do it by hand in the server's console",
		what, me.Username, strings.Join(me.Roles, ", "))
}

// outputText is a text of a call's output; empty when there is none.
func outputText(output map[string]any, name string) string {
	s, _ := output[name].(string)
	return s
}

// outputList is a list of a call's output; nil when there is none.
func outputList(output map[string]any, name string) []any {
	list, _ := output[name].([]any)
	return list
}

package actions

import (
	"context"
	"errors"
	"fmt"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// membership is what host.deactivate and host.enable change in opposite directions.
const membership = "membership"

// HostStateOutput is what host.deactivate and host.enable leave under
// .steps.<id>.output.
type HostStateOutput struct {
	// State is what the host is afterwards: active or removed.
	State string `json:"state"`
}

// stateWords are the states of a host in words.
var stateWords = map[int]string{connector.HostActive: "active", connector.HostRemoved: "removed", connector.HostDeleted: "deleted"}

// turn is a change of the state of a host.
type turn struct {
	task
	doing  string // deactivating a host
	host   Host
	wanted int
	change func(ctx context.Context, ref string) error
}

// ready looks whether there is something to change.
func (t turn) ready(ctx context.Context, d *Deps, call playbooks.Call) error {
	record, err := d.meantHost(ctx, call, t.host) // it may be offline
	if err != nil {
		return err
	}
	state, err := d.hostState(ctx, record)
	switch {
	case errors.Is(err, connector.ErrUnavailable):
		return t.failure(fmt.Errorf("the server's API knows no hosts that are removed: %w", err))
	case err != nil:
		return t.failure(fmt.Errorf("its state: %w", readError(err)))
	case state == t.wanted:
		return fmt.Errorf("%s is %s already: %w", hostName(call, t.host), stateWords[state], playbooks.ErrNothingToDo)
	}
	return d.mayAdminister(ctx, t.doing)
}

// do makes the change. A repeat of what has come through is refused by some releases,
// so that a refusal says nothing before the host was looked at.
func (t turn) do(ctx context.Context, d *Deps) (playbooks.Outcome, error) {
	err := t.change(ctx, string(t.host))
	if err != nil && !errors.Is(err, connector.ErrRefused) {
		return playbooks.Outcome{Target: string(t.host)}, t.failure(effectError(err))
	}
	out := t.look(ctx, d)
	if err != nil && out.State != soar.StepVerified {
		return playbooks.Outcome{Target: string(t.host)}, t.failure(effectError(err))
	}
	return out, nil
}

// look reads the state back.
func (t turn) look(ctx context.Context, d *Deps) playbooks.Outcome {
	out := playbooks.Outcome{Target: string(t.host), Summary: t.finished()}
	record, err := d.Client.Hosts.Get(ctx, string(t.host))
	state := 0
	if err == nil {
		state, err = d.hostState(ctx, record)
	}
	switch {
	case err != nil:
		out.State, out.Ref, out.Unverified = soar.StepAccepted, "state", inWords(err).Error()
		return out
	case state != t.wanted:
		out.State, out.Summary = soar.StepFailed, t.failed()
		out.Error = "the server reports success, and the host is " + stateWords[state]
	default:
		out.State = soar.StepVerified
	}
	out.Output = HostStateOutput{State: stateWords[state]}
	return out
}

// hostState tells whether a host is active or removed. Only the list of hosts does, in
// which one that is neither does not stand.
func (d *Deps) hostState(ctx context.Context, record connector.Host) (int, error) {
	if record.Name != "" {
		for _, state := range []int{connector.HostRemoved, connector.HostActive} {
			_, listed, err := d.rowOf(ctx, record.ID, connector.HostQuery{Search: record.Name, Enabled: new(state == connector.HostActive)})
			if err != nil || listed {
				return state, err
			}
		}
	}
	// The list may show another name than the computer has.
	states, err := d.Client.Hosts.States(ctx, record.Identifier)
	return states[record.Identifier], err
}

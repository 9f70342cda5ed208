package actions

import (
	"context"
	"encoding/json"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// DefenderStatus are the arguments of defender.status.
type DefenderStatus struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`
}

// DefenderStatusOutput is what defender.status leaves under .steps.<id>.output.
type DefenderStatusOutput struct {
	CommandOutput
	// Status is the answer when it is JSON. The server does not say what is in it.
	Status any `json:"status,omitempty"`
}

func init() {
	add(kind[DefenderStatus]{
		Spec: playbooks.Spec{
			Name:    "defender.status",
			Summary: "Asks Windows Defender on a host for its state and what it found.",
			// The question goes through the queue of response actions, and changes
			// nothing on the host.
			Effect:  playbooks.Reads,
			Needs:   []string{"enterprise", "response", "windows"},
			Output:  DefenderStatusOutput{},
			Example: "do: defender.status\nwith:\n  host: ${{ .alert.host.identifier }}\n",
			Timeout: 5 * time.Minute,
		},
		do: func(ctx context.Context, d *Deps, call playbooks.Call, in DefenderStatus) (playbooks.Outcome, error) {
			return d.send(ctx, in.Host, in.task(call), func(ctx context.Context) (connector.Command, error) {
				return d.Client.Defender.ComputerStatus(ctx, string(in.Host))
			})
		},
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in DefenderStatus, ref string) (playbooks.Outcome, error) {
			return d.follow(ctx, in.Host, ref, in.task(call), func(_ context.Context, c connector.HostCommand) playbooks.Outcome {
				output := DefenderStatusOutput{CommandOutput: CommandOutput{Command: c.CommandID, Message: c.Message}}
				if json.Unmarshal([]byte(c.Message), &output.Status) != nil {
					output.Status = nil
				}
				return playbooks.Outcome{State: soar.StepExecuted, Summary: in.task(call).finished(), Output: output}
			})
		},
	})
}

func (in DefenderStatus) task(call playbooks.Call) task {
	return task{"read", "read", "the state of Defender on " + hostName(call, in.Host)}
}

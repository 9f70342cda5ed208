package actions

import (
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// DefenderStatusOutput is what defender.status leaves under .steps.<id>.output.
type DefenderStatusOutput struct {
	CommandOutput
	// Status is the answer when it is JSON. The server does not say what is in it.
	Status any `json:"status,omitempty"`
}

func init() {
	add(question(playbooks.Spec{
		Name:    "defender.status",
		Summary: "Asks Windows Defender on a host for the status of the computer: its protection and what it found.",
		// The question goes through the queue of response actions, and changes
		// nothing on the host.
		Effect:  playbooks.Reads,
		Needs:   []string{"enterprise", "response", "windows"},
		Output:  DefenderStatusOutput{},
		Example: "do: defender.status\nwith:\n  host: ${{ .alert.host.identifier }}\n",
		Timeout: 5 * time.Minute,
	}, "the state", func(s *connector.DefenderService) defenderCall { return s.ComputerStatus }, func(c CommandOutput, answer any) any {
		return DefenderStatusOutput{c, answer}
	}))
}

package actions

import (
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// DefenderCheckUpdateOutput is what defender.check_update leaves under
// .steps.<id>.output.
type DefenderCheckUpdateOutput struct {
	CommandOutput
	// Update is the answer when it is JSON, such as the version of the signatures. The
	// server does not say what is in it.
	Update any `json:"update,omitempty"`
}

func init() {
	k := question(playbooks.Spec{
		Name:    "defender.check_update",
		Summary: "Lets Windows Defender on a host check for updates of its protection, and returns what it says.",
		// The guide does not say whether a host fetches what it finds.
		Effect:  playbooks.Repeatable,
		Needs:   []string{"enterprise", "response", "windows"},
		Kind:    "update",
		Output:  DefenderCheckUpdateOutput{},
		Example: "do: defender.check_update\nwith:\n  host: ${{ .alert.host.identifier }}\n",
		Timeout: 10 * time.Minute,
	}, "the updates", func(s *connector.DefenderService) defenderCall { return s.CheckUpdate }, func(c CommandOutput, answer any) any {
		return DefenderCheckUpdateOutput{c, answer}
	})
	k.host = func(in DefenderHost) Host { return in.Host }
	add(k)
}

package actions

import (
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// DefenderRefreshOutput is what defender.refresh leaves under .steps.<id>.output.
type DefenderRefreshOutput struct {
	CommandOutput
	// State is the answer when it is JSON: whether Defender is on and protects the host.
	// The server does not say what is in it.
	State any `json:"state,omitempty"`
}

func init() {
	k := question(playbooks.Spec{
		Name:    "defender.refresh",
		Summary: "Lets a host report again whether Windows Defender is on and protects it, so that the server's console shows it.",
		Effect:  playbooks.Repeatable, Harmless: true,
		Needs:   []string{"enterprise", "response", "windows"},
		Kind:    "refresh",
		Output:  DefenderRefreshOutput{},
		Example: "do: defender.refresh\nwith:\n  host: ${{ .alert.host.identifier }}\n",
		Timeout: 5 * time.Minute,
	}, "the application status", func(s *connector.DefenderService) defenderCall { return s.RefreshStatus }, func(c CommandOutput, answer any) any {
		return DefenderRefreshOutput{c, answer}
	})
	k.host = func(in DefenderHost) Host { return in.Host }
	add(k)
}

package actions

import (
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// DefenderSettingsOutput is what defender.settings leaves under .steps.<id>.output.
type DefenderSettingsOutput struct {
	CommandOutput
	// Settings is the answer when it is JSON, such as exclusions and schedules. The
	// server does not say what is in it.
	Settings any `json:"settings,omitempty"`
}

func init() {
	add(question(playbooks.Spec{
		Name:    "defender.settings",
		Summary: "Asks Windows Defender on a host for its settings: what scans leave out, and when they run.",
		Effect:  playbooks.Reads,
		Needs:   []string{"enterprise", "response", "windows"},
		Output:  DefenderSettingsOutput{},
		Example: "do: defender.settings\nwith:\n  host: ${{ .alert.host.identifier }}\n",
		Timeout: 5 * time.Minute,
	}, "the settings", func(s *connector.DefenderService) defenderCall { return s.CurrentSettings }, func(c CommandOutput, answer any) any {
		return DefenderSettingsOutput{c, answer}
	}))
}

package actions

import (
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// DefenderQuarantineOutput is what defender.quarantine leaves under
// .steps.<id>.output.
type DefenderQuarantineOutput struct {
	CommandOutput
	// Threats are what is quarantined, when the answer is JSON; null when it is not.
	// The server does not say what is in each.
	Threats []any `json:"threats"`
}

// FoundNothing reports whether nothing is quarantined.
func (o DefenderQuarantineOutput) FoundNothing() bool { return o.Threats != nil && len(o.Threats) == 0 }

func init() {
	add(question(playbooks.Spec{
		Name:    "defender.quarantine",
		Summary: "Asks Windows Defender on a host what it has put into quarantine. carve.quarantined fetches such a file.",
		Effect:  playbooks.Reads,
		Needs:   []string{"enterprise", "response", "windows"},
		Output:  DefenderQuarantineOutput{},
		Example: "do: defender.quarantine\nwith:\n  host: ${{ .alert.host.identifier }}\n",
		Timeout: 5 * time.Minute,
	}, "the quarantine", func(s *connector.DefenderService) defenderCall { return s.Quarantine }, func(c CommandOutput, answer any) any {
		output := DefenderQuarantineOutput{CommandOutput: c}
		switch threats := answer.(type) {
		case []any:
			output.Threats = threats
		case map[string]any: // PowerShell makes no list of a single one
			output.Threats = []any{threats}
		}
		return output
	}))
}

package actions

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// ScriptRun are the arguments of script.run.
type ScriptRun struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	ScriptSource `yaml:",inline"`
}

// ScriptRunOutput is what script.run and live.response leave under .steps.<id>.output.
type ScriptRunOutput struct {
	// Command is the server's id of the command.
	Command string `json:"command"`
	// Text is what the script printed, at most 128 KiB of it.
	Text string `json:"text"`
	// SHA256 is the hash of the reviewed script, without its arguments.
	SHA256 string `json:"sha256,omitempty"`
}

func init() {
	add(kind[ScriptRun]{
		Spec: playbooks.Spec{
			Name:    "script.run",
			Summary: "Runs a script on a host, a reviewed one or one that stands in the playbook, and returns what it printed.",
			Effect:  playbooks.Once,
			Needs:   []string{"enterprise", "response"},
			Output:  ScriptRunOutput{},
			Example: "do: script.run\nwith:\n  host: ${{ .alert.host.identifier }}\n  kind: powershell\n  content: Get-SmbSession | ConvertTo-Json\n",
			Timeout: 10 * time.Minute,
		},
		check: func(d *Deps, in *ScriptRun, a *arguments) { in.check(d, a) },
		pin:   pinScript,
		host:  func(in ScriptRun) Host { return in.Host },
		ready: func(ctx context.Context, d *Deps, call playbooks.Call, in ScriptRun) error {
			return in.readyFor(ctx, d, call, in.Host)
		},
		do: runScript,
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in ScriptRun, ref string) (playbooks.Outcome, error) {
			return d.follow(ctx, in.Host, ref, in.task(call), func(_ context.Context, c connector.HostCommand) playbooks.Outcome {
				return playbooks.Outcome{
					State: soar.StepExecuted, Summary: in.task(call).finished(),
					Output: ScriptRunOutput{Command: c.CommandID, Text: c.Message, SHA256: strings.ToLower(in.SHA256)},
				}
			})
		},
		find: func(ctx context.Context, d *Deps, call playbooks.Call, in ScriptRun, since time.Time) ([]playbooks.Found, error) {
			return d.findCommands(ctx, in.Host, since, wanted{script: scriptName(call.Mark), byAction: true, mark: call.Mark})
		},
	})
}

func runScript(ctx context.Context, d *Deps, call playbooks.Call, in ScriptRun) (playbooks.Outcome, error) {
	script, err := in.whole(d, call.Mark)
	if err != nil {
		return playbooks.Outcome{Target: string(in.Host)}, in.task(call).failure(err)
	}
	script.Hosts = []string{string(in.Host)}
	return d.send(ctx, in.Host, in.task(call), func(ctx context.Context) (connector.Command, error) {
		return d.Client.Responses.RunScript(ctx, script)
	})
}

func (in ScriptRun) task(call playbooks.Call) task {
	return task{"run", "ran", fmt.Sprintf("%s on %s", in.words(), hostName(call, in.Host))}
}

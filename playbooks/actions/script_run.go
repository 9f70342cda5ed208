package actions

import (
	"context"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// ScriptRun are the arguments of script.run.
type ScriptRun struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	// Content is the text of the script. It stands in the playbook as it is:
	// values of an alert go into params, because no quoting is right for every
	// shell.
	Content string `yaml:"content" required:"true"`

	// Kind is the language of the script.
	Kind string `yaml:"kind" required:"true" enum:"bat,powershell,shell"`

	// Params are the parameters that the script is started with.
	Params string `yaml:"params"`
}

// ScriptRunOutput is what script.run leaves under .steps.<id>.output.
type ScriptRunOutput struct {
	// Command is the server's id of the command.
	Command string `json:"command"`
	// Text is what the script printed, at most 128 KiB of it.
	Text string `json:"text"`
}

// maxScriptBytes is what the server's own console takes.
const maxScriptBytes = 2 << 20

func init() {
	add(kind[ScriptRun]{
		Spec: playbooks.Spec{
			Name:    "script.run",
			Summary: "Runs a script on a host and returns what it printed.",
			Effect:  playbooks.Once,
			Needs:   []string{"enterprise", "response"},
			Output:  ScriptRunOutput{},
			Example: "do: script.run\nwith:\n  host: ${{ .alert.host.identifier }}\n  kind: powershell\n  content: Get-SmbSession | ConvertTo-Json\n",
			Timeout: 10 * time.Minute,
		},
		check: func(_ *Deps, in *ScriptRun, a *arguments) {
			if !a.known("content") {
				a.refuse("content", "hand the value over in params", "a script must not be put together from values of an alert")
			}
			if len(in.Content) > maxScriptBytes {
				a.refuse("content", "", "has %d bytes, the limit is %d", len(in.Content), maxScriptBytes)
			}
		},
		host: func(in ScriptRun) Host { return in.Host },
		do:   runScript,
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in ScriptRun, ref string) (playbooks.Outcome, error) {
			return d.follow(ctx, in.Host, ref, in.task(call), func(_ context.Context, c connector.HostCommand) playbooks.Outcome {
				return playbooks.Outcome{State: soar.StepExecuted, Summary: in.task(call).finished(), Output: ScriptRunOutput{Command: c.CommandID, Text: c.Message}}
			})
		},
		find: func(ctx context.Context, d *Deps, call playbooks.Call, in ScriptRun, since time.Time) ([]playbooks.Found, error) {
			return d.findCommands(ctx, in.Host, since, wanted{script: scriptName(call.Mark), byAction: true, mark: call.Mark})
		},
	})
}

func runScript(ctx context.Context, d *Deps, call playbooks.Call, in ScriptRun) (playbooks.Outcome, error) {
	return d.send(ctx, in.Host, in.task(call), func(ctx context.Context) (connector.Command, error) {
		return d.Client.Responses.RunScript(ctx, connector.Script{
			Hosts:   []string{string(in.Host)},
			Content: in.Content,
			Kind:    map[string]connector.ScriptKind{"bat": connector.ScriptBat, "powershell": connector.ScriptPowerShell, "shell": connector.ScriptShell}[in.Kind],
			Params:  in.Params,
			Name:    scriptName(call.Mark),
		})
	})
}

// scriptName carries the mark, by which a call whose answer was lost is found.
func scriptName(mark string) string { return "erbridge-" + plainName(mark) }

func (in ScriptRun) task(call playbooks.Call) task {
	return task{"run", "ran", fmt.Sprintf("a %s script on %s", in.Kind, hostName(call, in.Host))}
}

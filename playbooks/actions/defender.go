package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// DefenderHost names the host whose Windows Defender is asked.
type DefenderHost struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`
}

// What Defender is asked goes through the queue of response actions as well: the answer
// is the message of a command. What it looks like is not documented. Where it is JSON,
// as PowerShell makes it, actions read it; otherwise it is handed on as it came.

// defenderCall queues something for the Defender of a host.
type defenderCall func(ctx context.Context, host string) (connector.Command, error)

// question makes an action that asks Defender for something. output puts the answer
// into the action's words; it is nil when it is no JSON.
func question(spec playbooks.Spec, what string, ask func(*connector.DefenderService) defenderCall, output func(c CommandOutput, answer any) any) kind[DefenderHost] {
	words := func(call playbooks.Call, in DefenderHost) task {
		return task{"read", "read", what + " of Defender on " + hostName(call, in.Host)}
	}
	return kind[DefenderHost]{
		Spec: spec,
		do: func(ctx context.Context, d *Deps, call playbooks.Call, in DefenderHost) (playbooks.Outcome, error) {
			return d.send(ctx, in.Host, words(call, in), func(ctx context.Context) (connector.Command, error) {
				return ask(d.Client.Defender)(ctx, string(in.Host))
			})
		},
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in DefenderHost, ref string) (playbooks.Outcome, error) {
			return d.follow(ctx, in.Host, ref, words(call, in), func(_ context.Context, c connector.HostCommand) playbooks.Outcome {
				return playbooks.Outcome{
					State: soar.StepExecuted, Summary: words(call, in).finished(),
					Output: output(CommandOutput{Command: c.CommandID, Message: c.Message}, jsonOrNil(c.Message)),
				}
			})
		},
	}
}

// jsonOrNil reads a message that is JSON.
func jsonOrNil(message string) (answer any) {
	if json.Unmarshal([]byte(message), &answer) != nil {
		return nil
	}
	return answer
}

// askDefender asks in order to verify, and waits as long as for any look at a host.
func (d *Deps) askDefender(ctx context.Context, host Host, ask defenderCall) (message string, err error) {
	if err := d.reachable(ctx, host); err != nil { // the question would wait at the server
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d.ProbeTimeout, errNoAnswer)
	defer cancel()
	sent, err := ask(ctx, string(host))
	if err != nil {
		return "", err
	}
	for pause := firstPoll / 5; ; pause = min(2*pause, nextPoll) {
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(pause):
		}
		command, found, err := d.lookUp(ctx, host, commandRef(sent))
		switch {
		case err != nil:
			return "", err
		case found && command.Final() && !strings.EqualFold(command.Status, connector.CommandSuccess):
			return "", fmt.Errorf("the answer of Defender: %s", failureInWords(command.Message))
		case found && command.Final():
			return command.Message, nil
		}
	}
}

// defenderSettings are the settings of Defender under the names of Get-MpPreference;
// nil when the host's answer is nothing that can be read.
func (d *Deps) defenderSettings(ctx context.Context, host Host) (map[string]any, error) {
	message, err := d.askDefender(ctx, host, d.Client.Defender.CurrentSettings)
	if err != nil {
		return nil, err
	}
	settings, _ := jsonOrNil(message).(map[string]any)
	return settings, nil
}

// settled looks at the settings after they were changed. wrong says what contradicts the
// report, and whether the settings tell it at all.
func (d *Deps) settled(ctx context.Context, host Host, t task, wrong func(settings map[string]any) (why string, told bool)) playbooks.Outcome {
	settings, err := d.defenderSettings(ctx, host)
	if err != nil {
		return t.unverified(err.Error())
	}
	why, told := wrong(settings)
	switch {
	case !told:
		return playbooks.Outcome{State: soar.StepExecuted, Summary: t.finished() + "; not verified: what Defender tells of its settings does not show it"}
	case why != "":
		return playbooks.Outcome{State: soar.StepFailed, Summary: t.failed(), Error: "the host reports success, but " + why}
	}
	return playbooks.Outcome{State: soar.StepVerified, Summary: t.finished() + "; verified with Defender"}
}

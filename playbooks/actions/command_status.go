package actions

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// CommandStatus are the arguments of command.status.
type CommandStatus struct {
	// Command is the server's id of the command, as response actions leave it in their
	// output.
	Command string `yaml:"command" required:"true"`
}

// CommandStatusOutput is what command.status and command.cancel leave under
// .steps.<id>.output.
type CommandStatusOutput struct {
	CommandOutput
	// Status is the server's word for how far the command is, such as success, failure
	// or cancelled.
	Status string `json:"status"`
	// Ended means that nothing more will come of the command.
	Ended bool `json:"ended"`
	// HostName is the name of the host.
	HostName string `json:"host_name"`
	// Action is what the command does, such as stop.
	Action string `json:"action"`
	// Target is what it does that to, such as process.
	Target string `json:"target"`
	// Created is when the server took the command.
	Created time.Time `json:"created,omitzero"`
	// Updated is when the server last heard of it.
	Updated time.Time `json:"updated,omitzero"`
}

func init() {
	add(kind[CommandStatus]{
		Spec: playbooks.Spec{
			Name:    "command.status",
			Summary: "Reads how far a command is that a host was given, and what the host answered.",
			Effect:  playbooks.Reads,
			Needs:   []string{"enterprise"},
			Output:  CommandStatusOutput{},
			Example: "do: command.status\nwith:\n  command: 0123456789abcdef0123456789abcdef\n",
			Timeout: time.Minute,
		},
		check: func(_ *Deps, in *CommandStatus, a *arguments) { checkCommand(in.Command, a) },
		do: func(ctx context.Context, d *Deps, _ playbooks.Call, in CommandStatus) (playbooks.Outcome, error) {
			command, err := d.command(ctx, in.Command)
			if err != nil {
				return playbooks.Outcome{}, err
			}
			return playbooks.Outcome{
				State: soar.StepExecuted, Summary: fmt.Sprintf("%s: %s", commandName(command), command.Status), Output: commandStatus(command),
			}, nil
		},
	})
}

// commandIDs are 32 hex digits (REST guide 4.0.0); other servers may add dashes.
var commandIDs = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

func checkCommand(id string, a *arguments) {
	if a.known("command") && id != "" && !commandIDs.MatchString(id) {
		a.refuse("command", "", "%.80q is not the id of a command", id)
	}
}

// command reads a command by its id.
func (d *Deps) command(ctx context.Context, id string) (connector.HostCommand, error) {
	command, err := d.Client.Responses.Get(ctx, id)
	switch {
	case errors.Is(err, connector.ErrNotFound), errors.Is(err, connector.ErrRefused):
		return command, fmt.Errorf("the server has no command %s: %w", id, absent{err})
	case errors.Is(err, connector.ErrUnavailable):
		return command, errNoResponse
	case err != nil:
		return command, fmt.Errorf("command %s: %w", id, readError(err))
	}
	return command, nil
}

func commandStatus(c connector.HostCommand) CommandStatusOutput {
	return CommandStatusOutput{
		CommandOutput: CommandOutput{Command: c.CommandID, Message: clipBytes(c.Message, maxMessageBytes)},
		Status:        c.Status, Ended: c.Final(), HostName: c.Hostname, Action: c.Action, Target: c.Target, Created: c.CreatedAt, Updated: c.UpdatedAt,
	}
}

// commandName is what people call a command.
func commandName(c connector.HostCommand) string {
	return fmt.Sprintf("command %s (%s %s on %s)", c.CommandID, c.Action, c.Target, c.Hostname)
}

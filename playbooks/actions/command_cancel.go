package actions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// CommandCancel are the arguments of command.cancel.
type CommandCancel struct {
	// Host is the host identifier of the host that has the command. A command of another
	// host is refused.
	Host Host `yaml:"host" required:"true"`

	// Command is the server's id of the command.
	Command string `yaml:"command" required:"true"`
}

func init() {
	add(kind[CommandCancel]{
		Spec: playbooks.Spec{
			Name:    "command.cancel",
			Summary: "Cancels a command that its host has not carried out yet, and looks whether the server has. What the host did stays done.",
			Effect:  playbooks.Repeatable,
			Needs:   []string{"enterprise"},
			Output:  CommandStatusOutput{},
			Example: "do: command.cancel\nwith:\n  host: ${{ .alert.host.identifier }}\n  command: 0123456789abcdef0123456789abcdef\n",
			Timeout: 2 * time.Minute,
		},
		check: func(_ *Deps, in *CommandCancel, a *arguments) { checkCommand(in.Command, a) },
		ready: func(ctx context.Context, d *Deps, call playbooks.Call, in CommandCancel) error {
			record, err := d.meantHost(ctx, call, in.Host) // it may be offline
			if err != nil {
				return err
			}
			command, err := d.command(ctx, in.Command)
			switch {
			case err != nil:
				return err
			case command.NodeID != record.ID:
				return fmt.Errorf("%s is not one of %s: name the host that has it", commandName(command), hostName(call, in.Host))
			case isCancelled(command.Status):
				return fmt.Errorf("%s is cancelled already: %w", commandName(command), playbooks.ErrNothingToDo)
			case command.Final():
				return fmt.Errorf("%s has ended with %s: what the host did stays done", commandName(command), command.Status)
			}
			return nil
		},
		do: func(ctx context.Context, d *Deps, _ playbooks.Call, in CommandCancel) (playbooks.Outcome, error) {
			failed := func(err error) (playbooks.Outcome, error) {
				return playbooks.Outcome{Target: string(in.Host)}, in.task().failure(effectError(err))
			}
			err := d.Client.Responses.Cancel(ctx, in.Command)
			if err != nil && !errors.Is(err, connector.ErrRefused) {
				return failed(err)
			}
			// A repeat of what has come through is refused: the command is over by then.
			out := in.lookNow(ctx, d)
			if err != nil && out.State != soar.StepVerified {
				return failed(err)
			}
			return out, nil
		},
		poll: func(ctx context.Context, d *Deps, _ playbooks.Call, in CommandCancel, _ string) (playbooks.Outcome, error) {
			return in.look(ctx, d)
		},
	})
}

// lookNow is look right after the call. What cannot be read then is looked at later.
func (in CommandCancel) lookNow(ctx context.Context, d *Deps) playbooks.Outcome {
	out, err := in.look(ctx, d)
	if err != nil {
		return playbooks.Outcome{State: soar.StepAccepted, Ref: "cmd:" + in.Command, Target: string(in.Host), Summary: in.task().finished(), Unverified: err.Error()}
	}
	return out
}

// look reads what became of the command.
func (in CommandCancel) look(ctx context.Context, d *Deps) (playbooks.Outcome, error) {
	command, err := d.command(ctx, in.Command)
	if err != nil {
		return playbooks.Outcome{}, err
	}
	out := playbooks.Outcome{Target: string(in.Host), Summary: in.task().finished(), Output: commandStatus(command)}
	switch {
	case isCancelled(command.Status):
		out.State, out.Summary = soar.StepVerified, "cancelled "+commandName(command)
	case command.Final():
		out.State, out.Summary = soar.StepFailed, in.task().failed()
		out.Error = "the host was quicker: the command has ended with " + command.Status
	default:
		out.State, out.Ref, out.PollAfter = soar.StepAccepted, "cmd:"+in.Command, nextPoll
		out.Summary = fmt.Sprintf("%s; the server says %q", in.task().asked(), clipBytes(command.Status, 80))
	}
	return out, nil
}

func isCancelled(status string) bool {
	return strings.EqualFold(status, connector.CommandCancelled) || strings.EqualFold(status, "canceled")
}

func (in CommandCancel) task() task { return task{"cancel", "cancelled", "command " + in.Command} }

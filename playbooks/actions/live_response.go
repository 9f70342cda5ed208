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

// LiveResponse are the arguments of live.response.
type LiveResponse struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	ScriptSource `yaml:",inline"`
}

// liveListen is how long one look listens to a session. The server gives each piece of
// the output to a listener once, and keeps all of it for the end.
const liveListen = time.Minute

func init() {
	add(kind[LiveResponse]{
		Spec: playbooks.Spec{
			Name:        "live.response",
			Summary:     "Runs a script in a live response session of a host, listens while it runs, and returns what it printed.",
			Effect:      playbooks.Once,
			Needs:       []string{"enterprise", "response"},
			Output:      ScriptRunOutput{},
			Example:     "do: live.response\nwith:\n  host: ${{ .alert.host.identifier }}\n  kind: powershell\n  content: Get-Process | Sort-Object CPU\n",
			Timeout:     10 * time.Minute,
			PollTimeout: liveListen + 30*time.Second,
		},
		check: func(d *Deps, in *LiveResponse, a *arguments) { in.check(d, a) },
		pin:   pinScript,
		host:  func(in LiveResponse) Host { return in.Host },
		ready: func(ctx context.Context, d *Deps, call playbooks.Call, in LiveResponse) error {
			return in.readyFor(ctx, d, call, in.Host)
		},
		do:   openSession,
		poll: listenToSession,
		find: func(ctx context.Context, d *Deps, call playbooks.Call, in LiveResponse, since time.Time) ([]playbooks.Found, error) {
			return d.findCommands(ctx, in.Host, since, wanted{script: scriptName(call.Mark), mark: call.Mark})
		},
	})
}

func openSession(ctx context.Context, d *Deps, call playbooks.Call, in LiveResponse) (playbooks.Outcome, error) {
	script, err := in.whole(d, call.Mark)
	if err != nil {
		return playbooks.Outcome{Target: string(in.Host)}, in.task(call).failure(err)
	}
	out, err := d.send(ctx, in.Host, in.task(call), func(ctx context.Context) (connector.Command, error) {
		return d.Client.Responses.Live(ctx, connector.LiveScript{
			Host: string(in.Host), Content: script.Content, Kind: script.Kind, Params: script.Params, Name: script.Name,
		})
	})
	if err == nil {
		out.PollAfter = firstPoll / 5 // the session has begun
	}
	return out, err
}

// listenToSession hears what the host prints until the script has ended, and then asks
// the server for the record: it says how the script ended, also to who came late.
func listenToSession(ctx context.Context, d *Deps, call playbooks.Call, in LiveResponse, ref string) (playbooks.Outcome, error) {
	heard := ""
	if id, ok := strings.CutPrefix(ref, "cmd:"); ok {
		wait := liveListen
		if deadline, ok := ctx.Deadline(); ok {
			wait = max(min(wait, time.Until(deadline)-d.Client.Timeout()), time.Second)
		}
		// A session that cannot be listened to runs all the same.
		live, err := d.Client.Responses.LiveOutput(ctx, connector.Command{CommandID: id}, wait, nil)
		if err != nil && ctx.Err() != nil {
			return playbooks.Outcome{}, err
		}
		heard = clipBytes(live.Output, maxMessageBytes)
	}
	text := heard
	out, err := d.follow(ctx, in.Host, ref, in.task(call), func(_ context.Context, c connector.HostCommand) playbooks.Outcome {
		if len(c.Message) > len(text) {
			text = c.Message
		}
		return playbooks.Outcome{State: soar.StepExecuted, Summary: in.task(call).finished(), Output: CommandOutput{Command: c.CommandID, Message: c.Message}}
	})
	if err != nil {
		return out, err
	}
	if out.State == soar.StepAccepted {
		if heard != "" {
			out.Summary += fmt.Sprintf("; it has printed %d bytes so far", len(heard))
		}
		return out, nil
	}
	if c, ok := out.Output.(CommandOutput); ok {
		out.Output = ScriptRunOutput{Command: c.Command, Text: text, SHA256: strings.ToLower(in.SHA256)}
	}
	return out, nil
}

func (in LiveResponse) task(call playbooks.Call) task {
	return task{"run", "ran", fmt.Sprintf("%s in a live response of %s", in.words(), hostName(call, in.Host))}
}

package actions

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// AgentRestart are the arguments of agent.restart.
type AgentRestart struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`
}

func init() {
	add(kind[AgentRestart]{
		Spec: playbooks.Spec{
			Name:    "agent.restart",
			Summary: "Restarts the agent of a host that is online, and waits until it has.",
			Effect:  playbooks.Once,
			Needs:   []string{"enterprise", "response"},
			Kind:    "agent",
			Example: "do: agent.restart\nwith:\n  host: ${{ .alert.host.identifier }}\n",
			Timeout: 5 * time.Minute,
		},
		host: func(in AgentRestart) Host { return in.Host },
		do:   restartAgent,
		poll: pollRestart,
		// The server gives a restart no id and keeps no list of them, so there is
		// no find.
	})
}

func restartAgent(ctx context.Context, d *Deps, call playbooks.Call, in AgentRestart) (playbooks.Outcome, error) {
	out := playbooks.Outcome{Target: string(in.Host)}
	if err := d.reachable(ctx, in.Host); err != nil {
		return out, in.task(call).failure(err)
	}
	// An agent that hangs does not tell when it started, and shall be restarted
	// all the same.
	out.Ref = "sent:" + strconv.FormatInt(d.Now().Unix(), 10)
	if started, err := d.agentStart(ctx, in.Host); err == nil {
		out.Ref = "started:" + started
	}
	if err := d.Client.Responses.RestartAgent(ctx, string(in.Host)); err != nil {
		return playbooks.Outcome{Target: out.Target}, in.task(call).failure(effectError(err))
	}
	out.State, out.PollAfter, out.Summary = soar.StepAccepted, 5*time.Second, in.task(call).asked()
	return out, nil
}

// pollRestart waits until the agent has another start time than before; where that is
// not known, one that is not older than the call.
func pollRestart(ctx context.Context, d *Deps, call playbooks.Call, in AgentRestart, ref string) (playbooks.Outcome, error) {
	how, before, _ := strings.Cut(ref, ":")
	seconds, err := strconv.ParseInt(before, 10, 64)
	if how != "started" && how != "sent" || how == "sent" && err != nil {
		return playbooks.Outcome{}, fmt.Errorf("restart reference %q: expected started: or sent:", ref)
	}
	now, err := d.agentStart(ctx, in.Host)
	if err != nil {
		return playbooks.Outcome{}, err
	}
	again := now != before
	if how == "sent" {
		started, err := strconv.ParseInt(now, 10, 64)
		again = err == nil && started >= seconds-int64(clockSlack/time.Second)
	}
	out := playbooks.Outcome{Target: string(in.Host)}
	if !again {
		out.State, out.Ref, out.PollAfter = soar.StepAccepted, ref, 5*time.Second
		out.Summary = in.task(call).asked()
		return out, nil
	}
	out.State, out.Summary = soar.StepVerified, in.task(call).finished()
	return out, nil
}

func (in AgentRestart) task(call playbooks.Call) task {
	return task{"restart", "restarted", "the agent of " + hostName(call, in.Host)}
}

// agentStart asks the agent when it started, by its own clock.
func (d *Deps) agentStart(ctx context.Context, host Host) (string, error) {
	rows, err := d.ask(ctx, host, "select start_time from osquery_info", nil)
	if err != nil {
		return "", err
	}
	if len(rows) == 0 || rows[0]["start_time"] == "" {
		return "", errors.New("the agent does not tell when it started")
	}
	return rows[0]["start_time"], nil
}

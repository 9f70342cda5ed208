package actions

import (
	"context"
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
			Example: "do: agent.restart\nwith:\n  host: ${{ .alert.host.identifier }}\n",
			Timeout: 5 * time.Minute,
		},
		do:   restartAgent,
		poll: pollRestart,
		// The server gives a restart no id and keeps no list of them, so there is
		// no find.
	})
}

func restartAgent(ctx context.Context, d *Deps, _ playbooks.Call, in AgentRestart) (playbooks.Outcome, error) {
	out := playbooks.Outcome{Target: string(in.Host)}
	if err := d.reachable(ctx, in.Host); err != nil {
		return out, err
	}
	asked := d.Now()
	if err := d.Client.Responses.RestartAgent(ctx, string(in.Host)); err != nil {
		return out, effectError(err)
	}
	out.State, out.Ref, out.PollAfter = soar.StepAccepted, "restart:"+strconv.FormatInt(asked.Unix(), 10), 5*time.Second
	out.Summary = "asked the agent of " + string(in.Host) + " to restart"
	return out, nil
}

// pollRestart asks the agent how long it has been up. Both times are the host's
// own, so its clock may be wrong.
func pollRestart(ctx context.Context, d *Deps, _ playbooks.Call, in AgentRestart, ref string) (playbooks.Outcome, error) {
	seconds, err := strconv.ParseInt(strings.TrimPrefix(ref, "restart:"), 10, 64)
	if err != nil {
		return playbooks.Outcome{}, fmt.Errorf("restart reference %q: %w", ref, err)
	}
	rows, err := d.ask(ctx, in.Host, "select t.unix_time - o.start_time as uptime from osquery_info o, time t", nil)
	if err != nil {
		return playbooks.Outcome{}, err
	}
	out := playbooks.Outcome{State: soar.StepAccepted, Ref: ref, PollAfter: 5 * time.Second, Target: string(in.Host),
		Summary: "asked the agent of " + string(in.Host) + " to restart"}
	if len(rows) == 0 {
		return out, nil
	}
	uptime, err := strconv.ParseInt(rows[0]["uptime"], 10, 64)
	if err != nil {
		return playbooks.Outcome{}, fmt.Errorf("uptime of the agent: %w", err)
	}
	if time.Duration(uptime)*time.Second <= d.Now().Sub(time.Unix(seconds, 0)) {
		out.State, out.PollAfter, out.Summary = soar.StepVerified, 0, "restarted the agent of "+string(in.Host)
	}
	return out, nil
}

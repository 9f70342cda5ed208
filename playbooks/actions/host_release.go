package actions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// HostRelease are the arguments of host.release.
type HostRelease struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	// Rule is the name of the firewall rule, which host.contain leaves in its
	// output. Without it, the newest rule that erbridge made on the host, and has
	// not removed yet, is taken.
	Rule string `yaml:"rule"`
}

// HostReleaseOutput is what host.release leaves under .steps.<id>.output.
type HostReleaseOutput struct {
	CommandOutput
	// Rule is the name of the firewall rule that was removed.
	Rule string `json:"rule"`
}

// maxContainmentAge bounds how far back the newest rule is looked for.
const maxContainmentAge = 90 * 24 * time.Hour

func init() {
	add(kind[HostRelease]{
		Spec: playbooks.Spec{
			Name:    "host.release",
			Summary: "Removes the firewall rule that contains a host.",
			Effect:  playbooks.Once,
			Needs:   []string{"enterprise", "response", "windows"},
			Inverse: "host.contain",
			Kind:    containment,
			Sense:   "release",
			Output:  HostReleaseOutput{},
			Example: "do: host.release\nwith:\n  host: ${{ .alert.host.identifier }}\n  rule: ${{ .steps.contain.output.rule }}\n",
			Timeout: 5 * time.Minute,
		},
		host: func(in HostRelease) Host { return in.Host },
		ready: func(ctx context.Context, d *Deps, call playbooks.Call, in HostRelease) (err error) {
			if in.Rule == "" {
				_, err = d.newestRule(ctx, in.Host)
			}
			if err != nil {
				return in.task(call, "").failure(err)
			}
			return nil
		},
		do: release,
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in HostRelease, ref string) (playbooks.Outcome, error) {
			return d.follow(ctx, in.Host, ref, in.task(call, in.Rule), func(ctx context.Context, c connector.HostCommand) playbooks.Outcome {
				output := HostReleaseOutput{CommandOutput{Command: c.CommandID, Message: c.Message}, in.ruleOf(c)}
				if output.Rule == "" {
					out := in.task(call, "").unverified("the server's record does not name the rule that was removed; write rule: to be sure")
					out.Output = output
					return out
				}
				out := d.verify(ctx, in.Host, ruleProbe(in.task(call, output.Rule), output.Rule, false))
				out.Output = output
				return out
			})
		},
		find: func(ctx context.Context, d *Deps, _ playbooks.Call, in HostRelease, since time.Time) ([]playbooks.Found, error) {
			rule := in.Rule
			if rule == "" {
				rule = rulePrefix(in.Host)
			}
			return d.findCommands(ctx, in.Host, since, wanted{action: "delete", target: "ip_connection", values: []string{rule}, prefix: in.Rule == ""})
		},
	})
}

func release(ctx context.Context, d *Deps, call playbooks.Call, in HostRelease) (playbooks.Outcome, error) {
	rule := in.Rule
	if rule == "" {
		var err error
		if rule, err = d.newestRule(ctx, in.Host); err != nil {
			return playbooks.Outcome{Target: string(in.Host)}, in.task(call, "").failure(err)
		}
	}
	return d.send(ctx, in.Host, in.task(call, rule), func(ctx context.Context) (connector.Command, error) {
		return d.Client.Responses.Release(ctx, []string{string(in.Host)}, rule)
	})
}

func (in HostRelease) task(call playbooks.Call, rule string) task {
	if rule == "" {
		return task{"release", "released", hostName(call, in.Host)}
	}
	return task{"release", "released", fmt.Sprintf("%s from rule %s", hostName(call, in.Host), rule)}
}

// newestRule finds our newest firewall rule on a host that was not removed. The
// name of a rule begins with the host, so the list of actions is enough.
func (d *Deps) newestRule(ctx context.Context, host Host) (string, error) {
	released := map[string]bool{}
	for action, err := range d.Client.Responses.List(ctx, connector.ResponseQuery{}) {
		if err != nil {
			return "", fmt.Errorf("response actions: %w", readError(err))
		}
		if action.CreatedAt.Before(d.Now().Add(-maxContainmentAge)) {
			break
		}
		for _, text := range leaves(action.Command) {
			if !strings.HasPrefix(text, rulePrefix(host)) {
				continue
			}
			if action.Action == "contain" && !released[text] {
				return text, nil
			}
			released[text] = true
		}
	}
	return "", errors.New("the host has no firewall rule of erbridge to remove")
}

// ruleOf is the rule that a command removed: the one named, else the one that the
// server's record of the command shows.
func (in HostRelease) ruleOf(c connector.HostCommand) string {
	if in.Rule != "" {
		return in.Rule
	}
	for _, text := range leaves(c.Command) {
		if strings.HasPrefix(text, rulePrefix(in.Host)) {
			return text
		}
	}
	return ""
}

func rulePrefix(host Host) string { return "erbridge-" + plainName(string(host)) + "-" }

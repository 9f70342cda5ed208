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

// HostContain are the arguments of host.contain.
type HostContain struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	// Direction is the direction of the connections that are blocked, seen from the
	// host. in leaves the agent its way to the server. out needs remote_address,
	// remote_port or application: without any, it would cut off the agent, too, and
	// host.release would never reach the host.
	Direction string `yaml:"direction" enum:"in,out"`

	// RemoteAddress is the address or range of the other end; without it, any.
	RemoteAddress string `yaml:"remote_address" filled:"true"`

	// RemotePort is a port of the other end, or a range such as 135-139; without it,
	// any.
	RemotePort string `yaml:"remote_port" filled:"true"`

	// LocalPort is a port of the host, or a range such as 135-139; without it, any.
	LocalPort string `yaml:"local_port" filled:"true"`

	// Application is the path of the program that is blocked; without it, every program.
	Application string `yaml:"application" filled:"true"`

	// Protocol is the protocol that is blocked.
	Protocol string `yaml:"protocol" enum:"any,tcp,udp"`

	// For is how long the host stays contained: from a minute to 90 days. Then it is
	// released by itself, whatever became of the run and also when erbridge was not running
	// at that time. People are told before, and can move it with erbridge runs extend.
	// Without it, somebody has to release the host.
	For time.Duration `yaml:"for"`
}

// HostContainOutput is what host.contain leaves under .steps.<id>.output.
type HostContainOutput struct {
	CommandOutput
	// Rule is the name of the firewall rule; host.release takes it.
	Rule string `json:"rule"`
}

// ruleGroup is the firewall group of all our rules, so that a person at the host
// can find them, and remove them together.
const ruleGroup = "erbridge"

// containment is what host.contain and host.release change in opposite directions.
const containment = "containment"

func init() {
	add(kind[HostContain]{
		Spec: playbooks.Spec{
			Name:    "host.contain",
			Summary: "Blocks the traffic of a host with a rule of the Windows firewall.",
			Effect:  playbooks.Once,
			// REST guide 4.0.0, "Initiate a response action": firewall rules are for
			// Windows. The server takes them for other hosts too, where they do nothing.
			Needs:   []string{"enterprise", "response", "windows"},
			Inverse: "host.release",
			Kind:    containment,
			Sense:   "contain",
			Output:  HostContainOutput{},
			Example: "id: contain\ndo: host.contain\nwith:\n  host: ${{ .alert.host.identifier }}\n  for: 4h\n",
			Timeout: 5 * time.Minute,
		},
		defaults: HostContain{Direction: "in", Protocol: "any"},
		check:    checkContain,
		host:     func(in HostContain) Host { return in.Host },
		do:       contain,
		poll: func(ctx context.Context, d *Deps, call playbooks.Call, in HostContain, ref string) (playbooks.Outcome, error) {
			return d.follow(ctx, in.Host, ref, in.task(call), func(ctx context.Context, c connector.HostCommand) playbooks.Outcome {
				rule := ruleName(in.Host, call.Mark)
				out := d.verify(ctx, in.Host, ruleProbe(in.task(call), rule, true))
				out.Output = HostContainOutput{CommandOutput{Command: c.CommandID, Message: c.Message}, rule}
				return out
			})
		},
		find: func(ctx context.Context, d *Deps, call playbooks.Call, in HostContain, since time.Time) ([]playbooks.Found, error) {
			return d.findCommands(ctx, in.Host, since, wanted{
				action: "contain", target: "ip_connection", values: []string{ruleName(in.Host, call.Mark)}, mark: call.Mark,
			})
		},
		reverse: func(call playbooks.Call, in HostContain, _ map[string]any) *playbooks.Reversal {
			// Its own rule and no other: what else contains the host, somebody else wanted.
			return &playbooks.Reversal{
				Do: "host.release", With: map[string]any{"host": string(in.Host), "rule": ruleName(in.Host, call.Mark)}, After: in.For,
			}
		},
	})
}

func checkContain(_ *Deps, in *HostContain, a *arguments) {
	checkFor(in.For, a)
	for key, ports := range map[string]string{"remote_port": in.RemotePort, "local_port": in.LocalPort} {
		if ports != "" && a.known(key) && !validPorts(ports) {
			a.refuse(key, "", "expected a port from 1 to 65535, or a range such as 135-139, found %.40q", ports)
		}
	}
	if in.RemoteAddress == "" && in.RemotePort == "" && in.Application == "" && in.Direction == "out" &&
		a.known("direction") && a.known("remote_address") && a.known("remote_port") && a.known("application") {
		a.refuse("direction", "set remote_address, remote_port or application, or use direction: in",
			"this would cut off the agent from the server, too, and nothing could release the host")
	}
}

func contain(ctx context.Context, d *Deps, call playbooks.Call, in HostContain) (playbooks.Outcome, error) {
	return d.send(ctx, in.Host, in.task(call), func(ctx context.Context) (connector.Command, error) {
		return d.Client.Responses.Contain(ctx, connector.FirewallRule{
			Hosts:       []string{string(in.Host)},
			RuleName:    ruleName(in.Host, call.Mark),
			RuleGroup:   ruleGroup,
			Description: soar.Visible("erbridge " + call.Mark),
			SrcPort:     in.LocalPort,
			DstPort:     in.RemotePort,
			DstAddr:     in.RemoteAddress,
			Application: in.Application,
			Direction:   map[string]string{"in": "1", "out": "2"}[in.Direction],
			Protocol:    map[string]string{"tcp": "6", "udp": "17"}[in.Protocol],
		})
	})
}

func (in HostContain) task(call playbooks.Call) task {
	what := map[string]string{"in": "incoming", "out": "outgoing"}[in.Direction] + " connections"
	if in.Protocol != "any" {
		what = in.Protocol + " " + what
	}
	for _, limit := range []struct{ word, value string }{
		{"of", in.Application}, {"with", in.RemoteAddress}, {"remote port", in.RemotePort}, {"local port", in.LocalPort},
	} {
		if limit.value != "" {
			what += " " + limit.word + " " + limit.value
		}
	}
	return task{"block", "blocked", fmt.Sprintf("%s on %s", what, hostName(call, in.Host))}
}

// ruleProbe looks for a firewall rule.
func ruleProbe(t task, rule string, there bool) probe {
	return probe{
		task: t, sql: "select name from windows_firewall_rules where name = :rule", values: map[string]any{"rule": rule},
		wrong: func(rows []map[string]string) string {
			switch {
			case there && len(rows) == 0:
				return "its firewall has no rule " + rule
			case !there && len(rows) > 0:
				return "its firewall still has the rule " + rule
			}
			return ""
		},
	}
}

// ruleName makes the name of a firewall rule from the host and the call, so that
// the same call always means the same rule.
func ruleName(host Host, mark string) string {
	return rulePrefix(host) + plainName(mark)
}

// plainName keeps letters, digits, dot, dash and underscore, and puts a dash for
// everything else: names go through command lines on the host.
func plainName(text string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (nameByte(byte(r)) || r == '-' || r == '.') {
			return r
		}
		return '-'
	}, text)
}

func validPorts(text string) bool {
	low, high, isRange := strings.Cut(text, "-")
	var from, to Number
	ok := len(from.DecodeYAML("", valueNode(low, 1))) == 0 && from <= 65535
	if isRange {
		ok = ok && len(to.DecodeYAML("", valueNode(high, 1))) == 0 && to <= 65535 && from <= to
	}
	return ok
}

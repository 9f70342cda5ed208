package actions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// HostRelease are the arguments of host.release.
type HostRelease struct {
	// Host is the host identifier.
	Host Host `yaml:"host" required:"true"`

	// Rule is the name of one firewall rule, which host.contain leaves in its output: only
	// that is removed. Without it, the host is released: all rules that erbridge made on it
	// are removed, whoever asked for them.
	Rule string `yaml:"rule" filled:"true"`
}

// HostReleaseOutput is what host.release leaves under .steps.<id>.output.
type HostReleaseOutput struct {
	CommandOutput
	// Rule is the name of the firewall rule that was removed, where it was one.
	Rule string `json:"rule"`
	// Rules are the names of all that were removed.
	Rules []string `json:"rules"`
}

// maxContainmentAge bounds how far back rules are looked for in the server's list.
const maxContainmentAge = 90 * 24 * time.Hour

// maxReleased bounds the rules that one step removes.
const maxReleased = 50

func init() {
	add(kind[HostRelease]{
		Spec: playbooks.Spec{
			Name:    "host.release",
			Summary: "Removes the firewall rules that contain a host.",
			Effect:  playbooks.Repeatable, // a rule that is gone stays so
			Needs:   []string{"enterprise", "response", "windows"},
			Inverse: "host.contain",
			Kind:    containment,
			Sense:   "release",
			Output:  HostReleaseOutput{},
			Example: "do: host.release\nwith:\n  host: ${{ .alert.host.identifier }}\n  rule: ${{ .steps.contain.output.rule }}\n",
			Timeout: 5 * time.Minute,
		},
		host: func(in HostRelease) Host { return in.Host },
		ready: func(ctx context.Context, d *Deps, call playbooks.Call, in HostRelease) error {
			err := d.toRelease(ctx, in)
			if errors.Is(err, playbooks.ErrNothingToDo) && len(d.standing(ctx, call, in)) > 0 {
				err = nil // the host reported more than it did
			}
			if err != nil {
				return in.task(call).failure(err)
			}
			return nil
		},
		do:   release,
		poll: released,
		find: func(ctx context.Context, d *Deps, _ playbooks.Call, in HostRelease, since time.Time) ([]playbooks.Found, error) {
			if in.Rule == "" {
				return nil, playbooks.ErrCannotTell // it may be several commands, and is sent again
			}
			return d.findCommands(ctx, in.Host, since, wanted{action: "delete", target: "ip_connection", values: []string{in.Rule}})
		},
	})
}

// toRelease looks whether there is something to remove, as far as the server's list of
// commands tells.
func (d *Deps) toRelease(ctx context.Context, in HostRelease) error {
	rules, err := d.containments(ctx, in.Host)
	if err != nil {
		return err
	}
	for _, r := range rules {
		switch {
		case in.Rule == "" && r.removed.IsZero():
			return nil
		case in.Rule != "" && r.name == in.Rule && r.removed.IsZero():
			return nil
		case in.Rule != "" && r.name == in.Rule:
			return fmt.Errorf("%w: the rule was removed already, by the command that was sent at %s", playbooks.ErrNothingToDo, r.removed.UTC().Format(time.RFC3339))
		}
	}
	switch {
	case in.Rule != "": // the server may have forgotten it, and the host has not
		return nil
	case len(rules) > 0:
		return fmt.Errorf("%w: it was released already, by the command that was sent at %s", playbooks.ErrNothingToDo, rules[0].removed.UTC().Format(time.RFC3339))
	}
	return fmt.Errorf("%w: the host has no firewall rule of erbridge to remove", playbooks.ErrNothingToDo)
}

// standing are the rules to remove that the host has, by its own word. Of a host that
// does not answer, nothing is known.
func (d *Deps) standing(ctx context.Context, call playbooks.Call, in HostRelease) (names []string) {
	look := in.probe(call)
	rows, err := d.ask(ctx, in.Host, look.sql, look.values)
	if err != nil {
		return nil
	}
	for _, row := range rows {
		if name := row["name"]; in.means(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// means reports whether a rule is one that is to be removed. The comparison is made here:
// in SQL some characters of a name would stand for any.
func (in HostRelease) means(rule string) bool {
	return in.Rule != "" && rule == in.Rule || in.Rule == "" && strings.HasPrefix(rule, rulePrefix(in.Host))
}

// release removes the one rule, or all that are there by the server's list or by the
// host's own word. When there is none, what came before this call has removed them, and
// the host is asked again.
func release(ctx context.Context, d *Deps, call playbooks.Call, in HostRelease) (playbooks.Outcome, error) {
	names := []string{in.Rule}
	if in.Rule == "" {
		rules, err := d.containments(ctx, in.Host)
		if err != nil {
			return playbooks.Outcome{Target: string(in.Host)}, in.task(call).failure(err)
		}
		names = d.standing(ctx, call, in)
		for _, r := range rules {
			if r.removed.IsZero() && !slices.Contains(names, r.name) {
				names = append(names, r.name)
			}
		}
		if len(names) > maxReleased {
			return playbooks.Outcome{Target: string(in.Host)}, in.task(call).failure(fmt.Errorf(
				"it has %d rules, and at most %d are removed at once: name them with rule", len(names), maxReleased))
		}
	}
	if len(names) == 0 {
		return d.releasedFrom(ctx, call, in, releaseRef{}), nil
	}
	var ref releaseRef
	for i, name := range names {
		out, err := d.send(ctx, in.Host, in.task(call), func(ctx context.Context) (connector.Command, error) {
			return d.Client.Responses.Release(ctx, []string{string(in.Host)}, name)
		})
		if err != nil {
			if i > 0 { // some are on their way; all of it may be sent again
				err = fmt.Errorf("%w: %d of %d rules: %w", playbooks.ErrUncertain, i, len(names), withoutClass{err})
			}
			return out, err
		}
		ref.commands = append(ref.commands, out.Ref)
	}
	return playbooks.Outcome{
		State: soar.StepAccepted, Ref: ref.String(), PollAfter: firstPoll, Target: string(in.Host), Summary: in.task(call).asked(),
	}, nil
}

// withoutClass is an error whose class does not count any more.
type withoutClass struct{ err error }

func (e withoutClass) Error() string { return e.err.Error() }

// releaseRef names the commands that remove rules: that of one as the command itself.
type releaseRef struct{ commands []string }

const commandsRef = "cmds:"

func (r releaseRef) String() string {
	if len(r.commands) == 1 {
		return r.commands[0]
	}
	return commandsRef + strings.Join(r.commands, ",")
}

func readReleaseRef(text string) releaseRef {
	if list, several := strings.CutPrefix(text, commandsRef); several {
		return releaseRef{strings.Split(list, ",")}
	}
	return releaseRef{[]string{text}}
}

// released looks at all commands, and at the host once they are over. A command that
// failed because there is no such rule has not failed: the rule is not there.
func released(ctx context.Context, d *Deps, call playbooks.Call, in HostRelease, ref string) (playbooks.Outcome, error) {
	commands := readReleaseRef(ref)
	var failed playbooks.Outcome
	for _, one := range commands.commands {
		out, err := d.follow(ctx, in.Host, one, in.task(call), nil)
		if err != nil {
			return out, err
		}
		switch out.State {
		case soar.StepAccepted:
			out.Ref = ref
			return out, nil
		case soar.StepFailed, soar.StepCancelled:
			failed = out
		}
	}
	out := d.releasedFrom(ctx, call, in, commands)
	if out.State == soar.StepVerified || failed.State == "" {
		return out, nil
	}
	// The host tells more than a look at it that contradicts, or that nobody could take.
	failed.Ref, failed.Output = ref, out.Output
	return failed, nil
}

// releasedFrom looks whether the rules are gone.
func (d *Deps) releasedFrom(ctx context.Context, call playbooks.Call, in HostRelease, ref releaseRef) playbooks.Outcome {
	out := d.verify(ctx, in.Host, in.probe(call))
	out.Ref, out.Target, out.Output = ref.String(), string(in.Host), d.removed(ctx, in, ref)
	return out
}

// probe looks for the rule, or for any of ours.
func (in HostRelease) probe(call playbooks.Call) probe {
	if in.Rule != "" {
		return ruleProbe(in.task(call), in.Rule, false)
	}
	prefix := rulePrefix(in.Host)
	return probe{
		task: in.task(call), sql: "select name from windows_firewall_rules where name like :prefix", values: map[string]any{"prefix": prefix + "%"},
		wrong: func(rows []map[string]string) string {
			var left []string
			for _, row := range rows {
				if in.means(row["name"]) {
					left = append(left, row["name"])
				}
			}
			if len(left) == 0 {
				return ""
			}
			slices.Sort(left)
			return "its firewall still has " + clipBytes(strings.Join(left, ", "), 500)
		},
	}
}

// removed says which rules the commands were about, as far as the server's records tell.
func (d *Deps) removed(ctx context.Context, in HostRelease, ref releaseRef) HostReleaseOutput {
	out := HostReleaseOutput{Rule: in.Rule, Rules: []string{}}
	if in.Rule != "" {
		out.Rules = append(out.Rules, in.Rule)
	}
	for _, one := range ref.commands {
		command, found, err := d.lookUp(ctx, in.Host, one)
		if err != nil || !found {
			continue
		}
		if len(ref.commands) == 1 {
			out.CommandOutput = CommandOutput{Command: command.CommandID, Message: clipBytes(command.Message, maxMessageBytes)}
		}
		for _, text := range leaves(command.Command) {
			if in.Rule == "" && strings.HasPrefix(text, rulePrefix(in.Host)) && !slices.Contains(out.Rules, text) {
				out.Rules = append(out.Rules, text)
			}
		}
	}
	if len(out.Rules) == 1 {
		out.Rule = out.Rules[0]
	}
	return out
}

func (in HostRelease) task(call playbooks.Call) task {
	if in.Rule == "" {
		return task{"release", "released", hostName(call, in.Host)}
	}
	return task{"release", "released", fmt.Sprintf("%s from rule %s", hostName(call, in.Host), in.Rule)}
}

// firewallRule is a rule that erbridge made on a host.
type firewallRule struct {
	name    string
	removed time.Time // when the command was sent that removed it; zero: it is there
}

// containments are the rules that erbridge made on a host, the newest first, by the
// server's list of commands. The name of a rule begins with the host, so that list is
// enough to find them; whether the host did what it was asked is seen one by one.
func (d *Deps) containments(ctx context.Context, host Host) (rules []firewallRule, err error) {
	removals := map[string][]connector.ResponseAction{}
	for action, err := range d.Client.Responses.List(ctx, connector.ResponseQuery{}) {
		if err != nil {
			return nil, fmt.Errorf("response actions: %w", readError(err))
		}
		if action.CreatedAt.Before(d.Now().Add(-maxContainmentAge)) {
			break
		}
		for _, text := range leaves(action.Command) {
			if !strings.HasPrefix(text, rulePrefix(host)) {
				continue
			}
			if action.Action != "contain" {
				removals[text] = append(removals[text], action)
				continue
			}
			rule := firewallRule{name: text}
			made, err := d.carriedOut(ctx, host, action)
			for _, removal := range removals[text] {
				if err == nil && rule.removed.IsZero() {
					var gone outcome
					if gone, err = d.carriedOut(ctx, host, removal); gone == carriedOut {
						rule.removed = removal.CreatedAt
					}
				}
			}
			if err != nil {
				return nil, fmt.Errorf("response action %d: %w", action.ID, readError(err))
			}
			if made != notCarriedOut && !slices.ContainsFunc(rules, func(r firewallRule) bool { return r.name == text }) {
				rules = append(rules, rule)
			}
		}
	}
	return rules, nil
}

// outcome is what became of a command.
type outcome int

const (
	perhaps       outcome = iota // nobody knows, or not yet
	carriedOut                   // the host reports success
	notCarriedOut                // it reports a failure, or somebody cancelled the command
)

// carriedOut looks what a host did with a command.
func (d *Deps) carriedOut(ctx context.Context, host Host, action connector.ResponseAction) (outcome, error) {
	rows, err := d.Client.Responses.View(ctx, action.ID)
	if errors.Is(err, connector.ErrNotFound) {
		return perhaps, nil
	}
	if err != nil || len(rows) == 0 {
		return perhaps, err
	}
	row := rows[0]
	if len(rows) > 1 {
		node, err := d.Client.Hosts.Get(ctx, string(host))
		if err != nil {
			return perhaps, err
		}
		var sent bool
		if row, sent, _ = rowOf(node, action, rows); !sent { // or nobody knows whether it was
			return perhaps, nil
		}
	}
	switch strings.ToLower(row.Status) {
	case "success":
		return carriedOut, nil
	case "failure", "cancelled", "canceled":
		return notCarriedOut, nil
	}
	return perhaps, nil
}

func rulePrefix(host Host) string { return "erbridge-" + plainName(string(host)) + "-" }

package actions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// RuleSwitch are the arguments of rule.enable and rule.disable.
type RuleSwitch struct {
	// Rule is the server's id of the rule.
	Rule Number `yaml:"rule" required:"true"`
}

// RuleSwitchOutput is what rule.enable and rule.disable leave under .steps.<id>.output.
type RuleSwitchOutput struct {
	// Rule is the server's id of the rule.
	Rule int64 `json:"rule"`
	// Name is the name of the rule.
	Name string `json:"name"`
	// Changed tells whether it was otherwise before.
	Changed bool `json:"changed"`
}

const (
	ruleEnable  = "rule.enable"
	ruleDisable = "rule.disable"

	ruleActive   = "ACTIVE"
	ruleInactive = "INACTIVE"
)

func init() {
	addRuleSwitch(ruleEnable, ruleDisable, "Makes the server heed a detection rule again, for all hosts.", ruleActive, "enabled",
		func(ctx context.Context, d *Deps, id int64) error { return d.Client.Rules.Enable(ctx, id) })
}

// addRuleSwitch adds an action that gives a rule a status.
func addRuleSwitch(name, inverse, summary, status, done string, set func(ctx context.Context, d *Deps, id int64) error) {
	switching := change[RuleSwitch, RuleSwitchOutput]{
		make: func(ctx context.Context, d *Deps, _ playbooks.Call, in RuleSwitch) (RuleSwitchOutput, error) {
			rule, err := d.rule(ctx, in.Rule)
			changed := RuleSwitchOutput{Rule: int64(in.Rule), Name: rule.Name}
			if err != nil || rule.Status == status {
				return changed, err
			}
			changed.Changed = true
			if err := set(ctx, d, rule.ID); err != nil {
				return changed, fmt.Errorf("rule %d (%s): %w", rule.ID, rule.Name, effectError(err))
			}
			return changed, nil
		},
		look: func(ctx context.Context, d *Deps, _ playbooks.Call, in RuleSwitch, _ RuleSwitchOutput) (string, error) {
			rule, err := d.rule(ctx, in.Rule)
			if err != nil || rule.Status == status {
				return "", err
			}
			return fmt.Sprintf("rule %d (%s) is %s", rule.ID, rule.Name, strings.ToLower(rule.Status)), nil
		},
		words: func(_ playbooks.Call, _ RuleSwitch, changed RuleSwitchOutput) string {
			return fmt.Sprintf("%s rule %d (%s)", done, changed.Rule, changed.Name)
		},
	}
	add(kind[RuleSwitch]{
		Spec: playbooks.Spec{
			Name:       name,
			Summary:    summary,
			Effect:     playbooks.Repeatable,
			Needs:      []string{"release 4.0"},
			Inverse:    inverse,
			Everywhere: true,
			Output:     RuleSwitchOutput{},
			Example:    "do: " + name + "\nwith:\n  rule: ${{ .alert.rule.id }}\n",
			Timeout:    2 * time.Minute,
		},
		foresee: func(ctx context.Context, d *Deps, _ playbooks.Call, in RuleSwitch) (any, error) {
			rule, err := d.rule(ctx, in.Rule)
			if err == nil && rule.Status == status {
				return nil, fmt.Errorf("%w: rule %d (%s) is %s already", playbooks.ErrNothingToDo, rule.ID, rule.Name, strings.ToLower(status))
			}
			return RuleSwitchOutput{Rule: int64(in.Rule), Name: rule.Name, Changed: true}, err
		},
		do:   switching.do,
		poll: switching.poll,
		reverse: func(_ playbooks.Call, _ RuleSwitch, output map[string]any) *playbooks.Reversal {
			if changed, _ := output["changed"].(bool); !changed {
				return nil
			}
			return &playbooks.Reversal{Do: inverse, With: map[string]any{"rule": output["rule"]}}
		},
	})
}

// rule finds a rule by its id.
func (d *Deps) rule(ctx context.Context, id Number) (connector.RuleName, error) {
	names, err := d.Client.Rules.Names(ctx)
	at := slices.IndexFunc(names, func(r connector.RuleName) bool { return r.ID == int64(id) })
	switch {
	case errors.Is(err, connector.ErrUnavailable):
		return connector.RuleName{}, fmt.Errorf("releases before 4.0 have no call that switches a rule on or off: do it in the server's console: %w", err)
	case at >= 0: // others may be malformed
		return names[at], nil
	case err != nil:
		return connector.RuleName{}, fmt.Errorf("rules: %w", readError(err))
	}
	return connector.RuleName{}, fmt.Errorf("the server has no rule %d: it was deleted, or never was; look for it in the list of rules", id)
}

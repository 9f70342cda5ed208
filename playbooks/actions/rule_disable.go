package actions

import "context"

func init() {
	addRuleSwitch(ruleDisable, ruleEnable, "Makes the server pass a detection rule over, for all hosts: it raises no alerts until it is enabled again.", ruleInactive, "disabled",
		func(ctx context.Context, d *Deps, id int64) error { return d.Client.Rules.Disable(ctx, id) })
}

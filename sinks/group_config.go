package sinks

import (
	"time"

	"github.com/erbridge/erbridge/internal/registry"
)

// Bounds of what may be configured.
const (
	maxStorm       = 10_000
	minGroupUpdate = time.Second
	maxGroupWindow = 7 * 24 * time.Hour
	maxGroupBy     = 10
)

func (c *Config) checkGroup(report func(setting, hint, format string, args ...any)) {
	if c.Storm != nil && (*c.Storm < 0 || *c.Storm > 0 && *c.Storm < stormFirst || *c.Storm > maxStorm) {
		report("storm", "0 turns it off", "expected a number of alerts a minute, from %d to %d", stormFirst, maxStorm)
	}
	if c.Group == nil {
		return
	}
	if n := len(c.Group.By); n == 0 || n > maxGroupBy {
		report("group", "leave it out to put alerts of the same rule together", "by: expected from 1 to %d things that like alerts have in common", maxGroupBy)
	}
	if c.Group.Update < minGroupUpdate {
		report("group", "", "update is %s, and must be %s or longer", registry.FormatDuration(c.Group.Update), registry.FormatDuration(minGroupUpdate))
	}
	if c.Group.Window < c.Group.Update || c.Group.Window > maxGroupWindow {
		report("group", "", "window is %s, and must be from update (%s) to %s", registry.FormatDuration(c.Group.Window), registry.FormatDuration(c.Group.Update), registry.FormatDuration(maxGroupWindow))
	}
	var err error
	if c.group, err = c.Group.Compile(); err != nil {
		report("group", "", "%v", err)
	}
}

// groupOptions completes what the forwarder puts together.
func (c *Config) groupOptions(o *GroupOptions) {
	if c.Group != nil {
		o.By, o.Window, o.Update = c.group, c.Group.Window, c.Group.Update
	}
	if o.StormUpdate = c.kind.StormUpdate; o.StormUpdate > 0 {
		o.Storm = DefaultStorm
	} else {
		o.StormUpdate = DefaultGroup().Update
	}
	if c.Storm != nil {
		o.Storm = *c.Storm
	}
}

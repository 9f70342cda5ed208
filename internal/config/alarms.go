package config

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
)

// minAlarm is the shortest silence that people are told of: a poll takes its time.
const minAlarm = time.Minute

func (c *checker) checkAlarms() {
	check := func(d time.Duration, path ...string) {
		if d != 0 && d < minAlarm {
			c.addf(append([]string{"alarms"}, path...), "out-of-range", "0 is no alarm", "%s is too short, %s is the least", registry.FormatDuration(d), registry.FormatDuration(minAlarm))
		}
	}
	check(c.cfg.Alarms.NoAlertsFor, "no_alerts_for")
	known := []string{c.cfg.Server.Name}
	if w := c.cfg.Sources.Webhook; w != nil {
		known = append(known, slices.Sorted(maps.Keys(w.Senders))...)
	}
	for name, d := range c.cfg.Alarms.NoAlertsFrom {
		check(d, "no_alerts_from", name)
		if !slices.Contains(known, name) {
			c.addf([]string{"alarms", "no_alerts_from", name}, "unknown-name", "there are "+strings.Join(known, ", "), "no alerts come from %q", name)
		}
	}
}

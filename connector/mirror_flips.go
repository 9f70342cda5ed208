package connector

import (
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Two programs that answer each other, one resolving what the other one reopens, would go
// on for ever. Where the server tells who did what, erbridge knows its own kind. Before
// release 4.0 it does not, and other programs can be known only if somebody names them:
// so an alert whose status keeps changing starts nothing any more for a while.

const (
	maxFlips  = 6 // changes of status of one alert within flipsFor
	flipsFor  = time.Hour
	flipsKept = 10_000 // alerts that are kept in mind
)

// keepsChanging counts a change of status that is not erbridge's own, and reports whether
// there were too many of them lately. It tells so with the change, once an hour.
func (p *Poller) keepsChanging(row *pollRow, what []string, origin soar.Origin, change *soar.Change) bool {
	status := slices.Contains(what, soar.ChangeResolved) || slices.Contains(what, soar.ChangeReopened)
	if !status || origin != soar.OriginAnalyst {
		return false
	}
	now := p.env.Now()
	p.mirror.mu.Lock()
	defer p.mirror.mu.Unlock()
	if p.mirror.flips == nil || len(p.mirror.flips) > flipsKept {
		p.mirror.flips = map[int64][]time.Time{}
	}
	lately := slices.DeleteFunc(p.mirror.flips[row.id], func(at time.Time) bool { return now.Sub(at) >= flipsFor })
	p.mirror.flips[row.id] = append(lately, now)
	if len(lately) < maxFlips {
		return false
	}
	text := fmt.Sprintf("alert %s was resolved and reopened %d times within %s, not by this erbridge: no playbook is started by that any more until it rests."+
		" If another erbridge or other automation does it, name its account under sources.poll.mirror.accounts, or change the playbooks that answer each other",
		row.alert.Ref(), len(lately)+1, flipsFor)
	hour := lately[0].Truncate(flipsFor).Unix()
	if len(lately) == maxFlips {
		change.Events = append(change.Events, soar.Event{
			ID: fmt.Sprintf("trouble/mirror-flips/%s/%d", row.alert.Ref(), hour), Type: soar.EventTrouble, At: now.UTC(), Text: text,
		})
		p.env.Log.Warn("the status of an alert keeps changing", "alert", row.alert.Ref(), "changes", len(lately)+1)
	}
	return true
}

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

// isFlip reports whether a change is one of status that is not erbridge's own.
func isFlip(what []string, origin soar.Origin) bool {
	return origin == soar.OriginAnalyst && (slices.Contains(what, soar.ChangeResolved) || slices.Contains(what, soar.ChangeReopened))
}

// countFlip counts a change of status that was stored. One that could not be stored comes
// again, and is no other one.
func (p *Poller) countFlip(id int64) {
	now := p.env.Now()
	p.mirror.mu.Lock()
	defer p.mirror.mu.Unlock()
	if p.mirror.flips == nil || len(p.mirror.flips) > flipsKept {
		p.mirror.flips = map[int64][]time.Time{}
	}
	p.mirror.flips[id] = append(slices.DeleteFunc(p.mirror.flips[id], func(at time.Time) bool { return now.Sub(at) >= flipsFor }), now)
}

// keepsChanging reports whether there were too many changes of status of an alert lately,
// with this one that is about to be stored. It tells so with the change, once an hour.
func (p *Poller) keepsChanging(row *pollRow, change *soar.Change) bool {
	now := p.env.Now()
	p.mirror.mu.Lock()
	defer p.mirror.mu.Unlock()
	lately := slices.DeleteFunc(slices.Clone(p.mirror.flips[row.id]), func(at time.Time) bool { return now.Sub(at) >= flipsFor })
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

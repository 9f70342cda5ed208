package playbooks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Trigger is what a playbook is asked about: an alert, or something else that starts
// runs.
type Trigger struct {
	// On is one of Triggers. Without it, it is the first of alert, alert.updated and
	// manual that the playbook takes.
	On    string
	Alert *soar.Alert // nil: none
	// At is the time of a schedule, and Missed how many passed before unnoticed.
	At     time.Time
	Missed int
	// Failed is the run that failed. Without it, nobody knows .run; nor .alert,
	// unless there is one here.
	Failed *soar.Run
	Input  any // what a person gave
	// Change is what changed of the alert, with alert.updated. Without it, nobody knows
	// .change.
	Change *soar.AlertChange
}

// Times are the next times of the playbook's schedule, from a moment on, in the zone
// of the schedule. There are none when it has none.
func (p *Playbook) Times(from time.Time, n int) (times []time.Time) {
	if p.schedule == nil {
		return nil
	}
	for t := p.schedule.First(from); len(times) < n && !t.IsZero(); t = p.schedule.Next(t) {
		times = append(times, t.In(p.schedule.Zone()))
	}
	return times
}

// on is the word of the trigger for a playbook.
func (t *Trigger) on(pb *Playbook) string {
	if t.On != "" {
		return t.On
	}
	for _, word := range []string{pendingAlert, pendingUpdated, onManual} {
		if pb.Takes(word) {
			return word
		}
	}
	return pendingAlert
}

// seen is what expressions see of it beside the alert.
func (t *Trigger) seen(on string) map[string]any {
	switch {
	case on == onSchedule:
		return seenOfSchedule(t.At, t.Missed)
	case on == onManual:
		return seenOfPerson(t.Input)
	case on == onRunFailed && t.Failed != nil:
		return seenOfFailure(t.Failed)
	case on == pendingUpdated && t.Change != nil:
		return seenOfChange(&soar.StoredAlert{Pending: on, Change: t.Change})
	}
	return nil
}

// Occasion names what the playbook is asked about, behind its name: " on er-1".
func (x *Explanation) Occasion() string {
	about := ""
	if x.Alert != "" {
		about = " on " + x.Alert
	}
	switch x.On {
	case onSchedule:
		return " by the clock at " + x.At.Format(time.RFC3339)
	case onManual:
		if x.Alert == "" {
			return " by hand"
		}
	case onRunFailed:
		if x.Failed == "" {
			return " on a failed run" + strings.Replace(about, " on ", " of ", 1)
		}
		return " on the failed run " + x.Failed + strings.Replace(about, " on ", " of ", 1)
	}
	return about
}

// unknowns are fields of the input that nobody knows here, such as run or
// enrich.name, and why.
type unknowns map[string]string

const (
	noFailedRun = "no failed run is named"
	noHistory   = "like alerts can be counted only where alerts are stored"
	noChange    = "nobody knows here what changed of the alert"
)

// unknownTo tells what is not known to an explanation.
func (t *Trigger) unknownTo(pb *Playbook, on string, o *ExplainOptions) unknowns {
	u := unknowns{}
	if o.History == nil && pb.count != nil && t.Alert != nil {
		u[countName], u["enrich_errors."+countName] = noHistory, noHistory
	}
	if on == onRunFailed && t.Failed == nil {
		u["run"] = noFailedRun
		if t.Alert == nil {
			u["alert"], u["host"] = noFailedRun, noFailedRun
		}
	}
	if on == pendingUpdated && t.Change == nil {
		u[changeName] = noChange
	}
	for _, e := range pb.enrich {
		if why := u.in(e.with); why != "" {
			for _, root := range []string{"enrich.", "enrich_errors.", statusName + "."} {
				u[root+e.name] = why
			}
		}
	}
	return u
}

// of says why nobody knows a field that an expression may read; empty when all are
// known.
func (u unknowns) of(e *expr) string {
	if e == nil || len(u) == 0 {
		return ""
	}
	for _, fields := range e.reads {
		for _, name := range sortedNames(u) {
			root, _, _ := strings.Cut(name, ".")
			if fields[0] == name || fields[0] == root && (len(fields) == 1 || root+"."+fields[1] == name) {
				return u[name]
			}
		}
	}
	return ""
}

func (u unknowns) in(t *template) (why string) {
	t.exprs(func(e *expr) {
		if why == "" {
			why = u.of(e)
		}
	})
	return why
}

// hold keeps back the look-ups that need what nobody knows.
func (u unknowns) hold(ev *evaluation) {
	for _, e := range ev.pb.enrich {
		if u["enrich."+e.name] != "" {
			ev.found.values[e.name] = nil
		}
	}
}

// release forgets what hold left behind, and that nothing could be counted.
func (u unknowns) release(ev *evaluation) {
	for _, e := range ev.pb.enrich {
		if u["enrich."+e.name] != "" {
			delete(ev.found.values, e.name)
		}
	}
	if u[countName] != "" {
		delete(ev.found.errors, countName)
	}
}

// doubt takes back what was said of conditions that read what nobody knows, and finds
// the verdict again. It stands when it is the same whatever they say.
func (u unknowns) doubt(ev *evaluation) {
	any := false
	for i := range ev.conditions {
		if why := u.of(ev.pb.match.conditions[i].expr); why != "" {
			c := &ev.conditions[i]
			c.Verdict, c.Value, c.Error, any = Unknown, nil, why, true
		}
	}
	if !any {
		return
	}
	best, worst := combine(assumed(ev.conditions, true)), combine(assumed(ev.conditions, false))
	switch ev.err = ""; {
	case best != worst:
		ev.verdict = Unknown
		i := slices.IndexFunc(ev.conditions, func(c Condition) bool { return c.Verdict == Unknown })
		ev.err = fmt.Sprintf("%s: %s", ev.conditions[i].Name, ev.conditions[i].Error)
	case best == Failed:
		ev.verdict, ev.err = Failed, firstError(ev.conditions)
	default:
		ev.verdict = best
	}
}

// assumed are conditions of which those that nobody knows hold, or do not.
func assumed(conditions []Condition, hold bool) []Condition {
	out := slices.Clone(conditions)
	for i := range out {
		if c := &out[i]; c.Verdict == Unknown {
			c.Verdict = NoMatch
			if hold == (c.Block != None) {
				c.Verdict = Match
			}
		}
	}
	return out
}

package playbooks

import (
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// A call that only reads goes out without the guard, unless a limit counts it: that of a
// job over many hosts, of all jobs, or one that names such calls. Then it waits for its
// turn like a call with an effect, and what the limit remembers of it is on disk before
// it is sent.

// bounded reports whether a limit may count a call of the run that only reads.
func (r *runner) bounded() bool { return r.job != nil || r.e.guard.CountsReads() }

// askToRead asks the guard about a step that only reads. It reports false when the step
// has ended.
func (r *runner) askToRead(i *instance, p *progress) bool {
	if r.bounded() {
		if p.since.IsZero() {
			p.since = r.now()
		}
		if d := r.e.guard.Ask(r.request(i, p)); !d.OK {
			return r.heed(i, p, &d)
		}
	}
	p.planned = true
	return true
}

// takeToRead lets the guard remember a call that only reads. It reports false when the
// call is not sent now.
func (r *runner) takeToRead(i *instance, p *progress) bool {
	d := r.e.guard.Take(r.request(i, p))
	kv, events := d.Keep()
	r.keep(kv, events, d.Settle)
	if !d.OK {
		r.heed(i, p, &d)
		return false
	}
	p.taken = true
	r.entry(i.key, soar.EntryDecision, "", Decision{Answers: d.Answers})
	return true
}

// notYet reports whether a step goes on waiting for its turn at a limit. Of the many of a
// job that wait, the one whose turn has come is asked about, and the others are left alone.
func (r *runner) notYet(i *instance, p *progress) bool {
	if p.held == "" {
		return false
	}
	version, _ := r.e.guard.Changed() // before the look, so that a turn in between is noticed
	now, end := r.now(), p.since.Add(r.patience(i))
	until, waits := r.e.guard.Turn(r.run.ID, i.key, now)
	if !waits || !now.Before(end) {
		return false
	}
	p.wake, p.version = minTime(until, end), version
	r.e.holds.add(r.run.ID, held{version: version, severity: r.alert.Severity, since: p.since, steps: map[string]string{i.key: p.check}})
	return true
}

// callBack finds the steps that wait for the guard and may get another answer by now, while
// calls of the run are under way: for as long as one of these takes, nobody else goes on
// with the run. It reports whether there are any; otherwise changed tells when to look
// again.
func (r *runner) callBack() (found bool, changed <-chan struct{}) {
	var news func(soar.RunID, uint64) bool
	for _, i := range r.ready {
		p := r.open[i.key]
		if p == nil || p.held == "" || p.away || p.busy || p.planned || p.looks || p.lost || p.ref != "" {
			continue
		}
		if news == nil {
			news, changed = r.e.guard.News()
		}
		if news(r.run.ID, p.version) {
			p.version, _ = r.e.guard.Changed()
			p.wake, found = time.Time{}, true
		}
	}
	return found, changed
}

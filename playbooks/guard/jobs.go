package guard

import (
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// Job is a job over many hosts, as far as limits have to do with it: those of its calls
// that are above its bound wait for their turn, in whatever run they are.
type Job struct {
	ID soar.RunID `json:"id"`
	// AtOnce is how many of its calls are under way at the same time.
	AtOnce int `json:"at_once"`
}

const (
	// jobsLimit is the limit that counts the calls of all jobs.
	jobsLimit = "jobs"
	// jobsAtOnce is its number, unless the settings have another.
	jobsAtOnce = 50
)

// withJobs adds the limit of jobs, where the settings have none.
func withJobs(limits []Limit) []Limit {
	if slices.ContainsFunc(limits, func(l Limit) bool { return l.Name == jobsLimit }) {
		return limits
	}
	return append(slices.Clip(limits), Limit{Name: jobsLimit, Concurrent: jobsAtOnce})
}

// ofJob sees to it that there is a limit for the job of a call. It stands before all
// others: what waits for its own job keeps no other job waiting.
func (c *caps) ofJob(r *Request) {
	if r.Job == nil || r.Job.AtOnce <= 0 {
		return
	}
	if slices.ContainsFunc(c.limits, func(l *limit) bool { return l.which.job == r.Job.ID }) {
		return
	}
	l := &limit{Limit: Limit{Name: "job " + r.Job.ID.String(), Concurrent: r.Job.AtOnce}, which: which{job: r.Job.ID}}
	for _, s := range c.calls { // those before a restart
		if l.which.holds(&s.subject) {
			l.count(s)
		}
	}
	c.limits = slices.Insert(c.limits, 0, l)
}

// emptyJobs are the limits of jobs, before anything counts for them.
func (c *caps) emptyJobs() (list []*limit) {
	for _, l := range c.limits {
		if l.which.job != 0 {
			list = append(list, &limit{Limit: l.Limit, which: l.which})
		}
	}
	return list
}

// endJob forgets the limit of a job of which nothing is under way and nothing waits. When
// there is more of it, the limit comes back.
func (c *caps) endJob(id soar.RunID) {
	if id == 0 {
		return
	}
	c.limits = slices.DeleteFunc(c.limits, func(l *limit) bool { return l.which.job == id && l.open == 0 && len(l.queue) == 0 })
}

// forReads reports whether a rail has to do with calls that change nothing.
func forReads(r rail) bool {
	switch r.(type) {
	case *killSwitch, *caps:
		return true
	}
	return false
}

// CountsReads reports whether a limit may count calls that only read and belong to no job.
func (g *Guard) CountsReads() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.caps.limits, func(l *limit) bool { return l.which.reads })
}

// Turn tells until when a step that waits for its turn at a limit need not ask again.
// Without ok, it may have come.
func (g *Guard) Turn(run soar.RunID, step string, at time.Time) (until time.Time, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	me := caller{run, step}
	q, waits := g.caps.queues[me]
	if !waits {
		return time.Time{}, false
	}
	i, found := q.limit.find(me, q.since)
	if !found || !q.limit.queue[i].until.After(g.caps.clock.now(at)) {
		return time.Time{}, false
	}
	return q.limit.queue[i].until, true
}

// Rehearsal is a guard of its own that knows what this one does, for finding out what
// would become of many calls one after the other. kv reads what the journal has.
func (g *Guard) Rehearsal(kv func(prefix string) ([]soar.KV, error)) (*Guard, error) {
	g.mu.Lock()
	settings, own, thrown := *g.settings, g.rules.Load().own, g.stop.file
	g.mu.Unlock()
	rehearsal, err := New(settings)
	if err == nil {
		err = rehearsal.Load(kv)
	}
	if err != nil {
		return nil, fmt.Errorf("guard: rehearse: %w", err)
	}
	rehearsal.PauseFile(thrown)
	rehearsal.SetOwn(own)
	return rehearsal, nil
}

package guard

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// Limit bounds how often calls are sent, or how many of them are under way at the same
// time. A call above it waits for its turn, in the order of asking, and is not lost.
type Limit struct {
	// Name is what the limit is called in answers. Without one, its numbers are.
	Name string `yaml:"name"`

	Calls `yaml:",inline"`

	// Rate is how many calls are sent within any time of the length of per. Each attempt
	// of a step is a call. 0 means any number.
	Rate int `yaml:"calls"`

	// Per is the time that calls is about, 1m or 1h.
	Per time.Duration `yaml:"per"`

	// Concurrent is how many calls are under way at the same time: from when they are
	// sent until it is known how they ended. 0 means any number.
	Concurrent int `yaml:"concurrent"`

	// Reads lets the limit count steps that only read as well, such as live.query. What is
	// read under enrich is never counted.
	Reads bool `yaml:"reads"`
}

// Bounds of limits, so that what is remembered for them stays small.
const (
	maxRate = 100_000
	maxPer  = 7 * 24 * time.Hour
)

// checkLimits looks for mistakes in the limits.
func (s *Settings) checkLimits(wrong *mistakes) {
	for i := range s.Limits {
		s.Limits[i].check([]string{"limits", fmt.Sprint(i)}, wrong)
	}
}

func (l *Limit) check(at []string, wrong *mistakes) {
	below := func(name string) []string { return append(slices.Clone(at), name) }
	switch {
	case l.Rate == 0 && l.Concurrent == 0:
		wrong.addf(at, "give it calls and per, or concurrent", "the limit limits nothing")
	case l.Rate < 0 || l.Rate > maxRate:
		wrong.addf(below("calls"), "", "calls is %d, and must be from 1 to %d", l.Rate, maxRate)
	case l.Rate > 0 && (l.Per <= 0 || l.Per > maxPer):
		wrong.addf(below("per"), "such as 1m or 1h, and at most 7d", "a number of calls needs the time it is about")
	case l.Rate == 0 && l.Per != 0:
		wrong.addf(below("per"), "give it calls, or leave per out", "per says nothing without calls")
	}
	if l.Concurrent < 0 {
		wrong.addf(below("concurrent"), "", "concurrent is %d, and must be above 0", l.Concurrent)
	}
	l.Calls.check(at, wrong)
}

// caps are the limits, and the calls that count for them. Which calls were sent is kept
// in the journal, not how far a limit is used: other limits count them too.
type caps struct {
	limits []*limit
	calls  map[caller]*sentCall
	queues map[caller]queued // in which a step waits
	clock  clock
}

// limit is a Limit and what counts for it.
type limit struct {
	Limit
	which  which
	starts []start // of calls within the last Per, oldest first
	open   int     // how many calls are under way
	queue  []*turn // in the order in which steps first asked
}

// start is the sending of a call.
type start struct {
	at   time.Time
	call *sentCall
}

// turn is a step that waits for a limit.
type turn struct {
	caller
	since time.Time
	until time.Time // when it asks again, at the latest
	about *subject
}

// queued is where a step waits.
type queued struct {
	limit *limit
	since time.Time
}

// sentCall is a call that counts for limits.
type sentCall struct {
	subject
	Run     soar.RunID  `json:"run"`
	Step    string      `json:"step"`
	Attempt int         `json:"attempt"`
	Sent    []time.Time `json:"sent"` // once for each attempt
	Ended   bool        `json:"ended,omitempty"`

	counted int // how many starts of limits it stands in
}

func (s *sentCall) by() caller { return caller{s.Run, s.Step} }

const (
	callPrefix = "guard/call/"
	// turnPatience is how long after its time a step that waits keeps its place.
	turnPatience = time.Minute
)

func newCaps() *caps {
	return &caps{calls: map[caller]*sentCall{}, queues: map[caller]queued{}}
}

func (*caps) name() string   { return "limits" }
func (*caps) prefix() string { return callPrefix }

// configure replaces the limits. Calls that were sent count for the new ones, as far as
// they counted for one before; who waits asks again.
func (c *caps) configure(limits []Limit) {
	c.limits, c.queues = c.emptyJobs(), map[caller]queued{}
	for _, l := range withJobs(limits) {
		ready := &limit{Limit: l, which: l.ready()}
		ready.which.reads, ready.which.jobs = l.Reads, l.Name == jobsLimit
		c.limits = append(c.limits, ready)
	}
	for _, s := range c.calls {
		s.counted = 0
		for _, l := range c.limits {
			if l.which.holds(&s.subject) {
				l.count(s)
			}
		}
		if s.Ended && s.counted == 0 {
			delete(c.calls, s.by())
		}
	}
	for _, l := range c.limits {
		slices.SortFunc(l.starts, func(a, b start) int { return a.at.Compare(b.at) })
	}
}

func (l *limit) count(s *sentCall) {
	if !s.Ended {
		l.open++
	}
	for _, at := range s.Sent {
		if l.Rate > 0 {
			l.starts = append(l.starts, start{at, s})
			s.counted++
		}
	}
}

func (c *caps) load(kvs []soar.KV) error {
	c.calls = make(map[caller]*sentCall, len(kvs))
	var broken error
	for _, kv := range kvs {
		if kv.Value == "" {
			continue
		}
		var s sentCall
		if err := json.Unmarshal([]byte(kv.Value), &s); err != nil {
			broken = fmt.Errorf("%s: %w", kv.Key, err)
			continue
		}
		c.calls[s.by()] = &s
		for _, at := range s.Sent {
			c.clock.seen(at)
		}
	}
	limits := make([]Limit, 0, len(c.limits))
	for _, l := range c.limits {
		if l.which.job == 0 {
			limits = append(limits, l.Limit)
		}
	}
	c.configure(limits)
	return broken
}

func (c *caps) ask(r *Request) Answer {
	c.ofJob(r)
	about := r.subject()
	n := 0
	mine := c.calls[caller{r.Run, r.Step}]
	for _, l := range c.limits {
		if !l.which.holds(about) {
			continue
		}
		n++
		if until, words := c.full(l, r, mine); words != "" {
			return Hold(until, "%s", words)
		}
	}
	switch n {
	case 0:
		return Pass("no limit is about %s", r.Action)
	case 1:
		return Pass("within the limit that is about it")
	}
	return Pass("within the %d limits that are about it", n)
}

// full says until when a call has to wait for a limit, and why; no words: it has not.
// mine is what counts already of the step; nil: nothing.
func (c *caps) full(l *limit, r *Request, mine *sentCall) (until time.Time, words string) {
	me, now := caller{r.Run, r.Step}, c.clock.now(r.At)
	ahead := -1
	place := func() int { // finding it is the dearer part
		if ahead < 0 {
			ahead = l.ahead(me, r.Since, now)
		}
		return ahead
	}
	if l.Rate > 0 && (mine == nil || mine.Attempt != r.Attempt) {
		if at := l.free(now, place()); at.After(now) {
			return at, fmt.Sprintf("%s: at most %d within %s, and so many were sent; it goes out when its turn comes", l, l.Rate, registry.FormatDuration(l.Per))
		}
	}
	if l.Concurrent > 0 && (mine == nil || mine.Ended) && l.open+c.inFront(l, me, r.Since, now) >= l.Concurrent {
		return now.Add(lookAgain), fmt.Sprintf("%s: at most %d at the same time, and so many are under way; it goes out when one of them has ended", l, l.Concurrent)
	}
	return time.Time{}, ""
}

// String is what the limit is called.
func (l *limit) String() string {
	if l.Name != "" {
		return fmt.Sprintf("limit %q", l.Name)
	}
	return l.which.String()
}

// free is when the rate lets a call go before which others wait. What was sent a time
// of Per ago no longer counts.
func (l *limit) free(now time.Time, ahead int) time.Time {
	since := now.Add(-l.Per)
	live := l.starts
	if len(live) > 0 && !live[0].at.After(since) {
		live = live[sort.Search(len(live), func(i int) bool { return live[i].at.After(since) }):]
	}
	// Those that wait go out in rounds of Rate: the last ones when the ones of the
	// round before them no longer count.
	rounds := time.Duration(ahead/l.Rate) * l.Per
	if i := len(live) + ahead%l.Rate - l.Rate; i >= 0 {
		return live[i].at.Add(l.Per).Add(rounds)
	}
	return now.Add(rounds)
}

// ahead is how many steps wait for the limit that asked before.
func (l *limit) ahead(me caller, since, now time.Time) int {
	at, _ := l.find(me, since)
	for i := range at {
		if !l.queue[i].lapsed(now) {
			return at - i
		}
	}
	return 0
}

func (l *limit) find(me caller, since time.Time) (at int, found bool) {
	return slices.BinarySearchFunc(l.queue, turn{caller: me, since: since}, func(a *turn, b turn) int {
		return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.run, b.run), cmp.Compare(a.step, b.step))
	})
}

// lapsed reports whether a step did not come back when it should have: its run was given
// up. It must not keep others waiting.
func (t *turn) lapsed(now time.Time) bool { return now.After(t.until.Add(turnPatience)) }

// hold gives a step its place among those that wait for a limit.
func (c *caps) hold(r *Request, decided bool, cl *claim) {
	me, now := caller{r.Run, r.Step}, c.clock.now(r.At)
	var full *limit
	var until time.Time
	if decided {
		c.ofJob(r)
		about := r.subject()
		for _, l := range c.limits {
			if !l.which.holds(about) {
				continue
			}
			var words string
			if until, words = c.full(l, r, c.calls[me]); words != "" {
				full = l
				break
			}
		}
		if full == nil { // there is room since it asked
			cl.g.call(r.Run)
		}
	}
	if q := c.queues[me]; q.limit != full || !q.since.Equal(r.Since) {
		c.leave(me, now, cl)
	}
	if full == nil {
		return
	}
	full.sweep(now)
	at, found := full.find(me, r.Since)
	if found {
		full.queue[at].until = until
		return
	}
	full.queue = slices.Insert(full.queue, at, &turn{me, r.Since, until, r.subject()})
	c.queues[me] = queued{full, r.Since}
}

// sweep takes those out of the front of the queue who did not come back.
func (l *limit) sweep(now time.Time) {
	for len(l.queue) > 0 && l.queue[0].lapsed(now) {
		l.queue[0] = nil
		l.queue = l.queue[1:]
	}
}

// leave takes a step out of the queue it waits in.
func (c *caps) leave(me caller, now time.Time, cl *claim) {
	q, waits := c.queues[me]
	if !waits {
		return
	}
	if i, found := q.limit.find(me, q.since); found {
		q.limit.queue = slices.Delete(q.limit.queue, i, i+1)
	}
	delete(c.queues, me)
	c.next(q.limit, now, cl)
}

// next calls those that wait for a limit and may go out sooner than they were told.
func (c *caps) next(l *limit, now time.Time, cl *claim) {
	l.sweep(now)
	room := len(l.queue)
	if l.Concurrent > 0 {
		room = min(room, l.Concurrent-l.open)
	}
	if l.which.job != 0 && len(l.queue) > 0 { // what keeps one call of a job, keeps all
		room = min(room, c.roomFor(l, l.queue[0]))
	}
	i := 0 // of those that nothing else keeps
	for _, t := range l.queue {
		if i >= room {
			return
		}
		if c.roomFor(l, t) <= 0 {
			continue
		}
		if l.Rate > 0 && l.free(now, i).After(now) {
			if l.free(now, i).Before(t.until) && l.Concurrent == 0 {
				cl.g.call(t.run) // it is told another moment, and so is the one behind it then
			}
			return
		}
		if t.until.After(now) {
			t.until = now
			cl.g.call(t.run)
		}
		i++
	}
}

// roomFor is how many calls like that of a step other limits let go out than the one that
// it waits for.
func (c *caps) roomFor(waits *limit, t *turn) int {
	room := math.MaxInt
	for _, l := range c.limits {
		if l != waits && l.Concurrent > 0 && l.which.holds(t.about) {
			room = min(room, l.Concurrent-l.open)
		}
	}
	return room
}

// inFront is how many steps that wait for a limit asked before and can go out first: those
// that another limit keeps stand in nobody's way. It counts no further than there is room.
func (c *caps) inFront(l *limit, me caller, since, now time.Time) (n int) {
	at, _ := l.find(me, since)
	for _, t := range l.queue[:at] {
		if l.open+n >= l.Concurrent {
			break
		}
		if (n > 0 || !t.lapsed(now)) && c.roomFor(l, t) > 0 {
			n++
		}
	}
	return n
}

func (c *caps) take(r *Request, cl *claim) {
	me, now := caller{r.Run, r.Step}, c.clock.seen(r.At)
	old := c.calls[me]
	if old != nil && old.Attempt == r.Attempt {
		c.leave(me, now, cl)
		return // this very attempt counts already
	}
	c.ofJob(r)
	about := r.subject()
	s := &sentCall{subject: *about, Run: r.Run, Step: r.Step, Attempt: r.Attempt}
	if old != nil {
		s.Sent = slices.Clone(old.Sent)
	}
	s.Sent = append(s.Sent, now)
	counts, longest := false, time.Duration(0)
	for _, l := range c.limits {
		if l.which.holds(about) {
			l.drop(c, now)
			counts, longest = true, max(longest, l.Per)
		}
	}
	if !counts {
		c.leave(me, now, cl)
		return
	}
	s.Sent = slices.DeleteFunc(s.Sent, func(at time.Time) bool { return !at.Equal(now) && !now.Before(at.Add(longest)) })
	c.put(s, cl, time.Time{})
	c.replace(old, s)
	c.leave(me, now, cl)
	cl.ifNotKept(func() {
		if c.calls[me] == s {
			c.replace(s, old)
		}
	})
}

// put keeps a call in the journal.
func (c *caps) put(s *sentCall, cl *claim, expires time.Time) {
	value, _ := json.Marshal(s) // texts, numbers and times
	cl.put(soar.KV{Key: callPrefix + s.Run.String() + "/" + s.Step, Value: string(value), Expires: expires})
}

// replace lets one call count in the place of another; either may be nil.
func (c *caps) replace(old, s *sentCall) {
	for _, l := range c.limits {
		if old != nil && l.which.holds(&old.subject) {
			l.starts = slices.DeleteFunc(l.starts, func(st start) bool { return st.call == old })
			if !old.Ended {
				l.open--
			}
			old.counted = 0
		}
		if s != nil && l.which.holds(&s.subject) {
			l.count(s)
			if n := len(l.starts); len(s.Sent) > 1 || n > 1 && l.starts[n-1].at.Before(l.starts[n-2].at) {
				slices.SortStableFunc(l.starts, func(a, b start) int { return a.at.Compare(b.at) })
			}
		}
	}
	switch {
	case s != nil:
		c.calls[s.by()] = s
	case old != nil:
		delete(c.calls, old.by())
	}
}

// drop forgets what no longer counts for the rate.
func (l *limit) drop(c *caps, now time.Time) {
	for len(l.starts) > 0 && !now.Before(l.starts[0].at.Add(l.Per)) {
		s := l.starts[0].call
		l.starts[0] = start{}
		l.starts = l.starts[1:]
		if s.counted--; s.counted == 0 && s.Ended && c.calls[s.by()] == s {
			delete(c.calls, s.by())
		}
	}
}

func (c *caps) end(by caller, _ soar.StepState, at time.Time, cl *claim) {
	c.leave(by, c.clock.now(at), cl)
	s := c.calls[by]
	if s == nil || s.Ended {
		return
	}
	ended := *s
	ended.Ended = true
	var expires time.Time
	for _, l := range c.limits {
		if l.Rate > 0 && l.which.holds(&s.subject) && len(s.Sent) > 0 {
			if until := s.Sent[len(s.Sent)-1].Add(l.Per); until.After(expires) {
				expires = until
			}
		}
	}
	if expires.After(at) {
		c.put(&ended, cl, expires)
	} else {
		cl.put(soar.KV{Key: callPrefix + by.run.String() + "/" + by.step})
	}
	cl.noteKept(func() {
		if c.calls[by] != s {
			return
		}
		s.Ended = true
		for _, l := range c.limits {
			if l.which.holds(&s.subject) {
				l.open--
			}
		}
		for _, l := range c.limits { // what waits for another one may have been kept by one of these
			c.next(l, c.clock.now(at), cl)
		}
		if s.counted == 0 {
			delete(c.calls, by)
		}
		c.endJob(s.Job)
	})
}

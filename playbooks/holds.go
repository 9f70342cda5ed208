package playbooks

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// holds are the runs of which a step waits before it may be sent. They are gone on
// with when the guard may give another answer, which is sooner than they would by
// themselves, and the most urgent of them first.
type holds struct {
	mu   sync.Mutex
	runs map[soar.RunID]held // guarded by mu
	// counted are the steps of runs that are being worked on, as they waited before: most of
	// them go on waiting. Guarded by mu.
	counted map[soar.RunID]map[string]string
	nudge   chan struct{} // a run was left; room for one, since one look is enough
}

// held is what a run waits for.
type held struct {
	version  uint64 // how often the guard had changed its mind when it was asked
	severity soar.Severity
	since    time.Time
	away     bool // it waits for a host, to which the guard's mind is nothing
	// steps are those that wait, with the check that has them wait.
	steps map[string]string
}

// before orders what can go on: by severity, then by who has waited longest.
func (a held) before(b held) int {
	return cmp.Or(b.severity.Rank()-a.severity.Rank(), a.since.Compare(b.since))
}

func (h *holds) add(id soar.RunID, one held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old, ok := h.runs[id]; ok { // another step of it
		one.version, one.away = min(one.version, old.version), one.away && old.away
		steps := maps.Clone(old.steps)
		if steps == nil {
			steps = map[string]string{}
		}
		maps.Copy(steps, one.steps)
		one.steps = steps
		if old.since.Before(one.since) {
			one.since = old.since
		}
	}
	h.runs[id] = one
}

// resumed is told that a run is gone on with: what goes on waiting comes back.
func (h *holds) resumed(id soar.RunID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.work(id)
}

// work takes a run out of those that wait while somebody works on it.
func (h *holds) work(id soar.RunID) {
	if one, ok := h.runs[id]; ok {
		if h.counted == nil {
			h.counted = map[soar.RunID]map[string]string{}
		}
		h.counted[id] = one.steps
		delete(h.runs, id)
	}
}

// putBack has a run wait again that was taken out while somebody else had it. Whoever
// that is tells of leaving it, unless that has happened already.
func (h *holds) putBack(id soar.RunID, busy func(soar.RunID) bool) {
	h.mu.Lock()
	if _, ok := h.runs[id]; !ok {
		h.runs[id] = held{steps: h.counted[id]}
	}
	h.mu.Unlock()
	if !busy(id) {
		h.left(id)
	}
}

// sort puts runs that wait behind those that do not, the most urgent first.
func (h *holds) sort(runs []soar.Run) {
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.SortStableFunc(runs, func(a, b soar.Run) int {
		x, waits := h.runs[a.ID]
		y, too := h.runs[b.ID]
		if waits && too {
			return x.before(y)
		}
		return b2i(waits) - b2i(too)
	})
}

// left is told that the worker of a run has left it.
func (h *holds) left(id soar.RunID) {
	h.mu.Lock()
	_, held := h.runs[id]
	delete(h.counted, id)
	h.mu.Unlock()
	if held {
		select {
		case h.nudge <- struct{}{}:
		default:
		}
	}
}

// take returns the runs for which there is news since they asked, the most urgent first.
// Those at work are left for later.
func (h *holds) take(news func(run soar.RunID, version uint64) bool, busy func(soar.RunID) bool) (ids []soar.RunID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, one := range h.runs {
		if !one.away && news(id, one.version) && !busy(id) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b soar.RunID) int { return cmp.Or(h.runs[a].before(h.runs[b]), cmp.Compare(a, b)) })
	for _, id := range ids {
		h.work(id)
	}
	return ids
}

// heldRuns goes on with runs when the guard may have changed its mind.
func (p *pool) heldRuns(ctx context.Context) {
	if err := p.e.heldBefore(ctx); err != nil && ctx.Err() == nil {
		p.e.options.Log.Error("cannot find out which runs waited for the guard; they go on when their time comes", "err", err)
	}
	for ctx.Err() == nil {
		news, changed := p.e.guard.News()
		for _, id := range p.e.holds.take(news, p.e.busy) {
			run, err := p.e.journal.GetRun(ctx, id)
			if err != nil {
				if ctx.Err() == nil {
					p.e.options.Log.Error("cannot read a run that waits for the guard", "run", id.String(), "err", err)
				}
				p.e.holds.left(id)
				continue // its own wake time comes
			}
			if run.State != soar.RunWaiting {
				p.e.holds.left(id)
			} else if !p.start(ctx, run, whenPoked) {
				return
			}
		}
		select {
		case <-changed:
		case <-p.e.holds.nudge:
		case <-ctx.Done():
		}
	}
}

// sending keeps calls with an effect and the kill switch apart: once halt has
// returned, no call is being sent, and none will be until the switch is taken back.
type sending struct {
	mu     sync.Mutex
	halted bool
	calls  map[int]context.CancelFunc
	next   int
	idle   chan struct{} // closed when the last call has ended; nil: nobody waits
}

// enter begins a call, unless everything is halted.
func (s *sending) enter(cancel context.CancelFunc) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.halted {
		return nil, false
	}
	if s.calls == nil {
		s.calls = map[int]context.CancelFunc{}
	}
	s.next++
	id := s.next
	s.calls[id] = cancel
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.calls, id)
		if len(s.calls) == 0 && s.idle != nil {
			close(s.idle)
			s.idle = nil
		}
	}, true
}

// halt lets no call begin any more, and waits for those that are being sent: patience
// for their own end, then until they are cut off. It returns how many were.
func (s *sending) halt(patience time.Duration) (cut int) {
	s.mu.Lock()
	s.halted = true
	if len(s.calls) == 0 {
		s.mu.Unlock()
		return 0
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-idle:
		return 0
	case <-timer.C:
	}
	s.mu.Lock()
	for _, cancel := range s.calls {
		cancel()
		cut++
	}
	s.mu.Unlock()
	<-idle
	return cut
}

func (s *sending) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halted = false
}

const maxHeldRuns = 20_000

// endOfTime is after the wake time of every run.
var endOfTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// heldBefore finds the runs that waited for the guard when the process ended. Settings
// and kill switch may have changed since, so they ask anew. Of more than maxHeldRuns,
// the others do when their own time comes, which is soon.
func (e *Engine) heldBefore(ctx context.Context) error {
	waiting, err := e.journal.Due(ctx, endOfTime, maxHeldRuns)
	if err != nil {
		return fmt.Errorf("waiting runs: %w", err)
	}
	for i := range waiting {
		run := &waiting[i]
		entries, err := e.journal.Entries(ctx, run.ID)
		if err != nil {
			return fmt.Errorf("run %s: %w", run.ID, err)
		}
		if waiting := HeldSteps(entries); len(waiting) > 0 {
			one := held{since: run.StartedAt, steps: map[string]string{}}
			for _, step := range waiting {
				one.steps[step.Step] = step.Check
			}
			e.holds.add(run.ID, one)
		}
	}
	return nil
}

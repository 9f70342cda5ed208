package playbooks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Simulation is an engine on a clock that moves by itself: instead of waiting for
// a time, it is that time. What evaluates alerts and works through runs is the
// engine's own; only the loops of Run, which wait, are replaced. A day of
// waiting passes in no time, and nothing else happens meanwhile.
type Simulation struct {
	engine *Engine

	mu  sync.Mutex
	now time.Time // guarded by mu

	answers []Started // of what no alert started, since the last look at them

	people People
	asked  map[string]time.Time // when those answer whom an approval asks; zero: never
}

// ErrNoEnd means that a simulation has not come to its end within the time that it
// was given.
var ErrNoEnd = errors.New("the simulation does not come to an end")

// maxLooks bounds a simulation in which no time passes.
const maxLooks = 100_000

// NewSimulation makes an engine as NewEngine does, whose clock stands at start.
// EngineOptions.Now is not looked at.
func NewSimulation(j Journal, actions map[string]Action, set *Set, start time.Time, o EngineOptions) (*Simulation, error) {
	s := &Simulation{now: start.UTC()}
	o.Now = s.Now
	e, err := NewEngine(j, actions, set, o)
	if err != nil {
		return nil, err
	}
	s.engine = e
	e.asked = s.heard
	return s, nil
}

// Now is the time on the simulation's clock.
func (s *Simulation) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Engine is the engine that is simulated. Its Run must not be called.
func (s *Simulation) Engine() *Engine { return s.engine }

// Settle evaluates what is pending and works on runs until nothing is left to do,
// moving the clock to the next wake time whenever all wait. An error wrapping
// ErrNoEnd means that something still waits after limit.
func (s *Simulation) Settle(ctx context.Context, limit time.Duration) error {
	end := s.Now().Add(limit)
	looked := map[int64]int{} // how often at a pending alert
	for range maxLooks {
		idle, err := s.look(ctx, looked)
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !idle:
			continue
		}
		wake, err := s.engine.journal.NextWake(ctx)
		if err != nil || wake.IsZero() {
			return err
		}
		wake = s.nextAnswer(wake)
		if wake.After(end) {
			return fmt.Errorf("%w: the next wait is until %s", ErrNoEnd, wake.UTC().Format(time.RFC3339))
		}
		s.moveTo(wake)
	}
	return fmt.Errorf("%w: %d looks", ErrNoEnd, maxLooks)
}

// Advance settles what becomes due within d, and lets d pass.
func (s *Simulation) Advance(ctx context.Context, d time.Duration) error {
	end := s.Now().Add(d)
	if err := s.Settle(ctx, d); err != nil && !errors.Is(err, ErrNoEnd) {
		return err
	}
	s.moveTo(end)
	return nil
}

// Explain is ExplainTrigger at this moment, with all that the engine has looked up
// before. The engine notices nothing of it. ExplainOptions.Now is not looked at.
func (s *Simulation) Explain(ctx context.Context, pb *Playbook, t Trigger, o ExplainOptions) (*Explanation, error) {
	o.Now, o.known = s.Now, s.engine.reader.cache.copy()
	return ExplainTrigger(ctx, pb, t, o)
}

func (s *Simulation) moveTo(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.After(s.now) {
		s.now = t.UTC()
	}
}

// maxEvaluations bounds how often an alert is evaluated that stays pending.
const maxEvaluations = 5

// look does what can be done now; idle means that there was nothing.
func (s *Simulation) look(ctx context.Context, looked map[int64]int) (idle bool, err error) {
	e := s.engine
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	p := &pool{e: e, ctx: ctx, wg: &sync.WaitGroup{}, evaluations: make(chan struct{}, 1), runs: make(chan struct{}, e.options.Workers)}
	pending, err := e.journal.Pending(ctx, 0, pageSize)
	if err != nil {
		return false, err
	}
	e.mu.Lock()
	e.alerts.beginRead()
	e.mu.Unlock()
	for i := range pending {
		a := &pending[i]
		if looked[a.Key]++; looked[a.Key] > maxEvaluations {
			return false, fmt.Errorf("%w: alert %s stays pending", ErrNoEnd, a.Alert.Ref())
		}
		if taken, _ := e.takeAlert(a.Key); taken {
			p.evaluate(a)
			p.wg.Wait() // alerts of one moment come one after the other, as their keys say
		}
	}
	if err := e.fireFailures(ctx); err != nil {
		return false, err
	}
	due, err := e.journal.Due(ctx, s.Now(), pageSize)
	if err != nil {
		return false, err
	}
	for _, run := range due {
		p.start(ctx, run, whenDue)
		p.wg.Wait()
	}
	answered, err := s.answer(ctx, p)
	return len(pending) == 0 && len(due) == 0 && !answered, err
}

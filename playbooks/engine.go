package playbooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// EngineOptions are the settings of an engine; the zero value works.
type EngineOptions struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
	// Workers bounds the runs that are worked on at the same moment; 512 by default.
	// Waiting runs do not count. Most of a worker's time is spent waiting for the
	// disk, which writes down what all of them did at once.
	Workers int
	// Evaluations bounds the alerts that are evaluated at the same moment; half of
	// Workers by default.
	Evaluations int
	// CallTimeout bounds one call of an action, 60s by default. A call whose answer
	// was lost is looked up no sooner than this after it was sent.
	CallTimeout time.Duration
	// SettleFor is how long after it was sent a call whose answer was lost may still
	// arrive, 5m by default and at least CallTimeout. An action that must not happen
	// twice is not sent again before. The server's own proxy gives up after 150s, of
	// releases up to 3.x after 300s.
	SettleFor time.Duration
	// ClockOffset is how far the server's clock is ahead of Now, for looking up lost
	// calls by the server's own times; nil means not at all. It is called from many
	// goroutines.
	ClockOffset func() time.Duration
	// History has the alerts for .count; the journal by default, where it can.
	History History
	// Ceiling holds all playbooks at observe when it is ModeObserve.
	Ceiling soar.Mode
	// Guard decides about calls with an effect; nil is one with what is built in.
	Guard *guard.Guard
	// Hosts tells the guard about hosts; nil asks host.get, and the alert where there is
	// no such action.
	Hosts HostFacts
	// MaxHold is how long a step waits for the guard or for a host, 24h by default.
	MaxHold time.Duration
	// Drain is how long calls under way may take to end when the engine stops; 10s
	// by default.
	Drain time.Duration
}

func (o *EngineOptions) defaults() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Workers <= 0 {
		o.Workers = 512
	}
	if o.Evaluations <= 0 {
		o.Evaluations = max(o.Workers/2, 1)
	}
	if o.CallTimeout <= 0 {
		o.CallTimeout = time.Minute
	}
	if o.SettleFor <= 0 {
		o.SettleFor = 5 * time.Minute
	}
	o.SettleFor = max(o.SettleFor, o.CallTimeout)
	if o.MaxHold <= 0 {
		o.MaxHold = 24 * time.Hour
	}
	if o.Drain <= 0 {
		o.Drain = 10 * time.Second
	}
}

// Engine matches alerts with playbooks and works through their runs.
type Engine struct {
	journal Journal
	actions map[string]Action
	options EngineOptions
	metrics *metrics

	set       atomic.Pointer[Set]
	unread    bool // there are no playbooks until the first Reload; guarded by mu
	reader    *reader
	guard     *guard.Guard
	holds     holds
	switching sync.Mutex // held while the kill switch is thrown or taken back
	undoing   sync.Mutex // held while it is found out what there is to take back
	sending   sending
	cooldowns cooldowns
	groups    groups
	lookUps   keyedLocks
	loaded    chan struct{} // closed when the engine knows cool-downs, groups and what the guard does
	loading   sync.Once
	loadErr   error         // of loading
	stop      chan struct{} // closed when Run begins to stop
	stopOnce  sync.Once

	mu       sync.Mutex
	versions versions            // guarded by mu
	alerts   inFlight            // guarded by mu
	runs     map[soar.RunID]bool // being worked on; guarded by mu
	// wanted are runs that somebody waits for, closed when the worker has left them.
	wanted map[soar.RunID]chan struct{} // guarded by mu

	asked func(*occasion) // told what came of each occasion but alerts; nil outside of a simulation

	again  chan struct{} // an alert was left pending; room for one, since one look is enough
	notice chan struct{} // a run failed, or the playbooks were replaced; room for one, as above
}

// NewEngine makes an engine that works with the journal and the actions. Set may be
// nil until the first Reload. Nothing starts before Run.
func NewEngine(j Journal, actions map[string]Action, set *Set, o EngineOptions) (*Engine, error) {
	if j == nil {
		return nil, errors.New("playbooks: no journal")
	}
	if o.Ceiling != "" && o.Ceiling != soar.ModeObserve && o.Ceiling != soar.ModeApprove && o.Ceiling != soar.ModeEnforce {
		return nil, fmt.Errorf("playbooks: mode %q: observe, approve or enforce", o.Ceiling)
	}
	o.defaults()
	if o.Guard == nil {
		g, err := guard.New(guard.Settings{})
		if err != nil {
			return nil, err
		}
		o.Guard = g
	}
	if o.History == nil {
		o.History, _ = j.(History)
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, fmt.Errorf("playbooks: %w", err)
	}
	e := &Engine{
		journal: j, actions: actions, options: o, metrics: m,
		reader: &reader{cache: newCache(o.Now), actions: actions, callTimeout: o.CallTimeout, now: o.Now, hosts: o.Hosts, counter: &counter{history: o.History},
			lookedUp: func(how string) { m.lookUps.WithLabelValues(how).Inc() }},
		guard:  o.Guard,
		holds:  holds{runs: map[soar.RunID]held{}, nudge: make(chan struct{}, 1)},
		loaded: make(chan struct{}),
		stop:   make(chan struct{}),
		runs:   map[soar.RunID]bool{},
		wanted: map[soar.RunID]chan struct{}{},
		again:  make(chan struct{}, 1),
		notice: make(chan struct{}, 1),
	}
	if o.Registerer != nil {
		if err := errors.Join(o.Registerer.Register(budgetMetrics{e}), o.Registerer.Register(approvalsWaiting(e)), o.Registerer.Register(waitingMetrics{e})); err != nil {
			return nil, fmt.Errorf("playbooks: %w", err)
		}
	}
	e.Reload(set)
	e.unread = set == nil
	return e, nil
}

// Reload replaces all playbooks at once. Runs go on with the version that they
// began with.
func (e *Engine) Reload(set *Set) {
	if set == nil {
		set = NewSet()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.versions.replace(set)
	e.reader.counter.retain(set)
	for _, p := range set.playbooks {
		// A counter that is first seen at 1 hides its first increase.
		for _, outcome := range []soar.RunState{soar.RunDone, soar.RunFailed, soar.RunUnknown} {
			e.metrics.runs.WithLabelValues(p.Name, string(outcome))
		}
	}
	e.set.Store(set)
	e.unread = false
	e.wakeTriggers()
}

// Set is the playbooks in force.
func (e *Engine) Set() *Set { return e.set.Load() }

// Run evaluates alerts and works on runs until ctx ends. Then it takes nothing
// new, gives calls under way the time of Drain to end, and returns after their
// outcomes are on disk. It may be called once.
func (e *Engine) Run(ctx context.Context) error {
	defer e.stopOnce.Do(func() { close(e.stop) })
	if err := e.loadOnce(ctx); err != nil {
		return err
	}
	interrupted, err := e.journal.Running(ctx)
	if err != nil {
		return fmt.Errorf("playbooks: interrupted runs: %w", err)
	}

	// Workers outlive ctx by Drain: what they are in the middle of must be recorded.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var workers sync.WaitGroup
	p := &pool{e: e, ctx: work, wg: &workers, evaluations: make(chan struct{}, e.options.Evaluations), runs: make(chan struct{}, e.options.Workers)}
	var loops sync.WaitGroup
	loops.Go(func() { p.dueRuns(ctx, interrupted) })
	loops.Go(func() { p.pendingAlerts(ctx) })
	loops.Go(func() { p.triggers(ctx) })
	loops.Go(func() { p.heldRuns(ctx) })
	<-ctx.Done()
	e.stopOnce.Do(func() { close(e.stop) })
	loops.Wait()

	done := make(chan struct{})
	go func() { workers.Wait(); close(done) }() // ends with the workers, which end soon after cancel
	timer := time.NewTimer(e.options.Drain)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		e.options.Log.Warn("calls under way did not end in time, cancelling them", "drain", e.options.Drain)
		cancel()
		<-done
	}
	return nil
}

func (e *Engine) loadOnce(ctx context.Context) error {
	e.loading.Do(func() { e.loadErr = e.load(ctx) })
	return e.loadErr
}

// load reads what the journal knows of cool-downs and groups.
func (e *Engine) load(ctx context.Context) error {
	kvs, err := e.journal.KV(ctx, cooldownPrefix)
	if err != nil {
		return fmt.Errorf("playbooks: cool-downs: %w", err)
	}
	e.cooldowns.load(kvs)
	if kvs, err = e.journal.KV(ctx, groupPrefix); err == nil {
		kvs, err = e.stillOpen(ctx, kvs)
	}
	if err == nil {
		err = e.groups.load(kvs)
	}
	if err != nil {
		return fmt.Errorf("playbooks: groups: %w", err)
	}
	if err := e.guard.Load(func(prefix string) ([]soar.KV, error) { return e.journal.KV(ctx, prefix) }); err != nil {
		return fmt.Errorf("playbooks: %w", err)
	}
	e.answeredRuns()
	if t := e.guard.Paused(); t != nil {
		e.sending.halt(0)
		e.options.Log.Warn("the kill switch is thrown: no call with an effect is sent until erbridge resume, or until its file is gone", "paused", t.String())
	}
	close(e.loaded)
	return nil
}

func (e *Engine) stopping() bool {
	select {
	case <-e.stop:
		return true
	default:
		return false
	}
}

// commit writes a change, and keeps at it while the store cannot: what it holds has
// happened already. Only a stopping engine gives up, and a run that somebody else
// went on with.
func (e *Engine) commit(ctx context.Context, change soar.Change) error {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		// A record must be written while stopping too; then, and only then, it has
		// an end. Otherwise the store answers when it has written.
		recording, cancel := context.WithoutCancel(ctx), context.CancelFunc(func() {})
		if e.stopping() {
			recording, cancel = context.WithTimeout(recording, recordingFor)
		}
		_, err := e.journal.Commit(recording, change)
		cancel()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, soar.ErrConflict) || ctx.Err() != nil:
			return err
		}
		if wait >= time.Second {
			e.options.Log.Warn("the store does not take the record of a run, trying again", "err", err)
		}
		pause(ctx, wait)
	}
}

// version finds the playbook version that a run began with, in memory or by its
// text in the journal.
func (e *Engine) version(ctx context.Context, hash string) (*Playbook, error) {
	e.mu.Lock()
	pb := e.versions.find(hash)
	e.mu.Unlock()
	if pb != nil {
		return pb, nil
	}
	v, err := e.journal.PlaybookVersion(ctx, hash)
	if err != nil {
		return nil, fmt.Errorf("playbook version %s: %w", hash, err)
	}
	pb, problems := ParseWithClock(v.Name+"@"+hash, v.Source, e.actions, e.options.Now)
	if problems != nil {
		return nil, fmt.Errorf("%w: playbook version %s no longer loads: %w", errBrokenRun, hash, problems)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.versions.add(pb)
	return pb, nil
}

// keepVersion adds the text of a playbook to a change, unless the journal has it.
func (e *Engine) keepVersion(change *soar.Change, pb *Playbook) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.versions.stored[pb.Hash] {
		change.Playbooks = append(change.Playbooks, pb.version())
	}
}

func (e *Engine) keptVersions(change *soar.Change) {
	if len(change.Playbooks) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, v := range change.Playbooks {
		e.versions.keep(v.Hash)
	}
}

// safely calls into an action and turns a panic into an error.
func safely(f func() (Outcome, error)) (outcome Outcome, err error) {
	defer func() {
		if v := recover(); v != nil {
			outcome, err = Outcome{}, &panicError{v, debug.Stack()}
		}
	}()
	return f()
}

func safelyFind(f func() ([]Found, error)) (list []Found, err error) {
	defer func() {
		if v := recover(); v != nil {
			list, err = nil, &panicError{v, debug.Stack()}
		}
	}()
	return f()
}

type metrics struct {
	runs        *prometheus.CounterVec
	evaluations *prometheus.CounterVec
	stepSeconds *prometheus.HistogramVec
	lookUps     *prometheus.CounterVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erbridge_runs_total", Help: "Runs that ended, by playbook and outcome.",
		}, []string{"playbook", "outcome"}),
		evaluations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erbridge_evaluations_total", Help: "Evaluations of a playbook on an alert, by verdict.",
		}, []string{"verdict"}),
		stepSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "erbridge_step_seconds", Help: "Time from the start of a step to its end, waiting included, by action and state.",
			Buckets: []float64{.001, .01, .1, .5, 1, 5, 15, 60, 300, 1800, 7200, 86400},
		}, []string{"action", "state"}),
	}
	m.lookUps = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "erbridge_lookups_total", Help: "Look-ups of playbooks, by how they were answered: read, cached, stale or failed.",
	}, []string{"answer"})
	if registerer == nil {
		return m, nil
	}
	return m, errors.Join(registerer.Register(m.lookUps), registerer.Register(m.runs), registerer.Register(m.evaluations), registerer.Register(m.stepSeconds))
}

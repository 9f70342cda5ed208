// Package daemon puts the parts together: it builds them from the configuration,
// starts them in stages, replaces them when the configuration changes, and stops
// them in the reverse order, each within a time.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/console"
	"github.com/erbridge/erbridge/internal/evidence"
	"github.com/erbridge/erbridge/internal/redact"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
	"github.com/erbridge/erbridge/sinks"
)

// ErrConfig wraps errors of parts that cannot work with what is configured, such
// as a secret that cannot be read.
var ErrConfig = errors.New("configuration")

// ErrNoPassword means that the password of the server cannot be read from where the
// configuration says it is. It wraps ErrConfig.
var ErrNoPassword = fmt.Errorf("%w: server.password cannot be read", ErrConfig)

// storeFlush bounds the last stage of a shutdown: the changes that wait for the
// disk when everything else has stopped.
const storeFlush = 10 * time.Second

// Options are what a daemon needs besides its configuration. The zero value works.
type Options struct {
	// Version is the program's version.
	Version string
	// Log gets what the parts have to say; nil discards it.
	Log *slog.Logger
	// Metrics gets the metrics of all parts; nil makes a registry.
	Metrics *prometheus.Registry
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Daemon is a configured erbridge. Make it with New and start it with Run.
type Daemon struct {
	o      Options
	log    *slog.Logger
	first  *config.Config // as at the start: for what a reload cannot change
	client *connector.Client
	carves *evidence.Store
	guard  *guard.Guard
	health *health
	ready  chan struct{} // closed when all stages have started

	reloads *prometheus.CounterVec // by outcome
	rewatch chan struct{}          // a reload may have changed how playbooks are watched; room for one

	reloading sync.Mutex  // held while parts are replaced
	stopping  atomic.Bool // set before shutdown waits for reloading
	paces     sinks.Paces // of all sinks, also of those that a reload makes
	replaying sync.Mutex  // held while dead letters are read and replayed
	resolving sync.Mutex  // held while somebody resolves an alert from a chat

	mu       sync.Mutex // guards everything below, which Run and Reload set
	cfg      *config.Config
	set      *playbooks.Set
	store    *store.Store
	engine   *playbooks.Engine
	group    *group
	sinks    []*sinkPart
	silences *sinks.Silences                  // of all sinks
	redactor *atomic.Pointer[redact.Redactor] // as the configuration of this moment has it
	sources  []*source
	console  net.Addr
}

// New builds a daemon. It reads the playbooks, and opens no connection. An error
// that wraps ErrConfig, or is of type registry.Problems, means that what the user
// wrote cannot work.
func New(cfg *config.Config, o Options) (*Daemon, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	redactor := &atomic.Pointer[redact.Redactor]{}
	o.Log = slog.New(redact.Handler(o.Log.Handler(), func(text string) string { return redactor.Load().Text(text) }))
	d := &Daemon{o: o, log: o.Log, redactor: redactor, first: cfg, cfg: cfg, health: newHealth(o.Version), ready: make(chan struct{}), rewatch: make(chan struct{}, 1)}
	clean, err := redact.New(cfg.Redact)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	redactor.Store(clean)
	if d.client, err = NewClient(cfg, o); err != nil {
		return nil, err
	}
	if err := d.openCarves(); err != nil {
		return nil, err
	}
	if d.set, err = d.loadBound(cfg); err != nil {
		return nil, err
	}
	if d.guard, err = guard.New(cfg.Guard); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	d.health.paused = d.guard.Paused
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "erbridge_build_info", Help: "Always 1; the version is a label.", ConstLabels: prometheus.Labels{"version": o.Version}})
	build.Set(1)
	d.reloads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "erbridge_playbook_reloads_total", Help: "Reloads that brought other playbooks, by outcome: taken, or refused for the mistakes in them."}, []string{"outcome"})
	for _, outcome := range []string{"taken", "refused"} {
		d.reloads.WithLabelValues(outcome)
	}
	refused := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "erbridge_playbooks_refused", Help: "1 while the playbooks on disk are refused, and those loaded before stay in force."}, d.health.playbooksRefused)
	paused := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "erbridge_paused", Help: "1 while the kill switch is thrown, by a person or by guard.pause_file: no call with an effect is sent."}, d.paused)
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build, d.reloads, refused, paused, newLetterMetrics(d),
	} {
		if err := o.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return d, nil
}

// Ready is closed when every stage has started. The server may still be out of reach.
func (d *Daemon) Ready() <-chan struct{} { return d.ready }

// Store is the open store; nil before Ready.
func (d *Daemon) Store() *store.Store {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.store
}

// ConsoleAddress is where the console listens; nil before Ready, or without one.
func (d *Daemon) ConsoleAddress() net.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.console
}

// SourceAddress is where a source listens: push or webhook. It is nil for one
// that does not run.
func (d *Daemon) SourceAddress(name string) net.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.sources {
		if s.name == name {
			return s.bound
		}
	}
	return nil
}

// StorePath is the folder of the store.
func (d *Daemon) StorePath() string { return d.first.Store.Path }

// Readiness is what /readyz answers.
func (d *Daemon) Readiness(ctx context.Context) console.Readiness { return d.health.readiness(ctx) }

// Run starts the stages in order (store, sinks, engine, sources) and blocks until
// ctx ends or a part fails for good. Then it stops them in the reverse order,
// each within its share of limits.shutdown; what did not end goes on after the
// next start. The error names the parts that failed; it wraps
// connector.ErrBadCredentials when the server refuses the login.
func (d *Daemon) Run(ctx context.Context) (err error) {
	cfg := d.first
	if err := os.MkdirAll(cfg.Store.Path, 0o700); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	st, err := store.Open(ctx, cfg.Store.Path, storeOptions(cfg, d.o))
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	d.health.use(st, d.parts)
	g := newGroup(ctx)
	d.mu.Lock()
	d.store, d.group = st, g
	d.silences = sinks.NewSilences(st, d.o.Now)
	d.mu.Unlock()

	running := &stages{store: g.start("store", st.Run)}
	if err := d.silences.Load(ctx); err != nil {
		d.log.Error("some silences are left out", "err", err)
	}
	err = d.start(ctx, g, running)
	if err == nil {
		d.log.Info("erbridge is running", "version", d.o.Version, "server", cfg.Server.URL, "playbooks", len(d.set.Playbooks()), "sinks", len(cfg.Sinks))
		d.health.started()
		close(d.ready) // from here on a reload may replace parts
		<-g.Done()
		d.log.Info("stopping", "within", cfg.Limits.Shutdown)
	}
	return errors.Join(err, g.Err(), d.shutdown(running), st.Close())
}

// stages are the parts that stay from start to end; sinks and sources, which a
// reload replaces, are in the daemon.
type stages struct {
	store  *part
	front  []*part // console, control socket, login
	engine *part
	watch  *part // of the playbook folder
}

// start starts everything but the store. After an error, what was started is in
// running and in the daemon, for shutdown.
func (d *Daemon) start(ctx context.Context, g *group, running *stages) error {
	if err := d.openFront(ctx, g, running); err != nil {
		return err
	}
	for i := range d.first.Sinks {
		s, err := d.openSink(&d.first.Sinks[i], d.first)
		if err != nil {
			return err
		}
		d.mu.Lock()
		d.sinks = append(d.sinks, s)
		d.mu.Unlock()
		// A new sink has its place before the first alert comes in.
		err = s.forwarder.Prepare(ctx)
		s.start(d, g)
		if err != nil {
			return err
		}
	}
	running.front = append(running.front, g.start("removed sinks", d.forgetRemovedSinks))
	if alarm := sinks.NewSilenceAlarm(d.store, d.first.Alarms, d.log, d.o.Now); alarm != nil {
		running.front = append(running.front, g.start("alarms", alarm.Run))
	}
	// A refused password is known before any alert is looked at.
	first, cancel := context.WithTimeout(ctx, loginPatience)
	err := d.login(first)
	cancel()
	if errors.Is(err, connector.ErrBadCredentials) {
		return err
	}
	running.front = append(running.front, g.start("server", d.keepLogin), g.start("carves", d.carves.Run))

	// For versions of playbooks that are in the store only. They may name a sink
	// that has gone since, so its name is not checked.
	bound, err := boundActions(d.first, d.client, d.carves, d.o, nil)
	if err != nil {
		return err
	}
	// Both hold before the first call: a file that pauses, and which machines are ours.
	filed := PausedByFile(d.first, d.o.Now())
	if d.guard.PauseFile(filed); filed != nil {
		d.log.Warn("the kill switch is thrown by a file: no call with an effect is sent", "file", d.first.Guard.PauseFile, "reason", filed.Reason)
	}
	d.tellOwn(ownMachines(ctx, d.first, systemResolver))
	engine, err := playbooks.NewEngine(d.store, bound, d.set, playbooks.EngineOptions{
		Log: d.log, Registerer: d.o.Metrics, Now: d.o.Now,
		Workers: d.first.Limits.Workers, CallTimeout: d.client.Timeout(), ClockOffset: d.client.ClockOffset, Ceiling: d.first.Playbooks.Mode,
		Drain: d.first.Limits.Shutdown / 4, SettleFor: d.first.Limits.Settle, MaxHold: d.first.Limits.Hold, Guard: d.guard,
	})
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	d.mu.Lock()
	d.engine = engine
	d.mu.Unlock()
	running.engine = g.start("engine", engine.Run)
	running.front = append(running.front, g.start("fleet", d.watchFleet))
	running.front = append(running.front, g.start("own machines", d.keepOwn),
		g.start("pause file", func(ctx context.Context) error { return d.watchPauseFile(ctx, engine, filed) }))

	sources, err := d.buildSources(d.first)
	if err != nil {
		return err
	}
	for _, s := range sources {
		if err := s.open(ctx, d.o.Metrics); err != nil {
			return err
		}
		s.start(g)
		d.mu.Lock()
		d.sources = append(d.sources, s)
		d.mu.Unlock()
	}
	running.watch = g.start("playbook watch", d.watchPlaybooks)
	return nil
}

// openFront starts what answers operators, so that it can say why the rest does
// not come up.
func (d *Daemon) openFront(ctx context.Context, g *group, running *stages) error {
	control, err := listenControl(ctx, d.first.Store.Path, d, d.log)
	if err != nil {
		return err
	}
	running.front = append(running.front, g.start("control", control.Run))
	if d.first.Console.Listen == "" {
		return nil
	}
	c, err := console.New(console.Options{Listen: d.first.Console.Listen, Gatherer: d.o.Metrics, Ready: d.health.readiness, Log: d.log})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	addr, err := c.Listen(ctx)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.console = addr
	d.mu.Unlock()
	running.front = append(running.front, g.start("console", c.Run))
	return nil
}

// stageTime is how long one stage of a shutdown may take. A Send that is under way
// gets half of it, so that a receiver that hangs costs no more than a delivery that
// comes again.
func (d *Daemon) stageTime() time.Duration { return d.first.Limits.Shutdown / 3 }

// shutdown stops what runs, newest stage first: no new alerts, then no new
// steps, then what is still to be delivered, and the disk last.
func (d *Daemon) shutdown(running *stages) error {
	d.health.stopping()
	d.stopping.Store(true) // no reload begins from here on
	d.reloading.Lock()     // one that is under way ends first
	d.mu.Lock()
	sources, sinkParts := d.sources, d.sinks
	d.mu.Unlock()
	d.reloading.Unlock()

	share := d.stageTime()
	var parts []*part
	for _, s := range sources {
		parts = append(parts, s.part)
	}
	if running.watch != nil {
		parts = append(parts, running.watch)
	}
	problems := []error{stop(share, parts...)}
	if running.engine != nil {
		problems = append(problems, stop(share, running.engine))
	}
	d.drain(share/2, sinkParts)
	parts = nil
	for _, s := range sinkParts {
		parts = append(parts, s.part)
	}
	problems = append(problems, stop(share, parts...))
	for _, s := range sinkParts {
		problems = append(problems, s.close())
	}
	problems = append(problems, stop(storeFlush, running.front...), stop(storeFlush, running.store))
	return errors.Join(problems...)
}

// drain lets sinks that are well deliver what the last steps had to say. It is a
// courtesy: what is not delivered now is delivered after the next start.
func (d *Daemon) drain(allowed time.Duration, parts []*sinkPart) {
	// The daemon is stopping, and this has a time of its own.
	ctx, cancel := context.WithTimeout(d.group.ctx, allowed)
	defer cancel()
	head, err := d.store.FeedHead(ctx)
	if err != nil {
		return
	}
	for _, s := range parts {
		s.forwarder.Hurry()
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		behind := slices.ContainsFunc(parts, func(s *sinkPart) bool {
			status := s.forwarder.Status()
			well := status.State == sinks.StateOK || status.State == sinks.StateRecovering
			return !s.left.Load() && well && status.Cursor < head
		})
		if !behind {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

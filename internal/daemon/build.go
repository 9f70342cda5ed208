package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/evidence"
	"github.com/erbridge/erbridge/internal/scripts"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/actions"
	"github.com/erbridge/erbridge/sinks"
)

// NewClient makes the client of the configured server. It reads the password once:
// one that is not there now does not come by waiting for the server.
func NewClient(cfg *config.Config, o Options) (*connector.Client, error) {
	s := cfg.Server
	if _, err := s.Password.Reveal(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoPassword, err)
	}
	options := connector.Options{
		URL: s.URL, BasePath: s.BasePath, API: s.API, Username: s.Username, Password: s.Password, CAFile: s.CAFile, PinSHA256: s.PinSHA256,
		Timeout: s.Timeout, Retries: s.Retries, MaxConcurrent: cfg.Limits.Calls, Version: o.Version, Log: o.Log,
	}
	if s.Retries == 0 {
		options.Retries = -1 // the client's word for never
	}
	if o.Metrics != nil {
		options.Registerer = o.Metrics
	}
	client, err := connector.New(options)
	if err != nil {
		return nil, fmt.Errorf("%w: server: %w", ErrConfig, err)
	}
	return client, nil
}

// boundActions are the actions that work on the configured server. With sinks,
// they know which there are.
func boundActions(cfg *config.Config, client *connector.Client, carves *evidence.Store, o Options, sinkNames []string) (map[string]playbooks.Action, error) {
	nets, err := cfg.Actions.Networks()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	reviewed, _ := scripts.Load(cfg.Actions.ScriptsDir) // LoadPlaybooks tells what is wrong with them
	return actions.All(actions.Deps{
		Client: client, Server: cfg.Server.Name, Evidence: carves, CarveStall: cfg.Carves.Stall,
		AllowedNets: nets, Sinks: sinkNames, Now: o.Now, Scripts: reviewed,
	}), nil
}

// loadBound reads the playbooks with actions that work.
func (d *Daemon) loadBound(cfg *config.Config) (*playbooks.Set, error) {
	bound, err := boundActions(cfg, d.client, d.carves, d.o, append([]string{}, cfg.Sinks.Names()...))
	if err != nil {
		return nil, err
	}
	return LoadPlaybooks(cfg, bound)
}

func storeOptions(cfg *config.Config, o Options) store.Options {
	r := cfg.Store.Retention
	return store.Options{
		Log: o.Log, Registerer: o.Metrics, Now: o.Now, QueueSize: cfg.Limits.Queue,
		Retention: store.Retention{Alerts: r.Alerts, Runs: r.Runs, DeadLetters: r.DeadLetters, Audit: r.Audit, Telemetry: r.Telemetry},
	}
}

// sinkPart is one sink with its forwarder.
type sinkPart struct {
	name      string
	settings  string // as in the file, for comparing
	sink      sinks.Sink
	forwarder *sinks.Forwarder
	reports   *sinks.Reports // nil: it is told nothing by the clock
	part      *part
	left      atomic.Bool // stopped by a reload, and did not end within its time
}

// openSink makes a sink; it opens no connection.
func (d *Daemon) openSink(c *sinks.Config, cfg *config.Config) (*sinkPart, error) {
	sink, err := c.Open(sinks.Env{
		Log: d.log.With("sink", c.Name), Version: d.o.Version, State: sinks.NewState(d.store, c.Name, d.o.Now), Now: d.o.Now, Desk: d.desk(), Paces: &d.paces,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	clean := func(ev soar.Event) soar.Event { return d.redactor.Load().Event(ev) }
	f, err := sinks.NewForwarder(c.Name, sink, d.store, c.Options(sinks.ForwarderOptions{
		Routes: cfg.Routes, Log: d.log, Registerer: d.o.Metrics, Now: d.o.Now, Drain: d.stageTime() / 2,
		Group:  sinks.GroupOptions{Silences: d.silences},
		Redact: clean,
	}))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrConfig, err), sink.Close())
	}
	reports := sinks.NewReports(c.Name, d.store, c.Reports(sinks.ReportOptions{Redact: clean, Version: d.o.Version, Log: d.log, Now: d.o.Now}))
	return &sinkPart{name: c.Name, settings: sinkSettings(cfg, c.Name), sink: sink, forwarder: f, reports: reports}, nil
}

// sinkSettings is what the file says about a sink: a reload replaces it when that has
// changed. Routes count for every sink, since what one gets depends on all of them.
func sinkSettings(cfg *config.Config, name string) string {
	return cfg.Section("sinks", name) + cfg.Section("routes")
}

func (s *sinkPart) start(d *Daemon, g *group) {
	run := s.forwarder.Run
	if runner, ok := s.sink.(sinks.Runner); ok {
		run = beside(run, func(ctx context.Context) { d.keepRunning(ctx, s.name, runner) })
	}
	if s.reports != nil {
		run = beside(run, func(ctx context.Context) { _ = s.reports.Run(ctx) }) // it ends with ctx and no error
	}
	s.part = g.start("sink "+s.name, run)
}

// close closes the sink, unless a Send that did not end still uses it.
func (s *sinkPart) close() error {
	if s.part != nil && !s.part.ended() {
		return nil
	}
	if err := s.sink.Close(); err != nil {
		return fmt.Errorf("sink %s: %w", s.name, err)
	}
	return nil
}

// source is one way in which alerts come in.
type source struct {
	name     string
	settings string   // as in the file, for comparing
	address  string   // where it listens, as configured; empty for the poller
	bound    net.Addr // where it listens, once it does
	listen   func(context.Context) (net.Addr, error)
	run      func(context.Context) error
	replay   func(ctx context.Context, sender string, payload []byte) error // of a dead letter
	poller   *connector.Poller                                              // set for the poller only
	metrics  *scope
	part     *part
}

// buildSources makes all sources of a configuration; none of them does anything yet.
func (d *Daemon) buildSources(cfg *config.Config) ([]*source, error) {
	env := func(name string) (connector.SourceEnv, *scope) {
		s := &scope{}
		return connector.SourceEnv{Intake: d.store, Log: d.log.With("source", name), Registerer: s, Now: d.o.Now}, s
	}
	pollEnv, metrics := env("poll")
	poller, err := connector.NewPoller(d.client, cfg.Server.Name, cfg.Sources.Poll, pollEnv)
	if err != nil {
		return nil, fmt.Errorf("%w: source poll: %w", ErrConfig, err)
	}
	all := []*source{{name: "poll", settings: cfg.Section("sources", "poll"), run: poller.Run, replay: unnamed(poller.Replay), poller: poller, metrics: metrics}}
	if s := cfg.Sources.Push; s != nil {
		pushEnv, metrics := env("push")
		push, err := connector.NewPush(cfg.Server.Name, s.PushSettings, d.ring, pushEnv)
		if err != nil {
			return nil, fmt.Errorf("%w: source push: %w", ErrConfig, err)
		}
		all = append(all, &source{name: "push", settings: cfg.Section("sources", "push"), address: s.Listen, listen: push.Listen, run: push.Run, replay: unnamed(push.Replay), metrics: metrics})
	}
	if s := cfg.Sources.Webhook; s != nil {
		webhookEnv, metrics := env("webhook")
		webhook, err := connector.NewWebhook(s.WebhookSettings, d.fetch, d.ring, webhookEnv)
		if err != nil {
			return nil, fmt.Errorf("%w: source webhook: %w", ErrConfig, err)
		}
		all = append(all, &source{
			name: "webhook", settings: cfg.Section("sources", "webhook"), address: s.Listen, listen: webhook.Listen, run: webhook.Run, replay: webhook.Replay, metrics: metrics})
	}
	return all, nil
}

// unnamed is the replay of a source that has no senders.
func unnamed(replay func(context.Context, []byte) error) func(context.Context, string, []byte) error {
	return func(ctx context.Context, _ string, payload []byte) error { return replay(ctx, payload) }
}

// open registers the metrics of a source and opens its port, if it has one.
func (s *source) open(ctx context.Context, metrics prometheus.Registerer) error {
	if s.listen != nil {
		addr, err := s.listen(ctx)
		if err != nil {
			return err
		}
		s.bound = addr
	}
	return s.metrics.activate(metrics)
}

func (s *source) start(g *group) { s.part = g.start("source "+s.name, s.run) }

// poller is the one that runs now; a reload may replace it.
func (d *Daemon) poller() *connector.Poller {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.sources {
		if s.poller != nil {
			return s.poller
		}
	}
	return nil
}

// parts are what readiness asks.
func (d *Daemon) parts() ([]*sinkPart, *connector.Poller) {
	poller := d.poller()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sinks, poller
}

// ring makes the poller look at once.
func (d *Daemon) ring() {
	if p := d.poller(); p != nil {
		p.Ring()
	}
}

// fetch reads alerts by id, for the webhook.
func (d *Daemon) fetch(ctx context.Context, ids []int64) (int, error) {
	p := d.poller()
	if p == nil {
		return 0, errors.New("the poller is not running")
	}
	return p.Fetch(ctx, ids)
}

// scope holds back the metrics of a part that may be replaced: they are
// registered when the part before it has gone, and forgotten with the part.
type scope struct {
	collectors []prometheus.Collector
	to         prometheus.Registerer
}

// Register implements prometheus.Registerer.
func (s *scope) Register(c prometheus.Collector) error {
	s.collectors = append(s.collectors, c)
	return nil
}

// MustRegister implements prometheus.Registerer.
func (s *scope) MustRegister(cs ...prometheus.Collector) { s.collectors = append(s.collectors, cs...) }

// Unregister implements prometheus.Registerer.
func (s *scope) Unregister(c prometheus.Collector) bool { return s.to != nil && s.to.Unregister(c) }

func (s *scope) activate(to prometheus.Registerer) error {
	s.to = to
	for _, c := range s.collectors {
		if err := to.Register(c); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	return nil
}

func (s *scope) forget() {
	for _, c := range s.collectors {
		s.Unregister(c)
	}
}

// discardLog is the logger of whoever has none.
func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// OnlineActions are the actions bound to the configured server, for commands that
// read from it.
func OnlineActions(cfg *config.Config, o Options) (map[string]playbooks.Action, error) {
	client, err := NewClient(cfg, o)
	if err != nil {
		return nil, err
	}
	carves, err := OpenCarves(cfg, o)
	if err != nil {
		return nil, err
	}
	return boundActions(cfg, client, carves, o, nil)
}

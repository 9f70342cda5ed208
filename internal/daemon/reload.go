package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/redact"
	"github.com/erbridge/erbridge/sinks"
)

// Reloaded says what a reload changed.
type Reloaded struct {
	Playbooks int      `json:"playbooks"` // how many are loaded now
	Started   []string `json:"started"`   // sinks and sources that are new or have other settings
	Stopped   []string `json:"stopped"`   // sinks and sources that are gone
}

// restartOnly are the sections that hold for the life of a process.
var restartOnly = [][]string{
	{"server"}, {"store"}, {"console"}, {"log"}, {"limits"}, {"actions"}, {"carves"}, {"playbooks", "mode"}, {"alarms"},
}

// errStopping is what a reload gets that comes too late.
var errStopping = errors.New("reload: the daemon is stopping")

// leftReason says of a sink that a reload stopped why it was not replaced.
const leftReason = "its last delivery has not ended; reload again when it has"

// Reload reads the configuration file and the playbooks again. Everything is read,
// checked and built before anything is replaced: after an error, what ran before
// runs on. Playbooks are swapped as a whole, and runs go on with the version they
// began with; sinks and sources whose settings changed are replaced, the others
// are not touched. A sink whose last delivery does not end in time is stopped and
// not replaced; the error names it.
func (d *Daemon) Reload(ctx context.Context) (Reloaded, error) {
	if d.stopping.Load() {
		return Reloaded{}, errStopping
	}
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if d.stopping.Load() { // since it began to wait
		return Reloaded{}, errStopping
	}
	d.mu.Lock()
	old, before, g, engine := d.cfg, d.set, d.group, d.engine
	d.mu.Unlock()
	select {
	case <-d.ready:
	default:
		return Reloaded{}, errors.New("reload: erbridge has not started yet")
	}
	if g.Err() != nil {
		return Reloaded{}, fmt.Errorf("reload: %w", g.Err())
	}

	cfg, err := config.Load(old.File)
	if err != nil {
		return Reloaded{}, err
	}
	var fixed []string
	for _, path := range restartOnly {
		if cfg.Section(path...) != old.Section(path...) {
			fixed = append(fixed, strings.Join(path, "."))
		}
	}
	if len(fixed) > 0 {
		return Reloaded{}, fmt.Errorf("reload: nothing was changed: %s changed, which needs a restart", strings.Join(fixed, ", "))
	}
	set, err := d.loadBound(cfg)
	if err != nil {
		d.refused(err)
		return Reloaded{}, err
	}
	clean, err := redact.New(cfg.Redact)
	if err != nil {
		return Reloaded{}, fmt.Errorf("reload: nothing was changed: %w", err)
	}
	next, err := d.plan(ctx, cfg)
	if err != nil {
		return Reloaded{}, fmt.Errorf("reload: nothing was changed: %w", err)
	}

	if err := engine.Guard().Configure(cfg.Guard); err != nil {
		return Reloaded{}, errors.Join(fmt.Errorf("reload: nothing was changed: guard: %w", err), next.abandon(ctx))
	}

	// From here on nothing can be refused.
	d.redactor.Store(clean)
	engine.Reload(set)
	result, err := d.replace(ctx, next)
	d.mu.Lock()
	d.cfg, d.set = cfg, set
	d.mu.Unlock()
	news := d.taken(before, set)
	select {
	case d.rewatch <- struct{}{}:
	default:
	}
	result.Playbooks = len(set.Playbooks())
	d.log.Info("configuration reloaded", "playbooks", result.Playbooks, "added", news.added, "changed", news.changed, "removed", news.removed,
		"started", result.Started, "stopped", result.Stopped)
	return result, err
}

// plan is what a reload will put in place: new parts, and running ones that stay.
type plan struct {
	sinks   []*sinkPart
	sources []*source
}

// plan builds every part whose settings changed, and opens the ports that are new.
func (d *Daemon) plan(ctx context.Context, cfg *config.Config) (next plan, err error) {
	d.mu.Lock()
	oldSinks, oldSources := d.sinks, d.sources
	d.mu.Unlock()
	for i := range cfg.Sinks {
		c := &cfg.Sinks[i]
		same := slices.IndexFunc(oldSinks, func(s *sinkPart) bool {
			return s.name == c.Name && s.settings == sinkSettings(cfg, c.Name) && !s.left.Load()
		})
		if same >= 0 {
			next.sinks = append(next.sinks, oldSinks[same])
			if f := oldSinks[same].forwarder; f.Status().State == sinks.StateGone {
				f.Resume() // a person has put something right, perhaps elsewhere
			}
			continue
		}
		s, err := d.openSink(c, cfg)
		if err != nil {
			return plan{}, errors.Join(err, next.abandon(ctx))
		}
		next.sinks = append(next.sinks, s)
	}
	sources, err := d.buildSources(cfg)
	if err != nil {
		return plan{}, errors.Join(err, next.abandon(ctx))
	}
	for _, s := range sources {
		i := slices.IndexFunc(oldSources, func(o *source) bool { return o.name == s.name })
		switch {
		case i >= 0 && oldSources[i].settings == s.settings:
			s = oldSources[i]
		case s.listen != nil && (i < 0 || oldSources[i].address != s.address):
			// An address that stays is free only after the old one has stopped.
			if _, err := s.listen(ctx); err != nil {
				return plan{}, errors.Join(err, next.abandon(ctx))
			}
		}
		next.sources = append(next.sources, s)
	}
	return next, nil
}

// abandon closes the parts of a plan that is not carried out.
func (p *plan) abandon(ctx context.Context) error {
	var problems []error
	for _, s := range p.sinks {
		if s.part == nil {
			problems = append(problems, s.close())
		}
	}
	for _, s := range p.sources {
		if s.part == nil && s.listen != nil {
			problems = append(problems, s.abandon(ctx))
		}
	}
	return errors.Join(problems...)
}

// abandon closes a port that was opened for nothing: a part whose context has
// ended closes it and returns.
func (s *source) abandon(ctx context.Context) error {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.run(ended); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// replace stops what goes, and starts what is new.
func (d *Daemon) replace(ctx context.Context, next plan) (Reloaded, error) {
	d.mu.Lock()
	oldSinks, oldSources, g := d.sinks, d.sources, d.group
	d.mu.Unlock()
	share := d.stageTime()
	var result Reloaded
	var problems []error

	var parts []*part
	for _, s := range oldSources {
		if !slices.Contains(next.sources, s) {
			parts = append(parts, s.part)
			if !slices.ContainsFunc(next.sources, func(n *source) bool { return n.name == s.name }) {
				result.Stopped = append(result.Stopped, "source "+s.name)
			}
		}
	}
	for _, s := range oldSinks {
		if !slices.Contains(next.sinks, s) {
			parts = append(parts, s.part)
		}
	}
	problems = append(problems, stop(share, parts...))
	for _, s := range oldSources {
		if !slices.Contains(next.sources, s) {
			s.metrics.forget()
		}
	}
	for _, s := range oldSinks {
		if slices.Contains(next.sinks, s) {
			continue
		}
		successor := slices.IndexFunc(next.sinks, func(n *sinkPart) bool { return n.name == s.name })
		if s.part.ended() {
			problems = append(problems, s.close())
			if successor < 0 {
				result.Stopped = append(result.Stopped, "sink "+s.name)
			}
			continue
		}
		// Its Send may still deliver. A second forwarder beside it would deliver the
		// same events, and both would move one cursor.
		s.left.Store(true)
		problems = append(problems, fmt.Errorf("sink %s was stopped and not replaced: %s", s.name, leftReason))
		if successor < 0 {
			next.sinks = append(next.sinks, s)
			continue
		}
		problems = append(problems, next.sinks[successor].close())
		next.sinks[successor] = s
	}

	for _, s := range next.sinks {
		if s.part == nil {
			s.start(d, g)
			result.Started = append(result.Started, "sink "+s.name)
		}
	}
	// The poller stands first, so that listeners find the new one.
	for _, s := range next.sources {
		if s.part == nil {
			if err := s.open(ctx, d.o.Metrics); err != nil {
				g.failed(&partError{"source " + s.name, err})
				problems = append(problems, err)
			}
			s.start(g)
			result.Started = append(result.Started, "source "+s.name)
		}
	}
	d.mu.Lock()
	d.sinks, d.sources = next.sinks, next.sources
	d.mu.Unlock()
	return result, errors.Join(problems...)
}

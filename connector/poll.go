package connector

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// PollSettings configures polling of the server's alert list.
type PollSettings struct {
	// Interval is the time between two polls. The push listener and webhooks make
	// the poller fetch at once, whatever the interval.
	Interval time.Duration `yaml:"interval"`

	// Backfill is how far back the first contact with a server reads. No playbook
	// acts on a backfilled alert.
	Backfill time.Duration `yaml:"backfill"`

	// Overlap is how far behind the newest known alert every poll reads again: an
	// alert may be committed after one with a higher id, and the event count of an
	// alert grows without any other sign. It should be longer than the server's
	// alert_aggregation_duration.
	Overlap time.Duration `yaml:"overlap"`

	// SweepInterval is the time between two slow sweeps, which look for changes
	// that a poll cannot see: older alerts resolved or reopened, alerts missed.
	SweepInterval time.Duration `yaml:"sweep_interval"`

	// SweepWindow is how far back a sweep reads again.
	SweepWindow time.Duration `yaml:"sweep_window"`

	// Mirror makes events of what analysts do on the server.
	Mirror MirrorSettings `yaml:"mirror"`

	// PageSize is how many alerts are read with one call.
	PageSize int `yaml:"page_size"`
}

// DefaultPoll are the settings that hold unless the configuration says otherwise.
func DefaultPoll() PollSettings {
	return PollSettings{
		Interval: 15 * time.Second, Backfill: 24 * time.Hour, Overlap: 5 * time.Minute,
		SweepInterval: 10 * time.Minute, SweepWindow: time.Hour, PageSize: 200, Mirror: DefaultMirror(),
	}
}

const (
	pollSource = "poll"
	// pollBackoffMax bounds the pause after repeated failures.
	pollBackoffMax = 2 * time.Minute
	// pollMinGap is the least time between two polls, however often it rings.
	pollMinGap = 50 * time.Millisecond
	// openChecked is how many open alerts a sweep asks about with one call, and
	// maxOpenChecked how many in all.
	openChecked, maxOpenChecked = 200, 10_000
	// maxShifts bounds how often one list is read again a bit earlier because rows
	// moved up under the reader.
	maxShifts = 20
	// maxCollected bounds the alerts that one poll holds before it stores them.
	maxCollected = 10_000
	// pollPatience is how long an answer may take before polling counts as stuck.
	pollPatience, pollWatch = 15 * time.Second, 5 * time.Second
)

// ringEchoes are the pauses after a ring that found nothing new: the server sends
// its push line a moment before, or after, the alert can be read.
var ringEchoes = []time.Duration{100 * time.Millisecond, 400 * time.Millisecond, 2 * time.Second}

// Poller reads the server's alert list behind its cursor and hands every alert to
// the store. There is no "changed since" filter, so it reads newest first until
// everything on a page is known and older than the overlap.
type Poller struct {
	client   *Client
	server   string
	settings PollSettings
	env      SourceEnv
	rejects  *rejects
	details  *details
	metrics  pollMetrics
	bell     chan struct{} // holds one ring
	// turn is held from the reading of a page until it is stored: a page that was read
	// before another one and stored after it would undo what the other one told.
	turn   turn
	mirror mirror

	mu     sync.Mutex
	cursor pollCursor
	met    bool           // the cursor is loaded
	seen   map[int64]look // by alert id: as it was committed last; for those that are read again
	status PollStatus
	asked  time.Time // when the poll under way last heard of the server; zero: none is

	toldReuse bool                       // that ids are reused was said
	rejected  map[[sha256.Size]byte]bool // malformed rows that were kept already
}

type pollMetrics struct {
	alerts  *prometheus.CounterVec
	seconds prometheus.Histogram
	gap     prometheus.Counter
	changes *prometheus.CounterVec
}

// NewPoller makes a poller. server is the name under which alerts are kept.
func NewPoller(client *Client, server string, settings PollSettings, env SourceEnv) (*Poller, error) {
	env = env.withDefaults()
	if settings.Interval <= 0 || settings.SweepInterval <= 0 || settings.PageSize <= 1 {
		return nil, errors.New("poll: interval and sweep_interval must be above zero, page_size above one")
	}
	if settings.Backfill < 0 || settings.Overlap < 0 || settings.SweepWindow < 0 {
		return nil, errors.New("poll: backfill, overlap and sweep_window must not be negative")
	}
	if err := settings.Mirror.check(); err != nil {
		return nil, err
	}
	p := &Poller{client: client, server: server, settings: settings, env: env, rejects: newRejects(pollSource, env),
		details: newDetails(client, env), bell: make(chan struct{}, 1), turn: newTurn(), seen: map[int64]look{}, rejected: map[[sha256.Size]byte]bool{}}
	p.metrics = pollMetrics{
		alerts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erbridge_alerts_total", Help: "Alerts read from the server: new, updated or known."}, []string{"kind"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "erbridge_poll_seconds", Help: "Duration of one poll.", Buckets: prometheus.ExponentialBuckets(0.005, 2.5, 10)}),
		gap: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "erbridge_poll_gap_alerts_total", Help: "Alerts that polls had missed and a sweep found."}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erbridge_mirror_changes_total", Help: "Changes of known alerts on the server by what changed and whose doing it was: analyst or erbridge."},
			[]string{"what", "origin"}),
	}
	lag := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "erbridge_poll_lag_seconds", Help: "Time since the last poll that went well; -1 before the first."}, func() float64 {
		last := p.Status().LastSuccess
		if last.IsZero() {
			return -1
		}
		return env.Now().Sub(last).Seconds()
	})
	swept := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "erbridge_mirror_swept_seconds", Help: "Time since the last sweep that went well; -1 before the first."}, func() float64 {
		last := p.Status().LastSweep
		if last.IsZero() {
			return -1
		}
		return env.Now().Sub(last).Seconds()
	})
	env.Registerer.MustRegister(p.metrics.alerts, p.metrics.seconds, p.metrics.gap, p.metrics.changes, lag, swept)
	return p, nil
}

// Ring makes the poller fetch at once. It never blocks.
func (p *Poller) Ring() {
	select {
	case p.bell <- struct{}{}:
	default:
	}
}

// Run polls and sweeps until ctx ends. A server that cannot be reached is not an
// error of Run: it is shown by Status and tried again.
func (p *Poller) Run(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { p.sweepAll(ctx) })
	beside.Go(func() { p.watch(ctx) })
	if p.settings.Mirror.Enabled {
		beside.Go(func() { p.mirrorAll(ctx) })
	}

	failures, echo := 0, len(ringEchoes)
	for {
		fresh, err := p.Poll(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		wait := p.settings.Interval
		switch {
		case err != nil:
			failures++
			echo = len(ringEchoes)
			wait = min(p.settings.Interval<<min(failures-1, 10), max(pollBackoffMax, p.settings.Interval))
			p.env.Log.Warn("poll failed", "err", err, "again_in", wait)
		case fresh > 0:
			failures, echo = 0, len(ringEchoes)
		default:
			failures = 0
			if echo < len(ringEchoes) {
				wait = min(wait, ringEchoes[echo])
				echo++
			}
		}
		rung, err := p.await(ctx, wait, failures > 0)
		if err != nil {
			return err
		}
		if rung {
			echo = 0
		}
	}
}

// await waits for the time or the bell. While the server fails, the bell does not
// shorten the pause below the least gap times ten.
func (p *Poller) await(ctx context.Context, wait time.Duration, failing bool) (rung bool, err error) {
	gap := pollMinGap
	if failing {
		gap = min(wait, 10*pollMinGap)
	}
	if err := pause(ctx, min(gap, wait)); err != nil {
		return false, err
	}
	timer := time.NewTimer(wait - min(gap, wait))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-p.bell:
		return true, nil
	case <-timer.C:
		return false, nil
	}
}

// Poll reads once what is new, and stores it oldest first. It returns how many
// alerts were new or changed. The cursor moves only after both lists were read to
// their end; a failure in between repeats pages, and the store drops the repeats.
func (p *Poller) Poll(ctx context.Context) (fresh int, err error) {
	began := p.env.Now()
	p.hears(began)
	defer func() { p.ended(began, err) }()
	from, err := p.load(ctx)
	if err != nil {
		return 0, err
	}
	release, err := p.turn.take(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	next, floor := from, from.Newest.Add(-p.settings.Overlap)
	// One alert dated into the future must not shorten the overlap of all later polls.
	latest := began.Add(p.settings.Overlap)
	var collected []pollRow
	flush := func() error {
		n, err := p.take(ctx, collected, from)
		fresh += n
		collected = collected[:0]
		return err
	}
	for _, resolved := range []bool{false, true} {
		err := p.read(ctx, resolved, from, floor, func(page []pollRow) error {
			p.hears(p.env.Now())
			for i := range page {
				next.MaxID = max(next.MaxID, page[i].id)
				at := page[i].alert.CreatedAt
				if at.After(latest) {
					at = latest
				}
				if at.After(next.Newest) {
					next.Newest = at
				}
			}
			if collected = append(collected, page...); len(collected) < maxCollected {
				return nil
			}
			return flush()
		})
		if err != nil {
			return fresh, err
		}
	}
	if err := flush(); err != nil {
		return fresh, err
	}
	return fresh, p.advance(ctx, from, next)
}

// Fetch reads alerts by id and takes them in; webhooks use it. Ids that the server
// does not know are left out of the count: the alert may be committed a moment
// later, and the ring that goes with a fetch finds it then.
func (p *Poller) Fetch(ctx context.Context, ids []int64) (found int, err error) {
	cursor, err := p.load(ctx)
	if err != nil {
		return 0, err
	}
	release, err := p.turn.take(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	for _, resolved := range []bool{false, true} {
		page, err := p.client.Alerts.Page(ctx, AlertQuery{Resolved: &resolved, IDs: ids, Limit: len(ids)})
		if err != nil {
			if errors.Is(err, ErrRefused) {
				continue
			}
			return found, fmt.Errorf("fetch alerts: %w", err)
		}
		if _, err := p.take(ctx, p.rows(ctx, page.Results), cursor); err != nil {
			return found, err
		}
		found += len(page.Results)
	}
	return found, nil
}

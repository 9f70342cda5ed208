package connector

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
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

	// PageSize is how many alerts are read with one call.
	PageSize int `yaml:"page_size"`
}

// DefaultPoll are the settings that hold unless the configuration says otherwise.
func DefaultPoll() PollSettings {
	return PollSettings{
		Interval: 15 * time.Second, Backfill: 24 * time.Hour, Overlap: 5 * time.Minute,
		SweepInterval: 10 * time.Minute, SweepWindow: time.Hour, PageSize: 200,
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
	openChecked, maxOpenChecked = 200, 20_000
	// maxShifts bounds how often one list is read again a bit earlier because rows
	// moved up under the reader.
	maxShifts = 20
)

// ringEchoes are the pauses after a ring that found nothing new: the server sends
// its push line a moment before, or after, the alert can be read.
var ringEchoes = []time.Duration{100 * time.Millisecond, 400 * time.Millisecond, 2 * time.Second}

// pollCursor is how far the poller has read; it is stored as JSON.
type pollCursor struct {
	// MaxID is the highest alert id taken in.
	MaxID int64 `json:"max_id"`
	// Newest is the latest creation time taken in, by the server's clock.
	Newest time.Time `json:"newest"`
	// BackfillID is the highest alert id that existed at first contact.
	BackfillID int64 `json:"backfill_id"`
	// Since is where the backfill begins: what is older stays on the server.
	Since time.Time `json:"since"`
}

// wanted reports whether an alert of the list is to be taken in.
func (c pollCursor) wanted(id int64, created time.Time) bool {
	return id > c.BackfillID || !created.Before(c.Since)
}

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

	mu     sync.Mutex
	cursor pollCursor
	met    bool             // the cursor is loaded
	seen   map[int64]uint64 // alert id to what of it can change, for those within the overlap
	status PollStatus

	rejected map[[sha256.Size]byte]bool // malformed rows that were kept already
}

// PollStatus tells how polling goes.
type PollStatus struct {
	LastSuccess time.Time
	LastError   string // empty while it goes well
	Newest      time.Time
}

type pollMetrics struct {
	alerts  *prometheus.CounterVec
	seconds prometheus.Histogram
	gap     prometheus.Counter
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
	p := &Poller{client: client, server: server, settings: settings, env: env, rejects: newRejects(pollSource, env),
		details: newDetails(client, env), bell: make(chan struct{}, 1), seen: map[int64]uint64{}, rejected: map[[sha256.Size]byte]bool{}}
	p.metrics = pollMetrics{
		alerts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erbridge_alerts_total", Help: "Alerts read from the server: new, updated or known."}, []string{"kind"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "erbridge_poll_seconds", Help: "Duration of one poll.", Buckets: prometheus.ExponentialBuckets(0.005, 2.5, 10)}),
		gap: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "erbridge_poll_gap_alerts_total", Help: "Alerts that polls had missed and a sweep found."}),
	}
	lag := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "erbridge_poll_lag_seconds", Help: "Time since the last poll that went well; -1 before the first."}, func() float64 {
		last := p.Status().LastSuccess
		if last.IsZero() {
			return -1
		}
		return env.Now().Sub(last).Seconds()
	})
	env.Registerer.MustRegister(p.metrics.alerts, p.metrics.seconds, p.metrics.gap, lag)
	return p, nil
}

// Ring makes the poller fetch at once. It never blocks.
func (p *Poller) Ring() {
	select {
	case p.bell <- struct{}{}:
	default:
	}
}

// Status tells how polling goes.
func (p *Poller) Status() PollStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Run polls and sweeps until ctx ends. A server that cannot be reached is not an
// error of Run: it is shown by Status and tried again.
func (p *Poller) Run(ctx context.Context) error {
	var sweeping sync.WaitGroup
	defer sweeping.Wait()
	sweeping.Go(func() { p.sweepAll(ctx) })

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

// Poll reads once what is new. It returns how many alerts were new or changed. The
// cursor moves only after both lists were read to their end; a failure in
// between repeats pages, and the store drops the repeats.
func (p *Poller) Poll(ctx context.Context) (fresh int, err error) {
	began := p.env.Now()
	defer func() {
		p.metrics.seconds.Observe(p.env.Now().Sub(began).Seconds())
		p.mu.Lock()
		defer p.mu.Unlock()
		if err != nil {
			p.status.LastError = err.Error()
			return
		}
		p.status.LastError, p.status.LastSuccess, p.status.Newest = "", p.env.Now(), p.cursor.Newest
	}()
	from, err := p.load(ctx)
	if err != nil {
		return 0, err
	}
	next, floor := from, from.Newest.Add(-p.settings.Overlap)
	// One alert dated into the future must not shorten the overlap of all later polls.
	latest := began.Add(p.settings.Overlap)
	for _, resolved := range []bool{false, true} {
		err := p.read(ctx, resolved, from, floor, func(batch []soar.Alert, ids []int64) error {
			n, err := p.take(ctx, batch, ids, from.BackfillID)
			fresh += n
			for i, a := range batch {
				next.MaxID = max(next.MaxID, ids[i])
				if a.CreatedAt.After(next.Newest) && a.CreatedAt.Before(latest) {
					next.Newest = a.CreatedAt
				}
			}
			return err
		})
		if err != nil {
			return fresh, err
		}
	}
	return fresh, p.advance(ctx, from, next)
}

// load brings the cursor in, or makes the first one at first contact.
func (p *Poller) load(ctx context.Context) (pollCursor, error) {
	p.mu.Lock()
	cursor, met := p.cursor, p.met
	p.mu.Unlock()
	if met {
		return cursor, nil
	}
	value, err := p.env.Intake.Cursor(ctx, p.cursorName())
	if err != nil {
		return pollCursor{}, fmt.Errorf("poll: read cursor: %w", err)
	}
	if value != nil {
		if err := json.Unmarshal(value, &cursor); err != nil {
			return pollCursor{}, fmt.Errorf("poll: stored cursor %q: %w", value, err)
		}
	} else if cursor, err = p.firstContact(ctx); err != nil {
		return pollCursor{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cursor, p.met = cursor, true
	return cursor, nil
}

// firstContact notes which alerts exist before erbridge looks after them, and
// where reading starts.
func (p *Poller) firstContact(ctx context.Context) (pollCursor, error) {
	since := p.env.Now().UTC().Add(-p.settings.Backfill)
	cursor := pollCursor{Since: since, Newest: since.Add(p.settings.Overlap)} // the overlap ends where the backfill begins
	for _, resolved := range []bool{false, true} {
		page, err := p.client.Alerts.Page(ctx, AlertQuery{Resolved: &resolved, Limit: 1})
		if err != nil {
			return pollCursor{}, fmt.Errorf("poll: first contact: %w", err)
		}
		for i := range page.Results {
			cursor.BackfillID = max(cursor.BackfillID, page.Results[i].ID)
		}
	}
	p.env.Log.Info("first contact with the server", "backfill", p.settings.Backfill, "last_alert", cursor.BackfillID)
	return cursor, p.save(ctx, cursor)
}

// cursorName keeps the cursors of several servers apart.
func (p *Poller) cursorName() string { return pollSource + "/" + p.server }

func (p *Poller) save(ctx context.Context, cursor pollCursor) error {
	value, err := json.Marshal(cursor)
	if err != nil {
		return fmt.Errorf("poll: encode cursor: %w", err)
	}
	if _, err := p.env.Intake.Commit(ctx, soar.Change{Cursors: []soar.Cursor{{Source: p.cursorName(), Value: value}}}); err != nil {
		return fmt.Errorf("poll: save cursor: %w", err)
	}
	return nil
}

// advance moves the cursor when it has moved, and forgets what fell out of the overlap.
func (p *Poller) advance(ctx context.Context, from, next pollCursor) error {
	if next.MaxID == from.MaxID && next.Newest.Equal(from.Newest) {
		return nil
	}
	if err := p.save(ctx, next); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cursor = next
	if len(p.seen) > 50_000 {
		clear(p.seen) // only spares repeats
	}
	return nil
}

// read walks one list, newest first, until a whole page is known by its ids and
// older than floor. Rows move while it walks: a new alert pushes rows
// down, which repeats some; a resolved one leaves the open list and pulls rows
// up, which would skip some. So every page starts with the last row of the one
// before, and when that row is gone the walk goes back half a page.
func (p *Poller) read(ctx context.Context, resolved bool, from pollCursor, floor time.Time,
	take func(batch []soar.Alert, ids []int64) error) error {
	known := max(from.MaxID, from.BackfillID)
	size, lowest, shifts := p.settings.PageSize, int64(math.MaxInt64), 0
	for start := 0; ; {
		page, err := p.client.Alerts.Page(ctx, AlertQuery{Resolved: &resolved, Start: start, Limit: size})
		if err != nil {
			return fmt.Errorf("poll: read alerts from %d: %w", start, err)
		}
		if err := p.reject(ctx, page.Malformed); err != nil {
			return err
		}
		rows := page.Results
		got := len(rows) + len(page.Malformed)
		if start > 0 && shifts < maxShifts && (got == 0 || len(rows) > 0 && rows[0].ID < lowest) {
			shifts++
			start = max(0, start-max(size/2, 1))
			continue
		}
		batch, ids, done := make([]soar.Alert, 0, len(rows)), make([]int64, 0, len(rows)), len(rows) > 0
		for i := range rows {
			row := &rows[i]
			lowest = min(lowest, row.ID)
			done = done && row.ID <= known && row.CreatedAt.Before(floor)
			if from.wanted(row.ID, row.CreatedAt) {
				batch, ids = append(batch, p.details.normalize(ctx, p.server, row)), append(ids, row.ID)
			}
		}
		if err := take(batch, ids); err != nil {
			return err
		}
		if got < size || done {
			return nil
		}
		start += got - 1
	}
}

// reject keeps rows that could not be read as dead letters, each once: the overlap
// brings them again with every poll.
func (p *Poller) reject(ctx context.Context, malformed []*MalformedError) error {
	for _, bad := range malformed {
		sum := sha256.Sum256(bad.Raw)
		p.mu.Lock()
		known := p.rejected[sum]
		p.mu.Unlock()
		if known {
			continue
		}
		if _, err := p.rejects.keep(ctx, bad.Raw, bad); err != nil {
			return err
		}
		p.mu.Lock()
		if len(p.rejected) >= maxRejectsPerMinute {
			clear(p.rejected)
		}
		p.rejected[sum] = true
		p.mu.Unlock()
	}
	return nil
}

// Replay takes a row of the alert list in again that was kept as a dead letter. An
// error means that it still cannot be read.
func (p *Poller) Replay(ctx context.Context, row []byte) error {
	cursor, err := p.load(ctx)
	if err != nil {
		return err
	}
	read, err := parse(row)
	if err != nil {
		return fmt.Errorf("alert row: %w", err)
	}
	alert, err := alertRow(read)
	if err != nil {
		return fmt.Errorf("alert row: %w", err)
	}
	_, err = p.takePage(ctx, Page[Alert]{Results: []Alert{alert}}, cursor.BackfillID)
	return err
}

// take hands a batch to the store, less what is known to be unchanged.
func (p *Poller) take(ctx context.Context, batch []soar.Alert, ids []int64, backfill int64) (fresh int, err error) {
	changed := make([]soar.Alert, 0, len(batch))
	marks := make(map[int64]uint64, len(batch))
	p.mu.Lock()
	for i, a := range batch {
		mark := changeable(&a)
		if known, ok := p.seen[ids[i]]; ok && known == mark {
			continue
		}
		a.Backfill = ids[i] <= backfill
		marks[ids[i]] = mark
		changed = append(changed, a)
	}
	p.mu.Unlock()
	p.metrics.alerts.WithLabelValues("known").Add(float64(len(batch) - len(changed)))
	if len(changed) == 0 {
		return 0, nil
	}
	done, err := p.env.Intake.Commit(ctx, soar.Change{Alerts: changed})
	if err != nil {
		return 0, fmt.Errorf("poll: store %d alerts: %w", len(changed), err)
	}
	p.mu.Lock()
	for id, mark := range marks {
		p.seen[id] = mark
	}
	p.mu.Unlock()
	p.metrics.alerts.WithLabelValues("new").Add(float64(len(done.New)))
	p.metrics.alerts.WithLabelValues("updated").Add(float64(len(done.Updated)))
	p.metrics.alerts.WithLabelValues("known").Add(float64(done.Known))
	return len(done.New) + len(done.Updated), nil
}

// changeable is a fingerprint of what of an alert can change on the server.
func changeable(a *soar.Alert) uint64 {
	const prime = 1099511628211 // FNV-1a, 64 bit
	sum := uint64(14695981039346656037)
	for _, text := range []string{a.Status, a.Verdict, a.Comment} {
		for i := range len(text) {
			sum = (sum ^ uint64(text[i])) * prime
		}
		sum = (sum ^ 0xff) * prime
	}
	return (sum ^ uint64(a.EventCount)) * prime //nolint:gosec // the bits, not the number
}

// Fetch reads alerts by id and takes them in; webhooks use it. Ids that the server
// does not know are left out of the count: the alert may be committed a moment
// later, and the ring that goes with a fetch finds it then.
func (p *Poller) Fetch(ctx context.Context, ids []int64) (found int, err error) {
	cursor, err := p.load(ctx)
	if err != nil {
		return 0, err
	}
	for _, resolved := range []bool{false, true} {
		page, err := p.client.Alerts.Page(ctx, AlertQuery{Resolved: &resolved, IDs: ids, Limit: len(ids)})
		if err != nil {
			if errors.Is(err, ErrRefused) {
				continue
			}
			return found, fmt.Errorf("fetch alerts: %w", err)
		}
		n, err := p.takePage(ctx, page, cursor.BackfillID)
		if err != nil {
			return found, err
		}
		found += n
	}
	return found, nil
}

// takePage normalises and stores a page that is outside the walk.
func (p *Poller) takePage(ctx context.Context, page Page[Alert], backfill int64) (rows int, err error) {
	batch, ids := make([]soar.Alert, len(page.Results)), make([]int64, len(page.Results))
	for i := range page.Results {
		batch[i], ids[i] = p.details.normalize(ctx, p.server, &page.Results[i]), page.Results[i].ID
	}
	_, err = p.take(ctx, batch, ids, backfill)
	return len(batch), err
}

package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/jq"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

// TelemetrySettings forwards the result rows that the server pushes beside its
// alerts (RSYSLOG_FORWARDING=true). Rows go to the sinks that list telemetry in their
// `events`; no playbook sees them. They have a queue of their own and never hold up an
// alert: a row for which there is no room is dropped, counted and told of as trouble,
// because the server would lose it, or stand still, if it were not read.
type TelemetrySettings struct {
	// When is a jq condition that decides which rows are kept; the input is the event as
	// JSON, as for `when` of a sink: '.row.query == "win_dns_events"'. Empty keeps all. A
	// row on which it fails becomes a dead letter.
	When registry.Text `yaml:"when"`

	// MaxRate is how many rows a second are written to the store. What comes faster
	// waits in the queue.
	MaxRate int `yaml:"max_rate"`

	// MaxQueue is how many rows may wait in memory for the disk; there is room for 64 MiB
	// of them in any case, and no more.
	MaxQueue int `yaml:"max_queue"`

	// MaxRowBytes bounds one row; larger ones are dropped.
	MaxRowBytes int `yaml:"max_row_bytes"`

	// MaxStored is how many rows the store may hold, while a sink that gets them is down
	// for example. It is more than max_rate for the time of store.retention.telemetry.
	// Beyond it, new rows are dropped.
	MaxStored int64 `yaml:"max_stored"`
}

// SetDefaults is called before the section is read.
func (s *TelemetrySettings) SetDefaults() {
	*s = TelemetrySettings{MaxRate: 1000, MaxQueue: 16384, MaxRowBytes: 256 << 10, MaxStored: 5_000_000}
}

// Bounds of telemetry that nobody needs to set.
const (
	maxTelemetryQueueBytes = 64 << 20
	maxTelemetryBatch      = 512             // rows in one commit,
	maxTelemetryBatchBytes = 1 << 20         // and their size: alerts wait for it to be written
	maxTelemetryLook       = 4096            // rows that are looked at for one commit
	telemetryFlush         = 5 * time.Second // for what is queued when the daemon stops
	telemetryTrouble       = 10 * time.Minute
)

// What became of a row, as the metric's label says it.
const (
	rowStored      = "stored"
	rowFiltered    = "filtered"
	rowFilterError = "filter_error"
	rowOverflow    = "overflow"
	rowTooLarge    = "too_large"
	rowFull        = "full"
	rowLost        = "lost"
)

// dropReasons are the outcomes that lose a row, in the words of the trouble event.
var dropReasons = []struct{ outcome, words string }{
	{rowOverflow, "the queue was full (sources.push.telemetry: max_rate, max_queue; or filter with when)"},
	{rowFull, "the store holds max_stored rows that a sink has not taken (erbridge sinks list shows which)"},
	{rowTooLarge, "they were larger than max_row_bytes"},
	{rowLost, "the store took nothing when erbridge stopped"},
}

// telemetry takes result rows from the connections of Push and commits them in
// batches. A row is kept when its batch is on disk: what is queued when the process is
// killed is lost, as the sender gets no acknowledgement and sends nothing twice; an
// orderly stop writes the queue first.
type telemetry struct {
	server   string
	settings TelemetrySettings
	when     *jq.Program // nil: all
	env      SourceEnv
	rejects  *rejects
	rows     *prometheus.CounterVec
	rate     pace // owned by run

	queue  chan queuedRow
	queued atomic.Int64  // bytes in queue
	lost   chan struct{} // capacity 1: there is something to tell

	mu      sync.Mutex
	dropped map[string]int // since they were last told, by outcome
	since   time.Time      // of the first of them
}

type queuedRow struct {
	fields pushFields
	size   int64
}

func newTelemetry(server string, s TelemetrySettings, env SourceEnv, rejects *rejects) (*telemetry, error) {
	if s.MaxRate <= 0 || s.MaxQueue <= 0 || s.MaxRowBytes <= 0 || s.MaxStored <= 0 {
		return nil, errors.New("push telemetry: max_rate, max_queue, max_row_bytes and max_stored must be above zero")
	}
	t := &telemetry{
		server: server, settings: s, env: env, rejects: rejects, rate: pace{perSecond: s.MaxRate},
		queue: make(chan queuedRow, s.MaxQueue), lost: make(chan struct{}, 1), dropped: map[string]int{},
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erbridge_telemetry_rows_total",
			Help: "Result rows that the server pushed, by what became of them: stored, filtered by when, filter_error (dead letters), or dropped as overflow, too_large, full or lost."},
			[]string{"outcome"}),
	}
	if s.When.Value != "" {
		var err error
		if t.when, err = jq.Compile(s.When.Value); err != nil {
			return nil, fmt.Errorf("push telemetry: when: %w", err)
		}
	}
	for _, outcome := range []string{rowStored, rowFiltered, rowFilterError, rowOverflow, rowTooLarge, rowFull, rowLost} {
		t.rows.WithLabelValues(outcome)
	}
	env.Registerer.MustRegister(t.rows, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "erbridge_telemetry_queue_rows", Help: "Result rows that wait in memory for the disk."}, func() float64 { return float64(len(t.queue)) }))
	return t, nil
}

// offer queues a row, or drops it. It never blocks, because alerts come on the same
// connections.
func (t *telemetry) offer(fields pushFields, size int) {
	if size > t.settings.MaxRowBytes {
		t.drop(rowTooLarge, 1)
		return
	}
	if t.queued.Add(int64(size)) <= maxTelemetryQueueBytes {
		select {
		case t.queue <- queuedRow{fields, int64(size)}:
			return
		default:
		}
	}
	t.queued.Add(-int64(size))
	t.drop(rowOverflow, 1)
}

func (t *telemetry) drop(outcome string, n int) {
	t.rows.WithLabelValues(outcome).Add(float64(n))
	t.mu.Lock()
	if len(t.dropped) == 0 {
		t.since = t.env.Now()
	}
	t.dropped[outcome] += n
	t.mu.Unlock()
	select {
	case t.lost <- struct{}{}:
	default: // it is known already
	}
}

// run commits rows until the queue is closed and empty. When ctx ends it hurries: no
// more pacing, and telemetryFlush for all that is left.
func (t *telemetry) run(ctx context.Context) {
	// What is queued was taken from the sender, so it is written although ctx has ended.
	flush, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(telemetryFlush, cancel) })()
	quiet := time.NewTimer(0) // before the next word about dropped rows
	defer quiet.Stop()
	lost := t.lost
	for {
		select {
		case first, open := <-t.queue:
			if !open {
				t.tell(flush)
				return
			}
			t.take(ctx, flush, first)
		case <-quiet.C:
			lost = t.lost
		case <-lost:
			t.tell(flush)
			lost = nil
			quiet.Reset(telemetryTrouble)
		}
	}
}

// take commits a batch: first, and what is queued behind it.
func (t *telemetry) take(ctx, flush context.Context, first queuedRow) {
	var events []soar.Event
	size := int64(0)
	row, more := first, true
	for looked := 1; more; looked++ {
		t.queued.Add(-row.size)
		if ev, keep := t.sift(flush, row.fields); keep {
			events = append(events, ev)
			size += row.size
		}
		if looked == maxTelemetryLook || len(events) == maxTelemetryBatch || size >= maxTelemetryBatchBytes {
			break
		}
		select {
		case row, more = <-t.queue:
		default:
			more = false
		}
	}
	if len(events) == 0 {
		return
	}
	if wait := t.rate.take(len(events), t.env.Now()); wait > 0 {
		_ = pause(ctx, wait) // a stop ends the pause, and the rows are written
	}
	t.commit(flush, events)
}

// sift makes the event of a row, and reports whether it is wanted.
func (t *telemetry) sift(ctx context.Context, fields pushFields) (soar.Event, bool) {
	var line []byte
	if t.when != nil {
		line, _ = json.Marshal(fields) // they came as JSON; for the dead letter
	}
	ev := telemetryEvent(t.server, fields, t.env.Now())
	if t.when == nil {
		return ev, true
	}
	plain, err := soar.Plain(&ev)
	if err == nil {
		var wanted bool
		if wanted, err = t.when.True(ctx, plain); err == nil {
			if !wanted {
				t.rows.WithLabelValues(rowFiltered).Inc()
			}
			return ev, wanted
		}
	}
	t.rows.WithLabelValues(rowFilterError).Inc()
	if _, err := t.rejects.keep(ctx, line, fmt.Errorf("telemetry: when: %w", err)); err != nil {
		t.env.Log.Error("row not kept", "err", err)
	}
	return ev, false
}

// commit stores events. While the store takes nothing, it waits, and the queue fills.
func (t *telemetry) commit(ctx context.Context, events []soar.Event) {
	for told := false; ; {
		stored, err := t.env.Intake.TelemetryRows(ctx)
		if err == nil && stored+int64(len(events)) > t.settings.MaxStored {
			t.drop(rowFull, len(events))
			return
		}
		if err == nil {
			if _, err = t.env.Intake.Commit(ctx, soar.Change{Events: events}); err == nil {
				t.rows.WithLabelValues(rowStored).Add(float64(len(events)))
				return
			}
		}
		if !told {
			t.env.Log.Error("telemetry waits for the store", "rows", len(events), "err", err)
			told = true
		}
		if pause(ctx, time.Second) != nil {
			t.drop(rowLost, len(events))
			return
		}
	}
}

// tell commits a trouble event that says how many rows were dropped, and why.
func (t *telemetry) tell(ctx context.Context) {
	t.mu.Lock()
	dropped, since := t.dropped, t.since
	t.dropped = map[string]int{}
	t.mu.Unlock()
	total, why := 0, []string(nil)
	for _, reason := range dropReasons {
		if n := dropped[reason.outcome]; n > 0 {
			total += n
			why = append(why, fmt.Sprintf("%d because %s", n, reason.words))
		}
	}
	if total == 0 {
		return
	}
	now := t.env.Now().UTC()
	text := fmt.Sprintf("%d rows of telemetry were dropped since %s: %s. Alerts are not concerned.",
		total, since.UTC().Format(time.RFC3339), strings.Join(why, "; "))
	t.env.Log.Warn("telemetry dropped", "rows", total, "reasons", why)
	trouble := soar.Event{ID: fmt.Sprintf("trouble/telemetry/%d", now.UnixNano()), Type: soar.EventTrouble, At: now, Text: text}
	if _, err := t.env.Intake.Commit(ctx, soar.Change{Events: []soar.Event{trouble}}); err != nil {
		t.env.Log.Error("dropped telemetry is not told", "err", err)
	}
}

// replay stores the row of a line that was a dead letter.
func (t *telemetry) replay(ctx context.Context, fields pushFields) error {
	ev := telemetryEvent(t.server, fields, t.env.Now())
	if t.when != nil {
		plain, err := soar.Plain(&ev)
		if err != nil {
			return err
		}
		wanted, err := t.when.True(ctx, plain)
		if err != nil {
			return fmt.Errorf("telemetry: when: %w", err)
		}
		if !wanted {
			return nil
		}
	}
	_, err := t.env.Intake.Commit(ctx, soar.Change{Events: []soar.Event{ev}})
	return err
}

// pace says how long to wait so that no more than so many things happen in a second,
// on average; a second's worth may come at once.
type pace struct {
	perSecond int
	free      time.Time // when what was taken is used up
}

// take is how long to wait before n more.
func (p *pace) take(n int, now time.Time) time.Duration {
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(n) * time.Second / time.Duration(p.perSecond))
	return p.free.Sub(now) - time.Second
}

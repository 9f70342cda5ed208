package connector

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
)

// Intake is what sources need of the store. Commit returns after the change is
// on disk; nothing is acknowledged to a sender before.
type Intake interface {
	Commit(ctx context.Context, change soar.Change) (soar.Committed, error)
	// Cursor is how far a source has read; nil when it never did.
	Cursor(ctx context.Context, source string) ([]byte, error)
	// KnownOpen lists stored alerts of a server that are open and were raised at
	// or after since.
	KnownOpen(ctx context.Context, server string, since time.Time, limit int) ([]soar.StoredAlert, error)
	// KnownResolved is KnownOpen for resolved alerts.
	KnownResolved(ctx context.Context, server string, since time.Time, limit int) ([]soar.StoredAlert, error)
	// WorkedOn lists stored alerts of a server with a run that began at or after since,
	// or that has not ended, the newest run first.
	WorkedOn(ctx context.Context, server string, since time.Time, limit int) ([]soar.StoredAlert, error)
	// KV returns the values whose keys begin with prefix.
	KV(ctx context.Context, prefix string) ([]soar.KV, error)
	// AlertByRef finds a stored alert; soar.ErrNotFound.
	AlertByRef(ctx context.Context, ref string) (soar.StoredAlert, error)
	// TelemetryRows is how many rows of telemetry are stored.
	TelemetryRows(ctx context.Context) (int64, error)
}

// SourceEnv is what every source gets from the daemon.
type SourceEnv struct {
	Intake     Intake
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
}

func (e SourceEnv) withDefaults() SourceEnv {
	if e.Log == nil {
		e.Log = slog.New(slog.DiscardHandler)
	}
	if e.Registerer == nil {
		e.Registerer = prometheus.NewRegistry()
	}
	if e.Now == nil {
		e.Now = time.Now
	}
	return e
}

// Bounds on what is kept of input that could not be understood. Whoever can
// reach an open listener could fill the disk with garbage otherwise; what is over
// the rate is counted and logged, and its text is not kept.
const (
	maxRejectBytes          = 1 << 20
	maxRejectsPerMinute     = 600
	maxRejectBytesPerMinute = 32 << 20
)

// rejects keeps malformed input as dead letters, within bounds.
type rejects struct {
	origin  string
	env     SourceEnv
	counter prometheus.Counter
	dropped prometheus.Counter

	mu      sync.Mutex
	started time.Time // of the current minute
	kept    int       // in it
	bytes   int       // in it
}

func newRejects(source string, env SourceEnv) *rejects {
	labels := prometheus.Labels{"source": source}
	r := &rejects{
		origin: "source:" + source, env: env,
		counter: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "erbridge_source_malformed_total", Help: "Inputs that could not be understood.", ConstLabels: labels}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "erbridge_source_malformed_unkept_total", Help: "Malformed inputs over the rate at which they are kept as dead letters.", ConstLabels: labels}),
	}
	env.Registerer.MustRegister(r.counter, r.dropped)
	return r
}

// keep stores raw with the reason. It reports whether the text was kept; an
// error means that the store takes nothing now.
func (r *rejects) keep(ctx context.Context, raw []byte, reason error) (bool, error) {
	r.counter.Inc()
	if !r.admit(min(len(raw), maxRejectBytes)) {
		r.dropped.Inc()
		r.env.Log.Warn("malformed input is over the rate at which it is kept", "origin", r.origin, "err", reason)
		return false, nil
	}
	text := reason.Error()
	if len(raw) > maxRejectBytes {
		text = fmt.Sprintf("%s (first %d of %d bytes kept)", text, maxRejectBytes, len(raw))
		raw = raw[:maxRejectBytes]
	}
	letter := soar.DeadLetter{Origin: r.origin, At: r.env.Now(), Reason: text, Payload: append([]byte(nil), raw...)}
	if _, err := r.env.Intake.Commit(ctx, soar.Change{DeadLetters: []soar.DeadLetter{letter}}); err != nil {
		return false, fmt.Errorf("keep malformed input of %s: %w", r.origin, err)
	}
	r.env.Log.Warn("malformed input kept as dead letter", "origin", r.origin, "bytes", len(raw), "err", reason)
	return true, nil
}

func (r *rejects) admit(size int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.env.Now(); now.Sub(r.started) >= time.Minute {
		r.started, r.kept, r.bytes = now, 0, 0
	}
	r.kept++
	r.bytes += size
	return r.kept <= maxRejectsPerMinute && r.bytes <= maxRejectBytesPerMinute
}

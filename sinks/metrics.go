package sinks

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Values of the label outcome: what became of an event at a sink.
const (
	outcomeDelivered  = "delivered"
	outcomeRetried    = "retried"     // once per event and failed attempt
	outcomeDeadLetter = "dead_letter" // refused for good, set aside
	outcomeRouteError = "route_error" // `when` failed on it, set aside
	outcomeSkipped    = "skipped"     // not meant for this sink
	outcomeDropped    = "dropped"     // over max_backlog, passed over
	outcomeLost       = "lost"        // among the delivered: thrown away by a receiver that does not say which
	outcomeGrouped    = "grouped"     // counted with others or silenced, and not delivered by itself
)

// metrics are the counters of one forwarder. Forwarders share them by label, so
// that a sink which is closed and opened again by a reload counts on.
type metrics struct {
	events *prometheus.CounterVec // curried with the sink; left: outcome
	send   prometheus.Observer
}

func newMetrics(r prometheus.Registerer, sink string) (*metrics, error) {
	events, err := register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "erbridge_sink_events_total",
		Help: "Events by what became of them at the sink; retried counts every failed attempt.",
	}, []string{"sink", "outcome"}))
	if err != nil {
		return nil, err
	}
	send, err := register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "erbridge_sink_send_seconds",
		Help:    "Time of one attempt to deliver a batch, failed ones too.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"sink"}))
	if err != nil {
		return nil, err
	}
	m := &metrics{events: events.MustCurryWith(prometheus.Labels{"sink": sink}), send: send.WithLabelValues(sink)}
	for _, outcome := range []string{
		outcomeDelivered, outcomeRetried, outcomeDeadLetter, outcomeRouteError, outcomeSkipped, outcomeDropped, outcomeGrouped, outcomeLost,
	} {
		m.events.WithLabelValues(outcome) // a counter that is not there cannot be alerted on
	}
	return m, nil
}

func (m *metrics) count(outcome string, n int) {
	if n > 0 {
		m.events.WithLabelValues(outcome).Add(float64(n))
	}
}

// register adds a collector, or finds the one that an earlier sink added.
func register[C prometheus.Collector](r prometheus.Registerer, c C) (C, error) {
	if r == nil {
		return c, nil
	}
	err := r.Register(c)
	if known, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := known.ExistingCollector.(C); ok {
			return existing, nil
		}
	}
	return c, err
}

// gauges tells a forwarder's state when Prometheus asks for it; nothing has to
// keep them fresh in the meantime. They are registered while Run runs.
type gauges struct {
	f                                         *Forwarder
	backlog, over, oldest, paused, held, open *prometheus.Desc
}

func newGauges(f *Forwarder) *gauges {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, nil, prometheus.Labels{"sink": f.name})
	}
	return &gauges{
		f:       f,
		backlog: desc("erbridge_sink_backlog_events", "Events in the feed that the sink has not passed yet, those it will skip included."),
		oldest:  desc("erbridge_sink_oldest_seconds", "Age of the oldest event that the sink is trying to deliver; 0 when there is none."),
		over:    desc("erbridge_sink_backlog_over", "1 while the backlog of the sink exceeds max_backlog."),
		paused:  desc("erbridge_sink_paused", "1 while the receiver refuses the sink's configuration, or says that it is gone."),
		held:    desc("erbridge_sink_held", "1 while a person has paused the sink."),
		open:    desc("erbridge_sink_circuit_open", "1 while the receiver is down, or nothing may be sent to it: at most one event is tried now and then."),
	}
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.backlog, g.over, g.oldest, g.paused, g.held, g.open} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	status := g.f.Status()
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	flag := func(d *prometheus.Desc, set bool) {
		if set {
			gauge(d, 1)
		} else {
			gauge(d, 0)
		}
	}
	gauge(g.backlog, float64(status.Backlog))
	gauge(g.oldest, status.OldestAge.Seconds())
	flag(g.over, status.OverBacklog)
	flag(g.paused, status.State == StatePaused || status.State == StateGone)
	flag(g.held, status.Held != nil)
	flag(g.open, status.Circuit != CircuitClosed && status.State != StateRecovering)
}

// observe counts one attempt.
func (m *metrics) observe(took time.Duration) { m.send.Observe(took.Seconds()) }

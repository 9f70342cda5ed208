package connector

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// newMetrics registers the metrics. A second client on the same registry shares them.
func newMetrics(r prometheus.Registerer) *metrics {
	return &metrics{
		requests: register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erbridge_er_requests_total",
			Help: "Calls to the Endpoint Response server, by call and outcome. Repeats of a read count as one.",
		}, []string{"call", "outcome"})),
		seconds: register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "erbridge_er_request_seconds",
			Help:    "Time that calls to the Endpoint Response server took, repeats and waiting included.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 150},
		}, []string{"call"})),
	}
}

func register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	if r == nil {
		return c
	}
	err := r.Register(c)
	if known, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := known.ExistingCollector.(C); ok {
			return same
		}
	}
	return c
}

// observe counts a call; it is deferred with the address of the call's error.
func (m *metrics) observe(id string, start time.Time, err *error) {
	m.requests.WithLabelValues(id, outcome(*err)).Inc()
	m.seconds.WithLabelValues(id).Observe(time.Since(start).Seconds())
}

package evidence

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// The outcomes of carves, for the metric.
const (
	outcomeKept     = "kept"
	outcomeUnknown  = "unrecognised"
	outcomeTooLarge = "too_large"
	outcomeStalled  = "stalled"
	outcomeBroken   = "broken_off" // the download; it is tried again
	outcomeDeleted  = "deleted"
)

type metrics struct {
	carves     *prometheus.CounterVec
	downloaded prometheus.Counter
	kept       prometheus.Gauge
}

func newMetrics(to prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		carves: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "erbridge_carves_total",
			Help: "Carves by outcome: kept, unrecognised (kept, and no archive), too_large, stalled, broken_off (a download that is tried again), deleted (by retention).",
		}, []string{"outcome"}),
		downloaded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "erbridge_carves_downloaded_bytes_total", Help: "Bytes of archives that were downloaded, those that broke off included.",
		}),
		kept: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "erbridge_carves_kept_bytes", Help: "What the archives of carves took on disk when retention last looked.",
		}),
	}
	for _, outcome := range []string{outcomeKept, outcomeUnknown, outcomeTooLarge, outcomeStalled, outcomeBroken, outcomeDeleted} {
		m.carves.WithLabelValues(outcome)
	}
	if to == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.carves, m.downloaded, m.kept} {
		if err := to.Register(c); err != nil {
			return nil, fmt.Errorf("metrics of carves: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) count(outcome string) { m.carves.WithLabelValues(outcome).Inc() }

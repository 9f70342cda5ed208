package store

import "github.com/prometheus/client_golang/prometheus"

// metrics are registered on the registry that was passed in, or kept to
// themselves where there is none.
type metrics struct {
	registerer prometheus.Registerer
	registered []prometheus.Collector
	groupSize  prometheus.Histogram
	commitTime prometheus.Histogram
}

func newMetrics(to prometheus.Registerer, s *Store) (*metrics, error) {
	m := &metrics{
		registerer: to,
		groupSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "erbridge_store_commit_group_size",
			Help:    "Changes that were committed together with one sync to disk.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 12),
		}),
		commitTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "erbridge_store_fsync_seconds",
			Help:    "Time of one transaction of the store, the sync to disk included.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
	}
	if to == nil {
		return m, nil
	}
	collectors := []prometheus.Collector{
		m.groupSize, m.commitTime,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "erbridge_store_queue_changes",
			Help: "Changes that wait for the committer.",
		}, func() float64 { _, n := s.queue.load(); return float64(n) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "erbridge_store_size_bytes",
			Help: "Size of the store on disk, the write-ahead log included.",
		}, func() float64 { return float64(s.sizeBytes()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "erbridge_store_audit_head",
			Help: "Number of the newest audit record. It never falls; where it does, another store was put in place.",
		}, func() float64 { return float64(s.auditHead.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "erbridge_store_accepting",
			Help: "1 while the store takes changes, 0 while it cannot write.",
		}, func() float64 {
			if s.Health() != nil {
				return 0
			}
			return 1
		}),
	}
	for _, c := range collectors {
		if err := to.Register(c); err != nil {
			m.close()
			return nil, err
		}
		m.registered = append(m.registered, c)
	}
	return m, nil
}

// close takes the metrics off the registry, so that the store can be opened again.
func (m *metrics) close() {
	for _, c := range m.registered {
		m.registerer.Unregister(c)
	}
}

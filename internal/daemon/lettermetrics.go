package daemon

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/store"
)

// letterMetrics tell how many dead letters there are, and how long the oldest has
// waited for a person. They are read from the store when Prometheus asks.
type letterMetrics struct {
	d           *Daemon
	depth, aged *prometheus.Desc
}

// letterPatience bounds the reading for one scrape.
const letterPatience = 5 * time.Second

func newLetterMetrics(d *Daemon) *letterMetrics {
	return &letterMetrics{
		d:     d,
		depth: prometheus.NewDesc("erbridge_dead_letters", "Dead letters that wait for a person, by where they come from: sink: or source: and its name.", []string{"origin"}, nil),
		aged:  prometheus.NewDesc("erbridge_dead_letter_oldest_seconds", "How long ago the oldest dead letter was set aside; 0 when there is none.", []string{"origin"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *letterMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.depth
	ch <- m.aged
}

// Collect implements prometheus.Collector.
func (m *letterMetrics) Collect(ch chan<- prometheus.Metric) {
	st := m.d.Store()
	if st == nil {
		return // it has not started
	}
	ctx, cancel := context.WithTimeout(context.Background(), letterPatience)
	defer cancel()
	counts, err := st.DeadLetterCounts(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(m.depth, err)
		return
	}
	now := m.d.o.Now()
	for _, name := range m.d.configured().Names() { // one that has none shows 0
		if !hasOrigin(counts, originSink+name) {
			counts = append(counts, store.DeadLetterCount{Origin: originSink + name, Oldest: now})
		}
	}
	for _, c := range counts {
		ch <- prometheus.MustNewConstMetric(m.depth, prometheus.GaugeValue, float64(c.Count), originLabel(c.Origin))
		ch <- prometheus.MustNewConstMetric(m.aged, prometheus.GaugeValue, max(now.Sub(c.Oldest), 0).Seconds(), originLabel(c.Origin))
	}
}

func hasOrigin(counts []store.DeadLetterCount, origin string) bool {
	for _, c := range counts {
		if c.Origin == origin {
			return true
		}
	}
	return false
}

// originLabel is the origin in valid UTF-8, which a label has to be.
func originLabel(origin string) string { return strings.ToValidUTF8(origin, "\uFFFD") }

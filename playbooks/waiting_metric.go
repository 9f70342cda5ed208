package playbooks

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// waitingMetrics tells how many steps wait before their calls are sent, by what they wait
// for. Those of a run that is being worked on right now count as before.
type waitingMetrics struct{ e *Engine }

var stepsWaiting = prometheus.NewDesc("erbridge_steps_waiting",
	"Steps that wait before their calls are sent, by what they wait for: host, which is not ready, or a check of the guard. See erbridge queue list.",
	[]string{"reason"}, nil)

// waitsFor are the reasons that are always told, so that an increase from nothing is seen.
var waitsFor = []string{"host", "kill_switch", "open_call", "limits", "change_freeze", "approval"}

// Describe implements prometheus.Collector.
func (waitingMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- stepsWaiting }

// Collect implements prometheus.Collector.
func (m waitingMetrics) Collect(ch chan<- prometheus.Metric) {
	counts := map[string]int{}
	for _, reason := range waitsFor {
		counts[reason] = 0
	}
	m.e.holds.count(counts)
	for reason, n := range counts {
		ch <- prometheus.MustNewConstMetric(stepsWaiting, prometheus.GaugeValue, float64(n), reason)
	}
}

// count adds the steps that wait, by reason.
func (h *holds) count(counts map[string]int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range h.runs {
		for _, check := range one.steps {
			counts[waitReason(check)]++
		}
	}
	for id, steps := range h.counted {
		for step, check := range steps {
			if _, again := h.runs[id].steps[step]; !again {
				counts[waitReason(check)]++
			}
		}
	}
}

// waitReason is a check as the value of a label.
func waitReason(check string) string {
	switch check {
	case readyCheck:
		return "host"
	case "":
		return "other"
	}
	return strings.ReplaceAll(check, " ", "_")
}

package sinks

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
)

// A receiver that throws a part of a batch away gets it once; people can see how
// much it was.
func TestForwarderCountsWhatTheReceiverLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 10)
		sink := newScript(func(n int, _ []string) error {
			if n == 1 {
				return fmt.Errorf("otlp: %w", &LostError{Events: 3, Err: errDown})
			}
			return nil
		})
		registry := prometheus.NewRegistry()
		_, stop := forward(t, feed, sink, ForwarderOptions{MaxBatch: 5, FromStart: true, Registerer: registry})
		synctest.Wait()
		stop()
		var sent []string
		for _, a := range sink.attempts() {
			sent = append(sent, a.ids...)
		}
		wantIDs(t, "sent", sent, eventIDs(1, 10))
		metrics := gather(t, registry)
		for name, want := range map[string]float64{"lost": 3, "delivered": 10} {
			if got := metrics["erbridge_sink_events_total "+name+" siem"]; got != want {
				t.Errorf("%s: %v, want %v; there are %v", name, got, want, metrics)
			}
		}
		if got := feed.cursor("siem"); got != 10 {
			t.Errorf("cursor %d, want 10", got)
		}
	})
}

package sinks

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
)

// A receiver that throws a part of a batch away gets it once; people can see how
// much it was.
func TestForwarderCountsWhatTheReceiverLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFeed(t, 10)
		sink := newScript(func(n int, _ []string) error {
			if n <= 2 {
				return fmt.Errorf("otlp: %w", &LostError{Events: 3, Err: errDown})
			}
			return nil
		})
		registry := prometheus.NewRegistry()
		f, stop := forward(t, feed, sink, ForwarderOptions{MaxBatch: 5, FromStart: true, Registerer: registry, Events: []soar.EventType{soar.EventNotification}})
		synctest.Wait()
		stop()
		var sent []string
		for _, a := range sink.attempts() {
			sent = append(sent, a.ids...)
		}
		wantIDs(t, "sent", sent, eventIDs(1, 10))
		metrics := gather(t, registry)
		for name, want := range map[string]float64{"lost": 6, "delivered": 10} {
			if got := metrics["erbridge_sink_events_total "+name+" siem"]; got != want {
				t.Errorf("%s: %v, want %v; there are %v", name, got, want, metrics)
			}
		}
		if got := feed.cursor("siem"); got < 10 {
			t.Errorf("cursor %d, want 10 or more", got)
		}
		if got := f.Status().Lost; got != 6 {
			t.Errorf("status says %d are lost, want 6", got)
		}
		// The other sinks are told once, and not with every batch.
		if told := feed.troubles(); len(told) != 1 || !strings.HasPrefix(told[0], `The receiver of sink "siem" threw events away that it had been given, and did not say which: 3 since the start`) ||
			!strings.Contains(told[0], errDown.Error()) {
			t.Errorf("told %q", told)
		}
	})
}

package sinks

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// largest is a sink that notes the size of the largest batch, as JSON.
type largest struct{ events, bytes int }

func (l *largest) Send(_ context.Context, events []soar.Event) error {
	text, err := json.Marshal(events)
	l.events, l.bytes = l.events+len(events), max(l.bytes, len(text))
	return err
}

func (l *largest) Close() error { return nil }

// A batch keeps to max_batch_bytes, whatever part of an event is large: rows of telemetry,
// questions to people, and what is delivered once more.
func TestBatchesKeepToTheirBytes(t *testing.T) {
	const bound, n = 1 << 20, 100
	long := strings.Repeat("x", 100<<10)
	for name, ev := range map[string]soar.Event{
		"row":      {Type: soar.EventTelemetry, Row: &soar.Row{Columns: map[string]string{"cmdline": long}}},
		"approval": {Type: soar.EventApprovalRequested, Approval: &soar.Approval{Text: long}},
		"text":     {Type: soar.EventNotification, Text: long},
	} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, again %t", name, again), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					feed, sink := newFeed(t, 0), &largest{}
					var c soar.Change
					for i := range n {
						ev.ID, ev.At = fmt.Sprint("e", i), time.Now()
						if c.Events = append(c.Events, ev); again {
							c.Redeliver = append(c.Redeliver, soar.Redelivery{Sink: "siem", Event: ev})
						}
					}
					if again {
						c.Events = nil
					}
					if _, err := feed.Commit(t.Context(), c); err != nil {
						t.Fatal(err)
					}
					_, stop := forward(t, feed, sink, ForwarderOptions{FromStart: true, MaxBatch: 1000, MaxBatchBytes: bound, Events: []soar.EventType{ev.Type}})
					synctest.Wait()
					stop()
					if sink.events != n || sink.bytes > bound+bound/10 {
						t.Errorf("%d events of %d, at most %d bytes at once", sink.events, n, sink.bytes)
					}
				})
			})
		}
	}
}

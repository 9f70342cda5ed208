package sinks_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

// Two sinks that write to one channel with one token, one by its name and one by its id,
// post one message a second together: Slack refuses more.
func TestSlackSinksShareTheirPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSlackBubble(t, sinksim.SlackOptions{Interval: time.Second})
		defer b.close()
		var paces sinks.Paces
		open := func(name, channel string) sinks.Sink {
			s := sinks.DefaultSlackSettings()
			s.Token, s.Channel, s.APIURL = soar.SecretValue("xoxb-demo"), channel, "http://localhost/api/"
			sink, err := sinks.Open(name, "slack", &s, sinks.Env{Version: "1", State: &sinktest.Memory{}, Paces: &paces})
			if err != nil {
				t.Fatal(err)
			}
			sinks.DialSlack(sink, b.net.dial)
			t.Cleanup(func() { _ = sink.Close() })
			return sink
		}
		byName, byID := open("soc", "#soc"), open("night", "C000000001")
		told := func(sink sinks.Sink, name string, n int) error {
			var events []soar.Event
			for i := range n {
				events = append(events, soar.Event{ID: fmt.Sprint(name, i), Type: soar.EventTrouble, At: time.Now(), Text: name})
			}
			return sink.Send(t.Context(), events)
		}
		began := time.Now()
		if err := told(byName, "first", 1); err != nil { // from here on, the channel's id is known
			t.Fatal(err)
		}
		results := make(chan error, 2)
		go func() { results <- told(byName, "soc", 5) }()
		go func() { results <- told(byID, "night", 5) }()
		for range 2 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if got, took := len(b.sim.Messages()), time.Since(began); got != 11 || took != 10*time.Second {
			t.Errorf("%d messages in %s, want 11 in 10s", got, took)
		}
	})
}

package sinks

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/sinksim"
)

// handled lets an HTTP client reach a handler without a network.
type handled struct{ http.Handler }

func (h handled) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

// joined is a keptFeed that joins the alert to its events, as the store does.
type joined struct{ *keptFeed }

func (j joined) Feed(ctx context.Context, after int64, limit int) ([]soar.Event, error) {
	events, err := j.keptFeed.Feed(ctx, after, limit)
	for i := range events {
		if key := events[i].AlertKey; key > 0 && events[i].Alert == nil {
			j.mu.Lock()
			events[i].Alert = j.taken[key-1]
			j.mu.Unlock()
		}
	}
	return events, err
}

// slackOf makes a bot sink on a simulated workspace, with Slack's limit of a message a
// second.
func slackOf(t *testing.T, feed *keptFeed, change func(*SlackSettings)) (*sinksim.Slack, Sink) {
	t.Helper()
	sim := sinksim.NewSlack(sinksim.SlackOptions{Interval: time.Second})
	s := DefaultSlackSettings()
	s.Token, s.Channel, s.APIURL = soar.SecretValue("xoxb-demo"), "#soc", "http://localhost/api/"
	if change != nil {
		change(&s)
	}
	sink, err := Open("siem", "slack", &s, Env{Version: "1", State: NewState(feed, "siem", nil)})
	if err != nil {
		t.Fatal(err)
	}
	sink.(*slackSink).http.Transport = handled{sim}
	return sim, sink
}

// A thousand like alerts in a minute, on each of which a playbook acts, are at most five
// messages, and their head has the right counts in the end.
func TestSlackStorm(t *testing.T) {
	for name, failing := range map[string]bool{"all goes well": false, "some fail": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				feed := newKeptFeed(t)
				sim, sink := slackOf(t, feed, nil)
				kind, _ := Types.Get("slack")
				forward(t, joined{feed}, sink, ForwarderOptions{
					FromStart: true, MaxBatch: kind.MaxBatch, Events: kind.Events, Group: GroupOptions{Storm: DefaultStorm, StormUpdate: kind.StormUpdate},
				})
				for i := range 1000 {
					key := feed.alerts("Shadow copies deleted", 1, 40)
					run := &soar.RunSummary{ID: soar.RunID(i + 1), Playbook: "contain", State: soar.RunDone}
					step := &soar.Outcome{Step: "isolate", Action: "host.contain", State: soar.StepVerified, Summary: "contained"}
					if failing && i%100 == 99 {
						step.State, run.State = soar.StepFailed, soar.RunFailed
					}
					feed.of(key, soar.Event{Type: soar.EventStepFinished, Run: run, Outcome: step})
					feed.of(key, soar.Event{Type: soar.EventRunFinished, Run: run})
					time.Sleep(60 * time.Millisecond)
				}
				time.Sleep(15 * time.Minute)
				synctest.Wait()
				m := sim.Messages()
				if len(m) > 5 {
					t.Errorf("%d messages", len(m))
					for _, one := range m {
						t.Log("\n" + sim.Render(one))
					}
				}
				heads := 0
				for _, one := range m {
					if one.ThreadTS == "" {
						heads++
					}
				}
				ok, bad := 1000, 0
				if failing {
					ok, bad = 990, 10
				}
				wants := []string{"*999 more like this* on 40 hosts", fmt.Sprintf("done ×%d", ok-heads), fmt.Sprintf("host.contain verified ×%d", ok-heads)}
				if failing {
					wants = append(wants, fmt.Sprintf("failed ×%d", bad), fmt.Sprintf("host.contain failed ×%d", bad))
				}
				for _, want := range wants {
					if !strings.Contains(string(m[0].Blocks), want) {
						t.Errorf("the head does not say %q:\n%s", want, sim.Render(m[0]))
					}
				}
			})
		})
	}
}

// A thousand alerts that are not alike: a few messages that count, and not one each.
func TestSlackDigestUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newKeptFeed(t)
		sim, sink := slackOf(t, feed, nil)
		for i := range 1000 {
			key := feed.alerts(fmt.Sprintf("Rule %d", i%200), 1, 50)
			feed.of(key, soar.Event{Type: soar.EventStepFinished, Run: &soar.RunSummary{ID: soar.RunID(i + 1)}, Outcome: &soar.Outcome{Action: "host.contain", State: soar.StepVerified}})
		}
		key := feed.alerts("Rule 7", 1, 50)
		feed.of(key, soar.Event{Type: soar.EventNotification, To: "siem", Text: "look at this one"})
		forward(t, joined{feed}, sink, ForwarderOptions{FromStart: true, MaxBatch: slackMaxBatch})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		m := sim.Messages()
		if len(m) > 2*slackDigestAbove {
			t.Fatalf("%d messages", len(m))
		}
		digests, noted := 0, false
		for _, one := range m {
			if strings.Contains(string(one.Blocks), "too many for a message each") {
				digests++
			}
			noted = noted || strings.Contains(string(one.Blocks), "look at this one")
		}
		if digests != 1 || !noted {
			t.Fatalf("%d digests, the message of a playbook was told: %t", digests, noted)
		}
		// What came last was little enough for messages of its own.
		alone := 0
		for _, one := range m {
			if one.ThreadTS == "" && strings.Contains(string(one.Blocks), "HIGH: Rule") {
				alone++
			}
		}
		if text := string(m[0].Blocks); !strings.Contains(text, fmt.Sprintf("%d alerts on 50 hosts", 1001-alone)) {
			t.Errorf("%d alerts have a message, and the digest says\n%s", alone, sim.Render(m[0]))
		}
	})
}

// Slack's own limit is kept by pacing: at the rate at which it would refuse, nothing is
// refused.
func TestSlackKeepsToAMessageASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newKeptFeed(t)
		sim, sink := slackOf(t, feed, nil)
		f, _ := forward(t, joined{feed}, sink, ForwarderOptions{FromStart: true, MaxBatch: slackMaxBatch})
		began := time.Now()
		for i := range 15 {
			feed.alerts(fmt.Sprintf("Rule %d", i), 1, 15)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(sim.Messages()); n != 15 || sim.Calls("chat.postMessage") != 15 {
			t.Errorf("%d messages by %d calls", n, sim.Calls("chat.postMessage"))
		}
		if s := f.Status(); s.LastSuccess.Sub(began) < 14*time.Second || s.State != StateOK {
			t.Errorf("after %s: %+v", s.LastSuccess.Sub(began), s)
		}
	})
}

// A batch that breaks off in the middle is not told again from its beginning: neither by
// the same process nor by the next one.
func TestSlackBreaksOffInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newKeptFeed(t)
		sim, sink := slackOf(t, feed, nil)
		for i := range 5 {
			key := feed.alerts(fmt.Sprintf("Rule %d", i), 1, 15)
			feed.of(key, soar.Event{Type: soar.EventStepFinished, Run: &soar.RunSummary{ID: soar.RunID(i + 1)}, Outcome: &soar.Outcome{Action: "host.contain", State: soar.StepVerified}})
		}
		var events []soar.Event
		page, err := feed.Feed(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, page...)
		sim.Next(sinksim.Answer{Pass: 4}, sinksim.Answer{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"30"}}})
		partial, ok := sink.Send(t.Context(), events).(*PartialError) //nolint:errorlint // it is not wrapped
		if !ok || len(partial.Permanent) != 0 || len(partial.Transient) != 6 {
			t.Fatalf("error %+v, want the last three alerts to be tried again", partial)
		}
		for _, err := range partial.Transient {
			if asked, ok := err.(*RetryAfter); !ok && !strings.Contains(err.Error(), "retry after 30s") { //nolint:errorlint // the text is what is looked at
				t.Errorf("error %v, %v", err, asked)
			}
		}
		// The process ends here, and its cursor has not moved.
		again := DefaultSlackSettings()
		again.Token, again.Channel, again.APIURL = soar.SecretValue("xoxb-demo"), "#soc", "http://localhost/api/"
		next, err := Open("siem", "slack", &again, Env{Version: "1", State: NewState(feed, "siem", nil)})
		if err != nil {
			t.Fatal(err)
		}
		next.(*slackSink).http.Transport = handled{sim}
		time.Sleep(30 * time.Second)
		if err := next.Send(t.Context(), events); err != nil {
			t.Fatal(err)
		}
		threads := map[string]int{}
		for _, m := range sim.Messages() {
			threads[m.ThreadTS]++
		}
		if len(sim.Messages()) != 10 || threads[""] != 5 {
			t.Errorf("%d messages, %d of them heads; want 5 and a reply to each", len(sim.Messages()), threads[""])
		}
	})
}

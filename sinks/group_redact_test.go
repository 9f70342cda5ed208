package sinks

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// What is told of groups, storms and silences has nothing in it of what is taken out of
// the alerts, those that are counted included: the words of a group come with its first one.
func TestGroupsTellNothingThatIsTakenOut(t *testing.T) {
	hide := func(ev soar.Event) soar.Event {
		if ev.Alert != nil {
			a := *ev.Alert
			a.Host.Name, a.Rule = "[redacted]", &soar.Rule{Name: "[redacted]"}
			ev.Alert = &a
		}
		return ev
	}
	for _, tt := range []struct {
		name    string
		by      []string
		storm   int
		silence bool
		want    string
	}{
		{"by host and rule", []string{"host", "rule"}, 0, false, `"key":"[redacted], [redacted]"`},
		{"by rule, on many hosts", []string{"rule"}, 0, false, `"names":["[redacted]"]`},
		{"storm", nil, 5, false, `"key":"[redacted]"`},
		{"silence", nil, 0, true, `50 alerts were silenced: \"[redacted]\" on [redacted], in siem`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				feed, sink := newKeptFeed(t), &keeper{}
				s := GroupSettings{By: tt.by}
				keys, err := s.Compile()
				if err != nil {
					t.Fatal(err)
				}
				silences := NewSilences(feed, nil)
				if tt.silence {
					one := Silence{Sink: "siem", Rule: "hunter2", Host: "pc-0", By: "ada", Until: time.Now().Add(time.Minute)}
					if _, err := silences.Add(t.Context(), one); err != nil {
						t.Fatal(err)
					}
				}
				forward(t, feed, sink, ForwarderOptions{FromStart: true, Redact: hide, Group: GroupOptions{
					By: keys, Window: 10 * time.Minute, Update: 10 * time.Second, Storm: tt.storm, StormUpdate: 10 * time.Second, Silences: silences,
				}})
				feed.alerts("hunter2", 100, 2)
				time.Sleep(20 * time.Minute)
				synctest.Wait()
				text, err := json.Marshal(sink.got(soar.EventAlertReceived, soar.EventAlertGrouped, soar.EventNotification))
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(string(text), tt.want) {
					t.Errorf("no %s in %s", tt.want, text)
				}
				for _, secret := range []string{"hunter2", "pc-0", "pc-1"} {
					if at := strings.Index(string(text), secret); at >= 0 {
						t.Errorf("%s is told: %s", secret, text[max(at-300, 0):at+10])
					}
				}
				if tt.by != nil && !strings.Contains(string(text), fmt.Sprintf(`"hosts":%d`, 3-len(tt.by))) {
					t.Errorf("hosts are not told apart any more: %s", text)
				}
			})
		})
	}
}

// The reason of a dead letter may quote what the event is about.
func TestReasonOfADeadLetterQuotesNothingThatIsTakenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed, sink := newKeptFeed(t), &keeper{}
		when, err := CompileWhen(`.alert.rule.name | tonumber > 1`)
		if err != nil {
			t.Fatal(err)
		}
		hide := func(ev soar.Event) soar.Event {
			a := *ev.Alert
			a.Rule = &soar.Rule{Name: "[redacted]"}
			ev.Alert, ev.Text = &a, strings.ReplaceAll(ev.Text, "hunter2", "[redacted]")
			return ev
		}
		forward(t, feed, sink, ForwarderOptions{FromStart: true, When: when, Redact: hide})
		feed.alerts("hunter2", 1, 1)
		synctest.Wait()
		dead := feed.deadLetters()
		if len(dead) != 1 || !strings.Contains(dead[0].Reason, "[redacted]") || strings.Contains(dead[0].Reason+string(dead[0].Payload), "hunter2") {
			t.Errorf("dead letters %+v", dead)
		}
	})
}

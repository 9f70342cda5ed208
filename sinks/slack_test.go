package sinks_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

func openSlack(t *testing.T, s *sinks.SlackSettings, env sinks.Env) sinks.Sink {
	t.Helper()
	s.Timeout, s.KeepThreads = 5*time.Second, time.Hour
	sink, err := sinks.Open("soc", "slack", s, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })
	return sink
}

// workspace is a simulated Slack and a bot sink that writes to it.
func workspace(t *testing.T, o sinksim.SlackOptions, state sinks.State) (*sinksim.Slack, sinks.Sink) {
	t.Helper()
	sim := sinksim.NewSlack(o)
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	return sim, openSlack(t, &sinks.SlackSettings{
		Token: soar.SecretValue("xoxb-demo"), Channel: "#soc", APIURL: srv.URL + "/api",
	}, sinks.Env{Version: "1", State: state})
}

func TestSlackBotContract(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		MaxBatch: 500,
		Secrets:  []string{"xoxb-very-secret"},
		Open: func(t *testing.T, r sinktest.Receiver) sinks.Sink {
			return openSlack(t, &sinks.SlackSettings{
				Token: soar.SecretValue("xoxb-very-secret"), Channel: "#soc", APIURL: r.URL + "/api/",
				TLSSettings: sinks.TLSSettings{CAFile: r.CAFile},
			}, sinks.Env{Version: "1", State: &sinktest.Memory{}})
		},
		OK: func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			_, _ = w.Write([]byte(`{"ok":true,"channel":"C1","ts":"1.000001"}`))
		},
		IDs: func(t *testing.T, _ *http.Request, body []byte) []string {
			// The metadata names the alert, whose reference is the id of its event.
			form := parseForm(t, body)
			var metadata struct {
				Payload struct{ Alert string } `json:"event_payload"`
			}
			if err := json.Unmarshal([]byte(form.Get("metadata")), &metadata); err != nil {
				t.Error(err)
			}
			return []string{metadata.Payload.Alert}
		},
	})
}

// alertLine is the line of a message that names its alert.
var alertLine = regexp.MustCompile(`"text":"(er-[0-9]+)"`)

func TestSlackWebhookContract(t *testing.T) {
	const path = "/services/T1/B1/hookSecret123"
	sinktest.Run(t, sinktest.Harness{
		MaxBatch: 500,
		Secrets:  []string{"hookSecret123", path},
		Open: func(t *testing.T, r sinktest.Receiver) sinks.Sink {
			return openSlack(t, &sinks.SlackSettings{
				WebhookURL: soar.SecretValue(r.URL + path), APIURL: "https://slack.com/api/",
				TLSSettings: sinks.TLSSettings{CAFile: r.CAFile},
			}, sinks.Env{Version: "1", State: &sinktest.Memory{}})
		},
		OK: func(w http.ResponseWriter, _ *http.Request, _ []byte) { _, _ = w.Write([]byte("ok")) },
		IDs: func(t *testing.T, _ *http.Request, body []byte) []string {
			if found := alertLine.FindSubmatch(body); found != nil {
				return []string{string(found[1])}
			}
			t.Errorf("no alert in %s", body)
			return nil
		},
	})
}

func outcome(id string, state soar.StepState) soar.Event {
	ev := sinktest.Event(1)
	ev.ID, ev.Type = id, soar.EventStepFinished
	ev.Run = &soar.RunSummary{ID: 1 << 50, Playbook: "contain", Mode: soar.ModeEnforce, State: soar.RunRunning}
	ev.Outcome = &soar.Outcome{Step: "isolate", Action: "host.contain", State: state, Target: "EC2A-7", Summary: "firewall rule added", Took: 1200 * time.Millisecond}
	return ev
}

func sendAll(t *testing.T, sink sinks.Sink, events ...soar.Event) {
	t.Helper()
	for _, ev := range events {
		if err := sink.Send(t.Context(), []soar.Event{ev}); err != nil {
			t.Fatalf("%s: %v", ev.ID, err)
		}
	}
}

func TestSlackOneMessageForEachAlertAndRepliesBelow(t *testing.T) {
	state := &sinktest.Memory{}
	sim, sink := workspace(t, sinksim.SlackOptions{}, state)
	finished := sinktest.Event(1)
	finished.ID, finished.Type, finished.Run = "run-1", soar.EventRunFinished, &soar.RunSummary{Playbook: "contain", State: soar.RunDone}
	sendAll(t, sink, sinktest.Event(1), outcome("step-1", soar.StepVerified), finished)

	m := sim.Messages()
	if len(m) != 3 || m[0].ThreadTS != "" || m[1].ThreadTS != m[0].TS || m[2].ThreadTS != m[0].TS {
		t.Fatalf("messages %+v: want a head and two replies", m)
	}
	if !strings.Contains(string(m[1].Blocks), "WIN-07") || !strings.Contains(string(m[1].Blocks), "verified") {
		t.Errorf("reply %s", m[1].Blocks)
	}
	if m[0].Updates != 2 || !strings.Contains(string(m[0].Blocks), "host.contain verified") || !strings.Contains(string(m[0].Blocks), "playbook contain done") {
		t.Errorf("head after %d updates: %s", m[0].Updates, m[0].Blocks)
	}
	for _, message := range m {
		if message.Text == "" {
			t.Error("a message without text for the notification")
		}
	}
}

// What was not sent took no time, and a message that waits is not delivered yet.
func TestSlackWordsOfOutcomes(t *testing.T) {
	failed, observed, queued := outcome("a", soar.StepFailed), outcome("b", soar.StepObserved), outcome("c", soar.StepExecuted)
	failed.Outcome.Error = "no such process"
	queued.Outcome.Action, queued.Outcome.Target, queued.Outcome.Summary = "notify.send", "", "queued for soc"
	sim, sink := workspace(t, sinksim.SlackOptions{}, &sinktest.Memory{})
	sendAll(t, sink, failed, observed, queued)
	m := sim.Messages()
	for i, want := range []string{
		"❌ host.contain failed: firewall rule added: no such process",
		"❌ host.contain failed: firewall rule added: no such process",
		"👁️ host.contain observed: firewall rule added",
		"✅ notify.send queued for soc",
	} {
		if i == 0 {
			if !strings.Contains(string(m[0].Blocks), want) {
				t.Errorf("head %s, want %s in it", m[0].Blocks, want)
			}
			continue
		}
		if m[i].Text != want {
			t.Errorf("reply %q, want %q", m[i].Text, want)
		}
	}
	for i, took := range map[int]bool{1: true, 2: false, 3: false} {
		if got := strings.Contains(string(m[i].Blocks), "1.2s"); got != took {
			t.Errorf("reply %s: a duration: %v, want %v", m[i].Blocks, got, took)
		}
	}
}

// A restarted sink finds the thread in its state, and an event that comes twice
// is shown once.
func TestSlackRepeatsShowOnce(t *testing.T) {
	state := &sinktest.Memory{}
	sim := sinksim.NewSlack(sinksim.SlackOptions{})
	srv := httptest.NewServer(sim)
	defer srv.Close()
	note := sinktest.Event(1)
	note.ID, note.Type, note.Text, note.To = "note-1", soar.EventNotification, "look at this", "soc"
	trouble := soar.Event{ID: "trouble-1", Type: soar.EventTrouble, Text: "disk is full"}
	for range 2 {
		sink := openSlack(t, &sinks.SlackSettings{Token: soar.SecretValue("xoxb-demo"), Channel: "#soc", APIURL: srv.URL + "/api/"}, sinks.Env{State: state})
		sendAll(t, sink, sinktest.Event(1), outcome("step-1", soar.StepFailed), note, trouble)
	}
	m := sim.Messages()
	if len(m) != 4 {
		t.Fatalf("%d messages, want 4", len(m))
	}
	if m[2].ThreadTS != m[0].TS || m[3].ThreadTS != "" {
		t.Errorf("notification in thread %q (want %q), trouble in %q (want none)", m[2].ThreadTS, m[0].TS, m[3].ThreadTS)
	}
}

// What a playbook says is told in its words: not the state of the run that says it.
func TestSlackTellsMessagesInTheirWords(t *testing.T) {
	sim, sink := workspace(t, sinksim.SlackOptions{}, &sinktest.Memory{})
	note, trouble := sinktest.Event(1), sinktest.Event(1)
	run := &soar.RunSummary{ID: 1 << 50, Playbook: "contain", State: soar.RunRunning}
	note.ID, note.Type, note.Text, note.Run = "n-1", soar.EventNotification, "look at this", run
	trouble.ID, trouble.Type, trouble.Text, trouble.Run = "t-1", soar.EventTrouble, "nobody can tell", run
	sendAll(t, sink, sinktest.Event(1), note, trouble)
	m := sim.Messages()
	if len(m) != 3 || m[1].ThreadTS != m[0].TS || !m[1].Broadcast || !strings.Contains(m[1].Text, "look at this") || !strings.Contains(string(m[1].Blocks), "look at this") {
		t.Errorf("messages %+v", m)
	}
	if text := m[2].Text + string(m[2].Blocks); strings.Count(text, "nobody can tell") != 2 || strings.Contains(text, "running") {
		t.Errorf("trouble: %s", text)
	}
}

// A question to people is a message of its own below the alert.
func TestSlackApprovals(t *testing.T) {
	sim, sink := workspace(t, sinksim.SlackOptions{}, &sinktest.Memory{})
	asked := sinktest.Event(1)
	asked.ID, asked.Type, asked.Run = "approval/a1/requested", soar.EventApprovalRequested, &soar.RunSummary{Playbook: "p", State: soar.RunWaiting}
	asked.Approval, asked.Text = &soar.Approval{
		ID: "a1", State: soar.ApprovalWaiting, Text: "May p do host.contain on <!channel>?", Action: "host.contain", With: map[string]any{"reason": "<!here>"},
	}, "approval a1: ... erbridge approvals approve a1"
	sendAll(t, sink, sinktest.Event(1), asked)
	m := sim.Messages()
	if len(m) != 2 || m[1].ThreadTS != m[0].TS || !m[1].Broadcast || !strings.Contains(string(m[0].Blocks), "waits for people") {
		t.Fatalf("%d messages: %+v", len(m), m)
	}
	if text := string(m[1].Blocks); !strings.Contains(text, `{\"reason\":\"\u0026lt;!here\u0026gt;\"}`) {
		t.Errorf("the question does not show its call: %s", text)
	}
	if text := m[1].Text + string(m[1].Blocks); !strings.Contains(text, `May p do host.contain on \u0026lt;!channel\u0026gt;?`) || !strings.Contains(text, "erbridge approvals approve a1") {
		t.Errorf("the question is %s", text)
	}
}

// That a host is released soon is a message of its own in the thread of the alert.
func TestSlackUndoSoon(t *testing.T) {
	sim, sink := workspace(t, sinksim.SlackOptions{}, &sinktest.Memory{})
	soon := sinktest.Event(1)
	soon.ID, soon.Type, soon.Run = "r-2-undo.soon", soar.EventUndoSoon, &soar.RunSummary{Playbook: "undo-p", State: soar.RunWaiting}
	soon.Undo, soon.Text = &soar.Undo{Do: "host.release"}, "In 15m, host.release takes back <!channel>. erbridge runs extend r-2"
	sendAll(t, sink, sinktest.Event(1), soon)
	m := sim.Messages()
	if len(m) != 2 || m[1].ThreadTS != m[0].TS || m[0].Updates != 0 {
		t.Fatalf("%d messages, the last in %q", len(m), m[len(m)-1].ThreadTS)
	}
	if text := string(m[1].Blocks); !strings.Contains(text, `takes back \u0026lt;!channel\u0026gt;. erbridge runs extend r-2`) {
		t.Errorf("people are told %s", text)
	}
}

func TestSlackOutcomeOfAnAlertThatWasNotShown(t *testing.T) {
	sim, sink := workspace(t, sinksim.SlackOptions{}, &sinktest.Memory{})
	sendAll(t, sink, outcome("step-1", soar.StepVerified))
	if m := sim.Messages(); len(m) != 2 || m[1].ThreadTS != m[0].TS {
		t.Errorf("messages %+v: want head and reply", m)
	}
	updated := sinktest.Event(2)
	updated.Type = soar.EventAlertUpdated
	sendAll(t, sink, updated)
	if m := sim.Messages(); len(m) != 2 {
		t.Errorf("%d messages: an update of an alert that is not there must be silent", len(m))
	}
}

func TestSlackUpdatesTheHeadWhenAnAlertIsResolved(t *testing.T) {
	sim, sink := workspace(t, sinksim.SlackOptions{}, &sinktest.Memory{})
	updated := sinktest.Event(1)
	updated.Type, updated.ID = soar.EventAlertUpdated, "er-1-u"
	updated.Alert.Status, updated.Alert.Verdict = soar.StatusResolved, soar.VerdictTruePositive
	sendAll(t, sink, sinktest.Event(1), updated)
	if m := sim.Messages(); len(m) != 1 || !strings.Contains(string(m[0].Blocks), "resolved, true positive") {
		t.Errorf("messages %+v", m)
	}
}

func TestSlackDeletedThreadIsPostedAnew(t *testing.T) {
	sim, sink := workspace(t, sinksim.SlackOptions{}, &sinktest.Memory{})
	sendAll(t, sink, sinktest.Event(1))
	sim.Delete(sim.Messages()[0].TS)
	sendAll(t, sink, outcome("step-1", soar.StepVerified))
	if m := sim.Messages(); len(m) != 2 || m[1].ThreadTS != m[0].TS {
		t.Errorf("messages %+v", m)
	}
}

// A thread stays where it began when the settings name another channel.
func TestSlackRepliesGoToTheChannelOfTheThread(t *testing.T) {
	channels := map[string]string{"#soc": "C1", "#night": "C2"}
	sim := sinksim.NewSlack(sinksim.SlackOptions{Channels: channels})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	state := &sinktest.Memory{}
	open := func(channel string) sinks.Sink {
		return openSlack(t, &sinks.SlackSettings{Token: soar.SecretValue("xoxb-demo"), Channel: channel, APIURL: srv.URL + "/api"}, sinks.Env{Version: "1", State: state})
	}
	sendAll(t, open("#soc"), sinktest.Event(1))
	notification := sinktest.Event(1)
	notification.ID, notification.Type, notification.Text = "n-1", soar.EventNotification, "look"
	sendAll(t, open("#night"), outcome("step-1", soar.StepVerified), notification, sinktest.Event(2))
	var got []string
	for _, m := range sim.Messages() {
		got = append(got, m.Channel)
	}
	if want := "[C1 C1 C1 C2]"; fmt.Sprint(got) != want {
		t.Errorf("channels %v, want %s", got, want)
	}

	// The bot was taken out of the old channel: what follows begins anew in the new one.
	sink := open("#night")
	sim.Next(sinksim.Answer{Error: "not_in_channel"})
	sendAll(t, sink, outcome("step-2", soar.StepVerified))
	if m := sim.Messages(); len(m) != 6 || m[4].Channel != "C2" || m[5].ThreadTS != m[4].TS {
		t.Errorf("messages %+v", m)
	}
}

// A new message that takes no reply either is not posted over and over.
func TestSlackThreadThatIsNeverFoundIsGivenUp(t *testing.T) {
	sim, sink := workspace(t, sinksim.SlackOptions{}, &sinktest.Memory{})
	heads := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("thread_ts") != "" {
			_, _ = w.Write([]byte(`{"ok":false,"error":"thread_not_found"}`))
			return
		}
		heads++
		_, _ = fmt.Fprintf(w, `{"ok":true,"channel":"C1","ts":"%d.000001"}`, heads)
	}))
	t.Cleanup(srv.Close)
	stubborn := openSlack(t, &sinks.SlackSettings{Token: soar.SecretValue("xoxb-demo"), Channel: "#soc", APIURL: srv.URL + "/api"},
		sinks.Env{Version: "1", State: &sinktest.Memory{}})
	err := stubborn.Send(t.Context(), []soar.Event{outcome("step-1", soar.StepVerified)})
	if !errors.Is(err, sinks.ErrPermanent) || heads != 2 {
		t.Errorf("error %v after %d heads, want ErrPermanent after 2", err, heads)
	}

	// The same for what is no reply at all.
	sim.Next(sinksim.Answer{Error: "thread_not_found"})
	if err := sink.Send(t.Context(), sinktest.Events(1)); !errors.Is(err, sinks.ErrPermanent) {
		t.Errorf("error %v, want ErrPermanent", err)
	}
}

// The store fails after the message was posted: it is not posted a second time.
func TestSlackPostsOnceWhenTheStoreIsBusy(t *testing.T) {
	state := &sinktest.Memory{Fail: soar.ErrBusy}
	sim, sink := workspace(t, sinksim.SlackOptions{}, state)
	for range 3 {
		if err := sink.Send(t.Context(), sinktest.Events(1)); !errors.Is(err, soar.ErrBusy) {
			t.Fatalf("error %v, want the store's", err)
		}
	}
	state.Fail = nil
	sendAll(t, sink, sinktest.Event(1), outcome("step-1", soar.StepVerified))
	if m := sim.Messages(); len(m) != 2 {
		t.Errorf("%d messages, want 2", len(m))
	}
}

func TestSlackErrorNames(t *testing.T) {
	for name, want := range map[string]sinktest.Class{
		"invalid_auth": sinktest.Config, "not_authed": sinktest.Config, "token_revoked": sinktest.Config, "token_expired": sinktest.Config,
		"account_inactive": sinktest.Config, "missing_scope": sinktest.Config, "channel_not_found": sinktest.Config,
		"not_in_channel": sinktest.Config, "is_archived": sinktest.Config,
		"msg_too_long": sinktest.Permanent, "msg_blocks_too_long": sinktest.Permanent, "invalid_blocks": sinktest.Permanent, "no_text": sinktest.Permanent,
		"ratelimited": sinktest.Transient, "internal_error": sinktest.Transient, "fatal_error": sinktest.Transient,
		"service_unavailable": sinktest.Transient, "request_timeout": sinktest.Transient, "": sinktest.Transient,
	} {
		t.Run(name, func(t *testing.T) {
			sim, sink := workspace(t, sinksim.SlackOptions{}, &sinktest.Memory{})
			sim.Next(sinksim.Answer{Error: name})
			err := sink.Send(t.Context(), sinktest.Events(1))
			if got := sinktest.ClassOf(err); got != want {
				t.Errorf("class %q, want %q: %v", got, want, err)
			}
		})
	}
}

func TestSlackUnknownErrorIsTriedAFewTimes(t *testing.T) {
	sim, sink := workspace(t, sinksim.SlackOptions{}, &sinktest.Memory{})
	var got []sinktest.Class
	for range 3 {
		sim.Next(sinksim.Answer{Error: "brand_new_error"})
		got = append(got, sinktest.ClassOf(sink.Send(t.Context(), sinktest.Events(1))))
	}
	if want := "[transient transient permanent]"; fmt.Sprint(got) != want {
		t.Errorf("classes %v, want %s", got, want)
	}
}

func TestSlackRateLimit(t *testing.T) {
	_, sink := workspace(t, sinksim.SlackOptions{Interval: 30 * time.Second}, &sinktest.Memory{})
	sendAll(t, sink, sinktest.Event(1))
	err := sink.Send(t.Context(), []soar.Event{sinktest.Event(2)})
	asked, ok := errors.AsType[*sinks.RetryAfter](err)
	if !ok || asked.Wait < 29*time.Second || asked.Wait > 30*time.Second {
		t.Errorf("error %v, want RetryAfter of about 30s", err)
	}
}

// Whatever an alert holds, Slack takes the message and nothing in it comes alive.
func TestSlackHostileAlert(t *testing.T) {
	sim, sink := workspace(t, sinksim.SlackOptions{}, &sinktest.Memory{})
	ev := sinktest.Hostile()
	nasty := strings.Repeat("<!channel> <@U1> <https://evil.example|click> & ``` `x` https://evil.example/a 10.1.2.3 root@evil.example 🔥", 200)
	for k := range ev.Alert.Event {
		ev.Alert.Event[k] = nasty
	}
	ev.Alert.Rule.Name, ev.Alert.Host.Name, ev.Alert.Host.IP = nasty, nasty, nasty
	ev.Alert.URL = "https://er.example.org/a?b=1&c=<x>|y"
	ev.Alert.Rule.Techniques = []string{nasty, nasty}
	out := ev
	out.ID, out.Type = "step-66", soar.EventStepFinished
	out.Outcome = &soar.Outcome{Action: nasty, State: soar.StepFailed, Target: nasty, Summary: nasty, Error: nasty}
	out.Run = &soar.RunSummary{Playbook: nasty, Error: nasty}
	note := soar.Event{ID: "n", Type: soar.EventNotification, Text: nasty}
	trouble := soar.Event{ID: "t", Type: soar.EventTrouble, Text: nasty}
	sendAll(t, sink, ev, out, note, trouble)
	m := sim.Messages()
	if len(m) != 4 {
		t.Fatalf("%d messages, want 4", len(m))
	}
	for _, message := range m {
		texts := append(blockTexts(t, message.Blocks), message.Text)
		for _, text := range texts {
			for _, alive := range []string{"<!", "<@", "<#", "https://evil", "10.1.2.3", "root@evil"} {
				if strings.Contains(text, alive) {
					t.Errorf("%q in %.200s", alive, text)
				}
			}
			if n := strings.Count(text, "`"); n != 0 && n != 2 && n != 6 {
				t.Errorf("%d back-quotes in %.200s", n, text)
			}
			for i, r := range text {
				if r == '&' && !strings.HasPrefix(text[i:], "&amp;") && !strings.HasPrefix(text[i:], "&lt;") && !strings.HasPrefix(text[i:], "&gt;") {
					t.Errorf("a cut or bare entity in %.20q", text[i:])
				}
			}
		}
	}
	if head := string(m[0].Blocks); !strings.Contains(head, `https://er.example.org/a?b=1`) {
		t.Errorf("no link to the console in %s", head)
	}
}

// blockTexts are all texts in blocks.
func blockTexts(t *testing.T, raw json.RawMessage) []string {
	t.Helper()
	var blocks any
	if err := json.Unmarshal(raw, &blocks); err != nil {
		t.Fatal(err)
	}
	var texts []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for k, e := range v {
				if s, ok := e.(string); ok && k == "text" {
					texts = append(texts, s)
				}
				walk(e)
			}
		}
	}
	walk(blocks)
	return texts
}

func TestSlackWebhookTellsEachEventOnce(t *testing.T) {
	sim := sinksim.NewSlack(sinksim.SlackOptions{})
	srv := httptest.NewServer(sim)
	defer srv.Close()
	sink := openSlack(t, &sinks.SlackSettings{WebhookURL: soar.SecretValue(srv.URL + sinksim.HookPath), APIURL: "https://slack.com/api/"},
		sinks.Env{State: &sinktest.Memory{}})
	sendAll(t, sink, sinktest.Event(1), outcome("step-1", soar.StepVerified), sinktest.Event(1))
	m := sim.Messages()
	if len(m) != 2 || !m[1].ByWebhook || !strings.Contains(string(m[1].Blocks), "er-1") {
		t.Errorf("messages %+v: want the alert and its outcome, naming the alert", m)
	}
	sim.Next(sinksim.Answer{Status: http.StatusOK, Body: "<html>sign in</html>"})
	if err := sink.Send(t.Context(), []soar.Event{sinktest.Event(2)}); !errors.Is(err, sinks.ErrConfig) {
		t.Errorf("a page instead of ok: %v, want ErrConfig", err)
	}
}

func TestSlackSettings(t *testing.T) {
	token, hook := soar.SecretValue("xoxb-x"), soar.SecretValue("https://hooks.slack.com/x")
	for name, s := range map[string]sinks.SlackSettings{
		"nothing": {}, "both": {Token: token, Channel: "#a", WebhookURL: hook}, "no channel": {Token: token}, "channel of a webhook": {WebhookURL: hook, Channel: "#a"},
	} {
		s.APIURL = "https://slack.com/api/"
		if _, err := sinks.Open("soc", "slack", &s, sinks.Env{}); !errors.Is(err, sinks.ErrConfig) {
			t.Errorf("%s: error %v, want ErrConfig", name, err)
		}
	}
}

func parseForm(t *testing.T, body []byte) url.Values {
	t.Helper()
	form, err := url.ParseQuery(string(body))
	if err != nil {
		t.Error(err)
	}
	return form
}

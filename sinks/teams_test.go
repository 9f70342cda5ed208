package sinks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

const (
	teamsSignature = "Zm9yZ2VkLXNpZ25hdHVyZS1vZi1hLXdvcmtmbG93"
	teamsPath      = "/workflows/7d9a1c5be3a84b6f9d0e/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sig=" + teamsSignature
)

func openTeams(t *testing.T, url string, change func(*sinks.TeamsSettings)) sinks.Sink {
	t.Helper()
	s := &sinks.TeamsSettings{URL: soar.SecretValue(url), Timeout: time.Minute}
	if change != nil {
		change(s)
	}
	sink, err := sinks.Open("chat", "teams", s, sinks.Env{Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

func startTeams(t *testing.T) (sim *sinksim.Teams, sink sinks.Sink) {
	t.Helper()
	sim = &sinksim.Teams{Signature: teamsSignature}
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	return sim, closeAfter(t, openTeams(t, srv.URL+teamsPath, nil))
}

func TestTeamsContract(t *testing.T) {
	sinktest.Run(t, sinktest.Harness{
		MaxBatch: 1, Secrets: []string{teamsSignature, "7d9a1c5be3a84b6f9d0e"},
		Answer: func(status int) string {
			return fmt.Sprintf(`{"error":{"code":"%d","message":"The workflow 7d9a1c5be3a84b6f9d0e at %s with %s"}}`, status, teamsPath, teamsSignature)
		},
		Open: func(t *testing.T, r sinktest.Receiver) sinks.Sink {
			return openTeams(t, r.URL+teamsPath, func(s *sinks.TeamsSettings) { s.CAFile = r.CAFile })
		},
		OK: func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusAccepted) },
		IDs: func(t *testing.T, _ *http.Request, body []byte) []string {
			card, err := sinksim.ReadTeamsCard(body)
			if err != nil {
				t.Error(err)
			}
			return []string{card.ID}
		},
	})
}

// teamsEvents are one of each kind that people see.
func teamsEvents() []soar.Event {
	alert := sinktest.Event(1)
	updated, run, group, ask := alert, alert, alert, alert
	updated.ID, updated.Type = "u", soar.EventAlertUpdated
	run.ID, run.Type, run.Run = "r", soar.EventRunFinished, &soar.RunSummary{ID: 1 << 50, Playbook: "contain", Mode: soar.ModeEnforce, State: soar.RunFailed, Error: "host is offline"}
	group.ID, group.Type = "g", soar.EventAlertGrouped
	group.Group = &soar.Group{Key: "k", Head: "er-1", Count: 41, Hosts: 30, Names: []string{"WIN-07", "WIN-08"}, First: alert.At, Last: alert.At.Add(time.Minute), Runs: map[string]int{"done": 3}}
	ask.ID, ask.Type, ask.Text = "a", soar.EventApprovalRequested, "Contain WIN-07?\nThe host is a server."
	ask.Approval = &soar.Approval{ID: "a1", State: soar.ApprovalWaiting, Text: "Contain WIN-07?", Action: "host.contain", Hosts: []string{"WIN-07"}, From: []string{"soc"}, Expires: alert.At}
	return []soar.Event{
		alert, updated, outcome("s", soar.StepFailed), run, group, ask,
		{ID: "n", Type: soar.EventNotification, At: alert.At, Alert: alert.Alert, Text: "look at this"},
		{ID: "t", Type: soar.EventTrouble, At: alert.At, Text: `Sink "x" is paused`},
		{ID: "d", Type: soar.EventDigest, At: alert.At, Text: "12 alerts since 08:00\nhigh: 2\n\nmedium: 10"},
		{ID: "h", Type: soar.EventHeartbeat, At: alert.At, Text: "erbridge is alive"},
		{ID: "test", Type: soar.EventTest, At: alert.At, Text: "This is a test."},
	}
}

func hostileCards() []soar.Event {
	markdown := sinktest.Event(3)
	nasty := "<at>everyone</at> **bold** _it_ [click](https://evil.example/x) `code` # head\n- list\n1. one\n![i](http://evil.example/i.png) <img src=x> &lt;b&gt; {{DATE(2026)}} ${x}"
	markdown.Alert.Rule.Name, markdown.Alert.Host.Name, markdown.Alert.Event["cmdline"] = nasty, nasty, nasty
	markdown.Alert.URL = "javascript:alert(1)"
	note := soar.Event{ID: "nasty", Type: soar.EventNotification, Text: nasty, Alert: markdown.Alert}
	large := sinktest.Event(4)
	for _, column := range []string{"cmdline", "path", "target_path", "owner_uid", "sha256"} {
		large.Alert.Event[column] = strings.Repeat("\u0001\\\"日", 5000)
	}
	large.Alert.Rule.Name, large.Alert.Comment = large.Alert.Event["cmdline"], large.Alert.Event["cmdline"]
	lines := sinktest.Event(5)
	lines.Alert.Event["cmdline"] = strings.Repeat("\n", 3000)
	return []soar.Event{sinktest.Hostile(), markdown, note, large, lines}
}

// Every event is a card that Teams takes, and hostile ones are cut and harmless.
func TestTeamsCards(t *testing.T) {
	sim, sink := startTeams(t)
	events := slices.Concat(teamsEvents(), hostileCards())
	if err := sink.Send(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	cards := sim.Cards()
	if len(cards) != len(events) {
		t.Fatalf("%d cards, want %d", len(cards), len(events))
	}
	for i, card := range cards {
		all := strings.Join(card.Texts, "\n")
		if card.ID != events[i].ID || strings.ContainsAny(all, "\x1b\u202e") || strings.Contains(all, "https://evil") || !utf8.Valid(card.Body) {
			t.Errorf("card of %s: id %s: %s", events[i].ID, card.ID, all)
		}
		for _, link := range card.Links {
			if !strings.HasPrefix(link, "https://er.example.org/alerts/") {
				t.Errorf("card of %s: link %s", events[i].ID, link)
			}
		}
	}
	for id, want := range map[int][]string{
		0: {"HIGH: Shadow copies deleted on WIN-07", "vssadmin delete shadows /all /quiet", "T1490, impact"},
		4: {"41 alerts so far", "30: WIN-07, WIN-08, …", "done: 3"},
		5: {"Contain WIN-07?", "The host is a server.", "host.contain", "soc"},
		7: {"erbridge needs attention", `Sink "x" is paused`},
		8: {"12 alerts since 08:00", "high: 2", "medium: 10"},
		9: {"erbridge is alive"},
	} {
		for _, text := range want {
			if !strings.Contains(strings.Join(cards[id].Texts, "\n"), text) {
				t.Errorf("no %q in %q", text, cards[id].Texts)
			}
		}
	}
}

// Microsoft's renderer takes our cards without a complaint, and makes nothing of them
// but the text that they hold and the buttons that we mean.
func TestTeamsRenderer(t *testing.T) {
	sim, sink := startTeams(t)
	if err := sink.Send(t.Context(), slices.Concat(teamsEvents(), hostileCards())); err != nil {
		t.Fatal(err)
	}
	cards := sim.Cards()
	messages := make([]json.RawMessage, len(cards))
	for i := range cards {
		messages[i] = cards[i].Body
	}
	var verdicts []struct{ Complaints, Texts, Tags, Links []string }
	askJudge(t, "card.cjs", messages, &verdicts)
	for i, v := range verdicts {
		if len(v.Complaints) > 0 || !slices.Equal(v.Texts, cards[i].Texts) || !slices.Equal(v.Links, cards[i].Links) && len(v.Links)+len(cards[i].Links) > 0 {
			t.Errorf("card %s: complaints %q\nshown %q\nsent  %q\nlinks %q", cards[i].ID, v.Complaints, v.Texts, cards[i].Texts, v.Links)
		}
		for _, tag := range v.Tags {
			if !slices.Contains([]string{"button", "div", "span"}, tag) {
				t.Errorf("card %s: a <%s> in the page", cards[i].ID, tag)
			}
		}
	}
	if len(verdicts) != len(cards) {
		t.Errorf("%d verdicts on %d cards", len(verdicts), len(cards))
	}
}

func TestTeamsRefusals(t *testing.T) {
	sim, sink := startTeams(t)
	srv := httptest.NewServer(sim)
	defer srv.Close()
	for name, tt := range map[string]struct{ url, want string }{
		"wrong signature": {srv.URL + strings.Replace(teamsPath, teamsSignature, "d3Jvbmctc2lnbmF0dXJl", 1), "401"},
		"old connector":   {"https://contoso.webhook.office.com/webhookb2/3f1e0a8a-secret", "make a workflow"},
		"no URL":          {"7d9a1c5be3a84b6f9d0e", "expected http"},
	} {
		t.Run(name, func(t *testing.T) {
			err := closeAfter(t, openTeams(t, tt.url, nil)).Send(t.Context(), sinktest.Events(1))
			if !errors.Is(err, sinks.ErrConfig) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want ErrConfig with %q", err, tt.want)
			}
			for _, secret := range []string{"d3Jvbmctc2lnbmF0dXJl", "3f1e0a8a", "7d9a1c5be3a84b6f9d0e"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("a secret shows in %v", err)
				}
			}
		})
	}
	sim.Next(sinksim.Answer{}, sinksim.Answer{After: true})
	for range 2 { // a card whose answer is lost comes again: Teams has no ids
		if err := sink.Send(t.Context(), sinktest.Events(1)); sinktest.ClassOf(err) != sinktest.Transient {
			t.Errorf("error %v, want a transient one", err)
		}
	}
	if err := sink.Send(t.Context(), sinktest.Events(1)); err != nil {
		t.Error(err)
	}
	if got := len(sim.Cards()); got != 2 {
		t.Errorf("%d cards, want 2", got)
	}
}

// A workflow that has begun is not started again because its answer broke off.
func TestTeamsBrokenAnswer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "{")
	}))
	defer srv.Close()
	if err := closeAfter(t, openTeams(t, srv.URL, nil)).Send(t.Context(), sinktest.Events(1)); err != nil {
		t.Error(err)
	}
}

// A stop does not wait for a card's turn.
func TestTeamsHeedsCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := openTeams(t, "http://127.0.0.1:9/", func(s *sinks.TeamsSettings) { s.Interval = 250 * time.Millisecond })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		_ = sink.Send(ctx, sinktest.Events(1)) // takes the first turn, and fails
		if err := sink.Send(ctx, sinktest.Events(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled while it waits for its turn", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("a cancelled wait took %s", took)
		}
		_ = sink.Close()
	})
}

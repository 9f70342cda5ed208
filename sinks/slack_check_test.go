package sinks_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
)

func TestCheckSlack(t *testing.T) {
	for _, tt := range []struct {
		name    string
		sim     sinksim.SlackOptions
		change  func(s *sinks.SlackSettings)
		answers []sinksim.Answer
		want    string // what was looked at, with a sign
		advice  string // in the error
	}{
		{name: "all is well", want: "+token +scopes +post +channel +edit +delete +socket"},
		{name: "no app token", change: func(s *sinks.SlackSettings) { s.AppToken = soar.Secret{} }, want: "+token +scopes +post +channel +edit +delete ?socket"},
		{name: "wrong token", change: func(s *sinks.SlackSettings) { s.Token = soar.SecretValue("xoxb-wrong") }, want: "-token +socket", advice: "copy the bot token"},
		{name: "app token as bot token", change: func(s *sinks.SlackSettings) { s.Token = soar.SecretValue("xapp-demo") }, want: "-token +socket", advice: "token takes xoxb-"},
		{name: "bot token as app token", change: func(s *sinks.SlackSettings) { s.AppToken = soar.SecretValue("xoxb-demo") },
			want: "+token +scopes +post +channel +edit +delete -socket", advice: "and not the bot token"},
		{name: "no scope", sim: sinksim.SlackOptions{Scopes: []string{"channels:read"}}, want: "+token -scopes +socket", advice: "chat:write is missing"},
		{name: "no scope to look", sim: sinksim.SlackOptions{Scopes: []string{"chat:write"}}, want: "+token +scopes +post ?channel +edit +delete +socket"},
		{name: "no such channel", change: func(s *sinks.SlackSettings) { s.Channel = "#nowhere" }, want: "+token +scopes -post +socket", advice: "/invite the bot"},
		{name: "not in the channel", sim: sinksim.SlackOptions{Outside: []string{"C000000001"}}, want: "+token +scopes -post +socket", advice: "/invite it to the channel"},
		{name: "outside of the channel", sim: sinksim.SlackOptions{Outside: []string{"C000000001"}, Scopes: []string{"chat:write", "chat:write.public", "channels:read"}},
			want: "+token +scopes +post +channel +edit +delete +socket"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim := sinksim.NewSlack(tt.sim)
			srv := httptest.NewServer(sim)
			defer srv.Close()
			s := sinks.DefaultSlackSettings()
			s.Token, s.AppToken, s.Channel, s.APIURL, s.Interval = soar.SecretValue("xoxb-demo"), soar.SecretValue("xapp-demo"), "#soc", srv.URL+"/api", 0
			if tt.change != nil {
				tt.change(&s)
			}
			var got []string
			err := sinks.CheckSlack(t.Context(), s, sinks.Env{Version: "1"}, func(c sinks.SlackCheck) {
				sign := "+"
				switch {
				case c.Err != nil:
					sign = "-"
				case c.Skipped:
					sign = "?"
				case c.Words == "":
					t.Errorf("%s says nothing", c.What)
				}
				got = append(got, sign+c.What)
			})
			if text := strings.Join(got, " "); text != tt.want {
				t.Errorf("looked at %s, want %s", text, tt.want)
			}
			if text := fmt.Sprint(err); (err != nil) != strings.Contains(tt.want, "-") || !strings.Contains(text, tt.advice) ||
				strings.Contains(text, "xoxb-demo") || strings.Contains(text, "xoxb-wrong") {
				t.Errorf("error %v, want one with %q", err, tt.advice)
			}
			if m := sim.Messages(); len(m) != 0 {
				t.Errorf("a message stayed: %+v", m)
			}
		})
	}
}

func TestCheckSlackWebhook(t *testing.T) {
	sim := sinksim.NewSlack(sinksim.SlackOptions{})
	srv := httptest.NewServer(sim)
	defer srv.Close()
	s := sinks.DefaultSlackSettings()
	s.WebhookURL = soar.SecretValue(srv.URL + sinksim.HookPath)
	if err := sinks.CheckSlack(t.Context(), s, sinks.Env{}, func(sinks.SlackCheck) {}); err != nil || len(sim.Messages()) != 1 {
		t.Errorf("error %v, %d messages", err, len(sim.Messages()))
	}
}

package sinks_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
	"github.com/erbridge/erbridge/sinks/sinksim"
	"github.com/erbridge/erbridge/sinks/sinktest"
)

const (
	mailbox       = "erbridge@example.org"
	clientSecret  = "cl1ent-s3cret-of-the-app"
	refreshSecret = "0.refresh-t0ken-of-the-mailbox"
)

// startMailOAuth runs a mail server that takes the tokens of an authorization server, and
// opens a sink for both.
func startMailOAuth(t *testing.T, change func(*sinksim.OAuth, *sinksim.SMTP, *sinks.EmailSettings)) (*sinksim.OAuth, *sinksim.SMTP, sinks.Sink) {
	t.Helper()
	a := newAuthority(t)
	oauth := &sinksim.OAuth{ClientID: "app", ClientSecret: clientSecret}
	tokens := httptest.NewUnstartedServer(oauth)
	tokens.TLS = a.server(t)
	tokens.StartTLS()
	t.Cleanup(tokens.Close)
	sim, sink := startSMTP(t, a, func(sim *sinksim.SMTP, s *sinks.EmailSettings) {
		sim.Users = map[string]string{} // a login is needed, and no password is good
		sim.Auth = []string{"LOGIN", "PLAIN", "XOAUTH2"}
		sim.Takes = func(user, token string) bool { return user == mailbox && oauth.Takes(token) }
		s.Username, s.Password = mailbox, soar.Secret{}
		s.TokenURL, s.ClientID, s.ClientSecret = tokens.URL, "app", soar.SecretValue(clientSecret)
		s.Scopes = []string{"https://outlook.office365.com/.default"}
		if change != nil {
			change(oauth, sim, s)
		}
	})
	return oauth, sim, closeAfter(t, sink)
}

// A login with tokens works with both mechanisms and for both grants, and asks for a token
// once as long as it is good.
func TestEmailOAuth(t *testing.T) {
	for name, change := range map[string]func(*sinksim.OAuth, *sinksim.SMTP, *sinks.EmailSettings){
		"client credentials, XOAUTH2": nil,
		"client credentials, OAUTHBEARER": func(_ *sinksim.OAuth, sim *sinksim.SMTP, _ *sinks.EmailSettings) {
			sim.Auth = []string{"XOAUTH2", "OAUTHBEARER"}
		},
		"refresh token": func(o *sinksim.OAuth, _ *sinksim.SMTP, s *sinks.EmailSettings) {
			o.RefreshToken, s.RefreshToken = refreshSecret, soar.SecretValue(refreshSecret)
		},
	} {
		t.Run(name, func(t *testing.T) {
			oauth, sim, sink := startMailOAuth(t, change)
			for range 3 {
				if err := sink.Send(t.Context(), sinktest.Events(1)); err != nil {
					t.Fatal(err)
				}
			}
			if len(sim.Mails()) != 3 || oauth.Given() != 1 {
				t.Errorf("%d mails with %d tokens, want 3 with 1", len(sim.Mails()), oauth.Given())
			}
		})
	}
}

// A token that somebody has revoked is replaced once, without a failed attempt; a refresh
// token that the server has exchanged is used from then on.
func TestEmailOAuthRevoked(t *testing.T) {
	oauth, sim, sink := startMailOAuth(t, func(o *sinksim.OAuth, _ *sinksim.SMTP, s *sinks.EmailSettings) {
		o.RefreshToken, o.Exchange, s.RefreshToken = refreshSecret, true, soar.SecretValue(refreshSecret)
	})
	for range 3 {
		if err := sink.Send(t.Context(), sinktest.Events(1)); err != nil {
			t.Fatal(err)
		}
		oauth.Revoke()
	}
	if len(sim.Mails()) != 3 || oauth.Given() != 3 {
		t.Errorf("%d mails with %d tokens, want 3 with 3", len(sim.Mails()), oauth.Given())
	}
}

// What is refused pauses the sink, or is tried again, and no answer is quoted with a secret.
func TestEmailOAuthRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*sinksim.OAuth, *sinksim.SMTP, *sinks.EmailSettings)
		want   sinktest.Class
		given  int
	}{
		"a mailbox of others, XOAUTH2": {func(_ *sinksim.OAuth, _ *sinksim.SMTP, s *sinks.EmailSettings) {
			s.Username = "ceo@example.org"
		}, sinktest.Config, 1},
		"a mailbox of others, OAUTHBEARER": {func(_ *sinksim.OAuth, sim *sinksim.SMTP, s *sinks.EmailSettings) {
			s.Username, sim.Auth = "ceo@example.org", []string{"OAUTHBEARER"}
		}, sinktest.Config, 1},
		"a wrong client secret": {func(o *sinksim.OAuth, _ *sinksim.SMTP, _ *sinks.EmailSettings) { o.ClientSecret = "another" }, sinktest.Config, 0},
		"a refresh token that has ended": {func(o *sinksim.OAuth, _ *sinksim.SMTP, s *sinks.EmailSettings) {
			o.RefreshToken, s.RefreshToken = "another", soar.SecretValue(refreshSecret)
		}, sinktest.Config, 0},
		"passwords only": {func(_ *sinksim.OAuth, sim *sinksim.SMTP, _ *sinks.EmailSettings) {
			sim.Auth = []string{"PLAIN", "LOGIN"}
		}, sinktest.Config, 1},
		"not now": {func(_ *sinksim.OAuth, sim *sinksim.SMTP, _ *sinks.EmailSettings) {
			sim.Reply("AUTH", "454 4.7.0 temporary authentication failure")
		}, sinktest.Transient, 1},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan string, 10)
			oauth, sim, sink := startMailOAuth(t, func(o *sinksim.OAuth, sim *sinksim.SMTP, s *sinks.EmailSettings) {
				takes := sim.Takes
				sim.Takes = func(user, token string) bool { seen <- token; return takes(user, token) }
				tt.change(o, sim, s)
			})
			err := sink.Send(t.Context(), sinktest.Events(1))
			if got := sinktest.ClassOf(err); got != tt.want || oauth.Given() != tt.given {
				t.Fatalf("%s after %d tokens (%v), want %s after %d", got, oauth.Given(), err, tt.want, tt.given)
			}
			secrets := []string{clientSecret, refreshSecret, "dXNlcj", "bixhPW"} // the last two begin the encoded logins
			for len(seen) > 0 {
				secrets = append(secrets, <-seen)
			}
			for _, secret := range secrets {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%q shows: %v", secret, err)
				}
			}
			if len(sim.Mails()) != 0 {
				t.Errorf("%d mails", len(sim.Mails()))
			}
		})
	}
}

// An authorization server that is busy is asked again later.
func TestEmailOAuthBusy(t *testing.T) {
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		http.Error(w, "busy", http.StatusServiceUnavailable)
	}))
	t.Cleanup(busy.Close)
	_, _, sink := startMailOAuth(t, func(_ *sinksim.OAuth, _ *sinksim.SMTP, s *sinks.EmailSettings) { s.TokenURL = busy.URL })
	err := sink.Send(t.Context(), sinktest.Events(1))
	if wait, ok := errors.AsType[*sinks.RetryAfter](err); !ok || wait.Wait != 7*time.Second {
		t.Errorf("error %v, want one to wait for 7s", err)
	}
}

func TestEmailOAuthSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*sinks.EmailSettings)
		want   string
	}{
		"password and token":  {func(s *sinks.EmailSettings) { s.Password = soar.SecretValue("x") }, "a password or a token, not both"},
		"no mailbox":          {func(s *sinks.EmailSettings) { s.Username = "" }, "goes with username"},
		"nothing to show":     {func(s *sinks.EmailSettings) { s.ClientSecret = soar.Secret{} }, "a client_secret or a refresh_token"},
		"no token_url":        {func(s *sinks.EmailSettings) { s.TokenURL, s.Username = "", "" }, "with token_url only"},
		"in the clear":        {func(s *sinks.EmailSettings) { s.TokenURL = "http://login.example.org/token" }, "https"},
		"no login without it": {func(s *sinks.EmailSettings) { s.TLS, s.AllowPlainText = "none", true }, "no login without TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			s := emailSettings("smtp.office365.com:587", "")
			s.Username, s.Password, s.TokenURL, s.ClientID = mailbox, soar.Secret{}, "https://login.example.org/token", "app"
			s.ClientSecret, s.Timeout = soar.SecretValue(clientSecret), time.Second
			if _, err := sinks.Open("mail", "email", s, sinks.Env{}); err != nil {
				t.Fatal(err)
			}
			tt.change(s)
			_, err := sinks.Open("mail", "email", s, sinks.Env{})
			if !errors.Is(err, sinks.ErrConfig) || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("error %v, want ErrConfig about %q", err, tt.want)
			}
		})
	}
}

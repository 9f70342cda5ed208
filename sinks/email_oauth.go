package sinks

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/wneessen/go-mail/smtp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/erbridge/erbridge/internal/soar"
)

// checkOAuth checks the settings of a login with tokens.
func (s *EmailSettings) checkOAuth(report func(setting, hint, format string, args ...any)) {
	if s.TokenURL == "" {
		if s.ClientID != "" || s.ClientSecret.IsSet() || s.RefreshToken.IsSet() || len(s.Scopes) > 0 {
			report("token_url client_id", "set token_url", "client_id, client_secret, refresh_token and scopes are of use with token_url only")
		}
		return
	}
	if u, err := parseURL(s.TokenURL); err != nil {
		report("token_url", "", "%s", strings.TrimPrefix(err.Error(), "url: "))
	} else if u.Scheme != "https" && !isLoopback(u.Hostname()) {
		report("token_url", "", "expected https, because secrets go there")
	}
	if s.Username == "" || s.ClientID == "" {
		report("token_url username", "", "token_url goes with username, the mailbox, and client_id, the application")
	}
	if s.Password.IsSet() {
		report("password token_url", "remove one of them", "a login has a password or a token, not both")
	}
	if !s.ClientSecret.IsSet() && !s.RefreshToken.IsSet() {
		report("client_secret token_url", "", "token_url needs a client_secret or a refresh_token")
	}
}

// emailTokens are the access tokens of a mailbox: those that a refresh token is good for,
// or those of the application itself (RFC 6749, sections 6 and 4.4).
func emailTokens(s EmailSettings, env Env) (*bearer, error) {
	b, err := newBearer(&url.URL{}, s.TLSSettings, s.Timeout, env)
	if err != nil {
		return nil, err
	}
	var from, exchanged string // a refresh token of the settings, and the last one that the server gave for it
	b.fetch = func(ctx context.Context) (*oauth2.Token, []string, error) {
		secret, err := revealed(s.ClientSecret, "client_secret")
		if err != nil {
			return nil, nil, err
		}
		refresh, err := revealed(s.RefreshToken, "refresh_token")
		if err != nil {
			return nil, nil, err
		}
		if refresh == "" {
			config := clientcredentials.Config{
				ClientID: s.ClientID, ClientSecret: secret, Scopes: s.Scopes, TokenURL: s.TokenURL, AuthStyle: oauth2.AuthStyleInParams,
			}
			token, err := config.Token(ctx)
			return token, []string{secret}, err
		}
		if from != refresh { // the first time, or somebody has put another into the file
			from, exchanged = refresh, ""
		}
		config := oauth2.Config{
			ClientID: s.ClientID, ClientSecret: secret, Scopes: s.Scopes,
			Endpoint: oauth2.Endpoint{TokenURL: s.TokenURL, AuthStyle: oauth2.AuthStyleInParams},
		}
		token, err := config.TokenSource(ctx, &oauth2.Token{RefreshToken: cmp.Or(exchanged, refresh)}).Token()
		hide := nonEmpty(secret, refresh, exchanged)
		if err == nil {
			exchanged = token.RefreshToken
		} else {
			exchanged = "" // the next attempt begins with that of the settings
		}
		return token, hide, err
	}
	return &b, nil
}

func revealed(s soar.Secret, setting string) (string, error) {
	if !s.IsSet() {
		return "", nil
	}
	text, err := s.Reveal()
	if err != nil {
		return "", fmt.Errorf("%s: %w", setting, err)
	}
	return text, nil
}

func nonEmpty(texts ...string) []string {
	var out []string
	for _, text := range texts {
		if text != "" {
			out = append(out, text)
		}
	}
	return out
}

// errLogin is wrapped where the server was asked for a login and said no.
var errLogin = errors.New("log in")

// connectWithToken is connect with a token, of which one that is refused before its time,
// because somebody revoked it, is replaced once.
func (s *email) connectWithToken(ctx context.Context) (*smtpConn, error) {
	for {
		kept := s.tokens.token.Valid()
		if err := s.tokens.renew(ctx); err != nil {
			return nil, err
		}
		conn, err := s.open(ctx, tokenLogin(s.settings.Username, s.tokens.token.AccessToken, s.host, s.port))
		if !errors.Is(err, errLogin) || !errors.Is(err, ErrConfig) {
			return conn, err
		}
		s.tokens.token = nil
		if !kept {
			return nil, err
		}
	}
}

// tokenLogin is a login with an access token, by the standard (RFC 7628) or as Google
// and Microsoft had it before.
func tokenLogin(user, token, host, port string) smtpLogin {
	standard := &oauthBearer{user: user, host: host, port: port, token: token}
	older := smtp.XOAuth2Auth(user, token)
	l := smtpLogin{mechanisms: []smtpMechanism{{"OAUTHBEARER", standard}, {"XOAUTH2", older}}, hide: []string{token}}
	for _, m := range l.mechanisms {
		if _, first, err := m.auth.Start(&smtp.ServerInfo{}); err == nil {
			l.hide = append(l.hide, base64.StdEncoding.EncodeToString(first))
		}
	}
	return l
}

// oauthBearer implements smtp.Auth (RFC 7628).
type oauthBearer struct{ user, host, port, token string }

// saslName is a name as the header of such a message has it (RFC 5801, section 4).
var saslName = strings.NewReplacer("=", "=3D", ",", "=2C")

// Start implements smtp.Auth.
func (a *oauthBearer) Start(*smtp.ServerInfo) (string, []byte, error) {
	return "OAUTHBEARER", []byte("n,a=" + saslName.Replace(a.user) + ",\x01host=" + a.host + "\x01port=" + a.port +
		"\x01auth=Bearer " + a.token + "\x01\x01"), nil
}

// Next implements smtp.Auth. A server that refuses says why in JSON, and gives the
// status of the login after a message without content (RFC 7628, section 3.2.3).
func (a *oauthBearer) Next(_ []byte, more bool) ([]byte, error) {
	if more {
		return []byte{1}, nil
	}
	return nil, nil
}

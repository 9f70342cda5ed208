package sinksim

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"regexp"
	"sync"
)

// The first messages of the mechanisms (developers.google.com/gmail/imap/xoauth2-protocol;
// RFC 7628, section 3.1).
var tokenMessages = map[string]*regexp.Regexp{
	"XOAUTH2":     regexp.MustCompile("^user=([^\x01]+)\x01auth=Bearer ([^\x01]+)\x01\x01$"),
	"OAUTHBEARER": regexp.MustCompile("^n,a=([^\x01,=]+),\x01host=[^\x01]+\x01port=[0-9]+\x01auth=Bearer ([^\x01]+)\x01\x01$"),
}

// authToken logs in with an access token. A refusal comes in two steps: why, in JSON, and
// when the client has heard it, the status.
func (c *smtpSession) authToken(mechanism, initial string) error {
	decoded, err := base64.StdEncoding.DecodeString(initial)
	parts := tokenMessages[mechanism].FindSubmatch(decoded)
	if err != nil || parts == nil {
		c.wrong("%s %q", mechanism, decoded)
		return c.say("501 5.5.2 cannot decode")
	}
	if c.Takes != nil && c.Takes(string(parts[1]), string(parts[2])) {
		c.loggedIn = true
		return c.say("235 2.7.0 welcome")
	}
	if err := c.say("334 " + base64.StdEncoding.EncodeToString([]byte(`{"status":"401","schemes":"bearer"}`))); err != nil {
		return err
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	if want := map[string]string{"XOAUTH2": "", "OAUTHBEARER": "AQ=="}[mechanism]; line != want {
		c.wrong("%s: %q after the reason, want %q", mechanism, line, want)
	}
	return c.say("535 5.7.3 authentication unsuccessful: " + string(parts[2]) + " " + initial) // some servers do quote it
}

// OAuth gives out access tokens for a client secret alone, or for a refresh token as well
// where that is set (RFC 6749, sections 4.4 and 6). Fields are set before the first call.
type OAuth struct {
	ClientID, ClientSecret, RefreshToken string
	// Exchange gives another refresh token with each access token; only the last is good.
	Exchange bool

	tokens
	exchange sync.Mutex // guards RefreshToken
}

// ServeHTTP implements http.Handler.
func (o *OAuth) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.exchange.Lock()
	defer o.exchange.Unlock()
	grant := "client_credentials"
	if o.RefreshToken != "" {
		grant = "refresh_token"
	}
	secret, refresh := r.PostFormValue("client_secret"), r.PostFormValue("refresh_token")
	if r.PostFormValue("client_id") != o.ClientID || secret != o.ClientSecret || refresh != o.RefreshToken || r.PostFormValue("grant_type") != grant {
		answerJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant", "error_description": "not with " + secret + " and " + refresh})
		return
	}
	answer := map[string]any{"token_type": "Bearer", "expires_in": 3600, "access_token": o.fresh()}
	if o.Exchange {
		o.RefreshToken = "refresh-" + rand.Text()
		answer["refresh_token"] = o.RefreshToken
	}
	answerJSON(w, http.StatusOK, answer)
}

// Takes reports whether a token was given out and not revoked.
func (o *OAuth) Takes(token string) bool { return o.takes(token) }

// Revoke makes all tokens void.
func (o *OAuth) Revoke() { o.revoke() }

// Given is how many tokens were given out.
func (o *OAuth) Given() int { return o.count() }

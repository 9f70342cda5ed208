package ersim

import (
	"crypto/hmac"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	roleAdmin   = "admin"
	roleAnalyst = "analyst"
	allRoles    = roleAdmin + "," + roleAnalyst
)

type user struct {
	id             int64
	name, password string
	role           string
	email          string
	first, last    string
	sso            bool // may sign on by the identity provider
	disabled       bool
	mustChange     bool // somebody else chose the password
}

// answersTo reports whether a login may name the user so. Release 4.0 takes the
// e-mail address too.
func (s *Server) answersTo(u *user, name string) bool {
	return u.name == name || s.profile.v4 && u.email != "" && u.email == name
}

// token is a row of the server's table of issued tokens. Two logins within one
// second make two rows with the same text.
type token struct {
	text    string
	user    *user
	expires time.Time
	revoked bool
}

var forbidden = plain(http.StatusForbidden, "Access to this resource is Forbidden!")

// The two token texts. The first one is for tokens that the server knows or knows for
// its own.
const (
	tokenExpired = "This API key used to authenticate is expired!"
	tokenUnknown = "Request did not contain valid API key!"
)

// API: GET /index, without envelope.
func (s *Server) index(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return jsonAnswer(http.StatusOK, obj{"sso_status": s.management.ssoEnable == "true"})
}

// API: POST /login. Wrong credentials are HTTP 200, success has no status.
func (s *Server) login(c *call) answer {
	c.need("username", "username")
	c.need("password", "password")
	if bad := s.invalid(c.args); bad != nil {
		if !s.profile.v4 {
			return s.crash() // observed on release 2.1.2: 500 without a key
		}
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.profile.v4 && !c.isText("username") {
		return s.crash() // the database compares texts with texts only
	}
	for _, u := range s.users {
		if u.disabled || !s.answersTo(u, c.text("username")) {
			continue
		}
		if !s.profile.v4 && !c.isText("password") {
			return s.crash() // observed on release 2.1.2: a number has no hash
		}
		if subtle.ConstantTimeCompare([]byte(u.password), []byte(c.text("password"))) != 1 {
			continue
		}
		out := obj{"token": s.issue(u)}
		if s.profile.v4 {
			out["first_name"], out["last_name"] = u.first, u.last
			out["roles"], out["all_roles"] = u.role, allRoles
			out["auth_type"], out["reset_password"], out["reset_email"] = "password", u.mustChange, false
		}
		return jsonAnswer(http.StatusOK, out)
	}
	return jsonAnswer(http.StatusOK, obj{"status": "failure", "message": "Username/Password is/are wrong!"})
}

// issue makes a token. A second login in the same second gives the same text
// again, as on the real server, but never a text that has been revoked or has
// expired, which with the real lifetime of seven days could hardly happen.
func (s *Server) issue(u *user) string {
	now := s.now()
	for issued := now.Unix(); ; issued++ {
		text := s.sign(u, issued)
		if spent := s.rowsOf(text, func(t *token) bool { return t.revoked || !t.expires.After(now) }); spent > 0 {
			continue
		}
		s.tokens = append(s.tokens, &token{text: text, user: u, expires: now.Add(s.opts.TokenLifetime)})
		return text
	}
}

func (s *Server) rowsOf(text string, want func(*token) bool) int {
	n := 0
	for _, t := range s.tokens {
		if t.text == text && want(t) {
			n++
		}
	}
	return n
}

// sign builds the JWT of release 2.1.2 and 4.0: iat and exp are in the JOSE
// header, the payload holds the user's id only.
func (s *Server) sign(u *user, issued int64) string {
	expires := issued + int64(s.opts.TokenLifetime/time.Second)
	enc := base64.RawURLEncoding
	text := enc.EncodeToString(fmt.Appendf(nil, `{"alg":"HS512","iat":%d,"exp":%d}`, issued, expires)) + "." +
		enc.EncodeToString(fmt.Appendf(nil, `{"id":%d}`, u.id))
	return text + "." + s.signature(text)
}

func (s *Server) signature(text string) string {
	mac := hmac.New(sha512.New, s.signKey)
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// signed reports whether a token is one of ours, in the table or not. Release 2.1.2
// calls such a one expired.
func (s *Server) signed(text string) bool {
	at := strings.LastIndexByte(text, '.')
	return at >= 0 && hmac.Equal([]byte(text[at+1:]), []byte(s.signature(text[:at])))
}

// API: POST /logout. It revokes one row, and checks no token.
func (s *Server) logout(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var row *token
	for _, t := range s.tokens {
		if t.text == c.request.Header.Get("x-access-token") && (row == nil || row.revoked) {
			row = t
		}
	}
	if row == nil {
		return jsonAnswer(http.StatusOK, obj{"status": "failure", "message": "API key passed is invalid"})
	}
	row.revoked = true
	return jsonAnswer(http.StatusOK, obj{"status": "success", "message": "user logged out successfully"})
}

// authenticate returns the account of a token, or the 401 that it deserves.
func (s *Server) authenticate(text string) (*user, *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := false
	for i := len(s.tokens) - 1; i >= 0; i-- {
		t := s.tokens[i]
		if t.text != text {
			continue
		}
		known = true
		if !t.revoked && t.expires.After(s.now()) && !t.user.disabled {
			u := *t.user // as it is now: another call may change the account meanwhile
			return &u, nil
		}
	}
	refusal := nested(http.StatusUnauthorized, tokenUnknown)
	if known || !s.profile.v4 && s.signed(text) {
		refusal = nested(http.StatusUnauthorized, tokenExpired)
	}
	return nil, &refusal
}

// revokeTokens ends every session of a user.
func (s *Server) revokeTokens(u *user) {
	for _, t := range s.tokens {
		if t.user == u {
			t.revoked = true
		}
	}
}

// ExpireTokens makes every token that was issued so far expire at once.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireTokens()
}

func (s *Server) expireTokens() {
	for _, t := range s.tokens {
		t.revoked = true
	}
}

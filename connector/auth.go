package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// renewAfter is how old a token may get. The server's tokens live seven days from
// login, whatever is done with them, and there is no call to refresh one.
const renewAfter = 6*24*time.Hour + 12*time.Hour

// session holds the token and lets one login happen at a time.
type session struct {
	mu       sync.Mutex
	token    token
	renewing *renewal // nil when no login is under way
}

// token is what a login brought. The generation tells tokens apart where the text
// does not: release 2.1.2 gives the same text for two logins in one second.
type token struct {
	text       string
	generation uint64
	at         time.Time
}

type renewal struct {
	done chan struct{} // closed at the end
	err  error         // valid after done
}

// get returns a token that is newer than the stale generation, logging in if
// there is none. Callers that come meanwhile wait for that login.
func (s *session) get(ctx context.Context, c *Client, stale uint64) (token, error) {
	for {
		s.mu.Lock()
		if t := s.token; t.generation > stale && t.text != "" && time.Since(t.at) < renewAfter {
			s.mu.Unlock()
			return t, nil
		}
		r := s.renewing
		if r == nil {
			r = &renewal{done: make(chan struct{})}
			s.renewing = r
			s.mu.Unlock()
			return s.renew(ctx, c, r)
		}
		s.mu.Unlock()

		select {
		case <-r.done:
		case <-ctx.Done():
			return token{}, context.Cause(ctx)
		}
		// The one who logged in may have been called off; that is not our failure.
		if r.err != nil && !errors.Is(r.err, errLoginLeft) {
			return token{}, r.err
		}
	}
}

var errLoginLeft = errors.New("login called off")

func (s *session) renew(ctx context.Context, c *Client, r *renewal) (token, error) {
	text, err := c.login(ctx)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewing = nil
	if err == nil {
		s.token = token{text: text, generation: s.token.generation + 1, at: time.Now()}
	} else if r.err = err; ctx.Err() != nil {
		r.err = errLoginLeft
	}
	close(r.done)
	return s.token, err
}

// forget drops the token and returns its text.
func (s *session) forget() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.token.text
	s.token.text = ""
	return text
}

// Login gets a token, also if there is one. Other calls log in by themselves;
// Login is for finding out early whether the account works. A wrong password is
// ErrBadCredentials.
func (c *Client) Login(ctx context.Context) error {
	c.session.mu.Lock()
	stale := c.session.token.generation
	c.session.mu.Unlock()
	_, err := c.session.get(ctx, c, stale)
	return err
}

// login makes the call.
// API: POST /login (REST guide 4.0.0, "Login"). Wrong credentials are HTTP 200.
func (c *Client) login(ctx context.Context) (text string, err error) {
	k := c.spoken(callAuthLogin)
	defer c.metrics.observe(k.id, time.Now(), &err)
	password, err := c.o.Password.Reveal()
	if err != nil {
		return "", fmt.Errorf("login: password: %w", err)
	}
	data, err := json.Marshal(struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}{c.o.Username, password})
	if err != nil {
		return "", errors.New("login: credentials cannot be written as JSON")
	}
	a, err := c.send(ctx, k, "", body{typeJSON, data})
	if err != nil {
		return "", err
	}
	var mustChange bool
	err = c.judge(k, a, func(v value) {
		text = readToken(v)
		mustChange = v.at("reset_password").truth()
	})
	if err != nil {
		hide(err, revealed(password))
		return "", fmt.Errorf("login as %q: %w", c.o.Username, err)
	}
	if text == "" || !validHeader(text) {
		return "", fmt.Errorf("login as %q: %w: the answer holds no token", c.o.Username, ErrNotJSON)
	}
	if mustChange {
		c.log.Warn("the server wants this account to change its password in the console", "user", c.o.Username)
	}
	c.log.Debug("logged in", "user", c.o.Username)
	return text, nil
}

// readToken reads the token of a login. All servers that were seen call it token;
// a guide of API v0 has it under the name of the header.
func readToken(v value) string { return v.at("token", "x-access-token").text() }

// validHeader reports whether a token can stand in a header.
func validHeader(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] >= 0x7f {
			return false
		}
	}
	return true
}

// Logout revokes the token, if there is one, and forgets it.
// API: POST /logout (REST guide 4.0.0, "Logout").
func (c *Client) Logout(ctx context.Context) (err error) {
	text := c.session.forget()
	if text == "" {
		return nil
	}
	k := c.spoken(callAuthLogout)
	defer c.metrics.observe(k.id, time.Now(), &err)
	a, err := c.send(ctx, k, text, body{})
	if err != nil {
		return err
	}
	return c.judge(k, a, nil)
}

// Index is what the server tells without a login.
type Index struct {
	// SSO reports whether single sign-on is switched on.
	SSO bool
	// Before35 reports that the server does not have the call, which came with
	// release 3.5.
	Before35 bool
}

// Index asks what can be known without a login.
// API: GET /index (REST guide 4.0.0, "Index").
func (c *Client) Index(ctx context.Context) (index Index, err error) {
	defer c.metrics.observe(callAuthIndex.id, time.Now(), &err)
	a, err := c.send(ctx, callAuthIndex, "", body{})
	if err != nil {
		return Index{}, err
	}
	err = c.judge(callAuthIndex, a, func(v value) { index.SSO = v.at("sso_status").truth() })
	if errors.Is(err, ErrUnavailable) {
		return Index{Before35: true}, nil
	}
	return index, err
}

package connector

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// SSOLogin starts a sign-on by an identity provider and returns where the server
// sends the browser, without going there. It is for people who check their
// set-up: what follows needs a browser, and a daemon needs a local account.
// ErrRefused if single sign-on is off or not set up on the server.
// API: GET /sso/login (REST guide 4.0.0, "Initiate SSO authentication"; since
// release 3.5). It needs no login.
func (c *Client) SSOLogin(ctx context.Context) (target *url.URL, err error) {
	k := callAuthSsoLogin
	defer c.metrics.observe(k.id, time.Now(), &err)
	if c.old != nil {
		return nil, notInV0(k)
	}
	a, err := c.send(ctx, k, "", body{})
	if err != nil {
		return nil, err
	}
	switch a.status {
	case http.StatusOK:
		return nil, ssoRefusal(k, a)
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		if err := c.judge(k, a, nil); err != nil {
			return nil, err
		}
		return nil, &APIError{Method: k.method, Path: k.path, Status: a.status, Message: "no redirect", kinds: []error{ErrNotJSON}}
	}
	target, err = url.Parse(a.header.Get("Location"))
	if err != nil || target.Host == "" || target.Scheme != "https" && target.Scheme != "http" {
		return nil, &APIError{
			Method: k.method, Path: k.path, Status: a.status,
			Message: "the redirect does not lead to a web address", kinds: []error{ErrNotJSON},
		}
	}
	return target, nil
}

// SSOCallback hands the server what an identity provider said, in base64, and
// returns the page that the server has for the browser. The page holds a token in
// clear: treat it like a password. relayState is where the page leads to, empty
// for the console. The token is not this client's, which keeps its own account.
// ErrRefused if the server does not believe the answer, or if the user may not
// sign on in this way.
// API: POST /sso/callback (REST guide 4.0.0, "Initiate SSO callback", which shows
// JSON; the public source of release 4.0 reads a form; since release 3.5). It needs
// no login.
func (c *Client) SSOCallback(ctx context.Context, samlResponse soar.Secret, relayState string) (page []byte, err error) {
	k := callAuthSsoCallback
	defer c.metrics.observe(k.id, time.Now(), &err)
	if c.old != nil {
		return nil, notInV0(k)
	}
	said, err := samlResponse.Reveal()
	if err != nil {
		return nil, fmt.Errorf("single sign-on: SAML response: %w: %w", ErrInvalid, err)
	}
	form := url.Values{"SAMLResponse": {said}}
	if relayState != "" {
		form.Set("RelayState", relayState)
	}
	a, err := c.send(ctx, k, "", body{"application/x-www-form-urlencoded", []byte(form.Encode())})
	if err != nil {
		return nil, err
	}
	switch {
	case a.status == http.StatusOK && storesToken.Match(a.body):
		return a.body, nil
	case a.status == http.StatusOK && isPage(a):
		return nil, ssoRefusal(k, a)
	}
	if err := c.judge(k, a, nil); err != nil {
		return nil, err
	}
	return nil, &APIError{Method: k.method, Path: k.path, Status: a.status, Message: "no page came", kinds: []error{ErrNotJSON, ErrUncertain}}
}

func isPage(a answer) bool { return strings.HasPrefix(a.header.Get("Content-Type"), "text/html") }

var (
	// storesToken finds the line that leaves the token in the browser.
	storesToken = regexp.MustCompile(`setItem\(\s*['"]token['"]\s*,\s*['"][^'"]+['"]`)
	paragraph   = regexp.MustCompile(`(?s)<p[^>]*>([^<]*)</p>`)
)

// ssoRefusal is the error of a page that says why there is no sign-on. The reason
// is its first paragraph.
func ssoRefusal(k call, a answer) error {
	why := "the answer is a page that neither signs on nor says why not"
	if found := paragraph.FindSubmatch(clipBytes(a.body, 8<<10)); found != nil {
		if text := oneLine(string(found[1])); text != "" {
			why = text
		}
	}
	return &APIError{Method: k.method, Path: k.path, Status: a.status, Message: why, kinds: []error{ErrRefused}}
}

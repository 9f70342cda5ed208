package connector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// baseFinder finds out where the API lives, once.
type baseFinder struct {
	candidates []string
	found      atomic.Pointer[string]
	turn       chan struct{} // holds one token: who has it may probe
}

// The versions of the API that a client can speak.
const (
	apiV1 = "v1"
	apiV0 = "v0"
)

// baseCandidates lists where the API may be. A path that was given is the only
// candidate; so is one that stands in the URL.
func baseCandidates(server *url.URL, path, api string) ([]string, error) {
	api = cmp.Or(api, apiV1)
	other, known := map[string]string{apiV1: apiV0, apiV0: apiV1}[api]
	if !known {
		return nil, fmt.Errorf("API %q: expected v1 or v0", clip(api, 16))
	}
	root := server.Scheme + "://" + server.Host
	inURL := strings.Trim(server.Path, "/")
	switch {
	case path != "" && inURL != "":
		return nil, fmt.Errorf("server URL: holds a path although base path is %q; give one of them", path)
	case path == "":
		path = inURL
	}
	if path != "" {
		u, err := url.Parse("/" + strings.Trim(path, "/"))
		if err != nil || u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("base path %q: expected something like /esp-ui/services/api/%s", path, api)
		}
		path = strings.TrimRight(u.EscapedPath(), "/")
		if strings.HasSuffix(path, "/api/"+other) {
			return nil, fmt.Errorf("base path %q is that of API %s, and the client is to speak %s", path, other, api)
		}
		return []string{root + path}, nil
	}
	prefixed := root + "/esp-ui/services/api/" + api // releases 3.x and 4.0
	list := []string{root + "/services/api/" + api}  // releases 2.x, behind another port
	if server.Port() == "" {
		// Releases 2.x. A port in the URL says that there is no need to look elsewhere.
		list = slices.Insert(list, 0, server.Scheme+"://"+net.JoinHostPort(server.Hostname(), "5000")+"/services/api/"+api)
	}
	if api == apiV0 {
		return append(list, prefixed), nil // release 3.5 is the last to have it
	}
	return slices.Insert(list, 0, prefixed), nil
}

// Base is the URL below which the API lives, without a slash at the end. The
// first call looks for it: an API answers a call without token with HTTP 401 and
// JSON, everything else on the server with a web page.
func (c *Client) Base(ctx context.Context) (string, error) {
	b := &c.base
	if found := b.found.Load(); found != nil {
		return *found, nil
	}
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if found := b.found.Load(); found != nil {
		return *found, nil
	}
	for attempt := 0; ; attempt++ {
		found, again, err := c.probeAll(ctx)
		if err == nil {
			b.found.Store(&found)
			c.log.Info("found the API", "base", found)
			return found, nil
		}
		if !again || attempt >= c.o.Retries {
			return "", err
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%w; %w", context.Cause(ctx), err)
		case <-time.After(backoff(250*time.Millisecond, 10*time.Second, attempt, nil)):
		}
	}
}

// baseOf is what the path of a call is below, without a slash at the end. A call
// of the API that the server is said not to have is ErrUnavailable.
func (c *Client) baseOf(ctx context.Context, k call) (string, error) {
	speaksV0 := c.old != nil
	switch {
	case k.base == baseServer:
		return c.server.Scheme + "://" + c.server.Host, nil
	case k.base == baseV1 && speaksV0:
		return "", notInV0(k)
	case k.base == baseV0 && !speaksV0:
		// Releases that serve both have them side by side.
		base, err := c.Base(ctx)
		if err != nil {
			return "", err
		}
		side, ok := strings.CutSuffix(base, "/v1")
		if !ok {
			return "", fmt.Errorf("%s: %w: API v0 is beside v1, and the base path does not end in /v1", k.id, ErrUnavailable)
		}
		return side + "/v0", nil
	}
	return c.Base(ctx)
}

// probeAll tries each candidate once. again says that another round may help.
func (c *Client) probeAll(ctx context.Context) (found string, again bool, err error) {
	problem := errors.New("no Endpoint Response API found; set base_path if it lives elsewhere")
	if c.old != nil {
		problem = errors.New("no Endpoint Response API v0 found; later releases have v1 alone, and base_path helps if it lives elsewhere")
	}
	for _, base := range c.base.candidates {
		a, err := c.probe(ctx, base)
		switch {
		case err != nil && ctx.Err() != nil:
			return "", false, &callError{method: authProbe.method, path: authProbe.path, err: fmt.Errorf("%w (%w)", context.Cause(ctx), err)}
		case err != nil:
			again = again || !isCertificateError(err)
			problem = fmt.Errorf("%w; %s: %w", problem, base, err)
			continue
		case isAPI(a):
			return base, false, nil
		}
		again = again || retryStatus(a.status)
		problem = fmt.Errorf("%w; %s: HTTP %d, %s", problem, base, a.status, c.describe(a))
	}
	return "", again, problem
}

func (c *Client) probe(ctx context.Context, base string) (answer, error) {
	k := authProbe
	if c.old != nil {
		k = authProbeV0
	}
	req, err := c.request(ctx, k, base, "", body{})
	if err != nil {
		return answer{}, err
	}
	return c.exchangeOnce(req)
}

// isAPI reports whether an answer to a call without token is the API's.
func isAPI(a answer) bool {
	switch a.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusOK:
	default:
		return false
	}
	var env envelope
	return looksJSON(a) && env.read(a.body) == nil && (env.message != "" || !env.bare)
}

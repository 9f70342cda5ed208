package connector

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector/catalogue"
)

// Has reports whether the server has a call that only reads, without making it: the
// request carries no token. The server looks for the path first, then at the token,
// then at arguments, so that a call that exists is refused with HTTP 401 and one that
// does not with a page (observed on release 2.1.2, public source of release 4.0).
// A call with an effect, or one that needs no token, is ErrInvalid and not sent.
func (c *Client) Has(ctx context.Context, of *catalogue.Call) (has bool, err error) {
	defer c.metrics.observe("probe", time.Now(), &err)
	if of.Effect != catalogue.Reads || of.Open || of.Method == methodSocket {
		return false, fmt.Errorf("%s: %w: only reads that need a token can be probed", of.ID, ErrInvalid)
	}
	k := callOf(of)
	parts := make([]string, strings.Count(k.path, "{"))
	for i := range parts {
		parts[i] = "0" // fits parts that are numbers, too
	}
	if k, err = k.with(parts...); err != nil {
		return false, err
	}
	return c.hasPath(ctx, k)
}

// HasNothing reports whether the server tells a path that it surely does not have
// from one that it has. Where a proxy asks for a login in front of everything, Has
// says nothing.
func (c *Client) HasNothing(ctx context.Context) (bool, error) {
	has, err := c.hasPath(ctx, call{id: "probe", method: http.MethodGet, path: "/erbridge/no/such/path", base: baseOwn})
	return !has, err
}

func (c *Client) hasPath(ctx context.Context, k call) (bool, error) {
	a, err := c.send(ctx, k, "", body{})
	if err != nil {
		return false, err
	}
	isPage := strings.HasPrefix(a.header.Get("Content-Type"), "text/html")
	switch {
	case a.status == http.StatusNotFound, a.status == http.StatusMethodNotAllowed, a.status == http.StatusGone, good(a.status) && isPage:
		return false, nil
	case retryStatus(a.status), a.status >= 300 && a.status < 400:
		return false, fmt.Errorf("%s %s: HTTP %d, %s", k.method, k.path, a.status, c.describe(a))
	}
	return true, nil
}

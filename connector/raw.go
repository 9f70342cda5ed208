package connector

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// RawAnswer is an answer as it came.
type RawAnswer struct {
	Status      int
	ContentType string
	Body        []byte
}

// Raw makes any call below the base path, logged in, and returns the answer
// whatever its status. path begins with a slash and may carry a query. GET and
// HEAD are reads and repeated; everything else is taken to have an effect. An
// error means that there is no answer, or that there was no login.
func (c *Client) Raw(ctx context.Context, method, path string, data []byte) (_ RawAnswer, err error) {
	defer c.metrics.observe("raw", time.Now(), &err)
	u, err := url.Parse(path)
	if err != nil || !strings.HasPrefix(path, "/") || u.Host != "" || u.Fragment != "" {
		return RawAnswer{}, fmt.Errorf("%w: path %q is not like /hosts/count", ErrInvalid, clip(path, 256))
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if part == ".." || part == "." {
			return RawAnswer{}, fmt.Errorf("%w: path %q leaves the API", ErrInvalid, clip(path, 256))
		}
	}
	k := call{id: "raw", method: strings.ToUpper(method), path: path, base: baseOwn, effect: true}
	if k.method == http.MethodGet || k.method == http.MethodHead {
		k.effect = false
	}
	var sent body
	if data != nil {
		sent = body{typeJSON, data}
	}
	a, err := c.authorized(ctx, k, sent)
	if err != nil {
		return RawAnswer{}, err
	}
	return RawAnswer{Status: a.status, ContentType: a.header.Get("Content-Type"), Body: a.body}, nil
}

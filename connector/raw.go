package connector

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/erbridge/erbridge/connector/catalogue"
)

// RawAnswer is an answer as it came.
type RawAnswer struct {
	Status      int
	ContentType string
	Body        []byte

	header http.Header
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
	return RawAnswer{Status: a.status, ContentType: a.header.Get("Content-Type"), Body: a.body, header: a.header}, nil
}

// Judge says what an answer of Raw means: nil, or the error that the call's own
// method would return. of is the call of the catalogue that method and path are; nil
// if there is none, and then any answer will do that is neither a refusal nor a page.
func (c *Client) Judge(of *catalogue.Call, method, path string, raw RawAnswer) error {
	k := call{effect: method != http.MethodGet && method != http.MethodHead, bare: true}
	due := "any"
	if of != nil {
		k, due = callOf(of), of.Answer
	}
	k.method, k.path = method, path
	a := answer{status: raw.Status, header: raw.header, body: raw.Body}
	if a.header == nil {
		a.header = http.Header{"Content-Type": {raw.ContentType}}
	}
	switch {
	case due == "redirect" && a.status >= 300 && a.status < 400, good(a.status) && method == http.MethodHead:
		return nil
	case !good(a.status), due == "json", looksJSON(a), isPage(a) && due != "html":
		return c.judge(k, a, nil)
	case due == "any" && strings.HasPrefix(raw.ContentType, typeJSON) && !json.Valid(a.body):
		return c.judge(k, a, nil)
	}
	return nil
}

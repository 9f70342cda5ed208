package connector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// answer is what came back for a request, body read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// readFunc reads what it wants from the answer to a call that succeeded.
type readFunc func(answer value)

// data makes a readFunc of a function that reads the data of the envelope.
func data(read func(value)) readFunc {
	return func(answer value) { read(answer.at("data")) }
}

// body is what a request carries.
type body struct {
	kind string // content type
	data []byte
}

// bodyOf makes the body of a request: nothing, a body as it is, or JSON.
func bodyOf(k call, in any) (body, error) {
	switch in := in.(type) {
	case nil:
		return body{}, nil
	case body:
		return in, nil
	}
	data, err := json.Marshal(in)
	if err != nil {
		return body{}, fmt.Errorf("%s %s: %w: %w", k.method, k.path, ErrInvalid, err)
	}
	return body{typeJSON, data}, nil
}

const typeJSON = "application/json"

// do makes one call: finds the base path and logs in where needed, sends in as
// JSON, or as it is if it is a body, and hands a successful answer to read, which
// may be nil.
func (c *Client) do(ctx context.Context, k call, in any, read readFunc) (err error) {
	if c.old != nil && k.base == baseV1 {
		return c.old.do(ctx, k, in, read)
	}
	defer c.metrics.observe(k.id, time.Now(), &err)
	sent, err := bodyOf(k, in)
	if err != nil {
		return err
	}
	a, err := c.authorized(ctx, k, sent)
	if err != nil {
		return err
	}
	return hideArguments(c.judge(k, a, read), in)
}

// authorized sends a request with a token. If the server does not take the token,
// it logs in and sends once more: HTTP 401 comes before the server looks at the
// call, so this is safe for calls with effects too.
func (c *Client) authorized(ctx context.Context, k call, sent body) (answer, error) {
	if k.open {
		return c.send(ctx, k, "", sent)
	}
	tok, err := c.session.get(ctx, c, 0)
	if err != nil {
		return answer{}, notSent(k, err)
	}
	a, err := c.send(ctx, k, tok.text, sent)
	if err != nil || a.status != http.StatusUnauthorized {
		return a, err
	}
	if tok, err = c.session.get(ctx, c, tok.generation); err != nil {
		return answer{}, notSent(k, err)
	}
	return c.send(ctx, k, tok.text, sent)
}

// notSent marks the error of what had to come before a call with an effect.
func notSent(k call, err error) error {
	if !k.effect || errors.Is(err, ErrBadCredentials) {
		return err
	}
	return &callError{method: k.method, path: k.path, kind: ErrNotSent, err: err}
}

// send makes one exchange: a read with repeats, an effect without.
func (c *Client) send(ctx context.Context, k call, token string, sent body) (answer, error) {
	base, err := c.baseOf(ctx, k)
	if err != nil {
		return answer{}, notSent(k, err)
	}
	return c.exchange(ctx, k, base, token, sent)
}

// exchange sends one request to base and reads the answer, whatever its status.
func (c *Client) exchange(ctx context.Context, k call, base, token string, sent body) (answer, error) {
	fate := new(delivery)
	req, err := c.request(fate.watch(ctx), k, base, token, sent)
	if err != nil {
		return answer{}, notSent(k, err)
	}
	var a answer
	if k.effect {
		a, err = c.exchangeOnce(req)
	} else {
		a, err = c.exchangeRepeating(req)
	}
	if err == nil {
		return a, nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	var kind error
	if k.effect {
		kind = ErrUncertain
		if fate.never() {
			kind = ErrNotSent
		}
	}
	return answer{}, &callError{method: k.method, path: k.path, kind: kind, err: err}
}

// request builds a request. A POST always has a body, because release 4.0 answers
// HTTP 400 to an empty one.
func (c *Client) request(ctx context.Context, k call, base, token string, sent body) (*http.Request, error) {
	if sent.data == nil && (k.method == http.MethodPost || k.method == http.MethodPut) {
		sent = body{typeJSON, []byte("{}")}
	}
	var reader io.Reader
	switch {
	case sent.data != nil:
		reader = bytes.NewReader(sent.data)
	case k.effect:
		// The transport sends a GET again by itself when a connection breaks, unless it
		// has a body that cannot be read again. This one is empty and leaves no trace.
		reader = struct{ io.Reader }{http.NoBody}
	}
	target := base + k.path
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, k.method, target, reader)
	if err != nil {
		return nil, plainError(err)
	}
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Accept", typeJSON+", */*;q=0.5")
	if sent.data != nil {
		req.Header.Set("Content-Type", sent.kind)
	}
	if token != "" {
		req.Header.Set("X-Access-Token", token)
	}
	return req, nil
}

func (c *Client) exchangeOnce(req *http.Request) (answer, error) {
	resp, err := c.once.Do(req)
	if err != nil {
		return answer{}, plainError(err)
	}
	return readAnswer(resp)
}

// exchangeRepeating reads the body inside of the retry loop, so that an answer
// that is cut short is asked for again.
func (c *Client) exchangeRepeating(req *http.Request) (answer, error) {
	retryable, err := retryablehttp.FromRequest(req)
	if err != nil {
		return answer{}, err
	}
	var a answer
	var readErr error
	var seen *http.Response
	retryable.SetResponseHandler(func(resp *http.Response) error {
		seen = resp
		a, readErr = readAnswer(resp)
		return readErr
	})
	resp, err := c.reads.Do(retryable)
	if resp == nil {
		return answer{}, plainError(err)
	}
	// An answer that was retried in vain, such as the last 503, has not been
	// through the handler.
	if resp != seen {
		a, readErr = readAnswer(resp)
	}
	return a, readErr
}

// readAnswer reads and closes the body.
func readAnswer(resp *http.Response) (answer, error) {
	defer resp.Body.Close()
	limit := int64(maxErrorBodyBytes)
	if good(resp.StatusCode) {
		limit = maxBodyBytes
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return answer{}, fmt.Errorf("read answer: %w", err)
	}
	if int64(len(body)) > limit {
		if good(resp.StatusCode) {
			return answer{}, fmt.Errorf("read answer: %w", errTooLarge)
		}
		body = body[:limit]
	}
	return answer{status: resp.StatusCode, header: resp.Header, body: body}, nil
}

var errTooLarge = fmt.Errorf("larger than %d MiB", maxBodyBytes>>20)

func good(status int) bool { return status >= 200 && status < 300 }

package sinks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"
)

// bearer keeps the access token of one sink. It is used by Send only.
type bearer struct {
	client *http.Client
	// others is the client for all hosts but the receiver's, whose server_name is
	// not theirs.
	others *http.Client
	host   string // of the receiver
	// fetch asks for a token with the HTTP client that ctx has for oauth2. It also
	// returns the texts that no error may show.
	fetch func(ctx context.Context) (token *oauth2.Token, hide []string, err error)
	agent string
	now   func() time.Time

	token *oauth2.Token
	hide  []string
}

func newBearer(receiver *url.URL, settings TLSSettings, timeout time.Duration, env Env) (b bearer, err error) {
	b = bearer{host: receiver.Host, agent: userAgent(env), now: env.Now}
	if b.client, err = newHTTPClient(settings, timeout); err != nil {
		return b, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	settings.ServerName = ""
	if b.others, err = newHTTPClient(settings, timeout); err != nil {
		return b, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return b, nil
}

// clientOf is the client for a host.
func (b *bearer) clientOf(host string) *http.Client {
	if host == b.host {
		return b.client
	}
	return b.others
}

// post sends a body with the token. A token that the receiver does not take any
// more, because somebody revoked it or a clock is wrong, is replaced once.
func (b *bearer) post(ctx context.Context, address, contentType string, body []byte, compress bool) (reply, error) {
	for first := true; ; first = false {
		if err := b.renew(ctx); err != nil {
			return reply{}, err
		}
		req, err := newPost(ctx, address, contentType, body, compress, b.agent)
		if err != nil {
			return reply{}, err
		}
		b.token.SetAuthHeader(req)
		r, err := exchange(b.client, req, maxReplyBytes, b.hide...)
		if err != nil || r.Status != http.StatusUnauthorized {
			return r, err
		}
		b.token = nil
		if !first {
			return r, nil
		}
	}
}

// renew gets a token where there is none that is valid. Refusals are ErrConfig:
// they are never about an event.
func (b *bearer) renew(ctx context.Context) error {
	if b.token.Valid() {
		return nil
	}
	carrier := &tokenCarrier{ctx: ctx, clientOf: b.clientOf, agent: b.agent}
	client := &http.Client{Transport: carrier, CheckRedirect: b.client.CheckRedirect}
	token, hide, err := b.fetch(context.WithValue(ctx, oauth2.HTTPClient, client))
	b.hide, carrier.reply.hide = hide, append(carrier.reply.hide, hide...)
	switch {
	case err == nil:
		b.token = token
		return nil
	case carrier.err != nil:
		return fmt.Errorf("get a token: %w", carrier.err)
	case carrier.reply.Status == 0: // not even asked
		return fmt.Errorf("get a token: %w: %w", ErrConfig, err)
	}
	if err := carrier.reply.judgeSetup(b.now()); err != nil {
		return fmt.Errorf("get a token: %w", err)
	}
	carrier.reply.Body = nil // what cannot be read of it may be the token
	return fmt.Errorf("get a token: %w: the answer has none", carrier.reply.errorf(ErrConfig))
}

// tokenCarrier is the transport of a request for a token. It keeps the answer and
// the error as they were: package oauth2 turns them into text, and does not end
// with ctx in all of its flows.
type tokenCarrier struct {
	ctx      context.Context
	clientOf func(host string) *http.Client
	agent    string

	reply reply
	err   error
}

// RoundTrip implements http.RoundTripper. What the form holds, a client secret, a
// refresh token or a signed assertion, shows in no error.
func (c *tokenCarrier) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err = errors.Join(err, req.Body.Close()); err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	own, err := http.NewRequestWithContext(c.ctx, req.Method, req.URL.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	own.Header = req.Header.Clone()
	own.Header.Set("User-Agent", c.agent)
	c.reply, c.err = exchange(c.clientOf(own.URL.Host), own, maxReplyBytes, form.Get("client_secret"), form.Get("refresh_token"), form.Get("assertion"))
	if c.err != nil {
		return nil, c.err
	}
	return &http.Response{
		StatusCode: c.reply.Status, Status: http.StatusText(c.reply.Status), Header: c.reply.Header,
		Body: io.NopCloser(bytes.NewReader(c.reply.Body)), Request: req,
	}, nil
}

package actions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// HTTPRequest are the arguments of http.request.
type HTTPRequest struct {
	// URL is where the request goes: http or https, without user name and password.
	URL string `yaml:"url" required:"true"`

	// Method is the request method.
	Method string `yaml:"method" enum:"GET,HEAD,POST,PUT,PATCH,DELETE"`

	// Headers are sent as they are. Secrets do not belong here, but into auth.
	Headers map[string]string `yaml:"headers"`

	// Body is sent as JSON. A text is sent as a JSON text, quotes included.
	Body any `yaml:"body"`

	// Auth is a secret, as {env: NAME}, {credential: name} or {file: /path}, that is
	// sent in the header Authorization. It cannot be computed. The path is absolute:
	// a run goes on after a restart with its playbook's text and knows no folder.
	Auth soar.Secret `yaml:"auth"`

	// AuthScheme is what stands before the secret; empty sends the secret alone.
	AuthScheme string `yaml:"auth_scheme"`

	// Expect lists the statuses that count as success; empty is 200 to 299.
	Expect []int `yaml:"expect"`

	// Timeout bounds the request, answer included.
	Timeout time.Duration `yaml:"timeout"`
}

// HTTPRequestOutput is what http.request leaves under .steps.<id>.output.
type HTTPRequestOutput struct {
	// Status is the status of the answer.
	Status int `json:"status"`
	// ContentType is the type of the body, without parameters.
	ContentType string `json:"content_type"`
	// JSON is the body when it is JSON.
	JSON any `json:"json,omitempty"`
	// Text is the body when it is not JSON.
	Text string `json:"text,omitempty"`
	// Truncated means that the body was longer than 128 KiB; the rest was not read.
	Truncated bool `json:"truncated,omitempty"`
}

const (
	maxRequestBytes  = 1 << 20
	maxResponseBytes = 128 << 10
)

func init() {
	add(kind[HTTPRequest]{
		Spec: playbooks.Spec{
			Name:    "http.request",
			Summary: "Sends an HTTP request to another system. Redirects are not followed.",
			// What the other system does with a request twice is not known here. The
			// header Idempotency-Key is the same for every repeat of a call.
			Effect:  playbooks.Once,
			Output:  HTTPRequestOutput{},
			Example: "do: http.request\nwith:\n  url: https://tickets.example.com/api/tickets\n  auth: {env: TICKETS_TOKEN}\n  body:\n    title: ${{ .alert.rule.name }}\n    host: ${{ .alert.host.name }}\n",
			Timeout: 2 * time.Minute,
		},
		defaults: HTTPRequest{Method: http.MethodPost, AuthScheme: "Bearer", Timeout: 30 * time.Second},
		local:    true,
		check:    checkRequest,
		do:       sendRequest,
	})
}

func checkRequest(_ *Deps, in *HTTPRequest, a *arguments) {
	if a.known("url") && in.URL != "" {
		if _, err := requestURL(in); err != nil {
			a.refuse("url", "", "%v", err)
		}
	}
	if !a.known("auth") {
		a.refuse("auth", "write {env: NAME}, {credential: name} or {file: /path}", "a secret cannot be computed")
	}
	if auth, ok := a.values["auth"].(map[string]any); ok {
		if file, ok := auth["file"].(string); ok && file != "" && !filepath.IsAbs(file) {
			a.refuse("auth", "write the absolute path, or use {credential: name} or {env: NAME}", "the path %q is not absolute", file)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(in.Headers)) {
		switch canonical := http.CanonicalHeaderKey(name); {
		case !headerName(name) || !headerValue(in.Headers[name]):
			a.refuse("headers", "", "%q is not a header that can be sent", name)
		case canonical == "Authorization" && in.Auth.IsSet():
			a.refuse("headers", "", "Authorization is set by auth already")
		case canonical == "Host" || canonical == "Content-Length" || canonical == "Transfer-Encoding" || canonical == "Connection":
			a.refuse("headers", "", "%s follows from the request and cannot be set", canonical)
		}
	}
	for _, status := range in.Expect {
		if status < 100 || status > 599 {
			a.refuse("expect", "", "%d is not an HTTP status", status)
		}
	}
	if a.known("timeout") && in.Timeout <= 0 {
		a.refuse("timeout", "", "must be above zero")
	}
	if in.Body != nil && (in.Method == http.MethodGet || in.Method == http.MethodHead) {
		a.refuse("body", "", "a %s request has no body", in.Method)
	}
}

// headerName reports whether a text is a token (RFC 9110, section 5.6.2).
func headerName(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return r >= 0x80 || !nameByte(byte(r)) && !strings.ContainsRune("!#$%&'*+-.^`|~", r)
	})
}

// headerValue reports whether a text can stand in a header (RFC 9110, section 5.5).
func headerValue(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

func requestURL(in *HTTPRequest) (*url.URL, error) {
	u, err := url.Parse(in.URL)
	switch {
	case err != nil:
		return nil, errors.New("not a URL") // the error would repeat the text, which may hold a password
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("expected http:// or https://, found scheme %q", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("has no host")
	case u.User != nil:
		return nil, errors.New("user name and password do not belong into a URL; use auth")
	case in.Auth.IsSet() && u.Scheme != "https" && !loopback(u.Hostname()):
		return nil, errors.New("auth needs https: the secret would be sent in the clear")
	}
	return u, nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

func sendRequest(ctx context.Context, d *Deps, call playbooks.Call, in HTTPRequest) (playbooks.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, in.Timeout)
	defer cancel()
	// Whether the other side can have seen anything decides between "try again"
	// and "may have happened": it can once there was a connection to write to.
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	req, err := newRequest(ctx, call, &in)
	if err != nil {
		return playbooks.Outcome{}, err
	}
	client := d.httpClient()
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return playbooks.Outcome{}, requestError(req, err, connected.Load())
	}
	defer resp.Body.Close()
	output, err := readResponse(resp)
	out := playbooks.Outcome{
		State:   soar.StepExecuted,
		Summary: fmt.Sprintf("%s %s: HTTP %d", in.Method, req.URL.Host, resp.StatusCode),
		Output:  output,
	}
	expected := slices.Contains(in.Expect, resp.StatusCode) || len(in.Expect) == 0 && resp.StatusCode/100 == 2
	switch {
	case !expected && resp.StatusCode == http.StatusTooManyRequests:
		return out, fmt.Errorf("%s: HTTP 429: %w", req.URL.Host, playbooks.ErrTransient)
	case !expected && in.Method != http.MethodGet && in.Method != http.MethodHead && inDoubt(resp.StatusCode):
		return out, fmt.Errorf("%s: HTTP %d: %w", req.URL.Host, resp.StatusCode, playbooks.ErrUncertain)
	case !expected:
		out.State, out.Error = soar.StepFailed, fmt.Sprintf("%s answered HTTP %d", req.URL.Host, resp.StatusCode)
	case err != nil:
		// The status says that it happened; only the answer is incomplete.
		out.Summary += "; answer cut short: " + err.Error()
	}
	return out, nil
}

// inDoubt reports whether a status leaves open if the request took effect: the
// other side broke off in the middle, or a gateway did not hear from it in time
// (RFC 9110, section 15.6). 501 says that it can do no such thing.
func inDoubt(status int) bool {
	return status == http.StatusRequestTimeout || status >= 500 && status != http.StatusNotImplemented
}

func newRequest(ctx context.Context, call playbooks.Call, in *HTTPRequest) (*http.Request, error) {
	u, err := requestURL(in)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if in.Body != nil {
		data, err := json.Marshal(in.Body)
		if err != nil {
			return nil, fmt.Errorf("body: %w", err)
		}
		if len(data) > maxRequestBytes {
			return nil, fmt.Errorf("body has %d bytes, the limit is %d", len(data), maxRequestBytes)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, in.Method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", "erbridge")
	// draft-ietf-httpapi-idempotency-key-header-07, section 2: the value is a
	// quoted string.
	req.Header.Set("Idempotency-Key", `"`+plainName(call.Mark)+`"`)
	for name, value := range in.Headers {
		req.Header.Set(name, value)
	}
	if in.Auth.IsSet() {
		secret, err := in.Auth.Reveal()
		if err != nil {
			return nil, fmt.Errorf("auth: %w", err)
		}
		value := strings.TrimSpace(in.AuthScheme + " " + secret)
		if !headerValue(value) {
			return nil, errors.New("auth: the secret has characters that cannot stand in a header")
		}
		req.Header.Set("Authorization", value)
	}
	return req, nil
}

// httpClient makes a client for one request. It uses no proxy, because a proxy
// would reach the addresses that are refused here, and follows no redirect.
func (d *Deps) httpClient() *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: d.refuseAddress}
	return &http.Client{
		Transport:     &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// errAddress means that a request would go to an address that gives secrets to
// whoever asks from inside.
var errAddress = errors.New("address is link-local or a cloud's metadata service, which is not allowed")

// metadataNets are link-local networks, where clouds serve the credentials of
// the machine, and the metadata services that are elsewhere.
var metadataNets = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
	netip.MustParsePrefix("fd00:ec2::254/128"),  // AWS, IPv6
}

// nat64 holds IPv4 addresses in its last four bytes (RFC 6052, section 2.1).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// refuseAddress runs after the name was resolved and before the connection is
// made, so that a name that resolves to such an address is of no use.
func (d *Deps) refuseAddress(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %q: %w", address, err)
	}
	addr := at.Addr().WithZone("").Unmap()
	if nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	within := func(nets []netip.Prefix) bool {
		return slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	if within(metadataNets) && !within(d.AllowedNets) {
		return fmt.Errorf("%s: %w", addr, errAddress)
	}
	return nil
}

// requestError names the host only: a query may hold values that do not belong
// into logs.
func requestError(req *http.Request, err error, connected bool) error {
	if inner, ok := errors.AsType[*url.Error](err); ok {
		err = inner.Err
	}
	switch {
	case errors.Is(err, errAddress):
		return fmt.Errorf("%s: %w", req.URL.Host, err)
	case !connected:
		return fmt.Errorf("%s: %w: %w", req.URL.Host, playbooks.ErrTransient, err)
	case req.Method == http.MethodGet || req.Method == http.MethodHead:
		return fmt.Errorf("%s: %w: %w", req.URL.Host, playbooks.ErrTransient, err)
	}
	return fmt.Errorf("%s: %w: %w", req.URL.Host, playbooks.ErrUncertain, err)
}

func readResponse(resp *http.Response) (HTTPRequestOutput, error) {
	output := HTTPRequestOutput{Status: resp.StatusCode}
	output.ContentType, _, _ = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes+1))
	if len(body) > maxResponseBytes {
		body, output.Truncated = body[:maxResponseBytes], true
	}
	isJSON := output.ContentType == "application/json" || strings.HasSuffix(output.ContentType, "+json")
	if isJSON && err == nil && !output.Truncated && json.Unmarshal(body, &output.JSON) == nil {
		return output, nil
	}
	output.Text = strings.ToValidUTF8(string(body), string(utf8.RuneError))
	return output, err
}

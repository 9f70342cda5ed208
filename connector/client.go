// Package connector speaks with an EclecticIQ Endpoint Response server: its REST
// API and websockets, of releases 2.1.2 to 4.0.
//
// Sections of the REST guide are fields of Client, calls are their methods. All
// methods are safe for concurrent use. Reads are repeated when the server or the
// way to it has a bad moment; calls with effects are sent once, and their errors
// say whether they may have happened (ErrUncertain) or not.
package connector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/erbridge/erbridge/internal/soar"
)

// Options configures a Client. URL, Username and Password are needed; everything
// else may be left out.
type Options struct {
	// URL is the server, as https://host or https://host:port.
	URL string
	// BasePath is where the API lives below URL, such as /esp-ui/services/api/v1.
	// Empty tries the places that the releases use.
	BasePath string
	// Username and Password are those of a local account.
	Username string
	Password soar.Secret
	// CAFile is a file of PEM certificates to trust in place of the system's.
	CAFile string
	// PinSHA256 is the SHA-256 of the server's certificate (DER) in hex, colons
	// allowed. Without CAFile the pin alone decides, which suits the self-signed
	// certificate that every installation makes for itself; with CAFile both must fit.
	PinSHA256 string
	// Timeout bounds one request, answer included; default 30s. Of a download it
	// bounds the silence between two reads.
	Timeout time.Duration
	// Retries is how often a read is repeated; default 4, negative for never.
	Retries int
	// MaxConcurrent is how many requests are under way at once; default 8.
	MaxConcurrent int
	// Version goes into the User-Agent header.
	Version string
	// Log gets what is decided here, such as a new login; nil for none.
	Log *slog.Logger
	// Registerer gets the metrics; nil for none.
	Registerer prometheus.Registerer
	// Transport replaces the connection to the server, for tests. The TLS options
	// are then without effect on requests.
	Transport http.RoundTripper
}

// Client is a connection to one server.
type Client struct {
	Hosts     *HostsService
	Alerts    *AlertsService
	Responses *ResponsesService
	Defender  *DefenderService
	Carves    *CarvesService
	Queries   *QueriesService
	Rules     *RulesService

	o       Options
	server  *url.URL
	agent   string
	log     *slog.Logger
	metrics *metrics
	dialer  *liveDialer

	reads     *retryablehttp.Client // repeats
	downloads *retryablehttp.Client // repeats until an answer begins, and sets no limit to its length
	once      *http.Client          // never repeats

	base    baseFinder
	session session
	clock   clock
}

const (
	defaultTimeout       = 30 * time.Second
	defaultRetries       = 4
	defaultMaxConcurrent = 8

	maxBodyBytes      = 64 << 20 // of a JSON answer
	maxErrorBodyBytes = 64 << 10 // of an answer that is not a success
)

// New checks the options. It opens no connection.
func New(o Options) (*Client, error) {
	server, err := serverURL(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Username == "" {
		return nil, errors.New("user name is missing")
	}
	if !o.Password.IsSet() {
		return nil, errors.New("password is missing")
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Retries == 0 {
		o.Retries = defaultRetries
	}
	if o.MaxConcurrent <= 0 {
		o.MaxConcurrent = defaultMaxConcurrent
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	tlsConfig, err := newTLSConfig(o.CAFile, o.PinSHA256)
	if err != nil {
		return nil, err
	}
	c := &Client{
		o:       o,
		server:  server,
		agent:   "erbridge/" + o.Version,
		log:     o.Log.With("component", "connector"),
		metrics: newMetrics(o.Registerer),
	}
	if c.base.candidates, err = baseCandidates(server, o.BasePath); err != nil {
		return nil, err
	}
	if server.Scheme == "http" && !isLoopback(net.JoinHostPort(server.Hostname(), "0")) {
		c.log.Warn("the server URL is http: password and token travel unprotected", "host", server.Host)
	}
	c.base.turn = make(chan struct{}, 1)
	if len(c.base.candidates) == 1 {
		c.base.found.Store(&c.base.candidates[0])
	}
	c.dialer = newLiveDialer(tlsConfig, c.agent)

	slots := make(chan struct{}, o.MaxConcurrent)
	client := func(keep, timeout time.Duration) *http.Client {
		transport := o.Transport
		if transport == nil {
			transport = newTransport(tlsConfig, o.MaxConcurrent, keep, o.Timeout)
		}
		return &http.Client{
			Transport: &limiter{next: transport, slots: slots, clock: &c.clock},
			Timeout:   timeout,
			// A redirect would carry the token to another place: the answer is taken as it is.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	c.once = client(keepForEffects, o.Timeout)
	reading, loading := client(keepForReads, o.Timeout), client(keepForReads, 0)
	loading.Transport = reading.Transport // one pool for all reads
	c.reads, c.downloads = newRetryClient(reading, o.Retries), newRetryClient(loading, o.Retries)

	c.Hosts = &HostsService{c}
	c.Alerts = &AlertsService{c}
	c.Responses = &ResponsesService{c}
	c.Defender = &DefenderService{c}
	c.Carves = &CarvesService{c}
	c.Queries = &QueriesService{c}
	c.Rules = &RulesService{c}
	return c, nil
}

// serverURL reads the server's address. Credentials in it are refused, because
// addresses end up in logs.
func serverURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, errors.New("server URL is missing")
	}
	u, err := url.Parse(text)
	if err != nil {
		// The error would repeat the text, which may hold a password.
		return nil, errors.New("server URL: not a URL; expected something like https://er.example.com")
	}
	switch {
	case u.User != nil:
		return nil, errors.New("server URL: user name and password do not belong into the URL; use username and password")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("server URL: scheme %q is not https", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("server URL: the host is missing; expected something like https://er.example.com")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("server URL: a query or fragment has no meaning here")
	}
	return u, nil
}

// ClockOffset is how far the server's clock is ahead of ours, by the Date of its last
// answer, to the second; negative when it is behind.
func (c *Client) ClockOffset() time.Duration { return time.Duration(c.clock.offset.Load()) }

// Timeout is how long one request may take.
func (c *Client) Timeout() time.Duration { return c.o.Timeout }

// ConsoleURL is the server's web console, below which an alert's page is alerts/<id>.
func (c *Client) ConsoleURL() string { return c.server.Scheme + "://" + c.server.Host }

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

// do makes one call: finds the base path and logs in where needed, sends in as
// JSON, and hands a successful answer to read, which may be nil.
func (c *Client) do(ctx context.Context, k call, in any, read readFunc) (err error) {
	defer c.metrics.observe(k.id, time.Now(), &err)

	var body []byte
	if in != nil {
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("%s %s: %w: %w", k.method, k.path, ErrInvalid, err)
		}
	}
	a, err := c.authorized(ctx, k, body)
	if err != nil {
		return err
	}
	return c.judge(k, a, read)
}

// authorized sends a request with a token. If the server does not take the token,
// it logs in and sends once more: HTTP 401 comes before the server looks at the
// call, so this is safe for calls with effects too.
func (c *Client) authorized(ctx context.Context, k call, body []byte) (answer, error) {
	tok, err := c.session.get(ctx, c, 0)
	if err != nil {
		return answer{}, notSent(k, err)
	}
	a, err := c.send(ctx, k, tok.text, body)
	if err != nil || a.status != http.StatusUnauthorized {
		return a, err
	}
	if tok, err = c.session.get(ctx, c, tok.generation); err != nil {
		return answer{}, notSent(k, err)
	}
	return c.send(ctx, k, tok.text, body)
}

// notSent marks the error of what had to come before a call with an effect.
func notSent(k call, err error) error {
	if !k.effect || errors.Is(err, ErrBadCredentials) {
		return err
	}
	return &callError{method: k.method, path: k.path, kind: ErrNotSent, err: err}
}

// send makes one exchange: a read with repeats, an effect without.
func (c *Client) send(ctx context.Context, k call, token string, body []byte) (answer, error) {
	base, err := c.Base(ctx)
	if err != nil {
		return answer{}, notSent(k, err)
	}
	return c.exchange(ctx, k, base, token, body)
}

// exchange sends one request to base and reads the answer, whatever its status.
func (c *Client) exchange(ctx context.Context, k call, base, token string, body []byte) (answer, error) {
	sent := new(delivery)
	req, err := c.request(sent.watch(ctx), k, base, token, body)
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
		if sent.never() {
			kind = ErrNotSent
		}
	}
	return answer{}, &callError{method: k.method, path: k.path, kind: kind, err: err}
}

// request builds a request. A POST always has a body, because release 4.0 answers
// HTTP 400 to an empty one.
func (c *Client) request(ctx context.Context, k call, base, token string, body []byte) (*http.Request, error) {
	if body == nil && (k.method == http.MethodPost || k.method == http.MethodPut) {
		body = []byte("{}")
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, k.method, base+k.path, reader)
	if err != nil {
		return nil, plainError(err)
	}
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
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

// judge turns an answer into an error, or hands a success on.
func (c *Client) judge(k call, a answer, read readFunc) error {
	fault := &APIError{Method: k.method, Path: k.path, Status: a.status}
	if after, ok := retryAfter(a.header, time.Now()); ok {
		fault.RetryAfter = after
	}
	isJSON := looksJSON(a)
	var env envelope
	if isJSON {
		if err := env.read(a.body); err != nil {
			isJSON = false
			fault.Message = "JSON that cannot be read: " + err.Error()
		}
	}
	if isJSON {
		fault.Message, fault.Fields = oneLine(env.message), env.fields
	} else if fault.Message == "" {
		fault.Message = c.describe(a)
	}

	switch {
	case !good(a.status):
		fault.kinds = statusKinds(k, a, isJSON)
	case isJSON && env.success(k):
		if read != nil {
			read(env.answer)
		}
		return nil
	case isJSON && env.status != "" && (!k.effect || env.failure()):
		fault.kinds = refusalKinds(k)
	default:
		// Neither yes nor no.
		fault.kinds = []error{ErrNotJSON}
		switch {
		case isJSON && env.status != "":
			fault.Message = oneLine(fmt.Sprintf("unknown status %q: %s", clip(env.status, 64), env.message))
		case isJSON:
			fault.Message = "the answer has no status"
		}
		if k.effect {
			fault.kinds = append(fault.kinds, ErrUncertain)
		}
	}
	return fault
}

// refusalKinds says what "status": "failure" means.
func refusalKinds(k call) []error {
	switch {
	case k.id == authLogin.id:
		return []error{ErrBadCredentials}
	case k.byID:
		return []error{ErrRefused, ErrNotFound}
	}
	return []error{ErrRefused}
}

// statusKinds says what an HTTP status other than 200 means.
func statusKinds(k call, a answer, isJSON bool) []error {
	switch {
	case a.status == http.StatusUnauthorized:
		return []error{ErrUnauthorized}
	case a.status == http.StatusForbidden:
		return []error{ErrForbidden}
	case a.status == http.StatusNotFound && !isJSON && k.enterprise:
		return []error{ErrUnavailable}
	case a.status == http.StatusNotFound:
		return []error{ErrNotFound}
	case a.status == http.StatusTooManyRequests,
		a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "":
		return []error{ErrNotSent}
	case a.status == http.StatusRequestTimeout || a.status >= 500 || a.status == http.StatusSeeOther:
		if k.effect {
			return []error{ErrUncertain}
		}
		return []error{errServer}
	case a.status < 400:
		// The server sends us elsewhere and so has not done it here.
		return []error{ErrNotJSON}
	}
	return []error{ErrRefused}
}

// errServer is an answer of a server, or of a proxy before it, that is in trouble.
var errServer = errors.New("server error")

// looksJSON reports whether an answer may be JSON: it starts like it and does not
// claim to be a page or a file. Some proxies drop or change the type of JSON.
func looksJSON(a answer) bool {
	mediaType, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	switch strings.ToLower(strings.TrimSpace(mediaType)) {
	case "text/html", "text/csv", "application/octet-stream":
		return false
	}
	start := bytes.TrimLeft(a.body, " \t\r\n")
	return len(start) > 0 && start[0] == '{'
}

// describe says what came in place of JSON, and what is probably wrong.
func (c *Client) describe(a answer) string {
	kind := oneLine(a.header.Get("Content-Type"))
	switch {
	case len(a.body) == 0:
		return "empty answer"
	case a.status >= 300 && a.status < 400:
		return "redirect, not followed; is the server URL right?"
	case strings.HasPrefix(kind, "text/html") && a.status == http.StatusOK:
		return "got a web page in place of JSON; the base path is probably wrong, or a proxy answered"
	case strings.HasPrefix(kind, "text/html") && a.status == http.StatusNotFound:
		return "the server has no such path"
	case a.status == http.StatusMethodNotAllowed:
		return "the server has no such call"
	case strings.HasPrefix(kind, "text/html"):
		return "got an error page, probably of a proxy"
	case strings.HasPrefix(kind, "text/plain"):
		return oneLine(clip(string(a.body), 256))
	case kind == "":
		return "answer has no content type"
	}
	return "got " + kind + " in place of JSON"
}

// envelope is the outer shape of nearly all answers.
// API: {"status", "message", "data"} (REST guide 4.0.0, "Response format").
type envelope struct {
	answer  value
	status  string
	message string
	fields  map[string]string
	bare    bool // no status key at all
}

// read reads an answer.
func (e *envelope) read(body []byte) (err error) {
	if e.answer, err = parse(body); err != nil {
		return err
	}
	if !e.answer.isObject() {
		return errNotObject
	}
	e.bare = !e.answer.has("status")
	e.status = e.answer.at("status").text()
	// Release 2.1.2: {"errors": {argument: complaint}, "message": "Input payload
	// validation failed"}.
	e.complaints(e.answer.at("errors"))
	e.readMessage(e.answer.at("message"), 0)
	return nil
}

// readMessage reads a message: text, or {"message": ...} once more, or an object
// of arguments and complaints (release 4.0, HTTP 400).
func (e *envelope) readMessage(v value, depth int) {
	if !v.isObject() || depth > 3 {
		e.message = v.text()
		return
	}
	e.complaints(v)
	if v.has("message") {
		e.readMessage(v.at("message"), depth+1)
	}
}

// complaints reads what is wrong with which argument.
func (e *envelope) complaints(v value) {
	for name, complaint := range v.fields() {
		if name != "message" {
			e.field(name, complaint.text())
		}
	}
}

func (e *envelope) field(name, complaint string) {
	if e.fields == nil {
		e.fields = make(map[string]string)
	}
	if len(e.fields) < 64 {
		e.fields[oneLine(clip(name, 64))] = oneLine(clip(complaint, 256))
	}
}

// success reports whether the server says that it did what was asked. The word is
// "success" or "Success"; anything else is not. Login and index have no status.
func (e *envelope) success(k call) bool {
	if e.bare {
		return k.open
	}
	return strings.EqualFold(e.status, "success")
}

// failure reports whether the server says that it did not do what was asked. Of
// another word, such as one for a call that is still under way, nobody knows.
func (e *envelope) failure() bool {
	return strings.EqualFold(e.status, "failure") || strings.EqualFold(e.status, "error")
}

// plainError takes the address out of an error of net/http, because the call is
// named by method and path already, and marks certificate troubles.
func plainError(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if isCertificateError(err) && !errors.Is(err, ErrCertificate) {
		err = fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	return err
}

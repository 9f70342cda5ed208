package sinks

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds on what receivers can make us do.
const (
	maxExcerptBytes = 1 << 10   // of a reply, in an error
	maxDrainBytes   = 256 << 10 // read and thrown away to keep a connection usable
	maxRetryAfter   = time.Hour
)

// maxReplyBytes is what is read of an ordinary answer.
const maxReplyBytes = 64 << 10

// TLSSettings say how the two ends of a TLS connection prove who they are. TLS
// older than 1.2 is never spoken, and a wrong certificate is never accepted.
type TLSSettings struct {
	// CAFile holds the certificates to trust, as PEM. Empty means those of the
	// operating system.
	CAFile string `yaml:"ca_file" path:"true"`

	// ServerName is the name that the receiver's certificate must have. Empty
	// means the host of the address.
	ServerName string `yaml:"server_name"`

	// CertFile is erbridge's own certificate, as PEM, for receivers that ask for
	// one; it needs key_file. The files are read anew for each connection.
	CertFile string `yaml:"cert_file" path:"true"`

	// KeyFile is the key of cert_file, as PEM.
	KeyFile string `yaml:"key_file" path:"true"`
}

// config reads the files once, so that mistakes show when the sink is opened.
func (s TLSSettings) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.ServerName}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s has no PEM certificate", s.CAFile)
		}
	}
	if (s.CertFile == "") != (s.KeyFile == "") {
		return nil, errors.New("cert_file and key_file go together")
	}
	if s.CertFile != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
			return &pair, err
		}
		if _, err := load(); err != nil {
			return nil, fmt.Errorf("cert_file: %w", err)
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return c, nil
}

// parseURL checks the address of an HTTP receiver. Credentials have settings of
// their own, because addresses end up in logs.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		// The text of a *url.Error repeats the whole URL.
		return nil, errors.New("url: cannot be read as a URL")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, errors.New("url: expected http:// or https:// and a host")
	case u.User != nil:
		return nil, errors.New("url: no user name or password here, there are settings for them")
	case u.Fragment != "":
		return nil, errors.New("url: no #fragment here")
	}
	return u, nil
}

// newHTTPClient makes the client of one sink. It follows no redirect: a receiver
// that answers with one is the wrong address, and the credentials that go with
// the request are for nobody else.
func newHTTPClient(settings TLSSettings, timeout time.Duration) (*http.Client, error) {
	config, err := settings.config()
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:       config,
			TLSHandshakeTimeout:   10 * time.Second,
			ForceAttemptHTTP2:     true,
			MaxIdleConnsPerHost:   2, // one goroutine sends at a time; one more for look-ups
			IdleConnTimeout:       90 * time.Second,
			ExpectContinueTimeout: time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// reply is an answer, read and closed.
type reply struct {
	Status int
	Header http.Header
	Body   []byte
	From   string // method and host, for errors
	hide   []string
	plain  bool // asked without TLS
}

// wrongPort reports what a TLS port answers to a request without TLS: 400 and a
// page. APIs that speak JSON refuse in JSON.
func (r reply) wrongPort() bool {
	return r.plain && r.Status == http.StatusBadRequest && !json.Valid(r.Body)
}

// errReplyLost says that a status of success arrived and its body did not.
var errReplyLost = errors.New("the reply broke off")

// exchange sends one request and reads at most limit bytes of the answer. Errors
// are ErrConfig for certificates that do not fit, and transient otherwise; they
// name the host and never the path or the query, which can be secrets. With an
// error wrapping errReplyLost, Status is valid. The texts in hide, and the
// credentials of the request, do not show in errors made from the reply.
func exchange(client *http.Client, req *http.Request, limit int64, hide ...string) (reply, error) {
	r := reply{From: req.Method + " " + req.URL.Host, hide: hide, plain: req.URL.Scheme == "http"}
	if _, credentials, ok := strings.Cut(req.Header.Get("Authorization"), " "); ok {
		r.hide = append(r.hide, credentials)
	}
	resp, err := client.Do(req)
	if err != nil {
		// *url.Error has the whole URL in its text.
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return r, fmt.Errorf("%s: %w", r.From, judgeDial(err))
	}
	defer func() { _ = resp.Body.Close() }()
	r.Status, r.Header = resp.StatusCode, resp.Header
	r.Body, err = io.ReadAll(io.LimitReader(resp.Body, limit))
	if err == nil {
		_, err = io.CopyN(io.Discard, resp.Body, maxDrainBytes)
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	// Of a refusal the status is enough. Servers that refuse early often reset the
	// connection, because nobody reads the rest of the request.
	if err != nil && r.Status < 300 {
		return r, fmt.Errorf("%s: status %d: %w: %w", r.From, r.Status, errReplyLost, err)
	}
	return r, nil
}

// judgeDial tells the failures of a connection that a person must mend from those
// that pass by themselves.
func judgeDial(err error) error {
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, misnamed := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	// crypto/tls reports an alert that the peer sent (bad certificate, certificate
	// required, no common version) as an OpError with this Op.
	op, _ := errors.AsType[*net.OpError](err)
	refused := op != nil && op.Op == "remote error"
	if unverified || unknown || misnamed || invalid || plain || refused || errors.Is(err, http.ErrSchemeMismatch) {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return err
}

// setupStatuses are about who asks, where and in what form, and never about what an
// event says (RFC 9110, section 15.5): 415 is also the answer to gzip where nobody
// expects it, 406 that to an unknown media type, 402 that of an account that is shut.
var setupStatuses = []int{
	http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
	http.StatusNotAcceptable, http.StatusProxyAuthRequired, http.StatusLengthRequired, http.StatusUnsupportedMediaType,
	http.StatusMisdirectedRequest, http.StatusUpgradeRequired, http.StatusUnavailableForLegalReasons,
}

// judge is the class of an answer by its status alone: nil for 2xx, a
// *RetryAfter where the receiver names a time, ErrTooLarge, ErrConfig, ErrGone,
// ErrPermanent, or a plain error for what passes.
func (r reply) judge(now time.Time) error {
	switch status := r.Status; {
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusRequestEntityTooLarge:
		return r.errorf(ErrTooLarge)
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status >= 500:
		err := r.errorf(nil)
		if wait, ok := retryAfter(r.Header.Get("Retry-After"), now); ok {
			return &RetryAfter{Wait: wait, Err: err}
		}
		return err
	case slices.Contains(setupStatuses, status), status < 400:
		return r.errorf(ErrConfig)
	case status == http.StatusGone:
		return r.errorf(ErrGone)
	}
	return r.errorf(ErrPermanent)
}

// judgeSetup judges the answer to a request that has no event in it: what is
// refused for good is a matter of the configuration.
func (r reply) judgeSetup(now time.Time) error {
	err := r.judge(now)
	if errors.Is(err, ErrPermanent) || errors.Is(err, ErrTooLarge) {
		return r.errorf(ErrConfig)
	}
	return err
}

// errorf is an error of the given class that quotes the answer.
func (r reply) errorf(class error) error {
	text := fmt.Sprintf("%s: status %d", r.From, r.Status)
	if quote := r.excerpt(); quote != "" {
		text += ": " + quote
	}
	if class == nil {
		return errors.New(text)
	}
	return fmt.Errorf("%w: %s", class, text)
}

// excerpt is the beginning of the body on one line, without the request's secrets.
func (r reply) excerpt() string {
	body := r.Body
	for _, secret := range r.hide {
		if secret != "" {
			body = bytes.ReplaceAll(body, []byte(secret), []byte("[redacted]"))
		}
	}
	return oneLine(string(body), maxExcerptBytes)
}

// oneLine makes text from outside fit for an error: bounded, valid UTF-8 and
// without control characters.
func oneLine(text string, limit int) string {
	if len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text = text[:limit] + "…"
	}
	clean := strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(text, "\uFFFD"))
	return strings.Join(strings.Fields(clean), " ")
}

// retryAfter reads both forms of the header (RFC 9110, section 10.2.3).
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, int64(maxRetryAfter/time.Second))) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter), true
	}
	return 0, false
}

func checkURL(raw string, report func(setting, hint, format string, args ...any)) {
	if _, err := parseURL(raw); err != nil {
		report("url", "", "%s", strings.TrimPrefix(err.Error(), "url: "))
	}
}

func checkTimeout(timeout time.Duration, report func(setting, hint, format string, args ...any)) {
	if timeout <= 0 {
		report("timeout", "", "expected a duration above 0")
	}
}

func userAgent(env Env) string {
	if env.Version == "" {
		return "erbridge"
	}
	return "erbridge/" + env.Version
}

// newPost makes a request whose body can be gzipped.
func newPost(ctx context.Context, address, contentType string, body []byte, compress bool, userAgent string) (*http.Request, error) {
	if compress {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, err := w.Write(body)
		if err = errors.Join(err, w.Close()); err != nil {
			return nil, fmt.Errorf("compress: %w", err)
		}
		body = packed.Bytes()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", userAgent)
	if compress {
		req.Header.Set("Content-Encoding", "gzip")
	}
	return req, nil
}

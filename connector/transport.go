package connector

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// The times for which an idle connection is kept. A request that meets a
// connection in the moment in which the server closes it (75 s at the server's own
// proxy, less at others) fails with EOF. A read is repeated then; a call with an
// effect would end uncertain and wait for a person, so it pays for a handshake
// sooner.
const (
	keepForReads   = 30 * time.Second
	keepForEffects = time.Second
)

// newTransport makes a pool of connections.
func newTransport(tlsConfig *tls.Config, conns int, keep, timeout time.Duration) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       tlsConfig,
		TLSHandshakeTimeout:   10 * time.Second,
		MaxIdleConns:          conns,
		MaxIdleConnsPerHost:   conns,
		IdleConnTimeout:       keep,
		ResponseHeaderTimeout: timeout, // downloads have no other limit until then
	}
}

// maxCAFileBytes bounds what is read from a CA file.
const maxCAFileBytes = 1 << 20

// newTLSConfig trusts the system's roots, or those of caFile, or the one
// certificate that has the pin, or, with both, that certificate from those roots.
func newTLSConfig(caFile, pin string) (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(8), // VerifyConnection runs for resumed sessions too
	}
	if caFile != "" {
		pool, err := readCAFile(caFile)
		if err != nil {
			return nil, err
		}
		config.RootCAs = pool
	}
	if pin == "" {
		return config, nil
	}
	want, err := hex.DecodeString(strings.NewReplacer(":", "", " ", "").Replace(pin))
	if err != nil || len(want) != sha256.Size {
		return nil, fmt.Errorf("pinned certificate %q: expected the SHA-256 of the certificate as 64 hex digits", clip(pin, 128))
	}
	// The pin takes the place of the chain: what installations make for
	// themselves is signed by nobody and often names no host.
	config.InsecureSkipVerify = caFile == ""
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return fmt.Errorf("%w: the server sent none", ErrCertificate)
		}
		got := sha256.Sum256(state.PeerCertificates[0].Raw)
		if subtle.ConstantTimeCompare(got[:], want) != 1 {
			return fmt.Errorf("%w: its SHA-256 is %x, pinned is %x", ErrCertificate, got, want)
		}
		return nil
	}
	return config, nil
}

func readCAFile(path string) (*x509.CertPool, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCAFileBytes))
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("CA file %s: holds no certificate in PEM form", path)
	}
	return pool, nil
}

// isCertificateError reports whether err says that the server is not the one we
// expect. Another try cannot help.
func isCertificateError(err error) bool {
	if errors.Is(err, ErrCertificate) {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true // not TLS at all
	}
	return false
}

// newRetryClient repeats reads on what passes by itself: no connection, an answer
// cut short, HTTP 429 and 5xx.
func newRetryClient(client *http.Client, retries int) *retryablehttp.Client {
	return &retryablehttp.Client{
		HTTPClient:   client,
		RetryWaitMin: 250 * time.Millisecond,
		RetryWaitMax: 10 * time.Second,
		RetryMax:     max(retries, 0),
		CheckRetry:   checkRetry,
		Backoff:      backoff,
		// The default handler hides the last answer and names the URL.
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

func checkRetry(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, nil //nolint:nilerr // the caller gets the error of the request, which says more
	}
	if err != nil {
		return !isCertificateError(err) && !errors.Is(err, errTooLarge), nil
	}
	return retryStatus(resp.StatusCode), nil
}

func retryStatus(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusRequestTimeout ||
		status >= 500 && status != http.StatusNotImplemented
}

// maxRetryAfter caps what the server asks to wait: an error the caller hears of
// is better than a day of silence.
const maxRetryAfter = time.Minute

// backoff doubles from low to high, half of it random so that clients spread,
// unless the server says how long to wait.
func backoff(low, high time.Duration, attempt int, resp *http.Response) time.Duration {
	if resp != nil {
		if wait, ok := retryAfter(resp.Header, time.Now()); ok {
			return min(wait, maxRetryAfter)
		}
	}
	wait := high
	if attempt < 16 {
		wait = min(low<<attempt, high)
	}
	return wait/2 + rand.N(wait/2+1)
}

// retryAfter reads the header in both of its forms (RFC 9110, section 10.2.3). A
// value that makes no sense counts as absent.
func retryAfter(header http.Header, now time.Time) (time.Duration, bool) {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if text == "" {
		return 0, false
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		if seconds < 0 {
			return 0, false
		}
		return time.Duration(min(seconds, 86400)) * time.Second, true
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), 24*time.Hour), true
}

// limiter bounds the requests under way. A slot is held until the body is closed,
// and not during the wait between two tries.
type limiter struct {
	next  http.RoundTripper
	slots chan struct{}
	clock *clock
}

// RoundTrip waits for a slot.
func (l *limiter) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, context.Cause(ctx)
	}
	if d, ok := ctx.Value(deliveryKey{}).(*delivery); ok {
		_, real := l.next.(*http.Transport)
		d.traced.Store(real)
		d.started.Store(true)
	}
	resp, err := l.next.RoundTrip(req)
	if err != nil {
		<-l.slots
		return nil, err
	}
	l.clock.observe(resp.Header.Get("Date"), time.Now())
	resp.Body = &slotBody{ReadCloser: resp.Body, release: sync.OnceFunc(func() { <-l.slots })}
	return resp, nil
}

type slotBody struct {
	io.ReadCloser
	release func()
}

// Close gives the slot back.
func (b *slotBody) Close() error {
	err := b.ReadCloser.Close()
	b.release()
	return err
}

// delivery watches how far a request got, to tell "surely not sent" from "may
// have arrived".
type delivery struct {
	started atomic.Bool // handed to the transport
	traced  atomic.Bool // the transport is one that tells when it writes
	wrote   atomic.Bool // the request was given to a connection
}

type deliveryKey struct{}

func (d *delivery) watch(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, deliveryKey{}, d)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		// The transport asks for another connection only after it has proved that
		// nothing of the request left on the one before, so the count starts anew.
		GetConn:      func(string) { d.wrote.Store(false) },
		WroteHeaders: func() { d.wrote.Store(true) },
	})
}

// never reports whether surely nothing reached the server: no slot, no address,
// no connection, no TLS.
func (d *delivery) never() bool {
	return !d.started.Load() || d.traced.Load() && !d.wrote.Load()
}

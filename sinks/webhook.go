package sinks

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// WebhookSettings configures a webhook sink: one signed POST for each event, as
// described by Standard Webhooks (standardwebhooks.com).
type WebhookSettings struct {
	// URL receives the events. It may not hold a user name or password; redirects
	// are not followed.
	URL string `yaml:"url" required:"true"`

	// Secrets are the signing keys, as whsec_ and base64 of 24 to 64 bytes. Each
	// request carries a signature of every key, so that a key can be replaced
	// without a pause: add the new one, change the receiver, remove the old one.
	Secrets []soar.Secret `yaml:"secrets" required:"true"`

	// AllowPrivate permits receivers on this host and in private networks. Without
	// it loopback, link-local, private and other special addresses are refused,
	// also when a public name resolves to one.
	AllowPrivate bool `yaml:"allow_private"`

	// MaxBytes bounds the body of one request. Of a larger event the answer of a
	// threat-intelligence feed is left out and long texts are cut; "shortened" in the
	// body says so. Standard Webhooks recommends bodies below 20 kB, which no alert
	// with a long command line keeps.
	MaxBytes int `yaml:"max_bytes"`

	// Timeout bounds one request, including the dial.
	Timeout time.Duration `yaml:"timeout"`

	TLSSettings `yaml:",inline"`
}

// Check implements Checker.
func (s *WebhookSettings) Check(report func(setting, hint, format string, args ...any)) {
	if _, err := parseURL(s.URL); err != nil {
		report("url", "", "%v", err)
	}
	if len(s.Secrets) == 0 {
		report("secrets", "for example [{env: WEBHOOK_KEY}]", "at least one signing key is needed")
	}
	if s.MaxBytes < minWebhookBytes {
		report("max_bytes", "", "expected %d or more", minWebhookBytes)
	}
	checkTimeout(s.Timeout, report)
}

func init() {
	Types.Add("webhook", Type{
		Summary:  "Posts each event as signed JSON (Standard Webhooks).",
		Settings: &WebhookSettings{MaxBytes: maxWebhookBytes, Timeout: 20 * time.Second},
		Example:  "type: webhook\nurl: https://hooks.example.org/er\nsecrets: [{file: /run/secrets/webhook-key}]\n",
		MaxBatch: 1,
		Open: func(_ string, settings any, env Env) (Sink, error) {
			return openWebhook(*settings.(*WebhookSettings), env)
		},
	})
}

const (
	// webhookReplyBytes is how much of an answer is read: enough to quote it.
	webhookReplyBytes = 4 << 10
	// maxWebhookBytes is the bound of a body where the settings have none.
	maxWebhookBytes = 256 << 10
	// minWebhookBytes is what an event without long texts fits into.
	minWebhookBytes = 8 << 10
)

type webhook struct {
	settings WebhookSettings
	client   *http.Client
	agent    string
	now      func() time.Time
}

func openWebhook(s WebhookSettings, env Env) (Sink, error) {
	if _, err := parseURL(s.URL); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if len(s.Secrets) == 0 {
		return nil, fmt.Errorf("%w: secrets: at least one signing key is needed", ErrConfig)
	}
	client, err := newHTTPClient(s.TLSSettings, s.Timeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if !s.AllowPrivate {
		transport := client.Transport.(*http.Transport)
		// The check is made on the address that is dialled, after DNS: a name is
		// resolved once, so it cannot pass with one address and connect to another.
		transport.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: refusePrivate}).DialContext
		// Through a proxy it would be the proxy's address that is checked.
		transport.Proxy = nil
	}
	if s.MaxBytes == 0 {
		s.MaxBytes = maxWebhookBytes
	}
	now := env.Now
	if now == nil {
		now = time.Now
	}
	return &webhook{settings: s, client: client, agent: "erbridge/" + env.Version, now: now}, nil
}

// webhookBody is the payload that Standard Webhooks recommends.
type webhookBody struct {
	Type      soar.EventType `json:"type"`
	Timestamp time.Time      `json:"timestamp"`
	Data      *soar.Event    `json:"data"`
	// Shortened tells that texts of the event are cut, because it was too large.
	Shortened bool `json:"shortened,omitempty"`
}

// Send posts the events one by one. When one fails, those before it are
// delivered and those after it were not tried.
func (s *webhook) Send(ctx context.Context, events []soar.Event) error {
	for i := range events {
		if err := s.post(ctx, &events[i]); err != nil {
			return rest(i, len(events), fmt.Errorf("webhook: %w", err))
		}
	}
	return nil
}

// rest is the error of a batch whose items are sent one at a time: those before
// the failed one are delivered, those after it were not tried.
func rest(failed, n int, err error) error {
	if n == 1 {
		return err
	}
	p := &PartialError{Permanent: map[int]error{}, Transient: map[int]error{}}
	if errors.Is(err, ErrPermanent) || errors.Is(err, ErrTooLarge) {
		p.Permanent[failed] = err
	} else {
		p.Transient[failed] = err
	}
	for i := failed + 1; i < n; i++ {
		p.Transient[i] = errors.New("not tried yet")
	}
	return p
}

// body is the event as JSON, cut until it fits.
func (s *webhook) body(ev *soar.Event, shortened bool) ([]byte, error) {
	b := webhookBody{Type: ev.Type, Timestamp: ev.At.UTC(), Data: ev, Shortened: shortened}
	for maxRunes := 4 * shortText; ; maxRunes /= 4 {
		if b.Shortened {
			short := format.Shortened(*ev, maxRunes)
			b.Data = &short
		}
		body, err := json.Marshal(b)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPermanent, err)
		}
		if len(body) <= s.settings.MaxBytes {
			return body, nil
		}
		if maxRunes < 64 {
			return nil, fmt.Errorf("%w: %d bytes with all texts cut, and max_bytes is %d", ErrTooLarge, len(body), s.settings.MaxBytes)
		}
		b.Shortened = true
	}
}

// post sends one event. What the receiver finds too large is cut and sent once more.
func (s *webhook) post(ctx context.Context, ev *soar.Event) error {
	body, err := s.body(ev, false)
	if err != nil {
		return err
	}
	err = s.send(ctx, ev.ID, body)
	if !errors.Is(err, ErrTooLarge) {
		return err
	}
	short, cutErr := s.body(ev, true)
	if cutErr != nil || len(short) >= len(body) {
		return err
	}
	return s.send(ctx, ev.ID, short)
}

func (s *webhook) send(ctx context.Context, eventID string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.settings.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: url cannot be read as a URL", ErrConfig)
	}
	// The time is that of this attempt: receivers refuse old ones, and a retry
	// days later must still be taken. The id is the same on every attempt.
	timestamp := strconv.FormatInt(s.now().Unix(), 10)
	id := headerID(eventID)
	signatures, err := s.sign(id, timestamp, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", s.agent)
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", timestamp)
	req.Header.Set("webhook-signature", signatures)
	// A server that knows nothing of the path names it in its answer, and the path
	// of a webhook is often all that protects it.
	reply, err := exchange(s.client, req, webhookReplyBytes, secretParts(req.URL)...)
	if errors.Is(err, errReplyLost) && reply.Status >= 200 && reply.Status < 300 {
		// The receiver drops repeats by webhook-id, so asking again is safe.
		return err
	}
	if err != nil && reply.Status == 0 {
		return err
	}
	return reply.judge(s.now())
}

// secretParts are the texts of an address behind its host, in the spellings in which
// a server may quote them.
func secretParts(u *url.URL) (parts []string) {
	for _, part := range []string{u.RequestURI(), u.EscapedPath(), u.Path, u.RawQuery} {
		if len(part) > 1 {
			parts = append(parts, part)
		}
	}
	for _, values := range u.Query() {
		for _, value := range values {
			if len(value) > 3 { // a shorter one is a version or a switch
				parts = append(parts, value)
			}
		}
	}
	for piece := range strings.SplitSeq(u.Path, "/") {
		if len(piece) >= 16 { // long enough to be a token
			parts = append(parts, piece)
		}
	}
	// The longest first: of what it stands in, nothing may be left.
	slices.SortFunc(parts, func(a, b string) int { return len(b) - len(a) })
	return parts
}

// headerID is an event's id as a header can hold it. The id of an alert comes from
// outside, and net/http sends no request with a line break in a header.
func headerID(id string) string {
	if strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return url.QueryEscape(id)
	}
	return id
}

// sign makes one signature for each key: v1,<base64 of HMAC-SHA256 over
// id.timestamp.body> (Standard Webhooks, "Signature scheme").
func (s *webhook) sign(id, timestamp string, body []byte) (string, error) {
	signatures := make([]string, 0, len(s.settings.Secrets))
	for i, secret := range s.settings.Secrets {
		key, err := webhookKey(secret)
		if err != nil {
			return "", fmt.Errorf("%w: secrets: number %d: %w", ErrConfig, i+1, err)
		}
		mac := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(mac, "%s.%s.", id, timestamp) // a hash takes everything
		_, _ = mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(signatures, " "), nil
}

// webhookKey reads a key at use, so that a rotated file is seen. Errors say
// nothing of its content.
func webhookKey(secret soar.Secret) ([]byte, error) {
	text, err := secret.Reveal()
	if err != nil {
		return nil, err
	}
	encoded, found := strings.CutPrefix(text, "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !found || err != nil {
		return nil, errors.New("expected whsec_ and base64")
	}
	// Standard Webhooks, "Signature scheme": between 24 and 64 bytes.
	if len(key) < 24 || len(key) > 64 {
		return nil, fmt.Errorf("the key has %d bytes, expected 24 to 64", len(key))
	}
	return key, nil
}

// Close drops idle connections.
func (s *webhook) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

// specialNetworks are not private by net/netip's words and still no place for a
// webhook (IANA IPv4 and IPv6 Special-Purpose Address Registries).
var specialNetworks = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),      // this network
	netip.MustParsePrefix("100.64.0.0/10"),  // shared address space; a cloud's metadata service lives there
	netip.MustParsePrefix("192.0.0.0/24"),   // IETF protocol assignments
	netip.MustParsePrefix("198.18.0.0/15"),  // benchmarking
	netip.MustParsePrefix("240.0.0.0/4"),    // reserved, broadcast
	netip.MustParsePrefix("64:ff9b:1::/48"), // local-use NAT64
	netip.MustParsePrefix("fec0::/10"),      // site-local, deprecated
}

// translators carry an IPv4 address inside an IPv6 one; the address at the
// offset decides.
var translators = []struct {
	prefix netip.Prefix
	offset int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64, RFC 6052
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4, RFC 3056
	{netip.MustParsePrefix("::/96"), 12},        // IPv4-compatible, RFC 4291
}

// refusePrivate is called with the address that is about to be dialled.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if isSpecial(to.Addr()) {
		return fmt.Errorf("%w: %s is not a public address; allow_private permits it", ErrConfig, to.Addr())
	}
	return nil
}

func isSpecial(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() {
		return true
	}
	for _, network := range specialNetworks {
		if network.Contains(a) {
			return true
		}
	}
	if a.Is6() {
		raw := a.As16()
		for _, t := range translators {
			if t.prefix.Contains(a) {
				return isSpecial(netip.AddrFrom4([4]byte(raw[t.offset : t.offset+4])))
			}
		}
	}
	return false
}

package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"

	"github.com/erbridge/erbridge/internal/soar"
)

// OTLPSettings configure a sink for receivers of OpenTelemetry logs over HTTP
// (OTLP/HTTP), such as an OpenTelemetry Collector.
type OTLPSettings struct {
	// URL is the receiver's address, such as https://otel.example.org:4318. /v1/logs
	// is added when the address has no path.
	URL string `yaml:"url" required:"true"`

	// Headers go with every request, such as an API key.
	Headers map[string]soar.Secret `yaml:"headers"`

	// Resource are more attributes of the resource, which is erbridge itself:
	// service.name, service.version and service.instance.id are there already.
	Resource map[string]string `yaml:"resource"`

	// Compress sends requests gzipped.
	Compress bool `yaml:"compress"`

	// Timeout bounds one request, the connection included.
	Timeout time.Duration `yaml:"timeout"`

	TLSSettings `yaml:",inline"`
}

// maxOTLPBytes bounds a request before compression. The collector takes 20 MiB
// unless told otherwise; vendors take less.
const maxOTLPBytes = 4 << 20

func init() {
	Types.Add("otlp", Type{
		Summary:  "OpenTelemetry logs over HTTP (OTLP), with the names of ECS as attributes",
		Settings: &OTLPSettings{Compress: true, Timeout: 30 * time.Second},
		Example: `type: otlp
url: https://otel.example.org:4318
headers:
  x-api-key: {file: /run/secrets/otlp-key}
resource: {deployment.environment.name: production}
`,
		MaxBatch: 500,
		Open: func(_ string, settings any, env Env) (Sink, error) {
			return openOTLP(*settings.(*OTLPSettings), env)
		},
	})
}

// Check implements Checker.
func (s *OTLPSettings) Check(report func(setting, hint, format string, args ...any)) {
	checkURL(s.URL, report)
	checkTimeout(s.Timeout, report)
	for name := range s.Headers {
		if !validHeaderName(name) {
			report("headers", "", "%q cannot be the name of a header", name)
		}
	}
	for name := range s.Resource {
		if name == "" || slices.Contains([]string{"service.name", "service.version", "service.instance.id"}, name) {
			report("resource", "leave it out", "%q is not for settings", name)
		}
	}
}

// validHeaderName reports a token of RFC 9110, section 5.6.2, that does not change
// what the body is.
func validHeaderName(name string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(marks, r) {
			return false
		}
	}
	return name != "" && !slices.Contains([]string{"Content-Type", "Content-Encoding", "Content-Length", "Host"}, http.CanonicalHeaderKey(name))
}

type otlp struct {
	client   *http.Client
	url      string
	headers  map[string]soar.Secret
	compress bool
	agent    string
	version  string
	resource *resourcepb.Resource
	log      *slog.Logger
	now      func() time.Time
}

func openOTLP(s OTLPSettings, env Env) (*otlp, error) {
	u, err := parseURL(s.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/logs"
	}
	client, err := newHTTPClient(s.TLSSettings, s.Timeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	sink := &otlp{
		client: client, url: u.String(), headers: s.Headers, compress: s.Compress, agent: userAgent(env), version: env.Version,
		resource: otlpResource(s.Resource, env.Version), log: env.Log, now: env.Now,
	}
	if sink.log == nil {
		sink.log = slog.New(slog.DiscardHandler)
	}
	if sink.now == nil {
		sink.now = time.Now
	}
	return sink, nil
}

// otlpResource is what sends the records (OpenTelemetry semantic conventions,
// "Service").
func otlpResource(more map[string]string, version string) *resourcepb.Resource {
	attributes := map[string]string{"service.name": "erbridge", "service.version": version}
	if host, err := os.Hostname(); err == nil {
		attributes["service.instance.id"] = host
	}
	for name, value := range more {
		attributes[name] = value
	}
	r := &resourcepb.Resource{}
	for name, value := range attributes {
		if value != "" {
			r.Attributes = append(r.Attributes, otlpText(name, value))
		}
	}
	slices.SortFunc(r.Attributes, func(a, b *commonpb.KeyValue) int { return strings.Compare(a.Key, b.Key) })
	return r
}

// Send posts all events in one request. Receivers do not recognise a repeat by
// themselves: records carry the attribute log.record.uid for it.
func (s *otlp) Send(ctx context.Context, events []soar.Event) error {
	if len(events) == 0 {
		return nil
	}
	return sendShortened(ctx, "otlp", events, s.post)
}

func (s *otlp) post(ctx context.Context, events []soar.Event) error {
	body, err := s.encode(events)
	if err != nil {
		return err
	}
	if len(body) > maxOTLPBytes {
		return fmt.Errorf("%w: %d events of %d bytes", ErrTooLarge, len(events), len(body))
	}
	req, err := newPost(ctx, s.url, otlpType, body, s.compress, s.agent)
	if err != nil {
		return err
	}
	var hide []string
	for name, secret := range s.headers {
		value, err := secret.Reveal()
		if err != nil {
			return fmt.Errorf("%w: header %s: %w", ErrConfig, name, err)
		}
		req.Header.Set(name, value)
		hide = append(hide, value)
	}
	r, err := exchange(s.client, req, maxReplyBytes, hide...)
	if errors.Is(err, errReplyLost) {
		// The status says that the records are taken, and a repeat would double them.
		s.log.Warn("reply broke off after its status, events count as delivered", "events", len(events), "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	return s.judge(r, len(events))
}

// judge reads what a receiver says (OTLP specification 1.7, "OTLP/HTTP Response").
// Other than there, 408 and all of 5xx are tried again: a receiver that is broken
// for the moment shall not cost events.
func (s *otlp) judge(r reply, sent int) error {
	if r.wrongPort() && !strings.HasPrefix(r.Header.Get("Content-Type"), otlpType) {
		return fmt.Errorf("%w: does the port want https?", r.errorf(ErrConfig))
	}
	if r.Status < 200 || r.Status > 299 {
		if text := otlpStatusText(r); text != "" {
			r.Body = []byte(text)
		}
		return r.judge(s.now())
	}
	rejected, text, err := otlpPartial(r)
	switch {
	case err != nil:
		return fmt.Errorf("%w: this is no receiver of OTLP: %w", r.errorf(ErrConfig), err)
	case rejected <= 0 && text == "":
		return nil
	}
	r.Body = []byte(text)
	if rejected <= 0 {
		s.log.Warn("receiver has taken all records and has this to say", "text", r.excerpt())
		return nil
	}
	if rejected >= int64(sent) {
		return r.errorf(ErrPermanent) // nothing was taken: the forwarder tells them apart
	}
	return &LostError{Events: int(rejected), Err: r.errorf(nil)}
}

// Close drops idle connections.
func (s *otlp) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

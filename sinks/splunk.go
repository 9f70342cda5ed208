package sinks

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// SplunkSettings configure a sink for Splunk's HTTP Event Collector.
type SplunkSettings struct {
	// URL is the collector's address, such as https://hec.example.org:8088.
	// /services/collector/event (or raw) is added when the address has no path.
	URL string `yaml:"url" required:"true"`

	// Token is the token of the collector. With indexer acknowledgement switched on
	// for it, ack must be true.
	Token soar.Secret `yaml:"token" required:"true"`

	// Endpoint is what the collector takes: event for events with CIM field names, each
	// with its own host, time and source type; or raw for lines of the form that format
	// names, which Splunk takes apart by the rules of the source type (erbridge sinks
	// files splunk has some).
	Endpoint string `yaml:"endpoint" enum:"event,raw"`

	FormatSettings `yaml:",inline"`

	// Index is the index to write to. Empty means the token's own.
	Index string `yaml:"index"`

	// Source is the source of the events.
	Source string `yaml:"source"`

	// SourceType is the source type of all events. Empty means eclecticiq:er:alert and
	// likewise outcome, connector and telemetry, by what they tell; and for endpoint raw
	// eclecticiq:er: with the name of the format behind it.
	SourceType string `yaml:"sourcetype"`

	// Host is the host of all events. Empty means that of the alert, and for endpoint
	// raw what Splunk makes of the connection.
	Host string `yaml:"host"`

	// Ack waits until the indexers have written the events to disk (indexer
	// acknowledgement), and sends them again when they have not within ack_timeout.
	// The token must have it switched on. Behind a load balancer it needs sticky
	// sessions by cookie. Splunk Cloud offers it for few senders.
	Ack bool `yaml:"ack"`

	// AckTimeout bounds the wait for an acknowledgement, up to 4m.
	AckTimeout time.Duration `yaml:"ack_timeout"`

	// AckInterval is the wait between two questions for an acknowledgement.
	AckInterval time.Duration `yaml:"ack_interval"`

	// Compress sends requests gzipped.
	Compress bool `yaml:"compress"`

	// ServerVersion is the release of the Endpoint Response server, for the field
	// product_version. Empty leaves the field out.
	ServerVersion string `yaml:"server_version"`

	// Timeout bounds one request, the connection included.
	Timeout time.Duration `yaml:"timeout"`

	TLSSettings `yaml:",inline"`
}

// maxSplunkBytes bounds a request before compression. The collector's own limit
// (max_content_length) is far above it in a default installation; those behind
// load balancers and in Splunk Cloud take 1 MB.
const maxSplunkBytes = 1 << 20

func init() {
	Types.Add("splunk", Type{
		Summary: "Splunk through the HTTP Event Collector, with CIM field names",
		Settings: &SplunkSettings{
			Endpoint: "event", FormatSettings: FormatSettings{Format: "json"}, Source: "eclecticiq:er", AckTimeout: 2 * time.Minute, AckInterval: time.Second,
			Compress: true, Timeout: 30 * time.Second,
		},
		Example: `type: splunk
url: https://hec.example.org:8088
token: {file: /run/secrets/hec-token}
index: endpoint
`,
		MaxBatch: 500,
		Open: func(name string, settings any, env Env) (Sink, error) {
			return openSplunk(settings.(*SplunkSettings), env)
		},
	})
}

// maxAckTimeout leaves room for the request itself in the time that a forwarder
// gives to one Send.
const maxAckTimeout = 4 * time.Minute

// Check reports what the settings' types cannot.
func (s *SplunkSettings) Check(report func(setting, hint, format string, args ...any)) {
	checkURL(s.URL, report)
	checkTimeout(s.Timeout, report)
	if s.Endpoint != "raw" && s.Format != "json" {
		report("format endpoint", "endpoint: raw sends lines of any format", "events of endpoint event have CIM field names")
	} else {
		s.checkFormat(report)
	}
	if !s.Ack {
		return
	}
	if u, err := parseURL(s.URL); err == nil {
		if _, ok := collectorPath(u.Path); !ok {
			report("ack url", "leave the path out of the url", "a path that ends in /services/collector is needed to ask for acknowledgements")
		}
	}
	if s.AckTimeout <= 0 || s.AckTimeout > maxAckTimeout {
		report("ack_timeout", "", "expected a duration above 0 and up to %s", maxAckTimeout)
	}
	if s.AckInterval <= 0 {
		report("ack_interval", "", "expected a duration above 0")
	}
}

// collectorPath is the path under which the endpoints of a collector are; ok is
// false for one that a proxy has made up, which is used as it is.
func collectorPath(path string) (base string, ok bool) {
	path = strings.TrimRight(path, "/")
	if path == "" {
		return "/services/collector", true
	}
	path = strings.TrimSuffix(strings.TrimSuffix(path, "/event"), "/raw")
	return path, strings.HasSuffix(path, "/services/collector")
}

type splunk struct {
	client    *http.Client
	url       string
	token     soar.Secret
	compress  bool
	userAgent string
	hec       format.HECOptions
	lines     format.Formatter // of endpoint raw; nil for events
	acks      *splunkAcks      // nil: not asked for
	channel   string           // of endpoint raw without acks
	log       *slog.Logger
	now       func() time.Time
}

func openSplunk(s *SplunkSettings, env Env) (*splunk, error) {
	u, err := parseURL(s.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	base, known := collectorPath(u.Path)
	client, err := newHTTPClient(s.TLSSettings, s.Timeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	sink := &splunk{client: client, token: s.Token, compress: s.Compress, userAgent: userAgent(env), log: env.Log, now: env.Now}
	options := format.Options{Version: env.Version, ServerVersion: s.ServerVersion}
	sink.hec = format.HECOptions{Options: options, Index: s.Index, Source: s.Source, SourceType: s.SourceType, Host: s.Host}
	if s.Endpoint == "raw" {
		if sink.lines, err = s.formatter(options); err != nil {
			return nil, err
		}
		sink.channel = newChannel()
		u.RawQuery = rawQuery(s).Encode()
	}
	if s.Ack {
		if !known {
			return nil, fmt.Errorf("%w: url: ack needs a path that ends in /services/collector, or none", ErrConfig)
		}
		ask := *u
		ask.Path, ask.RawQuery = base+"/ack", ""
		sink.acks = &splunkAcks{sink: sink, url: &ask, timeout: s.AckTimeout, interval: s.AckInterval}
	}
	if known {
		u.Path = base + "/" + cmp.Or(s.Endpoint, "event")
	}
	sink.url = u.String()
	return sink, nil
}

// Send posts all events in one request, and with acks waits for the indexers to
// have them. The collector has no way to recognise a repeat: events carry
// event_id for a search to drop them by.
func (s *splunk) Send(ctx context.Context, events []soar.Event) error {
	if len(events) == 0 {
		return nil
	}
	return sendShortened(ctx, "splunk", events, s.send)
}

func (s *splunk) send(ctx context.Context, events []soar.Event) error {
	if s.lines != nil {
		return s.sendRaw(ctx, events)
	}
	// One object after the other: no array, no commas.
	var body bytes.Buffer
	for i := range events {
		body.Write(format.HEC(&events[i], s.hec))
		body.WriteByte('\n')
	}
	return s.post(ctx, body.Bytes(), len(events))
}

// post sends the body of n events.
func (s *splunk) post(ctx context.Context, body []byte, n int) error {
	if len(body) > maxSplunkBytes {
		return fmt.Errorf("%w: %d events of %d bytes", ErrTooLarge, n, len(body))
	}
	client, channel := s.client, s.channel
	if s.acks != nil {
		client, channel = s.acks.open()
	}
	req, err := s.request(ctx, s.url, body, s.compress, channel)
	if err != nil {
		return err
	}
	r, err := exchange(client, req, maxReplyBytes)
	if errors.Is(err, errReplyLost) && r.Status == http.StatusOK && s.acks == nil {
		// The status says that the events are taken, and a repeat would double them.
		s.log.Warn("reply broke off after its status, events count as delivered", "events", n, "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	ack, err := s.judge(r, n)
	if err != nil || s.acks == nil {
		return err
	}
	if ack == nil {
		return fmt.Errorf("%w: the collector took the events and gave no ackId: "+
			"switch on indexer acknowledgement for this token, or take ack out of the configuration", r.errorf(ErrConfig))
	}
	return s.acks.wait(ctx, *ack)
}

// request makes a request to the collector; the channel may be empty.
func (s *splunk) request(ctx context.Context, address string, body []byte, compress bool, channel string) (*http.Request, error) {
	token, err := s.token.Reveal()
	if err != nil {
		return nil, fmt.Errorf("token: %w: %w", ErrConfig, err)
	}
	req, err := newPost(ctx, address, "application/json", body, compress, s.userAgent)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Splunk "+token)
	if channel != "" {
		req.Header.Set("X-Splunk-Request-Channel", channel)
	}
	return req, nil
}

// judge reads the collector's code, which says more than the status (Splunk
// Enterprise, "Troubleshoot HTTP Event Collector", possible error codes). The ack
// is the number to ask for, nil without one.
func (s *splunk) judge(r reply, sent int) (ack *int64, err error) {
	var answer struct {
		Code    *int   `json:"code"`
		Invalid *int   `json:"invalid-event-number"`
		Ack     *int64 `json:"ackId"`
	}
	if err := json.Unmarshal(r.Body, &answer); err != nil || answer.Code == nil {
		if r.Status == http.StatusOK {
			return nil, fmt.Errorf("%w: this is not an event collector", r.errorf(ErrConfig))
		}
		if r.wrongPort() {
			return nil, fmt.Errorf("%w: does the port want https?", r.errorf(ErrConfig))
		}
		return nil, r.judge(s.now())
	}
	code := *answer.Code
	if r.Status == http.StatusOK && code == 0 {
		return answer.Ack, nil
	}
	switch {
	case r.Status != http.StatusOK && r.Status != http.StatusBadRequest:
		return nil, r.judge(s.now())
	case code == 10: // the token wants acknowledgements
		return nil, fmt.Errorf("%w: does the token have indexer acknowledgement, and this sink no ack: true?", r.errorf(ErrConfig))
	case slices.Contains([]int{7, 11, 14}, code): // index, channel or acknowledgement set up wrongly
		return nil, r.errorf(ErrConfig)
	case slices.Contains([]int{9, 18, 19, 20}, code) || code >= 23: // busy
		return nil, r.errorf(nil)
	}
	refused := r.errorf(ErrPermanent)
	if answer.Invalid == nil || *answer.Invalid < 0 || *answer.Invalid >= sent || sent == 1 {
		return nil, refused // the forwarder finds the event by halving
	}
	// The collector stops at the event that it refuses. Whether it has kept those
	// before it, it does not say: better twice than not at all.
	return nil, oneRefused(*answer.Invalid, sent, refused)
}

// Close drops idle connections.
func (s *splunk) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

package sinks

import (
	"bytes"
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
	// /services/collector/event is added when the address has no path.
	URL string `yaml:"url" required:"true"`

	// Token is the token of the collector. It must not have indexer
	// acknowledgement switched on.
	Token soar.Secret `yaml:"token" required:"true"`

	// Index is the index to write to. Empty means the token's own.
	Index string `yaml:"index"`

	// Source is the source of the events. The source type is
	// eclecticiq:er:alert, eclecticiq:er:outcome or eclecticiq:er:connector.
	Source string `yaml:"source"`

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
		Summary:  "Splunk through the HTTP Event Collector, with CIM field names",
		Settings: &SplunkSettings{Source: "eclecticiq:er", Compress: true, Timeout: 30 * time.Second},
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

// Check reports what the settings' types cannot.
func (s *SplunkSettings) Check(report func(setting, hint, format string, args ...any)) {
	checkURL(s.URL, report)
	checkTimeout(s.Timeout, report)
}

type splunk struct {
	client    *http.Client
	url       string
	token     soar.Secret
	compress  bool
	userAgent string
	options   format.HECOptions
	log       *slog.Logger
	now       func() time.Time
}

func openSplunk(s *SplunkSettings, env Env) (*splunk, error) {
	u, err := parseURL(s.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/services/collector/event"
	}
	client, err := newHTTPClient(s.TLSSettings, s.Timeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return &splunk{
		client: client, url: u.String(), token: s.Token, compress: s.Compress, userAgent: userAgent(env),
		options: format.HECOptions{
			Options: format.Options{Version: env.Version, ServerVersion: s.ServerVersion},
			Index:   s.Index, Source: s.Source,
		},
		log: env.Log, now: env.Now,
	}, nil
}

// Send posts all events in one request. The collector has no way to recognise a
// repeat: events carry event_id for a search to drop them by.
func (s *splunk) Send(ctx context.Context, events []soar.Event) error {
	if len(events) == 0 {
		return nil
	}
	err := s.post(ctx, events)
	if errors.Is(err, ErrTooLarge) && len(events) == 1 {
		err = s.post(ctx, []soar.Event{format.Shortened(events[0], shortText)})
	}
	return err
}

func (s *splunk) post(ctx context.Context, events []soar.Event) error {
	// One object after the other: no array, no commas.
	var body bytes.Buffer
	for i := range events {
		body.Write(format.HEC(&events[i], s.options))
		body.WriteByte('\n')
	}
	if body.Len() > maxSplunkBytes {
		return fmt.Errorf("splunk: %w: %d events of %d bytes", ErrTooLarge, len(events), body.Len())
	}
	token, err := s.token.Reveal()
	if err != nil {
		return fmt.Errorf("splunk: token: %w: %w", ErrConfig, err)
	}
	req, err := newPost(ctx, s.url, "application/json", body.Bytes(), s.compress, s.userAgent)
	if err != nil {
		return fmt.Errorf("splunk: %w", err)
	}
	req.Header.Set("Authorization", "Splunk "+token)
	r, err := exchange(s.client, req, maxReplyBytes)
	if errors.Is(err, errReplyLost) && r.Status == http.StatusOK {
		// The status says that the events are taken, and a repeat would double them.
		s.log.Warn("reply broke off after its status, events count as delivered", "events", len(events), "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("splunk: %w", err)
	}
	if err := s.judge(r, len(events)); err != nil {
		if partial, ok := errors.AsType[*PartialError](err); ok {
			return partial
		}
		return fmt.Errorf("splunk: %w", err)
	}
	return nil
}

// judge reads the collector's code, which says more than the status (Splunk
// Enterprise, "Troubleshoot HTTP Event Collector", possible error codes).
func (s *splunk) judge(r reply, sent int) error {
	var answer struct {
		Code    *int `json:"code"`
		Invalid *int `json:"invalid-event-number"`
	}
	if err := json.Unmarshal(r.Body, &answer); err != nil || answer.Code == nil {
		if r.Status == http.StatusOK {
			return fmt.Errorf("%w: this is not an event collector", r.errorf(ErrConfig))
		}
		if r.wrongPort() {
			return fmt.Errorf("%w: does the port want https?", r.errorf(ErrConfig))
		}
		return r.judge(s.now())
	}
	code := *answer.Code
	if r.Status == http.StatusOK && code == 0 {
		return nil
	}
	switch {
	case r.Status != http.StatusOK && r.Status != http.StatusBadRequest:
		return r.judge(s.now())
	case slices.Contains([]int{7, 10, 11, 14}, code): // index, channel or acknowledgement set up wrongly
		return r.errorf(ErrConfig)
	case slices.Contains([]int{9, 18, 19, 20}, code) || code >= 23: // busy
		return r.errorf(nil)
	}
	refused := r.errorf(ErrPermanent)
	if answer.Invalid == nil || *answer.Invalid < 0 || *answer.Invalid >= sent || sent == 1 {
		return refused // the forwarder finds the event by halving
	}
	// The collector stops at the event that it refuses. Whether it has kept those
	// before it, it does not say: better twice than not at all.
	partial := &PartialError{Permanent: map[int]error{*answer.Invalid: refused}, Transient: map[int]error{}}
	for i := range sent {
		if i != *answer.Invalid {
			partial.Transient[i] = errors.New("splunk: not taken because of another event of the request")
		}
	}
	return partial
}

// Close drops idle connections.
func (s *splunk) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

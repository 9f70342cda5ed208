package sinks

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// LokiSettings configure a sink for Grafana Loki. An event becomes a line of a
// stream with the labels job, server, severity and source; what has many values
// (host, host_identifier, alert_id, event_id, event_type, event_time, rule) is
// structured metadata.
type LokiSettings struct {
	// URL is Loki's address, such as https://loki.example.org:3100.
	// /loki/api/v1/push is added unless the address ends in /push.
	URL string `yaml:"url" required:"true"`

	// Tenant is the tenant to write to (X-Scope-OrgID), for a Loki with several.
	Tenant string `yaml:"tenant"`

	// Username is for basic authentication, with password.
	Username string `yaml:"username"`

	// Password is that of username.
	Password soar.Secret `yaml:"password"`

	// Token is for bearer authentication, in place of username and password.
	Token soar.Secret `yaml:"token"`

	// Labels are more labels of all streams, such as {env: production}. job is
	// erbridge unless it is set here.
	Labels map[string]string `yaml:"labels"`

	// StructuredMetadata sends host, ids and the like beside the line. Switch it off
	// for a Loki before 3.0, or one that disallows it.
	StructuredMetadata bool `yaml:"structured_metadata"`

	// MaxLineBytes bounds a line, as max_line_size does in Loki. An event that is
	// longer has its texts cut.
	MaxLineBytes int `yaml:"max_line_bytes"`

	// Compress sends requests gzipped.
	Compress bool `yaml:"compress"`

	// Timeout bounds one request, the connection included.
	Timeout time.Duration `yaml:"timeout"`

	FormatSettings `yaml:",inline"`
	TLSSettings    `yaml:",inline"`
}

const (
	// maxLokiBytes bounds a request before compression: Loki's parts speak gRPC to
	// each other, with messages of up to 4 MiB.
	maxLokiBytes = 2 << 20
	// lokiMetadataRunes bounds a value of structured metadata; Loki bounds all of
	// an entry to 64 KB.
	lokiMetadataRunes = 512
	// lokiLabels is how many labels a stream can have (max_label_names_per_series).
	lokiLabels = 15
)

func init() {
	Types.Add("loki", Type{
		Summary: "Grafana Loki, with few labels and structured metadata",
		Settings: &LokiSettings{
			StructuredMetadata: true, MaxLineBytes: 256 << 10, Compress: true, Timeout: 30 * time.Second,
			FormatSettings: FormatSettings{Format: "json"},
		},
		Example: `type: loki
url: https://loki.example.org:3100
tenant: soc
token: {file: /run/secrets/loki-token}
labels: {env: production}
`,
		MaxBatch: 500,
		Open: func(_ string, settings any, env Env) (Sink, error) {
			return openLoki(*settings.(*LokiSettings), env)
		},
	})
}

// lokiLabel is the name of a label (Prometheus, "Metric names and labels").
var lokiLabel = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// Check implements Checker.
func (s *LokiSettings) Check(report func(setting, hint, format string, args ...any)) {
	checkURL(s.URL, report)
	checkTimeout(s.Timeout, report)
	s.checkFormat(report)
	switch {
	case s.Token.IsSet() && (s.Username != "" || s.Password.IsSet()):
		report("token username password", "", "set one of token, username with password")
	case (s.Username == "") != !s.Password.IsSet():
		report("username password", "", "username and password go together")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		switch {
		case !lokiLabel.MatchString(name) || strings.HasPrefix(name, "__"):
			report("labels", "letters, digits and _", "%q cannot be the name of a label", name)
		case slices.Contains([]string{"server", "severity", "source"}, name):
			report("labels", "leave it out", "%s is there already, with a value for each event", name)
		case s.Labels[name] == "":
			report("labels", "", "%s has no value", name)
		}
	}
	if len(s.Labels)+4 > lokiLabels {
		report("labels", "", "Loki takes %d labels, of which 4 are there already", lokiLabels)
	}
	if s.MaxLineBytes < 1<<10 || s.MaxLineBytes > maxLokiBytes/2 {
		report("max_line_bytes", "", "expected a number from %d to %d", 1<<10, maxLokiBytes/2)
	}
}

type loki struct {
	settings LokiSettings
	client   *http.Client
	url      string
	format   format.Formatter
	agent    string
	now      func() time.Time
}

func openLoki(s LokiSettings, env Env) (*loki, error) {
	u, err := parseURL(s.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if !strings.HasSuffix(u.Path, "/push") {
		u.Path = strings.TrimRight(u.Path, "/") + "/loki/api/v1/push"
	}
	formatter, err := s.formatter(format.Options{Version: env.Version})
	if err != nil {
		return nil, err
	}
	client, err := newHTTPClient(s.TLSSettings, s.Timeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	now := env.Now
	if now == nil {
		now = time.Now
	}
	return &loki{settings: s, client: client, url: u.String(), format: formatter, agent: userAgent(env), now: now}, nil
}

// lokiStream are entries with the same labels, each as time in nanoseconds, line
// and structured metadata (Loki HTTP API, "Ingest logs").
type lokiStream struct {
	Labels  map[string]string `json:"stream"`
	Entries [][]any           `json:"values"`
}

// Send pushes all events in one request. An entry that is there already, with the
// same labels, time and line, is not stored again. An event that is too large on its
// own for what stands in front of Loki is sent once more with its texts cut.
func (s *loki) Send(ctx context.Context, events []soar.Event) error {
	err := s.send(ctx, events)
	if errors.Is(err, ErrTooLarge) && len(events) == 1 {
		err = s.send(ctx, []soar.Event{format.Shortened(events[0], shortText)})
	}
	return err
}

func (s *loki) send(ctx context.Context, events []soar.Event) error {
	partial := &PartialError{Permanent: map[int]error{}, Transient: map[int]error{}}
	streams := s.streams(events, partial.Permanent)
	if len(streams) > 0 {
		if err := s.push(ctx, streams); err != nil {
			err = fmt.Errorf("loki: %w", err)
			if len(partial.Permanent) == 0 {
				return err
			}
			for i := range events {
				if partial.Permanent[i] == nil {
					partial.Transient[i] = err
				}
			}
		}
	}
	return partial.verdict(len(events))
}

// streams puts the events into streams, in order. Those that have no line go into
// refused.
func (s *loki) streams(events []soar.Event, refused map[int]error) []*lokiStream {
	var streams []*lokiStream
	byLabels := map[string]*lokiStream{}
	for i := range events {
		ev := &events[i]
		line, err := s.line(ev)
		if err != nil {
			refused[i] = fmt.Errorf("loki: %w", err)
			continue
		}
		labels := s.labels(ev)
		key := fmt.Sprint(labels) // maps print in the order of their keys
		stream := byLabels[key]
		if stream == nil {
			stream = &lokiStream{Labels: labels}
			byLabels[key] = stream
			streams = append(streams, stream)
		}
		entry := []any{s.time(ev), string(line)}
		if s.settings.StructuredMetadata {
			entry = append(entry, lokiMetadata(ev))
		}
		stream.Entries = append(stream.Entries, entry)
	}
	return streams
}

// line is the event in its format, with its texts cut if it is too long.
func (s *loki) line(ev *soar.Event) ([]byte, error) {
	line, err := s.format(ev)
	if err == nil && len(line) > s.settings.MaxLineBytes {
		short := format.Shortened(*ev, shortText)
		line, err = s.format(&short)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrPermanent, err)
	case len(line) > s.settings.MaxLineBytes:
		return nil, fmt.Errorf("%w: %d bytes with its texts cut, max_line_bytes is %d", ErrTooLarge, len(line), s.settings.MaxLineBytes)
	}
	return line, nil
}

// time is when erbridge took the event in. Loki refuses what is an hour older than
// the newest entry of its stream, as an alert of a host that was offline is by its
// own time; that is in the structured metadata.
func (s *loki) time(ev *soar.Event) string {
	return strconv.FormatUint(cmp.Or(unixNano(ev.At), unixNano(s.now())), 10)
}

// labels are few and have few values: each combination is a stream of its own.
func (s *loki) labels(ev *soar.Event) map[string]string {
	labels := map[string]string{"job": "erbridge", "severity": string(format.SeverityOf(ev))}
	switch {
	case ev.Alert != nil:
		labels["server"], labels["source"] = lokiLabelValue(ev.Alert.Server), lokiLabelValue(strings.ToLower(ev.Alert.Source))
	case ev.Row != nil:
		labels["server"], labels["source"] = lokiLabelValue(ev.Row.Server), "telemetry"
	default:
		labels["source"] = "erbridge"
	}
	maps.Copy(labels, s.settings.Labels)
	maps.DeleteFunc(labels, func(_, value string) bool { return value == "" })
	return labels
}

// lokiLabelValue keeps text from outside from making streams at will.
func lokiLabelValue(text string) string {
	const limit = 64
	strange := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	}
	if len(text) > limit || strings.ContainsFunc(text, strange) {
		return "other"
	}
	return text
}

func lokiMetadata(ev *soar.Event) map[string]string {
	m := map[string]string{"event_id": ev.ID, "event_type": string(ev.Type), "event_time": eventTime(ev).UTC().Format(time.RFC3339Nano)}
	host := soar.Host{}
	switch {
	case ev.Alert != nil:
		host, m["alert_id"] = ev.Alert.Host, ev.Alert.Ref()
		if ev.Alert.Rule != nil {
			m["rule"] = ev.Alert.Rule.Name
		}
	case ev.Row != nil:
		host = ev.Row.Host
	}
	m["host"], m["host_identifier"] = host.Name, host.Identifier
	maps.DeleteFunc(m, func(_, value string) bool { return value == "" })
	for name, value := range m {
		m[name] = oneLine(value, lokiMetadataRunes)
	}
	return m
}

func (s *loki) push(ctx context.Context, streams []*lokiStream) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(map[string]any{"streams": streams}); err != nil {
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	if body.Len() > maxLokiBytes {
		return fmt.Errorf("%w: a request of %d bytes", ErrTooLarge, body.Len())
	}
	req, err := newPost(ctx, s.url, "application/json", body.Bytes(), s.settings.Compress, s.agent)
	if err != nil {
		return err
	}
	if s.settings.Tenant != "" {
		req.Header.Set("X-Scope-OrgID", s.settings.Tenant)
	}
	var hide string
	switch {
	case s.settings.Token.IsSet():
		if hide, err = s.settings.Token.Reveal(); err != nil {
			return fmt.Errorf("%w: token: %w", ErrConfig, err)
		}
		req.Header.Set("Authorization", "Bearer "+hide)
	case s.settings.Username != "":
		if hide, err = s.settings.Password.Reveal(); err != nil {
			return fmt.Errorf("%w: password: %w", ErrConfig, err)
		}
		req.SetBasicAuth(s.settings.Username, hide)
	}
	r, err := exchange(s.client, req, maxReplyBytes, hide)
	if err != nil {
		return err // also when only the answer is lost: Loki stores nothing twice
	}
	return s.judge(r)
}

// judge reads Loki's answer. Of a request with entries that it refuses (too old, too
// long) Loki keeps the others and answers 400. The forwarder finds those at fault
// by halves; the others are stored once, however often they come.
func (s *loki) judge(r reply) error {
	switch {
	case r.Status == http.StatusNoContent:
		return nil
	case r.Status >= 200 && r.Status < 300 && len(bytes.TrimSpace(r.Body)) > 0:
		return fmt.Errorf("%w: Loki says nothing where it takes a request", r.errorf(ErrConfig))
	case r.wrongPort() && bytes.Contains(r.Body, []byte("HTTPS")): // Loki refuses in plain text, too
		return fmt.Errorf("%w: does the port want https?", r.errorf(ErrConfig))
	case r.Status == http.StatusBadRequest && bytes.Contains(r.Body, []byte("structured metadata")):
		return fmt.Errorf("%w: structured_metadata: false may help", r.errorf(ErrConfig))
	}
	return r.judge(s.now())
}

// Close drops idle connections.
func (s *loki) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

package sinks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// ElasticSettings configure a sink for Elasticsearch or OpenSearch. At most one
// of api_key, username with password, and token is set.
type ElasticSettings struct {
	// URL is the address of the cluster, such as https://es.example.org:9200.
	URL string `yaml:"url" required:"true"`

	// Index is the index or data stream for all events. Empty means data streams
	// named logs-eclecticiq_er.alert-NAMESPACE, and likewise with .outcome,
	// .connector and .telemetry.
	Index string `yaml:"index"`

	// Namespace is the last part of the data streams' names; not used with index.
	Namespace string `yaml:"namespace"`

	// InstallTemplate puts the index template logs-eclecticiq_er on the server before
	// the first event, unless this version of it or a later one is there. It needs the
	// cluster privilege manage_index_templates; not used with index.
	InstallTemplate bool `yaml:"install_template"`

	// APIKey is the base64 form of an API key, as Elasticsearch shows it under
	// "encoded".
	APIKey soar.Secret `yaml:"api_key"`

	// Username goes with password.
	Username string `yaml:"username"`

	// Password goes with username.
	Password soar.Secret `yaml:"password"`

	// Token is a bearer token.
	Token soar.Secret `yaml:"token"`

	// Pipeline is an ingest pipeline. Empty means that of the index.
	Pipeline string `yaml:"pipeline"`

	// Original adds event.original, the whole alert as JSON.
	Original bool `yaml:"original"`

	// Compress sends requests gzipped.
	Compress bool `yaml:"compress"`

	// ServerVersion is the release of the Endpoint Response server, for
	// observer.version. Empty leaves the field out.
	ServerVersion string `yaml:"server_version"`

	// Timeout bounds one request, the connection included.
	Timeout time.Duration `yaml:"timeout"`

	TLSSettings `yaml:",inline"`
}

// maxBulkBytes bounds a request before compression. Servers take 100 MB by
// default (http.max_content_length); requests of this size index as fast.
const maxBulkBytes = 5 << 20

// maxBulkReplyBytes is enough for an error text of 8 KiB on every event.
const maxBulkReplyBytes = 4 << 20

func init() {
	Types.Add("elastic", Type{
		Summary:  "Elasticsearch or OpenSearch, as ECS documents through the bulk API",
		Settings: &ElasticSettings{Namespace: "default", Compress: true, Timeout: 30 * time.Second},
		Example: `type: elastic
url: https://es.example.org:9200
api_key: {file: /run/secrets/elastic-api-key}
install_template: true
ca_file: /etc/erbridge/es-ca.pem
`,
		MaxBatch: 500,
		Open: func(name string, settings any, env Env) (Sink, error) {
			return openElastic(settings.(*ElasticSettings), env)
		},
	})
}

// Check reports what the settings' types cannot.
func (s *ElasticSettings) Check(report func(setting, hint, format string, args ...any)) {
	checkURL(s.URL, report)
	checkTimeout(s.Timeout, report)
	ways := 0
	for _, set := range []bool{s.APIKey.IsSet(), s.Username != "" || s.Password.IsSet(), s.Token.IsSet()} {
		if set {
			ways++
		}
	}
	if ways > 1 {
		report("api_key username password token", "", "set one of api_key, username with password, token")
	}
	if (s.Username != "") != s.Password.IsSet() {
		report("username password", "", "username and password go together")
	}
	if s.InstallTemplate && s.Index != "" {
		report("install_template index", "", "the template is for the data streams that are used without index")
	}
	// Elasticsearch reference, "Data stream naming scheme".
	if s.Index == "" && (s.Namespace == "" || s.Namespace != strings.ToLower(s.Namespace) || len(s.Namespace) > 100 ||
		strings.ContainsAny(s.Namespace, `-\/*?"<>| ,#:`)) {
		report("namespace", "", "expected at most 100 small letters and digits, without - and \\ / * ? \" < > | , # :")
	}
}

type elastic struct {
	client    *http.Client
	base      *url.URL
	url       string // of the bulk API
	settings  *ElasticSettings
	userAgent string
	options   format.ECSOptions
	log       *slog.Logger
	now       func() time.Time

	installed bool // the index template; owned by Send
}

func openElastic(s *ElasticSettings, env Env) (*elastic, error) {
	base, err := parseURL(s.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	base.RawQuery = ""
	u := base.JoinPath("_bulk")
	query := url.Values{"filter_path": {"errors,items.*.status,items.*.error"}}
	if s.Pipeline != "" {
		query.Set("pipeline", s.Pipeline)
	}
	u.RawQuery = query.Encode()
	client, err := newHTTPClient(s.TLSSettings, s.Timeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	options := format.ECSOptions{Options: format.Options{Version: env.Version, ServerVersion: s.ServerVersion}, Original: s.Original}
	if s.Index == "" {
		options.Namespace = s.Namespace
	}
	return &elastic{
		client: client, base: base, url: u.String(), settings: s, userAgent: userAgent(env), options: options, log: env.Log, now: env.Now,
	}, nil
}

// Send indexes the events with the event's id as document id, so that a repeat
// of what is there already changes nothing.
func (e *elastic) Send(ctx context.Context, events []soar.Event) error {
	if len(events) == 0 {
		return nil
	}
	if err := e.install(ctx); err != nil {
		return fmt.Errorf("elastic: install the index template: %w", err)
	}
	err := e.post(ctx, events)
	if errors.Is(err, ErrTooLarge) && len(events) == 1 {
		err = e.post(ctx, []soar.Event{format.Shortened(events[0], shortText)})
	}
	if partial, ok := errors.AsType[*PartialError](err); ok {
		return e.shorten(ctx, events, partial)
	}
	return err
}

// maxTermBytes is the longest text that an index can look up as a whole. Mappings
// that do not leave longer ones out refuse the document for them; OpenSearch's
// flat_object is one.
const maxTermBytes = 32766

// shorten sends those refused documents once more that can have been refused for
// the length of a text, with their texts cut: the beginning is worth more than a
// dead letter.
func (e *elastic) shorten(ctx context.Context, events []soar.Event, partial *PartialError) error {
	for _, i := range slices.Sorted(maps.Keys(partial.Permanent)) {
		if len(format.ECS(&events[i], e.options)) <= maxTermBytes {
			continue
		}
		err := e.post(ctx, []soar.Event{format.Shortened(events[i], shortText)})
		again, ok := errors.AsType[*PartialError](err)
		switch {
		case ok && again.Permanent[0] != nil: // that was not it
			continue
		case ok:
			err = again.Transient[0]
		}
		delete(partial.Permanent, i)
		if err != nil {
			partial.Transient[i] = err
		}
	}
	if len(partial.Permanent)+len(partial.Transient) == 0 {
		return nil
	}
	return partial
}

func (e *elastic) post(ctx context.Context, events []soar.Event) error {
	body, err := e.body(events)
	if err != nil {
		return fmt.Errorf("elastic: %w", err)
	}
	if len(body) > maxBulkBytes {
		return fmt.Errorf("elastic: %w: %d events of %d bytes", ErrTooLarge, len(events), len(body))
	}
	req, err := newPost(ctx, e.url, "application/x-ndjson", body, e.settings.Compress, e.userAgent)
	if err != nil {
		return fmt.Errorf("elastic: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	secret, err := e.authorize(req)
	if err != nil {
		return fmt.Errorf("elastic: %w: %w", ErrConfig, err)
	}
	r, err := exchange(e.client, req, maxBulkReplyBytes, secret)
	if err != nil {
		return fmt.Errorf("elastic: %w", err)
	}
	if r.wrongPort() {
		return fmt.Errorf("elastic: %w: does the port want https?", r.errorf(ErrConfig))
	}
	if err := r.judge(e.now()); err != nil {
		return fmt.Errorf("elastic: %w", err)
	}
	return e.items(r, len(events))
}

// body is a line that says where, and a line with the document, for each event.
// Both go through a JSON encoder, because ids hold the names of servers.
func (e *elastic) body(events []soar.Event) ([]byte, error) {
	type action struct {
		Index string `json:"_index"`
		ID    string `json:"_id"`
	}
	var body bytes.Buffer
	for i := range events {
		ev := &events[i]
		to := action{Index: e.settings.Index, ID: ev.ID}
		if to.Index == "" {
			to.Index = "logs-" + format.ECSDataset(ev) + "-" + e.settings.Namespace
		}
		// Data streams take create only, and create is what makes a repeat harmless.
		line, err := json.Marshal(map[string]action{"create": to})
		if err != nil {
			return nil, err
		}
		body.Write(line)
		body.WriteByte('\n')
		body.Write(format.ECS(ev, e.options))
		body.WriteByte('\n')
	}
	return body.Bytes(), nil
}

// authorize returns the secret that it used, to be kept out of errors.
func (e *elastic) authorize(req *http.Request) (string, error) {
	s := e.settings
	var secret string
	var err error
	switch {
	case s.APIKey.IsSet():
		if secret, err = s.APIKey.Reveal(); err == nil {
			req.Header.Set("Authorization", "ApiKey "+secret)
		}
	case s.Token.IsSet():
		if secret, err = s.Token.Reveal(); err == nil {
			req.Header.Set("Authorization", "Bearer "+secret)
		}
	case s.Password.IsSet():
		if secret, err = s.Password.Reveal(); err == nil {
			req.SetBasicAuth(s.Username, secret)
		}
	}
	return secret, err
}

// items judges every event by itself: status 200 of the whole says only that the
// request was read (Elasticsearch reference, "Bulk API").
func (e *elastic) items(r reply, sent int) error {
	type result struct {
		Status int             `json:"status"`
		Error  json.RawMessage `json:"error"`
	}
	var answer struct {
		Errors *bool               `json:"errors"`
		Items  []map[string]result `json:"items"`
	}
	if len(r.Body) == maxBulkReplyBytes {
		return fmt.Errorf("elastic: %w: more than %d bytes of errors for %d events", ErrTooLarge, maxBulkReplyBytes, sent)
	}
	if err := json.Unmarshal(r.Body, &answer); err != nil || answer.Errors == nil {
		return fmt.Errorf("elastic: %w: this is not a bulk API", r.errorf(ErrConfig))
	}
	if len(answer.Items) != sent {
		// Sending again is harmless.
		return fmt.Errorf("elastic: %s: %d results for %d events", r.From, len(answer.Items), sent)
	}
	partial := &PartialError{Permanent: map[int]error{}, Transient: map[int]error{}}
	for i, item := range answer.Items {
		var got result
		for _, got = range item {
		}
		reason := fmt.Errorf("elastic: status %d: %s", got.Status, oneLine(string(got.Error), maxExcerptBytes))
		switch {
		case got.Status >= 200 && got.Status < 300, got.Status == http.StatusConflict: // conflict: it is there already
		case got.Status == http.StatusTooManyRequests, got.Status >= 500, got.Status == 0, got.Status == http.StatusRequestTimeout:
			partial.Transient[i] = reason
		case got.Status == http.StatusUnauthorized, got.Status == http.StatusForbidden:
			partial.Transient[i] = fmt.Errorf("%w: %w", ErrConfig, reason) // kept, and the sink pauses
		case aboutIndex(got.Error):
			partial.Transient[i] = fmt.Errorf("%w: %w; are index, namespace and pipeline right?", ErrConfig, reason)
		default:
			partial.Permanent[i] = fmt.Errorf("%w: %w", ErrPermanent, reason)
		}
	}
	if len(partial.Permanent)+len(partial.Transient) > 0 {
		return partial
	}
	return nil
}

// aboutIndex reports that a document was refused for where it was to go, as every
// other will be until a person mends that. The server says so item by item.
func aboutIndex(refusal json.RawMessage) bool {
	var said struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	}
	if json.Unmarshal(refusal, &said) != nil {
		return false
	}
	switch said.Type {
	case "index_not_found_exception", "index_closed_exception", "invalid_index_name_exception":
		return true
	case "illegal_argument_exception": // also the type of what is wrong with a document
		return strings.HasPrefix(said.Reason, "pipeline with id [") || strings.HasPrefix(said.Reason, "no write index is defined for alias [")
	}
	return false
}

// Close drops idle connections.
func (e *elastic) Close() error {
	e.client.CloseIdleConnections()
	return nil
}

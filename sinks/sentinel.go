package sinks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// SentinelSettings configure a sink for Microsoft Sentinel through the Logs
// Ingestion API. The table and the data collection rule have to be there: erbridge
// sinks files sentinel has a template that makes both, for format asim. Other formats
// that make JSON objects need a table of your own; what its rule does not declare,
// Azure drops without an error.
type SentinelSettings struct {
	// URL is the logs ingestion endpoint of the data collection rule or of a data
	// collection endpoint, such as https://er-abcd.westeurope-1.ingest.monitor.azure.com.
	URL string `yaml:"url" required:"true"`

	// Rule is the immutable id of the data collection rule: dcr- and 32 digits.
	Rule string `yaml:"rule" required:"true"`

	// Stream is the stream of the rule.
	Stream string `yaml:"stream"`

	// Tenant is the directory (tenant) id of the application, or its domain.
	Tenant string `yaml:"tenant" required:"true"`

	// ClientID is the application (client) id. The application needs the role
	// Monitoring Metrics Publisher on the rule.
	ClientID string `yaml:"client_id" required:"true"`

	// ClientSecret is a client secret of the application.
	ClientSecret soar.Secret `yaml:"client_secret" required:"true"`

	// LoginURL is where tokens come from; another one in the clouds of China and of
	// the US government.
	LoginURL string `yaml:"login_url"`

	// Scope is what the token is for; another one in those clouds.
	Scope string `yaml:"scope"`

	FormatSettings `yaml:",inline"`

	// Compress sends requests gzipped.
	Compress bool `yaml:"compress"`

	// ServerVersion is the release of the Endpoint Response server, for
	// EventProductVersion. Empty leaves the column out.
	ServerVersion string `yaml:"server_version"`

	// Timeout bounds one request, the connection included.
	Timeout time.Duration `yaml:"timeout"`

	TLSSettings `yaml:",inline"`
}

// maxSentinelBytes bounds a call, before and after compression, and
// maxSentinelField the value of a column: Azure cuts longer ones without a mark
// (Azure Monitor service limits, "Logs Ingestion API").
const (
	maxSentinelBytes = 1_000_000
	maxSentinelField = 64_000
)

// sentinelAPI is the version of the API.
const sentinelAPI = "2023-01-01"

func init() {
	Types.Add("sentinel", Type{
		Summary: "Microsoft Sentinel through the Logs Ingestion API, in ASIM columns",
		Settings: &SentinelSettings{
			Stream: "Custom-EclecticIQER_CL", LoginURL: "https://login.microsoftonline.com", Scope: "https://monitor.azure.com/.default",
			FormatSettings: FormatSettings{Format: "asim"}, Compress: true, Timeout: 30 * time.Second,
		},
		Example: `type: sentinel
url: https://er-abcd.westeurope-1.ingest.monitor.azure.com
rule: dcr-00000000000000000000000000000000
tenant: 00000000-0000-0000-0000-000000000000
client_id: 11111111-1111-1111-1111-111111111111
client_secret: {file: /run/secrets/sentinel-client-secret}
`,
		MaxBatch: 500, MaxBatchBytes: 800_000,
		Open: func(_ string, settings any, env Env) (Sink, error) {
			return openSentinel(settings.(*SentinelSettings), env)
		},
	})
}

var (
	sentinelRule   = regexp.MustCompile(`^dcr-[0-9a-f]{32}$`)
	sentinelStream = regexp.MustCompile(`^(Custom|Microsoft)-[A-Za-z0-9_]+$`)
	sentinelTenant = regexp.MustCompile(`^[A-Za-z0-9.-]+$`)
)

// Check reports what the settings' types cannot.
func (s *SentinelSettings) Check(report func(setting, hint, format string, args ...any)) {
	checkURL(s.URL, report)
	checkTimeout(s.Timeout, report)
	if _, err := parseURL(s.LoginURL); err != nil {
		report("login_url", "", "%s", strings.TrimPrefix(err.Error(), "url: "))
	}
	s.checkFormat(report)
	if slices.Contains([]string{"cef", "leef", "text"}, s.Format) {
		report("format", "asim is what the columns of the template are for", "a table takes JSON objects")
	}
	if !sentinelRule.MatchString(s.Rule) {
		report("rule", `"immutableId" of the rule, not its name`, "expected dcr- and 32 digits")
	}
	if !sentinelStream.MatchString(s.Stream) {
		report("stream", "for example Custom-EclecticIQER_CL", "expected Custom- and the name of the table")
	}
	if !sentinelTenant.MatchString(s.Tenant) {
		report("tenant", "", "expected the id of the directory, or its domain")
	}
}

type sentinel struct {
	intake
	format format.Formatter
	now    func() time.Time
}

func openSentinel(s *SentinelSettings, env Env) (*sentinel, error) {
	u, err := parseURL(s.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	login, err := parseURL(s.LoginURL)
	if err != nil {
		return nil, fmt.Errorf("%w: login_%w", ErrConfig, err)
	}
	u = u.JoinPath("dataCollectionRules", url.PathEscape(s.Rule), "streams", url.PathEscape(s.Stream))
	u.RawQuery = url.Values{"api-version": {sentinelAPI}}.Encode()
	formatter, err := s.formatter(format.Options{Version: env.Version, ServerVersion: s.ServerVersion})
	if err != nil {
		return nil, err
	}
	b, err := newBearer(u, s.TLSSettings, s.Timeout, env)
	if err != nil {
		return nil, err
	}
	tokens := login.JoinPath(url.PathEscape(s.Tenant), "oauth2/v2.0/token").String()
	b.fetch = func(ctx context.Context) (*oauth2.Token, []string, error) {
		secret, err := s.ClientSecret.Reveal()
		if err != nil {
			return nil, nil, fmt.Errorf("client_secret: %w", err)
		}
		credentials := clientcredentials.Config{
			ClientID: s.ClientID, ClientSecret: secret, Scopes: []string{s.Scope}, TokenURL: tokens, AuthStyle: oauth2.AuthStyleInParams,
		}
		token, err := credentials.Token(ctx)
		return token, []string{secret}, err
	}
	return &sentinel{
		intake: intake{
			bearer: b, url: u.String(), maxBytes: maxSentinelBytes, compress: s.Compress, log: env.Log,
		},
		format: records(formatter), now: env.Now,
	}, nil
}

// Send posts all events in one call. The API takes all or nothing and has no way
// to recognise a repeat: events carry EventUid for a query to drop them by.
func (s *sentinel) Send(ctx context.Context, events []soar.Event) error {
	if len(events) == 0 {
		return nil
	}
	return sendShortened(ctx, "sentinel", events, s.send)
}

func (s *sentinel) send(ctx context.Context, events []soar.Event) error {
	return sendFormatted(events, s.format, func(lines [][]byte) error {
		body := slices.Concat([]byte("["), bytes.Join(lines, []byte(",")), []byte("]"))
		return s.post(ctx, body, len(lines), s.judge)
	})
}

// judge says where to look, because the answers of this API do not.
func (s *sentinel) judge(r reply) error {
	var answer struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	readable := json.Unmarshal(r.Body, &answer) == nil
	err := r.judge(s.now())
	switch {
	case err == nil && len(r.Body) > 0 && !readable:
		return fmt.Errorf("%w: this is not the Logs Ingestion API", r.errorf(ErrConfig))
	case r.Status == http.StatusForbidden:
		return fmt.Errorf("%w; has the application the role Monitoring Metrics Publisher on the rule? A new role takes up to 30 minutes", err)
	case r.Status == http.StatusNotFound,
		// Some regions say so with 400, which is not the fault of the events.
		r.Status == http.StatusBadRequest && slices.Contains([]string{"InvalidStream", "InvalidDcrImmutableId"}, answer.Error.Code):
		return fmt.Errorf("%w; are url, rule and stream those of one data collection rule?", r.errorf(ErrConfig))
	}
	return err
}

package sinks

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// SecopsSettings configure a sink for Google Security Operations (Chronicle).
type SecopsSettings struct {
	// Project is the id of the Google Cloud project.
	Project string `yaml:"project" required:"true"`

	// Region is where the instance is, such as us, eu or europe-west2.
	Region string `yaml:"region" required:"true"`

	// Instance is the id of the instance, which Google SecOps shows as customer id.
	Instance string `yaml:"instance" required:"true"`

	// Credentials are the key of a service account, the JSON file as it was
	// downloaded. The account needs the permission chronicle.events.import, or for
	// endpoint logs chronicle.logs.import.
	Credentials soar.Secret `yaml:"credentials" required:"true"`

	// Endpoint is what the instance gets: events of the Unified Data Model; or raw logs
	// of the form that format names, which the parser of log_type takes apart.
	Endpoint string `yaml:"endpoint" enum:"events,logs"`

	// LogType is the log type of endpoint logs; a parser for it has to be there.
	LogType string `yaml:"log_type"`

	// Forwarder is the id of the forwarder that logs count as coming from. Empty
	// leaves it out.
	Forwarder string `yaml:"forwarder"`

	FormatSettings `yaml:",inline"`

	// URL is the address of the API. Empty means
	// https://REGION-chronicle.googleapis.com.
	URL string `yaml:"url"`

	// Compress sends requests gzipped.
	Compress bool `yaml:"compress"`

	// ServerVersion is the release of the Endpoint Response server, for
	// product_version. Empty leaves the field out.
	ServerVersion string `yaml:"server_version"`

	// Timeout bounds one request, the connection included.
	Timeout time.Duration `yaml:"timeout"`

	TLSSettings `yaml:",inline"`
}

// maxSecopsBytes bounds a request before compression. What the API takes is more;
// 1 MB is the limit of the older ingestion API and of an entry.
const maxSecopsBytes = 1_000_000

// secopsScope is what tokens are for.
const secopsScope = "https://www.googleapis.com/auth/cloud-platform"

func init() {
	Types.Add("secops", Type{
		Summary: "Google SecOps (Chronicle), as UDM events or raw logs",
		Settings: &SecopsSettings{
			Endpoint: "events", FormatSettings: FormatSettings{Format: "json"}, Compress: true, Timeout: 30 * time.Second,
		},
		Example: `type: secops
project: soc-project
region: eu
instance: 00000000-0000-0000-0000-000000000000
credentials: {file: /run/secrets/secops-service-account.json}
`,
		MaxBatch: 500, MaxBatchBytes: 600_000, // base64 adds a third
		Open: func(_ string, settings any, env Env) (Sink, error) {
			return openSecops(settings.(*SecopsSettings), env)
		},
	})
}

// secopsPart is one part of a resource's name.
var secopsPart = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]*$`)

// Check reports what the settings' types cannot.
func (s *SecopsSettings) Check(report func(setting, hint, format string, args ...any)) {
	checkTimeout(s.Timeout, report)
	if s.URL != "" {
		checkURL(s.URL, report)
	}
	for setting, value := range map[string]string{"project": s.Project, "region": s.Region, "instance": s.Instance} {
		if !secopsPart.MatchString(value) {
			report(setting, "", "expected letters, digits and - . _ :")
		}
	}
	if s.Endpoint != "logs" {
		if s.Format != "json" || s.LogType != "" || s.Forwarder != "" {
			report("format log_type forwarder endpoint", "endpoint: logs sends raw logs of any format", "events of endpoint events are UDM")
		}
		return
	}
	s.checkFormat(report)
	if !secopsPart.MatchString(s.LogType) {
		report("log_type endpoint", "for example log_type: ECLECTICIQ_ER_CUSTOM", "endpoint logs needs a log type")
	}
	if s.Forwarder != "" && !secopsPart.MatchString(s.Forwarder) {
		report("forwarder", "", "expected the id of a forwarder")
	}
}

type secops struct {
	intake
	head, tail string // of a request, around its entries
	format     format.Formatter
	now        func() time.Time
}

func openSecops(s *SecopsSettings, env Env) (*secops, error) {
	u, err := parseURL(cmp.Or(s.URL, "https://"+url.PathEscape(s.Region)+"-chronicle.googleapis.com"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	b, err := newBearer(u, s.TLSSettings, s.Timeout, env)
	if err != nil {
		return nil, err
	}
	b.fetch = s.token
	sink := &secops{intake: intake{bearer: b, maxBytes: maxSecopsBytes, compress: s.Compress, log: env.Log}, now: env.Now}
	options := format.Options{Version: env.Version, ServerVersion: s.ServerVersion}
	instance := []string{"projects", url.PathEscape(s.Project), "locations", url.PathEscape(s.Region), "instances", url.PathEscape(s.Instance)}
	path := append([]string{"v1"}, instance...)
	if s.Endpoint == "logs" {
		lines, err := s.formatter(options)
		if err != nil {
			return nil, err
		}
		sink.format = secopsLogs(lines, env.Now)
		path = append(path, "logTypes", url.PathEscape(s.LogType), "logs:import")
		sink.head, sink.tail = `{"inlineSource":{"logs":[`, `]}}`
		if s.Forwarder != "" {
			name, err := json.Marshal(strings.Join(append(slices.Clone(instance), "forwarders", s.Forwarder), "/"))
			if err != nil {
				return nil, err
			}
			sink.tail = `],"forwarder":` + string(name) + `}}`
		}
	} else {
		sink.format = secopsEvents(options)
		path = append(path, "events:import")
		sink.head, sink.tail = `{"inlineSource":{"events":[`, `]}}`
	}
	sink.url = u.JoinPath(path...).String()
	return sink, nil
}

// token signs a request for a token with the key of the service account (RFC 7523).
func (s *SecopsSettings) token(ctx context.Context) (*oauth2.Token, []string, error) {
	text, err := s.Credentials.Reveal()
	if err != nil {
		return nil, nil, fmt.Errorf("credentials: %w", err)
	}
	var key struct {
		Type         string `json:"type"`
		Email        string `json:"client_email"`
		PrivateKey   string `json:"private_key"`
		PrivateKeyID string `json:"private_key_id"`
		TokenURI     string `json:"token_uri"`
	}
	if json.Unmarshal([]byte(text), &key) != nil || key.Type != "service_account" || key.Email == "" || key.PrivateKey == "" {
		return nil, nil, errors.New("credentials: this is not the key of a service account, as JSON")
	}
	uri := cmp.Or(key.TokenURI, "https://oauth2.googleapis.com/token")
	if _, err := parseURL(uri); err != nil {
		return nil, nil, fmt.Errorf("credentials: token_uri: %w", err)
	}
	config := jwt.Config{
		Email: key.Email, PrivateKey: []byte(key.PrivateKey), PrivateKeyID: key.PrivateKeyID, TokenURL: uri, Scopes: []string{secopsScope},
	}
	token, err := config.TokenSource(ctx).Token()
	return token, []string{key.PrivateKey}, err
}

// secopsEvents makes entries of endpoint events (SecOps REST reference, resource
// projects.locations.instances.events).
func secopsEvents(o format.Options) format.Formatter {
	return func(ev *soar.Event) ([]byte, error) {
		return slices.Concat([]byte(`{"udm":`), format.UDM(ev, o), []byte(`}`)), nil
	}
}

// secopsLogs makes entries of endpoint logs (SecOps REST reference, resource
// projects.locations.instances.logTypes.logs). An entry is collected after it was
// logged; what the clock of a host says against that is left out.
func secopsLogs(lines format.Formatter, now func() time.Time) format.Formatter {
	return func(ev *soar.Event) ([]byte, error) {
		line, err := lines(ev)
		if err != nil {
			return nil, err
		}
		entry := struct {
			Data      []byte    `json:"data"`
			Logged    time.Time `json:"logEntryTime,omitzero"`
			Collected time.Time `json:"collectionTime"`
		}{Data: line, Collected: now().UTC()}
		logged := ev.At
		if ev.Alert != nil && ev.Type == soar.EventAlertReceived && !ev.Alert.EventTime.IsZero() {
			logged = ev.Alert.EventTime
		}
		if year := logged.UTC().Year(); year >= 1970 && logged.Before(entry.Collected) {
			entry.Logged = logged.UTC()
		}
		return json.Marshal(entry)
	}
}

// Send posts all events in one request. The API takes all or nothing and has no
// way to recognise a repeat: events carry product_log_id and er_event_id for a
// search to drop them by.
func (s *secops) Send(ctx context.Context, events []soar.Event) error {
	if len(events) == 0 {
		return nil
	}
	return sendShortened(ctx, "secops", events, s.send)
}

func (s *secops) send(ctx context.Context, events []soar.Event) error {
	return sendFormatted(events, s.format, func(entries [][]byte) error {
		body := slices.Concat([]byte(s.head), bytes.Join(entries, []byte(",")), []byte(s.tail))
		return s.post(ctx, body, len(entries), s.judge)
	})
}

// judge reads the status in the answer (google.rpc.Code), which tells one bad event,
// for which the whole request is refused, from an instance that is not set up.
func (s *secops) judge(r reply) error {
	var answer struct {
		Error struct {
			Status string `json:"status"`
		} `json:"error"`
	}
	readable := json.Unmarshal(r.Body, &answer) == nil
	err := r.judge(s.now())
	switch {
	case err == nil && len(bytes.TrimSpace(r.Body)) > 0 && !readable:
		return fmt.Errorf("%w: this is not the API of Google SecOps", r.errorf(ErrConfig))
	case r.Status == http.StatusBadRequest && answer.Error.Status == "FAILED_PRECONDITION":
		return r.errorf(ErrConfig)
	case r.Status == http.StatusForbidden:
		return fmt.Errorf("%w; has the service account chronicle.events.import, or chronicle.logs.import for endpoint logs?", err)
	case r.Status == http.StatusNotFound:
		return fmt.Errorf("%w; are project, region and instance right?", err)
	}
	return err
}

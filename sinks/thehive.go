package sinks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
)

// TheHiveSettings configures a thehive sink: an alert in TheHive 5 for each alert, with
// observables; what becomes of it follows as comments.
type TheHiveSettings struct {
	// URL is the address of TheHive, such as https://thehive.example.org.
	URL string `yaml:"url" required:"true"`

	// APIKey is the key of a user that may create alerts (permission
	// manageAlert/create) and comment on them (manageComment).
	APIKey soar.Secret `yaml:"api_key" required:"true"`

	// Organisation is the organisation to write to, for users that belong to several.
	// Empty means the user's default.
	Organisation string `yaml:"organisation"`

	// AlertType is the field type of the alerts, of at most 32 characters.
	AlertType string `yaml:"alert_type"`

	// Source is the field source of the alerts, of at most 64 characters. Type, source
	// and the reference of an alert (its server and its id) are unique together in
	// TheHive: two erbridges that call their servers alike need different sources.
	Source string `yaml:"source"`

	// TLP says with whom the alerts may be shared (Traffic Light Protocol 2.0).
	TLP string `yaml:"tlp" enum:"clear,green,amber,amber+strict,red"`

	// PAP says what may be done with the observables (Permissible Actions Protocol).
	PAP string `yaml:"pap" enum:"clear,green,amber,red"`

	// Tags are put on each alert, besides the ATT&CK techniques and tactics of its
	// rule.
	Tags []string `yaml:"tags"`

	// Comments writes what becomes of an alert (steps, runs, approvals, changes) as
	// comments. One whose answer was lost is looked for before it is written again; where
	// the key may not read comments, or erbridge was stopped in between, it can stand
	// there twice.
	Comments bool `yaml:"comments"`

	// Timeout bounds one request, including the dial.
	Timeout time.Duration `yaml:"timeout"`

	TLSSettings `yaml:",inline"`
}

// Bounds of TheHive 5 (API documentation, "Create alert"), in characters.
const (
	theHiveTypeMax   = 32
	theHiveSourceMax = 64
	theHiveRefMax    = 128
	theHiveTagMax    = 128
)

// Check implements Checker.
func (s *TheHiveSettings) Check(report func(setting, hint, format string, args ...any)) {
	checkURL(s.URL, report)
	if n := utf8.RuneCountInString(s.AlertType); n == 0 || n > theHiveTypeMax {
		report("alert_type", "", "expected a text of 1 to %d characters", theHiveTypeMax)
	}
	if n := utf8.RuneCountInString(s.Source); n == 0 || n > theHiveSourceMax {
		report("source", "", "expected a text of 1 to %d characters", theHiveSourceMax)
	}
	for _, tag := range s.Tags {
		if tag == "" || utf8.RuneCountInString(tag) > theHiveTagMax {
			report("tags", "", "expected texts of 1 to %d characters", theHiveTagMax)
		}
	}
	if strings.ContainsFunc(s.Organisation, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		report("organisation", "", "control characters cannot be sent")
	}
	checkTimeout(s.Timeout, report)
}

func init() {
	Types.Add("thehive", Type{
		Summary: "Creates alerts in TheHive 5, with observables, and comments on what becomes of them.",
		Settings: &TheHiveSettings{
			AlertType: "endpoint", Source: "erbridge", TLP: "amber", PAP: "amber", Comments: true, Timeout: 20 * time.Second,
		},
		Example:  "type: thehive\nurl: https://thehive.example.org\napi_key: {file: /run/secrets/thehive-key}\ntlp: amber\n",
		MaxBatch: 1,
		Open: func(_ string, settings any, env Env) (Sink, error) {
			return openTheHive(*settings.(*TheHiveSettings), env)
		},
	})
}

type theHive struct {
	settings TheHiveSettings
	base     string // without a slash at its end
	client   *http.Client
	agent    string
	log      *slog.Logger
	state    State
	now      func() time.Time
	doubt    string // the event whose comment may stand there; used by Send's goroutine only
}

func openTheHive(s TheHiveSettings, env Env) (Sink, error) {
	u, err := parseURL(s.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	client, err := newHTTPClient(s.TLSSettings, s.Timeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	k := &theHive{
		settings: s, base: strings.TrimRight(u.String(), "/"), client: client, agent: userAgent(env), log: env.Log, state: env.State, now: env.Now,
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if k.state == nil {
		k.state = forgetful{}
	}
	if k.now == nil {
		k.now = time.Now
	}
	return k, nil
}

// Send writes the events one by one. Creating an alert again is harmless: TheHive
// knows it by type, source and sourceRef.
func (s *theHive) Send(ctx context.Context, events []soar.Event) error {
	for i := range events {
		if err := s.deliver(ctx, &events[i]); err != nil {
			return rest(i, len(events), fmt.Errorf("thehive: %w", err))
		}
	}
	return nil
}

func (s *theHive) deliver(ctx context.Context, ev *soar.Event) error {
	switch {
	case ev.Type == soar.EventAlertReceived && ev.Alert != nil:
		_, err := s.create(ctx, s.alert(ev))
		return err
	case ev.Group != nil:
		return s.comment(ctx, ev, ev.Group.Head)
	case ev.Type == soar.EventHeartbeat, ev.Type == soar.EventDigest, ev.Type == soar.EventTelemetry:
		return nil // nothing that is worked on in a case
	case ev.Alert != nil:
		return s.comment(ctx, ev, ev.Alert.Ref())
	case ev.Type == soar.EventTrouble, ev.Type == soar.EventNotification, ev.Type == soar.EventTest:
		_, err := s.create(ctx, s.message(ev))
		return err
	}
	return nil
}

// theHiveReplyBytes is how much of an answer is read: an alert with its description.
const theHiveReplyBytes = 4 << 20

// call sends one request. into is filled from an answer of 2xx.
func (s *theHive) call(ctx context.Context, path string, body, into any) (reply, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return reply{}, fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	key, err := s.settings.APIKey.Reveal()
	if err != nil {
		return reply{}, fmt.Errorf("%w: api_key: %w", ErrConfig, err)
	}
	req, err := newPost(ctx, s.base+path, "application/json", data, false, s.agent)
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if s.settings.Organisation != "" {
		req.Header.Set("X-Organisation", s.settings.Organisation)
	}
	r, err := exchange(s.client, req, theHiveReplyBytes)
	if err != nil {
		return r, err
	}
	if err := r.judge(s.now()); err != nil {
		return r, err
	}
	if err := json.Unmarshal(r.Body, into); err != nil {
		return r, fmt.Errorf("%w: this is not the API of TheHive 5; is url right?", r.errorf(ErrConfig))
	}
	return r, nil
}

// create makes an alert, or finds the one that is there already, and returns its id.
func (s *theHive) create(ctx context.Context, a theHiveAlert) (id string, err error) {
	var made struct {
		ID string `json:"_id"`
	}
	r, err := s.call(ctx, "/api/v1/alert", a, &made)
	switch {
	case err == nil && made.ID == "":
		return "", fmt.Errorf("%w: the answer has no _id; this is not the API of TheHive 5", r.errorf(ErrConfig))
	case err == nil:
		return made.ID, s.state.Set(ctx, theHiveKey(a.SourceRef), made.ID, keepTheHive)
	case r.Status == http.StatusBadRequest || r.Status == http.StatusConflict:
		// The same status and the same words mean that the alert is there, or that
		// an observable of it stands in it twice. Looking is the way to know.
		if !strings.Contains(strings.ToLower(string(r.Body)), "already exist") {
			return "", err
		}
		id, lookErr := s.find(ctx, a.SourceRef)
		if lookErr != nil {
			return "", lookErr
		}
		if id == "" {
			return "", err
		}
		return id, nil
	}
	return "", err
}

// keepTheHive is how long the id of an alert is remembered; after that it is looked up.
const keepTheHive = 90 * 24 * time.Hour

func theHiveKey(sourceRef string) string { return "alert/" + sourceRef }

// find looks an alert up by what is unique about it; the id is empty when there is none.
func (s *theHive) find(ctx context.Context, sourceRef string) (id string, err error) {
	type field struct {
		Field string `json:"_field"`
		Value string `json:"_value"`
	}
	equals := func(name, value string) map[string]field { return map[string]field{"_eq": {name, value}} }
	query := map[string]any{"query": []any{
		map[string]any{"_name": "listAlert"},
		map[string]any{"_name": "filter", "_and": []any{
			equals("type", s.settings.AlertType), equals("source", s.settings.Source), equals("sourceRef", sourceRef),
		}},
		map[string]any{"_name": "page", "from": 0, "to": 1},
	}}
	var found []struct {
		ID string `json:"_id"`
	}
	if _, err := s.call(ctx, "/api/v1/query?name=alerts", query, &found); err != nil {
		return "", err
	}
	if len(found) == 0 || found[0].ID == "" {
		return "", nil
	}
	return found[0].ID, s.state.Set(ctx, theHiveKey(sourceRef), found[0].ID, keepTheHive)
}

// comment writes an event under an alert. One that was never created here, because a
// filter left it out, is not created for it.
func (s *theHive) comment(ctx context.Context, ev *soar.Event, ref string) error {
	if !s.settings.Comments {
		return nil
	}
	sourceRef := theHiveRef(ref)
	id, err := s.state.Get(ctx, theHiveKey(sourceRef))
	if errors.Is(err, soar.ErrNotFound) {
		id, err = s.find(ctx, sourceRef)
	}
	if err != nil || id == "" {
		return err
	}
	if s.doubt == ev.ID {
		there, err := s.commented(ctx, id, ev)
		if there || err != nil {
			return err
		}
	}
	var made struct {
		ID string `json:"_id"`
	}
	r, err := s.call(ctx, "/api/v1/alert/"+url.PathEscape(id)+"/comment", map[string]string{"message": theHiveText(ev, noticeOf(ev))}, &made)
	if r.Status == http.StatusNotFound {
		// Somebody deleted the alert, or merged it into a case. The sink itself works:
		// where it does not, creating alerts says so.
		s.log.Info("alert is gone from TheHive, what becomes of it is not written there", "alert", ref, "event", ev.ID)
		return s.state.Set(ctx, theHiveKey(sourceRef), "", 0)
	}
	if err != nil && (r.Status < 400 || r.Status >= 500) {
		s.doubt = ev.ID // no answer, or one that does not say that nothing was written
	}
	return err
}

// theHiveLook is how many of the newest comments are looked through.
const theHiveLook = 100

// commented reports whether an event stands under an alert already. Where comments may
// not be read it says no: one that stands there twice is better than one that is missing.
//
// API: the query of thehive4py's alert.find_comments.
func (s *theHive) commented(ctx context.Context, id string, ev *soar.Event) (bool, error) {
	query := map[string]any{"query": []any{
		map[string]any{"_name": "getAlert", "idOrName": id},
		map[string]any{"_name": "comments"},
		map[string]any{"_name": "sort", "_fields": []any{map[string]string{"_createdAt": "desc"}}},
		map[string]any{"_name": "page", "from": 0, "to": theHiveLook},
	}}
	var found []struct {
		Message string `json:"message"`
	}
	_, err := s.call(ctx, "/api/v1/query?name=alert-comments", query, &found)
	if errors.Is(err, ErrConfig) || errors.Is(err, ErrPermanent) {
		s.log.Warn("comments cannot be read, so one whose answer was lost is written again", "event", ev.ID, "err", err)
		return false, nil
	} else if err != nil {
		return false, err
	}
	for _, c := range found {
		if strings.HasSuffix(strings.TrimSpace(c.Message), theHiveMark(ev)) {
			return true, nil
		}
	}
	return false, nil
}

// Close drops idle connections.
func (s *theHive) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

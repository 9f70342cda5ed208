package sinks

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/erbridge/erbridge/internal/soar"
)

// SlackSettings configures a slack sink: with a bot token, or with an incoming
// webhook.
type SlackSettings struct {
	// Token is the bot token, xoxb-...; it needs the scope chat:write. With it
	// outcomes are replies in the alert's thread, and the alert's own message
	// shows how things stand. Excludes webhook_url.
	Token soar.Secret `yaml:"token"`

	// Channel is where a bot writes, as id (C0123456789) or #name. A private
	// channel, and any channel without the scope chat:write.public, must have the
	// bot as a member.
	Channel string `yaml:"channel"`

	// WebhookURL is the address of an incoming webhook; all of it is a secret.
	// Each event is a message of its own, because Slack tells nothing back that a
	// thread would need.
	WebhookURL soar.Secret `yaml:"webhook_url"`

	// Interval is the least time between two messages. Slack allows about one a
	// second for each channel.
	Interval time.Duration `yaml:"interval"`

	// KeepThreads is how long an alert's thread is remembered; an outcome after
	// that begins a new one.
	KeepThreads time.Duration `yaml:"keep_threads"`

	// Timeout bounds one request.
	Timeout time.Duration `yaml:"timeout"`

	// APIURL is the address of the Web API, for GovSlack and tests.
	APIURL string `yaml:"api_url"`

	TLSSettings `yaml:",inline"`
}

// Check implements Checker.
func (s *SlackSettings) Check(report func(setting, hint, format string, args ...any)) {
	switch bot, hook := s.Token.IsSet(), s.WebhookURL.IsSet(); {
	case bot && hook:
		report("token webhook_url", "", "token and webhook_url exclude each other")
	case !bot && !hook:
		report("token webhook_url", "", "one of token (with channel) and webhook_url is required")
	case bot && s.Channel == "":
		report("channel", "", "token needs channel")
	case hook && s.Channel != "":
		report("channel", "", "webhook_url excludes channel: an incoming webhook writes to the channel it was made for")
	}
	if _, err := parseURL(s.APIURL); err != nil {
		report("api_url", "", "api_%v", err)
	}
}

// validate is Check for settings that come from no file.
func (s *SlackSettings) validate() error {
	var problems []error
	s.Check(func(_, _, format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) })
	return errors.Join(problems...)
}

func init() {
	Types.Add("slack", Type{
		Summary:  "Posts alerts to a Slack channel, with their outcomes as replies.",
		Settings: &SlackSettings{Interval: time.Second, KeepThreads: 30 * 24 * time.Hour, Timeout: 15 * time.Second, APIURL: slack.APIURL},
		Example:  "type: slack\ntoken: {file: /run/secrets/slack-token}\nchannel: \"#soc\"\nwhen: .alert.severity | at_least(\"high\")\n",
		MaxBatch: 1,
		Events:   chatEvents,
		Open: func(_ string, settings any, env Env) (Sink, error) {
			return openSlack(*settings.(*SlackSettings), env)
		},
	})
}

const (
	slackReplyBytes = 1 << 20
	// keepSent is how long the message of a single event is remembered, which
	// matters when it is delivered twice.
	keepSent = 7 * 24 * time.Hour
	// maxUnknown is how often an error that Slack never told anybody about is
	// tried again before the event is set aside.
	maxUnknown = 3
	// rememberedOutcomes bounds what is kept of one alert's thread.
	rememberedOutcomes = 50
)

type slackSink struct {
	settings SlackSettings
	http     *http.Client
	log      *slog.Logger
	state    State
	now      func() time.Time
	agent    string

	// Used by Send's goroutine only.
	posts   pacer
	updates pacer
	unsaved map[string]string // what the store would not take; see remember
	unknown int               // failures in a row with an error that we do not know
}

func openSlack(s SlackSettings, env Env) (Sink, error) {
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if !strings.HasSuffix(s.APIURL, "/") {
		s.APIURL += "/"
	}
	client, err := newHTTPClient(s.TLSSettings, s.Timeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	k := &slackSink{
		settings: s, http: client, log: env.Log, state: env.State, now: env.Now, agent: "erbridge/" + env.Version,
		posts: pacer{interval: s.Interval}, updates: pacer{interval: s.Interval},
		unsaved: map[string]string{},
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if k.now == nil {
		k.now = time.Now
	}
	if k.state == nil {
		k.state = forgetful{}
	}
	return k, nil
}

// forgetful is a State where there is no store: every message stands alone.
type forgetful struct{}

func (forgetful) Get(context.Context, string) (string, error)              { return "", soar.ErrNotFound }
func (forgetful) Set(context.Context, string, string, time.Duration) error { return nil }

// Send posts the events one by one, at the pace that Slack allows.
func (s *slackSink) Send(ctx context.Context, events []soar.Event) error {
	for i := range events {
		var err error
		if s.settings.WebhookURL.IsSet() {
			err = s.hook(ctx, &events[i])
		} else {
			err = s.bot(ctx, &events[i])
		}
		if err != nil {
			return rest(i, len(events), fmt.Errorf("slack: %w", err))
		}
		s.unknown = 0
	}
	return nil
}

// Close drops idle connections.
func (s *slackSink) Close() error {
	s.http.CloseIdleConnections()
	return nil
}

// thread is what is remembered of an alert's message.
type thread struct {
	Channel  string         `json:"channel"` // the id, also when the setting is a name
	TS       string         `json:"ts"`
	Outcomes []shownOutcome `json:"outcomes,omitempty"`
}

func (t *thread) has(id string) bool {
	for _, o := range t.Outcomes {
		if o.ID == id {
			return true
		}
	}
	return false
}

// bot delivers one event with the Web API.
func (s *slackSink) bot(ctx context.Context, ev *soar.Event) error {
	switch {
	case ev.Type == soar.EventAlertReceived && ev.Alert != nil:
		_, err := s.head(ctx, ev.Alert, true)
		return err
	case ev.Type == soar.EventAlertUpdated && ev.Alert != nil:
		t, err := s.head(ctx, ev.Alert, false)
		if err != nil || t == nil {
			return err // an alert that was never shown here is not worth a message now
		}
		return s.refresh(ctx, ev.Alert, t)
	case ev.Approval != nil, ev.Undo != nil: // a message of its own, not a line of what has ended
	case (ev.Outcome != nil || ev.Run != nil) && ev.Alert != nil && ev.Type != soar.EventNotification:
		return s.outcome(ctx, ev)
	}
	return s.alone(ctx, ev)
}

// head finds the message of an alert, and posts it when there is none and post
// is true.
func (s *slackSink) head(ctx context.Context, a *soar.Alert, post bool) (*thread, error) {
	key := "alert/" + a.Ref()
	text, err := s.recall(ctx, key, s.settings.KeepThreads)
	if err == nil {
		var t thread
		if err := json.Unmarshal([]byte(text), &t); err == nil && t.TS != "" {
			return &t, nil
		}
	} else if !errors.Is(err, soar.ErrNotFound) {
		return nil, err
	}
	if !post {
		return nil, nil
	}
	t := &thread{}
	t.Channel, t.TS, err = s.post(ctx, alertCard(a, nil), a, nil)
	if err != nil {
		return nil, err
	}
	// A crash here leaves a message that nobody remembers: when the event comes
	// again, the alert is posted a second time. Slack has no idempotency key, and
	// searching the channel would need a scope that reads what people write.
	return t, s.saveThread(ctx, a, t)
}

func (s *slackSink) saveThread(ctx context.Context, a *soar.Alert, t *thread) error {
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return s.remember(ctx, "alert/"+a.Ref(), string(text), s.settings.KeepThreads)
}

// outcome replies in the alert's thread and brings the alert's message up to date.
func (s *slackSink) outcome(ctx context.Context, ev *soar.Event) error {
	t, err := s.head(ctx, ev.Alert, true)
	if err != nil {
		return err
	}
	if !t.has(ev.ID) {
		_, _, err := s.post(ctx, eventCard(ev, false), ev.Alert, t)
		if errors.Is(err, errThreadGone) {
			// Somebody deleted the message. It is posted anew with all that is known.
			if err := s.remember(ctx, "alert/"+ev.Alert.Ref(), "", 0); err != nil {
				return err
			}
			if t, err = s.head(ctx, ev.Alert, true); err != nil {
				return err
			}
			_, _, err = s.post(ctx, eventCard(ev, false), ev.Alert, t)
			if errors.Is(err, errThreadGone) {
				// The message is new. Another one would be refused its reply as well.
				return fmt.Errorf("%w: reply to a new message: %w", ErrPermanent, err)
			}
		}
		if err != nil {
			return err
		}
		t.Outcomes = append(t.Outcomes, outcomeOf(ev))
		if n := len(t.Outcomes); n > rememberedOutcomes {
			t.Outcomes = t.Outcomes[n-rememberedOutcomes:]
		}
		// A crash here repeats the reply.
		if err := s.saveThread(ctx, ev.Alert, t); err != nil {
			return err
		}
	}
	// A crash here repeats the update, which changes nothing.
	return s.refresh(ctx, ev.Alert, t)
}

// alone posts an event outside of any alert's message: trouble, tests, and
// notifications, which are replies where the alert has a thread.
func (s *slackSink) alone(ctx context.Context, ev *soar.Event) error {
	key := "event/" + ev.ID
	if _, err := s.recall(ctx, key, keepSent); err == nil {
		return nil
	} else if !errors.Is(err, soar.ErrNotFound) {
		return err
	}
	var parent *thread
	if ev.Alert != nil {
		var err error
		if parent, err = s.head(ctx, ev.Alert, false); err != nil {
			return err
		}
	}
	_, ts, err := s.post(ctx, eventCard(ev, parent == nil), ev.Alert, parent)
	if errors.Is(err, errThreadGone) {
		_, ts, err = s.post(ctx, eventCard(ev, true), ev.Alert, nil)
	}
	if err != nil {
		return err
	}
	return s.remember(ctx, key, ts, keepSent) // a crash before it repeats the message
}

// errThreadGone says that the message to reply to does not exist any more.
var errThreadGone = errors.New("the thread is gone")

// post sends chat.postMessage and returns where the message is. A notification
// in a thread is shown in the channel as well, otherwise only those who follow
// the thread would see it. A reply goes to where its thread is: the setting may name
// another channel by now.
func (s *slackSink) post(ctx context.Context, c card, a *soar.Alert, parent *thread) (channel, ts string, err error) {
	options := append(c.options(), slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl())
	to := s.settings.Channel
	if parent != nil {
		options = append(options, slack.MsgOptionTS(parent.TS))
		to = cmp.Or(parent.Channel, to)
	}
	if a != nil {
		options = append(options, slack.MsgOptionMetadata(slack.SlackMetadata{
			EventType: "erbridge_alert", EventPayload: map[string]any{"alert": a.Ref()},
		}))
	}
	if err := s.posts.wait(ctx); err != nil {
		return "", "", err
	}
	api, err := s.api()
	if err != nil {
		return "", "", err
	}
	channel, ts, err = api.PostMessageContext(ctx, to, options...)
	if err != nil {
		said, ok := errors.AsType[slack.SlackErrorResponse](err)
		if ok && parent != nil && channelGone[said.Err] {
			// Where the thread is nobody can write any more. Whether the channel of
			// the settings works shows with the message that is posted anew.
			return "", "", fmt.Errorf("%w: chat.postMessage: %s", errThreadGone, said.Err)
		}
		err = s.judge("chat.postMessage", err)
		if parent == nil && errors.Is(err, errThreadGone) {
			err = fmt.Errorf("%w: %w", ErrPermanent, err) // it was no reply
		}
		return "", "", err
	}
	if ts == "" {
		return "", "", errors.New("chat.postMessage: the answer has no ts")
	}
	return channel, ts, nil
}

// refresh brings the head message up to date. A message that cannot be changed
// any more does not matter: the replies have said it all.
func (s *slackSink) refresh(ctx context.Context, a *soar.Alert, t *thread) error {
	if err := s.updates.wait(ctx); err != nil {
		return err
	}
	api, err := s.api()
	if err != nil {
		return err
	}
	_, _, _, err = api.UpdateMessageContext(ctx, t.Channel, t.TS, alertCard(a, t.Outcomes).options()...)
	if err == nil {
		return nil
	}
	if said, ok := errors.AsType[slack.SlackErrorResponse](err); ok && unchangeable[said.Err] {
		s.log.Debug("alert message cannot be updated", "alert", a.Ref(), "err", said.Err)
		return nil
	}
	return s.judge("chat.update", err)
}

func (c card) options() []slack.MsgOption {
	return []slack.MsgOption{
		slack.MsgOptionText(c.text, false), // escaped already
		slack.MsgOptionBlocks(c.blocks...),
		slack.MsgOptionParse(false),
	}
}

// api makes a client with the token of this moment, so that a new token in its
// file is used without a restart. It holds no connection of its own.
func (s *slackSink) api() (*slack.Client, error) {
	token, err := s.settings.Token.Reveal()
	if err != nil {
		return nil, fmt.Errorf("%w: token: %w", ErrConfig, err)
	}
	return slack.New(token, slack.OptionAPIURL(s.settings.APIURL), slack.OptionHTTPClient(&slackTransport{s, token})), nil
}

// slackTransport is the HTTP client below slack-go: bounded answers, errors
// without URLs, and statuses judged as everywhere else; slack-go itself cannot
// read a Retry-After that is a date.
type slackTransport struct {
	sink  *slackSink
	token string
}

func (t *slackTransport) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", t.sink.agent)
	r, err := exchange(t.sink.http, req, slackReplyBytes, t.token)
	if err != nil {
		return nil, err
	}
	if err := r.judge(t.sink.now()); err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: r.Status, Header: r.Header, Request: req,
		Body: io.NopCloser(bytes.NewReader(r.Body)), ContentLength: int64(len(r.Body)),
	}, nil
}

// Slack's error names (https://docs.slack.dev/reference/methods/chat.postMessage)
// by what they mean for the sink. They come with status 200.
var (
	refusedSettings = set("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "missing_scope",
		"channel_not_found", "not_in_channel", "is_archived", "access_denied", "no_permission", "not_allowed_token_type",
		"org_login_required", "ekm_access_denied", "team_access_not_granted", "two_factor_setup_required", "user_is_bot",
		"restricted_action", "restricted_action_read_only_channel", "restricted_action_thread_only_channel",
		"restricted_action_non_threadable_channel", "restricted_action_thread_locked", "enterprise_is_restricted",
		"accesslimited", "team_not_found", "deprecated_endpoint", "method_deprecated", "unknown_method")
	refusedMessage = set("msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format", "no_text",
		"too_many_attachments", "too_many_contact_cards", "invalid_arguments", "invalid_arg_name", "invalid_form_data",
		"invalid_charset", "invalid_array_arg", "invalid_metadata_format", "invalid_metadata_schema", "metadata_too_large",
		"markdown_text_conflict", "duplicate_message_not_found", "cannot_reply_to_message", "message_limit_exceeded")
	passing = set("internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org", "message_not_sent")
	busy    = set("ratelimited", "rate_limited")

	// chat.update of a message that is gone or closed.
	unchangeable = set("message_not_found", "cant_update_message", "edit_window_closed", "update_failed", "thread_not_found",
		"channel_not_found", "not_in_channel", "is_archived")
	channelGone = set("channel_not_found", "not_in_channel", "is_archived")
	threadGone  = set("thread_not_found", "message_not_found", "thread_ts_not_found")
)

func set(words ...string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}

// judge gives slack-go's error its class.
func (s *slackSink) judge(method string, err error) error {
	said, ok := errors.AsType[slack.SlackErrorResponse](err)
	if !ok {
		return fmt.Errorf("%s: %w", method, err)
	}
	name := oneLine(said.Err, 100)
	detail := name
	if messages := strings.Join(said.ResponseMetadata.Messages, "; "); messages != "" {
		detail += ": " + oneLine(messages, maxExcerptBytes)
	}
	if said.Needed != "" {
		detail += ", needed scope " + oneLine(said.Needed, 200)
	}
	switch {
	case refusedSettings[name]:
		return fmt.Errorf("%w: %s: %s", ErrConfig, method, detail)
	case refusedMessage[name]:
		return fmt.Errorf("%w: %s: %s", ErrPermanent, method, detail)
	case threadGone[name]:
		return fmt.Errorf("%w: %s: %s", errThreadGone, method, detail)
	case busy[name]:
		return &RetryAfter{Wait: 30 * time.Second, Err: fmt.Errorf("%s: %s", method, detail)}
	case passing[name]:
		return fmt.Errorf("%s: %s", method, detail)
	}
	// Slack adds names without notice. One that passes by itself is over after a
	// few tries; one that does not must not hold up the channel, and the dead
	// letter says what it was.
	if s.unknown++; s.unknown >= maxUnknown {
		s.unknown = 0
		return fmt.Errorf("%w: %s: %s", ErrPermanent, method, detail)
	}
	return fmt.Errorf("%s: unknown error %s", method, detail)
}

// hook delivers one event with an incoming webhook.
func (s *slackSink) hook(ctx context.Context, ev *soar.Event) error {
	key := "event/" + ev.ID
	if _, err := s.recall(ctx, key, keepSent); err == nil {
		return nil
	} else if !errors.Is(err, soar.ErrNotFound) {
		return err
	}
	address, err := s.settings.WebhookURL.Reveal()
	if err != nil {
		return fmt.Errorf("%w: webhook_url: %w", ErrConfig, err)
	}
	u, err := parseURL(address)
	if err != nil {
		return fmt.Errorf("%w: webhook_%w", ErrConfig, err)
	}
	c := eventCard(ev, true)
	if (ev.Type == soar.EventAlertReceived || ev.Type == soar.EventAlertUpdated) && ev.Alert != nil {
		c = alertCard(ev.Alert, nil)
	}
	unfurl := false
	body, err := json.Marshal(slack.WebhookMessage{
		Text: c.text, Blocks: &slack.Blocks{BlockSet: c.blocks}, Parse: "none", UnfurlLinks: &unfurl, UnfurlMedia: &unfurl,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	if err := s.posts.wait(ctx); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: webhook_url cannot be read as a URL", ErrConfig)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", s.agent)
	r, err := exchange(s.http, req, slackReplyBytes, secretsOf(u, address)...)
	if err != nil {
		return err
	}
	if err := r.judge(s.now()); err != nil {
		return err
	}
	if text := strings.TrimSpace(string(r.Body)); text != "ok" {
		// Something between us and Slack answered: a proxy's page, a wrong address.
		return r.errorf(ErrConfig)
	}
	return s.remember(ctx, key, "sent", keepSent)
}

// secretsOf lists the parts of a webhook's address that an answer may repeat.
func secretsOf(u *url.URL, address string) []string {
	last := u.Path[strings.LastIndexByte(u.Path, '/')+1:]
	secrets := []string{address, u.RequestURI(), u.Path, last, u.RawQuery}
	return slices.DeleteFunc(secrets, func(s string) bool { return len(s) < 5 }) // a lone slash is no secret
}

// remember keeps a value. What the store would not take stays in memory and is
// offered again when it is next looked for: the message is with Slack, and
// forgetting it would post it twice.
func (s *slackSink) remember(ctx context.Context, key, value string, keep time.Duration) error {
	s.unsaved[key] = value
	if err := s.state.Set(ctx, key, value, keep); err != nil {
		return fmt.Errorf("remember %s: %w", key, err)
	}
	delete(s.unsaved, key)
	return nil
}

// recall finds a value, or soar.ErrNotFound.
func (s *slackSink) recall(ctx context.Context, key string, keep time.Duration) (string, error) {
	if value, ok := s.unsaved[key]; ok {
		if err := s.remember(ctx, key, value, keep); err != nil {
			return "", err
		}
		if value == "" {
			return "", soar.ErrNotFound
		}
		return value, nil
	}
	value, err := s.state.Get(ctx, key)
	if err != nil && !errors.Is(err, soar.ErrNotFound) {
		return "", fmt.Errorf("recall %s: %w", key, err)
	}
	return value, err
}

// pacer keeps a least time between calls.
type pacer struct {
	interval time.Duration
	next     time.Time
}

func (p *pacer) wait(ctx context.Context) error {
	if d := time.Until(p.next); d > 0 {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(d):
		}
	}
	p.next = time.Now().Add(p.interval)
	return nil
}

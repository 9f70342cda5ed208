package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/erbridge/erbridge/internal/soar"
)

// SlackSettings configures a slack sink: with a bot token, or with an incoming
// webhook.
type SlackSettings struct {
	// Token is the bot token, xoxb-...; it needs the scope chat:write. With it an
	// alert has one message, which is edited as things go on, and what was done is
	// told in its thread. Excludes webhook_url.
	Token soar.Secret `yaml:"token"`

	// AppToken is the app-level token, xapp-..., with the scope connections:write.
	// With it messages have buttons: approve, deny, undo, extend, silence, resolve.
	// Clicks come in over Socket Mode, a connection that erbridge opens, so no port
	// has to be reachable. Who may click is said under people.
	AppToken soar.Secret `yaml:"app_token"`

	// Channel is where a bot writes, as id (C0123456789) or #name. A private
	// channel, and any channel without the scope chat:write.public, must have the
	// bot as a member.
	Channel string `yaml:"channel"`

	// WebhookURL is the address of an incoming webhook; all of it is a secret.
	// Nothing can be edited or clicked then, and there are no threads, because Slack
	// tells nothing back that they would need.
	WebhookURL soar.Secret `yaml:"webhook_url"`

	// DigestAbove is how many alerts without a message may wait at once, from 1 to 500.
	// When more do, they are counted in one message instead of having one each.
	DigestAbove int `yaml:"digest_above"`

	// Interval is the least time between two messages. Slack allows about one a
	// second for each channel; sinks that write to the same channel with the same token
	// share that.
	Interval time.Duration `yaml:"interval"`

	// KeepThreads is how long an alert's message is remembered; an outcome after
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
	case hook && s.AppToken.IsSet():
		report("app_token", "use token and channel", "webhook_url excludes app_token: a message of a webhook has no buttons")
	}
	if s.DigestAbove < 0 || s.DigestAbove > slackMaxBatch {
		report("digest_above", "", "expected a number from 1 to %d", slackMaxBatch)
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

const (
	slackReplyBytes = 1 << 20
	// slackMaxBatch is how many events are looked at together. What concerns one alert
	// among them becomes one edit and one reply.
	slackMaxBatch = 500
	// slackDigestAbove is the default of digest_above: what people read in a minute, and
	// what one Send can post within its time.
	slackDigestAbove = 20
)

// DefaultSlackSettings are the settings of a slack sink that says nothing.
func DefaultSlackSettings() SlackSettings {
	return SlackSettings{
		DigestAbove: slackDigestAbove, Interval: time.Second, KeepThreads: 30 * 24 * time.Hour, Timeout: 15 * time.Second, APIURL: slack.APIURL,
	}
}

func init() {
	defaults := DefaultSlackSettings()
	Types.Add("slack", Type{
		Summary:  "Posts alerts to a Slack channel, keeps their messages up to date, and lets people decide by button.",
		Settings: &defaults,
		Example: "type: slack\ntoken: {file: /run/secrets/slack-token}\napp_token: {file: /run/secrets/slack-app-token}\n" +
			"channel: \"#soc\"\nwhen: .alert.severity | at_least(\"high\")\n",
		MaxBatch: slackMaxBatch, StormUpdate: 10 * time.Second,
		Events: DefaultEvents, // an update edits a message, and makes no noise
		Open: func(name string, settings any, env Env) (Sink, error) {
			return openSlack(name, *settings.(*SlackSettings), env)
		},
	})
}

type slackSink struct {
	*slackAPI
	name     string
	settings SlackSettings
	memory   slackMemory
	desk     Desk // nil: nothing listens, so there are no buttons
	ears     *slackEars
}

func openSlack(name string, s SlackSettings, env Env) (Sink, error) {
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if s.DigestAbove == 0 {
		s.DigestAbove = slackDigestAbove
	}
	log := env.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	api, err := newSlackAPI(s, env)
	if err != nil {
		return nil, err
	}
	k := &slackSink{slackAPI: api, name: name, settings: s, memory: newSlackMemory(env.State)}
	if s.AppToken.IsSet() && env.Desk != nil {
		k.desk = env.Desk
		k.ears = newSlackEars(k, log)
	}
	return k, nil
}

// Send posts and edits what the events come to, at the pace that Slack allows.
//
// Slack has no idempotency key. What was posted is remembered right after it, so that
// an event which comes again is not told again; only an answer that was lost on its
// way, and a crash between answer and store, post a message twice.
func (s *slackSink) Send(ctx context.Context, events []soar.Event) error {
	verdict := newSlackVerdict(events)
	pieces, err := s.pieces(ctx, events)
	if err != nil {
		return fmt.Errorf("slack: %w", err)
	}
	for _, p := range pieces {
		s.tell(ctx, p, verdict)
	}
	return verdict.err()
}

// tell delivers a piece. Where Slack refuses it for good, its events are tried one by
// one, so that one which cannot be told does not take the others along.
func (s *slackSink) tell(ctx context.Context, p *slackPiece, verdict *slackVerdict) {
	if verdict.stopped != nil {
		verdict.later(p, verdict.stopped)
		return
	}
	deliver := s.bot
	if s.settings.WebhookURL.IsSet() {
		deliver = s.hook
	}
	err := deliver(ctx, p)
	switch {
	case err == nil:
		s.unknown = 0
	case !errors.Is(err, ErrPermanent) && !errors.Is(err, ErrTooLarge):
		// It is about the channel, not about this message: the others wait as well.
		verdict.stopped = fmt.Errorf("slack: %w", err)
		verdict.later(p, verdict.stopped)
	case len(p.events) > 1:
		for i := range p.events {
			s.tell(ctx, p.only(i), verdict)
		}
	default:
		verdict.refused(p, fmt.Errorf("slack: %w", err))
	}
}

// Close drops idle connections.
func (s *slackSink) Close() error {
	s.http.CloseIdleConnections()
	return nil
}

// Run implements Runner: it listens for clicks. Without an app token there is nothing
// to listen to.
func (s *slackSink) Run(ctx context.Context) error {
	if s.ears == nil {
		<-ctx.Done()
		return nil
	}
	return s.ears.Run(ctx)
}

// buttons is what the cards of this sink offer.
func (s *slackSink) buttons() slackButtons { return slackButtons{sink: s.name, on: s.ears != nil} }

// slackVerdict collects what became of the events of a batch.
type slackVerdict struct {
	n       int
	at      map[*soar.Event]int
	partial PartialError
	stopped error // nothing more goes out in this Send
}

func newSlackVerdict(events []soar.Event) *slackVerdict {
	v := &slackVerdict{n: len(events), at: make(map[*soar.Event]int, len(events)), partial: PartialError{Permanent: map[int]error{}, Transient: map[int]error{}}}
	for i := range events {
		v.at[&events[i]] = i
	}
	return v
}

func (v *slackVerdict) later(p *slackPiece, err error) {
	for _, ev := range p.events {
		v.partial.Transient[v.at[ev]] = err
	}
}

func (v *slackVerdict) refused(p *slackPiece, err error) {
	for _, ev := range p.events {
		v.partial.Permanent[v.at[ev]] = err
	}
}

// err is what Send returns. An error that all events share is returned itself: it may
// be about the settings.
func (v *slackVerdict) err() error {
	switch {
	case len(v.partial.Permanent)+len(v.partial.Transient) == 0:
		return nil
	case len(v.partial.Transient) == v.n:
		return v.stopped
	case v.n == 1:
		return v.partial.Permanent[0]
	}
	return &v.partial
}

// slackMemory remembers where messages are. It holds back what the store would not
// take, and offers it again when it is next looked for: the message is with Slack, and
// forgetting it would post it twice. Used by Send's goroutine only.
type slackMemory struct {
	state   State
	unsaved map[string]string
}

func newSlackMemory(state State) slackMemory {
	if state == nil {
		state = forgetful{}
	}
	return slackMemory{state: state, unsaved: map[string]string{}}
}

// forgetful is a State where there is no store: every message stands alone.
type forgetful struct{}

func (forgetful) Get(context.Context, string) (string, error)              { return "", soar.ErrNotFound }
func (forgetful) Set(context.Context, string, string, time.Duration) error { return nil }

// remember keeps a value; an empty one forgets.
func (m *slackMemory) remember(ctx context.Context, key, value string, keep time.Duration) error {
	m.unsaved[key] = value
	if err := m.state.Set(ctx, key, value, keep); err != nil {
		return fmt.Errorf("remember %s: %w", key, err)
	}
	delete(m.unsaved, key)
	return nil
}

// recall finds a value; it is empty where there is none.
func (m *slackMemory) recall(ctx context.Context, key string, keep time.Duration) (string, error) {
	if value, ok := m.unsaved[key]; ok {
		return value, m.remember(ctx, key, value, keep)
	}
	value, err := m.state.Get(ctx, key)
	if err != nil && !errors.Is(err, soar.ErrNotFound) {
		return "", fmt.Errorf("recall %s: %w", key, err)
	}
	return value, nil
}

// slackClient is the HTTP client of a sink.
func slackClient(s *SlackSettings) (*http.Client, error) {
	if !strings.HasSuffix(s.APIURL, "/") {
		s.APIURL += "/"
	}
	client, err := newHTTPClient(s.TLSSettings, s.Timeout)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return client, nil
}

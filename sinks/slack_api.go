package sinks

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/erbridge/erbridge/internal/soar"
)

// maxUnknown is how often an error that Slack never told anybody about is tried again
// before the event is set aside.
const maxUnknown = 3

// slackAPI makes the calls. It is used by Send's goroutine only; what listens for
// clicks shares http and settings, which do not change.
type slackAPI struct {
	settings SlackSettings
	http     *http.Client
	now      func() time.Time
	agent    string
	paces    *Paces
	unknown  int // failures in a row with an error that we do not know

	// dial opens the connection of a socket; nil: the network.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func newSlackAPI(s SlackSettings, env Env) (*slackAPI, error) {
	client, err := slackClient(&s)
	if err != nil {
		return nil, err
	}
	return &slackAPI{
		settings: s, http: client, now: env.clock(), agent: "erbridge/" + env.Version,
		paces: env.pacesOrOwn(),
	}, nil
}

// place is where a message stands.
type place struct {
	Channel string `json:"channel"` // the id, also where the setting is a name
	TS      string `json:"ts"`
}

// errThreadGone says that the message to reply to does not exist any more.
var errThreadGone = errors.New("the thread is gone")

// post sends chat.postMessage. A reply goes to where its thread is: the setting may
// name another channel by now. A loud one is shown in the channel as well: otherwise
// only those who follow the thread would see it.
func (s *slackAPI) post(ctx context.Context, c card, about string, parent place, loud bool) (place, error) {
	options := append(c.options(), slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl())
	to := s.settings.Channel
	reply := parent.TS != ""
	if reply {
		options = append(options, slack.MsgOptionTS(parent.TS))
		to = cmp.Or(parent.Channel, to)
		if loud {
			options = append(options, slack.MsgOptionBroadcast())
		}
	}
	if about != "" {
		options = append(options, slack.MsgOptionMetadata(slack.SlackMetadata{
			EventType: "erbridge_alert", EventPayload: map[string]any{"alert": about},
		}))
	}
	api, token, err := s.client(s.settings.Token)
	if err != nil {
		return place{}, err
	}
	pace := paceOf(token, to)
	if err := s.paces.wait(ctx, pace, s.settings.Interval); err != nil {
		return place{}, err
	}
	channel, ts, err := api.PostMessageContext(ctx, to, options...)
	if err != nil {
		said, ok := errors.AsType[slack.SlackErrorResponse](err)
		if ok && reply && channelGone[said.Err] {
			// Where the thread is nobody can write any more. Whether the channel of
			// the settings works shows with the message that is posted anew.
			return place{}, fmt.Errorf("%w: chat.postMessage: %s", errThreadGone, said.Err)
		}
		err = s.judge("chat.postMessage", err)
		if !reply && errors.Is(err, errThreadGone) {
			err = fmt.Errorf("%w: %w", ErrPermanent, err) // it was no reply
		}
		return place{}, err
	}
	s.paces.called(pace, channel)
	if ts == "" {
		return place{}, errors.New("chat.postMessage: the answer has no ts")
	}
	return place{channel, ts}, nil
}

// update edits a message. One that cannot be changed any more is reported as
// unchangeable, which is no error: the replies have said it all.
func (s *slackAPI) update(ctx context.Context, at place, c card) (changed bool, err error) {
	api, token, err := s.client(s.settings.Token)
	if err != nil {
		return false, err
	}
	if err := s.paces.wait(ctx, paceOf(token, "chat.update"), s.settings.Interval); err != nil { // that has a bound for the whole workspace
		return false, err
	}
	_, _, _, err = api.UpdateMessageContext(ctx, at.Channel, at.TS, c.options()...)
	if err == nil {
		return true, nil
	}
	if said, ok := errors.AsType[slack.SlackErrorResponse](err); ok && unchangeable[said.Err] {
		return false, nil
	}
	return false, s.judge("chat.update", err)
}

func (c card) options() []slack.MsgOption {
	return []slack.MsgOption{
		slack.MsgOptionText(c.text, false), // escaped already
		slack.MsgOptionBlocks(c.blocks...),
		slack.MsgOptionParse(false),
	}
}

// client makes a client with the token of this moment, so that a new token in its file
// is used without a restart. It holds no connection of its own.
func (s *slackAPI) client(secret soar.Secret) (api *slack.Client, token string, err error) {
	token, err = secret.Reveal()
	if err != nil {
		return nil, "", fmt.Errorf("%w: token: %w", ErrConfig, err)
	}
	return slack.New(token, slack.OptionAppLevelToken(token), slack.OptionAPIURL(s.settings.APIURL),
		slack.OptionHTTPClient(&slackTransport{s, token})), token, nil
}

// slackTransport is the HTTP client below slack-go: bounded answers, errors without
// URLs, and statuses judged as everywhere else; slack-go itself cannot read a
// Retry-After that is a date.
type slackTransport struct {
	api   *slackAPI
	token string
}

func (t *slackTransport) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", t.api.agent)
	r, err := exchange(t.api.http, req, slackReplyBytes, t.token)
	if err != nil {
		return nil, err
	}
	if err := r.judge(t.api.now()); err != nil {
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
		"accesslimited", "team_not_found", "deprecated_endpoint", "method_deprecated", "unknown_method", "forbidden_team")
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
func (s *slackAPI) judge(method string, err error) error {
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
		if advice := slackAdvice[name]; advice != "" {
			detail += " (" + advice + ")"
		}
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

// slackAdvice says what to do about errors that a person mends.
var slackAdvice = map[string]string{
	"invalid_auth":            "the token is wrong: copy the bot token, xoxb-..., from OAuth & Permissions of the app",
	"not_authed":              "no token arrived: the file or variable of the token is empty",
	"token_revoked":           "the token was withdrawn: install the app to the workspace again and copy the new token",
	"token_expired":           "the token has expired: turn token rotation off for the app, or write the new one to its file",
	"account_inactive":        "the app was removed from the workspace: install it again",
	"missing_scope":           "add the scope under OAuth & Permissions and install the app again; erbridge slack manifest has all that are needed",
	"channel_not_found":       "the channel does not exist, or is private and the bot is no member: /invite the bot there, or use the channel's id",
	"not_in_channel":          "the bot is no member: /invite it to the channel",
	"is_archived":             "the channel is archived: unarchive it, or name another one",
	"not_allowed_token_type":  "this is another kind of token: token takes xoxb-..., app_token takes xapp-...",
	"team_access_not_granted": "the app is installed for the organisation and not for this workspace: add the workspace to it",
	"org_login_required":      "the workspace is being moved into an organisation: try again when that is done",
}

// posted sends one message to the incoming webhook.
func (s *slackAPI) posted(ctx context.Context, c card) error {
	address, err := s.settings.WebhookURL.Reveal()
	if err != nil {
		return fmt.Errorf("%w: webhook_url: %w", ErrConfig, err)
	}
	u, err := parseURL(address)
	if err != nil {
		return fmt.Errorf("%w: webhook_%w", ErrConfig, err)
	}
	unfurl := false
	body, err := json.Marshal(slack.WebhookMessage{
		Text: c.text, Blocks: &slack.Blocks{BlockSet: c.blocks}, Parse: "none", UnfurlLinks: &unfurl, UnfurlMedia: &unfurl,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPermanent, err)
	}
	if err := s.paces.wait(ctx, paceOf(address, ""), s.settings.Interval); err != nil {
		return err
	}
	r, err := s.postJSON(ctx, address, body, secretsOf(u, address)...)
	if err != nil {
		return err
	}
	if text := strings.TrimSpace(string(r.Body)); text != "ok" {
		// Something between us and Slack answered: a proxy's page, a wrong address.
		return r.errorf(ErrConfig)
	}
	return nil
}

// postJSON posts to an address that is a secret, and judges the answer by its status.
func (s *slackAPI) postJSON(ctx context.Context, address string, body []byte, secrets ...string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return reply{}, fmt.Errorf("%w: the address cannot be read as a URL", ErrConfig)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", s.agent)
	r, err := exchange(s.http, req, slackReplyBytes, secrets...)
	if err == nil {
		err = r.judge(s.now())
	}
	return r, err
}

// secretsOf lists the parts of a webhook's address that an answer may repeat.
func secretsOf(u *url.URL, address string) []string {
	last := u.Path[strings.LastIndexByte(u.Path, '/')+1:]
	secrets := []string{address, u.RequestURI(), u.Path, last, u.RawQuery}
	return slices.DeleteFunc(secrets, func(s string) bool { return len(s) < 5 }) // a lone slash is no secret
}

// clock is the clock of an Env.
func (e *Env) clock() func() time.Time {
	if e.Now == nil {
		return time.Now
	}
	return e.Now
}

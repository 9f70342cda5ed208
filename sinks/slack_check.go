package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/slack-go/slack"

	"github.com/erbridge/erbridge/internal/soar"
)

// SlackCheck is one thing that was looked at.
type SlackCheck struct {
	// What was looked at, such as "token".
	What string `json:"what"`
	// Words say what was found; Err is what is wrong, and what to do about it.
	Words string `json:"words,omitempty"`
	Err   error  `json:"-"`
	// Skipped is set where it could not be looked at, and nothing is known to be wrong.
	Skipped bool `json:"skipped,omitempty"`
}

// CheckSlack tries what a slack sink needs, one after the other, and tells of each as
// soon as it is known: the tokens, their scopes, the channel, a message that is posted,
// edited and deleted, and the socket for clicks. A webhook can only be posted to, and
// its message stays. The error is the first that a check has.
func CheckSlack(ctx context.Context, settings SlackSettings, env Env, report func(SlackCheck)) error {
	env.Desk = nil
	sink, err := openSlack("test", settings, env)
	if err != nil {
		return err
	}
	k := sink.(*slackSink)
	defer func() { _ = k.Close() }()
	c := slackChecks{k, report, nil}
	if settings.WebhookURL.IsSet() {
		err := k.posted(ctx, beatCard(&soar.Event{At: k.now(), Text: "a test of the webhook"}))
		c.told("webhook", "a test message was posted; it stays, because a webhook can delete nothing", err)
		return c.first
	}
	if c.token(ctx) {
		c.message(ctx)
	}
	c.socket(ctx)
	return c.first
}

type slackChecks struct {
	*slackSink
	report func(SlackCheck)
	first  error
}

func (c *slackChecks) told(what, words string, err error) bool {
	if err != nil {
		words = ""
		if c.first == nil {
			c.first = fmt.Errorf("%s: %w", what, err)
		}
	}
	c.report(SlackCheck{What: what, Words: words, Err: err})
	return err == nil
}

// token asks who the bot is, and what it may do.
func (c *slackChecks) token(ctx context.Context) bool {
	client, _, err := c.client(c.slackSink.settings.Token)
	if err != nil {
		return c.told("token", "", err)
	}
	who, err := client.AuthTestContext(ctx)
	if err != nil {
		return c.told("token", "", c.judge("auth.test", err))
	}
	if !c.told("token", fmt.Sprintf("bot %s in workspace %s", oneLine(who.User, 100), oneLine(who.Team, 100)), nil) {
		return false
	}
	scopes := strings.FieldsFunc(who.Header.Get("X-OAuth-Scopes"), func(r rune) bool { return r == ',' || r == ' ' })
	switch have := set(scopes...); {
	case len(scopes) == 0:
		c.report(SlackCheck{What: "scopes", Words: "Slack did not say which there are", Skipped: true})
	case !have["chat:write"]:
		return c.told("scopes", "", fmt.Errorf("%w: chat:write is missing (%s)", ErrConfig, slackAdvice["missing_scope"]))
	default:
		c.told("scopes", oneLine(strings.Join(scopes, ", "), 500), nil)
	}
	return true
}

// message posts, edits and deletes.
func (c *slackChecks) message(ctx context.Context) {
	ev := soar.Event{Type: soar.EventTest, At: c.now(), Text: "erbridge slack test: this message deletes itself"}
	at, err := c.post(ctx, eventCard(&ev, false, slackButtons{}), "", place{}, false)
	if !c.told("post", fmt.Sprintf("a message in %s (%s)", oneLine(c.slackSink.settings.Channel, 100), at.Channel), err) {
		return
	}
	c.member(ctx, at.Channel)
	ev.Text += ", and was edited"
	changed, err := c.update(ctx, at, eventCard(&ev, false, slackButtons{}))
	if err == nil && !changed {
		err = errors.New("the message that was just posted cannot be edited: alerts would not be kept up to date")
	}
	c.told("edit", "the message was edited", err)
	client, _, err := c.client(c.slackSink.settings.Token)
	if err == nil {
		if _, _, err = client.DeleteMessageContext(ctx, at.Channel, at.TS); err != nil {
			err = c.judge("chat.delete", err)
		}
	}
	c.told("delete", "the message was deleted", err)
}

// member asks whether the bot is in the channel. It can do without, as long as it may
// write; what it may not is to ask without a scope of its own.
func (c *slackChecks) member(ctx context.Context, channel string) {
	client, _, err := c.client(c.slackSink.settings.Token)
	if err != nil {
		c.told("channel", "", err)
		return
	}
	info, err := client.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: channel})
	said, ok := errors.AsType[slack.SlackErrorResponse](err)
	switch {
	case err == nil && info.IsMember:
		c.told("channel", "the bot is a member of it", nil)
	case err == nil:
		c.report(SlackCheck{What: "channel", Words: "the bot is no member of it, and may write all the same (chat:write.public)"})
	case ok && said.Err == "missing_scope":
		c.report(SlackCheck{What: "channel", Words: "whether the bot is a member cannot be told without the scope channels:read (groups:read for private ones)", Skipped: true})
	default:
		c.told("channel", "", c.judge("conversations.info", err))
	}
}

// socket opens a connection for clicks, waits for the hello, and closes it.
func (c *slackChecks) socket(ctx context.Context) {
	if !c.slackSink.settings.AppToken.IsSet() {
		c.report(SlackCheck{What: "socket", Words: "there is no app_token: messages have no buttons", Skipped: true})
		return
	}
	wire, err := newSlackEars(c.slackSink, slog.New(slog.DiscardHandler)).connect(ctx)
	if err == nil {
		wire.retire()
	}
	c.told("socket", "a connection for clicks was opened, and Slack said hello", err)
}

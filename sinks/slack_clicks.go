package sinks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/erbridge/erbridge/internal/soar"
)

// slackChat is the word for Slack in Desk.Person and under people.
const slackChat = "slack"

// slackClick is a click on a button, as Slack tells of it
// (https://docs.slack.dev/reference/interaction-payloads/block_actions-payload).
type slackClick struct {
	Type string `json:"type"`
	User struct {
		ID string `json:"id"`
	} `json:"user"`
	Channel struct {
		ID string `json:"id"`
	} `json:"channel"`
	ResponseURL string `json:"response_url"`
	Actions     []struct {
		ID       string `json:"action_id"`
		TS       string `json:"action_ts"`
		Value    string `json:"value"`
		Selected struct {
			Value string `json:"value"`
		} `json:"selected_option"`
	} `json:"actions"`
}

// action is what was clicked, and the value that it carries.
func (c *slackClick) action() (what, detail, value string) {
	if len(c.Actions) == 0 {
		return "", "", ""
	}
	a := &c.Actions[0]
	what, detail, _ = strings.Cut(a.ID, "/")
	if value = a.Value; value == "" {
		value = a.Selected.Value
	}
	return what, detail, value
}

// key names a click, whichever envelope it comes in.
func (c *slackClick) key() string {
	if len(c.Actions) == 0 || c.Actions[0].TS == "" {
		return ""
	}
	return c.User.ID + " " + c.Actions[0].ID + " " + c.Actions[0].TS
}

// at is when it was clicked, by Slack's clock. Times that follow from a click are
// counted from here, so that one which is told twice does the same twice.
func (c *slackClick) at(now time.Time) time.Time {
	if len(c.Actions) > 0 {
		if seconds, _, _ := strings.Cut(c.Actions[0].TS, "."); seconds != "" {
			if n, err := strconv.ParseInt(seconds, 10, 64); err == nil {
				if at := time.Unix(n, 0).UTC(); now.Sub(at).Abs() < time.Hour {
					return at
				}
			}
		}
	}
	return now.UTC()
}

// slackAnswer is what a click comes to.
type slackAnswer struct {
	text string // for the one who clicked, escaped
	// question is a question that more people have to answer; its message shows who did.
	question *soar.Approval
}

// press does what a click asks for. When it returns, that is on disk.
func (s *slackSink) press(ctx context.Context, c *slackClick) slackAnswer {
	what, detail, value := c.action()
	if what == pressConsole || what == "" {
		return slackAnswer{}
	}
	person, ok := s.desk.Person(slackChat, c.User.ID)
	if !ok {
		id := fit(c.User.ID, 100)
		return slackAnswer{text: fmt.Sprintf("Nothing was done: nobody is linked to your Slack account %s. "+
			"Whoever runs erbridge links it in the configuration, under your name as approvers know it, and reloads:\n"+
			"```people: {YOUR-NAME: {slack: %s}}```", id, id)}
	}
	by := fmt.Sprintf("slack, account %s, channel %s", c.User.ID, c.Channel.ID)
	if what == pressApprove || what == pressDeny {
		return s.vote(ctx, value, soar.Vote{By: person, Agree: what == pressApprove, Via: by})
	}
	words, err := s.order(ctx, what, detail, value, person, "a click: "+by, c.at(s.now()))
	if err != nil {
		return slackAnswer{text: "Nothing was done: " + fitLines(whyNot(err), 1500)}
	}
	return slackAnswer{text: "Done: " + fitLines(words, 1500)}
}

// whyNot is an error for the one who clicked.
func whyNot(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "it took too long, and it is not certain what became of it. Look at erbridge runs list and erbridge approvals list, then click again."
	case errors.Is(err, soar.ErrNotFound):
		return err.Error() + ". It may be too old; where several erbridges share one Slack app, a click may reach the wrong one: each needs an app of its own."
	}
	return err.Error()
}

// order carries out everything but a vote.
func (s *slackSink) order(ctx context.Context, what, detail, value, person, reason string, at time.Time) (string, error) {
	first, rest, _ := strings.Cut(value, " ")
	switch what {
	case pressUndo:
		run, err := soar.ParseRunID(first)
		if err != nil {
			return "", err
		}
		return s.desk.Undo(ctx, run, rest, person, reason)
	case pressExtend:
		run, err := soar.ParseRunID(first)
		if err != nil {
			return "", err
		}
		until, err := strconv.ParseInt(rest, 10, 64)
		if err != nil {
			return "", fmt.Errorf("the button has no time in it: %w", err)
		}
		return s.desk.Extend(ctx, run, "", time.Unix(until, 0).UTC(), person, reason)
	case pressSilence:
		keep, err := time.ParseDuration(first)
		if err != nil {
			return "", fmt.Errorf("the button has no time in it: %w", err)
		}
		if detail == "" { // that would be all of them
			return "", errors.New("the button names no sink")
		}
		return s.desk.Silence(ctx, detail, rest, at.Add(keep), person, reason)
	case pressTrue:
		return s.desk.Resolve(ctx, value, soar.VerdictTruePositive, person, reason)
	case pressFalse:
		return s.desk.Resolve(ctx, value, soar.VerdictFalsePositive, person, reason)
	}
	return "", fmt.Errorf("this erbridge knows no button %q; the message may be of another version", what)
}

// vote adds an answer to a question. An answer that is there already counts as stored:
// Slack tells of a click again when it did not hear in time that it was taken.
func (s *slackSink) vote(ctx context.Context, id string, v soar.Vote) slackAnswer {
	word := "denied"
	if v.Agree {
		word = "approved"
	}
	got, err := s.desk.Decide(ctx, id, v)
	if err == nil {
		if got.State == soar.ApprovalWaiting {
			return slackAnswer{
				text:     fmt.Sprintf("Your answer is stored: you %s. %d of %d people have agreed.", word, got.Agreed(), got.Count),
				question: &got,
			}
		}
		return slackAnswer{text: fmt.Sprintf("Your answer is stored: you %s, and so the request is %s.", word, got.State)}
	}
	now, looked := s.desk.Approval(ctx, id)
	if looked == nil {
		mine := slices.ContainsFunc(now.Votes, func(o soar.Vote) bool { return strings.EqualFold(o.By, v.By) && o.Agree == v.Agree })
		switch {
		case mine && now.State == soar.ApprovalWaiting:
			return slackAnswer{text: fmt.Sprintf("Your answer was stored before: you %s. %d of %d people have agreed.", word, now.Agreed(), now.Count)}
		case mine:
			return slackAnswer{text: fmt.Sprintf("Your answer was stored before: you %s. The request is %s%s.", word, now.State, fit(decidedBy(&now), 300))}
		case now.State != soar.ApprovalWaiting:
			return slackAnswer{text: fmt.Sprintf("Your answer does not count: the request is %s%s already. %s", now.State, fit(decidedBy(&now), 300), fit(now.Why, 300))}
		}
	}
	return slackAnswer{text: "Your answer does not count: " + fitLines(whyNot(err), 1500)}
}

// say tells the one who clicked, and nobody else, what became of it. The address is
// good for 5 uses within 30 minutes.
func (s *slackSink) say(ctx context.Context, c *slackClick, answer slackAnswer) error {
	if c.ResponseURL == "" || answer.text == "" {
		return nil
	}
	u, err := s.answerURL(c.ResponseURL)
	if err != nil {
		return err
	}
	post := func(m slack.WebhookMessage) error {
		body, err := json.Marshal(m)
		if err != nil {
			return err
		}
		_, err = s.postJSON(ctx, c.ResponseURL, body, secretsOf(u, c.ResponseURL)...)
		return err
	}
	if answer.question != nil && s.waits(ctx, answer.question.ID) {
		ev := soar.Event{Type: soar.EventApprovalRequested, Approval: answer.question}
		card := eventCard(&ev, false, s.buttons())
		if err := post(slack.WebhookMessage{Text: card.text, Blocks: &slack.Blocks{BlockSet: card.blocks}, Parse: "none", ReplaceOriginal: true}); err != nil {
			return err
		}
	}
	return post(slack.WebhookMessage{Text: answer.text, Parse: "none", ResponseType: slack.ResponseTypeEphemeral})
}

// waits reports whether a question is still open. Where the last answer came in the
// meantime, its message must not get its buttons back.
func (s *slackSink) waits(ctx context.Context, id string) bool {
	now, err := s.desk.Approval(ctx, id)
	return err == nil && now.State == soar.ApprovalWaiting
}

// answerURL reads the address at which a click is answered. It came over the socket;
// nothing but Slack is written to all the same.
func (s *slackSink) answerURL(raw string) (*url.URL, error) {
	u, err := parseURL(raw)
	if err != nil {
		return nil, fmt.Errorf("response_%w", err)
	}
	api, err := parseURL(s.slackAPI.settings.APIURL)
	if err != nil {
		return nil, err
	}
	host := u.Hostname()
	ours := u.Scheme == api.Scheme && u.Host == api.Host
	slacks := u.Scheme == "https" && (host == "slack.com" || strings.HasSuffix(host, ".slack.com") || strings.HasSuffix(host, ".slack-gov.com"))
	if !ours && !slacks {
		return nil, fmt.Errorf("response_url: %q is no host of Slack", host)
	}
	return u, nil
}

package sinks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/erbridge/erbridge/internal/soar"
)

// What Slack allows of buttons, in characters
// (https://docs.slack.dev/reference/block-kit/composition-objects).
const (
	slackURLMax    = 3000
	slackOptionMax = 150 // value of an option in a list
	slackValueMax  = 2000
	slackLabelMax  = 75
)

// The buttons, by action_id. What follows a slash tells buttons of one message apart.
const (
	pressApprove = "erb.approve"
	pressDeny    = "erb.deny"
	pressUndo    = "erb.undo"
	pressExtend  = "erb.extend"
	pressSilence = "erb.silence"
	pressTrue    = "erb.resolve.true"
	pressFalse   = "erb.resolve.false"
	pressConsole = "erb.console" // a link: Slack tells of the click, and nothing is to be done
)

const (
	// extendBy is how much later an effect is taken back by a click.
	extendBy = 4 * time.Hour
	// undoButtons is how many runs of one alert have a button: the last ones.
	undoButtons = 3
)

// silences are what people may choose from.
var silences = []struct {
	label string
	keep  time.Duration
}{{"for 1 hour", time.Hour}, {"for 8 hours", 8 * time.Hour}, {"for 1 day", 24 * time.Hour}, {"for 1 week", 7 * 24 * time.Hour}}

// slackButtons puts buttons on cards. Without on, there is nobody who would hear a
// click, and only links are offered.
type slackButtons struct {
	sink string
	on   bool
}

// button makes one whose click carries a value. Values go through Slack and come back
// as they were; nothing in them is secret, and a click is judged by who clicked.
func button(action, label, value string, style slack.Style, confirm *slack.ConfirmationBlockObject) *slack.ButtonBlockElement {
	b := slack.NewButtonBlockElement(action, value, slackPlain(label, slackLabelMax))
	b.Style, b.Confirm = style, confirm
	return b
}

func slackPlain(text string, limit int) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, fit(text, limit), false, false)
}

// sure asks once more before something is done.
func sure(title, text, do string) *slack.ConfirmationBlockObject {
	return slack.NewConfirmationBlockObject(slackPlain(title, 100), slackPlain(text, 300), slackPlain(do, 30), slackPlain("Cancel", 30))
}

// alert are the buttons of an alert's message.
func (b slackButtons) alert(a *soar.Alert, t *thread) (list []slack.BlockElement) {
	if link := slackLink(a.URL); link != "" {
		console := button(pressConsole, "Open in the console", "", "", nil)
		console.URL = link
		list = append(list, console)
	}
	ref := a.Ref()
	if !b.on || len(ref) > slackValueMax {
		return list
	}
	shown := 0
	for _, u := range slices.Backward(t.Undo) {
		if !u.Ended || shown == undoButtons {
			continue // the run itself may still act
		}
		shown++
		list = append(list, button(fmt.Sprintf("%s/%d", pressUndo, shown-1), "Undo "+u.Playbook, u.Run.String(), slack.StyleDanger,
			sure("Take it back?", fmt.Sprintf("%s of playbook %s on %s will be taken back, by a run of its own.", countOf(u.Steps, "action"), u.Playbook, hostCalled(a)), "Undo")))
	}
	if a.Status != soar.StatusResolved {
		list = append(list,
			button(pressTrue, "Resolve: true positive", ref, "", sure("Resolve the alert?", a.Title()+" is resolved on the server as a true positive.", "Resolve")),
			button(pressFalse, "Resolve: false positive", ref, "", sure("Resolve the alert?", a.Title()+" is resolved on the server as a false positive.", "Resolve")))
	}
	return append(list, b.silence(a)...)
}

// silence is the list of how long alerts like one are kept out of the channel.
func (b slackButtons) silence(a *soar.Alert) []slack.BlockElement {
	var options []*slack.OptionBlockObject
	for _, s := range silences {
		value := s.keep.String() + " " + a.Ref()
		if len(value) > slackOptionMax {
			return nil
		}
		options = append(options, slack.NewOptionBlockObject(value, slackPlain(s.label, slackLabelMax), nil))
	}
	list := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, slackPlain("Silence like this…", 150), pressSilence+"/"+b.sink, options...)
	list.Confirm = sure("Silence alerts like this?",
		fmt.Sprintf("%s on %s is kept out of this channel for that time. Playbooks go on answering it.", a.Title(), hostCalled(a)), "Silence")
	return []slack.BlockElement{list}
}

// event are the buttons of a message of its own: of a question, and of what is about
// to be taken back. With console, it stands outside of the alert's thread.
func (b slackButtons) event(ev *soar.Event, console bool) (list []slack.BlockElement) {
	if b.on {
		switch {
		case ev.Type == soar.EventApprovalRequested && ev.Approval != nil:
			list = b.question(ev.Approval)
		case ev.Undo != nil && ev.Run != nil:
			list = b.undo(ev)
		}
	}
	if console && ev.Alert != nil {
		if link := slackLink(ev.Alert.URL); link != "" {
			open := button(pressConsole, "Open in the console", "", "", nil)
			open.URL = link
			list = append(list, open)
		}
	}
	return list
}

// question are approve and deny. A call that goes out with the answer is asked about
// once more.
func (b slackButtons) question(a *soar.Approval) []slack.BlockElement {
	if a.State != soar.ApprovalWaiting || len(a.ID) > slackValueMax {
		return nil
	}
	var confirm *slack.ConfirmationBlockObject
	if a.Action != "" {
		confirm = sure("Let it go out?", fmt.Sprintf("%s on %s is sent when you approve.", a.Action, strings.Join(a.Hosts, ", ")), "Approve")
	}
	return []slack.BlockElement{
		button(pressApprove, "Approve", a.ID, slack.StylePrimary, confirm),
		button(pressDeny, "Deny", a.ID, slack.StyleDanger, nil),
	}
}

// undo are extend and undo now.
func (b slackButtons) undo(ev *soar.Event) []slack.BlockElement {
	u := ev.Undo
	until := u.At.Add(extendBy).Unix()
	value := ev.Run.ID.String() + " " + strconv.FormatInt(until, 10)
	back := u.Of.String() + " " + u.Step
	if len(back) > slackValueMax {
		return nil
	}
	return []slack.BlockElement{
		button(pressExtend, "Keep it 4 hours longer", value, slack.StylePrimary,
			sure("Keep it longer?", fmt.Sprintf("%s stays until %s.", u.Action, time.Unix(until, 0).UTC().Format("2006-01-02 15:04 UTC")), "Keep it")),
		button(pressUndo, "Take it back now", back, slack.StyleDanger,
			sure("Take it back now?", fmt.Sprintf("%s is done at once.", u.Do), "Take it back")),
	}
}

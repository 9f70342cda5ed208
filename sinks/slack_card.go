package sinks

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/slack-go/slack"

	"github.com/erbridge/erbridge/internal/soar"
)

// Limits of Slack, in UTF-16 units, which is never less than its own counting.
// https://docs.slack.dev/reference/block-kit/blocks: header 150, section 3000, a
// field 2000, ten fields; all blocks together break at about 13,000.
const (
	slackHeaderMax  = 150
	slackSectionMax = 3000
	slackFieldsMax  = 10
	slackTextMax    = 1000 // of the notification text; the API would take more
	slackBlocksMax  = 12000

	// What we use of it, so that the sum stays below slackBlocksMax whatever an
	// alert holds: 150 + 10*300 + 1500 + 2000 + 1500 + 1200 + 600 is 9,950, and the
	// texts of the buttons, with what they ask before they act, stay below 2,000.
	cardFieldMax    = 300
	cardCodeMax     = 1500
	cardOutcomesMax = 2000
	cardGroupMax    = 1500
	cardWaitingMax  = 1200
	cardContextMax  = 600
	cardOutcomes    = 10

	// A reply with many outcomes has one line for each: 30*300 is 9,000.
	cardLines   = 30
	cardLineMax = 300
)

// card is a message: blocks, and the text of its notification.
type card struct {
	text   string
	blocks []slack.Block
}

func (c *card) add(b slack.Block) { c.blocks = append(c.blocks, b) }

// header is plain text without emoji codes, so that nothing in a rule's name
// turns into something else.
func (c *card) header(text string) {
	c.add(slack.NewHeaderBlock(slack.NewTextBlockObject(slack.PlainTextType, fit(text, slackHeaderMax), false, false)))
}

func (c *card) section(markup string) {
	c.add(slack.NewSectionBlock(mrkdwn(markup), nil, nil))
}

func (c *card) context(markup string) {
	c.add(slack.NewContextBlock("", mrkdwn(markup)))
}

// actions adds a row of buttons, if there are any.
func (c *card) actions(elements []slack.BlockElement) {
	if len(elements) > 0 {
		c.add(slack.NewActionBlock("", elements...))
	}
}

// fingerprint tells two messages apart.
func (c *card) fingerprint() string {
	data, err := json.Marshal(struct {
		Text   string
		Blocks []slack.Block
	}{c.text, c.blocks})
	if err != nil { // blocks are texts
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// mrkdwn takes markup whose parts are escaped. Verbatim keeps Slack from making
// links, channels and mentions out of plain words.
func mrkdwn(markup string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, markup, false, true)
}

// alertCard is the head message of an alert.
func alertCard(a *soar.Alert, t *thread, b slackButtons) card {
	name := hostCalled(a)
	title := fmt.Sprintf("%s %s: %s", severitySign(a.Severity), strings.ToUpper(string(a.Severity)), a.Title())
	c := card{text: fit(title+" on "+name, slackTextMax)}
	c.header(title)

	var fields []*slack.TextBlockObject
	field := func(label, value string) {
		if value != "" && len(fields) < slackFieldsMax {
			fields = append(fields, mrkdwn("*"+label+"*\n"+fit(value, cardFieldMax-len(label)-3)))
		}
	}
	field("Host", name)
	field("Status", alertStatus(a))
	field("Platform", strings.TrimSpace(a.Host.Platform+" "+a.Host.OSVersion))
	field("Address", a.Host.IP)
	field("User", firstOf(a.Event, "owner_uid", "uid"))
	field("Process", firstOf(a.Event, "path", "process_name", "src_path"))
	field("Target", firstOf(a.Event, "target_path", "target_name", "domain_name", "url", "remote_address"))
	if a.Rule != nil {
		field("ATT&amp;CK", strings.Join(append(a.Rule.Techniques[:len(a.Rule.Techniques):len(a.Rule.Techniques)], a.Rule.Tactics...), ", "))
	}
	field("Happened", slackTime(a))
	if a.EventCount > 1 {
		field("Events", fmt.Sprint(a.EventCount))
	}
	c.add(slack.NewSectionBlock(nil, fields, nil))
	if cmdline := a.Event["cmdline"]; cmdline != "" {
		c.section("```" + fitLines(cmdline, cardCodeMax) + "```")
	}
	if t.Group != nil {
		c.section(likeText(t.Group, t.LikeRuns, t.LikeSteps))
	}
	if text := waitingText(t.Waiting); text != "" {
		c.section(text)
	}
	if len(t.Outcomes) > 0 {
		var lines []string
		for _, o := range t.Outcomes[max(0, len(t.Outcomes)-cardOutcomes):] {
			lines = append(lines, o.Sign+" "+fit(o.Text, cardOutcomesMax/cardOutcomes-8))
		}
		c.section(strings.Join(lines, "\n"))
	}
	c.context(fit(a.Ref(), 200))
	c.actions(b.alert(a, t))
	return c
}

// likeText tells of like alerts that have no message of their own. runs and steps are
// what became of them, where the group itself does not say.
func likeText(g *soar.Group, runs, steps map[string]int) string {
	text := fmt.Sprintf("🔁 *%d more like this* on %s", max(g.Count-1, 0), countOf(g.Hosts, "host"))
	if len(g.Names) > 0 {
		text += ": " + fit(strings.Join(g.Names, ", "), 300)
		if g.Hosts > len(g.Names) {
			text += ", …"
		}
	}
	if !g.Last.IsZero() {
		text += "\nthe last one at " + g.Last.UTC().Format("15:04:05 UTC")
	}
	if g.Closed {
		text += "; the next one gets a message of its own"
	}
	if len(g.Runs)+len(g.Steps) > 0 {
		runs, steps = g.Runs, g.Steps
	}
	if counts := countsLine(runs, steps); counts != "" {
		if len(counts) > cardGroupMax-600 { // a dozen of names, each of them long
			counts = countsLine(runs, nil)
		}
		text += "\n" + counts
	}
	return text
}

// waitingText lists the questions that people have not answered.
func waitingText(waiting map[string]string) string {
	var lines []string
	for _, id := range slices.Sorted(maps.Keys(waiting)) {
		if len(lines) == 3 {
			lines = append(lines, fmt.Sprintf("and %d more questions", len(waiting)-3))
			break
		}
		lines = append(lines, "❓ *waits for people:* "+fit(waiting[id], 300))
	}
	return strings.Join(lines, "\n")
}

func alertStatus(a *soar.Alert) string {
	if a.Verdict == "" {
		return a.Status
	}
	return a.Status + ", " + strings.ReplaceAll(a.Verdict, "_", " ")
}

func slackTime(a *soar.Alert) string {
	if a.EventTime.IsZero() {
		return ""
	}
	return a.EventTime.UTC().Format("2006-01-02 15:04:05 UTC")
}

// slackLink is the alert's page in the console, or empty where it is none that a
// button can have.
func slackLink(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || len(u.String()) > slackURLMax {
		return ""
	}
	return u.String()
}

// shownOutcome is one line of a head message. Text is not escaped yet.
type shownOutcome struct {
	ID   string `json:"id"` // of the event
	Sign string `json:"sign"`
	Text string `json:"text"`
}

// speaks reports whether an event is a message in words.
func speaks(ev *soar.Event) bool {
	switch ev.Type {
	case soar.EventNotification, soar.EventTrouble, soar.EventTest, soar.EventDigest:
		return ev.Text != ""
	}
	return false
}

// outcomeOf is the line about an event that tells how something ended.
func outcomeOf(ev *soar.Event) shownOutcome {
	line := shownOutcome{ID: ev.ID}
	switch {
	case speaks(ev): // the run that says it is beside the point
		line.Sign, line.Text = "ℹ️", ev.Text
	case ev.Approval != nil:
		line.Sign, line.Text = approvalSign(ev.Approval.State), approvalLine(ev.Approval)
	case ev.Undo != nil:
		line.Sign, line.Text = "⏳", ev.Text
	case ev.Outcome != nil:
		line.Sign = stepSign(ev.Outcome.State)
		line.Text = outcomeLine(ev.Outcome)
	case ev.Run != nil:
		line.Sign = runSign(ev.Run.State)
		line.Text = "playbook " + ev.Run.Playbook + " " + string(ev.Run.State)
	default:
		line.Sign, line.Text = "ℹ️", ev.Text
	}
	return line
}

// approvalLine is a question and what became of it, in one line.
func approvalLine(a *soar.Approval) string {
	if a.State == soar.ApprovalWaiting {
		return a.Text
	}
	return string(a.State) + decidedBy(a) + ": " + a.Text
}

// decidedBy names those whose answers made the decision.
func decidedBy(a *soar.Approval) string {
	var names []string
	for _, v := range a.Votes {
		if v.Agree == (a.State == soar.ApprovalApproved) {
			names = append(names, v.By)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " by " + strings.Join(names, ", ")
}

func approvalSign(s soar.ApprovalState) string {
	switch s {
	case soar.ApprovalWaiting:
		return "❓"
	case soar.ApprovalApproved:
		return "✅"
	case soar.ApprovalDenied:
		return "⛔"
	}
	return "⌛"
}

// eventCard is every message that is not the head of an alert. withAlert names
// the alert, for messages outside its thread.
func eventCard(ev *soar.Event, withAlert bool, b slackButtons) card {
	var lines []string
	line := outcomeOf(ev)
	switch {
	case speaks(ev) && ev.Type == soar.EventTrouble:
		lines = append(lines, "⚠️ *erbridge needs attention*", fitLines(ev.Text, 2500))
	case speaks(ev):
		lines = append(lines, fitLines(ev.Text, 2800))
	case ev.Approval != nil:
		lines = approvalLines(ev.Approval, ev.Text)
	case ev.Undo != nil:
		lines = append(lines, line.Sign+" "+fitLines(ev.Text, 2500))
	case ev.Outcome != nil:
		o := ev.Outcome
		first := line.Sign + " *" + fit(o.Action, 100) + "* " + fit(outcomeWord(o), 50)
		sink, queued := queuedFor(o)
		if queued {
			first += " for " + fit(sink, 100)
		}
		if o.Target != "" {
			first += " on " + fit(targetName(ev), 200)
		}
		lines = append(lines, first+outcomeTook(o))
		if o.Summary != "" && !queued {
			lines = append(lines, fitLines(o.Summary, 1000))
		}
		if o.Error != "" {
			lines = append(lines, "`"+fit(o.Error, 1000)+"`")
		}
	case ev.Run != nil:
		first := line.Sign + " *" + fit(ev.Run.Playbook, 200) + "* " + fit(string(ev.Run.State), 50)
		if ev.Run.Mode == soar.ModeObserve {
			first += " (observe mode: nothing was changed)"
		}
		lines = append(lines, first)
		if ev.Run.Error != "" {
			lines = append(lines, "`"+fit(ev.Run.Error, 1000)+"`")
		}
	case ev.Type == soar.EventAlertGrouped && ev.Group != nil:
		lines = append(lines, likeText(ev.Group, nil, nil))
	default:
		text := ev.Text
		if text == "" {
			text = string(ev.Type)
		}
		lines = append(lines, fitLines(text, 2800))
	}
	c := card{text: fit(strings.TrimSpace(line.Sign+" "+line.Text), slackTextMax)}
	if ev.Type == soar.EventTrouble {
		c.text = fit("⚠️ erbridge needs attention: "+ev.Text, slackTextMax)
	}
	c.section(strings.Join(lines, "\n"))
	if withAlert && ev.Alert != nil {
		c.context(fit(ev.Alert.Title(), 200) + "  ·  " + fit(hostCalled(ev.Alert), 100) + "  ·  " + fit(ev.Alert.Ref(), 200))
	}
	if ev.Outcome != nil && ev.Run != nil {
		c.context(fit(fmt.Sprintf("%s, step %s, run %s", ev.Run.Playbook, ev.Outcome.Step, ev.Run.ID), 300))
	}
	c.actions(b.event(ev, withAlert))
	return c
}

// approvalLines are a question, and what people have said so far. words name the
// commands that answer it.
func approvalLines(a *soar.Approval, words string) []string {
	lines := []string{approvalSign(a.State) + " *" + fit(a.Text, 1000) + "*"}
	if a.State != soar.ApprovalWaiting {
		said := string(a.State) + decidedBy(a)
		if a.Why != "" {
			said += ": " + a.Why
		}
		lines = append(lines, fit(said, 500))
	} else {
		if len(a.Hosts) > 0 {
			lines = append(lines, "on "+fit(strings.Join(a.Hosts, ", "), 300))
		}
		if len(a.With) > 0 { // what is agreed to is this call, and no other
			lines = append(lines, "```"+fit(argumentsText(a.With), 550)+"```")
		}
		if a.Count > 1 {
			lines = append(lines, fmt.Sprintf("%d of %d people have agreed", a.Agreed(), a.Count))
		}
		if words != "" {
			lines = append(lines, fitLines(words, 900))
		}
	}
	for _, v := range a.Votes[max(0, len(a.Votes)-5):] {
		word := "denied it"
		if v.Agree {
			word = "agreed"
		}
		vote := v.By + " " + word
		if v.Reason != "" {
			vote += ": " + v.Reason
		}
		lines = append(lines, "• "+fit(vote, 200))
	}
	return lines
}

// argumentsText are the arguments of a call, as JSON.
func argumentsText(with map[string]any) string {
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(with); err != nil {
		return "the arguments cannot be shown: " + err.Error()
	}
	return strings.TrimSpace(text.String())
}

// outcomesCard is a reply that tells what ended, one line for each. One that stands
// alone has all that is known of it; of very many, those that went well are counted.
func outcomesCard(events []*soar.Event) card {
	if len(events) == 1 {
		return eventCard(events[0], false, slackButtons{})
	}
	shown := events
	var rest slackDigest
	if len(events) > cardLines {
		shown = nil
		for _, ev := range events {
			if wentWrong(ev) && len(shown) < cardLines-2 {
				shown = append(shown, ev)
			} else {
				rest.count(ev)
			}
		}
	}
	var c card
	for chunk := range slices.Chunk(shown, slackSectionMax/cardLineMax-1) {
		var lines []string
		for _, ev := range chunk {
			line := outcomeOf(ev)
			text := line.Text
			if ev.Outcome != nil {
				if ev.Outcome.Target != "" {
					text += " (" + targetName(ev) + ")"
				}
				text += outcomeTook(ev.Outcome)
			}
			lines = append(lines, line.Sign+" "+fit(text, cardLineMax-10))
		}
		c.section(strings.Join(lines, "\n"))
	}
	if counts := countsLine(rest.Runs, rest.Steps); counts != "" {
		c.section(counts)
	}
	last := outcomeOf(events[len(events)-1])
	c.text = fit(fmt.Sprintf("%s %s, and %d more", last.Sign, last.Text, len(events)-1), slackTextMax)
	return c
}

// wentWrong reports whether people want to know of an end by itself.
func wentWrong(ev *soar.Event) bool {
	switch {
	case ev.Outcome != nil:
		return failedStep(ev.Outcome.State)
	case ev.Run != nil:
		return ev.Run.State == soar.RunFailed || ev.Run.State == soar.RunUnknown
	}
	return false
}

// rowsCard lists rows of results.
func rowsCard(events []*soar.Event) card {
	title := countOf(len(events), "row") + " of results"
	c := card{text: title}
	lines := []string{"*" + title + "*"}
	for _, ev := range events[:min(len(events), cardOutcomes)] {
		row := ev.Row
		var columns []string
		for _, name := range slices.Sorted(maps.Keys(row.Columns)) {
			columns = append(columns, name+"="+row.Columns[name])
		}
		lines = append(lines, "• "+fit(fmt.Sprintf("%s %s on %s: %s", row.Query, row.Action, row.Host.Name, strings.Join(columns, " ")), 270))
	}
	if more := len(events) - cardOutcomes; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	c.section(strings.Join(lines, "\n"))
	return c
}

// beatCard says that erbridge is alive.
func beatCard(ev *soar.Event) card {
	text := "💓 erbridge is alive, at " + ev.At.UTC().Format("2006-01-02 15:04:05 UTC")
	if ev.Text != "" {
		text += ": " + fit(ev.Text, 500)
	}
	c := card{text: text}
	c.context(text)
	return c
}

// targetName is the host's name where the target is the alert's host; people do
// not know hosts by identifier.
func targetName(ev *soar.Event) string {
	if ev.Alert != nil && ev.Alert.Host.Name != "" && ev.Outcome.Target == ev.Alert.Host.Identifier {
		return ev.Alert.Host.Name
	}
	return ev.Outcome.Target
}

func severitySign(s soar.Severity) string {
	switch {
	case s.AtLeast(soar.SeverityCritical):
		return "🔴"
	case s.AtLeast(soar.SeverityHigh):
		return "🟠"
	case s.AtLeast(soar.SeverityMedium):
		return "🟡"
	}
	return "🔵"
}

func stepSign(s soar.StepState) string {
	switch s {
	case soar.StepVerified, soar.StepExecuted:
		return "✅"
	case soar.StepObserved:
		return "👁️"
	case soar.StepSuppressed, soar.StepSkipped:
		return "⏭️"
	case soar.StepUnknown:
		return "⚠️"
	}
	return "❌"
}

func runSign(s soar.RunState) string {
	switch s {
	case soar.RunDone:
		return "✅"
	case soar.RunUnknown:
		return "⚠️"
	case soar.RunRunning, soar.RunWaiting:
		return "▶️"
	}
	return "❌"
}

// firstOf is the first of the columns that has a value.
func firstOf(event map[string]string, columns ...string) string {
	for _, c := range columns {
		if v := event[c]; v != "" {
			return v
		}
	}
	return ""
}

// fit makes a text from outside harmless for Slack and cuts it to a length that
// counts what escaping adds. Links are defanged, and with < escaped no mention,
// channel or link can form.
//
// The back-quote would begin or end code, and a line break could pass for a line
// of ours; lines are for texts that are shown as a whole, see fitLines.
func fit(text string, limit int) string { return cut(text, limit, false) }

// fitLines is fit for text that may have several lines.
func fitLines(text string, limit int) string { return cut(text, limit, true) }

func cut(text string, limit int, lines bool) string {
	var out strings.Builder
	used := 0
	for _, r := range defang(strings.ToValidUTF8(text, "\uFFFD")) {
		piece := string(r)
		switch {
		case r == '&':
			piece = "&amp;"
		case r == '<':
			piece = "&lt;"
		case r == '>':
			piece = "&gt;"
		case r == '`':
			piece = "'"
		case r == '\n' && lines:
		case unicode.IsControl(r), isDirection(r):
			piece = " "
		}
		size := max(utf16.RuneLen(r), 1)
		if piece[0] == '&' {
			size = len(piece)
		}
		if used+size > limit-1 {
			out.WriteRune('…')
			break
		}
		used += size
		out.WriteString(piece)
	}
	return out.String()
}

// isDirection tells the characters that turn the direction of writing: with them
// "cod.exe" reads as "exe.doc".
func isDirection(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f
}

var (
	schemes = regexp.MustCompile(`(?i)\b(h)tt(ps?|p)(:|%3a)//([^/\s"'<>|]*)`)
	mails   = regexp.MustCompile(`([\w.+-]+)@([\w-]+(?:\.[\w-]+)+)`)
	sixes   = regexp.MustCompile(`(?i)\b[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){2,7}`)
	quads   = regexp.MustCompile(`\b\d{1,3}(?:\.\d{1,3}){3}\b`)
	other   = regexp.MustCompile(`(?i)\b(ftp|file|smb|ldaps?|mailto|tel|slack|ms-[a-z]+)(:/?/?)`)
)

// defang makes URLs, mail addresses and IP addresses that cannot be clicked or
// fetched by accident, in the way analysts write them: hxxps[:]//evil[.]example.
func defang(text string) string {
	if !strings.ContainsAny(text, ".:@") {
		return text
	}
	text = schemes.ReplaceAllStringFunc(text, func(found string) string {
		m := schemes.FindStringSubmatch(found)
		return m[1] + "xx" + m[2] + "[" + m[3] + "]//" + dots(m[4])
	})
	text = mails.ReplaceAllStringFunc(text, func(found string) string {
		name, host, _ := strings.Cut(found, "@")
		return name + "[@]" + dots(host)
	})
	text = other.ReplaceAllStringFunc(text, func(found string) string { return strings.Replace(found, ":", "[:]", 1) })
	text = sixes.ReplaceAllStringFunc(text, func(found string) string {
		if addr, err := netip.ParseAddr(found); err != nil || !addr.Is6() {
			return found // a time, a MAC address, a path
		}
		return strings.ReplaceAll(found, ":", "[:]")
	})
	return quads.ReplaceAllStringFunc(text, func(found string) string {
		if _, err := netip.ParseAddr(found); err != nil {
			return found // a version number such as 10.0.19041.1
		}
		return dots(found)
	})
}

// dots brackets the dots of a host, once.
func dots(host string) string {
	return strings.ReplaceAll(strings.ReplaceAll(host, "[.]", "."), ".", "[.]")
}

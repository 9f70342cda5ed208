package sinks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// teamsMaxBytes is what of a message we use: Teams takes 28 KB, and does not say of
// what ("Create incoming webhooks", message size).
const teamsMaxBytes = 27 << 10

// teamsMaxLines bounds the lines of a text or a command.
const teamsMaxLines = 40

// The parts of an Adaptive Card 1.4 (https://adaptivecards.io/explorer) that we use.
// All text from outside stands in text runs: what is in one is shown as it is, while a
// text block would take it for Markdown. So no link, no list and no mention can form.
type (
	teamsBody struct {
		Type        string            `json:"type"`
		Attachments []teamsAttachment `json:"attachments"`
	}
	teamsAttachment struct {
		ContentType string       `json:"contentType"`
		ContentURL  *string      `json:"contentUrl"`
		Content     adaptiveCard `json:"content"`
	}
	adaptiveCard struct {
		Schema  string         `json:"$schema"`
		Type    string         `json:"type"`
		Version string         `json:"version"`
		Body    []teamsElement `json:"body"`
		Actions []teamsAction  `json:"actions,omitempty"`
		Teams   struct {
			Width string `json:"width"`
		} `json:"msteams"`
	}
	// teamsElement is a Container with items, or a RichTextBlock with inlines.
	teamsElement struct {
		Type    string         `json:"type"`
		ID      string         `json:"id,omitempty"`
		Style   string         `json:"style,omitempty"`
		Bleed   bool           `json:"bleed,omitempty"`
		Spacing string         `json:"spacing,omitempty"`
		Items   []teamsElement `json:"items,omitempty"`
		Inlines []teamsRun     `json:"inlines,omitempty"`
	}
	teamsRun struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		Size     string `json:"size,omitempty"`
		Weight   string `json:"weight,omitempty"`
		FontType string `json:"fontType,omitempty"`
		Subtle   bool   `json:"isSubtle,omitempty"`
	}
	teamsAction struct {
		Type  string `json:"type"`
		Title string `json:"title"`
		URL   string `json:"url"`
	}
)

func plainRun(text string) teamsRun { return teamsRun{Type: "TextRun", Text: text} }

func teamsText(runs ...teamsRun) teamsElement {
	return teamsElement{Type: "RichTextBlock", Inlines: runs}
}

// teamsStyles are the colours behind a title.
var teamsStyles = map[soar.Severity]string{
	soar.SeverityCritical: "attention", soar.SeverityHigh: "attention", soar.SeverityMedium: "warning", soar.SeverityLow: "accent", soar.SeverityInfo: "emphasis",
}

// teamsMessage is the body of a request. Texts are cut until it fits.
func teamsMessage(ev *soar.Event, version string) ([]byte, error) {
	n := noticeOf(ev)
	for limit := noticeTextMax; ; limit /= 2 {
		n.Text, n.Code = clipRunes(n.Text, limit), clipRunes(n.Code, limit)
		for i := range n.Facts {
			n.Facts[i].Value = clipRunes(n.Facts[i].Value, max(limit, 20))
		}
		body, err := encodeCard(teamsCard(ev, n, version))
		if err != nil || len(body) <= teamsMaxBytes {
			return body, err
		}
		if limit < 20 {
			return nil, fmt.Errorf("a card of %d bytes with all texts cut, Teams takes %d", len(body), teamsMaxBytes)
		}
	}
}

func encodeCard(card adaptiveCard) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // six bytes for every < of a command line
	err := encoder.Encode(teamsBody{
		Type: "message", Attachments: []teamsAttachment{{ContentType: "application/vnd.microsoft.card.adaptive", Content: card}},
	})
	return bytes.TrimSpace(b.Bytes()), err
}

func teamsCard(ev *soar.Event, n notice, version string) adaptiveCard {
	c := adaptiveCard{Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4"}
	c.Teams.Width = "Full"

	style := teamsStyles[n.Severity]
	if ev.Type == soar.EventTrouble || ev.Type == soar.EventApprovalRequested {
		style = "warning"
	}
	if style == "" {
		style = "emphasis"
	}
	title := plainRun(n.Title)
	title.Size, title.Weight = "Medium", "Bolder"
	c.Body = append(c.Body, teamsElement{Type: "Container", Style: style, Bleed: true, Items: []teamsElement{teamsText(title)}})

	c.Body = append(c.Body, teamsLines(n.Text, "Default")...)
	c.Body = append(c.Body, teamsLines(n.Code, "Monospace")...)
	for i, f := range n.Facts {
		name := plainRun(f.Name + ":  ")
		name.Weight = "Bolder"
		element := teamsText(name, plainRun(f.Value))
		element.Spacing = "Small"
		if i == 0 {
			element.Spacing = "Medium"
		}
		c.Body = append(c.Body, element)
	}
	footer := "event " + shownLine(ev.ID, 200) + " · " + strings.TrimSpace("erbridge "+version)
	if n.Ref != "" {
		footer = n.Ref + " · " + footer
	}
	small := plainRun(footer)
	small.Size, small.Subtle = "Small", true
	last := teamsText(small)
	last.ID, last.Spacing = shownLine(ev.ID, 200), "Medium"
	c.Body = append(c.Body, last)
	if n.Link != "" {
		c.Actions = []teamsAction{{Type: "Action.OpenUrl", Title: "Open in the console", URL: n.Link}}
	}
	return c
}

// teamsLines are blocks of one line each: a line end inside of a run is shown by some
// clients of Teams, and by others not.
func teamsLines(text, font string) (elements []teamsElement) {
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	if len(lines) > teamsMaxLines {
		lines = append(lines[:teamsMaxLines-1:teamsMaxLines-1], "…")
	}
	for i, line := range lines {
		if strings.TrimSpace(line) == "" {
			line = "\u00a0" // an empty run is no run
		}
		r := plainRun(line)
		r.FontType = font
		element := teamsText(r)
		element.Spacing = "None"
		if i == 0 {
			element.Spacing = "Medium"
		}
		elements = append(elements, element)
	}
	return elements
}

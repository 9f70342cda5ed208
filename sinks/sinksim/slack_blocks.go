package sinksim

import (
	"encoding/json"
	"fmt"
	"unicode/utf16"
)

// textObject is text in Block Kit.
type textObject struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// element is what stands in a block of context or actions.
type element struct {
	Type        string          `json:"type"`
	Text        json.RawMessage `json:"text"` // of context a string, of a button a textObject
	ActionID    string          `json:"action_id"`
	Value       string          `json:"value"`
	URL         string          `json:"url"`
	Style       string          `json:"style"`
	Placeholder *textObject     `json:"placeholder"`
	Options     []struct {
		Text  textObject `json:"text"`
		Value string     `json:"value"`
	} `json:"options"`
	Confirm *struct {
		Title   *textObject `json:"title"`
		Text    *textObject `json:"text"`
		Confirm *textObject `json:"confirm"`
		Deny    *textObject `json:"deny"`
	} `json:"confirm"`
}

// label is the text of a button.
func (e *element) label() (text textObject) {
	_ = json.Unmarshal(e.Text, &text) // an empty label is refused
	return text
}

// block is one of Block Kit's blocks, as far as erbridge uses them.
type block struct {
	Type     string       `json:"type"`
	BlockID  string       `json:"block_id"`
	Text     *textObject  `json:"text"`
	Fields   []textObject `json:"fields"`
	Elements []element    `json:"elements"`
}

func readBlocks(raw json.RawMessage) (blocks []block, err error) {
	if len(raw) > 0 && string(raw) != "null" {
		err = json.Unmarshal(raw, &blocks)
	}
	return blocks, err
}

// checkMessage applies the limits of Block Kit
// (https://docs.slack.dev/reference/block-kit/blocks). It returns Slack's name of
// the error and what is wrong.
func checkMessage(text string, rawBlocks json.RawMessage) (name, detail string) {
	blocks, err := readBlocks(rawBlocks)
	if err != nil {
		return "invalid_blocks_format", err.Error()
	}
	switch {
	case text == "" && len(blocks) == 0:
		return "no_text", ""
	case units(text) > 40_000:
		return "msg_too_long", ""
	case len(blocks) > 50:
		return "invalid_blocks", "more than 50 blocks"
	}
	total, ids := 0, map[string]bool{}
	for i := range blocks {
		b := &blocks[i]
		if len(b.BlockID) > 255 || b.BlockID != "" && ids[b.BlockID] {
			return "invalid_blocks", fmt.Sprintf("block_id [json-pointer:/%d]", i)
		}
		ids[b.BlockID] = true
		size, wrong := b.check()
		if wrong != "" {
			return "invalid_blocks", fmt.Sprintf("%s [json-pointer:/%d]", wrong, i)
		}
		total += size
	}
	if total > 13_000 {
		return "msg_blocks_too_long", ""
	}
	return "", ""
}

// check returns how much text a block has, and what is wrong with it.
func (b *block) check() (size int, wrong string) {
	limit := 3000
	switch b.Type {
	case "header":
		if b.Text == nil || b.Text.Type != "plain_text" {
			return 0, "a header needs plain_text"
		}
		limit = 150
	case "section":
		if b.Text == nil && len(b.Fields) == 0 {
			return 0, "a section needs text or fields"
		}
		if len(b.Fields) > 10 {
			return 0, "more than 10 fields"
		}
		for _, f := range b.Fields {
			if wrong := f.check(2000); wrong != "" {
				return 0, "a field: " + wrong
			}
			size += units(f.Text)
		}
	case "context":
		if n := len(b.Elements); n < 1 || n > 10 {
			return 0, fmt.Sprintf("%d elements", n)
		}
		for _, e := range b.Elements {
			text := textObject{Type: e.Type}
			if err := json.Unmarshal(e.Text, &text.Text); err != nil {
				return 0, "an element of a context without text"
			}
			if wrong := text.check(3000); wrong != "" {
				return 0, wrong
			}
			size += units(text.Text)
		}
	case "actions":
		if n := len(b.Elements); n < 1 || n > 25 {
			return 0, fmt.Sprintf("%d elements", n)
		}
		ids := map[string]bool{}
		for i := range b.Elements {
			e := &b.Elements[i]
			if ids[e.ActionID] {
				return 0, fmt.Sprintf("action_id %q stands there twice", e.ActionID)
			}
			ids[e.ActionID] = true
			n, wrong := e.check()
			if wrong != "" {
				return 0, wrong
			}
			size += n
		}
	case "divider", "image":
	default:
		return 0, fmt.Sprintf("unsupported block type %q", b.Type)
	}
	if b.Text != nil {
		if wrong := b.Text.check(limit); wrong != "" {
			return 0, wrong
		}
		size += units(b.Text.Text)
	}
	return size, ""
}

func (t *textObject) check(limit int) string {
	if t.Type != "plain_text" && t.Type != "mrkdwn" {
		return fmt.Sprintf("text of type %q", t.Type)
	}
	if n := units(t.Text); n < 1 || n > limit {
		return fmt.Sprintf("text has %d characters, the limit is %d", n, limit)
	}
	return ""
}

// plain checks a text that may have no markup.
func (t *textObject) plain(what string, limit int) string {
	if t == nil || t.Type != "plain_text" {
		return what + " needs plain_text"
	}
	if wrong := t.check(limit); wrong != "" {
		return what + ": " + wrong
	}
	return ""
}

// check applies the limits of interactive elements
// (https://docs.slack.dev/reference/block-kit/block-elements).
func (e *element) check() (size int, wrong string) {
	if n := len(e.ActionID); n < 1 || n > 255 {
		return 0, fmt.Sprintf("action_id has %d characters", n)
	}
	count := func(what string, t *textObject, limit int) {
		if wrong == "" {
			wrong = t.plain(what, limit)
		}
		if t != nil {
			size += units(t.Text)
		}
	}
	switch e.Type {
	case "button":
		label := e.label()
		count("a button", &label, 75)
		switch {
		case wrong != "":
		case units(e.Value) > 2000:
			wrong = "the value of a button is too long"
		case units(e.URL) > 3000:
			wrong = "the url of a button is too long"
		case e.Style != "" && e.Style != "primary" && e.Style != "danger":
			wrong = fmt.Sprintf("style %q", e.Style)
		}
	case "static_select":
		count("a placeholder", e.Placeholder, 150)
		if n := len(e.Options); wrong == "" && (n < 1 || n > 100) {
			wrong = fmt.Sprintf("%d options", n)
		}
		for i := range e.Options {
			count("an option", &e.Options[i].Text, 75)
			if n := units(e.Options[i].Value); wrong == "" && (n < 1 || n > 150) {
				wrong = fmt.Sprintf("the value of an option has %d characters", n)
			}
		}
	default:
		return 0, fmt.Sprintf("unsupported element %q", e.Type)
	}
	if c := e.Confirm; c != nil {
		count("the title of a dialog", c.Title, 100)
		count("the text of a dialog", c.Text, 300)
		count("a button of a dialog", c.Confirm, 30)
		count("a button of a dialog", c.Deny, 30)
	}
	return size, wrong
}

func units(text string) int { return len(utf16.Encode([]rune(text))) }

package sinksim

import (
	"encoding/json"
	"fmt"
	"html"
	"strings"
)

// Render is a message as text, as people would see it, with replies below their message.
// Lines are indented by depth.
func (s *Slack) Render(m SlackMessage) string {
	var out strings.Builder
	render(&out, m, "  ")
	for _, reply := range s.Messages() {
		if reply.ThreadTS == m.TS && reply.TS != m.TS {
			render(&out, reply, "    ↳ ")
		}
	}
	return out.String()
}

func render(out *strings.Builder, m SlackMessage, indent string) {
	edited := ""
	if m.Updates > 0 {
		edited = fmt.Sprintf(" (edited %d times)", m.Updates)
	}
	first := true
	line := func(text string) {
		for _, part := range strings.Split(html.UnescapeString(text), "\n") {
			if part == "" {
				continue
			}
			fmt.Fprintf(out, "%s%s%s\n", indent, part, edited)
			edited = ""
			if first {
				first, indent = false, strings.Repeat(" ", len([]rune(indent)))
			}
		}
	}
	blocks, err := readBlocks(m.Blocks)
	if err != nil || len(blocks) == 0 {
		line(m.Text)
		return
	}
	for _, b := range blocks {
		if b.Text != nil {
			line(b.Text.Text)
		}
		var fields []string
		for _, f := range b.Fields {
			fields = append(fields, strings.ReplaceAll(strings.ReplaceAll(f.Text, "*\n", ": "), "*", ""))
		}
		if len(fields) > 0 {
			line(strings.Join(fields, "   "))
		}
		var elements []string
		for i := range b.Elements {
			e := &b.Elements[i]
			text := ""
			switch {
			case b.Type == "context":
				_ = json.Unmarshal(e.Text, &text) // it was checked when it was posted
			case e.Type == "button":
				text = "[" + e.label().Text + "]"
			case e.Placeholder != nil:
				text = "[" + e.Placeholder.Text + " ▾]"
			}
			elements = append(elements, text)
		}
		if len(elements) > 0 {
			line(strings.Join(elements, " "))
		}
	}
}

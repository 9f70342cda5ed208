package format

import (
	"slices"
	"strconv"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// ChangeWords says what changed of an alert, and who did it, as the end of a sentence
// that begins with the alert: "was resolved as false positive by jane". It is as hostile
// as the texts of the server are, and empty for nil.
func ChangeWords(c *soar.AlertChange) string {
	if c == nil {
		return ""
	}
	has := func(word string) bool { return slices.Contains(c.What, word) }
	verdict := strings.ReplaceAll(c.To.Verdict, "_", " ")
	var words []string
	switch {
	case has(soar.ChangeResolved) && c.To.Status == soar.StatusResolved:
		words = append(words, joined("was resolved as", verdict, "was resolved"))
	case has(soar.ChangeReopened) && c.To.Status != soar.StatusResolved:
		words = append(words, "was reopened")
	case has(soar.ChangeVerdict):
		words = append(words, joined("got the verdict", verdict, "lost its verdict"))
	case has(soar.ChangeComment):
		words = append(words, "got another comment")
	case has(soar.ChangeSeverity):
		words = append(words, "got the severity "+string(c.To.Severity))
	}
	if has(soar.ChangeEvents) {
		words = append(words, "has "+strconv.Itoa(c.To.EventCount)+" events")
	}
	detail := ""
	if c.To.Status == soar.StatusResolved && (has(soar.ChangeResolved) || has(soar.ChangeVerdict) || has(soar.ChangeComment)) {
		detail = soar.WithoutOwnLine(c.To.Comment)
	}
	if n := len(c.Notes); n > 0 {
		last := &c.Notes[n-1]
		words = append(words, map[string]string{
			soar.ChangeNoteAdded: "got a note", soar.ChangeNoteEdited: "had a note rewritten", soar.ChangeNoteRemoved: "lost a note",
		}[last.What])
		if last.Text != "" {
			detail = soar.WithoutOwnLine(last.Text)
		}
	}
	if len(words) == 0 {
		return ""
	}
	text := strings.Join(words, " and ")
	switch {
	case c.Origin == soar.OriginErbridge:
		text += " by erbridge"
		if c.Run != "" {
			text += " (run " + c.Run + ")"
		}
	case c.Origin == soar.OriginServer:
	case c.By != "":
		text += " by " + clip(c.By, maxDetailRunes)
	default:
		text += " on the server"
	}
	if detail != "" {
		text += ": " + clip(detail, maxDetailRunes)
	}
	return text
}

func joined(words, what, without string) string {
	if what == "" {
		return without
	}
	return words + " " + what
}

// ShortChange cuts the texts of a change to that many characters. It works on a copy, and
// leaves nil as it is.
func ShortChange(c *soar.AlertChange, maxText int) *soar.AlertChange {
	if c == nil {
		return nil
	}
	short := *c
	short.At = writableTime(c.At)
	short.From.Comment, short.To.Comment, short.By = clip(c.From.Comment, maxText), clip(c.To.Comment, maxText), clip(c.By, maxText)
	short.Notes = slices.Clone(c.Notes)
	for i := range short.Notes {
		n := &short.Notes[i]
		n.Text, n.By, n.At = clip(n.Text, maxText), clip(n.By, maxText), writableTime(n.At)
	}
	return &short
}

// ecsChange writes what changed of an alert.
func ecsChange(d object, c *soar.AlertChange) {
	d.put("eclecticiq.er.change.what", c.What)
	d.put("eclecticiq.er.change.origin", string(c.Origin))
	d.put("eclecticiq.er.change.by", c.By)
	d.put("eclecticiq.er.change.run", c.Run)
	d.put("eclecticiq.er.change.at", ecsDate(c.At))
	d.put("eclecticiq.er.change.status_before", c.From.Status)
	d.put("eclecticiq.er.change.verdict_before", c.From.Verdict)
	if n := len(c.Notes); n > 0 {
		d.put("eclecticiq.er.change.note", c.Notes[n-1].Text)
	}
}

package guard

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// asked is the event that tells people of a question.
func asked(a *soar.Approval, whom string) soar.Event {
	text := fmt.Sprintf("approval %s: %s %s may decide until %s: erbridge approvals approve %s --reason TEXT, or erbridge approvals deny %s --reason TEXT",
		a.ID, a.Text, whom, a.Expires.Format(time.RFC3339), a.ID, a.ID)
	copied := *a
	return soar.Event{ID: "approval/" + a.ID + "/requested", Type: soar.EventApprovalRequested, At: a.AskedAt, Approval: &copied, Text: text}
}

// decided is the event that tells what became of a question.
func decided(a *soar.Approval) soar.Event {
	copied := *a
	return soar.Event{
		ID: "approval/" + a.ID + "/" + string(a.State), Type: soar.EventApprovalDecided, At: a.DecidedAt, Approval: &copied,
		Text: fmt.Sprintf("approval %s is %s: %s %s", a.ID, a.State, a.Text, Verdict(a)),
	}
}

const (
	maxShownRunes = 2000
	redacted      = "[redacted]"
)

// secretName matches names of arguments whose values are nobody's business.
var secretName = regexp.MustCompile(`(?i)passw|secret|token|api[-_]?key|authorization|credential|private[-_]?key|cookie`)

// shownArguments are arguments as approvers see them.
func shownArguments(with map[string]any) map[string]any {
	shown, _ := shownValue(with).(map[string]any)
	return shown
}

func shownValue(v any) any {
	switch v := v.(type) {
	case string:
		return shown(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = shownValue(v[i])
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, item := range v {
			if object[name] = shownValue(item); secretName.MatchString(name) && item != nil {
				object[name] = redacted
			}
		}
		return object
	}
	return v
}

// shown is a text that may come out of an alert, without what is there to deceive the
// reader. The end of a long one is left out, and it says so.
func shown(text string) string {
	text = soar.Visible(strings.ToValidUTF8(text, "\uFFFD"))
	if runes := []rune(text); len(runes) > maxShownRunes {
		return fmt.Sprintf("%s ... and %d more characters", string(runes[:maxShownRunes]), len(runes)-maxShownRunes)
	}
	return text
}

package sinks

import (
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// The words in which people read how a step ended, on a screen and in a chat.

// queuedFor is what a message of a playbook is for, when it was handed to a sink:
// the step has ended and the message is still to be delivered.
func queuedFor(o *soar.Outcome) (sink string, ok bool) {
	if o.Action != "notify.send" || o.State != soar.StepExecuted {
		return "", false
	}
	return strings.CutPrefix(o.Summary, "queued for ")
}

// outcomeWord is the state, as a word.
func outcomeWord(o *soar.Outcome) string {
	if _, ok := queuedFor(o); ok {
		return "queued"
	}
	return string(o.State)
}

// outcomeDetail says what was done, or was to be done, and what went wrong. It is
// empty when nothing of that is known.
func outcomeDetail(o *soar.Outcome) string {
	if sink, ok := queuedFor(o); ok {
		return "for " + sink
	}
	if strings.Contains(o.Summary, o.Error) {
		return o.Summary
	}
	if o.Summary == "" {
		return o.Error
	}
	return o.Summary + ": " + o.Error
}

// outcomeLine is all of it in one line.
func outcomeLine(o *soar.Outcome) string {
	line := o.Action + " " + outcomeWord(o)
	detail := outcomeDetail(o)
	if _, queued := queuedFor(o); queued {
		return line + " " + detail
	}
	if detail == "" {
		return line
	}
	return line + ": " + detail
}

// outcomeTook says how long it took, to be put behind a text. It is empty for steps
// that sent nothing: how long that took is of no interest.
func outcomeTook(o *soar.Outcome) string {
	switch o.State {
	case soar.StepObserved, soar.StepSuppressed, soar.StepRefused, soar.StepSkipped:
		return ""
	case soar.StepExecuted, soar.StepVerified:
		if _, queued := queuedFor(o); !queued && o.Took > 0 {
			return " in " + roundTime(o.Took)
		}
		return ""
	}
	if o.Took > 0 {
		return ", after " + roundTime(o.Took)
	}
	return ""
}

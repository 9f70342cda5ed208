package guard

import (
	"fmt"

	"github.com/erbridge/erbridge/internal/soar"
)

// What a run did is taken back by a run that is made for it. That a host is protected,
// that a budget is used up or that the alert was resolved is a reason not to begin
// something, and none to leave it as it is: those rails let such calls pass. The kill
// switch holds them, they take turns with other calls on their host, and they count for
// the limits.

// passesUndo is what a rail says of a call that takes something back; false when it asks
// such a call like any other.
func passesUndo(rail rail, r *Request) (words string, passes bool) {
	switch rail.(type) {
	case alertOpen:
		words = "whatever became of the alert"
	case protect:
		words = "on protected hosts too"
	case *budgets:
		words = "it counts for no budget"
	case *freezes:
		words = "also while changes are frozen"
	case *approvals:
		words = "nobody is asked"
	default:
		return "", false
	}
	return fmt.Sprintf("what run %s did is taken back: %s", r.TakesBack, words), true
}

// askUndo is what the mode says of such a call: that of a playbook has no say in it, and
// an engine that only observes lets it wait, since somebody is waiting for it.
func (modes) askUndo(r *Request) Answer {
	voice := Strictest(r.Modes)
	if voice.Mode != soar.ModeObserve {
		return Pass("what run %s did is taken back, whatever the modes of playbooks and hosts are", r.TakesBack)
	}
	return Hold(r.At.Add(lookAgain), "observe: %s, so that what run %s did is not taken back now; it is when the configuration allows more", voice.Words, r.TakesBack)
}

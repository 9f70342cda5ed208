package guard

import (
	"fmt"
	"slices"

	"github.com/erbridge/erbridge/internal/soar"
)

// What a run did is taken back by a run that is made for it. That a host is protected,
// that a budget is used up or that the alert was resolved is a reason not to begin
// something, and none to leave it as it is: those rails let such calls pass. The kill
// switch holds them, they take turns with other calls on their host, and they count for
// the limits. A call that would itself take something away from a host, such as one that
// deactivates a host which a run has enabled, is asked like any other.

// passesUndo is what a rail says of a call that takes something back; false when it asks
// the call like any other.
func passesUndo(rail rail, r *Request) (words string, passes bool) {
	if r.TakesBack == 0 || harms(r) {
		return "", false
	}
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

// harms reports whether a call takes something away from a host, as the built-in budget
// says.
func harms(r *Request) bool {
	b := builtIn()
	return r.Sense != "release" && (slices.ContainsFunc(b.Actions, func(name string) bool { return fits(name, r.Action) }) || slices.Contains(b.Kinds, r.Kind))
}

// askUndo is what the mode says of a call that takes something back. That of a playbook
// or of a host has no say in it, and an engine that only observes lets it wait, since
// somebody waits for it.
func (modes) askUndo(r *Request) Answer {
	voice, harms := Strictest(r.Modes), harms(r)
	if harms {
		voice = r.judged.voice
	}
	switch {
	case harms && voice.Mode == soar.ModeObserve:
		return Refuse("observe: %s. To take back what run %s did would take something away from a host; a person does it on the server", voice.Words, r.TakesBack)
	case harms:
		return Pass("%s: %s", voice.Mode, voice.Words)
	case voice.Mode == soar.ModeObserve:
		return Hold(r.At.Add(lookAgain), "observe: %s, so that what run %s did is not taken back now; it is when the configuration allows more", voice.Words, r.TakesBack)
	}
	return Pass("what run %s did is taken back, whatever the modes of playbooks and hosts are", r.TakesBack)
}

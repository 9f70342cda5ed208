package guard

import (
	"fmt"

	"github.com/erbridge/erbridge/internal/soar"
)

// alertOpen refuses calls of steps that waited while somebody resolved the alert. What
// was resolved before the step asked, or by the run itself, is no reason: some
// playbooks are for that.
type alertOpen struct{}

func (alertOpen) name() string { return "alert still open" }

func (alertOpen) ask(r *Request) Answer {
	a := r.Alert
	switch {
	case a == nil || a.ID == "":
		return Pass("the run is about no alert")
	case a.Status != soar.StatusResolved:
		return Pass("it is %s", a.Status)
	case r.AlertWas == soar.StatusResolved:
		return Pass("it was resolved before the step asked")
	case r.OwnResolve:
		return Pass("this run has resolved it")
	case r.Always || r.Inside && r.Question == nil:
		return Pass("%s is carried out all the same", r.Action)
	}
	return Refuse("alert %s was resolved%s while this step waited, so nothing is done about it any more; start the playbook by hand if it has to be",
		a.Ref(), withVerdict(a))
}

func withVerdict(a *soar.Alert) string {
	words := ""
	if a.Verdict != "" {
		words = " as " + a.Verdict
	}
	if a.Comment != "" {
		words += fmt.Sprintf(" (%s)", shown(a.Comment))
	}
	return words
}

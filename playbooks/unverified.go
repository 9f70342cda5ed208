package playbooks

import (
	"github.com/erbridge/erbridge/internal/soar"
)

// The server says that a host has carried out a command, and an independent look has
// to confirm it. What such a look contradicts has failed, and the action says so. What
// nobody can look at, because the host does not answer, is looked at again until the
// time of the step is over: then it has failed as well, since a success that nobody
// saw is none. That it was executed stands in the result.

// executedNote is the text of the note by which a later look knows that a call was
// executed, when it can see nothing of that itself.
const executedNote = "executed, and not verified yet"

// unverified keeps that a call was executed and not verified. It reports true when
// that ended the step, because its playbook does not ask for more.
func (r *runner) unverified(i *instance, p *progress, o Outcome) bool {
	if o.Unverified == "" {
		return false
	}
	if p.done == nil {
		r.entry(i.key, soar.EntryNote, "", StepNote{Text: executedNote, Error: o.Unverified, Started: p.started})
	}
	p.done = &o
	if !i.step.trusting {
		return false
	}
	o.State, o.Summary = soar.StepExecuted, o.Summary+"; not verified: "+o.Unverified
	r.finishOutcome(i, p, o, p.ref)
	return true
}

// endUnverified ends a step whose time is over; err is that of the last look, if that
// told even less.
func (r *runner) endUnverified(i *instance, p *progress, err error) {
	o := *p.done
	why := o.Unverified
	if err != nil {
		why += "; the last look failed: " + err.Error()
	}
	o.State, o.Error = soar.StepFailed, "executed, not verified: "+why
	r.finishOutcome(i, p, o, p.ref)
}

package playbooks

import (
	"cmp"
	"context"
	"fmt"

	"github.com/erbridge/erbridge/internal/soar"
)

// A command that the server took and no host has carried out in time would wait there
// for the host, and be carried out whenever that comes back, when nobody expects it any
// more. So it is withdrawn before its step ends expired.

// Withdrawer is an action whose commands can be taken back while no host has carried
// them out.
type Withdrawer interface {
	// Withdraw takes a command back. With an error, a host may carry it out still, or has
	// done so.
	Withdraw(ctx context.Context, call Call, ref string) error
}

// expire ends a step whose command was not executed in time; err is that of the last
// look. First the command is withdrawn, if it can be.
func (r *runner) expire(i *instance, p *progress, err error) {
	if _, can := i.step.action.(Withdrawer); can && p.withdrawn == "" && i.step.spec.Effect != Reads {
		p.overdue, p.wake = true, r.now()
		return
	}
	words := fmt.Sprintf("accepted, and not executed within %s", i.step.timeout)
	if err != nil {
		words = "not executed in time; the last look failed: " + err.Error()
	}
	if p.withdrawn != "" {
		words += "; " + p.withdrawn
	}
	r.finish(i, p, Result{State: soar.StepExpired, Error: words}, nil)
}

// withdraw makes ready to take a command back.
func (r *runner) withdraw(ctx context.Context, i *instance, p *progress) func() func() {
	call, ref := r.call(i, p), p.ref
	callCtx, cancel := context.WithTimeout(ctx, r.e.options.CallTimeout)
	return func() func() {
		defer cancel()
		leave, ok := r.e.sending.enter(cancel)
		if !ok {
			return func() {
				r.withdrew(ctx, p, "the kill switch keeps it from being withdrawn, and the host may carry it out still")
			}
		}
		defer leave()
		_, err := safely(func() (Outcome, error) { return Outcome{}, i.step.action.(Withdrawer).Withdraw(callCtx, call, ref) })
		if err != nil {
			return func() {
				r.withdrew(ctx, p, "the host may carry it out still, since it could not be withdrawn: "+err.Error())
			}
		}
		return func() {
			p.recalled = true
			r.withdrew(ctx, p, "it was withdrawn from the server")
		}
	}
}

// withdrew has the command looked at a last time: the host may have been quicker.
func (r *runner) withdrew(ctx context.Context, p *progress, words string) {
	p.overdue, p.wake = false, r.now()
	if ctx.Err() == nil { // else the next start begins with a look
		p.withdrawn = cmp.Or(p.withdrawn, words)
	}
}

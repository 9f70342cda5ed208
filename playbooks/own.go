package playbooks

import "github.com/erbridge/erbridge/internal/soar"

// Signer is an action that changes alerts on the server. What it is about to change is
// committed with its intent, before the call is sent: whoever sees the change later knows
// it as erbridge's own, also when the answer was lost, and starts nothing by it.
type Signer interface {
	// Signs says what the call makes of which alert; nil when it changes none. Run, Mark
	// and At need not be filled in.
	Signs(call Call) *soar.OwnChange
}

// sign adds what a call is about to change to the commit of its intent.
func (r *runner) sign(i *instance, p *progress) {
	s, ok := i.step.action.(Signer)
	if !ok {
		return
	}
	own := s.Signs(r.call(i, p))
	if own == nil {
		return
	}
	own.Run, own.Mark, own.At = r.run.ID.String(), p.mark, p.intentAt.UTC()
	r.change.KV = append(r.change.KV, own.KV())
}

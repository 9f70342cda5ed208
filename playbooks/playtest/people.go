package playtest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// people answer approvals as the test says.
func (o *outside) people(a soar.Approval) (votes []soar.Vote, after time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	asked := Call{Do: cmp.Or(a.Action, "approval.ask"), Step: a.Step, With: o.withoutRuns(a.With, a.Run), run: a.Run}
	g := o.find(&asked, true)
	switch {
	case g == nil:
		o.silent = append(o.silent, a)
		return nil, 0
	case g.Approval == "expired":
		return nil, 0
	}
	by := cmp.Or(g.By, "somebody")
	votes = []soar.Vote{{By: by, Agree: g.Approval == "granted", Reason: g.Reason}}
	for n := 2; n <= a.Count && votes[0].Agree; n++ { // as many as it takes
		votes = append(votes, soar.Vote{By: fmt.Sprintf("%s and %d", by, n-1), Agree: true})
	}
	return votes, g.After
}

// unasked reports questions of which the test does not say what people answer.
func (c *checker) unasked(o *outside) {
	for i := range o.silent {
		a := &o.silent[i]
		c.lacking = true
		message := fmt.Sprintf("step %s asks for approval, and the test does not say what people answer: %s", a.Step, a.Text)
		if !slices.ContainsFunc(c.Failures, func(f Failure) bool { return f.Message == message }) {
			c.fail(message).Hint = "given: [{step: " + a.Step + ", approval: granted}]; or denied, or expired"
		}
	}
}

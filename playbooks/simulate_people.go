package playbooks

import (
	"context"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// People are those who are asked in a simulation: what they answer to an approval, and
// how long it takes them. Without votes, nobody answers.
type People func(a soar.Approval) (votes []soar.Vote, after time.Duration)

// Ask says who answers approvals. Without, nobody does.
func (s *Simulation) Ask(people People) { s.people = people }

// nextAnswer is when somebody answers, where that is before wake.
func (s *Simulation) nextAnswer(wake time.Time) time.Time {
	for _, a := range s.engine.guard.Approvals(s.Now()) {
		if at := s.asked[a.ID]; a.State == soar.ApprovalWaiting && !at.IsZero() && at.Before(wake) {
			wake = at
		}
	}
	return wake
}

// answer asks people what they have not been asked yet, and lets those answer whose time
// has come. It reports whether any did.
func (s *Simulation) answer(ctx context.Context, p *pool) (any bool, err error) {
	if s.people == nil {
		return false, nil
	}
	if s.asked == nil {
		s.asked = map[string]time.Time{}
	}
	for _, a := range s.engine.guard.Approvals(s.Now()) {
		if a.State != soar.ApprovalWaiting {
			continue
		}
		at, known := s.asked[a.ID]
		if known && (at.IsZero() || s.Now().Before(at)) {
			continue
		}
		votes, after := s.people(a)
		if !known {
			if at = a.AskedAt.Add(after); len(votes) == 0 {
				at = time.Time{}
			}
			if s.asked[a.ID] = at; at.IsZero() || s.Now().Before(at) {
				continue
			}
		}
		s.asked[a.ID], any = time.Time{}, true
		for _, v := range votes {
			if _, err := s.engine.Decide(ctx, a.ID, v); err != nil {
				return any, fmt.Errorf("the answer of %s: %w", v.By, err)
			}
		}
		run, err := s.engine.journal.GetRun(ctx, a.Run)
		if err != nil {
			return any, err
		}
		if run.State == soar.RunWaiting {
			p.start(ctx, run, whenPoked)
			p.wg.Wait()
		}
	}
	return any, nil
}

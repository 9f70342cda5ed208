package playbooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// What else than an alert starts runs happens in a simulation when it is told so,
// and then as it does in earnest: the clock alone starts nothing.

// Started is what a playbook made of something that was no new alert.
type Started struct {
	// Verdict is match, or suppressed or error with the reason behind a colon. It is
	// empty when the conditions do not match.
	Verdict string
	Run     soar.Run // the zero value when none began
}

// ready reads what the journal knows, as an engine does that begins to run.
func (s *Simulation) ready(ctx context.Context) error {
	select {
	case <-s.engine.loaded:
		return nil
	default:
		return s.engine.load(ctx)
	}
}

// heard keeps what became of an occasion; each has one playbook to ask, or none.
func (s *Simulation) heard(o *occasion) {
	for _, pb := range o.books {
		one := Started{Verdict: o.verdicts[pb.Name]}
		for _, run := range o.runs {
			if run.Playbook == pb.Name {
				one.Run = run
			}
		}
		s.answers = append(s.answers, one)
	}
}

// answered takes what was heard last.
func (s *Simulation) answered() (last Started) {
	if n := len(s.answers); n > 0 {
		last = s.answers[n-1]
	}
	s.answers = nil
	return last
}

// Tick asks a playbook whose schedule comes due at this moment. missed is how many
// times of it passed before, while nobody looked.
func (s *Simulation) Tick(ctx context.Context, playbook string, missed int) (Started, error) {
	now := s.Now()
	pb := s.engine.Set().Get(playbook)
	if pb == nil || pb.schedule == nil || !pb.schedule.First(now).Equal(now) {
		return Started{}, fmt.Errorf("the schedule of playbook %q has no time at %s", playbook, now.Format(time.RFC3339))
	}
	if err := s.ready(ctx); err != nil {
		return Started{}, err
	}
	// The mark is that of the look before this one.
	if _, err := s.engine.journal.Commit(ctx, soar.Change{KV: []soar.KV{scheduleMark(pb, pb.schedule.Before(now, missed))}}); err != nil {
		return Started{}, err
	}
	s.answers = nil
	_, err := s.engine.fireSchedules(ctx, now)
	return s.answered(), err
}

// Start is Engine.Start, and tells what the playbook said when it starts nothing.
func (s *Simulation) Start(ctx context.Context, m Manual) (Started, error) {
	if err := s.ready(ctx); err != nil {
		return Started{}, err
	}
	s.answers = nil
	_, err := s.engine.Start(ctx, m)
	if errors.Is(err, ErrNotStarted) {
		err = nil
	}
	return s.answered(), err
}

// Fail lets a run have failed, and asks the playbooks that take failed runs. The run
// is written into the journal as the engine leaves one that fails.
func (s *Simulation) Fail(ctx context.Context, run soar.Run) (Started, error) {
	if err := s.ready(ctx); err != nil {
		return Started{}, err
	}
	run.State = soar.RunFailed
	if _, err := s.engine.journal.Commit(ctx, soar.Change{Runs: []soar.Run{run}, KV: []soar.KV{failedMark(&run, s.Now())}}); err != nil {
		return Started{}, err
	}
	s.answers = nil
	err := s.engine.fireFailures(ctx)
	return s.answered(), err
}

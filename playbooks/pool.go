package playbooks

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// pool starts workers within bounds.
type pool struct {
	e                 *Engine
	ctx               context.Context // of the workers
	wg                *sync.WaitGroup
	evaluations, runs chan struct{}
}

const (
	pageSize     = 256
	duePage      = 4096        // the most urgent of them goes on first
	retryPause   = time.Second // after an error of the journal
	busyPause    = 100 * time.Millisecond
	signalPause  = 10 * time.Millisecond // many commits touch runs: look once for a bunch of them
	recordingFor = 10 * time.Second      // for one commit of what a stopping worker leaves
)

// pendingAlerts hands alerts to workers as they come in. New ones have keys above all
// others, so that a look goes on where the last one ended. Only for an alert that was
// there before and is due once more it begins with the oldest.
func (p *pool) pendingAlerts(ctx context.Context) {
	var after int64
	var dueAgain <-chan struct{} // closed since the last look from the oldest on
	for ctx.Err() == nil {
		arrived := p.e.journal.Changed(soar.SignalAlerts)
		if after == 0 {
			dueAgain = p.e.journal.Changed(soar.SignalAlertsAgain)
		}
		last, again, err := p.pendingPass(ctx, after)
		if after = last; again {
			after = 0
		}
		switch {
		case err != nil && ctx.Err() == nil:
			p.e.options.Log.Error("cannot read pending alerts", "err", err)
			pause(ctx, retryPause)
		case again:
		default:
			select {
			case <-arrived:
			case <-dueAgain:
				after = 0
			case <-p.e.again:
				after = 0
			case <-ctx.Done():
			}
		}
	}
}

// pendingPass starts work on all pending alerts with keys above after, the oldest first.
// It returns the key that it got to. With again, it met some of which only another look
// tells whether they are still pending.
func (p *pool) pendingPass(ctx context.Context, after int64) (last int64, again bool, err error) {
	for {
		p.e.mu.Lock()
		p.e.alerts.beginRead()
		p.e.mu.Unlock()
		list, err := p.e.journal.Pending(ctx, after, pageSize)
		if err != nil {
			return after, again, err
		}
		for i := range list {
			a := &list[i]
			taken, unclear := p.e.takeAlert(a.Key)
			again = again || unclear
			if !taken {
				continue
			}
			select {
			case p.evaluations <- struct{}{}:
			case <-ctx.Done():
				p.e.dropAlert(a.Key, true)
				return after, again, nil
			}
			p.wg.Go(func() {
				defer func() { <-p.evaluations }()
				p.evaluate(a)
			})
		}
		if len(list) > 0 {
			after = list[len(list)-1].Key
		}
		if len(list) < pageSize {
			return after, again, nil
		}
	}
}

// evaluate evaluates one alert and hands its runs to workers. With an error the
// alert stays pending and is looked at again.
func (p *pool) evaluate(a *soar.StoredAlert) {
	var runners []*runner
	_, err := safely(func() (o Outcome, err error) {
		runners, err = p.e.evaluate(p.ctx, a)
		return o, err
	})
	if panicked, ok := errors.AsType[*panicError](err); ok {
		p.e.options.Log.Error("the evaluation panicked", "alert", a.Alert.Ref(), "err", panicked, "stack", string(panicked.stack))
		err = p.e.refusePending(p.ctx, a, panicked) // another attempt would panic too
	}
	if err != nil {
		if p.ctx.Err() == nil {
			p.e.options.Log.Error("evaluation failed, the alert stays pending", "alert", a.Alert.Ref(), "err", err)
		}
		p.pauseUnlessStopping(retryPause)
		p.e.dropAlert(a.Key, true)
		return
	}
	p.e.dropAlert(a.Key, false)
	for _, r := range runners {
		p.runs <- struct{}{} // runs give their place back without waiting for evaluations
		p.wg.Go(func() {
			defer func() { <-p.runs }()
			defer p.e.dropRun(r.run.ID)
			p.work(r)
		})
	}
}

// work goes on with a run. A panic in the engine itself leaves the run as the
// journal has it.
func (p *pool) work(r *runner) {
	r.spare = p.runs
	_, err := safely(func() (Outcome, error) { return Outcome{}, r.work(p.ctx) })
	switch {
	case err == nil:
	case errors.Is(err, errLostRun):
		r.log.Warn("another worker went on with the run")
	default:
		r.log.Error("the run stops here until the next start", "err", err)
	}
}

// dueRuns goes on with runs that a crash interrupted, then with waiting runs when
// their time comes.
func (p *pool) dueRuns(ctx context.Context, interrupted []soar.Run) {
	for _, run := range interrupted {
		if !p.start(ctx, run, whenInterrupted) {
			return
		}
	}
	for ctx.Err() == nil {
		changed := p.e.journal.Changed(soar.SignalRuns)
		now := p.e.options.Now()
		due, err := p.e.journal.Due(ctx, now, duePage)
		var wake time.Time
		if err == nil && len(due) < duePage {
			wake, err = p.e.journal.NextWake(ctx)
		}
		if err != nil {
			if ctx.Err() == nil {
				p.e.options.Log.Error("cannot read due runs", "err", err)
			}
			pause(ctx, retryPause)
			continue
		}
		started := false
		p.e.holds.sort(due)
		for _, run := range due {
			if p.e.busy(run.ID) {
				continue
			}
			started = true
			if !p.start(ctx, run, whenDue) {
				return
			}
		}
		if !started {
			p.sleepUntil(ctx, changed, now, wake)
		}
	}
}

// sleepUntil waits for the next wake time, or for a commit that may have set an
// earlier one. A wake time in the past belongs to a run that is being worked on and
// hides the later ones, so that the wait is short then.
func (p *pool) sleepUntil(ctx context.Context, changed <-chan struct{}, now, wake time.Time) {
	var timeUp <-chan time.Time
	if !wake.IsZero() {
		wait := wake.Sub(now)
		if wait <= 0 {
			wait = busyPause
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		timeUp = timer.C
	}
	select {
	case <-timeUp:
	case <-changed:
		pause(ctx, signalPause)
	case <-ctx.Done():
	}
}

// occasionToGoOn is why a run is gone on with.
type occasionToGoOn int

const (
	whenDue         occasionToGoOn = iota // its wake time has come
	whenInterrupted                       // by the end of the process
	whenPoked                             // the guard may have changed its mind
)

// start resumes a run in a worker; false means that ctx ended first.
func (p *pool) start(ctx context.Context, run soar.Run, why occasionToGoOn) bool {
	if !p.e.takeRun(run.ID) {
		if why == whenPoked {
			// Whoever has it may have come for nothing, as with a wake time that has moved
			// since, and leave without having asked the guard.
			p.e.holds.putBack(run.ID, p.e.busy)
		}
		return true
	}
	select {
	case p.runs <- struct{}{}:
	case <-ctx.Done():
		p.e.dropRun(run.ID)
		return false
	}
	p.wg.Go(func() {
		defer func() { <-p.runs }()
		defer p.e.dropRun(run.ID)
		p.goOn(run, why)
	})
	return true
}

func (p *pool) goOn(run soar.Run, why occasionToGoOn) {
	log := p.e.options.Log.With("run", run.ID.String(), "playbook", run.Playbook)
	if why != whenInterrupted {
		// The row was read before this run was taken: a worker may have gone on since.
		fresh, err := p.e.journal.GetRun(p.ctx, run.ID)
		if err != nil || fresh.State != soar.RunWaiting || why == whenDue && fresh.Wake.After(p.e.options.Now()) {
			if err != nil {
				log.Error("cannot read a due run", "err", err)
				p.unread(run, why)
			}
			return // it waits on, and is poked as before
		}
		run = fresh
	} else {
		run.Epoch++
		log.Info("going on with an interrupted run", "epoch", run.Epoch)
	}
	p.e.holds.resumed(run.ID)
	run.State, run.Wake = soar.RunRunning, time.Time{}
	r, err := p.e.resume(p.ctx, run)
	if err == nil {
		err = r.gather(p.ctx)
	}
	switch {
	case err == nil:
		p.work(r)
	case errors.Is(err, errBrokenRun) || errors.Is(err, soar.ErrNotFound):
		if err := p.e.giveUp(p.ctx, run, err); err != nil {
			log.Error("cannot end a run that cannot be gone on with", "err", err)
		}
	default:
		log.Error("cannot read the journal of a run", "err", err)
		p.unread(run, why)
		if why == whenInterrupted && !p.e.stopping() {
			run.Epoch--
			p.goOn(run, why)
		}
	}
}

// unread waits a while after a run could not be read. One that is due stays so; one that
// was poked, is to be poked again.
func (p *pool) unread(run soar.Run, why occasionToGoOn) {
	p.pauseUnlessStopping(retryPause)
	if why == whenPoked {
		p.e.holds.add(run.ID, held{since: run.StartedAt})
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// pauseUnlessStopping is pause for workers, whose context outlives the engine's.
func (p *pool) pauseUnlessStopping(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.e.stop:
	}
}

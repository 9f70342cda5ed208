package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks"
)

const (
	// runAgain is how soon a runner is started again that failed; the wait doubles up to
	// runAgainLatest, and begins anew after a run that lasted longer than that.
	runAgain, runAgainLatest = 10 * time.Second, 5 * time.Minute
	// runTroubleEvery is how often people are told of one that goes on failing.
	runTroubleEvery = time.Hour
)

// beside runs a part with a second one, for as long as the first runs.
func beside(run func(context.Context) error, also func(context.Context)) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() { also(ctx) })
		err := run(ctx)
		stop()
		wg.Wait()
		return err
	}
}

// keepRunning runs what a sink does besides Send until ctx ends. Its failures keep
// nothing from being delivered: they are told as trouble, and it is started again.
func (d *Daemon) keepRunning(ctx context.Context, name string, r sinks.Runner) {
	wait := runAgain
	var told time.Time
	for {
		began := time.Now()
		err := d.runOnce(ctx, name, r)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		if time.Since(began) > runAgainLatest {
			wait = runAgain
		}
		d.log.Error("what a sink does besides delivering has failed", "sink", name, "again_in", wait, "err", err)
		if now := d.o.Now().UTC(); told.IsZero() || now.Sub(told) >= runTroubleEvery {
			if d.tellTrouble(ctx, name, now, err) {
				told = now
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, runAgainLatest)
	}
}

// runOnce keeps a mistake in a sink from ending the process.
func (d *Daemon) runOnce(ctx context.Context, name string, r sinks.Runner) (err error) {
	defer func() {
		if value := recover(); value != nil {
			d.log.Error("sink panicked", "sink", name, "panic", value, "stack", string(debug.Stack()))
			err = fmt.Errorf("it panicked: %v", value)
		}
	}()
	return r.Run(ctx)
}

func (d *Daemon) tellTrouble(ctx context.Context, name string, now time.Time, cause error) bool {
	_, err := d.Store().Commit(ctx, soar.Change{Events: []soar.Event{{
		ID: fmt.Sprintf("sink-runner-%s-%d", name, now.UnixMilli()), Type: soar.EventTrouble, At: now,
		Text: fmt.Sprintf("Sink %q hears nothing of what people do in it, such as clicks: %v. It goes on delivering, and tries again by itself.", name, soar.Visible(cause.Error())),
	}}})
	if err != nil {
		d.log.Warn("people were not told of it", "sink", name, "err", err)
	}
	return err == nil
}

package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/internal/evidence"
	"github.com/erbridge/erbridge/internal/soar"
)

// OpenCarves opens the folder of carves, for commands beside a daemon or without one.
func OpenCarves(cfg *config.Config, o Options) (*evidence.Store, error) {
	options := cfg.Evidence()
	options.Log, options.Now = o.Log, o.Now
	return newCarves(cfg, options)
}

// openCarves opens the folder of carves for the daemon, which keeps it within its bounds.
func (d *Daemon) openCarves() error {
	options := d.first.Evidence()
	options.Log, options.Now, options.Registerer, options.InUse = d.log, d.o.Now, d.o.Metrics, d.runIsOpen
	carves, err := newCarves(d.first, options)
	d.carves = carves
	return err
}

func newCarves(cfg *config.Config, options evidence.Options) (*evidence.Store, error) {
	carves, err := evidence.New(cfg.CarveDir(), options)
	if err != nil {
		return nil, fmt.Errorf("%w: carves: %w", ErrConfig, err)
	}
	return carves, nil
}

// runIsOpen reports whether a run has not ended: what it carved is kept. A run that the
// store has forgotten has ended long ago.
func (d *Daemon) runIsOpen(ctx context.Context, id soar.RunID) (bool, error) {
	run, err := d.Store().GetRun(ctx, id)
	if errors.Is(err, soar.ErrNotFound) {
		return false, nil
	}
	return err == nil && !run.State.Ended(), err
}

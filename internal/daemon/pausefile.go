package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// pauseFileEvery is how often guard.pause_file is looked at.
const pauseFileEvery = time.Second

// PausedByFile says whether the file of a configuration pauses everything; nil: it does
// not. One of which nobody can say whether it is there, does.
func PausedByFile(cfg *config.Config, now time.Time) *guard.Thrown {
	path := cfg.Guard.PauseFile
	if path == "" {
		return nil
	}
	t := guard.Thrown{By: "the file " + path, Reason: "remove it to go on", At: now.UTC()}
	switch _, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		t.Reason = fmt.Sprintf("nobody can say whether it is there: %v", err)
	}
	return &t
}

// watchPauseFile pauses the engine while the file is there. What was found at the start
// holds already, and is written down here: it may have come while no daemon ran.
func (d *Daemon) watchPauseFile(ctx context.Context, engine *playbooks.Engine, paused *guard.Thrown) error {
	if paused != nil {
		d.pauseFile(ctx, engine, paused)
	}
	tick := time.NewTicker(pauseFileEvery)
	defer tick.Stop()
	for {
		d.mu.Lock()
		cfg := d.cfg
		d.mu.Unlock()
		is := PausedByFile(cfg, d.o.Now())
		if (is == nil) != (paused == nil) || is != nil && is.By != paused.By {
			if is != nil {
				d.log.Warn("the kill switch is thrown by a file: no call with an effect is sent", "file", cfg.Guard.PauseFile, "reason", is.Reason)
			} else {
				d.log.Warn("the file that paused everything is gone", "by", paused.By)
			}
			d.pauseFile(ctx, engine, is)
			paused = is
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (d *Daemon) pauseFile(ctx context.Context, engine *playbooks.Engine, is *guard.Thrown) {
	if err := engine.PauseFile(ctx, is); err != nil && ctx.Err() == nil {
		d.log.Error("cannot tell sinks and audit record what the file that pauses everything has become", "err", err) // it holds all the same
	}
}

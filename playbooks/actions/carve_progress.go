package actions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/evidence"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// awaitCarve looks how far a carve is that is not complete. The server has no word for
// one that failed: it stays in progress for ever, so that one of which nothing new comes
// is given up.
func (d *Deps) awaitCarve(ctx context.Context, c carving, carve connector.Carve, output CarveOutput) (playbooks.Outcome, error) {
	seen := evidence.Seen{Status: carve.Status, Done: carve.BlocksDone, Blocks: carve.BlockCount, Size: carve.Size}
	out := c.waits()
	out.Progress = seen.String()
	out.Summary += ": " + out.Progress
	if d.Evidence == nil {
		return out, nil // the time-out of the step is all there is
	}
	since, err := d.Evidence.Note(c.origin(carve), seen, actor(c.call))
	switch {
	case errors.Is(err, evidence.ErrBusy):
		return out, nil
	case errors.Is(err, evidence.ErrTooLarge):
		return c.failed(output, err.Error()), nil
	case err != nil:
		return playbooks.Outcome{}, err
	}
	patience := d.stallAfter(seen)
	if d.Now().Sub(since) < patience {
		return out, nil
	}
	words := fmt.Sprintf("the carve has stalled: nothing new for %s (carves.stall), and so far %s; %s; if it completes after all, carve.fetch gets it as session %s",
		patience, seen, d.presence(ctx, c.host), carve.SessionID)
	if err := d.Evidence.Stall(carve.SessionID, actor(c.call), words); err != nil {
		return playbooks.Outcome{}, err
	}
	return c.failed(output, words), nil
}

// slowBytes is how many bytes of a carve arrive in a second, at the least, on a line
// that still counts as working.
const slowBytes = 64 << 10

// stallAfter is how long nothing new may be seen of a carve. A server that does not tell
// how many blocks it has shows nothing new until it has all of them, so that a large
// carve gets the time that this takes.
func (d *Deps) stallAfter(seen evidence.Seen) time.Duration {
	if seen.Done != nil || seen.Size <= 0 {
		return d.CarveStall
	}
	return d.CarveStall + time.Duration(seen.Size/slowBytes)*time.Second
}

// presence says in words whether a host is online. It is asked when something else has
// failed already, so that an error is part of the answer.
func (d *Deps) presence(ctx context.Context, host Host) string {
	record, err := d.Client.Hosts.Get(ctx, string(host))
	if err == nil {
		err = d.online(ctx, record)
	}
	switch {
	case errors.Is(err, errOffline):
		return "the host is offline"
	case err != nil:
		return "whether the host is online cannot be read: " + soar.Visible(err.Error())
	}
	return "the host is online: look at the agent on it"
}

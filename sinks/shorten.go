package sinks

import (
	"context"
	"errors"
	"fmt"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// shortText is what a text is cut to in an event that is too large on its own.
const shortText = 2048

// sendShortened sends a batch, and a single event that is too large once more with
// its texts cut. Of an error that is not about single events, kind says whose it is.
func sendShortened(ctx context.Context, kind string, events []soar.Event, send func(context.Context, []soar.Event) error) error {
	err := send(ctx, events)
	if errors.Is(err, ErrTooLarge) && len(events) == 1 {
		err = send(ctx, []soar.Event{format.Shortened(events[0], shortText)})
	}
	if _, partial := errors.AsType[*PartialError](err); err == nil || partial {
		return err
	}
	return fmt.Errorf("%s: %w", kind, err)
}

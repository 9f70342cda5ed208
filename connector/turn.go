package connector

import "context"

// turn lets one change at a time read what there is, write what shall be, and read
// what became of it. The server has no call that does so in one step.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits for the turn; release ends it.
func (t turn) take(ctx context.Context) (release func(), err error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

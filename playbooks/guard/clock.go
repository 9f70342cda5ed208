package guard

import "time"

// clock is the time of rails that count what happened within a time. It does not go
// back: calls come from many goroutines, and one that read the clock a moment earlier
// must not see less than one before it.
type clock struct{ latest time.Time }

func (c *clock) now(at time.Time) time.Time {
	if at.Before(c.latest) {
		return c.latest
	}
	return at
}

// seen is now of a moment at which something was counted.
func (c *clock) seen(at time.Time) time.Time {
	c.latest = c.now(at)
	return c.latest
}

package connector

import (
	"net/http"
	"sync/atomic"
	"time"
)

// clock compares the server's clock with ours. Its zero value says that they agree.
type clock struct{ offset atomic.Int64 } // nanoseconds

// observe reads the Date header of an answer that came at now (RFC 9110, section
// 6.6.1). It has whole seconds; less than two of difference are none.
func (c *clock) observe(date string, now time.Time) {
	at, err := http.ParseTime(date)
	if err != nil {
		return
	}
	offset := at.Sub(now)
	if offset.Abs() < 2*time.Second {
		offset = 0
	}
	c.offset.Store(int64(offset))
}

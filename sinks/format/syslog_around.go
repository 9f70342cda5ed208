package format

import (
	"errors"
	"fmt"
	"slices"

	"github.com/erbridge/erbridge/internal/soar"
)

// ErrTooLong is wrapped where an event does not fit a message even with its texts cut.
var ErrTooLong = errors.New("too long for a message")

// Around is a message of RFC 5424 or 3164 around what a formatter makes, of at most limit
// bytes (0: any). When that is too long, the formatter gets the event with its texts cut
// ever shorter, as RFC5424 does it; the document itself is never cut, because half of one
// is none. short reports that the event was cut. An error is the formatter's, or wraps
// ErrTooLong.
func (s Syslog) Around(rfc int, ev *soar.Event, body Formatter, limit int) (message []byte, short bool, err error) {
	header := s.header5424(ev)
	if rfc == 3164 {
		old := s.header3164(ev)
		header = func(int) []byte { return old }
	}
	size := 0
	for i, maxText := range caps {
		shorter := *ev
		if maxText != 0 {
			shorter = cutEvent(writableEvent(ev, false), maxText)
		}
		data, err := body(&shorter)
		if err != nil {
			return nil, false, err
		}
		message = slices.Concat(header(maxText), data)
		if size = len(message); limit <= 0 || size <= limit {
			return message, i > 0, nil
		}
	}
	return nil, false, fmt.Errorf("%w: %d bytes at the least, and the limit is %d", ErrTooLong, size, limit)
}

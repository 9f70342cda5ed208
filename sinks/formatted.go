package sinks

import (
	"errors"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// sendFormatted formats a batch and lets send have the lines, for receivers that
// take a batch as a whole. Events that have no form are refused for good, and the
// others go without them.
func sendFormatted(events []soar.Event, f format.Formatter, send func(lines [][]byte) error) error {
	lines, failed := formatEach(f, events)
	if failed == nil {
		return send(lines)
	}
	if len(events) == 1 {
		return failed[0]
	}
	var kept [][]byte
	var index []int // of what is kept, in events
	for i, line := range lines {
		if failed[i] == nil {
			kept, index = append(kept, line), append(index, i)
		}
	}
	all := &PartialError{Permanent: failed, Transient: map[int]error{}}
	if len(kept) == 0 {
		return all
	}
	err := send(kept)
	partial, ok := errors.AsType[*PartialError](err)
	if err != nil && !ok {
		return err // the next attempt finds those without a form again
	}
	if ok {
		for i, reason := range partial.Permanent {
			all.Permanent[index[i]] = reason
		}
		for i, reason := range partial.Transient {
			all.Transient[index[i]] = reason
		}
	}
	return all
}

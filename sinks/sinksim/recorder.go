package sinksim

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"github.com/erbridge/erbridge/internal/soar"
)

// ReadEvents reads what a file or stdout sink wrote: one JSON event on each line.
// It fails on anything else, a torn last line included.
func ReadEvents(r io.Reader) ([]soar.Event, error) {
	var events []soar.Event
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return events, nil
		}
		if err != nil {
			return events, fmt.Errorf("line %d does not end: %w", n, err)
		}
		var ev soar.Event
		if err := json.Unmarshal(line, &ev); err != nil {
			return events, fmt.Errorf("line %d: %w", n, err)
		}
		if ev.ID == "" {
			return events, fmt.Errorf("line %d: an event without id", n)
		}
		events = append(events, ev)
	}
}

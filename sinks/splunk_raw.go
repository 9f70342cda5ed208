package sinks

import (
	"bytes"
	"cmp"
	"context"
	"net/url"

	"github.com/erbridge/erbridge/internal/soar"
)

// rawQuery is what the raw endpoint is told about all lines of a request (Splunk
// Enterprise REST API, services/collector/raw).
func rawQuery(s *SplunkSettings) url.Values {
	query := url.Values{"sourcetype": {cmp.Or(s.SourceType, "eclecticiq:er:"+s.Format)}}
	for name, value := range map[string]string{"source": s.Source, "host": s.Host, "index": s.Index} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return query
}

// sendRaw posts one line for each event.
func (s *splunk) sendRaw(ctx context.Context, events []soar.Event) error {
	return sendFormatted(events, s.lines, func(lines [][]byte) error {
		return s.post(ctx, append(bytes.Join(lines, []byte("\n")), '\n'), len(lines))
	})
}

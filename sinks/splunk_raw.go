package sinks

import (
	"bytes"
	"cmp"
	"net/url"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/format"
)

// rawQuery is what the raw endpoint is told about all lines of a request (Splunk
// Enterprise REST API, services/collector/raw).
func rawQuery(s *SplunkSettings) url.Values {
	query := url.Values{"sourcetype": {cmp.Or(s.SourceType, "eclecticiq:er:"+cmp.Or(s.Format, "json"))}}
	for name, value := range map[string]string{"source": s.Source, "host": s.Host, "index": s.Index} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return query
}

// rawLines is one line for each event. A line end inside one, which only a user's
// own template can make, would let alert text pass for another event.
func rawLines(events []soar.Event, lines format.Formatter) ([]byte, error) {
	var body bytes.Buffer
	for i := range events {
		line, err := lines(&events[i])
		if err != nil {
			return nil, oneRefused(i, len(events), err)
		}
		for _, end := range []string{"\r", "\n"} {
			line = bytes.ReplaceAll(line, []byte(end), []byte(" "))
		}
		body.Write(line)
		body.WriteByte('\n')
	}
	return body.Bytes(), nil
}

package connector

import (
	"context"
	"fmt"
	"io"
	"strconv"
)

// Export copies alerts to w while they arrive, as CSV: all that fit, newest first,
// open and resolved ones. Release 4.0 has the fields of the alerts, without their id,
// the verdict as 0, 1 (true positive) or 2, and objects in cells as Python prints
// them; releases before have the columns of the events, and want a source. That no
// alert fits is ErrRefused, and nothing is written. Before 4.0 the server takes an
// unknown host for all hosts, so that hosts are looked up before.
// API: POST /alerts/alert_source/export (REST guide 4.0.0, "Export alerts for a source,
// host, rule, or query").
func (s *AlertsService) Export(ctx context.Context, f AlertFilter, w io.Writer) (n int64, err error) {
	const what = "export alerts"
	in := map[string]any{}
	if err := s.write(f, in, what); err != nil {
		return 0, err
	}
	if err := s.knownHosts(ctx, what, f.Host); err != nil {
		return 0, err
	}
	set(in, "search", f.Search)
	return s.c.export(ctx, callAlertsExport, in, w)
}

// ExportAggregatedEvents copies the events of one query that joined an alert to w
// while they arrive, as CSV. A row may be shorter than the header. That there is none
// is ErrRefused or a file without rows; an export has no pages.
// API: GET /alerts/{alert_id}/alerted_events/export (REST guide 4.0.0, "Export all
// aggregated events for an alert").
func (s *AlertsService) ExportAggregatedEvents(ctx context.Context, id int64, q AggregatedQuery, w io.Writer) (n int64, err error) {
	const what = "export aggregated events"
	switch {
	case q.QueryName == "":
		return 0, fmt.Errorf("%s: %w: the query name is missing", what, ErrInvalid)
	case q.Start != 0 || q.Limit != 0:
		return 0, fmt.Errorf("%s: %w: an export has no pages", what, ErrInvalid)
	}
	in := map[string]any{}
	if err := q.write(in); err != nil {
		return 0, err
	}
	k, err := callAlertsAlertedEventsExport.with(strconv.FormatInt(id, 10))
	if err != nil {
		return 0, err
	}
	return s.c.export(ctx, k.asking(argumentTexts(in)), nil, w)
}

package connector

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// SourceCount is the number of alerts of a source.
type SourceCount struct {
	Source string // see SourceRule
	Count  int
}

// AlertCountQuery chooses the alerts to count. Empty fields filter nothing.
type AlertCountQuery struct {
	// Resolved chooses the resolved alerts or the open ones. nil leaves it to the
	// server: release 4.0 counts both, earlier ones the open.
	Resolved *bool
	Host     string // identifier
	RuleID   int64
	Window   *EventWindow // nil for none
}

// CountBySource counts alerts by their source; all five sources are there. The server
// counts those of all hosts when it does not know the host, so that it is looked up
// before: ErrNotFound if there is none.
// API: GET /alerts/count_by_source (REST guide 4.0.0, "Get alert distribution based on
// source").
func (s *AlertsService) CountBySource(ctx context.Context, q AlertCountQuery) (counts []SourceCount, err error) {
	const what = "count alerts"
	in := map[string]any{}
	if err := s.writeWindow(in, q.Window); err != nil {
		return nil, err
	}
	if q.RuleID < 0 {
		return nil, fmt.Errorf("%s: %w: rule id is %d", what, ErrInvalid, q.RuleID)
	}
	if err := s.knownHosts(ctx, what, q.Host); err != nil {
		return nil, err
	}
	if q.Resolved != nil {
		in["resolved"] = *q.Resolved
	}
	set(in, "host_identifier", q.Host)
	if q.RuleID != 0 {
		in["rule_id"] = q.RuleID
	}
	var page Page[SourceCount]
	k := callAlertsCountBySource.asking(argumentTexts(in))
	err = s.c.do(ctx, k, nil, data(func(v value) { page = rows(v.at("alert_source"), sourceRow) }))
	switch {
	case err != nil:
		return nil, err
	case page.Results == nil:
		return nil, lacking(k, "the answer has no list")
	case len(page.Malformed) > 0:
		err = fmt.Errorf("%s %s: %w", k.method, k.path, page.Malformed[0])
	}
	return page.Results, err
}

func sourceRow(v value) (SourceCount, error) {
	n, ok := v.at("count").integer()
	c := SourceCount{Source: v.at("name").text(), Count: int(n)}
	switch {
	case !v.isObject():
		return c, errNotObject
	case c.Source == "" || !ok:
		return c, errors.New("count without source or number")
	}
	return c, nil
}

// argumentTexts makes the arguments of a query string.
func argumentTexts(in map[string]any) map[string]string {
	texts := make(map[string]string, len(in))
	for name, v := range in {
		texts[name] = fmt.Sprint(v)
	}
	return texts
}

// AlertPoint is an alert in the timeline.
type AlertPoint struct {
	ID int64
	At time.Time
	// Class is how the server's console paints it: yellow critical, orange high,
	// green-m medium, green low, empty info.
	Class   string
	Content string
}

// Graph fetches the timeline of alerts, newest first, open and resolved ones, all at
// once. Enterprise only. With a point that cannot be read, the error is a
// *MalformedError, and the others are returned all the same.
// API: GET /alerts/graph (REST guide 4.0.0, "Get a list of all events that generated
// alerts").
func (s *AlertsService) Graph(ctx context.Context, f AlertFilter) ([]AlertPoint, error) {
	const what = "alert graph"
	in := map[string]any{}
	if err := s.write(f, in, what); err != nil {
		return nil, err
	}
	if len(f.IDs) > 0 {
		return nil, fmt.Errorf("%s: %w: the graph cannot be of single alerts", what, ErrInvalid)
	}
	set(in, "search", f.Search)
	return listed(ctx, s.c, callAlertsGraph.asking(argumentTexts(in)), pointRow)
}

func pointRow(v value) (AlertPoint, error) {
	p := AlertPoint{
		ID:      v.at("event_id").id(),
		At:      epochMillis(v.at("start")),
		Class:   v.at("className").text(),
		Content: v.at("content").text(),
	}
	switch {
	case !v.isObject():
		return p, errNotObject
	case p.ID == 0:
		return p, errors.New("point without alert id")
	}
	return p, nil
}

// epochMillis reads milliseconds since 1970, with a fraction; the zero time for
// anything else.
func epochMillis(v value) time.Time {
	millis, err := strconv.ParseFloat(v.text(), 64)
	if err != nil || math.IsNaN(millis) || math.Abs(millis) > 253402300799999 { // the year 9999
		return time.Time{}
	}
	return time.UnixMicro(int64(math.Round(millis * 1000))).UTC()
}

package connector

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AggregatedQuery chooses among the events of an alert.
type AggregatedQuery struct {
	// QueryName chooses rows; without it release 4.0 answers counts per query.
	QueryName string
	// Column and Value choose rows by a column; Value is a comma list. They and
	// Search count only with QueryName.
	Column, Value string
	Search        string
	Start, Limit  int
}

// pasted finds what breaks the server's SQL, into which it pastes the filters: an
// apostrophe, and a word after a colon, which SQLAlchemy takes for a parameter.
var pasted = regexp.MustCompile(`['\x00]|(?:^|[^:\w\\]):\w`)

// write writes the filters as arguments.
func (q AggregatedQuery) write(in map[string]any) error {
	switch {
	case (q.Column == "") != (q.Value == ""):
		return fmt.Errorf("aggregated events: %w: column and value need each other", ErrInvalid)
	case q.QueryName == "" && (q.Column != "" || q.Search != ""):
		return fmt.Errorf("aggregated events: %w: without a query name there are only counts, and nothing is filtered", ErrInvalid)
	}
	for _, text := range []string{q.QueryName, q.Column, q.Value, q.Search} {
		if pasted.MatchString(text) {
			return fmt.Errorf("aggregated events: %w: filter %q holds an apostrophe, or a colon before a word", ErrInvalid, clip(text, 128))
		}
	}
	set(in, "query_name", q.QueryName)
	set(in, "column_name", q.Column)
	set(in, "column_value", q.Value)
	set(in, "searchterm", q.Search)
	return nil
}

// AggregatedEvent is an event that joined an alert, or a count of them.
type AggregatedEvent struct {
	ID        int64
	QueryName string
	// Count is set, and the rest is not, when no query name was asked for.
	Count     int
	Action    string
	Timestamp time.Time
	ResultUID string
	Columns   map[string]string
}

func eventRow(v value) (AggregatedEvent, error) {
	e := AggregatedEvent{
		ID:        v.at("id").id(),
		QueryName: v.at("query_name", "name").text(),
		Count:     v.at("count").count(),
		Action:    v.at("action").text(),
		Timestamp: v.at("timestamp").time(),
		ResultUID: v.at("uuid", "result_log_uuid").text(),
		Columns:   v.at("columns").columns(),
	}
	if !v.isObject() {
		return e, errNotObject
	}
	return e, nil
}

// AggregatedEvents fetches the events that joined an alert, newest first. In release
// 4.0 the event that raised it is not among them. An answer without a list is
// ErrNotJSON.
//
// Release 2.1.2 gives all events at once, oldest first, and the client chooses among
// them and makes the page. Without a query name these are events there, not counts;
// rows that cannot be read are in each page.
//
// The server pastes the filters into SQL. Ones that would break it are ErrInvalid.
//
// API: POST /alerts/{alert_id}/alerted_events (REST guide 4.0.0, "Get aggregated
// events"); GET observed on release 2.1.2.
func (s *AlertsService) AggregatedEvents(ctx context.Context, id int64, q AggregatedQuery) (page Page[AggregatedEvent], err error) {
	in := map[string]any{}
	if err := errors.Join(paging(in, "aggregated events", q.Start, q.Limit), q.write(in)); err != nil {
		return page, err
	}
	k, err := callAlertsAlertedEvents.with(strconv.FormatInt(id, 10))
	if err != nil {
		return page, err
	}
	page, err = paged(ctx, s.c, k, in, eventRow)
	if refusal, ok := errors.AsType[*APIError](err); !ok || refusal.Status != http.StatusMethodNotAllowed {
		return page, err
	}
	k.method = http.MethodGet // release 2.x
	page, err = paged(ctx, s.c, k, nil, eventRow)
	if err != nil {
		return page, err
	}
	return q.among(page), nil
}

// among chooses from a page of all events as release 4.0 would.
func (q AggregatedQuery) among(page Page[AggregatedEvent]) Page[AggregatedEvent] {
	values := strings.Split(q.Value, ",")
	search := strings.ToLower(q.Search)
	page.Total = 0
	page.Results = slices.DeleteFunc(page.Results, func(e AggregatedEvent) bool {
		if q.QueryName != "" && e.QueryName != q.QueryName {
			return true
		}
		page.Total++
		if q.Column != "" && !slices.Contains(values, e.Columns[q.Column]) {
			return true
		}
		for _, text := range e.Columns {
			if strings.Contains(strings.ToLower(text), search) {
				return false
			}
		}
		return search != ""
	})
	page.Count = len(page.Results)
	from := min(q.Start, page.Count)
	page.Results = page.Results[from : from+min(pageSize(q.Limit), page.Count-from)]
	return page
}

// RelatedEvents is what happened on the host within 30 seconds of an alert.
type RelatedEvents struct {
	// Queries are the rows of scheduled queries, by query.
	Queries []QueryRows
	// States names the queries that describe the system's state.
	States []string
}

// QueryRows are rows of one query.
type QueryRows struct {
	Name string
	Rows []map[string]string
}

// RelatedEvents fetches the events around an alert. Enterprise only. An answer with
// neither of both lists is ErrNotJSON.
// API: GET /alerts/{alert_id}/events (REST guide 4.0.0, "Get events of an alert").
func (s *AlertsService) RelatedEvents(ctx context.Context, id int64) (related RelatedEvents, err error) {
	k, err := callAlertsEvents.with(strconv.FormatInt(id, 10))
	if err != nil {
		return related, err
	}
	told := false
	err = s.c.do(ctx, k, nil, data(func(v value) {
		told = v.at("schedule_query_data_list_obj").isArray() || v.at("system_state_data_list").isArray()
		for query := range v.at("schedule_query_data_list_obj").items() {
			related.Queries = append(related.Queries, QueryRows{Name: query.at("name").text(), Rows: columnRows(query.at("data"))})
		}
		related.States = v.at("system_state_data_list").texts()
	}))
	if err == nil && !told {
		err = lacking(k, noList)
	}
	return related, err
}

// columnRows reads an array of rows; what is not an object is left out.
func columnRows(v value) (list []map[string]string) {
	for row := range v.items() {
		if columns := row.columns(); columns != nil {
			list = append(list, columns)
		}
	}
	return list
}

// StateCount is how many rows a query has about the state of a host.
type StateCount struct {
	QueryName string
	Count     int
}

// State fetches which queries describe the state of an alert's host, such as its
// patches, with the number of their rows. Enterprise only.
// API: GET /alerts/{alert_id}/state (REST guide 4.0.0, "Get host operating system
// state for an alert").
func (s *AlertsService) State(ctx context.Context, id int64) ([]StateCount, error) {
	k, err := callAlertsState.with(strconv.FormatInt(id, 10))
	if err != nil {
		return nil, err
	}
	return listed(ctx, s.c, k, stateRow)
}

func stateRow(v value) (StateCount, error) {
	c := StateCount{QueryName: v.at("query_name").text(), Count: v.at("count").count()}
	switch {
	case !v.isObject():
		return c, errNotObject
	case c.QueryName == "":
		return c, errors.New("count without query name")
	}
	return c, nil
}

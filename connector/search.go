package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"
)

// SearchService is the section "Search" of the REST guide: searches in the events
// that the server has stored.
type SearchService struct{ c *Client }

// HostHits is how many events of a host were found.
type HostHits struct {
	Hostname string
	Host     string // identifier
	Queries  []QueryHits
}

// QueryHits is how many events of one query were found.
type QueryHits struct {
	Query string
	Count int
}

func hostHits(v value) (HostHits, error) {
	h := HostHits{Hostname: v.at("hostname").text(), Host: v.at("host_identifier").text()}
	for item := range v.at("queries").items() {
		q := QueryHits{Query: item.at("query_name").text(), Count: item.at("count").count()}
		if q.Query == "" {
			return h, errors.New("count without the name of its query")
		}
		h.Queries = append(h.Queries, q)
	}
	if h.Host == "" {
		return h, errors.New("host without identifier")
	}
	return h, nil
}

// hits makes a call that counts events by host and query. Nothing found is {} or
// no data at all on some calls, and an empty list on others.
func (c *Client) hits(ctx context.Context, k call, in any) ([]HostHits, error) {
	var page Page[HostHits]
	var odd bool
	err := c.do(ctx, k, in, data(func(v value) {
		page = rows(v, hostHits)
		odd = page.Results == nil && v.raw() != nil
	}))
	switch {
	case err != nil:
		return nil, err
	case odd:
		return nil, lacking(k, "the answer is not a list of hosts")
	}
	problems := make([]error, 0, len(page.Malformed))
	for _, bad := range page.Malformed {
		problems = append(problems, bad)
	}
	return page.Results, errors.Join(problems...)
}

// Counts searches all columns of the events of all hosts, and says how many were
// found by host and query. It reads every event and is slow on a large server.
// Rows that cannot be read are *MalformedError; the others are returned beside.
// API: POST /search (REST guide 4.0.0, "Search all query results").
func (s *SearchService) Counts(ctx context.Context, condition Condition) ([]HostHits, error) {
	conditions, err := condition.forSearch(nil)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	return s.c.hits(ctx, callSearch, map[string]any{"conditions": conditions})
}

// SearchQuery is a search in the events of one query on one host.
type SearchQuery struct {
	Condition Condition
	// Host is an id or identifier. It is looked up first, because the server finds
	// nothing, and says nothing, for an identifier that does not exist.
	Host  string
	Query string // name of the query, as Counts tells it
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// Page fetches a page of the events of one query on one host: their columns, in no
// certain order.
// API: POST /search (REST guide 4.0.0, "Search all query results").
func (s *SearchService) Page(ctx context.Context, q SearchQuery) (Page[map[string]string], error) {
	in, err := s.arguments(ctx, q)
	if err != nil {
		return Page[map[string]string]{}, err
	}
	return s.page(ctx, in, q.Start, pageSize(q.Limit))
}

// Rows walks through the events of one query on one host, q.Limit at a time. The
// server gives them in no certain order and without an id, so that events which
// arrive meanwhile may shift a page.
func (s *SearchService) Rows(ctx context.Context, q SearchQuery) iter.Seq2[map[string]string, error] {
	return func(yield func(map[string]string, error) bool) {
		in, err := s.arguments(ctx, q)
		if err != nil {
			yield(nil, err)
			return
		}
		walkColumns(ctx, q.Start, pageSize(q.Limit), func(ctx context.Context, start, limit int) (Page[map[string]string], error) {
			return s.page(ctx, in, start, limit)
		})(yield)
	}
}

func (s *SearchService) arguments(ctx context.Context, q SearchQuery) (map[string]any, error) {
	conditions, err := q.Condition.forSearch(nil)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	if q.Query == "" {
		return nil, fmt.Errorf("search: %w: the name of a query is needed beside a host", ErrInvalid)
	}
	if err := fromStart("search", q.Start); err != nil {
		return nil, err
	}
	host, err := s.c.resolve(ctx, q.Host)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	return map[string]any{"conditions": conditions, "host_identifier": host, "query_name": q.Query}, nil
}

func (s *SearchService) page(ctx context.Context, in map[string]any, start, limit int) (Page[map[string]string], error) {
	in["start"], in["limit"] = start, limit
	return s.c.columnsPage(ctx, callSearch, in)
}

// columnsPage makes a call whose rows are the bare columns of events.
func (c *Client) columnsPage(ctx context.Context, k call, in any) (Page[map[string]string], error) {
	return paged(ctx, c, k, in, columnsRow)
}

func columnsRow(v value) (map[string]string, error) {
	columns := v.columns()
	if columns == nil {
		return nil, errNotObject
	}
	return columns, nil
}

// walkColumns walks by offset through rows that have no id.
func walkColumns(ctx context.Context, start, size int,
	page func(ctx context.Context, start, limit int) (Page[map[string]string], error)) iter.Seq2[map[string]string, error] {
	return func(yield func(map[string]string, error) bool) {
		for given := 0; given < maxListed; {
			p, err := page(ctx, start, size)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, bad := range p.Malformed {
				if !yield(nil, bad) {
					return
				}
			}
			for _, row := range p.Results {
				if !yield(row, nil) {
					return
				}
			}
			got := len(p.Results) + len(p.Malformed)
			given += got
			start += got
			// Count is of all that was found: a server that gives more than that does not
			// heed start.
			if got < size || p.Count > 0 && start >= p.Count {
				return
			}
		}
		yield(nil, fmt.Errorf("list has more than %d rows", maxListed))
	}
}

// resolve returns the identifier of a host that is told by id or identifier. Some
// calls take an identifier that does not exist for no filter at all.
func (c *Client) resolve(ctx context.Context, ref string) (identifier string, err error) {
	if ref == "" {
		return "", fmt.Errorf("host: %w", ErrEmptyTarget)
	}
	h, err := c.Hosts.Get(ctx, ref)
	switch {
	case err != nil:
		return "", fmt.Errorf("host %q: %w", clip(ref, 80), err)
	case h.Identifier == "":
		return "", fmt.Errorf("host %q: %w: it has no identifier", clip(ref, 80), ErrNotFound)
	}
	return h.Identifier, nil
}

// ResultRow is an event with what the server knows about it.
type ResultRow struct {
	ID       int64
	Query    string // name of the query that reported it
	Time     time.Time
	Action   string // added, removed or snapshot
	Columns  map[string]string
	NodeID   int64
	Host     string // identifier
	Hostname string
	UUID     string
}

func resultRow(v value) (ResultRow, error) {
	r := ResultRow{
		ID:       v.at("id").id(),
		Query:    v.at("name").text(),
		Time:     v.at("timestamp").time(),
		Action:   v.at("action").text(),
		Columns:  v.at("columns").columns(),
		NodeID:   v.at("node_id").id(),
		Host:     v.at("host_identifier").text(),
		Hostname: v.at("hostname").text(),
		UUID:     v.at("uuid").text(),
	}
	switch {
	case !v.isObject():
		return r, errNotObject
	case r.ID == 0:
		return r, errors.New("event without id")
	case r.Columns == nil:
		return r, errors.New("event without columns")
	}
	return r, nil
}

// ActivitySearch is a search in indexed columns.
type ActivitySearch struct {
	// Condition compares IndicatorColumns only.
	Condition Condition
	// Host is an id or identifier; empty searches all hosts. It is looked up first: the
	// server takes an identifier that does not exist for all hosts.
	Host  string
	Query string // name of a query; empty for all
	// Window says when; the zero value is the week that ends today.
	Window EventWindow
	// Limit is a page size; default 100.
	Limit int
}

// Activity walks through the events that are found, newest first. How the pages
// are asked for depends on the release and is hidden here.
// API: POST /activity/search (REST guide 4.0.0, "Limited column search in query
// results").
func (s *SearchService) Activity(ctx context.Context, q ActivitySearch) iter.Seq2[ResultRow, error] {
	return func(yield func(ResultRow, error) bool) {
		in, err := s.activity(ctx, q)
		if err != nil {
			yield(ResultRow{}, fmt.Errorf("search: %w", err))
			return
		}
		s.c.resultRows(ctx, q.Limit, func(ctx context.Context, start int64, limit int) (Page[ResultRow], error) {
			in["start"], in["limit"] = start, limit
			return s.c.resultPage(ctx, callActivitySearch, in, in["host_identifier"])
		})(yield)
	}
}

func (s *SearchService) activity(ctx context.Context, q ActivitySearch) (map[string]any, error) {
	conditions, err := q.Condition.forSearch(IndicatorColumns)
	if err != nil {
		return nil, err
	}
	in := map[string]any{"conditions": conditions}
	set(in, "query_name", q.Query)
	window, err := q.Window.arguments(s.c.serverTime())
	if err != nil {
		return nil, err
	}
	for name, text := range window {
		in[name] = text
	}
	if q.Host != "" {
		if in["host_identifier"], err = s.c.resolve(ctx, q.Host); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// resultPage makes a call whose rows are whole events. host is the identifier that
// was asked for, nil for none: rows of others mean that the server ignored it.
func (c *Client) resultPage(ctx context.Context, k call, in, host any) (page Page[ResultRow], err error) {
	page, err = paged(ctx, c, k, in, resultRow)
	for _, row := range page.Results {
		if host != nil && row.Host != "" && row.Host != host {
			return page, lacking(k, "the server searched other hosts than the one asked for")
		}
	}
	return page, err
}

// resultRows walks through events. Since release 3.5 start is the id of the last row
// seen; in 2.1.2 it is an offset, and an id would skip everything.
func (c *Client) resultRows(ctx context.Context, size int,
	page func(ctx context.Context, start int64, limit int) (Page[ResultRow], error)) iter.Seq2[ResultRow, error] {
	return func(yield func(ResultRow, error) bool) {
		byID, err := c.pagesByID(ctx)
		if err != nil {
			yield(ResultRow{}, fmt.Errorf("find out how the server pages: %w", err))
			return
		}
		if byID {
			after(ctx, size, page, func(r *ResultRow) int64 { return r.ID })(yield)
			return
		}
		list(ctx, size, func(ctx context.Context, start, limit int) (Page[ResultRow], error) {
			return page(ctx, int64(start), limit)
		}, func(r *ResultRow) string { return strconv.FormatInt(r.ID, 10) })(yield)
	}
}

// pagesByID reports whether lists of events are paged by the id of the last row, as
// since release 3.5.
func (c *Client) pagesByID(ctx context.Context) (bool, error) {
	index, err := c.Index(ctx)
	return !index.Before35, err
}

// serverTime is what the server's clock shows, in UTC.
func (c *Client) serverTime() time.Time { return time.Now().Add(c.ClockOffset()).UTC() }

// ExportQuery copies all events that one query has reported of one host to w, as
// CSV with a column for each event column; cells that an event lacks at the end are
// left out. ErrRefused when there are none. It returns how many bytes were
// written; after an error they are not the whole.
//
// The REST guide 4.0.0 calls this withdrawn in favour of POST /hosts/search/export;
// all releases up to 4.0 serve it.
// API: POST /schedule_query/export (REST guide 4.0.0, "Export query results").
func (s *SearchService) ExportQuery(ctx context.Context, host, query string, w io.Writer) (int64, error) {
	if query == "" {
		return 0, fmt.Errorf("export a query: %w: its name is missing", ErrInvalid)
	}
	identifier, err := s.c.resolve(ctx, host)
	if err != nil {
		return 0, fmt.Errorf("export a query: %w", err)
	}
	return s.c.export(ctx, callScheduleQueryExport, map[string]any{"host_identifier": identifier, "query_name": query}, w)
}

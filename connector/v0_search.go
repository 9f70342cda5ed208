package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Search counts the stored events that fit a condition, by host and query. Names of
// hosts are not told.
// API v0: POST /search (guide of API v0, "Search on managing node's activity").
func (s *V0Service) Search(ctx context.Context, condition Condition) ([]HostHits, error) {
	conditions, err := condition.forSearch(nil)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	return s.hits(ctx, callV0Search, map[string]any{"conditions": conditions})
}

// hits reads counts by host: rows as in v1, or an object of hosts with a list of
// queries, or with one query.
func (s *V0Service) hits(ctx context.Context, k call, in any) (list []HostHits, err error) {
	var problems []error
	err = s.c.do(ctx, k, in, data(func(v value) {
		if v.raw() != nil && !v.isObject() && !v.isArray() {
			problems = append(problems, lacking(k, "the answer has no hosts"))
		}
		page := rows(v, hostHits)
		list = page.Results
		for _, bad := range page.Malformed {
			problems = append(problems, bad)
		}
		for host, queries := range v.fields() {
			counted := slices.Collect(queries.items())
			if queries.isObject() {
				counted = []value{queries}
			}
			hits := HostHits{Host: host}
			for _, q := range counted {
				hits.Queries = append(hits.Queries, QueryHits{Query: q.at("query_name").text(), Count: q.at("count").count()})
			}
			list = append(list, hits)
		}
	}))
	return list, errors.Join(append(problems, err)...)
}

// V0SearchQuery asks for events of one query of one host.
type V0SearchQuery struct {
	Condition Condition
	Host      string // identifier
	Query     string // name, as Search tells it
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// SearchRows fetches a page of the stored events that fit a condition. That there are
// none is ErrRefused in some releases.
// API v0: POST /search (guide of API v0, "Search on managing node's activity").
func (s *V0Service) SearchRows(ctx context.Context, q V0SearchQuery) (Page[map[string]string], error) {
	conditions, err := q.Condition.forSearch(nil)
	if err != nil {
		return Page[map[string]string]{}, fmt.Errorf("search: %w", err)
	}
	in := map[string]any{"conditions": conditions}
	if err := v0Place(in, "search", q.Host, q.Query, q.Start, q.Limit); err != nil {
		return Page[map[string]string]{}, err
	}
	return v0Page(ctx, s, callV0Search, in, columnsRow)
}

// v0Place writes of which host and query a page is wanted.
func v0Place(in map[string]any, what, host, query string, start, limit int) error {
	if host == "" {
		return fmt.Errorf("%s: %w", what, ErrEmptyTarget)
	}
	in["host_identifier"], in["query_name"] = host, query
	return errors.Join(needed(what, "the name of the query", query), paging(in, what, start, limit))
}

// ExportSearch copies the stored events of a host (identifier) that fit a condition
// as CSV to w: for each query a line with host, query and count, the columns, and
// the rows. That there are none is ErrRefused.
// API v0: POST /nodes/search/export (public source of release 2.1.2).
func (s *V0Service) ExportSearch(ctx context.Context, condition Condition, host string, w io.Writer) (int64, error) {
	conditions, err := condition.forSearch(nil)
	if err != nil {
		return 0, fmt.Errorf("export search: %w", err)
	}
	if host == "" { // without one the server finds nothing
		return 0, fmt.Errorf("export search: %w", ErrEmptyTarget)
	}
	return s.c.export(ctx, callV0NodesSearchExport, map[string]any{"conditions": conditions, "host_identifier": host}, w)
}

// V0Hunt looks for events with one of the indicators of a file.
type V0Hunt struct {
	Type string // md5 or sha256
	File Upload // one indicator on a line
	// Host (identifier) and Query are for HuntRows only.
	Host, Query string
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

func (h V0Hunt) body(fields map[string]string) (body, error) {
	const what = "hunt"
	if err := errors.Join(needed(what, "type", h.Type), inSet(what, "type", h.Type, "md5", "sha256")); err != nil {
		return body{}, err
	}
	return huntFile(h.File, "type", h.Type, fields)
}

// Hunt counts the stored events with one of the indicators, by host and query.
// API v0: POST /hunt-upload (guide of API v0, "Hunt on managing nodes").
func (s *V0Service) Hunt(ctx context.Context, h V0Hunt) ([]HostHits, error) {
	in, err := h.body(nil)
	if err != nil {
		return nil, err
	}
	return s.hits(ctx, callV0HuntUpload, in)
}

// HuntRows fetches a page of the stored events of one query of one host with one of
// the indicators.
// API v0: POST /hunt-upload (guide of API v0, "Hunt on managing nodes").
func (s *V0Service) HuntRows(ctx context.Context, h V0Hunt) (Page[map[string]string], error) {
	place := map[string]any{}
	if err := v0Place(place, "hunt", h.Host, h.Query, h.Start, h.Limit); err != nil {
		return Page[map[string]string]{}, err
	}
	in, err := h.body(map[string]string{
		"host_identifier": h.Host, "query_name": h.Query, "start": strconv.Itoa(h.Start), "limit": strconv.Itoa(pageSize(h.Limit)),
	})
	if err != nil {
		return Page[map[string]string]{}, err
	}
	return v0Page(ctx, s, callV0HuntUpload, in, columnsRow)
}

// V0Table is what a scheduled query has reported of a host, for a table to show.
type V0Table struct {
	// Columns are the ones that the console shows; nil where the server leaves them out.
	Columns []string
	Rows    []map[string]string
	// Total is how many rows there are, Found how many fit the search.
	Total, Found int
}

// V0TableQuery asks for a page of what every scheduled query has reported of a host.
type V0TableQuery struct {
	Host   string // identifier
	Search string // a part of any value, without regard to case
	// Start is an offset, Length a page size; default 100.
	Start, Length int
	// WithoutColumns leaves V0Table.Columns out.
	WithoutColumns bool
}

// QueryResults fetches a page of what each scheduled query has reported of a host, by
// query. The server pastes the search into SQL: one with an apostrophe is ErrInvalid.
// API v0: POST /nodes/{host_identifier}/queryResult (public source of release 2.1.2).
func (s *V0Service) QueryResults(ctx context.Context, q V0TableQuery) (map[string]V0Table, error) {
	const what = "query results"
	k, err := callV0NodesQueryResult.with(q.Host)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(q.Search, "'\\\x00") || q.Start < 0 {
		return nil, fmt.Errorf("%s: %w: an apostrophe or backslash in the search, or a start below 0", what, ErrInvalid)
	}
	in := map[string]any{"start": q.Start, "length": pageSize(q.Length), "search[value]": q.Search}
	if q.WithoutColumns {
		in["columns[0][data]"] = "id"
	}
	tables := make(map[string]V0Table)
	odd := false
	err = s.c.do(ctx, k, in, data(func(v value) {
		odd = v.raw() != nil && !v.isObject()
		for name, one := range v.fields() {
			table := V0Table{Rows: columnRows(one.at("aaData")), Total: one.at("iTotalRecords").count(), Found: one.at("iRecordsFiltered").count()}
			for column := range one.at("columns").items() {
				if title := column.at("data").text(); title != "" { // the first opens the details
					table.Columns = append(table.Columns, title)
				}
			}
			tables[name] = table
		}
	}))
	if err == nil && odd {
		err = lacking(k, "the answer has no results by query")
	}
	if err != nil {
		return nil, err
	}
	return tables, nil
}

// ExportScheduled copies what a scheduled query has reported of a host (identifier)
// as CSV to w. Without rows, and for an unknown host or query, the file has an empty
// line.
// API v0: POST /schedule_query/export (public source of release 2.1.2).
func (s *V0Service) ExportScheduled(ctx context.Context, host, query string, w io.Writer) (int64, error) {
	if host == "" {
		return 0, fmt.Errorf("export scheduled query: %w", ErrEmptyTarget)
	}
	if err := needed("export scheduled query", "the name of the query", query); err != nil {
		return 0, err
	}
	return s.c.export(ctx, callV0ScheduleExport, map[string]any{"host_identifier": host, "query_name": query}, w)
}

// DeleteResults deletes what scheduled queries have reported, if it is older than so
// many days. It needs the consent PurgeOldData.
// API v0: POST /queryresult/delete (public source of release 2.1.2).
func (s *V0Service) DeleteResults(ctx context.Context, olderThanDays int, consent Consent) error {
	if err := v0Purge(olderThanDays, consent); err != nil {
		return err
	}
	return s.c.do(ctx, callV0QueryresultDelete, map[string]any{"days_of_data": olderThanDays}, nil)
}

// DeleteResultsOlder is DeleteResults in its other form: a GET, which deletes all the
// same.
// API v0: GET /queryresult/{days_of_data} (public source of release 2.1.2).
func (s *V0Service) DeleteResultsOlder(ctx context.Context, olderThanDays int, consent Consent) error {
	if err := v0Purge(olderThanDays, consent); err != nil {
		return err
	}
	k, err := callV0QueryresultGet.with(strconv.Itoa(olderThanDays))
	if err != nil {
		return err
	}
	return s.c.do(ctx, k, nil, nil)
}

func v0Purge(days int, consent Consent) error {
	const maxDays = 100_000 // the server's calendar ends before 1,000,000
	if err := consent.must(PurgeOldData, "delete results"); err != nil {
		return err
	}
	if days < 1 || days > maxDays {
		return fmt.Errorf("delete results: %w: older than %d days; 1 to %d", ErrInvalid, days, maxDays)
	}
	return nil
}

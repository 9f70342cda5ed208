package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"
)

// QueryActivity is how many rows of a query a host has reported.
type QueryActivity struct {
	Query string
	// Count comes from a counter by day, so that it may be higher than what the server
	// has kept.
	Count int
}

// ActivityCount counts what a host has reported, by query. A host id that the server
// does not know has no activity and is no error; an unknown identifier is ErrNotFound.
//
// API: POST /hosts/recent_activity/count (REST guide 4.0.0, section Hosts).
func (s *HostsService) ActivityCount(ctx context.Context, ref string) (counts []QueryActivity, err error) {
	in, err := hostArgument("count activity", ref)
	if err != nil {
		return nil, err
	}
	return listedBy(ctx, s.c, callHostsActivityCount, in, func(v value) (QueryActivity, error) {
		q := QueryActivity{Query: v.at("name").text(), Count: v.at("count").count()}
		if q.Query == "" {
			return q, errors.New("count without the name of its query")
		}
		return q, nil
	})
}

// ActivityQuery chooses among what a host has reported.
type ActivityQuery struct {
	Query string // name of the query; required
	// Column and Values choose rows that have one of the values in a column; both or
	// none. A server of release 2.x cannot do that: ErrUnavailable.
	Column string
	Values []string
	// Search is a part of a value of any column, without regard to case. Release 4.0
	// also finds it in the names of columns.
	Search string
	// Start continues: in release 4.0 the id of the last row seen, before it an offset.
	// 0 is the newest row.
	Start int64
	Limit int // rows of a page; default 100
}

// arguments checks the query and writes it as the call wants it. Old releases paste
// the texts into SQL.
func (q ActivityQuery) arguments(what, ref string) (map[string]any, error) {
	in, err := hostArgument(what, ref)
	if err != nil {
		return nil, err
	}
	if err := fromStart(what, q.Start); err != nil {
		return nil, err
	}
	for _, text := range append([]string{q.Query, q.Column, q.Search}, q.Values...) {
		if strings.ContainsAny(text, "'\x00") {
			return nil, fmt.Errorf("%s: %w: %q holds an apostrophe, at which servers of release 2.x fail", what, ErrInvalid, clip(text, 128))
		}
	}
	if err := chooseActivity(in, what, q.Query, q.Column, q.Values); err != nil {
		return nil, err
	}
	set(in, "searchterm", q.Search)
	in["start"], in["limit"] = q.Start, pageSize(q.Limit)
	return in, nil
}

// chooseActivity writes query, column and values.
func chooseActivity(in map[string]any, what, query, column string, values []string) error {
	if query == "" {
		return fmt.Errorf("%s: %w: the name of the query is missing", what, ErrInvalid)
	}
	if (column == "") != (len(values) == 0) {
		return fmt.Errorf("%s: %w: column and values go together", what, ErrInvalid)
	}
	for _, v := range values {
		// The server splits at commas and takes blanks off.
		if v == "" || strings.Contains(v, ",") || v != strings.TrimSpace(v) {
			return fmt.Errorf("%s: %w: value %q is empty, or holds a comma or blanks at an end", what, ErrInvalid, clip(v, 128))
		}
	}
	in["query_name"] = query
	set(in, "column_name", column)
	set(in, "column_value", strings.Join(values, ","))
	return nil
}

// ActivityEvent is a row that a host has reported.
type ActivityEvent struct {
	ID        int64 // release 4.0
	Timestamp time.Time
	Action    string // added, or snapshot; rows that were removed are not told
	// Columns are the columns, all as text.
	Columns map[string]string
}

func hostEventRow(v value) (ActivityEvent, error) {
	e := ActivityEvent{
		ID: v.at("id").id(), Timestamp: v.at("timestamp").time(), Action: v.at("action").text(), Columns: v.at("columns").columns(),
	}
	switch {
	case !v.isObject():
		return e, errNotObject
	case e.Columns == nil:
		return e, errors.New("event without columns")
	}
	return e, nil
}

// ActivityPage fetches rows that a host has reported, newest first: those after
// q.Start. Page.Count is the number of rows that fit, of all pages; Page.Total that of
// all rows of the query by the same counter as ActivityCount.
//
// API: POST /hosts/recent_activity (REST guide 4.0.0, section Hosts).
func (s *HostsService) ActivityPage(ctx context.Context, ref string, q ActivityQuery) (page Page[ActivityEvent], err error) {
	const what = "activity"
	in, err := q.arguments(what, ref)
	if err != nil {
		return page, err
	}
	if page, err = paged(ctx, s.c, callHostsActivity, in, hostEventRow); err != nil {
		return page, err
	}
	// Release 2.x passes over the column without a word.
	if q.Column != "" && slices.ContainsFunc(page.Results, func(e ActivityEvent) bool { return !slices.Contains(q.Values, e.Columns[q.Column]) }) {
		return Page[ActivityEvent]{}, fmt.Errorf("%s: %w: it does not choose by column (releases: since 4.0)", what, ErrUnavailable)
	}
	return page, nil
}

// errNoRowID means that some rows of a page have an id and others have none.
var errNoRowID = errors.New("activity: a row has no id to go on after")

// Activity walks through what a host has reported from q.Start on, newest first,
// q.Limit at a time. In release 4.0 rows that come meanwhile disturb nothing. Rows of
// release 2.x have no id: two that are alike in time and every column are given once.
func (s *HostsService) Activity(ctx context.Context, ref string, q ActivityQuery) iter.Seq2[ActivityEvent, error] {
	return func(yield func(ActivityEvent, error) bool) {
		q, from := q, q.Start
		q.Limit = max(pageSize(q.Limit), 2) // as list has it
		top, err := s.ActivityPage(ctx, ref, q)
		if err != nil {
			yield(ActivityEvent{}, err)
			return
		}
		// The first page tells the release. It is used once: a walk may come back to it.
		used := false
		walk := list(ctx, q.Limit, func(ctx context.Context, start, limit int) (Page[ActivityEvent], error) {
			if !used {
				used = true
				return top, nil
			}
			q.Start, q.Limit = from+int64(start), limit
			return s.ActivityPage(ctx, ref, q)
		}, contentKey)
		if slices.ContainsFunc(top.Results, hasID) {
			walk = after(ctx, q.Limit, func(ctx context.Context, last int64, limit int) (page Page[ActivityEvent], err error) {
				page = top
				if last != 0 {
					q.Start, q.Limit = last, limit
					page, err = s.ActivityPage(ctx, ref, q)
				}
				if err == nil && slices.ContainsFunc(page.Results, func(e ActivityEvent) bool { return !hasID(e) }) {
					err = errNoRowID
				}
				return page, err
			}, func(e *ActivityEvent) int64 { return e.ID })
		}
		for e, err := range walk {
			if !yield(e, err) {
				return
			}
		}
	}
}

func hasID(e ActivityEvent) bool { return e.ID != 0 }

// contentKey tells events apart that have no id.
func contentKey(e *ActivityEvent) string {
	columns, err := json.Marshal(e.Columns) // in the order of names
	if err != nil {
		return fmt.Sprint(e.Timestamp, e.Columns)
	}
	return e.Timestamp.String() + e.Action + string(columns)
}

// ActivityExport chooses what Hosts.ExportActivity copies.
type ActivityExport struct {
	Query string // name of the query; required
	// Column and Values choose rows that have one of the values in a column; both or
	// none. Servers of release 2.x pass over them without a word and tell all rows.
	Column string
	Values []string
	// Where chooses rows by a tree of comparisons of IndicatorColumns; nil for all.
	Where *Condition
}

// ExportActivity copies what a host has reported to w, as CSV with a column for each
// event column. Without a row there is no CSV: the server refuses, ErrRefused. So it
// does with an identifier that it does not know.
//
// In release 4.0 a row ends at the last column that had come up by then, see CSVRows;
// before, all have the columns of the first.
//
// API: POST /hosts/search/export (REST guide 4.0.0, section Hosts).
func (s *HostsService) ExportActivity(ctx context.Context, ref string, q ActivityExport, w io.Writer) (bytes int64, err error) {
	const what = "export activity"
	in, err := hostArgument(what, ref)
	if err != nil {
		return 0, err
	}
	if err := chooseActivity(in, what, q.Query, q.Column, q.Values); err != nil {
		return 0, err
	}
	if err := errors.Join(noNUL(what, "query", q.Query), noNUL(what, "column", q.Column+strings.Join(q.Values, ""))); err != nil {
		return 0, err
	}
	if q.Where != nil {
		if in["conditions"], err = q.Where.forSearch(IndicatorColumns); err != nil {
			return 0, fmt.Errorf("%s: %w", what, err)
		}
	}
	return s.c.export(ctx, callHostsActivityExport, in, w)
}

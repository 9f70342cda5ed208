package connector

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Queries fetches all scheduled queries.
// API v0: GET /queries/ (guide of API v0, "List all Defined Queries").
func (s *V0Service) Queries(ctx context.Context) (Page[ScheduledQuery], error) {
	return v0Page(ctx, s, callV0Queries, nil, v0QueryRow)
}

// PackedQueries fetches the scheduled queries that are in packs.
// API v0: GET /queries/packs (public source of release 2.1.2).
func (s *V0Service) PackedQueries(ctx context.Context) (Page[ScheduledQuery], error) {
	return v0Page(ctx, s, callV0QueriesPacked, nil, v0QueryRow)
}

func v0QueryRow(v value) (ScheduledQuery, error) { return scheduledRow(tidyTags(v)) }

// Query fetches one scheduled query. ErrNotFound if there is none.
// API v0: GET /queries/{query_id} (guide of API v0, "List a Specific Query").
func (s *V0Service) Query(ctx context.Context, id int64) (ScheduledQuery, error) {
	k, err := callV0QueriesGet.with(strconv.FormatInt(id, 10))
	if err != nil {
		return ScheduledQuery{}, err
	}
	return v0One(ctx, s, k, nil, v0QueryRow)
}

// AddQuery adds a scheduled query and returns its id. ErrRefused if there is one of
// that name. Packs, Shard and ID are not sent.
// API v0: POST /queries/add (guide of API v0, "Define a Scheduled Query").
func (s *V0Service) AddQuery(ctx context.Context, q ScheduledQuery) (id int64, err error) {
	in, err := v0Query("add query", q)
	if err != nil {
		return 0, err
	}
	return s.made(ctx, callV0QueriesAdd, in, "query_id")
}

// UpdateQuery sets name, SQL and interval of a scheduled query. Some releases say
// success and leave the query as it is (public source of the releases before
// 2.1.2): that is ErrConflict.
// API v0: POST /queries/{query_id} (public source of release 2.1.2).
func (s *V0Service) UpdateQuery(ctx context.Context, id int64, q ScheduledQuery) (now ScheduledQuery, err error) {
	in, err := v0Query("update query", q)
	if err != nil {
		return now, err
	}
	k, err := callV0QueriesUpdate.with(strconv.FormatInt(id, 10))
	if err != nil {
		return now, err
	}
	now, err = v0One(ctx, s, k, map[string]any{"name": in["name"], "query": in["query"], "interval": in["interval"]}, v0QueryRow)
	if err == nil && (now.Name != q.Name || now.SQL != q.SQL || now.Interval != q.Interval) {
		err = fmt.Errorf("update query %d: %w", id, ErrConflict)
	}
	return now, err
}

// v0Query is a query as API v0 wants it. The server splits the tags without a look,
// so they are always sent.
func v0Query(call string, q ScheduledQuery) (map[string]any, error) {
	tags, err := tagList(q.Tags)
	if err != nil {
		return nil, err
	}
	q.Tags, q.Packs = nil, nil
	in, err := q.in(call)
	if err != nil {
		return nil, err
	}
	in["tags"], in["snapshot"] = tags, q.Snapshot
	return in, nil
}

// EditQueryTags adds and removes tags of a scheduled query.
// API v0: POST /queries/tag/edit (guide of API v0, "Modify Tags for a Query").
func (s *V0Service) EditQueryTags(ctx context.Context, id int64, edit TagEdit) error {
	in, err := edit.arguments()
	if err != nil {
		return err
	}
	in["query_id"] = id
	return s.c.do(ctx, callV0QueriesTagEdit, in, nil)
}

// QueryTags fetches the tags of a scheduled query.
// API v0: GET /queries/{query_id}/tags (public source of release 2.1.2).
func (s *V0Service) QueryTags(ctx context.Context, id int64) ([]string, error) {
	return s.tags(ctx, callV0QueriesTagsGet, strconv.FormatInt(id, 10))
}

// AddQueryTags adds tags to a scheduled query. EditQueryTags is better: release
// 2.1.2 takes a tag twice here, and breaks on an unknown id.
// API v0: POST /queries/{query_id}/tags (public source of release 2.1.2).
func (s *V0Service) AddQueryTags(ctx context.Context, id int64, tags ...string) error {
	return s.addTags(ctx, callV0QueriesTagsAdd, strconv.FormatInt(id, 10), tags)
}

// V0ResultQuery asks for what a scheduled query has reported of a host.
type V0ResultQuery struct {
	Host  string // identifier
	Query string // name
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// ScheduleResults fetches a page of what a scheduled query has reported of a host
// within the last 30 days.
// API v0: POST /nodes/schedule_query/results (guide of API v0, "View Scheduled Query
// Results for a Node").
func (s *V0Service) ScheduleResults(ctx context.Context, q V0ResultQuery) (Page[ResultRow], error) {
	if q.Host == "" {
		return Page[ResultRow]{}, fmt.Errorf("schedule results: %w", ErrEmptyTarget)
	}
	if q.Query == "" || q.Start < 0 {
		return Page[ResultRow]{}, fmt.Errorf("schedule results: %w: the name of a query is needed, and a start of 0 or above", ErrInvalid)
	}
	// The oldest documents call the name query. Start is an offset, whatever they say.
	in := map[string]any{"host_identifier": q.Host, "query_name": q.Query, "query": q.Query, "start": q.Start, "limit": pageSize(q.Limit)}
	return v0Page(ctx, s, callV0ScheduleResults, in, resultRow)
}

// ScheduleQueries fetches what all scheduled queries have reported of a host since a
// time; the zero time is 30 days ago. There are no pages.
// API v0: GET /nodes/schedule_query/{host_identifier} (public source of release
// 2.1.2).
func (s *V0Service) ScheduleQueries(ctx context.Context, host string, since time.Time) (Page[ResultRow], error) {
	k, err := callV0ScheduleList.with(host)
	if err != nil {
		return Page[ResultRow]{}, err
	}
	if !since.IsZero() {
		k = k.asking(map[string]string{"timestamp": strconv.FormatInt(since.Unix(), 10)})
	}
	return v0Page(ctx, s, k, nil, resultRow)
}

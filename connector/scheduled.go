package connector

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"
)

// ScheduledQuery is a query that agents run by themselves: those whose host has one
// of the query's tags, or a tag of one of its packs.
type ScheduledQuery struct {
	ID   int64
	Name string
	SQL  string
	// Interval is the time between two runs, whole seconds. 0 stands for none that
	// could be read.
	Interval time.Duration
	// Platform is all, windows, linux, darwin, freebsd or posix; packs bring others
	// along. Empty counts as all.
	Platform    string
	Version     string // smallest osquery version that shall run it
	Description string
	Value       string // what the rows are good for
	// Snapshot makes each run tell all rows, not only what came and went.
	Snapshot bool
	// Shard is the percentage of hosts that run the query, nil for all. It cannot be
	// sent.
	Shard *int
	Tags  []string
	Packs []string // names
}

func readScheduled(v value) ScheduledQuery {
	return ScheduledQuery{
		ID:          v.at("id").id(),
		Name:        v.at("name").text(),
		SQL:         v.at("sql", "query").text(),
		Interval:    v.at("interval").seconds(),
		Platform:    v.at("platform").text(),
		Version:     v.at("version").text(),
		Description: v.at("description").text(),
		Value:       v.at("value").text(),
		Snapshot:    v.at("snapshot").truth(),
		Shard:       v.at("shard").optional(),
		Tags:        v.at("tags").texts(),
		Packs:       v.at("packs").elements(),
	}
}

// optional is a whole number; nil for anything else.
func (v value) optional() *int {
	n, ok := v.integer()
	if !ok {
		return nil
	}
	return new(int(n))
}

// elements returns the texts of an array as they are, commas and all.
func (v value) elements() (list []string) {
	for item := range v.items() {
		if text := item.text(); text != "" {
			list = append(list, text)
		}
	}
	return list
}

func scheduledRow(v value) (ScheduledQuery, error) {
	q := readScheduled(v)
	return q, needID(v, q.ID, "query")
}

// ScheduledFilter filters scheduled queries.
type ScheduledFilter struct {
	// Search is a part of the name, in any case; % and _ stand for any text and any
	// character.
	Search string
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// Page fetches one page of the scheduled queries, by name.
// API: POST /queries (REST guide 4.0.0, "Get a list of all queries").
func (s *QueriesService) Page(ctx context.Context, f ScheduledFilter) (Page[ScheduledQuery], error) {
	return s.page(ctx, callQueriesList, f)
}

// List walks through the scheduled queries from f.Start on, f.Limit at a time.
func (s *QueriesService) List(ctx context.Context, f ScheduledFilter) iter.Seq2[ScheduledQuery, error] {
	return s.walk(ctx, callQueriesList, f)
}

// PackedPage fetches one page of the queries that are in packs, by name.
// API: POST /queries/packed (REST guide 4.0.0, "Get a list of all queries contained
// in packs").
func (s *QueriesService) PackedPage(ctx context.Context, f ScheduledFilter) (Page[ScheduledQuery], error) {
	return s.page(ctx, callQueriesPacked, f)
}

// Packed walks through the queries that are in packs from f.Start on, f.Limit at a
// time.
func (s *QueriesService) Packed(ctx context.Context, f ScheduledFilter) iter.Seq2[ScheduledQuery, error] {
	return s.walk(ctx, callQueriesPacked, f)
}

func (s *QueriesService) page(ctx context.Context, k call, f ScheduledFilter) (page Page[ScheduledQuery], err error) {
	in := make(map[string]any)
	if err := paging(in, "list queries", f.Start, f.Limit); err != nil {
		return page, err
	}
	set(in, "searchterm", f.Search)
	return paged(ctx, s.c, k, in, scheduledRow)
}

func (s *QueriesService) walk(ctx context.Context, k call, f ScheduledFilter) iter.Seq2[ScheduledQuery, error] {
	return listFrom(ctx, &f.Start, &f.Limit, func(ctx context.Context) (Page[ScheduledQuery], error) {
		return s.page(ctx, k, f)
	}, func(q *ScheduledQuery) string { return idKey(q.ID) })
}

// Get fetches one scheduled query. ErrNotFound if there is none.
// API: GET /queries/{query_id} (REST guide 4.0.0, "Get a query").
func (s *QueriesService) Get(ctx context.Context, id int64) (q ScheduledQuery, err error) {
	k, err := callQueriesGet.withID(id)
	if err != nil {
		return ScheduledQuery{}, err
	}
	err = s.c.do(ctx, k, nil, data(func(v value) { q = readScheduled(v) }))
	if err == nil && q.ID == 0 {
		err = missing(k)
	}
	if err != nil {
		return ScheduledQuery{}, err
	}
	return q, nil
}

var scheduledPlatforms = []string{"all", "windows", "linux", "darwin", "freebsd", "posix"}

// in is what the server is sent. Snapshot always goes along, as text, because the
// server takes its absence for true.
func (q ScheduledQuery) in(call string) (map[string]any, error) {
	seconds, err := intervalOf(call, q.Name, q.Interval)
	if err := errors.Join(plainName(call, q.Name), needed(call, "SQL", q.SQL),
		inSet(call, "platform", q.Platform, scheduledPlatforms...), err); err != nil {
		return nil, err
	}
	in := map[string]any{"name": q.Name, "query": q.SQL, "interval": seconds, "snapshot": strconv.FormatBool(q.Snapshot)}
	set(in, "platform", q.Platform)
	set(in, "version", q.Version)
	set(in, "description", q.Description)
	set(in, "value", q.Value)
	for key, list := range map[string][]string{"tags": q.Tags, "packs": q.Packs} {
		if len(list) == 0 {
			continue
		}
		if in[key], err = commaList(call, list); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// Add adds a scheduled query and returns its id; ID and Shard of q are not sent. No
// agent runs it before it has a tag or pack that a host has. Packs are looked up
// before, because the server passes over names that it does not know; such names are
// ErrInvalid here. A name that is taken and SQL that osquery does not understand are
// ErrRefused. It needs the admin role in release 4.0.
// API: POST /queries/add (REST guide 4.0.0, "Add a query").
func (s *QueriesService) Add(ctx context.Context, q ScheduledQuery) (id int64, err error) {
	const call = "add query"
	in, err := q.in(call)
	if err != nil {
		return 0, err
	}
	for _, tag := range q.Tags {
		if err := CheckTag(tag); err != nil {
			return 0, fmt.Errorf("%s: %w", call, err)
		}
	}
	if err := s.packsExist(ctx, call, q.Packs); err != nil {
		return 0, err
	}
	err = s.c.do(ctx, callQueriesAdd, in, func(v value) { id = v.at("query_id").id() })
	if err == nil && id == 0 {
		err = lacking(callQueriesAdd, "the answer holds no id")
	}
	return id, err
}

// packsExist refuses names of packs that do not exist.
func (s *QueriesService) packsExist(ctx context.Context, call string, names []string) error {
	for _, name := range names {
		_, err := s.c.Packs.named(ctx, name)
		switch {
		case errors.Is(err, ErrNotFound):
			return fmt.Errorf("%s: %w: there is no pack %q", call, ErrInvalid, clip(name, 80))
		case err != nil:
			return fmt.Errorf("%s: look for pack %q: %w", call, clip(name, 80), err)
		}
	}
	return nil
}

// Update replaces a scheduled query by q, whose ID says which; its shard stays. What
// q leaves empty becomes empty: tags, packs, version, description, value. Modify
// keeps them. Unknown packs are ErrInvalid, as with Add. ErrRefused if the id is
// unknown, the name taken or the SQL not understood. It needs the admin role in
// release 4.0.
// API: POST /queries/{query_id} (REST guide 4.0.0, "Update a query").
func (s *QueriesService) Update(ctx context.Context, q ScheduledQuery) error {
	const call = "update query"
	k, err := callQueriesUpdate.withID(q.ID)
	if err != nil {
		return err
	}
	in, err := q.in(call)
	if err != nil {
		return err
	}
	if err := s.packsExist(ctx, call, q.Packs); err != nil {
		return err
	}
	return s.c.do(ctx, k, in, nil)
}

// Modify reads a scheduled query, lets change change it, and writes it back whole,
// so that nothing is lost that change does not touch. What somebody else changes
// between reading and writing is lost; changes by one Client wait for each other, so
// change must not make one. An error of change ends it before anything is written. A
// query whose tags or packs hold a comma, or
// whose platform the call does not take, cannot be written back and is ErrInvalid;
// nothing is written then. It returns the query as it was written. It needs the
// admin role in release 4.0.
func (s *QueriesService) Modify(ctx context.Context, id int64, change func(*ScheduledQuery) error) (ScheduledQuery, error) {
	release, err := s.turn.take(ctx)
	if err != nil {
		return ScheduledQuery{}, err
	}
	defer release()
	before, err := s.Get(ctx, id)
	if err != nil {
		return ScheduledQuery{}, fmt.Errorf("modify query %d: read: %w", id, err)
	}
	after := before
	after.Tags, after.Packs = slices.Clone(before.Tags), slices.Clone(before.Packs)
	if err := change(&after); err != nil {
		return ScheduledQuery{}, fmt.Errorf("modify query %d: %w", id, err)
	}
	sameShard := after.Shard == before.Shard || after.Shard != nil && before.Shard != nil && *after.Shard == *before.Shard
	if after.ID != before.ID || !sameShard {
		return ScheduledQuery{}, fmt.Errorf("modify query %d: %w: id and shard cannot be changed", id, ErrInvalid)
	}
	if err := s.Update(ctx, after); err != nil {
		return ScheduledQuery{}, fmt.Errorf("modify query %d: %w", id, err)
	}
	return after, nil
}

// Tags fetches the tags of a scheduled query. ErrNotFound if there is none.
// API: GET /queries/{query_id}/tags (REST guide 4.0.0, "Get all tags for a query").
func (s *QueriesService) Tags(ctx context.Context, id int64) (tags []string, err error) {
	k, err := callQueriesTagsList.withID(id)
	if err != nil {
		return nil, err
	}
	return s.c.tags(ctx, k)
}

// AddTag tags a scheduled query, which may have the tag already: hosts with the tag
// run it from then on. One tag a call, though the guide allows a list. It needs the
// admin role in release 4.0.
// API: POST /queries/{query_id}/tags (REST guide 4.0.0, "Assign tags to a query").
func (s *QueriesService) AddTag(ctx context.Context, id int64, tag string) error {
	k, err := callQueriesTagsAdd.withID(id)
	if err != nil {
		return err
	}
	return s.c.tag(ctx, k, tag)
}

// RemoveTag takes a tag off a scheduled query. A tag that it does not have is
// ErrRefused. It needs the admin role in release 4.0.
// API: DELETE /queries/{query_id}/tags (REST guide 4.0.0, "Remove a specific tag
// associated with a query").
func (s *QueriesService) RemoveTag(ctx context.Context, id int64, tag string) error {
	k, err := callQueriesTagsRemove.withID(id)
	if err != nil {
		return err
	}
	return s.c.tag(ctx, k, tag)
}

// Delete removes a scheduled query, by id or name; a name of digits only is read as
// an id, and one with a slash is not found: ErrInvalid. An unknown one is ErrRefused.
// It needs the consent DeleteForGood, and the admin role in release 4.0.
// API: DELETE /queries/{query_id}/delete (REST guide 4.0.0, "Delete a query").
func (s *QueriesService) Delete(ctx context.Context, ref string, consent Consent) error {
	if err := consent.must(DeleteForGood, "delete query"); err != nil {
		return err
	}
	k, err := callQueriesDelete.with(ref)
	if err != nil {
		return err
	}
	return s.c.do(ctx, k, nil, nil)
}

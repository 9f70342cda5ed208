package ersim

import (
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// scheduledState is the state behind the section Queries, live queries apart.
type scheduledState struct {
	all    []*scheduledQuery
	lastID int64
}

// scheduledQuery is a query that hosts run by themselves, in a pack or by tag.
type scheduledQuery struct {
	id                                    int64
	name, sql                             string
	interval                              int64 // seconds
	platform, version, description, value any   // text or null
	snapshot                              bool
	shard                                 any // percent of the hosts, or null
	tags                                  []string
}

var queryPlatforms = []string{"all", "windows", "linux", "darwin", "freebsd", "posix"}

// scheduledTable lists the calls around the section Queries, live queries apart.
func (s *Server) scheduledTable() []route {
	const admin = needToken | needAdmin
	return []route{
		{"queries-list", "POST", "/queries", needToken, s.queriesList, nil},
		{"queries-packed", "POST", "/queries/packed", needToken, s.queriesPacked, nil},
		{"queries-get", "GET", "/queries/{id:int}", needToken, s.queriesGet, nil},
		{"queries-add", "POST", "/queries/add", admin, s.queriesAdd, nil},
		{"queries-update", "POST", "/queries/{id:int}", admin, s.queriesUpdate, nil},
		{"queries-tags-list", "GET", "/queries/{id:int}/tags", needToken, s.queriesTags, nil},
		{"queries-tags-add", "POST", "/queries/{id:int}/tags", admin, s.queriesTagAdd, nil},
		{"queries-tags-remove", "DELETE", "/queries/{id:int}/tags", admin, s.queriesTagRemove, nil},
		{"queries-delete", "DELETE", "/queries/{ref}/delete", admin, s.queriesDelete, nil},
	}
}

// buildScheduled makes the state of a new server, beside the queries of its packs.
func (s *Server) buildScheduled() {
	for _, q := range stockScheduled {
		s.addStock(q).platform = "all"
	}
}

func (s *Server) addStock(q stockQuery) *scheduledQuery {
	return s.addQuery(&scheduledQuery{name: q.name, sql: q.sql, interval: q.interval, description: q.description})
}

func (s *Server) addQuery(q *scheduledQuery) *scheduledQuery {
	s.scheduled.lastID++
	q.id = s.scheduled.lastID
	s.scheduled.all = append(s.scheduled.all, q)
	return q
}

func (s *Server) queryWithID(id string) *scheduledQuery {
	for _, q := range s.scheduled.all {
		if strconv.FormatInt(q.id, 10) == id {
			return q
		}
	}
	return nil
}

func (s *Server) queryNamed(name string) *scheduledQuery {
	for _, q := range s.scheduled.all {
		if q.name == name {
			return q
		}
	}
	return nil
}

// object is the query without tags and packs.
func (q *scheduledQuery) object() obj {
	return obj{
		"id": q.id, "name": q.name, "sql": q.sql, "interval": q.interval, "platform": q.platform, "version": q.version,
		"description": q.description, "value": q.value, "snapshot": q.snapshot, "shard": q.shard,
	}
}

func (s *Server) queryObject(q *scheduledQuery) obj {
	row := q.object()
	row["tags"], row["packs"] = textList(q.tags), s.packsWith(q)
	return row
}

// API: POST /queries.
func (s *Server) queriesList(c *call) answer {
	return s.queriesWhere(c, "Successfully fetched the queries info!", func(*scheduledQuery) bool { return true })
}

// API: POST /queries/packed.
func (s *Server) queriesPacked(c *call) answer {
	return s.queriesWhere(c, "Successfully fetched the packed queries info", func(q *scheduledQuery) bool { return len(s.packsWith(q)) > 0 })
}

// queriesWhere lists some queries by name.
func (s *Server) queriesWhere(c *call, message string, wanted func(*scheduledQuery) bool) answer {
	start, limit, pattern, refusal := s.listArgs(c)
	if refusal != nil {
		return *refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	total, found := 0, []*scheduledQuery{}
	for _, q := range s.scheduled.all {
		if !wanted(q) {
			continue
		}
		total++
		if like(q.name, pattern) {
			found = append(found, q)
		}
	}
	slices.SortStableFunc(found, func(a, b *scheduledQuery) int { return strings.Compare(a.name, b.name) })
	rows := []obj{}
	for _, q := range page(found, start, limit) {
		rows = append(rows, s.queryObject(q))
	}
	return s.ok(message, obj{"count": len(found), "total_count": total, "results": rows})
}

const noQuery = "Query with this id does not exist"

// API: GET /queries/{query_id}.
func (s *Server) queriesGet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queryWithID(c.path["id"])
	if q == nil {
		return s.refuse(noQuery)
	}
	return s.ok("Successfully fetched the query info for the given id", s.queryObject(q))
}

// queryInput reads what the calls that add and update have in common. Text that is
// left out becomes null, and snapshot true.
func (s *Server) queryInput(c *call) (in scheduledQuery, refusal *answer) {
	c.need("name", "name of the query")
	c.need("query", "query")
	c.need("interval", "interval of the query")
	in = scheduledQuery{name: c.text("name"), sql: c.text("query"), interval: c.number("interval", "interval of the query", 0)}
	if platform := c.choice("platform", "platform(all/windows/linux/darwin/freebsd/posix)", queryPlatforms...); platform != "" {
		in.platform = platform
	} else if s.profile.v4 {
		in.platform = "all"
	}
	in.snapshot = c.choice("snapshot", "snapshot('true'/'false')", "true", "false") != "false"
	if bad := s.invalid(c.args); bad != nil {
		return in, bad
	}
	in.version, in.description, in.value = c.values["version"], c.values["description"], c.values["value"]
	in.tags = splitTags(c.text("tags"))
	if !s.profile.v4 {
		return in, nil
	}
	in.name = strings.TrimSpace(in.name)
	switch {
	case in.name == "":
		return in, new(plain(http.StatusBadRequest, "Please provide valid name!"))
	case in.sql == "":
		return in, new(plain(http.StatusBadRequest, "Please provide valid SQL!"))
	}
	return in, nil
}

// API: POST /queries/add. Names of packs that do not exist are passed over.
func (s *Server) queriesAdd(c *call) answer {
	in, refusal := s.queryInput(c)
	if refusal != nil {
		return *refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.queryNamed(in.name) != nil:
		return s.refuse("Query with this name already exists")
	case !s.validSQL(in.sql):
		return s.refuse(`Invalid osquery query: "` + in.sql + `"`)
	case in.interval <= 0:
		return s.refuse("Interval provided is not valid! Please provide an interval greater than 0")
	case s.wrongTagsOf(c) != "":
		return s.refuse(s.wrongTagsOf(c))
	case in.interval > math.MaxInt32: // the column's range
		return s.crash()
	}
	in.shard = 100
	q := s.addQuery(&in)
	s.makeTags(q.tags...)
	s.putIntoPacks(q, c.text("packs"))
	return s.flat("Successfully added the query for the data given", obj{"query_id": q.id})
}

// wrongTagsOf says what is wrong with the tags that a query is to have. Release
// 2.1.2 passes over what is not a tag.
func (s *Server) wrongTagsOf(c *call) string {
	if !s.profile.v4 || c.text("tags") == "" {
		return ""
	}
	return s.wrongTags(c.text("tags"))
}

// putIntoPacks makes the packs of a comma list hold the query, and no others.
func (s *Server) putIntoPacks(q *scheduledQuery, list string) {
	names := strings.Split(list, ",")
	for _, p := range s.packs.all {
		switch has := slices.Contains(p.queries, q); {
		case slices.Contains(names, p.name) && !has:
			p.queries = append(p.queries, q)
		case !slices.Contains(names, p.name) && has:
			p.queries = slices.DeleteFunc(p.queries, func(other *scheduledQuery) bool { return other == q })
		}
	}
}

// API: POST /queries/{query_id}. Everything but the shard is replaced; nothing
// checks the interval.
func (s *Server) queriesUpdate(c *call) answer {
	in, refusal := s.queryInput(c)
	if refusal != nil {
		return *refusal
	}
	if wrong := s.wrongTagsOf(c); wrong != "" {
		return plain(http.StatusBadRequest, wrong)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queryWithID(c.path["id"])
	switch {
	case q != nil && s.profile.v4 && s.nameTaken(q, in.name):
		return s.refuse("Query with this name already exists")
	case q == nil:
		return s.refuse(noQuery)
	case !s.validSQL(in.sql):
		return s.refuse("Query is not a valid SQL!")
	case in.interval != int64(int32(in.interval)): // the column's range
		return s.crash()
	}
	in.id, in.shard = q.id, q.shard
	*q = in
	s.makeTags(q.tags...)
	s.putIntoPacks(q, c.text("packs"))
	return s.ok("Successfully updated the query for the given id", q.object())
}

// nameTaken reports whether another query that counts has the name: in one of the
// query's packs, or anywhere if it is in none.
func (s *Server) nameTaken(q *scheduledQuery, name string) bool {
	packs := s.packsWith(q)
	for _, other := range s.scheduled.all {
		if other == q || other.name != name {
			continue
		}
		shared := slices.ContainsFunc(s.packsWith(other), func(pack string) bool { return slices.Contains(packs, pack) })
		if len(packs) == 0 || shared {
			return true
		}
	}
	return false
}

const badQueryID = "Query id passed it not correct"

// API: GET /queries/{query_id}/tags.
func (s *Server) queriesTags(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queryWithID(c.path["id"])
	if q == nil {
		return s.fail(badQueryID)
	}
	return s.ok("Successfully fetched the tags of query", textList(q.tags))
}

// API: POST /queries/{query_id}/tags.
func (s *Server) queriesTagAdd(c *call) answer {
	return s.tagObject(c, "query", badQueryID, s.tagsOfQuery(c))
}

// API: DELETE /queries/{query_id}/tags.
func (s *Server) queriesTagRemove(c *call) answer {
	return s.untagObject(c, "query", badQueryID, s.tagsOfQuery(c))
}

func (s *Server) tagsOfQuery(c *call) func() *[]string {
	return func() *[]string {
		if q := s.queryWithID(c.path["id"]); q != nil {
			return &q.tags
		}
		return nil
	}
}

// API: DELETE /queries/{query_id or query_name}/delete.
func (s *Server) queriesDelete(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	ref := c.path["ref"]
	q := s.queryNamed(ref)
	if strings.Trim(ref, "0123456789") == "" {
		q = s.queryWithID(ref)
	}
	if q == nil {
		return s.fail("Query is not available with this query_name or query_id")
	}
	s.putIntoPacks(q, "")
	s.scheduled.all = slices.DeleteFunc(s.scheduled.all, func(other *scheduledQuery) bool { return other == q })
	return s.envelope("Success", "Successfully Removed the query", nil)
}

// sqlSource finds the tables that a statement reads.
var sqlSource = regexp.MustCompile(`(?i)\b(?:from|join)\s+([a-z_][a-z0-9_]*)`)

// validSQL stands for the server's trial run against empty tables. Scheduled queries
// join and nest more than this simulator runs, so beyond a statement that it
// understands it looks at the tables only.
func (s *Server) validSQL(sql string) bool {
	if st, err := parseSQL(sql); err == nil {
		t, simulated := tables[st.table]
		return st.table == "" || simulated && st.valid(t.columns) || !simulated && knownTable(st.table)
	}
	sources := sqlSource.FindAllStringSubmatch(sql, -1)
	if !strings.HasPrefix(strings.ToLower(strings.TrimSpace(sql)), "select ") || len(sources) == 0 {
		return false
	}
	for _, source := range sources {
		if !knownTable(strings.ToLower(source[1])) {
			return false
		}
	}
	return true
}

// knownTable reports whether agents have a table: one that the simulator plays, or
// another that a stock query reads.
func knownTable(name string) bool {
	if _, ok := tables[name]; ok {
		return true
	}
	reads := func(q stockQuery) bool {
		return slices.ContainsFunc(sqlSource.FindAllStringSubmatch(q.sql, -1), func(m []string) bool { return m[1] == name })
	}
	for _, k := range stockConfigs {
		if slices.ContainsFunc(k.queries, reads) {
			return true
		}
	}
	for _, p := range stockPacks {
		if slices.ContainsFunc(p.queries, reads) {
			return true
		}
	}
	return slices.ContainsFunc(stockScheduled, reads)
}

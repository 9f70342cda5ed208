package ersim

import (
	"slices"
	"strconv"
)

// v0QueryTable lists the calls around scheduled queries, packs and tags.
func (s *Server) v0QueryTable() []route {
	return []route{
		{"v0-queries", "GET", "/queries/", needToken, s.v0Queries, nil},
		{"v0-queries-packed", "GET", "/queries/packs", needToken, s.v0QueriesPacked, nil},
		{"v0-queries-add", "POST", "/queries/add", needToken, s.v0QueriesAdd, nil},
		{"v0-queries-tag-edit", "POST", "/queries/tag/edit", needToken, s.v0QueryTagEdit, nil},
		{"v0-queries-get", "GET", "/queries/{id:int}", needToken, s.v0QueriesGet, nil},
		{"v0-queries-update", "POST", "/queries/{id:int}", needToken, s.v0QueriesUpdate, nil},
		{"v0-queries-tags-get", "GET", "/queries/{id:int}/tags", needToken, s.v0QueryTags, nil},
		{"v0-queries-tags-add", "POST", "/queries/{id:int}/tags", needToken, s.v0QueryTagsAdd, nil},

		{"v0-packs", "GET", "/packs/", needToken, s.v0Packs, nil},
		{"v0-packs-add", "POST", "/packs/add", needToken, s.v0PacksAdd, nil},
		{"v0-packs-upload", "POST", "/packs/upload", needToken, s.packsUpload, nil},
		{"v0-packs-tag-edit", "POST", "/packs/tag/edit", needToken, s.v0PackTagEdit, nil},
		{"v0-packs-get", "GET", "/packs/{id:int}", needToken, s.v0PacksGet, nil},
		{"v0-packs-tags-get", "GET", "/packs/{name}/tags", needToken, s.v0PackTags, nil},
		{"v0-packs-tags-add", "POST", "/packs/{name}/tags", needToken, s.v0PackTagsAdd, nil},

		{"v0-tags", "GET", "/tags/", needToken, s.v0Tags, nil},
		{"v0-tags-add", "POST", "/tags/add", needToken, s.v0TagsAdd, nil},
	}
}

const (
	v0NoQueryTags = "Invalid query id. Query with this id does not exist"
	v0NoPackTags  = "Invalid pack id. Pack with this id does not exist"
	v0NoPackNamed = "Invalid pack name. This pack does not exist"
)

// v0QueryRow is a query with its tags. The older documents name the SQL query and
// tell whether rows that vanish are reported.
func (s *Server) v0QueryRow(q *scheduledQuery) obj {
	row := q.object()
	row["tags"] = textList(q.tags)
	if s.older() {
		row["query"], row["removed"] = q.sql, !q.snapshot
		delete(row, "sql")
		delete(row, "snapshot")
	}
	return row
}

func (s *Server) v0QueryRows(wanted func(*scheduledQuery) bool) []obj {
	rows := []obj{}
	for _, q := range s.scheduled.all {
		if wanted(q) {
			rows = append(rows, s.v0QueryRow(q))
		}
	}
	return rows
}

// API: GET /queries/.
func (s *Server) v0Queries(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.v0OK("successfully fetched the queries info", s.v0QueryRows(func(*scheduledQuery) bool { return true }))
}

// API: GET /queries/packs. It names the packs of each query, too.
func (s *Server) v0QueriesPacked(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := []obj{}
	for _, q := range s.scheduled.all {
		if packs := s.packsWith(q); len(packs) > 0 {
			row := s.v0QueryRow(q)
			row["packs"] = packs
			rows = append(rows, row)
		}
	}
	return s.v0OK("successfully fetched the packed queries info", rows)
}

// API: GET /queries/{query_id}.
func (s *Server) v0QueriesGet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queryWithID(c.path["id"])
	if q == nil {
		return s.fail(noQuery)
	}
	row := s.v0QueryRow(q)
	if !s.older() {
		row["packs"] = s.packsWith(q)
	}
	return s.v0OK("successfully fetched the query info for the given id", row)
}

// v0QueryInput reads what the calls that add and update need. Nothing checks the
// interval.
func (s *Server) v0QueryInput(c *call) (in scheduledQuery, refusal *answer) {
	c.need("name", "name of the query")
	c.need("query", "query")
	c.need("interval", "interval of the query")
	snapshot := c.flag("snapshot", "snapshot")
	in = scheduledQuery{
		name: c.text("name"), sql: c.text("query"), interval: c.number("interval", "interval of the query", 0),
		platform: c.values["platform"], version: c.values["version"], description: c.values["description"], value: c.values["value"],
		snapshot: snapshot != nil && *snapshot, tags: retag(nil, s.words(c, "tags"), nil),
	}
	return in, s.invalid(c.args)
}

// API: POST /queries/add. The older documents have the id below data.
func (s *Server) v0QueriesAdd(c *call) answer {
	in, refusal := s.v0QueryInput(c)
	if refusal != nil {
		return *refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.queryNamed(in.name) != nil:
		return s.fail("Query with this name already exists")
	case !s.validSQL(in.sql):
		return s.fail(`Invalid osquery query: "` + in.sql + `"`)
	}
	in.shard = 100
	q := s.addQuery(&in)
	return s.flat("Successfully added the query for the data given", obj{"query_id": q.id})
}

// API: POST /queries/{query_id}. Name, SQL and interval are replaced.
func (s *Server) v0QueriesUpdate(c *call) answer {
	in, refusal := s.v0QueryInput(c)
	if refusal != nil {
		return *refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queryWithID(c.path["id"])
	switch {
	case q == nil:
		return s.fail(noQuery)
	case !s.validSQL(in.sql):
		return s.fail(`Invalid osquery query: "` + in.sql + `"`)
	}
	q.name, q.sql, q.interval = in.name, in.sql, in.interval
	return s.v0OK("successfully edited the query info for the given id", s.v0QueryRow(q))
}

// v0Carrier changes the tags of what find finds, or refuses with the message.
func (s *Server) v0Carrier(find func() *[]string, add, remove []string, missing, message string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	tags := find()
	if tags == nil {
		return s.fail(missing)
	}
	*tags = retag(*tags, add, remove)
	return s.v0OK(message, nil)
}

// v0Edit is a call that adds and removes tags at once; its id is a number in the body.
func (s *Server) v0Edit(c *call, idName, missing string, find func(id string) *[]string) answer {
	c.need(idName, idName)
	id := c.number(idName, idName, 0)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	add, remove, refusal := s.editTags(c)
	if refusal != nil {
		return *refusal
	}
	return s.v0Carrier(func() *[]string { return find(strconv.FormatInt(id, 10)) }, add, remove, missing, v0TagsSaved)
}

// v0Add is a call that adds tags to what its path names.
func (s *Server) v0Add(c *call, missing, message string, find func() *[]string) answer {
	c.need("tags", "list of comma separated tags to be created")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	return s.v0Carrier(find, s.words(c, "tags"), nil, missing, message)
}

// v0TagsOf is a call that lists the tags of what its path names.
func (s *Server) v0TagsOf(missing string, find func() *[]string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	tags := find()
	if tags == nil {
		return s.fail(missing)
	}
	return s.v0OK(v0TagsGot, textList(*tags))
}

func (s *Server) queryTags(id string) *[]string {
	if q := s.queryWithID(id); q != nil {
		return &q.tags
	}
	return nil
}

// API: POST /queries/tag/edit.
func (s *Server) v0QueryTagEdit(c *call) answer {
	return s.v0Edit(c, "query_id", v0NoQueryTags, s.queryTags)
}

// API: GET /queries/{query_id}/tags.
func (s *Server) v0QueryTags(c *call) answer {
	return s.v0TagsOf(v0NoQueryTags, func() *[]string { return s.queryTags(c.path["id"]) })
}

// API: POST /queries/{query_id}/tags.
func (s *Server) v0QueryTagsAdd(c *call) answer {
	return s.v0Add(c, v0NoQueryTags, "Successfully created the tag(s) to queries", func() *[]string { return s.queryTags(c.path["id"]) })
}

// v0PackRow is a pack: with the names of its queries, or in the older documents
// with the queries themselves.
func (s *Server) v0PackRow(p *pack) obj {
	row := p.object()
	delete(row, "category")
	if !s.older() {
		names := []string{}
		for _, q := range p.queries {
			names = append(names, q.name)
		}
		row["queries"] = names
		return row
	}
	delete(row, "description")
	queries := obj{}
	for _, q := range p.queries {
		queries[q.name] = s.v0QueryRow(q)
	}
	row["queries"], row["discovery"] = queries, []string{}
	return row
}

// API: GET /packs/.
func (s *Server) v0Packs(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := []obj{}
	for _, p := range s.packs.all {
		rows = append(rows, s.v0PackRow(p))
	}
	return s.v0OK("successfully fetched the packs info", rows)
}

// API: GET /packs/{pack_id}.
func (s *Server) v0PacksGet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pack(c.path["id"])
	if p == nil {
		return s.fail("Pack info with this pack_id does not exist")
	}
	return s.v0OK("successfully fetched the packs info", s.v0PackRow(p))
}

// API: POST /packs/add. A pack of that name gets the queries that it lacks.
func (s *Server) v0PacksAdd(c *call) answer {
	c.need("name", "name of the pack")
	c.need("queries", "dict of queries")
	in := packInput{name: c.text("name"), queries: c.object("queries", "dict of queries"), category: c.text("category"), fields: c.values}
	if shard := c.number("shard", "shard", 0); c.present("shard") {
		in.shard = shard
	}
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	tags := s.words(c, "tags")
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.importPack(in)
	if p := s.packNamed(in.name); p != nil && len(tags) > 0 {
		p.tags = retag(nil, tags, nil)
	}
	return out
}

func (s *Server) packTags(id string) *[]string {
	if p := s.pack(id); p != nil {
		return &p.tags
	}
	return nil
}

func (s *Server) namedPackTags(c *call) func() *[]string {
	return func() *[]string {
		if p := s.packNamed(c.path["name"]); p != nil {
			return &p.tags
		}
		return nil
	}
}

// API: POST /packs/tag/edit.
func (s *Server) v0PackTagEdit(c *call) answer {
	return s.v0Edit(c, "pack_id", v0NoPackTags, s.packTags)
}

// API: GET /packs/{pack_name}/tags.
func (s *Server) v0PackTags(c *call) answer { return s.v0TagsOf(v0NoPackNamed, s.namedPackTags(c)) }

// API: POST /packs/{pack_name}/tags.
func (s *Server) v0PackTagsAdd(c *call) answer {
	return s.v0Add(c, v0NoPackNamed, "Successfully created the tag(s) to packs", s.namedPackTags(c))
}

// API: GET /tags/: names in the older documents, and with what carries them in the
// source.
func (s *Server) v0Tags(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noticeTags()
	if s.older() {
		return s.v0OK("Successfully received the tags", textList(s.tags.known))
	}
	rows := []obj{}
	for _, tag := range s.tags.known {
		nodes, packs, queries := []string{}, []string{}, []string{}
		for _, h := range s.taggedHosts([]string{tag}) {
			nodes = append(nodes, h.identifier)
		}
		for _, p := range s.taggedPacks([]string{tag}) {
			packs = append(packs, p.name)
		}
		for _, q := range s.taggedQueries([]string{tag}) {
			queries = append(queries, q.name)
		}
		rows = append(rows, obj{"value": tag, "nodes": nodes, "packs": packs, "queries": queries, "file_paths": []string{}})
	}
	return s.v0OK("Successfully fetched the tags info", rows)
}

// API: POST /tags/add. A tag that is there already is success too.
func (s *Server) v0TagsAdd(c *call) answer {
	c.need("tags", "tags to add")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeTags(slices.Clone(s.words(c, "tags"))...)
	return s.v0OK("Tags are added successfully", nil)
}

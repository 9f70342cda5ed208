package ersim

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// packsState is the state behind the section Packs.
type packsState struct {
	all    []*pack
	lastID int64
}

// pack is a named set of scheduled queries.
type pack struct {
	id                             int64
	name                           string
	platform, version, description any // text or null
	shard                          any // number or null
	category                       string
	tags                           []string
	queries                        []*scheduledQuery
}

var (
	packCategories = []string{
		"Intrusion Detection", "Monitoring", "Compliance and Management", "Forensics and Incident Response", "General", "Others",
	}
	packPlatforms = []string{"windows", "linux", "darwin"}
)

// packsTable lists the calls around the section Packs.
func (s *Server) packsTable() []route {
	const admin = needToken | needAdmin
	return []route{
		{"packs-list", "POST", "/packs", needToken, s.packsList, nil},
		{"packs-get", "GET", "/packs/{id:int}", needToken, s.packsGet, nil},
		{"packs-add", "POST", "/packs/add", admin, s.packsAdd, nil},
		{"packs-upload", "POST", "/packs/upload", admin, s.packsUpload, nil},
		{"packs-tags-list", "GET", "/packs/{ref}/tags", needToken, s.packsTags, nil},
		{"packs-tags-add", "POST", "/packs/{ref}/tags", admin, s.packsTagAdd, nil},
		{"packs-tags-remove", "DELETE", "/packs/{ref}/tags", admin, s.packsTagRemove, nil},
		{"packs-delete", "DELETE", "/packs/{ref}/delete", admin, s.packsDelete, nil},
	}
}

// buildPacks makes the state of a new server.
func (s *Server) buildPacks() {
	for _, stock := range stockPacks {
		p := s.newPack(stock.name)
		p.category = stock.category
		for _, q := range stock.queries {
			p.queries = append(p.queries, s.addStock(q))
		}
	}
}

func (s *Server) newPack(name string) *pack {
	s.packs.lastID++
	p := &pack{id: s.packs.lastID, name: name, category: "General"}
	s.packs.all = append(s.packs.all, p)
	return p
}

// pack finds a pack by id or, where the text is not a number, by name.
func (s *Server) pack(ref string) *pack {
	digits := strings.Trim(ref, "0123456789") == ""
	for _, p := range s.packs.all {
		if digits && strconv.FormatInt(p.id, 10) == ref || !digits && p.name == ref {
			return p
		}
	}
	return nil
}

func (s *Server) packNamed(name string) *pack {
	for _, p := range s.packs.all {
		if p.name == name {
			return p
		}
	}
	return nil
}

// packsWith names the packs that hold a query.
func (s *Server) packsWith(q *scheduledQuery) []string {
	names := []string{}
	for _, p := range s.packs.all {
		if slices.Contains(p.queries, q) {
			names = append(names, p.name)
		}
	}
	return names
}

// object is the pack without its queries.
func (p *pack) object() obj {
	return obj{
		"id": p.id, "name": p.name, "platform": p.platform, "version": p.version, "description": p.description, "shard": p.shard,
		"category": p.category, "tags": textList(p.tags),
	}
}

// listArgs reads the arguments of a list. Without limit everything comes back; a
// negative number breaks the database call.
func (s *Server) listArgs(c *call) (start, limit int64, pattern string, refusal *answer) {
	start, limit = c.number("start", "start", 0), c.number("limit", "limit", -1)
	if bad := s.invalid(c.args); bad != nil {
		return 0, 0, "", bad
	}
	if start < 0 || c.present("limit") && limit < 0 || c.null("searchterm") {
		crashed := s.crash()
		return 0, 0, "", &crashed
	}
	return start, limit, "%" + c.text("searchterm") + "%", nil
}

// API: POST /packs, by name; release 2.1.2 has the newest first.
func (s *Server) packsList(c *call) answer {
	start, limit, pattern, refusal := s.listArgs(c)
	if refusal != nil {
		return *refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*pack
	for _, p := range s.packs.all {
		if slices.ContainsFunc([]any{p.name, p.platform, p.version, p.description, p.category, p.shard}, matches(pattern)) {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b *pack) int {
		if !s.profile.v4 {
			return int(b.id - a.id)
		}
		return strings.Compare(a.name, b.name)
	})
	rows := []obj{}
	for _, p := range page(found, start, limit) {
		row, queries := p.object(), []obj{}
		for _, q := range p.queries {
			queries = append(queries, s.queryObject(q))
		}
		row["queries"] = queries
		rows = append(rows, row)
	}
	return s.ok("Successfully fetched the packs info", obj{"count": len(found), "total_count": len(s.packs.all), "results": rows})
}

// matches compares a text or number with a pattern of SQL's LIKE; null matches none.
func matches(pattern string) func(v any) bool {
	return func(v any) bool {
		switch v := v.(type) {
		case string:
			return like(v, pattern)
		case int64:
			return like(strconv.FormatInt(v, 10), pattern)
		}
		return false
	}
}

// API: GET /packs/{pack_id}: of the queries the names only.
func (s *Server) packsGet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pack(c.path["id"])
	if p == nil {
		return s.refuse("Pack info with this pack id does not exist")
	}
	row, names := p.object(), []string{}
	for _, q := range p.queries {
		names = append(names, q.name)
	}
	row["queries"] = names
	return s.ok("successfully fetched the packs info", row)
}

// refuse is a refusal of the few calls whose failures have no data key in either release.
func (s *Server) refuse(message string) answer {
	return jsonAnswer(200, obj{"status": "failure", "message": message})
}

// API: POST /packs/add.
func (s *Server) packsAdd(c *call) answer {
	c.need("name", "name of the pack")
	c.need("queries", "dict of queries")
	queries := c.object("queries", "dict of queries")
	c.choice("category", "category", packCategories...)
	c.choice("platform", "platform(windows/linux/darwin)", packPlatforms...)
	shard := c.number("shard", "shard", 0)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	in := packInput{name: c.text("name"), queries: queries, category: c.text("category"), fields: c.values}
	if c.present("shard") {
		in.shard = shard
	}
	if c.present("tags") {
		in.tags = new(c.text("tags"))
	}
	if s.profile.v4 {
		in.name = strings.TrimSpace(in.name)
		switch {
		case in.name == "":
			return s.fail("Pack name provided is not acceptable!")
		case in.tags != nil && s.wrongTags(*in.tags) != "":
			return s.fail(s.wrongTags(*in.tags))
		}
	} else if in.tags == nil {
		return s.crash() // public source of release 2.1.2: the missing text is split at its commas
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.importPack(in)
}

// wrongTags says what is wrong with a tag of a comma list.
func (s *Server) wrongTags(list string) string {
	for tag := range strings.SplitSeq(list, ",") {
		if wrong := s.wrongTag(strings.TrimSpace(tag)); wrong != "" {
			return wrong
		}
	}
	return ""
}

// packInput is a pack that was sent.
type packInput struct {
	name     string
	queries  obj
	category string
	shard    any
	tags     *string
	fields   obj // platform, version and description as they came
}

// importPack makes the pack or changes the one of that name. Of a pack that is
// there, 4.0 keeps the queries as they are and adds those with new names. 4.0
// leaves queries out whose SQL it does not understand; 2.1.2 breaks at the first,
// with the pack made in part.
func (s *Server) importPack(in packInput) answer {
	p, message := s.packNamed(in.name), "Imported query pack and pack is added/uploaded successfully"
	isNew := p == nil
	if isNew {
		p = s.newPack(in.name)
	} else if s.profile.v4 {
		message = "Imported query pack and pack is updated to successfully"
	}
	if isNew || s.profile.v4 {
		p.platform, p.version, p.description, p.shard = in.fields["platform"], in.fields["version"], in.fields["description"], in.shard
		p.category = defaultText(in.category, "General") // null is shown as General
	}
	for _, name := range slices.Sorted(maps.Keys(in.queries)) {
		sent, _ := in.queries[name].(obj)
		sql, isText := sent["query"].(string)
		if !isText || !s.validSQL(sql) && !s.profile.v4 {
			return s.crash()
		}
		if !s.validSQL(sql) || s.profile.v4 && p.has(name) {
			continue
		}
		q := s.queryToShare(name, sql)
		if q == nil {
			var ok bool
			if q, ok = s.importQuery(name, sql, sent); !ok {
				return s.crash()
			}
		}
		if !slices.Contains(p.queries, q) {
			p.queries = append(p.queries, q)
		}
	}
	if in.tags != nil && *in.tags != "" {
		p.tags = splitTags(*in.tags)
		s.makeTags(p.tags...)
	}
	return s.flat(message, obj{"pack_id": p.id})
}

func (p *pack) has(query string) bool {
	return slices.ContainsFunc(p.queries, func(q *scheduledQuery) bool { return q.name == query })
}

// queryToShare is the query that release 2.1.2 puts into a pack in place of an equal
// new one.
func (s *Server) queryToShare(name, sql string) *scheduledQuery {
	if q := s.queryNamed(name); !s.profile.v4 && q != nil && q.sql == sql {
		return q
	}
	return nil
}

// importQuery makes a query of a pack. Its tags are not read, and nothing checks
// its platform.
func (s *Server) importQuery(name, sql string, sent obj) (*scheduledQuery, bool) {
	q := &scheduledQuery{
		name: name, sql: sql, interval: hourly, platform: sent["platform"], version: sent["version"], description: sent["description"],
		value: sent["value"],
	}
	if v, there := sent["interval"]; there {
		var ok bool
		if q.interval, ok = wholeNumber(v); !ok {
			return nil, false
		}
	}
	if s.profile.v4 && (q.platform == nil || q.platform == "") {
		q.platform = "all"
	}
	q.snapshot, _ = sent["snapshot"].(bool)
	if shard, ok := wholeNumber(sent["shard"]); ok {
		q.shard = shard
	}
	return s.addQuery(q), true
}

// splitTags reads a comma list, each tag once.
func splitTags(list string) []string {
	var tags []string
	for tag := range strings.SplitSeq(list, ",") {
		if tag = strings.TrimSpace(tag); tag != "" && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags
}

const badPackFile = "Please upload only readable(.json/.conf) formatted files with well json!"

// API: POST /packs/upload. The pack's name is the file's, in lower case, up to the
// first dot.
func (s *Server) packsUpload(c *call) answer {
	if c.file == nil {
		c.mistake("file", "packs file", missingText)
	}
	c.choice("category", "pack category", packCategories...)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	var content obj
	d := json.NewDecoder(bytes.NewReader(c.file))
	d.UseNumber()
	if err := d.Decode(&content); err != nil || content == nil || d.More() {
		return s.fail(badPackFile)
	}
	name, _, _ := strings.Cut(strings.ToLower(c.name), ".")
	queries, isObject := content["queries"].(obj)
	in := packInput{name: name, queries: queries, fields: content}
	in.category, _ = content["category"].(string)
	if c.present("category") && (s.profile.v4 || in.category == "") {
		in.category = c.text("category")
	}
	if shard, ok := wholeNumber(content["shard"]); ok {
		in.shard = shard
	}
	if tags, ok := content["tags"].(string); ok {
		in.tags = &tags
	}
	switch {
	case strings.TrimSpace(name) == "":
		return s.fail("Please upload pack file with name")
	case content["queries"] == nil:
		return s.fail("Queries are compulsory!")
	case !isObject || content["tags"] != nil && in.tags == nil:
		return s.fail(badPackFile)
	case s.profile.v4 && in.tags != nil && s.wrongTags(*in.tags) != "":
		return s.fail(s.wrongTags(*in.tags))
	case s.profile.v4 && !platformsFit(content):
		return s.fail("Invalid platform")
	case s.profile.v4 && slices.ContainsFunc(slices.Collect(maps.Values(queries)), func(q any) bool { return !sound(q) }):
		return s.fail(badPackFile)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.importPack(in)
}

// platformsFit reports whether the platforms in a pack file, its own and those of
// its queries, are known.
func platformsFit(content obj) bool {
	known := func(v any) bool {
		text, ok := v.(string)
		return v == nil || text == "" || ok && slices.Contains(append([]string{"all"}, packPlatforms...), strings.ToLower(text))
	}
	queries, _ := content["queries"].(obj)
	for _, query := range queries {
		if q, _ := query.(obj); !known(q["platform"]) {
			return false
		}
	}
	return known(content["platform"])
}

// sound reports whether a query of a pack file has what the import reads.
func sound(query any) bool {
	q, _ := query.(obj)
	_, isText := q["query"].(string)
	interval, there := q["interval"]
	_, ok := wholeNumber(interval)
	return isText && (!there || ok)
}

const badPack = "Pack id or pack name passed it not correct"

// API: GET /packs/{pack_id or pack_name}/tags.
func (s *Server) packsTags(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pack(c.path["ref"])
	if p == nil {
		return s.fail(badPack)
	}
	return s.ok("Successfully fetched the tags of pack", textList(p.tags))
}

// API: POST /packs/{pack_id or pack_name}/tags.
func (s *Server) packsTagAdd(c *call) answer {
	return s.tagObject(c, "pack", badPack, func() *[]string {
		if p := s.pack(c.path["ref"]); p != nil {
			return &p.tags
		}
		return nil
	})
}

// API: DELETE /packs/{pack_id or pack_name}/tags.
func (s *Server) packsTagRemove(c *call) answer {
	return s.untagObject(c, "pack", badPack, func() *[]string {
		if p := s.pack(c.path["ref"]); p != nil {
			return &p.tags
		}
		return nil
	})
}

// tagObject adds the tag of a call to those that find returns; nil is unknown.
func (s *Server) tagObject(c *call, kind, unknown string, find func() *[]string) answer {
	c.need("tag", "tag to add/remove for the "+kind)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	tag := strings.TrimSpace(c.text("tag"))
	s.mu.Lock()
	defer s.mu.Unlock()
	tags, wrong := find(), s.wrongTag(tag)
	switch {
	case tags == nil:
		return s.fail(unknown)
	case wrong != "":
		return s.fail(wrong)
	case !slices.Contains(*tags, tag):
		*tags = append(*tags, tag)
		s.makeTags(tag)
	}
	return s.ok("Successfully created tags to "+kind, nil)
}

// untagObject takes the tag of a call off those that find returns; nil is unknown.
func (s *Server) untagObject(c *call, kind, unknown string, find func() *[]string) answer {
	c.need("tag", "tag to add/remove for the "+kind)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	tags, tag := find(), strings.TrimSpace(c.text("tag"))
	if tags == nil {
		return s.fail(unknown)
	}
	at := slices.Index(*tags, tag)
	switch {
	case !s.hasTag(tag):
		return s.fail("Tag provided doesn't exists")
	case at < 0:
		return s.fail("Tag provided is not in " + kind + "'s tag list, Please check tag once again")
	}
	*tags = slices.Delete(*tags, at, at+1)
	return s.ok("Successfully removed tags from "+kind, nil)
}

// API: DELETE /packs/{pack_id or pack_name}/delete. The queries stay.
func (s *Server) packsDelete(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pack(c.path["ref"])
	if p == nil {
		return s.fail("Pack is not available with this pack name or pack id")
	}
	s.packs.all = slices.DeleteFunc(s.packs.all, func(other *pack) bool { return other == p })
	return s.envelope("Success", "Successfully removed the Pack", nil)
}

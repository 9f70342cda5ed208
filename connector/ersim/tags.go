package ersim

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// tagsState is the state behind the section Tags: which tags there are. What carries
// a tag says so itself.
type tagsState struct {
	known []string // in the order in which they were made
}

// tagsTable lists the calls around the section Tags.
func (s *Server) tagsTable() []route {
	const (
		token = needToken
		admin = needToken | needAdmin
	)
	return []route{
		{"tags-list", "GET", "/tags", token, s.tagsList, nil},
		{"tags-add", "POST", "/tags/add", admin, s.tagsAdd, nil},
		{"tags-delete", "POST", "/tags/delete", admin, s.tagsDelete, nil},
		{"tags-tagged", "POST", "/tags/tagged", token, s.tagsTagged, nil},
		{"tags-assign", "PUT", "/tags/{tag}", admin | only4, s.tagsAssign, nil},
	}
}

// buildTags makes the state of a new server.
func (s *Server) buildTags() {
	for _, h := range s.hosts {
		s.makeTags(h.tags...)
	}
}

func (s *Server) hasTag(tag string) bool { return slices.Contains(s.tags.known, tag) }

// makeTags makes the tags that do not exist yet.
func (s *Server) makeTags(tags ...string) {
	for _, tag := range tags {
		if !s.hasTag(tag) {
			s.tags.known = append(s.tags.known, tag)
		}
	}
}

// maxTagLength is one below max_tag_length of the server's common/config.ini.
const maxTagLength = 63

// tagForm is the rule of release 4.0.
var tagForm = regexp.MustCompile(`^[A-Za-z0-9_@.-]{1,63}$`)

// wrongTag says what is wrong with the name of a tag. Release 2.1.2 takes any text.
func (s *Server) wrongTag(tag string) string {
	switch {
	case tag == "":
		return "Tag provided is invalid!"
	case !s.profile.v4:
	case len(tag) > maxTagLength:
		return "Tag length should be between 0 and 64"
	case !tagForm.MatchString(tag):
		return "Tag provided is not valid"
	}
	return ""
}

// natural is a whole number from 0 on.
func (c *call) natural(name string, otherwise int64) int64 {
	n := c.number(name, name, otherwise)
	if c.present(name) && n < 0 {
		c.mistake(name, name, fmt.Sprintf("Invalid %s: %d. %s must be a non-negative integer", name, n, name))
	}
	return n
}

// API: GET /tags, newest first. Release 2.1.2 does not know order_by; release 4.0
// ignores another order than asc and desc.
func (s *Server) tagsList(c *call) answer {
	start, limit := c.natural("start", 0), c.natural("limit", -1)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	search := strings.ToLower(c.text("searchterm"))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noticeTags()
	found := slices.DeleteFunc(slices.Clone(s.tags.known), func(tag string) bool {
		return !strings.Contains(strings.ToLower(tag), search)
	})
	slices.Reverse(found)
	if order := strings.ToLower(c.text("order_by")); s.profile.v4 && (order == "asc" || order == "desc") {
		slices.Sort(found)
		if order == "desc" {
			slices.Reverse(found)
		}
	}
	rows := []obj{}
	for _, tag := range page(found, start, limit) {
		rows = append(rows, s.tagRow(tag))
	}
	return s.ok("Successfully fetched the tags info", obj{"count": len(found), "total_count": len(s.tags.known), "results": rows})
}

// tagRow names what carries a tag. Release 4.0 no longer fills file_paths.
func (s *Server) tagRow(tag string) obj {
	one := []string{tag}
	nodes, packs, queries := []string{}, []string{}, []string{}
	for _, h := range s.taggedHosts(one) {
		nodes = append(nodes, h.identifier)
	}
	for _, p := range s.taggedPacks(one) {
		packs = append(packs, p.name)
	}
	for _, q := range s.taggedQueries(one) {
		queries = append(queries, q.name)
	}
	row := obj{"value": tag, "nodes": nodes, "packs": packs, "queries": queries, "file_paths": nil}
	if !s.profile.v4 {
		row["file_paths"] = []string{}
	}
	return row
}

// API: POST /tags/add.
func (s *Server) tagsAdd(c *call) answer {
	c.need("tag", "tag to add")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	tag := strings.TrimSpace(c.text("tag"))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noticeTags()
	if wrong := s.wrongTag(tag); wrong != "" {
		return s.fail(wrong)
	}
	if s.hasTag(tag) {
		return s.fail("Tag is already present!")
	}
	s.makeTags(tag)
	return s.ok("Tag added successfully", nil)
}

// API: POST /tags/delete. A comma list in release 4.0, which fails at the first
// unknown one, with those before it gone; a single tag in 2.1.2, to which an unknown
// one is success.
func (s *Server) tagsDelete(c *call) answer {
	c.need("tag", "tag to delete")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noticeTags()
	if !s.profile.v4 {
		if !s.dropTag(c.text("tag")) {
			return s.ok("Tag doesnot exists!", nil)
		}
		return s.ok("Tag is deleted successfully", nil)
	}
	if c.text("tag") == "" {
		return s.ok("Tag does not exists!", nil)
	}
	for tag := range strings.SplitSeq(c.text("tag"), ",") {
		if !s.dropTag(tag) {
			return s.fail("'NoneType' object has no attribute 'delete'")
		}
	}
	return s.ok("Tag is deleted successfully", nil)
}

// API: POST /tags/tagged. It fails only if none of the tags exists.
func (s *Server) tagsTagged(c *call) answer {
	c.need("tags", "tags names separated by a comma")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	tags := strings.Split(c.text("tags"), ",")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noticeTags()
	if !slices.ContainsFunc(tags, s.hasTag) {
		return s.fail("Tag(s) doesn't exists for the value(s) provided")
	}
	hosts, packs, queries := []obj{}, []obj{}, []obj{}
	for _, h := range s.taggedHosts(tags) {
		row := s.hostRow(h, true)
		delete(row, "alerts_count")
		hosts = append(hosts, row)
	}
	for _, p := range s.taggedPacks(tags) {
		packs = append(packs, s.packRow(p))
	}
	for _, q := range s.taggedQueries(tags) {
		queries = append(queries, s.queryObject(q))
	}
	return s.ok("All hosts, queries, packs for the tag provided!", obj{"hosts": hosts, "packs": packs, "queries": queries})
}

// packRow is a pack with its queries.
func (s *Server) packRow(p *pack) obj {
	row, queries := p.object(), []obj{}
	for _, q := range p.queries {
		queries = append(queries, s.queryObject(q))
	}
	row["queries"] = queries
	return row
}

// API: PUT /tags/{tag}. What does not exist is passed over, unless nothing exists.
func (s *Server) tagsAssign(c *call) answer {
	tag := c.path["tag"]
	queries, packs, hosts, systems := c.array("queries"), c.array("packs"), c.array("hosts"), c.array("os_names")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noticeTags()
	switch {
	case !s.hasTag(tag):
		return s.fail("Tag name provided does not exists!")
	case len(queries)+len(packs)+len(hosts)+len(systems) == 0:
		return s.fail("One of queries/packs/hosts/os_names is required at least!")
	}
	if s.assign(tag, queries, packs, hosts, systems) == 0 {
		return s.fail("Provided entity does not exists to tag it!")
	}
	return s.ok("Successfully assigned to the tag", nil)
}

package ersim

import "slices"

// carriers are the tag lists of all that can carry a tag.
func (s *Server) carriers() []*[]string {
	var lists []*[]string
	for _, h := range s.hosts {
		lists = append(lists, &h.tags)
	}
	for _, p := range s.packs.all {
		lists = append(lists, &p.tags)
	}
	for _, q := range s.scheduled.all {
		lists = append(lists, &q.tags)
	}
	return lists
}

// noticeTags makes the tags that something carries and that do not exist yet.
func (s *Server) noticeTags() {
	for _, list := range s.carriers() {
		s.makeTags(*list...)
	}
}

func addTag(list *[]string, tag string) {
	if !slices.Contains(*list, tag) {
		*list = append(*list, tag)
	}
}

// dropTag takes a tag off everything and forgets it. It reports whether there was one.
func (s *Server) dropTag(tag string) bool {
	at := slices.Index(s.tags.known, tag)
	if at < 0 {
		return false
	}
	s.tags.known = slices.Delete(s.tags.known, at, at+1)
	for _, list := range s.carriers() {
		*list = slices.DeleteFunc(*list, func(one string) bool { return one == tag })
	}
	return true
}

// taggedHosts are the active hosts that carry one of the tags.
func (s *Server) taggedHosts(tags []string) []*host {
	return slices.DeleteFunc(slices.Clone(s.hosts), func(h *host) bool { return h.state != hostActive || !shareOne(h.tags, tags) })
}

func (s *Server) taggedPacks(tags []string) []*pack {
	return slices.DeleteFunc(slices.Clone(s.packs.all), func(p *pack) bool { return !shareOne(p.tags, tags) })
}

func (s *Server) taggedQueries(tags []string) []*scheduledQuery {
	return slices.DeleteFunc(slices.Clone(s.scheduled.all), func(q *scheduledQuery) bool { return !shareOne(q.tags, tags) })
}

// assign tags what is named and exists. It returns how much that is.
func (s *Server) assign(tag string, queries, packs, hosts, systems []string) int {
	var lists []*[]string
	for _, q := range s.scheduled.all {
		if slices.Contains(queries, q.name) {
			lists = append(lists, &q.tags)
		}
	}
	for _, p := range s.packs.all {
		if slices.Contains(packs, p.name) {
			lists = append(lists, &p.tags)
		}
	}
	for _, h := range s.hosts {
		if slices.Contains(hosts, h.identifier) || slices.Contains(systems, h.role.os) {
			lists = append(lists, &h.tags)
		}
	}
	for _, list := range lists {
		addTag(list, tag)
	}
	return len(lists)
}

package ersim

import (
	"maps"
	"net/http"
	"slices"
)

const (
	noHost    = "There is no host exists with this host identifier or node id given!"
	wrongHost = "Host identifier or node id passed is not correct!"
)

// configHost finds the host whose configuration is asked for, or says what is wrong.
// Server.mu is held.
func (s *Server) configHost(c *call) (h *host, wrong string) {
	h, named := s.bodyHost(c)
	switch {
	case !named:
		return nil, s.neither()
	case h == nil:
		return nil, wrongHost
	}
	return h, ""
}

// API: POST /hosts/additional_config: what a host gets through its tags.
func (s *Server) hostAdditionalConfig(c *call) answer {
	c.number("node_id", "id of the node", 0)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, wrong := s.configHost(c)
	if wrong != "" {
		return s.fail(wrong)
	}
	queries := []obj{}
	for _, q := range s.taggedQueries(h.tags) {
		queries = append(queries, s.agentQuery(q))
	}
	return s.ok("Successfully fetched additional config of the node for the host identifier passed",
		obj{"queries": queries, "packs": s.agentPacks(h), "tags": textList(h.tags)})
}

// API: POST /hosts/config: all that the agent of a host is told. Release 4.0 names the
// config that it comes from beside the data.
func (s *Server) hostFullConfig(c *call) answer {
	c.number("node_id", "id of the node", 0)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, wrong := s.configHost(c)
	switch {
	case wrong != "" && s.profile.v4:
		return jsonAnswer(http.StatusOK, obj{"status": "failure", "message": wrong, "data": nil, "config": nil})
	case wrong != "":
		return s.fail(wrong)
	}
	const fetched = "Successfully fetched full config of the node for the host identifier passed"
	if !s.profile.v4 {
		return s.ok(fetched, s.fullConfig2(h))
	}
	config := s.configOf(h)
	data := obj{}
	if filters, ok := config.filters.(obj); ok {
		maps.Copy(data, filters)
	}
	options := obj{"disable_watchdog": true, "logger_tls_compress": true, "host_identifier": "uuid", "schedule_splay_percent": 10}
	if own, ok := data["options"].(obj); ok {
		maps.Copy(options, own)
	}
	data["options"], data["schedule"], data["packs"] = options, s.agentSchedule(h, config.queries), s.agentPacks(h)
	return s.flat(fetched, obj{"data": data, "config": obj{"id": config.id, "name": config.name}})
}

// fullConfig2 has in release 2.1.2 the schedule under queries, and the filters apart.
func (s *Server) fullConfig2(h *host) obj {
	var queries []*configQuery
	var filters any
	if config := s.oldConfig(h.family(), "x86_64", -1); config != nil {
		queries, filters = config.queries, config.filters
	}
	return obj{
		"options": s.release2.options, "file_paths": obj{}, "queries": s.agentSchedule(h, queries), "packs": s.agentPacks(h),
		"filters": filters,
	}
}

// agentSchedule are the queries that a host runs by itself: by tag, and those of its
// config that are switched on.
func (s *Server) agentSchedule(h *host, queries []*configQuery) obj {
	schedule := obj{}
	for _, q := range s.taggedQueries(h.tags) {
		schedule[q.name] = s.agentQuery(q)
	}
	for _, q := range queries {
		if q.status {
			schedule[q.name] = q.object()
		}
	}
	return schedule
}

// agentQuery is a query as agents are told it: the SQL is called query.
func (s *Server) agentQuery(q *scheduledQuery) obj {
	row := s.queryObject(q)
	row["query"], row["removed"] = q.sql, false
	delete(row, "sql")
	return row
}

// agentPacks are the packs that a host has through its tags.
func (s *Server) agentPacks(h *host) []obj {
	rows := []obj{}
	for _, p := range s.packs.all {
		if !shareOne(p.tags, h.tags) || len(p.queries) == 0 {
			continue
		}
		queries := obj{}
		for _, q := range p.queries {
			queries[q.name] = s.agentQuery(q)
		}
		rows = append(rows, obj{
			"id": p.id, "name": p.name, "platform": p.platform, "version": p.version, "shard": p.shard, "discovery": []string{},
			"queries": queries, "tags": textList(p.tags),
		})
	}
	return rows
}

// shareOne reports whether two lists have something in common.
func shareOne(a, b []string) bool {
	return slices.ContainsFunc(a, func(one string) bool { return slices.Contains(b, one) })
}

package ersim

import (
	"net/http"
	"strconv"
)

// v0LiveTable lists the calls around live queries and carves. Results of a live
// query come over the same websocket as in v1.
func (s *Server) v0LiveTable() []route {
	return []route{
		{"v0-distributed-add", "POST", "/distributed/add", needToken, s.v0DistributedAdd, nil},
		{"v0-carves", "POST", "/carves/", needToken, s.v0Carves, nil},
		{"v0-carves-download", "GET", "/carves/download/{session}", needToken, s.carvesDownload, nil},
		{"v0-carves-query", "POST", "/carves/query", needToken, s.v0CarvesQuery, nil},
		{"v0-carves-query-path", "GET", "/carves/query/{query:int}/{node}", needToken, s.v0CarvesQueryPath, nil},
		{"v0-carves-query-path", "POST", "/carves/query/{query:int}/{node}", needToken, s.v0CarvesQueryPath, nil},
	}
}

// API: POST /distributed/add. The query's id stands beside the status, as text in
// the older documents, and nobody says how many nodes will answer. Without a
// target every node is asked.
func (s *Server) v0DistributedAdd(c *call) answer {
	c.need("query", "query")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q, _, refusal := s.startQuery(c.text("query"), s.words(c, "nodes"), s.words(c, "tags"), nil)
	if refusal != "" {
		return s.fail(refusal)
	}
	var id any = q.id
	if s.older() {
		id = strconv.FormatInt(q.id, 10)
	}
	return s.flat("Successfully send the distributed query", obj{"query_id": id})
}

// v0CarveRow is a carve, whose archive has a name once it is complete.
func (s *Server) v0CarveRow(one *carve) obj {
	row := s.carveRow(one)
	row["created_at"] = s.v0Time(one.created)
	delete(row, "status")
	if s.older() {
		delete(row, "block_size")
	}
	return row
}

// API: POST /carves/, without paging.
func (s *Server) v0Carves(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.node(c.text("host_identifier"))
	if h == nil && c.text("host_identifier") != "" {
		return s.fail(v0NoNode)
	}
	rows := []obj{}
	for _, one := range s.carves {
		if h == nil || one.host == h {
			rows = append(rows, s.v0CarveRow(one))
		}
	}
	if len(rows) == 0 {
		return s.v0OK("carves data doesn't exists for the input given", rows)
	}
	return s.v0OK("Successfully fetched the carves", rows)
}

// API: POST /carves/query.
func (s *Server) v0CarvesQuery(c *call) answer {
	c.need("query_id", "query id")
	c.need("host_identifier", "host_identifier")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	id, err := strconv.ParseInt(c.text("query_id"), 10, 64)
	if err != nil {
		return s.crash() // the database compares it with a number
	}
	return s.carveOf(id, c.text("host_identifier"))
}

// API: GET /carves/query/{query_id}/{host_identifier}; POST does the same.
func (s *Server) v0CarvesQueryPath(c *call) answer {
	return s.carveOf(c.pathID("query"), c.path["node"])
}

func (s *Server) carveOf(query int64, identifier string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.node(identifier)
	switch {
	case h == nil:
		return s.fail(v0NoNode)
	case query < 1 || query > s.lastQuery:
		return s.fail("query id provided is invalid")
	}
	for _, one := range s.carves {
		if one.host == h && one.query == query {
			return jsonAnswer(http.StatusOK, obj{"status": "success", "message": "Successfully fetched the carve", "data": s.v0CarveRow(one)})
		}
	}
	return s.fail("carve not started")
}

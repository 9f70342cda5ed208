package ersim

import (
	"slices"
	"time"
)

// resultLifetime is how long results wait for a listener.
const resultLifetime = 10 * time.Minute

// zombieTime is how long a socket that went away goes on taking results on release
// 2.1.2, where two of three results were lost after a reconnect. The time itself is
// this simulator's.
const zombieTime = 10 * time.Second

// liveQuery is a live query with the results that nobody has taken yet.
type liveQuery struct {
	id        int64
	frames    [][]byte
	listeners []*listener
	next      int // whose turn it is
}

// listener is a socket that asked for the results of a query.
type listener struct {
	query *liveQuery
	out   [][]byte
	wake  chan struct{} // there is something in out, or ended was set; capacity 1
	ended bool          // the query is gone
	gone  time.Time     // when the socket went away; zero while it is there
}

func (l *listener) notify() {
	select {
	case l.wake <- struct{}{}:
	default: // it has been told already
	}
}

const (
	badSQL   = "Field must contain valid SQL to be run against osquery tables"
	noActive = "No active node present"
)

// API: POST /distributed/add.
func (s *Server) distributedAdd(c *call) answer {
	c.need("query", "query")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var systems []string
	if s.profile.v4 {
		systems = c.array("os_name") // older releases do not know the argument
	}
	q, hosts, refusal := s.startQuery(c.text("query"), c.list("nodes"), c.list("tags"), systems)
	if refusal != "" {
		return s.fail(refusal)
	}
	details := []obj{}
	for _, h := range hosts {
		details = append(details, obj{"host_identifier": h.identifier, "hostname": h.name, "node_id": h.id})
	}
	return s.ok("Distributed query is sent successfully",
		obj{"query_id": q.id, "onlineNodes": len(hosts), "online_nodes_details": details})
}

// startQuery sends a live query to the hosts that are online, or says why not.
func (s *Server) startQuery(sql string, nodes, tags, osNames []string) (q *liveQuery, hosts []*host, refusal string) {
	st, err := parseSQL(sql)
	if err != nil || st.write && s.profile.v4 {
		return nil, nil, badSQL
	}
	if t, known := tables[st.table]; st.table != "" && (!known || !st.valid(t.columns)) {
		return nil, nil, badSQL
	}
	switch {
	case len(nodes)+len(tags)+len(osNames) > 0:
		// A host that is named twice, by tag and by node, gets two tasks.
		hosts = append(s.targets(nil, tags, osNames), s.targets(nodes, nil, nil)...)
	case s.profile.v4:
		return nil, nil, "Please provide at least one of nodes, tags or os_name!"
	default:
		hosts = slices.Clone(s.hosts) // observed on release 2.1.2: no target is every host
		slices.Reverse(hosts)
	}
	hosts = slices.DeleteFunc(hosts, func(h *host) bool { return !h.online })
	if len(hosts) == 0 {
		return nil, nil, noActive
	}
	s.lastQuery++
	q = &liveQuery{id: s.lastQuery}
	s.queries[q.id] = q
	s.after(resultLifetime, func() { s.forget(q) })
	for i, h := range hosts {
		wait := s.jitter(s.opts.CommandDelay/2, "live-query", q.id<<20+int64(i))
		s.after(wait, func() {
			if h.online {
				s.answerQuery(q, h, st)
			}
		})
	}
	return q, hosts, ""
}

// answerQuery is what the agent does with a live query.
func (s *Server) answerQuery(q *liveQuery, h *host, st *statement) {
	node := obj{"id": h.id, "name": h.name}
	if s.profile.v4 {
		node["host_identifier"] = h.identifier
	}
	h.queryRead = s.now().Truncate(time.Microsecond)
	h.queryWrite = h.queryRead
	rows, status := s.evaluate(q, h, st)
	q.frames = append(q.frames, encodeJSON(obj{"node": node, "data": rows, "query_id": q.id, "status": status}))
	s.deliver(q)
}

// evaluate runs the statement on the host; status 1 means that it failed there.
func (s *Server) evaluate(q *liveQuery, h *host, st *statement) (rows []row, status int) {
	if st.table == "" {
		return st.run([]row{{}}, nil), 0
	}
	t := tables[st.table]
	if st.write || t.windows && !h.windows() {
		return []row{}, 1
	}
	if paths, wanted := carveTarget(st); wanted {
		return s.carveNow(q, h, st, paths), 0
	}
	return st.run(t.rows(s, h), t.columns), 0
}

// carveTarget reports whether the statement starts a carve, and of which paths.
func carveTarget(st *statement) (paths []comparison, wanted bool) {
	if st.table != "carves" {
		return nil, false
	}
	walk(st.where, func(c comparison) {
		switch {
		case c.column == "path":
			paths = append(paths, c)
		case c.column == "carve" && c.op == "=" && c.values[0] == "1":
			wanted = true
		}
	})
	return paths, wanted
}

// carveNow starts a carve of the files that exist; without one nothing starts.
func (s *Server) carveNow(q *liveQuery, h *host, st *statement, paths []comparison) []row {
	var files []*file
	var rows []row
	for _, r := range fileRows(s, h) {
		matches := func(c comparison) bool {
			if !h.windows() || c.op == "like" {
				return c.holds(r)
			}
			return slices.ContainsFunc(c.values, func(v string) bool { return h.fileKey(v) == h.fileKey(r["path"]) })
		}
		if len(paths) > 0 && slices.ContainsFunc(paths, matches) {
			f := h.files[h.fileKey(r["path"])]
			_, _, sha256Hex := f.hashes()
			files = append(files, f)
			rows = append(rows, row{"path": f.path, "sha256": sha256Hex, "size": r["size"], "status": "STARTING", "carve": "1"})
		}
	}
	if len(files) > 0 {
		c := s.startCarve(h, files, q.id)
		for _, r := range rows {
			r["carve_guid"] = c.guid
		}
	}
	bare := *st
	bare.where = nil
	return bare.run(rows, tables["carves"].columns)
}

// deliver hands waiting results to listeners, in turn.
func (s *Server) deliver(q *liveQuery) {
	q.listeners = slices.DeleteFunc(q.listeners, func(l *listener) bool {
		return !l.gone.IsZero() && (s.profile.v4 || s.now().Sub(l.gone) > zombieTime)
	})
	for len(q.frames) > 0 && len(q.listeners) > 0 {
		l := q.listeners[q.next%len(q.listeners)]
		q.next++
		if l.gone.IsZero() {
			l.out = append(l.out, q.frames[0])
			l.notify()
		} // a socket that is gone swallows it
		q.frames = q.frames[1:]
	}
}

// listen registers a socket. It returns nil when there is no such query.
func (s *Server) listen(id int64) *listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.queries[id]; q != nil {
		return s.attend(q)
	}
	return nil
}

// attend adds a socket to those that get frames. Server.mu is held.
func (s *Server) attend(q *liveQuery) *listener {
	l := &listener{query: q, wake: make(chan struct{}, 1)}
	q.listeners = append(q.listeners, l)
	s.deliver(q)
	return l
}

// leave takes a socket off. What it was not sent goes back into the queue.
func (s *Server) leave(l *listener, unsent [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.gone = s.now()
	l.query.frames = append(append(unsent, l.out...), l.query.frames...)
	l.out = nil
	s.deliver(l.query)
}

// takeFrames empties a listener's queue.
func (s *Server) takeFrames(l *listener) (frames [][]byte, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	frames, l.out = l.out, nil
	return frames, l.ended
}

func (s *Server) forget(q *liveQuery) {
	delete(s.queries, q.id)
	for _, l := range q.listeners {
		l.ended = true
		l.notify()
	}
}

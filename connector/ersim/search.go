package ersim

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// searchState is the state behind the section Search.
type searchState struct {
	// started is the day when the server started. It is the default date of all
	// windows, however long ago that is.
	started time.Time
}

// searchTable lists the calls around the section Search.
func (s *Server) searchTable() []route {
	return []route{
		{"search", "POST", "/search", needToken, s.searchEvents, nil},
		{"activity-search", "POST", "/activity/search", needToken, s.activitySearch, nil},
		{"schedule-query-export", "POST", "/schedule_query/export", needToken, s.queryExport, nil},
	}
}

// buildSearch makes the state of a new server.
func (s *Server) buildSearch() { s.search.started = s.now().Truncate(24 * time.Hour) }

// hostEvent is an event with its host.
type hostEvent struct {
	event
	host *host
}

// storedEvents are the events of the active hosts, by host and time, that pass. Only
// what is needed to look at them is done with Server.mu held: a large fleet has
// millions.
func (s *Server) storedEvents(hosts func(h *host) bool) []hostEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []hostEvent
	for _, h := range s.hosts {
		if h.state != hostActive || !hosts(h) {
			continue
		}
		for _, e := range h.allEvents() {
			all = append(all, hostEvent{e, h})
		}
	}
	return all
}

// exactly passes the host with an identifier. Case counts, other than in a path.
func exactly(identifier string) func(*host) bool {
	return func(h *host) bool { return h.identifier == identifier }
}

func anyHost(*host) bool { return true }

// hasHost reports whether the server knows a host by that identifier.
func (s *Server) hasHost(identifier string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hostRefs[strings.ToUpper(identifier)]
	return h != nil && h.identifier == identifier
}

// hostOrAll passes the host with an identifier, and every host where there is none:
// that is how the calls with a window treat an unknown one.
func (s *Server) hostOrAll(identifier string) func(*host) bool {
	if s.hasHost(identifier) {
		return exactly(identifier)
	}
	return anyHost
}

// pick keeps the events that fit a matcher and, if it is not empty, a query name.
func pick(events []hostEvent, query string, fits matcher) []hostEvent {
	return slices.DeleteFunc(events, func(e hostEvent) bool {
		return query != "" && e.query != query || fits != nil && !fits(e.columns())
	})
}

// countByHost is how calls without a host answer.
func countByHost(events []hostEvent) []obj {
	byHost := map[*host]map[string]int{}
	for _, e := range events {
		if byHost[e.host] == nil {
			byHost[e.host] = map[string]int{}
		}
		byHost[e.host][e.query]++
	}
	hosts := slices.SortedFunc(maps.Keys(byHost), func(a, b *host) int { return cmp.Compare(a.id, b.id) })
	rows := []obj{}
	for _, h := range hosts {
		queries := []obj{}
		for _, name := range slices.Sorted(maps.Keys(byHost[h])) {
			queries = append(queries, obj{"query_name": name, "count": byHost[h][name]})
		}
		rows = append(rows, obj{"hostname": h.name, "host_identifier": h.identifier, "queries": queries})
	}
	return rows
}

// bareRows is a page of columns and nothing else.
func bareRows(events []hostEvent, start, limit int64) obj {
	rows := []any{}
	for _, e := range page(events, start, limit) {
		rows = append(rows, e.entry)
	}
	return obj{"count": len(events), "results": rows}
}

const searched = "Successfully fetched the data through the payload given"

// API: POST /search: counts without a host, columns with one.
func (s *Server) searchEvents(c *call) answer {
	c.need("conditions", "conditions to search for")
	conditions := c.object("conditions", "conditions to search for")
	start, limit := c.number("start", "start", 0), c.number("limit", "limit", 100)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if limit == 0 {
		limit = 100
	}
	p := conditionParser{operators: searchOperators, v4: s.profile.v4}
	fits, err := p.group(conditions)
	if err != nil {
		return s.fail(err.Error())
	}
	identifier, query := c.text("host_identifier"), c.text("query_name")
	if identifier != "" && query == "" {
		return s.fail("Please provide the query name")
	}
	if start < 0 || limit < 0 {
		return s.crash()
	}
	hosts := anyHost
	if identifier != "" {
		hosts = exactly(identifier) // an unknown one finds nothing
	} else {
		query = ""
	}
	found := pick(s.storedEvents(hosts), query, fits)
	switch {
	case p.broken:
		return s.crash()
	case p.foreign:
		found = nil
	}
	if identifier != "" {
		return s.ok(searched, bareRows(found, start, limit))
	}
	if len(found) == 0 {
		return s.ok(searched, obj{})
	}
	return s.ok(searched, countByHost(found))
}

// API: POST /activity/search: whole rows of a window.
func (s *Server) activitySearch(c *call) answer {
	c.need("conditions", "conditions to search for")
	conditions := c.object("conditions", "conditions to search for")
	start, limit := c.number("start", "start", 0), c.number("limit", "limit", 100)
	from, to, refusal := s.eventWindow(c)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if refusal != nil {
		return *refusal
	}
	p := conditionParser{operators: searchOperators, columns: indexedColumns, needValue: true, v4: s.profile.v4}
	fits, err := p.group(conditions)
	if err != nil {
		return s.fail(err.Error())
	}
	found := pick(s.storedEvents(s.hostOrAll(c.text("host_identifier"))), c.text("query_name"), fits)
	if p.broken || start < 0 || limit < 0 {
		return s.crash()
	}
	if p.foreign {
		found = nil
	}
	return s.ok(searched, s.wholeRows(within(found, from, to), start, limit))
}

func within(events []hostEvent, from, to time.Time) []hostEvent {
	return slices.DeleteFunc(events, func(e hostEvent) bool { return e.at.Before(from) || e.at.After(to) })
}

// wholeRows is a page of rows, the newest first. Release 4.0 goes on below the id of
// start, 2.1.2 leaves out as many rows as start says.
func (s *Server) wholeRows(events []hostEvent, start, limit int64) obj {
	slices.SortFunc(events, func(a, b hostEvent) int {
		if s.profile.v4 {
			return cmp.Compare(b.id, a.id)
		}
		return cmp.Or(b.at.Compare(a.at), cmp.Compare(b.id, a.id))
	})
	count := len(events)
	if s.profile.v4 && start > 0 {
		events = slices.DeleteFunc(events, func(e hostEvent) bool { return e.id >= start })
		start = 0
	}
	rows := []obj{}
	for _, e := range page(events, start, limit) {
		rows = append(rows, obj{
			"id": e.id, "name": e.query, "timestamp": e.at.Format(layoutList), "action": "added", "columns": e.entry, "node_id": e.host.id,
			"uuid": s.uuid("event", e.id), "status": 0, "task_id": nil, "hostname": e.host.name, "host_identifier": e.host.identifier,
		})
	}
	return obj{"count": count, "results": rows}
}

// eventWindow reads duration, type and date. Both ends lie a day later than one
// should think, as in get_start_date_end_date of release 4.0.
func (s *Server) eventWindow(c *call) (from, to time.Time, refusal *answer) {
	const day = 24 * time.Hour
	duration := c.choice("duration", "duration", "1", "2", "3", "4")
	kind := c.choice("type", "type", "1", "2")
	date := s.search.started
	if text := c.text("date"); text != "" {
		var err error
		if date, err = time.Parse("2006-1-2", text); err != nil {
			if !s.profile.v4 {
				return from, to, refuse(s.crash())
			}
			return from, to, refuse(nested(http.StatusBadRequest, "Date format passed is invalid!"))
		}
	}
	span := map[string]time.Duration{"1": time.Hour, "2": day, "4": 30 * day}[duration]
	if span == 0 {
		span = 7 * day
	}
	if kind == "1" {
		return date.Add(day), date.Add(day + span), nil
	}
	return date.Add(day - span), date.Add(day), nil
}

// API: POST /schedule_query/export. The guide of release 4.0 calls it withdrawn.
func (s *Server) queryExport(c *call) answer {
	c.need("query_name", "name of the query")
	c.need("host_identifier", "host identifier of the node")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	identifier := c.text("host_identifier")
	if !s.hasHost(identifier) {
		return s.fail("Node does not exists for the id given")
	}
	found := pick(s.storedEvents(exactly(identifier)), c.text("query_name"), nil)
	if len(found) == 0 {
		return s.fail("Results can't be retrieved for the Payload given! May be data is empty")
	}
	return s.eventFile("query_results.csv", found)
}

// eventFile is the columns of events as CSV; without events a header without names.
func (s *Server) eventFile(name string, found []hostEvent) answer {
	events := make([]event, len(found))
	for i, e := range found {
		events[i] = e.event
	}
	header, rows := s.eventTable(events)
	return csvFile(name, header, rows)
}

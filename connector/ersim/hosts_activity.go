package ersim

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const (
	layoutActivity = "01/02/2006 15/04/05" // recent activity
	wrongActivity  = "Please pass correct host identifier or node id to get the results"
	activityFound  = "Successfully fetched the count of schedule query results count of host identifier passed"
)

// activityHost checks the host of a body. An id is not looked up: an unknown one has
// no activity. Server.mu is held.
func (s *Server) activityHost(c *call) (*host, *answer) {
	switch h, named := s.bodyHost(c); {
	case !named:
		return nil, refuse(s.fail(s.neither()))
	case h == nil && (c.present("host_identifier") || c.number("node_id", "node_id", 0) == 0):
		return nil, refuse(s.fail(wrongActivity))
	case h == nil:
		return new(host), nil
	default:
		return h, nil
	}
}

// neither is said where a body names no host.
func (s *Server) neither() string {
	if s.profile.v4 {
		return "At least one of host identifier or node id should be given!"
	}
	return "Atleast one of host identifier or node id should be given!"
}

// reported are the rows of a query that a host has reported, the newest first.
func (h *host) reported(query string) []event {
	rows := slices.DeleteFunc(h.allEvents(), func(e event) bool { return e.query != query })
	slices.SortFunc(rows, func(a, b event) int { return cmp.Compare(b.id, a.id) })
	return rows
}

// API: POST /hosts/recent_activity/count.
func (s *Server) hostActivityCount(c *call) answer {
	c.number("node_id", "id of the node", 0)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, refusal := s.activityHost(c)
	if refusal != nil {
		return *refusal
	}
	counts := map[string]int{}
	for _, e := range h.allEvents() {
		counts[e.query]++
	}
	rows := []obj{}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		rows = append(rows, obj{"name": name, "count": counts[name]})
	}
	return s.ok(activityFound, rows)
}

// API: POST /hosts/recent_activity. Release 4.0 goes on below the id of start;
// release 2.1.2 counts rows, knows no columns to choose by and pastes texts into SQL.
func (s *Server) hostActivity(c *call) answer {
	c.need("query_name", "query")
	c.number("node_id", "node_id", 0)
	start, limit := c.number("start", "start id", 0), c.number("limit", "limit", 10)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, refusal := s.activityHost(c)
	if refusal != nil {
		return *refusal
	}
	all := h.reported(c.text("query_name"))
	if !s.profile.v4 {
		return s.activity2(c, all, start, limit)
	}
	column, values := c.text("column_name"), c.list("column_value")
	if limit < 0 && c.present("limit") || column == "eventid" && len(values) == 0 {
		return s.fail("Unable to fetch scheduled query results for the node") // with the database's complaint
	}
	chosen := all
	if column != "" && len(values) > 0 {
		chosen = slices.DeleteFunc(slices.Clone(all), func(e event) bool { return !slices.Contains(values, e.columns()[column]) })
	}
	categorized := len(all)
	if column == "eventid" {
		categorized = len(chosen)
	}
	search := strings.ToLower(c.text("searchterm"))
	found := slices.DeleteFunc(slices.Clone(chosen), func(e event) bool { return !strings.Contains(strings.ToLower(string(e.entry)), search) })
	shown := found
	if start != 0 {
		shown = slices.DeleteFunc(slices.Clone(found), func(e event) bool { return e.id >= start })
	}
	if limit == 0 || c.null("limit") {
		limit = -1 // all
	}
	rows := []obj{}
	for _, e := range page(shown, 0, limit) {
		rows = append(rows, obj{"id": e.id, "timestamp": e.at.Format(layoutActivity), "action": "added", "columns": e.entry})
	}
	return s.ok(activityFound, obj{"count": len(found), "total_count": len(all), "categorized_count": categorized, "results": rows})
}

func (s *Server) activity2(c *call, all []event, start, limit int64) answer {
	if strings.Contains(c.text("query_name")+c.text("searchterm"), "'") || start < 0 || limit < 0 || c.null("start") || c.null("limit") {
		return s.crash() // the first two were observed
	}
	search := strings.ToLower(c.text("searchterm"))
	found := slices.DeleteFunc(slices.Clone(all), func(e event) bool {
		values := slices.Collect(maps.Values(e.columns()))
		return !slices.ContainsFunc(values, func(text string) bool { return strings.Contains(strings.ToLower(text), search) })
	})
	rows := []obj{}
	for _, e := range page(found, start, limit) {
		rows = append(rows, obj{"timestamp": e.at.Format(layoutActivity), "action": "added", "columns": e.entry})
	}
	return s.ok(activityFound, obj{"count": len(found), "total_count": len(all), "results": rows})
}

// columns are the columns of an event.
func (e *event) columns() map[string]string {
	columns := map[string]string{}
	_ = json.Unmarshal(e.entry, &columns) // encoded by us
	return columns
}

// API: POST /hosts/search/export. Release 2.1.2 does not choose by column.
func (s *Server) hostActivityExport(c *call) answer {
	c.need("query_name", "name of the schedule query")
	id := c.number("node_id", "id of the node", 0)
	conditions := c.object("conditions", "conditions to search for")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := new(host) // an unknown id has reported nothing
	switch identifier := c.text("host_identifier"); {
	case identifier != "":
		if h = s.identified(identifier); h == nil {
			return s.fail("Host identifier given is invalid!")
		}
	case id == 0 && s.profile.v4:
		return s.fail("At least one of host identifier or node id is required!")
	case id == 0:
		return s.fail("Atleast one of host identifier or node id is required!")
	case s.numbered(id) != nil:
		h = s.numbered(id)
	}
	p := conditionParser{operators: searchOperators, columns: indexedColumns, needValue: true, v4: s.profile.v4}
	var fits matcher
	if len(conditions) > 0 {
		var err error
		if fits, err = p.group(conditions); err != nil {
			return s.fail(err.Error())
		}
	}
	column, values := c.text("column_name"), c.list("column_value")
	chooses := s.profile.v4 && column != "" && len(values) > 0
	rows := slices.DeleteFunc(h.reported(c.text("query_name")), func(e event) bool {
		columns := e.columns()
		return chooses && !slices.Contains(values, columns[column]) || fits != nil && !fits(columns)
	})
	slices.Reverse(rows)
	if p.broken {
		return s.fail("Unable to find data for the payload given")
	}
	if len(rows) == 0 || p.foreign {
		return s.fail("There are no matching results for the payload given")
	}
	header, table := s.eventTable(rows)
	return csvFile(c.text("query_name")+"_"+strconv.FormatInt(h.id, 10)+pySpace(s.now())+".csv", header, table)
}

// eventTable lays events out as a table. Columns stand in the order in which the
// database keeps them: by length, then by name. Release 2.1.2 takes those of the first
// row for all; in 4.0 a row ends at the last column that had come up by then.
func (s *Server) eventTable(events []event) (header []string, rows [][]string) {
	for i := range events {
		columns := events[i].columns()
		names := slices.SortedFunc(maps.Keys(columns), func(a, b string) int {
			return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
		})
		for _, name := range names {
			if (i == 0 || s.profile.v4) && !slices.Contains(header, name) {
				header = append(header, name)
			}
		}
		row := make([]string, len(header))
		for at, name := range header {
			row[at] = columns[name]
		}
		rows = append(rows, row)
	}
	return header, rows
}

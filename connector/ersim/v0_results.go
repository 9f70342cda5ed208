package ersim

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// v0ResultTable lists the calls around what scheduled queries have reported.
func (s *Server) v0ResultTable() []route {
	return []route{
		{"v0-nodes-csv", "GET", "/nodes_csv", needToken, s.v0NodesCSV, nil},
		{"v0-schedule-results", "POST", "/nodes/schedule_query/results", needToken, s.v0ScheduleResults, nil},
		{"v0-schedule-list", "GET", "/nodes/schedule_query/{node}", needToken, s.v0ScheduleList, nil},
		{"v0-nodes-query-result", "POST", "/nodes/{node}/queryResult", needToken, s.v0QueryResult, nil},
		{"v0-nodes-activity", "POST", "/nodes/{node}/activity", needToken, s.v0Activity, nil},
		{"v0-queryresult-delete", "POST", "/queryresult/delete", needToken, s.resultsDelete, nil},
		{"v0-queryresult-get", "GET", "/queryresult/{days}", needToken, s.v0ResultsDelete, nil},
		{"v0-schedule-export", "POST", "/schedule_query/export", needToken, s.v0ScheduleExport, nil},
	}
}

// API: GET /nodes_csv.
func (s *Server) v0NodesCSV(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	header := []string{"Display Name", "Host Identifier", "Enrolled On", "Last Check-In", "Last Ip Address", "Is Active"}
	labels := []string{"computer_name", "hardware_vendor", "hardware_model", "hardware_serial", "cpu_physical_cores", "physical_memory"}
	header = append(header, "Name", "Make", "Model", "Serial", "Cores", "Memory")
	var rows [][]string
	for _, h := range s.hosts {
		if h.state != hostActive {
			continue
		}
		row := []string{h.name, h.identifier, pySpace(h.enrolled), pySpace(h.lastSeen(s.now())), h.ip, pyText(h.online)}
		info := h.nodeInfo()
		for _, label := range labels {
			row = append(row, info[label].(string))
		}
		rows = append(rows, row)
	}
	return csvFile("nodes.csv", header, rows)
}

// recent are the rows that a node has reported within thirty days, newest first;
// of one query, or of all.
func (s *Server) recent(h *host, query string) []event {
	since := s.now().AddDate(0, 0, -30)
	rows := slices.DeleteFunc(h.allEvents(), func(e event) bool { return query != "" && e.query != query || e.at.Before(since) })
	slices.Reverse(rows)
	return rows
}

func resultRows(h *host, events []event) []obj {
	rows := []obj{}
	for _, e := range events {
		rows = append(rows, obj{
			"id": e.id, "name": e.query, "timestamp": e.at.Format("2006-01-02T15:04:05"), "action": "added", "node_id": h.id, "columns": e.entry,
		})
	}
	return rows
}

const v0Results = "Successfully received node schedule query results"

// API: POST /nodes/schedule_query/results. The oldest documents call the query
// query. Without a limit everything comes back.
func (s *Server) v0ScheduleResults(c *call) answer {
	c.need("host_identifier", "host identifier of the node")
	name := c.text("query_name")
	if s.older() && name == "" {
		name = c.text("query")
	}
	if name == "" {
		c.need("query_name", "query")
	}
	start, limit := c.number("start", "start count", 0), c.number("limit", "end count", 0)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.node(c.text("host_identifier"))
	if h == nil {
		return s.fail(v0NoNode)
	}
	found := s.recent(h, name)
	if start >= 0 && limit > 0 {
		found = page(found, start, limit)
	}
	if len(found) == 0 {
		return s.v0OK(v0Nothing, []obj{})
	}
	return s.v0OK(v0Results, resultRows(h, found))
}

// API: GET /nodes/schedule_query/{host_identifier}: the rows of all queries, since a
// time in Unix seconds or of thirty days.
func (s *Server) v0ScheduleList(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.node(c.path["node"])
	if h == nil {
		return s.fail(v0NoNode)
	}
	found := s.recent(h, "")
	if since, err := strconv.ParseFloat(c.text("timestamp"), 64); err == nil {
		found = slices.DeleteFunc(found, func(e event) bool { return e.at.Before(time.UnixMilli(int64(since * 1000))) })
	}
	if len(found) == 0 {
		return s.v0OK(v0Nothing, []obj{})
	}
	return s.v0OK("Successfully received schedule query results", resultRows(h, found))
}

// queryNames are the queries of which a node has reported rows.
func (h *host) queryNames() []string {
	names := map[string]bool{}
	for _, e := range h.allEvents() {
		names[e.query] = true
	}
	return append([]string{}, slices.Sorted(maps.Keys(names))...)
}

// API: POST /nodes/{host_identifier}/queryResult: for each query what a table widget
// of the console wants to show. All numbers are texts.
func (s *Server) v0QueryResult(c *call) answer {
	c.need("start", "start")
	c.need("length", "length")
	c.need("search[value]", "search[value]")
	start, length := c.number("start", "start", 0), c.number("length", "length", 0)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if start < 0 || length < 0 {
		return s.crash()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.node(c.path["node"])
	if h == nil {
		return s.fail("there is no node with this host_identifier")
	}
	search, all := strings.ToLower(c.text("search[value]")), obj{}
	for _, name := range h.queryNames() {
		events := h.reported(name)
		found := slices.DeleteFunc(slices.Clone(events), func(e event) bool { return !e.mentions(search) })
		rows, columns := []any{}, []obj{}
		for i, e := range page(found, start, length) {
			rows = append(rows, e.entry)
			if i > 0 || search != "" {
				continue // columns are told with the first row, and not with a search
			}
			for _, column := range slices.Sorted(maps.Keys(e.columns())) {
				columns = append(columns, obj{"data": column, "title": column})
			}
		}
		table := obj{
			"iRecordsFiltered": strconv.Itoa(len(found)), "iTotalRecords": strconv.Itoa(len(events)),
			"iTotalDisplayRecords": strconv.Itoa(len(found)), "pageLength": strconv.FormatInt(length, 10), "aaData": rows,
		}
		if c.text("columns[0][data]") == "" {
			table["columns"] = columns
		}
		all[name] = table
	}
	return s.v0OK("Query results are fetched successfully", all)
}

// mentions reports whether a value of the event has a text in lower case in it.
func (e *event) mentions(search string) bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(e.columns())), func(text string) bool {
		return strings.Contains(strings.ToLower(text), search)
	})
}

// API: POST /nodes/{host_identifier}/activity: the queries that have reported
// something. The time is asked for and ignored.
func (s *Server) v0Activity(c *call) answer {
	c.need("timestamp", "current time stamp")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.node(c.path["node"])
	if h == nil {
		return s.fail("there is no node with this host_identifier")
	}
	return s.v0OK("Node activity is fetched successfully", obj{
		"node": obj{"host_identifier": h.identifier, "node_key": h.nodeKey}, "queries_packs": h.queryNames(),
	})
}

// API: GET /queryresult/{days_of_data}. It does what POST /queryresult/delete does:
// a GET that deletes.
func (s *Server) v0ResultsDelete(c *call) answer {
	if _, err := strconv.Atoi(c.path["days"]); err != nil {
		return s.crash()
	}
	c.values["days_of_data"] = c.path["days"]
	return s.resultsDelete(c)
}

// API: POST /schedule_query/export: the columns of the first row. Without rows the
// file has an empty line.
func (s *Server) v0ScheduleExport(c *call) answer {
	c.need("query_name", "name of the query")
	c.need("host_identifier", "host identifier of the node")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var header []string
	var rows [][]string
	if h := s.node(c.text("host_identifier")); h != nil {
		header, rows = s.eventTable(h.reported(c.text("query_name")))
	}
	return csvFile("query_results.csv", header, rows)
}

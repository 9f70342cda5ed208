package ersim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// API: POST /alerts/{id}/alerted_events, release 4.0: counts per query without
// query_name, rows with it, newest first.
func (s *Server) alertedEvents(c *call) answer {
	start, limit := c.number("start", "start", 0), c.number("limit", "limit", 10)
	if c.null("limit") {
		limit = -1
	}
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if c.negativePage() || c.breaksSQL() {
		return s.crash()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.pathAlert(c)
	if a == nil {
		return s.fail(noAlert)
	}
	const fetched = "Successfully fetched the Alert's events data"
	if !c.present("query_name") {
		counts := map[string]int{}
		for _, e := range a.events {
			counts[e.query]++
		}
		rows := []obj{}
		for _, query := range slices.Sorted(maps.Keys(counts)) {
			rows = append(rows, obj{"query_name": query, "count": counts[query]})
		}
		return s.ok(fetched, rows)
	}
	var found []event
	total := 0
	for _, e := range a.events {
		if e.query != c.text("query_name") {
			continue
		}
		total++
		if e.matches(c.text("searchterm"), c.text("column_name"), c.list("column_value")) {
			found = append(found, e)
		}
	}
	slices.Reverse(found)
	rows := []obj{}
	for _, e := range page(found, start, limit) {
		rows = append(rows, obj{"id": e.id, "columns": e.entry, "action": "added", "timestamp": e.at.Format(layoutEvents)})
	}
	return s.ok(fetched, obj{"count": len(found), "total_count": total, "results": rows})
}

func (e *event) matches(search, column string, values []string) bool {
	if search != "" && !strings.Contains(strings.ToLower(string(e.entry)), strings.ToLower(search)) {
		return false
	}
	if column == "" {
		return true
	}
	columns := map[string]string{}
	_ = json.Unmarshal(e.entry, &columns) // encoded by us
	return slices.Contains(values, columns[column])
}

// API: GET /alerts/{id}/alerted_events, release 2.1.2: all rows, oldest first, the
// first event among them.
func (s *Server) alertedEvents2(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.pathAlert(c)
	if a == nil {
		return s.fail(noAlert)
	}
	rows := []obj{}
	for _, e := range a.events {
		rows = append(rows, obj{
			"id": e.id, "name": e.query, "timestamp": e.at.Format(layoutList + ".000000"), "action": "added", "columns": e.entry,
			"alert_id": a.id, "result_log_uuid": s.uuid("event", e.id),
		})
	}
	return s.ok("Successfully fetched the Alert's events data", rows)
}

// allEvents is everything the host reported, by time.
func (h *host) allEvents() []event {
	events := slices.Clone(h.background)
	for _, a := range slices.Concat(h.alerts, h.hidden) {
		if len(a.events) == 0 || a.events[0].id != a.eventID {
			events = append(events, event{a.eventID, a.query, a.entry, a.createdAt})
		}
		events = append(events, a.events...)
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	return events
}

// API: GET /alerts/{id}/events: what the host reported half a minute either side.
func (s *Server) relatedEvents(c *call) answer {
	const window = 30 * time.Second
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.pathAlert(c)
	if a == nil {
		return s.fail(noAlert)
	}
	byQuery := map[string][]map[string]string{}
	for _, e := range a.host.allEvents() {
		if e.at.Sub(a.createdAt).Abs() > window {
			continue
		}
		row := map[string]string{"date": e.at.Format(layoutCType) + " UTC"}
		_ = json.Unmarshal(e.entry, &row) // encoded by us
		byQuery[e.query] = append(byQuery[e.query], row)
	}
	lists := []obj{}
	for _, query := range slices.Sorted(maps.Keys(byQuery)) {
		lists = append(lists, obj{"name": query, "data": byQuery[query]})
	}
	return s.ok("Successfully fetched the events", obj{
		"schedule_query_data_list_obj": lists, "system_state_data_list": []string{"patches", "os_version"},
	})
}

// processEvent is an event with its columns taken apart.
type processEvent struct {
	columns map[string]string
	at      int64 // unix seconds
}

const childPage = 20 // events per action and answer

// eventsOf are the events of a process by action: what it did and what it started.
func (h *host) eventsOf(guid string) (byAction map[string][]processEvent, path string) {
	byAction = map[string][]processEvent{}
	for _, e := range h.allEvents() {
		if !bytes.Contains(e.entry, []byte(guid)) {
			continue
		}
		columns := map[string]string{}
		_ = json.Unmarshal(e.entry, &columns) // encoded by us
		started := columns["action"] == actProcess
		switch {
		case columns["process_guid"] == guid:
			path = cmp.Or(path, columns["path"], columns["process_name"])
		case started && columns["parent_process_guid"] == guid:
			path = cmp.Or(path, columns["parent_path"])
		default:
			continue
		}
		if started && columns["process_guid"] == guid {
			continue // its own start hangs below its parent
		}
		byAction[columns["action"]] = append(byAction[columns["action"]], processEvent{columns, e.at.Unix()})
	}
	return byAction, path
}

// treeHost checks the arguments of both process calls. Server.mu is held.
func (s *Server) treeHost(c *call, needed ...string) (*host, *answer) {
	for _, name := range needed {
		c.need(name, name)
	}
	id := c.number("node_id", "node_id", 0)
	if bad := s.invalid(c.args); bad != nil {
		return nil, bad
	}
	h := s.host(strconv.FormatInt(id, 10))
	if h == nil || !h.windows() {
		return nil, refuse(s.fail("No Host present for the node id given!"))
	}
	return h, nil
}

// API: POST /alerts/process. Windows hosts only.
func (s *Server) processTree(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, refusal := s.treeHost(c, "process_guid", "node_id")
	if refusal != nil {
		return *refusal
	}
	guid := c.text("process_guid")
	byAction, path := h.eventsOf(guid)
	if path == "" {
		return s.fail("No events present for the process guid given!")
	}
	groups := []obj{}
	for _, action := range slices.Sorted(maps.Keys(byAction)) {
		events := byAction[action]
		shown := page(events, 0, childPage)
		children := h.children(shown)
		for _, child := range children {
			if child["has_child"] == nil { // only the call for more children leaves it out
				child["has_child"] = false
			}
		}
		groups = append(groups, obj{
			"action": action, "count": len(events), "color": "blue", "node_type": "action", "name": action, "fetched": true,
			"process_guid": guid, "last_time": strconv.FormatInt(shown[len(shown)-1].at, 10),
			"children": children, "all_children": children,
		})
	}
	return s.ok("Data is fetched successfully", obj{
		"name": baseName(path), "path": path, "node_type": "root", "all_children": groups,
		"data": obj{"process_guid": guid, "path": path},
	})
}

func (h *host) children(events []processEvent) []obj {
	rows := []obj{}
	for _, e := range events {
		row := obj{"color": "red", "name": "child", "data": e.columns}
		if e.columns["action"] == actProcess {
			below, _ := h.eventsOf(e.columns["process_guid"])
			row["has_child"] = len(below) > 0
		}
		rows = append(rows, row)
	}
	return rows
}

// API: POST /alerts/process/child: twenty events from last_time on, ascending.
func (s *Server) processChildren(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := c.number("last_time", "last_time", 0)
	h, refusal := s.treeHost(c, "process_guid", "action", "node_id")
	if refusal != nil {
		return *refusal
	}
	byAction, _ := h.eventsOf(c.text("process_guid"))
	events := slices.DeleteFunc(byAction[c.text("action")], func(e processEvent) bool { return e.at < from })
	shown := page(events, 0, childPage)
	last := strconv.FormatInt(from, 10)
	if len(shown) > 0 {
		last = strconv.FormatInt(shown[len(shown)-1].at, 10)
	}
	return s.ok("Successfully get the data", obj{"child_data": h.children(shown), "last_time": last})
}

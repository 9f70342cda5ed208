package ersim

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// alertOverviewTable lists the calls around graph, state and exports of alerts.
func (s *Server) alertOverviewTable() []route {
	const ent = needToken | enterprise
	return []route{
		{"alerts-graph", "GET", "/alerts/graph", ent, s.alertsGraph, nil},
		{"alerts-state", "GET", "/alerts/{id:int}/state", ent, s.alertsState, nil},
		{"alerts-alerted-events-export", "GET", "/alerts/{id:int}/alerted_events/export", needToken | only4, s.alertedEventsExport, nil},
		{"alerts-export", "POST", "/alerts/alert_source/export", needToken, s.alertsExport, nil},
	}
}

// selected are the alerts that graph and export are of, newest first, whatever their
// status. Server.mu is held.
func (s *Server) selected(c *call) ([]*alert, *answer) {
	f := &alertFilter{sources: c.list("source"), search: strings.ToLower(c.text("search")), searchRules: true}
	refusal := s.readSelection(c, f)
	if refusal == nil {
		refusal = s.readWindow(c, f)
	}
	if bad := s.invalid(c.args); bad != nil {
		return nil, bad
	}
	if refusal != nil {
		return nil, refusal
	}
	var found []*alert
	for _, a := range slices.Backward(s.alerts) {
		if f.basic(a) && f.narrow(a) {
			found = append(found, a)
		}
	}
	return found, nil
}

// graphClasses are how the console paints the severities.
var graphClasses = map[string]string{"CRITICAL": "yellow", "HIGH": "orange", "MEDIUM": "green-m", "LOW": "green"}

// API: GET /alerts/graph.
func (s *Server) alertsGraph(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, refusal := s.selected(c)
	if refusal != nil {
		return *refusal
	}
	points := []obj{}
	for _, a := range found {
		points = append(points, obj{
			"start": pyMillis(a.createdAt), "content": "", "event_id": a.id, "className": graphClasses[a.severity],
		})
	}
	return s.ok("Data is fetched successfully", points)
}

// pyMillis is datetime.timestamp() * 1000, a float.
func pyMillis(t time.Time) json.RawMessage {
	text := strconv.FormatFloat(float64(t.UnixMicro())/1000, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return json.RawMessage(text)
}

// stateQueries are the scheduled queries that describe the state of a host.
var stateQueries = map[string][]string{
	"windows": {"os_version", "patches"},
	"darwin":  {"apps", "os_version"},
	"linux":   {"deb_packages", "os_version"},
}

// API: GET /alerts/{id}/state: rows per query, counted over all days.
func (s *Server) alertsState(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.pathAlert(c)
	if a == nil {
		return s.fail(noAlert)
	}
	rows := []obj{}
	for _, query := range stateQueries[a.host.family()] {
		count := 1
		if query != "os_version" {
			count = 20 + s.random("state-"+query, a.host.id).IntN(200)
		}
		rows = append(rows, obj{"query_name": query, "count": count})
	}
	return s.ok("Successfully fetched the Alerted host state", rows)
}

// API: GET /alerts/count_by_source. An unknown host gives the totals of all. There
// is no window without date, and start_date is none.
func (s *Server) alertsCountBySource(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &alertFilter{}
	resolved := c.flag("resolved", "True to get all resolved alerts")
	ruleID := c.number("rule_id", "rule_id", 0)
	delete(c.values, "start_date")
	refusal := s.readWindow(c, f)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if refusal != nil {
		return *refusal
	}
	if f.resolved = resolved; resolved == nil && !s.profile.v4 {
		f.resolved = new(bool)
	}
	list := s.alerts
	if h := s.hostRefs[strings.ToUpper(c.text("host_identifier"))]; h != nil {
		list = h.alerts
	}
	if ruleID != 0 {
		f.rules = []int64{ruleID}
	}
	counts := map[string]int{}
	for _, a := range list {
		if f.basic(a) && f.narrow(a) {
			counts[a.source]++
		}
	}
	rows := []obj{}
	for _, source := range alertSources {
		rows = append(rows, obj{"name": source, "count": counts[source]})
	}
	return s.ok("Data is fetched successfully", obj{"alert_source": rows})
}

// API: POST /alerts/alert_source/export.
func (s *Server) alertsExport(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	row := s.exportRow4
	if !s.profile.v4 {
		c.need("source", "source name")
		if s.hostRefs[strings.ToUpper(c.text("host_identifier"))] == nil {
			delete(c.values, "host_identifier") // an unknown host is no filter
		}
		row = func(a *alert) pairs { return fromJSONB(a.entry).(pairs) }
	}
	found, refusal := s.selected(c)
	switch {
	case refusal != nil:
		return *refusal
	case len(found) == 0:
		return s.fail("Data couldn't find for the alert source given!")
	}
	// The first row alone makes the header: what only others have is left out.
	var header []string
	for _, one := range row(found[0]) {
		header = append(header, one.key)
	}
	rows := make([][]string, 0, len(found))
	for _, a := range found {
		one, cells := row(a), make([]string, len(header))
		for i, of := range header {
			v, _ := one.get(of)
			cells[i] = cell(v)
		}
		rows = append(rows, cells)
	}
	return csvFile("alert_source_results.csv", header, rows)
}

// exportRow4 is an alert as release 4.0 exports it: without its id, and with the
// verdict as a number.
func (s *Server) exportRow4(a *alert) pairs {
	updated := a.updatedAt
	if updated.IsZero() {
		updated = a.createdAt
	}
	verdict, comment := 0, any(nil)
	if a.change != nil {
		verdict = map[string]int{truePositive: 1, falsePositive: 2}[a.change.verdict]
		if a.change.comment != "" {
			comment = a.change.comment
		}
	}
	row := pairs{
		{"query_name", a.query}, {"alerted_entry", fromJSONB(a.entry)},
		{"node", pairs{{"id", a.host.id}, {"display_name", a.host.name}, {"host_identifier", a.host.identifier}}},
		{"severity", a.severity}, {"type", a.kind()}, {"created_at", a.createdAt.Format(layoutList)},
		{"updated_at", updated.Format(layoutList)}, {"result_log_uid", s.uuid("result", a.id)}, {"source", a.source},
		{"status", a.status()}, {"verdict", verdict}, {"comment", comment},
	}
	if a.rule != nil {
		row = append(row, pair{"rule", pairs{{"id", a.rule.id}, {"name", a.rule.name}}})
	}
	return row
}

// API: GET /alerts/{id}/alerted_events/export. A key that turns up late lengthens
// the header, while the rows before stay as they are.
func (s *Server) alertedEventsExport(c *call) answer {
	c.need("query_name", "query")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if c.breaksSQL() {
		return s.crash()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.pathAlert(c)
	if a == nil {
		return s.fail("No Alert present for the alert id given")
	}
	var header []string
	var rows [][]string
	for _, e := range a.events {
		if e.query != c.text("query_name") || !e.matches(c.text("searchterm"), c.text("column_name"), c.list("column_value")) {
			continue
		}
		columns := fromJSONB(e.entry).(pairs)
		for _, one := range columns {
			if !slices.Contains(header, one.key) {
				header = append(header, one.key)
			}
		}
		cells := make([]string, len(header))
		for i, of := range header {
			v, _ := columns.get(of)
			cells[i] = cell(v)
		}
		rows = append(rows, cells)
	}
	if len(rows) == 0 {
		return s.fail("No similar alerting events")
	}
	return csvFile(c.text("query_name")+"_alert"+c.path["id"]+".csv", header, rows)
}

// breaksSQL reports whether a filter of the events of an alert breaks the SQL that
// it is pasted into: by an apostrophe, or by a colon before a word, which is a
// parameter to SQLAlchemy.
func (a *args) breaksSQL() bool {
	for _, name := range []string{"query_name", "searchterm", "column_name", "column_value"} {
		text := a.text(name)
		if strings.Contains(text, "'") {
			return true
		}
		for i, r := range text {
			if r == ':' && (i == 0 || !strings.ContainsRune(`:\`, rune(text[i-1])) && !wordByte(text[i-1])) &&
				i+1 < len(text) && wordByte(text[i+1]) {
				return true
			}
		}
	}
	return false
}

func wordByte(b byte) bool {
	return b == '_' || '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

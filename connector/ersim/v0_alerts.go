package ersim

import (
	"encoding/json"
	"net/http"
)

// v0AlertTable lists the calls around alerts.
func (s *Server) v0AlertTable() []route {
	return []route{
		{"v0-alerts", "POST", "/alerts/", needToken, s.v0Alerts, nil},
		{"v0-alerts-data", "GET", "/alerts/data/{id:int}", needToken, s.v0AlertsData, nil},
	}
}

// API: POST /alerts/: everything that matches, resolved ones included, oldest
// first. Without an argument that means something the call is refused, and an
// unknown node counts as none given.
func (s *Server) v0Alerts(c *call) answer {
	query, ruleID := c.text("query_name"), c.number("rule_id", "rule id", 0)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list, missing := s.alerts, ""
	if h := s.node(c.text("host_identifier")); h != nil {
		list, missing = h.alerts, "host_identifier"
	}
	for _, given := range []struct {
		name string
		set  bool
	}{{"query_name", query != ""}, {"rule_id", ruleID != 0}} {
		switch {
		case !given.set:
		case missing == "":
			missing = given.name
		default:
			missing += " or " + given.name
		}
	}
	if missing == "" {
		return s.fail("no data is given to view alerts")
	}
	rows, seen := []obj{}, int64(0)
	for _, a := range list {
		if (query == "" || a.query == query) && (ruleID == 0 || a.rule != nil && a.rule.id == ruleID) {
			rows, seen = append(rows, s.v0AlertRow(a)), max(seen, a.id)
		}
	}
	if len(rows) == 0 {
		return s.fail(missing + " is invalid or might be there is no matching data")
	}
	s.releaseHeld(seen)
	return s.v0OK("Successfully received the alerts", rows)
}

// v0AlertRow is an alert in a list. The older documents show its id, release 2.1.2
// does not.
func (s *Server) v0AlertRow(a *alert) obj {
	row := obj{
		"query_name": a.query, "message": a.entry, "node_id": a.host.id, "rule_id": nil, "rule": nil, "severity": s.severityText(a),
		"created_at": pyISO(a.createdAt), "type": a.kind(), "source": a.source, "recon_queries": nil, "status": a.status(),
	}
	if a.rule != nil {
		row["rule_id"], row["rule"], row["recon_queries"] = a.rule.id, obj{"name": a.rule.name, "id": a.rule.id}, "null"
	} else if a.source != "ioc" && a.change == nil {
		row["status"] = nil // feed alerts that nobody touched
	}
	if s.older() {
		row["id"], row["sql"], row["created_at"] = a.id, nil, a.createdAt.Format(http.TimeFormat)
	}
	return s.v0Row(row)
}

// API: GET /alerts/data/{id}. It adds what a feed said.
func (s *Server) v0AlertsData(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.alert(c.pathID("id"))
	if a == nil {
		return s.fail("alerts data doesn't exists for the input given")
	}
	row := s.v0AlertRow(a)
	row["source_data"] = json.RawMessage("{}")
	if a.intel != nil {
		row["source_data"] = a.intel
	}
	return s.v0OK("data is fetched successfully", row)
}

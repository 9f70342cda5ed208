package ersim

import (
	"net/http"
	"strings"
)

// v0RuleTable lists the calls around rules.
func (s *Server) v0RuleTable() []route {
	return []route{
		{"v0-rules", "GET", "/rules/", needToken, s.v0Rules, nil},
		{"v0-rules-add", "POST", "/rules/add", needToken, s.v0RulesAdd, nil},
		{"v0-rules-get", "GET", "/rules/{id:int}", needToken, s.v0RulesGet, nil},
		{"v0-rules-update", "POST", "/rules/{id:int}", needToken, s.v0RulesUpdate, nil},
	}
}

// v0RuleRow is a rule, without its severity. Release 2.1.2 prints the conditions as
// Python does; the older documents have them as they are.
func (s *Server) v0RuleRow(r *rule) obj {
	row := obj{
		"id": r.id, "name": r.name, "description": orNull(r.description), "status": r.status, "alerters": textList(r.alerters),
		"conditions": r.conditions, "updated_at": r.updated.Format(http.TimeFormat),
	}
	if !s.older() {
		row["conditions"], row["updated_at"] = pyRepr(fromJSONB(encodeJSON(r.conditions))), pyISO(r.updated)
	}
	return row
}

// API: GET /rules/.
func (s *Server) v0Rules(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := []obj{}
	for _, r := range s.rules {
		if r.status != ruleDeleted {
			rows = append(rows, s.v0RuleRow(r))
		}
	}
	return s.v0OK("successfully fetched the rules info", rows)
}

// API: GET /rules/{rule_id}.
func (s *Server) v0RulesGet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, refusal := s.pathRule(c)
	if refusal != nil {
		return *refusal
	}
	return s.v0OK("successfully fetched the rules info", s.v0RuleRow(r))
}

// v0ReadRule reads the arguments of a rule. A severity may be any text.
func (s *Server) v0ReadRule(c *call) (rule, *answer) {
	c.need("description", "description of the rule")
	for _, name := range []string{"alerters", "tactics"} {
		if c.present(name) {
			c.values[name] = strings.Join(s.words(c, name), ",")
		}
	}
	r, bad := s.readRule(c, c.text("severity"))
	r.severity = strings.ToUpper(r.severity)
	return r, bad
}

// API: POST /rules/add. The older documents have the id below data.
func (s *Server) v0RulesAdd(c *call) answer {
	r, bad := s.v0ReadRule(c)
	if bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if refusal := s.checkRule(r, 0, badTechniqueID); refusal != nil {
		return *refusal
	}
	r.severity = defaultText(r.severity, "INFO")
	return s.flat("rule is added successfully", obj{"rule_id": s.insertRule(r).id})
}

const badTechniqueID = "technique id provided is invalid, please provide exact technique id"

// API: POST /rules/{rule_id}. All but the status is replaced.
func (s *Server) v0RulesUpdate(c *call) answer {
	r, bad := s.v0ReadRule(c)
	if bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, refusal := s.pathRule(c)
	if refusal == nil {
		refusal = s.checkRule(r, old.id, badTechniqueID)
	}
	if refusal != nil {
		return *refusal
	}
	s.replaceRule(old, r)
	return s.v0OK("Successfully modified the rules info", s.v0RuleRow(old))
}

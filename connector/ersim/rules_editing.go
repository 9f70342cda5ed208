package ersim

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ruleEditingTable lists the calls around what changes rules.
func (s *Server) ruleEditingTable() []route {
	return []route{
		{"rules-names", "GET", "/rules", needToken | only4, s.rulesNames, nil},
		{"rules-add", "POST", "/rules/add", needToken | needAdmin, s.rulesAdd, nil},
		{"rules-update", "POST", "/rules/{id:int}", needToken | needAdmin, s.rulesUpdate, nil},
		{"rules-enable", "POST", "/rules/enable", needToken | only4, s.rulesEnable, nil},
		{"rules-disable", "POST", "/rules/disable", needToken | only4, s.rulesDisable, nil},
		{"rules-delete", "DELETE", "/rules/disable", needToken | only4, s.rulesDelete, nil},
		{"rules-tactics", "POST", "/rules/tactics", needToken, s.rulesTactics, nil},
	}
}

// techniqueForm is the rule of all releases: no sub-techniques.
var techniqueForm = regexp.MustCompile(`^T1[0-9]{3}$`)

// readRule reads the arguments of a rule. The words for severities are those of the
// release, and of the call.
func (s *Server) readRule(c *call, severities ...string) (rule, *answer) {
	c.need("name", "name of the rule")
	c.need("conditions", "conditions")
	r := rule{
		name: c.text("name"), description: c.text("description"), conditions: c.object("conditions", "conditions"),
		severity: c.choice("severity", "severity", severities...), kind: c.text("type"), status: c.text("status"),
		tactics: pySplit(c.text("tactics")), techniques: pySplit(c.text("technique_id")), alerters: pySplit(c.text("alerters")),
	}
	if s.profile.v4 {
		r.platform = defaultText(c.text("platform"), "all")
		if inEmail := c.flag("alert_description", "alert_description"); inEmail != nil {
			r.inEmail = *inEmail
		}
	}
	if r.severity == "WARNING" {
		r.severity = "MEDIUM"
	}
	if !slices.Contains(r.alerters, "debug") {
		r.alerters = append(r.alerters, "debug")
	}
	return r, s.invalid(c.args)
}

// pySplit is split(",") of a text, and nothing of none: blanks stay.
func pySplit(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// checkRule says what the server refuses in a rule; id is that of the rule itself.
func (s *Server) checkRule(r rule, id int64, badTechnique string) *answer {
	if other := s.findRule(r.name); other != nil && other.id != id {
		return refuse(s.fail("Rule with the name " + r.name + " already exists!"))
	}
	for _, technique := range r.techniques {
		if !techniqueForm.MatchString(technique) {
			return refuse(s.fail(badTechnique))
		}
	}
	p := conditionParser{operators: ruleOperators, needValue: true}
	if _, err := p.group(r.conditions); err != nil {
		return refuse(s.fail(err.Error()))
	}
	return nil
}

// API: POST /rules/add.
func (s *Server) rulesAdd(c *call) answer {
	words := []string{"WARNING", "INFO", "CRITICAL"}
	if s.profile.v4 {
		words = append(words, "LOW", "MEDIUM", "HIGH")
	}
	r, bad := s.readRule(c, words...)
	if bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if refusal := s.checkRule(r, 0, "Technique id(s) provided is invalid, please provide valid technique id"); refusal != nil {
		return *refusal
	}
	r.severity, r.kind = defaultText(r.severity, "INFO"), defaultText(r.kind, "DEFAULT")
	return s.flat("Rule is added successfully", obj{"rule_id": s.insertRule(r).id})
}

// API: POST /rules/{id}. All but the status is replaced: what was not sent is null.
func (s *Server) rulesUpdate(c *call) answer {
	words := []string{"WARNING", "INFO", "CRITICAL"}
	if s.profile.v4 {
		words = []string{"MEDIUM", "INFO", "CRITICAL", "HIGH", "LOW"}
	}
	r, bad := s.readRule(c, words...)
	if bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, refusal := s.pathRule(c)
	if refusal == nil {
		refusal = s.checkRule(r, old.id, "Technique id provided is invalid, please provide exact technique id")
	}
	if refusal != nil {
		return *refusal
	}
	s.replaceRule(old, r)
	return s.ok("Successfully modified the rules info", s.ruleObject(old))
}

// replaceRule gives a rule the content of another. Its status stays unless the new
// one has one.
func (s *Server) replaceRule(old *rule, r rule) {
	r.id, r.created, r.open = old.id, old.created, old.open
	r.updated = s.now().Truncate(time.Microsecond)
	r.status = defaultText(r.status, old.status)
	*old = r
}

// someRules are the rules of an argument, deleted ones included; those that never
// were are left out.
func (s *Server) someRules(c *call) (rules []*rule, refusal *answer) {
	c.need("rule_ids", "rule_ids")
	if bad := s.invalid(c.args); bad != nil {
		return nil, bad
	}
	for _, text := range c.array("rule_ids") {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, refuse(s.crash())
		}
		if id >= 1 && id <= int64(len(s.rules)) {
			rules = append(rules, s.rules[id-1])
		}
	}
	if len(rules) == 0 {
		return nil, refuse(nested(http.StatusBadRequest, "No rule(s) are present with give id!"))
	}
	return rules, nil
}

func (s *Server) setRuleStatus(c *call, status, done string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	rules, refusal := s.someRules(c)
	if refusal != nil {
		return *refusal
	}
	for _, r := range rules {
		r.status = status
	}
	return s.ok(done, nil)
}

const ruleStatusSet = "Successfully modified the rules status"

// API: POST /rules/enable. It brings deleted rules back.
func (s *Server) rulesEnable(c *call) answer { return s.setRuleStatus(c, ruleActive, ruleStatusSet) }

// API: POST /rules/disable. It brings deleted rules back, as inactive ones.
func (s *Server) rulesDisable(c *call) answer { return s.setRuleStatus(c, ruleInactive, ruleStatusSet) }

// API: DELETE /rules/disable, which deletes.
func (s *Server) rulesDelete(c *call) answer {
	return s.setRuleStatus(c, ruleDeleted, "Successfully deleted the rules")
}

// techniqueTactics are the tactics of some techniques (MITRE ATT&CK, Enterprise).
var techniqueTactics = map[string][]string{
	"T1003": {"credential-access"}, "T1027": {"defense-evasion"}, "T1055": {"defense-evasion", "privilege-escalation"},
	"T1059": {"execution"}, "T1071": {"command-and-control"}, "T1105": {"command-and-control"}, "T1204": {"execution"},
	"T1218": {"defense-evasion"}, "T1486": {"impact"}, "T1490": {"impact"}, "T1547": {"persistence", "privilege-escalation"},
	"T1566": {"initial-access"}, "T1574": {"persistence", "privilege-escalation", "defense-evasion"},
}

// API: POST /rules/tactics. The real server asks a site of MITRE; release 2.1.2 was
// observed where it could not.
func (s *Server) rulesTactics(c *call) answer {
	c.need("technique_ids", "technique_ids")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if !s.profile.v4 {
		return s.crash()
	}
	tactics, description := []string{}, ""
	for id := range strings.SplitSeq(c.text("technique_ids"), ",") {
		if known, ok := techniqueTactics[id]; ok {
			tactics = append(tactics, known...)
			description += "\nTechnique " + id
		}
	}
	return s.ok("Tactics are fetched successfully from technique ids", obj{"tactics": tactics, "description": description})
}

package ersim

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rule is a server rule. Texts that are empty are null in answers.
type rule struct {
	id          int64
	name        string
	description string
	severity    string // INFO, LOW, MEDIUM, HIGH or CRITICAL; release 2.1.2 shows WARNING for the middle ones
	kind        string // MITRE or DEFAULT
	status      string // ruleActive, ruleInactive or ruleDeleted
	platform    string
	techniques  []string
	tactics     []string
	alerters    []string
	condition   [2]string // column and text; only to make conditions from
	conditions  obj
	inEmail     bool // alert_description
	created     time.Time
	updated     time.Time
	open        int // alerts of it that are not resolved
}

const (
	ruleActive   = "ACTIVE"
	ruleInactive = "INACTIVE"
	ruleDeleted  = "DELETED" // stays in the table, and is not shown any more
)

// The rules of a new server. Scenarios and AlertSpec name them.
var stockRules = []rule{
	{name: "Shadow copies deleted", severity: "CRITICAL", techniques: []string{"T1490"}, tactics: []string{"impact"},
		description: "vssadmin or wmic removes volume shadow copies", condition: [2]string{"cmdline", "delete shadows"}},
	{name: "Mass file rename", severity: "CRITICAL", techniques: []string{"T1486"}, tactics: []string{"impact"},
		description: "many files get a new extension within a minute", condition: [2]string{"target_path", ".locked"}},
	{name: "Boot recovery disabled", severity: "HIGH", techniques: []string{"T1490"}, tactics: []string{"impact"},
		description: "bcdedit turns off automatic repair", condition: [2]string{"cmdline", "recoveryenabled no"}},
	{name: "Office starts a shell", severity: "HIGH", techniques: []string{"T1566", "T1059"},
		tactics: []string{"initial-access", "execution"}, description: "an Office program starts a command interpreter",
		condition: [2]string{"parent_path", "WINWORD.EXE"}},
	{name: "Encoded PowerShell", severity: "HIGH", techniques: []string{"T1059", "T1027"},
		tactics: []string{"execution", "defense-evasion"}, description: "powershell with an encoded command",
		condition: [2]string{"cmdline", "-enc"}},
	{name: "Certutil download", severity: "MEDIUM", techniques: []string{"T1105"}, tactics: []string{"command-and-control"},
		description: "certutil fetches a file", condition: [2]string{"cmdline", "-urlcache"}},
	{name: "Mshta runs a remote script", severity: "HIGH", techniques: []string{"T1218"}, tactics: []string{"defense-evasion"},
		description: "mshta with an http address", condition: [2]string{"cmdline", "mshta http"}},
	{name: "Script host connects out", severity: "MEDIUM", techniques: []string{"T1071"}, tactics: []string{"command-and-control"},
		description: "an interpreter opens a connection to a public address", condition: [2]string{"process_name", "powershell.exe"}},
	{name: "Rare domain looked up", severity: "LOW", techniques: []string{"T1071"}, tactics: []string{"command-and-control"},
		description: "a name nobody asked for before", condition: [2]string{"domain_name", ".example.net"}},
	{name: "Run key written", severity: "MEDIUM", techniques: []string{"T1547"}, tactics: []string{"persistence"},
		description: "a program registers itself for the next logon", condition: [2]string{"target_name", `CurrentVersion\Run`}},
	{name: "Unsigned library loaded", severity: "LOW", techniques: []string{"T1574"}, tactics: []string{"persistence"},
		description: "a system process loads a library without a signature", condition: [2]string{"sign_info", "Unsigned"}},
	{name: "Remote thread created", severity: "HIGH", techniques: []string{"T1055"}, tactics: []string{"defense-evasion"},
		description: "a process starts a thread in another", condition: [2]string{"action", "REMOTE_THREAD"}},
	{name: "Credential dumping", severity: "CRITICAL", techniques: []string{"T1003"}, tactics: []string{"credential-access"},
		description: "mimikatz on the command line", condition: [2]string{"cmdline", "sekurlsa"}},
	{name: "Administrator logon", severity: "INFO", techniques: nil, tactics: nil,
		description: "somebody with administrator rights logged on", condition: [2]string{"action", "LOGON"}},
	{name: "Software installed", severity: "INFO", techniques: nil, tactics: nil,
		description: "an installer ran", condition: [2]string{"cmdline", "msiexec"}},
	{name: "Simulated load", severity: "HIGH", techniques: []string{"T1204"}, tactics: []string{"execution"},
		description: "alerts made in bulk", condition: [2]string{"cmdline", "sim-load"}},
}

func (s *Server) buildRules() {
	for _, r := range stockRules {
		s.addRule(r)
	}
}

// addRule adds a rule of our own making to the table.
func (s *Server) addRule(r rule) *rule {
	r.severity = defaultText(strings.ToUpper(r.severity), "MEDIUM")
	r.kind = "DEFAULT"
	if len(r.techniques) > 0 {
		r.kind = "MITRE"
	}
	r.platform, r.alerters = "windows", []string{"debug", "rsyslog"}
	r.conditions = obj{"condition": "AND", "valid": true, "rules": []obj{{
		"id": "column", "type": "string", "field": "column", "input": "text", "operator": "column_contains", "value": r.condition[:],
	}}}
	return s.insertRule(r)
}

func (s *Server) insertRule(r rule) *rule {
	r.id = int64(len(s.rules) + 1)
	r.status = defaultText(r.status, ruleActive)
	r.updated = s.now().Truncate(time.Microsecond)
	r.created = r.updated
	s.rules = append(s.rules, &r)
	return &r
}

// ruleNamed finds a rule by name, a deleted one too, or makes one.
func (s *Server) ruleNamed(name string, otherwise rule) *rule {
	if r := s.findRule(name); r != nil {
		return r
	}
	for _, r := range s.rules {
		if r.name == name {
			return r
		}
	}
	otherwise.name = name
	return s.addRule(otherwise)
}

// findRule finds a rule by name, nil if there is none any more.
func (s *Server) findRule(name string) *rule {
	for _, r := range s.rules {
		if r.name == name && r.status != ruleDeleted {
			return r
		}
	}
	return nil
}

// ruleByID finds a rule, nil if there is none any more.
func (s *Server) ruleByID(id int64) *rule {
	if id < 1 || id > int64(len(s.rules)) || s.rules[id-1].status == ruleDeleted {
		return nil
	}
	return s.rules[id-1]
}

// severityName is the word that the release uses.
func (s *Server) severityName(severity string) string {
	if !s.profile.v4 && (severity == "MEDIUM" || severity == "HIGH") {
		return "WARNING"
	}
	return severity
}

func (s *Server) ruleObject(r *rule) obj {
	form := pyISO
	if s.profile.v4 {
		form = pySpace
	}
	out := obj{
		"id": r.id, "name": r.name, "description": orNull(r.description), "severity": orNull(s.severityName(r.severity)),
		"status": r.status, "type": orNull(r.kind), "tactics": textList(r.tactics), "technique_id": orNull(strings.Join(r.techniques, ",")),
		"alerters": textList(r.alerters), "updated_at": form(r.updated), "conditions": r.conditions,
	}
	if s.profile.v4 {
		out["created_at"], out["platform"], out["alert_description"] = form(r.created), orNull(r.platform), r.inEmail
	}
	return out
}

// orNull is a text, or null for none.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// API: GET /rules, release 4.0: by name.
func (s *Server) rulesNames(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := []obj{}
	for _, r := range slices.SortedFunc(slices.Values(s.rules), func(a, b *rule) int { return cmp.Compare(a.name, b.name) }) {
		if r.status != ruleDeleted {
			rows = append(rows, obj{"name": r.name, "id": r.id, "status": r.status})
		}
	}
	return s.ok(rulesFetched, rows)
}

const rulesFetched = "Successfully fetched the rules info"

// API: POST /rules. Rules with the most open alerts come first. Release 2.1.2 knows
// neither status nor an order, and looks for the text in more than the name.
func (s *Server) rulesList(c *call) answer {
	start, limit := c.number("start", "start", 0), c.number("limit", "limit", -1)
	withCount := c.flag("alerts_count", "alerts_count(true/false)")
	var status *bool
	var column, order string
	if s.profile.v4 {
		status = c.flag("status", "status(true/false)")
		column = c.choice("column", "coumn to sort", "created_at", "name", "alert_count")
		order = strings.ToLower(c.choice("order_by", "order to sort", "asc", "Asc", "ASC", "Desc", "DESC", "desc"))
	}
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	counting := withCount == nil || *withCount
	if c.negativePage() || order != "" && column == "" || !counting && (order == "" || column == "alert_count") {
		return s.crash() // without the join there is nothing to count and to sort by
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	search := strings.ToLower(c.text("searchterm"))
	var found []*rule
	total, alerts := len(s.rules), 0
	if status != nil {
		total = 0
	}
	for _, r := range s.rules {
		if r.status != ruleDeleted {
			alerts += r.open
		}
		if status != nil && (r.status == ruleActive) == *status && r.status != ruleDeleted {
			total++
		}
		if r.status != ruleDeleted && (status == nil || (r.status == ruleActive) == *status) && s.ruleHas(r, search) {
			found = append(found, r)
		}
	}
	sortRules(found, column, order)
	results := []obj{}
	for _, r := range page(found, start, limit) {
		row := s.ruleObject(r)
		if counting {
			row["alerts_count"] = r.open
		}
		results = append(results, row)
	}
	return s.ok(rulesFetched, obj{"count": len(found), "total_count": total, "results": results, "total_alerts": alerts})
}

func (s *Server) ruleHas(r *rule, search string) bool {
	texts := []string{r.name}
	if !s.profile.v4 {
		texts = append(texts, r.description, s.severityName(r.severity), r.status, r.kind, strings.Join(r.techniques, ","))
	}
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(strings.ToLower(text), search) })
}

// sortRules sorts by a column if there is an order, else the most alerts first.
func sortRules(rules []*rule, column, order string) {
	slices.SortStableFunc(rules, func(a, b *rule) int {
		if order == "" {
			return cmp.Or(cmp.Compare(b.open, a.open), cmp.Compare(a.name, b.name))
		}
		by := cmp.Compare(a.open, b.open)
		switch column {
		case "name":
			by = cmp.Compare(a.name, b.name)
		case "created_at":
			by = a.created.Compare(b.created)
		}
		if order == "desc" {
			by = -by
		}
		return cmp.Or(by, cmp.Compare(a.id, b.id))
	})
}

const (
	noRule   = "Rule with this id does not exist"
	noRuleID = "Missing rule id" // for 0
)

// pathRule is the rule that the path names, or the refusal. Server.mu is held.
func (s *Server) pathRule(c *call) (*rule, *answer) {
	id, _ := strconv.ParseInt(c.path["id"], 10, 64) // out of range finds nothing
	if r := s.ruleByID(id); r != nil {
		return r, nil
	}
	if strings.Trim(c.path["id"], "0") == "" {
		return nil, refuse(s.fail(noRuleID))
	}
	return nil, refuse(s.fail(noRule))
}

// API: GET /rules/{id}.
func (s *Server) rulesGet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, refusal := s.pathRule(c)
	if refusal != nil {
		return *refusal
	}
	return s.ok(rulesFetched, s.ruleObject(r))
}

package ersim

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rule is a server rule.
type rule struct {
	id          int64
	name        string
	description string
	severity    string // INFO, LOW, MEDIUM, HIGH or CRITICAL; release 2.1.2 shows WARNING for the middle ones
	techniques  []string
	tactics     []string
	condition   [2]string
	updated     time.Time
	open        int // alerts of it that are not resolved
}

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

func (s *Server) addRule(r rule) *rule {
	r.id = int64(len(s.rules) + 1)
	r.updated = s.now().Truncate(time.Microsecond)
	r.severity = defaultText(strings.ToUpper(r.severity), "MEDIUM")
	s.rules = append(s.rules, &r)
	return &r
}

// ruleNamed finds a rule by name or makes one.
func (s *Server) ruleNamed(name string, otherwise rule) *rule {
	for _, r := range s.rules {
		if r.name == name {
			return r
		}
	}
	otherwise.name = name
	return s.addRule(otherwise)
}

// severityName is the word that the release uses.
func (s *Server) severityName(severity string) string {
	if !s.profile.v4 && (severity == "MEDIUM" || severity == "HIGH") {
		return "WARNING"
	}
	return severity
}

func (s *Server) ruleObject(r *rule) obj {
	form, kind := pyISO, "DEFAULT"
	if s.profile.v4 {
		form = pySpace
	}
	var techniques any
	if len(r.techniques) > 0 {
		kind, techniques = "MITRE", strings.Join(r.techniques, ",")
	}
	out := obj{
		"id": r.id, "name": r.name, "description": r.description, "severity": s.severityName(r.severity),
		"status": "ACTIVE", "type": kind, "tactics": textList(r.tactics), "technique_id": techniques,
		"alerters": []string{"debug", "rsyslog"}, "updated_at": form(r.updated),
		"conditions": obj{"condition": "AND", "valid": true, "rules": []obj{{
			"id": "column", "type": "string", "field": "column", "input": "text",
			"operator": "column_contains", "value": r.condition[:],
		}}},
	}
	if s.profile.v4 {
		out["created_at"], out["platform"], out["alert_description"] = form(r.updated), "windows", false
	}
	return out
}

// API: POST /rules. Rules with the most open alerts come first.
func (s *Server) rulesList(c *call) answer {
	start, limit := c.number("start", "start", 0), c.number("limit", "limit", -1)
	withCount := c.flag("alerts_count", "alerts_count")
	status := c.flag("status", "status")
	column := c.choice("column", "column", "created_at", "name", "alert_count")
	order := c.choice("order_by", "order_by", "asc", "desc")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if start < 0 || order != "" && column == "" || withCount != nil && !*withCount && order == "" {
		return s.crash()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	search := strings.ToLower(c.text("searchterm"))
	var found []*rule
	for _, r := range s.rules {
		if strings.Contains(strings.ToLower(r.name), search) && (status == nil || *status) {
			found = append(found, r)
		}
	}
	slices.SortStableFunc(found, func(a, b *rule) int {
		by := cmp.Compare(a.open, b.open)
		switch column {
		case "name":
			by = cmp.Compare(a.name, b.name)
		case "created_at":
			by = a.updated.Compare(b.updated)
		}
		if order == "desc" || order == "" && column == "" {
			by = -by
		}
		return cmp.Or(by, cmp.Compare(a.name, b.name))
	})
	total, results := 0, []obj{}
	for _, r := range s.rules {
		total += r.open
	}
	for _, r := range page(found, start, limit) {
		row := s.ruleObject(r)
		if withCount == nil || *withCount {
			row["alerts_count"] = r.open
		}
		results = append(results, row)
	}
	return s.ok("Successfully fetched the rules info",
		obj{"count": len(found), "total_count": len(s.rules), "results": results, "total_alerts": total})
}

// API: GET /rules/{id}.
func (s *Server) rulesGet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := strconv.ParseInt(c.path["id"], 10, 64)
	if err != nil || id < 1 || id > int64(len(s.rules)) {
		return s.fail("Rule with this id does not exist")
	}
	return s.ok("Successfully fetched the rules info", s.ruleObject(s.rules[id-1]))
}

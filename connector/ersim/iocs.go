package ersim

import (
	"slices"
	"strings"
)

// iocsState is the state behind the section IOCs: rows of one value each, in the
// order in which they were written.
type iocsState struct{ rows []indicator }

// indicator is a value that events are compared with.
type indicator struct{ name, kind, severity, value string }

// iocsTable lists the calls around the section IOCs.
func (s *Server) iocsTable() []route {
	return []route{
		{"iocs-list", "GET", "/iocs", needToken, s.iocsList, nil},
		{"iocs-replace", "POST", "/iocs/add", needToken | needAdmin, s.iocsReplace, nil},
	}
}

// API: GET /iocs. A server without indicators makes examples up.
func (s *Server) iocsList(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	lists := map[string]obj{}
	for _, row := range s.iocs.rows {
		if list := lists[row.name]; list != nil {
			list["values"] = list["values"].(string) + "," + row.value
			continue
		}
		lists[row.name] = obj{"type": row.kind, "severity": row.severity, "intel_type": "self", "values": row.value}
	}
	if len(lists) == 0 {
		medium := s.severityName("MEDIUM")
		lists = map[string]obj{
			"test-intel_ipv4":        {"type": "remote_address", "values": "192.0.2.15,192.0.2.16", "severity": medium},
			"test-intel_domain_name": {"type": "domain_name", "values": "unknown.example,slackabc.example", "severity": medium},
			"test-intel_md5":         {"type": "md5", "values": "3h8dk0sksm0,9sd772ndd80", "severity": "INFO"},
		}
	}
	if s.profile.v4 {
		return s.ok("Successfully fetched the IOCs", lists)
	}
	return s.ok("Successfully fetched the iocs", lists)
}

// API: POST /iocs/add. It deletes all that is there and then writes entry by entry,
// leaving out what has no type, no severity, or values that are no text. Release 2.1.2
// commits with each value, so that a set without one changes nothing; 4.0 commits at
// the end.
func (s *Server) iocsReplace(c *call) answer {
	c.need("data", "Threat Intel Data Json")
	data := c.object("data", "Threat Intel Data Json")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	var rows []indicator
	for _, name := range sortedKeys(data) {
		list, ok := data[name].(obj)
		if !ok {
			return s.iocsStumble(rows, "argument of type '"+pyType(data[name])+"' is not iterable")
		}
		if !hasKey(list, "type") || !hasKey(list, "severity") {
			continue
		}
		if !hasKey(list, "values") {
			return s.iocsStumble(rows, string(keyError("values")))
		}
		values, ok := list["values"].(string)
		if !ok {
			continue
		}
		severity := pyText(list["severity"])
		if s.profile.v4 {
			severity = storedSeverity(severity)
		}
		for value := range strings.SplitSeq(values, ",") {
			if s.profile.v4 {
				value = strings.TrimSpace(value)
			}
			rows = append(rows, indicator{name, pyText(list["type"]), severity, value})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.profile.v4 || len(rows) > 0 {
		s.iocs.rows = rows
	}
	return s.ok("Successfully updated the intel data", nil)
}

// iocsStumble is a failure in the middle: what release 2.1.2 has written by then
// stays, and nothing else does.
func (s *Server) iocsStumble(rows []indicator, why string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.profile.v4 && len(rows) > 0 {
		s.iocs.rows = rows
	}
	return s.fail(why)
}

// storedSeverity is the word that release 4.0 keeps: one that it does not know, and
// WARNING of old, become MEDIUM.
func storedSeverity(severity string) string {
	severity = strings.ToUpper(severity)
	if !slices.Contains([]string{"INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL"}, severity) {
		return "MEDIUM"
	}
	return severity
}

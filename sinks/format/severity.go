package format

import "github.com/erbridge/erbridge/internal/soar"

// levels are one severity in the words of each target.
type levels struct {
	syslog int     // RFC 5424, section 6.2.1
	cef    int     // 0 to 10: 0-3 low, 4-6 medium, 7-8 high, 9-10 very high
	ecs    int64   // event.severity and event.risk_score; 0 leaves both out
	cim    string  // Splunk CIM, data model Alerts
	risk   float64 // event.risk_score
	ocsf   int     // severity_id
	asim   string  // EventSeverity
	udm    string  // security_result.severity
}

var severities = map[soar.Severity]levels{
	soar.SeverityInfo:     {syslog: 6, cef: 1, ecs: 10, risk: 10, cim: "informational", ocsf: 1, asim: "Informational", udm: "INFORMATIONAL"},
	soar.SeverityLow:      {syslog: 5, cef: 3, ecs: 21, risk: 21, cim: "low", ocsf: 2, asim: "Low", udm: "LOW"},
	soar.SeverityMedium:   {syslog: 4, cef: 5, ecs: 47, risk: 47, cim: "medium", ocsf: 3, asim: "Medium", udm: "MEDIUM"},
	soar.SeverityHigh:     {syslog: 3, cef: 8, ecs: 73, risk: 73, cim: "high", ocsf: 4, asim: "High", udm: "HIGH"},
	soar.SeverityCritical: {syslog: 2, cef: 10, ecs: 99, risk: 99, cim: "critical", ocsf: 5, asim: "High", udm: "CRITICAL"},
}

// levelsOf looks a severity up. A word that a later release brings gets the
// middle of each scale, and nothing where a scale has no middle.
func levelsOf(s soar.Severity) levels {
	if l, ok := severities[s]; ok {
		return l
	}
	return levels{syslog: 5, cef: 5, cim: "unknown", ocsf: 99, asim: "Medium", udm: "UNKNOWN_SEVERITY"}
}

// SeverityOf is the severity that an event is filed under. What happens because
// of an alert is as severe as the alert, so that a filter on severity keeps a
// story together; trouble of erbridge itself is high.
func SeverityOf(ev *soar.Event) soar.Severity {
	switch {
	case ev.Alert != nil:
		return ev.Alert.Severity
	case ev.Type == soar.EventTrouble:
		return soar.SeverityHigh
	}
	return soar.SeverityInfo
}

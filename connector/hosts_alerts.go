package connector

import "context"

// AlertDistribution is how the alerts of a host that are not resolved spread.
type AlertDistribution struct {
	// Sources are the counts by where alerts come from: rule, ioc, virustotal,
	// ibmxforce, alienvault.
	Sources map[string]SourceAlerts
	// Rules are the five rules with the most alerts, most first.
	Rules []RuleAlerts
}

// SourceAlerts counts the alerts of one source.
type SourceAlerts struct {
	// Severities are the counts by severity: INFO, LOW, MEDIUM, HIGH, CRITICAL; before
	// release 4.0 WARNING in place of the middle two.
	Severities map[string]int
	Total      int
}

// RuleAlerts counts the alerts of one rule.
type RuleAlerts struct {
	Rule  string
	Count int
}

// AlertDistribution counts the alerts of a host that are not resolved, also of a
// removed host. ErrNotFound if there is no such host.
//
// API: GET /hosts/{node_id}/alerts/distribution (REST guide 4.0.0, section Hosts).
func (s *HostsService) AlertDistribution(ctx context.Context, ref string) (d AlertDistribution, err error) {
	k, err := callHostsAlertDistribution.with(ref)
	if err != nil {
		return d, err
	}
	told := false
	err = s.c.do(ctx, k, nil, data(func(v value) {
		told = v.at("sources").isObject()
		d = readDistribution(v)
	}))
	if err == nil && !told {
		err = missing(k)
	}
	return d, err
}

func readDistribution(v value) AlertDistribution {
	d := AlertDistribution{Sources: make(map[string]SourceAlerts)}
	for source, counts := range v.at("sources").fields() {
		one := SourceAlerts{Severities: make(map[string]int)}
		for severity, n := range counts.fields() {
			if severity == "TOTAL" {
				one.Total = n.count()
				continue
			}
			one.Severities[severity] = n.count()
		}
		d.Sources[source] = one
	}
	for rule := range v.at("rules").items() {
		d.Rules = append(d.Rules, RuleAlerts{Rule: rule.at("name").text(), Count: rule.at("count").count()})
	}
	return d
}

package connector

import (
	"context"
	"strings"
)

// Dashboard is what the console's first page shows. Only open alerts count.
type Dashboard struct {
	// Rules, Hosts and Queries are the five with the most open alerts.
	Rules   []Ranked
	Hosts   []Ranked
	Queries []Ranked
	// Sources counts open alerts by source (rule, ioc, virustotal, ibmxforce,
	// alienvault), then by severity: INFO, LOW, MEDIUM, HIGH and CRITICAL, before
	// release 3.5 WARNING in place of MEDIUM and HIGH.
	Sources map[string]map[string]int
	// RetentionDays is how long data is kept; 0 if that is not set.
	RetentionDays int
	// Platforms counts hosts by platform, such as windows or ubuntu.
	Platforms map[string]int
	// Online and Offline count hosts.
	Online, Offline int
}

// Ranked is something with its number of open alerts.
type Ranked struct {
	ID         int64  // of a rule or host, since release 3.5
	Name       string // of a rule, a query, or since release 3.5 a host
	Identifier string // of a host
	Count      int
}

// OpenAlerts is the number of open alerts of all sources.
func (d Dashboard) OpenAlerts() int {
	total := 0
	for _, severities := range d.Sources {
		for _, n := range severities {
			total += n
		}
	}
	return total
}

// Dashboard fetches numbers of alerts and hosts.
// API: GET /dashboard (REST guide 4.0.0, "Get dashboard data").
func (c *Client) Dashboard(ctx context.Context) (d Dashboard, err error) {
	given := false
	err = c.do(ctx, callDashboard, nil, data(func(v value) {
		given = v.isObject()
		alerts, hosts := v.at("alert_data"), v.at("distribution_and_status")
		top := alerts.at("top_five")
		d = Dashboard{
			Rules:         ranking(top.at("rule")),
			Hosts:         ranking(top.at("hosts")),
			Queries:       ranking(top.at("query")),
			Sources:       make(map[string]map[string]int),
			RetentionDays: v.at("purge_duration").count(),
			Platforms:     make(map[string]int),
			Online:        hosts.at("hosts_status_count").at("online").count(),
			Offline:       hosts.at("hosts_status_count").at("offline").count(),
		}
		for source, counts := range alerts.at("source").fields() {
			severities := make(map[string]int)
			for severity, n := range counts.fields() {
				if !strings.EqualFold(severity, "TOTAL") { // the sum of the others
					severities[severity] = n.count()
				}
			}
			d.Sources[source] = severities
		}
		for row := range hosts.at("hosts_platform_count").items() {
			d.Platforms[row.at("os_name").text()] += row.at("count").count()
		}
	}))
	if err == nil && !given {
		err = missing(callDashboard)
	}
	return d, err
}

func ranking(v value) []Ranked {
	var list []Ranked
	for row := range v.items() {
		list = append(list, Ranked{
			ID:         row.at("rule_id", "host_id").id(),
			Name:       row.at("rule_name", "query_name", "host_name").text(),
			Identifier: row.at("host_identifier").text(),
			Count:      row.at("count").count(),
		})
	}
	return list
}

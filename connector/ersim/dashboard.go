package ersim

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// dashboardTable lists the call behind the console's first page.
func (s *Server) dashboardTable() []route {
	return []route{{"dashboard", "GET", "/dashboard", needToken, s.dashboardGet, nil}}
}

// downloadTable lists the files that the proxy hands to anybody. Its paths are
// below /downloads.
func (s *Server) downloadTable() []route {
	file := func(content func() []byte) func(*call) answer {
		return func(*call) answer { return answer{status: http.StatusOK, contentType: typeFile, body: content()} }
	}
	return []route{
		{"download-certificate", "GET", "/certificate.crt", 0, file(func() []byte { return s.caPEM }), nil},
		{"download-cpt-windows", "GET", "/windows/plgx_cpt.exe", 0, file(windowsTool), nil},
		{"download-cpt-linux", "GET", "/linux/plgx_cpt", 0, file(linuxTool), nil},
		{"download-status-log", "GET", "/status_log/{file}", 0, s.statusLogFile, nil},
		{"download-cpt-macos", "GET", "/plgx_cpt.sh", 0, file(macTool), nil},
	}
}

const typeFile = "application/octet-stream"

// The tools do nothing, but begin like what they stand for.
func windowsTool() []byte {
	return append([]byte("MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00"), sampleContent("plgx_cpt.exe")...)
}

func linuxTool() []byte {
	return append([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00"), sampleContent("plgx_cpt")...)
}

func macTool() []byte {
	return []byte("#!/bin/bash\n# Simulated installer: it installs nothing.\nexit 0\n")
}

// API: GET /dashboard. Only open alerts count.
func (s *Server) dashboardGet(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	rules, hosts, queries := map[*rule]int{}, map[*host]int{}, map[string]int{}
	sources := obj{}
	severities := []string{"INFO", "LOW", "WARNING", "CRITICAL"}
	if s.profile.v4 {
		severities = []string{"INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL"}
	}
	bySource := map[string]map[string]int{}
	for _, source := range alertSources {
		counts := map[string]int{"TOTAL": 0}
		for _, severity := range severities {
			counts[severity] = 0
		}
		bySource[source], sources[source] = counts, counts
	}
	for _, a := range s.alerts {
		if a.resolved() {
			continue
		}
		if a.rule != nil {
			rules[a.rule]++
		}
		hosts[a.host]++
		queries[a.query]++
		if a.severity != "" {
			bySource[a.source][s.severityName(a.severity)]++
		}
		bySource[a.source]["TOTAL"]++
	}
	topRules, topHosts, topQueries := []obj{}, []obj{}, []obj{}
	for _, r := range topFive(rules, func(r *rule) string { return r.name }) {
		row := obj{"rule_name": r.name, "count": rules[r]}
		if s.profile.v4 {
			row["rule_id"] = r.id
		}
		topRules = append(topRules, row)
	}
	for _, h := range topFive(hosts, func(h *host) string { return h.identifier }) {
		row := obj{"host_identifier": h.identifier, "count": hosts[h]}
		if s.profile.v4 {
			row["host_id"], row["host_name"] = h.id, h.name
		}
		topHosts = append(topHosts, row)
	}
	for _, query := range topFive(queries, strings.Clone) {
		topQueries = append(topQueries, obj{"query_name": query, "count": queries[query]})
	}
	data := obj{
		"alert_data":              obj{"top_five": obj{"rule": topRules, "hosts": topHosts, "query": topQueries}, "source": sources},
		"purge_duration":          nil,
		"distribution_and_status": s.fleetStatus(),
	}
	if days := s.management.retentionDays; days != "" {
		data["purge_duration"] = days
	}
	return s.ok("Data is fetched successfully", data)
}

// topFive are the keys with the highest counts; name decides between equals.
func topFive[K comparable](counts map[K]int, name func(K) string) []K {
	keys := slices.Collect(maps.Keys(counts))
	slices.SortFunc(keys, func(a, b K) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(name(a), name(b)))
	})
	return keys[:min(5, len(keys))]
}

// fleetStatus counts active hosts by platform, and those that are online.
func (s *Server) fleetStatus() obj {
	platforms := map[string]int{}
	online, active := 0, 0
	for _, h := range s.hosts {
		if h.state != hostActive {
			continue
		}
		platforms[h.role.platform]++
		active++
		online += boolRank(h.online)
	}
	rows := []obj{}
	for _, platform := range slices.Sorted(maps.Keys(platforms)) {
		rows = append(rows, obj{"os_name": platform, "count": platforms[platform]})
	}
	return obj{
		"hosts_platform_count": rows,
		"hosts_status_count":   obj{"online": online, "offline": active - online},
	}
}

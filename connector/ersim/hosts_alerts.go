package ersim

import (
	"cmp"
	"maps"
	"slices"
)

const topRules = 5

// API: GET /hosts/{x}/alerts/distribution: the alerts that are not resolved, by source
// and severity, and the rules with most of them. Those of a removed host count.
func (s *Server) hostAlerts(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.pathHost(c)
	if h == nil {
		return s.fail(noHost)
	}
	sources := map[string]map[string]int{}
	for _, source := range alertSources {
		sources[source] = map[string]int{"TOTAL": 0}
		for _, severity := range []string{"INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL"} {
			sources[source][s.severityName(severity)] = 0
		}
	}
	rules := map[string]int{}
	for _, a := range slices.Concat(h.alerts, h.hidden) {
		if a.resolved() {
			continue
		}
		if a.severity != "" {
			sources[a.source][s.severityName(a.severity)]++
		}
		sources[a.source]["TOTAL"]++
		if a.rule != nil {
			rules[a.rule.name]++
		}
	}
	names := slices.SortedFunc(maps.Keys(rules), func(a, b string) int {
		return cmp.Or(cmp.Compare(rules[b], rules[a]), cmp.Compare(a, b))
	})
	top := []obj{}
	for _, name := range page(names, 0, topRules) {
		top = append(top, obj{"name": name, "count": rules[name]})
	}
	return s.ok("Alerts distribution details are fetched for the host", obj{"sources": sources, "rules": top})
}

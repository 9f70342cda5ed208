package ersim

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
)

// release2State is the state behind what release 4.0 answers with HTTP 410.
type release2State struct {
	configs []*oldConfig
	options obj
}

// oldConfig is a config of the releases 2.x: a platform and architecture has one of
// each type, and one of them is in use.
type oldConfig struct {
	platform, arch string
	kind           int // 0 default, 1 shallow, 2 deep
	active         bool
	queries        []*configQuery
	filters        any
}

var (
	oldPlatforms = []string{"windows", "linux", "darwin"}
	oldArchs     = []string{"x86", "x86_64"}
	oldTypes     = []string{"default", "shallow", "deep"}
)

// release2Table lists the calls around what release 4.0 answers with HTTP 410.
func (s *Server) release2Table() []route {
	routes := []route{
		{"options-get", "GET", "/options", needToken, s.optionsGet, nil},
		{"options-add", "POST", "/options/add", needToken, s.optionsAdd, nil},
		{"queryresult-delete", "POST", "/queryresult/delete", needToken, s.resultsDelete, nil},
		{"configs-all", "GET", "/configs/all", needToken, s.oldConfigsAll, nil},
		{"configs-view", "POST", "/configs/view", needToken, s.oldConfigsView, nil},
		{"configs-update-old", "POST", "/configs/update", needToken, s.oldConfigsUpdate, nil},
		{"configs-toggle", "PUT", "/configs/toggle", needToken, s.oldConfigsToggle, nil},
	}
	for i := range routes {
		if s.profile.v4 {
			routes[i].handler = gone
		}
	}
	return routes
}

// gone is what is left of a call in release 4.0.
func gone(*call) answer {
	return plain(http.StatusGone, "This api has been removed, Please check the REST API documentation for more information about the new APIs")
}

// buildRelease2 makes the state of a new server.
func (s *Server) buildRelease2() {
	if s.profile.v4 {
		return
	}
	s.release2.options = obj{
		"disable_watchdog": true, "logger_tls_compress": true, "host_identifier": "uuid", "schedule_splay_percent": 10,
		"custom_plgx_EnableLogging": "true", "custom_plgx_EnableSSL": "true", "custom_plgx_EnableWatcher": "true",
		"custom_plgx_LogFileName": `C:\Program Files\plgx_osquery\plgx-agent.log`, "custom_plgx_LogFileNameLinux": "/var/log/plgx-agent.log",
		"custom_plgx_LogLevel":     "3",
		"custom_plgx_LogModeQuiet": "0", "custom_plgx_MemoryLimit": "150",
	}
	for _, stock := range stockConfigs {
		k := &oldConfig{platform: stock.platform, arch: "x86_64", active: stock.name == "Default", filters: stock.filters}
		switch {
		case stock.name == "Deep":
			k.kind = 2
		case stock.platform == "windows":
			k.kind = 1
		}
		k.queries = s.stockQueries(stock)
		s.release2.configs = append(s.release2.configs, k)
		if k.kind == 1 {
			s.release2.configs = append(s.release2.configs, &oldConfig{
				platform: "windows", arch: "x86", active: true, filters: stock.filters, queries: s.stockQueries(stock),
			})
		}
	}
}

// API: GET /options.
func (s *Server) optionsGet(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ok("Options are fetched successfully", s.release2.options)
}

// API: POST /options/add. The options that are sent take the place of all.
func (s *Server) optionsAdd(c *call) answer {
	c.need("option", "option data")
	options := c.object("option", "option data")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release2.options = options
	return s.ok("Options are updated successfully", options)
}

// API: POST /queryresult/delete: results that are older than some days. Alerts stay.
func (s *Server) resultsDelete(c *call) answer {
	c.need("days_of_data", "no.of days of data to delete")
	days := c.number("days_of_data", "no.of days of data to delete", 0)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	switch {
	case days <= 0:
		return s.fail("days of data should be a positive number!")
	case days > 999_999_999: // more than a Python timedelta holds
		return s.crash()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	since := s.now().AddDate(0, 0, -int(days))
	old := func(e event) bool { return e.at.Before(since) }
	for _, h := range s.hosts {
		h.background = without(h.background, old)
	}
	for _, a := range slices.AppendSeq(slices.Clone(s.alerts), maps.Values(s.hostUpkeep.hidden)) {
		a.events = without(a.events, old)
	}
	return s.ok("Query result data is deleted successfully", nil)
}

// oldConfig finds a config by type or, with a negative one, the one in use.
func (s *Server) oldConfig(platform, arch string, kind int) *oldConfig {
	for _, k := range s.release2.configs {
		if k.platform == platform && k.arch == arch && (kind < 0 && k.active || kind == k.kind) {
			return k
		}
	}
	return nil
}

// API: GET /configs/all: by platform, architecture and the number of the type.
func (s *Server) oldConfigsAll(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]map[string]obj{}
	for _, k := range s.release2.configs {
		if all[k.platform] == nil {
			all[k.platform] = map[string]obj{}
		}
		if all[k.platform][k.arch] == nil {
			all[k.platform][k.arch] = obj{}
		}
		queries := wholeQueries(k.queries)
		for _, q := range queries {
			q.(obj)["arch"] = k.arch
		}
		all[k.platform][k.arch][strconv.Itoa(k.kind)] = obj{"queries": queries, "status": k.active, "filters": k.filters}
	}
	return s.ok("Successfully fetched the config data", all)
}

const noOldConfig = "Requested config is not present for the platform, arch, type given!"

// API: POST /configs/view: the config in use of a platform and architecture, both
// needed, or all that a host's agent is told.
func (s *Server) oldConfigsView(c *call) answer {
	platform := c.choice("platform", "platform name(linux/windows/darwin)", oldPlatforms...)
	arch := c.choice("arch", "arch of platform(x86/x86_64)", oldArchs...)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if identifier := c.text("host_identifier"); identifier != "" {
		h := s.identified(identifier)
		if h == nil {
			return s.fail("Host identifier passed is not valid!")
		}
		return s.ok("Successfully fetched the config through host identifier passed", s.fullConfig2(h))
	}
	k := s.oldConfig(platform, arch, -1)
	if k == nil {
		return s.fail(noOldConfig)
	}
	return s.ok("Config is fetched successfully for the platform given",
		obj{"queries": briefQueries(k.queries), "filters": k.filters, "type": oldTypes[k.kind]})
}

// oldType is the number of a type. For 64-bit Windows default is another word for
// shallow.
func oldType(platform, arch, name string) int {
	kind := max(slices.Index(oldTypes, name), 0)
	if kind == 0 && platform == "windows" && arch == "x86_64" {
		return 1
	}
	return kind
}

// API: POST /configs/update. Filters are replaced; of queries, status and interval
// of those that the config has. The type default is taken as the config in use.
func (s *Server) oldConfigsUpdate(c *call) answer {
	c.need("filters", "filters to define for the specific platform")
	c.need("queries", "queries to define for the specific platform")
	c.need("platform", "platform name(windows/linux/darwin)")
	platform := c.choice("platform", "platform name(windows/linux/darwin)", oldPlatforms...)
	arch := defaultText(c.choice("arch", "arch of platform(x86/x86_64)", oldArchs...), "x86_64")
	kind := oldType(platform, arch, c.choice("type", "type of the config(default/shallow/config)", oldTypes...))
	queries := c.object("queries", "queries to define for the specific platform")
	filters := c.object("filters", "filters to define for the specific platform")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if kind == 0 {
		kind = -1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.oldConfig(platform, arch, kind)
	switch {
	case k == nil:
		return s.fail(noOldConfig)
	case !completeQueries(queries):
		return plain(http.StatusBadRequest, badConfigQueries)
	}
	k.filters = maps.Clone(filters)
	if !changeQueries(k.queries, queries) {
		return s.crash()
	}
	return s.ok("Config is updated successfully for the platform given", obj{"queries": briefQueries(k.queries), "filters": k.filters})
}

// API: PUT /configs/toggle. A type that the platform does not have leaves it without
// a config in use.
func (s *Server) oldConfigsToggle(c *call) answer {
	c.need("platform", "platform")
	c.need("arch", "arch of platform(x86/x86_64)")
	c.need("type", "type of the config(default/shallow/config)")
	platform, arch := c.choice("platform", "platform", oldPlatforms...), c.choice("arch", "arch of platform(x86/x86_64)", oldArchs...)
	name := c.choice("type", "type of the config(default/shallow/config)", oldTypes...)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	kind := oldType(platform, arch, name)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.release2.configs {
		if k.platform == platform && k.arch == arch {
			k.active = k.kind == kind
		}
	}
	return s.ok("Default config for the platform and arch given is changed successfully", nil)
}

package ersim

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// managementState is the state behind settings, keys, engines, log levels, purge, log files and metrics.
type managementState struct {
	retentionDays string // as text, as the server keeps it
	ssoEnable     string // "true", "false", or empty: never set
	sso           *ssoConfig
	keys          map[string]obj // threat intelligence credentials by feed
	engines       map[string]bool
	minMatches    int64
	vtRetention   int64             // days
	logLevels     map[string]string // by server
	logs          map[string][]logFile
}

// managementTable lists the calls around settings, keys, engines, log levels, purge, log files and metrics.
func (s *Server) managementTable() []route {
	const (
		admin  = needToken | needAdmin
		admin4 = admin | only4
	)
	return []route{
		{"management-settings-get", "GET", "/management/settings", needToken, s.settingsGet, nil},
		{"management-settings-update", "PUT", "/management/settings", admin, s.settingsUpdate, nil},
		{"management-apikeys-get", "GET", "/management/apikeys", needToken, s.apiKeysGet, nil},
		{"management-apikeys-update", "POST", "/management/apikeys", admin, s.apiKeysUpdate, nil},
		{"management-av-get", "GET", "/management/virustotal/av_engine", needToken, s.enginesGet, nil},
		{"management-av-update", "POST", "/management/virustotal/av_engine", admin, s.enginesUpdate, nil},
		{"management-log-level-get", "GET", "/management/log_setting", admin4, s.logLevelGet, nil},
		{"management-log-level-update", "PUT", "/management/log_setting", admin4, s.logLevelUpdate, nil},
		{"management-purge", "POST", "/management/manual_purge", admin4, s.manualPurge, nil},
		{"management-logs-list", "GET", "/management/download_log", admin4, s.logsList, nil},
		{"management-logs-download", "POST", "/management/download_log", admin4, s.logsDownload, nil},
		{"management-metrics", "POST", "/management/metrics", needToken | only4, s.serverMetrics, nil},
	}
}

// buildManagement makes the state of a new server.
func (s *Server) buildManagement() {
	s.management = managementState{
		retentionDays: "7",
		keys:          map[string]obj{},
		engines:       map[string]bool{},
		minMatches:    3,
		vtRetention:   30,
		logLevels:     map[string]string{serverER: "WARNING", serverUI: "WARNING"},
		logs: map[string][]logFile{
			serverER: {{name: "er_log"}, {name: "er_log.1", days: 1}},
			serverUI: {{name: "log"}, {name: "log.1", days: 1}},
		},
	}
	for _, engine := range []string{"Avast", "BitDefender", "Bkav", "ClamAV", "ESET-NOD32", "Kaspersky", "Microsoft", "Sophos", "Symantec"} {
		s.management.engines[engine] = false
	}
}

// settingIDs are the rows of the table of settings, as the log of what users did
// names them.
var settingIDs = map[string]int64{
	"data_retention_days": 1, "alert_aggregation_duration": 2, "sso_enable": 3, "sso_configuration": 4, "er_log_level": 5,
	"er_ui_log_level": 6, "virustotal_min_match_count": 7, "vt_scan_retention_period": 8, "email": 9,
}

func (s *Server) recordSetting(c *call, name string) {
	s.record(c.user, "updated", item{"Settings", settingIDs[name], name})
}

// aggregationSeconds is the setting behind the window in which alerts absorb
// further matches.
func (s *Server) aggregationSeconds() int64 {
	return int64(max(s.opts.AggregationWindow, 0) / time.Second)
}

// API: GET /management/settings. Release 4.0 has texts, 2.1.2 numbers.
func (s *Server) settingsGet(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &s.management
	const fetched = "Platform settings are fetched successfully"
	if !s.profile.v4 {
		days, err := strconv.Atoi(m.retentionDays)
		if err != nil {
			return s.crash()
		}
		return s.ok(fetched, obj{"purge_data_duration": days, "alert_aggregation_duration": s.aggregationSeconds()})
	}
	out := obj{"purge_data_duration": m.retentionDays, "alert_aggregation_duration": strconv.FormatInt(s.aggregationSeconds(), 10)}
	if m.ssoEnable != "" {
		out["sso_enable"] = m.ssoEnable
	}
	if m.sso != nil {
		out["sso_configuration"] = obj{"idp_metadata_url": m.sso.metadata, "app_name": m.sso.app, "entity_id": m.sso.entity}
	}
	return s.ok(fetched, out)
}

// The limits that release 4.0 is delivered with; they lie outside and inside.
const (
	maxRetentionDays      = 70
	maxAggregationSeconds = 86400
)

// API: PUT /management/settings. Each setting is stored as it is reached. The
// message is that of the last one, and without one the call crashes: so with
// sso_enable alone, which is stored by then.
func (s *Server) settingsUpdate(c *call) answer {
	if !s.profile.v4 {
		return s.settingsUpdate2(c)
	}
	if _, isFlag := c.values["sso_enable"].(bool); isFlag {
		c.mistake("sso_enable", "sso_enable", "not text")
	}
	enable := c.choice("sso_enable", "sso_enable", "true", "false")
	config, isObject := c.values["sso_configuration"].(obj)
	if c.present("sso_configuration") && !isObject {
		c.mistake("sso_configuration", "sso_configuration", "not an object")
	}
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m, message := &s.management, ""
	if text := c.text("purge_data_duration"); text != "" {
		days, err := strconv.Atoi(strings.TrimSpace(text))
		switch {
		case err != nil:
			return s.fail("Please pass a valid integer for data retention days!")
		case days <= 0 || days >= maxRetentionDays:
			return s.fail(fmt.Sprintf("Data retention days should be greater than 0 days and less than %d days!", maxRetentionDays))
		}
		m.retentionDays, message = strconv.Itoa(days), "data retention setting is updated successfully"
		s.recordSetting(c, "data_retention_days")
	}
	if text := c.text("alert_aggregation_duration"); text != "" {
		seconds, err := strconv.Atoi(strings.TrimSpace(text))
		switch {
		case err != nil:
			return s.fail("Please pass a valid integer(seconds) for alert aggregation duration!")
		case seconds < 0 || seconds > maxAggregationSeconds:
			return s.fail(fmt.Sprintf("Alert aggregation duration should be greater than 0 seconds and less than %d seconds!", maxAggregationSeconds))
		}
		s.opts.AggregationWindow, message = time.Duration(seconds)*time.Second, "Alert settings is updated successfully"
		s.recordSetting(c, "alert_aggregation_duration")
	}
	if enable != "" {
		m.ssoEnable = enable
		s.recordSetting(c, "sso_enable")
	}
	if len(config) > 0 {
		part := func(name string) string { return (&args{values: config}).text(name) }
		for _, name := range []string{"idp_metadata_url", "app_name", "entity_id"} {
			if _, sent := config[name]; !sent {
				return s.fail("Please provide idp_metadata_url, app_name and entity_id!")
			}
		}
		m.sso = &ssoConfig{metadata: part("idp_metadata_url"), app: part("app_name"), entity: part("entity_id")}
		message = "sso configurations are updated successfully"
		s.recordSetting(c, "sso_configuration")
	}
	if message == "" {
		return s.crash()
	}
	return s.ok(message, nil)
}

// settingsUpdate2 is the call of release 2.1.2, which knows two settings and wants
// both above zero.
func (s *Server) settingsUpdate2(c *call) answer {
	positive := func(name, help string) int64 {
		n := c.number(name, help, 0)
		if _, bad := c.bad[name]; c.present(name) && !bad && n <= 0 {
			c.mistake(name, help, fmt.Sprintf("Invalid %s: %d. %s must be a positive integer", name, n, name))
		}
		return n
	}
	days, seconds := positive("purge_data_duration", "purge duration"), positive("alert_aggregation_duration", "alert aggregation duration")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if days > 0 {
		s.management.retentionDays = strconv.FormatInt(days, 10)
	}
	if seconds > 0 {
		s.opts.AggregationWindow = time.Duration(min(seconds, maxAggregationSeconds)) * time.Second
	}
	return s.ok("Platform settings are updated successfully", nil)
}

// intelFeeds are the feeds that need credentials, in the order in which the server
// checks them.
var intelFeeds = []string{"ibmxforce", "virustotal", "alienvault"}

// keyForm is how the feeds' keys look. The real server asks the feed.
var keyForm = map[string]*regexp.Regexp{
	"ibmxforce":  regexp.MustCompile(`^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`),
	"virustotal": regexp.MustCompile(`^[0-9a-f]{64}$`),
	"alienvault": regexp.MustCompile(`^[0-9a-f]{64}$`),
}

func (s *Server) keyObject() obj {
	out := obj{}
	for feed, key := range s.management.keys {
		out[feed] = maps.Clone(key)
	}
	return out
}

// API: GET /management/apikeys, in clear.
func (s *Server) apiKeysGet(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ok("Threat Intel Keys are fetched successfully", s.keyObject())
}

// API: POST /management/apikeys. Each feed has its own result. Release 2.1.2 says
// failure unless all three were given and are good, and stores the good ones.
func (s *Server) apiKeysUpdate(c *call) answer {
	key, pass := c.text("IBMxForceKey"), c.text("IBMxForcePass")
	given := map[string]obj{}
	count := 0
	for _, name := range []string{"vt_key", "IBMxForceKey", "IBMxForcePass", "otx_key"} {
		count += boolRank(c.text(name) != "")
	}
	if key != "" && pass != "" {
		given["ibmxforce"] = obj{"key": key, "pass": pass}
	}
	if text := c.text("vt_key"); text != "" {
		given["virustotal"] = obj{"key": text}
	}
	if text := c.text("otx_key"); text != "" {
		given["alienvault"] = obj{"key": text}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.profile.v4 && (key == "") != (pass == "") {
		const both = "Both IBMxForceKey and IBMxForcePass are required!"
		return jsonAnswer(http.StatusOK, obj{"status": "failure", "message": both, "data": nil, "errors": obj{"ibmxforce": both}})
	}
	errors, invalid := obj{}, []string{}
	for i, feed := range intelFeeds {
		switch credentials := given[feed]; {
		case credentials == nil:
		case !keyForm[feed].MatchString(credentials["key"].(string)):
			invalid = append(invalid, feed)
			errors[feed] = "This threat intel api key is invalid!"
		default:
			s.management.keys[feed] = credentials
			s.record(c.user, "updated", item{"ThreatIntelCredentials", int64(i + 1), feed})
		}
	}
	status, message := "success", "Threat Intel keys are updated successfully"
	if len(invalid) > 0 {
		message = strings.Join(invalid, ",") + " api key(s) provided is/are invalid!"
		// As the source of release 4.0 counts: a failure when one good key is among
		// the bad ones.
		if extra := 1 + boolRank(slices.Contains(invalid, "ibmxforce")); count == len(invalid)+extra {
			status = "failure"
		}
	}
	if !s.profile.v4 && len(given)-len(invalid) < len(intelFeeds) {
		status, message, errors = "failure", "api keys is/are invalid", obj{}
	}
	return jsonAnswer(http.StatusOK, obj{"status": status, "message": message, "data": s.keyObject(), "errors": errors})
}

// API: GET /management/virustotal/av_engine.
func (s *Server) enginesGet(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	engines := obj{}
	for name, on := range s.management.engines {
		engines[name] = obj{"status": on}
	}
	data := obj{"min_match_count": s.management.minMatches, "av_engines": engines}
	if s.profile.v4 {
		data["vt_scan_retention_period"] = s.management.vtRetention
	}
	return s.ok("virus total av engines are fetched successfully", data)
}

// API: POST /management/virustotal/av_engine. Zero counts as not given; engines
// that the server does not know are passed over.
func (s *Server) enginesUpdate(c *call) answer {
	matches := c.number("min_match_count", "minimum count for unselected engine match", 0)
	days := c.number("vt_scan_retention_period", "vt_scan_retention_period", 0)
	engines, isObject := c.values["av_engines"].(obj)
	if c.present("av_engines") && !isObject {
		c.mistake("av_engines", "selected av engines", "not an object")
	}
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	switch {
	case matches == 0 && days == 0 && len(engines) == 0:
		return plain(http.StatusBadRequest, "Please provide valid payload")
	case matches < 0 || days < 0:
		return plain(http.StatusBadRequest, "Please provide a number greater than 0")
	}
	on := map[string]bool{}
	for name, v := range engines {
		status, isObject := v.(obj)
		if !isObject {
			return s.crash()
		}
		if _, ok := status["status"]; !ok {
			return plain(http.StatusBadRequest, "Please provide status OR please provide valid payload")
		}
		on[name] = status["status"] == true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &s.management
	if matches > 0 {
		m.minMatches = matches
		s.recordSetting(c, "virustotal_min_match_count")
	}
	if days > 0 && s.profile.v4 {
		m.vtRetention = days
		s.recordSetting(c, "vt_scan_retention_period")
	}
	for name, status := range on {
		if _, known := m.engines[name]; known {
			m.engines[name] = status
		}
	}
	if len(on) > 0 {
		s.record(c.user, "updated", item{kind: "VirusTotalAvEngines"})
	}
	return s.flat("Virus Total AV engines configuration has been changed successfully", obj{})
}

// API: POST /management/manual_purge. The real server does it in the background;
// here it is done before the answer.
func (s *Server) manualPurge(c *call) answer {
	c.need("rentention_days", "Data Rentention Days")
	days := c.number("rentention_days", "Data Rentention Days", 0)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if days <= 0 {
		return jsonAnswer(http.StatusOK, obj{"status": "failure", "message": "Manual purge failed, Retention days should be greater than 0!"})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.purge(s.now().Add(-24 * time.Hour * time.Duration(min(days, 36500))))
	return s.flat("Manual purge triggered successfully", obj{})
}

// purge removes the alerts and events from before a time, also those that are out of
// sight. What was absorbed goes with its alert, and an alert that stays may lose old
// events. Lists are made anew, because answers may still be reading the old ones.
func (s *Server) purge(before time.Time) {
	old := func(a *alert) bool { return a.createdAt.Before(before) }
	oldEvent := func(e event) bool { return e.at.Before(before) }
	touched := map[*host]bool{} // a deleted host is not in the fleet any more
	for _, a := range slices.AppendSeq(slices.Clone(s.alerts), maps.Values(s.hostUpkeep.hidden)) {
		if !old(a) {
			a.events = without(a.events, oldEvent)
			continue
		}
		if !a.resolved() {
			s.count(a, -1)
		}
		if a.rule != nil && a.host.open[a.rule.id] == a {
			delete(a.host.open, a.rule.id)
		}
		delete(s.hostUpkeep.hidden, a.id)
		touched[a.host] = true
	}
	for h := range touched {
		h.alerts, h.hidden = without(h.alerts, old), without(h.hidden, old)
	}
	s.alerts, s.created = without(s.alerts, old), without(s.created, old)
	for _, h := range s.hosts {
		h.background = without(h.background, oldEvent)
	}
}

// without is the list, or a new one when something is to be left out.
func without[T any](list []T, out func(T) bool) []T {
	if !slices.ContainsFunc(list, out) {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), out)
}

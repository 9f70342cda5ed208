package ersim

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// scanKinds are the values of scan_type with what they cost and what PowerShell
// calls them.
var scanKinds = map[string]struct {
	name  string
	times time.Duration // CommandDelay times so many
}{"1": {"QuickScan", 2}, "2": {"FullScan", 6}, "3": {"CustomScan", 1}}

// defend queues a Defender action. Its answer becomes the message of the command;
// the vendor does not document the text, here it is JSON like PowerShell's.
func (s *Server) defend(c *call, kind string, params map[string]string, work time.Duration, do func(*host) any) answer {
	c.need("host_identifier", "host_identifier")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	hosts := s.targets(c.list("host_identifier"), nil, nil)
	if len(hosts) == 0 {
		return s.fail("No Host present for the host identifier given!")
	}
	if slices.ContainsFunc(hosts, func(h *host) bool { return !h.windows() }) {
		return s.fail("This action is available for windows hosts only!")
	}
	if params == nil {
		params = map[string]string{}
	}
	a := &action{kind: "defender/" + kind, verb: kind, target: "defender", user: c.user, params: params}
	a.body = obj{"action": kind, "actuator": obj{"endpoint": "windows_defender"}, "target": obj{"defender": params}}
	s.accept(a, hosts, work, func(h *host) (string, bool) {
		return string(encodeJSON(do(h))), true
	})
	return s.flat(actionAdded, obj{"openc2_id": a.id})
}

// API: POST /defender-management/scan-now.
func (s *Server) defenderScan(c *call) answer {
	kind := c.choice("scan_type", "scan_type", "1", "2", "3")
	c.need("scan_type", "scan_type")
	where := c.text("file_path")
	if kind == "3" && where == "" {
		c.mistake("file_path", "file_path", missingText)
	}
	scan := scanKinds[defaultText(kind, "1")]
	return s.defend(c, "scan", map[string]string{"scan_type": kind, "file_path": where}, scan.times*s.opts.CommandDelay,
		func(h *host) any { return s.scan(h, scan.name, where) })
}

// scan finds the files that are known to be bad, below a path if there is one, and
// moves them into quarantine.
func (s *Server) scan(h *host, kind, where string) any {
	found := []obj{}
	prefix := h.fileKey(where)
	now := s.now().Truncate(time.Second)
	for _, key := range slices.Sorted(maps.Keys(h.files)) {
		f := h.files[key]
		if f.threat == "" || !strings.HasPrefix(key, prefix) || h.excluded(key) {
			continue
		}
		h.quarantine = append(h.quarantine, Threat{Name: f.threat, Path: f.path, Found: now, file: f})
		delete(h.files, key)
		found = append(found, obj{"ThreatName": f.threat, "Resources": "file:_" + f.path, "ActionSuccess": true, "CleaningAction": "Quarantine"})
	}
	h.lastScan = now
	return obj{"ScanType": kind, "ScanEndTime": now.Format(time.RFC3339), "ThreatsFound": len(found), "Threats": found}
}

// defenderSettings are what Defender of a host was told, under PowerShell's names.
type defenderSettings struct {
	ExclusionPath, ExclusionProcess, ExclusionExtension []string
	ScanScheduleDay                                     int    // 0 every day, 1 Sunday to 7 Saturday, 8 never
	ScanScheduleTime                                    string // of the full scan
	ScanScheduleQuickScanTime                           string // of the quick one, every day
}

func (h *host) excluded(key string) bool {
	return slices.ContainsFunc(h.defender.ExclusionPath, func(path string) bool { return strings.HasPrefix(key, h.fileKey(path)) }) ||
		slices.ContainsFunc(h.defender.ExclusionExtension, func(ending string) bool {
			return strings.HasSuffix(key, "."+strings.TrimPrefix(h.fileKey(ending), "."))
		})
}

// API: POST /defender-management/computer-status.
func (s *Server) defenderStatus(c *call) answer {
	return s.defend(c, "computer-status", nil, s.opts.CommandDelay, func(h *host) any {
		return obj{
			"AMServiceEnabled": true, "AntispywareEnabled": true, "AntivirusEnabled": true, "RealTimeProtectionEnabled": true,
			"BehaviorMonitorEnabled": true, "AntivirusSignatureVersion": "1.381.3595.0", "AMProductVersion": "4.18.23110.3",
			"AntivirusSignatureLastUpdated": s.now().Truncate(24 * time.Hour).Format(time.RFC3339),
			"LastScanEndTime":               nullTime(h.lastScan, func(t time.Time) string { return t.Format(time.RFC3339) }),
			"QuarantinedThreats":            len(h.quarantine), "ComputerState": 0,
		}
	})
}

// API: POST /defender-management/get-quarantine.
func (s *Server) defenderQuarantine(c *call) answer {
	return s.defend(c, "get-quarantine", nil, s.opts.CommandDelay, func(h *host) any {
		rows := []obj{}
		for _, t := range h.quarantine {
			rows = append(rows, obj{"ThreatName": t.Name, "Path": t.Path, "InitialDetectionTime": t.Found.Format(time.RFC3339)})
		}
		return rows
	})
}

// API: POST /defender-management/check-update.
func (s *Server) defenderUpdate(c *call) answer {
	return s.defend(c, "check-update", nil, s.opts.CommandDelay, func(*host) any {
		return obj{"AntivirusSignatureVersion": "1.381.3595.0", "UpdateAvailable": false}
	})
}

// API: POST /defender-management/configure: what scans leave out, by path, kind of
// file or process. The answer has an id against the guide, as the vendor's console
// keeps one.
func (s *Server) defenderConfigure(c *call) answer {
	verb := c.choice("action", "action", "add", "remove")
	c.need("action", "action")
	params := map[string]string{"action": verb}
	for _, name := range []string{"file_type", "path", "process"} {
		if text := c.text(name); text != "" {
			params[name] = text
		}
	}
	if len(params) == 1 {
		c.mistake("path", "path", missingText)
	}
	return s.defend(c, "configure", params, s.opts.CommandDelay, func(h *host) any {
		d := &h.defender
		for name, list := range map[string]*[]string{"path": &d.ExclusionPath, "process": &d.ExclusionProcess, "file_type": &d.ExclusionExtension} {
			text := params[name]
			if text == "" {
				continue
			}
			*list = slices.DeleteFunc(*list, func(known string) bool { return strings.EqualFold(known, text) })
			if verb == "add" {
				*list = append(*list, text)
			}
		}
		return h.defender
	})
}

// API: POST /defender-management/schedule-scan. The kinds are quick (1) and full
// (2), which the guide calls auto trigger; the day counts for the second only.
func (s *Server) defenderSchedule(c *call) answer {
	kind := c.choice("scan_type", "scan_type", "1", "2")
	c.need("scan_type", "scan_type")
	c.need("time", "time")
	day := c.choice("scan_day", "scan_day", "0", "1", "2", "3", "4", "5", "6", "7", "8")
	at, err := time.Parse("15:4", strings.TrimSuffix(c.text("time"), ":0")) // the console adds seconds
	if c.present("time") && err != nil {
		c.mistake("time", "time", "Time format passed is invalid!")
	}
	params := map[string]string{"scan_type": kind, "time": c.text("time"), "scan_day": day}
	return s.defend(c, "schedule-scan", params, s.opts.CommandDelay, func(h *host) any {
		if kind == "1" {
			h.defender.ScanScheduleQuickScanTime = at.Format(time.TimeOnly)
			return h.defender
		}
		h.defender.ScanScheduleTime = at.Format(time.TimeOnly)
		h.defender.ScanScheduleDay, _ = strconv.Atoi(defaultText(day, "0")) // one of the choices
		return h.defender
	})
}

// API: POST /defender-management/current-settings.
func (s *Server) defenderSettings(c *call) answer {
	return s.defend(c, "current-settings", nil, s.opts.CommandDelay, func(h *host) any { return h.defender })
}

// API: POST /defender-management/status_refresh.
func (s *Server) defenderRefresh(c *call) answer {
	return s.defend(c, "status-refresh", nil, s.opts.CommandDelay, func(*host) any {
		return obj{"Antivirus": obj{"name": "Windows Defender", "type": "Antivirus", "state": "On", "signatures_up_to_date": 1}}
	})
}

// API: POST /defender-management/quarantine_file/carve. No id comes back; the file
// shows up among the carves.
func (s *Server) defenderCarve(c *call) answer {
	c.need("host_identifier", "host_identifier")
	c.need("path", "path")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hostRefs[strings.ToUpper(c.text("host_identifier"))]
	if h == nil {
		return s.fail("No Host present for the host identifier given!")
	}
	at := slices.IndexFunc(h.quarantine, func(t Threat) bool { return strings.EqualFold(t.Path, c.text("path")) })
	if at < 0 {
		return s.fail("No quarantined file is found for the path given!")
	}
	f := h.quarantine[at].file
	s.after(s.opts.CommandDelay/2, func() { s.whenOnline(h, func() { s.startCarve(h, []*file{f}, 0) }) })
	return s.ok("Quarantine file carve is added successfully", nil)
}

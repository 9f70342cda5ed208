package ersim

// hostUpkeepState is the state behind configuration, activity, removal and status logs of hosts.
type hostUpkeepState struct {
	hidden  map[int64]*alert      // of hosts that are out of sight, by id
	exports map[string]*liveQuery // what the websocket says of an export of status logs, by task id
	files   map[string][]byte     // finished exports, by file name

	lastExport int64
}

// hostUpkeepTable lists the calls around configuration, activity, removal and status logs of hosts.
func (s *Server) hostUpkeepTable() []route {
	const (
		token = needToken
		admin = needToken | needAdmin
	)
	return []route{
		{"hosts-export-filtered", "POST", "/hosts/export", token | only4, s.hostsExport, nil},
		{"hosts-export-all", "GET", "/hosts/export", token, s.hostsExportAll, nil},
		{"hosts-alert-distribution", "GET", "/hosts/{ref}/alerts/distribution", token, s.hostAlerts, nil},
		{"hosts-additional-config", "POST", "/hosts/additional_config", token, s.hostAdditionalConfig, nil},
		{"hosts-full-config", "POST", "/hosts/config", token, s.hostFullConfig, nil},
		{"hosts-activity-count", "POST", "/hosts/recent_activity/count", token, s.hostActivityCount, nil},
		{"hosts-activity", "POST", "/hosts/recent_activity", token, s.hostActivity, nil},
		{"hosts-activity-export", "POST", "/hosts/search/export", token, s.hostActivityExport, nil},
		{"hosts-deactivate", "PUT", "/hosts/{ref}/delete", admin, s.hostRemove, nil},
		{"hosts-delete", "DELETE", "/hosts/{ref}/delete", admin, s.hostDelete, nil},
		{"hosts-reactivate", "PUT", "/hosts/{ref}/enable", admin, s.hostEnable, nil},
		{"hosts-archive-bulk", "PUT", "/hosts/delete", admin | only4, s.hostsRemove, nil},
		{"hosts-delete-bulk", "DELETE", "/hosts/delete", admin | only4, s.hostsDelete, nil},
		{"hosts-enable-bulk", "POST", "/hosts/enable", admin | only4, s.hostsEnable, nil},
		{"hosts-status-logs", "POST", "/hosts/status_logs", token, s.hostStatusLogs, nil},
		{"hosts-status-logs-export", "POST", "/hosts/status_log/export", token | only4, s.hostStatusLogsExport, nil},
	}
}

// buildHostUpkeep makes the state of a new server.
func (s *Server) buildHostUpkeep() {
	s.hostUpkeep = hostUpkeepState{hidden: map[int64]*alert{}, exports: map[string]*liveQuery{}, files: map[string][]byte{}}
}

// bodyHost finds the host that a body names by host_identifier or node_id; the
// former wins. Named is false when the body has neither. Server.mu is held.
func (s *Server) bodyHost(c *call) (h *host, named bool) {
	if c.present("host_identifier") {
		return s.identified(c.text("host_identifier")), true
	}
	if c.present("node_id") {
		return s.numbered(c.number("node_id", "id of the node", 0)), true
	}
	return nil, false
}

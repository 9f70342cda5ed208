package ersim

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// The two servers behind the API: the one that talks with agents, and the one that
// talks with users.
const (
	serverER = "ER"
	serverUI = "ER-UI"
)

// logFile is a log of one of the servers, from so many days ago.
type logFile struct {
	name string
	days int
}

// API: GET /management/log_setting. A server that there is not counts as ER-UI.
func (s *Server) logLevelGet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	level := s.management.logLevels[serverUI]
	if c.text("server_name") == serverER {
		level = s.management.logLevels[serverER]
	}
	return s.ok("Log levels fetched", obj{"log_level": level})
}

// API: PUT /management/log_setting. Nothing given is success too.
func (s *Server) logLevelUpdate(c *call) answer {
	levels := []string{"WARNING", "INFO", "DEBUG"}
	er, ui := c.choice("er_log_level", "ER Log Level", levels...), c.choice("er_ui_log_level", "ER-UI Log Level", levels...)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if er != "" {
		s.management.logLevels[serverER] = er
		s.recordSetting(c, "er_log_level")
	}
	if ui != "" {
		s.management.logLevels[serverUI] = ui
		s.recordSetting(c, "er_ui_log_level")
	}
	return s.flat("Log level has been changed successfully", obj{})
}

// API: GET /management/download_log.
func (s *Server) logsList(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	files, ok := s.management.logs[defaultText(c.text("server_name"), serverUI)]
	if !ok {
		return jsonAnswer(http.StatusOK, obj{"status": "failure", "message": "No such container found", "data": []string{}})
	}
	names := []string{}
	for _, f := range files {
		names = append(names, f.name)
	}
	return s.ok("Logs Downloaded successfully", names)
}

// API: POST /management/download_log. The log tells what users did.
func (s *Server) logsDownload(c *call) answer {
	c.need("server_name", "Server Name")
	c.need("filename", "file name")
	server := c.choice("server_name", "Server Name", serverER, serverUI)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.management.logs[server] {
		if f.name == c.text("filename") {
			return answer{status: http.StatusOK, contentType: typeFile, body: s.logText(server, f)}
		}
	}
	return jsonAnswer(http.StatusOK, obj{"status": "failure", "message": "No log file found"})
}

func (s *Server) logText(server string, f logFile) []byte {
	var b bytes.Buffer
	day := s.now().AddDate(0, 0, -f.days).Format(time.DateOnly)
	fmt.Fprintf(&b, "%s 00:00:01,000 INFO %s server started\n", day, server)
	for _, a := range s.account.activities {
		if server == serverUI && a.at.Format(time.DateOnly) == day {
			fmt.Fprintf(&b, "%s INFO %s %s %s\n", strings.ReplaceAll(a.at.Format("2006-01-02 15:04:05.000"), ".", ","),
				s.user(a.user).name, a.action, cmp.Or(a.text, a.item.kind+" "+a.item.name))
		}
	}
	return b.Bytes()
}

// API: POST /management/metrics. Bad input has status and message swapped.
func (s *Server) serverMetrics(c *call) answer {
	c.need("from_time", "From time")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	from, err := time.Parse(layoutEvents, c.text("from_time"))
	if err != nil {
		return jsonAnswer(http.StatusOK, obj{"status": "Invalid inputs", "message": "failure"})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	data := obj{
		"TOPHOSTS":  s.busiestHosts(),
		"DISKUSAGE": obj{"total": 48.41, "free": 28.86, "unit": "GB"},
		"NGINX":     []obj{}, "POSTGRES": []obj{}, "RABBITMQ": []obj{},
	}
	// Hourly, newest first, and kept for a day.
	now := s.now()
	for at := now.Truncate(time.Hour); !at.Before(from) && now.Sub(at) < 24*time.Hour; at = at.Add(-time.Hour) {
		hour := at.Unix() / 3600
		row := func(unit, value any) obj {
			return obj{"created_at": at.Format(layoutEvents), "unit": unit, "value": value}
		}
		add := func(name string, one obj) { data[name] = append(data[name].([]obj), one) }
		add("POSTGRES", row("MB", 700+s.random("metrics-postgres", hour).IntN(100)))
		calls := 1000 + s.random("metrics-nginx", hour).IntN(9000)
		add("NGINX", row(nil, obj{
			"total_count": calls, "success_count": calls - 3, "failure_count": 3, "total_size": calls * 512, "hour_avg": 512, "top_5_endpoints": obj{},
		}))
		published := s.random("metrics-rabbitmq", hour).IntN(50000)
		add("RABBITMQ", row(nil, obj{
			"queue_totals":  obj{"messages": 3, "messages_ready": 3, "messages_unacknowledged": 0},
			"message_stats": obj{"publish": published, "deliver": published, "ack": published},
			"object_totals": obj{"queues": 9, "exchanges": 12, "connections": 7, "channels": 14, "consumers": 9},
		}))
	}
	return s.ok("Metrics fetched successfully", data)
}

// busiestHosts are the five hosts that reported most since midnight.
func (s *Server) busiestHosts() []obj {
	midnight := s.now().Truncate(24 * time.Hour)
	today := map[*host]int{}
	for _, h := range s.hosts {
		n := 0
		for _, e := range h.background {
			n += boolRank(!e.at.Before(midnight))
		}
		for _, a := range h.alerts {
			n += boolRank(!a.createdAt.Before(midnight))
			for _, e := range a.events {
				n += boolRank(!e.at.Before(midnight))
			}
		}
		if n > 0 {
			today[h] = n
		}
	}
	rows := []obj{}
	for _, h := range topFive(today, func(h *host) string { return h.name }) {
		rows = append(rows, obj{"hostname": h.name, "value": today[h]})
	}
	return rows
}

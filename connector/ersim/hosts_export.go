package ersim

import (
	"slices"
	"strconv"
)

// API: GET /hosts/export, the newest host first. Release 2.1.2 leaves removed hosts
// out, and a column named Host_Identifier holds the name.
func (s *Server) hostsExportAll(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows [][]string
	for _, h := range slices.Backward(s.hosts) {
		switch {
		case s.profile.v4:
			rows = append(rows, []string{
				strconv.FormatInt(h.id, 10), h.name, h.identifier, h.stateWord(), h.healthWord(), strconv.Itoa(h.unended), h.role.os, h.ip,
				pyList(h.tags), h.role.platform,
			})
		case h.state == hostActive:
			online := "False"
			if h.online {
				online = "True"
			}
			rows = append(rows, []string{h.name, h.role.os, h.ip, pyList(h.tags), strconv.FormatInt(h.id, 10), online, h.role.platform})
		}
	}
	var header []string // there is none without a row
	switch {
	case len(rows) == 0:
	case s.profile.v4:
		header = []string{
			"id", "hostname", "host identifier", "state", "health", "alerts count", "operating system", "last ip", "tags", "platform",
		}
	default:
		header = []string{"Host_Identifier", "os", "last_ip", "tags", "id", "health", "platform"}
	}
	return csvFile("nodes.csv", header, rows)
}

// API: POST /hosts/export. Without the count of alerts it breaks at the first row,
// which lacks what the table shows.
func (s *Server) hostsExport(c *call) answer {
	f, refusal := s.readHostFilter(c)
	if refusal != nil {
		return *refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found, _ := s.selectHosts(f)
	var header []string
	var rows [][]string
	for _, h := range page(found, f.start, f.limit) {
		if !f.counts {
			return s.crash()
		}
		header = []string{"id", "hostname", "host identifier", "last ip", "tags", "health", "state", "operating system", "alerts count"}
		rows = append(rows, []string{
			strconv.FormatInt(h.id, 10), h.name, h.identifier, h.ip, pyList(h.tags), h.healthWord(), h.stateWord(), h.role.os,
			strconv.Itoa(h.unended),
		})
	}
	return csvFile("hosts.csv", header, rows)
}

func (h *host) stateWord() string {
	if h.online {
		return "online"
	}
	return "offline"
}

func (h *host) healthWord() string {
	if h.unended > 0 {
		return "Unsafe"
	}
	return "Safe"
}

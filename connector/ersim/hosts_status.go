package ersim

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// statusLog is a line of an agent's own log.
type statusLog struct {
	line     int
	severity int // 0 information, 1 warning, 2 error
	filename string
	message  string
	created  time.Time
}

// What agents complain of.
var complaints = []statusLog{
	{line: 42, severity: 2, filename: "tls.cpp", message: "Could not fetch config: request timed out after 30 s"},
	{line: 318, severity: 1, filename: "scheduler.cpp", message: "Scheduled query may have failed: processes"},
	{line: 97, severity: 0, filename: "config.cpp", message: "Config has been refreshed"},
	{line: 7, severity: 1, filename: "watcher.cpp", message: "Worker exceeded its memory limit, it is started again"},
	{line: 211, severity: 2, filename: "buffered.cpp", message: "Could not deliver 12 result rows, they are kept"},
	{line: 60, severity: 1, filename: "carver.cpp", message: "Could not open C:\\pagefile.sys: zugriff verweigert é"},
}

const agentVersion = "4.7.0"

// statusLogs is the log of a host's agent since it was started, the oldest line first.
func (s *Server) statusLogs(h *host) []statusLog {
	r := s.random("status-log", h.id)
	logs := make([]statusLog, 3+r.IntN(6))
	at := h.bootAt
	for i := range logs {
		at = at.Add(time.Duration(1+r.IntN(5_000_000)) * time.Microsecond)
		logs[i] = complaints[r.IntN(len(complaints))]
		logs[i].created = at
	}
	return logs
}

func (l *statusLog) matches(search string) bool {
	for _, text := range []string{l.message, l.filename, agentVersion, pySpace(l.created), strconv.Itoa(l.line), strconv.Itoa(l.severity)} {
		if strings.Contains(strings.ToLower(text), search) {
			return true
		}
	}
	return false
}

// API: POST /hosts/status_logs. Release 4.0 has the newest line first.
func (s *Server) hostStatusLogs(c *call) answer {
	c.number("node_id", "id of the node", 0)
	start, limit := c.number("start", "start", 0), c.number("limit", "limit", -1)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if start < 0 || c.present("limit") && limit < 0 {
		return s.crash()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, named := s.bodyHost(c)
	switch {
	case !named:
		return s.fail("Please pass one of node id or host identifier!")
	case h == nil:
		return s.fail(wrongHost)
	}
	all := s.statusLogs(h)
	search := strings.ToLower(c.text("searchterm"))
	var found []obj
	for i := range all {
		l := &all[i]
		if s.profile.v4 {
			l = &all[len(all)-1-i]
		}
		if !l.matches(search) {
			continue
		}
		created := pyISO(l.created)
		if s.profile.v4 {
			created = pySpace(l.created)
		}
		found = append(found, obj{
			"line": l.line, "message": l.message, "severity": l.severity, "filename": l.filename, "created": created, "version": agentVersion,
		})
	}
	return s.ok("Successfully fetched the host's status logs",
		obj{"results": append([]obj{}, page(found, start, limit)...), "count": len(found), "total_count": len(all)})
}

// API: POST /hosts/status_log/export. A worker writes the file; the websocket tells
// where it is. Without a host, and with an unknown identifier, the handler breaks; an
// unknown id makes an export without data. The search text is not heeded.
func (s *Server) hostStatusLogsExport(c *call) answer {
	c.number("node_id", "id of the node", 0)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, named := s.bodyHost(c)
	if !named || h == nil && c.present("host_identifier") {
		return s.crash()
	}
	s.hostUpkeep.lastExport++
	number := s.hostUpkeep.lastExport
	task, queue := s.uuid("csv-export", number), new(liveQuery)
	s.hostUpkeep.exports[task] = queue
	server := c.request.Host
	s.after(s.jitter(s.opts.CommandDelay, "csv-export", number), func() {
		queue.frames = append(queue.frames, encodeJSON(s.exportLogs(h, server)))
		s.deliver(queue)
	})
	s.after(resultLifetime, func() {
		delete(s.hostUpkeep.exports, task)
		s.forget(queue)
	})
	return s.envelope("Success", "Downloading will be completed in sometime", obj{"task_id": task})
}

// exportLogs writes the file of an export and returns what the websocket says of it.
func (s *Server) exportLogs(h *host, server string) obj {
	if h == nil {
		return obj{"status": "Failure", "message": "No data found"}
	}
	var rows [][]string
	for _, l := range s.statusLogs(h) {
		rows = append([][]string{{
			strconv.Itoa(l.line), l.message, strconv.Itoa(l.severity), l.filename, pySpace(l.created), agentVersion,
		}}, rows...)
	}
	name := fmt.Sprintf("status_log_%d_%s.csv", h.id, strings.ReplaceAll(pySpace(s.now()), " ", "_"))
	s.hostUpkeep.files[name] = csvText([]string{"line", "message", "severity", "filename", "created", "version"}, rows)
	return obj{
		"status": "success", "message": "please fetch csv file from  download path",
		"download_path": "https://" + server + "/downloads/status_log/" + name,
	}
}

// serveExport tells over the websocket where the file of an export is, once.
func (s *Server) serveExport(conn *websocket.Conn, wanted string, gone <-chan struct{}) {
	s.mu.Lock()
	queue := s.hostUpkeep.exports[wanted]
	if queue == nil {
		s.mu.Unlock()
		return
	}
	l := s.attend(queue)
	s.mu.Unlock()
	s.serveFrames(conn, l, gone)
}

// statusLogFile is the proxy's answer to GET /downloads/status_log/{file}, for which
// it wants no token.
func (s *Server) statusLogFile(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	content, ok := s.hostUpkeep.files[c.path["file"]]
	if !ok {
		return notFound
	}
	return answer{status: http.StatusOK, contentType: typeFile, body: content}
}

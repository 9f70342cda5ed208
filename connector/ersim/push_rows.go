package ersim

import (
	"errors"
	"fmt"
	"time"
)

// ResultRows is the answer of a host to a query that the server runs on a schedule.
type ResultRows struct {
	// Host is an identifier, a name or a node id.
	Host string `json:"host"`
	// Query is the name of the query.
	Query string `json:"query"`
	// Action is added, removed or snapshot; empty means added.
	Action string `json:"action"`
	// At is when the host logged it; zero means now.
	At time.Time `json:"at"`
	// Rows are the columns of each row.
	Rows []map[string]string `json:"rows"`
}

// PushRows sends rows over one connection, as the server does when a host reports a
// result and RSYSLOG_FORWARDING is on. Whoever listens gets them or loses them: the
// server keeps no queue, and hears nothing back.
func (s *Server) PushRows(result ResultRows) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.host(result.Host)
	switch {
	case h == nil:
		return fmt.Errorf("no host %q", result.Host)
	case s.opts.PushAddress == "":
		return errors.New("there is no address to push to")
	case result.Query == "":
		return errors.New("rows need the name of a query")
	}
	at := result.At
	if at.IsZero() {
		at = s.now()
	}
	job := pushJob{address: s.opts.PushAddress}
	for _, columns := range result.Rows {
		job.lines = append(job.lines, s.resultLine(h, result.Query, defaultText(result.Action, "added"), at.UTC(), columns))
	}
	select {
	case s.pushes <- job:
		return nil
	default:
		return fmt.Errorf("%d rows are lost: the queue is full", len(result.Rows))
	}
}

// resultLine is a result row as RSYSLOG_FORWARDING sends it. Server.mu is held.
func (s *Server) resultLine(h *host, query, action string, at time.Time, columns map[string]string) []byte {
	if s.profile.v4 {
		return encodeJSON(s.resultLine4(h, query, action, at, columns))
	}
	return encodeJSON(s.resultLine2(h, query, action, at, columns))
}

// resultLine4 is the line of release 4.0.
func (s *Server) resultLine4(h *host, query, action string, at time.Time, columns map[string]string) obj {
	line := obj{
		"_version": 2, "_host_identifier": h.identifier, "_timestamp": at.Format(time.RFC3339), "_event_type": "log",
		"_log_type": "result", "_action": action, "_query_name": query, "_created": pyISO(s.now()),
	}
	addColumns(line, columns)
	line["_platform"] = h.role.platform
	return line
}

// resultLine2 is the line of releases up to 3.5.1: a column overwrites the field of
// its name, and what is known of the host overwrites columns.
func (s *Server) resultLine2(h *host, query, action string, at time.Time, columns map[string]string) obj {
	line := obj{
		"@version": 1, "@host_identifier": h.identifier, "@timestamp": at.Format(time.RFC3339),
		"log_type": "result", "action": action, "query_name": query, "created": pyISO(s.now()),
	}
	addColumns(line, columns)
	line["platform"], line["is_active"], line["last_ip"], line["osname"] = h.role.platform, h.online, h.ip, h.role.os
	return line
}

func addColumns(line obj, columns map[string]string) {
	for name, value := range columns {
		line[name] = value
	}
}

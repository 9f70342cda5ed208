package ersim

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"
)

const (
	// maxPushQueue bounds the lines that wait for a slow listener; more are lost, as
	// the server keeps no queue at all.
	maxPushQueue = 1 << 16
	pushTimeout  = 5 * time.Second
)

// pushJob is what goes over one connection.
type pushJob struct {
	address string
	lines   [][]byte
}

// SetPushAddress changes where the rsyslog alerter sends; empty stops it.
func (s *Server) SetPushAddress(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.PushAddress = address
}

// pushAlert hands an alert to the rsyslog alerter. Release 4.0 keeps quiet about
// IOC alerts, and calls alerters for new rows only, which the caller sees to.
// Server.mu is held.
func (s *Server) pushAlert(a *alert, columns map[string]string) {
	if s.opts.PushAddress == "" || s.profile.v4 && a.source == "ioc" {
		return
	}
	line := s.pushLine4
	if !s.profile.v4 {
		line = s.pushLine2
	}
	job := pushJob{address: s.opts.PushAddress}
	if s.opts.PushResults {
		job.lines = append(job.lines, s.resultLine(a.host, a.query, "added", a.createdAt, columns))
	}
	job.lines = append(job.lines, encodeJSON(line(a, columns)))
	s.pushed++
	select {
	case s.pushes <- job:
	default:
		s.log.Warn("push line lost: queue is full", "alert", a.id)
	}
}

// pushLine4 is the alert line of release 4.0: the columns are flattened to the top
// level, under the names they have.
func (s *Server) pushLine4(a *alert, columns map[string]string) obj {
	line := obj{
		"_version": 2, "_event_type": "alert", "_host_identifier": a.host.identifier, "_query_name": a.query,
		"_severity": a.severity, "_alert_type": "Rule", "_created": pyISO(s.now()), "_action": nil,
	}
	if action, ok := columns["action"]; ok {
		line["_action"] = action
	}
	if a.rule != nil {
		line["_rule_name"], line["_rule_description"] = a.rule.name, a.rule.description
	} else {
		delete(line, "_action")
		line["_event_type"], line["_alert_type"] = "trigger", "Threat Intel"
		line["_source"], line["_source_data"] = a.source, a.intel
	}
	for name, value := range columns {
		line[name] = value
	}
	line["_platform"], line["_ip_address"] = a.host.role.platform, a.host.ip
	return line
}

// pushLine2 is the alert line of releases up to 3.5.1. A column of the same name
// overwrites a field.
func (s *Server) pushLine2(a *alert, columns map[string]string) obj {
	line := obj{
		"event_type": "trigger", "service_key": "", "incident_key": "polylogyx-security-" + strconv.FormatInt(s.pushed+1, 10),
		"host_identifier": a.host.identifier, "client": "PolyLogyx", "client_url": "https://localhost:5000/manage/rules",
		"query_name": a.query, "severity": s.severityName(a.severity), "alert_type": "Rule", "created_at": pyISO(s.now()),
		"action": "added", "description": "alert on " + a.host.name,
	}
	if a.rule != nil {
		line["rule_name"], line["rule_description"], line["rule_status"] = a.rule.name, a.rule.description, "ACTIVE"
	} else {
		line["alert_type"], line["source"], line["source_data"] = "Threat Intel", a.source, string(a.intel)
	}
	for name, value := range columns {
		line[name] = value
	}
	line["platform"], line["is_active"], line["last_ip"], line["osname"] = a.host.role.platform, a.host.online, a.host.ip, a.host.role.os
	return line
}

// runPush is the part of Run that sends. A line for a listener that is down is
// lost, as with the real one.
func (s *Server) runPush(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case job := <-s.pushes:
			if err := job.send(ctx); err != nil {
				s.log.Warn("push line lost", "address", job.address, "err", err)
			}
		}
	}
}

// send opens a connection, writes each line and its newline, and closes.
func (j pushJob) send(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", j.address)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := conn.Close(); err == nil {
			err = closeErr
		}
	}()
	if err := conn.SetDeadline(time.Now().Add(pushTimeout)); err != nil {
		return err
	}
	for _, line := range j.lines {
		for _, part := range [][]byte{line, {'\n'}} { // two writes, as the alerter does
			if _, err := conn.Write(part); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
	}
	return nil
}

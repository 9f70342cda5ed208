package connector

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"
)

// StatusLog is a line of the own log of a host's agent.
type StatusLog struct {
	Line     int // of the agent's source
	Filename string
	Message  string
	Severity int // 0 information, 1 warning, 2 error
	Version  string
	Created  time.Time
}

func statusLogRow(v value) (StatusLog, error) {
	l := StatusLog{
		Line: v.at("line").count(), Filename: v.at("filename").text(), Message: v.at("message").text(),
		Severity: v.at("severity").count(), Version: v.at("version").text(), Created: v.at("created").time(),
	}
	switch {
	case !v.isObject():
		return l, errNotObject
	case l.Filename == "" && l.Message == "":
		return l, errors.New("status log without text")
	}
	return l, nil
}

// StatusLogQuery chooses among the lines of an agent's log.
type StatusLogQuery struct {
	Search string // message, file, version, time, line or severity
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// StatusLogPage fetches lines of the log of a host's agent, in release 4.0 the newest
// first. ErrNotFound if there is no such host.
//
// API: POST /hosts/status_logs (REST guide 4.0.0, section Hosts).
func (s *HostsService) StatusLogPage(ctx context.Context, ref string, q StatusLogQuery) (page Page[StatusLog], err error) {
	const what = "status logs"
	in, err := hostArgument(what, ref)
	if err != nil {
		return page, err
	}
	if err := errors.Join(noNUL(what, "search text", q.Search), paging(in, what, q.Start, q.Limit)); err != nil {
		return page, err
	}
	set(in, "searchterm", q.Search)
	return paged(ctx, s.c, callHostsStatusLogs, in, statusLogRow)
}

// StatusLogs walks through the log of a host's agent from q.Start on, q.Limit at a
// time. Lines have no id: two that are alike in all are given once.
func (s *HostsService) StatusLogs(ctx context.Context, ref string, q StatusLogQuery) iter.Seq2[StatusLog, error] {
	return listFrom(ctx, &q.Start, &q.Limit, func(ctx context.Context) (Page[StatusLog], error) {
		return s.StatusLogPage(ctx, ref, q)
	}, func(l *StatusLog) string { return fmt.Sprintf("%+v", *l) })
}

// StatusLogTask is an export of status logs that the server works on.
type StatusLogTask struct{ ID string }

// ExportStatusLogs makes the server write all lines of the log of a host's agent into
// a file. StatusLogLink waits for it; DownloadStatusLogs does both. The server forgets
// a task after ten minutes. It fails at a host that it does not know, so the host is
// looked up first: ErrNotFound. Each call starts a task, so it is sent once: after an
// error wrapping ErrUncertain one may have been started.
//
// API: POST /hosts/status_log/export (REST guide 4.0.0, section Hosts; that the answer
// has a task id is in the public source of releases 3.5 and 4.0 only).
func (s *HostsService) ExportStatusLogs(ctx context.Context, ref string) (task StatusLogTask, err error) {
	host, err := s.Get(ctx, ref)
	if err != nil {
		return task, before(callHostsStatusLogsExport, err)
	}
	in, err := hostArgument("export status logs", strconv.FormatInt(host.ID, 10))
	if err != nil {
		return task, err
	}
	err = s.c.do(ctx, callHostsStatusLogsExport, in, data(func(v value) { task.ID = v.at("task_id").text() }))
	if err == nil && task.ID == "" {
		err = lacking(callHostsStatusLogsExport, "the answer has no task id")
	}
	return task, err
}

package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// StatusLogLink waits until the server has written an export of status logs, at most
// until deadline or ten minutes, when the server forgets it, and returns where the file
// is: a path below the root of the server. Whoever knows it can fetch it without a
// token. The server tells it once, so call this once for a task. An export without a
// line is ErrRefused.
//
// API: websocket csv/export (public source of releases 3.5 and 4.0).
func (s *HostsService) StatusLogLink(ctx context.Context, task StatusLogTask, deadline time.Duration) (path string, err error) {
	const id = "ws-csv-export"
	defer s.c.metrics.observe(id, time.Now(), &err)
	if task.ID == "" || len(task.ID) > 128 || strings.ContainsFunc(task.ID, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("status log link: %w: task %q", ErrInvalid, clip(task.ID, 128))
	}
	name, err := s.awaitLink(ctx, task, deadline)
	if err != nil {
		return "", fmt.Errorf("status log link of task %s: %w", task.ID, err)
	}
	return statusLogFolder + url.PathEscape(name), nil
}

// awaitLink returns the name of the file.
func (s *HostsService) awaitLink(outer context.Context, task StatusLogTask, deadline time.Duration) (name string, err error) {
	base, err := s.c.Base(outer)
	if err != nil {
		return "", err
	}
	ctx, cancel := liveDeadline(outer, deadline)
	defer cancel()
	conn, err := s.c.dialer.dialAny(ctx, liveURLs(base, "/websocket/csv/export"))
	if errors.Is(err, websocket.ErrBadHandshake) {
		return "", fmt.Errorf("%w (releases: since 3.5): %w", ErrUnavailable, err)
	}
	if err != nil {
		return "", err
	}
	var refused error
	err = listen(ctx, conn, task.ID, func(frame []byte) (all bool) {
		name, refused = readStatusLogFrame(frame)
		return name != "" || refused != nil
	})
	switch {
	case err == nil:
		return name, refused
	case outer.Err() != nil:
		return "", context.Cause(outer)
	case ctx.Err() != nil:
		return "", fmt.Errorf("not written in time: %w", ctx.Err())
	}
	return "", fmt.Errorf("connection lost: %w", err)
}

const statusLogFolder = "/downloads/status_log/"

// readStatusLogFrame reads a frame of the websocket: the name of the file that was
// written, an error if there is none, and neither if the frame is something else, such
// as the sentence that comes first.
//
// The frame holds a whole address. Of that the name of the file counts only: the
// server puts a name of its own there that need not be the one it is reached by, and
// what a frame says must not lead elsewhere.
func readStatusLogFrame(frame []byte) (name string, err error) {
	v, err := parse(frame)
	if err != nil || !v.isObject() || !v.has("status") {
		return "", nil //nolint:nilerr // not the frame that is waited for
	}
	env := envelope{status: v.at("status").text(), message: oneLine(v.at("message").text())}
	if !env.success(call{}) {
		return "", &APIError{Method: "SOCKET", Path: "/websocket/csv/export", Message: env.message, kinds: []error{ErrRefused}}
	}
	target, err := url.Parse(v.at("download_path").text())
	if err != nil {
		return "", fmt.Errorf("%w: the link cannot be read", ErrNotJSON)
	}
	name, inside := strings.CutPrefix(target.Path, statusLogFolder)
	if !inside || name == "" || name == "." || name == ".." || len(name) > 255 || strings.ContainsFunc(name, notInName) {
		return "", fmt.Errorf("%w: the link %q is not to a file in %s", ErrNotJSON, oneLine(clip(target.Path, 128)), statusLogFolder)
	}
	return name, nil
}

func notInName(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == '\\' }

// statusLogDownload fetches a file that StatusLogLink has told of.
var statusLogDownload = call{
	id: "download-status-log", method: http.MethodGet, path: statusLogFolder + "{file}", base: baseServer, open: true, byID: true,
}

// DownloadStatusLogs copies all lines of the log of a host's agent to w, as CSV: it
// makes the server write them, waits for that until deadline or ten minutes, and
// fetches the file. After an error what w has is not whole.
func (s *HostsService) DownloadStatusLogs(ctx context.Context, ref string, deadline time.Duration, w io.Writer) (bytes int64, err error) {
	task, err := s.ExportStatusLogs(ctx, ref)
	if err != nil {
		return 0, err
	}
	link, err := s.StatusLogLink(ctx, task, deadline)
	if err != nil {
		return 0, err
	}
	return s.fetchStatusLogs(ctx, link, w)
}

// fetchStatusLogs copies the file of a link. The proxy calls it a file of any kind.
func (s *HostsService) fetchStatusLogs(ctx context.Context, link string, w io.Writer) (bytes int64, err error) {
	name, err := url.PathUnescape(strings.TrimPrefix(link, statusLogFolder))
	if err != nil {
		return 0, fmt.Errorf("status logs: %w: %w", ErrInvalid, err)
	}
	k, err := statusLogDownload.with(name)
	if err != nil {
		return 0, err
	}
	bytes, err = s.c.fetch(ctx, k, nil, func(contentType string) bool { return isFile(contentType) || isCSV(contentType) }, w)
	if err == nil && bytes == 0 {
		err = fmt.Errorf("status logs: %w: it is empty", errNoFile)
	}
	return bytes, err
}

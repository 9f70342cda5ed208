package ersim

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
)

// The actions of Windows events, as the agent's extension writes them into the
// column action.
const (
	actProcess      = "PROC_CREATE"
	actTerminate    = "PROC_TERMINATE"
	actFileWrite    = "FILE_WRITE"
	actFileRename   = "FILE_RENAME"
	actSocket       = "SOCKET_CONNECT"
	actDNS          = "DNS_LOOKUP"
	actRegistry     = "REG_SETVALUE"
	actImageLoad    = "IMAGE_LOAD"
	actRemoteThread = "REMOTE_THREAD"
	actProcessOpen  = "PROC_OPEN"
)

// queryName is the scheduled query that yields such events. The default
// configuration of release 4.0 has one for all that happens on Windows.
func (s *Server) queryName(h *host, columns map[string]string) string {
	kind, _, _ := strings.Cut(columns["action"], "_")
	table := map[string]string{
		"PROC": "process_events", "FILE": "file_events", "SOCKET": "socket_events", "DNS": "dns_events",
		"REG": "registry_events", "IMAGE": "image_load_events", "REMOTE": "remote_thread_events",
	}[kind]
	switch {
	case table == "" && columns["remote_address"] != "":
		table = "socket_events"
	case table == "" && columns["target_path"] != "":
		table = "file_events"
	case table == "":
		table = "process_events"
	}
	switch {
	case h.windows() && s.profile.v4:
		return "windows_real_time_events"
	case h.windows():
		return "win_" + table
	}
	return table
}

// eventColumns are the columns that every event of a process has.
func eventColumns(h *host, p *Process, action string, at time.Time, more map[string]string) map[string]string {
	columns := map[string]string{
		"eid":          guidText(h.nodeKey+action+p.Path, at.UnixNano()),
		"action":       action,
		"pid":          strconv.FormatInt(p.PID, 10),
		"time":         strconv.FormatInt(at.Unix(), 10),
		"utc_time":     at.Format(layoutCType) + " UTC",
		"process_guid": p.GUID,
		"eventid":      "2",
	}
	maps.Copy(columns, more)
	return columns
}

// processColumns describe the start of a process, with the hashes of its file.
func processColumns(h *host, p *Process, at time.Time) map[string]string {
	columns := startColumns(h, p, at)
	columns["md5"], _, columns["sha256"] = (&file{content: func() []byte { return sampleContent(p.Path) }}).hashes()
	return columns
}

// startColumns describe the start of a process.
func startColumns(h *host, p *Process, at time.Time) map[string]string {
	columns := map[string]string{
		"path": p.Path, "cmdline": p.Cmdline, "owner_uid": h.role.user,
		"parent_pid": strconv.FormatInt(p.Parent, 10), "parent_path": "", "parent_process_guid": guidText(h.nodeKey, p.Parent),
	}
	for _, other := range h.processes {
		if other.PID == p.Parent {
			columns["parent_path"], columns["parent_process_guid"] = other.Path, other.GUID
		}
	}
	return eventColumns(h, p, actProcess, at, columns)
}

// newProcess is a process that is not running yet. Its pid depends on the host,
// the path and n only.
func (h *host) newProcess(name, cmdline string, parent *Process, n int64, at time.Time) *Process {
	p := &Process{PID: 4000 + 4*(n%15_000), Name: baseName(name), Path: name, Cmdline: cmdline, StartTime: at.Truncate(time.Second)}
	for h.taken(p.PID) {
		p.PID += 4
	}
	p.GUID = guidText(h.nodeKey, p.PID)
	if parent != nil {
		p.Parent = parent.PID
	}
	return p
}

func (h *host) taken(pid int64) bool {
	for _, p := range h.processes {
		if p.PID == pid {
			return true
		}
	}
	return false
}

// loadColumns is the n-th alert made in bulk: a process with a path of its own. The
// hash is the path's: to make and hash contents would cost more than all the rest.
func (s *Server) loadColumns(h *host, n int64, at time.Time) map[string]string {
	name := fmt.Sprintf("/tmp/load-%07d", n)
	parent := h.processes[0]
	if h.windows() {
		name = fmt.Sprintf(`C:\Users\Public\load-%07d.exe`, n)
	}
	p := &Process{PID: 100_000 + 4*n, Name: baseName(name), Path: name, Cmdline: name + " --sim-load", Parent: parent.PID, StartTime: at}
	p.GUID = guidText(h.nodeKey, p.PID)
	columns := startColumns(h, p, at)
	sum := md5.Sum([]byte(name))
	columns["md5"] = hex.EncodeToString(sum[:])
	return columns
}

// realise makes the process and the files exist of which an event speaks.
func (h *host) realise(spec AlertSpec, at time.Time) {
	columns := spec.Columns
	target := columns["target_path"]
	if target != "" && !strings.Contains(columns["action"], "DELETE") {
		h.addFile(target, spec.Threat, columns["md5"], at)
	}
	path := columns["path"]
	pid, err := strconv.ParseInt(columns["pid"], 10, 64)
	if path == "" || err != nil || strings.Contains(columns["action"], "TERMINATE") {
		return
	}
	threat, md5Hex := spec.Threat, columns["md5"]
	if target != "" {
		threat, md5Hex = "", "" // they speak of the target
	}
	h.addFile(path, threat, md5Hex, at)
	for _, p := range h.processes {
		if p.PID == pid && p.Path == path {
			return
		}
	}
	parent, _ := strconv.ParseInt(columns["parent_pid"], 10, 64) // without one it is 0
	h.start(&Process{
		PID: pid, Parent: parent, Name: baseName(path), Path: path, Cmdline: columns["cmdline"], GUID: columns["process_guid"],
		StartTime: at.Truncate(time.Second),
	})
}

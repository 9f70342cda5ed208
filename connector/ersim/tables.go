package ersim

import (
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// table is an osquery table of the simulated agents.
type table struct {
	columns []string
	windows bool // exists on Windows only
	rows    func(s *Server, h *host) []row
}

var firewallColumns = []string{
	"name", "app_name", "action", "enabled", "grouping", "direction", "protocol", "local_addresses", "remote_addresses",
	"local_ports", "remote_ports", "service_name",
}

// tables are the ones that live queries can read.
var tables = map[string]table{
	"processes": {rows: processRows, columns: []string{
		"pid", "name", "path", "cmdline", "state", "cwd", "root", "uid", "gid", "on_disk", "parent", "start_time", "threads",
	}},
	"file": {rows: fileRows, columns: []string{"path", "directory", "filename", "size", "mtime", "type"}},
	"hash": {rows: hashRows, columns: []string{"path", "directory", "md5", "sha1", "sha256"}},
	"users": {rows: userRows, columns: []string{
		"uid", "gid", "username", "description", "directory", "shell", "uuid",
	}},
	"windows_firewall_rules": {rows: firewallRows, columns: firewallColumns, windows: true},
	"firewall_rules":         {rows: firewallRows, columns: firewallColumns, windows: true},
	"system_info": {rows: systemRows, columns: []string{
		"hostname", "computer_name", "uuid", "cpu_physical_cores", "physical_memory", "hardware_vendor", "hardware_model", "hardware_serial",
	}},
	"os_version": {rows: osRows, columns: []string{"name", "version", "major", "minor", "build", "platform", "codename", "arch"}},
	"process_open_sockets": {rows: socketRows, columns: []string{
		"pid", "fd", "socket", "family", "protocol", "local_address", "remote_address", "local_port", "remote_port", "path", "state",
	}},
	"logged_in_users": {rows: sessionRows, columns: []string{"type", "user", "tty", "host", "time", "pid"}},
	"logical_drives": {rows: driveRows, windows: true, columns: []string{
		"device_id", "type", "description", "free_space", "size", "file_system", "boot_partition",
	}},
	"osquery_info": {rows: agentRows, columns: []string{
		"pid", "uuid", "instance_id", "version", "config_hash", "config_valid", "extensions", "build_platform", "build_distro", "start_time",
		"watcher", "platform_mask",
	}},
	"carves": {rows: carveRows, columns: []string{
		"time", "sha256", "size", "path", "status", "carve_guid", "request_id", "carve",
	}},
}

func processRows(_ *Server, h *host) []row {
	rows := make([]row, 0, len(h.processes))
	for _, p := range h.processes {
		_, onDisk := h.files[h.fileKey(p.Path)]
		rows = append(rows, row{
			"pid": strconv.FormatInt(p.PID, 10), "name": p.Name, "path": p.Path, "cmdline": p.Cmdline, "state": "STILL_ACTIVE",
			"parent": strconv.FormatInt(p.Parent, 10), "start_time": strconv.FormatInt(p.StartTime.Unix(), 10),
			"on_disk": strconv.Itoa(boolRank(onDisk)), "uid": "1000", "gid": "1000", "threads": "4", "cwd": "", "root": "",
		})
	}
	return rows
}

// fileRows ignores that osquery wants a path or a directory in the condition.
func fileRows(_ *Server, h *host) []row {
	rows := make([]row, 0, len(h.files))
	for _, f := range h.files {
		rows = append(rows, row{
			"path": f.path, "directory": directory(f.path), "filename": baseName(f.path), "type": "regular",
			"size": strconv.Itoa(len(f.content())), "mtime": strconv.FormatInt(f.mtime.Unix(), 10),
		})
	}
	return sorted(rows)
}

func hashRows(_ *Server, h *host) []row {
	rows := make([]row, 0, len(h.files))
	for _, f := range h.files {
		md5Hex, sha1Hex, sha256Hex := f.hashes()
		rows = append(rows, row{"path": f.path, "directory": directory(f.path), "md5": md5Hex, "sha1": sha1Hex, "sha256": sha256Hex})
	}
	return sorted(rows)
}

func sorted(rows []row) []row {
	st := statement{columns: []column{{name: "*"}}, orderBy: "path", limit: -1}
	known := make([]string, 0, 8)
	if len(rows) > 0 {
		for name := range rows[0] {
			known = append(known, name)
		}
	}
	return st.run(rows, known)
}

func directory(name string) string {
	if at := strings.LastIndexByte(name, '\\'); at >= 0 {
		return name[:at]
	}
	return path.Dir(name)
}

func userRows(_ *Server, h *host) []row {
	name := h.role.user[strings.LastIndexByte(h.role.user, '\\')+1:]
	root, home, shell := "root", "/home/"+name, "/bin/bash"
	if h.windows() {
		root, home, shell = "Administrator", `C:\Users\`+name, `C:\Windows\System32\cmd.exe`
	}
	return []row{
		{"uid": "0", "gid": "0", "username": root, "description": "built-in account", "directory": "/root", "shell": shell, "uuid": ""},
		{"uid": "1000", "gid": "1000", "username": name, "description": "", "directory": home, "shell": shell, "uuid": ""},
	}
}

// firewallRows show what contain actions added.
func firewallRows(_ *Server, h *host) []row {
	rows := make([]row, 0, len(h.firewall))
	for _, r := range h.firewall {
		direction := map[string]string{"1": "In", "2": "Out"}[r.Direction]
		protocol := map[string]string{"6": "TCP", "17": "UDP"}[r.Protocol]
		rows = append(rows, row{
			"name": r.Name, "app_name": r.Application, "action": "Block", "enabled": "1", "grouping": r.Group,
			"direction": direction, "protocol": defaultText(protocol, "Any"), "local_addresses": "*",
			"remote_addresses": defaultText(r.DstAddr, "*"), "local_ports": defaultText(r.SrcPort, "*"),
			"remote_ports": defaultText(r.DstPort, "*"), "service_name": "",
		})
	}
	return rows
}

// socketRows are the connections of running processes that the host has reported.
func socketRows(_ *Server, h *host) []row {
	rows := []row{}
	for _, e := range h.allEvents() {
		c := map[string]string{}
		_ = json.Unmarshal(e.entry, &c) // encoded by us
		pid, err := strconv.ParseInt(c["pid"], 10, 64)
		if c["action"] != actSocket || err != nil || !h.taken(pid) {
			continue
		}
		rows = append(rows, row{
			"pid": c["pid"], "fd": "0", "socket": "0", "family": c["family"], "protocol": c["protocol"], "path": "", "state": "ESTABLISHED",
			"local_address": c["local_address"], "local_port": c["local_port"],
			"remote_address": c["remote_address"], "remote_port": c["remote_port"],
		})
	}
	return rows
}

// sessionRows show that the user of the host sits in front of it.
func sessionRows(_ *Server, h *host) []row {
	name := h.role.user[strings.LastIndexByte(h.role.user, '\\')+1:]
	return []row{{
		"type": "active", "user": name, "tty": "Console", "host": "", "time": strconv.FormatInt(h.bootAt.Unix(), 10), "pid": "-1",
	}}
}

// driveRows are the system's drive, and a stick for every other letter that a file
// has.
func driveRows(_ *Server, h *host) []row {
	letters := map[string]bool{"C:": true}
	for _, f := range h.files {
		if len(f.path) > 1 && f.path[1] == ':' {
			letters[strings.ToUpper(f.path[:2])] = true
		}
	}
	rows := []row{}
	for _, letter := range slices.Sorted(maps.Keys(letters)) {
		description, system, size := "Removable Disk", "FAT32", "31914983424"
		if letter == "C:" {
			description, system, size = "Local Fixed Disk", "NTFS", "255365378048"
		}
		rows = append(rows, row{
			"device_id": letter, "type": "Unknown", "description": description, "free_space": "1073741824", "size": size,
			"file_system": system, "boot_partition": "0",
		})
	}
	return rows
}

func systemRows(_ *Server, h *host) []row {
	return []row{{
		"hostname": h.name, "computer_name": h.name, "uuid": h.identifier, "cpu_physical_cores": "2", "physical_memory": "8589934592",
		"hardware_vendor": "Xen", "hardware_model": "HVM domU", "hardware_serial": "ec2-" + h.nodeKey[:4],
	}}
}

func osRows(_ *Server, h *host) []row {
	r := row{}
	for name, value := range h.osInfo() {
		r[name], _ = value.(string)
	}
	return []row{r}
}

// agentRows tell of the agent itself.
func agentRows(_ *Server, h *host) []row {
	return []row{{
		"pid": "4711", "uuid": h.identifier, "instance_id": guidText(h.nodeKey, 0), "version": agentVersion, "config_hash": "", "config_valid": "1",
		"extensions": "active", "build_platform": h.role.platform, "build_distro": h.role.platform, "watcher": "4710", "platform_mask": "0",
		"start_time": strconv.FormatInt(h.agentAt.Unix(), 10),
	}}
}

// carveRows are the host's carves as its agent lists them.
func carveRows(s *Server, h *host) []row {
	rows := []row{}
	for _, c := range s.carves {
		if c.host == h {
			rows = append(rows, row{
				"time": strconv.FormatInt(c.created.Unix(), 10), "size": strconv.Itoa(len(c.data)), "status": "SUCCESS",
				"carve_guid": c.guid, "request_id": strconv.FormatInt(c.query, 10), "carve": "0",
			})
		}
	}
	return rows
}

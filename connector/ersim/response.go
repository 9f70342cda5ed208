package ersim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The kinds of commands, as CommandRecord.Kind names them.
const (
	KindDeleteFile  = "file/delete"
	KindStopProcess = "process/stop"
	KindContain     = "ip_connection/contain"
	KindRelease     = "ip_connection/delete"
	KindScript      = "script/execute"
	KindRestart     = "agent/restart"
)

// The status words of a command. The vendor documents failure only, and success by
// inference; the others are this simulator's.
const (
	CommandQueued    = "queued"  // waits for the agent
	CommandRunning   = "running" // the agent has it
	CommandSuccess   = "success"
	CommandFailure   = "failure"
	CommandCancelled = "cancelled"
)

// Failure codes. The first two stand in the REST guide, the others are this
// simulator's, in the same manner.
const (
	codeDisabled = "RESP_SERVER_DISABLED"
	codeNoFile   = "FILE_NOT_FOUND"
	codeHash     = "FILE_HASH_MISMATCH"
	codeNoProc   = "PROCESS_NOT_FOUND"
	codeNoRule   = "RULE_NOT_FOUND"
	codePlatform = "PLATFORM_NOT_SUPPORTED"
	codeFault    = "SIMULATED_FAILURE"
)

// CommandRecord is one thing that one agent was asked to do.
type CommandRecord struct {
	CommandID  string            `json:"command_id"`
	OpenC2ID   int64             `json:"openc2_id,omitempty"` // 0 for a restart
	Host       string            `json:"host"`                // identifier
	HostName   string            `json:"host_name"`
	Kind       string            `json:"kind"` // process/stop, ip_connection/contain, script/execute, defender/scan, ...
	Parameters map[string]string `json:"parameters"`
	Status     string            `json:"status"`
	Message    string            `json:"message,omitempty"`
	User       string            `json:"user"`
	ReceivedAt time.Time         `json:"received_at"`
	StartedAt  time.Time         `json:"started_at,omitzero"`
	EndedAt    time.Time         `json:"ended_at,omitzero"`
	// Received is how often a command of this kind with these parameters was sent
	// for this host.
	Received int `json:"received"`
}

// action is an OpenC2 action: one request, with a command for each host.
type action struct {
	id       int64 // 0: the server does not list it
	kind     string
	verb     string
	target   string
	body     obj
	script   any // name, or nil
	params   map[string]string
	user     *user
	created  time.Time
	commands []*command
	removed  bool // from the list, by somebody
}

// done counts the hosts that have finished.
func (a *action) done() (n int) {
	for _, cmd := range a.commands {
		n += boolRank(cmd.final())
	}
	return n
}

// updated is when a host last had to say something.
func (a *action) updated() time.Time {
	at := a.created
	for _, cmd := range a.commands {
		if cmd.updated.After(at) {
			at = cmd.updated
		}
	}
	return at
}

// command is an action on one host.
type command struct {
	id      int64
	uid     string // 32 hex digits
	action  *action
	host    *host
	status  string
	message string
	work    time.Duration
	do      func(*host) (message string, done bool)
	output  *liveQuery // of a live response: what its websocket says

	received, started, ended, updated time.Time
}

func (c *command) final() bool { return !c.ended.IsZero() }

// key is equal for identical commands.
func (c *command) key() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s|%d", c.action.kind, c.host.id)
	for _, name := range slices.Sorted(maps.Keys(c.action.params)) {
		fmt.Fprintf(&b, "|%s=%q", name, c.action.params[name])
	}
	return b.String()
}

// Commands is everything that agents were asked to do, in order of receipt, with
// what became of it.
func (s *Server) Commands() []CommandRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	records := make([]CommandRecord, 0, len(s.commands))
	for _, c := range s.commands {
		records = append(records, CommandRecord{
			CommandID: c.uid, OpenC2ID: c.action.id, Host: c.host.identifier, HostName: c.host.name, Kind: c.action.kind,
			Parameters: maps.Clone(c.action.params), Status: c.status, Message: c.message, User: c.action.user.name,
			ReceivedAt: c.received, StartedAt: c.started, EndedAt: c.ended, Received: s.received[c.key()],
		})
	}
	return records
}

// actionTable lists the calls around actions, live queries and carves.
func (s *Server) actionTable() []route {
	const ent = needToken | enterprise
	return []route{
		{"response-list", "POST", "/response", ent, s.responseList, nil},
		{"response-export", "POST", "/response/export", ent, s.responseExport, nil},
		{"response-delete-bulk", "DELETE", "/response/delete", ent, s.responseDeleteMany, nil},
		{"response-delete", "DELETE", "/response/{id:int}/delete", ent, s.responseDelete, nil},
		{"response-live", "POST", "/response/live_response", ent, s.liveResponse, nil},
		{"response-view", "POST", "/response/view", ent, s.responseView, nil},
		{"response-status-all", "GET", "/response/status/all", ent, s.responseStatusAll, nil},
		{"response-status", "POST", "/response/status", ent, s.responseStatus, nil},
		{"response-restart-agent", "POST", "/response/restart-agent", ent, s.restartAgent, nil},
		{"response-add", "POST", "/response/add", ent, s.responseAdd, nil},
		{"response-custom-action", "POST", "/response/custom-action", ent, s.customAction, nil},
		{"response-cancel", "POST", "/response/cancel", ent, s.responseCancel, nil},
		{"response-get", "GET", "/response/{uid}", ent, s.responseGet, nil},

		{"defender-scan-now", "POST", "/defender-management/scan-now", ent, s.defenderScan, nil},
		{"defender-schedule-scan", "POST", "/defender-management/schedule-scan", ent, s.defenderSchedule, nil},
		{"defender-current-settings", "POST", "/defender-management/current-settings", ent, s.defenderSettings, nil},
		{"defender-status-refresh", "POST", "/defender-management/status_refresh", ent, s.defenderRefresh, nil},
		{"defender-check-update", "POST", "/defender-management/check-update", ent, s.defenderUpdate, nil},
		{"defender-configure", "POST", "/defender-management/configure", ent, s.defenderConfigure, nil},
		{"defender-computer-status", "POST", "/defender-management/computer-status", ent, s.defenderStatus, nil},
		{"defender-get-quarantine", "POST", "/defender-management/get-quarantine", ent, s.defenderQuarantine, nil},
		{"defender-quarantine-carve", "POST", "/defender-management/quarantine_file/carve", ent, s.defenderCarve, nil},

		{"distributed-add", "POST", "/distributed/add", needToken, s.distributedAdd, nil},
		{"carves-list", "POST", "/carves", needToken, s.carvesList, nil},
		{"carves-query", "POST", "/carves/query", needToken, s.carvesQuery, nil},
		{"carves-download", "GET", "/carves/download/{session}", needToken, s.carvesDownload, nil},
		{"carves-delete", "POST", "/carves/delete", needToken | needAdmin, s.carvesDelete, nil},
	}
}

const (
	actionAdded = "Action is added successfully"
	noTarget    = "No host is found for the host identifiers, tags or operating systems given!"
)

// targets are the hosts that host identifiers, tags and OS names select, each once.
func (s *Server) targets(identifiers, tags, osNames []string) []*host {
	var found []*host
	for _, h := range s.hosts {
		if h.state != hostActive && s.profile.v4 {
			continue // release 2.1.2 takes removed hosts too, as observed
		}
		if slices.ContainsFunc(identifiers, func(id string) bool { return strings.EqualFold(id, h.identifier) }) ||
			slices.ContainsFunc(tags, func(tag string) bool { return slices.Contains(h.tags, tag) }) ||
			slices.Contains(osNames, h.role.os) {
			found = append(found, h)
		}
	}
	return found
}

// API: POST /response/add.
func (s *Server) responseAdd(c *call) answer {
	target := c.choice("target", "target", "file", "process", "ip_connection")
	verb := c.choice("action", "action", "delete", "stop", "contain")
	c.need("target", "target")
	c.need("action", "action")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	a := &action{kind: target + "/" + verb, verb: verb, target: target, user: c.user}
	var required, optional []string
	var do func(*host) (string, bool)
	switch a.kind {
	case KindDeleteFile:
		required, optional, do = []string{"file_name"}, []string{"file_hash"}, a.deleteFile
	case KindStopProcess:
		optional, do = []string{"process_name", "pid"}, a.stopProcess
	case KindContain:
		required, do = []string{"rule_name"}, a.contain
		optional = []string{
			"rule_group", "rule_description", "src_port", "dst_port", "dst_addr", "application", "direction", "layer4_protocol",
		}
	case KindRelease:
		required, do = []string{"rule_name"}, a.release
	default:
		return s.fail("Action " + verb + " is not possible for target " + target)
	}
	a.params = map[string]string{}
	for _, name := range append(required, optional...) {
		if text := c.text(name); text != "" {
			a.params[name] = text
		} else if slices.Contains(required, name) {
			c.mistake(name, name, missingText)
		}
	}
	if a.kind == KindContain {
		c.choice("direction", "direction", "", "1", "2")
		c.choice("layer4_protocol", "layer4_protocol", "", "2", "6", "17", "256") // the guide says both 2 and 256 for any
	}
	if a.kind == KindStopProcess && len(a.params) == 0 {
		c.mistake("pid", "pid", missingText)
	}
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	a.body = obj{"action": verb, "actuator": obj{"endpoint": "polylogyx_vasp"}, "target": obj{target: a.openC2()}}
	s.mu.Lock()
	defer s.mu.Unlock()
	hosts := s.targets(c.list("actuator_id"), c.list("tags"), c.list("os_name"))
	if len(hosts) == 0 {
		return s.fail(noTarget)
	}
	s.accept(a, hosts, s.opts.CommandDelay, do)
	// Of several hosts the guide names one command; this takes the first host's.
	return s.flat(actionAdded, obj{"command_id": a.commands[0].uid})
}

// openC2 is the target part of the command, in the guide's example shape.
func (a *action) openC2() obj {
	switch a.target {
	case "process":
		return obj{"name": a.params["process_name"], "pid": a.params["pid"]}
	case "file":
		return obj{"name": a.params["file_name"], "hashes": obj{"md5": a.params["file_hash"]}}
	}
	out := obj{}
	for name, value := range a.params {
		out[name] = value
	}
	return out
}

func (a *action) deleteFile(h *host) (string, bool) {
	key := h.fileKey(a.params["file_name"])
	f, ok := h.files[key]
	if !ok {
		return codeNoFile, false
	}
	if want := a.params["file_hash"]; want != "" {
		if md5Hex, _, _ := f.hashes(); !strings.EqualFold(want, md5Hex) {
			return codeHash, false
		}
	}
	delete(h.files, key)
	return "", true
}

func (a *action) stopProcess(h *host) (string, bool) {
	if h.stop(a.params["pid"], a.params["process_name"]) == 0 {
		return codeNoProc, false
	}
	return "", true
}

func (a *action) contain(h *host) (string, bool) {
	if !h.windows() {
		return codePlatform, false
	}
	p := a.params
	h.firewall = append(h.firewall, FirewallRule{
		Name: p["rule_name"], Group: p["rule_group"], Description: p["rule_description"], SrcPort: p["src_port"],
		DstPort: p["dst_port"], DstAddr: p["dst_addr"], Application: p["application"],
		Direction: defaultText(p["direction"], "1"), Protocol: defaultText(p["layer4_protocol"], "2"),
	})
	return "", true
}

func (a *action) release(h *host) (string, bool) {
	if !h.windows() {
		return codePlatform, false
	}
	before := len(h.firewall)
	h.firewall = slices.DeleteFunc(h.firewall, func(r FirewallRule) bool { return strings.EqualFold(r.Name, a.params["rule_name"]) })
	if len(h.firewall) == before {
		return codeNoRule, false
	}
	return "", true
}

// scriptAction reads a script and how to run it, from JSON or multipart.
func (c *call) scriptAction() *action {
	kind := c.choice("file_type", "file_type", "1", "2", "3", "4")
	c.need("file_type", "file_type")
	content := c.text("content")
	if c.file != nil {
		content = string(c.file)
	}
	if content == "" {
		c.mistake("content", "content", missingText)
	}
	if c.text("save_script") != "" {
		c.flag("save_script", "save_script")
	}
	a := &action{kind: KindScript, verb: "execute", target: "script", user: c.user, params: map[string]string{
		"file_type": kind, "content": content, "params": c.text("params"), "script_name": c.text("script_name"),
		"save_script": c.text("save_script"),
	}}
	if name := c.text("script_name"); name != "" {
		a.script = name
	}
	a.body = obj{"action": a.verb, "actuator": obj{"endpoint": "polylogyx_vasp"}, "target": obj{a.target: obj{
		"file_type": kind, "params": a.params["params"], "script_name": a.script,
	}}}
	return a
}

// API: POST /response/custom-action, JSON or multipart.
func (s *Server) customAction(c *call) answer {
	a := c.scriptAction()
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	hosts := s.targets(c.list("host_identifier"), c.list("tags"), c.list("os_name"))
	if len(hosts) == 0 {
		return s.fail(noTarget)
	}
	s.accept(a, hosts, s.opts.CommandDelay, func(*host) (string, bool) { return runScript(a.params["content"]) })
	return s.flat(actionAdded, obj{"openc2_id": a.id})
}

// runScript understands two things of a script: lines that print a text (echo,
// Write-Output, Write-Host) make its output, and exit with another number than 0
// makes it fail.
func runScript(content string) (string, bool) {
	var output []string
	for line := range strings.Lines(content) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.Trim(strings.TrimSpace(rest), `"'`)
		switch strings.ToLower(word) {
		case "echo", "write-output", "write-host":
			output = append(output, rest)
		case "exit":
			if rest != "" && rest != "0" {
				return strings.Join(append(output, "exit status "+rest), "\n"), false
			}
			return strings.Join(output, "\n"), true
		}
	}
	return strings.Join(output, "\n"), true
}

// API: POST /response. Newest first; Executed counts the hosts that are done.
func (s *Server) responseList(c *call) answer {
	start, limit := c.number("start", "start", 0), c.number("limit", "limit", 10)
	c.choice("column", "column", "created_at")
	order := c.choice("order_by", "order_by", "asc", "desc")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if c.negativePage() {
		return s.crash()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	search := strings.ToLower(c.text("searchterm"))
	var found []*action
	total := 0
	for _, a := range s.actions {
		if a.removed {
			continue
		}
		total++
		if a.mentions(search) {
			found = append(found, a)
		}
	}
	if order != "asc" {
		slices.Reverse(found)
	}
	rows := []obj{}
	for _, a := range page(found, start, limit) {
		rows = append(rows, obj{
			"id": a.id, "action": a.verb, "command": a.body, "created_at": pySpace(a.created), "updated_at": pySpace(a.updated()),
			"script_name": a.script, "target": a.target, "Executed": fmt.Sprintf("%d/%d", a.done(), len(a.commands)),
		})
	}
	return s.ok("Successfully fetched the responses info", obj{"count": len(found), "total_count": total, "results": rows})
}

func (a *action) mentions(search string) bool {
	name, _ := a.script.(string)
	for _, text := range []string{a.verb, a.target, name} {
		if strings.Contains(strings.ToLower(text), search) {
			return true
		}
	}
	return slices.ContainsFunc(a.commands, func(c *command) bool { return strings.Contains(strings.ToLower(c.host.name), search) })
}

// reason is why a command failed.
func (c *command) reason() string {
	if c.status == CommandSuccess {
		return ""
	}
	return c.message
}

// row is a command as the API shows it. What a host printed is in data, which the
// guide does not show and the vendor's console reads.
func (c *command) row() obj {
	data := ""
	if c.status == CommandSuccess {
		data = c.message
	}
	return obj{
		"id": c.id, "command": c.action.body, "created_at": pySpace(c.received), "updated_at": pySpace(c.updated),
		"node_id": c.host.id, "command_id": c.uid, "status": c.status, "message": c.reason(), "data": data, "hostname": c.host.name,
		"target": c.action.target, "action": c.action.verb,
	}
}

// API: POST /response/view: one row per host of one action.
func (s *Server) responseView(c *call) answer {
	start, limit := c.number("start", "start", 0), c.number("limit", "limit", 10)
	c.need("openc2_id", "openc2_id")
	id := c.number("openc2_id", "openc2_id", 0)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	if c.negativePage() {
		return s.crash()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.action(id)
	if a == nil {
		return s.fail(noAction)
	}
	all := a.commands
	var found []*command
	for _, cmd := range all {
		if strings.Contains(strings.ToLower(cmd.host.name), strings.ToLower(c.text("searchterm"))) {
			found = append(found, cmd)
		}
	}
	rows := []obj{}
	for _, cmd := range page(found, start, limit) {
		rows = append(rows, cmd.row())
	}
	return s.ok("Successfully fetched the responses info", obj{"count": len(found), "total_count": len(all), "results": rows})
}

const noCommand = "No command present for the command id given!"

// API: GET /response/{command_id}.
func (s *Server) responseGet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	cmd := s.byCmdID[c.path["uid"]]
	if cmd == nil || cmd.action.removed {
		return s.fail(noCommand)
	}
	return s.ok("Successfully fetched the response info", cmd.row())
}

// API: POST /response/cancel. What has already run stays done.
func (s *Server) responseCancel(c *call) answer {
	c.need("command_id", "command_id")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	cmd := s.byCmdID[c.text("command_id")]
	switch {
	case cmd == nil:
		return s.fail(noCommand)
	case cmd.final():
		return s.fail("Command is completed already!")
	}
	s.end(cmd, CommandCancelled, "")
	return s.ok("Command is cancelled successfully", nil)
}

// API: POST /response/status.
func (s *Server) responseStatus(c *call) answer {
	c.number("node_id", "id of the node", 0)
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, _ := s.bodyHost(c)
	if h == nil {
		return s.fail("No Host present for the host identifier or node id given!")
	}
	return s.flat("Successfully received the status", obj{"responseEnabled": h.response, "endpointOnline": h.online})
}

// API: GET /response/status/all.
func (s *Server) responseStatusAll(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := []obj{}
	for _, h := range s.hosts {
		status := "OFFLINE"
		if h.online {
			status = "ONLINE"
		}
		rows = append(rows, obj{
			"hostIdentifier": h.identifier, "epName": h.name, "onlineStatus": status, "responseEnabled": h.response,
			"endpointOnline": h.online, "host_degraded": h.online && !h.response,
		})
	}
	return s.ok("Successfully fetched the response action status of all hosts", rows)
}

// API: POST /response/restart-agent. It returns no id, and needs the host online.
func (s *Server) restartAgent(c *call) answer {
	c.need("host_identifier", "host_identifier")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hostRefs[strings.ToUpper(c.text("host_identifier"))]
	switch {
	case h == nil:
		return s.fail("No Host present for the host identifier given!")
	case !h.online:
		return s.fail("Host is offline, agent cannot be restarted!")
	}
	a := &action{kind: KindRestart, user: c.user, params: map[string]string{}}
	s.accept(a, []*host{h}, s.opts.CommandDelay, func(h *host) (string, bool) {
		s.setOnline(h, false)
		s.after(s.opts.CommandDelay, func() {
			h.agentAt = s.now()
			s.setOnline(h, true)
		})
		return "", true
	})
	return s.ok("Action to restart agent is added successfully", nil)
}

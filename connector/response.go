package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ResponsesService is the section "Response actions" of the REST guide. All of it
// is Enterprise only.
type ResponsesService struct{ c *Client }

// Command is what the server returns for a response action: one of the two ids,
// or both, or, against the guide, none. CommandID is the action on one host,
// OpenC2ID the action on all hosts that it was sent to. What is not told is zero.
type Command struct {
	CommandID string
	OpenC2ID  int64
}

// read reads the ids where they stand, beside status or in data.
func (cmd *Command) read(answer value) {
	for _, v := range []value{answer, answer.at("data")} {
		if id := v.at("command_id").text(); id != "" {
			cmd.CommandID = id
		}
		if id := v.at("openc2_id").id(); id != 0 {
			cmd.OpenC2ID = id
		}
	}
}

// ResponseAction is one action, maybe for many hosts.
type ResponseAction struct {
	ID         int64 // the openc2 id
	Action     string
	Target     string // file, process, ip_connection, ...
	ScriptName string
	// Command is the server's description: action, actuator, and below target
	// what was acted on.
	Command json.RawMessage
	// Done and Hosts say how many hosts have finished, of how many.
	Done, Hosts          int
	CreatedAt, UpdatedAt time.Time
}

func actionRow(v value) (ResponseAction, error) {
	a := ResponseAction{
		ID:         v.at("id").id(),
		Action:     v.at("action").text(),
		Target:     v.at("target").text(),
		ScriptName: v.at("script_name").text(),
		Command:    commandObject(v.at("command")),
		CreatedAt:  v.at("created_at").time(),
		UpdatedAt:  v.at("updated_at").time(),
	}
	done, hosts, _ := strings.Cut(v.at("Executed", "executed").text(), "/") // the capital is the server's: "1/1"
	a.Done, _ = strconv.Atoi(strings.TrimSpace(done))
	a.Hosts, _ = strconv.Atoi(strings.TrimSpace(hosts))
	switch {
	case !v.isObject():
		return a, errNotObject
	case a.ID == 0:
		return a, errors.New("response action without id")
	}
	return a, nil
}

// commandObject reads a command: an object, or an object in a string as the older
// API has it.
func commandObject(v value) json.RawMessage {
	if text, ok := v.v.(string); ok {
		if inner, err := parse([]byte(text)); err == nil {
			return inner.raw()
		}
	}
	return v.raw()
}

// ResponseQuery filters the list of actions.
type ResponseQuery struct {
	Search string
	Column string // created_at
	Desc   bool
	// Start is an offset, Limit a page size; default 100.
	Start, Limit int
}

// Page fetches one page of actions.
// API: POST /response (REST guide 4.0.0, "Get all response actions").
func (s *ResponsesService) Page(ctx context.Context, q ResponseQuery) (page Page[ResponseAction], err error) {
	in := map[string]any{"start": q.Start, "limit": pageSize(q.Limit)}
	set(in, "searchterm", q.Search)
	order(in, q.Column, q.Desc)
	err = s.c.do(ctx, callResponseList, in, data(func(v value) { page = rows(v, actionRow) }))
	return page, err
}

// List walks through all actions from q.Start on, q.Limit at a time.
func (s *ResponsesService) List(ctx context.Context, q ResponseQuery) iter.Seq2[ResponseAction, error] {
	first := q.Start
	return list(ctx, q.Limit, func(ctx context.Context, start, limit int) (Page[ResponseAction], error) {
		q.Start, q.Limit = first+start, limit
		return s.Page(ctx, q)
	}, func(a *ResponseAction) string { return strconv.FormatInt(a.ID, 10) })
}

// HostCommand is one action on one host.
type HostCommand struct {
	ID        int64 // of this row; not the openc2 id
	CommandID string
	NodeID    int64
	Hostname  string
	Action    string
	Target    string
	// Status is the server's word. Only "success" and "failure" are known to be
	// final; an unknown word is best taken as still under way.
	Status string
	// Message is the host's output or the reason of the failure, such as
	// RESP_SERVER_DISABLED or FILE_NOT_FOUND, as it came.
	Message              string
	Command              json.RawMessage
	CreatedAt, UpdatedAt time.Time
}

func readHostCommand(v value) HostCommand {
	return HostCommand{
		ID:        v.at("id").id(),
		CommandID: v.at("command_id").text(),
		NodeID:    v.at("node_id").id(),
		Hostname:  v.at("hostname").text(),
		Action:    v.at("action").text(),
		Target:    v.at("target").text(),
		Status:    v.at("status").text(),
		Message:   v.at("message").text(),
		Command:   commandObject(v.at("command")),
		CreatedAt: v.at("created_at", "Created_at").time(), // both spellings are in the guide
		UpdatedAt: v.at("updated_at").time(),
	}
}

func hostCommandRow(v value) (HostCommand, error) {
	if !v.isObject() {
		return HostCommand{}, errNotObject
	}
	return readHostCommand(v), nil
}

// View fetches what became of an action, one row per host.
// API: POST /response/view (REST guide 4.0.0, "Get additional information").
func (s *ResponsesService) View(ctx context.Context, openC2ID int64) ([]HostCommand, error) {
	if openC2ID == 0 {
		return nil, fmt.Errorf("view response: %w: openc2 id is 0", ErrInvalid)
	}
	var all []HostCommand
	pages := list(ctx, 0, func(ctx context.Context, start, limit int) (page Page[HostCommand], err error) {
		in := map[string]any{"openc2_id": openC2ID, "start": start, "limit": limit}
		err = s.c.do(ctx, callResponseView, in, data(func(v value) { page = rows(v, hostCommandRow) }))
		return page, err
	}, func(h *HostCommand) string { return strconv.FormatInt(h.ID, 10) + "/" + h.CommandID })
	for h, err := range pages {
		if err != nil {
			return all, err
		}
		all = append(all, h)
	}
	return all, nil
}

// Get fetches one action on one host. ErrNotFound if there is none.
// API: GET /response/{command_id} (REST guide 4.0.0, "Get a response action").
func (s *ResponsesService) Get(ctx context.Context, commandID string) (h HostCommand, err error) {
	k, err := callResponseGet.with(commandID)
	if err != nil {
		return h, err
	}
	err = s.c.do(ctx, k, nil, data(func(v value) { h = readHostCommand(v) }))
	if err == nil && h.CommandID == "" && h.Status == "" && h.ID == 0 {
		err = missing(k)
	}
	return h, err
}

// Channel says whether a host can take actions.
type Channel struct {
	ResponseEnabled bool
	EndpointOnline  bool
}

// Status fetches whether a host can take actions, by host identifier.
// API: POST /response/status (REST guide 4.0.0, "Get connection status for a host").
func (s *ResponsesService) Status(ctx context.Context, host string) (ch Channel, err error) {
	if host == "" {
		return ch, fmt.Errorf("response status: %w", ErrEmptyTarget)
	}
	err = s.c.do(ctx, callResponseStatus, map[string]any{"host_identifier": host}, ch.read)
	return ch, err
}

// read reads the flags where they stand, beside status or in data.
func (ch *Channel) read(answer value) {
	for _, v := range []value{answer, answer.at("data")} {
		ch.ResponseEnabled = ch.ResponseEnabled || v.at("responseEnabled").truth()
		ch.EndpointOnline = ch.EndpointOnline || v.at("endpointOnline").truth()
	}
}

// HostChannel is the Channel of a host.
type HostChannel struct {
	Identifier string
	Name       string
	Channel
	// Degraded is an agent that is connected and yet will not act soon.
	Degraded bool
}

// StatusAll fetches the channels of all hosts.
// API: GET /response/status/all (REST guide 4.0.0, "Get connection status for all hosts").
func (s *ResponsesService) StatusAll(ctx context.Context) (all []HostChannel, err error) {
	err = s.c.do(ctx, callResponseStatusAll, nil, data(func(v value) {
		for host := range v.items() {
			if !host.isObject() {
				continue
			}
			h := HostChannel{
				Identifier: host.at("hostIdentifier").text(),
				Name:       host.at("epName").text(),
				Degraded:   host.at("host_degraded").truth(),
			}
			// onlineStatus can say ONLINE while endpointOnline is false; it is left
			// out on purpose.
			h.read(host)
			all = append(all, h)
		}
	}))
	return all, err
}

// DeleteFile deletes a file on hosts. One of Path and MD5 is needed.
type DeleteFile struct {
	Hosts []string // host identifiers
	Path  string
	MD5   string
}

// DeleteFile sends the action to delete a file.
// API: POST /response/add (REST guide 4.0.0, "Initiate a response action").
func (s *ResponsesService) DeleteFile(ctx context.Context, r DeleteFile) (Command, error) {
	if r.Path == "" && r.MD5 == "" {
		return Command{}, fmt.Errorf("delete file: %w: path or MD5 is needed", ErrInvalid)
	}
	in := map[string]any{"target": "file", "action": "delete"}
	set(in, "file_name", r.Path)
	set(in, "file_hash", r.MD5)
	return s.add(ctx, r.Hosts, in)
}

// StopProcess ends a process on hosts. One of Name and PID is needed; with both,
// both must fit. The guide does not say whether Name is the file's name or its
// path; its example has a name.
type StopProcess struct {
	Hosts []string
	Name  string
	PID   string
}

// StopProcess sends the action to end a process.
// API: POST /response/add (REST guide 4.0.0, "Initiate a response action").
func (s *ResponsesService) StopProcess(ctx context.Context, r StopProcess) (Command, error) {
	if r.Name == "" && r.PID == "" {
		return Command{}, fmt.Errorf("stop process: %w: name or pid is needed", ErrInvalid)
	}
	if r.PID != "" {
		if n, err := strconv.ParseUint(r.PID, 10, 32); err != nil || n == 0 {
			return Command{}, fmt.Errorf("stop process: %w: pid %q is not a process id", ErrInvalid, clip(r.PID, 32))
		}
	}
	in := map[string]any{"target": "process", "action": "stop"}
	set(in, "process_name", r.Name)
	set(in, "pid", r.PID)
	return s.add(ctx, r.Hosts, in)
}

// FirewallRule is a Windows firewall rule that cuts hosts off from DstAddr, or
// from everything where DstAddr is empty. Empty fields mean any.
type FirewallRule struct {
	Hosts                            []string
	RuleName, RuleGroup, Description string
	SrcPort, DstPort                 string // a port or a range
	DstAddr                          string
	Application                      string
	Direction                        string // "1" in, "2" out; empty is "1"
	Protocol                         string // "6" TCP, "17" UDP, "256" any; empty is "256"
}

// protocolAny is what the Windows firewall calls any protocol. The guide's table
// says 2, its example 256; 2 is IGMP in every other table of protocols.
const protocolAny = "256"

// Contain adds a firewall rule to hosts. Windows only.
// API: POST /response/add (REST guide 4.0.0, "Initiate a response action").
func (s *ResponsesService) Contain(ctx context.Context, r FirewallRule) (Command, error) {
	if r.RuleName == "" {
		return Command{}, fmt.Errorf("contain: %w: rule name is needed", ErrInvalid)
	}
	direction, protocol := r.Direction, r.Protocol
	if direction == "" {
		direction = "1"
	}
	if protocol == "" {
		protocol = protocolAny
	}
	// All of these are documented as required, empty ones included.
	return s.add(ctx, r.Hosts, map[string]any{
		"target": "ip_connection", "action": "contain",
		"rule_name": r.RuleName, "rule_group": r.RuleGroup, "rule_description": r.Description,
		"src_port": r.SrcPort, "dst_port": r.DstPort, "dst_addr": r.DstAddr, "application": r.Application,
		"direction": direction, "layer4_protocol": protocol,
	})
}

// Release removes a firewall rule from hosts. Windows only.
// API: POST /response/add (REST guide 4.0.0, "Initiate a response action").
func (s *ResponsesService) Release(ctx context.Context, hosts []string, ruleName string) (Command, error) {
	if ruleName == "" {
		return Command{}, fmt.Errorf("release: %w: rule name is needed", ErrInvalid)
	}
	return s.add(ctx, hosts, map[string]any{"target": "ip_connection", "action": "delete", "rule_name": ruleName})
}

func (s *ResponsesService) add(ctx context.Context, hosts []string, in map[string]any) (cmd Command, err error) {
	if in["actuator_id"], err = commaList("response action", hosts); err != nil {
		return cmd, err
	}
	err = s.c.do(ctx, callResponseAdd, in, cmd.read)
	return cmd, err
}

// commaList joins the targets of a call as the server wants them. An empty list,
// and an empty or composite element, are refused: they would address other hosts
// than those meant.
func commaList(what string, list []string) (string, error) {
	if len(list) == 0 {
		return "", fmt.Errorf("%s: %w", what, ErrEmptyTarget)
	}
	for _, one := range list {
		if strings.TrimSpace(one) == "" {
			return "", fmt.Errorf("%s: %w: a name in the list is empty", what, ErrEmptyTarget)
		}
		if strings.Contains(one, ",") {
			return "", fmt.Errorf("%s: %w: %q holds a comma", what, ErrInvalid, clip(one, 128))
		}
	}
	unique := slices.Clone(list)
	slices.Sort(unique)
	return strings.Join(slices.Compact(unique), ","), nil
}

// ScriptKind is the interpreter of a script.
type ScriptKind int

// The script kinds. The guide of release 2.x has 3 for shell scripts.
const (
	ScriptBat        ScriptKind = 1
	ScriptPowerShell ScriptKind = 2
	ScriptShell      ScriptKind = 4
)

// Script is a script to run on hosts.
type Script struct {
	Hosts   []string
	Content string
	Kind    ScriptKind
	Params  string
	Name    string
	Save    bool // keep the script on the server
}

// RunScript sends a script to hosts; its output will be the Message of View.
// API: POST /response/custom-action (REST guide 4.0.0, "Initiate a custom action").
func (s *ResponsesService) RunScript(ctx context.Context, r Script) (cmd Command, err error) {
	hosts, err := commaList("run script", r.Hosts)
	if err != nil {
		return cmd, err
	}
	switch r.Kind {
	case ScriptBat, ScriptPowerShell, ScriptShell:
	default:
		return cmd, fmt.Errorf("run script: %w: unknown kind %d", ErrInvalid, r.Kind)
	}
	if r.Content == "" {
		return cmd, fmt.Errorf("run script: %w: the script is empty", ErrInvalid)
	}
	in := map[string]any{
		"host_identifier": hosts, "content": r.Content,
		"file_type":   strconv.Itoa(int(r.Kind)), // text in every example of the guide
		"save_script": strconv.FormatBool(r.Save),
	}
	set(in, "params", r.Params)
	set(in, "script_name", r.Name)
	err = s.c.do(ctx, callResponseCustomAction, in, cmd.read)
	return cmd, err
}

// Cancel withdraws a command. What the host has done already stays done.
// API: POST /response/cancel (REST guide 4.0.0, "Cancel an ongoing response action").
func (s *ResponsesService) Cancel(ctx context.Context, commandID string) error {
	if commandID == "" {
		return fmt.Errorf("cancel response: %w: command id is empty", ErrInvalid)
	}
	return s.c.do(ctx, callResponseCancel, map[string]any{"command_id": commandID}, nil)
}

// RestartAgent restarts the agent of an online host. The server returns no id, so
// nothing tells when it has happened.
// API: POST /response/restart-agent (REST guide 4.0.0, "Restart an agent").
func (s *ResponsesService) RestartAgent(ctx context.Context, host string) error {
	if host == "" {
		return fmt.Errorf("restart agent: %w", ErrEmptyTarget)
	}
	return s.c.do(ctx, callResponseRestartAgent, map[string]any{"host_identifier": host}, nil)
}

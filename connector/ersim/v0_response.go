package ersim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
)

// v0ResponseTable lists the calls around response actions, which have the form of
// OpenC2 commands. Two entries of the guide share a path.
func (s *Server) v0ResponseTable() []route {
	const ent = needToken | enterprise | only20
	return []route{
		{"v0-response", "GET", "/response", ent, s.v0Responses, nil},
		{"v0-response-add-file", "POST", "/response/add", ent, s.v0ResponseAdd, nil},
		{"v0-response-add-process", "POST", "/response/add", ent, s.v0ResponseAdd, nil},
		{"v0-response-get", "GET", "/response/{uid}", ent, s.v0ResponseGet, nil},
	}
}

// variant is the id under which a call counts: that of the route, except where two
// entries of the guide share a path and the body tells them apart.
func (r *route) variant(req *http.Request) string {
	if r.id != "v0-response-add-file" {
		return r.id
	}
	body, err := io.ReadAll(io.LimitReader(req.Body, maxBodyBytes+1))
	req.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), req.Body))
	var asked struct {
		Action string `json:"action"`
	}
	if err == nil && json.Unmarshal(body, &asked) == nil && asked.Action == "stop" {
		return "v0-response-add-process"
	}
	return r.id
}

const (
	v0Disorder = "Please provide a valid command"
	v0NoHost   = "Invalid node name/ip"
)

// below follows names into a JSON value; nil when there is no such thing.
func below(v any, names ...string) any {
	for _, name := range names {
		o, _ := v.(map[string]any)
		v = o[name]
	}
	return v
}

// written is a JSON text or number as text.
func written(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// API: POST /response/add. The node is named by its computer name or its address.
func (s *Server) v0ResponseAdd(c *call) answer {
	for _, name := range []string{"action", "actuator", "target"} {
		c.need(name, name)
	}
	verb := c.choice("action", "action", "delete", "stop")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	a := &action{verb: verb, user: c.user, params: map[string]string{}}
	set := func(name string, v any) {
		if text := written(v); text != "" {
			a.params[name] = text
		}
	}
	a.target = map[string]string{"delete": "file", "stop": "process"}[verb]
	a.kind = a.target + "/" + verb
	target := below(c.values["target"], a.target)
	if a.kind == KindDeleteFile {
		set("file_name", below(target, "name"))
		set("file_hash", below(target, "hashes", "md5"))
	} else {
		set("process_name", below(target, "name"))
		set("pid", below(target, "pid"))
	}
	wanted := written(below(target, "device", "hostname"))
	if wanted == "" || a.kind == KindDeleteFile && a.params["file_name"] == "" || len(a.params) == 0 {
		return s.fail(v0Disorder)
	}
	a.body = obj{"action": verb, "actuator": c.values["actuator"], "target": c.values["target"]}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.named(wanted)
	if h == nil {
		return s.fail(v0NoHost)
	}
	do := a.deleteFile
	if a.kind == KindStopProcess {
		do = a.stopProcess
	}
	s.accept(a, []*host{h}, s.opts.CommandDelay, do)
	return s.flat("Successfully send the response command", obj{"command_id": a.commands[0].uid})
}

// named finds a host by its name or address.
func (s *Server) named(text string) *host {
	for _, h := range s.hosts {
		if h.name == text || h.ip == text {
			return h
		}
	}
	return nil
}

// v0Row is a command in v0: the OpenC2 command is JSON inside a text.
func (c *command) v0Row() obj {
	return obj{
		"id": c.id, "action": nil, "command": string(encodeJSON(c.action.body)), "command_id": c.uid,
		"message": c.message, "status": c.status,
	}
}

// API: GET /response, without paging.
func (s *Server) v0Responses(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := []obj{}
	for _, cmd := range s.commands {
		rows = append(rows, cmd.v0Row())
	}
	return s.v0OK("Successfully received the response commands", rows)
}

// API: GET /response/{command_id}.
func (s *Server) v0ResponseGet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	cmd := s.byCmdID[c.path["uid"]]
	if cmd == nil {
		return s.fail("Command with this id does not exist")
	}
	return s.v0OK("Successfully received the command status", cmd.v0Row())
}

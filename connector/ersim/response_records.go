package ersim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const noAction = "No response action present for the id given!"

// action is the action with an id that is still in the list, or nil.
func (s *Server) action(id int64) *action {
	if id < 1 || id > int64(len(s.actions)) || s.actions[id-1].removed {
		return nil
	}
	return s.actions[id-1]
}

// API: POST /response/export, newest first. The vendor documents no columns; these
// are the keys of the list, with objects as other exports have them.
func (s *Server) responseExport(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	identifier := c.text("host_identifier")
	if identifier != "" && s.hostRefs[strings.ToUpper(identifier)] == nil {
		return s.fail("No Host present for the host identifier given!")
	}
	header := []string{"id", "action", "command", "created_at", "updated_at", "script_name", "target", "Executed", "hosts"}
	var rows [][]string
	for _, a := range slices.Backward(s.actions) {
		var hosts []string
		mine := identifier == ""
		for _, cmd := range a.commands {
			hosts = append(hosts, cmd.host.name)
			mine = mine || strings.EqualFold(cmd.host.identifier, identifier)
		}
		if a.removed || !mine {
			continue
		}
		rows = append(rows, []string{
			strconv.FormatInt(a.id, 10), a.verb, cell(fromJSONB(encodeJSON(a.body))), pySpace(a.created), pySpace(a.updated()),
			cell(a.script), a.target, fmt.Sprintf("%d/%d", a.done(), len(a.commands)), strings.Join(hosts, ","),
		})
	}
	if len(rows) == 0 {
		return s.fail("No response actions are found!")
	}
	return csvFile("response_actions.csv", header, rows)
}

// API: DELETE /response/{openc2_id}/delete. Completed actions only.
func (s *Server) responseDelete(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, _ := strconv.ParseInt(c.path["id"], 10, 64) // out of range finds nothing
	a := s.action(id)
	switch {
	case a == nil:
		return s.fail(noAction)
	case a.done() < len(a.commands):
		return s.fail("Response action is still in progress!")
	}
	a.removed = true
	return s.ok("Successfully removed the response", nil)
}

// API: DELETE /response/delete. What is unknown or still in progress is left out, of
// which nobody is told; the guide says of the single call only that it has to be
// completed.
func (s *Server) responseDeleteMany(c *call) answer {
	c.need("openc2_ids", "openc2_ids")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	removed := 0
	for _, text := range c.list("openc2_ids") {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return s.crash()
		}
		if a := s.action(id); a != nil && a.done() == len(a.commands) {
			a.removed = true
			removed++
		}
	}
	if removed == 0 {
		return s.fail(noAction)
	}
	return s.ok("Successfully removed the action", nil)
}

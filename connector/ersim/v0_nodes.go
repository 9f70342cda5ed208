package ersim

import (
	"slices"
	"strings"
	"time"
)

// v0NodeTable lists the calls around nodes, as v0 calls hosts.
func (s *Server) v0NodeTable() []route {
	return []route{
		{"v0-nodes", "GET", "/nodes/", needToken, s.v0Nodes, nil},
		{"v0-nodes-get", "GET", "/nodes/{node}", needToken, s.v0NodesGet, nil},
		{"v0-nodes-tag-edit", "POST", "/nodes/tag/edit", needToken, s.v0NodeTagEdit, nil},
		{"v0-nodes-tags-get", "GET", "/nodes/{node}/tags", needToken, s.v0NodeTags, nil},
		{"v0-nodes-tags-add", "POST", "/nodes/{node}/tags", needToken, s.v0NodeTagsAdd, nil},
	}
}

const (
	v0NoNode    = "Node with this identifier does not exist"
	v0BadNode   = "Invalid host identifier. This node does not exist"
	v0TagsSaved = "Successfully modified the tag(s)"
	v0TagsGot   = "Successfully fetched the tag(s)"
)

// node finds a host by its identifier, which is all that v0 takes.
func (s *Server) node(identifier string) *host { return s.hostRefs[strings.ToUpper(identifier)] }

// v0Time is how nodes, carves and configs tell a time: ISO in release 2.1.2, and
// without a fraction in the older documents.
func (s *Server) v0Time(t time.Time) string {
	if s.older() {
		return t.Format(time.DateTime)
	}
	return pyISO(t)
}

// nodeRow is a node as a list has it. The older documents show the node's key.
func (s *Server) nodeRow(h *host) obj {
	row := obj{
		"id": h.id, "host_identifier": h.identifier, "os_info": h.osInfo(), "node_info": h.nodeInfo(), "arch": nil,
		"network_info": h.networkInfo(), "last_checkin": s.v0Time(h.lastSeen(s.now())), "enrolled_on": s.v0Time(h.enrolled),
		"tags": textList(h.tags),
	}
	if s.older() {
		delete(row, "arch")
		row["node_key"], row["network_info"] = h.nodeKey, obj{"mac_address": h.mac}
	}
	return row
}

// API: GET /nodes/. There is no paging; both arguments are in the source only.
func (s *Server) v0Nodes(c *call) answer {
	platform, online := c.text("platform"), c.flag("state", "state of the node whether active or in-active")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := []obj{}
	for _, h := range slices.Backward(s.hosts) {
		if h.state == hostActive && (platform == "" || platform == h.role.platform) && (online == nil || *online == h.online) {
			rows = append(rows, s.nodeRow(h))
		}
	}
	if len(rows) == 0 {
		return s.v0OK(v0Nothing, rows)
	}
	return s.v0OK("nodes data fetched successfully", rows)
}

// API: GET /nodes/{host_identifier}. The source adds what the server knows about
// the system, table by table.
func (s *Server) v0NodesGet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.node(c.path["node"])
	if h == nil {
		return s.fail(v0NoNode)
	}
	row := s.nodeRow(h)
	if !s.older() {
		row["system_data"] = []obj{
			{"name": "os_version", "data": osRows(s, h), "updated_at": pyISO(h.lastSeen(s.now()))},
			{"name": "system_info", "data": systemRows(s, h), "updated_at": pyISO(h.lastSeen(s.now()))},
		}
	}
	return s.v0OK("Successfully fetched the node info", s.v0Row(row))
}

// API: POST /nodes/tag/edit.
func (s *Server) v0NodeTagEdit(c *call) answer {
	c.need("host_identifier", "host identifier of the node")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	add, remove, refusal := s.editTags(c)
	if refusal != nil {
		return *refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.node(c.text("host_identifier"))
	if h == nil {
		return s.fail(v0BadNode)
	}
	h.tags = retag(h.tags, add, remove)
	return s.v0OK(v0TagsSaved, nil)
}

// API: GET /nodes/{host_identifier}/tags.
func (s *Server) v0NodeTags(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.node(c.path["node"])
	if h == nil {
		return s.fail(v0BadNode)
	}
	return s.v0OK(v0TagsGot, textList(h.tags))
}

// API: POST /nodes/{host_identifier}/tags.
func (s *Server) v0NodeTagsAdd(c *call) answer {
	c.need("tags", "list of comma separated tags to create to the node")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.node(c.path["node"])
	if h == nil {
		return s.fail(v0BadNode)
	}
	h.tags = retag(h.tags, s.words(c, "tags"), nil)
	return s.v0OK("Successfully created the tag(s) to node", nil)
}

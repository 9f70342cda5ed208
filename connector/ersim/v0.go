package ersim

import (
	"net/http"
	"slices"
	"strings"
)

// v0Table lists the calls of API v0. Releases 2.1.2 and 3.5 still serve most of
// them, and release 4.0 none. Its collections end in a slash.
//
// Sources: the guide of API v0 and the vendor's older documents, the public source
// of release 2.1.2, and what that release was observed to answer. Where the two
// differ the profile 2.1.2 follows the source.
func (s *Server) v0Table() []route {
	const open = routeKind(0)
	return []route{
		{"v0-login", "POST", "/login", open, s.login, nil},
		{"v0-logout", "POST", "/logout", open, s.logout, nil},

		{"v0-nodes", "GET", "/nodes/", needToken, s.v0Nodes, nil},
		{"v0-nodes-get", "GET", "/nodes/{node}", needToken, s.v0NodesGet, nil},
	}
}

// redirect is the framework's answer where a slash is all that a path lacks. Code
// 308 keeps method and body; that is what Werkzeug 0.15 of release 2.1.2 sends.
func redirect(path string) answer {
	return answer{
		status: http.StatusPermanentRedirect, contentType: typeHTML,
		stream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != "" {
				path += "?" + r.URL.RawQuery
			}
			w.Header().Set("Content-Type", typeHTML)
			http.Redirect(w, r, "https://"+r.Host+path, http.StatusPermanentRedirect)
		}),
	}
}

// v0Node finds a node by its host identifier, which is all that v0 takes.
func (s *Server) v0Node(identifier string) *host { return s.hostRefs[strings.ToUpper(identifier)] }

// v0NodeRow is a node as a list has it.
func (s *Server) v0NodeRow(h *host) obj {
	return obj{
		"id": h.id, "host_identifier": h.identifier, "os_info": h.osInfo(), "node_info": h.nodeInfo(), "arch": nil,
		"network_info": h.networkInfo(), "last_checkin": pyISO(h.lastSeen(s.now())), "enrolled_on": pyISO(h.enrolled),
		"tags": textList(h.tags),
	}
}

// API: GET /nodes/. There is no paging; both arguments are in the source only.
func (s *Server) v0Nodes(c *call) answer {
	platform, online := c.text("platform"), c.truthy("state")
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := []obj{}
	for _, h := range s.hosts {
		if (platform == "" || platform == h.role.platform || platform == h.family()) && (online == nil || *online == h.online) {
			rows = append(rows, s.v0NodeRow(h))
		}
	}
	slices.Reverse(rows)
	if len(rows) == 0 {
		return s.ok(v0Nothing, rows)
	}
	return s.ok("nodes data fetched successfully", rows)
}

const (
	v0Nothing = "There are no data to be shown and it is empty"
	v0NoNode  = "Node with this identifier does not exist"
)

// API: GET /nodes/{host_identifier}.
func (s *Server) v0NodesGet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.v0Node(c.path["node"])
	if h == nil {
		return s.fail(v0NoNode)
	}
	return s.ok("Successfully fetched the node info", s.v0NodeRow(h))
}

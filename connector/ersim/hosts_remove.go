package ersim

import (
	"slices"
	"strconv"
	"strings"
)

// The states of a host, as release 4.0 numbers them.
const (
	hostActive  = 0
	hostRemoved = 1 // archived: it can be brought back
	hostDeleted = 2 // for good
)

// hides reports whether the alerts of a host are out of sight: of a deleted one in
// every release, of a removed one in release 2.1.2.
func (s *Server) hides(h *host) bool {
	return h.state == hostDeleted || h.state == hostRemoved && !s.profile.v4
}

// setState removes a host, deletes it or brings it back, and takes its alerts out of
// the lists and counts or puts them back there. Server.mu is held.
func (s *Server) setState(h *host, state int) {
	was := s.hides(h)
	h.state = state
	switch is := s.hides(h); {
	case is && !was:
		s.hideAlerts(h)
	case was && !is:
		s.showAlerts(h)
	}
	if state == hostDeleted {
		s.hosts = slices.DeleteFunc(s.hosts, func(other *host) bool { return other == h })
		delete(s.hostRefs, strings.ToUpper(h.identifier))
	}
}

func (s *Server) hideAlerts(h *host) {
	ofHost := func(a *alert) bool { return a.host == h }
	s.alerts = slices.DeleteFunc(s.alerts, ofHost)
	s.created = slices.DeleteFunc(s.created, ofHost)
	for _, a := range h.alerts {
		s.hostUpkeep.hidden[a.id] = a
		if !a.resolved() {
			s.countShown(a, -1)
		}
	}
	h.alerts, h.hidden = nil, h.alerts
}

func (s *Server) showAlerts(h *host) {
	for _, a := range h.hidden {
		delete(s.hostUpkeep.hidden, a.id)
		s.alerts = insert(s.alerts, a, byID)
		s.created = insert(s.created, a, byCreation)
		if !a.resolved() {
			s.countShown(a, 1)
		}
	}
	h.alerts, h.hidden = h.hidden, nil
}

const noNode = "Node is not present with this node id or host identifier"

// changeOne changes the host of the path if it is in one of the states.
func (s *Server) changeOne(c *call, state int, done string, from ...int) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.pathHost(c)
	if h == nil || !slices.Contains(from, h.state) {
		return s.fail(noNode)
	}
	s.setState(h, state)
	return s.envelope("Success", done, nil)
}

// API: PUT /hosts/{x}/delete. A removed host may be removed again.
func (s *Server) hostRemove(c *call) answer {
	return s.changeOne(c, hostRemoved, "Successfully removed the host", hostActive, hostRemoved)
}

// API: DELETE /hosts/{x}/delete.
func (s *Server) hostDelete(c *call) answer {
	return s.changeOne(c, hostDeleted, "Successfully deleted the host", hostActive, hostRemoved)
}

// API: PUT /hosts/{x}/enable.
func (s *Server) hostEnable(c *call) answer {
	return s.changeOne(c, hostActive, "Successfully enabled the host", hostRemoved)
}

// changeMany changes those of the named hosts that are in a state. With both lists a
// host must be in both; the others are passed over in silence.
func (s *Server) changeMany(c *call, from, state int, done string) answer {
	identifiers, numbers := splitList(c.text("host_identifiers")), splitList(c.text("node_ids"))
	if len(identifiers)+len(numbers) == 0 {
		return s.fail("At least one of host identifier or node id is required!")
	}
	for _, text := range numbers {
		if _, err := strconv.ParseInt(text, 10, 32); err != nil {
			return s.crash() // the database compares with integers
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*host
	for _, h := range s.hosts {
		if h.state == from && (len(identifiers) == 0 || slices.Contains(identifiers, h.identifier)) &&
			(len(numbers) == 0 || slices.Contains(numbers, strconv.FormatInt(h.id, 10))) {
			found = append(found, h)
		}
	}
	if len(found) == 0 {
		return s.fail("Host identifier(s) or node id(s) provided is/are not valid for this activity!")
	}
	for _, h := range found {
		s.setState(h, state)
	}
	return s.envelope("Success", done, nil)
}

// splitList is a comma list as Python splits it: blanks stay. Empty text is no list.
func splitList(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// API: PUT /hosts/delete.
func (s *Server) hostsRemove(c *call) answer {
	return s.changeMany(c, hostActive, hostRemoved, "Successfully removed the host")
}

// API: DELETE /hosts/delete. Only removed hosts can go this way.
func (s *Server) hostsDelete(c *call) answer {
	return s.changeMany(c, hostRemoved, hostDeleted, "Successfully deleted the host")
}

// API: POST /hosts/enable.
func (s *Server) hostsEnable(c *call) answer {
	return s.changeMany(c, hostRemoved, hostActive, "Successfully enabled the host")
}

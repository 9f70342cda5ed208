package ersim

import (
	"maps"
	"slices"
	"strings"
)

// Rename gives a host another name, as its administrator may. It reports whether there
// is such a host.
func (s *Server) Rename(hostRef, name string) bool {
	return s.change(hostRef, func(h *host) { h.name = name })
}

// Enrol deletes a host and enrols its machine anew, as an agent does whose host was
// deleted: it gets another id and, unless identifier is empty, another identifier. Its
// alerts stay with what it was before. The new id is 0 when there is no such host.
func (s *Server) Enrol(hostRef, identifier string) (id int64) {
	s.change(hostRef, func(old *host) {
		s.enrolled++
		again := *old
		again.id = int64(s.opts.Hosts) + s.enrolled
		again.identifier = defaultText(identifier, old.identifier)
		again.nodeKey = s.uuid("node-key", again.id)
		again.enrolled = s.now()
		again.alerts, again.hidden, again.open, again.unended, again.waiting = nil, nil, map[int64]*alert{}, 0, nil
		again.tags, again.files = slices.Clone(old.tags), maps.Clone(old.files)
		again.processes, again.firewall, again.quarantine = slices.Clone(old.processes), slices.Clone(old.firewall), slices.Clone(old.quarantine)
		s.setState(old, hostDeleted)
		s.hosts = append(s.hosts, &again)
		s.hostRefs[strings.ToUpper(again.identifier)] = &again
		id = again.id
	})
	return id
}

// StartProcess starts a process on a host; one that has the pid is over then, as when a
// system gives a pid away again. It reports whether there is such a host.
func (s *Server) StartProcess(hostRef string, p Process) bool {
	if p.StartTime.IsZero() {
		p.StartTime = s.now()
	}
	if p.Name == "" {
		p.Name = baseName(p.Path)
	}
	return s.change(hostRef, func(h *host) { h.start(&p) })
}

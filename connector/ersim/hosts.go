package ersim

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HostState is a simulated endpoint as it is now.
type HostState struct {
	ID              int64          `json:"id"`
	Identifier      string         `json:"identifier"`
	Name            string         `json:"name"`
	Platform        string         `json:"platform"` // windows, ubuntu or darwin
	IP              string         `json:"ip"`
	Tags            []string       `json:"tags"`
	State           int            `json:"state"` // 0 active, 1 removed; deleted hosts are not in the fleet
	Online          bool           `json:"online"`
	ResponseEnabled bool           `json:"response_enabled"`
	Contained       bool           `json:"contained"` // has a firewall rule from a contain action
	Processes       []Process      `json:"processes"`
	Files           []string       `json:"files"`
	Firewall        []FirewallRule `json:"firewall"`
	Quarantine      []Threat       `json:"quarantine"`
	Waiting         int            `json:"waiting"` // commands that wait for the host to come online
}

// Hosts is the fleet by id.
func (s *Server) Hosts() []HostState {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := make([]HostState, 0, len(s.hosts))
	for _, h := range s.hosts {
		state := HostState{
			ID: h.id, Identifier: h.identifier, Name: h.name, Platform: h.role.platform, IP: h.ip,
			Tags: slices.Clone(h.tags), State: h.state, Online: h.online, ResponseEnabled: h.response, Contained: len(h.firewall) > 0,
			Firewall: slices.Clone(h.firewall), Quarantine: slices.Clone(h.quarantine), Waiting: len(h.waiting),
		}
		for _, p := range h.processes {
			state.Processes = append(state.Processes, *p)
		}
		for _, f := range h.files {
			state.Files = append(state.Files, f.path)
		}
		slices.Sort(state.Files)
		states = append(states, state)
	}
	return states
}

// SetOnline takes a host off the network or brings it back; then its agent takes
// the commands that waited. It reports whether there is such a host.
func (s *Server) SetOnline(hostRef string, online bool) bool {
	return s.change(hostRef, func(h *host) { s.setOnline(h, online) })
}

// SetResponseEnabled switches whether the host's agent takes response actions. It
// reports whether there is such a host.
func (s *Server) SetResponseEnabled(hostRef string, enabled bool) bool {
	return s.change(hostRef, func(h *host) { h.response = enabled })
}

// SetTags replaces the tags of a host. It reports whether there is such a host.
func (s *Server) SetTags(hostRef string, tags ...string) bool {
	return s.change(hostRef, func(h *host) {
		h.tags = slices.Clone(tags)
		s.makeTags(tags...)
	})
}

func (s *Server) change(hostRef string, do func(*host)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.host(hostRef)
	if h == nil {
		return false
	}
	do(h)
	return true
}

func (s *Server) setOnline(h *host, online bool) {
	if h.online == online {
		return
	}
	h.online, h.seen = online, s.now()
	if !online {
		return
	}
	waiting := h.waiting
	h.waiting = nil
	for _, do := range waiting {
		s.after(0, do)
	}
}

// whenOnline does it now, or when the host comes back.
func (s *Server) whenOnline(h *host, do func()) {
	if h.online {
		do()
		return
	}
	h.waiting = append(h.waiting, func() { s.whenOnline(h, do) })
}

// host finds a host as whoever drives the simulator names it: by id, identifier,
// node key or name. It returns nil when there is none.
func (s *Server) host(ref string) *host {
	if id, err := strconv.ParseInt(ref, 10, 64); err == nil {
		return s.numbered(id)
	}
	if h := s.identified(ref); h != nil || ref == "" {
		return h
	}
	for _, h := range s.hosts {
		if h.name == ref {
			return h
		}
	}
	return nil
}

// pathHost finds the host of a path such as /hosts/{ref}, which has no names.
func (s *Server) pathHost(c *call) *host {
	ref := c.path["ref"]
	if id, err := strconv.ParseInt(ref, 10, 64); err == nil {
		return s.numbered(id)
	}
	return s.identified(ref)
}

// identified finds a host by identifier or node key. Deleted hosts are never found.
func (s *Server) identified(ref string) *host {
	if h := s.hostRefs[strings.ToUpper(ref)]; h != nil {
		return h
	}
	for _, h := range s.hosts {
		if h.nodeKey == ref {
			return h
		}
	}
	return nil
}

// numbered finds a host by id.
func (s *Server) numbered(id int64) *host {
	at, found := slices.BinarySearchFunc(s.hosts, id, func(h *host, id int64) int { return cmp.Compare(h.id, id) })
	if !found {
		return nil
	}
	return s.hosts[at]
}

func (h *host) lastSeen(now time.Time) time.Time {
	if h.online {
		return now
	}
	return h.seen
}

func (h *host) osInfo() obj {
	part := strings.Split(h.role.version+"..", ".")
	return obj{
		"name": h.role.os, "version": h.role.version, "platform": h.role.platform, "platform_like": h.role.platform,
		"major": part[0], "minor": part[1], "build": part[2], "codename": h.role.os, "arch": "64-bit",
		"install_date": strconv.FormatInt(h.enrolled.Unix(), 10),
	}
}

func (h *host) networkInfo() []obj {
	return []obj{{
		"mac": h.mac, "mask": "255.255.0.0", "address": h.ip, "enabled": "1", "description": "Virtual Network Device #0",
		"manufacturer": "Example Inc.", "connection_id": "Ethernet", "connection_status": "2",
	}}
}

func (h *host) details() obj {
	return obj{
		"osquery_version": "4.7.0", "extension_version": "3.5.0",
		"osquery_info": obj{"version": "4.7.0", "build_platform": h.role.platform, "uuid": h.identifier},
	}
}

func (h *host) nodeInfo() obj {
	return obj{
		"computer_name": h.name, "hardware_model": "HVM domU", "hardware_serial": "ec2-" + h.nodeKey[:4],
		"hardware_vendor": "Xen", "physical_memory": "8589934592", "cpu_physical_cores": "2",
	}
}

// hostFilter is what the list of hosts and its export select.
type hostFilter struct {
	online, enabled *bool
	platform        string
	search          string // in lower case
	column, order   string
	counts          bool
	start, limit    int64 // a negative limit means all
}

// readHostFilter reads the arguments. Removed hosts are left out in release 2.1.2
// unless it is told otherwise, and null tells it otherwise.
func (s *Server) readHostFilter(c *call) (f hostFilter, refusal *answer) {
	f = hostFilter{
		online: c.truthy("status"), enabled: c.flag("enabled", "enabled(true/false)"),
		platform: c.choice("platform", "platform(windows/linux/darwin)", "windows", "linux", "darwin"),
		search:   strings.ToLower(c.text("searchterm")),
		start:    c.number("start", "start", 0), limit: c.number("limit", "limit", -1),
	}
	counts := c.flag("alerts_count", "alerts_count(true/false)")
	f.counts = counts == nil || *counts
	if s.profile.v4 {
		f.column = c.choice("column", "column to order", "host", "state", "health", "os", "last_ip")
		f.order = strings.ToLower(c.choice("order_by", "orderby(asc/desc)", "ASC", "asc", "Asc", "DESC", "desc", "Desc"))
	} else if f.enabled == nil {
		f.enabled = new(!c.null("enabled"))
	}
	if bad := s.invalid(c.args); bad != nil {
		return f, bad
	}
	if f.start < 0 || c.present("limit") && f.limit < 0 {
		return f, refuse(s.crash())
	}
	return f, nil
}

// selectHosts returns the hosts in order, and how many there are without the search
// text.
func (s *Server) selectHosts(f hostFilter) (found []*host, total int) {
	for _, h := range s.hosts {
		switch {
		case f.enabled != nil && *f.enabled != (h.state == hostActive),
			f.online != nil && *f.online != h.online,
			f.online != nil && !*f.online && h.state != hostActive && s.profile.v4,
			f.platform != "" && f.platform != h.family():
			continue
		}
		total++
		if f.search == "" || s.matchesHost(h, f.search) {
			found = append(found, h)
		}
	}
	slices.SortStableFunc(found, func(a, b *host) int { return s.compareHosts(a, b, f) })
	return found, total
}

// API: POST /hosts. Without limit the whole table comes back, online hosts first.
func (s *Server) hostsList(c *call) answer {
	f, refusal := s.readHostFilter(c)
	if refusal != nil {
		return *refusal
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found, total := s.selectHosts(f)
	results := []obj{}
	for _, h := range page(found, f.start, f.limit) {
		results = append(results, s.hostRow(h, f.counts))
	}
	count := len(found)
	if len(results) == 0 {
		count = 0 // observed on release 2.1.2
	}
	return s.ok("Successfully fetched the hosts details", obj{"results": results, "count": count, "total_count": total})
}

// family is the platform by which /hosts filters and counts.
func (h *host) family() string {
	if h.role.platform == "windows" || h.role.platform == "darwin" {
		return h.role.platform
	}
	return "linux"
}

// matchesHost looks for a text in what the list shows. Release 2.1.2 wants tags whole.
func (s *Server) matchesHost(h *host, search string) bool {
	contains := func(text string) bool { return strings.Contains(strings.ToLower(text), search) }
	return contains(h.name) || contains(h.role.os) || contains(h.ip) ||
		slices.ContainsFunc(h.tags, func(tag string) bool { return strings.ToLower(tag) == search || s.profile.v4 && contains(tag) })
}

func (s *Server) compareHosts(a, b *host, f hostFilter) int {
	onlineFirst := cmp.Compare(boolRank(b.online), boolRank(a.online))
	if f.column != "" && f.order != "" {
		by := 0
		switch f.column {
		case "host":
			by = cmp.Compare(a.name, b.name)
		case "os":
			by = cmp.Compare(a.role.os, b.role.os)
		case "last_ip":
			by = cmp.Compare(a.ip, b.ip)
		case "health":
			by = cmp.Compare(a.unended, b.unended)
		case "state":
			by = onlineFirst
		}
		if f.order == "desc" {
			by = -by
		}
		return cmp.Or(by, cmp.Compare(a.id, b.id))
	}
	by := onlineFirst
	if s.profile.v4 && f.counts {
		by = cmp.Or(by, cmp.Compare(b.unended, a.unended))
	}
	return cmp.Or(by, cmp.Compare(b.id, a.id))
}

func boolRank(v bool) int {
	if v {
		return 1
	}
	return 0
}

// page is the part of a list from start; a negative limit means all.
func page[T any](all []T, start, limit int64) []T {
	if start >= int64(len(all)) {
		return nil
	}
	all = all[start:]
	if limit >= 0 && limit < int64(len(all)) {
		all = all[:limit]
	}
	return all
}

// hostRow is a row of the list. Without the count of alerts release 4.0 leaves out
// more than that.
func (s *Server) hostRow(h *host, counts bool) obj {
	row := obj{
		"id": h.id, "display_name": h.name, "host_identifier": h.identifier, "is_active": h.online, "os_info": h.osInfo(),
	}
	if counts || !s.profile.v4 {
		row["tags"], row["last_ip"] = textList(h.tags), h.ip
	}
	if counts {
		row["alerts_count"] = h.unended
	}
	if s.profile.v4 {
		seen := pySpace(h.lastSeen(s.now()))
		row["state"], row["host_details"], row["enrolled_on"] = h.state, h.details(), pySpace(h.enrolled)
		for _, key := range []string{"last_checkin", "last_status", "last_result", "last_config"} {
			row[key] = seen
		}
		row["last_query_read"], row["last_query_write"] = nullTime(h.queryRead, pySpace), nullTime(h.queryWrite, pySpace)
	}
	return row
}

// textList is never null in JSON.
func textList(texts []string) []string {
	return append([]string{}, texts...)
}

// API: GET /hosts/count.
func (s *Server) hostsCount(*call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]map[string]int{}
	for _, family := range []string{"windows", "linux", "darwin"} {
		counts[family] = map[string]int{"online": 0, "offline": 0}
		if s.profile.v4 {
			counts[family]["removed"] = 0
		}
	}
	for _, h := range s.hosts {
		switch {
		case h.state == hostActive && h.online:
			counts[h.family()]["online"]++
		case h.state == hostActive:
			counts[h.family()]["offline"]++
		case s.profile.v4:
			counts[h.family()]["removed"]++
		}
	}
	return s.ok("Successfully fetched the nodes status count", counts)
}

// API: GET /hosts/{node_id or host_identifier}.
func (s *Server) hostsGet(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.pathHost(c)
	if h == nil {
		return s.fail("There is no host exists with this host identifier or node id given!")
	}
	form := pyISO
	if s.profile.v4 {
		form = pySpace
	}
	seen := form(h.lastSeen(s.now()))
	data := obj{
		"id": h.id, "host_identifier": h.identifier, "node_key": h.nodeKey, "last_ip": h.ip,
		"os_info": h.osInfo(), "network_info": h.networkInfo(), "host_details": h.details(),
		"node_info":    h.nodeInfo(),
		"last_checkin": seen, "enrolled_on": form(h.enrolled), "last_status": seen, "last_result": seen,
		"last_config": nil, "last_query_read": nullTime(h.queryRead, form), "last_query_write": nullTime(h.queryWrite, form),
	}
	if s.profile.v4 {
		data["platform"] = h.role.platform
		data["last_config"] = form(h.enrolled)
	}
	return s.ok("Node details are fetched successfully", data)
}

const badHost = "Host id or node id passed it not correct"

// API: GET /hosts/{x}/tags.
func (s *Server) hostTags(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.pathHost(c)
	if h == nil {
		return s.fail(badHost)
	}
	return s.ok("Successfully fetched the tags of host", textList(h.tags))
}

// API: POST /hosts/{x}/tags. A tag that is there already is success too.
func (s *Server) hostTagAdd(c *call) answer {
	c.need("tag", "tag to add/remove for the node")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, tag := s.pathHost(c), strings.TrimSpace(c.text("tag"))
	if h == nil {
		return s.fail(badHost)
	}
	if wrong := s.wrongTag(tag); wrong != "" {
		return s.fail(wrong)
	}
	s.makeTags(tag)
	addTag(&h.tags, tag)
	return s.ok("Successfully created tags to host", nil)
}

// API: DELETE /hosts/{x}/tags.
func (s *Server) hostTagRemove(c *call) answer {
	c.need("tag", "tag to add/remove for the node")
	if bad := s.invalid(c.args); bad != nil {
		return *bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h, tag := s.pathHost(c), strings.TrimSpace(c.text("tag"))
	if h == nil {
		return s.fail(badHost)
	}
	if s.noticeTags(); !s.hasTag(tag) {
		return s.fail("Tag provided does not exists")
	}
	at := slices.Index(h.tags, tag)
	if at < 0 {
		return s.fail("Tag provided is not in host's tag list, Please check tag once again")
	}
	h.tags = slices.Delete(h.tags, at, at+1)
	return s.ok("Successfully removed tags from host", nil)
}

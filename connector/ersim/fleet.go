package ersim

import (
	"fmt"
	"strings"
	"time"
)

const maxHosts = 100_000

// role is a kind of machine in the fleet.
type role struct {
	prefix   string // of the host name
	platform string // windows, ubuntu or darwin, as the server names them
	os       string
	version  string
	tags     []string
	user     string
}

// The first hosts of any fleet, in this order, and then again from the start: two
// thirds Windows, as in most offices.
var fleet = []role{
	{"WIN-FIN", "windows", "Microsoft Windows 11 Enterprise", "10.0.22631", []string{"workstation", "finance"}, "ACME\\jane.doe"},
	{"WIN-HR", "windows", "Microsoft Windows 11 Enterprise", "10.0.22631", []string{"workstation", "hr"}, "ACME\\bob.miller"},
	{"WEB", "ubuntu", "Ubuntu", "22.04.4 LTS (Jammy Jellyfish)", []string{"server", "web"}, "www-data"},
	{"WIN-DC", "windows", "Microsoft Windows Server 2019 Datacenter", "10.0.17763", []string{"server", "domain-controller"}, "ACME\\svc-ad"},
	{"MAC-DESIGN", "darwin", "macOS", "14.5", []string{"workstation", "design"}, "carol"},
	{"WIN-DEV", "windows", "Microsoft Windows 10 Pro", "10.0.19045", []string{"workstation", "engineering"}, "ACME\\dev.eve"},
	{"WIN-FILE", "windows", "Microsoft Windows Server 2019 Datacenter", "10.0.17763", []string{"server", "file-server"}, "ACME\\svc-file"},
	{"DB", "ubuntu", "Ubuntu", "22.04.4 LTS (Jammy Jellyfish)", []string{"server", "database"}, "postgres"},
	{"WIN-SALES", "windows", "Microsoft Windows 11 Enterprise", "10.0.22631", []string{"workstation", "sales"}, "ACME\\dan.brown"},
}

// buildFleet makes the hosts, all online and with response enabled.
func (s *Server) buildFleet() {
	now := s.now()
	for i := range s.opts.Hosts {
		kind := fleet[i%len(fleet)]
		id := int64(i + 1)
		r := s.random("host", id)
		h := &host{
			id:         id,
			identifier: "EC2" + strings.ToUpper(s.uuid("host-identifier", id))[3:],
			nodeKey:    s.uuid("node-key", id),
			name:       fmt.Sprintf("%s-%02d", kind.prefix, i/len(fleet)+1),
			role:       kind,
			ip:         fmt.Sprintf("10.%d.%d.%d", 10+i/62500, i/250%250, i%250+5),
			mac:        fmt.Sprintf("02:09:%02x:%02x:%02x:%02x", r.IntN(256), i>>16&255, i>>8&255, i&255),
			tags:       append([]string(nil), kind.tags...),
			online:     true,
			response:   true,
			enrolled:   now.Add(-time.Duration(30+r.IntN(300)) * 24 * time.Hour).Truncate(time.Microsecond),
			seen:       now,
			files:      map[string]*file{},
			open:       map[int64]*alert{},
		}
		h.bootAt = now.Add(-time.Duration(1+r.IntN(72)) * time.Hour).Truncate(time.Second)
		h.agentAt = h.bootAt.Add(time.Minute)
		h.furnish(r)
		s.hosts = append(s.hosts, h)
		s.hostRefs[strings.ToUpper(h.identifier)] = h
	}
}

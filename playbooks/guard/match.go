package guard

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/erbridge/erbridge/internal/jq"
)

// Match says which hosts a rule is about. Of several settings all must hold, and of
// the values of one setting any. What the server does not know of a host counts as
// holding: a rule that protects hosts rather protects one too many.
type Match struct {
	// IDs are host identifiers.
	IDs []string `yaml:"ids"`

	// Tags are tags of the host, in any case of letters; * stands for any characters, ? for
	// one. They are set on the server, so a host cannot give itself one, and playbooks take
	// none away that a rule names.
	Tags []string `yaml:"tags"`

	// Names are names of hosts, in any case of letters, as dc*: * stands for any characters,
	// ? for one. Both the whole name is looked at, and what stands before its first dot. A
	// host chooses its name; a tag is safer.
	Names []string `yaml:"names"`

	// Platforms are windows, darwin or linux, which stands for all distributions, or one
	// distribution, such as ubuntu.
	Platforms []string `yaml:"platforms"`

	// OS are names of operating systems, in any case of letters, as *Server 2019*.
	OS []string `yaml:"os"`

	// Roles are what the host is for, as far as the server tells: domain-controller is any
	// Windows Server, since nothing tells them apart, and any host tagged dc or
	// domain-controller; server is a Windows Server, any Linux, and a host tagged server;
	// workstation is any other Windows, macOS, and any Linux.
	Roles []string `yaml:"roles" enum:"server,workstation,domain-controller"`

	// Networks are networks of the host's last address, as CIDR: 10.1.0.0/16.
	Networks []string `yaml:"networks"`

	// JQ is a condition over the host record, as erbridge playbook explain shows it:
	// .os_version | startswith("10.0"). When it fails, it counts as holding.
	JQ string `yaml:"jq"`
}

// holds is what a criterion says of a host.
type holds int

const (
	no    holds = iota
	maybe       // nobody can tell: it counts as yes
	yes
)

// criterion is one setting of a Match.
type criterion func(h *Host) (is holds, words string)

// matcher is a Match that was read.
type matcher []criterion

// of says whether a host is meant, and why: "its name fits dc*, its tags hold crown-jewel".
func (m matcher) of(h *Host) (is holds, words string) {
	is = yes
	var reasons []string
	for _, c := range m {
		one, why := c(h)
		if one == no {
			return no, ""
		}
		is, reasons = min(is, one), append(reasons, why)
	}
	return is, strings.Join(reasons, ", ")
}

// read makes a matcher. Mistakes are told with their place below at.
func (m *Match) read(at []string, wrong *mistakes) matcher {
	place := func(name string, i int) []string { return append(slices.Clone(at), name, fmt.Sprint(i)) }
	var all matcher
	texts := func(name string, patterns []string, what string, of func(h *Host) []string, known func(h *Host) bool) {
		if len(patterns) == 0 {
			return
		}
		for i, p := range patterns {
			if strings.TrimSpace(p) == "" {
				wrong.addf(place(name, i), "", "an empty pattern fits nothing")
			}
		}
		all = append(all, func(h *Host) (holds, string) {
			for _, p := range patterns {
				if i := slices.IndexFunc(of(h), func(text string) bool { return fits(p, text) }); i >= 0 {
					return yes, fmt.Sprintf("its %s %q fits %q", what, of(h)[i], p)
				}
			}
			if !known(h) {
				return maybe, "its " + what + " is not known"
			}
			return no, ""
		})
	}
	texts("ids", m.IDs, "identifier", func(h *Host) []string { return []string{h.ID} }, func(*Host) bool { return true })
	texts("tags", m.Tags, "tag", func(h *Host) []string { return h.Tags }, func(*Host) bool { return true })
	texts("names", m.Names, "name", names, func(h *Host) bool { return h.Name != "" })
	texts("platforms", m.Platforms, "platform", platforms, func(h *Host) bool { return h.Platform != "" })
	texts("os", m.OS, "operating system", func(h *Host) []string { return []string{h.OS} }, func(h *Host) bool { return h.OS != "" })
	if c := m.roles(place, wrong); c != nil {
		all = append(all, c)
	}
	if c := m.networks(place, wrong); c != nil {
		all = append(all, c)
	}
	if m.JQ != "" {
		program, err := jq.Compile(m.JQ)
		if err != nil {
			wrong.addf(append(slices.Clone(at), "jq"), "a condition over the host record, such as .os_version | startswith(\"10.0\")", "%v", err)
		} else {
			all = append(all, condition(program))
		}
	}
	if len(all) == 0 && m.JQ == "" {
		wrong.addf(at, "name at least one of ids, tags, names, platforms, os, roles, networks and jq", "it says of no host that it is meant")
	}
	return all
}

func (m *Match) networks(place func(string, int) []string, wrong *mistakes) criterion {
	var nets []netip.Prefix
	for i, text := range m.Networks {
		n, err := netip.ParsePrefix(text)
		if err != nil {
			if a, addrErr := netip.ParseAddr(text); addrErr == nil {
				n, err = a.Prefix(a.BitLen())
			}
		}
		if err != nil {
			wrong.addf(place("networks", i), "such as 10.1.0.0/16, or one address", "%q is no network", text)
			continue
		}
		nets = append(nets, netip.PrefixFrom(n.Addr().Unmap(), unmapped(n)))
	}
	if len(m.Networks) == 0 {
		return nil
	}
	return func(h *Host) (holds, string) {
		addrs, unread := addresses(h)
		for _, a := range addrs {
			for _, n := range nets {
				if n.Contains(a) {
					return yes, fmt.Sprintf("its address %s is in %s", a, n)
				}
			}
		}
		if len(addrs) == 0 || unread {
			return maybe, "its address is not known"
		}
		return no, ""
	}
}

// unmapped is the length of a prefix when its address is that of IPv4 in IPv6 form.
func unmapped(n netip.Prefix) int {
	if n.Addr().Is4In6() && n.Bits() >= 96 {
		return n.Bits() - 96
	}
	return n.Bits()
}

// addresses are those of a host, and whether there is one that cannot be read.
func addresses(h *Host) (list []netip.Addr, unread bool) {
	for _, text := range h.Addresses {
		a, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			unread = true
			continue
		}
		list = append(list, a.Unmap().WithZone(""))
	}
	return list, unread
}

// condition asks jq. It is bounded in time and memory by itself, so that it needs no
// context of a caller.
func condition(program *jq.Program) criterion {
	return func(h *Host) (holds, string) {
		is, err := program.True(context.Background(), h.Facts)
		switch {
		case err != nil:
			return maybe, fmt.Sprintf("its jq cannot be evaluated on the host record: %v", err)
		case is:
			return yes, "its jq holds"
		}
		return no, ""
	}
}

// The roles that a rule may name.
const (
	roleServer      = "server"
	roleWorkstation = "workstation"
	roleDC          = "domain-controller"
)

func (m *Match) roles(place func(string, int) []string, wrong *mistakes) criterion {
	if len(m.Roles) == 0 {
		return nil
	}
	for i, role := range m.Roles {
		if role != roleServer && role != roleWorkstation && role != roleDC {
			wrong.addf(place("roles", i), "server, workstation or domain-controller", "%q is no role", role)
		}
	}
	return func(h *Host) (is holds, words string) {
		for _, role := range m.Roles {
			one, why := plays(h, role)
			if one > is {
				is, words = one, why
			}
		}
		return is, words
	}
}

// plays says whether a host has a role. Tags can only add one: a playbook that may tag
// hosts must not be able to take the protection of one away.
func plays(h *Host, role string) (holds, string) {
	for _, tag := range h.Tags {
		t := strings.ToLower(tag)
		if t == role || role == roleDC && t == "dc" {
			return yes, fmt.Sprintf("it has the tag %q", tag)
		}
	}
	os := strings.ToLower(h.OS + " " + h.Platform)
	windows, mac := strings.Contains(os, "windows"), strings.Contains(os, "darwin") || strings.Contains(os, "macos") || strings.Contains(os, "mac os")
	server := windows && strings.Contains(os, "server")
	switch {
	case !windows && !mac && strings.TrimSpace(os) == "":
		return maybe, "its operating system is not known"
	case role == roleDC && server:
		return maybe, fmt.Sprintf("it runs %q, and may be a domain controller", h.OS)
	case role == roleServer && server:
		return yes, fmt.Sprintf("it runs %q", h.OS)
	case role != roleDC && windows && h.OS == "":
		return maybe, "it runs some Windows"
	case role == roleDC && windows && h.OS == "":
		return maybe, "it runs some Windows, and may be a domain controller"
	case role == roleWorkstation && (mac || windows && !server):
		return yes, "it runs " + first(h.OS, h.Platform)
	case role != roleDC && !windows && !mac:
		return maybe, "it runs " + first(h.OS, h.Platform) + ", which servers and workstations run"
	}
	return no, ""
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// names are the whole name of a host and its first label.
func names(h *Host) []string {
	name := strings.TrimRight(strings.TrimSpace(h.Name), ".")
	label, _, found := strings.Cut(name, ".")
	if !found {
		return []string{name}
	}
	return []string{name, label}
}

// platforms are the platform of a host as the server writes it, and linux for each
// distribution.
func platforms(h *Host) []string {
	switch p := strings.ToLower(h.Platform); {
	case p == "":
		return nil
	case strings.Contains(p, "windows"):
		return []string{p, "windows"}
	case strings.Contains(p, "darwin"), strings.Contains(p, "mac"):
		return []string{p, "darwin"}
	case strings.Contains(p, "bsd"):
		return []string{p}
	default:
		return []string{p, "linux"}
	}
}

// fits reports whether a text is what a pattern says, in any case of letters: * stands
// for any characters, also none, and ? for one. Everything else stands for itself. It
// takes no more steps than the two lengths multiplied.
func fits(pattern, text string) bool {
	p, t := []rune(strings.ToLower(pattern)), []rune(strings.ToLower(text))
	star, mark := -1, 0 // the last * and how far it reached
	i, j := 0, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == t[j]):
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

package guard

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Own are the machines that no call may act on, whatever is configured: that of the
// Endpoint Response server, and the one erbridge itself runs on.
type Own struct{ Server, Here Machine }

// Machine is how a machine is recognised among the hosts.
type Machine struct {
	Names     []string
	Addresses []netip.Addr
	// Unresolved says why the addresses of its names are not known yet; until they are,
	// nobody can tell which host it is.
	Unresolved string
}

// is says whether a host is the machine, and why.
func (m *Machine) is(h *Host) (yes bool, why string) {
	for _, own := range m.Names {
		if sameName(own, h.Name) {
			return true, fmt.Sprintf("its name is %q", h.Name)
		}
	}
	addrs, _ := addresses(h)
	for _, a := range addrs {
		if slices.Contains(m.Addresses, a) {
			return true, "its address is " + a.String()
		}
	}
	return false, ""
}

// sameName compares two names of hosts. Where one of them is short, so is the other
// taken.
func sameName(a, b string) bool {
	a, b = strings.ToLower(strings.Trim(a, ". ")), strings.ToLower(strings.Trim(b, ". "))
	if a == "" || b == "" {
		return false
	}
	shortA, _, longA := strings.Cut(a, ".")
	shortB, _, longB := strings.Cut(b, ".")
	if longA && longB {
		return a == b
	}
	return shortA == shortB
}

// judge says whether a host is one of ours; the answer passes when it is not.
func (o *Own) judge(r *Request, h *Host) Answer {
	if yes, why := o.Server.is(h); yes {
		return Refuse("%s is the Endpoint Response server itself: %s. No call of erbridge acts on it; what has to be done there, a person does", h.Label(), why)
	}
	if yes, why := o.Here.is(h); yes {
		return Refuse("%s is the machine that erbridge itself runs on: %s. No call of erbridge acts on it; what has to be done there, a person does", h.Label(), why)
	}
	addrs, _ := addresses(h)
	switch {
	case slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.IsLoopback() }) && o.known():
		// What reports a loopback address talks to the server from the server's own machine.
		return Refuse("%s is the Endpoint Response server itself, or runs beside it: its address is a loopback address. No call of erbridge acts on it", h.Label())
	case o.known() && h.Name == "" && len(addrs) == 0:
		return Refuse("%s has neither a name nor an address that the server knows, so that nobody can tell it from the server itself, and it counts as protected. "+
			"When its agent has told them, run the playbook again", h.Label())
	case o.Server.Unresolved != "" && len(addrs) > 0:
		return Hold(r.At.Add(unreadAgain), "nobody can tell whether %s is the Endpoint Response server itself: %s. It is tried again", h.Label(), o.Server.Unresolved)
	}
	return Pass("")
}

// known reports whether anything is known of the machines.
func (o *Own) known() bool {
	return len(o.Server.Names)+len(o.Server.Addresses)+len(o.Here.Names)+len(o.Here.Addresses) > 0
}

// Own are the machines that were told with SetOwn.
func (g *Guard) Own() Own { return g.rules.Load().own }

// SetOwn tells which machines are the server's and our own.
func (g *Guard) SetOwn(o Own) {
	g.mu.Lock()
	defer g.mu.Unlock()
	rules := *g.rules.Load()
	rules.own = o
	g.rules.Store(&rules)
	g.wake()
}

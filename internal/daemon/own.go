package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/config"
	"github.com/erbridge/erbridge/playbooks/guard"
)

const (
	// resolvePatience bounds one look-up of the server's name.
	resolvePatience = 5 * time.Second
	// resolveAgain is how soon the server's name is looked up again; sooner while nobody
	// knows its addresses, because nothing can be sent to a host until then.
	resolveAgain, resolveSoon = 5 * time.Minute, 10 * time.Second
)

// resolver finds the addresses of a name.
type resolver func(ctx context.Context, name string) ([]netip.Addr, error)

func systemResolver(ctx context.Context, name string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}

// ownMachines are the server's machine and our own, by all names and addresses.
func ownMachines(ctx context.Context, cfg *config.Config, resolve resolver) guard.Own {
	return guard.Own{Server: serverMachine(ctx, cfg, resolve), Here: hereMachine()}
}

func serverMachine(ctx context.Context, cfg *config.Config, resolve resolver) (m guard.Machine) {
	u, err := url.Parse(cfg.Server.URL)
	if err != nil {
		return guard.Machine{Unresolved: fmt.Sprintf("server.url: %v", err)}
	}
	name := u.Hostname()
	if ip, err := netip.ParseAddr(name); err == nil {
		m.Addresses = []netip.Addr{ip.Unmap().WithZone("")}
		return m
	}
	m.Names = []string{name}
	ctx, cancel := context.WithTimeout(ctx, resolvePatience)
	defer cancel()
	addrs, err := resolve(ctx, name)
	if err != nil {
		m.Unresolved = fmt.Sprintf("the addresses of %s cannot be found out: %v", name, err)
		return m
	}
	for _, a := range addrs {
		m.Addresses = append(m.Addresses, a.Unmap().WithZone(""))
	}
	return m
}

// hereMachine is this machine. What the system does not tell about it, nobody can know.
func hereMachine() (m guard.Machine) {
	if name, err := os.Hostname(); err == nil && !strings.HasPrefix(name, "localhost") {
		m.Names = []string{name}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return m
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			m.Addresses = append(m.Addresses, p.Addr().Unmap().WithZone(""))
		}
	}
	return m
}

// keepOwn tells the guard again and again which machines are ours: addresses change.
func (d *Daemon) keepOwn(ctx context.Context) error {
	own := d.guard.Own()
	for {
		wait := resolveAgain
		if own.Server.Unresolved != "" {
			wait = resolveSoon
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		next := ownMachines(ctx, d.first, systemResolver)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if next.Server.Unresolved != "" && own.Server.Unresolved == "" {
			next.Server = own.Server // they were known, and most likely are the same still
		}
		own = next
		d.tellOwn(own)
	}
}

// tellOwn tells the guard which machines are ours, when that is news.
func (d *Daemon) tellOwn(own guard.Own) {
	old := d.guard.Own()
	same := func(a, b guard.Machine) bool {
		return a.Unresolved == b.Unresolved && slices.Equal(a.Names, b.Names) && sameAddresses(a.Addresses, b.Addresses)
	}
	if same(old.Server, own.Server) && same(old.Here, own.Here) {
		return
	}
	d.guard.SetOwn(own)
	if own.Server.Unresolved != "" {
		d.log.Warn("no call is sent to a host before the server's addresses are known", "err", own.Server.Unresolved, "again_in", resolveSoon)
	}
}

// sameAddresses compares without order: resolvers turn it round.
func sameAddresses(a, b []netip.Addr) bool {
	sorted := func(list []netip.Addr) []netip.Addr {
		return slices.SortedFunc(slices.Values(list), netip.Addr.Compare)
	}
	return slices.Equal(sorted(a), sorted(b))
}

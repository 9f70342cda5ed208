package actions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// readied is an action that looks before its intent is written down whether its call
// makes sense now: whether the host is still the one that is meant, is online, and can
// do it.
type readied[In any] struct{ *bound[In] }

// Ready implements playbooks.Readier.
func (b readied[In]) Ready(ctx context.Context, call playbooks.Call) error {
	in, err := b.read(call)
	if err != nil {
		return err
	}
	k := &b.kind
	if k.host != nil {
		err = b.deps.hostReady(ctx, call, k.host(in), k.Needs)
	}
	if err == nil && k.ready != nil {
		err = k.ready(ctx, b.deps, call, in)
	}
	if err != nil {
		return visibleError{err}
	}
	return nil
}

// foreseeing is a readied action that takes back only what it has changed.
type foreseeing[In any] struct{ readied[In] }

// Ready implements playbooks.Readier.
func (b foreseeing[In]) Ready(ctx context.Context, call playbooks.Call) error {
	_, err := b.Foresee(ctx, call)
	return err
}

// Foresee implements playbooks.Foreseer.
func (b foreseeing[In]) Foresee(ctx context.Context, call playbooks.Call) (leaves any, err error) {
	if err := b.readied.Ready(ctx, call); err != nil {
		return nil, err
	}
	in, err := b.read(call)
	if err == nil {
		leaves, err = b.kind.foresee(ctx, b.deps, call, in)
	}
	if err != nil {
		return nil, visibleError{err}
	}
	return leaves, nil
}

var errNoWithdrawing = errors.New("the server has no way to take it back")

// Withdraw implements playbooks.Withdrawer.
func (b readied[In]) Withdraw(ctx context.Context, call playbooks.Call, ref string) error {
	in, err := b.read(call)
	if err != nil {
		return err
	}
	kind, id, _ := strings.Cut(ref, ":")
	switch {
	case b.kind.host == nil || kind != "cmd" && kind != "openc2":
		return errNoWithdrawing
	case kind == "openc2":
		command, found, err := b.deps.lookUp(ctx, b.kind.host(in), ref)
		if err != nil {
			return visibleError{err}
		}
		if !found || command.CommandID == "" {
			return errors.New("the server does not tell its id")
		}
		id = command.CommandID
	}
	if err := b.deps.Client.Responses.Cancel(ctx, id); err != nil {
		return visibleError{err}
	}
	return nil
}

// hostReady looks whether a host can do what an action needs, and is the host that the
// alert was about.
func (d *Deps) hostReady(ctx context.Context, call playbooks.Call, host Host, needs []string) error {
	list := d.present
	if slices.Contains(needs, needsResponse) {
		list = d.channels
	}
	name := hostName(call, host)
	away, err := list.still(ctx, host)
	if err != nil {
		return fmt.Errorf("whether %s is back: %w: %w", name, playbooks.ErrTransient, err)
	}
	if away {
		return fmt.Errorf("%s: %w", name, errOffline)
	}
	record, err := d.meantHost(ctx, call, host)
	if err != nil {
		return err
	}
	if name == string(host) && record.Name != "" {
		name = record.Name
	}
	if platform := connector.NormalizeHost(record).Platform; slices.Contains(needs, needsWindows) && platform != needsWindows {
		return fmt.Errorf("%s runs %s; only Windows hosts can do this", name, platform)
	}
	if slices.Contains(needs, needsResponse) {
		err = d.reachable(ctx, host)
	} else {
		err = d.online(ctx, record)
	}
	if errors.Is(err, errOffline) {
		if row, listed, err := d.row(ctx, record.ID, record.Name); err == nil && listed && row.State != connector.HostActive {
			return fmt.Errorf("%s was removed from the server, which turns its agent away; bring it back with host.enable or in the server's console first", name)
		}
		list.left(host)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// What actions need, as Spec.Needs says it.
const (
	needsResponse = "response"
	needsWindows  = "windows"
)

// meantHost reads a host that is about to be acted on, and sees to it that it is the
// one that is meant.
func (d *Deps) meantHost(ctx context.Context, call playbooks.Call, host Host) (connector.Host, error) {
	name := hostName(call, host)
	record, err := d.Client.Hosts.Get(ctx, string(host))
	switch {
	case errors.Is(err, connector.ErrNotFound), errors.Is(err, connector.ErrRefused):
		return record, fmt.Errorf("the server has no host %s any more: it was deleted, or enrolled anew under another identifier; look for %s in the list of hosts",
			host, name)
	case err != nil:
		return record, fmt.Errorf("host %s: %w", name, readError(err))
	}
	return record, d.sameHost(ctx, call, record)
}

// sameHost compares a host with the one that the alert was raised for, when the call
// is about that one: an identifier outlives the machine that it was given to.
func (d *Deps) sameHost(ctx context.Context, call playbooks.Call, now connector.Host) error {
	was := call.Alert.Host
	if !strings.EqualFold(was.Identifier, now.Identifier) || d.Server != "" && call.Alert.Server != d.Server {
		return nil
	}
	switch {
	case was.ID != 0 && was.ID != now.ID:
		return fmt.Errorf("%s was enrolled anew: it was host %d of the server when the alert was raised, and is host %d now; "+
			"make sure that it is the same machine, and act by hand", now.Identifier, was.ID, now.ID)
	case was.Name == "" || now.Name == "" || sameName(was.Name, now.Name):
		return nil
	}
	// The detail call tells the name of the computer, and lists and alerts the display
	// name, which may differ.
	row, listed, err := d.row(ctx, now.ID, was.Name)
	switch {
	case err != nil:
		return fmt.Errorf("the name of %s: %w", was.Name, readError(err))
	case listed && sameName(row.Name, was.Name):
		return nil
	}
	return fmt.Errorf("%s was renamed: it was called %s when the alert was raised, and is called %s now; "+
		"make sure that it is the same machine, and act by hand", now.Identifier, was.Name, now.Name)
}

// sameName compares names of hosts, with a domain or without.
func sameName(a, b string) bool {
	x, xDomain, _ := strings.Cut(a, ".")
	y, yDomain, _ := strings.Cut(b, ".")
	return strings.EqualFold(x, y) && (xDomain == "" || yDomain == "" || strings.EqualFold(xDomain, yDomain))
}

// online asks whether a host is connected, where no response channel is needed. Only
// the list of hosts tells it.
func (d *Deps) online(ctx context.Context, record connector.Host) error {
	known, err := d.listed(ctx, connector.NormalizeHost(record))
	switch {
	case err != nil:
		return fmt.Errorf("list of hosts: %w", readError(err))
	case known.Online != nil && !*known.Online:
		return errOffline
	}
	return nil
}

// listed adds what only the list of hosts tells: tags, and whether it is online.
func (d *Deps) listed(ctx context.Context, host soar.Host) (soar.Host, error) {
	row, listed, err := d.row(ctx, host.ID, host.Name)
	switch {
	case listed:
		one := connector.NormalizeHost(row)
		host.Online, host.Tags = one.Online, one.Tags
	case err == nil:
		// A host that looks as if it had no tags would not be protected by them.
		host.Tags, err = d.Client.Hosts.Tags(ctx, host.Identifier)
	}
	return host, err
}

// row finds a host in the list of hosts by its name.
func (d *Deps) row(ctx context.Context, id int64, name string) (row connector.Host, listed bool, err error) {
	if name == "" {
		return row, false, nil
	}
	return d.rowOf(ctx, id, connector.HostQuery{Search: name})
}

// rowOf finds a host among those that a query lists. A search looks for texts within
// names, so it may find others, too.
func (d *Deps) rowOf(ctx context.Context, id int64, query connector.HostQuery) (row connector.Host, listed bool, err error) {
	for row, err := range d.Client.Hosts.List(ctx, query) {
		if _, malformed := errors.AsType[*connector.MalformedError](err); malformed {
			continue
		}
		if err != nil {
			return row, false, err
		}
		if row.ID == id {
			return row, true, nil
		}
	}
	return row, false, nil
}

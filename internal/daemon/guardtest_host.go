package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/playbooks"
)

// ErrAmbiguous means that a name stands for more than one host.
var ErrAmbiguous = errors.New("the name of several hosts")

// nameHost puts the identifier of a host in the place of its name. What the server does
// not know, or cannot be asked about, stays as it is: the guard says so.
func nameHost(ctx context.Context, client *connector.Client, q *playbooks.GuardQuestion) error {
	if q.Host == "" || client == nil {
		return nil
	}
	if _, err := client.Hosts.Get(ctx, q.Host); err == nil || !errors.Is(err, connector.ErrNotFound) && !errors.Is(err, connector.ErrRefused) {
		return nil // the guard reads it again, and says what is wrong
	}
	var found []string
	for host, err := range client.Hosts.List(ctx, connector.HostQuery{Search: q.Host}) {
		if err != nil {
			continue // a host that cannot be read is none that is meant; the rest of the list comes, or nothing does
		}
		if name, _, _ := strings.Cut(host.Name, "."); strings.EqualFold(host.Name, q.Host) || strings.EqualFold(name, q.Host) {
			found = append(found, host.Identifier)
		}
	}
	switch len(found) {
	case 0:
		return nil
	case 1:
		q.Host = found[0]
		return nil
	}
	return fmt.Errorf("%q is %w: name one of them by its identifier: %s", q.Host, ErrAmbiguous, strings.Join(found, ", "))
}

package playtest

import (
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// hosts tells the guard what a test knows of a host: what it gives for host.get, else
// what the alert says. Nobody is asked, and no answer is used up. Any other host is an
// ordinary one, unless the test gives a host.get of it that fails.
func (o *outside) hosts(alert *soar.Alert, id string) guard.Host {
	o.mu.Lock()
	defer o.mu.Unlock()
	unread := false
	for _, g := range o.given {
		if g.Do != "host.get" || g.Step != "" || !holds(map[string]any{"host": id}, g.With) {
			continue
		}
		if soar.StepState(g.State).OK() && g.Output != nil {
			return playbooks.HostFrom(id, g.Output)
		}
		unread = true
	}
	switch {
	case alert != nil && alert.Host.Identifier == id:
		return playbooks.HostOfAlert(alert, id)
	case unread:
		return guard.Host{ID: id, Why: "the test says that it cannot be read"}
	}
	return guard.Host{ID: id, Known: true, Facts: map[string]any{"identifier": id}}
}

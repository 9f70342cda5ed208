package playtest

import (
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
	"github.com/erbridge/erbridge/playbooks/guard"
)

// hosts tells the guard what a test knows of a host: what it gives for host.get, else
// what the alert says. Nobody is asked, and no answer is used up.
func (o *outside) hosts(alert *soar.Alert, id string) guard.Host {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, g := range o.given {
		if g.Do == "host.get" && g.Step == "" && holds(map[string]any{"host": id}, g.With) && soar.StepState(g.State).OK() && g.Output != nil {
			return playbooks.HostFrom(id, g.Output)
		}
	}
	return playbooks.HostOfAlert(alert, id)
}

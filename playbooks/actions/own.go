package actions

import (
	"strconv"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// alertChanger are arguments of an action that changes an alert.
type alertChanger interface {
	// becomes says which alert, as named by the arguments, and what it will be.
	becomes() (alert Number, status, verdict string)
}

func (in AlertResolve) becomes() (alert Number, status, verdict string) {
	return in.Alert, soar.StatusResolved, in.Verdict
}

func (in AlertReopen) becomes() (alert Number, status, verdict string) {
	return in.Alert, soar.StatusOpen, ""
}

// Signs implements playbooks.Signer.
func (b *bound[In]) Signs(call playbooks.Call) *soar.OwnChange {
	in, err := b.read(call)
	changer, ok := any(in).(alertChanger)
	if err != nil || !ok {
		return nil
	}
	named, status, verdict := changer.becomes()
	id, err := b.deps.alertID(call, named)
	if err != nil {
		return nil
	}
	server := b.deps.Server
	if server == "" {
		server = call.Alert.Server
	}
	return &soar.OwnChange{Server: server, ID: strconv.FormatInt(id, 10), Status: status, Verdict: verdict}
}

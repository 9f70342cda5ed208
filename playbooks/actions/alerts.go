package actions

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/erbridge/erbridge/connector"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks"
)

// meantAlert reads the alert that a call is about.
func (d *Deps) meantAlert(ctx context.Context, call playbooks.Call, named Number) (int64, soar.Alert, error) {
	id, err := d.alertID(call, named)
	if err != nil {
		return 0, soar.Alert{}, err
	}
	alert, err := d.Client.Alerts.Get(ctx, id)
	switch {
	case errors.Is(err, connector.ErrNotFound):
		return id, soar.Alert{}, noAlert(id, err)
	case err != nil:
		return id, soar.Alert{}, fmt.Errorf("alert %d: %w", id, readError(err))
	}
	return id, connector.Normalize(d.Server, "", alert, nil, nil), nil
}

func noAlert(id int64, err error) error {
	return fmt.Errorf("the server has no alert %d; look for it in the list of alerts: %w", id, err)
}

// errNoNotes means that the server keeps no notes at all. Nothing was sent.
var errNoNotes = fmt.Errorf("analyst notes are %w (Enterprise only): it is the Community Edition, or its license has none", connector.ErrUnavailable)

// notes reads the notes on the alert that a call is about.
func (d *Deps) notes(ctx context.Context, call playbooks.Call, named Number) (int64, []connector.Note, error) {
	id, err := d.alertID(call, named)
	if err != nil {
		return 0, nil, err
	}
	notes, err := d.Client.Alerts.Notes(ctx, id)
	switch {
	case errors.Is(err, connector.ErrUnavailable):
		return id, nil, errNoNotes
	case errors.Is(err, connector.ErrNotFound), errors.Is(err, connector.ErrRefused):
		return id, nil, noAlert(id, err)
	case err != nil:
		return id, nil, fmt.Errorf("notes of alert %d: %w", id, readError(err))
	}
	return id, notes, nil
}

// note finds one of the notes on the alert that a call is about.
func (d *Deps) note(ctx context.Context, call playbooks.Call, named, wanted Number) (alert int64, note connector.Note, found bool, err error) {
	alert, notes, err := d.notes(ctx, call, named)
	if err != nil {
		return alert, note, false, err
	}
	i := slices.IndexFunc(notes, func(n connector.Note) bool { return n.ID == int64(wanted) })
	if i < 0 {
		return alert, note, false, nil
	}
	return alert, notes[i], true, nil
}

// ownNote refuses to touch a note that somebody else wrote: the server lets only its
// author do that, and says of all others that there is no such note.
func (d *Deps) ownNote(ctx context.Context, alert int64, note connector.Note) error {
	me, err := d.Client.Users.Me(ctx)
	switch {
	case errors.Is(err, connector.ErrUnavailable):
		return nil
	case err != nil:
		return fmt.Errorf("our account: %w", readError(err))
	case note.UserID == 0 || me.ID == 0 || note.UserID == me.ID:
		return nil
	}
	return fmt.Errorf("note %d on alert %d was written by %s, and our account is %s: the server lets only its author change it", note.ID, alert, note.User, me.Username)
}

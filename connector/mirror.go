package connector

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// MirrorSettings configures how erbridge learns what analysts do on the server:
// resolving, verdicts, reopening, notes.
type MirrorSettings struct {
	// Enabled turns it on. Without it, only what polls and sweeps read anyway is seen.
	Enabled bool `yaml:"enabled"`

	// Interval is the time between two looks at the server's log of what users did, and
	// at notes. The log costs one call. Only release 3.5 and later have one, and it is
	// open to admins only; without it, sweeps find changes.
	Interval time.Duration `yaml:"interval"`

	// Window is how far back alerts were raised that sweeps ask about once they are
	// resolved: they may be reopened, or get another verdict.
	Window time.Duration `yaml:"window"`

	// Notes is of how many alerts the notes are read with each look, one call each; 0
	// for none. The server has no call for the notes of all alerts, and they are in the
	// Enterprise Edition only.
	Notes int `yaml:"notes"`

	// NotesFor is how long the notes of an alert are read after a run worked on it, or
	// after an analyst changed it.
	NotesFor time.Duration `yaml:"notes_for"`

	// Accounts are users of the server whose changes are not an analyst's: other
	// instances of erbridge, other automation. No playbook is started by them.
	Accounts []string `yaml:"accounts"`
}

// DefaultMirror are the settings that hold unless the configuration says otherwise.
func DefaultMirror() MirrorSettings {
	return MirrorSettings{Enabled: true, Interval: 30 * time.Second, Window: 7 * 24 * time.Hour, Notes: 10, NotesFor: 24 * time.Hour}
}

func (s *MirrorSettings) check() error {
	switch {
	case s.Enabled && s.Interval <= 0:
		return errors.New("poll: mirror.interval must be above zero")
	case s.Window < 0 || s.Notes < 0 || s.NotesFor < 0:
		return errors.New("poll: mirror.window, notes and notes_for must not be negative")
	}
	return nil
}

const (
	// unavailableFor is how long a call is not tried again that the server does not
	// have, or does not let the account use.
	unavailableFor = time.Hour
	// wholeLook is how often all known alerts are asked about although the log of what
	// users did is read.
	wholeLook = time.Hour
)

// mirror is what the poller knows about looking for what analysts did.
type mirror struct {
	mu      sync.Mutex
	account string             // of erbridge itself; empty: not known yet
	closed  map[string]closing // by call
	looked  time.Time          // when all known alerts were asked about
	logged  map[int64]bool     // rows of the log that were read, of those that are read again; nil: it was never read
	flips   map[int64][]time.Time
	read    map[int64]time.Time // when the notes of an alert were read last; of those that are watched
}

// closing is a call that cannot be used for now.
type closing struct {
	until time.Time
	told  bool
}

// The calls that not every server has.
const (
	callOfLog   = "the log of what users did"
	callOfNotes = "the notes of alerts"
)

// closedNow reports whether a call cannot be used for now.
func (p *Poller) closedNow(call string) bool {
	p.mirror.mu.Lock()
	defer p.mirror.mu.Unlock()
	return p.env.Now().Before(p.mirror.closed[call].until)
}

// close notes that a call cannot be used, and tells it once. It returns other errors.
func (p *Poller) close(call string, err error) error {
	if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrForbidden) {
		return err
	}
	p.mirror.mu.Lock()
	defer p.mirror.mu.Unlock()
	if p.mirror.closed == nil {
		p.mirror.closed = map[string]closing{}
	}
	if !p.mirror.closed[call].told {
		p.env.Log.Info("the mirror does without a call", "call", call, "why", err)
	}
	p.mirror.closed[call] = closing{until: p.env.Now().Add(unavailableFor), told: true}
	return nil
}

// mirrorAll looks at its interval until ctx ends.
func (p *Poller) mirrorAll(ctx context.Context) {
	for pause(ctx, p.settings.Mirror.Interval) == nil {
		if err := p.Mirror(ctx); err != nil && ctx.Err() == nil {
			p.env.Log.Warn("cannot see what analysts do on the server", "err", err)
		}
	}
}

// Mirror looks for what analysts did on the server since it last looked: by the server's
// log of what users did, where there is one, and by the notes of the alerts that are
// watched. It looks as well for what erbridge did itself, so that it is known as such.
func (p *Poller) Mirror(ctx context.Context) error {
	cursor, err := p.load(ctx)
	if err != nil {
		return err
	}
	return errors.Join(p.readLog(ctx, cursor), p.settleOwn(ctx, cursor), p.readNotes(ctx))
}

// fetchOf reads known alerts by id and stores them. told says who changed them last.
func (p *Poller) fetchOf(ctx context.Context, ids []int64, from pollCursor, told map[int64]who) error {
	for len(ids) > 0 {
		chunk := ids[:min(openChecked, len(ids))]
		ids = ids[len(chunk):]
		for _, resolved := range []bool{false, true} {
			if err := p.ask(ctx, AlertQuery{Resolved: &resolved, IDs: chunk, Limit: len(chunk)}, from, told); err != nil {
				return err
			}
		}
	}
	return nil
}

// ask reads one page of alerts that are named by id, and stores those that are known
// here or would be taken in anyway.
func (p *Poller) ask(ctx context.Context, q AlertQuery, from pollCursor, told map[int64]who) error {
	release, err := p.turn.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	page, err := p.client.Alerts.Page(ctx, q)
	if errors.Is(err, ErrRefused) {
		return nil // none of them exists any more
	}
	if err != nil {
		return fmt.Errorf("ask about %d alerts: %w", len(q.IDs), err)
	}
	wanted := make([]Alert, 0, len(page.Results))
	for i := range page.Results {
		row := &page.Results[i]
		// What retention has forgotten does not come in anew because somebody changed it.
		known := from.wanted(row.ID, row.CreatedAt) && !row.CreatedAt.Before(p.remembered(from))
		if !known {
			ref := soar.Alert{Server: p.server, ID: strconv.FormatInt(row.ID, 10)}
			_, err := p.env.Intake.AlertByRef(ctx, ref.Ref())
			if err != nil && !errors.Is(err, soar.ErrNotFound) {
				return err
			}
			known = err == nil
		}
		if known {
			wanted = append(wanted, *row)
		}
	}
	_, err = p.storeOf(ctx, p.rows(ctx, wanted), from, told)
	return err
}

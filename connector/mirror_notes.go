package connector

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// The server tells of notes only alert by alert: neither its list of alerts nor its log
// of what users did has them. So notes are read of the alerts that matter now, a few with
// each look in turn: those that runs work on or worked on lately, and those that an
// analyst changed lately.

const (
	notesPrefix = "mirror/notes/" // + alert: what is known of its notes
	watchPrefix = "mirror/watch/" // + alert: its notes are read
	// maxNotesKnown bounds what is kept in mind of the notes of one alert.
	maxNotesKnown = 500
	// maxNotesWatched bounds the alerts whose notes are read in turn: those that runs work
	// on, and as many that analysts changed.
	maxNotesWatched = 1000
	// maxNoteTold bounds what is told of the text of a note, in bytes.
	maxNoteTold = 16_000
	// keepNotes is how long it is known which notes an alert has, at least.
	keepNotes = 30 * 24 * time.Hour
)

// knownNotes is what is known of the notes of an alert; it is stored as JSON.
type knownNotes struct {
	Read  bool                  `json:"read"` // they were read once
	Notes map[string]*knownNote `json:"notes,omitempty"`
}

type knownNote struct {
	Text string `json:"text"` // its fingerprint
	By   string `json:"by"`
	Ours bool   `json:"ours,omitempty"`
}

func notesKey(ref string) string { return notesPrefix + ref }

// watchNotes has the notes of an alert read that an analyst has changed.
func (p *Poller) watchNotes(a *soar.StoredAlert, hand soar.Hand) (soar.KV, bool) {
	if !p.settings.Mirror.Enabled || p.settings.Mirror.Notes == 0 || hand.Origin != soar.OriginAnalyst || p.closedNow(callOfNotes) {
		return soar.KV{}, false
	}
	now := p.env.Now()
	return soar.KV{Key: watchPrefix + a.Alert.Ref(), Value: now.UTC().Format(time.RFC3339), Expires: now.Add(p.settings.Mirror.NotesFor)}, true
}

// watched is an alert whose notes are to be read.
type watched struct {
	alert soar.StoredAlert
	id    int64
	last  time.Time // when they were read last
}

// readNotes reads the notes of the alerts that were not read for longest, and tells what
// changed of them.
func (p *Poller) readNotes(ctx context.Context) error {
	if p.settings.Mirror.Notes == 0 || p.closedNow(callOfNotes) {
		return nil
	}
	all, err := p.notesWatched(ctx)
	if err != nil {
		return fmt.Errorf("mirror: alerts whose notes are read: %w", err)
	}
	for i := range all[:min(p.settings.Mirror.Notes, len(all))] {
		w := &all[i]
		p.mirror.mu.Lock()
		p.mirror.read[w.id] = p.env.Now() // also when it fails: the others come next
		p.mirror.mu.Unlock()
		notes, err := p.client.Alerts.Notes(ctx, w.id)
		malformed, _ := errors.AsType[*MalformedError](err)
		switch {
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrRefused): // the alert is gone
		case malformed != nil:
			p.env.Log.Warn("a note cannot be read", "alert", w.alert.Alert.Ref(), "err", err)
		case err != nil:
			if err = p.close(callOfNotes, err); err != nil {
				err = fmt.Errorf("mirror: notes of alert %s: %w", w.alert.Alert.Ref(), err)
			}
			return err
		default:
			if err := p.tellNotes(ctx, &w.alert, notes); err != nil {
				return fmt.Errorf("mirror: notes of alert %s: %w", w.alert.Alert.Ref(), err)
			}
		}
	}
	return nil
}

// notesWatched are the alerts whose notes are read, the longest unread first.
func (p *Poller) notesWatched(ctx context.Context) ([]watched, error) {
	alerts, err := p.env.Intake.WorkedOn(ctx, p.server, p.env.Now().Add(-p.settings.Mirror.NotesFor), maxNotesWatched)
	if err != nil {
		return nil, err
	}
	kvs, err := p.env.Intake.KV(ctx, watchPrefix+p.server+"-")
	if err != nil {
		return nil, err
	}
	// Somebody may have closed very many at once: the newest are gone through.
	slices.SortFunc(kvs, func(a, b soar.KV) int { return cmp.Compare(b.Value, a.Value) })
	for _, kv := range kvs[:min(maxNotesWatched, len(kvs))] {
		a, err := p.env.Intake.AlertByRef(ctx, strings.TrimPrefix(kv.Key, watchPrefix))
		if errors.Is(err, soar.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		alerts = append(alerts, a)
	}
	p.mirror.mu.Lock()
	defer p.mirror.mu.Unlock()
	read := map[int64]time.Time{}
	var all []watched
	for i := range alerts {
		id, ok := alertNumber(alerts[i].Alert.ID)
		if _, twice := read[id]; !ok || twice {
			continue
		}
		read[id] = p.mirror.read[id]
		all = append(all, watched{alerts[i], id, read[id]})
	}
	p.mirror.read = read // without those that are not watched any more
	slices.SortStableFunc(all, func(a, b watched) int { return a.last.Compare(b.last) })
	return all, nil
}

// tellNotes compares the notes of an alert with those that are known, and commits what
// changed together with what is known now, so that each change is told once.
func (p *Poller) tellNotes(ctx context.Context, a *soar.StoredAlert, notes []Note) error {
	known, err := p.knownNotes(ctx, a.Alert.Ref())
	if err != nil {
		return err
	}
	account, err := p.ownAccount(ctx)
	if err != nil {
		return err
	}
	now := p.env.Now().UTC()
	var change soar.Change
	fresh := knownNotes{Read: true, Notes: map[string]*knownNote{}}
	tell := func(note soar.AlertNote, origin soar.Origin, run, sum string) {
		change.Noted = append(change.Noted, soar.Noted{
			ID: fmt.Sprintf("%s/%s/note-%d-%s-%s-%d", soar.EventAlertUpdated, a.Alert.Ref(), note.ID, strings.TrimPrefix(note.What, "note."),
				sum, note.At.UnixMicro()),
			AlertKey: a.Key,
			Change: soar.AlertChange{
				What: []string{note.What}, Origin: origin, By: note.By, Run: run, At: note.At,
				From: a.Alert.State(), To: a.Alert.State(), Notes: []soar.AlertNote{note},
			},
		})
	}
	if len(notes) > maxNotesKnown {
		notes = notes[:maxNotesKnown] // newest first
	}
	for _, n := range slices.Backward(notes) {
		key, sum := strconv.FormatInt(n.ID, 10), notePrint(n.Text)
		was := known.Notes[key]
		if was != nil && was.Text == sum {
			fresh.Notes[key] = was
			continue
		}
		origin, run := p.noteOrigin(&n, account, was)
		fresh.Notes[key] = &knownNote{Text: sum, By: n.User, Ours: origin == soar.OriginErbridge}
		note := soar.AlertNote{ID: n.ID, What: soar.ChangeNoteAdded, By: n.User, Text: clip(n.Text, maxNoteTold), At: n.CreatedAt}
		if was != nil {
			note.What, note.At = soar.ChangeNoteEdited, n.UpdatedAt
		}
		if note.At.IsZero() {
			note.At = now
		}
		if known.Read || p.isNews(a, &n, now) {
			tell(note, origin, run, sum)
		}
	}
	gone := []string{}
	for key := range known.Notes {
		if fresh.Notes[key] == nil && len(notes) < maxNotesKnown {
			gone = append(gone, key)
		}
	}
	slices.Sort(gone)
	for _, key := range gone { // only its author can remove a note
		was := known.Notes[key]
		origin := soar.OriginAnalyst
		if was.Ours || p.otherAutomation(was.By) {
			origin = soar.OriginErbridge
		}
		id, _ := alertNumber(key)
		tell(soar.AlertNote{ID: id, What: soar.ChangeNoteRemoved, By: was.By, At: now}, origin, "", was.Text)
	}
	if known.Read && len(change.Noted) == 0 {
		return nil
	}
	value, err := json.Marshal(&fresh)
	if err != nil {
		return err
	}
	change.KV = []soar.KV{{Key: notesKey(a.Alert.Ref()), Value: string(value), Expires: now.Add(max(keepNotes, 2*p.settings.Mirror.NotesFor))}}
	if _, err := p.env.Intake.Commit(ctx, change); err != nil {
		return err
	}
	for i := range change.Noted {
		c := &change.Noted[i].Change
		p.metrics.changes.WithLabelValues(c.What[0], string(c.Origin)).Inc()
	}
	return nil
}

// isNews reports whether a note is told of an alert whose notes were never read: it was
// written not long ago and, on an alert of before erbridge, after that was taken in.
func (p *Poller) isNews(a *soar.StoredAlert, n *Note, now time.Time) bool {
	written := n.CreatedAt.Add(-p.client.ClockOffset())
	return (!a.Alert.Backfill || !written.Before(a.ReceivedAt)) && now.Sub(written) < max(p.settings.Mirror.NotesFor, p.settings.Mirror.Interval)
}

// noteOrigin tells whose a note is. Ours end with the line by which they are known again;
// one that erbridge has rewritten lost it, and has our account as its author.
func (p *Poller) noteOrigin(n *Note, account string, was *knownNote) (origin soar.Origin, run string) {
	_, id, marked := soar.OwnMark(n.Text)
	rewritten := was != nil || n.UpdatedAt.Sub(n.CreatedAt) >= time.Second
	switch {
	case marked:
		return soar.OriginErbridge, id.String()
	case p.otherAutomation(n.User), rewritten && strings.EqualFold(n.User, account):
		return soar.OriginErbridge, ""
	}
	return soar.OriginAnalyst, ""
}

func (p *Poller) knownNotes(ctx context.Context, ref string) (known knownNotes, err error) {
	kvs, err := p.env.Intake.KV(ctx, notesKey(ref))
	if err != nil {
		return known, err
	}
	for _, kv := range kvs {
		if kv.Key == notesKey(ref) {
			if err := json.Unmarshal([]byte(kv.Value), &known); err != nil {
				return known, fmt.Errorf("known notes: %w", err)
			}
		}
	}
	return known, nil
}

func notePrint(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

package store

import (
	"bytes"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/erbridge/erbridge/internal/soar"
)

// The values of StoredAlert.Pending.
const (
	pendingAlert   = "alert"
	pendingUpdated = "alert.updated"
)

// storedAlert is what decides whether an incoming alert is new, changed or known.
type storedAlert struct {
	next       *storedAlert // another alert with the same identity
	key        int64
	server, id string
	status     string
	verdict    string
	eventCount int64
	comment    int64 // see fingerprint
	commented  bool  // comment is known; else it is not compared
}

// candidates are the stored alerts that share an identity with incoming ones,
// nearly always one each. The identity alone never decides.
type candidates map[identity]*storedAlert

func (c candidates) add(hash identity, s *storedAlert) {
	s.next = c[hash]
	c[hash] = s
}

func (c candidates) find(a *alertRow) *storedAlert {
	for s := c[a.hash]; s != nil; s = s.next {
		if s.server == a.Server && s.id == a.ID {
			return s
		}
	}
	return nil
}

func (s *storedAlert) changed(a *soar.Alert) bool {
	return s.status != a.Status || s.verdict != a.Verdict || s.eventCount != int64(a.EventCount) ||
		s.commented && s.comment != fingerprint(a.Comment)
}

func (s *storedAlert) become(a *soar.Alert) {
	s.status, s.verdict, s.eventCount, s.comment, s.commented = a.Status, a.Verdict, int64(a.EventCount), fingerprint(a.Comment), true
}

// fingerprint stands for a comment, which is in the body, where alerts are compared.
func fingerprint(comment string) int64 {
	if comment == "" {
		return 0
	}
	sum := sha256.Sum256([]byte(comment))
	return int64(binary.BigEndian.Uint64(sum[:8])) //nolint:gosec // the bits, not the number
}

// applyAlerts sorts alerts into new, changed and known and writes the first two.
func (w *writer) applyAlerts(group []*request) error {
	n := 0
	for _, r := range group {
		n += len(r.change.alerts)
	}
	if n == 0 {
		return nil
	}
	byHash := make(candidates, n)
	if err := w.find(group, byHash, n); err != nil {
		return fmt.Errorf("look up alerts: %w", err)
	}
	receivedAt := micros(w.now())
	type newIdentity struct {
		hash identity
		key  int64
	}
	var added []newIdentity
	for _, r := range group {
		r.committed = soar.Committed{}
		for i := range r.change.alerts {
			a := &r.change.alerts[i]
			known := byHash.find(a)
			switch {
			case known == nil:
				w.tally[lastAlertKey]++
				known = &storedAlert{key: w.tally[lastAlertKey], server: a.Server, id: a.ID}
				known.become(a.Alert)
				byHash.add(a.hash, known)
				added = append(added, newIdentity{a.hash, known.key})
				r.committed.New = append(r.committed.New, i)
				err := w.add(known.key, a, receivedAt)
				if err == nil {
					err = w.recordAlert(&w.newAlerts, auditAlerts, known.key, a.item)
				}
				if err != nil {
					return fmt.Errorf("alert %q: %w", a.Ref(), err)
				}
			case known.changed(a.Alert):
				r.committed.Updated = append(r.committed.Updated, i)
				hand, told := r.change.Hands[i]
				if !told {
					hand.Origin = soar.OriginAnalyst
				}
				if err := w.update(known, a, hand, receivedAt); err != nil {
					return fmt.Errorf("update alert %q: %w", a.Ref(), err)
				}
			default:
				r.committed.Known++
			}
		}
	}
	// In the order of the index: neighbours are written while their page is at hand.
	slices.SortFunc(added, func(a, b newIdentity) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	for i := range added {
		if err := w.insertIdentity.add(added[i].hash[:], added[i].key); err != nil {
			return err
		}
	}
	if err := w.insertIdentity.flush(); err != nil {
		return err
	}
	if err := w.recordAlerts(); err != nil {
		return err
	}
	return w.flushAlerts()
}

// find looks up all alerts of a group at once, in the order of the index.
func (w *writer) find(group []*request, byHash candidates, n int) error {
	hashes := make([]identity, 0, n)
	for _, r := range group {
		for i := range r.change.alerts {
			hashes = append(hashes, r.change.alerts[i].hash)
		}
	}
	slices.SortFunc(hashes, func(a, b identity) int { return bytes.Compare(a[:], b[:]) })
	w.findAlerts.each = func(row []driver.Value) error {
		byHash.add(identity(blob(row[0])), &storedAlert{
			key: number(row[1]), server: text(row[2]), id: text(row[3]), status: text(row[4]), verdict: text(row[5]),
			eventCount: number(row[6]), comment: number(row[7]), commented: row[7] != nil,
		})
		return nil
	}
	for i := range hashes {
		if i > 0 && hashes[i] == hashes[i-1] {
			continue
		}
		if err := w.findAlerts.add(hashes[i][:]); err != nil {
			return err
		}
	}
	return w.findAlerts.flush()
}

func (w *writer) add(key int64, a *alertRow, receivedAt int64) error {
	if err := w.insertAlert.add(key, a.Server, a.ID, string(a.Severity), a.Status, a.Verdict, int64(a.EventCount), hostName(a.Alert),
		a.createdAt, receivedAt, fingerprint(a.Comment)); err != nil {
		return err
	}
	if err := w.insertBody.add(key, a.body); err != nil {
		return err
	}
	if err := w.insertPending.add(key, pendingAlert, int64(0), ""); err != nil {
		return err
	}
	w.tally[numAlerts]++
	w.tally[numPending]++
	w.touched[soar.SignalAlerts] = true
	return w.feed(string(soar.EventAlertReceived), receivedAt, key, nil, nil)
}

func (w *writer) flushAlerts() error {
	for _, b := range []*bulk{w.insertAlert, w.insertBody, w.insertPending, w.insertFeed} {
		if err := b.flush(); err != nil {
			return err
		}
	}
	return nil
}

// update replaces the stored copy of an alert that has changed. A copy that cannot
// be read, or that would grow too large, gives way to the incoming alert as it is.
func (w *writer) update(known *storedAlert, a *alertRow, hand soar.Hand, at int64) error {
	// The alert may have come with this group and wait in a bulk.
	if err := w.flushAlerts(); err != nil {
		return err
	}
	var stored soar.Alert
	err := w.loadBody.query(values(known.key), func(row []driver.Value) (err error) {
		stored, err = decodeAlert(blob(row[0]))
		return err
	})
	merged, body, item := *a.Alert, a.body, a.item
	was := soar.AlertState{Status: known.status, Verdict: known.verdict, EventCount: int(known.eventCount), Comment: a.Comment, Severity: a.Severity}
	switch {
	case errors.Is(err, errUnreadable):
	case err != nil:
		return err
	default:
		was.Comment, was.Severity = stored.Comment, stored.Severity
		both := merge(&stored, a.Alert)
		data, err := json.Marshal(&both)
		if err != nil {
			return err
		}
		if checkSize(data) == nil {
			merged, body, item = both, pack(data), alertItem(both.Ref(), digest(data))
		}
	}
	if _, err := w.updateBody.exec(body, known.key); err != nil {
		return err
	}
	if _, err := w.updateAlert.exec(string(merged.Severity), merged.Status, merged.Verdict, int64(merged.EventCount),
		fingerprint(merged.Comment), hostName(&merged), known.key); err != nil {
		return err
	}
	if err := w.recordAlert(&w.moved, auditChanged, known.key, item); err != nil {
		return err
	}
	known.become(a.Alert)
	for _, change := range changesOf(was, a.Alert, hand, fromMicros(at)) {
		if err := w.tell(known.key, &change, w.updatedID(a.Alert, &change)); err != nil {
			return err
		}
	}
	return nil
}

// receivedID is the id of an alert.received event.
func receivedID(a *soar.Alert) string { return string(soar.EventAlertReceived) + "/" + a.Ref() }

// merge is the copy to keep of an alert that has changed: the incoming one, with
// what only the stored one knows. A list of alerts carries less than the alert
// itself, so an empty field of the host, an absent rule, event, feed answer or
// page never erases one that is known; Backfill stays as it was first stored,
// because the alert has not become newer by changing.
func merge(stored, incoming *soar.Alert) soar.Alert {
	m := *incoming
	m.Backfill = stored.Backfill
	m.Host = mergeHost(stored.Host, incoming.Host)
	switch {
	case m.Rule == nil:
		m.Rule = stored.Rule
	case stored.Rule != nil && stored.Rule.ID == m.Rule.ID:
		rule := *m.Rule
		keep(&rule.Name, stored.Rule.Name)
		keep(&rule.Description, stored.Rule.Description)
		keepAll(&rule.Techniques, stored.Rule.Techniques)
		keepAll(&rule.Tactics, stored.Rule.Tactics)
		m.Rule = &rule
	}
	if len(m.Event) == 0 {
		m.Event = stored.Event
	}
	if len(m.Intel) == 0 {
		m.Intel = stored.Intel
	}
	keep(&m.Type, stored.Type)
	keep(&m.QueryName, stored.QueryName)
	keep(&m.ResultID, stored.ResultID)
	keep(&m.URL, stored.URL)
	return m
}

// mergeHost keeps what is known of the same host; a different one replaces it.
func mergeHost(stored, incoming soar.Host) soar.Host {
	if incoming.ID != 0 && stored.ID != 0 && incoming.ID != stored.ID ||
		incoming.Identifier != "" && stored.Identifier != "" && incoming.Identifier != stored.Identifier {
		return incoming
	}
	h := incoming
	if h.ID == 0 {
		h.ID = stored.ID
	}
	keep(&h.Identifier, stored.Identifier)
	keep(&h.Name, stored.Name)
	keep(&h.Platform, stored.Platform)
	keep(&h.OS, stored.OS)
	keep(&h.OSVersion, stored.OSVersion)
	keep(&h.IP, stored.IP)
	keep(&h.MAC, stored.MAC)
	keepAll(&h.Tags, stored.Tags)
	if h.Online == nil {
		h.Online = stored.Online
	}
	if h.LastSeen.IsZero() {
		h.LastSeen = stored.LastSeen
	}
	return h
}

func keep(field *string, known string) {
	if *field == "" {
		*field = known
	}
}

func keepAll(field *[]string, known []string) {
	if len(*field) == 0 {
		*field = known
	}
}

// hostName is what AlertFilter.Host is compared with.
func hostName(a *soar.Alert) string {
	if a.Host.Name != "" {
		return a.Host.Name
	}
	return a.Host.Identifier
}

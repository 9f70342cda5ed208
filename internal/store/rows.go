package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// rows is a Change turned into what goes to disk, except for what depends on what
// is there: keys, positions, repeats. It is made in the caller's goroutine, so
// that encoding and compressing use every core and the committer only writes.
type rows struct {
	*soar.Change
	alerts      []alertRow
	verdicts    []string // of Change.Evaluated; empty where nothing is to be kept
	events      []eventRow
	redeliver   []eventRow
	audit       auditRows
	sizeInBytes int64
}

type alertRow struct {
	*soar.Alert
	hash      identity
	item      string // in the audit record; see alertItem
	body      []byte
	createdAt int64
}

type eventRow struct {
	kind     string
	at       int64
	alertKey any // int64, or nil
	body     []byte
}

// makeRows encodes a change. Errors name what cannot be encoded.
func makeRows(change *soar.Change) (rows, error) {
	r := rows{Change: change}
	r.alerts = make([]alertRow, len(change.Alerts))
	for i := range change.Alerts {
		a := &change.Alerts[i]
		if a.Server == "" || a.ID == "" {
			return rows{}, fmt.Errorf("alert %d: server %q and id %q must both be set", i, a.Server, a.ID)
		}
		data, err := json.Marshal(a)
		if err == nil {
			err = checkSize(data)
		}
		if err != nil {
			return rows{}, fmt.Errorf("alert %q: %w", a.Ref(), err)
		}
		r.alerts[i] = alertRow{
			Alert: a, hash: identify(a.Server, a.ID), item: alertItem(a.Ref(), digest(data)), body: pack(data), createdAt: micros(a.CreatedAt),
		}
		r.sizeInBytes += int64(len(r.alerts[i].body)) + 200
	}
	r.verdicts = make([]string, len(change.Evaluated))
	for i, e := range change.Evaluated {
		if len(e.Verdicts) == 0 {
			continue
		}
		data, err := json.Marshal(e.Verdicts)
		if err != nil {
			return rows{}, fmt.Errorf("verdicts of alert %d: %w", e.AlertKey, err)
		}
		r.verdicts[i] = string(data)
		r.sizeInBytes += int64(len(data))
	}
	for i := range change.Entries {
		e := &change.Entries[i]
		if len(e.Body) > 0 && !json.Valid(e.Body) {
			return rows{}, fmt.Errorf("entry %d of run %s: body is not JSON", e.Seq, e.Run)
		}
		r.sizeInBytes += int64(len(e.Body)) + 100
	}
	r.events = make([]eventRow, len(change.Events))
	for i := range change.Events {
		row, err := makeEvent(&change.Events[i])
		if err != nil {
			return rows{}, err
		}
		r.events[i] = row
		r.sizeInBytes += int64(len(row.body)) + 100
	}
	for i := range change.Noted {
		n := &change.Noted[i]
		data, err := json.Marshal(&n.Change)
		if err == nil {
			err = checkSize(data)
		}
		if err == nil && n.ID == "" {
			err = errors.New("its event has no id")
		}
		if err != nil {
			return rows{}, fmt.Errorf("noted change of alert %d: %w", n.AlertKey, err)
		}
		r.sizeInBytes += int64(len(data)) + 100
	}
	r.redeliver = make([]eventRow, len(change.Redeliver))
	for i := range change.Redeliver {
		row, err := makeEvent(&change.Redeliver[i].Event)
		if err != nil {
			return rows{}, err
		}
		r.redeliver[i] = row
		r.sizeInBytes += int64(len(row.body)) + 100
	}
	for _, c := range change.Cursors {
		r.sizeInBytes += int64(len(c.Value))
	}
	for _, p := range change.Playbooks {
		r.sizeInBytes += int64(len(p.Source))
	}
	for i := range change.DeadLetters {
		r.sizeInBytes += int64(len(change.DeadLetters[i].Payload))
	}
	r.sizeInBytes += 100 * int64(len(change.Runs)+len(change.Evaluated)+len(change.KV)+len(change.Sinks))
	makeAudit(&r)
	return r, nil
}

// makeEvent leaves the alert out where the store has it.
func makeEvent(ev *soar.Event) (eventRow, error) {
	if ev.ID == "" || ev.Type == "" {
		return eventRow{}, fmt.Errorf("event %q of type %q: id and type must both be set", ev.ID, ev.Type)
	}
	row := eventRow{kind: string(ev.Type), at: micros(ev.At)}
	slim := *ev
	if ev.AlertKey != 0 {
		row.alertKey = ev.AlertKey
		slim.Alert = nil
	}
	data, err := json.Marshal(&slim)
	if err == nil {
		err = checkSize(data)
	}
	if err != nil {
		return eventRow{}, fmt.Errorf("event %q: %w", ev.ID, err)
	}
	row.body = pack(data)
	return row, nil
}

func (r *rows) empty() bool {
	c := r.Change
	return len(c.Alerts)+len(c.Noted)+len(c.Cursors)+len(c.Playbooks)+len(c.Evaluated)+len(c.Runs)+len(c.Entries)+len(c.Events)+len(c.KV)+
		len(c.Sinks)+len(c.DeadLetters)+len(c.Redeliver)+len(c.Redelivered)+len(c.EditDeadLetters)+len(c.DropDeadLetters)+len(c.Acts) == 0
}

// identity finds an alert by server and id. It need not be unique: a hit is a
// candidate, and server and id are compared before anything is dropped.
type identity [12]byte

// identify makes the identity of an alert. The first four bytes come from the
// server's name, the other eight from the id: the number itself where it is one,
// so that the ids a server counts up land side by side in the index and a batch
// touches a few of its pages instead of hundreds; else a hash.
func identify(server, id string) (h identity) {
	sum := sha256.Sum256([]byte(server))
	copy(h[:4], sum[:])
	if n, err := strconv.ParseUint(id, 10, 63); err == nil {
		binary.BigEndian.PutUint64(h[4:], n)
		return h
	}
	sum = sha256.Sum256([]byte(id))
	copy(h[4:], sum[:])
	h[4] |= 0x80 // apart from the numbers
	return h
}

// micros is a time as the store keeps it; PostgreSQL keeps no finer ones either.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

package store

import (
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// writer turns changes into SQL on the one connection that writes. Only the
// committer uses it.
type writer struct {
	*conn
	now   func() time.Time
	tally tally // as it is after the transaction in progress

	// touched collects the signals of the transaction in progress.
	touched [soar.NumSignals]bool
	changed tally // tally as it was last written

	// The audit record, as it is after the transaction in progress; see audit.go.
	head      AuditHash // of record tally[lastAuditSeq]
	auditAt   int64     // when the records of the transaction are made
	newAlerts alertsBody
	moved     alertsBody // alerts that changed
	hashing   []byte     // room for chainHash

	findAlerts, insertAlert, insertBody, insertIdentity, insertPending, insertFeed    *bulk
	evaluate, insertVerdict, findRuns, insertRun, insertEntry, writeMeta, insertAudit *bulk
	bulks                                                                             []*bulk

	updateAlert, updateBody, loadBody, updateRun, evaluateAgain, findPending, pendAgain *stmt
	putCursor, putPlaybook, putKV, dropKV, putSink, dropSink, findEntry                 *stmt
	addDead, editDead, dropDead, addRedelivery, dropRedelivery                          *stmt
	stmts                                                                               []*stmt
}

func newWriter(c *conn, now func() time.Time) (*writer, error) {
	w := &writer{conn: c, now: now}
	bulk := func(to **bulk, cols int, sql string) {
		*to = newBulk(c, sql, cols)
		w.bulks = append(w.bulks, *to)
	}
	// OR FAIL instead of the usual ABORT: a statement of many rows then needs no
	// journal of its own. What it leaves half done goes with the whole
	// transaction, or with the savepoint, in any case.
	bulk(&w.findAlerts, 1, `SELECT i.hash, a.key, a.server, a.id, a.status, a.verdict, a.event_count, a.comment
		FROM alert_identity i JOIN alert a ON a.key = i.key WHERE i.hash IN (%s)`)
	bulk(&w.insertAlert, 11, `INSERT OR FAIL INTO alert
		(key, server, id, severity, status, verdict, event_count, host, created_at, received_at, comment) VALUES %s`)
	bulk(&w.insertBody, 2, `INSERT OR FAIL INTO alert_body (key, body) VALUES %s`)
	bulk(&w.insertIdentity, 2, `INSERT OR FAIL INTO alert_identity (hash, key) VALUES %s`)
	bulk(&w.insertPending, 4, `INSERT OR FAIL INTO pending (key, kind, again, change) VALUES %s`)
	bulk(&w.insertFeed, 6, `INSERT OR FAIL INTO feed (pos, type, at, alert_key, id, body) VALUES %s`)
	bulk(&w.evaluate, 1, `DELETE FROM pending WHERE again = 0 AND key IN (%s)`)
	bulk(&w.insertVerdict, 2, `INSERT INTO verdict (key, body) VALUES %s
		ON CONFLICT (key) DO UPDATE SET body = json_patch(body, excluded.body)`)
	bulk(&w.findRuns, 1, `SELECT id, state FROM run WHERE id IN (%s)`)
	bulk(&w.insertRun, 13, `INSERT OR FAIL INTO run
		(id, alert_key, alert, playbook, version, mode, state, pc, wake, epoch, started_at, ended_at, error) VALUES %s`)
	bulk(&w.insertEntry, 7, `INSERT OR FAIL INTO ev (run, seq, at, step, kind, ref, body) VALUES %s`)
	bulk(&w.insertAudit, 5, `INSERT OR FAIL INTO audit (seq, at, kind, body, hash) VALUES %s`)
	bulk(&w.writeMeta, 2, `INSERT OR REPLACE INTO meta (name, value) VALUES %s`)

	var errs []error
	prepare := func(to **stmt, sql string) {
		s, err := c.prepare(sql)
		if err != nil {
			errs = append(errs, err)
			return
		}
		*to = s
		w.stmts = append(w.stmts, s)
	}
	prepare(&w.updateAlert, `UPDATE alert SET severity = ?, status = ?, verdict = ?, event_count = ?, comment = ?, host = ? WHERE key = ?`)
	prepare(&w.updateBody, `UPDATE alert_body SET body = ? WHERE key = ?`)
	prepare(&w.loadBody, `SELECT body FROM alert_body WHERE key = ?`)
	prepare(&w.findPending, `SELECT next FROM pending WHERE key = ?`)
	prepare(&w.pendAgain, `UPDATE pending SET again = 1, next = ? WHERE key = ?`)
	prepare(&w.evaluateAgain, `UPDATE pending SET kind = 'alert.updated', again = 0, change = next, next = '' WHERE key = ? AND again = 1`)
	prepare(&w.updateRun, `UPDATE run SET version = ?, mode = ?, state = ?, pc = ?, wake = ?, epoch = ?, started_at = ?, ended_at = ?, error = ?
		WHERE id = ?`)
	prepare(&w.findEntry, `SELECT 1 FROM ev WHERE run = ? AND seq = ?`)
	prepare(&w.putCursor, `INSERT OR REPLACE INTO cursor (source, value) VALUES (?, ?)`)
	prepare(&w.putPlaybook, `INSERT OR IGNORE INTO playbook (hash, name, source) VALUES (?, ?, ?)`)
	prepare(&w.putKV, `INSERT OR REPLACE INTO kv (key, value, expires) VALUES (?, ?, ?)`)
	prepare(&w.dropKV, `DELETE FROM kv WHERE key = ?`)
	prepare(&w.putSink, `INSERT OR REPLACE INTO sink (name, pos) VALUES (?, ?)`)
	prepare(&w.dropSink, `DELETE FROM sink WHERE name = ?`)
	prepare(&w.addDead, `INSERT INTO dead_letter (origin, at, reason, event_id, payload) VALUES (?, ?, ?, ?, ?)`)
	prepare(&w.editDead, `UPDATE dead_letter SET payload = ? WHERE id = ?`)
	prepare(&w.dropDead, `DELETE FROM dead_letter WHERE id = ?`)
	prepare(&w.addRedelivery, `INSERT INTO redelivery (sink, alert_key, body) VALUES (?, ?, ?)`)
	prepare(&w.dropRedelivery, `DELETE FROM redelivery WHERE id = ?`)
	err := errors.Join(errs...)
	if err == nil {
		err = w.loadTally()
	}
	if err == nil {
		err = w.loadHead()
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *writer) close() error {
	var errs []error
	for _, b := range w.bulks {
		errs = append(errs, b.close())
	}
	for _, s := range w.stmts {
		errs = append(errs, s.close())
	}
	return errors.Join(append(errs, w.conn.close())...)
}

func (w *writer) loadTally() error {
	s, err := w.prepare("SELECT name, value FROM meta")
	if err != nil {
		return err
	}
	err = s.query(nil, func(row []driver.Value) error {
		w.tally.set(text(row[0]), number(row[1]))
		return nil
	})
	w.changed = w.tally
	return errors.Join(err, s.close())
}

// transact runs f in one transaction. When it returns an error, nothing happened.
func (w *writer) transact(f func() error) error {
	before, head := w.tally, w.head
	clear(w.touched[:])
	err := w.exec("BEGIN IMMEDIATE")
	if err == nil {
		if err = f(); err == nil {
			if err = w.saveTally(); err == nil {
				err = w.exec("COMMIT")
			}
		}
	}
	if err != nil {
		w.tally, w.head = before, head
		w.newAlerts.n, w.moved.n = 0, 0
		for _, b := range w.bulks {
			b.reset()
		}
		return errors.Join(err, w.rollback())
	}
	w.changed = w.tally
	return nil
}

// savepoint runs f within a transaction and takes back what it did when it fails.
func (w *writer) savepoint(f func() error) error {
	before, touched, head := w.tally, w.touched, w.head
	if err := w.exec("SAVEPOINT change"); err != nil {
		return err
	}
	err := f()
	if err != nil {
		w.tally, w.touched, w.head = before, touched, head
		w.newAlerts.n, w.moved.n = 0, 0
		for _, b := range w.bulks {
			b.reset()
		}
		if back := w.exec("ROLLBACK TO change"); back != nil {
			return &brokenError{errors.Join(back, err)}
		}
	}
	if release := w.exec("RELEASE change"); release != nil {
		return &brokenError{errors.Join(release, err)}
	}
	return err
}

// brokenError says that the transaction cannot go on.
type brokenError struct{ error }

func (e *brokenError) Unwrap() error { return e.error }

func (w *writer) saveTally() error {
	for i, value := range w.tally {
		if value != w.changed[i] {
			if err := w.writeMeta.add(tallyNames[i], value); err != nil {
				return err
			}
		}
	}
	return w.writeMeta.flush()
}

// apply writes the changes of a group, one kind of record after the other, so
// that statements take many rows and each table is visited once. Callers wait
// for their commit, so the changes of a group know nothing of one another and
// any order among them is as good as another; within a change it is the order of
// soar.Change.
func (w *writer) apply(group []*request) error {
	w.auditAt = micros(w.now())
	for _, part := range []func([]*request) error{
		w.applyAlerts, w.applyNoted, w.applySources, w.applyEvaluations, w.applyRuns, w.applyEntries, w.applyEvents, w.applySinks, w.recordChanges,
	} {
		if err := part(group); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) applySources(group []*request) error {
	for _, r := range group {
		for _, c := range r.change.Cursors {
			if _, err := w.putCursor.exec(c.Source, c.Value); err != nil {
				return fmt.Errorf("cursor of %q: %w", c.Source, err)
			}
		}
		for _, p := range r.change.Playbooks {
			added, err := w.putPlaybook.exec(p.Hash, p.Name, p.Source)
			if err == nil && added > 0 {
				err = w.recordPlaybook(&p)
			}
			if err != nil {
				return fmt.Errorf("playbook %q: %w", p.Name, err)
			}
		}
	}
	return nil
}

func (w *writer) applyEvaluations(group []*request) error {
	var all int64
	for _, r := range group {
		for i, e := range r.change.Evaluated {
			all++
			if err := w.evaluate.add(e.AlertKey); err != nil {
				return err
			}
			if v := r.change.verdicts[i]; v != "" {
				if err := w.insertVerdict.add(e.AlertKey, v); err != nil {
					return err
				}
			}
		}
	}
	if all == 0 {
		return nil
	}
	if err := errors.Join(w.evaluate.flush(), w.insertVerdict.flush()); err != nil {
		return fmt.Errorf("evaluations: %w", err)
	}
	for _, r := range group {
		if err := w.recordAll(auditEvaluated, r.change.audit.evaluated); err != nil {
			return err
		}
	}
	ended := w.evaluate.touched
	w.evaluate.touched = 0
	w.tally[numPending] -= ended
	if ended == all {
		return nil
	}
	// Some changed while they were evaluated and are due once more; or were not
	// pending at all.
	for _, r := range group {
		for _, e := range r.change.Evaluated {
			n, err := w.evaluateAgain.exec(e.AlertKey)
			if err != nil {
				return fmt.Errorf("evaluation of alert %d: %w", e.AlertKey, err)
			}
			if n > 0 {
				w.touched[soar.SignalAlertsAgain] = true
			}
		}
	}
	return nil
}

func (w *writer) applyRuns(group []*request) error {
	last := map[soar.RunID]*soar.Run{} // the last word of the group on each run
	var order []soar.RunID
	for _, r := range group {
		for i := range r.change.Runs {
			run := &r.change.Runs[i]
			if _, ok := last[run.ID]; !ok {
				order = append(order, run.ID)
			}
			last[run.ID] = run
		}
	}
	if len(order) == 0 {
		return nil
	}
	w.touched[soar.SignalRuns] = true
	known := make(map[soar.RunID]soar.RunState, len(order))
	w.findRuns.each = func(row []driver.Value) error {
		known[soar.RunID(number(row[0]))] = soar.RunState(text(row[1]))
		return nil
	}
	for _, id := range order {
		if err := w.findRuns.add(int64(id)); err != nil {
			return err
		}
	}
	if err := w.findRuns.flush(); err != nil {
		return err
	}
	for _, id := range order {
		run := last[id]
		state, ok := known[id]
		err := w.recordRun(run, state, ok)
		if err != nil {
			return err
		}
		if ok {
			w.tally.run(state, -1)
			_, err = w.updateRun.exec(run.Version, string(run.Mode), string(run.State), int64(run.PC), micros(run.Wake), int64(run.Epoch),
				micros(run.StartedAt), micros(run.EndedAt), run.Error, int64(id))
		} else {
			err = w.insertRun.add(int64(id), run.AlertKey, run.Alert, run.Playbook, run.Version, string(run.Mode), string(run.State),
				int64(run.PC), micros(run.Wake), int64(run.Epoch), micros(run.StartedAt), micros(run.EndedAt), run.Error)
		}
		if err != nil {
			return fmt.Errorf("run %s: %w", id, err)
		}
		w.tally.run(run.State, +1)
	}
	return w.insertRun.flush()
}

func (w *writer) applyEntries(group []*request) error {
	for _, r := range group {
		for i := range r.change.Entries {
			e := &r.change.Entries[i]
			var ref, body driver.Value
			if e.Ref != "" {
				ref = e.Ref
			}
			if len(e.Body) > 0 {
				body = string(e.Body)
			}
			if err := w.insertEntry.add(int64(e.Run), int64(e.Seq), micros(e.At), e.Step, string(e.Kind), ref, body); err != nil {
				return w.conflict(group, err)
			}
			if err := w.record(entryRecordKind(e.Kind), r.change.audit.entries[i]); err != nil {
				return err
			}
		}
	}
	return w.conflict(group, w.insertEntry.flush())
}

// conflict says which entry exists already. It is exact for a group of one, which
// is how a group with a conflict in it ends up.
func (w *writer) conflict(group []*request, err error) error {
	if err == nil || !taken(err) {
		return err
	}
	if len(group) > 1 {
		return soar.ErrConflict
	}
	seen := map[string]bool{}
	for i := range group[0].change.Entries {
		e := &group[0].change.Entries[i]
		name := fmt.Sprintf("run %s, entry %d", e.Run, e.Seq)
		if seen[name] {
			return fmt.Errorf("%s twice in one change: %w", name, soar.ErrConflict)
		}
		seen[name] = true
	}
	return fmt.Errorf("run %s, entry %d: %w", group[0].change.Entries[0].Run, group[0].change.Entries[0].Seq, soar.ErrConflict)
}

func (w *writer) applyEvents(group []*request) error {
	for _, r := range group {
		for i := range r.change.events {
			ev := &r.change.events[i]
			if err := w.feed(ev.kind, ev.at, ev.alertKey, nil, ev.body); err != nil {
				return err
			}
		}
	}
	return w.insertFeed.flush()
}

func (w *writer) feed(kind string, at int64, alertKey, id any, body []byte) error {
	w.tally[lastFeedPos]++
	w.tally[numFeed]++
	if kind == string(soar.EventTelemetry) {
		w.tally[numTelemetry]++
	}
	w.touched[soar.SignalFeed] = true
	var packed driver.Value
	if body != nil {
		packed = body
	}
	return w.insertFeed.add(w.tally[lastFeedPos], kind, at, alertKey, id, packed)
}

func (w *writer) applySinks(group []*request) error {
	for _, r := range group {
		c := &r.change
		for _, kv := range c.KV {
			var err error
			if kv.Value == "" {
				_, err = w.dropKV.exec(kv.Key)
			} else {
				_, err = w.putKV.exec(kv.Key, kv.Value, micros(kv.Expires))
			}
			if err != nil {
				return fmt.Errorf("value %q: %w", kv.Key, err)
			}
		}
		for _, s := range c.Sinks {
			var err error
			if s.Pos < 0 {
				_, err = w.dropSink.exec(s.Sink)
			} else {
				_, err = w.putSink.exec(s.Sink, s.Pos)
			}
			if err != nil {
				return fmt.Errorf("cursor of sink %q: %w", s.Sink, err)
			}
		}
		for i := range c.DeadLetters {
			d := &c.DeadLetters[i]
			payload := d.Payload[:min(len(d.Payload), maxPayload)]
			if _, err := w.addDead.exec(d.Origin, micros(d.At), strings.ToValidUTF8(d.Reason, "\ufffd"), d.EventID, payload); err != nil {
				return fmt.Errorf("dead letter of %q: %w", d.Origin, err)
			}
			w.tally[numDeadLetters]++
		}
		for i := range c.redeliver {
			if _, err := w.addRedelivery.exec(c.Redeliver[i].Sink, c.redeliver[i].alertKey, c.redeliver[i].body); err != nil {
				return fmt.Errorf("redelivery to %q: %w", c.Redeliver[i].Sink, err)
			}
			w.tally[numRedeliveries]++
			w.touched[soar.SignalRedeliver] = true
		}
		for _, id := range c.Redelivered {
			n, err := w.dropRedelivery.exec(id)
			if err != nil {
				return fmt.Errorf("redelivery %d: %w", id, err)
			}
			w.tally[numRedeliveries] -= n
		}
		for _, edit := range c.EditDeadLetters {
			if _, err := w.editDead.exec(edit.Payload[:min(len(edit.Payload), maxPayload)], edit.ID); err != nil {
				return fmt.Errorf("dead letter %d: %w", edit.ID, err)
			}
		}
		for _, id := range c.DropDeadLetters {
			n, err := w.dropDead.exec(id)
			if err != nil {
				return fmt.Errorf("dead letter %d: %w", id, err)
			}
			w.tally[numDeadLetters] -= n
		}
	}
	return nil
}

// maxPayload bounds what is kept of a dead letter.
const maxPayload = 1 << 20

func text(v driver.Value) string {
	s, _ := v.(string)
	return s
}

func number(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}

func blob(v driver.Value) []byte {
	b, _ := v.([]byte)
	return b
}

// decodeAlert reads what is kept of an alert; errors are errUnreadable.
func decodeAlert(packed []byte) (a soar.Alert, err error) {
	data, err := unpack(packed)
	if err == nil {
		err = json.Unmarshal(data, &a)
	}
	if err != nil {
		return soar.Alert{}, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return a, nil
}

package store

import (
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/erbridge/erbridge/internal/soar"
)

// record appends to the chain, in the transaction in progress.
func (w *writer) record(kind, body string) error {
	w.tally[lastAuditSeq]++
	seq := w.tally[lastAuditSeq]
	w.head, w.hashing = chainHash(w.hashing, w.head, seq, w.auditAt, kind, body)
	hash := w.head
	return w.insertAudit.add(seq, w.auditAt, kind, body, hash[:])
}

func (w *writer) recordAll(kind string, bodies []string) error {
	for _, body := range bodies {
		if err := w.record(kind, body); err != nil {
			return fmt.Errorf("audit: %w", err)
		}
	}
	return nil
}

// recordAlert adds an alert to the record of those taken in, or of those changed.
func (w *writer) recordAlert(to *alertsBody, kind string, key int64, item string) error {
	to.add(key, item)
	if to.n < auditList {
		return nil
	}
	return w.record(kind, to.take())
}

// recordAlerts ends the records of a group's alerts.
func (w *writer) recordAlerts() error {
	for _, list := range []struct {
		kind string
		of   *alertsBody
	}{{auditAlerts, &w.newAlerts}, {auditChanged, &w.moved}} {
		if list.of.n == 0 {
			continue
		}
		if err := w.record(list.kind, list.of.take()); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) recordPlaybook(p *soar.PlaybookVersion) error {
	data, err := json.Marshal(playbookBody{p.Hash, p.Name, sumOf(p.Source)})
	if err != nil {
		return err
	}
	return w.record(auditPlaybook, string(data))
}

// recordRun records that a run began, or came to an end or back from one. What lies
// between is told by its journal.
func (w *writer) recordRun(run *soar.Run, before soar.RunState, known bool) error {
	if known && (before == run.State || !before.Ended() && !run.State.Ended()) {
		return nil
	}
	return w.record(auditRun, runBody(run))
}

// entryRecordKind is the kind of the record of a journal entry.
func entryRecordKind(kind soar.EntryKind) string {
	if kind == "" {
		return "entry"
	}
	return string(kind)
}

// recordChanges records what is left of a group when its alerts, evaluations, runs
// and entries are written.
func (w *writer) recordChanges(group []*request) error {
	for _, r := range group {
		a := &r.change.audit
		if err := errors.Join(w.recordAll(auditGuard, a.guard), w.recordAll(auditAct, a.acts)); err != nil {
			return err
		}
	}
	return w.insertAudit.flush()
}

// recordRetention records what a batch of retention removed.
func (w *writer) recordRetention(b *retentionBody) error {
	if b.empty() {
		return nil
	}
	data, err := json.Marshal(b)
	if err != nil {
		return err
	}
	w.auditAt = micros(w.now())
	if err := w.record(auditRetention, string(data)); err != nil {
		return err
	}
	return w.insertAudit.flush()
}

// loadHead finds the end of the chain, and begins one where there is none.
func (w *writer) loadHead() error {
	found := false
	s, err := w.prepare(`SELECT hash FROM audit WHERE seq = ?1 UNION ALL SELECT hash FROM audit_anchor WHERE seq = ?1 LIMIT 1`)
	if err != nil {
		return err
	}
	err = s.query(values(w.tally[lastAuditSeq]), func(row []driver.Value) error {
		if hash := blob(row[0]); len(hash) == len(w.head) {
			w.head, found = AuditHash(hash), true
		}
		return nil
	})
	if err := errors.Join(err, s.close()); err != nil {
		return err
	}
	if w.tally[lastAuditSeq] > 0 {
		if !found {
			// The chain goes on, and verify tells that it is broken here.
			w.head = AuditHash{}
		}
		return nil
	}
	run, err := w.number("SELECT coalesce(max(id), 0) FROM run")
	if err != nil {
		return err
	}
	body, err := json.Marshal(beganBody{AlertKey: w.tally[lastAlertKey], Run: run})
	if err != nil {
		return err
	}
	return w.transact(func() error {
		w.auditAt = micros(w.now())
		if err := w.record(auditBegan, string(body)); err != nil {
			return err
		}
		return w.insertAudit.flush()
	})
}

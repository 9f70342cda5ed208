package store

import (
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// auditBatch is how many audit records one transaction of retention removes.
const auditBatch = 5000

// ageAudit removes the oldest audit records, and leaves behind where the chain begins
// now: in a table, from which verification starts, and in a record, which attests it.
func (s *Store) ageAudit(before time.Time) func() (bool, error) {
	return func() (bool, error) {
		n, last, err := s.agedAudit(before)
		if err != nil || n == 0 {
			return false, err
		}
		key, err := s.newestAudited(last.seq)
		if err != nil {
			return false, err
		}
		anchor := auditAnchor{Seq: last.seq, At: last.at, Hash: last.hash.String(), AlertKey: key}
		for _, do := range []struct {
			sql  string
			args []driver.Value
		}{
			{"DELETE FROM audit WHERE seq <= ?", []driver.Value{last.seq}},
			{"DELETE FROM audit_anchor", nil},
			{"INSERT INTO audit_anchor (seq, at, hash, alert_key) VALUES (?, ?, ?, ?)", []driver.Value{last.seq, last.at, last.hash[:], key}},
		} {
			if _, err := s.delete(do.sql, do.args...); err != nil {
				return false, err
			}
		}
		return n == auditBatch, s.writer.recordRetention(&retentionBody{Audit: &anchor})
	}
}

// agedAudit is how many of the oldest records are old enough, and the last of them.
func (s *Store) agedAudit(before time.Time) (n int, last auditRecord, err error) {
	st, err := s.writer.prepare("SELECT seq, at, '', '', hash FROM audit ORDER BY seq LIMIT ?")
	if err != nil {
		return 0, last, err
	}
	err = st.query(values(int64(auditBatch)), func(row []driver.Value) error {
		r, err := readAudit(row)
		if err != nil {
			return fmt.Errorf("%w; erbridge audit verify tells more", err)
		}
		if r.at >= micros(before) {
			return io.EOF
		}
		n, last = n+1, r
		return nil
	})
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, last, errors.Join(err, st.close())
}

// newestAudited is the newest alert of which the records up to seq tell.
func (s *Store) newestAudited(seq int64) (key int64, err error) {
	if key, err = s.writer.number("SELECT coalesce(max(alert_key), 0) FROM audit_anchor"); err != nil {
		return 0, err
	}
	st, err := s.writer.prepare(`SELECT kind, body FROM audit WHERE seq <= ? AND kind IN ('alerts', 'began') ORDER BY seq DESC LIMIT 1`)
	if err != nil {
		return 0, err
	}
	err = st.query(values(seq), func(row []driver.Value) error {
		if text(row[0]) == auditBegan {
			var began beganBody
			if err := json.Unmarshal([]byte(text(row[1])), &began); err != nil {
				return err
			}
			key = max(key, began.AlertKey)
			return nil
		}
		items, err := readAlerts(text(row[1]))
		for _, item := range items {
			key = max(key, item.key)
		}
		return err
	})
	return key, errors.Join(err, st.close())
}

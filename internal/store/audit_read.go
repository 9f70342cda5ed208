package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/erbridge/erbridge/internal/soar"
)

// readAudit reads a row of table audit. A damaged file may hold any type anywhere.
func readAudit(row []driver.Value) (r auditRecord, err error) {
	seq, isSeq := row[0].(int64)
	at, isAt := row[1].(int64)
	kind, isKind := asText(row[2])
	body, isBody := asText(row[3])
	hash, isHash := row[4].([]byte)
	r = auditRecord{seq: seq, at: at, kind: kind, body: body}
	if isHash && len(hash) == len(r.hash) {
		r.hash = AuditHash(hash)
	}
	switch {
	case !isSeq:
		return r, errors.New("an audit record has no number")
	case !isAt:
		return r, r.broken(FaultContent, "its time cannot be read")
	case !isKind || !isBody:
		return r, r.broken(FaultContent, "its kind or its body is no text")
	case !isHash || len(hash) != len(r.hash):
		return r, r.broken(FaultHash, "it has no hash of %d bytes", len(r.hash))
	}
	return r, nil
}

// asText takes text as it is, valid or not.
func asText(v driver.Value) (string, bool) {
	t, ok := v.(string)
	return t, ok
}

// snapshot is one moment of the store: what is committed meanwhile is not seen.
type snapshot struct {
	ctx      context.Context // of the one call that the snapshot is for
	tx       *sql.Tx
	prepared map[string]*sql.Stmt // closed with tx
}

// each calls f with each row of a query.
func (s *snapshot) each(query string, args []any, f func(row []driver.Value) error) (err error) {
	st := s.prepared[query]
	if st == nil {
		if st, err = s.tx.PrepareContext(s.ctx, query); err != nil {
			return err
		}
		s.prepared[query] = st
	}
	rows, err := st.QueryContext(s.ctx, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	row, found, into := make([]driver.Value, len(columns)), make([]any, len(columns)), make([]any, len(columns))
	for i := range found {
		into[i] = &found[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, v := range found {
			row[i] = v
		}
		if err := f(row); err != nil {
			return err
		}
	}
	return rows.Err()
}

// number is the one integer that a query returns; 0 where it returns none.
func (s *snapshot) number(query string, args ...any) (n int64, err error) {
	err = s.each(query, args, func(row []driver.Value) error {
		n = number(row[0])
		return nil
	})
	return n, err
}

// audited runs f on a snapshot of a store that keeps an audit record.
func (r *Reader) audited(ctx context.Context, f func(*snapshot) error) (err error) {
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }() // there is nothing to commit
	s := &snapshot{ctx, tx, map[string]*sql.Stmt{}}
	version, err := s.number("PRAGMA user_version")
	if err != nil {
		return err
	}
	if version < auditSince {
		return fmt.Errorf("%w: this store was last written by an erbridge that kept no audit record; it begins when this one is started", soar.ErrNotFound)
	}
	return f(s)
}

// records calls f with each record from number from on.
func (s *snapshot) records(from, to int64, f func(r *auditRecord) error) error {
	return s.each("SELECT seq, at, kind, body, hash FROM audit WHERE seq BETWEEN ? AND ? ORDER BY seq", []any{from, to},
		func(row []driver.Value) error {
			r, err := readAudit(row)
			if err != nil {
				return err
			}
			return f(&r)
		})
}

// anchor is where the chain begins.
func (s *snapshot) anchor() (a auditAnchor, err error) {
	a.Hash = AuditHash{}.String()
	err = s.each("SELECT seq, at, hash, alert_key FROM audit_anchor ORDER BY seq", nil, func(row []driver.Value) error {
		a = auditAnchor{Seq: number(row[0]), At: number(row[1]), Hash: fmt.Sprintf("%x", row[2]), AlertKey: number(row[3])}
		return nil
	})
	return a, err
}

// attested is where retention says that the chain begins, by the newest record that
// tells of it; found is false where there is none.
func (s *snapshot) attested() (a auditAnchor, found bool, err error) {
	err = s.each("SELECT body FROM audit WHERE kind = ? ORDER BY seq", []any{auditRetention}, func(row []driver.Value) error {
		var body retentionBody
		if json.Unmarshal([]byte(text(row[0])), &body) == nil && body.Audit != nil {
			a, found = *body.Audit, true
		}
		return nil
	})
	return a, found, err
}

// auditedAlert is one alert of a record.
type auditedAlert struct {
	key    int64
	ref    string
	digest [32]byte
}

func readAlerts(body string) ([]auditedAlert, error) {
	var list struct {
		Alerts [][3]json.RawMessage `json:"alerts"`
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		return nil, err
	}
	out := make([]auditedAlert, len(list.Alerts))
	for i, item := range list.Alerts {
		var digest string
		err := errors.Join(json.Unmarshal(item[0], &out[i].key), json.Unmarshal(item[1], &out[i].ref), json.Unmarshal(item[2], &digest))
		if err != nil {
			return nil, err
		}
		sum, err := base64.RawURLEncoding.DecodeString(digest)
		if err != nil || len(sum) != len(out[i].digest) {
			return nil, fmt.Errorf("digest %q of alert %q", digest, out[i].ref)
		}
		out[i].digest = [32]byte(sum)
	}
	return out, nil
}

const lastSeq = math.MaxInt64

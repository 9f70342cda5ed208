package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// AuditFilter selects audit records. What is zero selects all.
type AuditFilter struct {
	// Run is the run that a record is about.
	Run soar.RunID
	// Alert is the alert that a record is about, or the run of it, as er-4711.
	Alert string
	// Kind is what the record tells, such as decision.
	Kind string
	// Since is when it was made at the earliest.
	Since time.Time
	// Before is the number that all of them are below.
	Before int64
	// Limit bounds how many there are.
	Limit int
}

// AuditEntry is one audit record as it can be read. Nothing of it was verified.
type AuditEntry struct {
	Seq  int64           `json:"seq"`
	At   time.Time       `json:"at"`
	Kind string          `json:"kind"`
	Hash string          `json:"hash"`
	Body json.RawMessage `json:"body"`
}

// AuditEntries lists audit records, the newest first.
func (r *Reader) AuditEntries(ctx context.Context, f AuditFilter) (found []AuditEntry, err error) {
	err = r.audited(ctx, func(s *snapshot) error {
		want, err := s.subject(&f)
		if err != nil {
			return err
		}
		last := int64(lastSeq)
		if f.Before > 0 {
			last = f.Before - 1
		}
		rows, err := s.tx.QueryContext(ctx, `SELECT seq, at, kind, body, hash FROM audit
			WHERE seq <= ?1 AND at >= ?2 AND (?3 = '' OR kind = ?3) ORDER BY seq DESC`, last, since(f.Since), f.Kind)
		if err != nil {
			return err
		}
		defer rows.Close() // the rest is not wanted
		for limit := limited(f.Limit); len(found) < limit && rows.Next(); {
			var at int64
			var body string
			var hash sql.RawBytes
			var e AuditEntry
			if err := rows.Scan(&e.Seq, &at, &e.Kind, &body, &hash); err != nil {
				return fmt.Errorf("audit record behind %d: %w", e.Seq, err)
			}
			if !want.has(e.Kind, body) {
				continue
			}
			e.At, e.Hash, e.Body = fromMicros(at), fmt.Sprintf("%x", []byte(hash)), readableBody(body)
			found = append(found, e)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("audit record: %w", err)
	}
	return found, nil
}

func since(t time.Time) int64 {
	if t.IsZero() {
		return -lastSeq
	}
	return micros(t)
}

// readableBody is a body as JSON, also where it was damaged.
func readableBody(body string) json.RawMessage {
	if json.Valid([]byte(body)) {
		return json.RawMessage(body)
	}
	return plainJSON(strings.ToValidUTF8(body, "\uFFFD"))
}

// auditSubject is what records have to be about. What stands in texts of an alert does
// not count: whoever sends alerts could put his into the list of another one.
type auditSubject struct {
	all   bool
	runs  []string // any of them
	alert string   // or this alert
	key   int64    // of alert; 0: none
}

// subject finds out what a filter is about: the runs of an alert are those of which it
// was recorded that they began.
func (s *snapshot) subject(f *AuditFilter) (want auditSubject, err error) {
	switch run := f.Run.String(); {
	case f.Alert == "" && f.Run == 0:
		return auditSubject{all: true}, nil
	case f.Alert == "":
		return auditSubject{runs: []string{run}}, nil
	default:
		want.alert = f.Alert
	}
	err = s.each("SELECT kind, body FROM audit WHERE kind IN (?, ?) AND instr(body, ?) > 0", []any{auditRun, auditAlerts, string(plainJSON(f.Alert))},
		func(row []driver.Value) error {
			if body := text(row[1]); text(row[0]) == auditRun {
				if about := readAbout(body); about.Alert == f.Alert && !slices.Contains(want.runs, about.Run) {
					want.runs = append(want.runs, about.Run)
				}
			} else if list, err := readAlerts(body); err == nil {
				if i := slices.IndexFunc(list, func(a auditedAlert) bool { return a.ref == f.Alert }); i >= 0 {
					want.key = list[i].key
				}
			}
			return nil // what is damaged is for VerifyAudit to find
		})
	if f.Run != 0 { // of the runs of the alert, this one
		want = auditSubject{runs: slices.DeleteFunc(want.runs, func(run string) bool { return run != f.Run.String() })}
	}
	return want, err
}

// auditAbout is what the bodies of most records say they are about.
type auditAbout struct {
	Run   string   `json:"run"`
	Alert string   `json:"alert"`
	Value struct { // an approval
		Run string `json:"run"`
	} `json:"value"`
	Runs      []string          `json:"runs"`
	Evaluated []json.RawMessage `json:"evaluated"`
}

func readAbout(body string) (a auditAbout) {
	_ = json.Unmarshal([]byte(body), &a) // what does not fit is about nothing that is known here
	return a
}

// has reports whether a record is about it.
func (w *auditSubject) has(kind, body string) bool {
	if w.all {
		return true
	}
	if kind == auditAlerts || kind == auditChanged {
		list, err := readAlerts(body)
		return err == nil && w.alert != "" && slices.ContainsFunc(list, func(a auditedAlert) bool { return a.ref == w.alert })
	}
	a := readAbout(body)
	if slices.ContainsFunc(append(a.Runs, a.Run, a.Value.Run), func(run string) bool { return run != "" && slices.Contains(w.runs, run) }) {
		return true
	}
	return w.key != 0 && slices.ContainsFunc(a.Evaluated, func(one json.RawMessage) bool {
		var pair []json.RawMessage
		var key int64
		return json.Unmarshal(one, &pair) == nil && len(pair) > 0 && json.Unmarshal(pair[0], &key) == nil && key == w.key
	})
}

package store

import (
	"context"
	"fmt"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/erbridge/erbridge/internal/soar"
)

// AuditCheck says what VerifyAudit looks at.
type AuditCheck struct {
	// From is the number of the first record to look at; the one before it counts as
	// good. Zero: all there are.
	From int64
	// Expect is a mark that was noted elsewhere and has to be in the chain. With the
	// number 0, its hash has to be that of some record. Nil: none.
	Expect *AuditMark
}

// AuditReport says what was found good.
type AuditReport struct {
	First   int64     // number of the first record that was looked at
	Head    AuditMark // the newest record
	At      time.Time // when that one was committed
	Records int64
	// How much of what the records tell is still in the store, and is what they tell.
	Entries, Alerts, Runs, Playbooks int64
}

// VerifyAudit looks at the audit record as it is at this moment: that every record
// makes the hash that it has behind the one before it, that none is missing, and
// that the journal, the alerts, the runs and the playbooks which are still there are
// those that were recorded. It works beside a running erbridge and without one.
//
// An error that is an *AuditBreak tells the first bad record; the report goes as far
// as the chain was good.
func (r *Reader) VerifyAudit(ctx context.Context, check AuditCheck) (report AuditReport, err error) {
	err = r.audited(ctx, func(s *snapshot) error {
		v := &auditVerifier{snapshot: s, check: check}
		err := v.run()
		report = v.report
		report.Head, report.Records, report.At = v.chain.last, v.chain.records, fromMicros(v.chain.at)
		return err
	})
	return report, err
}

// auditVerifier is one verification.
type auditVerifier struct {
	*snapshot
	check  AuditCheck
	chain  chainCheck
	report AuditReport
	agree  *agreement
}

func (v *auditVerifier) run() error {
	anchor, err := v.anchor()
	if err != nil {
		return damaged(0, err)
	}
	if err := v.begin(anchor); err != nil {
		return err
	}
	v.report.First = v.chain.last.Seq + 1
	from := int64(-lastSeq) // a record that has no business before the first is found, too
	if v.check.From > anchor.Seq+1 {
		from = v.check.From
		v.agree = newAgreement(v.snapshot, anchor, from)
	} else {
		v.agree = newAgreement(v.snapshot, anchor, 0)
	}
	err = v.records(from, lastSeq, func(r *auditRecord) error {
		if err := v.chain.add(r); err != nil || v.chain.suspect != nil {
			return err
		}
		return v.agree.take(r)
	})
	if err == nil {
		err = v.chain.end()
	}
	if err == nil {
		err = v.checkEnd()
	}
	if err == nil {
		err = v.agree.end()
	}
	a := v.agree
	v.report.Entries, v.report.Alerts, v.report.Runs, v.report.Playbooks = a.entries, a.alerts, a.runs, a.playbooks
	return damaged(v.chain.last.Seq, err)
}

// begin finds the place from which the chain is followed.
func (v *auditVerifier) begin(anchor auditAnchor) error {
	v.chain.expect = v.check.Expect
	if v.check.From > anchor.Seq+1 {
		found := false
		err := v.records(v.check.From-1, v.check.From-1, func(r *auditRecord) error {
			found = true
			return v.chain.reach(r.mark())
		})
		if err == nil && !found {
			err = fmt.Errorf("audit record %d: %w; record %d is the first to verify behind one that there is", v.check.From-1, soar.ErrNotFound, anchor.Seq+1)
		}
		return damaged(v.check.From-1, err)
	}
	attested, found, err := v.attested()
	if err != nil {
		return damaged(anchor.Seq, err)
	}
	mark := AuditMark{Seq: anchor.Seq}
	if mark.Hash, err = ParseAuditHash(anchor.Hash); err != nil || found && attested != anchor {
		return &AuditBreak{Seq: anchor.Seq, At: fromMicros(anchor.At), What: FaultAnchor,
			Text: fmt.Sprintf("the chain is said to begin behind this record, and retention recorded that it begins behind record %d", attested.Seq)}
	}
	if !found && anchor.Seq != 0 {
		return missing(1, anchor.Seq, "the chain is said to begin behind them, and no record tells that retention removed them")
	}
	if want := v.check.Expect; want != nil && want.Seq != 0 && want.Seq < mark.Seq {
		return &AuditBreak{Seq: want.Seq, What: FaultMissing, Text: fmt.Sprintf(
			"it was noted elsewhere; retention has removed the records up to %d, so that it cannot be compared: note a newer one", mark.Seq)}
	}
	return v.chain.reach(mark)
}

// checkEnd compares the end of the chain with the counter that every commit keeps.
func (v *auditVerifier) checkEnd() error {
	counted, err := v.number("SELECT value FROM meta WHERE name = ?", tallyNames[lastAuditSeq])
	switch last := v.chain.last.Seq; {
	case err != nil:
		return err
	case counted > last:
		return missing(last+1, counted, fmt.Sprintf("the store has counted %d records, and the last one there is has the number %d", counted, last))
	case counted < last:
		return &AuditBreak{Seq: last, At: fromMicros(v.chain.at), What: FaultEnd,
			Text: fmt.Sprintf("the store has counted %d records, and there are some up to %d: the counter last_audit_seq of table meta was changed", counted, last)}
	}
	return nil
}

// damaged makes an AuditBreak of an error that SQLite has with its file. Reading came
// as far as record last.
func damaged(last int64, err error) error {
	if c := code(err); c == sqlite3.SQLITE_CORRUPT || c == sqlite3.SQLITE_NOTADB {
		return &AuditBreak{Seq: last + 1, What: FaultFormat, Text: fmt.Sprintf("the file is damaged here or behind it: %v", err)}
	}
	return err
}

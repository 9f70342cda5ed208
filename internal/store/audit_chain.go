package store

import "fmt"

// chainCheck follows a chain from a place that is known to be good. It runs one
// record behind where something is wrong, because the record after tells which of the
// two, content or hash, was changed.
type chainCheck struct {
	last    AuditMark // the newest record that was found good, or where the chain begins
	at      int64     // when that one was committed
	suspect *auditRecord
	records int64

	expect *AuditMark // a mark that has to turn up; nil: none
	met    bool
}

// add takes the next record. An error is the *AuditBreak of a record before it or of
// this one.
func (c *chainCheck) add(r *auditRecord) error {
	if c.suspect != nil {
		return c.explain(r)
	}
	switch {
	case r.seq <= c.last.Seq:
		return r.broken(FaultOrder, "a record of this number stands behind record %d", c.last.Seq)
	case r.seq > c.last.Seq+1:
		return missing(c.last.Seq+1, r.seq-1, fmt.Sprintf("the next one there is has the number %d", r.seq))
	case r.after(c.last.Hash) != r.hash:
		suspect := *r
		c.suspect = &suspect
		return nil
	}
	c.records++
	c.at = r.at
	return c.reach(r.mark())
}

// reach goes on to a mark, which must be the expected one where it has its number.
func (c *chainCheck) reach(m AuditMark) error {
	c.last = m
	switch {
	case c.expect == nil || m.Seq == 0: // before the first record there is nothing that could have been noted
	case c.expect.Hash == m.Hash && (c.expect.Seq == 0 || c.expect.Seq == m.Seq):
		c.met = true
	case c.expect.Seq != 0 && c.expect.Seq == m.Seq:
		return &AuditBreak{Seq: m.Seq, What: FaultHash, Text: fmt.Sprintf(
			"its hash was noted as %s, and is %s: the chain was written anew, from this record or one before it", c.expect.Hash, m.Hash)}
	}
	return nil
}

// finish is called after the last record.
func (c *chainCheck) finish() error {
	if c.suspect != nil {
		return c.explain(nil)
	}
	return nil
}

// end is called after the last record of the chain itself.
func (c *chainCheck) end() error {
	if err := c.finish(); err != nil {
		return err
	}
	if c.expect == nil || c.met {
		return nil
	}
	if c.expect.Seq > c.last.Seq {
		return missing(c.last.Seq+1, c.expect.Seq, fmt.Sprintf("record %d was noted elsewhere, and the last one there is has the number %d",
			c.expect.Seq, c.last.Seq))
	}
	return &AuditBreak{Seq: c.last.Seq, At: fromMicros(c.at), What: FaultEnd, Text: fmt.Sprintf(
		"no record has the hash %s, which was noted elsewhere: records at the end are missing, the chain was written anew, or retention has removed it",
		c.expect.Hash)}
}

// explain says what is wrong with the suspect, by the record after it, if there is one.
func (c *chainCheck) explain(next *auditRecord) error {
	r := c.suspect
	made := r.after(c.last.Hash) // the hash that its content makes
	switch {
	case next == nil:
		return r.broken(FaultContent, "it does not make the hash that it has; it is the last record, so that the hash may be what was changed")
	case next.seq == r.seq+1 && next.after(made) == next.hash:
		return r.broken(FaultHash, "the record after it was made behind %s, which its content still makes", made)
	case next.seq == r.seq+1 && next.after(r.hash) == next.hash:
		return r.broken(FaultContent, "time, kind or body are others than those that made its hash; the record after it was made behind that hash")
	case renumbered(next, r.seq).after(c.last.Hash) == next.hash:
		return r.broken(FaultOrder, "the record that now has the number %d was made in its place", next.seq)
	}
	return r.broken(FaultContent, "it does not make the hash that it has, and the record after it was not made behind it either: more than one was changed")
}

// renumbered is a record under another number.
func renumbered(r *auditRecord, seq int64) *auditRecord {
	m := *r
	m.seq = seq
	return &m
}

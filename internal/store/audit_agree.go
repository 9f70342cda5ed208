package store

import (
	"crypto/sha256"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// agreement compares what the audit record tells with what the store has. What is
// gone from the store must have been removed by retention, which has records of its
// own, and what is in the store must have been recorded.
type agreement struct {
	*snapshot
	part      bool            // only the end of the chain is looked at:
	from      int64           // from this record on
	sinceRun  int64           // runs up to this id need not have been recorded
	entriesOf map[int64]int64 // run to how many of its entries were recorded
	latest    map[int64]auditedRun
	changed   map[int64]changedAlert // alerts that changed after they were taken in
	lastKey   int64                  // the newest alert of which a record tells
	gone      [][2]int64             // ranges of alerts that retention has removed
	goneRuns  map[int64]bool
	absent    []absentEntry

	entries, alerts, runs, playbooks int64
}

// auditedRun is the newest record about a run.
type auditedRun struct {
	seq   int64
	what  [16]byte // playbook, version, alert and mode; see runSum
	state int8     // index of runStates
}

// changedAlert is the newest record about an alert that changed.
type changedAlert struct {
	seq    int64
	ref    string
	digest [32]byte
}

// absentEntry is a recorded journal entry that is not in the journal.
type absentEntry struct {
	record     auditRecord // without its body
	run, entry int64
}

// clockGrace is how far a clock may be set back without anything looking unrecorded.
const clockGrace = 24 * time.Hour

// runCounterBits are those of a run's id that do not tell when it was made.
const runCounterBits = 1<<21 - 1

// newAgreement compares from a record on, or from the first one there is: 0.
func newAgreement(s *snapshot, anchor auditAnchor, from int64) *agreement {
	a := &agreement{
		snapshot: s, part: from > 0, from: from, lastKey: anchor.AlertKey,
		entriesOf: map[int64]int64{}, latest: map[int64]auditedRun{}, changed: map[int64]changedAlert{}, goneRuns: map[int64]bool{},
	}
	if anchor.Seq > 0 {
		// Runs that began before the last record that was removed may have lost some.
		// Clocks are set back now and then, hence the grace.
		a.sinceRun = int64(soar.NewRunID(fromMicros(anchor.At).Add(clockGrace))) | runCounterBits
	}
	return a
}

// take takes a record up to which the chain is good.
func (a *agreement) take(r *auditRecord) error {
	var err error
	switch r.kind {
	case auditBegan:
		var began beganBody
		if err = json.Unmarshal([]byte(r.body), &began); err == nil {
			a.sinceRun, a.lastKey = began.Run, began.AlertKey
		}
	case auditAlerts, auditChanged:
		err = a.takeAlerts(r)
	case auditPlaybook:
		return a.comparePlaybook(r)
	case auditRun:
		err = a.takeRun(r)
	case auditRetention:
		err = a.takeRetention(r)
	case auditEvaluated, auditGuard, auditAct:
	default:
		return a.compareEntry(r)
	}
	if err != nil {
		return unreadableBody(r, err)
	}
	return nil
}

// unreadableBody cannot happen to what erbridge wrote, so somebody else did.
func unreadableBody(r *auditRecord, err error) *AuditBreak {
	return r.broken(FaultFormat, "its body cannot be read: %v", err)
}

func (a *agreement) takeAlerts(r *auditRecord) error {
	items, err := readAlerts(r.body)
	if err != nil {
		return err
	}
	if r.kind == auditAlerts {
		for _, item := range items {
			a.lastKey = max(a.lastKey, item.key)
		}
		return nil // compared at the end, when it is known which of them changed
	}
	for _, item := range items {
		a.changed[item.key] = changedAlert{r.seq, item.ref, item.digest}
	}
	return nil
}

func (a *agreement) takeRun(r *auditRecord) error {
	var run soar.Run
	if err := json.Unmarshal([]byte(r.body), &struct {
		ID       *soar.RunID    `json:"run"`
		Playbook *string        `json:"playbook"`
		Version  *string        `json:"version"`
		Alert    *string        `json:"alert"`
		Mode     *soar.Mode     `json:"mode"`
		State    *soar.RunState `json:"state"`
	}{&run.ID, &run.Playbook, &run.Version, &run.Alert, &run.Mode, &run.State}); err != nil {
		return err
	}
	a.latest[int64(run.ID)] = auditedRun{r.seq, runSum(run.Playbook, run.Version, run.Alert, string(run.Mode)), stateIndex(run.State)}
	return nil
}

// runSum stands for what never changes of a run.
func runSum(playbook, version, alert, mode string) [16]byte {
	sum := sha256.Sum256([]byte(playbook + "\x00" + version + "\x00" + alert + "\x00" + mode))
	return [16]byte(sum[:])
}

func stateIndex(state soar.RunState) int8 {
	return int8(slices.Index(runStates[:], state)) //nolint:gosec // there are six
}

func (a *agreement) takeRetention(r *auditRecord) error {
	var body retentionBody
	if err := json.Unmarshal([]byte(r.body), &body); err != nil {
		return err
	}
	a.gone = append(a.gone, body.Alerts...)
	for _, id := range body.Runs {
		a.goneRuns[int64(id)] = true
		delete(a.entriesOf, int64(id))
		delete(a.latest, int64(id))
	}
	return nil
}

func (a *agreement) comparePlaybook(r *auditRecord) error {
	var body playbookBody
	if err := json.Unmarshal([]byte(r.body), &body); err != nil {
		return unreadableBody(r, err)
	}
	found := false
	err := a.each("SELECT name, source FROM playbook WHERE hash = ?", []any{body.Hash}, func(row []driver.Value) error {
		found = true
		if text(row[0]) != body.Name || sumOf(blob(row[1])) != body.SHA256 {
			return r.broken(FaultTables, "version %s of playbook %q is not the text that was recorded", body.Hash, body.Name)
		}
		a.playbooks++
		return nil
	})
	if err == nil && !found {
		err = r.broken(FaultTables, "version %s of playbook %q is gone; nothing removes versions", body.Hash, body.Name)
	}
	return err
}

// compareEntry compares a record with its journal entry.
func (a *agreement) compareEntry(r *auditRecord) error {
	var body struct {
		Run      soar.RunID `json:"run"`
		Entry    int64      `json:"entry"`
		Redacted int        `json:"redacted"`
		SHA256   string     `json:"sha256"`
	}
	if err := json.Unmarshal([]byte(r.body), &body); err != nil || body.SHA256 == "" {
		return unreadableBody(r, fmt.Errorf("no entry of a journal: %w", err))
	}
	run := int64(body.Run)
	a.entriesOf[run]++
	found := false
	err := a.each("SELECT at, step, kind, ref, body FROM ev WHERE run = ? AND seq = ?", []any{run, body.Entry}, func(row []driver.Value) error {
		found = true
		clean, _ := redact([]byte(text(row[4])))
		if body.Redacted != 0 && body.Redacted != redactRules {
			return nil // made by other rules
		}
		if kind := text(row[2]); entryRecordKind(soar.EntryKind(kind)) != r.kind ||
			fmt.Sprintf("%x", entrySum(run, body.Entry, number(row[0]), text(row[1]), kind, text(row[3]), clean)) != body.SHA256 {
			return r.broken(FaultTables, "entry %d in the journal of run %s is not the one that was recorded", body.Entry, body.Run)
		}
		a.entries++
		return nil
	})
	if err == nil && !found {
		record := *r
		record.body = ""
		a.absent = append(a.absent, absentEntry{record, run, body.Entry})
	}
	return err
}

// end makes the comparisons that need to have seen all records.
func (a *agreement) end() error {
	for _, e := range a.absent {
		if !a.goneRuns[e.run] {
			return e.record.broken(FaultTables, "entry %d is gone from the journal of run %s, and retention has not removed it", e.entry, soar.RunID(e.run))
		}
	}
	if err := a.compareAlerts(); err != nil {
		return err
	}
	if err := a.compareRuns(); err != nil || a.part {
		return err
	}
	return a.each("SELECT run, count(*) FROM ev WHERE run > ? GROUP BY run", []any{a.sinceRun}, func(row []driver.Value) error {
		if run, n := number(row[0]), number(row[1]); a.entriesOf[run] != n {
			return unrecorded("the journal of run %s has %d entries, and %d were recorded", soar.RunID(run), n, a.entriesOf[run])
		}
		return nil
	})
}

// unrecorded is what the store has and no record tells of.
func unrecorded(what string, args ...any) *AuditBreak {
	return &AuditBreak{What: FaultUnrecorded, Text: fmt.Sprintf(what, args...)}
}

// compareRuns compares the newest record of each run with the run.
func (a *agreement) compareRuns() error {
	var broken *AuditBreak
	err := a.each("SELECT id, playbook, version, alert, mode, state FROM run WHERE id > ? OR ? ORDER BY id", []any{a.sinceRun, a.part},
		func(row []driver.Value) error {
			id := number(row[0])
			last, recorded := a.latest[id]
			if !recorded {
				if !a.part {
					return unrecorded("there is a run %s of playbook %q, and no record of its beginning", soar.RunID(id), text(row[1]))
				}
				return nil
			}
			delete(a.latest, id)
			state := soar.RunState(text(row[5]))
			same := stateIndex(state) == last.state
			if last.state >= 0 && !runStates[last.state].Ended() {
				same = !state.Ended() // running and waiting come and go
			}
			if !same || runSum(text(row[1]), text(row[2]), text(row[3]), text(row[4])) != last.what {
				broken = firstBreak(broken, last.seq, auditRun, "run %s of playbook %q, %s, is not what was recorded last", soar.RunID(id), text(row[1]), state)
			}
			a.runs++
			return nil
		})
	if err != nil {
		return err
	}
	// What is left is no longer there, or began before there was an audit record.
	for id, last := range a.latest {
		n, err := a.number("SELECT count(*) FROM run WHERE id = ?", id)
		if err != nil {
			return err
		}
		if n == 0 {
			broken = firstBreak(broken, last.seq, auditRun, "run %s is gone, and retention has not removed it", soar.RunID(id))
		}
	}
	if broken != nil {
		return broken
	}
	return nil
}

func firstBreak(before *AuditBreak, seq int64, kind, words string, args ...any) *AuditBreak {
	if before != nil && before.Seq <= seq {
		return before
	}
	return &AuditBreak{Seq: seq, Kind: kind, What: FaultTables, Text: fmt.Sprintf(words, args...)}
}

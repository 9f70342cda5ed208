package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The audit record is a chain: each record has the hash of the one before it in its
// own, so that none of them can be changed, taken out, put in or moved without
// breaking the chain from there on. Records are made by the committer, in the
// transaction of what they tell, so that they neither miss nor invent anything.
// What stands in them is in audit_body.go; what never does, in audit_redact.go.

// The kinds of audit records. Those of journal entries are soar.EntryKind.
const (
	auditBegan     = "began"          // the first record of all
	auditAlerts    = "alerts"         // alerts were taken in
	auditChanged   = "alerts.changed" // the server told of changes of known ones
	auditPlaybook  = "playbook"       // a version of a playbook was seen for the first time
	auditEvaluated = "evaluated"      // verdicts of playbooks
	auditRun       = "run"            // a run began or ended
	auditGuard     = "guard"          // what the guard or an approval remembers
	auditAct       = "act"            // what a person did, where nothing else tells of it
	auditRetention = "retention"      // what has aged was removed
)

// AuditHash is the hash of an audit record.
type AuditHash [sha256.Size]byte

func (h AuditHash) String() string { return hex.EncodeToString(h[:]) }

// ParseAuditHash reads the text form.
func ParseAuditHash(text string) (h AuditHash, err error) {
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != len(h) {
		return h, fmt.Errorf("hash %q: expected %d hexadecimal digits", text, hex.EncodedLen(len(h)))
	}
	return AuditHash(data), nil
}

// AuditMark is a place in the chain. Whoever keeps the mark of the newest record
// outside of the store can prove later that everything up to it is still there. The
// zero AuditMark is where the chain begins.
type AuditMark struct {
	Seq  int64
	Hash AuditHash
}

// String is number, colon, hash.
func (m AuditMark) String() string { return strconv.FormatInt(m.Seq, 10) + ":" + m.Hash.String() }

// ParseAuditMark reads the text form; a hash alone has the number 0, which stands
// for any.
func ParseAuditMark(text string) (m AuditMark, err error) {
	number, hash, found := strings.Cut(text, ":")
	if !found {
		number, hash = "0", text
	}
	if m.Seq, err = strconv.ParseInt(number, 10, 64); err != nil || m.Seq < 0 {
		return m, fmt.Errorf("%q: expected the number of a record before the colon", text)
	}
	m.Hash, err = ParseAuditHash(hash)
	return m, err
}

// auditRecord is one link of the chain.
type auditRecord struct {
	seq  int64
	at   int64 // microseconds since 1970: when it was committed
	kind string
	body string // JSON on one line
	hash AuditHash
}

func (r *auditRecord) mark() AuditMark { return AuditMark{r.seq, r.hash} }

// after is the hash that the record has to have behind a record with hash prev.
func (r *auditRecord) after(prev AuditHash) AuditHash {
	h, _ := chainHash(nil, prev, r.seq, r.at, r.kind, r.body)
	return h
}

// chainHash is SHA-256 over the hash before, number and time as eight bytes each, the
// length of the kind as one byte, the kind, and the body. It works in buf and returns
// it for the next one.
func chainHash(buf []byte, prev AuditHash, seq, at int64, kind, body string) (AuditHash, []byte) {
	buf = append(buf[:0], prev[:]...)
	buf = binary.BigEndian.AppendUint64(buf, uint64(seq)) //nolint:gosec // the bits matter, not the sign
	buf = binary.BigEndian.AppendUint64(buf, uint64(at))  //nolint:gosec // as above
	buf = append(buf, byte(len(kind)))
	buf = append(buf, kind...)
	buf = append(buf, body...)
	return sha256.Sum256(buf), buf
}

// AuditBreak is the first place at which an audit record is not what was written. Seq
// is the number of the record, At and Kind what can still be read of it. What should
// have a record and has none has the number 0.
type AuditBreak struct {
	Seq  int64
	At   time.Time
	Kind string
	What AuditFault
	Text string // what differs, in words
}

// AuditFault says what is wrong with a record.
type AuditFault string

// The faults.
const (
	FaultContent AuditFault = "content changed"
	FaultHash    AuditFault = "hash changed"
	FaultMissing AuditFault = "record missing"
	FaultOrder   AuditFault = "out of order"
	FaultFormat  AuditFault = "not as it was written"
	FaultAnchor  AuditFault = "begins at the wrong place" // after retention
	FaultEnd     AuditFault = "ends at the wrong place"
	// The chain is whole, and something that it tells of, or should tell of, was
	// changed. A break of the last kind has no record.
	FaultTables     AuditFault = "the store says otherwise"
	FaultUnrecorded AuditFault = "in the store and not recorded"
)

func (b *AuditBreak) Error() string {
	var known []string
	if b.Kind != "" {
		known = append(known, fmt.Sprintf("%q", b.Kind))
	}
	if !b.At.IsZero() {
		known = append(known, b.At.UTC().Format(time.RFC3339Nano))
	}
	name := "audit record"
	if b.Seq != 0 {
		name += " " + strconv.FormatInt(b.Seq, 10)
	}
	if len(known) > 0 {
		name += " (" + strings.Join(known, ", ") + ")"
	}
	return fmt.Sprintf("%s: %s: %s", name, b.What, b.Text)
}

func (r *auditRecord) broken(what AuditFault, text string, args ...any) *AuditBreak {
	return &AuditBreak{Seq: r.seq, At: fromMicros(r.at), Kind: r.kind, What: what, Text: fmt.Sprintf(text, args...)}
}

func missing(first, last int64, text string) *AuditBreak {
	if first < last {
		text = fmt.Sprintf("so are those up to %d; %s", last, text)
	}
	return &AuditBreak{Seq: first, What: FaultMissing, Text: text}
}

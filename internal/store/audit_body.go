package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// The bodies of audit records. They are JSON on one line, made by hand where many of
// them are made a second. A field that is added later must be optional.

const (
	// maxAuditBody bounds one body: what is larger in a journal entry, such as the
	// rows of a query, is told by its hash.
	maxAuditBody = 32 << 10
	// maxAuditMember is what a part of a body may take when the whole is too large.
	maxAuditMember = 2 << 10
	// auditList is how many alerts one record tells of.
	auditList = 1000
)

// auditRows are the bodies of a Change that do not depend on what the store has.
// They are made in the caller's goroutine.
type auditRows struct {
	evaluated []string
	entries   []string // of Change.Entries
	guard     []string
	acts      []string
}

// What the guard counts follows from the intents in the journal, and comes and goes
// with every call.
var notAudited = []string{"guard/intent/", "guard/call/", "guard/budget/host/", "guard/budget/granted/", "guard/budget/fleet"}

// auditedKV reports whether a value is one of the guard that an auditor asks about.
func auditedKV(key string) bool {
	if strings.HasPrefix(key, "approval/") {
		return true
	}
	return strings.HasPrefix(key, "guard/") && !slices.ContainsFunc(notAudited, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}

func makeAudit(r *rows) {
	c, a := r.Change, &r.audit
	if len(c.Evaluated) > 0 {
		a.evaluated = evaluatedBodies(c.Evaluated, r.verdicts)
	}
	if len(c.Entries) > 0 {
		a.entries = make([]string, len(c.Entries))
		for i := range c.Entries {
			a.entries[i] = entryBody(&c.Entries[i])
			r.sizeInBytes += int64(len(a.entries[i]))
		}
	}
	for i := range c.KV {
		if auditedKV(c.KV[i].Key) {
			a.guard = append(a.guard, guardBody(&c.KV[i]))
		}
	}
	for i := range c.Acts {
		data, _ := json.Marshal(&c.Acts[i]) // texts and a time
		clean, _ := redact(data)
		a.acts = append(a.acts, string(bounded(clean)))
	}
}

// digest is how an alert's content stands in the audit record: SHA-256 of its JSON.
func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// alertItem is an alert in a list, to be completed by its key: the name that it has
// outside of the store, and what its content was. The content itself is not copied.
func alertItem(ref, digest string) string {
	b := make([]byte, 0, len(ref)+len(digest)+8)
	b = append(b, ',')
	b = appendText(b, ref)
	b = append(b, ',', '"')
	b = append(b, digest...)
	return string(append(b, '"', ']'))
}

// alertsBody is a list that grows: {"alerts":[[1,"er-17","<digest>"],...]}.
type alertsBody struct {
	text []byte
	n    int
}

func (b *alertsBody) add(key int64, item string) {
	if b.n == 0 {
		b.text = append(b.text[:0], `{"alerts":[`...)
	} else {
		b.text = append(b.text, ',')
	}
	b.text = append(b.text, '[')
	b.text = strconv.AppendInt(b.text, key, 10)
	b.text = append(b.text, item...)
	b.n++
}

func (b *alertsBody) take() string {
	b.n = 0
	return string(append(b.text, `]}`...))
}

func evaluatedBodies(all []soar.Evaluation, verdicts []string) (bodies []string) {
	var b []byte
	for i, e := range all {
		if len(b) == 0 {
			b = append(b, `{"evaluated":[[`...)
		} else {
			b = append(b, `,[`...)
		}
		b = strconv.AppendInt(b, e.AlertKey, 10)
		if verdicts[i] != "" { // else nothing matched and nothing failed
			b = append(b, ',')
			clean, _ := redact([]byte(verdicts[i]))
			b = append(b, bounded(clean)...)
		}
		b = append(b, ']')
		if len(b) > maxAuditBody || i == len(all)-1 {
			bodies = append(bodies, string(append(b, `]}`...)))
			b = b[:0]
		}
	}
	return bodies
}

func runBody(run *soar.Run) string {
	b := append(make([]byte, 0, 320), `{"run":"`...)
	b = append(b, run.ID.String()...)
	b = append(b, '"')
	for _, f := range []struct{ name, text string }{
		{"playbook", run.Playbook}, {"version", run.Version}, {"alert", run.Alert}, {"mode", string(run.Mode)}, {"state", string(run.State)},
		{"error", short(run.Error)},
	} {
		if f.text != "" {
			b = append(append(append(b, `,"`...), f.name...), `":`...)
			b = appendText(b, f.text)
		}
	}
	clean, _ := redact(append(b, '}'))
	return string(clean)
}

// short bounds a text of which the beginning says enough.
func short(text string) string {
	if len(text) > maxAuditMember {
		return strings.ToValidUTF8(text[:maxAuditMember], "") + "..."
	}
	return text
}

// entryBody is a journal entry with the hash by which it is found to be the same.
func entryBody(e *soar.Entry) string {
	clean, found := redact(e.Body)
	b := append(make([]byte, 0, 240+min(len(clean), maxAuditBody)), `{"run":"`...)
	b = append(b, e.Run.String()...)
	b = append(b, `","entry":`...)
	b = strconv.AppendInt(b, int64(e.Seq), 10)
	if e.Step != "" {
		b = appendText(append(b, `,"step":`...), e.Step)
	}
	if e.Ref != "" {
		b = appendText(append(b, `,"ref":`...), e.Ref)
	}
	if len(clean) > 0 {
		b = append(b, `,"body":`...)
		b = append(b, bounded(clean)...)
	}
	if found {
		// The hash of what was taken out would help to guess it.
		b = strconv.AppendInt(append(b, `,"redacted":`...), redactRules, 10)
	}
	b = append(b, `,"sha256":"`...)
	sum := entrySum(int64(e.Run), int64(e.Seq), micros(e.At), e.Step, string(e.Kind), e.Ref, clean)
	b = hex.AppendEncode(b, sum[:])
	return string(append(b, `"}`...))
}

// entrySum is a hash over everything that the journal has of an entry.
func entrySum(run, seq, at int64, step, kind, ref string, body []byte) [sha256.Size]byte {
	b := make([]byte, 0, 128+len(body))
	for _, n := range []int64{run, seq, at, int64(len(step)), int64(len(kind)), int64(len(ref))} {
		b = append(strconv.AppendInt(b, n, 10), ' ')
	}
	b = append(append(append(append(b, step...), kind...), ref...), body...)
	return sha256.Sum256(b)
}

func guardBody(kv *soar.KV) string {
	b := appendText([]byte(`{"key":`), kv.Key)
	switch {
	case kv.Value == "":
		b = append(b, `,"removed":true`...)
	case json.Valid([]byte(kv.Value)):
		clean, _ := redact([]byte(kv.Value))
		b = append(append(b, `,"value":`...), bounded(clean)...)
	default:
		b = appendText(append(b, `,"value":`...), short(kv.Value))
	}
	return string(append(b, '}'))
}

// bounded is a JSON text on one line of no more than maxAuditBody bytes. Where it is
// longer, its largest members give way to their hash, or all of it does.
func bounded(text []byte) []byte {
	if bytes.ContainsAny(text, "\n\r") {
		var line bytes.Buffer
		if json.Compact(&line, text) == nil {
			text = line.Bytes()
		}
	}
	if len(text) <= maxAuditBody {
		return text
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) == nil {
		for name, member := range members {
			if len(member) > maxAuditMember {
				members[name] = leftOut(member)
			}
		}
		if small := plainJSON(members); len(small) <= maxAuditBody {
			return small
		}
	}
	return leftOut(text)
}

func leftOut(text []byte) []byte {
	sum := sha256.Sum256(text)
	b := append([]byte(`{"left_out_bytes":`), strconv.Itoa(len(text))...)
	b = append(b, `,"sha256":"`...)
	return append(hex.AppendEncode(b, sum[:]), `"}`...)
}

// appendText appends a text as JSON.
func appendText(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return append(b, plainJSON(text)...)
		}
	}
	b = append(b, '"')
	b = append(b, text...)
	return append(b, '"')
}

// retentionBody tells what has aged and was removed.
type retentionBody struct {
	Alerts [][2]int64   `json:"alerts,omitempty"` // ranges of keys
	Runs   []soar.RunID `json:"runs,omitempty"`
	Audit  *auditAnchor `json:"audit,omitempty"`
}

// auditAnchor is where the chain begins after retention: behind the last record that
// was removed.
type auditAnchor struct {
	Seq  int64  `json:"seq"`
	At   int64  `json:"at_us"`
	Hash string `json:"hash"`
	// AlertKey is the newest alert that removed records tell of.
	AlertKey int64 `json:"alert_key"`
}

func (b *retentionBody) empty() bool { return len(b.Alerts) == 0 && len(b.Runs) == 0 && b.Audit == nil }

// removedAlert notes an alert; keys come in ascending order.
func (b *retentionBody) removedAlert(key int64) {
	if n := len(b.Alerts); n > 0 && b.Alerts[n-1][1] == key-1 {
		b.Alerts[n-1][1] = key
		return
	}
	b.Alerts = append(b.Alerts, [2]int64{key, key})
}

// playbookBody is a version of a playbook, with the hash of its text.
type playbookBody struct {
	Hash   string `json:"hash"`
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// beganBody is the first record: what was there before it, of which nothing was
// recorded.
type beganBody struct {
	AlertKey int64 `json:"alert_key"` // the newest
	Run      int64 `json:"run_id"`    // the newest, as the store has it
}

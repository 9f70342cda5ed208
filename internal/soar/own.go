package soar

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// What erbridge changes on the server comes back to it as news. By these it is known
// again: a line in texts that it writes, which other instances of erbridge know as well,
// and a value in the store that is committed before the call is sent.

const (
	ownOpening = "[erbridge "
	ownClosing = "]"
)

// OwnLine is the line by which a text that erbridge writes on the server is known again.
// The brackets end it, so that the mark of step 1 is not found in the text of step 10.
func OwnLine(mark string) string { return ownOpening + mark + ownClosing }

// WithOwnLine puts the line behind a text, in place of one that it has.
func WithOwnLine(text, mark string) string {
	return strings.TrimSpace(WithoutOwnLine(text) + " " + OwnLine(mark))
}

// WithoutOwnLine is the text before the line.
func WithoutOwnLine(text string) string {
	if at, _, ok := ownLine(text); ok {
		return strings.TrimSpace(text[:at])
	}
	return text
}

// OwnMark finds the mark of a text that erbridge wrote. The line has to end the text:
// somebody who quotes it and goes on writing is not erbridge.
func OwnMark(text string) (mark string, run RunID, ok bool) {
	_, mark, ok = ownLine(text)
	if !ok {
		return "", 0, false
	}
	for _, part := range strings.FieldsFunc(mark, func(r rune) bool { return r == '-' || r == '/' }) {
		if run, err := ParseRunID(part); err == nil {
			return mark, run, true
		}
	}
	return "", 0, false
}

func ownLine(text string) (at int, mark string, ok bool) {
	text = strings.TrimRight(text, " \t\r\n")
	at = strings.LastIndex(text, ownOpening)
	if at < 0 || !strings.HasSuffix(text, ownClosing) {
		return 0, "", false
	}
	mark = text[at+len(ownOpening) : len(text)-len(ownClosing)]
	return at, mark, mark != "" && !strings.ContainsAny(mark, "[]\n")
}

// OwnChange is a change of an alert that erbridge is about to make.
type OwnChange struct {
	Server  string    `json:"server"`
	ID      string    `json:"id"` // of the alert
	Run     string    `json:"run"`
	Mark    string    `json:"mark"`
	Status  string    `json:"status"`            // what it will be
	Verdict string    `json:"verdict,omitempty"` // with StatusResolved
	At      time.Time `json:"at"`                // when the call was about to be sent
}

// OwnChangePrefix is how the keys of all own changes begin.
const OwnChangePrefix = "mirror/ours/"

// keepOwnChange is how long an own change is remembered that nobody has looked for.
const keepOwnChange = 30 * 24 * time.Hour

// OwnChangesOf is how the keys of the own changes of an alert begin.
func OwnChangesOf(server, id string) string { return OwnChangePrefix + server + "/" + id + "/" }

// Key is the key of the value by which the change is remembered.
func (c *OwnChange) Key() string { return OwnChangesOf(c.Server, c.ID) + c.Mark }

// KV is the value that is committed before the call is sent.
func (c *OwnChange) KV() KV {
	value, err := json.Marshal(c)
	if err != nil { // texts and a time
		value = []byte("{}")
	}
	return KV{Key: c.Key(), Value: string(value), Expires: c.At.Add(keepOwnChange)}
}

// ParseOwnChange reads a value that OwnChange.KV made.
func ParseOwnChange(kv KV) (c OwnChange, err error) {
	if err := json.Unmarshal([]byte(kv.Value), &c); err != nil {
		return c, fmt.Errorf("own change %q: %w", kv.Key, err)
	}
	if c.Key() != kv.Key {
		return c, fmt.Errorf("own change %q is one of %q", kv.Key, c.Key())
	}
	return c, nil
}

// MadeIt reports whether an alert is what the change makes of it. Servers before release
// 4.0 keep no verdict.
func (c *OwnChange) MadeIt(a *Alert) bool {
	return a.Status == c.Status && (c.Status != StatusResolved || a.Verdict == "" || a.Verdict == c.Verdict)
}

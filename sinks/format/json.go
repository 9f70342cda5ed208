package format

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
)

// JSON is the event in erbridge's own form, on one line without a line feed at
// its end: the shape that playbooks see, plus "summary". The vendor's answer of
// threat-intelligence alerts can be large and is left out unless intel is set.
func JSON(ev *soar.Event, intel bool) []byte { return jsonEvent(ev, intel, 0) }

// jsonEvent cuts columns and texts to that many characters; 0 cuts nothing, bare
// leaves the columns out, and minimal nearly everything.
func jsonEvent(ev *soar.Event, intel bool, maxText int) []byte {
	if maxText == minimal {
		return marshal(struct {
			ID      string         `json:"id"`
			Type    soar.EventType `json:"type"`
			At      time.Time      `json:"at"`
			Summary string         `json:"summary"`
		}{clip(ev.ID, bareText), ev.Type, writableTime(ev.At), clip(Summary(ev), minimalText)})
	}
	doc := struct {
		soar.Event
		Summary string `json:"summary"`
	}{writableEvent(ev, intel), Summary(ev)}
	if maxText != 0 {
		doc.Event, doc.Summary = cutEvent(doc.Event, maxText), clip(doc.Summary, textLimit(maxText))
	}
	return marshal(doc)
}

// writableEvent is a copy of the event that has a JSON form, whatever came in.
func writableEvent(ev *soar.Event, intel bool) soar.Event {
	c := *ev
	c.At = writableTime(c.At)
	c.Change = ShortChange(c.Change, math.MaxInt)
	if c.Alert != nil {
		c.Alert = writable(c.Alert, intel)
	}
	if c.Row != nil {
		r := *c.Row
		r.At, r.Host.LastSeen, r.Columns = writableTime(r.At), writableTime(r.Host.LastSeen), writableColumns(r.Columns)
		c.Row = &r
	}
	if c.Group != nil {
		g := *c.Group
		g.First, g.Last = writableTime(g.First), writableTime(g.Last)
		c.Group = &g
	}
	if c.Undo != nil {
		u := *c.Undo
		u.At = writableTime(u.At)
		c.Undo = &u
	}
	return c
}

// writable is a copy of the alert that has a JSON form, whatever came in.
func writable(a *soar.Alert, intel bool) *soar.Alert {
	c := *a
	if !intel || !json.Valid(c.Intel) {
		c.Intel = nil
	}
	c.CreatedAt, c.UpdatedAt, c.EventTime = writableTime(c.CreatedAt), writableTime(c.UpdatedAt), writableTime(c.EventTime)
	c.Host.LastSeen, c.Event = writableTime(c.Host.LastSeen), writableColumns(c.Event)
	return &c
}

// writableTime is the zero time for what RFC 3339 has no form for.
func writableTime(t time.Time) time.Time {
	if year := t.UTC().Year(); year < 1 || year > 9999 {
		return time.Time{}
	}
	return t.UTC()
}

// Shortened is the event with its texts cut to that many characters and without
// the vendor's answer, for a receiver that finds it too large on its own.
func Shortened(ev soar.Event, maxText int) soar.Event {
	return cutEvent(writableEvent(&ev, false), max(maxText, 1))
}

// cutEvent cuts the texts of an event, which it may change, to one of caps: that many
// characters; bare and minimal leave out what the event on the host was.
func cutEvent(ev soar.Event, maxText int) soar.Event {
	drop := maxText < 0
	limit := textLimit(maxText)
	ev.Text = clip(ev.Text, limit)
	ev.Change = ShortChange(ev.Change, limit)
	if ev.Alert != nil {
		a := *ev.Alert
		shorten(&a, limit)
		if drop {
			a.Event, a.Host.Tags, a.Intel = nil, nil, nil
		}
		ev.Alert = &a
	}
	if ev.Row != nil {
		r := *ev.Row
		r.Columns = cutColumns(r.Columns, limit)
		r.Query, r.Host.Name, r.Host.OS = clip(r.Query, limit), clip(r.Host.Name, limit), clip(r.Host.OS, limit)
		if drop {
			r.Columns, r.Host.Tags = nil, nil
		}
		ev.Row = &r
	}
	if ev.Outcome != nil {
		o := *ev.Outcome
		o.Summary, o.Error = clip(o.Summary, limit), clip(o.Error, limit)
		ev.Outcome = &o
	}
	if ev.Run != nil {
		r := *ev.Run
		r.Error = clip(r.Error, limit)
		ev.Run = &r
	}
	if ev.Approval != nil {
		a := *ev.Approval
		a.Text, a.Why, a.With = clip(a.Text, limit), clip(a.Why, limit), nil
		ev.Approval = &a
	}
	if ev.Group != nil {
		g := *ev.Group
		g.Key = clip(g.Key, limit)
		if drop {
			g.Names, g.Runs, g.Steps = nil, nil, nil
		}
		ev.Group = &g
	}
	return ev
}

// shorten cuts the parts of an alert that have no bound of their own. It works
// on a copy: the alert's maps are not touched.
func shorten(a *soar.Alert, maxText int) {
	a.Event = cutColumns(a.Event, maxText)
	a.Comment, a.QueryName, a.URL = clip(a.Comment, maxText), clip(a.QueryName, maxText), clip(a.URL, maxText)
	a.Host.Name, a.Host.OS = clip(a.Host.Name, maxText), clip(a.Host.OS, maxText)
	if a.Rule != nil {
		r := *a.Rule
		r.Name, r.Description = clip(r.Name, maxText), clip(r.Description, maxText)
		a.Rule = &r
	}
}

// cutColumns cuts names and values, in a copy.
func cutColumns(columns map[string]string, maxText int) map[string]string {
	out := renamedColumns(columns, func(name string) string { return clip(name, maxText) })
	for name, value := range out {
		out[name] = clip(value, maxText)
	}
	return out
}

// writableColumns are the columns under names that JSON has a form for: two that are no
// UTF-8 would become the same, and an object with a name twice is refused or read as
// anyone likes.
func writableColumns(columns map[string]string) map[string]string {
	for name := range columns {
		if !utf8.ValidString(name) {
			return renamedColumns(columns, func(name string) string { return strings.ToValidUTF8(name, "\uFFFD") })
		}
	}
	return columns
}

// renamedColumns is a copy with other names. Of those that become the same, all but the
// first get underscores.
func renamedColumns(columns map[string]string, rename func(string) string) map[string]string {
	if columns == nil {
		return nil
	}
	out := make(map[string]string, len(columns))
	for _, name := range slices.Sorted(maps.Keys(columns)) {
		to := rename(name)
		for _, taken := out[to]; taken; _, taken = out[to] {
			to += "_"
		}
		out[to] = columns[name]
	}
	return out
}

// marshal writes JSON on one line, with < > & as they are and every hidden
// character escaped. Invalid UTF-8 becomes U+FFFD.
func marshal(v any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		// Only types that JSON has no form for can do this, and there are none in
		// what this package builds.
		panic("format: " + err.Error())
	}
	return escapeHidden(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// escapeHidden escapes those hidden characters that JSON leaves as they are: DEL,
// which rsyslogd rewrites, U+0080 to U+009F, which terminals obey, and those that
// turn the direction of writing or have no width. They can stand in strings only.
func escapeHidden(data []byte) []byte {
	if !bytes.ContainsFunc(data, soar.IsHidden) {
		return data
	}
	out := make([]byte, 0, len(data)+64)
	for _, r := range string(data) {
		switch high, low := utf16.EncodeRune(r); {
		case !soar.IsHidden(r):
			out = utf8.AppendRune(out, r)
		case high != utf8.RuneError:
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// object is a JSON object that is filled by path. Values that say nothing are
// left out: an empty text is refused by fields that hold an address, a date or
// a number, and with it the whole document.
type object map[string]any

// put sets a value at a path of keys, where dots separate objects.
func (o object) put(path string, value any) {
	switch v := value.(type) {
	case string:
		if v == "" {
			return
		}
	case []string:
		if len(v) == 0 {
			return
		}
	case number:
		if !v.ok {
			return
		}
		value = v.n
	case nil:
		return
	}
	key, rest := path, ""
	for i := range path {
		if path[i] == '.' {
			key, rest = path[:i], path[i+1:]
			break
		}
	}
	if rest == "" {
		o[key] = value
		return
	}
	inner, ok := o[key].(object)
	if !ok {
		inner = object{}
		o[key] = inner
	}
	inner.put(rest, value)
}

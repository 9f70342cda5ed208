package format

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
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
	}{*ev, Summary(ev)}
	dropColumns := maxText == bare
	maxText = textLimit(maxText)
	if ev.Alert != nil {
		doc.Alert = writable(ev.Alert, intel)
		if maxText > 0 {
			shorten(doc.Alert, maxText)
		}
		if dropColumns {
			doc.Alert.Event, doc.Alert.Host.Tags = nil, nil
		}
	}
	doc.At = writableTime(doc.At)
	doc.Change = ShortChange(doc.Change, cmp.Or(maxText, math.MaxInt))
	if maxText > 0 {
		doc.Text, doc.Summary = clip(doc.Text, maxText), clip(doc.Summary, maxText)
		if doc.Outcome != nil {
			o := *doc.Outcome
			o.Summary, o.Error = clip(o.Summary, maxText), clip(o.Error, maxText)
			doc.Outcome = &o
		}
		if doc.Run != nil {
			r := *doc.Run
			r.Error = clip(r.Error, maxText)
			doc.Run = &r
		}
	}
	return marshal(doc)
}

// writable is a copy of the alert that has a JSON form, whatever came in.
func writable(a *soar.Alert, intel bool) *soar.Alert {
	c := *a
	if !intel || !json.Valid(c.Intel) {
		c.Intel = nil
	}
	c.CreatedAt, c.UpdatedAt, c.EventTime = writableTime(c.CreatedAt), writableTime(c.UpdatedAt), writableTime(c.EventTime)
	c.Host.LastSeen = writableTime(c.Host.LastSeen)
	return &c
}

// writableTime is the zero time for what RFC 3339 has no form for.
func writableTime(t time.Time) time.Time {
	if !usable(t) {
		return time.Time{}
	}
	return t.UTC()
}

// Shortened is the event with its texts cut to that many characters and without
// the vendor's answer, for a receiver that finds it too large on its own.
func Shortened(ev soar.Event, maxText int) soar.Event {
	ev.Text = clip(ev.Text, maxText)
	ev.Change = ShortChange(ev.Change, maxText)
	if ev.Approval != nil {
		a := *ev.Approval
		a.Text, a.With = clip(a.Text, maxText), nil
		ev.Approval = &a
	}
	if ev.Alert != nil {
		ev.Alert = writable(ev.Alert, false)
		shorten(ev.Alert, maxText)
	}
	return ev
}

// shorten cuts the parts of an alert that have no bound of their own. It works
// on a copy: the alert's maps are not touched.
func shorten(a *soar.Alert, maxText int) {
	a.Event = maps.Clone(a.Event)
	for name, value := range a.Event {
		if short := clip(name, maxText); short != name {
			delete(a.Event, name)
			name = short
		}
		a.Event[name] = clip(value, maxText)
	}
	a.Comment, a.QueryName, a.URL = clip(a.Comment, maxText), clip(a.QueryName, maxText), clip(a.URL, maxText)
	a.Host.Name, a.Host.OS = clip(a.Host.Name, maxText), clip(a.Host.OS, maxText)
	if a.Rule != nil {
		r := *a.Rule
		r.Name, r.Description = clip(r.Name, maxText), clip(r.Description, maxText)
		a.Rule = &r
	}
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

package playbooks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
)

// plainAlert is soar.Plain of an alert, written out: every alert passes here, and
// the way through JSON text and back took a tenth of the engine's time. A test
// holds the two against each other, field by field.
func plainAlert(a *soar.Alert) (map[string]any, error) {
	event := make(map[string]any, len(a.Event))
	for k, v := range a.Event {
		event[validText(k)] = validText(v)
	}
	m := fields{
		"server": validText(a.Server), "id": validText(a.ID), "source": validText(a.Source), "severity": validText(string(a.Severity)),
		"status": validText(a.Status), "created_at": timeText(a.CreatedAt), "event_time": timeText(a.EventTime),
		"event_count": float64(a.EventCount), "host": plainHost(&a.Host), "event": event,
	}
	if a.Event == nil {
		m["event"] = nil
	}
	m.text("type", a.Type)
	m.text("severity_text", a.SeverityText)
	m.text("verdict", a.Verdict)
	m.text("comment", a.Comment)
	m.time("updated_at", a.UpdatedAt)
	m.text("query_name", a.QueryName)
	m.text("result_id", a.ResultID)
	m.text("url", a.URL)
	if a.Backfill {
		m["backfill"] = true
	}
	if a.Rule != nil {
		rule := fields{"id": float64(a.Rule.ID), "name": validText(a.Rule.Name)}
		rule.text("description", a.Rule.Description)
		rule.texts("techniques", a.Rule.Techniques)
		rule.texts("tactics", a.Rule.Tactics)
		m["rule"] = map[string]any(rule)
	}
	if len(a.Intel) > 0 {
		intel, err := plainJSON(a.Intel)
		if err != nil {
			return nil, fmt.Errorf("intel: %w", err)
		}
		m["intel"] = intel
	}
	return m, nil
}

// plainJSON reads JSON text of others. A number that no float64 holds, such as
// 1e999, is good JSON all the same (RFC 8259, section 6) and becomes text.
func plainJSON(data []byte) (v any, err error) {
	if err := json.Unmarshal(data, &v); err == nil {
		return v, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	v = nil
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	return plainNumbers(v), nil
}

// plainNumbers replaces the numbers in v, in place where it can.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = plainNumbers(v[key])
		}
	}
	return v
}

func plainHost(h *soar.Host) map[string]any {
	m := fields{}
	if h.ID != 0 {
		m["id"] = float64(h.ID)
	}
	m.text("identifier", h.Identifier)
	m.text("name", h.Name)
	m.text("platform", h.Platform)
	m.text("os", h.OS)
	m.text("os_version", h.OSVersion)
	m.text("ip", h.IP)
	m.text("mac", h.MAC)
	m.texts("tags", h.Tags)
	if h.Online != nil {
		m["online"] = *h.Online
	}
	m.time("last_seen", h.LastSeen)
	return m
}

// fields is an object whose empty members are left out.
type fields map[string]any

func (f fields) text(name, value string) {
	if value != "" {
		f[name] = validText(value)
	}
}

func (f fields) texts(name string, values []string) {
	if len(values) == 0 {
		return
	}
	list := make([]any, len(values))
	for i, v := range values {
		list[i] = validText(v)
	}
	f[name] = list
}

func (f fields) time(name string, t time.Time) {
	if !t.IsZero() {
		f[name] = timeText(t)
	}
}

func timeText(t time.Time) string { return t.Format(time.RFC3339Nano) }

// validText replaces bytes that are not UTF-8, one by one, as JSON encoding does.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s { // yields U+FFFD for each wrong byte
		b.WriteRune(r)
	}
	return b.String()
}

package connector

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// pushFields are the fields of one pushed line.
type pushFields map[string]json.RawMessage

// text is a field as text; ok is false where there is none, or null. Numbers and
// what is nested stay as they are written in JSON.
func (f pushFields) text(name string) (value string, ok bool) {
	raw, ok := f[name]
	if !ok || bytes.Equal(raw, []byte("null")) {
		return "", false
	}
	if json.Unmarshal(raw, &value) == nil {
		return value, true
	}
	return string(raw), true
}

// take is text, and removes the field.
func (f pushFields) take(names ...string) string {
	for _, name := range names {
		value, ok := f.text(name)
		delete(f, name)
		if ok && value != "" {
			return value
		}
	}
	return ""
}

// rowActions are what the server says of a row: how the result of a query that is run
// again and again has changed.
var rowActions = map[string]bool{"added": true, "removed": true, "snapshot": true}

// telemetryEvent makes the event of a result row; it empties fields. Release 4.0 marks
// its own fields with _, or @ in the lines of 3.5.1 and before, where those of the
// log and of the host have no mark, and where a column overwrites a field of its name.
// What is no field of the server's is a column.
//
// The id is the same whenever the server sends the row again: it is made of what the
// host reported, and not of when the line was sent.
//
// Source: plugins/logs/rsyslog.py of the server, releases 2.1.2 to 4.0.
func telemetryEvent(server string, fields pushFields, now time.Time) soar.Event {
	_, newer := fields["_log_type"]
	_, marked := fields["_event_type"]
	row := soar.Row{Server: server, Columns: map[string]string{}}
	var logged, sent string
	if newer || marked {
		logged, sent = fields.take("_timestamp"), fields.take("_created")
		row.Query = fields.take("_query_name")
		row.Action = fields.take("_action")
		row.Host = soar.Host{
			Identifier: fields.take("_host_identifier"), Name: fields.take("_computer_name"), Platform: fields.take("_platform"),
			OS: fields.take("_os_name"), OSVersion: fields.take("_os_version"), IP: fields.take("_ip_address"), MAC: fields.take("_macaddress"),
		}
		for _, name := range []string{"_version", "_event_type", "_log_type"} {
			delete(fields, name)
		}
	} else {
		logged, sent = fields.take("@timestamp"), fields.take("created")
		row.Query = fields.take("query_name")
		if action, _ := fields.text("action"); rowActions[action] {
			row.Action = fields.take("action") // else a column of the event stands in its place
		}
		row.Host = soar.Host{
			Identifier: fields.take("@host_identifier"), Platform: fields.take("platform"), OS: fields.take("osname"), IP: fields.take("last_ip"),
		}
		for _, name := range []string{"@version", "log_type", "is_active"} {
			delete(fields, name)
		}
	}
	for name := range fields {
		if value, ok := fields.text(name); ok {
			row.Columns[name] = value
		}
	}
	row.At = rowTime(row.Columns, now, logged, sent)
	return soar.Event{ID: rowID(&row, logged), Type: soar.EventTelemetry, At: now.UTC(), Row: &row}
}

// rowTime is when what the row tells happened: the event's own time, else when the
// host logged it, else when the server sent it, else now.
func rowTime(columns map[string]string, now time.Time, texts ...string) time.Time {
	if at := EventTime(columns); !at.IsZero() {
		return at.UTC()
	}
	for _, text := range texts {
		if at, err := ParseTime(text); err == nil {
			return at
		}
	}
	return now.UTC()
}

func rowID(row *soar.Row, logged string) string {
	h := sha256.New()
	// JSON writes the columns in the order of their names, and keeps texts apart.
	_ = json.NewEncoder(h).Encode([]any{row.Host.Identifier, row.Query, row.Action, logged, row.Columns}) // a hash takes everything
	return string(soar.EventTelemetry) + "/" + row.Server + "/" + hex.EncodeToString(h.Sum(nil)[:16])
}

package format

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
)

// Payload is what stands in the message part of a syslog message.
type Payload string

// The payloads.
const (
	PayloadText Payload = "text" // Summary
	PayloadJSON Payload = "json" // JSON, without the vendor's answer
	PayloadCEF  Payload = "cef"
	PayloadLEEF Payload = "leef"
)

// Syslog is the header of syslog messages and what they carry.
type Syslog struct {
	Options
	Facility int    // 0 to 23
	AppName  string // also the tag of RFC 3164
	ProcID   string
	// Hostname is the name of the machine that erbridge runs on. It stands in
	// events that have no endpoint, and in all with OwnHost.
	Hostname string
	OwnHost  bool
	// Enterprise is the private enterprise number of the structured data; 0
	// leaves the structured data out.
	Enterprise int64
	Payload    Payload
	// Location is the time zone of RFC 3164, which has none in its messages.
	Location *time.Location
}

// RFC5424 is one message without framing, of at most limit bytes (0: any).
// It has no hidden characters. Events that are too long are shortened so that
// the message stays well-formed: longest values first, and … where something was
// cut; in the end an event's columns are left out. short reports that this
// happened.
func RFC5424(ev *soar.Event, s Syslog, limit int) (message []byte, short bool) {
	head := s.header5424(ev)
	return fit(limit, func(room, maxText int) []byte {
		b := bytes.NewBuffer(head(maxText))
		rest := 0
		if room > 0 {
			rest = room - b.Len()
		}
		b.Write(s.payload(ev, rest, maxText))
		return b.Bytes()
	})
}

// caps are how long the single texts of a message may be, tried in this order
// until the message fits. 0 is no limit; bare leaves out what the event on the
// host was, and minimal all but what it takes to find it.
var caps = []int{0, 4096, 2048, 1024, 512, 256, 128, 64, 32, bare, minimal}

const (
	bare    = -1
	minimal = -2
	// What the two allow a text.
	bareText    = 48
	minimalText = 16
)

// textLimit is the characters that one of caps allows a text; 0 is any number.
func textLimit(maxText int) int {
	switch maxText {
	case bare:
		return bareText
	case minimal:
		return minimalText
	}
	return maxText
}

// fit renders with ever shorter texts. Cutting the finished message would leave
// half an escape or half a JSON object; that is done only when even the shortest
// texts are too long together.
func fit(limit int, render func(room, maxText int) []byte) ([]byte, bool) {
	if limit <= 0 {
		return render(0, 0), false
	}
	var message []byte
	for i, maxText := range caps {
		if message = render(limit, maxText); len(message) <= limit {
			return message, i > 0 || bytes.HasSuffix(message, []byte(mark))
		}
	}
	return cutBytes(message, limit), true // a header that leaves no room
}

// mark stands where text was cut.
const mark = "…"

// cutBytes cuts to a number of bytes, at the edge of a character.
func cutBytes(text []byte, limit int) []byte {
	if len(text) <= limit {
		return text
	}
	room := limit - len(mark)
	if room < 0 {
		return nil
	}
	for room > 0 && !utf8.RuneStart(text[room]) {
		room--
	}
	return append(slices.Clip(text[:room]), mark...)
}

// payload is the message part. room is what is left for it, 0 if that does not
// matter; only text uses it, the others have a form to keep.
func (s Syslog) payload(ev *soar.Event, room, maxText int) []byte {
	switch s.Payload {
	case PayloadJSON:
		return jsonEvent(ev, false, maxText)
	case PayloadCEF:
		return cefEvent(ev, s.Options, maxText)
	case PayloadLEEF:
		return leefEvent(ev, s.Options, maxText)
	}
	text := []byte(Summary(ev))
	if room > len(mark) {
		text = cutBytes(text, room)
	}
	return text
}

func (s Syslog) priority(ev *soar.Event) string {
	return "<" + strconv.Itoa(min(max(s.Facility, 0), 23)*8+levelsOf(SeverityOf(ev)).syslog) + ">"
}

// time is when it happened: on the host for alerts, else here.
func (s Syslog) time(ev *soar.Event) time.Time {
	if a := ev.Alert; a != nil && (ev.Type == soar.EventAlertReceived || ev.Type == soar.EventAlertUpdated) {
		return firstTime(a.EventTime, a.CreatedAt, ev.At)
	}
	return occurred(ev)
}

func (s Syslog) host(ev *soar.Event) string {
	if a := subject(ev); !s.OwnHost && a != nil && a.Host.Name != "" {
		return a.Host.Name
	}
	return s.Hostname
}

// RFC 5424, section 6.2.3: at most six digits of a second's fraction.
const time5424 = "2006-01-02T15:04:05.000000Z07:00"

func (s Syslog) head5424(ev *soar.Event) string {
	return s.priority(ev) + "1 " + s.time(ev).Format(time5424) + " " + printASCII(s.host(ev), 255) + " " +
		printASCII(s.AppName, 48) + " " + printASCII(s.ProcID, 128) + " " + messageID(ev.Type) + " "
}

// header5424 is all before the message, with its parameters cut to one of caps.
func (s Syslog) header5424(ev *soar.Event) func(maxText int) []byte {
	head, params := s.head5424(ev), s.params(ev)
	return func(maxText int) []byte {
		var b bytes.Buffer
		b.WriteString(head)
		writeSD(&b, s.sdID(), params, maxText)
		b.WriteByte(' ')
		return b.Bytes()
	}
}

func messageID(t soar.EventType) string {
	switch t {
	case soar.EventAlertReceived, soar.EventAlertUpdated:
		return "ALERT"
	case soar.EventStepFinished:
		return "OUTCOME"
	case soar.EventRunStarted, soar.EventRunFinished:
		return "RUN"
	case soar.EventNotification:
		return "NOTIFICATION"
	case soar.EventApprovalRequested, soar.EventApprovalDecided:
		return "APPROVAL"
	case soar.EventUndoSoon:
		return "UNDO"
	case soar.EventAlertGrouped:
		return "GROUP"
	case soar.EventDigest:
		return "DIGEST"
	case soar.EventHeartbeat:
		return "HEARTBEAT"
	case soar.EventTelemetry:
		return "TELEMETRY"
	case soar.EventTrouble:
		return "TROUBLE"
	case soar.EventTest:
		return "TEST"
	}
	return "EVENT"
}

// printASCII makes a header field: printable US-ASCII without spaces, and - for
// nothing.
func printASCII(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, strings.TrimSpace(strings.ToValidUTF8(text, "_")))
	return first(cut(text, limit), "-")
}

func (s Syslog) sdID() string {
	if s.Enterprise <= 0 {
		return ""
	}
	return "erbridge@" + strconv.FormatInt(s.Enterprise, 10)
}

type param struct{ name, value string }

func (s Syslog) params(ev *soar.Event) []param {
	var out []param
	add := func(name, value string) {
		if value = plainLine(value); value != "" {
			out = append(out, param{name, value})
		}
	}
	add("event_id", EventID(ev))
	add("event_type", string(ev.Type))
	if a := ev.Alert; a != nil {
		add("alert_id", a.ID)
		add("server", a.Server)
		add("severity", string(a.Severity))
		add("source", a.Source)
		add("status", a.Status)
		if a.Rule != nil {
			add("rule_id", strconv.FormatInt(a.Rule.ID, 10))
			add("rule", a.Rule.Name)
			for _, id := range fieldsOf(a).techniqueIDs() {
				add("technique", id)
			}
		}
		add("host", a.Host.Name)
		add("host_identifier", a.Host.Identifier)
		add("console_url", a.URL)
	}
	if r := ev.Row; r != nil {
		add("server", r.Server)
		add("query", r.Query)
		add("host", r.Host.Name)
		add("host_identifier", r.Host.Identifier)
	}
	if g := ev.Group; g != nil {
		add("group_head", g.Head)
		add("group_count", strconv.Itoa(g.Count))
	}
	if r := ev.Run; r != nil {
		add("run", r.ID.String())
		add("playbook", r.Playbook)
		add("mode", string(r.Mode))
		add("run_state", string(r.State))
	}
	if o := ev.Outcome; o != nil {
		add("action", o.Action)
		add("state", string(o.State))
		add("outcome", stepOutcome(o.State))
		add("command_id", o.Command)
		add("target", o.Target)
		add("error", o.Error)
	}
	return out
}

// RFC 5424, section 6.3.3: these three and nothing else.
var sdValue = strings.NewReplacer(`"`, `\"`, `\`, `\\`, `]`, `\]`)

func writeSD(b *bytes.Buffer, id string, params []param, maxText int) {
	if id == "" || len(params) == 0 || maxText == minimal {
		b.WriteByte('-')
		return
	}
	b.WriteString("[" + id)
	for _, p := range params {
		if most := textLimit(maxText); most > 0 {
			p.value = clip(p.value, most)
		}
		b.WriteString(" " + p.name + `="` + sdValue.Replace(p.value) + `"`)
	}
	b.WriteByte(']')
}

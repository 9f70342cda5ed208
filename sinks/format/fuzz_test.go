package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/leodido/go-syslog/v4/rfc3164"
	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/sinks/sinksim"
)

// seed adds a few inputs from which the fuzzer goes on.
func seed(f *testing.F) {
	f.Helper()
	f.Add(uint8(0), "cmdline", "mimikatz.exe", "WIN-01", "rule", int64(1795317750))
	f.Add(uint8(1), "target_name", `HKLM\Software\x`, hostile, hostile, int64(0))
	f.Add(uint8(2), "remote_address", "2001:db8::1", "a b", "|=\\\"]", int64(-62135596800))
	f.Add(uint8(3), "a.b", "\xff", "", "", int64(1<<60))
	f.Add(uint8(4), "url", "http://[::1", strings.Repeat("ü", 5000), strings.Repeat("\\", 5000), int64(1))
	f.Add(uint8(129), "target_path", "/tmp/a\tb", "a\tsev=10", hostile, int64(1795317750))
	f.Add(uint8(128), "domain_name", "evil.example", "WIN\n", "LEEF:2.0|x|y", int64(1795317750))
	f.Add(uint8(134), "value_data", `C:\x`, `HKLM\Software\x`, "\u2028", int64(1))
	f.Add(uint8(0), "severity", "-", "_", "-", int64(1795317750))
	for kind := range uint8(16) {
		for _, without := range []uint8{0, 8, 16, 32} {
			f.Add(kind&7|kind&8<<4|without, "", "", "", "", int64(0))
		}
	}
	f.Add(uint8(0), "pid", "9223372036854775807", "h", "-", int64(-1))
	f.Add(uint8(0), "\xff", "1", "\xfe", "x", int64(253402300799))
	f.Add(uint8(128), "er_run_state", "done", strings.Repeat("é", 9000), strings.Repeat("é", 9000), int64(253402300799))
	f.Add(uint8(7), "pid", "99999999999999999999", "\n", " ", int64(253402300800))
}

// event makes any event out of a few texts, each of which goes to many places.
func event(shape uint8, column, value, name, text string, seconds int64) soar.Event {
	kinds := []soar.EventType{
		soar.EventAlertReceived, soar.EventAlertUpdated, soar.EventRunStarted, soar.EventStepFinished,
		soar.EventRunFinished, soar.EventNotification, soar.EventTrouble, soar.EventTest,
	}
	if shape&128 != 0 {
		kinds = []soar.EventType{
			soar.EventAlertGrouped, soar.EventTelemetry, soar.EventDigest, soar.EventHeartbeat,
			soar.EventApprovalRequested, soar.EventApprovalDecided, soar.EventUndoSoon, soar.EventTelemetry,
		}
	}
	at := time.Unix(seconds, 123456789)
	ev := soar.Event{ID: "e-" + name, Type: kinds[int(shape)%len(kinds)], At: at, Text: text}
	a := alert(name, map[string]string{column: value, "path": text, "target_path": value, "remote_address": text, "local_port": value, "cmdline": text, name: value})
	a.CreatedAt, a.EventTime, a.Server, a.Severity, a.Source, a.URL = at, at, name, soar.Severity(column), name, text
	a.Host = soar.Host{Name: name, Identifier: value, IP: text, MAC: value, Platform: column, OS: text, Tags: []string{name, text}}
	a.Rule.Name, a.Rule.Description, a.Rule.Techniques, a.Rule.Tactics = text, value, []string{value, text}, []string{name, value}
	a.Intel = json.RawMessage(text)
	if shape&8 != 0 {
		a.Rule, a.Type = nil, "Threat Intel"
	}
	if shape&16 == 0 {
		ev.Alert = a
	}
	switch ev.Type {
	case soar.EventTelemetry:
		ev.Alert, ev.Row = nil, &soar.Row{Server: name, Query: text, Action: value, Host: a.Host, At: at, Columns: a.Event}
	case soar.EventAlertGrouped:
		ev.Group = &soar.Group{Key: text, Head: name, Count: int(shape), Hosts: int(shape), Names: []string{value, text}, First: at, Last: at}
	case soar.EventApprovalRequested, soar.EventApprovalDecided:
		ev.Approval = &soar.Approval{ID: name, State: soar.ApprovalState(value), Playbook: text, Action: column, Text: text, Why: value, Votes: []soar.Vote{{By: name}}}
	case soar.EventUndoSoon:
		ev.Undo = &soar.Undo{At: at, Of: soar.RunID(seconds), Step: name, Action: column, Do: value, Target: text}
	}
	if shape&32 == 0 {
		ev.Run = &soar.RunSummary{ID: soar.RunID(seconds), Playbook: name, Mode: soar.Mode(value), State: soar.RunState(column), Error: text}
		ev.Outcome = &soar.Outcome{Step: name, Action: column, State: soar.StepState(value), Target: text, Command: name, Summary: value, Error: text, Took: time.Duration(seconds)}
	}
	return ev
}

func FuzzECS(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, shape uint8, column, value, name, text string, seconds int64) {
		ev := event(shape, column, value, name, text, seconds)
		checkECS(t, ECS(&ev, ECSOptions{Options: options, Namespace: "default", Original: true}))
	})
}

func TestECSOfCases(t *testing.T) {
	for name, ev := range cases() {
		t.Run(name, func(t *testing.T) {
			checkECS(t, ECS(&ev, ECSOptions{Options: options, Namespace: "default", Original: true}))
		})
	}
}

// checkECS does what an Elasticsearch server does to a document, and looks for
// what every document must have.
func checkECS(t *testing.T, data []byte) {
	t.Helper()
	if bytes.ContainsAny(data, "\r\n") || !utf8.Valid(data) {
		t.Fatalf("not one line of UTF-8: %q", data)
	}
	doc := readObject(t, data)
	if err := sinksim.CheckECS(doc); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	get := func(path string) any {
		var v any = doc
		for key := range strings.SplitSeq(path, ".") {
			inner, _ := v.(map[string]any)
			v = inner[key]
		}
		return v
	}
	for _, path := range []string{"@timestamp", "ecs.version", "event.id", "event.kind", "event.dataset", "message"} {
		if text, _ := get(path).(string); text == "" {
			t.Fatalf("no %s in %s", path, data)
		}
	}
	lists := []string{
		"event.category", "event.type", "host.ip", "host.mac", "tags", "related.ip", "related.hash", "related.hosts", "related.user",
		"threat.tactic.name", "threat.tactic.id", "threat.technique.id", "threat.technique.subtechnique.id", "dns.resolved_ip", "registry.data.strings",
	}
	for _, path := range lists {
		if v := get(path); v != nil {
			if _, ok := v.([]any); !ok {
				t.Fatalf("%s is no list in %s", path, data)
			}
		}
	}
	for _, path := range []string{"@timestamp", "event.created", "event.start", "event.end", "process.start", "eclecticiq.er.change.at", "eclecticiq.er.undo.at", "eclecticiq.er.group.first"} {
		if v := get(path); v != nil {
			readTime(t, path, v)
		}
	}
	for _, path := range []string{"process.pid", "process.parent.pid", "eclecticiq.er.target.process.pid"} {
		if v := get(path); v != nil {
			readPID(t, path, v)
		}
	}
	if columns, ok := get("eclecticiq.er.columns").(map[string]any); ok {
		for name := range columns {
			if utf8.RuneCountInString(name) > 300 {
				t.Fatalf("a name of %d bytes under columns", len(name))
			}
		}
	}
	noEmpty(t, doc, "")
}

// noEmpty finds texts that say nothing.
func noEmpty(t testing.TB, v any, path string) {
	t.Helper()
	switch v := v.(type) {
	case string:
		if v == "" {
			t.Fatalf("%s is an empty text", path)
		}
	case []any:
		if len(v) == 0 {
			t.Fatalf("%s is an empty list", path)
		}
		for _, item := range v {
			noEmpty(t, item, path)
		}
	case map[string]any:
		if len(v) == 0 {
			t.Fatalf("%s is an empty object", path)
		}
		for key, item := range v {
			noEmpty(t, item, path+"."+key)
		}
	}
}

func FuzzHEC(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, shape uint8, column, value, name, text string, seconds int64) {
		ev := event(shape, column, value, name, text, seconds)
		checkHEC(t, HEC(&ev, HECOptions{Options: options}))
	})
}

func checkHEC(t *testing.T, data []byte) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var envelope sinksim.HECEvent
	if err := decoder.Decode(&envelope); err != nil || bytes.ContainsAny(data, "\r\n") {
		t.Fatalf("%v in %s", err, data)
	}
	readTime(t, "time", envelope.Time)
	noEmpty(t, readObject(t, data), "")
	fields, _ := envelope.Event.(map[string]any)
	for _, name := range []string{"app", "severity", "type", "vendor_product", "event_id"} {
		if text, _ := fields[name].(string); text == "" {
			t.Fatalf("no %s in %s", name, data)
		}
	}
	for name := range fields {
		if name == "tag" || strings.HasSuffix(name, "_bunit") || strings.HasSuffix(name, "_category") || strings.HasSuffix(name, "_priority") {
			t.Fatalf("%s belongs to Splunk's asset look-up", name)
		}
	}
	for name, v := range envelope.Fields {
		if _, ok := v.(string); !ok {
			t.Fatalf("indexed field %s is %T", name, v)
		}
	}
}

// cefLine is what the rules of the format say a line holds. It is written from
// those rules, not from the code that makes lines.
type cefLine struct {
	header []string
	keys   map[string]string
}

// parseCEF is strict: an escape that the format does not have is an error.
func parseCEF(line string) (cefLine, error) {
	c := cefLine{keys: map[string]string{}}
	if !utf8.ValidString(line) {
		return c, fmt.Errorf("not UTF-8")
	}
	if strings.ContainsFunc(line, soar.IsHidden) {
		return c, fmt.Errorf("hidden character")
	}
	rest, ok := strings.CutPrefix(line, "CEF:0|")
	if !ok {
		return c, fmt.Errorf("no CEF:0|")
	}
	for range 6 {
		var field strings.Builder
		i := 0
		for ; i < len(rest) && rest[i] != '|'; i++ {
			if rest[i] == '\\' {
				if i++; i == len(rest) || rest[i] != '\\' && rest[i] != '|' {
					return c, fmt.Errorf("wrong escape in the header at %q", rest[i-1:])
				}
			}
			if rest[i] < ' ' || rest[i] == 0x7f {
				return c, fmt.Errorf("control character in the header")
			}
			field.WriteByte(rest[i])
		}
		if i == len(rest) {
			return c, fmt.Errorf("the header ends early")
		}
		c.header = append(c.header, field.String())
		rest = rest[i+1:]
	}
	// A value ends where a space, a key and an unescaped = follow.
	for rest != "" {
		key, tail, ok := strings.Cut(rest, "=")
		if !ok || key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
			return c, fmt.Errorf("expected a key at %q", rest)
		}
		var value strings.Builder
		end, i := len(tail), 0
		for ; i < end; i++ {
			switch b := tail[i]; {
			case b == '\\':
				i++
				if i == len(tail) {
					return c, fmt.Errorf("backslash at the end")
				}
				switch tail[i] {
				case '\\', '=':
					value.WriteByte(tail[i])
				case 'n':
					value.WriteByte('\n')
				case 'r':
					value.WriteByte('\r')
				default:
					return c, fmt.Errorf("wrong escape \\%c", tail[i])
				}
				continue
			case b == '=':
				return c, fmt.Errorf("= is not escaped in the value of %s", key)
			case b < ' ', b == 0x7f:
				return c, fmt.Errorf("control character in the value of %s", key)
			case b == ' ':
				word := i + 1
				for word < len(tail) && (tail[word] >= 'a' && tail[word] <= 'z' || tail[word] >= 'A' && tail[word] <= 'Z' || tail[word] >= '0' && tail[word] <= '9') {
					word++
				}
				if word > i+1 && word < len(tail) && tail[word] == '=' {
					end = i
					continue
				}
			}
			if i < end {
				value.WriteByte(tail[i])
			}
		}
		if _, twice := c.keys[key]; twice {
			return c, fmt.Errorf("key %s is there twice", key)
		}
		c.keys[key] = value.String()
		if end == len(tail) {
			return c, nil
		}
		rest = tail[end+1:]
	}
	return c, nil
}

// cefLimits are the lengths of the keys in characters.
var cefLimits = map[string]int{
	"externalId": 40, "cat": 1023, "act": 63, "outcome": 63, "reason": 1023, "msg": 1023, "dvchost": 100, "dhost": 1023, "deviceExternalId": 255,
	"proto": 31, "destinationDnsDomain": 255, "request": 1023, "suser": 1023, "sproc": 1023, "dproc": 1023, "filePath": 1023, "fname": 1023,
	"oldFilePath": 1023, "fileHash": 255, "cs1": 4000, "cs2": 4000, "cs3": 4000, "cs4": 4000, "cs5": 4000, "cs6": 4000, "flexString1": 1023, "flexString2": 1023,
}

// TestHiddenCharacters is what a file name with U+202E, a character without width
// and a tag becomes in each format; JSON keeps them, as escapes.
func TestHiddenCharacters(t *testing.T) {
	const evil = "/tmp/cod\u202efdp\u200b.exe\U000E0041 \u200d"
	a := alert("1", map[string]string{"cmdline": evil, "path": evil, "action": "PROC_CREATE"})
	a.Host.Name, a.Rule.Name, a.Rule.Description = evil, evil, evil
	ev := received(a)
	text, _ := RFC5424(&ev, with(PayloadText), 0)
	old, _ := RFC3164(&ev, with(PayloadText), 0)
	for name, got := range map[string]string{
		"summary": Summary(&ev), "CEF": string(CEF(&ev, options)), "RFC 5424": string(text), "RFC 3164": string(old),
		"JSON": string(JSON(&ev, false)), "ECS": string(ECS(&ev, ECSOptions{Options: options})), "HEC": string(HEC(&ev, HECOptions{Options: options})),
	} {
		if strings.ContainsFunc(got, soar.IsHidden) || !strings.Contains(got, "/tmp/cod") {
			t.Errorf("%s: %q", name, got)
		}
		switch name {
		case "JSON", "ECS", "HEC":
			if !strings.Contains(got, `/tmp/cod\u202efdp\u200b.exe\udb40\udc41 `+"\u200d") || !json.Valid([]byte(got)) {
				t.Errorf("%s does not keep the text: %s", name, got)
			}
		default:
			if !strings.Contains(got, "/tmp/cod fdp .exe") {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
}

// checkCEF holds a line against the rules and returns what it says.
func checkCEF(t *testing.T, line string) cefLine {
	t.Helper()
	c, err := parseCEF(line)
	if err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	for i, limit := range []int{63, 63, 31, 1023, 512, 2} {
		if c.header[i] == "" || utf8.RuneCountInString(c.header[i]) > limit {
			t.Fatalf("header field %d is %q", i, c.header[i])
		}
	}
	if n, err := strconv.Atoi(c.header[5]); err != nil || n < 0 || n > 10 {
		t.Fatalf("severity %q", c.header[5])
	}
	for key, value := range c.keys {
		if value == "" || strings.Trim(value, " ") != value {
			t.Fatalf("key %s has the value %q", key, value)
		}
		if limit, ok := cefLimits[key]; ok && utf8.RuneCountInString(value) > limit {
			t.Fatalf("key %s has %d characters, the limit is %d", key, utf8.RuneCountInString(value), limit)
		}
		switch key {
		case "rt", "start", "cnt", "type", "spt", "dpt", "spid", "dpid", "deviceDirection", "cn1", "cn2", "cn3":
			if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < 0 {
				t.Fatalf("key %s is no number: %q", key, value)
			}
			if key == "spid" || key == "dpid" { // an Integer, not a Long
				readPID(t, key, value)
			}
		case "src", "dst", "dvc":
			if strings.Count(value, ".") != 3 || strings.Contains(value, ":") {
				t.Fatalf("key %s is no IPv4 address: %q", key, value)
			}
		}
		if base, isLabel := strings.CutSuffix(key, "Label"); isLabel {
			if _, ok := c.keys[base]; !ok {
				t.Fatalf("%s without %s", key, base)
			}
		} else if strings.HasPrefix(key, "cs") || strings.HasPrefix(key, "cn") && key != "cnt" || strings.HasPrefix(key, "flex") || strings.HasPrefix(key, "c6a") {
			if _, ok := c.keys[key+"Label"]; !ok {
				t.Fatalf("%s without its label", key)
			}
		}
	}
	for _, key := range []string{"agt", "ahost", "aid", "amac", "art", "at", "atz", "av", "eventId", "rawEvent"} {
		if _, ok := c.keys[key]; ok {
			t.Fatalf("key %s is the receiver's", key)
		}
	}
	return c
}

func FuzzCEF(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, shape uint8, column, value, name, text string, seconds int64) {
		ev := event(shape, column, value, name, text, seconds)
		c := checkCEF(t, string(CEF(&ev, options)))
		for _, maxText := range []int{256, 16, bare} {
			checkCEF(t, string(cefEvent(&ev, options, maxText)))
		}
		if ev.Alert == nil || ev.Type != soar.EventAlertReceived {
			return
		}
		// The command line reads back, apart from what the format cannot hold.
		want := cefExpected(ev.Alert.Event["cmdline"], 4000)
		if got := c.keys["cs1"]; got != want {
			t.Fatalf("command line %q reads back as %q", want, got)
		}
	})
}

// cefExpected is what can be left of a text in CEF: no control characters but
// line ends, no spaces around it, so many characters.
func cefExpected(text string, limit int) string {
	runes := []rune(strings.ToValidUTF8(text, "\uFFFD"))
	for i, r := range runes {
		if (r < ' ' || r >= 0x7f && r < 0xa0 || soar.IsHidden(r)) && r != '\n' && r != '\r' {
			runes[i] = ' '
		}
	}
	trimmed := []rune(strings.Trim(string(runes), " "))
	return strings.Trim(string(trimmed[:min(len(trimmed), limit)]), " ")
}

func TestCEFOfCases(t *testing.T) {
	for name, ev := range cases() {
		t.Run(name, func(t *testing.T) { checkCEF(t, string(CEF(&ev, options))) })
	}
	ev := cases()["socket_intel"]
	c := checkCEF(t, string(CEF(&ev, options)))
	for key, want := range map[string]string{"src": "10.0.0.5", "spt": "50", "dst": "203.0.113.66", "dpt": "443", "proto": "TCP", "deviceDirection": "1"} {
		if c.keys[key] != want {
			t.Errorf("%s is %q, want %q", key, c.keys[key], want)
		}
	}
	if _, ok := c.keys["dvc"]; ok {
		t.Error("dvc holds an IPv6 address, which CEF 0 does not take")
	}
}

// TestCEFExample is the example of the mapping: what needs an escape where.
func TestCEFExample(t *testing.T) {
	a := alert("1042", map[string]string{"path": `C:\Windows\System32\cmd.exe`, "cmdline": `cmd /c set A=B & type c:\x | more`, "pid": "4711"})
	a.Rule.Name, a.Rule.Description = "Suspicious | PowerShell", "line1\nline2\ttab"
	ev := received(a)
	line := string(CEF(&ev, options))
	for _, want := range []string{
		`|rule:17|Suspicious \| PowerShell|8|externalId=1042 `, `cs1=cmd /c set A\=B & type c:\\x | more cs1Label=CommandLine`,
		`sproc=C:\\Windows\\System32\\cmd.exe spid=4711`, `reason=line1\nline2 tab `, `rt=1795317750754 `,
	} {
		if !strings.Contains(line, want) {
			t.Errorf("%s\nis not in %s", want, line)
		}
	}
}

func FuzzRFC5424(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, shape uint8, column, value, name, text string, seconds int64) {
		ev := event(shape, column, value, name, text, seconds)
		h := header
		h.AppName, h.Hostname, h.OwnHost = text, name, shape&64 != 0
		for _, h.Payload = range []Payload{PayloadText, PayloadJSON, PayloadCEF, PayloadLEEF} {
			for _, limit := range []int{0, 8192, 1452, 480} {
				message, _ := RFC5424(&ev, h, limit)
				checkRFC5424(t, message, &ev, h, limit)
				message, _ = RFC3164(&ev, h, limit)
				checkRFC3164(t, message, limit)
			}
		}
		ocsf := func(ev *soar.Event) ([]byte, error) { return OCSF(ev, options), nil }
		for _, limit := range []int{0, 4096, 1024} {
			checkAround(t, &ev, h, ocsf, limit)
		}
	})
}

// checkAround: the document comes through whole, or not at all.
func checkAround(t *testing.T, ev *soar.Event, h Syslog, body Formatter, limit int) {
	t.Helper()
	for _, rfc := range []int{5424, 3164} {
		message, _, err := h.Around(rfc, ev, body, limit)
		if err != nil {
			if !errors.Is(err, ErrTooLong) || message != nil || limit == 0 {
				t.Fatalf("within %d: %q, %v", limit, message, err)
			}
			continue
		}
		h.Payload = PayloadText // which is not looked into
		if rfc == 3164 {
			checkRFC3164(t, message, limit)
		} else {
			checkRFC5424(t, message, ev, h, limit)
		}
		if _, document, ok := bytes.Cut(message, []byte(`{"a`)); !ok || !json.Valid(append([]byte(`{"a`), document...)) {
			t.Fatalf("the document is broken in %q", message)
		}
	}
}

func TestAroundOfCases(t *testing.T) {
	for name, ev := range cases() {
		t.Run(name, func(t *testing.T) {
			for format := range formats {
				body, err := New(format, options)
				if err != nil {
					t.Fatal(err)
				}
				for _, limit := range []int{0, 8192, 1024, 480} {
					message, short, err := with(PayloadText).Around(5424, &ev, body, limit)
					switch {
					case errors.Is(err, ErrUnsupported) && ev.Type == soar.EventTelemetry, errors.Is(err, ErrTooLong) && limit > 0:
						continue
					case err != nil:
						t.Fatalf("%s within %d: %v", format, limit, err)
					}
					checkLine(t, message, limit)
					if whole, err := body(&ev); err != nil || !short && !bytes.HasSuffix(message, whole) {
						t.Errorf("%s within %d: %q does not end with %q", format, limit, message, whole)
					}
				}
			}
		})
	}
}

func TestSyslogOfCases(t *testing.T) {
	for name, ev := range cases() {
		t.Run(name, func(t *testing.T) {
			for _, payload := range []Payload{PayloadText, PayloadJSON, PayloadCEF} {
				for _, limit := range []int{0, 8192, 1452, 1024, 480} {
					message, short := RFC5424(&ev, with(payload), limit)
					checkRFC5424(t, message, &ev, with(payload), limit)
					if full, _ := RFC5424(&ev, with(payload), 0); short == bytes.Equal(full, message) {
						t.Errorf("%s within %d: short is %t, and the message is %t the full one", payload, limit, short, !short)
					}
					message, _ = RFC3164(&ev, with(payload), limit)
					checkRFC3164(t, message, limit)
				}
			}
		})
	}
}

func checkLine(t *testing.T, message []byte, limit int) {
	t.Helper()
	if limit > 0 && len(message) > limit {
		t.Fatalf("%d bytes, the limit is %d: %q", len(message), limit, message)
	}
	if !utf8.Valid(message) {
		t.Fatalf("not UTF-8: %q", message)
	}
	if bytes.ContainsFunc(message, func(r rune) bool { return r != '\t' && soar.IsHidden(r) }) {
		t.Fatalf("hidden character in %q", message)
	}
}

func checkRFC5424(t *testing.T, message []byte, ev *soar.Event, h Syslog, limit int) {
	t.Helper()
	checkLine(t, message, limit)
	parsed, err := rfc5424.NewParser().Parse(message)
	if err != nil {
		t.Fatalf("%v in %q", err, message)
	}
	m := parsed.(*rfc5424.SyslogMessage)
	if m.Timestamp == nil || m.Message == nil || m.MsgID == nil || *m.Priority/8 != 16 {
		t.Fatalf("timestamp, message, MSGID or facility is missing in %q", message)
	}
	body := *m.Message
	if limit == 0 || limit >= 8192 {
		// The parameters read back, apart from control characters.
		got := map[string]string{}
		if m.StructuredData != nil {
			got = (*m.StructuredData)["erbridge@32473"]
		}
		want := map[string]string{}
		for _, p := range h.params(ev) {
			want[p.name] = p.value
		}
		if limit == 0 && !maps.Equal(got, want) {
			t.Fatalf("parameters\n got %q\nwant %q", got, want)
		}
	}
	switch h.Payload {
	case PayloadJSON:
		if (limit == 0 || limit >= 1452) && !json.Valid([]byte(body)) {
			t.Fatalf("message of at most %d bytes is no JSON: %q", limit, body)
		}
	case PayloadCEF:
		if limit == 0 || limit >= 1452 {
			checkCEF(t, body)
		}
	case PayloadLEEF:
		if limit == 0 || limit >= 1452 {
			checkLEEF(t, []byte(body))
		}
	}
}

func checkRFC3164(t *testing.T, message []byte, limit int) {
	t.Helper()
	checkLine(t, message, limit)
	parsed, err := rfc3164.NewParser(rfc3164.WithYear(rfc3164.Year{YYYY: 2026})).Parse(message)
	if err != nil {
		t.Fatalf("%v in %q", err, message)
	}
	if m := parsed.(*rfc3164.SyslogMessage); m.Appname == nil || m.Hostname == nil || m.Message == nil || m.Timestamp == nil {
		t.Fatalf("tag, host, time or message is missing in %q", message)
	}
}

func TestHeaderFieldsOfRFC5424(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 48, "-"}, {"  ", 48, "-"}, {"a b", 48, "a_b"}, {"ünï", 48, "_n_"}, {"\xff", 48, "_"}, {strings.Repeat("x", 300), 255, strings.Repeat("x", 255)},
	} {
		if got := printASCII(tt.in, tt.limit); got != tt.want {
			t.Errorf("printASCII(%q) is %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestTechniquesRepeatInStructuredData(t *testing.T) {
	ev := cases()["process"]
	message, _ := RFC5424(&ev, with(PayloadText), 0)
	if !bytes.Contains(message, []byte(`technique="T1003.001" technique="T1059"`)) {
		t.Errorf("techniques are not parameters of their own: %s", message)
	}
}

func TestCutBytesKeepsCharactersWhole(t *testing.T) {
	text := []byte(strings.Repeat("ü€😀", 10))
	for limit := range len(text) + 2 {
		got := cutBytes(slices.Clone(text), limit)
		if len(got) > limit || !utf8.Valid(got) {
			t.Errorf("cut to %d: %q", limit, got)
		}
	}
}

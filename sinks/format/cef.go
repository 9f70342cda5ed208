package format

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/erbridge/erbridge/internal/soar"
)

// CEF is the event in the Common Event Format, version 0 (ArcSight CEF
// Implementation Standard, revision 26), as one line without a syslog header.
func CEF(ev *soar.Event, o Options) []byte { return cefEvent(ev, o, 0) }

// cefEvent cuts every value to that many characters, besides the limit of its
// key; 0 cuts no further, bare leaves out what the event on the host was, and
// minimal nearly everything.
func cefEvent(ev *soar.Event, o Options, maxText int) []byte {
	e := &cef{maxText: textLimit(maxText), bare: maxText == bare}
	class, name := cefClass(ev)
	e.header("CEF:0", 0)
	e.header(vendor, 63)
	e.header(product, 63)
	e.header(first(o.ServerVersion, "unknown"), 31)
	e.header(class, 1023)
	e.header(name, 512)
	e.header(strconv.Itoa(levelsOf(SeverityOf(ev)).cef), 0)

	switch {
	case maxText == minimal:
		e.text("externalId", first(alertID(ev), ev.ID), 40)
	case isFinding(ev), ev.Row != nil && ev.Alert == nil:
		e.alert(ev)
	default:
		e.activity(ev)
	}
	return e.b.Bytes()
}

func alertID(ev *soar.Event) string {
	if ev.Alert == nil {
		return ""
	}
	return ev.Alert.ID
}

// cefClass is the signature id and the name, which are the same for all events
// of a kind: they hold no host, user or address.
func cefClass(ev *soar.Event) (class, name string) {
	a := ev.Alert
	switch ev.Type {
	case soar.EventTelemetry:
		if ev.Row != nil {
			return "telemetry:" + first(ev.Row.Query, "unknown"), first(ev.Row.Query, "telemetry")
		}
	case soar.EventAlertReceived, soar.EventAlertUpdated, soar.EventAlertGrouped:
		switch {
		case a == nil:
			return "alert", "alert"
		case a.Rule != nil:
			return "rule:" + strconv.FormatInt(a.Rule.ID, 10), first(a.Rule.Name, "rule "+strconv.FormatInt(a.Rule.ID, 10))
		case isIntel(a):
			return "intel:" + first(a.Source, "unknown"), first(a.Source, "intel") + " match"
		}
		return "alert:" + first(a.Source, "unknown"), first(a.Source, "alert")
	case soar.EventStepFinished:
		if ev.Outcome != nil {
			return "response:" + ev.Outcome.Action, ev.Outcome.Action
		}
	case soar.EventRunStarted:
		return "run:started", "playbook started"
	case soar.EventRunFinished:
		return "run:finished", "playbook ended"
	}
	return string(ev.Type), string(ev.Type)
}

type cef struct {
	b       bytes.Buffer
	maxText int
	bare    bool
	started bool
}

func (e *cef) header(text string, limit int) {
	text = cefClean(text, false)
	text = strings.TrimSpace(e.fit(text, limit))
	if text == "" {
		text = "unknown" // all seven fields must be there
	}
	e.b.WriteString(cefHeader.Replace(text))
	e.b.WriteByte('|')
}

var (
	cefHeader = strings.NewReplacer(`\`, `\\`, `|`, `\|`)
	// The pipe stays as it is: an escaped one is invalid in the extension.
	cefValue = strings.NewReplacer(`\`, `\\`, `=`, `\=`, "\n", `\n`, "\r", `\r`)
)

// cefClean replaces control and other hidden characters, for which the format has
// no escape. Line feed and carriage return have one in the extension.
func cefClean(text string, extension bool) string {
	return strings.Map(func(r rune) rune {
		if soar.IsHidden(r) && (!extension || (r != '\n' && r != '\r')) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// fit cuts to the limit of the key; what the room for the whole line asks for
// beyond that is marked.
func (e *cef) fit(text string, limit int) string {
	if e.maxText > 0 && (limit == 0 || e.maxText < limit) {
		return clip(text, e.maxText)
	}
	return cut(text, limit)
}

// text adds a pair, unless the value is empty. Lengths count characters before
// escaping.
func (e *cef) text(key, value string, limit int) bool {
	value = strings.Trim(cefClean(value, true), " ")
	value = strings.Trim(e.fit(value, limit), " ")
	if value == "" {
		return false
	}
	if e.started {
		e.b.WriteByte(' ')
	}
	e.started = true
	e.b.WriteString(key)
	e.b.WriteByte('=')
	e.b.WriteString(cefValue.Replace(value))
	return true
}

// pair adds a value that is not cut: a number, a time or an address.
func (e *cef) pair(key, value string) bool {
	limit := e.maxText
	e.maxText = 0
	defer func() { e.maxText = limit }()
	return e.text(key, value, 0)
}

// labelled adds a custom field, which is nothing without its label.
func (e *cef) labelled(key, label, value string, limit int) {
	if e.text(key, value, limit) {
		e.pair(key+"Label", label)
	}
}

// labelledNumber is labelled for values that are not cut.
func (e *cef) labelledNumber(key, label, value string) {
	if e.pair(key, value) {
		e.pair(key+"Label", label)
	}
}

func (e *cef) alert(ev *soar.Event) {
	a := subject(ev)
	f := fieldsOf(a)
	e.text("externalId", first(a.ID, ev.ID), 40)
	if usable(a.CreatedAt) {
		e.pair("rt", millis(a.CreatedAt.UnixMilli()))
	}
	if usable(f.time) {
		e.pair("start", millis(f.time.UnixMilli()))
	}
	e.pair("type", "0")
	e.text("cat", first(a.Source, string(ev.Type)), 1023)
	if g := ev.Group; g != nil && g.Count > 0 {
		e.pair("cnt", strconv.Itoa(g.Count))
	}
	e.text("act", f.action, 63)
	if a.Rule != nil {
		e.text("reason", a.Rule.Description, 1023)
	}
	e.text("msg", Summary(ev), 1023)
	e.hostKeys(a, f)
	if e.bare {
		return
	}

	// src, dst and dvc are IPv4 only in CEF 0.
	source, destination := f.net.local, f.net.remote
	if source.addr.Is4() {
		e.pair("src", source.addr.String())
	}
	e.pair("spt", source.port.String())
	if destination.addr.Is4() {
		e.pair("dst", destination.addr.String())
	}
	e.pair("dpt", destination.port.String())
	if destination.addr.Is6() {
		if e.pair("c6a3", destination.addr.String()) {
			e.pair("c6a3Label", "Destination IPv6 Address")
		}
	}
	e.text("proto", strings.ToUpper(first(f.net.transport, f.net.number.String())), 31)
	switch f.net.direction {
	case "ingress":
		e.pair("deviceDirection", "0")
	case "egress":
		e.pair("deviceDirection", "1")
	}
	e.text("destinationDnsDomain", f.dns.name, 255)
	e.text("request", f.url, 1023)
	e.text("suser", f.proc.account(), 1023)
	e.text("sproc", f.proc.path, 1023)
	e.pair("spid", f.proc.pid.String())
	e.text("dproc", f.target.path, 1023)
	e.pair("dpid", f.target.pid.String())
	e.text("filePath", f.file.path, 1023)
	e.text("fname", f.file.name, 1023)
	e.text("oldFilePath", f.file.oldPath, 1023)
	e.text("fileHash", first(f.hashes.sha256, f.hashes.md5), 255)
	e.labelled("cs1", "CommandLine", f.proc.cmdline, 4000)
	e.labelled("cs2", "ParentProcess", f.parent.path, 4000)
	e.labelled("cs3", "MitreTechniques", strings.Join(f.techniqueIDs(), ","), 4000)
	e.labelled("cs4", "MitreTactics", strings.Join(f.tacticNames(), ","), 4000)
	e.labelled("cs5", "ProcessGuid", f.proc.guid, 4000)
	e.labelled("cs6", "RegistryPath", f.registry.path, 4000)
	e.labelledNumber("cn1", "ParentPid", f.parent.pid.String())
	if a.Rule != nil {
		e.labelledNumber("cn2", "RuleId", strconv.FormatInt(a.Rule.ID, 10))
	}
	e.labelledNumber("cn3", "WindowsEventId", f.code.String())
	e.labelled("flexString1", "MD5", f.hashes.md5, 1023)
	e.labelled("flexString2", "AlertUrl", a.URL, 1023)
}

// activity is what was done about an alert, or what erbridge says about itself.
func (e *cef) activity(ev *soar.Event) {
	id, act, outcome, reason := ev.ID, "", "", ""
	switch {
	case ev.Outcome != nil:
		id, act = first(ev.Outcome.Command, ev.ID), ev.Outcome.Action
		outcome, reason = stepOutcome(ev.Outcome.State), ev.Outcome.Error
	case ev.Approval != nil:
		id, act, outcome, reason = ev.Approval.ID, "approval", string(ev.Approval.State), ev.Approval.Why
	case ev.Undo != nil:
		act, reason = "undo", "the time that "+ev.Undo.Action+" was wanted for is nearly over"
	case ev.Run != nil && ev.Type == soar.EventRunFinished:
		outcome, reason = runOutcome(ev.Run.State), ev.Run.Error
	}
	e.text("externalId", id, 40)
	if usable(ev.At) {
		e.pair("rt", millis(ev.At.UnixMilli()))
	}
	if ev.Outcome != nil || ev.Run != nil {
		e.pair("type", "3")
	} else {
		e.pair("type", "0")
	}
	e.text("act", act, 63)
	e.text("outcome", outcome, 63)
	e.text("reason", reason, 1023)
	e.text("msg", Summary(ev), 1023)
	if ev.Alert != nil {
		e.hostKeys(ev.Alert, fieldsOf(ev.Alert))
		// Alert ids of the server are numbers; a webhook sender may have others.
		if n := parseNumber(ev.Alert.ID); n.ok {
			e.labelledNumber("cn1", "AlertId", n.String())
		}
		e.labelled("flexString2", "AlertUrl", ev.Alert.URL, 1023)
	}
	if ev.Run != nil {
		e.labelled("cs1", "Playbook", ev.Run.Playbook, 4000)
		e.labelled("cs2", "Run", ev.Run.ID.String(), 4000)
		e.labelled("cs3", "Mode", string(ev.Run.Mode), 4000)
		e.labelled("cs4", "RunState", string(ev.Run.State), 4000)
	}
	switch {
	case ev.Outcome != nil:
		e.labelled("cs5", "StepState", string(ev.Outcome.State), 4000)
	case ev.Approval != nil:
		e.labelled("cs5", "ApprovalQuestion", ev.Approval.Text, 4000)
	case ev.Undo != nil:
		e.labelled("cs5", "UndoneAt", rfc3339(ev.Undo.At), 4000)
		e.labelled("cs6", "UndoneRun", ev.Undo.Of.String(), 4000)
	}
}

func (e *cef) hostKeys(a *soar.Alert, f *fields) {
	e.text("dvchost", a.Host.Name, 100)
	e.text("dhost", a.Host.Name, 1023)
	e.text("deviceExternalId", a.Host.Identifier, 255)
	if f.hostIP.Is4() {
		e.pair("dvc", f.hostIP.String())
	}
}

func (f *fields) tacticNames() []string {
	names := make([]string, len(f.tactics))
	for i, t := range f.tactics {
		names[i] = t.name
	}
	return names
}

// millis writes a time before 1970 as no time.
func millis(ms int64) string {
	if ms < 0 {
		return ""
	}
	return strconv.FormatInt(ms, 10)
}

// cut shortens text to that many characters; 0 does not.
func cut(text string, limit int) string {
	if limit <= 0 || len(text) <= limit || utf8.RuneCountInString(text) <= limit {
		return text
	}
	n := 0
	for i := range text {
		if n == limit {
			return text[:i]
		}
		n++
	}
	return text
}

package format

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// LEEF is the event in the Log Event Extended Format 2.0 (IBM QRadar, "LEEF event
// components"), as one line without a syslog header. The delimiter is the tab, because the
// format has no escapes: a tab, a line end or another hidden character in a value becomes a
// space, and all else stays as it is.
func LEEF(ev *soar.Event, o Options) []byte { return leefEvent(ev, o, 0) }

// leefEvent cuts every value to that many characters, as cefEvent does.
func leefEvent(ev *soar.Event, o Options, maxText int) []byte {
	e := &leef{maxText: textLimit(maxText)}
	class, name := cefClass(ev)
	e.b.WriteString("LEEF:2.0|" + vendor + "|" + product + "|")
	e.header(first(o.ServerVersion, "unknown"), 31)
	e.header(class, 255)
	e.b.WriteString("x09|")

	a := subject(ev)
	switch {
	case maxText == minimal:
	case ev.Outcome != nil && ev.Type == soar.EventStepFinished:
		e.text("cat", "response", 0)
	case a != nil && a.Source != "":
		e.text("cat", a.Source, 0)
	default:
		e.text("cat", string(ev.Type), 0)
	}
	e.whole("devTime", occurred(ev).Format(leefTime))
	e.whole("devTimeFormat", "MMM dd yyyy HH:mm:ss.SSS z")
	e.whole("sev", strconv.Itoa(max(levelsOf(SeverityOf(ev)).cef, 1)))
	e.text("erEventId", EventID(ev), 255)
	e.text("erEvent", string(ev.Type), 0)
	if maxText == minimal {
		return e.b.Bytes()
	}
	e.text("policy", name, 0)
	e.text("msg", Summary(ev), 0)
	if a != nil {
		e.about(a, fieldsOf(a))
		if isFinding(ev) || ev.Row != nil {
			e.seen(a, fieldsOf(a), maxText == bare)
		}
	}
	e.done(ev)
	return e.b.Bytes()
}

// leefTime is devTimeFormat in Go's words.
const leefTime = "Jan 02 2006 15:04:05.000 MST"

type leef struct {
	b       bytes.Buffer
	maxText int
	started bool
}

// header writes a field of the header, which ends at a pipe.
func (e *leef) header(text string, limit int) {
	text = strings.TrimSpace(cut(strings.ReplaceAll(plainLine(text), "|", " "), limit))
	e.b.WriteString(first(text, "unknown") + "|")
}

// text adds a pair, unless the value is empty.
func (e *leef) text(key, value string, limit int) {
	value = plainLine(value)
	if e.maxText > 0 && (limit == 0 || e.maxText < limit) {
		value = clip(value, e.maxText)
	}
	if value = strings.TrimSpace(cut(value, limit)); value == "" {
		return
	}
	if e.started {
		e.b.WriteByte('\t')
	}
	e.started = true
	e.b.WriteString(key + "=" + value)
}

// whole adds a value that is never cut.
func (e *leef) whole(key, value string) {
	limit := e.maxText
	e.maxText = 0
	e.text(key, value, 0)
	e.maxText = limit
}

// about is which alert, which rule and which host.
func (e *leef) about(a *soar.Alert, f *fields) {
	e.text("erAlertId", a.ID, 0)
	e.text("erServer", a.Server, 0)
	e.text("erUrl", a.URL, 0)
	e.text("erStatus", a.Status, 0)
	e.text("erVerdict", a.Verdict, 0)
	if a.Rule != nil {
		e.text("erRuleId", strconv.FormatInt(a.Rule.ID, 10), 0)
	}
	e.text("mitreTechniques", strings.Join(f.techniqueIDs(), ","), 0)
	e.text("mitreTactics", strings.Join(f.tacticNames(), ","), 0)
	e.text("resource", a.Host.Name, 0)
	e.text("erHostId", a.Host.Identifier, 0)
	if f.hostIP.IsValid() && plainLine(a.Host.Name) != "" { // one says nothing without the other
		e.whole("identSrc", f.hostIP.String())
		e.text("identHostName", a.Host.Name, 255)
	}
}

// seen is what happened on the host.
func (e *leef) seen(a *soar.Alert, f *fields, bare bool) {
	e.text("erAction", f.action, 0)
	e.text("erQuery", a.QueryName, 0)
	if bare {
		return
	}
	source, destination := f.source(), f.destination()
	e.whole("src", addrText(source.addr))
	e.text("srcPort", source.port.String(), 0)
	e.whole("dst", addrText(destination.addr))
	e.text("dstPort", destination.port.String(), 0)
	e.text("proto", first(strings.ToUpper(f.net.transport), f.net.number.String()), 0)
	e.text("usrName", f.proc.account(), 255)
	e.text("accountName", first(f.proc.user, f.proc.userID), 255)
	e.text("domain", f.proc.userDomain, 0)
	e.text("url", f.url, 0)
	e.text("dnsName", f.dns.name, 0)
	e.text("processPath", f.proc.path, 0)
	e.text("processId", f.proc.pid.String(), 0)
	e.text("processGuid", f.proc.guid, 0)
	e.text("cmdLine", f.proc.cmdline, 0)
	e.text("parentPath", f.parent.path, 0)
	e.text("parentPid", f.parent.pid.String(), 0)
	e.text("targetPath", f.target.path, 0)
	e.text("targetPid", f.target.pid.String(), 0)
	e.text("filePath", f.file.path, 0)
	e.text("fileOldPath", f.file.oldPath, 0)
	e.whole("fileMd5", f.hashes.md5)
	e.whole("fileSha256", f.hashes.sha256)
	e.text("registryPath", f.registry.path, 0)
	e.text("registryData", f.registry.data, 0)
}

// done is what was done or said because of it.
func (e *leef) done(ev *soar.Event) {
	if r := ev.Run; r != nil {
		e.text("erRun", r.ID.String(), 0)
		e.text("erPlaybook", r.Playbook, 0)
		e.text("erMode", string(r.Mode), 0)
		e.text("erRunState", string(r.State), 0)
	}
	switch {
	case ev.Outcome != nil:
		o := ev.Outcome
		e.text("erResponse", o.Action, 0)
		e.text("erOutcome", stepOutcome(o.State), 0)
		e.text("erState", string(o.State), 0)
		e.text("erReason", o.Error, 0)
		e.text("erCommand", o.Command, 0)
		e.text("erTarget", o.Target, 0)
		e.text("erStep", o.Step, 0)
	case ev.Approval != nil:
		e.text("erApproval", ev.Approval.ID, 0)
		e.text("erState", string(ev.Approval.State), 0)
		e.text("erReason", ev.Approval.Why, 0)
		e.text("erResponse", ev.Approval.Action, 0)
	case ev.Undo != nil:
		e.text("erResponse", ev.Undo.Do, 0)
		if usable(ev.Undo.At) {
			e.text("erUndoAt", ev.Undo.At.UTC().Format(time.RFC3339), 0)
		}
		e.text("erUndoRun", ev.Undo.Of.String(), 0)
	case ev.Run != nil && ev.Type == soar.EventRunFinished:
		e.text("erOutcome", runOutcome(ev.Run.State), 0)
		e.text("erReason", ev.Run.Error, 0)
	}
	if g := ev.Group; g != nil {
		e.text("erGroupHead", g.Head, 0)
		e.text("erGroupCount", strconv.Itoa(g.Count), 0)
		e.text("erGroupHosts", strconv.Itoa(g.Hosts), 0)
	}
}

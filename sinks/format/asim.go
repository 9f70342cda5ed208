package format

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// ASIM is the event in the columns of Microsoft Sentinel's Advanced Security Information
// Model, as a flat JSON object on one line: alerts as AlertEvent 0.1, all else as
// AuditEvent 0.1.2 (learn.microsoft.com, "ASIM Alert schema" and "ASIM Audit Events
// schema"). It has no schema for rows of telemetry, which are an error wrapping
// ErrUnsupported.
func ASIM(ev *soar.Event, o Options) ([]byte, error) {
	if ev.Row != nil && ev.Alert == nil || ev.Type == soar.EventTelemetry {
		return nil, fmt.Errorf("asim: %w: a row of telemetry is of a schema for each table; use json", ErrUnsupported)
	}
	d := object{
		"TimeGenerated": asimTime(ev), "EventCount": 1, "EventVendor": vendor, "EventProduct": product,
		"EventMessage": Summary(ev), "EventUid": EventID(ev), "EventSeverity": levelsOf(SeverityOf(ev)).asim,
	}
	d.put("EventProductVersion", o.ServerVersion)
	d.put("EventOriginalType", string(ev.Type))
	if ev.Alert != nil {
		asimContext(d, ev.Alert)
	}
	if isFinding(ev) {
		asimAlert(d, ev)
	} else {
		asimAudit(d, ev)
	}
	return marshal(d), nil
}

// asimTime is when the record came to be, which TimeGenerated tells.
func asimTime(ev *soar.Event) string {
	if ev.Type == soar.EventAlertReceived && ev.Alert != nil {
		return ecsDate(firstTime(ev.Alert.CreatedAt, ev.At))
	}
	return ecsDate(firstTime(ev.At))
}

// asimContext is which alert, which rule and which host.
func asimContext(d object, a *soar.Alert) {
	f := fieldsOf(a)
	d.put("EventOriginalSeverity", first(a.SeverityText, string(a.Severity)))
	d.put("EventReportUrl", a.URL)
	d.put("AlertId", a.ID)
	d.put("AlertName", a.Title())
	if a.Rule != nil {
		d.put("RuleName", a.Rule.Name)
		d["RuleNumber"] = a.Rule.ID
		d.put("RuleDescription", a.Rule.Description)
	}
	d.put("AttackTactics", strings.Join(f.tacticNames(), ", "))
	d.put("AttackTechniques", strings.Join(f.techniqueIDs(), ", "))
	d.put("Dvc", first(a.Host.Name, addrText(f.hostIP), a.Host.Identifier, a.Server, product)) // mandatory
	d.put("DvcHostname", a.Host.Name)
	d.put("DvcId", a.Host.Identifier)
	if a.Host.Identifier != "" {
		d["DvcIdType"] = "Other"
	}
	d.put("DvcIpAddr", addrText(f.hostIP))
	d.put("DvcOs", first(a.Host.OS, a.Host.Platform))
	d.put("DvcOsVersion", a.Host.OSVersion)
}

func asimAlert(d object, ev *soar.Event) {
	a := ev.Alert
	f := fieldsOf(a)
	d["EventSchema"], d["EventSchemaVersion"], d["EventType"], d["EventResult"] = "AlertEvent", "0.1", "Alert", "NA"
	d["EventOriginalUid"] = a.Ref()
	if g := ev.Group; g != nil && g.Count > 0 {
		d["EventCount"] = g.Count
	}
	at := ecsDate(firstTime(f.time, ev.At))
	d["EventStartTime"], d["EventEndTime"] = at, at
	if a.Rule != nil {
		d.put("AlertDescription", a.Rule.Description)
	}
	d["AlertStatus"] = "Active"
	if a.Status == soar.StatusResolved {
		d["AlertStatus"] = "Closed"
	}
	d.put("AlertOriginalStatus", a.Status)
	d["AlertVerdict"] = first(map[string]string{soar.VerdictTruePositive: "True Positive", soar.VerdictFalsePositive: "False Positive"}[a.Verdict], "Unknown")
	d["DetectionMethod"] = "EDR"
	if isIntel(a) {
		d["DetectionMethod"] = "Threat Intelligence"
	}
	d.put("IndicatorType", asimIndicator(f))

	d.put("ProcessId", f.proc.pid.String())
	d.put("ProcessName", f.proc.path)
	d.put("ProcessCommandLine", f.proc.cmdline)
	d.put("Username", f.proc.account())
	switch {
	case f.proc.userDomain != "":
		d["UsernameType"] = "Windows"
	case f.proc.account() != "":
		d["UsernameType"] = "Simple"
	}
	if f.proc.userID != "" {
		d["UserId"], d["UserIdType"] = f.proc.userID, "UID"
	}
	d.put("FileName", f.file.name)
	d.put("FilePath", f.file.path)
	d.put("FileMD5", f.hashes.md5)
	d.put("FileSHA1", f.hashes.sha1)
	d.put("FileSHA256", f.hashes.sha256)
	d.put("IpAddr", addrText(f.net.remote.addr))
	d.put("Url", f.url)
	d.put("RegistryKey", f.registry.key)
	if f.registry.hive != "" && f.registry.key != "" {
		d["RegistryKey"] = f.registry.hive + `\` + f.registry.key
	}
	d.put("RegistryValue", f.registry.value)
	d.put("RegistryValueData", f.registry.data)
	d.put("RegistryValueType", f.registry.kind)
	rest := flatColumns(d, a)
	asimRest(rest, ev)
	d.object("AdditionalFields", asimFitting(rest))
}

// asimIndicator is what the alert points at, in the schema's words.
func asimIndicator(f *fields) string {
	switch {
	case f.kind.registry():
		return "Registry"
	case f.kind == kindHTTP:
		return "Url"
	case f.kind == kindDNS:
		return "Host"
	case f.kind.socket(), f.kind == kindTLS:
		return "Ip"
	case f.kind.file(), f.kind == kindLibrary, f.kind == kindDriver:
		return "File"
	case f.kind.process():
		return "Process"
	}
	return ""
}

// asimAudit is what was done or said.
func asimAudit(d object, ev *soar.Event) {
	d["EventSchema"], d["EventSchemaVersion"], d["EventType"], d["EventResult"] = "AuditEvent", "0.1.2", "Other", "NA"
	d["Operation"], d["Object"], d["ObjectType"] = first(plainLine(string(ev.Type)), "event"), "erbridge", "Other"
	d["EventStartTime"], d["EventEndTime"] = ecsDate(firstTime(ev.At)), ecsDate(firstTime(ev.At))
	d["ActingAppName"], d["ActingAppType"] = "erbridge", "Service"
	if d["Dvc"] == nil {
		d["Dvc"] = "erbridge"
	}
	result := func(outcome string) {
		d["EventResult"] = first(map[string]string{"success": "Success", "failure": "Failure"}[outcome], "NA")
	}
	if r := ev.Run; r != nil {
		d["Object"], d["OriginalObjectType"] = first(r.Playbook, "erbridge"), "Playbook"
		if ev.Type == soar.EventRunFinished {
			result(runOutcome(r.State))
			d.put("EventOriginalResultDetails", r.Error)
		}
	}
	if o := ev.Outcome; o != nil && ev.Type == soar.EventStepFinished {
		result(stepOutcome(o.State))
		d["EventType"] = "Execute"
		if verb := map[string]string{"process.kill": "Stop", "file.delete": "Delete"}[o.Action]; verb != "" {
			d["EventType"] = verb
		}
		d.put("Operation", actionName(o.Action))
		d.put("EventOriginalResultDetails", first(o.Error, o.Summary))
		d["OriginalObjectType"] = "Endpoint"
		host := o.Target
		if ev.Alert != nil {
			host = first(ev.Alert.Host.Name, host)
		}
		d.put("Object", host)
		if o.Took > 0 {
			d["EventStartTime"] = ecsDate(firstTime(ev.At.Add(-o.Took), ev.At))
		}
	}
	if a := ev.Approval; a != nil {
		d.put("Object", a.Playbook)
		if n := len(a.Votes); n > 0 && a.Votes[n-1].By != "" {
			d["ActorUsername"], d["ActorUsernameType"] = a.Votes[n-1].By, "Simple"
		}
	}
	rest := object{}
	asimRest(rest, ev)
	d.object("AdditionalFields", asimFitting(rest))
}

// maxASIMField is the size of a column in Log Analytics, which cuts what is longer
// ("Azure Monitor service limits"): a text is shorter then, an object is none any more.
const maxASIMField = 64 << 10

// asimFitting is an object with its texts cut as far as it takes to fit a column; nil where
// there are too many of them.
func asimFitting(rest object) object {
	for _, most := range []int{8192, 2048, 512, 128, 32} {
		if len(marshal(rest)) <= maxASIMField {
			return rest
		}
		for name, value := range rest {
			if text, ok := value.(string); ok {
				rest[name] = clip(text, most)
			}
		}
	}
	if len(marshal(rest)) > maxASIMField {
		return nil
	}
	return rest
}

// asimRest is what the schemas have no column for, in the flat names that a KQL query can
// read from AdditionalFields.
func asimRest(rest object, ev *soar.Event) {
	put := func(name, value string) {
		if value != "" {
			rest["er_"+name] = value
		}
	}
	put("event_id", ev.ID)
	put("text", ev.Text)
	if a := ev.Alert; a != nil {
		put("alert", a.Ref())
		put("source", a.Source)
		put("comment", a.Comment)
		put("query_name", a.QueryName)
	}
	if r := ev.Run; r != nil {
		put("run", r.ID.String())
		put("playbook", r.Playbook)
		put("mode", string(r.Mode))
		put("run_state", string(r.State))
	}
	if o := ev.Outcome; o != nil {
		put("step", o.Step)
		put("action", o.Action)
		put("state", string(o.State))
		put("command", o.Command)
		put("target", o.Target)
		put("summary", o.Summary)
	}
	if a := ev.Approval; a != nil {
		put("approval", a.ID)
		put("approval_state", string(a.State))
		put("question", a.Text)
		put("reason", a.Why)
	}
	if u := ev.Undo; u != nil {
		put("undo", u.Do)
		put("undo_at", rfc3339(u.At))
		put("undo_of", u.Of.String())
	}
	if c := ev.Change; c != nil {
		put("changed", strings.Join(c.What, ","))
		put("changed_by", c.By)
	}
	if g := ev.Group; g != nil {
		put("group_head", g.Head)
		put("group_hosts", strconv.Itoa(g.Hosts))
	}
}

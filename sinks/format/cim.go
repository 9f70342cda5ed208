package format

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// HECOptions are the choices for events of Splunk's HTTP Event Collector.
type HECOptions struct {
	Options
	Index      string // empty: the token's own
	Source     string // empty: eclecticiq:er
	SourceType string // empty: by what the event tells
	Host       string // empty: that of the alert
}

// HEC is one event in the envelope of the collector's event endpoint, as JSON on
// one line, with field names of the Common Information Model 8.5.
func HEC(ev *soar.Event, o HECOptions) []byte {
	envelope := object{"time": epoch(hecTime(ev)), "event": cimEvent(ev, o.Options)}
	envelope.put("source", first(o.Source, cimSource))
	envelope.put("sourcetype", first(o.SourceType, sourcetype(ev)))
	envelope.put("index", o.Index)
	// Index-time fields are flat: texts or lists of texts.
	fields := object{}
	fields.put("event_id", EventID(ev))
	fields.put("event_type", string(ev.Type))
	if a := subject(ev); a != nil {
		envelope.put("host", plainLine(a.Host.Name))
		fields.put("alert_id", a.ID)
		fields.put("er_server", a.Server)
	}
	envelope.put("host", o.Host) // in place of the alert's
	envelope["fields"] = fields
	return marshal(envelope)
}

// cimSource is the source of all events in Splunk.
const cimSource = "eclecticiq:er"

// sourcetype is the kind of an event in Splunk.
func sourcetype(ev *soar.Event) string {
	switch ev.Type {
	case soar.EventAlertReceived, soar.EventAlertUpdated, soar.EventAlertGrouped:
		return "eclecticiq:er:alert"
	case soar.EventStepFinished, soar.EventRunStarted, soar.EventRunFinished:
		return "eclecticiq:er:outcome"
	case soar.EventTelemetry:
		return "eclecticiq:er:telemetry"
	}
	return "eclecticiq:er:connector"
}

// hecTime is when it happened on the host for alerts and rows, else here.
func hecTime(ev *soar.Event) time.Time {
	switch ev.Type {
	case soar.EventAlertReceived, soar.EventAlertUpdated:
		if ev.Alert != nil {
			return firstTime(ev.Alert.EventTime, ev.Alert.CreatedAt, ev.At)
		}
	}
	return occurred(ev)
}

// CIM is the event with field names of the Common Information Model 8.5, as flat JSON on
// one line, for ways into Splunk other than the HTTP Event Collector: time (seconds since
// 1970), host, source and sourcetype stand beside the fields.
func CIM(ev *soar.Event, o Options) []byte {
	d := cimEvent(ev, o)
	d["time"] = epoch(hecTime(ev))
	d["source"], d["sourcetype"] = cimSource, sourcetype(ev)
	if a := subject(ev); a != nil {
		d.put("host", plainLine(a.Host.Name))
	}
	return marshal(d)
}

// epoch is seconds with their fraction. A float64 would not hold the
// microseconds of all dates exactly.
func epoch(t time.Time) json.Number {
	return json.Number(fmt.Sprintf("%d.%06d", t.Unix(), t.Nanosecond()/1000))
}

// cimEvent never sets the fields that Splunk's asset look-up fills, which end in
// _bunit, _category and _priority, nor tag.
func cimEvent(ev *soar.Event, o Options) object {
	d := object{
		"app":            vendor + " " + product,
		"vendor_product": vendor + " " + product,
		"event_id":       EventID(ev),
		"event_type":     string(ev.Type),
		"type":           "event",
		"severity":       levelsOf(SeverityOf(ev)).cim,
		"subject":        Summary(ev),
	}
	d.put("product_version", o.ServerVersion)
	if a := subject(ev); a != nil {
		cimAlert(d, ev, a, fieldsOf(a))
	}
	if r := ev.Row; r != nil {
		d.put("query_action", r.Action)
	}
	if g := ev.Group; g != nil {
		d.put("group_key", g.Key)
		d.put("group_head", g.Head)
		d["group_count"], d["group_hosts"] = g.Count, g.Hosts
	}
	if r := ev.Run; r != nil {
		d.put("run_id", r.ID.String())
		d.put("playbook", r.Playbook)
		d.put("mode", string(r.Mode))
		d.put("run_state", string(r.State))
		d.put("run_error", r.Error)
		if ev.Type == soar.EventRunFinished {
			d.put("status", runOutcome(r.State))
		}
	}
	if out := ev.Outcome; out != nil {
		d.put("action", actionName(out.Action))
		d.put("status", stepOutcome(out.State))
		d.put("step", out.Step)
		d.put("step_state", string(out.State))
		d.put("command_id", out.Command)
		d.put("response_target", out.Target)
		d.put("description", out.Summary)
		d.put("reason", out.Error)
		if out.Took > 0 {
			d["duration"] = json.Number(strconv.FormatFloat(out.Took.Seconds(), 'f', -1, 64))
		}
	}
	if a := ev.Approval; a != nil {
		d.put("approval_action", a.Action) // not action: nothing was done yet
		d.put("status", string(a.State))
		d.put("step", a.Step)
		d.put("approval_id", a.ID)
		d.put("approval_question", a.Text)
		d.put("reason", a.Why)
		if n := len(a.Votes); n > 0 {
			d.put("src_user", a.Votes[n-1].By)
		}
	}
	if u := ev.Undo; u != nil {
		d.put("undo_action", u.Do) // not action: nothing was done yet
		d.put("undo_at", rfc3339(u.At))
		d.put("undo_of_run", u.Of.String())
		d.put("undo_of_action", u.Action)
		d.put("step", u.Step)
		d.put("response_target", u.Target)
	}
	d.put("text", ev.Text)
	return d
}

func cimAlert(d object, ev *soar.Event, a *soar.Alert, f *fields) {
	d.put("er_server", a.Server)
	if ev.Row == nil {
		d.put("id", a.ID)
		d.put("er_source", a.Source)
		d.put("vendor_severity", first(a.SeverityText, string(a.Severity)))
		d.put("severity_id", first(a.SeverityText, string(a.Severity)))
		d.put("signature", a.Title())
	}
	if a.Rule != nil {
		d.put("signature_id", strconv.FormatInt(a.Rule.ID, 10))
		d.put("description", a.Rule.Description)
	}
	d.put("mitre_technique_id", f.techniqueIDs())
	d.put("mitre_tactic", f.tacticNames())
	d.put("status", a.Status)
	d.put("verdict", a.Verdict)
	d.put("comment", a.Comment)
	d.put("query_name", a.QueryName)
	d.put("console_url", a.URL)
	d.put("dest", a.Host.Name)
	d.put("dest_type", "host")
	d.put("er_host_identifier", a.Host.Identifier)
	d.put("os", first(a.Host.OS, a.Host.Platform))
	if f.hostIP.IsValid() {
		d.put("dvc_ip", f.hostIP.String())
	}
	switch {
	case isFinding(ev):
		d["type"] = "alert"
	case ev.Row == nil:
		return // what was done about the alert; the event itself is in the alert's own
	}
	d.put("user", f.proc.account())
	d.put("user_name", first(f.proc.user, f.proc.userID))
	d.put("process", first(f.proc.cmdline, f.proc.path))
	d.put("process_name", f.proc.name)
	d.put("process_path", f.proc.path)
	d.put("process_id", f.proc.pid)
	d.put("process_guid", f.proc.guid)
	d.put("process_hash", f.proc.hashes.best())
	d.put("process_current_directory", f.proc.cwd)
	d.put("parent_process", first(f.parent.cmdline, f.parent.path))
	d.put("parent_process_name", f.parent.name)
	d.put("parent_process_path", f.parent.path)
	d.put("parent_process_id", f.parent.pid)
	d.put("parent_process_guid", f.parent.guid)
	d.put("file_path", f.file.path)
	d.put("file_name", f.file.name)
	d.put("file_hash", first(f.fileHash.best(), f.hashes.best()))
	d.put("action", cimAction(f))
	d.put("vendor_action", f.action)
	d.put("registry_path", f.registry.path)
	d.put("registry_hive", f.registry.hive)
	d.put("registry_key_name", f.registry.key)
	d.put("registry_value_name", f.registry.value)
	d.put("registry_value_data", f.registry.data)
	d.put("registry_value_type", f.registry.kind)
	source, destination := f.net.local, f.net.remote
	d.put("direction", map[string]string{"egress": "outbound", "ingress": "inbound"}[f.net.direction])
	if f.net.direction == "ingress" {
		source, destination = destination, source
	}
	d.put("src", addrText(source.addr))
	d.put("src_ip", addrText(source.addr))
	d.put("src_port", source.port)
	d.put("dest_ip", addrText(destination.addr))
	d.put("dest_port", destination.port)
	d.put("transport", f.net.transport)
	d.put("query", f.dns.name)
	d.put("url", f.url)
	if u, err := url.Parse(f.url); err == nil {
		d.put("url_domain", u.Hostname())
	}
	if f.indicator.kind == "file" {
		// Malware.Malware_Attacks: the match was seen, nothing was stopped.
		d.put("category", "threat intelligence")
		d["action"] = "allowed"
	}
	if fields := columnFields(a); len(fields) > 0 {
		d["columns"] = fields
	}
}

// cimAction is the word of the data models Endpoint.Filesystem, .Registry and
// Network_Traffic.
func cimAction(f *fields) string {
	switch f.kind {
	case kindFileCreate, kindRegistryCreate:
		return "created"
	case kindFileChange, kindRegistryChange:
		return "modified"
	case kindFileDelete, kindRegistryDelete:
		return "deleted"
	case kindRegistryAccess:
		return "read"
	}
	if f.kind.process() || f.kind.socket() || slices.Contains([]kind{kindLibrary, kindDriver}, f.kind) {
		return "allowed"
	}
	return ""
}

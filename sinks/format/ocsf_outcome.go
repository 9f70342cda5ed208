package format

import (
	"strings"

	"github.com/erbridge/erbridge/internal/soar"
)

// ocsfOutcome is a Remediation Activity: what a step of a playbook did, tried, or would
// have done.
func ocsfOutcome(ev *soar.Event, o Options) object {
	out := ev.Outcome
	class, body := ocsfRemedy(ev)
	d := ocsfHead(ev, o, class, ocsfRemedyActivity(out.Action))
	for name, value := range body {
		d[name] = value
	}
	d["command_uid"] = first(out.Command, ev.ID, "unknown")
	status := word{99, string(out.State)}
	switch stepOutcome(out.State) {
	case "success":
		status = word{1, "Success"}
	case "failure":
		status = word{2, "Failure"}
	case "unknown":
		if out.State == soar.StepUnknown || out.State == "" {
			status = word{0, "Unknown"}
		}
	}
	d["status_id"], d["status"] = status.id, first(status.name, "Unknown")
	d.put("status_code", string(out.State))
	d.put("status_detail", first(out.Error, out.Summary))
	if out.Summary != "" {
		d.put("remediation.desc", out.Summary)
	}
	if out.Took > 0 {
		at := firstTime(ev.At)
		d["duration"] = out.Took.Milliseconds()
		d["start_time"], d["end_time"] = firstTime(at.Add(-out.Took), at).UnixMilli(), at.UnixMilli()
	}
	rest := object{}
	rest.put("event_type", string(ev.Type))
	rest.put("action", out.Action)
	rest.put("step", out.Step)
	rest.put("target", out.Target)
	if a := ev.Alert; a != nil {
		d.put("metadata.correlation_uid", a.Ref())
		rest.put("alert", a.Ref())
		rest.put("title", a.Title())
		rest.put("url", a.URL)
	} else if out.Target != "" {
		d["device"] = object{"type_id": 0, "type": "Unknown", "uid": out.Target}
		d.put("metadata.profiles", []string{"host"})
	}
	ocsfStory(rest, ev)
	d["unmapped"] = rest
	return d
}

// ocsfRemedyActivity is the tactic of MITRE D3FEND that an action is of.
func ocsfRemedyActivity(action string) word {
	switch action {
	case "host.contain":
		return word{1, "Isolate"}
	case "host.release":
		return word{3, "Restore"}
	}
	switch _, verb, _ := strings.Cut(action, "."); verb {
	case "kill", "stop", "delete", "remove":
		return word{2, "Evict"}
	}
	return word{99, first(plainLine(action), "Other")}
}

// ocsfRemedy is the class of an outcome and what that class requires. The outcome has no
// process and no file of its own; those of the alert are named only where the outcome's
// summary names them too, because a playbook may act on others.
func ocsfRemedy(ev *soar.Event) (ocsfClass, object) {
	out := ev.Outcome
	if ev.Alert == nil {
		return ocsfRemediation, nil
	}
	f := fieldsOf(ev.Alert)
	names := func(text string) bool { return text != "" && strings.Contains(out.Summary, text) }
	switch object, _, _ := strings.Cut(out.Action, "."); {
	case object == "process" && f.proc.pid.ok && names("pid "+f.proc.pid.String()+")"):
		return ocsfRemedyProc, map[string]any{"process": ocsfProcessOf(&f.proc, &f.parent)}
	case object == "file" && names(f.file.path):
		return ocsfRemedyFile, map[string]any{"file": ocsfFileOf(f)}
	case object == "file" && names(f.proc.path):
		return ocsfRemedyFile, map[string]any{"file": ocsfPath(f.proc.path, f.proc.name, f.proc.hashes)}
	}
	return ocsfRemediation, nil
}

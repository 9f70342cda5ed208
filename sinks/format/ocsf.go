package format

import (
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// The releases of the Open Cybersecurity Schema Framework that OCSF writes. Documents name
// the one that they are written for in metadata.version; the class of remediations came
// with 1.3.0.
const (
	ocsfVersion            = "1.2.0"
	ocsfRemediationVersion = "1.3.0"
)

// ocsfClass is a class of events.
type ocsfClass struct {
	category     int
	categoryName string
	uid          int
	name         string
	version      string
	// device and security say whether the class has the profiles host and
	// security_control.
	device, security bool
}

var (
	ocsfBase        = ocsfClass{0, "Uncategorized", 0, "Base Event", ocsfVersion, false, false}
	ocsfFinding     = ocsfClass{2, "Findings", 2004, "Detection Finding", ocsfVersion, true, true}
	ocsfFile        = ocsfClass{1, "System Activity", 1001, "File System Activity", ocsfVersion, true, true}
	ocsfModule      = ocsfClass{1, "System Activity", 1005, "Module Activity", ocsfVersion, true, true}
	ocsfProcess     = ocsfClass{1, "System Activity", 1007, "Process Activity", ocsfVersion, true, true}
	ocsfRegKey      = ocsfClass{1, "System Activity", 201001, "Registry Key Activity", ocsfVersion, true, true}
	ocsfRegValue    = ocsfClass{1, "System Activity", 201002, "Registry Value Activity", ocsfVersion, true, true}
	ocsfNetwork     = ocsfClass{4, "Network Activity", 4001, "Network Activity", ocsfVersion, true, true}
	ocsfDNS         = ocsfClass{4, "Network Activity", 4003, "DNS Activity", ocsfVersion, true, true}
	ocsfRemediation = ocsfClass{7, "Remediation", 7001, "Remediation Activity", ocsfRemediationVersion, true, false}
	ocsfRemedyFile  = ocsfClass{7, "Remediation", 7002, "File Remediation Activity", ocsfRemediationVersion, true, false}
	ocsfRemedyProc  = ocsfClass{7, "Remediation", 7003, "Process Remediation Activity", ocsfRemediationVersion, true, false}
)

// word is a number of a schema and what it stands for.
type word struct {
	id   int
	name string
}

var ocsfSeverities = map[int]string{1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical"}

// OCSF is the event in the Open Cybersecurity Schema Framework, as JSON on one line. An
// alert, new or changed, is a Detection Finding (2004) of 1.2.0. What a step did to a host
// is a Remediation Activity (7001 to 7003) of 1.3.0. A row of telemetry is an activity of
// its kind (process, file, network, DNS, module, registry). All else is a Base Event with
// the event's type as its activity. Times are milliseconds since 1970.
func OCSF(ev *soar.Event, o Options) []byte {
	switch {
	case isFinding(ev):
		return marshal(ocsfAlert(ev, o))
	case ev.Type == soar.EventStepFinished && ev.Outcome != nil:
		return marshal(ocsfOutcome(ev, o))
	case ev.Row != nil && ev.Alert == nil:
		return marshal(ocsfActivity(ev, o))
	}
	return marshal(ocsfOther(ev, o))
}

// ocsfHead is what documents of all classes have.
func ocsfHead(ev *soar.Event, o Options, class ocsfClass, activity word) object {
	severity := SeverityOf(ev)
	level := levelsOf(severity)
	d := object{
		"category_uid": class.category, "category_name": class.categoryName, "class_uid": class.uid, "class_name": class.name,
		"activity_id": activity.id, "activity_name": activity.name, "type_uid": class.uid*100 + activity.id,
		"type_name": class.name + ": " + activity.name, "severity_id": level.ocsf, "message": Summary(ev),
		"time": occurred(ev).UnixMilli(),
	}
	d["severity"] = first(ocsfSeverities[level.ocsf], string(severity), "Unknown")
	if severity == "" {
		d["severity_id"] = 0
	}
	d.put("metadata.version", class.version)
	d.put("metadata.product.vendor_name", vendor)
	d.put("metadata.product.name", product)
	d.put("metadata.product.version", o.ServerVersion)
	d.put("metadata.uid", EventID(ev))
	a := subject(ev)
	if a == nil {
		return d
	}
	d.put("metadata.log_name", a.QueryName)
	d.put("metadata.log_provider", a.Source)
	var profiles []string
	if class.device {
		profiles = append(profiles, "host")
		d["device"] = ocsfDevice(a, fieldsOf(a))
	}
	if class.security {
		// The agent sees and tells; it stops nothing.
		profiles = append(profiles, "security_control")
		d["action_id"], d["action"] = 1, "Allowed"
	}
	d.put("metadata.profiles", profiles)
	return d
}

// ocsfAlert is a Detection Finding.
func ocsfAlert(ev *soar.Event, o Options) object {
	a := ev.Alert
	f := fieldsOf(a)
	activity := word{1, "Create"}
	switch {
	case ev.Type == soar.EventAlertReceived:
	case a.Status == soar.StatusResolved:
		activity = word{3, "Close"}
	default:
		activity = word{2, "Update"}
	}
	d := ocsfHead(ev, o, ocsfFinding, activity)
	if ev.Type == soar.EventAlertReceived {
		d["time"] = firstTime(a.CreatedAt, ev.At).UnixMilli()
	}
	if usable(f.time) {
		d["start_time"] = f.time.UnixMilli()
	}
	d["disposition_id"], d["disposition"] = 15, "Detected"
	status := word{1, "New"}
	switch {
	case a.Status == soar.StatusResolved && a.Verdict == soar.VerdictFalsePositive:
		status = word{3, "Suppressed"}
	case a.Status == soar.StatusResolved:
		status = word{4, "Resolved"}
	}
	d["status_id"], d["status"] = status.id, status.name
	d.put("status_detail", strings.ReplaceAll(a.Verdict, "_", " "))
	d.put("comment", a.Comment)
	if a.EventCount > 0 {
		d["count"] = a.EventCount
	}
	d.put("metadata.event_code", f.code.String())
	d.put("metadata.original_time", first(a.Event["utc_time"], a.Event["time"]))
	d.put("metadata.correlation_uid", a.Ref())

	d["finding_info"] = ocsfFindingInfo(a, f)
	if evidence := ocsfEvidence(f); len(evidence) > 0 {
		d["evidences"] = []object{evidence}
	}
	resource := object{"type": "host"}
	resource.put("uid", a.Host.Identifier)
	resource.put("name", a.Host.Name)
	if a.Host.Name == "" && a.Host.Identifier == "" {
		resource["name"] = first(addrText(f.hostIP), "unknown") // one of the two must be there
	}
	resource.put("labels", some(a.Host.Tags...))
	d["resources"] = []object{resource}
	if seen := ocsfObservables(a, f); len(seen) > 0 {
		d["observables"] = seen
	}
	rest := object{}
	if columns := leftOver(d, a); columns != nil {
		rest["columns"] = columns
	}
	rest.put("event_type", string(ev.Type))
	rest.put("server", a.Server)
	rest.put("verdict", a.Verdict)
	ocsfChange(rest, ev)
	d["unmapped"] = rest
	return d
}

func ocsfFindingInfo(a *soar.Alert, f *fields) object {
	info := object{}
	info.put("uid", first(a.ID, "unknown"))
	info.put("title", a.Title())
	info.put("src_url", a.URL)
	info.put("types", some(a.Source))
	info.put("data_sources", some(a.QueryName))
	if usable(a.CreatedAt) {
		info["created_time"] = a.CreatedAt.UnixMilli()
	}
	if usable(a.UpdatedAt) {
		info["modified_time"] = a.UpdatedAt.UnixMilli()
	}
	if usable(f.time) {
		info["first_seen_time"] = f.time.UnixMilli()
	}
	switch {
	case a.Rule != nil:
		info.put("desc", a.Rule.Description)
		info.put("analytic.type_id", 1)
		info.put("analytic.type", "Rule")
		info.put("analytic.name", a.Rule.Name)
		info.put("analytic.uid", strconv.FormatInt(a.Rule.ID, 10))
	case isIntel(a):
		info["title"] = first(a.Source, "intel") + " match"
		if f.indicator.value != "" {
			info["title"] = first(a.Source, "intel") + " match: " + f.indicator.value
		}
		info.put("analytic.type_id", 5)
		info.put("analytic.type", "Fingerprinting")
		info.put("analytic.name", a.Source)
	}
	if attacks := ocsfAttacks(f); len(attacks) > 0 {
		info["attacks"] = attacks
	}
	return info
}

// ocsfAttacks pairs the tactic with the techniques when there is one; with several, the
// rule does not say which technique serves which.
func ocsfAttacks(f *fields) []object {
	var attacks []object
	add := func(t *tactic, q *technique) {
		attack := object{}
		if t != nil {
			attack.put("tactic.uid", t.id)
			attack.put("tactic.name", t.name)
		}
		if q != nil {
			attack.put("technique.uid", q.parent)
			attack.put("sub_technique.uid", q.sub)
		}
		if len(attack) > 0 {
			attacks = append(attacks, attack)
		}
	}
	var only *tactic
	if len(f.tactics) == 1 && len(f.techniques) > 0 {
		only = &f.tactics[0]
	} else {
		for i := range f.tactics {
			add(&f.tactics[i], nil)
		}
	}
	for i := range f.techniques {
		add(only, &f.techniques[i])
	}
	return attacks
}

// ocsfOther is a Base Event: it has no place for hosts or findings, so that those stand in
// unmapped.
func ocsfOther(ev *soar.Event, o Options) object {
	d := ocsfHead(ev, o, ocsfBase, word{99, first(plainLine(string(ev.Type)), "event")})
	rest := object{}
	rest.put("event_type", string(ev.Type))
	rest.put("text", ev.Text)
	if a := ev.Alert; a != nil {
		rest.put("alert", a.Ref())
		rest.put("title", a.Title())
		rest.put("host", a.Host.Name)
		rest.put("host_identifier", a.Host.Identifier)
		rest.put("url", a.URL)
	}
	ocsfStory(rest, ev)
	d["unmapped"] = rest
	return d
}

// ocsfStory is which run, question and return the event is about.
func ocsfStory(rest object, ev *soar.Event) {
	if r := ev.Run; r != nil {
		rest.put("run.id", r.ID.String())
		rest.put("run.playbook", r.Playbook)
		rest.put("run.mode", string(r.Mode))
		rest.put("run.state", string(r.State))
		rest.put("run.error", r.Error)
	}
	if a := ev.Approval; a != nil {
		rest.put("approval.id", a.ID)
		rest.put("approval.state", string(a.State))
		rest.put("approval.question", a.Text)
		rest.put("approval.action", a.Action)
		rest.put("approval.reason", a.Why)
		if n := len(a.Votes); n > 0 {
			rest.put("approval.by", a.Votes[n-1].By)
		}
	}
	if u := ev.Undo; u != nil {
		rest.put("undo.at", rfc3339(u.At))
		rest.put("undo.run", u.Of.String())
		rest.put("undo.step", u.Step)
		rest.put("undo.action", u.Action)
		rest.put("undo.by", u.Do)
		rest.put("undo.target", u.Target)
	}
	ocsfChange(rest, ev)
}

func ocsfChange(rest object, ev *soar.Event) {
	if c := ev.Change; c != nil {
		rest.put("change.what", c.What)
		rest.put("change.origin", string(c.Origin))
		rest.put("change.by", c.By)
		rest.put("change.run", c.Run)
		rest.put("change.at", rfc3339(c.At))
		if n := len(c.Notes); n > 0 {
			rest.put("change.note", c.Notes[n-1].Text)
		}
	}
	if g := ev.Group; g != nil {
		rest.put("group.key", g.Key)
		rest.put("group.head", g.Head)
		rest.put("group.count", strconv.Itoa(g.Count))
		rest.put("group.hosts", strconv.Itoa(g.Hosts))
		rest.put("group.first", rfc3339(g.First))
		rest.put("group.last", rfc3339(g.Last))
	}
}

// rfc3339 is a time as text, or nothing where there is none.
func rfc3339(t time.Time) string {
	if !usable(t) {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

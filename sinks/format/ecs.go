package format

import (
	_ "embed"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/erbridge/erbridge/internal/soar"
)

// ecsVersion is the release of the Elastic Common Schema that ECS writes.
const ecsVersion = "8.17.0"

// ecsTime is a date with milliseconds, as the date type reads it.
const ecsTime = "2006-01-02T15:04:05.000Z"

// ECSTemplate is an index template for the data streams that ECS documents go
// into: the columns of events become one field, so that their names, which any
// administrator of a host can invent, do not use up the index's fields.
//
//go:embed ecs_template.json
var ECSTemplate []byte

// ECSOptions are the choices for ECS documents.
type ECSOptions struct {
	Options
	// Namespace is the last part of the data stream's name; empty leaves the
	// data_stream fields out.
	Namespace string
	// Original adds event.original, the whole alert as JSON.
	Original bool
}

// ECSDataset is the data set of an event: alerts, what was done about them, and
// what erbridge says about itself have different fields and readers.
func ECSDataset(ev *soar.Event) string {
	switch ev.Type {
	case soar.EventAlertReceived, soar.EventAlertUpdated, soar.EventAlertGrouped:
		return "eclecticiq_er.alert"
	case soar.EventTelemetry:
		return "eclecticiq_er.telemetry"
	case soar.EventStepFinished, soar.EventRunStarted, soar.EventRunFinished, soar.EventApprovalRequested, soar.EventApprovalDecided, soar.EventUndoSoon:
		return "eclecticiq_er.outcome"
	}
	return "eclecticiq_er.connector"
}

// ECS is the event as one document of the Elastic Common Schema 8.17, on one
// line. Every document has @timestamp, ecs.version, event.id, event.kind and
// message.
func ECS(ev *soar.Event, o ECSOptions) []byte {
	d := object{}
	d.put("ecs.version", ecsVersion)
	d.put("message", Summary(ev))
	d.put("event.id", EventID(ev))
	d.put("event.module", "eclecticiq_er")
	d.put("event.dataset", ECSDataset(ev))
	d.put("eclecticiq.er.event.id", ev.ID)
	d.put("eclecticiq.er.event.type", string(ev.Type))
	if o.Namespace != "" {
		d.put("data_stream.type", "logs")
		d.put("data_stream.dataset", ECSDataset(ev))
		d.put("data_stream.namespace", o.Namespace)
	}
	d.put("observer.vendor", vendor)
	d.put("observer.product", product)
	d.put("observer.type", "edr")
	d.put("observer.version", o.ServerVersion)

	at := ev.At
	d.put("event.kind", "event")
	if a := ev.Alert; a != nil {
		f := fieldsOf(a)
		ecsContext(d, a, f)
		switch ev.Type {
		case soar.EventAlertReceived, soar.EventAlertUpdated:
			at = f.time
			ecsAlert(d, a, f)
			if o.Original {
				d.put("event.original", string(marshal(writable(a, true))))
			}
		case soar.EventAlertGrouped:
			ecsAlert(d, a, f)
			d.put("event.start", ecsDate(f.time))
		}
	} else if r := ev.Row; r != nil {
		a := rowAlert(r)
		f := fieldsOf(a)
		at = f.time
		ecsHost(d, a, f)
		ecsSeen(d, a, f)
		d.put("event.provider", r.Query)
		d.put("observer.name", r.Server)
		d.put("eclecticiq.er.row.query", r.Query)
		d.put("eclecticiq.er.row.action", r.Action)
		d.put("eclecticiq.er.row.server", r.Server)
		d.put("event.created", ecsDate(ev.At))
		if f.kind == kindOther {
			d.put("event.category", []string{"host"})
		}
	}
	if ev.Group != nil {
		ecsGroup(d, ev.Group)
	}
	if ev.Change != nil {
		ecsChange(d, ev.Change)
	}
	if ev.Run != nil {
		ecsRun(d, ev)
	}
	if ev.Outcome != nil {
		ecsOutcome(d, ev)
	}
	if ev.Approval != nil {
		ecsApproval(d, ev.Approval)
	}
	if ev.Undo != nil {
		ecsUndo(d, ev.Undo)
	}
	d.put("eclecticiq.er.text", ev.Text)
	d.put("@timestamp", ecsDate(firstTime(at, ev.At, time.Unix(0, 0))))
	return marshal(d)
}

// EventID identifies an event for whoever drops repeats: the alert's reference
// for a new alert, the event's own id for all that follows from it.
func EventID(ev *soar.Event) string {
	if ev.Type == soar.EventAlertReceived && ev.Alert != nil {
		return ev.Alert.Ref()
	}
	return ev.ID
}

// ecsContext is what every event about an alert has: which alert, which rule,
// which host.
func ecsContext(d object, a *soar.Alert, f *fields) {
	level := levelsOf(a.Severity)
	if level.ecs > 0 {
		d.put("event.severity", level.ecs)
		d.put("event.risk_score", level.risk)
	}
	d.put("event.provider", a.Source)
	d.put("event.url", a.URL)
	d.put("observer.name", a.Server)
	er := func(name, value string) { d.put("eclecticiq.er.alert."+name, value) }
	er("id", a.ID)
	er("ref", a.Ref())
	er("server", a.Server)
	er("source", a.Source)
	er("type", a.Type)
	er("severity", first(a.SeverityText, string(a.Severity)))
	er("status", a.Status)
	er("verdict", a.Verdict)
	er("comment", a.Comment)
	er("query_name", a.QueryName)
	er("result_id", a.ResultID)
	if a.EventCount > 0 {
		d.put("eclecticiq.er.alert.event_count", a.EventCount)
	}
	if a.Backfill {
		d.put("eclecticiq.er.alert.backfill", true)
	}
	if a.Rule != nil {
		d.put("rule.id", strconv.FormatInt(a.Rule.ID, 10))
		d.put("rule.name", a.Rule.Name)
		d.put("rule.description", a.Rule.Description)
		d.put("rule.ruleset", "DEFAULT")
		if len(f.techniques) > 0 {
			d.put("rule.ruleset", "MITRE")
		}
	}
	ecsThreat(d, a, f)
	ecsHost(d, a, f)
}

func ecsHost(d object, a *soar.Alert, f *fields) {
	h := a.Host
	d.put("host.name", strings.ToLower(h.Name))
	d.put("host.hostname", h.Name)
	d.put("host.id", h.Identifier)
	if f.hostIP.IsValid() {
		d.put("host.ip", []string{f.hostIP.String()})
	}
	if f.hostMAC != "" {
		d.put("host.mac", []string{f.hostMAC})
	}
	d.put("host.os.type", f.osType)
	d.put("host.os.platform", h.Platform)
	d.put("host.os.name", h.OS)
	d.put("host.os.version", h.OSVersion)
	d.put("agent.id", h.Identifier)
	d.put("agent.type", "osquery")
	d.put("tags", some(h.Tags...))
	d.put("related.hosts", some(h.Name, h.Identifier))
	if f.hostIP.IsValid() {
		d.put("related.ip", []string{f.hostIP.String()})
	}
}

func ecsThreat(d object, a *soar.Alert, f *fields) {
	var ids, subs, tacticIDs, tacticNames []string
	for _, t := range f.techniques {
		ids, subs = append(ids, t.parent), append(subs, t.sub)
	}
	for _, t := range f.tactics {
		tacticIDs, tacticNames = append(tacticIDs, t.id), append(tacticNames, t.name)
	}
	if len(ids) > 0 {
		d.put("threat.framework", "MITRE ATT&CK")
	}
	d.put("threat.technique.id", some(ids...))
	d.put("threat.technique.subtechnique.id", some(subs...))
	d.put("threat.tactic.id", some(tacticIDs...))
	d.put("threat.tactic.name", some(tacticNames...))
	if !isIntel(a) {
		return
	}
	d.put("threat.feed.name", a.Source)
	d.put("threat.indicator.provider", a.Source)
	d.put("threat.indicator.type", f.indicator.kind)
	d.put("threat.indicator.name", f.indicator.value)
	d.put("threat.indicator.reference", f.indicator.reference)
	switch f.indicator.kind {
	case "file":
		d.put("threat.indicator.file.hash.md5", f.hashes.md5)
		d.put("threat.indicator.file.hash.sha1", f.hashes.sha1)
		d.put("threat.indicator.file.hash.sha256", f.hashes.sha256)
	case "ipv4-addr", "ipv6-addr":
		d.put("threat.indicator.ip", f.indicator.value)
	case "url":
		d.put("threat.indicator.url.full", f.indicator.value)
	case "domain-name":
		d.put("threat.indicator.url.domain", f.indicator.value)
	}
}

// ecsAlert is what only the alert itself has: the event that it was raised for.
func ecsAlert(d object, a *soar.Alert, f *fields) {
	d.put("event.kind", "alert")
	d.put("event.created", ecsDate(a.CreatedAt))
	if a.Rule != nil {
		d.put("event.reason", a.Rule.Description)
	}
	ecsSeen(d, a, f)
}

// ecsSeen is what happened on the host.
func ecsSeen(d object, a *soar.Alert, f *fields) {
	category, types := ecsCategory(a, f)
	d.put("event.category", category)
	d.put("event.type", types)
	d.put("event.action", strings.ReplaceAll(strings.ToLower(plainLine(f.action)), " ", "_"))
	d.put("event.code", f.code.String())

	p := f.proc
	d.put("process.pid", p.pid)
	d.put("process.entity_id", p.guid)
	d.put("process.executable", p.path)
	d.put("process.name", p.name)
	d.put("process.command_line", p.cmdline)
	d.put("process.working_directory", p.cwd)
	d.put("process.user.name", p.user)
	d.put("process.user.id", p.userID)
	if f.kind == kindProcessStart {
		d.put("process.start", ecsDate(f.time))
	}
	ecsHashes(d, "process", p.hashes)
	d.put("process.parent.pid", f.parent.pid)
	d.put("process.parent.entity_id", f.parent.guid)
	d.put("process.parent.executable", f.parent.path)
	d.put("process.parent.name", f.parent.name)
	d.put("process.parent.command_line", f.parent.cmdline)
	d.put("user.name", p.user)
	d.put("user.domain", p.userDomain)
	d.put("user.id", p.userID)
	// ECS has no second process; the name follows that of process.
	d.put("eclecticiq.er.target.process.pid", f.target.pid)
	d.put("eclecticiq.er.target.process.entity_id", f.target.guid)
	d.put("eclecticiq.er.target.process.executable", f.target.path)

	switch {
	case f.kind.file():
		d.put("file.path", f.file.path)
		d.put("file.name", f.file.name)
		d.put("file.directory", f.file.dir)
		d.put("file.extension", f.file.ext)
		d.put("file.uid", f.file.ownerID)
		d.put("eclecticiq.er.file.previous_path", f.file.oldPath)
		d.put("file.code_signature.subject_name", f.signer)
		ecsHashes(d, "file", f.fileHash)
	case f.kind == kindLibrary, f.kind == kindDriver:
		d.put("dll.path", f.file.path)
		d.put("dll.name", f.file.name)
		d.put("dll.code_signature.subject_name", f.signer)
		ecsHashes(d, "dll", f.fileHash)
	}

	d.put("registry.path", f.registry.path)
	d.put("registry.hive", f.registry.hive)
	d.put("registry.key", f.registry.key)
	d.put("registry.value", f.registry.value)
	d.put("registry.data.type", f.registry.kind)
	d.put("registry.data.strings", some(f.registry.data))
	ecsNetwork(d, f)
	ecsRelated(d, a, f)

	if fields := columnFields(a); len(fields) > 0 {
		d.put("eclecticiq.er.columns", fields)
	}
}

// ecsCategory is the table of event.category and event.type by kind of event.
func ecsCategory(a *soar.Alert, f *fields) (category, types []string) {
	switch f.kind {
	case kindProcessStart:
		category, types = []string{"process"}, []string{"start"}
	case kindProcessEnd:
		category, types = []string{"process"}, []string{"end"}
	case kindProcessAccess:
		category, types = []string{"process"}, []string{"access"}
	case kindRemoteThread:
		category, types = []string{"process"}, []string{"change"}
	case kindFileCreate:
		category, types = []string{"file"}, []string{"creation"}
	case kindFileChange:
		category, types = []string{"file"}, []string{"change"}
	case kindFileDelete:
		category, types = []string{"file"}, []string{"deletion"}
	case kindRegistryCreate:
		category, types = []string{"registry"}, []string{"creation"}
	case kindRegistryChange:
		category, types = []string{"registry"}, []string{"change"}
	case kindRegistryDelete:
		category, types = []string{"registry"}, []string{"deletion"}
	case kindRegistryAccess:
		category, types = []string{"registry"}, []string{"access"}
	case kindSocketStart:
		category, types = []string{"network"}, []string{"connection", "start"}
	case kindSocketEnd:
		category, types = []string{"network"}, []string{"connection", "end"}
	case kindDNS, kindHTTP, kindTLS:
		category, types = []string{"network"}, []string{"protocol"}
	case kindLibrary:
		category, types = []string{"library"}, []string{"start"}
	case kindDriver:
		category, types = []string{"driver"}, []string{"start"}
	default:
		category, types = []string{"intrusion_detection"}, []string{"info"}
	}
	if isIntel(a) {
		extra, extraType := "threat", "indicator"
		if f.indicator.kind == "file" {
			extra, extraType = "malware", "info"
		}
		category = append(category, extra)
		if !slices.Contains(types, extraType) {
			types = append(types, extraType)
		}
	}
	return category, types
}

func ecsHashes(d object, path string, h hashes) {
	d.put(path+".hash.md5", h.md5)
	d.put(path+".hash.sha1", h.sha1)
	d.put(path+".hash.sha256", h.sha256)
}

func ecsNetwork(d object, f *fields) {
	source, destination := f.net.local, f.net.remote
	if f.net.direction == "ingress" {
		source, destination = destination, source
	}
	d.put("source.ip", addrText(source.addr))
	d.put("source.port", source.port)
	d.put("destination.ip", addrText(destination.addr))
	d.put("destination.port", destination.port)
	if f.kind == kindDNS || f.kind == kindHTTP || f.kind == kindTLS || f.kind.socket() {
		d.put("network.transport", f.net.transport)
		d.put("network.iana_number", f.net.number.String())
	}
	d.put("network.direction", f.net.direction)
	switch addr := f.net.remote.addr; {
	case addr.Is4():
		d.put("network.type", "ipv4")
	case addr.Is6():
		d.put("network.type", "ipv6")
	}
	d.put("dns.question.name", f.dns.name)
	d.put("dns.question.type", f.dns.kind)
	d.put("dns.question.class", f.dns.class)
	d.put("dns.resolved_ip", addrTexts(f.dns.resolved...))
	d.put("url.full", f.url)
	// Agents give a whole URL, or a host and path without a scheme.
	if u, err := url.Parse(f.url); f.url != "" && err == nil {
		d.put("url.scheme", u.Scheme)
		d.put("url.domain", u.Hostname())
		d.put("url.path", u.Path)
		d.put("destination.domain", u.Hostname())
	}
	d.put("tls.server.subject", f.tls.subject)
	d.put("tls.server.issuer", f.tls.issuer)
}

func ecsRelated(d object, a *soar.Alert, f *fields) {
	addrs := append([]netip.Addr{f.hostIP, f.net.local.addr, f.net.remote.addr}, f.dns.resolved...)
	d.put("related.ip", addrTexts(addrs...))
	d.put("related.hash", some(f.hashes.md5, f.hashes.sha1, f.hashes.sha256))
	hosts := []string{a.Host.Name, a.Host.Identifier, f.dns.name}
	if u, err := url.Parse(f.url); err == nil {
		hosts = append(hosts, u.Hostname())
	}
	d.put("related.hosts", some(hosts...))
	d.put("related.user", some(f.proc.user, f.proc.userID))
}

// maxColumnName bounds the name of a column. Elasticsearch refuses a document in which the
// name and the value of a flattened field have more than 32,766 bytes together.
const maxColumnName = 255

// columnFields are all columns with a value, under names that can be field names:
// a dot would make an object, and a text and an object cannot share a name.
func columnFields(a *soar.Alert) object {
	out := object{}
	for _, name := range columns(a) {
		value := a.Event[name]
		if value == "" {
			continue
		}
		key := strings.Map(func(r rune) rune {
			if r == '.' || unicode.IsControl(r) || unicode.IsSpace(r) {
				return '_'
			}
			return r
		}, strings.ToValidUTF8(name, "\uFFFD"))
		key = cut(key, maxColumnName)
		for key == "" || out[key] != nil {
			key += "_"
		}
		out[key] = value
	}
	return out
}

func ecsRun(d object, ev *soar.Event) {
	r := ev.Run
	d.put("eclecticiq.er.run.id", r.ID.String())
	d.put("eclecticiq.er.run.playbook", r.Playbook)
	d.put("eclecticiq.er.run.mode", string(r.Mode))
	d.put("eclecticiq.er.run.state", string(r.State))
	d.put("eclecticiq.er.run.error", r.Error)
	switch ev.Type {
	case soar.EventRunStarted:
		d.put("event.action", "start_playbook")
	case soar.EventRunFinished:
		d.put("event.action", "finish_playbook")
		d.put("event.outcome", runOutcome(r.State))
		d.put("event.reason", r.Error)
	default:
		return
	}
	d.put("event.category", []string{"intrusion_detection"})
	d.put("event.type", []string{"info"})
}

// ecsGroup counts the like alerts of which the document is one.
func ecsGroup(d object, g *soar.Group) {
	d.put("eclecticiq.er.group.key", g.Key)
	d.put("eclecticiq.er.group.head", g.Head)
	d.put("eclecticiq.er.group.count", int64(g.Count))
	d.put("eclecticiq.er.group.hosts", int64(g.Hosts))
	d.put("eclecticiq.er.group.first", ecsDate(g.First))
	d.put("eclecticiq.er.group.last", ecsDate(g.Last))
}

func ecsApproval(d object, a *soar.Approval) {
	d.put("event.category", []string{"intrusion_detection"})
	d.put("event.type", []string{"info"})
	d.put("event.action", "ask_approval")
	if a.State != soar.ApprovalWaiting {
		d.put("event.action", "decide_approval")
	}
	d.put("event.reason", a.Why)
	d.put("eclecticiq.er.approval.id", a.ID)
	d.put("eclecticiq.er.approval.state", string(a.State))
	d.put("eclecticiq.er.approval.question", a.Text)
	d.put("eclecticiq.er.approval.action", a.Action)
	if n := len(a.Votes); n > 0 {
		d.put("eclecticiq.er.approval.by", a.Votes[n-1].By)
	}
}

func ecsUndo(d object, u *soar.Undo) {
	d.put("event.category", []string{"host"})
	d.put("event.type", []string{"info"})
	d.put("event.action", "announce_"+actionName(u.Do)) // nothing was done yet
	d.put("eclecticiq.er.undo.at", ecsDate(u.At))
	d.put("eclecticiq.er.undo.run", u.Of.String())
	d.put("eclecticiq.er.undo.step", u.Step)
	d.put("eclecticiq.er.undo.action", u.Action)
	d.put("eclecticiq.er.undo.by", u.Do)
	d.put("eclecticiq.er.undo.target", u.Target)
}

func ecsOutcome(d object, ev *soar.Event) {
	o := ev.Outcome
	category := "host"
	switch verb, _, _ := strings.Cut(o.Action, "."); verb {
	case "process", "file":
		category = verb
	case "carve":
		category = "file"
	}
	d.put("event.category", []string{category})
	d.put("event.type", []string{"info"})
	d.put("event.action", actionName(o.Action))
	d.put("event.outcome", stepOutcome(o.State))
	d.put("event.reason", o.Error)
	if o.Took > 0 {
		d.put("event.duration", o.Took.Nanoseconds())
		d.put("event.start", ecsDate(ev.At.Add(-o.Took)))
		d.put("event.end", ecsDate(ev.At))
	}
	d.put("eclecticiq.er.response.id", o.Command)
	d.put("eclecticiq.er.response.step", o.Step)
	d.put("eclecticiq.er.response.action", o.Action)
	d.put("eclecticiq.er.response.state", string(o.State))
	d.put("eclecticiq.er.response.target", o.Target)
	d.put("eclecticiq.er.response.summary", o.Summary)
	d.put("eclecticiq.er.response.error", o.Error)
}

// actionName turns an action of a playbook around, as the schemas have it:
// file.delete is delete_file.
func actionName(action string) string {
	switch action {
	case "host.contain":
		return "isolate_host"
	case "host.release":
		return "release_host"
	}
	if object, verb, ok := strings.Cut(action, "."); ok {
		return verb + "_" + object
	}
	return action
}

// stepOutcome is success only for what was done. A command that was accepted, or
// one that observe mode did not send, is neither a success nor a failure.
func stepOutcome(s soar.StepState) string {
	switch s {
	case soar.StepExecuted, soar.StepVerified:
		return "success"
	case soar.StepFailed, soar.StepRefused, soar.StepExpired, soar.StepCancelled:
		return "failure"
	}
	return "unknown"
}

func runOutcome(s soar.RunState) string {
	switch s {
	case soar.RunDone:
		return "success"
	case soar.RunFailed, soar.RunCancelled:
		return "failure"
	}
	return "unknown"
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func addrTexts(addrs ...netip.Addr) []string {
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = addrText(a)
	}
	return some(texts...)
}

// some is the texts that say something, each once, in their order.
func some(texts ...string) []string {
	var out []string
	for _, t := range texts {
		if t != "" && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// ecsDate is a date in the range that the date type and RFC 3339 can hold, or
// nothing.
func ecsDate(t time.Time) string {
	if !usable(t) {
		return ""
	}
	return t.UTC().Format(ecsTime)
}

// usable reports whether receivers take a time. Those that count from 1970 have no form for
// one before it, and nothing that happened on a host is older: the agent's clock was not
// set, or the text was that of another moment zero.
func usable(t time.Time) bool { return t.Unix() >= 0 && t.UTC().Year() <= 9999 }

// firstTime is the first time that can be written in every format.
func firstTime(times ...time.Time) time.Time {
	for _, t := range times {
		if usable(t) {
			return t.UTC()
		}
	}
	return time.Unix(0, 0).UTC()
}

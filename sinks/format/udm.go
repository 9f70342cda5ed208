package format

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// UDM is the event in Google SecOps' Unified Data Model, as JSON on one line with the
// names of the protocol buffer (cloud.google.com/chronicle, "UDM field list"). The type of
// the event is that of what happened on the host for alerts and telemetry, as far as it
// has what the type requires ("UDM usage guide"), and GENERIC_EVENT otherwise.
func UDM(ev *soar.Event, o Options) []byte {
	d := object{}
	d.put("metadata.event_timestamp", occurred(ev).Format(time.RFC3339Nano))
	d.put("metadata.event_type", "GENERIC_EVENT")
	d.put("metadata.vendor_name", vendor)
	d.put("metadata.product_name", product)
	d.put("metadata.product_version", o.ServerVersion)
	d.put("metadata.product_log_id", first(alertID(ev), ev.ID))
	d.put("metadata.product_event_type", string(ev.Type))
	d.put("metadata.description", Summary(ev))
	rest := object{}
	if a := subject(ev); a != nil {
		f := fieldsOf(a)
		d.put("metadata.url_back_to_product", a.URL)
		udmHost(d, a, f)
		if isFinding(ev) || ev.Row != nil {
			udmSeen(d, f)
			d.put("metadata.event_type", udmType(d, f))
			rest = flatColumns(d, a)
		}
	}
	if ev.Row == nil {
		d["security_result"] = []object{udmResult(ev)}
	} else {
		rest.put("er_query", ev.Row.Query)
	}
	asimRest(rest, ev)
	d.object("additional", rest) // a google.protobuf.Struct, whose JSON is a plain object
	return marshal(d)
}

func udmHost(d object, a *soar.Alert, f *fields) {
	d.put("principal.hostname", a.Host.Name)
	if a.Host.Identifier != "" {
		d.put("principal.asset_id", vendor+":"+a.Host.Identifier)
	}
	d.put("principal.ip", addrTexts(f.hostIP))
	if f.hostMAC != "" {
		d.put("principal.mac", []string{strings.ToLower(strings.ReplaceAll(f.hostMAC, "-", ":"))})
	}
	d.put("principal.platform", map[string]string{"windows": "WINDOWS", "macos": "MAC", "linux": "LINUX"}[f.osType])
	d.put("principal.platform_version", strings.TrimSpace(a.Host.OS+" "+a.Host.OSVersion))
}

// udmSeen is what happened on the host.
func udmSeen(d object, f *fields) {
	p := udmProcess(&f.proc)
	p.object("parent_process", udmProcess(&f.parent))
	principal, _ := d["principal"].(object)
	if principal == nil {
		principal = object{}
		d["principal"] = principal
	}
	principal.object("process", p)
	principal.put("user.userid", first(f.proc.user, f.proc.userID))
	principal.put("administrative_domain", f.proc.userDomain)
	switch f.kind {
	case kindProcessStart, kindProcessEnd:
		d.put("target.process.pid", f.proc.pid.String())
		d.put("target.process.command_line", f.proc.cmdline)
		d.put("target.process.file.full_path", f.proc.path)
	case kindProcessAccess, kindRemoteThread:
		if t := udmProcess(&f.target); len(t) > 0 {
			d.put("target.process", t)
		}
	}
	if f.file.path != "" {
		d.put("target.file", udmFile(f.file.path, f.fileHash))
	}
	if f.file.oldPath != "" {
		d.put("src.file.full_path", f.file.oldPath)
	}
	d.put("target.registry.registry_key", strings.Trim(f.registry.hive+`\`+f.registry.key, `\`))
	d.put("target.registry.registry_value_name", f.registry.value)
	d.put("target.registry.registry_value_data", f.registry.data)
	udmNetwork(d, f)
	if len(principal) == 0 {
		delete(d, "principal")
	}
}

func udmProcess(p *process) object {
	d := object{}
	d.put("pid", p.pid.String()) // a text in UDM
	d.put("command_line", p.cmdline)
	if p.guid != "" {
		d.put("product_specific_process_id", vendor+":"+p.guid)
	}
	if p.path != "" {
		d["file"] = udmFile(p.path, p.hashes)
	}
	return d
}

func udmFile(path string, h hashes) object {
	d := object{}
	d.put("full_path", path)
	d.put("md5", h.md5)
	d.put("sha1", h.sha1)
	d.put("sha256", h.sha256)
	return d
}

func udmNetwork(d object, f *fields) {
	if f.net.local.port.ok && f.net.local.port.n > 0 {
		d.put("principal.port", f.net.local.port)
	}
	if local := f.net.local.addr; local.IsValid() {
		known, _ := d["principal"].(object)["ip"].([]string)
		d.put("principal.ip", some(append(known, local.String())...))
	}
	d.put("target.ip", addrTexts(f.net.remote.addr))
	if f.net.remote.port.ok && f.net.remote.port.n > 0 {
		d.put("target.port", f.net.remote.port)
	}
	d.put("target.url", f.url)
	if u, err := url.Parse(f.url); f.url != "" && err == nil {
		d.put("target.hostname", u.Hostname())
	}
	switch f.net.transport {
	case "tcp", "udp", "icmp", "igmp", "gre", "esp", "sctp":
		d.put("network.ip_protocol", strings.ToUpper(f.net.transport))
	}
	d.put("network.direction", map[string]string{"egress": "OUTBOUND", "ingress": "INBOUND"}[f.net.direction])
	if f.dns.name != "" {
		d.put("network.dns.questions", []object{{"name": f.dns.name}})
		var answers []object
		for _, addr := range f.dns.resolved {
			answers = append(answers, object{"data": addr.String()})
		}
		if answers != nil {
			d.put("network.dns.answers", answers)
		}
	}
}

// udmType is the type of what happened, if the document has what that type requires: a
// machine as principal and the object of the deed.
func udmType(d object, f *fields) string {
	principal, _ := d["principal"].(object)
	target, _ := d["target"].(object)
	has := func(o object, names ...string) bool {
		for _, name := range names {
			if o[name] != nil {
				return true
			}
		}
		return false
	}
	if !has(principal, "hostname", "asset_id", "ip", "mac") {
		return "GENERIC_EVENT"
	}
	process, file := has(target, "process"), has(target, "file")
	key, _ := target["registry"].(object)
	registry := has(key, "registry_key")
	machine := has(target, "ip", "hostname")
	for _, one := range []struct {
		kind kind
		ok   bool
		name string
	}{
		{kindProcessStart, process, "PROCESS_LAUNCH"},
		{kindProcessEnd, process, "PROCESS_TERMINATION"},
		{kindProcessAccess, process, "PROCESS_OPEN"},
		{kindRemoteThread, process, "PROCESS_INJECTION"},
		{kindFileCreate, file, "FILE_CREATION"},
		{kindFileChange, file && f.file.oldPath != "", "FILE_MOVE"},
		{kindFileChange, file, "FILE_MODIFICATION"},
		{kindFileDelete, file, "FILE_DELETION"},
		{kindRegistryCreate, registry, "REGISTRY_CREATION"},
		{kindRegistryChange, registry, "REGISTRY_MODIFICATION"},
		{kindRegistryDelete, registry, "REGISTRY_DELETION"},
		{kindRegistryAccess, registry, "REGISTRY_UNCATEGORIZED"},
		{kindSocketStart, machine, "NETWORK_CONNECTION"},
		{kindSocketEnd, machine, "NETWORK_CONNECTION"},
		{kindHTTP, machine, "NETWORK_CONNECTION"},
		{kindTLS, machine, "NETWORK_CONNECTION"},
		{kindDNS, f.dns.name != "", "NETWORK_DNS"},
	} {
		if one.kind == f.kind && one.ok {
			return one.name
		}
	}
	return "GENERIC_EVENT"
}

// udmResult is the finding, or what was done about it.
func udmResult(ev *soar.Event) object {
	r := object{"severity": levelsOf(SeverityOf(ev)).udm, "summary": Summary(ev)}
	if a := ev.Alert; a != nil {
		f := fieldsOf(a)
		r.put("severity_details", first(a.SeverityText, string(a.Severity)))
		r.put("url_back_to_product", a.URL)
		if a.Rule != nil {
			r.put("rule_name", a.Rule.Name)
			r.put("rule_id", strconv.FormatInt(a.Rule.ID, 10))
			r.put("description", a.Rule.Description)
		}
		if isFinding(ev) {
			r["alert_state"] = "ALERTING"
			if a.Status == soar.StatusResolved {
				r["alert_state"] = "NOT_ALERTING"
			}
		}
		if isIntel(a) {
			r.put("threat_name", f.indicator.value)
			r.put("threat_feed_name", a.Source)
			r["category"] = []string{"NETWORK_MALICIOUS"}
			if f.indicator.kind == "file" {
				r["category"] = []string{"SOFTWARE_MALICIOUS"}
			}
		}
		udmAttack(r, f)
	}
	if o := ev.Outcome; o != nil && ev.Type == soar.EventStepFinished {
		r.put("action_details", actionName(o.Action))
		r.put("description", first(o.Error, o.Summary))
		switch {
		case stepOutcome(o.State) == "failure":
			r["action"] = []string{"FAIL"}
		case stepOutcome(o.State) != "success":
		case o.Action == "host.contain":
			r["action"] = []string{"QUARANTINE"}
		case o.Action == "process.kill", o.Action == "file.delete":
			r["action"] = []string{"BLOCK"}
		}
	}
	return r
}

func udmAttack(r object, f *fields) {
	var tactics, techniques []object
	for _, t := range f.tactics {
		one := object{}
		one.put("id", t.id)
		one.put("name", t.name)
		tactics = append(tactics, one)
	}
	for _, t := range f.techniques {
		one := object{"id": t.parent}
		one.put("subtechnique_id", t.sub)
		techniques = append(techniques, one)
	}
	if tactics != nil {
		r.put("attack_details.tactics", tactics)
	}
	if techniques != nil {
		r.put("attack_details.techniques", techniques)
	}
}

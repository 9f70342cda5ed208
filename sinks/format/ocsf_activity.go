package format

import (
	"net/url"

	"github.com/erbridge/erbridge/internal/soar"
)

// ocsfActivity is a row of telemetry. A row that lacks what its class requires is a Base
// Event: its columns are all there in either case.
func ocsfActivity(ev *soar.Event, o Options) object {
	a := subject(ev)
	f := fieldsOf(a)
	class, activity := ocsfActivityClass(f)
	body := ocsfActivityBody(f, a, class)
	if body == nil {
		class, activity, body = ocsfBase, word{99, "telemetry"}, object{}
	}
	d := ocsfHead(ev, o, class, activity)
	for name, value := range body {
		d[name] = value
	}
	d.put("metadata.event_code", f.code.String())
	rest := object{}
	if columns := leftOver(d, a); columns != nil {
		rest["columns"] = columns
	}
	rest.put("event_type", string(ev.Type))
	rest.put("server", a.Server)
	rest.put("query", ev.Row.Query)
	rest.put("action", ev.Row.Action)
	if class == ocsfBase {
		rest.put("host", a.Host.Name)
		rest.put("host_identifier", a.Host.Identifier)
	}
	d["unmapped"] = rest
	return d
}

func ocsfActivityClass(f *fields) (ocsfClass, word) {
	switch f.kind {
	case kindProcessStart:
		return ocsfProcess, word{1, "Launch"}
	case kindProcessEnd:
		return ocsfProcess, word{2, "Terminate"}
	case kindProcessAccess:
		return ocsfProcess, word{3, "Open"}
	case kindRemoteThread:
		return ocsfProcess, word{4, "Inject"}
	case kindFileCreate:
		return ocsfFile, word{1, "Create"}
	case kindFileDelete:
		return ocsfFile, word{4, "Delete"}
	case kindFileChange:
		if f.file.oldPath != "" {
			return ocsfFile, word{5, "Rename"}
		}
		return ocsfFile, word{3, "Update"}
	case kindRegistryCreate, kindRegistryChange, kindRegistryDelete, kindRegistryAccess:
		return ocsfRegistryClass(f)
	case kindSocketStart:
		return ocsfNetwork, word{1, "Open"}
	case kindSocketEnd:
		return ocsfNetwork, word{2, "Close"}
	case kindHTTP, kindTLS:
		return ocsfNetwork, word{6, "Traffic"}
	case kindDNS:
		return ocsfDNS, word{1, "Query"}
	case kindLibrary, kindDriver:
		return ocsfModule, word{1, "Load"}
	}
	return ocsfBase, word{99, "telemetry"}
}

func ocsfRegistryClass(f *fields) (ocsfClass, word) {
	if f.registry.value != "" {
		return ocsfRegValue, map[kind]word{
			kindRegistryCreate: {2, "Set"}, kindRegistryChange: {3, "Modify"}, kindRegistryDelete: {4, "Delete"}, kindRegistryAccess: {1, "Get"},
		}[f.kind]
	}
	return ocsfRegKey, map[kind]word{
		kindRegistryCreate: {1, "Create"}, kindRegistryChange: {3, "Modify"}, kindRegistryDelete: {4, "Delete"}, kindRegistryAccess: {2, "Read"},
	}[f.kind]
}

// ocsfActivityBody is what the class requires, or nil.
func ocsfActivityBody(f *fields, a *soar.Alert, class ocsfClass) object {
	d := object{}
	actor := ocsfActor(&f.proc, &f.parent)
	switch class {
	case ocsfProcess:
		process := ocsfProcessOf(&f.target, nil)
		if f.kind == kindProcessStart || f.kind == kindProcessEnd {
			process, actor = ocsfProcessOf(&f.proc, nil), ocsfActor(&f.parent, nil)
		}
		if len(process) == 0 || len(actor) == 0 {
			return nil
		}
		d["process"], d["actor"] = process, actor
	case ocsfFile:
		file := ocsfFileOf(f)
		if file == nil || len(actor) == 0 {
			return nil
		}
		d["file"], d["actor"] = file, actor
		if f.file.oldPath != "" { // the file as it was, and as it is now
			d["file_result"], d["file"] = file, ocsfPath(f.file.oldPath, base(f.file.oldPath), hashes{})
		}
	case ocsfModule:
		if f.file.path == "" || len(actor) == 0 {
			return nil
		}
		d["module"], d["actor"] = object{"file": ocsfFileOf(f), "load_type_id": 0, "load_type": "Unknown"}, actor
	case ocsfRegKey:
		if f.registry.path == "" || len(actor) == 0 {
			return nil
		}
		d["reg_key"], d["actor"] = object{"path": f.registry.path}, actor
	case ocsfRegValue:
		if len(actor) == 0 {
			return nil
		}
		value := object{"path": f.registry.path, "name": f.registry.value}
		value.put("type", f.registry.kind)
		value.put("data", f.registry.data)
		d["reg_value"], d["actor"] = value, actor
	case ocsfNetwork, ocsfDNS:
		return ocsfNetworkBody(f, a, class, actor)
	default:
		return nil
	}
	return d
}

func ocsfNetworkBody(f *fields, a *soar.Alert, class ocsfClass, actor object) object {
	d := object{}
	source, destination := ocsfEndpoint(f.source()), ocsfEndpoint(f.destination())
	if f.net.direction == "ingress" {
		destination.put("hostname", a.Host.Name)
	} else {
		source.put("hostname", a.Host.Name)
	}
	if u, err := url.Parse(f.url); f.url != "" && err == nil {
		destination.put("hostname", u.Hostname())
		d["url"] = object{"url_string": f.url}
	}
	source, destination = source.addressed(), destination.addressed()
	if source == nil || destination == nil && class == ocsfNetwork {
		return nil
	}
	d["src_endpoint"] = source
	d.object("dst_endpoint", destination)
	d["connection_info"] = ocsfConnection(f)
	d.object("actor", actor)
	if class == ocsfDNS {
		d.object("query", ocsfQuery(f))
		var answers []object
		for _, addr := range f.dns.resolved {
			answers = append(answers, object{"rdata": addr.String()})
		}
		if answers != nil {
			d["answers"] = answers
		}
	}
	return d
}

package format

import (
	"net/netip"
	"net/url"

	"github.com/erbridge/erbridge/internal/soar"
)

// ocsfDevice is the host of an alert or a row.
func ocsfDevice(a *soar.Alert, f *fields) object {
	h := &a.Host
	d := object{"type_id": 0, "type": "Unknown"}
	d.put("hostname", h.Name)
	d.put("uid", h.Identifier)
	d.put("ip", addrText(f.hostIP))
	d.put("mac", f.hostMAC)
	if h.Name == "" && h.Identifier == "" && !f.hostIP.IsValid() {
		d["name"] = "unknown" // one of these must be there
	}
	if name := first(h.OS, h.Platform); name != "" {
		d.put("os.name", name)
		d.put("os.version", h.OSVersion)
		kind := map[string]word{"windows": {100, "Windows"}, "linux": {200, "Linux"}, "android": {201, "Android"}, "macos": {300, "macOS"}, "ios": {301, "iOS"}}[f.osType]
		if kind.id == 0 {
			kind = word{99, "Other"}
		}
		d.put("os.type_id", kind.id)
		d.put("os.type", kind.name)
	}
	return d
}

// ocsfEvidence is what the rule matched, by kind; empty when nothing is known.
func ocsfEvidence(f *fields) object {
	e := object{}
	switch f.kind {
	case kindProcessAccess, kindRemoteThread:
		e.object("process", ocsfProcessOf(&f.target, nil))
		e.object("actor", ocsfActor(&f.proc, nil))
	default:
		e.object("process", ocsfProcessOf(&f.proc, &f.parent))
		if e["process"] == nil {
			e.object("actor", ocsfActor(&f.proc, nil))
		}
	}
	e.object("file", ocsfFileOf(f))
	e.object("src_endpoint", ocsfEndpoint(f.source()).addressed())
	destination := ocsfEndpoint(f.destination())
	if u, err := url.Parse(f.url); f.url != "" && err == nil {
		destination.put("hostname", u.Hostname())
	}
	e.object("dst_endpoint", destination.addressed())
	if f.kind.socket() {
		e["connection_info"] = ocsfConnection(f)
	}
	e.object("query", ocsfQuery(f))
	data := object{}
	data.put("url", f.url)
	data.put("registry.path", f.registry.path)
	data.put("registry.hive", f.registry.hive)
	data.put("registry.key", f.registry.key)
	data.put("registry.value", f.registry.value)
	data.put("registry.type", f.registry.kind)
	data.put("registry.data", f.registry.data)
	data.put("resolved", addrTexts(f.dns.resolved...))
	data.object("process", ocsfNameless(&f.proc))
	data.object("parent_process", ocsfNameless(&f.parent))
	data.object("target_process", ocsfNameless(&f.target))
	e.object("data", data)
	return e
}

// object sets a member to an object that says something.
func (o object) object(key string, value object) {
	if len(value) > 0 {
		o[key] = value
	}
}

// ocsfProcessOf is a process; empty when it has neither pid nor uid, because the schema
// wants one of them. See ocsfNameless for what is known of such a process.
func ocsfProcessOf(p, parent *process) object {
	d := object{}
	d.put("pid", p.pid)
	d.put("uid", p.guid)
	if len(d) == 0 {
		return nil
	}
	d.put("name", p.name)
	d.put("cmd_line", p.cmdline)
	d.object("file", ocsfPath(p.path, p.name, p.hashes))
	d.object("user", ocsfUser(p))
	if parent != nil {
		d.object("parent_process", ocsfProcessOf(parent, nil))
	}
	return d
}

// ocsfNameless is what is known of a process that has neither pid nor uid.
func ocsfNameless(p *process) object {
	d := object{}
	if !p.pid.ok && p.guid == "" {
		d.put("path", p.path)
		d.put("cmd_line", p.cmdline)
	}
	return d
}

func ocsfUser(p *process) object {
	d := object{}
	d.put("name", p.user)
	d.put("uid", p.userID)
	d.put("domain", p.userDomain)
	return d
}

// ocsfActor is who did it; empty when nobody knows.
func ocsfActor(p, parent *process) object {
	d := object{}
	d.object("process", ocsfProcessOf(p, parent))
	d.object("user", ocsfUser(p))
	d.put("app_name", first(ocsfNameless(p).text("path"), ocsfNameless(p).text("cmd_line")))
	return d
}

// text is a member that is a text, or nothing.
func (o object) text(key string) string {
	text, _ := o[key].(string)
	return text
}

// ocsfPath is a regular file: the schema wants its name and its type.
func ocsfPath(path, name string, h hashes) object {
	if path == "" {
		return nil
	}
	d := object{"type_id": 1, "type": "Regular File"}
	d.put("path", path)
	d["name"] = first(name, path)
	if list := ocsfHashes(h); len(list) > 0 {
		d["hashes"] = list
	}
	return d
}

// ocsfFileOf is the file that an event is about, a library included.
func ocsfFileOf(f *fields) object {
	d := ocsfPath(f.file.path, f.file.name, f.fileHash)
	if d != nil && f.file.ownerID != "" {
		d.put("owner.uid", f.file.ownerID)
	}
	return d
}

func ocsfHashes(h hashes) []object {
	var list []object
	for _, one := range []struct {
		word
		value string
	}{{word{1, "MD5"}, h.md5}, {word{2, "SHA-1"}, h.sha1}, {word{3, "SHA-256"}, h.sha256}} {
		if one.value != "" {
			list = append(list, object{"algorithm_id": one.id, "algorithm": one.name, "value": one.value})
		}
	}
	return list
}

func ocsfEndpoint(e endpoint) object {
	d := object{}
	d.put("ip", addrText(e.addr))
	d.put("port", e.port)
	return d
}

// addressed is the endpoint, or nil where nothing says which it is: a port alone does not.
func (o object) addressed() object {
	if o["ip"] == nil && o["hostname"] == nil {
		return nil
	}
	return o
}

func ocsfConnection(f *fields) object {
	direction := word{0, "Unknown"}
	switch f.net.direction {
	case "ingress":
		direction = word{1, "Inbound"}
	case "egress":
		direction = word{2, "Outbound"}
	}
	d := object{"direction_id": direction.id, "direction": direction.name}
	d.put("protocol_name", f.net.transport)
	d.put("protocol_num", f.net.number)
	switch {
	case f.net.remote.addr.Is4():
		d["protocol_ver_id"], d["protocol_ver"] = 4, "Internet Protocol version 4 (IPv4)"
	case f.net.remote.addr.Is6():
		d["protocol_ver_id"], d["protocol_ver"] = 6, "Internet Protocol version 6 (IPv6)"
	}
	return d
}

func ocsfQuery(f *fields) object {
	if f.dns.name == "" {
		return nil
	}
	d := object{"hostname": f.dns.name}
	d.put("type", f.dns.kind)
	d.put("class", f.dns.class)
	return d
}

// source and destination are the ends of a connection, in its direction.
func (f *fields) source() endpoint {
	if f.net.direction == "ingress" {
		return f.net.remote
	}
	return f.net.local
}

func (f *fields) destination() endpoint {
	if f.net.direction == "ingress" {
		return f.net.local
	}
	return f.net.remote
}

// ocsfObservables are the values that an analyst searches for, each with the path of the
// attribute that has it.
func ocsfObservables(a *soar.Alert, f *fields) []object {
	var list []object
	seen := map[string]bool{}
	add := func(name string, kind word, value string) {
		if key := name + "\x00" + value; value != "" && !seen[key] {
			seen[key] = true
			list = append(list, object{"name": name, "type_id": kind.id, "type": kind.name, "value": value})
		}
	}
	host, address, user := word{1, "Hostname"}, word{2, "IP Address"}, word{4, "User Name"}
	file, hash, proc := word{7, "File Name"}, word{8, "Hash"}, word{9, "Process Name"}
	add("device.hostname", host, a.Host.Name)
	for _, one := range []struct {
		name string
		addr netip.Addr
	}{{"device.ip", f.hostIP}, {"evidences[].src_endpoint.ip", f.source().addr}, {"evidences[].dst_endpoint.ip", f.destination().addr}} {
		add(one.name, address, addrText(one.addr))
	}
	p, prefix := &f.proc, "evidences[].process."
	if f.kind == kindProcessAccess || f.kind == kindRemoteThread {
		add(prefix+"name", proc, f.target.name)
		prefix = "evidences[].actor.process."
	}
	add(prefix+"name", proc, p.name)
	add(prefix+"cmd_line", word{13, "Command Line"}, p.cmdline)
	add(prefix+"pid", word{15, "Process ID"}, p.pid.String())
	add(prefix+"user.name", user, p.user)
	for _, one := range []string{p.hashes.md5, p.hashes.sha1, p.hashes.sha256} {
		add(prefix+"file.hashes[].value", hash, one)
	}
	add("evidences[].file.name", file, f.file.name)
	for _, one := range []string{f.fileHash.md5, f.fileHash.sha1, f.fileHash.sha256} {
		add("evidences[].file.hashes[].value", hash, one)
	}
	add("evidences[].query.hostname", host, f.dns.name)
	add("evidences[].data.url", word{6, "URL String"}, f.url)
	return list
}

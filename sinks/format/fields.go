// Package format turns events into the words of the systems that receive them:
// ECS documents, CEF lines, Splunk CIM events, syslog messages. Everything here
// is a pure function of its input. All of the input is under an attacker's
// control, except the names that erbridge itself gives.
package format

import (
	"encoding/json"
	"maps"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/erbridge/erbridge/internal/soar"
)

// Options are what formats need to know besides the event.
type Options struct {
	// ServerVersion is the release of the Endpoint Response server, where it is
	// known.
	ServerVersion string
	// Version is erbridge's own version.
	Version string
}

// The names of the product that raises the alerts.
const (
	vendor  = "EclecticIQ"
	product = "Endpoint Response"
)

// kind is what the event behind an alert is about.
type kind int

const (
	kindOther kind = iota
	kindProcessStart
	kindProcessEnd
	kindProcessAccess // one process opens another
	kindRemoteThread
	kindFileCreate
	kindFileChange
	kindFileDelete
	kindRegistryCreate
	kindRegistryChange
	kindRegistryDelete
	kindRegistryAccess
	kindSocketStart
	kindSocketEnd
	kindDNS
	kindHTTP
	kindTLS
	kindLibrary
	kindDriver
)

func (k kind) process() bool  { return k >= kindProcessStart && k <= kindRemoteThread }
func (k kind) file() bool     { return k >= kindFileCreate && k <= kindFileDelete }
func (k kind) registry() bool { return k >= kindRegistryCreate && k <= kindRegistryAccess }
func (k kind) socket() bool   { return k == kindSocketStart || k == kindSocketEnd }

// number is a whole number that may be absent. An absent one is left out of
// every format: a pid of 0 is a statement about a process.
type number struct {
	n  int64
	ok bool
}

func parseNumber(text string) number {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return number{n, err == nil && n >= 0}
}

// parsePID takes no number that no system gives a process: receivers keep pids in 32 bits.
func parsePID(text string) number {
	n := parseNumber(text)
	n.ok = n.ok && n.n <= math.MaxInt32
	return n
}

func parsePort(text string) number {
	n := parseNumber(text)
	n.ok = n.ok && n.n <= 65535
	return n
}

func (n number) String() string {
	if !n.ok {
		return ""
	}
	return strconv.FormatInt(n.n, 10)
}

type process struct {
	pid                            number
	guid, path, name, cmdline, cwd string
	user, userID, userDomain       string
	hashes                         hashes
}

type hashes struct{ md5, sha1, sha256 string }

func (h hashes) best() string { return first(h.sha256, h.sha1, h.md5) }

type endpoint struct {
	addr netip.Addr // the zero Addr where the column holds none
	port number
}

type network struct {
	local, remote endpoint
	number        number // of the IANA registry
	transport     string // tcp, udp, ...
	direction     string // egress, ingress or empty
}

type technique struct{ id, parent, sub string } // sub is empty for a technique without a part

type tactic struct{ id, name string } // id is empty for a slug we do not know

type indicator struct{ kind, value, reference string }

// fields are the values of one alert that several formats need, worked out once.
type fields struct {
	kind     kind
	action   string
	code     number // Windows event id
	time     time.Time
	proc     process
	parent   process
	target   process // of open and remote thread
	file     struct{ path, oldPath, name, dir, ext, owner, ownerID string }
	fileHash hashes
	signer   string
	net      network
	dns      struct {
		name, kind, class string
		resolved          []netip.Addr
	}
	url      string
	tls      struct{ subject, issuer string }
	registry struct{ path, hive, key, value, kind, data string }

	techniques []technique
	tactics    []tactic
	indicator  indicator // of threat-intelligence alerts

	hostIP  netip.Addr
	hostMAC string
	osType  string
	hashes  hashes // whatever they are of
}

// renamed splits what the agent appends to the new path on a rename.
var renamed = regexp.MustCompile(`^(.*) \[Orig: (.*)\]$`)

func fieldsOf(a *soar.Alert) *fields {
	c := a.Event
	f := &fields{
		kind:   kindOf(a),
		action: first(c["action"], c["event_type"]),
		code:   parseNumber(c["eventid"]),
		time:   a.EventTime,
		url:    c["url"],
		signer: c["subject_name"],
		hashes: hashes{hash(c["md5"], 32), hash(c["sha1"], 40), hash(c["sha256"], 64)},
	}
	if f.time.IsZero() {
		f.time = a.CreatedAt
	}
	f.processes(a)
	f.files(c)
	f.network(c)
	f.registryPath(c)
	f.mitre(a.Rule)
	f.host(a.Host)
	f.dns.name, f.dns.kind, f.dns.class = c["domain_name"], dnsType(c["request_type"]), dnsClass(c["request_class"])
	for _, text := range strings.FieldsFunc(c["resolved_ip"], func(r rune) bool { return strings.ContainsRune(",; \t", r) }) {
		if addr := parseAddr(text); addr.IsValid() {
			f.dns.resolved = append(f.dns.resolved, addr)
		}
	}
	if f.kind == kindTLS {
		f.tls.subject, f.tls.issuer = c["subject_name"], c["issuer_name"]
		f.signer = ""
	}
	f.matched(a)
	return f
}

// kindOf reads the kind from the columns, because the query's name is whatever
// an administrator called it; the name decides only where the columns do not.
func kindOf(a *soar.Alert) kind {
	c := a.Event
	action := strings.ToLower(first(c["action"], c["event_type"]))
	is := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(action, w) })
	}
	has := func(columns ...string) bool {
		return slices.ContainsFunc(columns, func(name string) bool { return c[name] != "" })
	}
	query := func(words ...string) bool {
		name := strings.ToLower(a.QueryName)
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(name, w) })
	}
	switch {
	case has("domain_name", "request_type"):
		return kindDNS
	case has("url"):
		return kindHTTP
	case has("dns_names"), query("ssl_events"):
		return kindTLS
	case has("target_name", "value_type", "value_data"):
		switch {
		case is("delete"):
			return kindRegistryDelete
		case is("create"):
			return kindRegistryCreate
		case is("open", "query", "read"):
			return kindRegistryAccess
		}
		return kindRegistryChange
	case has("remote_address", "local_address", "remote_port"):
		if is("close") {
			return kindSocketEnd
		}
		return kindSocketStart
	case has("image_path"):
		if is("driver") || query("driver") {
			return kindDriver
		}
		return kindLibrary
	case has("granted_access"):
		return kindProcessAccess
	case has("src_pid", "src_path", "target_pid"):
		return kindRemoteThread
	case has("target_path"), query("file_events", "pefile"):
		switch {
		case is("delete", "moved_from"):
			return kindFileDelete
		case is("create"):
			return kindFileCreate
		}
		return kindFileChange
	case has("cmdline", "parent", "parent_pid"), is("proc_"), query("process_events"):
		if is("terminate", "exit") {
			return kindProcessEnd
		}
		return kindProcessStart
	}
	return kindOther
}

func (f *fields) processes(a *soar.Alert) {
	c := a.Event
	switch f.kind {
	case kindProcessAccess, kindRemoteThread:
		f.proc = process{pid: parsePID(c["src_pid"]), path: c["src_path"], guid: c["src_process_guid"]}
		f.target = process{pid: parsePID(c["target_pid"]), path: c["target_path"], guid: c["target_process_guid"]}
		f.target.name = base(f.target.path)
	default:
		f.proc = process{pid: parsePID(c["pid"]), guid: c["process_guid"], path: c["process_name"], cmdline: c["cmdline"]}
	}
	// On POSIX the acting process of a socket event is in path, as that of a
	// process event is everywhere; in file tables path can be the file.
	if f.proc.path == "" && !f.kind.file() {
		f.proc.path = c["path"]
	}
	f.proc.name = base(f.proc.path)
	// Linux agents put literal quotes around the directory.
	f.proc.cwd = strings.TrimSuffix(strings.TrimPrefix(c["cwd"], `"`), `"`)
	f.parent = process{
		pid: parsePID(first(c["parent_pid"], c["parent"])), guid: c["parent_process_guid"],
		path: c["parent_path"], name: base(c["parent_path"]), cmdline: c["parent_cmdline"],
	}
	if f.kind.process() {
		f.proc.hashes = f.hashes
	}
	// A name on Windows, a number elsewhere. The uid of a file event is the owner
	// of the file where it is a number.
	user := first(c["uid"], c["owner_uid"])
	if _, err := strconv.ParseInt(user, 10, 64); err == nil {
		if f.kind.file() {
			f.file.ownerID = user
		} else {
			f.proc.userID = user
		}
		user = ""
	}
	f.proc.user = user
	if domain, name, ok := strings.Cut(user, `\`); ok && domain != "" && name != "" {
		f.proc.userDomain, f.proc.user = domain, name
	}
}

// account is the user as the host writes it, domain included.
func (p *process) account() string {
	if p.userDomain != "" {
		return p.userDomain + `\` + p.user
	}
	return first(p.user, p.userID)
}

func (f *fields) files(c map[string]string) {
	switch {
	case f.kind.file():
		f.file.path = first(c["target_path"], c["path"])
		if m := renamed.FindStringSubmatch(f.file.path); m != nil {
			f.file.path, f.file.oldPath = m[1], m[2]
		}
	case f.kind == kindLibrary, f.kind == kindDriver:
		f.file.path = c["image_path"]
	default:
		return
	}
	f.fileHash = f.hashes
	f.file.name = base(f.file.path)
	if cut := len(f.file.path) - len(f.file.name); cut > 1 {
		f.file.dir = f.file.path[:cut-1]
	}
	if dot := strings.LastIndexByte(f.file.name, '.'); dot > 0 {
		f.file.ext = strings.ToLower(f.file.name[dot+1:])
	}
}

func (f *fields) network(c map[string]string) {
	// One table of the Windows agent spells its column with three s.
	remote := first(c["remote_address"], c["remote_addresss"])
	f.net.local = endpoint{parseAddr(c["local_address"]), parsePort(c["local_port"])}
	f.net.remote = endpoint{parseAddr(remote), parsePort(c["remote_port"])}
	f.net.number = parseNumber(c["protocol"])
	f.net.number.ok = f.net.number.ok && f.net.number.n <= 255
	switch {
	case f.net.number.ok:
		f.net.transport = transports[f.net.number.n]
	case len(c["protocol"]) <= 31:
		f.net.transport = strings.ToLower(strings.TrimSpace(c["protocol"]))
	}
	if f.kind.socket() {
		switch action := strings.ToLower(f.action); {
		case strings.Contains(action, "connect"):
			f.net.direction = "egress"
		case strings.Contains(action, "accept"):
			f.net.direction = "ingress"
		}
	}
}

// transports are the IANA protocol numbers that endpoints speak.
var transports = map[int64]string{1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah", 58: "ipv6-icmp", 132: "sctp"}

func (f *fields) registryPath(c map[string]string) {
	if !f.kind.registry() {
		return
	}
	r := &f.registry
	r.path, r.kind, r.data = first(c["target_name"], c["target_new_name"]), c["value_type"], c["value_data"]
	path := strings.TrimPrefix(r.path, `\`)
	for _, h := range hives {
		if rest, ok := cutPrefixFold(path, h.prefix); ok && (rest == "" || rest[0] == '\\') {
			r.hive, path = h.name, strings.TrimPrefix(rest, `\`)
			break
		}
	}
	r.key = path
	// The last part is a value's name only where the event is about a value.
	if cut := strings.LastIndexByte(path, '\\'); cut >= 0 && (r.kind != "" || r.data != "") {
		r.key, r.value = path[:cut], path[cut+1:]
	}
}

var hives = []struct{ prefix, name string }{
	{`HKEY_LOCAL_MACHINE`, "HKLM"}, {`HKLM`, "HKLM"}, {`REGISTRY\MACHINE`, "HKLM"},
	{`HKEY_CURRENT_USER`, "HKCU"}, {`HKCU`, "HKCU"},
	{`HKEY_USERS`, "HKU"}, {`HKU`, "HKU"}, {`REGISTRY\USER`, "HKU"},
	{`HKEY_CLASSES_ROOT`, "HKCR"}, {`HKCR`, "HKCR"},
	{`HKEY_CURRENT_CONFIG`, "HKCC"}, {`HKCC`, "HKCC"},
}

// The tactics of MITRE ATT&CK, enterprise matrix.
var tacticIDs = map[string]string{
	"reconnaissance": "TA0043", "resource-development": "TA0042", "initial-access": "TA0001", "execution": "TA0002",
	"persistence": "TA0003", "privilege-escalation": "TA0004", "defense-evasion": "TA0005", "credential-access": "TA0006",
	"discovery": "TA0007", "lateral-movement": "TA0008", "collection": "TA0009", "exfiltration": "TA0010",
	"command-and-control": "TA0011", "impact": "TA0040",
}

func (f *fields) mitre(r *soar.Rule) {
	if r == nil {
		return
	}
	for _, text := range r.Techniques {
		for id := range strings.SplitSeq(text, ",") {
			id = strings.ToUpper(strings.TrimSpace(id))
			if !strings.ContainsFunc(id, unicode.IsDigit) { // nothing, or a word for it
				continue
			}
			t := technique{id: id, parent: id}
			if parent, _, ok := strings.Cut(id, "."); ok && parent != "" {
				t.parent, t.sub = parent, id
			}
			if !slices.Contains(f.techniques, t) {
				f.techniques = append(f.techniques, t)
			}
		}
	}
	for _, slug := range r.Tactics {
		slug = strings.ToLower(strings.TrimSpace(slug))
		t := tactic{id: tacticIDs[slug], name: tacticName(slug)}
		if t.name != "" && !slices.Contains(f.tactics, t) {
			f.tactics = append(f.tactics, t)
		}
	}
}

// tacticName is what people call a tactic; empty for a text without a word in it,
// such as "-", which stands in rules for "none".
func tacticName(slug string) string {
	words := strings.FieldsFunc(slug, func(r rune) bool { return r == '-' || r == '_' || r == ' ' })
	for i, w := range words {
		if w != "and" {
			runes := []rune(w)
			runes[0] = unicode.ToUpper(runes[0])
			words[i] = string(runes)
		}
	}
	return strings.Join(words, " ")
}

func (f *fields) techniqueIDs() []string {
	ids := make([]string, len(f.techniques))
	for i, t := range f.techniques {
		ids[i] = t.id
	}
	return ids
}

func (f *fields) host(h soar.Host) {
	f.hostIP = parseAddr(h.IP)
	digits := strings.Map(func(r rune) rune {
		switch {
		case r == ':' || r == '-' || r == '.':
			return -1
		case r >= '0' && r <= '9', r >= 'A' && r <= 'F':
			return r
		case r >= 'a' && r <= 'f':
			return r - 'a' + 'A'
		}
		return 'x' // spoils it
	}, strings.TrimSpace(h.MAC))
	if len(digits) == 12 && !strings.Contains(digits, "x") {
		pairs := make([]string, 0, 6)
		for i := 0; i < 12; i += 2 {
			pairs = append(pairs, digits[i:i+2])
		}
		f.hostMAC = strings.Join(pairs, "-")
	}
	switch platform := strings.ToLower(h.Platform); platform {
	case "":
	case "windows", "ios", "android":
		f.osType = platform
	case "darwin", "macos":
		f.osType = "macos"
	case "freebsd", "openbsd", "netbsd", "solaris", "aix":
		f.osType = "unix"
	default:
		f.osType = "linux" // the platform of Linux hosts is the distribution
	}
}

// matched works out what a threat-intelligence alert is about. The server does
// not say which column matched; it compares hashes, domain names and remote
// addresses, and an event has one of these kinds.
func (f *fields) matched(a *soar.Alert) {
	if !isIntel(a) {
		return
	}
	i := &f.indicator
	switch remote := f.net.remote.addr; {
	case f.kind == kindDNS && f.dns.name != "":
		i.kind, i.value = "domain-name", f.dns.name
	case f.kind == kindHTTP:
		i.kind, i.value = "url", f.url
	case f.kind.socket() && remote.Is4():
		i.kind, i.value = "ipv4-addr", remote.String()
	case f.kind.socket() && remote.Is6():
		i.kind, i.value = "ipv6-addr", remote.String()
	case f.hashes.best() != "":
		i.kind, i.value = "file", f.hashes.best()
	}
	var answer struct {
		Permalink string `json:"permalink"`
	}
	if len(a.Intel) > 0 && json.Unmarshal(a.Intel, &answer) == nil {
		i.reference = answer.Permalink
	}
}

// isIntel tells alerts of threat intelligence from those of rules.
func isIntel(a *soar.Alert) bool {
	return a.Rule == nil && (strings.EqualFold(a.Type, "Threat Intel") || (a.Source != "" && a.Source != "rule"))
}

func parseAddr(text string) netip.Addr {
	addr, err := netip.ParseAddr(strings.TrimSpace(text))
	if err != nil {
		return netip.Addr{}
	}
	// A zone names an interface of the host; no IP-typed field takes it.
	return addr.Unmap().WithZone("")
}

// hash is a digest of that many hexadecimal digits, in lower case, or nothing.
func hash(text string, digits int) string {
	text = strings.ToLower(strings.TrimSpace(text))
	if len(text) != digits || strings.Trim(text, "0123456789abcdef") != "" {
		return ""
	}
	return text
}

// base is the text after the last separator of either system.
func base(path string) string { return path[strings.LastIndexAny(path, `\/`)+1:] }

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func cutPrefixFold(text, prefix string) (string, bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return text, false
	}
	return text[len(prefix):], true
}

var dnsTypes = map[string]string{"1": "A", "2": "NS", "5": "CNAME", "6": "SOA", "12": "PTR", "15": "MX", "16": "TXT", "28": "AAAA", "33": "SRV", "65": "HTTPS", "255": "ANY"}

func dnsType(text string) string { return first(dnsTypes[text], text) }
func dnsClass(text string) string {
	return first(map[string]string{"1": "IN", "3": "CH", "4": "HS"}[text], text)
}

// columns are the event's columns in alphabetical order.
func columns(a *soar.Alert) []string { return slices.Sorted(maps.Keys(a.Event)) }

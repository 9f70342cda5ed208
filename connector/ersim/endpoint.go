package ersim

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// host is an endpoint: what the server knows of it and what is really on it.
type host struct {
	id         int64
	identifier string
	nodeKey    string
	name       string
	role       role
	ip, mac    string
	tags       []string
	online     bool
	response   bool // the agent takes response actions
	enrolled   time.Time
	seen       time.Time // last check-in while offline; while online it is now
	bootAt     time.Time
	agentAt    time.Time // when the agent last started

	processes  []*Process
	files      map[string]*file // by key
	firewall   []FirewallRule
	quarantine []Threat
	defender   defenderSettings
	background []event // events that raised no alert
	lastScan   time.Time

	queryRead, queryWrite time.Time // when the agent last took a live query and answered one; zero for never

	state   int              // hostActive, hostRemoved or hostDeleted
	alerts  []*alert         // visible ones, by id ascending
	hidden  []*alert         // those that went out of sight with the host, likewise
	open    map[int64]*alert // newest alert per rule id, for aggregation
	unended int              // how many of alerts are not resolved
	waiting []func()         // what its agent does when it comes online
}

// Process is a running process of a simulated host.
type Process struct {
	PID       int64     `json:"pid"`
	Parent    int64     `json:"parent"`
	Name      string    `json:"name"`
	Path      string    `json:"path"`
	Cmdline   string    `json:"cmdline,omitempty"`
	GUID      string    `json:"guid,omitempty"`
	StartTime time.Time `json:"start_time"`
}

// FirewallRule is a rule that a contain action added to a host. The fields hold
// what the action said.
type FirewallRule struct {
	Name        string `json:"name"`
	Group       string `json:"group,omitempty"`
	Description string `json:"description,omitempty"`
	SrcPort     string `json:"src_port,omitempty"`
	DstPort     string `json:"dst_port,omitempty"`
	DstAddr     string `json:"dst_addr,omitempty"`
	Application string `json:"application,omitempty"`
	Direction   string `json:"direction"`       // 1 in, 2 out
	Protocol    string `json:"layer4_protocol"` // 6 TCP, 17 UDP, else any
}

// Threat is a file that Defender moved into quarantine.
type Threat struct {
	Name  string    `json:"name"`
	Path  string    `json:"path"`
	Found time.Time `json:"found"`

	file *file
}

// file is a file on a host. Its content is made when it is needed.
type file struct {
	path    string
	content func() []byte
	md5     string // set when an alert named another than the content's
	threat  string // what Defender calls it; empty for a harmless file
	mtime   time.Time
}

func (f *file) hashes() (md5Hex, sha1Hex, sha256Hex string) {
	content := f.content()
	m, s1, s2 := md5.Sum(content), sha1.Sum(content), sha256.Sum256(content)
	md5Hex = hex.EncodeToString(m[:])
	if f.md5 != "" {
		md5Hex = f.md5
	}
	return md5Hex, hex.EncodeToString(s1[:]), hex.EncodeToString(s2[:])
}

func (h *host) windows() bool { return h.role.platform == "windows" }

// fileKey makes paths of Windows compare without case.
func (h *host) fileKey(name string) string {
	if h.windows() {
		return strings.ToLower(strings.ReplaceAll(name, "/", `\`))
	}
	return name
}

// baseName is the last part of a path of either kind.
func baseName(name string) string {
	return path.Base(strings.ReplaceAll(name, `\`, "/"))
}

// addFile puts a file on the host unless one with that path is there.
func (h *host) addFile(name, threat, md5Hex string, at time.Time) *file {
	key := h.fileKey(name)
	if known, ok := h.files[key]; ok {
		return known
	}
	f := &file{path: name, threat: threat, md5: md5Hex, mtime: at, content: func() []byte { return sampleContent(name) }}
	h.files[key] = f
	return f
}

// sampleContent is the same bytes for the same path: about 3 KiB to 12 KiB.
func sampleContent(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	var b []byte
	b = append(b, "simulated content of "+name+"\n"...)
	for n := 96 + 3*int(sum[0]); n > 0; n-- {
		b = append(b, hex.EncodeToString(sum[:16])...)
		b = append(b, '\n')
	}
	return b
}

// start puts a process on the host; a process with the same pid is replaced, as
// after the reuse of a pid.
func (h *host) start(p *Process) {
	h.processes = slices.DeleteFunc(h.processes, func(old *Process) bool { return old.PID == p.PID })
	h.processes = append(h.processes, p)
}

// stop ends the processes that match: a pid, a name, or both. The guide does not
// say whether process_name is a program's name or its full path, so either is
// good.
func (h *host) stop(pid, name string) int {
	before, key := len(h.processes), h.fileKey(name)
	h.processes = slices.DeleteFunc(h.processes, func(p *Process) bool {
		return (pid != "" || name != "") && (pid == "" || pid == strconv.FormatInt(p.PID, 10)) &&
			(name == "" || key == h.fileKey(p.Name) || key == h.fileKey(p.Path))
	})
	return before - len(h.processes)
}

// furnish puts ordinary processes and files on a new host.
func (h *host) furnish(r *rand.Rand) {
	paths := []string{
		"/sbin/init", "/usr/lib/systemd/systemd-journald", "/usr/sbin/sshd", "/usr/bin/plgx_osqueryd", "/usr/bin/bash",
	}
	files := []string{"/etc/passwd", "/etc/hosts", "/var/log/auth.log"}
	switch h.role.platform {
	case "windows":
		paths = []string{
			`C:\Windows\System32\smss.exe`, `C:\Windows\System32\lsass.exe`, `C:\Windows\System32\svchost.exe`,
			`C:\Program Files\plgx_osquery\plgx_osqueryd.exe`, `C:\Windows\explorer.exe`,
			`C:\Program Files\Microsoft Office\root\Office16\WINWORD.EXE`,
		}
		files = []string{
			`C:\Windows\System32\drivers\etc\hosts`, `C:\Windows\System32\vssadmin.exe`, `C:\Windows\System32\certutil.exe`,
			`C:\Users\Public\Documents\report.docx`,
		}
	case "darwin":
		paths = []string{"/sbin/launchd", "/usr/libexec/logd", "/Applications/Safari.app/Contents/MacOS/Safari", "/bin/zsh"}
	}
	pid := int64(4)
	for i, name := range paths {
		p := &Process{
			PID: pid, Name: baseName(name), Path: name, Cmdline: name, GUID: guidText(h.nodeKey, pid),
			StartTime: h.bootAt.Add(time.Duration(i) * time.Second),
		}
		if i > 0 {
			p.Parent = h.processes[0].PID
		}
		h.processes = append(h.processes, p)
		h.addFile(name, "", "", h.enrolled)
		pid += int64(4 * (1 + r.IntN(300)))
	}
	for _, name := range files {
		h.addFile(name, "", "", h.enrolled)
	}
}

// running is the process with that name, or nil.
func (h *host) running(name string) *Process {
	for _, p := range h.processes {
		if strings.EqualFold(p.Name, name) {
			return p
		}
	}
	return nil
}

// guidText is a process GUID in the manner of the Windows agent, the same for the
// same host and pid.
func guidText(nodeKey string, pid int64) string {
	sum := md5.Sum([]byte(nodeKey + "/" + strconv.FormatInt(pid, 10)))
	text := strings.ToUpper(hex.EncodeToString(sum[:]))
	return text[:8] + "-" + text[8:12] + "-11EC-" + text[16:20] + "-" + text[20:]
}

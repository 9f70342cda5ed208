package ersim

import (
	"cmp"
	"fmt"
	"strconv"
	"time"
)

// What happens in the scenarios about single techniques. Each has a twin that
// looks alike and is harmless.

// alert reports an event under a rule that is made when it is needed. Each is an
// alert of its own.
func (p *play) alert(h *host, ruleName, severity, technique, tactic, query string, columns map[string]string) {
	p.server.raise(AlertSpec{
		Host: h.identifier, Rule: ruleName, Severity: severity, Techniques: []string{technique}, Tactics: []string{tactic},
		Query: query, Columns: columns, Separate: true,
	})
}

// aggregated reports an event that the alert before it absorbs.
func (p *play) aggregated(h *host, ruleName, severity, technique, tactic, query string, columns map[string]string) {
	p.server.raise(AlertSpec{
		Host: h.identifier, Rule: ruleName, Severity: severity, Techniques: []string{technique}, Tactics: []string{tactic},
		Query: query, Columns: columns,
	})
}

// logRow is a row of the table win_event_log_data: an entry of the Windows event
// log, with its own data as JSON.
func (p *play) logRow(channel string, id int, data map[string]string) map[string]string {
	at := p.at()
	return map[string]string{
		"time": strconv.FormatInt(at.Unix(), 10), "datetime": at.Format(time.RFC3339Nano), "source": channel,
		"provider_name": channel, "provider_guid": "", "eventid": strconv.Itoa(id), "task": "0", "level": "3", "keywords": "-1",
		"data": string(encodeJSON(obj{"EventData": data})),
	}
}

const eventLog = "win_event_log_data"

// dropped is updater.exe as it runs on the workstation; it is dropped when it does
// not.
func (p *play) dropped() *Process {
	if one := p.host.running(baseName(lotlPath)); one != nil {
		return one
	}
	p.quiet(p.host, "Trojan:Win32/Simload.A", p.fileColumns(p.host, p.host.processes[0], actFileWrite, lotlPath))
	one, columns := p.start(p.host, lotlPath, lotlPath, p.host.running("explorer.exe"))
	p.quiet(p.host, "Trojan:Win32/Simload.A", columns)
	return one
}

func (p *play) writeRunKey(by *Process, name, value string) {
	p.alert(p.host, "Run key written", "MEDIUM", "T1547", "persistence", "", eventColumns(p.host, by, actRegistry, p.at(), map[string]string{
		"process_name": by.Path, "target_name": `HKEY_CURRENT_USER\Software\Microsoft\Windows\CurrentVersion\Run\` + name,
		"value_data": value, "value_type": "REG_SZ",
	}))
}

func (p *play) knownRunKey() {
	const oneDrive = `C:\Users\jane.doe\AppData\Local\Microsoft\OneDrive\OneDrive.exe`
	by, _ := p.start(p.host, oneDrive, oneDrive+" /background", p.host.running("explorer.exe"))
	p.writeRunKey(by, "OneDrive", `"`+oneDrive+`" /background`)
}

func (p *play) settleAtLogon() { p.writeRunKey(p.dropped(), "Updater", lotlPath) }

func (p *play) installService(name, file string) {
	p.alert(p.host, "Service installed", "MEDIUM", "T1543.003", "persistence", eventLog, p.logRow("System", 7045, map[string]string{
		"ServiceName": name, "ImagePath": file, "ServiceType": "user mode service", "StartType": "auto start", "AccountName": "LocalSystem",
	}))
}

func (p *play) knownService() {
	p.installService("Backup Agent", `"C:\Program Files\Backup\agent.exe" -service`)
}

func (p *play) settleAsService() {
	p.dropped()
	p.installService("WinUpdateHelper", lotlPath+" -k netsvcs")
}

func (p *play) planTask(by *Process, name, command string) {
	const schtasks = `C:\Windows\System32\schtasks.exe`
	_, columns := p.start(p.host, schtasks, schtasks+` /create /tn "`+name+`" /tr "`+command+`" /sc onlogon /f`, by)
	p.alert(p.host, "Scheduled task created", "MEDIUM", "T1053.005", "persistence", "", columns)
}

func (p *play) knownTask() {
	const installer = `C:\Windows\System32\msiexec.exe`
	by, columns := p.start(p.host, installer, installer+" /i backup.msi /qn", p.host.running("explorer.exe"))
	p.quiet(p.host, "", columns)
	p.planTask(by, `Backup\Nightly`, `C:\Program Files\Backup\agent.exe`)
}

func (p *play) settleAsTask() { p.planTask(p.dropped(), "Updater", lotlPath) }

func (p *play) openLsass(by *Process, access, value string) {
	lsass := cmp.Or(p.host.running("lsass.exe"), p.host.processes[0])
	columns := eventColumns(p.host, by, actProcessOpen, p.at(), map[string]string{
		"src_pid": strconv.FormatInt(by.PID, 10), "src_path": by.Path, "src_process_guid": by.GUID,
		"target_pid": strconv.FormatInt(lsass.PID, 10), "target_path": lsass.Path, "target_process_guid": lsass.GUID,
		"granted_access": access, "granted_access_value": value, "owner_uid": p.host.role.user,
	})
	p.alert(p.host, "Memory of lsass opened", "HIGH", "T1003.001", "credential-access", "", columns)
}

func (p *play) defenderOpensLsass() {
	const engine = `C:\ProgramData\Microsoft\Windows Defender\Platform\4.18.23110.3-0\MsMpEng.exe`
	by, _ := p.start(p.host, engine, engine, nil)
	p.openLsass(by, "PROCESS_VM_READ|PROCESS_QUERY_INFORMATION", "0x1410")
}

func (p *play) lsassOpened() {
	const reader = `C:\Users\Public\reader.exe`
	by, columns := p.start(p.host, reader, reader+" out.bin", p.host.running("explorer.exe"))
	p.quiet(p.host, "HackTool:Win32/Simikatz", columns)
	p.openLsass(by, "PROCESS_VM_READ|PROCESS_QUERY_INFORMATION", "0x1410")
}

func (p *play) failedLogon(from, user string) map[string]string {
	return p.logRow("Security", 4625, map[string]string{
		"TargetUserName": user, "TargetDomainName": "ACME", "LogonType": "3", "IpAddress": from, "IpPort": "50217",
		"Status": "0xc000006d", "SubStatus": "0xc000006a", "WorkstationName": "-",
	})
}

func (p *play) failLogons(h *host, times int, from, user string) {
	for range times {
		p.aggregated(h, "Logon failed", "LOW", "T1110", "credential-access", eventLog, p.failedLogon(from, user))
	}
}

func (p *play) mistypedLogons() { p.failLogons(p.other, 3, "10.10.1.17", "bob.miller") }

func (p *play) guessedLogons() { p.failLogons(p.host, 12, badAddress, "Administrator") }

func (p *play) sprayedLogons() {
	for i := range 5 {
		h := p.another()
		p.alert(h, "Logon failed", "LOW", "T1110", "credential-access", eventLog, p.failedLogon("198.51.100.23", "user"+strconv.Itoa(i+1)))
	}
}

// webServer is the worker process of IIS on the host.
func (p *play) webServer() *Process {
	if one := p.host.running("w3wp.exe"); one != nil {
		return one
	}
	const worker = `C:\Windows\System32\inetsrv\w3wp.exe`
	one, columns := p.start(p.host, worker, worker+` -ap "DefaultAppPool"`, p.host.running("svchost.exe"))
	p.quiet(p.host, "", columns)
	return one
}

func (p *play) fromWebServer(name, cmdline string) {
	_, columns := p.start(p.host, name, cmdline, p.webServer())
	columns["owner_uid"] = `IIS APPPOOL\DefaultAppPool`
	p.alert(p.host, "Web server starts a program", "HIGH", "T1505.003", "persistence", "", columns)
}

func (p *play) compilePage() {
	p.host = p.other // the server with files serves pages, too
	const compiler = `C:\Windows\Microsoft.NET\Framework64\v4.0.30319\csc.exe`
	p.fromWebServer(compiler, compiler+" /noconfig /fullpaths @C:\\Windows\\Temp\\page.cmdline")
}

func (p *play) uploadPage() {
	p.quiet(p.host, "Backdoor:ASP/Simshell.A", p.fileColumns(p.host, p.webServer(), actFileWrite, `C:\inetpub\wwwroot\uploads\img.aspx`))
}

func (p *play) webShell() {
	const shell = `C:\Windows\System32\cmd.exe`
	p.fromWebServer(shell, shell+" /c whoami /all")
}

const defenderLog = "Microsoft-Windows-Windows Defender/Operational"

func (p *play) defenderEvent(h *host, id int, data map[string]string) {
	p.alert(h, "Event of Defender", "HIGH", "T1204.002", "execution", eventLog, p.logRow(defenderLog, id, data))
}

func (p *play) defenderSetting() {
	p.defenderEvent(p.host, 5007, map[string]string{
		"Product Name": "Microsoft Defender Antivirus", "New Value": `HKLM\SOFTWARE\Microsoft\Windows Defender\SpyNet\SpyNetReporting = 0x2`,
	})
}

func (p *play) defenderFinds() {
	const download = `C:\Users\Public\Downloads\offer.exe`
	p.quiet(p.host, "Trojan:Win32/Simload.C", p.fileColumns(p.host, p.host.processes[0], actFileWrite, download))
	p.server.scan(p.host, "RealTime", download)
	p.defenderEvent(p.host, 1117, map[string]string{
		"Product Name": "Microsoft Defender Antivirus", "Threat Name": "Trojan:Win32/Simload.C", "Severity Name": "Severe",
		"Category Name": "Trojan", "Path": "file:_" + download, "Action Name": "Quarantine", "Detection User": p.host.role.user,
		"Process Name": `C:\Windows\explorer.exe`,
	})
}

func (p *play) antivirus(h *host, signatures string) {
	p.alert(h, "State of antivirus", "LOW", "T1562.001", "defense-evasion", "win_epp_table", map[string]string{
		"product_type": "Anti-Virus", "product_name": "Windows Defender", "product_state": "On", "product_signatures": signatures,
	})
}

func (p *play) freshSignatures() { p.antivirus(p.host, "Up-to-date") }

func (p *play) oldSignatures() { p.antivirus(p.another(), "Out-of-date") }

func (p *play) copyTo(h *host, files int) {
	by := cmp.Or(h.running("explorer.exe"), h.processes[0])
	for i := range files {
		p.aggregated(h, "Files on another drive", "LOW", "T1052.001", "exfiltration", "",
			p.fileColumns(h, by, actFileWrite, fmt.Sprintf(`E:\work\contract-%02d.docx`, i+1)))
	}
}

func (p *play) copyTwo() { p.copyTo(p.other, 2) }

func (p *play) copyMany() { p.copyTo(p.host, 25) }

func (p *play) tagManager() {
	p.server.makeTags("vip")
	addTag(&p.host.tags, "vip")
}

func (p *play) clearLog() {
	const wevtutil = `C:\Windows\System32\wevtutil.exe`
	h, s := p.host, p.server
	_, columns := p.start(h, wevtutil, wevtutil+" cl Security", h.running("explorer.exe"))
	p.alert(h, "Event log cleared", "HIGH", "T1070.001", "defense-evasion", "", columns)
	s.setOnline(h, false)
	s.after(30*time.Second, func() { s.setOnline(h, true) })
}

package format

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

var caseTime = time.Date(2026, 11, 22, 3, 22, 30, 754074000, time.UTC)

func windowsHost() soar.Host {
	return soar.Host{
		ID: 1, Identifier: "EC2A3F1C-0001-4242-8A8A-000000000001", Name: "WIN-FIN-01", Platform: "windows",
		OS: "Microsoft Windows 10 Enterprise", OSVersion: "10.0.19045", IP: "10.1.2.3", MAC: "00:00:5e:00:53:23", Tags: []string{"finance"},
	}
}

func alert(id string, columns map[string]string) *soar.Alert {
	return &soar.Alert{
		Server: "er", ID: id, Source: "rule", Type: "rule", Severity: soar.SeverityHigh, SeverityText: "HIGH", Status: soar.StatusOpen,
		CreatedAt: caseTime, EventTime: caseTime.Add(-30 * time.Second).Truncate(time.Second), QueryName: "windows_real_time_events", EventCount: 3,
		Host: windowsHost(), Event: columns, URL: "https://er.example.org/manage/alerts/" + id,
		Rule: &soar.Rule{ID: 17, Name: "Credential dumping", Description: "A tool that reads the memory of lsass.",
			Techniques: []string{"T1003.001", "T1059"}, Tactics: []string{"credential-access", "command-and-control"}},
	}
}

func received(a *soar.Alert) soar.Event {
	return soar.Event{ID: a.Ref(), Type: soar.EventAlertReceived, At: caseTime.Add(time.Second), Alert: a}
}

// hostile is what attackers write into names and commands.
const hostile = "a=b|c\\d \"e]\" 'f' <!channel> & \t\x00\x1b[31m\r\nCEF:0|x|y \u2028 \xff\xfe ünï ]]> ${jndi:x} cod\u202e.exe \u200bz\ufeff \U000E0041 "

// cases are the events that the golden files hold.
func cases() map[string]soar.Event {
	process := alert("1", map[string]string{
		"eid": "E0", "md5": "44d88612fea8a8f36de82e1278abb02f", "pid": "4000", "path": `C:\Users\bob\m.exe`, "time": "1795317720", "action": "PROC_CREATE",
		"cmdline": `mimikatz.exe "sekurlsa::logonpasswords" a=b|c`, "utc_time": "Sun Nov 22 03:22:00 2026 UTC", "owner_uid": `BUILTIN\Administrators`,
		"parent_pid": "1", "parent_path": `C:\Windows\explorer.exe`, "process_guid": "G0", "parent_process_guid": "P", "eventid": "4688", "cwd": "",
	})
	file := alert("2", map[string]string{
		"action": "FILE_RENAME", "pid": "abc", "process_name": `C:\Windows\explorer.exe`, "process_guid": "G1", "uid": `CORP\bob`, "hashed": "1",
		"target_path": `C:\Users\bob\plan.docx.locked [Orig: C:\Users\bob\plan.docx]`,
		"sha256":      "275A021BBFB6489E54D471899F7DB9D1663FC695EC2FE2A2C4538AABF651FD0F", "time": "1795317720", "subject_name": "Example Ltd",
	})
	file.Severity, file.SeverityText, file.Rule.Techniques, file.Rule.Tactics = soar.SeverityMedium, "WARNING", []string{"T1486"}, []string{"impact", "x-files"}
	socket := alert("3", map[string]string{
		"pid": "77", "path": "/usr/bin/curl", "time": "1795317750", "action": "connect", "family": "2", "protocol": "6", "uid": "0",
		"local_port": "50", "remote_port": "443", "local_address": "::ffff:10.0.0.5", "remote_address": "203.0.113.66",
	})
	socket.Source, socket.Type, socket.Rule, socket.QueryName = "ioc", "Threat Intel", nil, "socket_events"
	socket.Host = soar.Host{ID: 2, Identifier: "web-01-id", Name: "web-01.example.internal", Platform: "ubuntu", IP: "2001:db8::5"}
	dns := alert("4", map[string]string{
		"domain_name": "evil.example", "request_type": "28", "request_class": "1", "resolved_ip": "2001:db8::66, nonsense;203.0.113.7",
		"pid": "99999999999999999999", "process_name": `C:\Windows\System32\svchost.exe`, "remote_addresss": "10.0.0.53", "action": "DNS_LOOKUP", "protocol": "17",
	})
	dns.Severity, dns.SeverityText = soar.SeverityInfo, ""
	registry := alert("5", map[string]string{
		"action": "REG_SETVALUE", "target_name": `HKEY_LOCAL_MACHINE\Software\Microsoft\Windows\CurrentVersion\Run\updater`, "value_type": "REG_SZ",
		"value_data": `C:\Users\bob\m.exe -q`, "pid": "812", "process_name": `C:\Windows\regedit.exe`, "eventid": "13", "time": "1795317720",
	})
	registry.Severity = soar.SeverityCritical
	intel := alert("6", map[string]string{"md5": "44d88612fea8a8f36de82e1278abb02f", "target_path": "/tmp/eicar.com", "action": "CREATED", "uid": "501"})
	intel.Source, intel.Type, intel.Rule, intel.QueryName = "virustotal", "Threat Intel", nil, "file_events"
	intel.Host = soar.Host{ID: 3, Identifier: "mac-id", Name: "mac-ceo", Platform: "darwin"}
	intel.Severity, intel.SeverityText = "weird", "WEIRD"
	intel.Intel = json.RawMessage(`{"total": 70, "positives": 60, "permalink": "https://vt.example/x", "detections": {"eset": "EICAR"}}`)
	opened := alert("7", map[string]string{
		"action": "PROC_OPEN", "src_pid": "5", "src_path": `C:\a.exe`, "src_process_guid": "S", "target_pid": "600", "target_path": `C:\Windows\System32\lsass.exe`,
		"target_process_guid": "T", "granted_access": "0x1010",
	})
	bad := alert("8", map[string]string{
		"cmdline": hostile + "\x7f\u009b" + strings.Repeat("x", 5000), "path": hostile, "pid": "-4", "target_path": hostile, "domain_name": "", "local_address": "fe80::1%eth0",
		"remote_address": "2001:db8::1", "remote_port": "70000", "a.b": "1", "a": "2", "bad\x00 key\n=|": hostile, "": "no name", "action": hostile, "url": "",
	})
	bad.Rule.Name, bad.Rule.Description, bad.Host.Name, bad.Comment, bad.Host.IP, bad.Host.MAC = hostile, hostile, hostile, hostile, "not an address", "zz"
	bad.Intel = json.RawMessage(`{broken`)

	run := &soar.RunSummary{ID: soar.RunID(1 << 50), Playbook: "contain-credential-theft", Mode: soar.ModeEnforce, State: soar.RunRunning}
	failed := *run
	failed.State, failed.Error = soar.RunFailed, "step contain: the host is offline"
	resolved := *process
	resolved.Status, resolved.Verdict, resolved.Comment = soar.StatusResolved, soar.VerdictTruePositive, "reimaged"
	return map[string]soar.Event{
		"process": received(process), "file": received(file), "socket_intel": received(socket), "dns": received(dns),
		"registry": received(registry), "hash_intel": received(intel), "process_open": received(opened), "hostile": received(bad),
		"updated": {ID: "er-1-u2", Type: soar.EventAlertUpdated, At: caseTime.Add(time.Minute), Alert: &resolved},
		"change": {ID: "alert.updated/er-1/1", Type: soar.EventAlertUpdated, At: caseTime.Add(time.Minute), Alert: &resolved, Change: &soar.AlertChange{
			What: []string{soar.ChangeResolved, soar.ChangeVerdict, soar.ChangeComment}, Origin: soar.OriginAnalyst, By: "jane", At: caseTime.Add(50 * time.Second),
			From: process.State(), To: resolved.State(),
		}},
		"note": {ID: "alert.updated/er-1/2", Type: soar.EventAlertUpdated, At: caseTime.Add(time.Minute), Alert: process, Change: &soar.AlertChange{
			What: []string{soar.ChangeNoteAdded}, Origin: soar.OriginErbridge, By: "soc", Run: "0010000000000", At: caseTime.Add(50 * time.Second),
			From: process.State(), To: process.State(),
			Notes: []soar.AlertNote{{ID: 7, What: soar.ChangeNoteAdded, By: "soc", Text: "contained\n\n[erbridge erbridge-0010000000000-note]", At: caseTime.Add(50 * time.Second)}},
		}},
		"outcome": {ID: "r-1-contain", Type: soar.EventStepFinished, At: caseTime.Add(time.Minute), Alert: process, Run: run, Outcome: &soar.Outcome{
			Step: "contain", Action: "host.contain", State: soar.StepVerified, Target: process.Host.Identifier, Command: "2c9f", Summary: "contained WIN-FIN-01", Took: 1500 * time.Millisecond,
		}},
		"outcome_failed": {ID: "r-1-kill", Type: soar.EventStepFinished, At: caseTime.Add(time.Minute), Alert: process, Run: run, Outcome: &soar.Outcome{
			Step: "kill", Action: "process.kill", State: soar.StepExpired, Summary: "asked to stop m.exe (pid 4000) on WIN-FIN-01", Error: "not executed in 5m0s",
		}},
		"run_started":  {ID: "r-1-s", Type: soar.EventRunStarted, At: caseTime.Add(2 * time.Second), Alert: process, Run: run},
		"run_finished": {ID: "r-1-f", Type: soar.EventRunFinished, At: caseTime.Add(3 * time.Minute), Alert: process, Run: &failed},
		"notification": {ID: "n-1", Type: soar.EventNotification, At: caseTime.Add(time.Minute), Alert: process, Run: run, To: "siem", Text: "Please look at WIN-FIN-01\nnow"},
		"approval":     approvalEvent(soar.EventApprovalRequested, soar.ApprovalWaiting),
		"denial":       approvalEvent(soar.EventApprovalDecided, soar.ApprovalDenied),
		"undo_soon": {
			ID: "r-2-2-undo.soon", Type: soar.EventUndoSoon, At: caseTime.Add(4 * time.Hour), Alert: process,
			Run: &soar.RunSummary{ID: soar.RunID(1<<50 + 1), Playbook: "undo-contain-credential-theft", Mode: soar.ModeEnforce, State: soar.RunWaiting},
			Undo: &soar.Undo{
				At: caseTime.Add(4*time.Hour + 15*time.Minute), Of: run.ID, Step: "contain", Action: "host.contain", Do: "host.release", Target: process.Host.Identifier,
			},
			Text: "In 15m, at 2026-11-22T07:37:30Z, host.release takes back step contain of run 0010000000000 (contain-credential-theft): host.contain " +
				"(blocked incoming connections on WIN-FIN-01; verified on the host). erbridge runs extend 0010000000001 --for 4h lets it last longer, " +
				"erbridge runs cancel 0010000000001 for good, and erbridge runs undo 0010000000000 ends it now.",
		},
		"grouped": {ID: "alert.grouped/er-1/9", Type: soar.EventAlertGrouped, At: caseTime.Add(2 * time.Minute), Alert: process, Group: &soar.Group{
			Key: "rule 17", Head: "er-1", Count: 40, Hosts: 7, Names: []string{"WIN-FIN-01", "WIN-FIN-02"}, First: caseTime, Last: caseTime.Add(time.Minute),
			Runs: map[string]int{"done": 39}, Steps: map[string]int{"host.contain verified": 7},
		}},
		"digest":      {ID: "digest/1", Type: soar.EventDigest, At: caseTime.Add(8 * time.Hour), Text: "12 alerts since 00:00: 2 high, 10 low\n3 hosts contained"},
		"heartbeat":   {ID: "heartbeat/1", Type: soar.EventHeartbeat, At: caseTime, Text: "erbridge is alive"},
		"row_process": row("process_events", process.Event), "row_file": row("win_file_events", file.Event), "row_socket": row("socket_events", socket.Event),
		"row_dns": row("win_dns_events", dns.Event), "row_registry": row("win_registry_events", registry.Event), "row_open": row("win_process_open_events", opened.Event),
		"row_image": row("win_image_load_events", map[string]string{"image_path": `C:\x\evil.dll`, "pid": "7", "path": `C:\a.exe`, "md5": "44d88612fea8a8f36de82e1278abb02f"}),
		"row_other": row("users", map[string]string{"username": "bob", "shell": "/bin/sh", "": "x"}), "row_hostile": row(hostile, bad.Event),
		"trouble": {ID: "t-1", Type: soar.EventTrouble, At: caseTime.Add(time.Hour), Text: "sink \"splunk\" is paused: 401"},
		"test":    {ID: "x-1", Type: soar.EventTest, At: caseTime, Text: "erbridge test"},
	}
}

// row is a line of telemetry.
func row(query string, columns map[string]string) soar.Event {
	return soar.Event{ID: "telemetry/" + query, Type: soar.EventTelemetry, At: caseTime.Add(time.Second), Row: &soar.Row{
		Server: "er", Query: query, Action: "added", Host: windowsHost(), At: caseTime, Columns: columns,
	}}
}

// approvalEvent is a question to people, and their answer.
func approvalEvent(kind soar.EventType, state soar.ApprovalState) soar.Event {
	a := soar.Approval{
		ID: "3f2a90c1d4", State: state, Run: 1 << 60, Step: "contain", Playbook: "contain-miner", Action: "host.contain", With: map[string]any{"host": "h-1"},
		Hosts: []string{"WIN-01 (h-1)"}, Call: "c", Text: "May playbook contain-miner do host.contain on WIN-01 (h-1)?", From: []string{"soc-leads"}, Count: 1,
		AskedAt: caseTime, Expires: caseTime.Add(30 * time.Minute), Round: 1,
	}
	text := "approval 3f2a90c1d4: May playbook contain-miner do host.contain on WIN-01 (h-1)? soc-leads (ann, ben) may decide"
	if state != soar.ApprovalWaiting {
		a.Votes = []soar.Vote{{By: "ann", Reason: "a drill", At: caseTime.Add(time.Minute)}}
		a.DecidedAt = caseTime.Add(time.Minute)
		text = "approval 3f2a90c1d4 is denied: ann denied it: a drill"
	}
	return soar.Event{
		ID: "approval/3f2a90c1d4/" + string(state), Type: kind, At: caseTime, Approval: &a, Text: text,
		Run: &soar.RunSummary{ID: 1 << 60, Playbook: "contain-miner", Mode: soar.ModeApprove, State: soar.RunWaiting},
	}
}

package playtest_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/playbooks/playtest"
)

func personal() soar.Alert {
	at := time.Date(2026, 11, 22, 3, 22, 30, 0, time.UTC)
	return soar.Alert{
		Server: "er", ID: "4711", Source: "rule", Severity: soar.SeverityHigh, Status: soar.StatusOpen, CreatedAt: at, EventTime: at,
		Comment: "ask Eve Miller", ResultID: "r-1", URL: "https://er.acme.test/alerts/4711",
		Host: soar.Host{
			ID: 7, Identifier: "4C4C4544-0042", Name: "ACME-PC7.corp.acme.test", Platform: "windows", IP: "192.168.7.9", MAC: "AA:BB:CC:DD:EE:0F", Tags: []string{"vip"},
		},
		Rule: &soar.Rule{ID: 3, Name: "Shadow copies deleted"},
		Event: map[string]string{
			"cmdline": `C:\Users\Eve Miller\x.exe -u ACME\emiller -h acme-pc7 -to 192.168.7.9 -c2 8.8.4.4 -again 8.8.4.4 -lo 127.0.0.1 -m eve@acme.test`,
			"path":    `C:\Users\Public\x.exe`, "owner_uid": `ACME\emiller`, "subject_user_name": "SYSTEM", "uid": "1000", "hardware_serial": "SN-4711-X",
			"user_sid": "S-1-5-21-111-222-333-1001", "group_sid": "S-1-5-18", "time": "03:22:30", "remote": "2a00:1450::1", "emillers": "emillers are many",
		},
		Intel: json.RawMessage(`{"seen_by": ["emiller"], "positives": 5, "serial": "SN-4711-X"}`),
	}
}

// What tells about people and machines goes; what a playbook matches stays.
func TestRedact(t *testing.T) {
	alert := personal()
	got, replaced, err := playtest.Redact(&alert, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"acme", "emiller\"", "eve ", "eve@", "4c4c4544", "192.168", "8.8.4.4", "aa:bb", "4711-x", "111-222", "2a00"} {
		if strings.Contains(strings.ToLower(string(data)), word) {
			t.Errorf("%q is still there: %s", word, data)
		}
	}
	for field, want := range map[string]string{
		"cmdline":   `C:\Users\user-1\x.exe -u DOMAIN-2\user-2 -h HOST-1 -to 10.0.0.1 -c2 203.0.113.2 -again 203.0.113.2 -lo 127.0.0.1 -m user-1@mail.example`,
		"owner_uid": `DOMAIN-2\user-2`, "path": `C:\Users\Public\x.exe`, "subject_user_name": "SYSTEM", "uid": "1000", "hardware_serial": "SERIAL-2",
		"user_sid": "S-1-5-21-0-0-0-3", "group_sid": "S-1-5-18", "time": "03:22:30", "remote": "2001:db8::3", "emillers": "emillers are many",
	} {
		if got.Event[field] != want {
			t.Errorf("event.%s is\n%q, want\n%q", field, got.Event[field], want)
		}
	}
	if got.Host.Name != "HOST-1.domain-1.example" || got.Host.IP != "10.0.0.1" || got.Host.ID != 0 || got.Host.Identifier != "host-identifier-1" ||
		got.Comment+got.URL+got.ResultID != "" || got.Rule.Name != alert.Rule.Name || string(got.Intel) != `{"positives":5,"seen_by":["user-2"],"serial":"SERIAL-2"}` {
		t.Errorf("redacted: %s", data)
	}
	if len(replaced) != 13 {
		t.Errorf("%d replaced: %+v", len(replaced), replaced)
	}
	if alert.Host.Name != "ACME-PC7.corp.acme.test" {
		t.Error("the alert itself was changed")
	}
}

// A field that is kept stays as it is, and so does what stands in it.
func TestRedactKeeps(t *testing.T) {
	alert := personal()
	got, _, err := playtest.Redact(&alert, []string{"host.ip", "event.owner_uid"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Host.IP != "192.168.7.9" || got.Event["owner_uid"] != `ACME\emiller` || !strings.Contains(got.Event["cmdline"], `-u ACME\emiller -h HOST-1 -to 192.168.7.9 -c2 203.0.113.`) {
		t.Errorf("redacted: %+v", got)
	}
	_, _, err = playtest.Redact(&alert, []string{"host.nme"})
	if unknown, ok := errors.AsType[*playtest.NoFieldError](err); !ok || unknown.Field != "host.nme" {
		t.Errorf("Redact: %v", err)
	}
}

// Command lines carry secrets, and names of hosts and users that stand nowhere else.
func TestRedactCommandLines(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`net user jdoe Winter2026! /add`, `net user user-1 SECRET-1 /add`},
		{`net.exe user jdoe /delete`, `net.exe user user-1 /delete`},
		{`net user`, `net user`},
		{`net use Z: \\FILE7\c$ /user:CORP\jdoe hunter22`, `net use Z: \\HOST-1\c$ /user:DOMAIN-1\user-1 hunter22`},
		{`psexec \\FILE7.corp.test\x -u CORP\jdoe -p s3cret! cmd`, `psexec \\HOST-1.domain-1.example\x -u CORP\jdoe -p SECRET-1 cmd`},
		{`schtasks /create /ru jdoe /rp "s3cret" /tn x`, `schtasks /create /ru user-1 /rp "SECRET-1" /tn x`},
		{`mysql --password=s3cret --host x`, `mysql --password=SECRET-1 --host x`},
		{`x.exe --token s3cret s3cret`, `x.exe --token SECRET-1 SECRET-1`},
		{`curl -H "Authorization: Bearer abcdef.123456"`, `curl -H "Authorization: Bearer SECRET-1"`},
		{`curl https://bot:s3cret@evil.test/a`, `curl https://bot:SECRET-1@evil.test/a`},
		{`aws AKIAIOSFODNN7EXAMPLE`, `aws SECRET-1`},
		{`{"api_key": "s3cret", "n": 1}`, `{"api_key": "SECRET-1", "n": 1}`},
		{`cmd /c "cd C:\Users\jdoe"`, `cmd /c "cd C:\Users\user-1"`},
		{`\Device\HarddiskVolume3\Users\jdoe\a.exe`, `\Device\HarddiskVolume3\Users\user-1\a.exe`},
		{`{"path": "C:\\Users\\jdoe\\a.exe"}`, `{"path": "C:\\Users\\user-1\\a.exe"}`},
		{`\\.\pipe\x \\?\C:\y \\127.0.0.1\admin$`, `\\.\pipe\x \\?\C:\y \\127.0.0.1\admin$`},
		{`vssadmin.exe delete shadows /all /quiet`, `vssadmin.exe delete shadows /all /quiet`},
		{`reg save HKLM\SECURITY C:\Temp\security.hive`, `reg save HKLM\SECURITY C:\Temp\security.hive`},
		{`powershell -NoP -W Hidden -enc SQBFAFgA`, `powershell -NoP -W Hidden -enc SQBFAFgA`},
	} {
		alert := soar.Alert{Server: "er", ID: "1", Event: map[string]string{"cmdline": tt.in}}
		got, _, err := playtest.Redact(&alert, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.Event["cmdline"] != tt.want {
			t.Errorf("Redact(%s)\n got %s\nwant %s", tt.in, got.Event["cmdline"], tt.want)
		}
	}
}

package store

import (
	"fmt"
	"strconv"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

// sampleAlert is the n-th alert of a made-up server, in the shape and size of
// those that a server with Windows hosts raises.
func sampleAlert(n int) soar.Alert {
	at := time.Date(2026, 11, 22, 3, 22, 30, 754074000, time.UTC).Add(time.Duration(n) * 37 * time.Millisecond)
	host := n * 7 % 2500
	pid := 1000 + n*13%30000
	return soar.Alert{
		Server: "er-main", ID: strconv.Itoa(100000 + n), Source: "rule", Type: "rule",
		Severity: soar.SeverityHigh, SeverityText: "HIGH", Status: soar.StatusOpen,
		CreatedAt: at, EventTime: at.Add(-20 * time.Second),
		QueryName: "win_process_events", ResultID: fmt.Sprintf("%08x-7d1c-4b7e-9a51-%012x", n*2654435761&0xffffffff, n*40503), EventCount: 1 + n%3,
		Host: soar.Host{
			ID: int64(host), Identifier: fmt.Sprintf("4C4C4544-0051-3010-8052-%012X", host*977), Name: fmt.Sprintf("WIN-FIN-%04d", host),
			Platform: "windows", OS: "Microsoft Windows 11 Enterprise", OSVersion: "10.0.22631",
			IP: fmt.Sprintf("10.%d.%d.%d", host>>8, host&255, n&127), Tags: []string{"finance", "workstation"},
		},
		Rule: &soar.Rule{ID: int64(n % 40), Name: "Credential dumping with a known tool", Description: "A process reads the memory of lsass.exe.",
			Techniques: []string{"T1003", "T1003.001"}, Tactics: []string{"credential-access"}},
		Event: map[string]string{
			"eid": fmt.Sprintf("%08X-0000-0000-%016X", n, n*7919), "md5": fmt.Sprintf("%032x", uint64(n)*0x9e3779b97f4a7c15),
			"sha256": fmt.Sprintf("%016x%016x%016x%016x", uint64(n)*0x9e3779b97f4a7c15, uint64(n)*0xbf58476d1ce4e5b9,
				uint64(n)*0x94d049bb133111eb, uint64(n)*0xd6e8feb86659fd93),
			"pid": strconv.Itoa(pid), "path": fmt.Sprintf(`C:\Users\u%04d\AppData\Local\Temp\m%d.exe`, host, n%50),
			"time": strconv.FormatInt(at.Unix(), 10), "action": "PROC_CREATE",
			"cmdline":  fmt.Sprintf(`"C:\Users\u%04d\AppData\Local\Temp\m%d.exe" sekurlsa::logonpasswords %d`, host, n%50, n),
			"utc_time": at.Format("Mon Jan _2 15:04:05 2006 UTC"), "owner_uid": `BUILTIN\Administrators`,
			"parent_pid": strconv.Itoa(pid - 4), "parent_path": `C:\Windows\explorer.exe`,
			"process_guid":        fmt.Sprintf("%08X-7D1C-11EF-9A51-%012X", n, n*31),
			"parent_process_guid": fmt.Sprintf("%08X-7D1C-11EF-9A51-%012X", n/7, n/7*31),
		},
		URL: "https://er.example.org/alerts/" + strconv.Itoa(100000+n),
	}
}

package playbooks

import (
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/testenv"
	"github.com/erbridge/erbridge/playbooks/library"
)

// evaluatedSets are the sizes that are measured: the time for one playbook must stay
// the same however many there are.
var evaluatedSets = []int{50, 100, 200, 400}

// BenchmarkEvaluate evaluates sets of playbooks against one alert, of which one in
// fifty matches, up to the runs that would start. It must grow no faster than the set.
func BenchmarkEvaluate(b *testing.B) {
	for _, n := range evaluatedSets {
		b.Run(fmt.Sprintf("playbooks=%d", n), func(b *testing.B) {
			var texts []string
			for i := range n {
				severity := "critical"
				if i%50 == 0 {
					severity = "high"
				}
				texts = append(texts, fmt.Sprintf(`
playbook: p%[1]d
match:
  all:
    - severity is bad: .alert.severity | at_least("high")
    - it is windows: .alert.host.platform == "windows"
    - shadow copies are deleted: .alert.event.cmdline // "" | test("vssadmin.*(delete|resize)\\s+shadow|tool%[1]d"; "i")
    - it is as bad as that: .alert.severity | at_least("%[2]s")
  none:
    - it is a server: (.alert.host.tags // []) | any(in_list(["domain-controller", "backup"]))
steps:
  - {do: fake.once, with: {host: "${{ .alert.host.identifier }}"}}
`, i, severity))
			}
			benchmarkEvaluate(b, newFakeServer().actions(), texts, testAlert("1"), (n+49)/50)
		})
	}
}

// BenchmarkEvaluateLibrary evaluates the playbooks that ship in the binary, again and
// again under other names, against the alert of a process on Windows.
func BenchmarkEvaluateLibrary(b *testing.B) {
	alert := testAlert("1")
	alert.Severity, alert.Host.Tags = soar.SeverityMedium, []string{"finance", "laptop"}
	alert.Rule = &soar.Rule{ID: 12, Name: "PowerShell with encoded command", Techniques: []string{"T1059.001"}}
	alert.Event = map[string]string{
		"action": "PROC_CREATE", "pid": "6452", "parent_pid": "1820", "process_guid": "0CF12B1A-C5DE-11EE-8F0A-525400B0B1B2", "eventid": "1",
		"path": `C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe`, "parent_path": `C:\Program Files\Microsoft Office\root\Office16\WINWORD.EXE`,
		"cmdline": `powershell.exe -NoProfile -WindowStyle Hidden -ExecutionPolicy Bypass -File "C:\Users\mayer\Documents\reports\monthly.ps1" -Month 11`,
		"md5":     "d41d8cd98f00b204e9800998ecf8427e", "owner_uid": `CORP\mayer`, "process_name": `C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe`,
		"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "time": "1795317750", "utc_time": "Sun Nov 22 03:22:30 2026 UTC",
	}
	for _, n := range evaluatedSets {
		b.Run(fmt.Sprintf("playbooks=%d", n), func(b *testing.B) {
			texts, actions := libraryTexts(b, n)
			benchmarkEvaluate(b, actions, texts, alert, -1)
		})
	}
}

// libraryTexts are n playbooks of the library, and actions of their names that do nothing.
func libraryTexts(b *testing.B, n int) ([]string, map[string]Action) {
	files, err := library.FS.ReadDir(".")
	if err != nil {
		b.Fatal(err)
	}
	server, actions, does := newFakeServer(), map[string]Action{}, regexp.MustCompile(`\bdo: ([a-z_.]+)`)
	var shipped, texts []string
	for _, file := range files {
		if strings.HasSuffix(file.Name(), "_test.yaml") {
			continue
		}
		text, err := library.FS.ReadFile(file.Name())
		if err != nil {
			b.Fatal(err)
		}
		shipped = append(shipped, string(text))
		for _, m := range does.FindAllStringSubmatch(string(text), -1) {
			server.add(actions, m[1], Reads, nil)
		}
	}
	name := regexp.MustCompile(`(?m)^playbook: (\S+)`)
	for i := range n {
		texts = append(texts, name.ReplaceAllString(shipped[i%len(shipped)], fmt.Sprintf("playbook: ${1}-%d", i)))
	}
	return texts, actions
}

// benchmarkEvaluate measures on one core. What the processor worked for it is told
// besides, since that does not grow when the machine has other work, too.
func benchmarkEvaluate(b *testing.B, actions map[string]Action, texts []string, alert soar.Alert, runs int) {
	set := loadText(b, actions, texts...)
	e, err := NewEngine(&unwritten{kv: map[string]soar.KV{}}, actions, set, EngineOptions{Log: slog.New(slog.DiscardHandler), Ceiling: soar.ModeObserve})
	if err != nil {
		b.Fatal(err)
	}
	a := soar.StoredAlert{Key: 1, Alert: alert, Pending: pendingAlert}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	b.ReportAllocs()
	before := testenv.ProcessorTime(b)
	for b.Loop() {
		runners, err := e.evaluate(b.Context(), &a)
		if err != nil || runs >= 0 && len(runners) != runs {
			b.Fatalf("%d runs, %v", len(runners), err)
		}
		for _, r := range runners {
			e.dropRun(r.run.ID)
		}
	}
	perPlaybook := float64(b.N) * float64(len(texts)) * float64(time.Microsecond)
	b.ReportMetric(float64(b.Elapsed())/perPlaybook, "us/playbook")
	b.ReportMetric(float64(testenv.ProcessorTime(b)-before)/perPlaybook, "cpu-us/playbook")
	testenv.ReportMachine(b, alert)
}

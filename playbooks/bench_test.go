package playbooks

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/testenv"
)

// BenchmarkEvaluate evaluates sets of playbooks against one alert, of which one in
// fifty matches, up to the runs that would start. It must grow no faster than the set.
func BenchmarkEvaluate(b *testing.B) {
	for _, n := range []int{50, 100, 200, 400} {
		b.Run(fmt.Sprintf("playbooks=%d", n), func(b *testing.B) {
			actions := newFakeServer().actions()
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
			set := loadText(b, actions, texts...)
			e, err := NewEngine(&unwritten{kv: map[string]soar.KV{}}, actions, set, EngineOptions{Log: slog.New(slog.DiscardHandler), Ceiling: soar.ModeObserve})
			if err != nil {
				b.Fatal(err)
			}
			a := soar.StoredAlert{Key: 1, Alert: testAlert("1"), Pending: pendingAlert}
			b.ReportAllocs()
			for b.Loop() {
				runners, err := e.evaluate(b.Context(), &a)
				if err != nil || len(runners) != (n+49)/50 {
					b.Fatalf("%d runs, %v", len(runners), err)
				}
				for _, r := range runners {
					e.dropRun(r.run.ID)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "us/playbook")
			testenv.ReportMachine(b, testAlert("1"))
		})
	}
}

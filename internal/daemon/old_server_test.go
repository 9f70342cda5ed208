package daemon

import (
	"slices"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
)

const tagAndAsk = `
playbook: tag-and-ask
steps:
  - id: ask
    do: live.query
    with: {hosts: ["${{ .alert.host.identifier }}"], sql: "select hostname from system_info", wait: 20s}
  - id: tag
    do: host.tag
    with: {host: "${{ .alert.host.identifier }}", tag: "asked-${{ .steps.ask.output.hosts[0].rows }}"}
`

// A server of the 2.x line is polled, its hosts are tagged and asked, with nothing
// changed but the configuration.
func TestOldServerByConfigurationAlone(t *testing.T) {
	for _, tt := range []struct{ name, profile, server string }{
		{"release 4.0", "4.0", ""},
		{"release 2.1.2", "2.1.2", ""},
		{"release 2.1.2, which tells no ids in API v0", "2.1.2", ", api: v0"},
		{"API v0 alone", "2.0", ", api: v0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSiteOf(t, ersim.Options{Profile: tt.profile, Hosts: 5})
			s.server = tt.server
			s.write("playbooks/note.yaml", tagAndAsk)
			s.configure(quickPoll)
			d, stop := s.start()
			target := s.sim.Hosts()[0]
			s.sim.Raise(ersim.AlertSpec{Host: target.Identifier, Rule: "Odd rule", Severity: "CRITICAL", Columns: map[string]string{"path": `C:\odd.exe`}})
			end := s.awaitEvent(d.Store(), func(ev soar.Event) bool { return ev.Type == soar.EventRunFinished })
			if end.Run.State != soar.RunDone {
				t.Errorf("run ended %s: %s", end.Run.State, end.Text)
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if calls := s.sim.Calls(); (calls["v0-alerts"] > 0) != (tt.server != "") || (calls["alerts-list"] > 0) == (tt.server != "") {
				t.Errorf("asked for %v", calls)
			}
			alert := end.Alert
			if alert.Host.Identifier != target.Identifier || alert.Host.Name != target.Name || alert.Event["path"] != `C:\odd.exe` ||
				alert.Rule == nil || alert.Rule.Name != "Odd rule" || time.Since(alert.CreatedAt).Abs() > time.Hour {
				t.Errorf("alert %+v, rule %+v", alert, alert.Rule)
			}
			if tags := s.sim.Hosts()[0].Tags; !slices.Contains(tags, "asked-1") {
				t.Errorf("tags %v", tags)
			}
		})
	}
}

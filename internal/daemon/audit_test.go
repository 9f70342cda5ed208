package daemon

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
	"github.com/erbridge/erbridge/internal/store"
)

// The audit record tells who did what to the daemon, and all that a run did, across a
// restart.
func TestAuditOfADaemon(t *testing.T) {
	s := newSite(t)
	s.configure(quickPoll)
	d, stop := s.start()
	s.pause("the mail server is being isolated")
	id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH", Host: "WIN-FIN-01"})
	s.awaitRun(d.Store(), id, soar.RunWaiting)
	noted, err := d.Store().VerifyAudit(t.Context(), store.AuditCheck{})
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	d, _ = s.start()
	s.until(func() bool { return d.Readiness(t.Context()).Warnings["kill switch"] != "" })
	s.resume()
	run := s.awaitRun(d.Store(), id, soar.RunDone)

	report, err := d.Store().VerifyAudit(t.Context(), store.AuditCheck{Expect: &noted.Head})
	if err != nil || report.Runs != 1 || report.Alerts == 0 || report.Entries == 0 {
		t.Errorf("%+v, %v", report, err)
	}
	var text bytes.Buffer
	if _, err := d.Store().ExportAudit(t.Context(), &text, time.Time{}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	told := map[string]string{} // all bodies of a kind
	for line := range strings.Lines(text.String()) {
		var r struct {
			Kind string
			Body json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		told[r.Kind] += string(r.Body) + "\n"
	}
	for kind, want := range map[string]string{
		"act": `"by":"ben`, "guard": `"reason":"the mail server is being isolated"`, "decision": "paused by ann", "intent": `"run":"` + run.ID.String() + `"`,
		"result": `"run":"` + run.ID.String() + `"`, "run": `"state":"done"`, "playbook": `"hash":"` + run.Version + `"`, "evaluated": run.Playbook, "alerts": run.Alert,
	} {
		if !strings.Contains(told[kind], want) {
			t.Errorf("%s: %s is not told: %s", kind, want, told[kind])
		}
	}
}

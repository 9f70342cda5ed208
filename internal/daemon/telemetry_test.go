package daemon

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/soar"
)

// Rows that the server pushes reach the sink that asks for them and no other, start
// no playbook, and are all there after an orderly restart.
func TestTelemetryReachesItsSink(t *testing.T) {
	s := newSite(t)
	s.configure(`
sources:
  poll: {interval: 1h}
  push: {listen: "127.0.0.1:0", telemetry: {when: '.row.query != "noise"'}}
sinks:
` + s.fileSink("alerts") + fmt.Sprintf(`
  lake: {type: file, path: %q, from_start: true, events: [telemetry], when: '.row.columns.n != "3"'}
`, s.path("lake.ndjson")))
	const rounds, each = 3, 40
	for round := range rounds {
		d, stop := s.start()
		s.sim.SetPushAddress(d.SourceAddress("push").String())
		if err := s.sim.PushRows(ersim.ResultRows{Host: "1", Query: "noise", Rows: []map[string]string{{"n": "0"}}}); err != nil {
			t.Fatal(err)
		}
		var rows []map[string]string
		for n := range each {
			rows = append(rows, map[string]string{"round": fmt.Sprint(round), "n": fmt.Sprint(n)})
		}
		if err := s.sim.PushRows(ersim.ResultRows{Host: "1", Query: "dns", Rows: rows}); err != nil {
			t.Fatal(err)
		}
		id := s.sim.Raise(ersim.AlertSpec{Severity: "HIGH"})
		s.awaitEvent(d.Store(), runFinished(fmt.Sprintf("er-%d", id)))
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	_, stop := s.start() // what the last stop had no time for is delivered now
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	seen, ids := map[string]int{}, map[string]bool{}
	for _, ev := range delivered(t, s.path("lake.ndjson")) {
		if ev.Type != soar.EventTelemetry || ev.Row == nil || ev.Row.Query != "dns" || ev.Row.Columns["n"] == "3" {
			t.Errorf("delivered %+v", ev)
			continue
		}
		seen[ev.Row.Columns["round"]+"/"+ev.Row.Columns["n"]]++
		ids[ev.ID] = true
	}
	if want := rounds * (each - 1); len(seen) != want || len(ids) != want {
		t.Errorf("%d rows with %d ids, want %d", len(seen), len(ids), want)
	}
	kinds := map[soar.EventType]int{}
	for _, ev := range delivered(t, s.path("alerts.ndjson")) {
		kinds[ev.Type]++
	}
	if kinds[soar.EventTelemetry] != 0 || kinds[soar.EventAlertReceived] != rounds || kinds[soar.EventRunFinished] != rounds {
		t.Errorf("the other sink has %v", kinds)
	}
}

func delivered(t *testing.T, path string) (events []soar.Event) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var ev soar.Event
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			t.Fatal(err)
		}
		events = append(events, ev)
	}
	return events
}

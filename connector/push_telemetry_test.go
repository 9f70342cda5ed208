package connector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/erbridge/erbridge/connector/ersim"
	"github.com/erbridge/erbridge/internal/registry"
	"github.com/erbridge/erbridge/internal/soar"
)

var rowNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func rowEvent(t *testing.T, line string) soar.Event {
	t.Helper()
	kind, fields, err := parsePush([]byte(line))
	if err != nil || kind != pushResult {
		t.Fatalf("%s: kind %q, %v", line, kind, err)
	}
	return telemetryEvent("er", fields, rowNow)
}

func TestTelemetryEvent(t *testing.T) {
	for _, tt := range []struct {
		name, line string
		want       soar.Row
	}{
		{
			"4.0",
			`{"_version":2,"_host_identifier":"EC2A","_timestamp":"2026-11-22T03:22:30Z","_event_type":"log","_log_type":"result","_action":"added",` +
				`"_query_name":"win_dns_events","_created":"2026-11-22T03:22:31.5","action":"DNS_REQUEST","domain_name":"m\u00f6glich.example","event_type":"x",` +
				`"_platform":"windows","_ip_address":"10.0.0.5","_computer_name":"WIN-1","pid":4711,"note":null,"_unknown":"kept"}`,
			soar.Row{
				Server: "er", Query: "win_dns_events", Action: "added", At: time.Date(2026, 11, 22, 3, 22, 30, 0, time.UTC),
				Host: soar.Host{Identifier: "EC2A", Name: "WIN-1", Platform: "windows", IP: "10.0.0.5"},
				Columns: map[string]string{
					"action": "DNS_REQUEST", "domain_name": "möglich.example", "event_type": "x", "pid": "4711", "_unknown": "kept"},
			},
		},
		{
			"3.5, in a syslog frame",
			`<13>1 2026-11-22T03:22:30Z er - - - - {"@version":1,"@host_identifier":"EC2A","@timestamp":"1795317750","log_type":"result","action":"removed",` +
				`"query_name":"users","created":"2026-11-22T03:22:31.5","uid":"501","platform":"darwin","is_active":true,"last_ip":"10.0.0.6","osname":"macOS"}`,
			soar.Row{
				Server: "er", Query: "users", Action: "removed", At: time.Unix(1795317750, 0).UTC(),
				Host:    soar.Host{Identifier: "EC2A", Platform: "darwin", OS: "macOS", IP: "10.0.0.6"},
				Columns: map[string]string{"uid": "501"},
			},
		},
		{
			"3.5, where columns overwrite the action and look like an alert",
			`{"@version":1,"@host_identifier":"EC2A","@timestamp":"","log_type":"result","action":"PROC_CREATE","query_name":"q","rule_name":"r","time":"1795317000"}`,
			soar.Row{
				Server: "er", Query: "q", At: time.Unix(1795317000, 0).UTC(), Host: soar.Host{Identifier: "EC2A"},
				Columns: map[string]string{"action": "PROC_CREATE", "rule_name": "r", "time": "1795317000"},
			},
		},
		{
			"no time at all",
			`{"_event_type":"log","_log_type":"result","_host_identifier":"EC2A","_query_name":"q","_timestamp":"yesterday"}`,
			soar.Row{Server: "er", Query: "q", At: rowNow, Host: soar.Host{Identifier: "EC2A"}, Columns: map[string]string{}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ev := rowEvent(t, tt.line)
			if got, want := fmt.Sprintf("%+v", *ev.Row), fmt.Sprintf("%+v", tt.want); got != want {
				t.Errorf("row\n got %s\nwant %s", got, want)
			}
			if ev.Type != soar.EventTelemetry || !ev.At.Equal(rowNow) || ev.Alert != nil || !strings.HasPrefix(ev.ID, "telemetry/er/") {
				t.Errorf("event %+v", ev)
			}
		})
	}
}

func TestTelemetryIDIsThatOfTheRow(t *testing.T) {
	line := func(host, query, logged, sent, columns string) string {
		return fmt.Sprintf(`{"_event_type":"log","_log_type":"result","_host_identifier":%q,"_query_name":%q,"_timestamp":%q,"_created":%q%s}`,
			host, query, logged, sent, columns)
	}
	first := rowEvent(t, line("A", "q", "1795317000", "2026-11-22T03:22:31", `,"a":"1","b":"2"`)).ID
	if again := rowEvent(t, line("A", "q", "1795317000", "2026-11-22T09:00:00", `,"b":"2","a":"1"`)).ID; again != first {
		t.Errorf("sent again: %s, then %s", first, again)
	}
	seen := map[string]string{first: "the first"}
	for name, other := range map[string]string{
		"host":             line("B", "q", "1795317000", "", `,"a":"1","b":"2"`),
		"query":            line("A", "p", "1795317000", "", `,"a":"1","b":"2"`),
		"time":             line("A", "q", "1795317001", "", `,"a":"1","b":"2"`),
		"value":            line("A", "q", "1795317000", "", `,"a":"1","b":"3"`),
		"column":           line("A", "q", "1795317000", "", `,"a":"1","c":"2"`),
		"where texts part": line("A", "q", "1795317000", "", `,"a":"1\",\"b\":\"2"`),
	} {
		id := rowEvent(t, other).ID
		if twin, ok := seen[id]; ok {
			t.Errorf("another %s has the id of %s", name, twin)
		}
		seen[id] = name
	}
}

// startTelemetry runs a listener that forwards rows, and stops it on demand.
func startTelemetry(t *testing.T, in Intake, change func(*TelemetrySettings)) (p *Push, address string, rings chan struct{}, stop func()) {
	t.Helper()
	settings := DefaultPush()
	settings.Listen = "127.0.0.1:0"
	settings.Telemetry = new(TelemetrySettings)
	settings.Telemetry.SetDefaults()
	if change != nil {
		change(settings.Telemetry)
	}
	rings = make(chan struct{}, 10_000)
	p, err := NewPush("er", settings, func() { rings <- struct{}{} }, SourceEnv{Intake: in, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	addr, err := p.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	running := true
	stop = func() {
		if !running {
			return
		}
		running = false
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return p, addr.String(), rings, stop
}

func rowCount(t *testing.T, p *Push, name string) int {
	t.Helper()
	var m dto.Metric
	if err := p.telemetry.rows.WithLabelValues(name).Write(&m); err != nil {
		t.Fatal(err)
	}
	return int(m.GetCounter().GetValue())
}

func resultLine(n int) string {
	return fmt.Sprintf(`{"_version":2,"_event_type":"log","_log_type":"result","_host_identifier":"EC2A","_timestamp":"1795317000","_query_name":"q","n":"%d"}`+"\n", n)
}

func sendLines(t *testing.T, address string, lines ...string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(strings.Join(lines, ""))); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
}

func (s *intake) telemetryRows() (rows []soar.Row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ev := range s.events {
		if ev.Row != nil {
			rows = append(rows, *ev.Row)
		}
	}
	return rows
}

func (s *intake) troubles() (texts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ev := range s.events {
		if ev.Type == soar.EventTrouble {
			texts = append(texts, ev.Text)
		}
	}
	return texts
}

// The simulator sends rows as the server does, of both generations, and beside them
// an alert.
func TestTelemetryFromTheServer(t *testing.T) {
	for _, profile := range []string{"4.0", "2.1.2"} {
		t.Run(profile, func(t *testing.T) {
			in := newIntake()
			_, address, rings, stop := startTelemetry(t, in, nil)
			sim, _ := startSim(t, ersim.Options{Profile: profile, PushAddress: address, PushResults: true})
			host := sim.Hosts()[0]
			if err := sim.PushRows(ersim.ResultRows{
				Host: host.Identifier, Query: "dns", Action: "snapshot", At: rowNow,
				Rows: []map[string]string{{"domain_name": "a.example"}, {"domain_name": "b.example"}},
			}); err != nil {
				t.Fatal(err)
			}
			sim.Raise(ersim.AlertSpec{Host: "1", Columns: map[string]string{"cmdline": "x", "time": "1795317000"}})
			<-rings // the alert's line is the last of its connection
			stop()
			rows := in.telemetryRows()
			if len(rows) != 3 {
				t.Fatalf("%d rows: %+v", len(rows), rows)
			}
			byName := map[string]soar.Row{}
			for _, r := range rows {
				byName[r.Columns["domain_name"]] = r
			}
			for _, name := range []string{"a.example", "b.example"} {
				r := byName[name]
				if r.Query != "dns" || r.Action != "snapshot" || !r.At.Equal(rowNow) || r.Host.Identifier != host.Identifier || r.Host.Platform == "" || len(r.Columns) != 1 {
					t.Errorf("%s: %+v", name, r)
				}
			}
			if r := byName[""]; r.Columns["cmdline"] != "x" || r.Action != "added" && r.Action != "" {
				t.Errorf("row behind the alert: %+v", r)
			}
		})
	}
}

// What a sender has sent before an orderly stop is stored, whether its connection was
// accepted or waited in the system's queue.
func TestTelemetryStopLosesNothing(t *testing.T) {
	in := newIntake()
	p, address, _, stop := startTelemetry(t, in, func(s *TelemetrySettings) { s.MaxRate = 100 }) // slower than what comes
	const connections, each = 40, 50
	for c := range connections {
		lines := make([]string, each)
		for i := range lines {
			lines[i] = resultLine(c*each + i)
		}
		sendLines(t, address, lines...)
	}
	stop()
	seen := map[string]int{}
	for _, r := range in.telemetryRows() {
		seen[r.Columns["n"]]++
	}
	if len(seen) != connections*each || rowCount(t, p, rowStored) != connections*each {
		t.Errorf("%d rows stored, %d counted; %d were sent", len(seen), rowCount(t, p, rowStored), connections*each)
	}
}

// slowStore holds every commit of rows until it is opened.
type slowStore struct {
	*intake
	open chan struct{}
}

func (s *slowStore) Commit(ctx context.Context, c soar.Change) (soar.Committed, error) {
	select {
	case <-s.open:
	case <-ctx.Done():
		return soar.Committed{}, context.Cause(ctx)
	}
	return s.intake.Commit(ctx, c)
}

// While not one row can be stored, alerts ring on the very connection that floods; what
// is dropped is counted and told.
func TestTelemetryFloodDelaysNoAlert(t *testing.T) {
	in := &slowStore{newIntake(), make(chan struct{})}
	const flood, queue = 20_000, 100
	p, address, rings, stop := startTelemetry(t, in, func(s *TelemetrySettings) { s.MaxQueue = queue })
	lines := make([]string, 0, flood+10)
	for i := range flood {
		if i%(flood/10) == flood/10-1 {
			lines = append(lines, pushRule40+"\n")
		}
		lines = append(lines, resultLine(i))
	}
	sendLines(t, address, lines...)
	for range 10 {
		<-rings
	}
	close(in.open)
	stop()
	stored, dropped := rowCount(t, p, rowStored), rowCount(t, p, rowOverflow)
	if stored+dropped != flood || dropped == 0 || stored < queue {
		t.Errorf("%d stored and %d dropped of %d", stored, dropped, flood)
	}
	if n := len(in.telemetryRows()); n != stored {
		t.Errorf("%d rows are in the store, %d counted", n, stored)
	}
	told := 0
	for _, text := range in.troubles() {
		var n int
		if _, err := fmt.Sscanf(text, "%d rows of telemetry were dropped", &n); err != nil || !strings.Contains(text, "max_queue") {
			t.Errorf("trouble %q", text)
		}
		told += n
	}
	if told != dropped {
		t.Errorf("%d dropped, %d told: %q", dropped, told, in.troubles())
	}
}

func TestTelemetryWhen(t *testing.T) {
	in := newIntake()
	p, address, _, stop := startTelemetry(t, in, func(s *TelemetrySettings) {
		s.When = registry.Text{Value: `.row.query == "q" and (.row.columns.n | tonumber) > 1`}
		s.MaxRowBytes = 1000
	})
	bad := `{"_version":2,"_event_type":"log","_log_type":"result","_host_identifier":"A","_query_name":"q","n":"many"}`
	huge := `{"_event_type":"log","_log_type":"result","_query_name":"q","n":"2","x":"` + strings.Repeat("x", 1000) + `"}`
	sendLines(t, address, resultLine(0), resultLine(2), bad+"\n", huge+"\n", resultLine(3))
	stop()
	if rows := in.telemetryRows(); len(rows) != 2 || rows[0].Columns["n"] != "2" || rows[1].Columns["n"] != "3" {
		t.Errorf("rows %+v", rows)
	}
	for name, want := range map[string]int{rowStored: 2, rowFiltered: 1, rowFilterError: 1, rowTooLarge: 1, rowOverflow: 0} {
		if got := rowCount(t, p, name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	if len(in.letters) != 1 || !strings.Contains(in.letters[0].Reason, "telemetry: when: ") {
		t.Fatalf("dead letters %+v", in.letters)
	}
	// The letter is the line again: as it was it fails again, and corrected it is stored.
	if err := p.Replay(t.Context(), in.letters[0].Payload); err == nil {
		t.Error("a row on which when fails was taken")
	}
	if err := p.Replay(t.Context(), []byte(strings.Replace(string(in.letters[0].Payload), "many", "5", 1))); err != nil {
		t.Error(err)
	}
	if rows := in.telemetryRows(); len(rows) != 3 || rows[2].Columns["n"] != "5" || rows[2].Host.Identifier != "A" {
		t.Errorf("after the replay: %+v", rows)
	}
}

func TestTelemetryStopsAtMaxStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newIntake()
		p, finish := inBubble(t, in, TelemetrySettings{MaxRate: 1000, MaxQueue: 10, MaxRowBytes: 1000, MaxStored: 3})
		for range 5 {
			p.offerRows(1)
			synctest.Wait() // a commit of its own
		}
		finish()
		if n := len(in.telemetryRows()); n != 3 {
			t.Errorf("%d rows stored", n)
		}
		if told := strings.Join(in.troubles(), "\n"); strings.Count(told, "1 rows of telemetry were dropped") != 2 || !strings.Contains(told, "max_stored") {
			t.Errorf("told %q", told)
		}
	})
}

// inBubble runs a telemetry part under virtual time; finish closes its queue.
func inBubble(t *testing.T, in *intake, s TelemetrySettings) (p *telemetry, finish func()) {
	env := SourceEnv{Intake: in}.withDefaults()
	p, err := newTelemetry("er", s, env, newRejects("push", env))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		p.run(t.Context())
		close(done)
	}()
	return p, func() { close(p.queue); <-done }
}

func (t *telemetry) offerRows(n int) {
	for i := range n {
		t.offer(pushFields{"_log_type": []byte(`"result"`), "n": fmt.Append(nil, i)}, 100)
	}
}

func TestTelemetryIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newIntake()
		p, finish := inBubble(t, in, TelemetrySettings{MaxRate: 1000, MaxQueue: 10_000, MaxRowBytes: 1000, MaxStored: 1e6})
		p.offerRows(5000)
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if n := len(in.telemetryRows()); n < 3000 || n > 4000 {
			t.Errorf("%d rows after 2.5 s at 1000 a second and a burst of 1000", n)
		}
		time.Sleep(3 * time.Second)
		finish()
		if n := len(in.telemetryRows()); n != 5000 {
			t.Errorf("%d rows", n)
		}
	})
}

func TestTelemetryWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newIntake()
		in.refuse = fmt.Errorf("disk full: %w", soar.ErrNotAccepting)
		p, finish := inBubble(t, in, TelemetrySettings{MaxRate: 1000, MaxQueue: 500, MaxRowBytes: 1000, MaxStored: 1e6})
		p.offerRows(400)
		time.Sleep(time.Minute)
		in.mu.Lock()
		in.refuse = nil
		in.mu.Unlock()
		time.Sleep(2 * time.Second)
		finish()
		if n := len(in.telemetryRows()); n != 400 || len(in.troubles()) != 0 {
			t.Errorf("%d rows, trouble %q", n, in.troubles())
		}
	})
}

// A flood that lasts is told of every ten minutes, and not with every row.
func TestTelemetryTellsOfDropsNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newIntake()
		p, finish := inBubble(t, in, TelemetrySettings{MaxRate: 1, MaxQueue: 1, MaxRowBytes: 50, MaxStored: 1e6})
		for range 35 {
			p.offerRows(10) // all too large
			time.Sleep(time.Minute)
		}
		finish()
		if told := in.troubles(); len(told) != 5 { // at 0, 10, 20, 30 minutes and at the end
			t.Errorf("told %d times: %q", len(told), told)
		}
	})
}

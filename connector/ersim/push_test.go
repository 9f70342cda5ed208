package ersim

import (
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
)

// listener that hands over what came on each connection.
func pushListener(t *testing.T) (address string, next func() string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String(), func() string {
		t.Helper()
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
}

func TestPush(t *testing.T) {
	columns := map[string]string{"action": actProcess, "cmdline": "größe ✓", "eid": "E1"}
	spec := AlertSpec{Host: "1", Rule: "Credential dumping", Columns: columns}
	for _, tt := range []struct {
		profile string
		raise   []AlertSpec
		lines   []map[string]any // what each connection must hold, at least
	}{
		{"4.0", []AlertSpec{
			spec, spec, // the second joins: nothing is pushed
			{Host: "1", Source: "ioc"}, // kept quiet
			{Host: "1", Source: "virustotal", Intel: map[string]any{"positives": 1}},
		}, []map[string]any{
			{"_version": 2.0, "_event_type": "alert", "_rule_name": "Credential dumping", "_severity": "CRITICAL", "_alert_type": "Rule",
				"_action": actProcess, "action": actProcess, "cmdline": "größe ✓", "_platform": "windows", "eid": "E1"},
			{"_event_type": "trigger", "_alert_type": "Threat Intel", "_source": "virustotal", "_rule_name": nil, "_action": nil},
		}},
		{"2.1.2", []AlertSpec{spec, spec, {Host: "1", Source: "ioc", Columns: columns}}, []map[string]any{
			{"event_type": "trigger", "rule_name": "Credential dumping", "incident_key": "polylogyx-security-1", "action": actProcess,
				"alert_type": "Rule", "client": "PolyLogyx", "_version": nil},
			{"incident_key": "polylogyx-security-2", "rule_name": "Credential dumping"},
			{"source": "ioc", "source_data": "{}", "alert_type": "Threat Intel", "rule_name": nil},
		}},
	} {
		t.Run(tt.profile, func(t *testing.T) {
			address, next := pushListener(t)
			l := newLive(t, Options{Profile: tt.profile, PushAddress: address})
			for _, one := range tt.raise {
				l.s.Raise(one)
			}
			for i, want := range tt.lines {
				line := next()
				if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") || strings.ContainsFunc(line, func(r rune) bool { return r > '~' }) {
					t.Errorf("not one line of ASCII: %q", line)
				}
				var got map[string]any
				if err := json.Unmarshal([]byte(line), &got); err != nil {
					t.Fatal(err)
				}
				for key, value := range want {
					if got[key] != value {
						t.Errorf("line %d: %s is %v, want %v", i+1, key, got[key], value)
					}
				}
			}
		})
	}
}

func TestPushWithResults(t *testing.T) {
	address, next := pushListener(t)
	l := newLive(t, Options{PushResults: true})
	l.s.SetPushAddress(address)
	l.s.Raise(AlertSpec{Host: "1"})
	lines := strings.Split(strings.TrimSpace(next()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `"_event_type":"log"`) || !strings.Contains(lines[1], `"_event_type":"alert"`) {
		t.Errorf("%q", lines)
	}
}

// TestPushLosesWhatNobodyTakes: the alert is there, the line is not.
func TestPushLosesWhatNobodyTakes(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	l := newLive(t, Options{PushAddress: gone.Addr().String()})
	l.s.Raise(AlertSpec{Host: "1"})
	address, next := pushListener(t)
	l.s.SetPushAddress(address)
	l.s.Raise(AlertSpec{Host: "2"})
	if line := next(); !strings.Contains(line, l.s.Hosts()[1].Identifier) {
		t.Errorf("got %s", line)
	}
	if n := len(l.s.Alerts()); n != 2 {
		t.Errorf("%d alerts", n)
	}
}

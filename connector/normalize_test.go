package connector

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/erbridge/erbridge/internal/soar"
)

func parsed(t *testing.T, text string) value {
	t.Helper()
	v, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNormalizeOddValues(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		get      func(a soar.Alert) any
		want     any
	}{
		{"severity in any case", `{"severity":"High"}`, func(a soar.Alert) any { return a.Severity }, soar.SeverityHigh},
		{"severity WARNING", `{"severity":"WARNING"}`, func(a soar.Alert) any { return a.Severity }, soar.SeverityMedium},
		{"severity null", `{"severity":null}`, func(a soar.Alert) any { return a.Severity }, soar.SeverityInfo},
		{"severity unknown", `{"severity":"Apocalyptic"}`, func(a soar.Alert) any { return a.Severity }, soar.Severity("apocalyptic")},
		{"severity as written", `{"severity":"WARNING"}`, func(a soar.Alert) any { return a.SeverityText }, "WARNING"},
		{"status null", `{"status":null}`, func(a soar.Alert) any { return a.Status }, soar.StatusOpen},
		{"status unknown", `{"status":"HELD"}`, func(a soar.Alert) any { return a.Status }, soar.StatusOpen},
		{"status resolved", `{"status":"RESOLVED"}`, func(a soar.Alert) any { return a.Status }, soar.StatusResolved},
		{"verdict text", `{"verdict":"TRUE POSITIVE"}`, func(a soar.Alert) any { return a.Verdict }, soar.VerdictTruePositive},
		{"verdict filter word", `{"verdict":"false_positive"}`, func(a soar.Alert) any { return a.Verdict }, soar.VerdictFalsePositive},
		{"verdict number", `{"verdict":2}`, func(a soar.Alert) any { return a.Verdict }, soar.VerdictFalsePositive},
		{"verdict none", `{"verdict":0}`, func(a soar.Alert) any { return a.Verdict }, ""},
		{"source", `{"source":"IOC"}`, func(a soar.Alert) any { return a.Source }, "ioc"},
		{"id as text", `{"id":"17"}`, func(a soar.Alert) any { return a.ID }, "17"},
		{"no rule", `{"rule_id":null}`, func(a soar.Alert) any { return a.Rule }, (*soar.Rule)(nil)},
		{"rule null", `{"rule_id":3,"rule":null}`, func(a soar.Alert) any { return *a.Rule }, soar.Rule{ID: 3}},
		{"recon text", `{"recon_queries":"null","id":1}`, func(a soar.Alert) any { return a.ID }, "1"},
		{"no columns", `{"alerted_entry":null}`, func(a soar.Alert) any { return a.Event }, map[string]string{}},
		{"odd columns", `{"message":{"pid":7,"x":null}}`, func(a soar.Alert) any { return a.Event }, map[string]string{"pid": "7", "x": ""}},
		{"empty intel", `{"source_data":{}}`, func(a soar.Alert) any { return a.Intel }, json.RawMessage(nil)},
		{"intel", `{"intel_data":{"positives":60}}`, func(a soar.Alert) any { return string(a.Intel) }, `{"positives":60}`},
		{"event time", `{"created_at":"22-11-2026 03:22:30","alerted_entry":{"time":"1795317700","utc_time":"Sun Nov 22 03:22:00 2026 UTC"}}`,
			func(a soar.Alert) any { return a.EventTime.Unix() }, int64(1795317700)},
		{"event time by utc_time", `{"created_at":"22-11-2026 03:22:30","alerted_entry":{"time":"soon","utc_time":"Sun Nov 22 03:22:00 2026 UTC"}}`,
			func(a soar.Alert) any { return a.EventTime.Unix() }, int64(1795317720)},
		{"event time by creation", `{"created_at":"22-11-2026 03:22:30","alerted_entry":{"time":""}}`,
			func(a soar.Alert) any { return a.EventTime.Unix() }, int64(1795317750)},
		{"creation by event time", `{"created_at":"?","alerted_entry":{"time":"1795317700"}}`,
			func(a soar.Alert) any { return a.CreatedAt.Unix() }, int64(1795317700)},
		{"event count", `{"aggregated_events_count":"3"}`, func(a soar.Alert) any { return a.EventCount }, 3},
		{"link", `{"id":5}`, func(a soar.Alert) any { return a.URL }, "https://er.example/alerts/5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.get(Normalize("er", "https://er.example/", readAlert(parsed(t, tt.in)), nil, nil))
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %#v, want %#v", got, tt.want)
			}
		})
	}
}

func TestNormalizeMergesHostAndRule(t *testing.T) {
	a := readAlert(parsed(t, `{"id":5,"node_id":2,"hostname":"web-01","rule":{"id":3,"name":"Now"}}`))
	online := true
	host := &Host{ID: 2, Identifier: "B", Name: "old name", OSName: "Ubuntu", LastIP: "::ffff:10.0.0.5", Tags: []string{"web"}, Online: &online,
		LastCheckin: time.Unix(1795317700, 0).UTC()}
	rule := &Rule{ID: 3, Name: "Before", Description: "d", Techniques: []string{"T1003"}, Tactics: []string{"discovery"}}
	got := Normalize("er", "", a, host, rule)
	wantHost := soar.Host{ID: 2, Identifier: "B", Name: "web-01", Platform: "ubuntu", OS: "Ubuntu", IP: "10.0.0.5", Tags: []string{"web"},
		Online: &online, LastSeen: host.LastCheckin}
	if !reflect.DeepEqual(got.Host, wantHost) {
		t.Errorf("host: got %+v, want %+v", got.Host, wantHost)
	}
	if wantRule := (soar.Rule{ID: 3, Name: "Now", Description: "d", Techniques: []string{"T1003"}, Tactics: []string{"discovery"}}); !reflect.DeepEqual(*got.Rule, wantRule) {
		t.Errorf("rule: got %+v, want %+v", *got.Rule, wantRule)
	}
	if got.URL != "" {
		t.Errorf("link without console: %q", got.URL)
	}
}

func TestHostShapes(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     soar.Host
	}{
		{"network as array", `{"id":1,"network_info":[{"mac":"00:00:00:00:00:00"},{"mac":"02:00:00:00:00:01"}]}`, soar.Host{ID: 1, MAC: "02:00:00:00:00:01"}},
		{"network as object", `{"id":1,"network_info":{"mac_address":"02:00:00:00:00:01"}}`, soar.Host{ID: 1, MAC: "02:00:00:00:00:01"}},
		{"nothing known", `{"id":1,"os_info":null,"network_info":{},"node_info":null,"host_details":{},"last_checkin":null}`, soar.Host{ID: 1}},
		{"Windows by OS name", `{"id":1,"os_info":{"name":"Microsoft Windows 10 Pro","version":"10.0"}}`,
			soar.Host{ID: 1, Platform: "windows", OS: "Microsoft Windows 10 Pro", OSVersion: "10.0"}},
		{"macOS by OS name", `{"id":1,"os_info":{"name":"Mac OS X"}}`, soar.Host{ID: 1, Platform: "darwin", OS: "Mac OS X"}},
		{"platform of the OS", `{"id":1,"platform":"","os_info":{"name":"Ubuntu","platform":"ubuntu"}}`, soar.Host{ID: 1, Platform: "ubuntu", OS: "Ubuntu"}},
		{"no address", `{"id":1,"last_ip":"unknown"}`, soar.Host{ID: 1}},
		{"mail date", `{"id":1,"last_checkin":"Sun, 22 Nov 2026 03:22:30 -0000"}`, soar.Host{ID: 1, LastSeen: time.Unix(1795317750, 0).UTC()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := NormalizeHost(readHost(parsed(t, tt.in))); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestNodeKeyIsDropped: the agent's key must not be kept anywhere.
func TestNodeKeyIsDropped(t *testing.T) {
	h := readHost(parsed(t, `{"id":1,"node_key":"76f6e37b","host_details":{"a":1}}`))
	text, err := json.Marshal(h)
	if err != nil || bytes.Contains(text, []byte("76f6e37b")) {
		t.Errorf("kept in %s", text)
	}
}

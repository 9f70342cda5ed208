package ersim

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// body makes a call and returns type and text of the answer.
func (r *rig) body(method, path string, body any) (kind, text string) {
	r.t.Helper()
	w := r.send(method, path, body)
	return w.Header().Get("Content-Type"), w.Body.String()
}

// TestExportOfOldRelease has the columns of the event, in the order of the database,
// as in the recording from release 2.1.2.
func TestExportOfOldRelease(t *testing.T) {
	r := newRig(t, Options{Profile: "2.1.2", Hosts: 3})
	for _, port := range []string{"50", "51"} {
		r.s.Raise(AlertSpec{Host: "3", Source: "ioc", Columns: map[string]string{
			"pid": "77", "path": "/usr/bin/curl", "time": "1795317750", "action": "connect", "family": "2", "protocol": "6",
			"local_port": port, "remote_port": "443", "local_address": "10.0.0.5", "remote_address": "203.0.113.66",
		}})
	}
	const want = "pid,path,time,action,family,protocol,local_port,remote_port,local_address,remote_address\r\n" +
		"77,/usr/bin/curl,1795317750,connect,2,6,51,443,10.0.0.5,203.0.113.66\r\n" +
		"77,/usr/bin/curl,1795317750,connect,2,6,50,443,10.0.0.5,203.0.113.66\r\n"
	const path = "/alerts/alert_source/export"
	for _, body := range []obj{{"source": "ioc"}, {"source": "ioc", "host_identifier": "nosuch"}} { // an unknown host is no filter
		if kind, text := r.body("POST", path, body); kind != "text/csv; charset=utf-8" || text != want {
			t.Errorf("%v: got %s\n%s", body, kind, text)
		}
	}
	// The first row alone makes the header.
	r.s.Raise(AlertSpec{Host: "3", Source: "ioc", Columns: map[string]string{"md5": "x"}})
	if _, text := r.body("POST", path, obj{"source": "ioc"}); text != "md5\r\nx\r\n\"\"\r\n\"\"\r\n" && text != "md5\r\nx\r\n\r\n\r\n" {
		t.Errorf("uneven rows: %q", text)
	}
	if w := r.send("POST", path, obj{}); w.Code != 400 || !strings.Contains(w.Body.String(), `"source"`) {
		t.Errorf("without a source: %d %s", w.Code, w.Body)
	}
	if out := r.call("POST", path, obj{"source": "rule"}); out["status"] != "failure" {
		t.Errorf("no rows: %v", out)
	}
}

func TestExportFilters(t *testing.T) {
	r := newRig(t, Options{Hosts: 3, AggregationWindow: -1})
	r.s.Raise(AlertSpec{Host: "1", Rule: "Credential dumping", Severity: "HIGH"})
	r.s.Raise(AlertSpec{Host: "3", Source: "ioc"})
	r.s.Raise(AlertSpec{Host: "1", Rule: "Run key written", Severity: "LOW"})
	r.data("PUT", "/alerts", obj{"resolve": true, "alert_ids": []int{3}, "verdict": false})
	today := r.clock.Now().Format(time.DateOnly)
	for _, tt := range []struct {
		body obj
		rows int // 0: refused
	}{
		{obj{}, 3},
		{obj{"resolved": true}, 3}, // no such argument here
		{obj{"source": "rule,virustotal"}, 2},
		{obj{"verdict": "false_positive,nosuch"}, 1},
		{obj{"severity": "high"}, 1},
		{obj{"search": "credential"}, 1},
		{obj{"searchterm": "credential"}, 3}, // nor this one
		{obj{"event_ids": []int{2, 9}}, 1},
		{obj{"date": today, "duration": 2}, 3},
		{obj{"start_date": "2020-01-01", "end_date": "2020-01-02"}, 0},
		{obj{"host_identifier": "nosuch"}, 0},
		{obj{"rule_id": "9999"}, 0},
	} {
		kind, text := r.body("POST", "/alerts/alert_source/export", tt.body)
		if rows := strings.Count(text, "\r\n") - 1; (kind == typeJSON) != (tt.rows == 0) || kind != typeJSON && rows != tt.rows {
			t.Errorf("%v: %s %s", tt.body, kind, text)
		}
	}
	for _, body := range []obj{{"severity": "HIGH"}, {"verdict": "x"}, {"date": "22-11-2026"}, {"duration": 9}} {
		if w := r.send("POST", "/alerts/alert_source/export", body); w.Code != 400 {
			t.Errorf("%v: %d %s", body, w.Code, w.Body)
		}
	}
}

// TestGraphAndCountWindows: a resolved alert has a window there, which the list does
// not give it.
func TestGraphAndCountWindows(t *testing.T) {
	r := newRig(t, Options{Hosts: 1})
	id := r.s.Raise(AlertSpec{Severity: "MEDIUM"})
	r.data("PUT", "/alerts", obj{"resolve": true, "alert_ids": []int64{id}, "verdict": true})
	count := func(query string) string {
		rows := r.data("GET", "/alerts/count_by_source?"+query, nil).(obj)["alert_source"].([]any)
		return fmt.Sprint(rows[1].(obj)["count"])
	}
	for query, want := range map[string]string{
		"": "1", "resolved=true": "1", "resolved=false": "0", "resolved=true&date=2020-01-01": "0", "date=2020-01-01": "0",
		"start_date=2020-01-01": "1", "host_identifier=nosuch": "1", "rule_id=999": "0", "duration=1": "1",
	} {
		if got := count(query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	_, text := r.body("GET", "/alerts/graph?search=load", nil)
	if want := fmt.Sprintf(`"className":"green-m","content":"","event_id":%d,"start":1795317750754.074`, id); !strings.Contains(text, want) {
		t.Errorf("graph %s", text)
	}
	if points := r.data("GET", "/alerts/graph?start_date=2020-01-01&end_date=2020-01-01", nil).([]any); len(points) != 0 {
		t.Errorf("long ago: %v", points)
	}
}

func TestEventExport(t *testing.T) {
	r := newRig(t, Options{Hosts: 1})
	var id int64
	for _, columns := range []map[string]string{{"action": "a"}, {"action": "b", "pid": "1"}, {"pid": "2", "action": "c", "md5": "x"}} {
		id = r.s.Raise(AlertSpec{Rule: "Credential dumping", Query: "q", Columns: columns})
	}
	path := fmt.Sprintf("/alerts/%d/alerted_events/export", id)
	// A key that turns up late stands at the end, and rows before it are shorter.
	if _, text := r.body("GET", path+"?query_name=q", nil); text != "pid,action,md5\r\n1,b\r\n2,c,x\r\n" {
		t.Errorf("got %q", text)
	}
	if _, text := r.body("GET", path+"?query_name=q&searchterm=X&start=5", nil); text != "md5,pid,action\r\nx,2,c\r\n" {
		t.Errorf("searched: %q", text)
	}
	for query, status := range map[string]int{"": 400, "?query_name=q%27": 500, "?query_name=q&searchterm=+:x": 500, "?query_name=none": 200} {
		if w := r.send("GET", path+query, nil); w.Code != status || w.Header().Get("Content-Type") != typeJSON {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	if out := r.call("GET", "/alerts/99/alerted_events/export?query_name=q", nil); out["status"] != "failure" {
		t.Errorf("unknown alert: %v", out)
	}
}

func TestPythonText(t *testing.T) {
	for _, tt := range []struct {
		json, want string
	}{
		{`{"path":"C:\\x","a":null,"n":1.50,"t":true,"l":["it's",false]}`, `{'a': None, 'l': ["it's", False], 'n': 1.50, 't': True, 'path': 'C:\\x'}`},
		{`"both ' and \" \n\u0001é"`, `'both \' and " \n\x01é'`},
		{`{}`, `{}`},
	} {
		if got := pyRepr(fromJSONB([]byte(tt.json))); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.json, got, tt.want)
		}
	}
}

package ersim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAggregation(t *testing.T) {
	for _, tt := range []struct {
		profile string
		window  time.Duration
		counts  []int // after the first, a second, a third match within the window
		same    bool
	}{
		{"4.0", 0, []int{0, 1, 2}, true},
		{"2.1.2", 0, []int{1, 2, 3}, true},
		{"4.0", -1, []int{0, 0, 0}, false},
	} {
		t.Run(fmt.Sprint(tt.profile, tt.window), func(t *testing.T) {
			r := newRig(t, Options{Profile: tt.profile, AggregationWindow: tt.window})
			spec := AlertSpec{Host: "1", Rule: "Credential dumping"}
			first := r.s.Raise(spec)
			for i, want := range tt.counts {
				id := first
				if i > 0 {
					r.clock.add(20 * time.Second)
					id = r.s.Raise(spec)
				}
				if (id == first) != (tt.same || i == 0) {
					t.Errorf("match %d got alert %d, the first was %d", i+1, id, first)
				}
				rows := r.results("/alerts", obj{"event_ids": []int64{id}, "resolved": false})
				if got := rows[0]["aggregated_events_count"]; got != float64(want) {
					t.Errorf("count after match %d is %v, want %d", i+1, got, want)
				}
			}
			r.clock.add(time.Minute)
			if id := r.s.Raise(spec); id == first {
				t.Error("a match after the window joined the alert")
			}
		})
	}
}

func TestResolvedAlertAbsorbs(t *testing.T) {
	r := newRig(t, Options{})
	spec := AlertSpec{Host: "1", Rule: "Credential dumping"}
	id := r.s.Raise(spec)
	r.data("PUT", "/alerts", obj{"resolve": true, "verdict": true, "alert_ids": []int64{id}})
	r.clock.add(59 * time.Second)
	if again := r.s.Raise(spec); again != id {
		t.Errorf("got alert %d, want %d", again, id)
	}
	if a := r.s.Alerts()[0]; a.Status != statusClosed || a.EventCount != 1 {
		t.Errorf("%+v", a)
	}
	if other := r.s.Raise(AlertSpec{Host: "2", Rule: "Credential dumping"}); other == id {
		t.Error("another host's match joined")
	}
	ioc := AlertSpec{Host: "1", Source: "ioc"}
	if first, second := r.s.Raise(ioc), r.s.Raise(ioc); first == second {
		t.Error("IOC alerts were aggregated")
	}
}

func TestResolveAndReopen(t *testing.T) {
	r := newRig(t, Options{})
	id := r.s.Raise(AlertSpec{Host: "1"})
	one := []int64{id, 9999}
	if w := r.send("PUT", "/alerts", obj{"resolve": true, "alert_ids": one}); w.Code != http.StatusBadRequest {
		t.Errorf("without a verdict: %d %s", w.Code, w.Body)
	}
	r.clock.add(time.Minute)
	r.data("PUT", "/alerts", obj{"resolve": true, "alert_ids": one, "verdict": false, "comment": "test"})
	detail := r.data("GET", fmt.Sprintf("/alerts/%d", id), nil).(obj)
	for key, want := range map[string]any{
		"status": "RESOLVED", "verdict": "FALSE POSITIVE", "comment": "test", "updated_by": "admin",
		"created_at": "2026-11-22 03:22:30.754074", "updated_at": "2026-11-22 03:23:30.754074", "id": nil, "aggregated_events_count": nil,
	} {
		if detail[key] != want {
			t.Errorf("%s is %v, want %v", key, detail[key], want)
		}
	}
	row := r.results("/alerts", obj{"resolved": true})[0]
	if row["created_at"] != "22-11-2026 03:22:30" || row["verdict"] != "FALSE POSITIVE" || row["recon_queries"] != nil {
		t.Error(row)
	}
	r.data("PUT", "/alerts", obj{"alert_ids": one}) // no resolve: reopens
	if a := r.s.Alerts()[0]; a.Status != statusOpen || a.Verdict != "" || a.Comment != "" {
		t.Errorf("%+v", a)
	}
	if n := r.s.hosts[0].unended; n != 1 || r.s.open != 1 {
		t.Errorf("open alerts: host %d, all %d", n, r.s.open)
	}
}

func TestAlertFilters(t *testing.T) {
	r := newRig(t, Options{Hosts: 3})
	raise := func(spec AlertSpec) {
		r.s.Raise(spec)
		r.clock.add(time.Hour)
	}
	raise(AlertSpec{Host: "1", Rule: "Credential dumping"})               // 1 critical
	raise(AlertSpec{Host: "2", Rule: "Rare domain looked up"})            // 2 low
	raise(AlertSpec{Host: "3", Source: "ioc"})                            // 3 low
	raise(AlertSpec{Host: "1", Rule: "Certutil download"})                // 4 medium
	raise(AlertSpec{Host: "2", Source: "virustotal", Severity: "medium"}) // 5
	r.data("PUT", "/alerts", obj{"resolve": true, "verdict": true, "alert_ids": []int64{1, 5}})
	host := func(i int) string { return r.s.Hosts()[i-1].Identifier }
	for _, tt := range []struct {
		name         string
		body         obj
		ids          string
		count, total float64
	}{
		{"both by default", obj{}, "5 4 3 2 1", 5, 5},
		{"open", obj{"resolved": false}, "4 3 2", 3, 3},
		{"resolved", obj{"resolved": "True"}, "5 1", 2, 2},
		{"page", obj{"start": 1, "limit": 2}, "4 3", 5, 5},
		{"page of open ones", obj{"resolved": false, "start": 2, "limit": 2}, "2", 3, 3},
		{"past the end", obj{"start": 50}, "", 5, 5},
		{"source", obj{"source": "ioc,virustotal"}, "5 3", 2, 2},
		{"unknown source", obj{"source": "IOC"}, "", 0, 0},
		{"host", obj{"host_identifier": host(1)}, "4 1", 2, 2},
		{"hosts, one unknown", obj{"host_identifier": host(1) + ",nosuch," + host(3)}, "4 3 1", 3, 3},
		{"rule", obj{"rule_id": "13"}, "1", 1, 1},
		{"ids", obj{"event_ids": []int{1, 3, 99}}, "3 1", 2, 5},
		{"severity", obj{"severity": "critical,low,Medium"}, "3 2 1", 3, 5},
		{"warning means medium", obj{"severity": "warning"}, "5 4", 2, 5},
		{"verdict", obj{"verdict": "true_positive"}, "5 1", 2, 5},
		{"open verdict", obj{"verdict": "open"}, "4 3 2", 3, 5},
		{"search", obj{"searchterm": "CERTUTIL"}, "4", 1, 5},
		{"oldest first", obj{"column": "created_at"}, "1 2 3 4 5", 5, 5},
		{"oldest first, page", obj{"column": "created_at", "order_by": "asc", "start": 1, "limit": 2, "resolved": false}, "3 4", 3, 3},
		{"newest first by time", obj{"column": "created_at", "order_by": "desc"}, "5 4 3 2 1", 5, 5},
		{"of a host by time", obj{"column": "created_at", "order_by": "asc", "host_identifier": host(1)}, "1 4", 2, 2},
		{"by rule, without feeds", obj{"column": "rule", "order_by": "asc"}, "4 1 2", 3, 5},
		{"by host", obj{"column": "hostname", "order_by": "desc"}, "2 5 1 4 3", 5, 5},
		{"since today", obj{"start_date": "2026-11-22"}, "5 4 3 2 1", 5, 5},
		{"until yesterday", obj{"start_date": "2026-11-20", "end_date": "2026-11-21"}, "", 0, 5},
		{"end is inclusive", obj{"start_date": "2026-11-22", "end_date": "2026-11-22"}, "5 4 3 2 1", 5, 5},
		{"a day that ends after the named day", obj{"date": "2026-11-22", "duration": 2, "type": 2}, "5 4 3 2 1", 5, 5},
		{"an hour is the last of the named day", obj{"date": "2026-11-22", "duration": "1"}, "", 0, 5},
		{"type 1 leaves the named day out", obj{"date": "2026-11-21", "duration": 2, "type": 1}, "5 4 3 2 1", 5, 5},
		{"duration alone does nothing", obj{"duration": 1}, "5 4 3 2 1", 5, 5},
		{"no window for resolved", obj{"date": "2020-01-01", "resolved": true}, "5 1", 2, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := r.data("POST", "/alerts", tt.body).(obj)
			var rows []obj
			for _, row := range data["results"].([]any) {
				rows = append(rows, row.(obj))
			}
			if ids(rows) != tt.ids || data["count"] != tt.count || data["total_count"] != tt.total {
				t.Errorf("got %q, %v of %v; want %q, %v of %v", ids(rows), data["count"], data["total_count"], tt.ids, tt.count, tt.total)
			}
		})
	}
	for _, body := range []obj{{"severity": "Critical"}, {"verdict": "maybe"}, {"date": "22.11.2026"}, {"start_date": "x"}, {"column": "id"}} {
		if w := r.send("POST", "/alerts", body); w.Code != http.StatusBadRequest {
			t.Errorf("%v: %d %s", body, w.Code, w.Body)
		}
	}
	for _, body := range []obj{{"host_identifier": "nosuch"}, {"rule_id": "999"}} {
		if out := r.call("POST", "/alerts", body); out["status"] != "failure" {
			t.Errorf("%v: %v", body, out)
		}
	}
	counts := r.data("GET", "/alerts/count_by_source?resolved=false", nil).(obj)["alert_source"].([]any)
	if len(counts) != 5 || counts[1].(obj)["count"] != 2.0 {
		t.Error(counts)
	}
}

func TestAggregatedEvents(t *testing.T) {
	r := newRig(t, Options{})
	for i := range 4 {
		r.s.Raise(AlertSpec{Host: "1", Rule: "Mass file rename", Columns: map[string]string{
			"action": actFileRename, "target_path": fmt.Sprintf(`C:\f%d.locked`, i), "pid": "4",
		}})
	}
	counts := r.data("POST", "/alerts/1/alerted_events", obj{}).([]any)
	if len(counts) != 1 || counts[0].(obj)["count"] != 3.0 { // the first event is not among them
		t.Fatal(counts)
	}
	query := counts[0].(obj)["query_name"]
	rows := r.results("/alerts/1/alerted_events", obj{"query_name": query, "limit": 2})
	if len(rows) != 2 || rows[0]["columns"].(obj)["target_path"] != `C:\f3.locked` || rows[0]["timestamp"] != "2026-11-22 03:22:30" {
		t.Error(rows)
	}
	rows = r.results("/alerts/1/alerted_events", obj{"query_name": query, "column_name": "target_path", "column_value": `x,C:\f2.locked`})
	if len(rows) != 1 {
		t.Error(rows)
	}
	if w := r.send("POST", "/alerts/1/alerted_events", obj{"query_name": "a'b"}); w.Code != http.StatusInternalServerError {
		t.Errorf("an apostrophe: %d", w.Code)
	}
}

func TestNotes(t *testing.T) {
	r := newRig(t, Options{})
	id := r.s.Raise(AlertSpec{})
	path := fmt.Sprintf("/alerts/%d/analyst/notes", id)
	for _, text := range []string{"one", "zwei ✓"} {
		r.data("POST", path, obj{"notes": text})
	}
	rows := r.data("GET", path, nil).([]any)
	if first := rows[0].(obj); len(rows) != 2 || first["notes"] != "zwei ✓" || first["user"] != "admin" {
		t.Fatal(rows)
	}
	if w := r.send("GET", path, nil); !strings.Contains(w.Body.String(), `\u2713`) {
		t.Errorf("not in ASCII: %s", w.Body)
	}
	if got := r.data("PUT", path, obj{"note_id": 2, "notes": "two"}).(obj)["Analyst_note_id"]; got != 2.0 {
		t.Error(got)
	}
	r.data("DELETE", path, obj{"note_id": 1})
	if got := r.s.Notes(id); !slices.Equal(got, []string{"two"}) {
		t.Error(got)
	}
	r.login("analyst")
	if out := r.call("DELETE", path, obj{"note_id": 2}); out["status"] != "failure" {
		t.Errorf("another user deleted the note: %v", out)
	}
	if out := r.call("POST", "/alerts/99/analyst/notes", obj{"notes": "x"}); out["status"] != "failure" {
		t.Error(out)
	}
}

func TestProcessTree(t *testing.T) {
	r := newRig(t, Options{Seed: 3})
	playAll(t, r, "ransomware", 10*time.Second)
	var alert AlertState
	for _, a := range r.s.Alerts() {
		if a.Rule == "Shadow copies deleted" {
			alert = a
			break
		}
	}
	h := r.s.host(alert.Host)
	guid := alert.Columns["parent_process_guid"]
	tree := r.data("POST", "/alerts/process", obj{"process_guid": guid, "node_id": h.id, "alert_id": "1"}).(obj)
	if tree["name"] != "simlock.exe" || tree["node_type"] != "root" {
		t.Fatal(tree)
	}
	groups := map[string]obj{}
	for _, group := range tree["all_children"].([]any) {
		groups[group.(obj)["action"].(string)] = group.(obj)
	}
	if started := groups[actProcess]; started["count"] != 2.0 { // vssadmin and bcdedit
		t.Errorf("started: %v", started)
	}
	if renamed := groups[actFileRename]; renamed["count"] != 20.0 || len(renamed["children"].([]any)) != childPage {
		t.Errorf("renamed: %v", renamed["count"])
	}
	children := r.data("POST", "/alerts/process/child", obj{"process_guid": guid, "node_id": h.id, "action": actProcess}).(obj)
	if rows := children["child_data"].([]any); len(rows) != 2 || rows[0].(obj)["has_child"] != false || children["last_time"] == "" {
		t.Errorf("children: %v", children)
	}
	related := r.data("GET", fmt.Sprintf("/alerts/%d/events", alert.ID), nil).(obj)
	lists := related["schedule_query_data_list_obj"].([]any)
	if len(lists) != 1 || len(lists[0].(obj)["data"].([]any)) < 20 {
		t.Errorf("related: %v", related)
	}
	if out := r.call("POST", "/alerts/process", obj{"process_guid": guid, "node_id": 3}); out["status"] != "failure" {
		t.Errorf("tree of a Linux host: %v", out)
	}
}

// BenchmarkPageOfThousand is a page in the middle of a hundred thousand alerts.
func BenchmarkPageOfThousand(b *testing.B) {
	s, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.RaiseLoad(AlertSpec{Detached: true}, 100_000, 0); err != nil {
		b.Fatal(err)
	}
	no := false
	for b.Loop() {
		s.mu.Lock()
		rows, _, _ := s.selectAlerts(&alertFilter{resolved: &no}, 50_000, 1000, "", "")
		s.mu.Unlock()
		var body []byte
		for _, a := range rows {
			body = s.appendRow(body, a, true, false)
		}
		b.SetBytes(int64(len(body)))
	}
}

package ersim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// prepareHosts brings about what some captures of host and tag calls were taken from.
func prepareHosts(r *rig, name string) {
	win, linux := r.s.hosts[0], r.s.hosts[2]
	switch name {
	case "host_enable":
		r.s.setState(linux, hostRemoved)
	case "alert_detail_of_disabled_host":
		r.s.setState(win, hostRemoved)
	case "hosts_tags_delete":
		r.s.SetTags(win.identifier, "finance", "a,b")
	case "hosts_tags_delete_again":
		r.s.makeTags("a,b")
	case "tags_add_dup", "tags_delete":
		r.s.makeTags("tier0")
	case "hosts_recent_activity_search":
		r.s.Raise(AlertSpec{Host: win.identifier, Columns: map[string]string{
			"action": "PROC_CREATE", "path": `C:\Windows\notepad.exe`, "cmdline": "notepad.exe", "time": "1795317750",
		}})
	}
}

func TestHostExports(t *testing.T) {
	lines := func(r *rig, method string, body any) []string {
		t.Helper()
		w := r.send(method, "/hosts/export", body)
		if w.Code != 200 || w.Header().Get("Content-Type") != "text/csv; charset=utf-8" {
			t.Fatalf("%d %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
		}
		if !strings.HasPrefix(w.Header().Get("Content-Disposition"), "attachment; filename=") {
			t.Errorf("disposition %q", w.Header().Get("Content-Disposition"))
		}
		return strings.Split(strings.TrimSuffix(w.Body.String(), "\r\n"), "\r\n")
	}
	old := newRig(t, Options{Profile: "2.1.2", Hosts: 3})
	old.s.SetOnline("WIN-HR-01", false)
	want := []string{
		"Host_Identifier,os,last_ip,tags,id,health,platform",
		`WEB-01,Ubuntu,10.10.0.7,"['server', 'web']",3,True,ubuntu`,
		`WIN-HR-01,Microsoft Windows 11 Enterprise,10.10.0.6,"['workstation', 'hr']",2,False,windows`,
	}
	old.data2("PUT", "/hosts/1/delete", nil)
	if got := lines(old, "GET", nil); !slices.Equal(got, want) {
		t.Errorf("2.1.2:\n got %q\nwant %q", got, want)
	}
	if w := old.send("POST", "/hosts/export", obj{}); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("filtered export of 2.1.2: %d", w.Code)
	}

	r := newRig(t, Options{Hosts: 3})
	r.s.Raise(AlertSpec{Host: "WIN-HR-01"})
	r.data2("PUT", "/hosts/1/delete", nil)
	if got := lines(r, "GET", nil); len(got) != 4 || got[0] != "id,hostname,host identifier,state,health,alerts count,operating system,last ip,tags,platform" {
		t.Errorf("4.0: %q", got)
	}
	got := lines(r, "POST", obj{"enabled": true, "platform": "windows"})
	want = []string{
		"id,hostname,host identifier,last ip,tags,health,state,operating system,alerts count",
		"2,WIN-HR-01," + r.s.hosts[1].identifier + `,10.10.0.6,"['workstation', 'hr']",Unsafe,online,Microsoft Windows 11 Enterprise,1`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("filtered:\n got %q\nwant %q", got, want)
	}
	if got := lines(r, "POST", obj{"searchterm": "nobody", "alerts_count": false}); !slices.Equal(got, []string{""}) {
		t.Errorf("empty: %q", got)
	}
	if w := r.send("POST", "/hosts/export", obj{"alerts_count": false}); w.Code != 500 {
		t.Errorf("without counts: %d", w.Code)
	}
}

// data2 makes a call whose status is Success with a capital letter.
func (r *rig) data2(method, path string, body any) {
	r.t.Helper()
	if out := r.call(method, path, body); out["status"] != "Success" {
		r.t.Fatalf("%s %s: %v", method, path, out)
	}
}

func TestHostFilters(t *testing.T) {
	for _, tt := range []struct{ profile, body, ids string }{
		{"4.0", `{}`, "3 4 1 2"}, // the removed host 1 still counts as online
		{"4.0", `{"enabled": true}`, "3 4 2"},
		{"4.0", `{"enabled": false}`, "1"},
		{"4.0", `{"status": false}`, "2"},
		{"4.0", `{"status": "false"}`, "3 4 1"}, // the text is true
		{"4.0", `{"column": "state", "order_by": "asc"}`, "1 3 4 2"},
		{"4.0", `{"column": "health", "order_by": "Desc", "limit": 1}`, "3"},
		{"4.0", `{"column": "host"}`, "3 4 1 2"}, // nothing without order_by
		{"4.0", `{"searchterm": "SERV"}`, "3 4"},
		{"2.1.2", `{}`, "4 3 2"},
		{"2.1.2", `{"enabled": null}`, "1"},
		{"2.1.2", `{"enabled": false}`, "1"},
		{"2.1.2", `{"searchterm": "Domain-Controller"}`, "4"},
		{"2.1.2", `{"searchterm": "domain-contr"}`, ""}, // it wants tags whole
		{"2.1.2", `{"column": "nonsense"}`, "4 3 2"},
	} {
		t.Run(tt.profile+tt.body, func(t *testing.T) {
			r := newRig(t, Options{Profile: tt.profile, Hosts: 4})
			r.s.SetOnline("2", false)
			r.s.Raise(AlertSpec{Host: "3"})
			r.data2("PUT", "/hosts/1/delete", nil)
			if got := ids(r.results("/hosts", json.RawMessage(tt.body))); got != tt.ids {
				t.Errorf("got %q, want %q", got, tt.ids)
			}
		})
	}
}

// TestHostRefs: a path takes an id or an identifier, and no name.
func TestHostRefs(t *testing.T) {
	r := newRig(t, Options{Hosts: 2})
	for ref, want := range map[string]string{
		"1": "success", r.s.hosts[0].identifier: "success", r.s.hosts[0].nodeKey: "success",
		"WIN-FIN-01": "failure", "0": "failure", "99": "failure", "99999999999999999999": "failure",
	} {
		if got := r.call("GET", "/hosts/"+ref+"/tags", nil)["status"]; got != want {
			t.Errorf("%s: %v, want %s", ref, got, want)
		}
	}
}

func TestHostsInBulk(t *testing.T) {
	for _, tt := range []struct {
		name, method, path string
		body               obj
		status             string // empty for HTTP 500
		states             string
	}{
		{"remove", "PUT", "/hosts/delete", obj{"node_ids": "2,3,99"}, "Success", "111"},
		{"nothing to remove", "PUT", "/hosts/delete", obj{"node_ids": "1"}, "failure", "100"},
		{"nobody", "PUT", "/hosts/delete", obj{"node_ids": ""}, "failure", "100"},
		{"both lists", "PUT", "/hosts/delete", obj{"node_ids": "2,3", "host_identifiers": "#3,#1"}, "Success", "101"},
		{"blank", "PUT", "/hosts/delete", obj{"host_identifiers": "#2, #3"}, "Success", "110"},
		{"no number", "PUT", "/hosts/delete", obj{"node_ids": "2,x"}, "", "100"},
		{"enable", "POST", "/hosts/enable", obj{"node_ids": "1,2"}, "Success", "000"},
		{"delete", "DELETE", "/hosts/delete", obj{"node_ids": "1,2"}, "Success", "00"},
		{"delete active ones", "DELETE", "/hosts/delete", obj{"node_ids": "2,3"}, "failure", "100"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, Options{Hosts: 3})
			r.data2("PUT", "/hosts/1/delete", nil)
			for key, text := range tt.body {
				for i, h := range r.s.hosts {
					text = strings.ReplaceAll(text.(string), fmt.Sprintf("#%d", i+1), h.identifier)
				}
				tt.body[key] = text
			}
			w := r.send(tt.method, tt.path, tt.body)
			switch {
			case tt.status == "" && w.Code != http.StatusInternalServerError,
				tt.status != "" && !strings.Contains(w.Body.String(), `"status":"`+tt.status+`"`):
				t.Errorf("%d %s, want %s", w.Code, w.Body, tt.status)
			}
			states := ""
			for _, h := range r.s.Hosts() {
				states += fmt.Sprint(h.State)
			}
			if states != tt.states {
				t.Errorf("states %s, want %s", states, tt.states)
			}
		})
	}
}

// TestHiddenAlerts counts while hosts go and come back, late alerts included.
func TestHiddenAlerts(t *testing.T) {
	r := newRig(t, Options{Profile: "2.1.2", Hosts: 3})
	first := r.s.Raise(AlertSpec{Host: "1", Rule: "Encoded PowerShell", Separate: true})
	r.s.Raise(AlertSpec{Host: "1", Rule: "Encoded PowerShell", Separate: true})
	r.s.Raise(AlertSpec{Host: "2", Rule: "Encoded PowerShell", Separate: true})
	r.s.Inject(Fault{Kind: LateAlert, Delay: time.Second})
	r.s.Raise(AlertSpec{Host: "1", Rule: "Encoded PowerShell", Separate: true})
	counts := func() string {
		data := r.data("POST", "/alerts", obj{}).(obj)
		sum := 0.0
		for _, source := range r.data("GET", "/alerts/count_by_source", nil).(obj)["alert_source"].([]any) {
			sum += source.(obj)["count"].(float64)
		}
		return fmt.Sprint(data["count"], data["total_count"], len(data["results"].([]any)), sum, r.s.ruleNamed("Encoded PowerShell", rule{}).open)
	}
	if got := counts(); got != "3 3 3 3 3" {
		t.Fatal(got)
	}
	r.data2("PUT", "/hosts/1/delete", nil)
	r.wait(2 * time.Second) // the late alert comes to a removed host
	if got := counts(); got != "1 1 1 1 1" {
		t.Errorf("removed: %s", got)
	}
	r.data("PUT", "/alerts", obj{"alert_ids": []int64{first}, "resolve": true}) // out of sight, and yet it can be resolved
	if got := counts(); got != "1 1 1 1 1" {
		t.Errorf("resolved: %s", got)
	}
	spread := r.data("GET", "/hosts/1/alerts/distribution", nil).(obj)["sources"].(obj)["rule"].(obj)
	if spread["TOTAL"] != 2.0 || spread["WARNING"] != 2.0 {
		t.Errorf("distribution: %v", spread)
	}
	r.data2("PUT", "/hosts/1/enable", nil)
	if got := counts(); got != "3 3 3 3 3" {
		t.Errorf("back: %s", got)
	}
	r.data2("DELETE", "/hosts/1/delete", nil)
	if got := counts(); got != "1 1 1 1 1" {
		t.Errorf("deleted: %s", got)
	}
	if w := r.send("GET", fmt.Sprintf("/alerts/%d", first), nil); w.Code != 500 {
		t.Errorf("alert of a deleted host: %d %s", w.Code, w.Body)
	}
}

func TestEveryHostDeleted(t *testing.T) {
	r := newRig(t, Options{Hosts: 1})
	r.data2("DELETE", "/hosts/1/delete", nil)
	if id := r.s.Raise(AlertSpec{}); id != 0 {
		t.Errorf("alert %d of nobody", id)
	}
	if err := r.s.Play(t.Context(), "noise"); err == nil {
		t.Error("a scenario without hosts")
	}
	if err := r.s.RaiseLoad(AlertSpec{}, 1, 0); err == nil {
		t.Error("a load without hosts")
	}
	if got := len(r.results("/hosts", obj{})); got != 0 {
		t.Errorf("%d hosts", got)
	}
}

func TestRecentActivity(t *testing.T) {
	for _, profile := range []string{"2.1.2", "4.0"} {
		t.Run(profile, func(t *testing.T) {
			r := newRig(t, Options{Profile: profile, Hosts: 2})
			query := r.s.queryName(r.s.hosts[0], map[string]string{"action": actProcess})
			for i := range 5 {
				r.s.Raise(AlertSpec{Host: "1", Detached: true, Columns: map[string]string{
					"action": actProcess, "cmdline": fmt.Sprintf("tool %d", i), "eventid": fmt.Sprint(i % 2),
				}})
			}
			body := func(more obj) obj {
				all := obj{"node_id": "1", "query_name": query}
				maps.Copy(all, more)
				return all
			}
			texts := func(more obj) string {
				t.Helper()
				var list []string
				for _, row := range r.results("/hosts/recent_activity", body(more)) {
					list = append(list, strings.TrimPrefix(row["columns"].(obj)["cmdline"].(string), "tool "))
					if _, has := row["id"]; has != (profile == "4.0") || row["timestamp"] != "11/22/2026 03/22/30" {
						t.Errorf("row %v", row)
					}
				}
				return strings.Join(list, " ")
			}
			check := func(more obj, old, v4 string) {
				t.Helper()
				want := v4
				if profile == "2.1.2" {
					want = old
				}
				if got := texts(more); got != want {
					t.Errorf("%v: got %q, want %q", more, got, want)
				}
			}
			lowest := r.s.hosts[0].reported(query)[4].id
			check(obj{}, "4 3 2 1 0", "4 3 2 1 0")
			check(obj{"start": 1, "limit": 2}, "3 2", "")
			check(obj{"start": lowest + 2, "limit": 5}, "1 0", "1 0")
			check(obj{"limit": 0}, "", "4 3 2 1 0")
			check(obj{"column_name": "eventid", "column_value": "1, 7"}, "4 3 2 1 0", "3 1")
			check(obj{"searchterm": "TOOL 3"}, "3", "3")
			check(obj{"searchterm": "cmdline"}, "", "4 3 2 1 0") // 4.0 looks into the JSON

			counts := r.data("POST", "/hosts/recent_activity", body(obj{"column_name": "eventid", "column_value": "1"})).(obj)
			if profile == "4.0" && fmt.Sprint(counts["count"], counts["total_count"], counts["categorized_count"]) != "2 5 2" {
				t.Errorf("counts %v", counts)
			}
			for _, more := range []obj{{"query_name": "o'brien"}, {"searchterm": "it's"}, {"start": -1}} {
				w := r.send("POST", "/hosts/recent_activity", body(more))
				if want := map[string]int{"2.1.2": 500, "4.0": 200}[profile]; w.Code != want {
					t.Errorf("%v: %d, want %d", more, w.Code, want)
				}
			}
			for _, more := range []obj{{"node_id": 0}, {"node_id": nil}, {"node_id": nil, "host_identifier": "NOPE"}} {
				if out := r.call("POST", "/hosts/recent_activity", body(more)); out["status"] != "failure" {
					t.Errorf("%v: %v", more, out)
				}
			}
			if out := r.results("/hosts/recent_activity", body(obj{"node_id": 99})); len(out) != 0 {
				t.Errorf("unknown id: %v", out)
			}
		})
	}
}

// TestEventTable: a row of release 4.0 is as long as the header was when it was written.
func TestEventTable(t *testing.T) {
	events := []event{{entry: []byte(`{"pid":"1","path":"a"}`)}, {entry: []byte(`{"pid":"2","md5":"x"}`)}, {entry: []byte(`{"path":"b"}`)}}
	for profile, want := range map[string]string{
		"4.0":   "pid path md5|1 a|2  x| b ",
		"2.1.2": "pid path|1 a|2 | b",
	} {
		header, rows := newServer(t, Options{Profile: profile}).eventTable(events)
		lines := []string{strings.Join(header, " ")}
		for _, row := range rows {
			lines = append(lines, strings.Join(row, " "))
		}
		if got := strings.Join(lines, "|"); got != want {
			t.Errorf("%s: got %q, want %q", profile, got, want)
		}
	}
}

// TestFullConfigOfRelease2 has no capture to be compared with: the server that was
// recorded had no config in use.
func TestFullConfigOfRelease2(t *testing.T) {
	r := newRig(t, Options{Profile: "2.1.2", Hosts: 1})
	config := r.data("POST", "/hosts/config", obj{"node_id": 1}).(obj)
	if got := strings.Join(slices.Sorted(maps.Keys(config)), " "); got != "file_paths filters options packs queries" {
		t.Errorf("keys %s", got)
	}
	if len(config["queries"].(obj)) == 0 || config["options"].(obj)["host_identifier"] != "uuid" {
		t.Errorf("config %v", config)
	}
	for _, body := range []obj{{}, {"node_id": 9}, {"host_identifier": "NOPE"}} {
		for _, path := range []string{"/hosts/config", "/hosts/additional_config"} {
			if out := r.call("POST", path, body); out["status"] != "failure" {
				t.Errorf("%s %v: %v", path, body, out)
			}
		}
	}
}

func TestStatusLogExport(t *testing.T) {
	r := newRig(t, Options{Hosts: 2})
	for _, body := range []obj{{}, {"host_identifier": "NOPE"}} {
		if w := r.send("POST", "/hosts/status_log/export", body); w.Code != 500 {
			t.Errorf("%v: %d %s", body, w.Code, w.Body)
		}
	}
	start := func(body obj) (task string) {
		out := r.call("POST", "/hosts/status_log/export", body)
		if out["status"] != "Success" {
			t.Fatalf("%v: %v", body, out)
		}
		return out["data"].(obj)["task_id"].(string)
	}
	known, unknown := start(obj{"node_id": 2}), start(obj{"node_id": 99})
	if frames := r.s.hostUpkeep.exports[known].frames; len(frames) != 0 {
		t.Errorf("written at once: %s", frames)
	}
	r.wait(time.Second)
	told := func(task string) (frame map[string]string) {
		if err := json.Unmarshal(r.s.hostUpkeep.exports[task].frames[0], &frame); err != nil {
			t.Fatal(err)
		}
		return frame
	}
	if frame := told(unknown); frame["status"] != "Failure" || frame["download_path"] != "" {
		t.Errorf("unknown host: %v", frame)
	}
	path, below := strings.CutPrefix(told(known)["download_path"], "https://example.com")
	if !below {
		t.Fatalf("frame %v", told(known))
	}
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r.s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil)) // without a token
		return w
	}
	w := get(path)
	lines := strings.Split(w.Body.String(), "\r\n")
	if w.Code != 200 || w.Header().Get("Content-Type") != typeFile || lines[0] != "line,message,severity,filename,created,version" {
		t.Errorf("%d %s: %s", w.Code, w.Header().Get("Content-Type"), lines[0])
	}
	if want := len(r.results("/hosts/status_logs", obj{"node_id": 2})); len(lines) != want+2 {
		t.Errorf("%d lines of %d logs", len(lines)-2, want)
	}
	if w := get("/downloads/status_log/other.csv"); w.Code != 404 {
		t.Errorf("unknown file: %d", w.Code)
	}
	r.wait(resultLifetime)
	if len(r.s.hostUpkeep.exports) != 0 {
		t.Error("a task outlives ten minutes")
	}
}

// TestExportSocket: what the websocket tells of an export it tells once.
func TestExportSocket(t *testing.T) {
	l := newLive(t, Options{Hosts: 1, CommandDelay: time.Millisecond})
	task := l.call("POST", "/hosts/status_log/export", obj{"node_id": 1})["data"].(obj)["task_id"].(string)
	dial := func(wanted string) *websocket.Conn {
		dialer := websocket.Dialer{TLSClientConfig: l.client.Transport.(*http.Transport).TLSClientConfig}
		conn, resp, err := dialer.DialContext(t.Context(), strings.Replace(l.s.URL(), "https", "wss", 1)+"/esp-ui/websocket/csv/export", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.WriteMessage(websocket.TextMessage, []byte(wanted)); err != nil {
			t.Fatal(err)
		}
		if kind, text, err := conn.ReadMessage(); err != nil || kind != websocket.TextMessage || !strings.HasSuffix(string(text), wanted) {
			t.Fatalf("%d %q %v", kind, text, err)
		}
		return conn
	}
	conn := dial(task)
	if kind, frame, err := conn.ReadMessage(); err != nil || kind != websocket.BinaryMessage || !bytes.Contains(frame, []byte("/downloads/status_log/")) {
		t.Fatalf("%d %q %v", kind, frame, err)
	}
	l.s.mu.Lock()
	left := len(l.s.hostUpkeep.exports[task].frames)
	l.s.mu.Unlock()
	if left != 0 {
		t.Errorf("%d frames are left", left)
	}
	if _, frame, err := dial("no-such-task").ReadMessage(); err == nil {
		t.Errorf("an unknown task tells %q", frame)
	}
}

func TestTagRules(t *testing.T) {
	long := strings.Repeat("x", 64)
	for _, tt := range []struct {
		profile, tag string
		ok           bool
	}{
		{"4.0", "a", true}, {"4.0", "A-Z_0.9@x", true}, {"4.0", long[:63], true}, {"4.0", " a ", true},
		{"4.0", "", false}, {"4.0", " ", false}, {"4.0", long, false}, {"4.0", "a,b", false}, {"4.0", "ä", false},
		{"2.1.2", "a,b", true}, {"2.1.2", "ä", true}, {"2.1.2", long, true}, {"2.1.2", " ", false},
	} {
		r := newRig(t, Options{Profile: tt.profile, Hosts: 1})
		for _, path := range []string{"/tags/add", "/hosts/1/tags"} {
			if path == "/hosts/1/tags" {
				r.s.dropTag(strings.TrimSpace(tt.tag))
			}
			if out := r.call("POST", path, obj{"tag": tt.tag}); (out["status"] == "success") != tt.ok {
				t.Errorf("%s %s %q: %v", tt.profile, path, tt.tag, out)
			}
		}
	}
}

func TestTagsDelete(t *testing.T) {
	r := newRig(t, Options{Hosts: 3})
	r.data("POST", "/tags/add", obj{"tag": "tier0"})
	out := r.call("POST", "/tags/delete", obj{"tag": "tier0,never-heard-of,hr"})
	if out["status"] != "failure" || r.s.hasTag("tier0") || !r.s.hasTag("hr") {
		t.Errorf("list: %v, left %v", out, r.s.tags.known)
	}
	r.data("POST", "/tags/delete", obj{"tag": "hr,finance"})
	if got := r.s.Hosts()[0].Tags; !slices.Equal(got, []string{"workstation"}) {
		t.Errorf("tags of a host: %v", got)
	}
	if w := r.send("GET", "/tags?limit=-1", nil); w.Code != 400 {
		t.Errorf("negative limit: %d", w.Code)
	}
	old := newRig(t, Options{Profile: "2.1.2", Hosts: 3})
	old.data("POST", "/tags/delete", obj{"tag": "hr,finance"}) // one name, which nobody has
	if !old.s.hasTag("hr") {
		t.Error("release 2.1.2 knows lists")
	}
}

// TestTagsOfEverything: tags of packs and queries are tags like those of hosts.
func TestTagsOfEverything(t *testing.T) {
	r := newRig(t, Options{Hosts: 1})
	pack, query := r.s.packs.all[0], r.s.scheduled.all[0]
	pack.tags, query.tags = []string{"night"}, []string{"night", "finance"}
	rows := r.data("GET", "/tags?searchterm=night", nil).(obj)["results"].([]any)
	if len(rows) != 1 || fmt.Sprint(rows[0].(obj)["packs"], rows[0].(obj)["queries"]) != fmt.Sprintf("[%s] [%s]", pack.name, query.name) {
		t.Errorf("rows %v", rows)
	}
	tagged := r.data("POST", "/tags/tagged", obj{"tags": "night"}).(obj)
	if len(tagged["hosts"].([]any)) != 0 || tagged["packs"].([]any)[0].(obj)["name"] != pack.name || tagged["queries"].([]any)[0].(obj)["sql"] != query.sql {
		t.Errorf("tagged %v", tagged)
	}
	config := r.data("POST", "/hosts/additional_config", obj{"node_id": 1}).(obj)
	queries := config["queries"].([]any)
	if len(queries) != 1 || queries[0].(obj)["query"] != query.sql || queries[0].(obj)["sql"] != nil {
		t.Errorf("queries %v", queries)
	}
	r.data("POST", "/tags/delete", obj{"tag": "night"})
	if len(pack.tags) != 0 || !slices.Equal(query.tags, []string{"finance"}) {
		t.Errorf("left: %v %v", pack.tags, query.tags)
	}
}

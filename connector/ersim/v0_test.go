package ersim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/erbridge/erbridge/connector/catalogue"
)

// The calls of API v0 that release 2.1.2 has given up. Where their path goes on
// serving another method, the answer is 405.
var givenUp = []string{
	"v0-node-config", "v0-node-config-assign", "v0-node-config-remove", "v0-configs-get", "v0-configs-add", "v0-configs-update",
	"v0-configs-platform-get", "v0-response", "v0-response-get", "v0-response-add-file", "v0-response-add-process",
}

// v0 makes a call of API v0 that is answered with JSON.
func (r *rig) v0(method, path string, body any) obj {
	r.t.Helper()
	return r.object(r.sendTo(r.s.profile.base0+path, method, body))
}

// v0Data makes a call of API v0 that must succeed and returns its data.
func (r *rig) v0Data(method, path string, body any) any {
	r.t.Helper()
	out := r.v0(method, path, body)
	if out["status"] != "success" {
		r.t.Fatalf("%s %s %v: %v", method, path, body, out)
	}
	return out["data"]
}

// v0Fails makes a call of API v0 that must be refused in the usual way.
func (r *rig) v0Fails(method, path string, body any) {
	r.t.Helper()
	w := r.sendTo(r.s.profile.base0+path, method, body)
	if out := r.object(w); w.Code != http.StatusOK || out["status"] != "failure" || out["message"] == "" {
		r.t.Errorf("%s %s %v: %d %v", method, path, body, w.Code, out)
	}
}

// bothProfiles runs a test against both servers that have API v0.
func bothProfiles(t *testing.T, test func(t *testing.T, r *rig)) {
	for _, profile := range []string{"2.1.2", "2.0"} {
		t.Run(profile, func(t *testing.T) { test(t, newRig(t, Options{Profile: profile, Hosts: 5})) })
	}
}

var v0Part = regexp.MustCompile(`\{[^}]*\}`)

func TestV0HasEveryCall(t *testing.T) {
	older, later := newServer(t, Options{Profile: "2.0"}), newServer(t, Options{Profile: "2.1.2"})
	has := func(s *Server, call *catalogue.Call) bool {
		for _, a := range s.apis {
			if a.base == s.profile.base0 && slices.ContainsFunc(a.routes, func(r route) bool {
				return r.id == call.ID && r.method == call.Method && v0Part.ReplaceAllString(r.path, "{}") == v0Part.ReplaceAllString(call.Path, "{}")
			}) {
				return true
			}
		}
		return false
	}
	sections := catalogue.Sections()
	v0 := sections[slices.IndexFunc(sections, func(s catalogue.Section) bool { return s.Name == "v0" })].Calls
	for i := range v0 {
		if call := &v0[i]; !has(older, call) {
			t.Errorf("2.0 has no %s", call.ID)
		} else if has(later, call) == slices.Contains(givenUp, call.ID) {
			t.Errorf("2.1.2 has %s: %t", call.ID, has(later, call))
		}
	}
	if len(v0) != 71 {
		t.Errorf("the catalogue has %d calls of v0", len(v0))
	}
}

func TestV0Paths(t *testing.T) {
	for _, tt := range []struct {
		profile, method, path string
		status                int
		kind                  string
	}{
		{"2.1.2", "GET", "/services/api/v0/nodes/", 200, typeJSON},
		{"2.1.2", "HEAD", "/services/api/v0/nodes/", 200, typeJSON},
		{"2.1.2", "GET", "/services/api/v0/nodes", 308, typeHTML},
		{"2.1.2", "POST", "/services/api/v0/alerts", 308, typeHTML},
		{"2.1.2", "GET", "/services/api/v0/alerts", 405, typeJSON},
		{"2.1.2", "GET", "/services/api/v0/login", 405, typeHTML},
		{"2.1.2", "GET", "/services/api/v0/nosuch", 404, typeHTML},
		{"2.1.2", "GET", "/services/api/v0/apikeys/", 404, typeHTML},
		{"2.1.2", "GET", "/services/api/v0/queries/abc", 404, typeHTML},
		{"2.1.2", "GET", "/services/api/v0/response", 404, typeHTML},
		{"2.1.2", "POST", "/services/api/v0/response/add", 404, typeHTML},
		{"2.1.2", "POST", "/services/api/v0/nodes/config/assign", 404, typeHTML},
		{"2.1.2", "GET", "/services/api/v0/configs/windows", 405, typeJSON},
		{"2.1.2", "GET", "/services/api/v1/hosts/count", 200, typeJSON},
		{"2.0", "GET", "/services/api/v0/nodes/", 200, typeJSON},
		{"2.0", "GET", "/services/api/v0/response", 200, typeJSON},
		{"2.0", "GET", "/services/api/v1/hosts/count", 404, typeHTML},
		{"2.0", "POST", "/services/api/v1/login", 404, typeHTML},
		{"2.0", "GET", "/esp-ui/services/api/v1/hosts/count", 200, typeHTML}, // the console
		{"4.0", "GET", "/esp-ui/services/api/v0/nodes/", 404, typeHTML},
		{"4.0", "POST", "/esp-ui/services/api/v0/login", 404, typeHTML},
		{"4.0", "GET", "/services/api/v0/nodes/", 200, typeHTML}, // the console
	} {
		t.Run(tt.profile+" "+tt.method+" "+tt.path, func(t *testing.T) {
			w := newRig(t, Options{Profile: tt.profile}).sendTo(tt.path, tt.method, nil)
			if got, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";"); w.Code != tt.status || got != tt.kind {
				t.Errorf("got %d %s, want %d %s", w.Code, got, tt.status, tt.kind)
			}
		})
	}
}

// A redirect keeps the method and the query, and counts as no call.
func TestV0Redirect(t *testing.T) {
	r := newRig(t, Options{Profile: "2.0"})
	w := r.send("GET", "/nodes?platform=windows", nil)
	if got := w.Header().Get("Location"); w.Code != http.StatusPermanentRedirect || got != "https://example.com/services/api/v0/nodes/?platform=windows" {
		t.Errorf("%d to %q", w.Code, got)
	}
	if calls := r.s.Calls(); calls["v0-nodes"] != 0 || calls["v0-login"] != 1 {
		t.Error(calls)
	}
}

func TestV0Login(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		if out := r.v0("POST", "/login", obj{"username": "admin", "password": "admin"}); keys(out) != "token" {
			t.Error(out)
		}
		r.v0Fails("POST", "/login", obj{"username": "admin", "password": "wrong"})
		if w := r.sendTo(r.s.profile.base0+"/login", "POST", obj{"username": "admin"}); w.Code != http.StatusInternalServerError {
			t.Error(w.Code)
		}
		r.v0Fails("POST", "/changepw", obj{"old_password": "admin", "new_password": "a", "confirm_new_password": "b"})
		r.v0Fails("POST", "/changepw", obj{"old_password": "wrong", "new_password": "a", "confirm_new_password": "a"})
		r.v0Data("POST", "/changepw", obj{"old_password": "admin", "new_password": "other", "confirm_new_password": "other"})
		r.v0Fails("POST", "/login", obj{"username": "admin", "password": "admin"})
		r.clock.add(time.Second) // else it were the same token once more
		r.token, _ = r.v0("POST", "/login", obj{"username": "admin", "password": "other"})["token"].(string)
		r.v0Data("POST", "/logout", nil)
		w := r.sendTo(r.s.profile.base0+"/nodes/", "GET", nil)
		if out := r.object(w); w.Code != http.StatusUnauthorized || below(out, "message", "message") != tokenExpired {
			t.Errorf("after the logout: %d %.200v", w.Code, out)
		}
	})
}

func TestV0ArgumentErrors(t *testing.T) {
	r := newRig(t, Options{Profile: "2.1.2"})
	w := r.sendTo("/services/api/v0/distributed/add", "POST", obj{})
	if out := r.object(w); w.Code != http.StatusBadRequest || keys(out) != "errors message" || keys(out["errors"]) != "query" {
		t.Errorf("%d %v", w.Code, out)
	}
	w = r.sendTo("/services/api/v0/alerts/", "POST", obj{"rule_id": "many"})
	if out := r.object(w); w.Code != http.StatusBadRequest || keys(out["errors"]) != "rule_id" {
		t.Errorf("%d %v", w.Code, out)
	}
}

func TestV0Nodes(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		first := r.s.Hosts()[0]
		rows := r.v0Data("GET", "/nodes/", nil).([]any)
		if len(rows) != 5 || rows[4].(obj)["host_identifier"] != first.Identifier {
			t.Fatalf("%d nodes, the last one %v", len(rows), rows[len(rows)-1])
		}
		one := r.v0Data("GET", "/nodes/"+strings.ToLower(first.Identifier), nil).(obj)
		wantRow := "arch enrolled_on host_identifier id last_checkin network_info node_info os_info tags"
		wantOne := "enrolled_on host_identifier id last_checkin network_info node_info os_info system_data tags"
		enrolled := `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d`
		if r.s.older() {
			wantRow = "enrolled_on host_identifier id last_checkin network_info node_info node_key os_info tags"
			wantOne, enrolled = wantRow, `^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$`
			if keys(one["network_info"]) != "mac_address" {
				t.Error(one["network_info"])
			}
		}
		if keys(rows[0]) != wantRow || keys(one) != wantOne || !regexp.MustCompile(enrolled).MatchString(one["enrolled_on"].(string)) {
			t.Errorf("row %s\none %s, enrolled %v", keys(rows[0]), keys(one), one["enrolled_on"])
		}
		r.v0Fails("GET", "/nodes/nosuch", nil)
		r.v0Fails("GET", "/nodes/1", nil) // the id is no identifier here
		r.s.SetOnline(first.Identifier, false)
		if rows := r.v0Data("GET", "/nodes/?platform=windows&state=false", nil).([]any); len(rows) != 1 {
			t.Errorf("%d offline Windows nodes", len(rows))
		}
		if rows := r.v0Data("GET", "/nodes/?platform=solaris", nil).([]any); len(rows) != 0 {
			t.Error(rows)
		}
	})
}

// Tags that were set through v0 are seen by the rest of the server.
func TestV0NodeTags(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		node := r.s.Hosts()[0].Identifier
		r.s.SetTags(node, "finance", "old")
		r.v0Data("POST", "/nodes/tag/edit", obj{"host_identifier": node, "add_tags": "new, finance", "remove_tags": "old,unknown"})
		if tags := fmt.Sprint(r.v0Data("GET", "/nodes/"+node+"/tags", nil)); tags != "[finance new]" {
			t.Errorf("after the edit: %s", tags)
		}
		r.v0Data("POST", "/nodes/"+node+"/tags", obj{"tags": "a,b"})
		if tags := fmt.Sprint(r.s.Hosts()[0].Tags); tags != "[finance new a b]" {
			t.Errorf("after adding: %s", tags)
		}
		if r.s.older() {
			r.v0Data("POST", "/nodes/tag/edit", obj{"host_identifier": node, "remove_tags": []string{"a", "b"}})
			if tags := fmt.Sprint(r.s.Hosts()[0].Tags); tags != "[finance new]" {
				t.Errorf("after removing an array: %s", tags)
			}
		} else {
			if tags := fmt.Sprint(r.data("GET", "/hosts/"+node+"/tags", nil)); tags != "[finance new a b]" {
				t.Errorf("through v1: %s", tags)
			}
			r.v0Data("POST", "/nodes/"+node+"/tags", obj{"tags": []string{"x", "y"}})
			if tags := r.s.Hosts()[0].Tags; !slices.Contains(tags, "x") || slices.Contains(tags, "y") {
				t.Errorf("an array is more than its first element: %v", tags)
			}
			if w := r.sendTo("/services/api/v0/nodes/tag/edit", "POST", obj{"host_identifier": node, "add_tags": "z"}); w.Code != http.StatusInternalServerError {
				t.Errorf("without remove_tags: %d", w.Code)
			}
		}
		r.v0Fails("GET", "/nodes/nosuch/tags", nil)
		r.v0Fails("POST", "/nodes/nosuch/tags", obj{"tags": "a"})
		r.v0Fails("POST", "/nodes/tag/edit", obj{"host_identifier": "nosuch", "add_tags": "a", "remove_tags": ""})
	})
}

func TestV0Alerts(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		node := r.s.Hosts()[0].Identifier
		first := r.s.Raise(AlertSpec{Host: node, Rule: "Credential dumping"})
		r.s.Raise(AlertSpec{Host: node, Source: "virustotal", Intel: map[string]any{"total": 70}})
		r.s.Raise(AlertSpec{Host: r.s.Hosts()[1].Identifier, Rule: "Credential dumping"})

		rows := r.v0Data("POST", "/alerts/", obj{"host_identifier": node}).([]any)
		if len(rows) != 2 {
			t.Fatalf("%d alerts", len(rows))
		}
		one, feed := rows[0].(obj), rows[1].(obj)
		want := "created_at message node_id query_name recon_queries rule rule_id severity source status type"
		wantFeed := "created_at message node_id query_name severity source type"
		if r.s.older() {
			want = "created_at id message node_id query_name recon_queries rule rule_id severity source sql status type"
			wantFeed = want
			if created := one["created_at"].(string); !strings.HasSuffix(created, " GMT") || one["id"] != float64(first) {
				t.Error(created, one["id"])
			}
		}
		if keys(one) != want || keys(feed) != wantFeed {
			t.Errorf("\nrule %s\nfeed %s", keys(one), keys(feed))
		}
		ruleID := one["rule_id"]
		for name, tt := range map[string]struct {
			filter obj
			count  int
		}{
			"rule":          {obj{"rule_id": ruleID}, 2},
			"rule and node": {obj{"rule_id": ruleID, "host_identifier": node}, 1},
			"query":         {obj{"query_name": one["query_name"], "host_identifier": node}, 2},
		} {
			if rows := r.v0Data("POST", "/alerts/", tt.filter).([]any); len(rows) != tt.count {
				t.Errorf("%s: %d alerts", name, len(rows))
			}
		}
		r.v0Fails("POST", "/alerts/", obj{})
		r.v0Fails("POST", "/alerts/", obj{"host_identifier": "nosuch"})
		r.v0Fails("POST", "/alerts/", obj{"rule_id": 999})

		data := r.v0Data("GET", fmt.Sprintf("/alerts/data/%d", first+1), nil).(obj)
		if below(data, "source_data", "total") != 70.0 {
			t.Error(data)
		}
		r.v0Fails("GET", "/alerts/data/99", nil)
	})
}

// A live query that was made through v0 is answered on the socket, and starts
// carves that v0 lists.
func TestV0LiveQuery(t *testing.T) {
	for _, profile := range []string{"2.1.2", "2.0"} {
		t.Run(profile, func(t *testing.T) {
			l := newLive(t, Options{Profile: profile, Hosts: 3, CommandDelay: 1})
			node := l.s.Hosts()[2].Identifier
			out := l.v0("POST", "/distributed/add", obj{"query": "select path from carves where path='/etc/passwd' and carve=1;", "nodes": node})
			if keys(out) != "message query_id status" {
				t.Fatal(out)
			}
			if _, text := out["query_id"].(string); text != l.s.older() {
				t.Errorf("query_id is %T", out["query_id"])
			}
			id := fmt.Sprint(out["query_id"])
			dialer := websocket.Dialer{TLSClientConfig: l.client.Transport.(*http.Transport).TLSClientConfig}
			conn, res, err := dialer.DialContext(t.Context(), "wss"+strings.TrimPrefix(l.s.URL(), "https")+"/distributed/result", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _, _ = res.Body.Close(), conn.Close() }()
			if err := conn.WriteMessage(websocket.TextMessage, []byte(id)); err != nil {
				t.Fatal(err)
			}
			if kind, _, err := conn.ReadMessage(); err != nil || kind != websocket.TextMessage {
				t.Fatal("no acknowledgement", kind, err)
			}
			_, frame, err := conn.ReadMessage()
			var got obj
			if err != nil || json.Unmarshal(frame, &got) != nil || keys(got["node"]) != "id name" || got["status"] != 0.0 {
				t.Fatalf("%s, %v", frame, err)
			}
			one := l.v0Data("GET", "/carves/query/"+id+"/"+node, nil).(obj)
			if two := l.v0Data("POST", "/carves/query", obj{"query_id": id, "host_identifier": node}).(obj); two["session_id"] != one["session_id"] {
				t.Error(two)
			}
			l.v0Fails("GET", "/carves/query/99/"+node, nil)
			l.v0Fails("GET", "/carves/query/"+id+"/nosuch", nil)
			l.v0Fails("GET", "/carves/query/"+id+"/"+l.s.Hosts()[0].Identifier, nil)
		})
	}
}

func TestV0LiveQueryTargets(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		const sql = "select pid from processes;"
		add := func(body obj) obj { body["query"] = sql; return r.v0("POST", "/distributed/add", body) }
		r.v0Fails("POST", "/distributed/add", obj{"query": "select nonsense"})
		if out := add(obj{"nodes": "nosuch"}); out["message"] != noActive {
			t.Error(out)
		}
		hosts := r.s.Hosts()
		pair := []string{hosts[0].Identifier, hosts[1].Identifier}
		waiting := func(out obj) int {
			r.wait(r.s.opts.CommandDelay)
			for id, q := range r.s.queries {
				if fmt.Sprint(id) == fmt.Sprint(out["query_id"]) {
					return len(q.frames)
				}
			}
			t.Fatalf("no query: %v", out)
			return 0
		}
		if n := waiting(add(obj{})); n != len(hosts) {
			t.Errorf("without a target %d nodes answer", n)
		}
		want := 1
		if r.s.older() {
			want = 2
		}
		if n := waiting(add(obj{"nodes": pair})); n != want {
			t.Errorf("of an array %d nodes answer, want %d", n, want)
		}
		if n := waiting(add(obj{"nodes": strings.Join(pair, ",")})); n != 2 {
			t.Errorf("of a comma list %d nodes answer", n)
		}
	})
}

func TestV0Carves(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		node := r.s.Hosts()[2].Identifier
		if rows := r.v0Data("POST", "/carves/", obj{}).([]any); len(rows) != 0 {
			t.Error(rows)
		}
		r.v0("POST", "/distributed/add", obj{"query": "select * from carves where path='/etc/passwd' and carve=1;", "nodes": node})
		r.wait(r.s.opts.CommandDelay / 2)
		for len(r.s.Carves()) == 0 {
			r.wait(r.s.opts.CommandDelay)
		}
		row := r.v0Data("POST", "/carves/", obj{"host_identifier": node}).([]any)[0].(obj)
		want := "archive block_count block_size carve_guid carve_size created_at id node_id session_id"
		if r.s.older() {
			want = "archive block_count carve_guid carve_size created_at id node_id session_id"
		}
		if keys(row) != want || row["archive"] != nil {
			t.Errorf("%v", row)
		}
		download := r.s.profile.base0 + "/carves/download/" + row["session_id"].(string)
		if w := r.sendTo(download, "GET", nil); w.Code != http.StatusInternalServerError {
			t.Errorf("before the end: %d", w.Code)
		}
		r.wait(10 * r.s.opts.CommandDelay)
		row = r.v0Data("POST", "/carves/", nil).([]any)[0].(obj)
		w := r.sendTo(download, "GET", nil)
		if row["archive"] == nil || w.Code != http.StatusOK || float64(w.Body.Len()) != row["carve_size"] {
			t.Errorf("%d, %d bytes of %v", w.Code, w.Body.Len(), row)
		}
		r.v0Fails("GET", "/carves/download/NOSUCH", nil)
		r.v0Fails("POST", "/carves/", obj{"host_identifier": "nosuch"})
	})
}

func TestV0Response(t *testing.T) {
	r := newRig(t, Options{Profile: "2.0", Hosts: 3})
	host := r.s.Hosts()[0]
	command := func(action, target string, what obj) obj {
		return obj{"action": action, "actuator": obj{"endpoint": "polylogyx_vasp"}, "target": obj{target: what}}
	}
	device := obj{"hostname": host.Name}
	out := r.v0("POST", "/response/add", command("stop", "process", obj{
		"name": host.Processes[0].Name, "pid": host.Processes[0].PID, "device": obj{"hostname": host.IP},
	}))
	if keys(out) != "command_id message status" {
		t.Fatal(out)
	}
	missing := r.v0("POST", "/response/add", command("delete", "file", obj{"name": `C:\nosuch`, "hashes": obj{}, "device": device}))
	r.wait(4 * r.s.opts.CommandDelay)
	if calls := r.s.Calls(); calls["v0-response-add-process"] != 1 || calls["v0-response-add-file"] != 1 {
		t.Error(calls)
	}
	if now := r.s.Hosts()[0].Processes; len(now) != len(host.Processes)-1 {
		t.Errorf("%d of %d processes are left", len(now), len(host.Processes))
	}
	one := r.v0Data("GET", "/response/"+out["command_id"].(string), nil).(obj)
	var told obj
	if err := json.Unmarshal([]byte(one["command"].(string)), &told); err != nil || below(told, "target", "process", "device", "hostname") != host.IP {
		t.Errorf("%v: %v", one, err)
	}
	if keys(one) != "action command command_id id message status" || one["status"] != CommandSuccess {
		t.Error(one)
	}
	rows := r.v0Data("GET", "/response", nil).([]any)
	if last := rows[len(rows)-1].(obj); len(rows) != 2 || last["command_id"] != missing["command_id"] || last["message"] != codeNoFile {
		t.Error(rows)
	}
	r.v0Fails("GET", "/response/nosuch", nil)
	r.v0Fails("POST", "/response/add", command("stop", "process", obj{"name": "a", "device": obj{"hostname": "nosuch"}}))
	r.v0Fails("POST", "/response/add", command("stop", "file", obj{"name": "a", "device": device}))
	r.v0Fails("POST", "/response/add", command("delete", "file", obj{"device": device}))
	if w := r.send("POST", "/response/add", obj{"action": "format"}); w.Code != http.StatusBadRequest || keys(r.object(w)["errors"]) != "action actuator target" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

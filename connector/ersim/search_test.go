package ersim

import (
	"bytes"
	"fmt"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// prepareSearch adds what the captures of searches, hunts, indicators and rules
// were taken after.
func prepareSearch(s *Server, name string) {
	switch {
	case strings.HasPrefix(name, "rules_add"):
		for _, known := range []string{"Credential dumping", "C2 beacon"} {
			s.findRule(known).name += " of old"
		}
	case name == "iocs_get", name == "iocs_get_empty":
		s.iocs.rows = []indicator{{"bad-ips", "remote_address", "WARNING", "203.0.113.66"}, {"bad-ips", "remote_address", "WARNING", "203.0.113.67"}}
		if name == "iocs_get_empty" {
			s.iocs.rows = append(s.iocs.rows, indicator{"a-md5", "md5", "CRITICAL", "d41d8cd98f00b204e9800998ecf8427e"})
		}
	case strings.HasPrefix(name, "alert"), strings.HasPrefix(name, "hosts"):
	case strings.Contains(name, "search"), strings.Contains(name, "hunt"), strings.HasPrefix(name, "indicators"):
		for i := range 3 {
			s.Raise(AlertSpec{Host: s.hosts[0].identifier, Rule: "Credential dumping", Separate: true, Detached: true, Columns: map[string]string{
				"eid": fmt.Sprint("E", i), "md5": "44d88612fea8a8f36de82e1278abb02f", "pid": fmt.Sprint(4000 + i), "path": `C:\Users\bob\m.exe`,
				"time": "1795317750", "action": actProcess, "cmdline": fmt.Sprint("mimikatz.exe sekurlsa::logonpasswords ", i),
				"utc_time": "Sun Nov 22 03:22:00 2026 UTC", "owner_uid": `BUILTIN\Administrators`, "parent_pid": "1",
				"parent_path": `C:\Windows\explorer.exe`, "process_guid": fmt.Sprint("G", i), "parent_process_guid": "P",
			}})
		}
	}
}

// searchRig is a simulator with five events on two hosts.
func searchRig(t *testing.T, profile string) *rig {
	t.Helper()
	r := newRig(t, Options{Profile: profile, Seed: 3, Hosts: 3, AggregationWindow: -1})
	for i, columns := range []map[string]string{
		{"md5": "aa", "path": `C:\Users\bob\a_1.exe`, "eid": "0007", "process_name": "cmd.exe", "pid": "10"},
		{"md5": "bb", "path": `C:\Users\bob\ab1.exe`, "eid": "0008", "process_name": "CMD.EXE", "pid": "11"},
		{"md5": "aa", "path": `C:\Windows\100%.exe`, "eid": "7", "process_name": "powershell.exe", "pid": "12"},
		{"md5": "", "path": "/bin/sh", "remote_address": "203.0.113.66"},
		{"md5": "aa", "path": "/bin/ls", "version": "1.1"},
	} {
		host := r.s.hosts[i/3].identifier
		if id := r.s.Raise(AlertSpec{Host: host, Columns: columns, Detached: true, Query: fmt.Sprint("q", i%2)}); id == 0 {
			t.Fatal("no alert")
		}
		r.clock.add(time.Second)
	}
	return r
}

func leaf(field, operator string, value any) obj {
	return obj{"id": field, "field": field, "type": "string", "input": "text", "operator": operator, "value": value}
}

func tree(condition string, rules ...obj) obj {
	return obj{"condition": condition, "rules": append([]obj{}, rules...), "valid": true}
}

// counted is how many events a search counts, or the complaint.
func counted(r *rig, conditions any) string {
	r.t.Helper()
	w := r.send("POST", "/search", obj{"conditions": conditions})
	if w.Code != http.StatusOK {
		return fmt.Sprint("HTTP ", w.Code)
	}
	out := r.call("POST", "/search", obj{"conditions": conditions})
	if out["status"] != "success" {
		return fmt.Sprint(out["message"])
	}
	rows, _ := out["data"].([]any)
	n := 0
	for _, row := range rows {
		for _, q := range row.(obj)["queries"].([]any) {
			n += int(q.(obj)["count"].(float64))
		}
	}
	return fmt.Sprint(n)
}

func TestSearchConditions(t *testing.T) {
	for _, tt := range []struct {
		name       string
		conditions any
		v4, v2     string
	}{
		{"equal", tree("AND", leaf("md5", "equal", "aa")), "3", "3"},
		{"equal minds case", tree("AND", leaf("process_name", "equal", "cmd.exe")), "1", "1"},
		{"contains does not", tree("AND", leaf("process_name", "contains", "CMD")), "2", "2"},
		{"numbers lose their zeros", tree("AND", leaf("eid", "equal", "0007")), "1", "1"}, // the one that is 7
		{"fractions lose theirs", tree("AND", leaf("version", "equal", "1.10")), "1", "1"},
		{"a column that is not there", tree("AND", leaf("version", "not_equal", "x")), "1", "1"},
		{"is empty means absent", tree("AND", leaf("md5", "is_empty", nil)), "0", "0"},
		{"is not empty means present", tree("AND", leaf("pid", "is_not_empty", nil)), "3", "3"},
		{"percent is any text", tree("AND", leaf("path", "contains", "C:%exe")), "3", "3"},
		{"underscore is any character", tree("AND", leaf("path", "contains", "a_1")), "2", "2"},
		{"escaped underscore", tree("AND", leaf("path", "contains", `a\_1`)), "1", "1"},
		{"backslash takes the meaning", tree("AND", leaf("path", "contains", `C:\Users`)), "0", "0"},
		{"escaped backslash", tree("AND", leaf("path", "contains", `C:\\Users`)), "2", "2"},
		{"and", tree("AND", leaf("md5", "equal", "aa"), leaf("path", "contains", "exe")), "2", "2"},
		{"or of and", tree("OR", leaf("pid", "equal", "11"), tree("and", leaf("md5", "equal", "aa"), leaf("pid", "equal", "12"))), "2", "2"},
		{"column form", tree("AND", leaf("column", "column_equal", []any{"md5", "bb"})), "1", "1"},
		{"nothing", tree("AND", leaf("md5", "equal", "zz")), "0", "0"},
		{"begins_with is left out", tree("AND", leaf("path", "begins_with", "/nowhere")), "5", "0"},
		{"begins_with beside another", tree("AND", leaf("path", "begins_with", "/nowhere"), leaf("md5", "equal", "aa")), "3", "0"},
		{"less breaks", tree("AND", leaf("pid", "less", "11")), "HTTP 500", "HTTP 500"},
		{"less on what is not there", tree("AND", leaf("nothing", "less", "11")), "0", "0"},
		{"no rules", tree("AND"), "A group contains no rules", "A group contains no rules"},
		{"no group", obj{}, "'rules'", "'rules'"},
		{"unknown group", tree("XOR", leaf("md5", "equal", "x")), "Unknown condition: XOR", "Unknown condition: XOR"},
		{"group without a word", obj{"rules": []any{leaf("a", "equal", "b")}}, "'condition'", "'condition'"},
		{"unknown operator", tree("AND", leaf("md5", "matches_regex", "x")), "Unsupported operator: matches_regex", "Unsupported operator: matches_regex"},
		{"no operator", tree("AND", obj{"field": "md5", "value": "x"}), "'operator'", "'operator'"},
		{"short list", tree("AND", leaf("column", "column_equal", []any{"md5"})), "not enough values to unpack (expected 2, got 1)",
			"not enough values to unpack (expected 2, got 1)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := counted(searchRig(t, "4.0"), tt.conditions); got != tt.v4 {
				t.Errorf("4.0: got %s, want %s", got, tt.v4)
			}
			if got := counted(searchRig(t, "2.1.2"), tt.conditions); got != tt.v2 {
				t.Errorf("2.1.2: got %s, want %s", got, tt.v2)
			}
		})
	}
}

func TestSearchRows(t *testing.T) {
	r := searchRig(t, "4.0")
	host := r.s.hosts[0].identifier
	all := tree("AND", leaf("path", "is_not_empty", nil))
	search := func(extra obj) obj {
		extra["conditions"] = all
		return r.call("POST", "/search", extra)
	}
	if out := search(obj{"host_identifier": host}); out["message"] != "Please provide the query name" {
		t.Errorf("without query: %v", out)
	}
	data := search(obj{"host_identifier": host, "query_name": "q0", "start": 1, "limit": 1})["data"].(obj)
	if rows := data["results"].([]any); data["count"] != 2.0 || len(rows) != 1 || rows[0].(obj)["pid"] != "12" {
		t.Errorf("second row: %v", data)
	}
	data = search(obj{"host_identifier": strings.ToLower(host), "query_name": "q0"})["data"].(obj)
	if data["count"] != 0.0 || len(data["results"].([]any)) != 0 {
		t.Errorf("the identifier in lower case is another: %v", data)
	}
	if out := r.call("POST", "/search", obj{"conditions": tree("AND", leaf("md5", "equal", "zz"))}); len(out["data"].(obj)) != 0 {
		t.Errorf("nothing found: %v", out)
	}
}

func TestActivitySearch(t *testing.T) {
	anything := tree("OR", leaf("md5", "equal", "aa"), leaf("md5", "equal", "bb"))
	ask := func(r *rig, extra obj) obj {
		extra["conditions"] = anything
		return r.call("POST", "/activity/search", extra)
	}
	found := func(r *rig, extra obj) string {
		r.t.Helper()
		data, ok := ask(r, extra)["data"].(obj)
		if !ok {
			r.t.Fatalf("no data for %v", extra)
		}
		var rows []obj
		for _, row := range data["results"].([]any) {
			rows = append(rows, row.(obj))
		}
		return fmt.Sprint(data["count"], ": ", ids(rows))
	}
	new4, old := searchRig(t, "4.0"), searchRig(t, "2.1.2")
	for _, tt := range []struct {
		name   string
		extra  obj
		v4, v2 string
	}{
		{"all", obj{}, "4: 5 3 2 1", "4: 5 3 2 1"},
		{"start", obj{"start": 3, "limit": 1}, "4: 2", "4: 1"}, // an id, and an offset
		{"query", obj{"query_name": "q1"}, "1: 2", "1: 2"},
		{"host", obj{"host_identifier": new4.s.hosts[0].identifier}, "3: 3 2 1", "3: 3 2 1"},
		{"unknown host is all hosts", obj{"host_identifier": "nobody"}, "4: 5 3 2 1", "4: 5 3 2 1"},
		{"last hour of the day", obj{"date": "2026-11-22", "duration": 1}, "0: ", "0: "},
		{"day", obj{"date": "2026-11-22", "duration": 2}, "4: 5 3 2 1", "4: 5 3 2 1"},
		{"day before", obj{"date": "2026-11-21", "duration": 2}, "0: ", "0: "},
		{"from the day on leaves the day out", obj{"date": "2026-11-22", "type": 1}, "0: ", "0: "},
		{"from the day before on", obj{"date": "2026-11-21", "type": "1"}, "4: 5 3 2 1", "4: 5 3 2 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := found(new4, tt.extra); got != tt.v4 {
				t.Errorf("4.0: got %q, want %q", got, tt.v4)
			}
			if got := found(old, tt.extra); got != tt.v2 {
				t.Errorf("2.1.2: got %q, want %q", got, tt.v2)
			}
		})
	}
	out := new4.call("POST", "/activity/search", obj{"conditions": tree("AND", leaf("name", "contains", "EC2"))})
	if out["message"] != "Unsupported column 'name'" {
		t.Errorf("column: %v", out)
	}
	// The default day is the one on which the server started.
	new4.clock.add(48 * time.Hour)
	new4.s.Raise(AlertSpec{Columns: map[string]string{"md5": "aa"}, Detached: true})
	if got := found(new4, obj{}); got != "4: 5 3 2 1" {
		t.Errorf("two days later: %s", got)
	}
	if w := new4.send("POST", "/activity/search", obj{"conditions": anything, "date": "yesterday"}); w.Code != http.StatusBadRequest {
		t.Errorf("bad date: %d", w.Code)
	}
}

// sendFile sends a file and fields.
func (r *rig) sendFile(path, name, content string, fields map[string]string) *httptest.ResponseRecorder {
	r.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if err := w.WriteField(field, fields[field]); err != nil {
			r.t.Fatal(err)
		}
	}
	part, err := w.CreateFormFile("file", name)
	if err == nil {
		_, err = part.Write([]byte(content))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(r.t.Context(), http.MethodPost, r.s.BasePath()+path, &b)
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header.Set("x-access-token", r.token)
	out := httptest.NewRecorder()
	r.s.ServeHTTP(out, req)
	return out
}

func TestHuntFiles(t *testing.T) {
	new4, old := searchRig(t, "4.0"), searchRig(t, "2.1.2")
	host := new4.s.hosts[0].identifier
	for _, tt := range []struct {
		name, path, file string
		fields           map[string]string
		v4, v2           string // what the answer holds
	}{
		{"counts", "/hunt-upload", "aa\r\nbb\n", map[string]string{"type": "md5"}, `"count":2,"query_name":"q0"`, `"count":2,"query_name":"q0"`},
		// Release 2.1.2 looks for the empty line too, and finds the event without a hash.
		{"empty lines", "/hunt-upload", "\nzz\n", map[string]string{"type": "md5"}, `"data":[]`, `"count":1,"query_name":"q1"`},
		{"unknown host", "/hunt-upload", "aa", map[string]string{"type": "md5", "host_identifier": "x"}, "correct host identifier", "correct host identifier"},
		{"no query", "/hunt-upload", "aa", map[string]string{"type": "md5", "host_identifier": host}, "provide the query name", "provide the query name"},
		{"rows", "/hunt-upload", "aa", map[string]string{"type": "md5", "host_identifier": host, "query_name": "q0"}, `"count":2`, `"count":2`},
		{"not UTF-8", "/hunt-upload", "\xff", map[string]string{"type": "md5"}, "unable to read this file", "unable to read this file"},
		{"type", "/hunt-upload", "aa", map[string]string{"type": "sha1"}, "type of hunt", "is not a valid choice for 'type'"},
		{"window", "/indicators/upload", "aa", map[string]string{"indicator_type": "md5", "limit": "1"}, `"count":3`, `"count":3`},
		{"export", "/hunt-upload/export", "aa", map[string]string{"type": "md5", "host_identifier": host, "query_name": "q0"},
			"eid,md5,pid,path,process_name\r\n0007,aa,10", "eid,md5,pid,path,process_name\r\n0007,aa,10"},
		{"export of nothing", "/hunt-upload/export", "zz", map[string]string{"type": "md5", "host_identifier": host, "query_name": "q0"}, "\r\n", "\r\n"},
		// Release 4.0 exports the other host's event too.
		{"export of a window", "/indicators/upload/export", "aa", map[string]string{"indicator_type": "md5", "host_identifier": host}, "/bin/ls", `100%.exe`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := new4.sendFile(tt.path, "i.txt", tt.file, tt.fields).Body.String(); !strings.Contains(got, tt.v4) {
				t.Errorf("4.0: %q is not in %q", tt.v4, got)
			}
			got := old.sendFile(tt.path, "i.txt", tt.file, tt.fields).Body.String()
			if !strings.Contains(got, tt.v2) {
				t.Errorf("2.1.2: %q is not in %q", tt.v2, got)
			}
			if tt.name == "export of a window" && strings.Contains(got, "/bin/ls") {
				t.Errorf("2.1.2 exports the other host too: %q", got)
			}
		})
	}
	if w := new4.send("POST", "/hunt-upload", obj{"type": "md5"}); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "Threat file") {
		t.Errorf("without a file: %d %s", w.Code, w.Body)
	}
}

func TestSearchLeavesRemovedHostsOut(t *testing.T) {
	r := searchRig(t, "4.0")
	r.s.mu.Lock()
	r.s.hosts[0].state = hostRemoved
	r.s.mu.Unlock()
	if got := counted(r, tree("AND", leaf("path", "is_not_empty", nil))); got != "2" {
		t.Errorf("got %s events", got)
	}
}

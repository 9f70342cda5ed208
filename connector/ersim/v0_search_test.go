package ersim

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func equal(column, value string) obj {
	return obj{"condition": "OR", "rules": []obj{{"id": column, "field": column, "type": "string", "operator": "equal", "value": value}}, "valid": true}
}

func TestV0Search(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		node, query := reporting(r)
		counts := r.v0Data("POST", "/search", obj{"conditions": equal("action", "seen")}).([]any)
		if len(counts) != 1 || below(counts[0], "host_identifier") != node || fmt.Sprint(below(counts[0], "queries")) != "[map[count:3 query_name:my_query]]" {
			t.Error(counts)
		}
		page := r.v0Data("POST", "/search", obj{"conditions": equal("row", "1"), "host_identifier": node, "query_name": query})
		if below(page, "count") != 1.0 || fmt.Sprint(below(page, "results")) != "[map[action:seen row:1]]" {
			t.Error(page)
		}
		r.v0Fails("POST", "/search", obj{"conditions": equal("row", "1"), "host_identifier": node})
		r.v0Fails("POST", "/search", obj{"conditions": obj{"condition": "AND", "rules": []obj{}}})

		export := func(body obj) *strings.Reader {
			w := r.sendTo(r.s.profile.base0+"/nodes/search/export", "POST", body)
			if kind := w.Header().Get("Content-Type"); w.Code != http.StatusOK || !strings.HasPrefix(kind, "text/csv") {
				t.Fatalf("%d %s %s", w.Code, kind, w.Body)
			}
			return strings.NewReader(w.Body.String())
		}
		lines := csv.NewReader(export(obj{"conditions": equal("action", "seen"), "host_identifier": node}))
		lines.FieldsPerRecord = -1
		rows, err := lines.ReadAll()
		if want := fmt.Sprintf("[[%s my_query 3] [row action] [0 seen] [1 seen] [2 seen] [  ]]", node); err != nil || fmt.Sprint(rows) != want {
			t.Errorf("got %v, %v\nwant %s", rows, err, want)
		}
		r.v0Fails("POST", "/nodes/search/export", obj{"conditions": equal("action", "nothing"), "host_identifier": node})
		r.v0Fails("POST", "/nodes/search/export", obj{"conditions": equal("action", "seen")})
	})
}

func TestV0Hunt(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		node := r.s.Hosts()[0].Identifier
		r.s.Raise(AlertSpec{Host: node, Source: "ioc", Query: "hashes", Columns: map[string]string{"md5": "0123456789abcdef0123456789abcdef"}})
		const path = "/hunt-upload"
		const lines = "ffffffffffffffffffffffffffffffff\n0123456789abcdef0123456789abcdef\n"
		out := r.object(r.v0Upload(path, "hashes.txt", lines, map[string]string{"type": "md5"}))
		if counts, ok := out["data"].([]any); !ok || len(counts) != 1 || below(counts[0], "host_identifier") != node {
			t.Error(out)
		}
		out = r.object(r.v0Upload(path, "hashes.txt", lines, map[string]string{"type": "md5", "host_identifier": node, "query_name": "hashes"}))
		if below(out, "data", "count") != 1.0 {
			t.Error(out)
		}
		if w := r.sendTo(r.s.profile.base0+path, "POST", obj{"type": "md5"}); w.Code != http.StatusBadRequest || keys(r.object(w)["errors"]) != "file" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

func TestV0Indicators(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		const path = "/iocs/add"
		if before := keys(r.v0Data("GET", "/iocs/", nil)); !strings.Contains(before, "test-intel") {
			t.Error(before)
		}
		content := `{"data": {"mine": {"type": "remote_address", "severity": "CRITICAL", "values": ["203.0.113.5", "203.0.113.6"]}}}`
		if out := r.object(r.v0Upload(path, "iocs.json", content, nil)); out["status"] != "success" {
			t.Fatal(out)
		}
		got := r.v0Data("GET", "/iocs/", nil)
		if keys(got) != "mine" || below(got, "mine", "values") != "203.0.113.5,203.0.113.6" || below(got, "mine", "severity") != "CRITICAL" {
			t.Error(got)
		}
		if !r.s.older() {
			if v1 := r.data("GET", "/iocs", nil); fmt.Sprint(v1) != fmt.Sprint(got) {
				t.Errorf("through v1: %v", v1)
			}
		}
		for name, bad := range map[string]string{
			"no JSON": "nonsense", "no data": `{}`, "no object": `{"data": {"a": 1}}`, "no type": `{"data": {"a": {"values": ["b"], "severity": "INFO"}}}`,
		} {
			if out := r.object(r.v0Upload(path, "iocs.json", bad, nil)); out["status"] != "failure" {
				t.Errorf("%s: %v", name, out)
			}
		}
		if now := keys(r.v0Data("GET", "/iocs/", nil)); strings.Contains(now, "mine") {
			t.Errorf("a bad file leaves %s", now)
		}
	})
}

func TestV0YARA(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		const path = "/yara/add"
		if out := r.object(r.v0Upload(path, "Eicar.yar", "rule eicar { condition: true }", nil)); out["status"] != "success" {
			t.Fatal(out)
		}
		if out := r.object(r.v0Upload(path, "eicar.yar", "rule eicar { condition: true }", nil)); out["status"] != "failure" {
			t.Error(out)
		}
		if files := fmt.Sprint(r.v0Data("GET", "/yara/", nil)); files != "[eicar.yar]" {
			t.Error(files)
		}
		if !r.s.older() {
			if files := fmt.Sprint(r.data("GET", "/yara", nil)); files != "[eicar.yar]" {
				t.Errorf("through v1: %s", files)
			}
		}
	})
}

func TestV0Schema(t *testing.T) {
	bothProfiles(t, func(t *testing.T, r *rig) {
		for _, path := range []string{"/schema", "/schema/"} {
			statement, _ := below(r.v0Data("GET", path, nil), "processes").(string)
			if !strings.HasPrefix(statement, "CREATE TABLE processes (") {
				t.Errorf("%s: %q", path, statement)
			}
		}
		if one, _ := r.v0Data("GET", "/schema/users", nil).(string); !strings.HasPrefix(one, "CREATE TABLE users (") {
			t.Errorf("%q", one)
		}
		r.v0Fails("GET", "/schema/nosuch", nil)
	})
}
